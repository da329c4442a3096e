"""How does the book let its reader play with trained models? As script files that a browser opens.

    OUT/DATASET.js              classes, what is told of each recording, answers of PyTorch
    OUT/DATASET-MODEL.js        the weights of one of MODELS, rounded
    OUT/DATASET-NN.js           a test recording: frames as the model sees them, all events
    OUT/still.png               what a browser without JavaScript shows

Each script calls `play.receive(name, content)`, so that a page can load it from a disk, too, where
nothing may be fetched. book/_static/play/engine.js reads them and computes what PyTorch does.
"""

import base64
import dataclasses
import hashlib
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import safe_core
from safe_companion import ROOT, datasets, notebooks, records
from safe_companion.augmentation import Augmentation, stack_images
from safe_companion.events import frame_windows
from safe_companion.places import CHECKPOINT, RECORD, Place
from safe_core import Config

FOLDER = ROOT / "book" / "_static" / "play" / "data"
DATASETS = ("hardvs", "pokerevent")
OWN = re.compile(rf"({'|'.join(DATASETS)})(-\w+)?\.js")  # scripts that an export writes
# The models of a data set, and in what each differs from the sample's preset.
MODELS: dict[str, dict[str, Any]] = {
    "safe": {},
    "rgb": {"modality": "rgb"},
    "event": {"modality": "event"},
    "text": {"classifier": "text"},
}
# engine.js computes models that are as asked for in all fields but these.
FREE = {"seed", "workers", "prompt", "prompt_file", "steps", "epochs", "learning_rate"}

BITS = (10, 11, 12, 14, 16)  # of a weight; the fewest with which the answers stay
MOST_POINTS = 0.4  # by which a probability may change through rounding, in percentage points
TOP = 5  # answers that are shown, and so have to keep their order
# Text that holds numbers: 13 bits in two of 91 printable characters, since 2**13 <= 91**2.
ALPHABET = np.array([c for c in range(33, 127) if chr(c) not in '"\\<'], np.uint8)


# ---------------------------------------------------------------- numbers as text
def bits_of(numbers: np.ndarray, width: int) -> np.ndarray:
    """Whole numbers >= 0 [n] as `width` bits each, the highest first: uint8 [n * width]."""
    places = np.arange(width - 1, -1, -1, dtype=np.uint32)
    return ((numbers.astype(np.uint32)[:, None] >> places) & 1).astype(np.uint8).ravel()


