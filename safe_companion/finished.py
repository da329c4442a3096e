"""Which clips of the generated sample need not be made again? Those that draw nothing.

Every run of a sweep tests the same even, unaugmented clips. They are made once and mapped:

    cache_folder()/clips/KEY.npy                   uint8 [n, branches, F, 3, S, S]
    cache_folder()/packs/SAMPLE/RECORDING.pack     recordings, when they are first read

A file is written whole or not at all. Clips: by one process at a time, and those unused for longest
go when all together would take more than MOST_GIB. Packs: while KEEP_FREE_GIB of the disk are free.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from safe_companion.behaviour import VERSIONS
from safe_companion.facts import cache_folder
from safe_companion.packs import Frames, pack
from safe_core import Config, write_atomically

MOST_GIB = 1.0  # of all clips together
KEEP_FREE_GIB = 5.0
# The fields that decide a clip which draws nothing.
FIELDS = (
    *("modality", "frames", "image_size", "event_representation", "event_windows"),
    *("afe_min_events", "afe_threshold", "sensor_size", "time_unit", "columns"),
    *("repair_events", "stored_event_images"),
)


def file_of(fingerprint: str, names: list[str], config: Config) -> Path:
    """Where the clips of the recordings `names` are kept. fingerprint: of the data."""
    decides = {name: getattr(config, name) for name in FIELDS}
    versions = [VERSIONS["sample"], VERSIONS["clips"]]
    text = json.dumps([fingerprint, names, decides, versions])
    return cache_folder() / "clips" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


def find(file: Path) -> np.ndarray | None:
    """The clips of a file, mapped; None if it is not there, or not whole."""
    try:
        clips = np.load(file, mmap_mode="r")
        os.utime(file)
        return clips
    except (OSError, ValueError):
        return None


def find_or_make(
    file: Path, shape: tuple[int, ...], clip: Callable[[int], np.ndarray]
) -> np.ndarray | None:
    """The clips of a file, made if they are not there; None if there is no place for them.

    clip(i): uint8, what clips[i] is. Of several processes the first makes them, the others wait.
    """
    size = int(np.prod(shape))
    if size > MOST_GIB * 2**30:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.with_suffix(".lock")):
            clips = find(file)
            if clips is None:
                _make_room(file.parent, size)
                write_atomically(file, lambda partial: _write(partial, shape, clip))
                clips = find(file)
        return clips
    except OSError:  # a full or read-only disk
        return None


def _write(partial: Path, shape: tuple[int, ...], clip: Callable[[int], np.ndarray]) -> None:
    with open(partial, "wb") as stream:
        about: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, about)
        for index in range(shape[0]):
            stream.write(np.ascontiguousarray(clip(index)).data)


def _make_room(folder: Path, size: int) -> None:
    """Removes those files that were not used for longest; who has one mapped keeps it."""
    files = sorted(folder.glob("*.npy"), key=lambda file: file.stat().st_mtime)
    used = sum(file.stat().st_size for file in files)
    for file in files:
        if used + size <= MOST_GIB * 2**30:
            return
        used -= file.stat().st_size
        with contextlib.suppress(FileNotFoundError):  # another process did the same
            file.unlink()


def packed(root: Path, name: str) -> Path:
    """The pack of a recording of the sample at `root`, made if it is not there, pixels as they are.

    Where there is no place for it, the recording itself.
    """
    file = cache_folder() / "packs" / root.name / f"{name}.pack"
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < KEEP_FREE_GIB * 2**30:
            return root / name
        own = file.with_name(f"{file.name}.{os.getpid()}.partial")  # another process may write it
        own.write_bytes(pack(root / name, Frames("pixels")))
        os.replace(own, file)
    except OSError:  # a full or read-only disk
        return root / name
    return file
