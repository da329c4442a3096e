"""What does an event file hold? One table of readers by suffix, one check of the events.

A reader of `formats` says what is in the file; checked_events makes the event stream of it, or says
what is wrong; repaired_events mends what can be mended without a guess.
"""

from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

from safe_companion.events import EVENT_DTYPE
from safe_companion.formats.addresses import read_aedat2, read_bin
from safe_companion.formats.aedat4 import read_aedat4
from safe_companion.formats.arrays import read_npy, read_npz
from safe_companion.formats.content import MAX_SIDE, EventFile, ImageSource, RecordingError
from safe_companion.formats.hdf5 import read_h5
from safe_companion.formats.pack import EventView, read_pack
from safe_companion.formats.prophesee import read_dat, read_raw
from safe_companion.formats.text import looks_like_events, read_text
from safe_companion.wording import counted

__all__ = ["READABLE", "READERS", "checked_events", "is_event_file", "read_events"]
__all__ += ["repaired_events", "EventFile", "ImageSource", "RecordingError"]  # of `formats`

# By suffix; of two files with the same name, the one that stands first here is read.
READERS: dict[str, Callable[..., EventFile]] = {
    ".pack": read_pack,
    ".aedat4": read_aedat4,
    ".npz": read_npz,
    ".aedat": read_aedat2,
    ".raw": read_raw,
    ".dat": read_dat,
    ".h5": read_h5,
    ".hdf5": read_h5,
    ".npy": read_npy,
    ".bin": read_bin,
    ".bs2": read_bin,
    ".csv": read_text,
    ".txt": read_text,
}
UNNAMED = (read_npz, read_npy, read_h5, read_text)  # these may need to be told the columns
READABLE = (
    ".aedat4, .npz, .npy, .aedat (AEDAT 2.0), .raw (EVT 2 and 3), .dat, .h5 and .hdf5 (DSEC, "
    "MVSEC, plain), .bin and .bs2 (N-MNIST), .csv, .txt and .pack"
)
MICROSECONDS = {"us": 1.0, "ns": 1e-3, "ms": 1e3, "s": 1e6}


