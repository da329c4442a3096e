"""What does a pack hold? Events in columns that are mapped, not read, and images as files in it.

A pack is one recording in one file, alone or in a shard (see shards.py):

    "SAFEPACK", crc32 of the header, version, length of the header
    the header, JSON in UTF-8: what is known, and [offset, bytes, crc32] of each part
    the parts, each from a multiple of 64 bytes on: t, xyp, frame_t, frames, event_images

t is uint32 microseconds from the header's t0 (int64 where that is too short), xyp is uint32 of 14
bits of x, 14 of y and one of p. Events are sorted, and were checked when they were written.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np

from safe_companion.events import EVENT_DTYPE
from safe_companion.formats import shards
from safe_companion.formats.content import (
    EventFile,
    ImageSource,
    Inside,
    RecordingError,
    reading,
    unreadable,
)

VERSION = 1
START = struct.Struct("<8sIIQ")
ALIGNED = 64
Parts = dict[str, bytes]


@numba.njit(cache=True, nogil=True)
def _unpack(
    since: np.ndarray, xyp: np.ndarray, t0: int, x_most: int, y_most: int, events: np.ndarray
) -> bool:
    """Fill EVENT_DTYPE events; False if one lies where, or comes when, none did when packed."""
    before = np.int64(0)
    for i in range(since.size):
        if np.int64(since[i]) < before:
            return False
        before = np.int64(since[i])
        word = xyp[i]
        x = word & 0x3FFF
        y = word >> 14 & 0x3FFF
        p = word >> 28
        if x > x_most or y > y_most or p > 1:
            return False
        events[i].x = x
        events[i].y = y
        events[i].p = p
        events[i].t = t0 + np.int64(since[i])
    return True


def packed(events: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(t, xyp, t0) of an EVENT_DTYPE array, as the parts hold them."""
    t0 = int(events["t"][0])
    since = events["t"] - t0
    if since[-1] < 1 << 32:
        since = since.astype("<u4")
    xyp = events["x"].astype("<u4")
    xyp |= events["y"].astype("<u4") << 14
    xyp |= events["p"].astype("<u4") << 28
    return since, xyp, t0


class Times:
    """The times of mapped events, int64 microseconds: only what is asked for is read."""

    def __init__(self, since: np.ndarray, t0: int):
        self.since = since
        self.t0 = t0

    def __len__(self) -> int:
        return len(self.since)

    def __getitem__(self, key: Any) -> Any:
        return self.since[key].astype(np.int64) + self.t0

    def searchsorted(self, values: Any, side: str = "left", sorter: None = None) -> np.ndarray:
        """As np.searchsorted(self, values), which asks for this; side is always "left"."""
        wanted = np.ceil(values).astype(np.int64) - self.t0  # times are whole
        if self.since.dtype == np.int64:
            return np.searchsorted(self.since, wanted)
        # Of the same type, or NumPy would convert the whole column.
        found = np.searchsorted(self.since, np.clip(wanted, 0, 2**32 - 1).astype(np.uint32))
        return np.where(wanted < 2**32, found, len(self.since))


