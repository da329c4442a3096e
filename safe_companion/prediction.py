"""What does a trained model say of a recording, or of a data set?

The classes come with their probabilities, the most likely first:

    model, about = safe_core.load_model("RUN/best.safetensors")
    safe_companion.predict(model, "take_00.npz")  # [("wave", 0.71), ("nod", 0.12), ...]
"""

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import torch

import safe_core
from safe_companion import behaviour, describing, flags, naming, places, predictions, records, runs
from safe_companion.clips import ClipDataset
from safe_companion.datasets import Splits
from safe_companion.formats.content import MAX_SIDE
from safe_companion.readers import read_events
from safe_companion.recordings import DAVIS346, Recording, RecordingError, locate
from safe_companion.wording import counted
from safe_core import SAFE, Config

# What of its configuration may be another when a checkpoint is evaluated.
OPTIONS = (
    "dataset",
    "data_root",
    *flags.READING,
    "on_bad_recording",
    "batch_size",
    "workers",
    "precision",
)
SPLITS = {"test": ["test"], "val": ["val"], "train": ["train"], "all": ["train", "val", "test"]}
Size = tuple[int, int]


# ------------------------------------------------------------------------------- one recording
class _Given(ClipDataset):
    """The clip of a recording that is already read."""

    def __init__(self, recording: Recording, config: Config):
        super().__init__([(str(recording.path), 0)], "", [""], config)
        self.given = recording

    def recording(self, index: int) -> Recording:
        return self.given


def trained_size(about: dict, checkpoint: Path) -> Size | None:
    """(width, height) that a model's training gave to recordings that do not say theirs.

    From the checkpoint, else from the record beside it. None: each says it, or nothing is known.
    ValueError if what is written there is no size.
    """
    size = _size_in(about, checkpoint)
    record = checkpoint.with_name(places.RECORD)
    if size is None and record.exists():
        there = records.read_json(record)
        size = _size_in(there.get("data") if isinstance(there, dict) else None, record)
    return size


def _size_in(about: Any, place: str | Path) -> Size | None:
    """The sensor_size in a description that was read from `place`."""
    size = about.get("sensor_size") if isinstance(about, dict) else "no description"
    if size is None:
        return None
    if isinstance(size, list) and len(size) == 2:
        if all(type(side) is int and 1 <= side <= MAX_SIDE for side in size):
            return size[0], size[1]
    raise ValueError(
        f"{place}: found sensor_size {size!r}; expected [width, height] in pixels, or null. The "
        "file is damaged: copy it again."
    )


def clip_of(
    recording: str | Path | Recording, config: Config, *, sensor_size: Size | None = None
) -> dict[str, Any]:
    """A recording as its model gets it: the clip of an evaluation, drawn evenly, not augmented.

    sensor_size: of recordings that do not say it; config.sensor_size overrules it. RecordingError
    if it cannot be read, or lacks what the model looks at.
    """
    size = describing.reading(config)["size"] or sensor_size
    if not isinstance(recording, Recording):
        path = Path(recording).absolute()
        recording = ClipDataset([(str(path), 0)], "", [""], config, sensor_size=size).recording(0)
        guessed = recording.size == DAVIS346 and not recording.frame_sources
        if config.dataset == "folder" and size is None and guessed:
            _check_says_size(path, config)
    _check_modalities(recording, config)
    return _Given(recording, config)[0]


def _check_says_size(path: Path, config: Config) -> None:
    """RecordingError if an event file does not say how large its sensor is."""
    file = locate(path).event_file
    if file is None:
        return
    content = read_events(file, time_unit=config.time_unit, columns=config.columns)
    if content.size is None and content.usual_size is None:
        raise RecordingError(
            f"{path}: found no size of its sensor, neither in the file nor with the model; "
            "expected the size in training. Give it, such as sensor_size='346x260' "
            "(--sensor-size 346x260)."
        )


def _check_modalities(recording: Recording, config: Config) -> None:
    """RecordingError if a recording lacks a modality that its model looks at."""
    held = {
        "rgb": bool(recording.frame_sources),
        "event": recording.events is not None or bool(recording.event_image_sources),
    }
    if all(held[branch] for branch in config.branches):
        return
    words = {"rgb": "RGB frames", "event": "events"}
    wanted = " and ".join(words[branch] for branch in config.branches)
    if held["rgb"]:
        found, other = "RGB frames", "rgb"
        advice = "Give the event file"
    else:
        found, other = "events", "event"
        advice = f"Put the frames into {recording.name}/{recording.name}_aps/ beside the events"
    raise RecordingError(
        f"{recording.path}: found {found} only; expected {wanted}, which the model was trained "
        f"on. {advice}, or ask a model that was trained with modality={other!r}.",
        kind="missing",
    )


