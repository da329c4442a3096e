"""How fast and how long is a row trained? What the search of the samples' recipe has found.

The rule, and what was decided against it, stand on the page notebooks/recipe.ipynb.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from safe_companion import effects, rivals, wording
from safe_companion.datasets import TITLES
from safe_companion.rows import INPUTS, LENGTHS, LONGER, TRIED
from safe_companion.studies import Found

ENOUGH = 1.0  # points that half as many steps more may gain at most
BOTH = "RGB and events"
RATE = 0.001  # of the rows that try something else than a rate


def scores(found: Mapping[str, Found]) -> pd.DataFrame:
    """Top-1 in percent of the runs {data set: {row: runs}}: a column a data set, and their mean."""
    table = pd.DataFrame(
        {
            dataset: {row: runs[0]["test"]["top1"] for row, runs in rows.items() if runs}
            for dataset, rows in found.items()
        }
    )
    rows = next(iter(found.values()))
    return table.reindex(list(rows)).assign(mean=table.mean(axis=1, skipna=False))


def titled(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `scores` for readers: every row says its steps and its rate."""
    names = {}
    for row in table.index:
        name, what = row.split(", ")
        if what.endswith(" steps"):
            names[row] = f"{name}, {int(what.split()[0]):,} steps, rate {RATE}"
        elif what.startswith("rate "):
            names[row] = f"{name}, {TRIED} steps, {what}"
        else:
            names[row] = f"{name}, {TRIED} steps, rate {RATE}, {what}"
    return table.rename(index=names, columns=TITLES)


def row_of(name: str, steps: int) -> str:
    """The row of the study that trains this input for so many steps."""
    return f"{name}, rate {RATE}" if steps == TRIED else f"{name}, {steps} steps"


def by_length(found: Found) -> pd.DataFrame:
    """Top-1 in percent of one data set's runs: a line a length, a column an input, late fusion."""
    lines: dict[int, dict[str, float]] = {}
    for name in INPUTS:
        for steps in sorted({TRIED, *LENGTHS[name]}):
            for run in found.get(row_of(name, steps), []):
                lines.setdefault(steps, {})[name] = run["test"]["top1"]
    for steps, line in lines.items():
        rgb, event = (found.get(row_of(name, steps), []) for name in ("RGB", "events"))
        for run in rivals.rivals(rgb, event)[rivals.LATE]:
            line[rivals.LATE] = run["test"]["top1"]
    return pd.DataFrame.from_dict(lines, orient="index").sort_index().rename_axis("steps")


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Points that half as many steps more bring, the mean of the samples, of `scores`.

    A line for each length from which every input was trained on, a column for each input.
    """
    lines = {}
    for steps in (TRIED, *LONGER):
        names = {name: (row_of(name, steps * 3 // 2), row_of(name, steps)) for name in INPUTS}
        rows = [row for pair in names.values() for row in pair]
        if table["mean"].reindex(rows).notna().all():
            mean = table["mean"]
            lines[steps] = {name: mean[more] - mean[less] for name, (more, less) in names.items()}
    return pd.DataFrame.from_dict(lines, orient="index", columns=list(INPUTS))


def enough(table: pd.DataFrame) -> int | None:
    """The shortest length whose gains all stay below ENOUGH points; None if none is known to."""
    lengths = gains(table).max(axis=1)
    return next((int(steps) for steps, most in lengths.items() if most < ENOUGH), None)


def finding(table: pd.DataFrame, longer: Mapping[str, Found]) -> str:
    """The first sentences of the page, of `scores` and {data set: runs of `longer`}."""
    found = gains(table)
    if found.empty:
        return "**Not run**: no record says yet how long a training has to be."
    steps = enough(table)
    if steps is None:
        tried = wording.listed([f"{length:,}" for length in found.index])
        verdict = f"Not enough by the rule below: {tried} steps"
    elif steps == TRIED:
        verdict = f"{TRIED} steps are enough, by the rule below"
    else:
        verdict = f"{steps:,} steps are enough, by the rule below; {TRIED} are not"
    last = int(found.index[-1])
    words = ", ".join(f"{name} {wording.signed(gain)}" for name, gain in found.loc[last].items())
    return (
        f"**{verdict}**: half as many steps more gain, the last time, from {last:,} to "
        f"{last * 3 // 2:,}, {words} points (means of both samples, one run each: a gain of less "
        f"than a point or two may be chance).{trained_on(longer)}"
    )


def trained_on(longer: Mapping[str, Found]) -> str:
    """SAFE beside late fusion after the longest training, on the tables' recordings; or nothing."""
    parts = []
    for dataset, rows in longer.items():
        rgb, event = (rows.get(name, []) for name in ("RGB", "events"))
        safe, late = rows.get(BOTH, []), rivals.rivals(rgb, event)[rivals.LATE]
        gain = effects.difference(safe, late)
        if gain.pairs:
            top1 = [np.mean([run["test"]["top1"] for run in runs]) for runs in (safe, late)]
            said = wording.compared(gain.mean, gain.half, gain.pairs, gain.effect)
            parts.append(f"{TITLES[dataset]} {top1[0]:.1f} beside {top1[1]:.1f} %, {said}")
    if not parts:
        return ""
    return (
        f" After {LONGER[-1]:,} steps, {LONGER[-1] / TRIED:.1f} times the tables', on the same "
        f"recordings, SAFE beside the late fusion of such single models: {'; '.join(parts)}."
    )


def who_is_ahead(found: Mapping[str, Found]) -> str:
    """In how many comparisons of one run each late fusion is ahead, of as many steps or fewer."""
    alike, fewer = [], []
    for rows in found.values():
        lengths = by_length(rows).reindex(index=[TRIED, *LONGER], columns=[BOTH, rivals.LATE])
        ahead = (lengths[rivals.LATE] > lengths[BOTH]).where(lengths.notna().all(axis=1)).dropna()
        alike += list(ahead)
        # two lengths on, a model has 9/4 of the steps of either: more than both in all
        pairs = pd.DataFrame(
            {"late": lengths[rivals.LATE], "safe": lengths[BOTH].shift(-2)}
        ).dropna()
        fewer += list(pairs.late > pairs.safe)
    if not alike:
        return ""
    said = (
        " On recordings kept apart for this search, one run for each length and sample, late "
        f"fusion is ahead of SAFE in {sum(alike)} of {len(alike)} comparisons where SAFE has as "
        "many steps as either of its two models"
    )
    if fewer:
        said += (
            f", and in {sum(fewer)} of {len(fewer)} where SAFE has 2¼ times as many, more than "
            "the two together"
        )
    return f"{said}."


def in_short(found: Mapping[str, Found], longer: Mapping[str, Found]) -> str:
    """For the first screen: how far the tables' models are from trained out, and what that hides.

    found: {data set: runs of `recipe`}; longer: {data set: runs of `longer`}.
    """
    table = scores(found)
    steps, tried = enough(table), gains(table).index
    if not len(tried) or steps == TRIED:
        return ""
    reason = (
        f"at every length tried, up to {tried[-1]:,}, half as many again still gained a point or "
        "more for one of the inputs (one run each)"
        if steps is None
        else f"{steps:,} would be enough (half as many more gain less than a point)"
    )
    return (
        f"**No table shows fully trained models**: most rows have {TRIED} steps; {reason}."
        f"{trained_on(longer)}{who_is_ahead(found)}"
    )
