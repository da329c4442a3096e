"""How does a sample get onto the disk? In the data sets' own layouts, whole or not at all."""

import contextlib
import csv
import fcntl
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import socket
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from safe_companion import how_far
from safe_companion.behaviour import VERSIONS
from safe_companion.events import event_image
from safe_companion.sample.actions import ACTIONS
from safe_companion.sample.film import (
    CLASSES,
    Film,
    check_dataset,
    simulate,
    stream,
    trained_labels,
)
from safe_companion.sample.world import WORLD

EPOCH_US = 1_600_000_000_000_000  # aedat4 time stamps are Unix time in microseconds
DAY_S = 24 * 60 * 60
MAKER = "maker"  # a file in a folder of work: who works there; locked for as long as he lives

Task = tuple[str, int, int]  # split, label and index of one recording
Row = dict[str, Any]  # of ground_truth.csv


def class_folder(dataset: str, label: int) -> str:
    """The folder that holds the recordings of a class, as in the real data set."""
    name = CLASSES[dataset][label]
    if dataset == "hardvs":
        number, _ = ACTIONS[name]
        return f"action_{number:03d}"
    return name


def sample_name(split: str, label: int, index: int) -> str:
    """The name of a recording.

    Every 20th ends in " (2)", as some real ones do: readers have to cope with the space.
    """
    name = f"sample-{split}-{label:04d}-{index:03d}"
    if index % 20 == 7:
        name += " (2)"
    return name


# ----------------------------------------------------------------------------------- one recording
def _png(picture: np.ndarray, level: int) -> bytes:
    """A PNG file of uint8 [H, W, 3], compressed at a level from 0 to 9.

    Unfiltered, run-length coded; no larger than Pillow's, in a third of its time.
    """
    height, width, _ = picture.shape
    rows = np.zeros((height, 3 * width + 1), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = picture.reshape(height, -1)
    coder = zlib.compressobj(level=level, strategy=zlib.Z_RLE)
    pixels = coder.compress(rows.tobytes()) + coder.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    parts = [b"\x89PNG\r\n\x1a\n"]
    for chunk in (b"IHDR" + header, b"IDAT" + pixels, b"IEND"):
        length = struct.pack(">I", len(chunk) - 4)
        checksum = struct.pack(">I", zlib.crc32(chunk))
        parts += [length, chunk, checksum]
    return b"".join(parts)


def _frame_cuts(film: Film) -> np.ndarray:
    """Where in the event stream each frame begins, and its end, [N + 1]."""
    event_t = film["events"]["t"]
    return np.append(np.searchsorted(event_t, film["frame_t"]), event_t.size)


def _write_hardvs(folder: Path, sample: str, film: Film) -> None:
    """Frames and event images as PNG files numbered 0, 5, 10, ..., events as compressed npz."""
    events = film["events"]
    aps = folder / sample / f"{sample}_aps"
    dvs = folder / sample / f"{sample}_dvs"
    aps.mkdir(parents=True)
    dvs.mkdir()
    cuts = _frame_cuts(film)
    for i, frame in enumerate(film["frames"]):
        window = events[cuts[i] : cuts[i + 1]]
        image = event_image(window, (WORLD.width, WORLD.height), "authors").transpose(1, 2, 0)
        (aps / f"{5 * i:08d}.png").write_bytes(_png(frame, 0))  # sensor noise does not compress
        (dvs / f"{5 * i:08d}.png").write_bytes(_png(image, 1))
    columns = {name: np.ascontiguousarray(events[name]) for name in ("x", "y", "t", "p")}
    columns["frame_t"] = film["frame_t"]
    path = folder / sample / f"{sample}.npz"
    # np.savez_compressed would do, but its compression level costs more than the simulation.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w") as file:  # opened by name: no time stamp
                np.lib.format.write_array(file, values)


def _write_pokerevent(folder: Path, sample: str, film: Film) -> None:
    """Events and BGR frames in one aedat4 file; its bytes depend on the recording alone."""
    import dv_processing as dv  # slow, and needed for these files only

    events = film["events"]
    frame_t = film["frame_t"]
    folder.mkdir(exist_ok=True)
    config = dv.io.MonoCameraWriter.Config("DAVIS346_sample", dv.CompressionType.LZ4)
    config.addEventStream((WORLD.width, WORLD.height))
    config.addFrameStream((WORLD.width, WORLD.height))
    writer = dv.io.MonoCameraWriter(str(folder / f"{sample}.aedat4"), config)
    t = (events["t"] + EPOCH_US).tolist()
    x = events["x"].tolist()
    y = events["y"].tolist()
    p = events["p"].astype(bool).tolist()
    cuts = _frame_cuts(film)
    for i, frame in enumerate(film["frames"][..., [2, 1, 0]]):
        writer.writeFrame(dv.Frame(EPOCH_US + int(frame_t[i]), frame))
        store = dv.EventStore()
        cut = slice(cuts[i], cuts[i + 1])
        # It takes no arrays; tuples, which give no object back, take half the time of four numbers.
        each = map(store.push_back, zip(t[cut], x[cut], y[cut], p[cut], strict=True))
        deque(each, maxlen=0)  # calls them all
        writer.writeEvents(store)


def _write_chunk(dataset: str, folder: Path, seed: int, tasks: list[Task]) -> list[Row]:
    """Simulate and write recordings; their rows of ground_truth.csv."""
    write = _write_pokerevent if dataset == "pokerevent" else _write_hardvs
    rows = []
    for split, label, index in tasks:
        film = simulate(dataset, label, stream(dataset, split, label, index, seed=seed))
        sample = sample_name(split, label, index)
        write(folder / class_folder(dataset, label), sample, film)
        row: Row = {
            "sample": sample,
            "split": split,
            "label": label,
            "class_name": CLASSES[dataset][label],
        }
        for key, value in film["truth"].items():
            row[key] = f"{value:.6g}" if isinstance(value, float) else value
        rows.append(row)
    return rows


# ---------------------------------------------------------------------------------- a whole sample
def fingerprint(dataset: str, *, seed: int, train_per_class: int, test_per_class: int) -> str:
    """16 hex digits of sha256 over the parameters and the version of what the code computes.

    Raises ValueError for a data set that has no sample.
    """
    check_dataset(dataset)
    parameters = [dataset, seed, train_per_class, test_per_class, VERSIONS["sample"]]
    return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:16]


