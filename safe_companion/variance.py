"""Do rows of a table differ by more than their seeds? An analysis of variance, and its power."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from safe_companion.effects import POWER


@dataclasses.dataclass(frozen=True)
class Scatter:
    """How far apart the mean accuracies of rows lie, and how far seeds alone would set them apart.

    between, chance: both as standard deviations, in points. p: of the F test. smallest: the
    standard deviation between rows that the test finds with the probability POWER. All but
    `between` are nan where no two rows have two seeds in common.
    """

    between: float
    chance: float
    f: float
    p: float
    smallest: float


def scatter(found: Mapping[str, list[dict]], alike: Sequence[str]) -> Scatter:
    """Whether these rows of a table differ by more than their seeds: analysis of variance.

    The seed is a block. All rows of `found` tell what chance does, those not in `alike` nothing
    else. Rows may differ in their seeds.
    """
    runs = [
        (row, run["config"]["seed"], run["test"]["top1"]) for row in found for run in found[row]
    ]
    rows, seeds, top1 = (np.array(column) for column in zip(*runs, strict=True))
    top1 = top1 - top1.mean()
    merged = np.where(np.isin(rows, alike), "", rows)
    of_row, of_merged, of_seed = (
        (names[:, None] == np.unique(names)).astype(float) for names in (rows, merged, seeds)
    )
    whole, less = (_projection(np.hstack([part, of_seed])) for part in (of_row, of_merged))
    steps, freedom = round(np.trace(whole - less)), round(len(runs) - np.trace(whole))
    tested = of_row[:, np.isin(np.unique(rows), alike)]
    weight = np.trace(tested.T @ (whole - less) @ tested) / steps  # runs of a row, if all have some
    square = top1 @ (whole - less) @ top1 / steps
    if freedom == 0:
        return Scatter(float(np.sqrt(square / weight)), np.nan, np.nan, np.nan, np.nan)
    noise = (top1 @ top1 - top1 @ whole @ top1) / freedom
    f = square / noise
    limit, low = (stats.f.ppf(q, steps, freedom) for q in (0.95, 1 - POWER))
    return Scatter(
        between=float(np.sqrt(square / weight)),
        chance=float(np.sqrt(noise / weight)),
        f=float(f),
        p=float(stats.f.sf(f, steps, freedom)),
        smallest=float(np.sqrt(noise / weight * (limit / low - 1))),
    )


def _projection(columns: np.ndarray) -> np.ndarray:
    """Onto the space that columns span."""
    return columns @ np.linalg.pinv(columns)
