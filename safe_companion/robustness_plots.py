"""How far can a model be relied on? Pictures of failing cameras, fixed levels, calibration."""

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from safe_companion.corruptions import CORRUPTIONS, in_words
from safe_companion.levels import AXES
from safe_companion.plots import legend_below, titled

MARKERS = "os^Dvp"


def show_corruptions(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Top-1 of each model (row) under each corruption at its strongest level, and as it is.

    title: whose recordings these are, such as "sample of hardvs".
    """
    kinds = ["nothing", *CORRUPTIONS]
    height = (0.11 * len(tables) + 0.16) * len(kinds) + 1.4
    fig, ax = plt.subplots(figsize=(7, height))
    names = [in_words(kind) for kind in kinds]
    apart = min(0.25, 0.8 / max(1, len(tables)))  # so that no marker hides that of another model
    for i, (marker, (row, table)) in enumerate(zip(MARKERS, tables.items(), strict=False)):
        lines = table[table.on == "corruptions"].groupby("what", sort=False).last()
        found = [kind for kind in kinds if kind in lines.index]
        for kind in found:
            level, unit = lines.level[kind], lines.unit[kind]
            names[kinds.index(kind)] = in_words(kind, level, unit)
        down = apart * (i - (len(tables) - 1) / 2)
        places = [len(kinds) - 1 - kinds.index(kind) - down for kind in found]
        ax.plot(lines.top1[found], places, marker, label=row)
    names = [textwrap.fill(name, 36) for name in names]
    ax.set_yticks(range(len(kinds)), names[::-1], fontsize="small")
    ax.set(xlabel="top-1 accuracy [%]", ylim=(-0.6, len(kinds) - 0.4))
    about = f"Top-1 at the strongest level of each disturbance, {titled(title)}"
    fig.suptitle(textwrap.fill(about, 66), fontsize="medium")
    fig.tight_layout()
    legend_below(fig, ax)
    return fig


def show_levels(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Top-1 of each model (row) over light, speed and noise, with Wilson's intervals."""
    fig, axes = plt.subplots(1, len(AXES), figsize=(7.2, 3.2), sharey=True)
    for ax, (axis, condition) in zip(axes, AXES.items(), strict=True):
        for marker, (row, table) in zip(MARKERS, tables.items(), strict=False):
            lines = table[(table.on == "levels") & (table.what == axis)]
            half = np.abs(lines[["low", "high"]].to_numpy().T - lines.top1.to_numpy())
            ax.errorbar(lines.level, lines.top1, yerr=half, marker=marker, capsize=2, label=row)
        ax.set_xscale("log")
        ax.set_xlabel(f"{axis}\n[{condition.unit}]", fontsize="small")
    axes[0].set_ylabel("top-1 accuracy [%]")
    fig.suptitle(titled(title), fontsize="medium")
    fig.tight_layout()
    legend_below(fig, axes[0])
    return fig


def show_reliability(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Accuracy over confidence of each model (row), with Wilson's intervals; the diagonal fits."""
    fig, ax = plt.subplots(figsize=(6, 4.4))
    ax.plot([0, 100], [0, 100], color="0.5", lw=1)
    for marker, (row, lines) in zip(MARKERS, tables.items(), strict=False):
        half = np.abs(lines[["low", "high"]].to_numpy().T - lines.accuracy.to_numpy())
        ax.errorbar(
            lines.confidence, lines.accuracy, yerr=half, marker=marker, capsize=2, lw=1, label=row
        )
    ax.set(xlabel="confidence [%]", ylabel="accuracy [%]", title=titled(title))
    ax.set(xlim=(0, 102), ylim=(0, 102))
    fig.tight_layout()
    legend_below(fig, ax)
    return fig


def show_abstention(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Accuracy of the answers that are given, over their share: `calibration.abstention`."""
    fig, ax = plt.subplots(figsize=(5, 4))
    for row, lines in tables.items():
        shown = lines[lines.coverage >= 5]  # of fewer answers, one decides
        ax.plot(shown.coverage, shown.accuracy, label=row)
    ax.set(xlabel="share of recordings answered, the surest first [%]", ylabel="accuracy [%]")
    ax.set_title(titled(title))
    ax.legend(fontsize="small", loc="lower left")
    fig.tight_layout()
    return fig
