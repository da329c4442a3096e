"""Where does a 32-bit address hold an event? For AEDAT 2.0 and .dat, which differ in this only."""

from typing import NamedTuple

import numba
import numpy as np


class Bits(NamedTuple):
    """Where a 32-bit address holds x, y and polarity; of the bits `other`, one marks no event."""

    x: int
    x_mask: int
    y: int
    y_mask: int
    p: int
    other: int = 0


def decode(address: np.ndarray, time: np.ndarray, bits: Bits) -> dict[str, np.ndarray]:
    """x, y, t, p of uint32 addresses and of uint32 microseconds, which begin anew every 71 min."""
    x, y = (np.empty(len(address), np.uint16) for _ in range(2))
    t, p = np.empty(len(address), np.int64), np.empty(len(address), np.uint8)
    count = _fill(address, time, bits, x, y, t, p)
    return {"x": x[:count], "y": y[:count], "t": t[:count], "p": p[:count]}


@numba.njit(cache=True, nogil=True)
def _fill(
    address: np.ndarray,
    time: np.ndarray,
    bits: Bits,
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    p: np.ndarray,
) -> int:
    count = 0
    turns = np.int64(0)
    before = np.int64(0)
    for i in range(len(address)):
        word = np.int64(address[i])
        if word & bits.other:
            continue
        now = np.int64(time[i])
        if before - now > 1 << 31:
            turns += 1 << 32
        before = now
        x[count] = word >> bits.x & bits.x_mask
        y[count] = word >> bits.y & bits.y_mask
        t[count] = turns + now
        p[count] = word >> bits.p & 1
        count += 1
    return count