class EventView:
    """The events of a pack, like an EVENT_DTYPE array; only what is asked for is read.

    view[start:stop] is an EVENT_DTYPE array of these events, view["t"] a whole column. extent:
    smallest and largest x, smallest and largest y. RecordingError if the pack is damaged there.
    """

    dtype = EVENT_DTYPE

    def __init__(
        self, path: Path, since: np.ndarray, xyp: np.ndarray, *, t0: int, extent: list[int]
    ):
        self.path = path
        self.times = Times(since, t0)
        self.extent = extent
        self._xyp = xyp

    def __len__(self) -> int:
        return len(self._xyp)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._column(key)
        if isinstance(key, int | np.integer):
            at = range(len(self))[key]
            return self[at : at + 1][0]
        if not isinstance(key, slice):  # in any order
            return self[:][key]
        since, xyp = self.times.since[key], self._xyp[key]
        events = np.empty(len(since), EVENT_DTYPE)
        if not _unpack(since, xyp, self.times.t0, self.extent[1], self.extent[3], events):
            raise self._damaged()
        return events

    def _damaged(self) -> RecordingError:
        return unreadable(self.path, "pack", "events that do not match its header")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    def _column(self, key: str) -> np.ndarray:
        if key == "t":
            times = self.times[:]
            if times[0] < 0 or (times[1:] < times[:-1]).any():
                raise self._damaged()
            return times
        return np.ascontiguousarray(self[:][key])

    def keys(self) -> tuple[str, ...]:
        return ("x", "y", "t", "p")

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """The columns by name."""
        return ((key, self._column(key)) for key in self.keys())

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether all events lie inside a sensor of (width, height)."""
        return self.extent[1] < size[0] and self.extent[3] < size[1]


# ---------------------------------------------------------------- files


def assemble(about: dict[str, Any], parts: Parts) -> bytes:
    """The bytes of a pack. about: its header, without "parts"."""
    places = {name: [0, len(part), zlib.crc32(part)] for name, part in parts.items()}
    header = b""
    for _ in range(3):  # offsets of more digits make the header longer
        at = -(-(START.size + len(header)) // ALIGNED) * ALIGNED
        for name, part in parts.items():
            places[name][0] = at
            at = -(-(at + len(part)) // ALIGNED) * ALIGNED
        header = json.dumps(about | {"parts": places}).encode()
        header += b" " * (-len(header) % (4 * ALIGNED))
    content = bytearray(START.pack(b"SAFEPACK", zlib.crc32(header), VERSION, len(header)) + header)
    for name, part in parts.items():
        content += bytes(places[name][0] - len(content)) + part
    return bytes(content)


def parse_header(path: Path, start: Any) -> dict[str, Any]:
    """The header of a pack, given the bytes it begins with. ValueError if it is damaged."""
    magic, crc, version, length = START.unpack_from(start)
    if magic != b"SAFEPACK":
        raise ValueError("not the magic number of a pack")
    if version != VERSION:
        raise RecordingError(
            f"{path}: found a pack of version {version}; expected {VERSION}. Pack the recording "
            "again.",
            kind="unreadable",
        )
    header = bytes(start[START.size : START.size + length])
    if len(header) < length or zlib.crc32(header) != crc:
        raise ValueError("a header that does not match its checksum")
    return json.loads(header)


def _mapped(path: Path) -> tuple[dict[str, Any], memoryview]:
    """(header, the bytes of a pack, mapped). ValueError if it is not whole."""
    place = shards.find(path) or shards.Place(path, 0, None)
    with open(place.file, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        end = size if place.size is None else place.offset + place.size
        if not place.offset + START.size < end <= size:
            raise ValueError("a file that ends before its pack does")
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    content = content[place.offset : end]
    header = parse_header(path, content)
    last = max(offset + count for offset, count, _ in header["parts"].values())
    if last > len(content):
        raise ValueError(f"{len(content):,} bytes, {last:,} in the header")
    return header, content


def _images(
    path: Path, header: dict[str, Any], content: memoryview, kind: str
) -> list[ImageSource]:
    """The images of a part: pixels, where the header says their shape, else files."""
    if kind not in header["parts"]:
        return []
    offset, count, _ = header["parts"][kind]
    about = header[kind]
    if "shape" in about:
        return list(np.frombuffer(content, np.uint8, count, offset).reshape(about["shape"]))
    found: list[ImageSource] = []
    for number, size in enumerate(about["bytes"]):
        found.append(Inside(content[offset : offset + size], path, kind, number))
        offset += size
    return found


def read_pack(path: Path) -> EventFile:
    """What a pack holds, mapped; its header is checked, its parts are not. RecordingError."""
    with reading(path, "pack"):
        header, content = _mapped(path)
        parts = header["parts"]

        def column(name: str, dtype: str) -> np.ndarray:
            offset, count, _ = parts[name]
            return np.frombuffer(content, dtype, count // np.dtype(dtype).itemsize, offset)

        events = None
        if "t" in parts:
            since = column("t", header["t_dtype"])
            about = {"t0": header["t0"], "extent": header["extent"]}
            events = EventView(path, since, column("xyp", "<u4"), **about)
        size = header["sensor_size"]
        usual = header["usual_size"]
        return EventFile(
            events,
            (size[0], size[1]) if size else None,
            column("frame_t", "<i8") if "frame_t" in parts else None,
            _images(path, header, content, "frames") or None,
            (usual[0], usual[1]) if usual else None,
            header["time_unit"],
            _images(path, header, content, "event_images") or None,
        )


def read_header(path: Path) -> dict[str, Any]:
    """What a pack says of itself. RecordingError if it is not whole."""
    with reading(path, "pack"):
        return _mapped(path)[0]


def verify(path: Path) -> None:
    """Raise RecordingError if the parts of a pack do not match their checksums."""
    with reading(path, "pack"):
        header, content = _mapped(path)
        for name, (offset, count, crc) in header["parts"].items():
            if zlib.crc32(content[offset : offset + count]) != crc:
                raise ValueError(f"{name} that do not match their checksum")
