"""How does an event stream become event images, and where is it cut into windows?

Arrays in, arrays out. A stream is an EVENT_DTYPE array sorted by t; size is always (width, height)
of its sensor in pixels. Array shapes: C channels, H height, W width. Where ON and OFF events have
their own channels, ON comes first.
"""

import itertools
from typing import Any

import numba
import numpy as np

EVENT_DTYPE = np.dtype([("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "u1")])  # us; p: 0 OFF, 1 ON

# Fixed scales, so that a pixel value means the same in every clip; anything beyond saturates.
COUNT_LIMIT = 8  # events of one polarity on a pixel that make 255
VOXEL_LIMIT = 4  # net events on a voxel that make full contrast around mid-grey
TIME_SURFACE_TAU_US = 50_000  # the time constant of Lagorce et al.'s first layer

ON_COLOUR = (220, 30, 30)  # RGB, as in HARDVS's own pictures
OFF_COLOUR = (30, 30, 200)
_COLOURS = np.array([OFF_COLOUR, ON_COLOUR], np.uint8)  # by polarity

# Pixel value without events, of each representation that there is.
BACKGROUND = {"authors": 255, "counts": 0, "voxel": 128, "time_surface": 0}


# ---------------------------------------------------------------- event images


@numba.njit(cache=True, nogil=True)
def _all_inside(events: np.ndarray, width: int, height: int) -> bool:
    for e in events:
        if e.x >= width or e.y >= height or e.p > 1:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _count(events: np.ndarray, counts: np.ndarray) -> None:
    for e in events:
        counts[e.p, e.y, e.x] += 1


@numba.njit(cache=True, nogil=True)
def _paint(events: np.ndarray, image: np.ndarray) -> None:
    for e in events:
        for channel in range(3):
            image[e.y, e.x, channel] = _COLOURS[e.p, channel]


@numba.njit(cache=True, nogil=True)
def _last_time(events: np.ndarray, last: np.ndarray) -> None:
    for e in events:
        last[e.p, e.y, e.x] = e.t


@numba.njit(cache=True, nogil=True)
def _vote(events: np.ndarray, grid: np.ndarray, scale: float) -> None:
    last_bin = grid.shape[0] - 1
    for e in events:
        position = (e.t - events[0].t) * scale
        lower = min(int(position), last_bin)
        weight = np.float32(position - lower)
        sign = np.float32(1 if e.p else -1)
        grid[lower, e.y, e.x] += sign * (1 - weight)
        if lower < last_bin:
            grid[lower + 1, e.y, e.x] += sign * weight


def _check_inside(events: np.ndarray, size: tuple[int, int]) -> None:
    """The loops above do not check bounds, so this does."""
    if events.dtype != EVENT_DTYPE:
        raise TypeError(f"events of dtype {events.dtype}; expected events.EVENT_DTYPE")
    if not _all_inside(events, *size):
        raise ValueError(
            f"events outside the sensor of {size[0]}x{size[1]} pixels, or polarities other than "
            "0 and 1; size is (width, height)"
        )


def count_image(events: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Events per pixel and polarity: int32 [2, H, W], ON first."""
    _check_inside(events, size)
    width, height = size
    counts = np.zeros((2, height, width), np.int32)
    _count(events, counts)
    return counts[::-1]  # counted by p (OFF 0, ON 1); a reversed view puts ON first


def voxel_grid(events: np.ndarray, size: tuple[int, int], bins: int) -> np.ndarray:
    """Signed events (ON +1, OFF -1), shared between `bins` instants: float32 [bins, H, W].

    Bilinear in time, the first event at instant 0 and the last at instant bins - 1 (Zhu et al.,
    CVPR 2019, Eq. 1-2). The grid's total is the number of ON minus the number of OFF events.
    """
    _check_inside(events, size)
    width, height = size
    grid = np.zeros((bins, height, width), np.float32)
    duration = int(events["t"][-1] - events["t"][0]) if len(events) else 0
    _vote(events, grid, (bins - 1) / duration if duration else 0.0)
    return grid


def time_surface(events: np.ndarray, size: tuple[int, int], tau_us: float) -> np.ndarray:
    """exp(-age / tau_us) of each pixel's last event by polarity: float32 [2, H, W], ON first.

    0 where there is none. Age is counted from the last event of the array (Lagorce et al., TPAMI
    2017).
    """
    _check_inside(events, size)
    width, height = size
    last = np.full((2, height, width), -1, np.int64)
    _last_time(events, last)
    surface = np.zeros(last.shape, np.float32)
    if len(events):
        surface[last >= 0] = np.exp((last[last >= 0] - events["t"][-1]) / tau_us)
    return surface[::-1]


def event_image(events: np.ndarray, size: tuple[int, int], representation: str) -> np.ndarray:
    """One event image: uint8 [3, H, W]. events: EVENT_DTYPE array; ValueError if any is outside.

    authors: HARDVS's own picture: ON_COLOUR, OFF_COLOUR on white, the last event on a pixel wins.
    counts: ON and OFF counts times 255 / COUNT_LIMIT, clipped at 255; third channel 0.
    voxel: three instants of the voxel grid, 128 + 127 * value / VOXEL_LIMIT, clipped to 1..255.
    time_surface: ON and OFF time surface (TIME_SURFACE_TAU_US) times 255; third channel 0.
    """
    if representation not in BACKGROUND:
        raise ValueError(
            f"representation {representation!r}; expected one of {', '.join(BACKGROUND)}"
        )
    width, height = size
    image = np.full((height, width, 3), BACKGROUND[representation], np.uint8)
    channels = image.transpose(2, 0, 1)
    if representation == "authors":
        _check_inside(events, size)
        _paint(events, image)
    elif representation == "counts":
        channels[:2] = np.minimum(count_image(events, size), COUNT_LIMIT) * 255 // COUNT_LIMIT
    elif representation == "voxel":
        contrast = np.clip(voxel_grid(events, size, 3) / VOXEL_LIMIT, -1, 1)
        channels[:] = np.rint(128 + 127 * contrast)
    else:
        channels[:2] = np.rint(255 * time_surface(events, size, TIME_SURFACE_TAU_US))
    return channels


# ---------------------------------------------------------------- windows


def frame_windows(frame_t: np.ndarray, event_t: Any) -> list[tuple[int, int]]:
    """[(start, stop)] event index ranges: frame i is paired with the events from t_i until t_i+1.

    frame_t, event_t: int64 microseconds, increasing. After the last frame there is a window of
    one median interval, if the stream runs on for at least half of one; so the list is as long as
    the frames or one shorter. A single frame takes all events from its time stamp on.
    """
    edges = list(frame_t)
    end = event_t[-1] + 1
    if len(frame_t) == 1:
        edges.append(max(end, frame_t[0]))
    else:
        interval = int(np.median(frame_t[1:] - frame_t[:-1]))
        if end - frame_t[-1] >= interval / 2:
            edges.append(frame_t[-1] + interval)
    return list(itertools.pairwise(np.searchsorted(event_t, edges).tolist()))


def equal_windows(
    event_t: Any, count: int, *, rng: np.random.Generator | None = None
) -> list[tuple[int, int]]:
    """[(start, stop)] of `count` windows of equal duration that cover the stream.

    With rng, the inner edges are shifted together by up to a quarter of a window.
    """
    shift = 0.0 if rng is None else rng.uniform(-0.25, 0.25)
    duration = event_t[-1] + 1 - event_t[0]
    inner = event_t[0] + (np.arange(1, count) + shift) * duration / count
    return list(itertools.pairwise([0, *np.searchsorted(event_t, inner).tolist(), len(event_t)]))


def _each_2x2(reduce: np.ufunc, image: np.ndarray) -> np.ndarray:
    """`reduce` over every 2 x 2 pixels of [C, H, W]: [C, H - 1, W - 1]."""
    top_left = image[:, :-1, :-1]
    top_right = image[:, :-1, 1:]
    bottom_left = image[:, 1:, :-1]
    bottom_right = image[:, 1:, 1:]
    return reduce.reduce([top_left, top_right, bottom_left, bottom_right])


def opened(counts: np.ndarray) -> np.ndarray:
    """Morphological opening of each channel [C, H, W] by 2 x 2 pixels: erosion, then dilation.

    Events alone on their pixel are noise to AFE.
    """
    eroded = _each_2x2(np.minimum, counts)
    return _each_2x2(np.maximum, np.pad(eroded, ((0, 0), (1, 1), (1, 1))))


def half_difference(first: np.ndarray, second: np.ndarray, size: tuple[int, int]) -> float:
    """AFE's measure of how differently two halves of a stream look: 200 * sum|A - B| / n.

    A and B are the opened ON and OFF count images of the halves, n the events of both: from 0
    for equal images to 200 where nothing is shared and opening took nothing (journal version, Sec.
    3.2; from ExACT).
    """
    apart = np.abs(opened(count_image(first, size)) - opened(count_image(second, size))).sum()
    return float(200 * apart / (len(first) + len(second)))


def adaptive_windows(
    events: Any, size: tuple[int, int], *, min_events: int, threshold: float
) -> list[tuple[int, int]]:
    """[(start, stop)] of adaptive fine-grained event windows (AFE; journal version, Sec. 3.2).

    The stream is halved by event count. A `half_difference` below `threshold` keeps the halves as
    one window; otherwise each is halved again, until a half would have fewer than `min_events`
    events. Equality splits, so that threshold 0 always splits, as published for HARDVS (ExACT).
    Windows are in order and cover every event once.
    """

    def windows(start: int, stop: int) -> list[tuple[int, int]]:
        middle = (start + stop) // 2
        if middle - start < max(min_events, 1):
            return [(start, stop)]
        if threshold > 0:  # with 0, no difference needs to be known
            if half_difference(events[start:middle], events[middle:stop], size) < threshold:
                return [(start, stop)]
        return windows(start, middle) + windows(middle, stop)

    return windows(0, len(events))
