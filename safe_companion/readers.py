"""What does an event file hold? One reader a format, one table of them, one check of the events.

READERS holds the reader of each suffix. A reader says what is in the file; checked_events makes
the event stream of it, or says what is wrong.
"""

import io
import os
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aedat
import numba
import numpy as np

from safe_companion.events import EVENT_DTYPE

ImageSource = str | Path | np.ndarray  # a file, or pixels uint8 [H, W] or [H, W, 3]


class RecordingError(Exception):
    """A recording that cannot be used: names the file, what was found and expected, what to do.

    kind: "missing", "unreadable", "empty", "invalid" or "too few frames".
    """

    def __init__(self, message: str, *, kind: str = "invalid"):
        super().__init__(message)
        self.kind = kind


class EventFile(NamedTuple):
    """What one event file says, unchecked; size, frames or frame_t are absent where it does not.

    columns: {"x": ..., "y": ..., "t": ..., "p": ...}, in this order, of any numeric type.
    """

    columns: dict[str, np.ndarray]
    size: tuple[int, int] | None = None
    frame_t: np.ndarray | None = None
    frames: list[ImageSource] | None = None


# Header of a .npy file with a plain vector: NumPy's parser costs as much as a short stream itself.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][biuf]\d)', 'fortran_order': False, "
    rb"'shape': \((\d+),\), \} *\n",
    re.DOTALL,
)


def _npz_array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    content = archive.read(f"{key}.npy")
    header = _NPY.match(content)
    if header and int(header[2]):
        return np.frombuffer(content, header[1].decode(), int(header[2]), header.end())
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def read_npz(path: Path) -> EventFile:
    """Keys x, y, t, p and optionally frame_t of an npz file. Raises RecordingError."""
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [key for key in "xytp" if key not in keys]
            if missing:
                raise RecordingError(
                    f"{path}: found no key {', '.join(missing)} (keys: {', '.join(keys)}); "
                    "expected the keys x, y, t, p. Save them with numpy.savez(file, x=x, y=y, "
                    "t=t, p=p)."
                )
            columns = {key: _npz_array(archive, key) for key in "xytp"}
            frame_t = None
            if "frame_t" in keys:
                frame_t = _npz_array(archive, "frame_t").astype(np.int64)
    except RecordingError:
        raise
    except Exception as cause:  # damaged bytes raise many kinds
        if "Object arrays" in str(cause):
            raise RecordingError(
                f"{path}: found pickled objects, which can run code when loaded; expected plain "
                "numeric arrays. Save x, y, t, p as arrays of numbers.",
                kind="unreadable",
            ) from cause
        raise RecordingError(
            f"{path}: found no complete npz archive ({cause}); expected an npz file with x, y, t, "
            "p. The file may be cut off: copy or download it again.",
            kind="unreadable",
        ) from cause
    return EventFile(columns, frame_t=frame_t)