def _log_probs(model: SAFE, clips: Any, config: Config) -> torch.Tensor:
    """safe_core.predict; ValueError if damaged weights give what is no number."""
    log_probs = safe_core.predict(model, clips, config)
    wrong = log_probs.isnan().any(dim=1).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"{clips[wrong[0]]['name']}: found probabilities that are no numbers, of "
            f"{len(wrong):,} of {len(clips):,} recordings; expected numbers. The weights of the "
            "model are damaged: copy the checkpoint again."
        )
    return log_probs


def answer(
    model: SAFE, clip: dict[str, Any], *, class_names: list[str] | None = None, top: int = 5
) -> list[tuple[str, float]]:
    """[(class, probability)] of a clip, the surest first."""
    if top < 1:
        raise ValueError(f"top={top}; expected 1 or more classes")
    alone = dataclasses.replace(model.config, batch_size=1, workers=0)
    probabilities = _log_probs(model, [clip], alone)[0].exp()
    surest = probabilities.topk(min(top, len(probabilities)))
    numbers = [str(label) for label in range(len(probabilities))]
    names = class_names or model.about.get("class_names") or numbers
    return [(names[k], p) for k, p in zip(surest.indices, surest.values.tolist(), strict=True)]


def predict(
    model: SAFE,
    recording: str | Path | Recording,
    *,
    class_names: list[str] | None = None,
    sensor_size: str | None = None,
    top: int = 5,
) -> list[tuple[str, float]]:
    """[(class, probability)] of a recording, the surest first.

    model: what `load_model` gives. recording: its path in any form that can be read, or what
    `read_recording` gives. class_names: by label; default: the model's. sensor_size: such as
    "346x260", of a recording that does not say it; default: that of the model's training. Raises
    RecordingError: what is wrong with the recording, or lacking for this model; ValueError: what is
    wrong with the model.
    """
    config = dataclasses.replace(model.config, sensor_size=sensor_size or model.config.sensor_size)
    trained = _size_in(model.about, "the model's description")
    clip = clip_of(recording, config, sensor_size=trained)
    return answer(model, clip, class_names=class_names, top=top)


# ------------------------------------------------------------------------------- a data set
def clips_of(splits: Splits, split: str, known: list[str], config: Config) -> ClipDataset:
    """The clips of a split under the model's labels, not augmented, drawn as in testing."""
    to_model = naming.labels_of(splits.class_names, known)
    items = []
    for part in SPLITS[split]:
        clips = getattr(splits, part)
        labels = [to_model[label] for label in clips.labels.tolist()]
        items += list(zip(clips.names, labels, strict=True))
    if not items:
        raise ValueError(f"{splits.root}: found no recording in {split!r}; choose another split")
    return ClipDataset(
        items, splits.root, known, config, draw=splits.test.draw, sensor_size=splits.sensor_size
    )


def differences(
    identity: dict[str, Any], fingerprint: str, versions: dict[str, int]
) -> list[str] | None:
    """What differs from when the model was trained; None if its checkpoint does not say."""
    if not identity:
        return None
    found = []
    trained_on = str(identity.get("data"))
    if trained_on != fingerprint:
        found.append(f"data: fingerprint {fingerprint[:8]}, trained on {trained_on[:8]}")
    for group, version in versions.items():
        trained = identity.get("behaviour", {}).get(group, version)
        if trained != version:
            found.append(f"{group}: version {version} of this code, trained with {trained}")
    return found


