"""Recordings and roots made by hand: what the tests of readers, clips and data sets read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dv_processing as dv
import numpy as np
from PIL import Image

from safe_companion import events

SIZE = (8, 6)  # width, height: unequal, so that swapped axes show


def make_events(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """EVENT_DTYPE array of rows (x, y, t, p)."""
    return np.array(list(rows), events.EVENT_DTYPE)


def random_events(
    count: int, size: tuple[int, int] = SIZE, seed: int = 0, duration: int = 1_000_000
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    stream = np.empty(count, events.EVENT_DTYPE)
    stream["x"] = rng.integers(0, size[0], count)
    stream["y"] = rng.integers(0, size[1], count)
    stream["t"] = np.sort(rng.integers(0, duration, count))
    stream["p"] = rng.integers(0, 2, count)
    return stream


def save_npz(path: Path, stream: np.ndarray, **extra: Any) -> Path:
    """The stream as keys x, y, t, p; extra keys are added, or replace these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **({key: stream[key] for key in "xytp"} | extra))
    return path


def save_images(
    folder: Path, images: Sequence[np.ndarray], stride: int = 1, digits: int = 8
) -> None:
    """Images as PNG files numbered 0, stride, 2 * stride, ..."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i * stride:0{digits}d}.png")


def save_aedat4(
    path: Path,
    stream: np.ndarray,
    frames: Sequence[tuple[int, np.ndarray]],
    size: tuple[int, int],
) -> Path:
    """frames: (time stamp, pixels BGR or gray)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    config = dv.io.MonoCameraWriter.Config("DAVIS346_test")
    config.addEventStream(size)
    config.addFrameStream(size)
    writer = dv.io.MonoCameraWriter(str(path), config)
    store = dv.EventStore()
    for x, y, t, p in stream.tolist():
        store.push_back(t, x, y, bool(p))
    writer.writeEvents(store)
    for t, pixels in frames:
        writer.writeFrame(dv.Frame(t, pixels))
    del writer  # closes the file
    return path


def gray_frames(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Frame i is uniform, of value 20 * i: a clip shows which frames it took."""
    width, height = size
    return [np.full((height, width, 3), 20 * i, np.uint8) for i in range(count)]


def save_numbered(folder: Path, count: int = 6) -> Path:
    """A recording whose frame i has value 20 * i, and whose events until the next are in row i.

    Sensor 8 x 6; frame i is taken at 1000 * i us.
    """
    rows = [(x, i, 1000 * i + 100 * x, 1) for i in range(count) for x in range(8)]
    save_npz(folder / f"{folder.name}.npz", make_events(*rows), frame_t=np.arange(count) * 1000)
    save_images(folder / f"{folder.name}_aps", gray_frames(count))
    return folder


def save_stored(folder: Path, images: Sequence[np.ndarray]) -> Path:
    """A recording without events: `images` are its frames, and its stored event images, too."""
    for kind in ("aps", "dvs"):
        save_images(folder / f"{folder.name}_{kind}", images)
    return folder


def write_lists(
    root: Path, train: Sequence[tuple[str, int]], test: Sequence[tuple[str, int]]
) -> Path:
    """List files of (sample, label)."""
    root.mkdir(parents=True, exist_ok=True)
    for split, items in {"train": train, "test": test}.items():
        lines = [f"{name} 5 {label}\n" for name, label in items]
        (root / f"{split}_label.txt").write_text("".join(lines))
    return root


def make_root(
    root: Path,
    *,
    per_class: int = 6,
    names: Sequence[str] = ("Wave", "Left Bend"),
    frames: int = 5,
) -> Path:
    """A HARDVS-like root of npz + `_aps` recordings, names with spaces; 2 for testing a class."""
    lists: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for split, count in {"train": per_class, "test": 2}.items():
        for label in range(len(names)):
            for i in range(count):
                name = f"{split} ({i})"
                sample = f"action_{label + 1:03d}/{name}"
                save_npz(root / sample / f"{name}.npz", random_events(400, seed=100 * label + i))
                save_images(root / sample / f"{name}_aps", gray_frames(frames))
                lists[split].append((sample, label))
    (root / "classes.txt").write_text("\n".join(names))
    return write_lists(root, lists["train"], lists["test"])


def listed_root(root: Path, *, per_class: int = 10, test_per_class: int = 2) -> Path:
    """A root of two classes whose lists are complete, but only the first recordings are there."""
    train = [(f"{label}/train {i}", label) for i in range(per_class) for label in (0, 1)]
    test = [(f"{label}/test {i}", label) for i in range(test_per_class) for label in (0, 1)]
    write_lists(root, train, test)
    (root / "classes.txt").write_text("Wave\nLeft Bend")
    save_numbered(root / train[0][0])
    save_numbered(root / test[0][0])
    return root
