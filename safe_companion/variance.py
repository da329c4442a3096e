"""Do rows of a table differ by more than their seeds? An analysis of variance, and its power."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from safe_companion.effects import POWER
from safe_companion.records import of_gpu


@dataclasses.dataclass(frozen=True)
class Scatter:
    """How far apart the mean accuracies of rows lie, and how far seeds alone would set them apart.

    between, chance: both as standard deviations, in points. p: of the F test. smallest: the
    standard deviation between rows that the test finds with the probability POWER. All but
    `between` are nan where no two rows have two seeds in common, and it where none have one.
    """

    between: float
    chance: float
    f: float
    p: float
    smallest: float


def scatter(found: Mapping[str, list[dict]], alike: Sequence[str]) -> Scatter:
    """Whether these rows of a table differ by more than their seeds: analysis of variance.

    A block is a seed on one kind of machine; a run that was made on both counts once. All rows of
    `found` tell what chance does, those not in `alike` nothing else. Rows may differ in their
    seeds.
    """
    runs = _once(found)
    rows = np.array([row for row, _ in runs])
    seeds = np.array([f"{run['config']['seed']} {of_gpu(run)}" for _, run in runs])
    top1 = np.array([run["test"]["top1"] for _, run in runs], float)
    top1 -= top1.mean()
    merged = np.where(np.isin(rows, alike), "", rows)
    of_row, of_merged, of_seed = (
        (names[:, None] == np.unique(names)).astype(float) for names in (rows, merged, seeds)
    )
    whole, less = (_projection(np.hstack([part, of_seed])) for part in (of_row, of_merged))
    steps, freedom = round(np.trace(whole - less)), round(len(runs) - np.trace(whole))
    if steps == 0:
        return Scatter(np.nan, np.nan, np.nan, np.nan, np.nan)
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


def _once(found: Mapping[str, Sequence[dict]]) -> list[tuple[str, dict]]:
    """(row, run), of a run that was made on both machines that which more rows of its seed have.

    Both share initial weights and the order of the clips, so what chance does to a row under a seed
    is alike in them: they are no two witnesses of it.
    """

    def block(run: dict) -> tuple[int, bool]:
        return run["config"]["seed"], of_gpu(run)

    made = [
        (row, [run, run.get("elsewhere") or run]) for row, these in found.items() for run in these
    ]
    rows = Counter(key for _, twins in made for key in set(map(block, twins)))
    return [(row, max(twins, key=lambda run: rows[block(run)])) for row, twins in made]


def _projection(columns: np.ndarray) -> np.ndarray:
    """Onto the space that columns span."""
    return columns @ np.linalg.pinv(columns)
