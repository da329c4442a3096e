"""What do Prophesee's cameras and Metavision write? EVT 2 and EVT 3 (.raw), and .dat."""

import re
from pathlib import Path

import numba
import numpy as np

from safe_companion.formats.bits import Bits, decode
from safe_companion.formats.content import (
    EventFile,
    RecordingError,
    check_memory,
    read_bytes,
    reading,
)

DAT_BITS = Bits(x=0, x_mask=0x3FFF, y=14, y_mask=0x3FFF, p=28)
EVENT_BYTES = 13  # of two coordinates, time and polarity, decoded


def _header(content: bytes) -> tuple[str, int]:
    """The lines that begin with %, lower case, and where they end."""
    position = 0
    while content[position : position + 1] == b"%":
        end = content.find(b"\n", position) + 1
        line = content[position:end].rstrip()
        if not end or any(byte < 32 and byte != 9 for byte in line):
            break
        position = end
        if line.lower() == b"% end":
            break
    return content[:position].decode("latin-1").lower(), position


def _size(header: str) -> tuple[int, int] | None:
    """(width, height) in any of the ways in which headers say it."""
    geometry = re.search(r"geometry[ :]+(\d+)x(\d+)", header)
    width = re.search(r"width[ =:]+(\d+)", header)
    height = re.search(r"height[ =:]+(\d+)", header)
    if geometry:
        return int(geometry[1]), int(geometry[2])
    return (int(width[1]), int(height[1])) if width and height else None


def read_dat(path: Path) -> EventFile:
    """A .dat file, version 2, of contrast detections (CD). Raises RecordingError."""
    with reading(path, "dat recording"):
        content = read_bytes(path, unpacked=2)
        header, start = _header(content)
        version = re.search(r"^% version +(\d+)", header, re.MULTILINE)
        kind, width = content[start : start + 2]
        if not header or (version and version[1] != "2") or kind not in (0, 12) or width != 8:
            raise RecordingError(
                f"{path}: found version {version[1] if version else 'unknown'}, events of type "
                f"{kind} and {width} bytes; expected version 2, CD events (type 12) of 8 bytes. "
                "Convert the recording with Metavision."
            )
        pairs = np.frombuffer(content, "<u4", offset=start + 2).reshape(-1, 2)
        time, address = pairs.T
        if len(address) and address.max() >> 29:
            raise ValueError("a polarity above 1")
        vectors = decode(address, time, DAT_BITS)
    return EventFile(vectors, _size(header), time_unit="us")


@numba.njit(cache=True, nogil=True)
def _fill_evt2(
    words: np.ndarray, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray
) -> int:
    """Number of events; -1 at a word that the format does not have."""
    count = 0
    high = np.int64(-1)  # events before the first word of time have none
    for word in words:
        kind = word >> 28
        if kind < 2:
            if high >= 0:
                x[count] = word >> 11 & 2047
                y[count] = word & 2047
                t[count] = high + (word >> 22 & 63)
                p[count] = kind
                count += 1
        elif kind == 8:
            new = np.int64(word & 0xFFFFFFF) << 6
            turn = high & ~((np.int64(1) << 34) - 1) if high >= 0 else np.int64(0)
            if turn + new < high - (np.int64(1) << 33):
                turn += np.int64(1) << 34
            high = turn + new
        elif kind != 10 and kind != 14 and kind != 15:  # triggers and other news
            return -1
    return count


@numba.njit(cache=True, nogil=True)
def _count_evt3(words: np.ndarray) -> int:
    """The most events that words of EVT 3 can hold; -1 at a word that the format does not have."""
    count = 0
    for word in words:
        kind = word >> 12
        if kind == 2:
            count += 1
        elif kind == 4 or kind == 5:
            bits = word & (4095 if kind == 4 else 255)
            while bits:
                bits &= bits - 1
                count += 1
        elif kind == 1 or kind == 9 or 11 <= kind <= 13:
            return -1
    return count


@numba.njit(cache=True, nogil=True)
def _fill_evt3(
    words: np.ndarray, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray
) -> int:
    """Number of events; those before the first time and row are left out, as they have none."""
    count = 0
    row = -1
    base = 0
    polarity = 0
    high = np.int64(-1)
    turn = np.int64(0)
    time = np.int64(-1)
    for word in words:
        kind = word >> 12
        low = np.int64(word & 4095)
        if kind == 0:
            row = int(low & 2047)
        elif kind == 6:
            if high >= 0:
                time = turn + (high << 12) + low
        elif kind == 8:
            if low < high - 2048:  # 24 bits of time begin anew every 16.8 s
                turn += 1 << 24
            if low != high:
                high = low
                time = turn + (high << 12)
        elif kind == 2:
            if time >= 0 and row >= 0:
                x[count] = low & 2047
                y[count] = row
                t[count] = time
                p[count] = low >> 11
                count += 1
        elif kind == 3:
            base = int(low & 2047)
            polarity = int(low >> 11)
        elif kind == 4 or kind == 5:
            width = 12 if kind == 4 else 8
            if time >= 0 and row >= 0:
                for bit in range(width):
                    if low >> bit & 1:
                        x[count] = base + bit
                        y[count] = row
                        t[count] = time
                        p[count] = polarity
                        count += 1
            base += width
    return count


def read_raw(path: Path) -> EventFile:
    """EVT 2 or EVT 3, as the header says. Raises RecordingError."""
    with reading(path, "EVT recording"):
        content = read_bytes(path, unpacked=1)
        header, start = _header(content)
        version = re.search(r"^% (?:evt |format evt)(\d(?:\.\d)?)", header, re.MULTILINE)
        said = version[1].removesuffix(".0") if version else "none"
        if said not in ("2", "3"):
            raise RecordingError(
                f"{path}: found the EVT version {said} in the header; expected 2.0 or 3.0. Convert "
                "the recording with Metavision, to EVT 3 or to csv."
            )
        words = np.frombuffer(content, "<u4" if said == "2" else "<u2", offset=start)
        most = len(words) if said == "2" else _count_evt3(words)
        check_memory(path, most * EVENT_BYTES)
        x, y = (np.empty(max(most, 0), np.uint16) for _ in range(2))
        t, p = np.empty(max(most, 0), np.int64), np.empty(max(most, 0), np.uint8)
        if most >= 0:
            fill = _fill_evt2 if said == "2" else _fill_evt3
            most = fill(words, x, y, t, p)
        if most < 0:
            raise ValueError(f"a word that EVT {said} does not have")
        vectors: dict[str, np.ndarray] = {"x": x[:most], "y": y[:most]}
        vectors |= {"t": t[:most], "p": p[:most]}
    return EventFile(vectors, _size(header), time_unit="us")
