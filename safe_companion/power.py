"""How many seeds and recordings does it take to see an effect, and what does that cost?

A difference of two rows of a table varies with the seeds and with the recordings; `components`
estimates how much, from records, as `effects` splits it (A, B and E there). `smallest_effect` says
what a design of S seeds and N test recordings then finds, by the very interval that judges it.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from safe_companion import effects, records
from safe_companion.studies import Found


@dataclasses.dataclass(frozen=True)
class Components:
    """Variances of the gain of one run over another on one recording, in squared points.

    seeds: A; recordings: B, of what every seed shares; both: E, the rest.
    """

    seeds: float
    recordings: float
    both: float


def components(found: Found, *, baseline: str) -> Components:
    """The variances in a study; that of recordings is the mean over its rows.

    ValueError if no two rows have two seeds in common.
    """
    deviation = effects.of_seeds(found.values())
    if deviation.freedom == 0:
        raise ValueError(
            "found no two rows with two common seeds; expected some, to see seeds vary"
        )
    count = len(found[baseline][0]["predictions"])
    both = deviation.noise * count
    shared = []
    for row, runs in found.items():
        gains = effects.gains(runs, found[baseline])
        if row != baseline and len(gains):
            shared.append(max(0.0, gains.mean(axis=0).var() - both / len(gains)))
    return Components(deviation.alone, float(np.mean(shared)), both)


def binomial(accuracy: float, *, seed_sd: float) -> Components:
    """The variances of two models of one accuracy in percent that are right independently.

    seed_sd: of the accuracy of a run, in points. Models that agree on most recordings vary less.
    """
    return Components(2 * seed_sd**2, 0.0, 2 * accuracy * (100 - accuracy))


def smallest_effect(variance: Components, *, seeds: int, recordings: int, rows: int) -> float:
    """Points that a table of `rows` beside its baseline finds with a probability of 80 %."""
    noise = variance.both / recordings
    deviation = effects.Deviation(variance.seeds + noise, noise, rows * (seeds - 1))
    by_recording = (variance.recordings + variance.both / seeds) / recordings
    return effects.joined(0.0, by_recording, deviation, seeds, recordings).smallest


def designs(
    variance: Components, *, seeds: Sequence[int], recordings: Sequence[int], rows: int
) -> pd.DataFrame:
    """Smallest effects: a line for each number of seeds, a column for each size of a test list."""
    lines = {
        count: {
            size: smallest_effect(variance, seeds=count, recordings=size, rows=rows)
            for size in recordings
        }
        for count in seeds
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("seeds")


def minutes_of_a_run(found: Found) -> float:
    """The mean training time of a study's runs, as recorded, of those without a GPU if any are."""
    return records.mean_seconds(itertools.chain(*found.values()), on_gpu=False) / 60


MINUTES = {False: "CPU [min]", True: "GPU [min]"}  # columns: without and with a GPU


def fastest_minutes(runs: list[dict]) -> dict[str, float]:
    """Training time of the fastest of some runs on either kind of machine; nan without any."""
    found = dict.fromkeys(MINUTES.values(), np.nan)
    for run in [*runs, *(run["elsewhere"] for run in runs if run.get("elsewhere"))]:
        column = MINUTES[records.of_gpu(run)]
        found[column] = float(np.nanmin([found[column], run["seconds"] / 60]))
    return found