def evaluate(
    checkpoint: str | Path,
    *,
    out_dir: Path | None = None,
    split: str = "test",
    classes: Path | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], Path]:
    """(record, its folder) of a test of a checkpoint; in one process or under torchrun.

    On its own data, or on those of `fields` (any of OPTIONS; None: as trained), which have the
    same classes, or those of the file `classes` if the model reads names (naming.load_model).
    Writes record.json and predictions.csv; by default beside the checkpoint, in
    evaluation-DATA-FINGERPRINT. ValueError if the classes are others; FileExistsError if the folder
    holds anything else.
    """
    made_by = records.commit()  # now, whatever is edited while it tests
    checkpoint = Path(checkpoint)
    model, about = naming.load_model(checkpoint, naming.read_names(classes) if classes else None)
    given = {name: value for name, value in fields.items() if value is not None}
    config = Config(**about["config"] | given)
    if config.data_root and not Path(config.data_root).expanduser().is_dir():
        found = f"{config.data_root}: found no such folder"
        raise FileNotFoundError(f"{found}; expected the model's data. Give --data-root.")
    opened = dataclasses.replace(config, train_fraction=1.0) if split == "all" else config
    splits = runs.open_in_all_processes(opened)
    clips = clips_of(splits, split, about["class_names"], config)
    device, rank, size = safe_core.here()
    if len(clips) < size:
        raise ValueError(f"{len(clips)} recordings for {size} processes: use fewer processes")

    with open(checkpoint, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    subject = {"checkpoint": checkpoint.name, "sha256": sha256}
    if out_dir is None:
        parts = ["evaluation", splits.root.resolve().name, splits.fingerprint[:8]]
        out_dir = checkpoint.parent / "-".join(parts + [split] * (split != "test"))
    check_place(out_dir, subject, splits.fingerprint, split)

    start = time.perf_counter()
    log_probs = _log_probs(model.to(device), clips, config)
    told = {"data_root": config.data_root and Path(config.data_root).name}  # no path of a machine
    skipped = [(name, reason.replace(f"{splits.root}/", "")) for name, reason in splits.skipped]
    identity = about.get("identity") or {}
    versions = behaviour.versions_of(config)
    record = {
        "evaluates": subject | {"identity": identity or "not recorded"},
        "new_names": about.get("new_names", []),
        "config": dataclasses.asdict(config) | told,
        "data": splits.facts | {"skipped": skipped},
        "split": split,
        "recordings": len(clips),
        "classes_mapped_by_name": splits.class_names != about["class_names"],
        "test": safe_core.accuracy(log_probs, clips.labels),
        "processes": size,
        "seconds": time.perf_counter() - start,
        **records.machine(),
        "commit": made_by,
        "behaviour": versions,
        "differs": differences(identity, splits.fingerprint, versions),
        "date": records.today(),
    }
    if rank == 0:
        out_dir.mkdir(parents=True, exist_ok=True)
        tested = dataclasses.replace(splits, test=clips)
        predictions.write_table(out_dir / places.TABLE, tested, log_probs)
        records.write_json(out_dir / places.RECORD, record)  # last: with it, the test is whole
    return record, out_dir


def check_place(folder: Path, subject: dict[str, str], fingerprint: str, split: str) -> None:
    """FileExistsError if a folder holds a run, or the evaluation of something else."""
    file = folder / places.RECORD
    if file.exists():
        there = read_evaluation(folder)
        if there is None:
            found = "the record of a run"
        elif there["evaluates"]["sha256"] != subject["sha256"]:
            found = f"an evaluation of another checkpoint ({there['evaluates']['checkpoint']})"
        elif there["data"]["fingerprint"] != fingerprint or there["split"] != split:
            found = "an evaluation on other data"
        else:
            return
    elif any(folder.glob("*.safetensors")):
        found = "the checkpoints of a run"
    else:
        return
    raise FileExistsError(
        f"{folder}: found {found}; expected a folder of its own. Give another --out-dir."
    )


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """The record of an evaluation in its folder; None: of something else. ValueError: damaged."""
    file = folder / places.RECORD
    record = records.read_json(file)
    if not isinstance(record, dict) or "evaluates" not in record:
        return None
    try:
        summary(record)
        said = [record["evaluates"]["sha256"], record["data"]["fingerprint"], record["split"]]
        if not all(isinstance(text, str) for text in said):
            raise TypeError("a fingerprint or split that is no text")
    except Exception as error:  # damaged content raises many kinds
        raise ValueError(f"{file}: not the record of an evaluation ({error!r})") from error
    return record


def summary(record: dict[str, Any]) -> str:
    """What an evaluation gave on what, then what differs from the training: lines for people."""
    data, test = record["data"], record["test"]
    lines = [
        f"{record['evaluates']['checkpoint']} on {record['config']['dataset']} ({data['origin']} "
        f"data, split {record['split']}, {counted(record['recordings'], 'recording')}): "
        f"top-1 {test['top1']:.1f} %, top-5 {test['top5']:.1f} %"
    ]
    if data["skipped"]:
        lines.append(f"left out: {counted(len(data['skipped']), 'recording')}; the record says why")
    lines += [f"warning: {warning}" for warning in data["warnings"]]
    if record["classes_mapped_by_name"]:
        lines.append("the data have their classes in another order: mapped by name")
    if record.get("new_names"):
        lines.append(f"names that it was not trained on: {', '.join(record['new_names'])}")
    if record["differs"] is None:
        lines.append("data and code of the training: not recorded in the checkpoint")
    else:
        lines += [f"differs from the training: {what}" for what in record["differs"]]
    return "\n".join(lines)
