"""How fast and how long is a row trained? What the search of the samples' recipe has found.

The rule, and what was decided against it, stand on the page notebooks/recipe.ipynb.
"""

from collections.abc import Mapping

import pandas as pd

from safe_companion import rivals, wording
from safe_companion.datasets import TITLES
from safe_companion.rows import INPUTS, LENGTHS, LONGER, TRIED
from safe_companion.studies import Found

ENOUGH = 1.0  # points that half as many steps more may gain at most
LATE = "mean of log-probabilities"  # of the two single models


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


def row_of(name: str, steps: int) -> str:
    """The row of the study that trains this input for so many steps."""
    return f"{name}, rate 0.001" if steps == TRIED else f"{name}, {steps} steps"


def by_length(found: Found) -> pd.DataFrame:
    """Top-1 in percent of one data set's runs: a line a length, a column an input, late fusion."""
    lines: dict[int, dict[str, float]] = {}
    for name in INPUTS:
        for steps in sorted({TRIED, *LENGTHS[name]}):
            for run in found.get(row_of(name, steps), []):
                lines.setdefault(steps, {})[name] = run["test"]["top1"]
    for steps, line in lines.items():
        rgb, event = (found.get(row_of(name, steps), []) for name in ("RGB", "events"))
        for run in rivals.rivals(rgb, event)[LATE]:
            line[LATE] = run["test"]["top1"]
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
    """The shortest length whose gains all stay below ENOUGH; None where no length is known to."""
    lengths = gains(table).max(axis=1)
    return next((int(steps) for steps, most in lengths.items() if most < ENOUGH), None)


def finding(table: pd.DataFrame) -> str:
    """The first sentence of the page, of `scores`."""
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
    parts = []
    for length, line in found.iterrows():
        words = ", ".join(f"{name} {wording.signed(gain)}" for name, gain in line.items())
        parts.append(f"from {length:,} to {length * 3 // 2:,} steps {words}")
    return (
        f"**{verdict}**: half as many steps more gain, {'; '.join(parts)} points (means of both "
        "samples, one run each: a gain of less than a point or two may be chance)."
    )


def beside_longer(found: Mapping[str, Found]) -> str:
    """SAFE of more steps beside late fusion of TRIED steps a model, which has twice that in all."""
    parts = []
    for dataset, rows in found.items():
        lengths = by_length(rows).reindex(columns=["RGB and events", LATE])
        safe, late = lengths["RGB and events"].reindex(LONGER[:2]), lengths[LATE].get(TRIED)
        if safe.notna().all() and pd.notna(late):
            longer = " and ".join(f"{top1:.1f}" for top1 in safe)
            parts.append(f"{TITLES[dataset]} {longer} % beside {late:.1f} %")
    if not parts:
        return ""
    steps = " and ".join(f"{steps:,}" for steps in LONGER[:2])
    return (
        f" Two models take twice the steps of one. SAFE after {steps} steps beside the two after "
        f"{TRIED} each: {'; '.join(parts)}."
    )


def in_short(found: Mapping[str, Found]) -> str:
    """For the first screen: how far the tables' models are from trained out; {data set: runs}."""
    ahead, tried = 0, 0
    for rows in found.values():
        lengths = by_length(rows)
        if LATE in lengths and "RGB and events" in lengths:
            pairs = lengths[["RGB and events", LATE]].dropna()
            ahead += int((pairs[LATE] > pairs["RGB and events"]).sum())
            tried += len(pairs)
    table = scores(found)
    steps = enough(table)
    if not tried or gains(table).empty or steps == TRIED:
        return ""
    reason = (
        "more steps than a sweep on two cores can afford still gained"
        if steps is None
        else f"{steps:,} steps would do (half as many more gain less than a point), and a sweep on "
        f"two cores can afford {TRIED}"
    )
    return (
        f"**No table shows fully trained models**: {reason}. In {ahead} of {tried} comparisons "
        "(each length on each sample, on recordings of their own, one run each) the averaged "
        f"single models are ahead of a SAFE of as many steps as either.{beside_longer(found)}"
    )