def _found_fingerprint(root: Path) -> str | None:
    """The fingerprint of the sample at root; None where there is no sample."""
    try:
        return json.loads((root / "sample.json").read_text())["fingerprint"]
    except (OSError, ValueError, KeyError):
        return None


def _write_index(dataset: str, folder: Path, rows: list[Row], description: dict[str, Any]) -> None:
    """Lists, class names, ground truth and, last, sample.json."""
    rows = sorted(rows, key=lambda row: (row["split"], row["label"], row["sample"]))
    for split in ("train", "test"):
        with open(folder / f"{split}_label.txt", "w") as file:
            for row in rows:
                if row["split"] == split:
                    name = f"{class_folder(dataset, row['label'])}/{row['sample']}"
                    file.write(f"{name} {WORLD.frames} {row['label']}\n")
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES[dataset]))
    with open(folder / "ground_truth.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (folder / "sample.json").write_text(json.dumps(description, indent=2) + "\n")


def _write_recordings(
    write: Callable[[list[Task]], list[Row]], tasks: list[Task], *, workers: int, bar: tqdm
) -> list[Row]:
    """Have all tasks written, by other processes if workers > 1; the rows in the tasks' order."""
    chunks = [tasks[first : first + 10] for first in range(0, len(tasks), 10)]
    rows = []
    if workers == 1:
        for chunk in chunks:
            rows += write(chunk)
            bar.update(len(chunk))
        return rows
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent)
    try:
        for done in pool.map(write, chunks):
            rows += done
            bar.update(len(done))
    finally:
        pool.shutdown(cancel_futures=True)
    return rows


