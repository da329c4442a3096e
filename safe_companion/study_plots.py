"""What does a study show? Pictures of its differences, beside the paper, by group of recordings."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safe_companion.datasets import TITLES
from safe_companion.plots import CAMERAS, EVENT, RGB, legend_below, plain, titled
from safe_companion.tables import HARDLY
from safe_companion.wording import CONDITIONS

GREY = "0.55"  # the interval holds zero
MARKERS = "os^Dvp"  # of a study's rows


def show_study(
    table: pd.DataFrame, *, title: str, origin: str, notes: Mapping[str, str] | None = None
) -> Figure:
    """Differences to the baseline with their 95 % intervals; grey where the interval holds zero.

    table: as `effects.effect_table` gives it; rows hardly trained are left out.
    notes: {row: what stands below its name}.
    """
    rows = table[table.difference.notna() & (table.effect != HARDLY)][::-1]
    fig, ax = plt.subplots(figsize=(7, (0.52 if notes else 0.38) * len(rows) + 1.3))
    for y, (_, row) in enumerate(rows.iterrows()):
        colour = {"better": EVENT, "worse": RGB}.get(row.effect, GREY)
        half = row["± difference"]
        ax.errorbar(row.difference, y, xerr=half, fmt="o", color=colour, capsize=3)
    ax.axvline(0, color="0.3", lw=1)
    names = [f"{name}\n{notes[name]}" if notes and name in notes else name for name in rows.index]
    ax.set_yticks(range(len(rows)), names, fontsize="small")
    ax.set_xlabel("difference in top-1 accuracy [percentage points],\n95 % interval")
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_title(textwrap.fill(titled(f"{title} ({origin} data)"), 60))
    ax.grid(axis="y", visible=False)
    fig.tight_layout()
    return fig


def show_beside(
    table: pd.DataFrame, *, title: str, origin: str, dataset: str, paper: str = "pokerevent"
) -> Figure:
    """Each row's difference: the paper's as diamonds, ours with 95 % intervals below.

    Ours are grey where the interval holds zero, or one seed gives none. Rows that are hardly
    trained are named below instead. table: as `claims.beside_paper` gives it. dataset: of our runs;
    paper: of the paper's numbers.
    """
    rows = table[table["paper difference"].notna()][::-1]
    left_out: list[str] = []
    if "verdict" in rows:
        hardly = rows.verdict == HARDLY
        left_out = list(rows.index[hardly][::-1])
        rows = rows[~hardly]
    fig, ax = plt.subplots(figsize=(7, 0.62 * len(rows) + 1.5))
    ax.plot(
        rows["paper difference"],
        np.arange(len(rows)) + 0.16,
        "D",
        color=RGB,
        ms=6,
        label=f"paper ({TITLES[paper]}, one run)",
    )
    drawn = set()
    for y, (_, row) in enumerate(rows.iterrows()):
        half = row["± difference"]
        colour = EVENT if abs(row.difference) > half else GREY
        if np.isfinite(row.difference):
            ax.errorbar(row.difference, y - 0.16, xerr=half, fmt="o", color=colour, capsize=3)
            drawn.add(colour)
    here = f"here ({titled(f'{origin} of {dataset}')}), 95 % interval"
    unknown = (rows.difference.notna() & rows["± difference"].isna()).any()
    grey = "here, interval holds zero" if EVENT in drawn else f"{here} holds zero"
    grey += " or is not known" if unknown else ""
    for colour, label in ((EVENT, here), (GREY, grey)):
        if colour in drawn:
            ax.errorbar([], [], xerr=[], fmt="o", color=colour, capsize=3, label=label)
    ax.axvline(0, color="0.3", lw=1)
    names = [textwrap.fill(name, 34) for name in rows.index]
    ax.set_yticks(range(len(rows)), names, fontsize="small")
    below = "difference in top-1 accuracy [percentage points]"
    if left_out:
        named = f"left out, since they are hardly trained: {', '.join(left_out)}"
        below += "\n" + textwrap.fill(named, 60)
    ax.set(xlabel=below, title=titled(title), ylim=(-0.6, len(rows) - 0.4))
    ax.grid(axis="y", visible=False)
    fig.tight_layout()
    legend_below(fig, ax)
    return fig


def paper_and_ours(
    table: pd.DataFrame,
    *,
    origin: str,
    dataset: str,
    paper: str = "pokerevent",
    x: Sequence[float] | None = None,
    xlabel: str = "",
) -> Figure:
    """Two panels without a common axis: the paper's accuracies, and ours, with 95 % intervals.

    Over numbers `x`, one for each row, as lines; otherwise row by row as dots. table: as
    `claims.beside_paper` gives it. dataset: of our runs; paper: of the paper's numbers.
    """
    height = 0.42 * len(table) + 1.4 if x is None else 3.2
    fig, axes = plt.subplots(1, 2, figsize=(7.2, height), sharey=x is None)
    panels = [
        ("paper", RGB, "D", f"paper, {TITLES[paper]}\n(one run each)"),
        ("ours", EVENT, "o", f"here, {titled(f'{origin} of {dataset}')}\n(95 % interval)"),
    ]
    for ax, (column, colour, marker, title) in zip(axes, panels, strict=True):
        rows = table[table[column].notna()]
        places = table.index.get_indexer(rows.index)
        half = rows["±"] if column == "ours" else None
        look = {"color": colour, "capsize": 3}
        if x is None:
            y = len(table) - 1 - places
            ax.errorbar(rows[column], y, xerr=half, fmt=marker, **look)
            names = [textwrap.fill(name, 28) for name in table.index[::-1]]
            ax.set_yticks(range(len(table)), names, fontsize="small")
            ax.set(xlabel="top-1 accuracy [%]", ylim=(-0.6, len(table) - 0.4), title=title)
        else:
            ax.errorbar(np.asarray(x)[places], rows[column], yerr=half, marker=marker, **look)
            ax.set(xlabel=xlabel, ylabel="top-1 accuracy [%]", title=title, xticks=list(x))
    fig.tight_layout()
    return fig


def show_methods(table: pd.DataFrame) -> Figure:
    """Accuracies of SAFE and of other methods as the paper reports them, the best on top.

    table: as `claims.beside_paper` gives it, with a column "backbone".
    """
    shown = table.sort_values("paper")
    y = np.arange(len(shown))
    ours = shown.index == "SAFE"
    fig, ax = plt.subplots(figsize=(7, 0.36 * len(shown) + 1.2))
    ax.plot(shown.paper[~ours], y[~ours], "D", color=RGB, label="other methods (paper)")
    safe = {"color": RGB, "mfc": "none", "mew": 2, "ms": 9, "label": "SAFE (paper)"}
    ax.plot(shown.paper[ours], y[ours], "D", **safe)
    names = [f"{name} ({backbone})" for name, backbone in shown.backbone.items()]
    ax.set_yticks(y, names, fontsize="small")
    ax.set_xlabel("top-1 accuracy as the paper reports it [%]")
    ax.set_ylim(-0.6, len(shown) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    fig.tight_layout()
    return fig


def plain_log_ticks(ax: Axes, most: int = 3) -> None:
    """A logarithmic x axis with a few plain numbers, far enough apart to be read."""
    ax.set_xscale("log")
    low, high = np.log10(ax.get_xlim())
    inside: list[float] = []
    for digits in ((1, 2, 5), range(10, 100), range(100, 1000)):  # the rounder ones, if two fit
        numbers = [10.0**power * digit for power in range(-10, 10) for digit in digits]
        inside = [number for number in numbers if low <= np.log10(number) <= high]
        if len(inside) > 1:
            break
    step = max(1, -(-len(inside) // most))
    ticks = inside[step // 2 :: step]
    ax.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    ax.minorticks_off()


def show_statistics(table: pd.DataFrame, *, title: str) -> Figure:
    """Dots on logarithmic axes: a panel for each column, a line for each row; samples in orange.

    A value of 0, which such an axis does not have, is a triangle at its left edge. table: as
    `realism.table` gives it, its rows of a sample named "sample of ...".
    """
    shown = table.select_dtypes("number")
    columns = 3
    lines = -(-len(shown.columns) // columns)
    height = (0.28 * len(shown) + 1.1) * lines + 0.5
    fig, axes = plt.subplots(lines, columns, figsize=(7.2, height), sharey=True, squeeze=False)
    y = np.arange(len(shown))[::-1]
    colours = np.array([RGB if name.startswith("sample of ") else EVENT for name in shown.index])
    for ax, measure in zip(axes.flat, shown.columns, strict=False):
        is_zero = (shown[measure] == 0).to_numpy()
        ax.scatter(shown[measure][~is_zero], y[~is_zero], c=colours[~is_zero])
        if is_zero.any():
            edge = {
                "marker": "<",
                "s": 70,
                "zorder": 3,
                "clip_on": False,
                "transform": ax.get_yaxis_transform(),
            }
            ax.scatter(0 * y[is_zero], y[is_zero], c=colours[is_zero], **edge)
        plain_log_ticks(ax)
        ax.tick_params(labelsize="small")
        ax.set_title(textwrap.fill(measure, 24), fontsize="small")
    for ax in axes.flat[len(shown.columns) :]:
        ax.set_axis_off()
    axes[0, 0].set_yticks(y, [titled(name) for name in shown.index])
    axes[0, 0].set_ylim(-0.6, len(shown) - 0.4)
    scale = "logarithmic axes" + (
        "; a triangle at the edge: 0" if shown.eq(0).any(axis=None) else ""
    )
    fig.suptitle(f"{titled(title)}\n{scale}", fontsize="medium")
    fig.tight_layout()
    return fig


def show_breakdown(
    table: pd.DataFrame, *, title: str, names: dict | None = None, most: int = 30
) -> Figure:
    """A breakdown: accuracy per group and row on the left, paired differences on the right.

    table: as `effects.breakdown` gives it, the baseline first. names: {group: label to draw}.
    Groups in order of the first row's accuracy if there are many; at most `most`, half of them from
    either end. Conditions of the sample have the words and the order of `wording.CONDITIONS`, and
    rows named after cameras the colours of `plots.CAMERAS`.
    """
    rows = list(table.index.get_level_values(0).unique())
    groups = list(table.index.get_level_values(1).unique())
    if set(groups) <= set(CONDITIONS):
        groups = [group for group in CONDITIONS if group in groups]
        names = CONDITIONS
    baseline = table.loc[rows[0]]
    if len(groups) > 8:
        groups = sorted(groups, key=lambda group: baseline["top-1 [%]"][group])
        if len(groups) > most:
            groups = groups[: most // 2] + groups[-(most // 2) :]
    y = np.arange(len(groups))[::-1]
    height = max(2.4, (0.11 * len(rows) + 0.16) * len(groups) + 1.3)
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, height), sharey=True)
    apart = min(0.25, 0.8 / len(rows))  # so that no marker hides that of another row
    colours = [CAMERAS[row] for row in rows if row in CAMERAS]
    if len(colours) < len(rows):
        colours = sns.color_palette("colorblind", len(rows))
    for i, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        part = table.loc[row].loc[groups]
        at = y - apart * (i - (len(rows) - 1) / 2)
        marker = MARKERS[i % len(MARKERS)]
        left.plot(part["top-1 [%]"], at, marker, color=colour, label=row)
        if row != rows[0]:
            half = part["± difference"]
            right.errorbar(part.difference, at, xerr=half, fmt=marker, color=colour, capsize=2)
    right.axvline(0, color="0.3", lw=1)
    shown_names = names or {}
    labels = [f"{plain(shown_names.get(g, g))} ({baseline.recordings[g]})" for g in groups]
    left.set_yticks(y, labels, fontsize="small")
    lowest = table["top-1 [%]"].loc[(slice(None), groups)].min()
    start = 10 * ((lowest - 5) // 10) if lowest > 45 else 0  # where all lie high, from there on
    left.set(xlabel="top-1 accuracy [%]", xlim=(start, 102 - start / 50))
    left.set_ylim(-0.6, len(groups) - 0.4)
    below = f"difference from “{plain(rows[0])}” [points], 95 % interval"
    right.set_xlabel(textwrap.fill(below, 30))
    fig.suptitle(titled(f"{title} (number of test recordings)"), fontsize="medium")
    fig.tight_layout()
    legend_below(fig, left)
    return fig
