"""Speed of the readers on one core: `python benchmarks/readers.py [number of events]`.

Prints million events per second of each binary form, read alone and with the check that makes the
event stream; the files are written to a temporary folder first and read from the file cache.
"""

import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import common
import h5py
import hdf5plugin
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from safe_companion import readers, recordings

REPEATS = 3
SIDE = 128  # fits every format but N-MNIST's, whose recordings are 34 pixels wide
HEADER = b"%% evt %s\n%% geometry 128x128\n%% end\n"


def random_events(count: int, side: int) -> dict[str, np.ndarray]:
    """x, y, t, p: `count` events spread evenly over 8 s, what 23 bits of N-MNIST can hold."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.integers(0, side, count, np.uint16),
        "y": rng.integers(0, side, count, np.uint16),
        "t": np.arange(count) * 8_000_000 // count,
        "p": rng.integers(0, 2, count, np.uint8),
    }


def _npz(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    np.savez(path, x=x, y=y, t=t, p=p)


def _npy(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    columns: Any = [x, y, t, p]
    rows: Any = np.rec.fromarrays
    np.save(path, rows(columns, names="x,y,t,p"))


def _aedat2(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    address = x.astype(np.uint32) << 1 | (127 - y.astype(np.uint32)) << 8 | (1 - p)
    header = b"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    path.write_bytes(header + np.stack([address, t], 1).astype(">u4").tobytes())


def _bin(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    rows = np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], 1)
    path.write_bytes(rows.astype(np.uint8).tobytes())


def _dat(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    data = x.astype(np.uint32) | y.astype(np.uint32) << 14 | p.astype(np.uint32) << 28
    header = b"% Version 2\n% Height 128\n% Width 128\n\x0c\x08"
    path.write_bytes(header + np.stack([t, data], 1).astype("<u4").tobytes())


def _evt2(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    event = p.astype(np.int64) << 28 | (t & 63) << 22 | x.astype(np.int64) << 11 | y
    starts = np.flatnonzero(np.diff(t >> 6, prepend=-1))
    words = np.insert(event, starts, 8 << 28 | t[starts] >> 6)
    path.write_bytes(HEADER % b"2.0" + words.astype("<u4").tobytes())


def _evt3(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    """Four words an event, the longest form there is: vectors hold up to twelve events in one."""
    words = np.stack(
        [8 << 12 | t >> 12, 6 << 12 | t & 4095, y, 2 << 12 | x | p.astype(int) << 11], 1
    )
    path.write_bytes(HEADER % b"3.0" + words.astype("<u2").tobytes())


def _h5(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for key, column in {"x": x, "y": y, "t": t, "p": p}.items():
            file[f"events/{key}"] = column


def _dsec(path: Path, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for key, column in {"x": x, "y": y, "t": t, "p": p}.items():
            file.create_dataset(f"events/{key}", data=column, **hdf5plugin.Blosc(cname="zstd"))
        file["t_offset"], file["ms_to_idx"] = 0, np.arange(8000)


WRITERS: dict[str, tuple[str, Callable[..., None]]] = {
    "npz, not compressed": (".npz", _npz),
    "npy, structured": (".npy", _npy),
    "AEDAT 2.0, DVS128": (".aedat", _aedat2),
    "bin, N-MNIST": (".bin", _bin),
    "dat": (".dat", _dat),
    "EVT 2": (".raw", _evt2),
    "EVT 3, no vectors": (".raw", _evt3),
    "h5, not compressed": (".h5", _h5),
    "h5, DSEC (blosc, zstd)": (".h5", _dsec),
}


def best_time(function: Callable[[], object]) -> float:
    """Shortest of REPEATS runs in seconds, after one that compiles."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    print(f"{common.facts()}\n")
    print(f"{count:,} events, one core, best of {REPEATS}, million events/s\n")
    print("| form | read | read and checked |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, write) in WRITERS.items():
            path = Path(folder) / f"a{suffix}"
            write(path, **random_events(count, 34 if suffix == ".bin" else SIDE))
            read = best_time(functools.partial(readers.read_events, path))
            whole = best_time(functools.partial(recordings.read_recording, path))
            print(f"| {name} | {count / read / 1e6:.0f} | {count / whole / 1e6:.0f} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
