"""How is a run made and kept? Training with its record, tests of its model, what is committed."""

import dataclasses
import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import Tensor
from torch import distributed as dist

import safe_core
from safe_companion import (
    behaviour,
    datasets,
    locks,
    logs,
    predictions,
    processes,
    prompts,
    released,
)
from safe_companion.places import (
    CHECKPOINT,
    OF_WEIGHTS,
    RECORD,
    Place,
    config_of_state,
    run_name,
)
from safe_companion.records import (
    MAY_DIFFER,
    about,
    check_origin,
    commit,
    machine,
    note_start,
    other_fields,
    read_record,
    sentences_fingerprint,
    summary,
    today,
    write_record,
)
from safe_companion.wording import counted
from safe_core import Config


# ------------------------------------------------------------------------------- training
def open_in_all_processes(config: Config) -> datasets.Splits:
    """The data, in every process; the first makes or checks them and tells the others.

    They wait for it as long as a day: a first look at every recording of HARDVS takes its time.
    """
    _, rank, size = safe_core.here()
    if size == 1:
        return datasets.open_dataset(config)
    patient: Any = dist.new_group(backend="gloo", timeout=timedelta(days=1))
    told: list[Any] = [None]
    if rank == 0:
        try:
            splits = datasets.open_dataset(config)
            told = [splits.skipped]
        except Exception as error:
            dist.broadcast_object_list([error], src=0, group=patient)
            raise
    dist.broadcast_object_list(told, src=0, group=patient)
    if isinstance(told[0], Exception):
        raise told[0]
    return splits if rank == 0 else datasets.open_dataset(config, skipped=told[0])


def train(
    config: Config,
    out_dir: Path,
    *,
    resume: bool = False,
    on_step: Callable[[int, int, int, Tensor], object] = lambda *_: None,
) -> dict:
    """Data, training, evaluation, record: what notebooks/train.ipynb shows step by step.

    With resume=True an interrupted run goes on, and one that is finished is left as it is. Returns
    the record; an empty dict in all processes but the first. FileExistsError if the folder holds a
    run and resume is not given; OSError if another process is at work in it; ValueError if the run
    that it holds is another one.
    """
    _, rank, size = safe_core.here()
    lock = locks.take(out_dir) if rank == 0 else None
    try:
        if size > 1:
            dist.barrier()  # all find what the last holder of the lock has left
        return train_alone(config, out_dir, resume=resume, on_step=on_step)
    finally:
        if lock:
            lock.release()


def train_alone(
    config: Config,
    out_dir: Path,
    *,
    resume: bool,
    on_step: Callable[[int, int, int, Tensor], object],
) -> dict:
    """`train` in a folder where no other run is at work."""
    _, rank, size = safe_core.here()
    if resume and (out_dir / RECORD).exists():
        record = read_record(out_dir)
        if config.steps or record["config"]["epochs"] == config.epochs:
            check_same(record, config, out_dir)
            if rank == 0:
                print(f"{out_dir}: finished before, nothing is left to do", flush=True)
            return record if rank == 0 else {}
    starts = note_start(out_dir, config, resume=resume) if rank == 0 else []
    if config.origin == "real":  # before hours of checks
        check_weights(config)
    splits = open_in_all_processes(config)
    if len(splits.test) < size or 0 < len(splits.val) < size:
        found = f"{len(splits.val)} validation and {len(splits.test)} test recordings"
        advice = "use fewer processes, or larger val_fraction and test_fraction"
        raise ValueError(f"{found} for {size} processes: {advice}")
    if rank == 0:
        what = f"{splits.origin} data: {config.dataset}, {run_name(config)}, seed {config.seed}"
        print(what, flush=True)
        for warning in splits.warnings:
            print(f"warning: {warning}", flush=True)
        if splits.skipped:
            print(
                f"left out: {counted(len(splits.skipped), 'recording')}, see {RECORD}", flush=True
            )
        if before := config_of_state(out_dir):
            tell_changes(before, config)
    result = safe_core.fit(
        config,
        splits.train,
        splits.val,
        splits.test,
        sentences=prompts.prompt_sentences(splits.class_names, config),
        about=about(config, splits),
        out_dir=out_dir,
        resume=resume,
        on_step=on_step,
    )
    return write_record(out_dir, config, splits, result, starts) if rank == 0 else {}