def _check_aedat4(path: Path) -> None:
    """Raise on what would abort the interpreter inside the decoder: wrong lengths, no UTF-8.

    Damage inside the packets is left to the decoder, which raises for most of it.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(14)
        position = 18 + int.from_bytes(file.read(4), "little")
        if magic != b"#!AER-DAT4.0\r\n" or position > size:
            raise ValueError("not the AEDAT4 magic number, or a header longer than the file")

        # FlatBuffers table: compression, end of the packets (-1: of the file), information (XML)
        header = file.read(position - 18)

        def number(form: str, at: int) -> int:
            return struct.unpack_from(form, header, at)[0]

        table = number("<I", 0)
        vtable = table - number("<i", table)
        end_field = number("<H", vtable + 6)
        text_field = number("<H", vtable + 8)
        text = table + text_field + number("<I", table + text_field)
        header[text + 4 : text + 4 + number("<I", text)].decode()
        end = number("<q", table + end_field) if end_field else -1
        if end < 0:
            end = size

        while position < end <= size:
            file.seek(position)
            (length,) = struct.unpack("<4xI", file.read(8))
            position += 8 + length
        if position != end:
            raise ValueError("packets that do not end where the header or the file does")


def read_aedat4(path: Path) -> EventFile:
    """Events, size, frames and frame times of an AEDAT4 file's first camera. RecordingError."""
    packets: list[np.ndarray] = []
    frames: list[ImageSource] = []
    frame_t: list[int] = []
    first: dict[str, int] = {}  # stream number by type
    try:
        _check_aedat4(path)
        decoder = aedat.Decoder(path)
        streams = decoder.id_to_stream()
        for number, stream in sorted(streams.items()):
            first.setdefault(stream["type"], number)
        if "events" not in first:
            raise RecordingError(
                f"{path}: found no event stream in the header; expected an event stream. Record "
                "again.",
                kind="empty",
            )
        for packet in decoder:
            if packet["stream_id"] == first["events"]:
                packets.append(packet["events"])
            elif packet["stream_id"] == first.get("frame"):
                frame = packet["frame"]
                pixels = frame["pixels"]
                frames.append(pixels if frame["format"] == "L" else pixels[..., :3])
                # Some writers leave everything but the exposure times at 0.
                frame_t.append(frame["t"] or frame["exposure_begin_t"] or frame["begin_t"])
    except (RecordingError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as cause:  # on damaged bytes the decoder panics, which is no Exception
        raise RecordingError(
            f"{path}: found no complete AEDAT4 recording ({cause}); expected a complete AEDAT4 "
            "file. The file may be cut off: copy or download it again.",
            kind="unreadable",
        ) from cause
    columns = {key: np.empty(0, np.uint8) for key in "xytp"}
    if packets:
        for key, name in {"x": "x", "y": "y", "t": "t", "p": "on"}.items():
            columns[key] = np.concatenate([packet[name] for packet in packets])
    size = (streams[first["events"]]["width"], streams[first["events"]]["height"])
    times = np.array(frame_t, np.int64) if frames else None
    return EventFile(columns, size, times, frames)


# By suffix; of two files with the same name, the one that stands first here is read.
READERS: dict[str, Callable[[Path], EventFile]] = {".aedat4": read_aedat4, ".npz": read_npz}


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
    finite = column.dtype.kind == "f" and np.isfinite(column).all()
    if finite and (column == np.floor(column)).all():
        return column.astype(np.int64)
    if column.dtype.kind not in "iub":
        raise RecordingError(
            f"{path}: found {key} with values that are no integers ({column.dtype}); expected "
            "integer pixels, microseconds and polarities. Convert seconds to microseconds."
        )
    return column.astype(column.dtype.newbyteorder("="), copy=False)


def checked_events(path: Path, columns: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """EVENT_DTYPE array from the columns x, y, t, p, or the one RecordingError that applies."""
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
    x, y, t, p = (_plain(path, key, column) for key, column in columns.items())
    width, height = size
    events = np.empty(len(t), EVENT_DTYPE)
    if not _fill(events, x, y, t, p, width, height):
        raise _fault(path, x, y, t, p, size)
    return events


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
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        return RecordingError(
            f"{path}: found events at x {x.min()}..{x.max()}, y {y.min()}..{y.max()}; expected "
            f"events inside the sensor of {width}x{height} pixels. Give the sensor's size "
            "(sensor_size='WIDTHxHEIGHT'), or swap x and y back."
        )
    t = t.astype(np.int64)
    if t.min() < 0:
        return RecordingError(
            f"{path}: found a negative time stamp ({t.min()}); expected microseconds from 0 on. "
            "Subtract the first time stamp, and check for integer overflow."
        )
    backwards = t[1:] < t[:-1]
    if backwards.any():
        at = np.argmax(backwards) + 1
        return RecordingError(
            f"{path}: found time stamps that go backwards (first at event {at}); expected events "
            "sorted by time. Sort the events by t (stable)."
        )
    return RecordingError(
        f"{path}: found polarities {np.unique(p)[:5].tolist()}; expected 0 (OFF) and 1 (ON), or "
        "-1 and 1. Convert the polarities."
    )
