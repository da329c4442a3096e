"""How is a run made and kept? Training with its record, tests of its model, what is committed."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

from torch import distributed as dist

import safe_core
from safe_companion import ROOT, behaviour, datasets, prompts, released
from safe_companion.records import (
    CHECKPOINT,
    PREDICTIONS,
    RECORD,
    Place,
    check_origin,
    commit,
    machine,
    run_name,
    summary,
    today,
    write_record,
)
from safe_core import Config


# ------------------------------------------------------------------------------- training
def open_in_all_processes(config: Config) -> datasets.Splits:
    """The data, in every process; the first makes a sample that is missing, the others wait."""
    _, rank, size = safe_core.join_processes()
    if rank > 0:
        dist.barrier()
    splits = datasets.open_dataset(config)
    if rank == 0 and size > 1:
        dist.barrier()
    return splits


def train(
    config: Config,
    out_dir: Path,
    *,
    resume: bool = False,
    on_step: Callable[[int, int, int, float], object] = lambda *_: None,
) -> dict:
    """Data, training, evaluation, record: what notebooks/train.ipynb shows step by step.

    Returns the record; an empty dict in all processes but the first.
    """
    made_by = commit()  # now, whatever is edited while it trains
    splits = open_in_all_processes(config)
    _, rank, size = safe_core.join_processes()
    if len(splits.test) < size or 0 < len(splits.val) < size:
        found = f"{len(splits.val)} validation and {len(splits.test)} test recordings"
        advice = "use fewer processes, or larger val_fraction and test_fraction"
        raise ValueError(f"{found} for {size} processes: {advice}")
    if rank == 0:
        what = f"{splits.origin} data: {config.dataset}, {run_name(config)}, seed {config.seed}"
        print(what, flush=True)
    result = safe_core.fit(
        config,
        splits.train,
        splits.val,
        splits.test,
        sentences=prompts.prompt_sentences(splits.class_names, config),
        class_names=splits.class_names,
        out_dir=out_dir,
        resume=resume,
        on_step=on_step,
        fusion=released.fusion_of(config),
    )
    return write_record(out_dir, config, splits, result, made_by) if rank == 0 else {}


def run(config: Config, *, out_dir: Path | None = None, resume: bool = False) -> None:
    """The run of the command line, in one process or under torchrun."""
    _, _, size = safe_core.join_processes()
    out_dir = out_dir or ROOT / "runs" / f"{config.dataset}-seed{config.seed}"
    record = train(config, out_dir, resume=resume)
    if record:
        print(summary(record), f"\nin {out_dir}")
    if size > 1:
        dist.destroy_process_group()


# ------------------------------------------------------------------------------- afterwards
def draws(folder: Path, count: int) -> dict:
    """Test accuracy of the checkpoint in a run's folder over draws of its random test frames."""
    made_by = commit()  # now, whatever is edited while it tests
    model, _ = released.load_model(folder / CHECKPOINT)
    config = model.config
    if config.test_frames != "random":
        found = f"test_frames={config.test_frames!r} always draws the same"
        raise ValueError(f"{folder}: {found}; expected 'random'")
    splits = datasets.open_dataset(config)
    device, _, _ = safe_core.join_processes()
    scores = released.evaluate(model.to(device), splits.test, draws=count)
    return {
        "top1": [score["top1"] for score in scores],
        "data": splits.facts,
        "behaviour": behaviour.versions_of(config),
        "commit": made_by,
        "date": today(),
        **machine(),
    }


def keep(folder: Path, *, checkpoint: bool = False) -> Path:
    """Copies a run's record and predictions to where committed ones lie; returns that place.

    With `checkpoint` also the chosen epoch's weights in half precision, which some notebooks read.
    """
    record = json.loads((folder / RECORD).read_text())
    place = Place.of(Config(**record["config"])).committed
    check_origin(record, place)
    if (place / RECORD).exists():
        there = json.loads((place / RECORD).read_text())["data"]["fingerprint"]
        if there != record["data"]["fingerprint"]:
            raise ValueError(f"{place} holds a record of other data: move that away first")
    place.mkdir(parents=True, exist_ok=True)
    for name in (PREDICTIONS, RECORD):  # the record last: where it is, the run is whole
        content = (folder / name).read_bytes()
        safe_core.write_atomically(place / name, functools.partial(write_bytes, content))
    if checkpoint:
        tensors, about = safe_core.load_checkpoint(folder / CHECKPOINT)
        half = {key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}
        safe_core.save_checkpoint(place / CHECKPOINT, half, about)
    return place


def write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)