def is_event_file(path: Path) -> bool:
    """Whether a file that lies among recordings is one: by its suffix; of text, by its first lines.

    So lists, labels and notes in text are told apart from tables of events.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS or path.name.startswith(".") or not path.is_file():
        return False
    return looks_like_events(path) if READERS[suffix] is read_text else True


def read_events(path: Path, *, time_unit: str = "auto", columns: str | None = None) -> EventFile:
    """What an event file says, unchecked, with t and frame_t in microseconds.

    time_unit: of files that do not say theirs; "auto" leaves t as it is, to be microseconds if it
    is whole. columns: order of the columns where the file has no names. Raises RecordingError.
    """
    reader = READERS[path.suffix.lower()]
    content = reader(path, columns=columns) if reader in UNNAMED else reader(path)
    if content.size is not None and not all(1 <= side <= MAX_SIDE for side in content.size):
        width, height = content.size
        raise RecordingError(
            f"{path}: found a sensor of {width}x{height} pixels in the header; expected sides of 1 "
            f"to {MAX_SIDE}. The header may be damaged: correct it.",
            kind="unreadable",
        )
    unit = content.time_unit or time_unit
    vectors, frame_t = content.columns, content.frame_t
    is_done = isinstance(vectors, EventView) and unit == "us"
    if vectors is not None and unit != "auto" and not is_done:
        vectors = {**vectors, "t": _microseconds(path, "t", vectors["t"], unit)}
    if frame_t is not None:
        known = unit != "auto"
        frame_t = _microseconds(path, "frame_t", frame_t, unit) if known else frame_t
        frame_t = _plain(path, "frame_t", frame_t).astype(np.int64)
    return content._replace(columns=vectors, frame_t=frame_t)


def _microseconds(path: Path, key: str, t: np.ndarray, unit: str) -> np.ndarray:
    """t in microseconds, int64 if it was not whole already in this unit."""
    if t.dtype.kind not in "iuf" or (unit == "us" and t.dtype.kind != "f"):
        return t
    if unit == "ns" and t.dtype.kind != "f":
        return t // 1000
    with np.errstate(over="ignore"):
        scaled = t.astype(np.float64) * MICROSECONDS[unit]
    if not (np.abs(scaled) < 2.0**63).all():
        raise RecordingError(
            f"{path}: found {key} that is not finite or too large as {unit}; expected times in "
            f"{unit}. Set time_unit to the unit of the file."
        )
    if t.dtype.kind != "f":
        return t.astype(np.int64) * int(MICROSECONDS[unit])
    return np.rint(scaled).astype(np.int64)


# ---------------------------------------------------------------- checked events


@numba.njit(cache=True, nogil=True)
def _fill(
    events: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    p: np.ndarray,
    width: int,
    height: int,
) -> bool:
    """Copy columns into EVENT_DTYPE; False if an event is outside, too early or of odd polarity."""
    before = np.int64(0)
    zero = False
    negative = False
    for i in range(t.size):
        time = np.int64(t[i])
        if x[i] < 0 or y[i] < 0 or x[i] >= width or y[i] >= height:
            return False
        if time < before or p[i] < -1 or p[i] > 1:
            return False
        zero = zero or p[i] == 0
        negative = negative or p[i] < 0
        before = time
        events[i].x = x[i]
        events[i].y = y[i]
        events[i].t = time
        events[i].p = p[i] > 0
    return not (zero and negative)


def _plain(path: Path, key: str, column: np.ndarray) -> np.ndarray:
    """A column of whole numbers as the compiled loop takes it: no floats, no foreign byte order."""
    fits = column.dtype.kind == "f" and (np.abs(column) < np.float64(2**63)).all()  # NaN is not
    if fits and (column == np.floor(column)).all():
        return column.astype(np.int64)
    if column.dtype.kind not in "iub":
        raise RecordingError(
            f"{path}: found {key} with values that are no integers ({column.dtype}); expected "
            "integer pixels, microseconds and polarities. Are the times in seconds? Set "
            "time_unit='s' (--time-unit s)."
        )
    return column.astype(column.dtype.newbyteorder("="), copy=False)


def _plain_columns(path: Path, columns: dict[str, np.ndarray]) -> list[np.ndarray]:
    """x, y, t, p of one length, at least 1, as the compiled loop takes them."""
    lengths = {key: column.shape for key, column in columns.items()}
    if len(set(lengths.values())) > 1 or columns["t"].ndim != 1:
        shapes = ", ".join(f"{key} {shape}" for key, shape in lengths.items())
        raise RecordingError(
            f"{path}: found arrays of shapes {shapes}; expected x, y, t, p of the same length. "
            "Convert the recording again."
        )
    if not len(columns["t"]):
        raise RecordingError(
            f"{path}: found an event stream without events; expected at least one event. Leave "
            "the recording out, or set on_bad_recording='skip'.",
            kind="empty",
        )
    return [_plain(path, key, column) for key, column in columns.items()]


def checked_events(path: Path, columns: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """EVENT_DTYPE array from the columns x, y, t, p, or the one RecordingError that applies."""
    x, y, t, p = _plain_columns(path, columns)
    width, height = size
    events = np.empty(len(t), EVENT_DTYPE)
    if not _fill(events, x, y, t, p, width, height):
        raise _fault(path, x, y, t, p, size)
    return events


def repaired_events(
    path: Path, columns: dict[str, np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, str]:
    """checked_events after events outside the sensor are dropped and the others sorted by time.

    Also what was done, in words. Events of the same time keep their order. Raises RecordingError
    for all else, and if no event is inside the sensor.
    """
    x, y, t, p = _plain_columns(path, columns)
    done = []
    outside = _outside(x, y, size)
    if outside.all():
        raise _fault(path, x, y, t, p, size)
    if outside.any():
        done.append(f"{outside.sum():,} of {len(t):,} events outside the sensor dropped")
        x, y, t, p = (column[~outside] for column in (x, y, t, p))
    back, largest, _ = _jumps(t.astype(np.int64))
    if back:
        order = np.argsort(t, kind="stable")
        x, y, t, p = (column[order] for column in (x, y, t, p))
        done.append(f"{counted(back, 'jump')} back in time (up to {largest:,} us) sorted")
    return checked_events(path, dict(x=x, y=y, t=t, p=p), size), "; ".join(done)


def _outside(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return (x < 0) | (y < 0) | (x >= size[0]) | (y >= size[1])


def _jumps(t: np.ndarray) -> tuple[int, int, int]:
    """How often int64 t falls, by how much at most, and at which event first."""
    falls = t[1:] < t[:-1]
    if not falls.any():
        return 0, 0, 0
    return int(falls.sum()), int((t[:-1] - t[1:])[falls].max()), int(np.argmax(falls)) + 1


def _fault(
    path: Path,
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    p: np.ndarray,
    size: tuple[int, int],
) -> RecordingError:
    """What is wrong with the events that _fill refused."""
    width, height = size
    outside = _outside(x, y, size)
    if outside.any():
        return RecordingError(
            f"{path}: found {outside.sum():,} of {len(t):,} events outside the sensor, all at x "
            f"{x.min()}..{x.max()}, y {y.min()}..{y.max()}; expected events inside the sensor of "
            f"{width}x{height} pixels. Give the sensor's size (sensor_size='WIDTHxHEIGHT'), swap x "
            "and y back, or drop the events (repair_events=True, --repair-events)."
        )
    t = t.astype(np.int64)
    if t.min() < 0:
        return RecordingError(
            f"{path}: found a negative time stamp ({t.min()}); expected microseconds from 0 on. "
            "Subtract the first time stamp, and check for integer overflow."
        )
    back, largest, first = _jumps(t)
    if back:
        return RecordingError(
            f"{path}: found time stamps that go backwards at {back:,} of {len(t):,} events, by up "
            f"to {largest:,} us (first at event {first}); expected events sorted by time. Sort "
            "them as they are read (repair_events=True, --repair-events)."
        )
    return RecordingError(
        f"{path}: found polarities {np.unique(p)[:5].tolist()}; expected 0 (OFF) and 1 (ON), or "
        "-1 and 1. Convert the polarities."
    )
