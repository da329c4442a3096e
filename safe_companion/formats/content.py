"""What does a reader say of a file? Columns, names of columns, bounds on memory, and errors."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Inside(NamedTuple):
    """An image file that lies inside another file: its bytes, and where they are."""

    content: memoryview
    path: Path
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}, {self.kind} {self.number}"


# A file, one inside another, or pixels uint8 [H, W] or [H, W, 3].
ImageSource = str | Path | Inside | np.ndarray

MAX_UNPACKED_GIB = 4.0  # of one file; the environment variable SAFE_MAX_GIB overrides it
MAX_SIDE = 16_384  # pixels; no sensor is larger, but a damaged header may say so

# Names of a column or key in use, without regard to upper and lower case; the first is ours.
ALIASES = {
    "x": ("x", "xs", "x_pos", "x_position", "x_coordinate", "col", "column"),
    "y": ("y", "ys", "y_pos", "y_position", "y_coordinate", "row"),
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "p": ("p", "ps", "pol", "pols", "polarity", "polarities", "on"),
}
_UNITS = {"us": "us", "µs": "us", "ns": "ns", "ms": "ms", "s": "s", "sec": "s", "seconds": "s"}
_WITH_UNIT = re.compile(r"(\w+?)(?:_|\s*[\[(])(\w+)[\])]?")  # t_us, time [s], timestamp(ns)


class RecordingError(Exception):
    """A recording that cannot be used: names the file, what was found and expected, what to do.

    kind: "missing", "unreadable", "empty", "invalid" or "too few frames".
    """

    def __init__(self, message: str, *, kind: str = "invalid"):
        super().__init__(message)
        self.kind = kind


class EventFile(NamedTuple):
    """What one event file says, unchecked; everything is absent where it does not.

    columns: {"x": ..., "y": ..., "t": ..., "p": ...}, in this order, of any numeric type.
    usual_size: (width, height) of the camera that writes this format, where the file is silent.
    time_unit: "us", "ns", "ms" or "s", the unit of t and frame_t if the file or its format says it.
    event_images: stored ones, each of the frame with its number. A pack's columns are its view.
    """

    columns: Any = None
    size: tuple[int, int] | None = None
    frame_t: np.ndarray | None = None
    frames: list[ImageSource] | None = None
    usual_size: tuple[int, int] | None = None
    time_unit: str | None = None
    event_images: list[ImageSource] | None = None


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """Damaged bytes raise many kinds of exceptions: all become one RecordingError."""
    try:
        yield
    except RecordingError:
        raise
    except Exception as cause:
        raise unreadable(path, form, cause) from cause


def unreadable(path: Path, form: str, cause: object) -> RecordingError:
    return RecordingError(
        f"{path}: found no complete {form} ({cause}); expected a complete {form}. The file may be "
        "cut off: copy or download it again.",
        kind="unreadable",
    )


def check_memory(path: Path, size: int) -> None:
    """Raise RecordingError if `size` bytes are more than one file may unpack to."""
    limit = float(os.environ.get("SAFE_MAX_GIB") or MAX_UNPACKED_GIB)
    if size > limit * 2**30:
        raise RecordingError(
            f"{path}: found {size / 2**30:.1f} GiB when unpacked; expected at most {limit:g} GiB. "
            "Cut the recording into pieces, or set the environment variable SAFE_MAX_GIB if you "
            "trust the file and the memory is there."
        )


def read_bytes(path: Path, *, unpacked: float = 1.0) -> bytes:
    """A whole file, if memory suffices. unpacked: the most bytes that one of its bytes becomes."""
    check_memory(path, int(os.path.getsize(path) * unpacked))
    return path.read_bytes()


def column_key(name: str) -> tuple[str | None, str | None]:
    """("t", "us") of "Timestamp [us]": which column a name means, and the unit that it says."""
    name = name.strip().strip("\"'").lower().partition("@")[0]  # faery writes x@640
    for key, aliases in ALIASES.items():
        if name in aliases:
            return key, None
    match = _WITH_UNIT.fullmatch(name)
    if match and match[1] in ALIASES["t"] and match[2] in _UNITS:
        return "t", _UNITS[match[2]]
    return None, None


def find_columns(path: Path, names: Iterable[str]) -> tuple[dict[str, str], str | None]:
    """{"x": name of the column, ...} as far as they are there, and the unit that t's name says.

    Our own names win over others; RecordingError if two others claim to be the same column.
    """
    found: dict[str, str] = {}
    unit = None
    for name in names:
        key, its_unit = column_key(name)
        if key is None or (key in found and found[key] == key):
            continue
        if key in found and name != key:
            raise RecordingError(
                f"{path}: found both {found[key]} and {name}; expected one of them for {key}. "
                f"Rename the right one to {key}."
            )
        found[key] = name
        unit = its_unit if key == "t" else unit
    return {key: found[key] for key in ALIASES if key in found}, unit


def column_order(path: Path, columns: str) -> list[str | None]:
    """Which column stands where: "t,x,y,p" -> ["t", "x", "y", "p"]; None for any other name."""
    order = [column_key(name)[0] for name in re.split(r"[,;\s]+", columns.strip())]
    if sorted(key for key in order if key) != ["p", "t", "x", "y"]:
        raise RecordingError(
            f"{path}: found columns='{columns}'; expected x, y, t and p, each once, in the order "
            "of the file. Give for example columns='t,x,y,p'."
        )
    return order


def columns_of_array(
    path: Path, array: np.ndarray, columns: str | None
) -> tuple[dict[str, np.ndarray], str | None]:
    """The columns of a structured array, or of an unnamed [N, 4] one in the given order; t's unit.

    Of an unnamed array nothing but `columns` says which is which: x and y look alike.
    """
    if array.dtype.names:
        found, unit = find_columns(path, array.dtype.names)
        if len(found) == len(ALIASES):
            return {key: array[name] for key, name in found.items()}, unit
        raise RecordingError(
            f"{path}: found the fields {', '.join(array.dtype.names)}; expected x, y, t, p. "
            "Rename the fields."
        )
    if array.ndim != 2 or array.shape[1] < 4:
        raise RecordingError(
            f"{path}: found an array of shape {array.shape}; expected [N, 4], or fields x, y, t, "
            "p. Save the events as such."
        )
    if columns is None:
        spans = ", ".join(f"{column.min()}..{column.max()}" for column in array.T if len(array))
        raise RecordingError(
            f"{path}: found {array.shape[1]} columns without names ({spans}); expected to be told "
            "their order. Give for example columns='x,y,t,p' (--columns x,y,t,p)."
        )
    order = column_order(path, columns)
    if len(order) != array.shape[1]:
        raise RecordingError(
            f"{path}: found {array.shape[1]} columns; expected {len(order)}, as in "
            f"columns='{columns}'. Name every column; '_' for one to pass over."
        )
    return {key: array[:, order.index(key)] for key in ALIASES}, None
