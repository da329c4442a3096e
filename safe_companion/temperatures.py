"""At which temperature do a model's probabilities fit, and how well do they then on the test list?

The temperature is fitted on recordings that neither trained the model nor are reported: those held
out of its training list, which have chosen its epoch at most; without any, on the sample, the test
list of the other sample, on which recipes are chosen (sample_seed=1).
"""

import dataclasses
from pathlib import Path
from typing import Any

import safe_core
from safe_companion import ROOT, calibration, datasets, prediction, records
from safe_companion.clips import ClipDataset
from safe_core import Config

FILE = "temperature.json"  # beside a run's record
OTHER_SAMPLE = 1  # sample_seed


def held_out(config: Config, splits: datasets.Splits) -> ClipDataset:
    """The clips on which a temperature is fitted; ValueError if there are none."""
    if len(splits.val):
        return splits.val
    if config.origin == "sample" and config.sample_seed != OTHER_SAMPLE:
        other = dataclasses.replace(config, sample_seed=OTHER_SAMPLE)
        return datasets.open_dataset(other).test
    raise ValueError(
        f"{splits.root}: found val_fraction={config.val_fraction}, so no recording is held out of "
        "training; expected some, to fit a temperature on. Train with a val_fraction."
    )


def fitted(checkpoint: Path, **fields: Any) -> dict[str, Any]:
    """Temperature of a checkpoint, and its test list's loss and calibration error with and without.

    fields: such as data_root, where the data lie now. Losses in nats, errors in percent.
    """
    model, about = safe_core.load_model(checkpoint)
    given = {name: value for name, value in fields.items() if value is not None}
    config = Config(**about["config"] | given)
    splits = datasets.open_dataset(config)
    if splits.class_names != about["class_names"]:
        prediction.clips_of(splits, "test", about["class_names"], config)  # says what is another
        raise ValueError(f"{splits.root}: found the model's classes in another order")
    model.to(safe_core.here()[0])
    clips = held_out(config, splits)
    before = safe_core.predict(model, clips, config).double().numpy()
    temperature = calibration.fit_temperature(before, clips.labels.numpy())
    found: dict[str, Any] = {"temperature": temperature, "held out": len(clips)}
    labels = splits.test.labels.numpy()
    log_probs = safe_core.predict(model, splits.test, config).double().numpy()
    for name, scaled in {
        "before": log_probs,
        "after": calibration.rescaled(log_probs, temperature),
    }.items():
        right = scaled.argmax(axis=1) == labels
        error = calibration.calibration_error(calibration.confidence(scaled), right)
        found[f"loss {name}"] = -float(scaled[range(len(labels)), labels].mean())
        found[f"error {name}"] = error.corrected
        found[f"low {name}"], found[f"high {name}"] = error.low, error.high
    return found


def of_run(run: dict, *, rerun: bool = False, **fields: Any) -> dict[str, Any] | None:
    """What `fitted` found of a run, kept beside its record; None if it was not fitted.

    rerun: it is fitted, if its weights are there.
    """
    file = ROOT / run["path"] / FILE
    weights = records.checkpoint(run)
    if not file.exists() and rerun and weights is not None:
        made_by = {"commit": records.commit(), "date": records.today()} | records.machine()
        records.write_json(file, {"fitted": fitted(weights, **fields)} | made_by)
    return records.read_json(file)["fitted"] if file.exists() else None