def check_weights(config: Config) -> None:
    """OSError if the towers of a configuration, or their weights, cannot be had."""
    if config.text_source == "file":  # which knows the class names only
        config = dataclasses.replace(config, text_source="random")
    try:
        safe_core.build(config, [["a"]])
    except (OSError, RuntimeError) as error:  # no network; no such name
        raise OSError(
            f"no weights clip_weights={config.clip_weights!r} of clip_model={config.clip_model!r}, "
            f"or of another tower: connect once, or set clip_weights=FILE ({error})"
        ) from error


def check_same(record: dict, config: Config, folder: Path) -> None:
    """ValueError if a record is of another configuration, other data or other behaviour."""
    differing = other_fields(record, config)
    splits = datasets.open_dataset(config, skipped=[])
    if record["data"]["fingerprint"] != splits.fingerprint:
        differing.append("data")
    if record["sentences"] != sentences_fingerprint(splits.class_names, config):
        differing.append("sentences")
    differing += [f"version of {group}" for group in behaviour.outdated(record)]
    if differing:
        raise ValueError(
            f"{folder}: holds a run that was made with another {', '.join(differing)}; choose "
            "another folder, or move it away"
        )


def tell_changes(before: Config, config: Config) -> None:
    """Prints what differs from when a run was begun, and which learning rates that changes."""
    if config.steps:
        before = dataclasses.replace(before, epochs=config.epochs)  # no difference
    for name in MAY_DIFFER:
        old, new = getattr(before, name), getattr(config, name)
        if old != new:
            print(f"resumed with {name}={new!r}, begun with {old!r}", flush=True)
    if before.epochs != config.epochs:
        last = min(before.epochs, config.epochs) - 1
        rates = [safe_core.learning_rate(last, c.epochs, c) for c in (before, config)]
        print(
            f"the schedule is another: in epoch {last + 1} the learning rate is about "
            f"{rates[1]:.3g} instead of {rates[0]:.3g}; a run of {config.epochs} epochs from the "
            "start would differ",
            flush=True,
        )


def run(
    config: Config,
    *,
    out_dir: Path | None = None,
    resume: bool = False,
    tensorboard: bool = False,
) -> None:
    """The run of the command line, in one process or under torchrun."""
    _, _, size = processes.join()
    out_dir = out_dir or Place.of(config).working
    log = logs.Log(config, out_dir, resume=resume, tensorboard=tensorboard)
    record = train(config, out_dir, resume=resume, on_step=log)
    if record:
        print(summary(record), f"\nin {out_dir}")
    if size > 1:
        dist.destroy_process_group()


# ------------------------------------------------------------------------------- afterwards
def draws(folder: Path, count: int) -> dict:
    """Test accuracy of the checkpoint in a run's folder over draws of its random test frames."""
    made_by = commit()  # now, whatever is edited while it tests
    model, about = safe_core.load_model(folder / CHECKPOINT)
    config = model.config
    if config.test_frames != "random":
        found = f"test_frames={config.test_frames!r} always draws the same"
        raise ValueError(f"{folder}: {found}; expected 'random'")
    splits = datasets.open_dataset(config)
    if about["identity"]["data"] != splits.fingerprint:
        raise ValueError(f"{folder}: trained on other data than those of its configuration now")
    device, _, _ = processes.join()
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
    What was made of the weights of another record's run is removed there.
    ValueError if another run's record lies there.
    """
    record = read_record(folder)
    config = Config(**record["config"])
    place = Place.of(config).committed
    check_origin(record, place)
    there = read_record(place) if (place / RECORD).exists() else None
    if there:
        other = other_fields(there, config)
        if there["sentences"] != record["sentences"]:
            other.append("sentences")
        if there["data"]["fingerprint"] != record["data"]["fingerprint"]:
            other.append("data")
        if other:
            raise ValueError(
                f"{place}: holds a record with another {', '.join(other)}; move that away first"
            )
    place.mkdir(parents=True, exist_ok=True)
    predictions.keep(folder, place)
    if there != record:
        for name in OF_WEIGHTS:
            (place / name).unlink(missing_ok=True)
    content = (folder / RECORD).read_bytes()  # last: where it is, the run is whole
    safe_core.write_atomically(place / RECORD, functools.partial(write_bytes, content))
    if checkpoint:
        tensors, about = safe_core.load_checkpoint(folder / CHECKPOINT)
        half = {key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}
        safe_core.save_checkpoint(place / CHECKPOINT, half, about)
    return place


def write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)
