"""What do raw sensor addresses say? AEDAT 2.0 of jAER, and N-MNIST's five bytes an event."""

from pathlib import Path

import numba
import numpy as np

from safe_companion.formats.bits import Bits, decode
from safe_companion.formats.content import (
    EventFile,
    RecordingError,
    read_bytes,
    reading,
)

DAVIS = {"davis240": (240, 180), "davis346": (346, 260)}  # chips that share one layout of bits
# Bit 31 marks frames and the motion sensor, bit 10 a trigger; on the DVS128, bit 15 does.
DAVIS_BITS = Bits(x=12, x_mask=1023, y=22, y_mask=511, p=11, other=1 << 31 | 1 << 10)
DVS128_BITS = Bits(x=1, x_mask=127, y=8, y_mask=127, p=0, other=1 << 15)
NMNIST = (34, 34)


def _header_end(content: bytes) -> int:
    """Where the lines that begin with # end; an address may begin with this byte as well."""
    position = 0
    while content[position : position + 1] == b"#":
        end = content.find(b"\n", position) + 1
        line = content[position:end].rstrip()
        if not end or not line.isascii() or any(byte < 32 and byte != 9 for byte in line):
            break
        position = end
        if b"end of ascii header" in line.lower():
            break
    return position


def read_aedat2(path: Path) -> EventFile:
    """AEDAT 2.0 of a DVS128, DAVIS240 or DAVIS346, row 0 at the top. Raises RecordingError.

    Big-endian pairs (address, microseconds) behind lines of text, of which one names the chip.
    """
    with reading(path, "AEDAT 2.0 recording"):
        content = read_bytes(path, unpacked=2)
        start = _header_end(content)
        if not content.startswith(b"#!AER-DAT2.0"):
            raise RecordingError(
                f"{path}: found {content[:14]!r} at the start; expected #!AER-DAT2.0. Save other "
                "versions as AEDAT 2.0 (jAER) or AEDAT 4 (DV).",
                kind="unreadable",
            )
        # Preferences of other chips may follow these lines.
        about = [line for line in content[:start].lower().splitlines() if b"chip:" in line]
        chip = b" ".join(about or [content[:start].lower()]).decode()
        pairs = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2)
        address, time = pairs.astype(np.uint32).T
        name = next((name for name in DAVIS if name in chip), None)
        if name is not None:
            width, height = DAVIS[name]
            vectors = decode(address, time, DAVIS_BITS)
            np.subtract(width - 1, vectors["x"], out=vectors["x"])  # outside wraps, to outside
            np.subtract(height - 1, vectors["y"], out=vectors["y"])
            return EventFile(vectors, (width, height), time_unit="us")
        if "dvs128" not in chip:
            raise RecordingError(
                f"{path}: found no chip that is known ({', '.join(map(repr, about[:1])) or 'none'}"
                "); expected DVS128, DAVIS240 or DAVIS346 in a line '# AEChip: ...'. Add the line."
            )
        if len(address) and address.max() >> 16:
            raise RecordingError(
                f"{path}: found the address {address.max():#x}; expected 16 bits, as of a DVS128. "
                "The file is damaged, or of another chip: correct the line '# AEChip: ...'."
            )
        vectors = decode(address, time, DVS128_BITS)
        np.subtract(127, vectors["y"], out=vectors["y"])
        np.subtract(1, vectors["p"], out=vectors["p"])  # the bit says OFF
    return EventFile(vectors, (128, 128), time_unit="us")


@numba.njit(cache=True, nogil=True)
def _fill_bin(rows: np.ndarray, x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray) -> int:
    """Number of events among the rows of 5 bytes; row 240 says that the clock began anew."""
    count = 0
    turns = 0
    for i in range(len(rows)):
        if rows[i, 1] == 240:
            turns += 1
            continue
        x[count] = rows[i, 0]
        y[count] = rows[i, 1]
        high = np.int64(rows[i, 2])
        t[count] = ((high & 127) << 16) + (np.int64(rows[i, 3]) << 8) + rows[i, 4] + (turns << 13)
        p[count] = high >> 7
        count += 1
    return count


def read_bin(path: Path) -> EventFile:
    """N-MNIST and N-Caltech101: x, y, polarity and 23 bits of microseconds. Raises RecordingError.

    The format has no header: without sensor_size, a recording that fits has N-MNIST's 34 x 34.
    """
    with reading(path, "N-MNIST recording of 5 bytes an event"):
        content = read_bytes(path, unpacked=3)
        if content and not content.strip(b"\0"):
            raise ValueError("nothing but zero bytes")
        rows = np.frombuffer(content, np.uint8).reshape(-1, 5)
        x, y, p = (np.empty(len(rows), np.uint8) for _ in range(3))
        t = np.empty(len(rows), np.int64)
        count = _fill_bin(rows, x, y, t, p)
        vectors: dict[str, np.ndarray] = {"x": x[:count], "y": y[:count]}
        vectors |= {"t": t[:count], "p": p[:count]}
        fits = count and vectors["x"].max() < NMNIST[0] and vectors["y"].max() < NMNIST[1]
    return EventFile(vectors, usual_size=NMNIST if fits else None, time_unit="us")
