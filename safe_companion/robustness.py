"""How robust is a trained model? Test clips corrupted, the sample at fixed levels, in one table.

Beside a checkpoint lies robustness.json: what was tested on which data, and a line for each test.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from scipy import stats

import safe_core
from safe_companion import (
    ROOT,
    behaviour,
    calibration,
    datasets,
    how_far,
    levels,
    prediction,
    records,
)
from safe_companion.corruptions import CORRUPTIONS, Corrupted
from safe_companion.levels import AXES, AtLevel
from safe_companion.recordings import RecordingError
from safe_core import Config

FILE = "robustness.json"
FIGURES = ("top1", "low", "high", "difference", "half", "confidence", "calibration_error")
CLEAN = "nothing"  # what is wrong with the clips as they are
On = Literal["corruptions", "levels"]


def tests(config: Config, clips: Any, on: On) -> Iterator[tuple[str, float, str, Any]]:
    """(what is changed, level, its unit, clips) of each test of a model."""
    if on == "levels":
        for axis, condition in AXES.items():
            for level in condition.levels:
                yield axis, level, condition.unit, AtLevel(config, axis, level)
        return
    yield CLEAN, 0, "", clips
    for name, corruption in CORRUPTIONS.items():
        if set(corruption.needs) <= set(config.branches):
            for level in corruption.levels:
                yield name, level, corruption.unit, Corrupted(clips, corruption, level)


def line(log_probs: torch.Tensor, labels: torch.Tensor, clean: np.ndarray | None) -> dict[str, Any]:
    """What a test gave, in percent; beside it the paired difference to the clips as they are.

    Intervals of 95 % over recordings, of one model: nothing is said of another seed.
    """
    confidence, answers = log_probs.exp().max(dim=1)
    correct = (answers == labels).numpy()
    wilson = stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    found: dict[str, Any] = {
        "recordings": len(correct),
        "top1": 100 * float(correct.mean()),
        "low": 100 * wilson.low,
        "high": 100 * wilson.high,
        "confidence": 100 * float(confidence.mean()),
        "calibration_error": calibration.calibration_error(confidence.numpy(), correct).corrected,
    }
    if clean is not None:
        gain = 100 * (correct.astype(float) - clean)
        found |= {"difference": float(gain.mean()), "half": float(1.96 * stats.sem(gain))}
    return found


def table(model: Any, config: Config, clips: Any, on: On) -> list[dict[str, Any]]:
    """The lines of all tests of a model on its test clips, or on the sample at fixed levels.

    One of which the recordings do not hold enough has the reason in "left_out", and no figures.
    """
    planned = list(tests(config, clips, on))
    lines = []
    clean = None
    for what, level, unit, changed in how_far.bar(planned, desc=on, unit="test"):
        known = {"on": on, "what": what, "level": level, "unit": unit}
        try:
            log_probs = safe_core.predict(model, changed, config)
        except RecordingError as error:  # too few frames for a delay, or stored event images only
            if what == CLEAN:
                raise
            lines.append(known | {"left_out": str(error).strip().splitlines()[-1]})
            continue
        lines.append(known | line(log_probs, changed.labels, clean))
        if what == CLEAN:
            clean = (log_probs.argmax(dim=1) == changed.labels).numpy().astype(float)
    return lines


def measure(
    checkpoint: str | Path, *, on: On | None = None, out_dir: Path | None = None, **fields: Any
) -> tuple[dict[str, Any], Path]:
    """(what robustness.json says, that file) of a checkpoint; by default beside it.

    on: default: corruptions, and levels if they can be set. fields: as in prediction.evaluate.
    ValueError if the data have other classes, or no levels can be set.
    """
    made_by = records.commit()
    checkpoint = Path(checkpoint)
    model, about = safe_core.load_model(checkpoint)
    given = {name: value for name, value in fields.items() if value is not None}
    config = Config(**about["config"] | given | {"resize": "loader"})
    splits = datasets.open_dataset(config)
    clips = splits.test
    if splits.class_names != about["class_names"]:
        clips = prediction.clips_of(splits, "test", about["class_names"], config)
    chosen: list[On] = [on] if on else ["corruptions"]
    if on is None and levels.can_be_set(config):
        chosen.append("levels")
    device, _, _ = safe_core.here()
    model.to(device)
    lines = [made for kind in chosen for made in table(model, config, clips, kind)]
    with open(checkpoint, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    told = {"data_root": config.data_root and Path(config.data_root).name}  # no path of a machine
    found = {
        "checkpoint": {"name": checkpoint.name, "sha256": sha256},
        "config": dataclasses.asdict(config) | told,
        "data": splits.facts | {"skipped": len(splits.skipped)},
        "lines": lines,
        **records.machine(),
        "commit": made_by,
        "behaviour": behaviour.versions_of(config),
        "date": records.today(),
    }
    file_of = (out_dir or checkpoint.parent) / FILE
    file_of.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(file_of, found)
    return found, file_of


def read(folder: Path) -> pd.DataFrame | None:
    """The lines in a folder's robustness.json; None if there is none. ValueError: damaged."""
    file = folder / FILE
    if not file.exists():
        return None
    content = records.read_json(file)
    try:
        lines = pd.DataFrame(content["lines"])
        return lines[["on", "what", "level", "unit", *lines.columns[4:]]]
    except Exception as error:  # damaged content raises many kinds
        raise ValueError(f"{file}: found no table of tests ({error!r}); make it anew") from error


def of_run(run: dict, *, rerun: bool = False) -> pd.DataFrame | None:
    """The lines of a run, beside its record; None if it was not tested.

    rerun: it is tested, if its weights are there.
    """
    folder = ROOT / run["path"]
    found = read(folder)
    weights = records.checkpoint(run)
    if found is None and rerun and weights is not None:
        measure(weights, out_dir=folder)
        found = read(folder)
    return found


def over_seeds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The lines of runs of several seeds in one: means, and how many seeds there are."""
    keys = ["on", "what", "level", "unit"]
    together = pd.concat(tables).groupby(keys, sort=False)
    figures = [name for name in FIGURES if name in tables[0]]
    return together[figures].mean().assign(seeds=together.size()).reset_index()


def summary(found: dict[str, Any]) -> str:
    """The lines as a table for people."""
    lines = pd.DataFrame(found["lines"])
    shown = ["what", "level", "unit", "recordings", *FIGURES]
    shown = [name for name in shown if name in lines]
    lines["level"] = [f"{level:g}" for level in lines.level]
    text = lines[shown].to_string(float_format="{:.1f}".format, na_rep="", index=False)
    out = lines[lines.left_out.notna()] if "left_out" in lines else lines[:0]
    reasons = [f"left out: {row.what} {row.level}: {row.left_out}" for row in out.itertuples()]
    return "\n".join([text, *reasons])
