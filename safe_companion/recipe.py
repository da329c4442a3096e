"""How fast and how long is a row trained? What the search of the samples' recipe has found.

The rule, and what was decided against it, stand on the page notebooks/recipe.ipynb.
"""

from collections.abc import Mapping

import pandas as pd

from safe_companion import rivals, wording
from safe_companion.rows import INPUTS, LENGTHS, TRIED
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


def gains(table: pd.DataFrame, steps: int) -> dict[str, float]:
    """{input: points, the mean of the samples} that half as many steps more bring, of `scores`."""
    longer = steps * 3 // 2
    found = {}
    for name in INPUTS:
        rows = [row_of(name, length) for length in (longer, steps)]
        if set(rows) <= set(table.index):
            found[name] = table["mean"][rows[0]] - table["mean"][rows[1]]
    return found


def finding(table: pd.DataFrame) -> str:
    """The first sentence of the page, of `scores`."""
    parts, enough = [], False
    for steps in (TRIED, TRIED * 3 // 2):
        of_inputs = gains(table, steps)
        if len(of_inputs) < len(INPUTS) or pd.isna(list(of_inputs.values())).any():
            return "**Not run**: no record says yet how long a training has to be."
        enough = enough or max(of_inputs.values()) < ENOUGH
        words = ", ".join(f"{name} {wording.signed(gain)}" for name, gain in of_inputs.items())
        parts.append(f"from {steps} to {steps * 3 // 2} steps {words}")
    tried = f"{TRIED} nor {TRIED * 3 // 2} steps"
    verdict = (
        "A length that was tried is enough, by the rule below"
        if enough
        else f"Neither {tried} are enough, by the rule below; whether {TRIED * 9 // 4:,} are was "
        "not tried"
    )
    return (
        f"**{verdict}**: half as many steps more gain, {'; '.join(parts)} points (means of both "
        "samples, one run each: a gain of less than a point or two may be chance)."
    )