def text_of(bits: np.ndarray) -> str:
    """Bits as text: of every 13, v, the characters number v % 91 and v // 91 of ALPHABET."""
    padded = np.pad(bits, (0, -len(bits) % 13)).reshape(-1, 13)
    values = padded @ (1 << np.arange(12, -1, -1))
    return ALPHABET[np.stack([values % 91, values // 91], axis=1)].tobytes().decode("ascii")


def compressed(content: bytes) -> dict[str, Any]:
    """Bytes deflated, as text, and their number: for the browser's DecompressionStream."""
    deflated = np.frombuffer(zlib.compress(content, 9), np.uint8)
    return {"bytes": len(deflated), "text": text_of(np.unpackbits(deflated))}


def script(name: str, content: dict[str, Any]) -> str:
    """What a browser runs to receive some content."""
    return f"play.receive({json.dumps(name)}, {json.dumps(content)});\n"


# ---------------------------------------------------------------- models
def files_of(dataset: str, runs: Path | None) -> dict[str, Path]:
    """The checkpoint of each of MODELS: under `runs`; default: in results/, else in runs/."""
    found = {}
    for name, fields in MODELS.items():
        place = Place.of(safe_core.configure(dataset=dataset, **fields))
        folders = [runs / place.name] if runs else [place.committed, place.working]
        there = [folder / CHECKPOINT for folder in folders if (folder / CHECKPOINT).is_file()]
        if not there:
            given = {"dataset": dataset} | fields
            options = " ".join(f"--{field} {value}" for field, value in given.items())
            raise FileNotFoundError(
                f"{folders[-1]}: found no {CHECKPOINT}; expected that of the run which "
                f"`safe train {options}` makes. Make it, or say --runs FOLDER."
            )
        found[name] = there[0]
    return found


def load(file: Path, asked: Config) -> Any:
    """The model of a checkpoint. ValueError if engine.js would not compute what it does."""
    model, _ = safe_core.load_model(file)
    found, expected = dataclasses.asdict(model.config), dataclasses.asdict(asked)
    for name in expected.keys() - FREE - {"pretrained"}:
        if found[name] != expected[name]:
            raise ValueError(
                f"{file}: found {name}={found[name]!r}; expected {expected[name]!r}, as in the run "
                f"{Place.of(asked).name}. Give the checkpoint of that run."
            )
    return model


def tensors_of(model: Any) -> dict[str, Tensor]:
    """The tensors that engine.js reads: weights, and one feature per class, of its sentences."""
    state = {name: tensor.float() for name, tensor in model.state_dict().items()}
    features = state.pop("text_features").split(model.counts)
    return state | {"text_features": torch.stack([part.mean(dim=0) for part in features])}


def is_rounded(name: str, tensor: Tensor) -> bool:
    """Whether it is a large matrix of weights; all else is few numbers, and stays as it is."""
    is_matrix = tensor.ndim > 1 and name != "text_features"
    return is_matrix and len(tensor) >= 24 and tensor[0].numel() >= 24


def rounded(tensor: Tensor, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(whole numbers [rows, n], scales float32 [rows]): the tensor is about numbers * scales.

    The largest of a row becomes 2**(bits - 1) - 1.
    """
    rows = tensor.flatten(1).numpy()
    top = 2 ** (bits - 1) - 1
    scales = (np.abs(rows).max(axis=1) / top).astype(np.float32)
    scales[scales == 0] = 1
    return np.rint(rows / scales[:, None]).clip(-top, top).astype(np.int64), scales


def with_rounded(model: Any, bits: int) -> dict[str, Tensor]:
    """The tensors of a model, those that are rounded as engine.js will have them."""
    changed = {}
    for name, tensor in model.state_dict().items():
        changed[name] = tensor
        if is_rounded(name, tensor):
            numbers, scales = rounded(tensor, bits)
            values = numbers.astype(np.float32) * scales[:, None]
            changed[name] = torch.from_numpy(values).view_as(tensor)
    return changed


@torch.inference_mode()
def answers(model: Any, clips: list[dict]) -> Tensor:
    """Log-probabilities [clips, L]."""
    images = {branch: torch.stack([c[branch] for c in clips]) for branch in ("rgb", "event")}
    return model(images["rgb"], images["event"]).float().log_softmax(dim=1)


def fewest_bits(model: Any, clips: list[dict]) -> tuple[int, Tensor]:
    """(bits, answers before rounding): with so few, the clips' answers stay as they were.

    That is, the first TOP keep their order, and no probability changes by more than MOST_POINTS.
    ValueError if the most of BITS are too few.
    """
    before = answers(model, clips)
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    order = before.topk(TOP).indices
    for bits in BITS:
        model.load_state_dict(with_rounded(model, bits))
        after = answers(model, clips)
        model.load_state_dict(whole)
        change = 100 * (after.exp() - before.exp()).abs().max().item()
        if change <= MOST_POINTS and torch.equal(after.topk(TOP).indices, order):
            return bits, before
    raise ValueError(
        f"found answers that change by {change:.2f} points, or in order, with {bits} bits a weight;"
        f" expected at most {MOST_POINTS}. Give BITS of safe_companion/playing.py a larger number."
    )


def as_content(model: Any, bits: int) -> dict[str, Any]:
    """What DATASET-MODEL.js says: of each tensor name, shape and whether rounded, then all bits.

    A rounded row: its scale as the 32 bits of a float, then its numbers, `bits` each, 2**(bits - 1)
    added. Other numbers: 32 bits each.
    """
    about = []
    parts = []
    for name, tensor in tensors_of(model).items():
        about.append([name, list(tensor.shape), is_rounded(name, tensor)])
        if not is_rounded(name, tensor):
            parts.append(bits_of(tensor.flatten().numpy().view(np.uint32), 32))
            continue
        numbers, scales = rounded(tensor, bits)
        for row, scale in zip(numbers, scales, strict=True):
            parts.append(bits_of(scale[None].view(np.uint32), 32))
            parts.append(bits_of(row + 2 ** (bits - 1), bits))
    config = model.config
    fields = ("modality", "classifier", "frames", "image_size", "width", "heads", "readout_tokens")
    return {
        "config": {name: getattr(config, name) for name in fields},
        "bits": bits,
        "tensors": about,
        "data": text_of(np.concatenate(parts)),
    }


# ---------------------------------------------------------------- recordings
def chosen(splits: datasets.Splits) -> list[int]:
    """Twelve test recordings: of every condition one of an even and one of an odd class number.

    By the rule of notebooks.first_of_each: none is picked by its looks, nor by its answer.
    """
    truth = datasets.ground_truth(splits.root, splits.test.names)
    kinds = [f"{cause} {label % 2}" for cause, label in zip(truth.cause, truth.label, strict=True)]
    return notebooks.first_of_each(kinds)


def frames_of(recording: Any, side: int) -> np.ndarray:
    """All frames of a recording as a model sees them, uint8 [frames, 3, S, S]."""
    images = [Image.fromarray(np.asarray(frame)) for frame in recording.frame_sources]
    options: dict[str, Any] = {"side": side, "background": 0, "recolour": False}
    return stack_images(images, Augmentation(), **options).numpy()


def recording_content(recording: Any, side: int) -> dict[str, Any]:
    """What DATASET-NN.js says of a recording, so that clips can be made of it, late ones too.

    frames, deflated: every pixel as the difference to the one above it. windows: how many events
    belong to each frame. events, deflated: those of each window sorted by pixel, and on a pixel by
    time, which is all that an image shows; each as twice its pixel's number (row by row) plus 1 if
    ON, 16 bits, of which the difference to the event before is stored. interval: from one frame to
    the next, microseconds.
    """
    frames = frames_of(recording, side)
    differences = np.diff(frames, axis=2, prepend=np.uint8(0))
    events = np.asarray(recording.events)
    windows = frame_windows(recording.frame_t, events["t"])
    width, height = recording.size
    pixels = events["y"].astype(np.uint32) * width + events["x"]
    parts = []
    for start, stop in windows:
        order = start + np.argsort(pixels[start:stop], kind="stable")
        coded = (2 * pixels[order] + events["p"][order]).astype("<u2")
        parts.append(np.diff(coded, prepend=np.uint16(0)).tobytes())
    return {
        "side": side,
        "sensor": [width, height],
        "frames": compressed(differences.tobytes()),
        "windows": [stop - start for start, stop in windows],
        "interval": int(np.median(np.diff(recording.frame_t))),
        "events": compressed(b"".join(parts)),
    }


def thumbnail(frame: np.ndarray) -> str:
    """A frame [3, S, S] as the address of a small picture."""
    stream = io.BytesIO()
    Image.fromarray(frame.transpose(1, 2, 0)).save(stream, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def still(clip: dict) -> Image.Image:
    """Frames of a clip above its event images, three times as large."""
    rows = [np.concatenate(list(clip[b].numpy()), axis=2) for b in ("rgb", "event")]
    image = Image.fromarray(np.concatenate(rows, axis=1).transpose(1, 2, 0))
    return image.resize((3 * image.width, 3 * image.height), Image.Resampling.NEAREST)


# ---------------------------------------------------------------- all of it
def tested(file: Path) -> dict[str, Any] | None:
    """What the record beside a checkpoint says of all test recordings, if there is one."""
    if not (file.parent / RECORD).is_file():
        return None
    record = records.read_record(file.parent)
    return {"top1": record["test"]["top1"], "recordings": record["data"]["test"]}


def export(out: Path = FOLDER, *, runs: Path | None = None) -> list[tuple[Path, int]]:
    """(file, its bytes) of all files written into `out`, where scripts of an older export go.

    runs: a folder of runs, ORIGIN/DATASET/WHAT_DIFFERS/seed0/best.safetensors; default: results/ of
    this project, and where a run lies while it is made. FileNotFoundError: a run is not there;
    ValueError: a checkpoint is not what it should be; FileExistsError: `out` holds other scripts.
    Nothing is written unless all is there.
    """
    there = sorted(out.glob("*.js"))
    if others := [file.name for file in there if not OWN.fullmatch(file.name)]:
        raise FileExistsError(
            f"{out}: found {', '.join(others)}; expected no scripts but those of an export. Choose "
            "another folder."
        )
    files = {dataset: files_of(dataset, runs) for dataset in DATASETS}
    scripts: dict[str, dict[str, Any]] = {}
    for dataset in DATASETS:
        splits = datasets.open_dataset(safe_core.configure(dataset=dataset))
        indices = chosen(splits)
        clips = [splits.test[index] for index in indices]
        about = {}
        for name, file in files[dataset].items():
            scripts[f"{dataset}-{name}"], about[name] = model_content(dataset, name, file, clips)
        told = []
        for number, index in enumerate(indices):
            content = recording_content(splits.test.recording(index), splits.test.config.image_size)
            scripts[f"{dataset}-{number:02}"] = content
            told.append(told_of(splits, index) | {"events": sum(content["windows"])})
        scripts[dataset] = {
            "title": datasets.TITLES[dataset],
            "origin": splits.origin,
            "fingerprint": splits.fingerprint,
            "test": len(splits.test),
            "classes": splits.class_names,
            "models": about,
            "recordings": told,
        }
        if dataset == DATASETS[0]:
            picture = still(clips[[line["cause"] for line in told].index("none")])
    out.mkdir(parents=True, exist_ok=True)
    for old in there:
        old.unlink()
    written = [out / f"{name}.js" for name in scripts]
    for file, (name, content) in zip(written, scripts.items(), strict=True):
        file.write_text(script(name, content))
    written.append(out / "still.png")
    picture.save(written[-1], optimize=True)
    return [(file, file.stat().st_size) for file in sorted(written)]


def model_content(
    dataset: str, name: str, file: Path, clips: list[dict]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what DATASET-MODEL.js says, what DATASET.js says of it)."""
    model = load(file, safe_core.configure(dataset=dataset, **MODELS[name]))
    bits, log_probs = fewest_bits(model, clips)
    return as_content(model, bits), {
        "bits": bits,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "tested": tested(file),
        "log_probs": np.round(log_probs.numpy().astype(float), 5).tolist(),
    }


def told_of(splits: datasets.Splits, index: int) -> dict[str, Any]:
    """What DATASET.js says of a test recording."""
    frames = frames_of(splits.test.recording(index), splits.test.config.image_size)
    truth = datasets.ground_truth(splits.root, [splits.test.names[index]])
    return {
        "name": splits.test.names[index],
        "label": int(splits.test.labels[index]),
        "cause": str(truth.cause.iloc[0]),
        "picture": thumbnail(frames[len(frames) // 2]),
    }