def _end_with_parent() -> None:
    """Ends this process, too, when the one that started it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _work_folder(root: Path) -> Iterator[Path]:
    """A new hidden folder beside root, which no other process uses; it is removed afterwards.

    First removes what killed processes have left there.
    """
    prefix = f".{root.name}-partial-"
    root.parent.mkdir(parents=True, exist_ok=True)
    for path in root.parent.iterdir():
        if path.name.startswith(prefix) and _is_left_over(path):
            shutil.rmtree(path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
    try:
        with open(folder / MAKER, "w") as file:
            with contextlib.suppress(OSError):  # a file system without locks: see _is_left_over
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(socket.gethostname())  # after the lock: whoever can read it finds it locked
            file.flush()
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_left_over(folder: Path) -> bool:
    """Whether nobody works in a folder any more.

    On this machine its lock tells; of other machines, none works for longer than a day.
    """
    try:
        with open(folder / MAKER, "r+") as file:
            if file.read() == socket.gethostname():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
    except BlockingIOError:  # locked: he lives
        return False
    except OSError:  # gone, or not yet written, or no locks here
        pass
    with contextlib.suppress(FileNotFoundError):  # another process has just finished with it
        return time.time() - folder.stat().st_mtime > DAY_S
    return False


def _put_in_place(made: Path, root: Path, mark: str) -> None:
    """Rename a finished sample to root, unless another process has put the same one there."""
    found = _found_fingerprint(root)
    if found == mark:
        return
    if found is not None:
        with contextlib.suppress(FileNotFoundError):  # another process has replaced it first
            os.replace(root, made.with_name("older"))
    try:
        os.replace(made, root)
    except OSError:  # root is taken
        if _found_fingerprint(root) != mark:
            raise


def make_sample(
    dataset: str,
    root: str | Path,
    *,
    seed: int = 0,
    train_per_class: int = 48,
    test_per_class: int = 105,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a complete sample, such as "hardvs" (`CLASSES` has all), at `root`, unless it is there.

    Returns root. On one kind of CPU the same seed gives the same bytes in every file, whatever the
    number of workers (default: one a core, at most 8). A sample made with other parameters, or by
    another version of it (safe_companion.behaviour), is replaced. Recordings go to a hidden folder
    beside `root`, which takes its place at the end: an interrupted run leaves nothing that looks
    complete, and of two processes that make the same sample at the same time, the second keeps what
    the first has put there.

    Raises ValueError for an unknown data set and FileExistsError where `root` holds something that
    is not a sample.
    """
    mark = fingerprint(
        dataset, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class
    )
    root = Path(root)
    found = _found_fingerprint(root)
    if found == mark:
        return root
    is_free = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    if found is None and not is_free:
        raise FileExistsError(
            f"{root}: holds files but no sample.json, so it is no sample; expected an empty or new "
            "folder. Give another path, or move these files away"
        )
    if workers is None:
        workers = min(os.cpu_count() or 1, 8)

    every = range(len(CLASSES[dataset]))
    tasks = [
        ("train", label, i) for label in trained_labels(dataset) for i in range(train_per_class)
    ]
    tasks += [("test", label, i) for label in every for i in range(test_per_class)]
    description = {
        "dataset": dataset,
        "origin": "sample",
        "seed": seed,
        "train_per_class": train_per_class,
        "test_per_class": test_per_class,
        "classes": len(CLASSES[dataset]),
        "fingerprint": mark,
        "world": asdict(WORLD),
    }
    title = f"sample of {dataset}"
    bar = how_far.bar(total=len(tasks), desc=title, unit="recording", disable=not progress)
    with bar, _work_folder(root) as folder:
        made = folder / "sample"
        made.mkdir()  # as the umask says; the folder of work is closed to others
        write = functools.partial(_write_chunk, dataset, made, seed)
        rows = _write_recordings(write, tasks, workers=workers, bar=bar)
        _write_index(dataset, made, rows, description)
        _put_in_place(made, root, mark)
    return root
