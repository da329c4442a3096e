"""How far can a model be relied on? Pictures of failing cameras, fixed levels, calibration."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from safe_companion.corruptions import CORRUPTIONS
from safe_companion.levels import AXES

MARKERS = "os^Dvp"


def show_corruptions(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Top-1 of each model (row) under each corruption at its strongest level, and as it is."""
    kinds = ["nothing", *CORRUPTIONS]
    fig, ax = plt.subplots(figsize=(7.5, 0.42 * len(kinds) + 1.4))
    names = list(kinds)
    for marker, (row, table) in zip(MARKERS, tables.items(), strict=False):
        lines = table[table.on == "corruptions"].groupby("what", sort=False).last()
        found = [kind for kind in kinds if kind in lines.index]
        for kind in found:
            if lines.unit[kind]:
                names[kinds.index(kind)] = f"{kind}: {lines.level[kind]:g} {lines.unit[kind]}"
        places = [len(kinds) - 1 - kinds.index(kind) for kind in found]
        ax.plot(lines.top1[found], places, marker, label=row)
    ax.set_yticks(range(len(kinds)), names[::-1], fontsize="small")
    ax.set(xlabel="top-1 accuracy [%]", title=title, ylim=(-0.6, len(kinds) - 0.4))
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    fig.tight_layout()
    return fig


def show_levels(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Top-1 of each model (row) over light, speed and noise, with Wilson's intervals."""
    fig, axes = plt.subplots(1, len(AXES), figsize=(10, 3.4), sharey=True)
    for ax, (axis, condition) in zip(axes, AXES.items(), strict=True):
        for marker, (row, table) in zip(MARKERS, tables.items(), strict=False):
            lines = table[(table.on == "levels") & (table.what == axis)]
            half = np.abs(lines[["low", "high"]].to_numpy().T - lines.top1.to_numpy())
            ax.errorbar(lines.level, lines.top1, yerr=half, marker=marker, capsize=2, label=row)
        ax.set(xscale="log", xlabel=f"{axis} [{condition.unit}]")
    axes[0].set_ylabel("top-1 accuracy [%]")
    axes[0].legend(fontsize="x-small")
    fig.suptitle(title, fontsize="medium")
    fig.tight_layout()
    return fig


def show_reliability(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Accuracy over confidence of each model (row), with Wilson's intervals; the diagonal fits."""
    fig, ax = plt.subplots(figsize=(7, 4.4))
    ax.plot([0, 100], [0, 100], color="0.5", lw=1)
    for marker, (row, lines) in zip(MARKERS, tables.items(), strict=False):
        half = np.abs(lines[["low", "high"]].to_numpy().T - lines.accuracy.to_numpy())
        ax.errorbar(
            lines.confidence, lines.accuracy, yerr=half, marker=marker, capsize=2, lw=1, label=row
        )
    ax.set(xlabel="confidence [%]", ylabel="accuracy [%]", title=title)
    ax.set(xlim=(0, 102), ylim=(0, 102))
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1))
    fig.tight_layout()
    return fig


def show_abstention(tables: Mapping[str, pd.DataFrame], *, title: str) -> Figure:
    """Accuracy of the answers that are given, over their share: `calibration.abstention`."""
    fig, ax = plt.subplots(figsize=(5, 4))
    for row, lines in tables.items():
        shown = lines[lines.coverage >= 5]  # of fewer answers, one decides
        ax.plot(shown.coverage, shown.accuracy, label=row)
    ax.set(xlabel="share of recordings answered, the surest first [%]", ylabel="accuracy [%]")
    ax.set_title(title)
    ax.legend(fontsize="small", loc="lower left")
    fig.tight_layout()
    return fig
