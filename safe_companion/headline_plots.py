"""How do SAFE and its plainest rival compare with one camera? One picture, of both samples.

It is as narrow as a phone, so that its letters keep their size there, and on white ground, so that
it can be read in light and dark.
"""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from safe_companion import plots, wording
from safe_companion.datasets import TITLES

INK, SOFT = "0.15", "0.35"
PURPLE, GREEN = "#cc78bc", "#029e73"  # of the same palette
LOOKS = [  # of the rows of a table: name, colour, marker
    ("RGB alone", plots.RGB, "o"),
    ("events alone", plots.EVENT, "o"),
    ("SAFE", PURPLE, "s"),
    ("late fusion", GREEN, "D"),
]
ROWS = [name for name, *_ in LOOKS]


def number(top1: float, half: float) -> str:
    """As it stands in picture and words: "77.4 ± 0.6"."""
    return f"{top1:.1f}{wording.plus_minus(half)}"


def seeds(table: pd.DataFrame) -> str:
    """How many seeds its rows have: "3 seeds", "3 to 8 seeds"."""
    few, many = int(table.seeds.min()), int(table.seeds.max())
    return wording.counted(few, "seed") if few == many else f"{few} to {many} seeds"


def accuracies(table: pd.DataFrame) -> Figure:
    """One panel a sample, one line a row of LOOKS: mean and interval as a dot, and as a number.

    table: as `headline.beside_rivals` gives it.
    """
    plots.style()
    samples = list(table.index.unique("sample"))
    size = (4.7, 1.6 * len(samples) + 0.45)
    fig, axes = plt.subplots(len(samples), 1, figsize=size, sharex=True, squeeze=False)
    for ax, sample in zip(axes[:, 0], samples, strict=True):
        of_sample = table.loc[sample]
        names = [look for look in LOOKS if look[0] in of_sample.index]
        for y, (name, colour, marker) in enumerate(names):
            top1, half = of_sample.loc[name, ["top1", "half"]]
            ax.plot(top1, y, marker, color=colour, ms=11, alpha=0.35, mew=0)
            ax.plot([top1 - half, top1 + half], [y, y], color=colour, lw=8, solid_capstyle="butt")
            said = {"transform": ax.get_yaxis_transform(), "va": "center", "color": INK}
            ax.text(1.03, y, number(top1, half), **said)
        ax.set_yticks(range(len(names)), [name for name, *_ in names], color=INK)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_title(f"sample of {TITLES[sample]}", loc="left", color=INK, weight="bold")
        ax.tick_params(axis="x", colors=SOFT)
    reach = table.half.fillna(0)
    low, high = (table.top1 - reach).min() - 1, (table.top1 + reach).max() + 1
    axes[-1, 0].set_xlim(5 * np.floor(low / 5), 5 * np.ceil(high / 5))
    axes[-1, 0].xaxis.set_major_locator(MultipleLocator(10))
    below = f"top-1 accuracy [%], 95 % interval over {seeds(table)}"
    axes[-1, 0].set_xlabel(below, color=SOFT, fontsize=11)
    fig.tight_layout(h_pad=0.8)
    return fig


def svg(table: pd.DataFrame) -> str:
    """The picture as a file that says in words what it shows; the same bytes for the same table."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "found", "svg.fonttype": "path"}):
        fig = accuracies(table)
        about = {"Title": "What was found", "Description": in_words(table), "Date": None}
        fig.savefig(file, format="svg", metadata=about, facecolor="white")
    plt.close(fig)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def in_words(table: pd.DataFrame) -> str:
    """What the picture shows, with its numbers, for those who do not see it."""
    said = [f"Top-1 accuracy with its 95 % interval over {seeds(table)}."]
    for sample in table.index.unique("sample"):
        numbers = [
            f"{row} {number(line.top1, line.half)} %" for row, line in table.loc[sample].iterrows()
        ]
        said.append(f"Sample of {TITLES[sample]}: {', '.join(numbers)}.")
    return " ".join(said)


def caption(table: pd.DataFrame) -> str:
    """What stands below the picture."""
    return (
        f"Large marks and numbers: mean top-1 accuracy of {seeds(table)} on the "
        "test recordings; narrow bars: its 95 % interval. *Late fusion*: the mean of the "
        "log-probabilities of an RGB and an event model, with nothing trained to join them. "
        "Differences in the sentences are paired, and their intervals also cover the choice of "
        "test recordings."
    )
