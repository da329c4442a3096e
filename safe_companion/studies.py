"""Which runs belong together? Studies: rows of configurations, their runs over seeds, sweeps.

A study is {row: configuration fields}. It is shown from its runs, {row: runs by seed}, which come
from committed records or are trained on the spot.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import safe_core
from safe_companion import datasets, runs
from safe_companion.places import RECORD, Place, recorded_seeds, seeds_of
from safe_companion.records import all_runs, load_run, mean_seconds, read_json, read_record
from safe_companion.rows import (
    LEFT_OUT,
    RATES,
    SEEDS,
    SWEPT,
    TUNING_SEED,
    Rows,
    no_place,
    number_of_seeds,
    runs_of_a_sweep,
    studies,
    swept,
)

__all__ = [
    "LEFT_OUT",
    "RATES",
    "SEEDS",
    "SWEPT",
    "TUNING_SEED",
    "number_of_seeds",
    "runs_of_a_sweep",
    "studies",
    "swept",
]

Found = dict[str, list[dict]]  # of a study: runs


def best_rates(found: Found) -> dict[str, float]:
    """{model: learning rate} by the runs of `peers_recipe`, of models that were run with all.

    The rate of the highest top-1, of the smallest of those: on the tuning sample's test list; for
    real data, which have no tuning sample, the best epoch's on the validation split.
    """
    scores: dict[str, dict[float, float]] = {}
    for row, of_row in found.items():
        model, rate = row.split(", ")
        scores.setdefault(model, {})[float(rate)] = tuning_score(of_row[0]) if of_row else np.nan
    return {
        model: min(tried, key=lambda rate: (-tried[rate], rate))
        for model, tried in scores.items()
        if not np.isnan(list(tried.values())).any()
    }


def tuning_score(run: dict) -> float:
    """The accuracy by which a rate is chosen: on the tuning sample, or on the validation split."""
    if run["data"]["origin"] == "sample":
        return run["test"]["top1"]
    return max(epoch["val_top1"] for epoch in run["history"])


# ---------------------------------------------------------------- their runs


def records(fields: dict, *, dataset: str, origin: str) -> list[dict]:
    """The committed runs of a configuration, by seed. origin: "sample" or "real"."""
    data_root = no_place(origin)  # no part of a record's place
    config = safe_core.configure(dataset=dataset, data_root=data_root, **fields)
    return [load_run(folder) for folder in seeds_of(config)]


def study(
    rows: Rows,
    *,
    dataset: str,
    data_root: str | None = None,
    preset: str | None = None,
    seeds: int | None = 3,
    rerun: bool = False,
) -> Found:
    """{row: runs}, one run per seed, of each row's configuration fields.

    Runs come from their committed records; rows that have none stay empty. With rerun they are
    trained, into runs/, where an interrupted study continues. seeds: None takes every seed that has
    a record. ValueError if the records are not all about the same recordings.
    """
    asked = {"dataset": dataset, "data_root": data_root}
    found: Found = {}
    for row, fields in rows.items():
        config = safe_core.configure(preset, **asked | fields)
        of_row = range(seeds) if seeds is not None else recorded_seeds(config)
        folders = [_folder(dataclasses.replace(config, seed=seed), rerun) for seed in of_row]
        found[row] = [load_run(f) for f in folders if (f / RECORD).exists()]
    data = {run["data"]["fingerprint"] for these in found.values() for run in these}
    if len(data) > 1:
        raise ValueError(
            f"records of {dataset} are about {len(data)} different data sets: delete the older "
            "ones; a folder without lists is split anew by every seed: write lists, or compare one "
            "seed"
        )
    return found


def _folder(config: safe_core.Config, rerun: bool) -> Path:
    """Where a run's record lies, if there is one; with rerun it is trained if it is not there."""
    place = Place.of(config)
    if rerun:
        runs.train(config, place.working, resume=True)
        return place.working
    if config.data_root and Path(config.data_root).exists() and (place.committed / RECORD).exists():
        runs.check_same(read_record(place.committed), config, place.committed)
    return place.committed


# ---------------------------------------------------------------- sweeps


OF_DATA = ("dataset", "data_root", "sample_seed", "on_bad_recording")  # which are opened, and how


def check_data(asked: dict[str, dict]) -> None:
    """ValueError if records {file: configuration fields} are about other data than those at hand.

    Files that do not exist yet are fine. Makes the samples that are asked for.
    """
    by_data: dict[tuple, list[Path]] = {}
    for file, fields in asked.items():
        data = tuple(fields.get(name) for name in OF_DATA)
        by_data.setdefault(data, []).append(Path(file))
    for data, every in by_data.items():
        config = safe_core.configure(**dict(zip(OF_DATA, data, strict=True)))
        dataset = config.dataset
        looked: list | None = [] if dataset == "folder" else None  # its runs ask for other things
        expected = datasets.open_dataset(config, skipped=looked).fingerprint
        files = [file for file in every if file.exists()]
        other = [file for file in files if _fingerprint(file) != expected]
        if other:
            raise ValueError(
                f"{len(other)} records are about other data than the {dataset} at hand, the first "
                f"is {other[0]}: delete them to have them made again"
            )


def _fingerprint(record: Path) -> str:
    there = read_json(record)
    try:
        return there["data"]["fingerprint"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{record}: not the record of a run ({error!r})") from error


def expected_hours(asked: Iterable[dict]) -> float:
    """Hours that runs of these configuration fields take one after another; nan if not known.

    By the mean time of the committed runs on the same data set, on machines of this one's kind.
    """
    recorded: dict[tuple[str, str], list[dict]] = {}
    for these in all_runs().values():
        for run in these:
            key = (run["data"]["origin"], run["config"]["dataset"])
            recorded.setdefault(key, []).append(run)
    on_gpu = safe_core.here()[0].type == "cuda"
    seconds = 0.0
    for fields in asked:
        key = (safe_core.origin_of(fields.get("data_root")), fields["dataset"])
        seconds += mean_seconds(recorded.get(key, []), on_gpu=on_gpu)
    return seconds / 3600
