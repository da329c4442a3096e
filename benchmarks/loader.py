"""CPU time of a training clip by the form of its recording: `python benchmarks/loader.py [passes]`.

Synthetic recordings of 346 x 260 pixels, 60 frames and 1 to 3 million events, in every form, read
from the file cache by one core: F = 5, 224 pixels, jittered and augmented. Clip by clip all forms
in turn; the least of all passes counts, averaged over the recordings.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import dv_processing as dv
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import safe_core
from safe_companion import packs, records
from safe_companion.clips import ClipDataset
from safe_companion.events import EVENT_DTYPE, event_image, frame_windows
from safe_companion.packs import Frames

SIZE = (346, 260)
EVENTS = (1_000_000, 1_500_000, 2_000_000, 3_000_000)
FRAMES = 60
DURATION = 4_000_000  # us
Form = tuple[str, str, dict[str, Any], bool]  # name, folder, fields, whether the device resizes
FORMS: list[Form] = [
    ("PNG folders", "images", {}, False),
    ("npz, stored: events alone", "stored", {"modality": "event"}, False),
    ("npz, compressed: events alone", "npz", {"modality": "event"}, False),
    ("aedat4", "aedat4", {}, False),
    ("npz, compressed, and PNG frames", "both", {}, False),
    ("the same with stored event images", "both", {"stored_event_images": True}, False),
    ("pack", "pack", {}, False),
    ("pack, resized on the device", "pack", {}, True),
    ("pack with stored event images", "pack", {"stored_event_images": True}, False),
    ("the same, resized on the device", "pack", {"stored_event_images": True}, True),
]


def moving_scene(count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Events around a blob that wanders, with a tenth of noise; frames with noise of a sensor."""
    width, height = SIZE
    events = np.empty(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, DURATION, count))
    phase = 2 * np.pi * events["t"] / DURATION
    x = width / 2 + width / 4 * np.cos(phase) + rng.normal(0, 25, count)
    y = height / 2 + height / 4 * np.sin(phase) + rng.normal(0, 25, count)
    noise = rng.random(count) < 0.1
    events["x"] = np.where(noise, rng.integers(0, width, count), x.clip(0, width - 1))
    events["y"] = np.where(noise, rng.integers(0, height, count), y.clip(0, height - 1))
    events["p"] = rng.integers(0, 2, count)
    room = Image.fromarray(rng.integers(30, 220, (14, 18, 3), np.uint8)).resize(SIZE)
    frames = []
    for i in range(FRAMES):
        shifted = np.roll(np.asarray(room), 2 * i, axis=1).astype(np.float32)
        shifted += rng.normal(0, 3, shifted.shape)
        frames.append(shifted.clip(0, 255).astype(np.uint8))
    return events, frames


def write(root: Path, name: str, events: np.ndarray, frames: list[np.ndarray]) -> None:
    """One recording in every form."""
    frame_t = np.arange(FRAMES) * (DURATION // FRAMES)
    columns: dict[str, Any] = {key: np.ascontiguousarray(events[key]) for key in "xytp"}
    for form in ("images", "both"):
        for kind in ("aps", "dvs"):
            (root / form / name / f"{name}_{kind}").mkdir(parents=True)
    for i, (start, stop) in enumerate(frame_windows(frame_t, events["t"])):
        drawn = event_image(events[start:stop], SIZE, "authors").transpose(1, 2, 0)
        for form in ("images", "both"):
            folder = root / form / name
            Image.fromarray(frames[i]).save(folder / f"{name}_aps/{5 * i:08d}.png")
            Image.fromarray(drawn).save(folder / f"{name}_dvs/{5 * i:08d}.png")
    for form in ("stored", "npz", "aedat4", "pack"):
        (root / form).mkdir(exist_ok=True)
    np.savez(root / f"stored/{name}.npz", **columns)
    np.savez_compressed(root / f"npz/{name}.npz", **columns)
    np.savez_compressed(root / f"both/{name}/{name}.npz", frame_t=frame_t, **columns)
    (root / f"pack/{name}.pack").write_bytes(packs.pack(root / "both" / name, Frames("jpeg")))

    config = dv.io.MonoCameraWriter.Config("DAVIS346_x", dv.CompressionType.LZ4)
    config.addEventStream(SIZE)
    config.addFrameStream(SIZE)
    writer = dv.io.MonoCameraWriter(str(root / f"aedat4/{name}.aedat4"), config)
    for i, frame in enumerate(frames):
        writer.writeFrame(dv.Frame(int(frame_t[i]), frame))
    store = dv.EventStore()
    for x, y, t, p in events.tolist():
        store.push_back(t, x, y, bool(p))
    writer.writeEvents(store)
    del writer  # closes the file


def clips_of(
    root: Path, names: list[str], folder: str, fields: dict, on_device: bool
) -> ClipDataset:
    config = safe_core.configure(
        "paper", data_root=str(root), resize="device" if on_device else "loader", **fields
    )
    items = [(name, 0) for name in names]
    return ClipDataset(items, root / folder, ["wave"], config, draw="jittered", augment="clip")


def main() -> None:
    passes = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(1)
    cpu = records.machine()["hardware"]["cpu"]
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{cpu}, {len(os.sched_getaffinity(0))} cores, load {load}, {time.strftime('%F')}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rng = np.random.default_rng(0)
        names = [f"take{i}" for i in range(len(EVENTS))]
        for name, count in zip(names, EVENTS, strict=True):
            write(root, name, *moving_scene(count, rng))
        sets = [clips_of(root, names, *form[1:]) for form in FORMS]
        least = np.full((len(FORMS), len(names)), np.inf)
        for epoch in range(passes + 1):  # the first compiles and fills the file cache
            for index in range(len(names)):
                for number, clips in enumerate(sets):
                    clips.set_epoch(epoch)
                    start = time.process_time()
                    clips.__getitems__([index])
                    spent = time.process_time() - start
                    if epoch:
                        least[number, index] = min(least[number, index], spent)
        ms = 1e3 * least.mean(axis=1)
        sizes = [
            sum(f.stat().st_size for f in (root / form[1]).rglob("*") if f.is_file())
            for form in FORMS
        ]
    images, npz = ms[0], ms[2]
    print(f"\nF = 5, 224 pixels, {FRAMES} frames, {min(EVENTS):,} to {max(EVENTS):,} events\n")
    print("| form | MB a recording | ms a clip | clips/s | PNG folders / it | npz / it |")
    print("|---|---:|---:|---:|---:|---:|")
    for (name, *_), value, size in zip(FORMS, ms, sizes, strict=True):
        mb = size / len(EVENTS) / 1e6
        ratios = f"{images / value:.1f} | {npz / value:.1f}"
        print(f"| {name} | {mb:.1f} | {value:.1f} | {1e3 / value:.0f} | {ratios} |")


if __name__ == "__main__":
    main()
