"""How large is a difference between runs, and could chance have made it? Means, pairs, intervals.

A run is a record as `records.load_run` gives it: what is read here is config.seed, test.top1, path
and the table `predictions` (one row a test recording: name, label, correct, ...). `found` is always
{row of a study: its runs}. All numbers are percentages or percentage points of top-1 accuracy, all
intervals two-sided ones of 95 %.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from safe_companion import datasets

LIGHT_EDGES = [0, 1e-3, 1e-2, 1e-1, 2]  # illumination; 1 is a bright room
LIGHT_NAMES = ["< 0.001", "0.001 to 0.01", "0.01 to 0.1", "> 0.1"]


def mean_and_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """(mean, half width of its interval by Student's t; nan of a single value)."""
    if len(values) < 2:
        return float(np.mean(values)), np.nan
    t = stats.t.ppf(0.975, len(values) - 1)
    return float(np.mean(values)), float(t * stats.sem(values))


def difference(runs: list[dict], against: list[dict]) -> tuple[float, float, int]:
    """(mean, half width of its interval, number of pairs) of `runs` minus `against`, paired.

    Pairs are runs of the same seed on the same test recordings; ValueError for other recordings.
    The interval joins two sources of chance: the seed (Student's t over the seeds' differences) and
    the choice of test recordings (1.96 standard errors over recordings of the differences averaged
    over seeds). The first holds some of the second already, so the interval is rather too wide than
    too narrow. One pair, or one recording, has no interval: nan. Without pairs all is nan.
    """
    partners = {run["config"]["seed"]: run for run in against}
    pairs = [
        (run, partners[run["config"]["seed"]]) for run in runs if run["config"]["seed"] in partners
    ]
    if not pairs:
        return np.nan, np.nan, 0
    gains = np.stack([_gains(run, partner) for run, partner in pairs])  # [pairs, recordings]
    mean, half_by_seed = mean_and_interval(gains.mean(axis=1))
    half_by_recording = 1.96 * stats.sem(gains.mean(axis=0)) if gains.shape[1] > 1 else np.nan
    return mean, float(np.hypot(half_by_seed, half_by_recording)), len(pairs)


def _gains(run: dict, partner: dict) -> np.ndarray:
    """For each recording: 100 if only `run` is right, -100 if only `partner` is, otherwise 0."""
    ours, theirs = run["predictions"], partner["predictions"]
    if list(ours.name) != list(theirs.name):
        raise ValueError(f"{run['path']} and {partner['path']} tested different recordings")
    return 100 * (ours.correct.to_numpy(float) - theirs.correct.to_numpy(float))


def effect(mean: float, half: float) -> str:
    """In words: an effect is measurable if its interval excludes zero."""
    if np.isnan(mean):
        return "not run"
    if np.isnan(half):
        return "one seed: no interval"
    if abs(mean) <= half:
        return "no measurable effect"
    return "better" if mean > 0 else "worse"


def effect_table(found: dict[str, list[dict]], *, baseline: str) -> pd.DataFrame:
    """One line per row of a study: accuracy with its interval over seeds, difference to `baseline`.

    A difference is paired, so it rests on the seeds that both have: `pairs`. sd: over seeds.
    """
    lines = {}
    for row, runs in found.items():
        line: dict[str, object] = {"seeds": len(runs)}
        if runs:
            accuracies = [run["test"]["top1"] for run in runs]
            line["top-1 [%]"], line["±"] = mean_and_interval(accuracies)
            line["sd"] = np.std(accuracies, ddof=1) if len(runs) > 1 else np.nan
        if runs and row != baseline:
            mean, half, line["pairs"] = difference(runs, found[baseline])
            line |= {"difference": mean, "± difference": half, "effect": effect(mean, half)}
        lines[row] = line
    columns = ["seeds", "top-1 [%]", "±", "sd", "pairs", "difference", "± difference", "effect"]
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)


# ---------------------------------------------------------------- parts of the test recordings


def among(runs: list[dict], column: str, values: Sequence) -> list[dict]:
    """The runs with those predictions alone whose `column` holds one of `values`."""
    kept = []
    for run in runs:
        table = run["predictions"]
        inside = table[table[column].isin(values)].reset_index(drop=True)
        kept.append(run | {"predictions": inside})
    return kept


def with_light(found: dict[str, list[dict]], root: Path) -> dict[str, list[dict]]:
    """The runs with the illumination of their test recordings in `predictions`: `light`, in 4 bins.

    root: folder of the generated sample, whose ground truth it is; real recordings have none.
    """
    return {row: [_lit(run, root) for run in runs] for row, runs in found.items()}


def _lit(run: dict, root: Path) -> dict:
    table = run["predictions"]
    illumination = datasets.ground_truth(root, list(table.name)).illumination.to_numpy()
    light = pd.cut(illumination, LIGHT_EDGES, labels=LIGHT_NAMES)
    return run | {"predictions": table.assign(light=light)}


def breakdown(found: dict[str, list[dict]], *, baseline: str, by: str) -> pd.DataFrame:
    """One line per (row, group): recordings, top-1 over seeds, paired difference to `baseline`.

    by: a column of the predictions, such as "label", "condition" or "light"; its values are the
    groups. Rows without runs have no line.
    """
    lines = {}
    for row, runs in found.items():
        for group in _groups(runs, by):
            ours = among(runs, by, [group])
            line: dict[str, object] = {"recordings": len(ours[0]["predictions"])}
            line["top-1 [%]"] = 100 * np.mean([run["predictions"].correct.mean() for run in ours])
            if row != baseline:
                mean, half, _ = difference(ours, among(found[baseline], by, [group]))
                line |= {"difference": mean, "± difference": half, "effect": effect(mean, half)}
            lines[row, group] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def _groups(runs: list[dict], by: str) -> list:
    """The values of a column of the predictions, in the order of its categories if it has some."""
    if not runs:
        return []
    values = runs[0]["predictions"][by]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.remove_unused_categories().cat.categories)
    return sorted(set(values), key=str)
