"""Recordings in, clips out: readers, event images, event windows, data sets, splits and prompts.

    splits = open_dataset(dataset="hardvs", data_root=None, frames=5, image_size=64)  # the sample
    splits.train[0]  # {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3, S, S], "label": int, "name": str}
    python -m safe_data check ROOT --dataset hardvs  # lists every missing, unreadable or empty recording

A recording is one take of the camera: RGB frames, an event stream (x, y, t in microseconds, p), or both. A clip is
what the model sees of it: F frames and F event images. Array shapes: F frames, H height, W width, S image size.
Where ON and OFF events have their own channels, ON comes first.
"""

import argparse
import hashlib
import inspect
import io
import itertools
import json
import os
import re
import struct
import sys
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import aedat
import numba
import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

EVENT_DTYPE = np.dtype([("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "u1")])  # t in us; p: 0 OFF, 1 ON
DAVIS346 = (346, 260)  # width, height of the camera that recorded HARDVS and PokerEvent
REPRESENTATIONS = ("authors", "counts", "voxel", "time_surface")
WHERE_TO_GET = {"hardvs": "HARDVS: github.com/Event-AHU/HARDVS", "pokerevent": "PokerEvent: github.com/Event-AHU/SAFE"}
DATASETS = (*WHERE_TO_GET, "folder")
PROMPTS = {"hardvs": "The action of the human is {}", "pokerevent": "The content of the playing card is {}",
           "folder": "A photo of a {}"}  # the paper's (Sec. 4.2); CLIP's own for other recordings


# ---------------------------------------------------------------- recordings

class RecordingError(Exception):
    """A recording that cannot be used: names the file, what was found, what was expected, and what to do.

    kind: "missing", "unreadable", "empty", "invalid" or "too few frames".
    """

    def __init__(self, message, *, kind="invalid"):
        super().__init__(message)
        self.kind = kind


def _error(path, kind, found, expected, advice):
    return RecordingError(f"{path}: found {found}; expected {expected}. {advice}", kind=kind)


@dataclass
class Recording:
    """One recording as read from disk.

    size: (width, height) of the sensor in pixels. events: EVENT_DTYPE array sorted by t, or None when the recording
    has stored event images only. frame_t: int64 microseconds, one per RGB frame, or None when frames are unknown or
    nothing says when they were taken. Image sources are paths, decoded when asked for, or arrays [H, W] or [H, W, 3].
    """

    name: str
    path: Path
    size: tuple[int, int]
    events: np.ndarray | None = None
    frame_t: np.ndarray | None = None
    frame_sources: list = field(default_factory=list, repr=False)
    event_image_sources: list = field(default_factory=list, repr=False)

    def frame(self, index):
        """RGB frame `index` as uint8 [3, H, W]; gray frames repeat their channel. Raises RecordingError."""
        return np.asarray(_image(self.frame_sources[index]).convert("RGB")).transpose(2, 0, 1)


def _image(source, *, load=True):
    """A frame or event image as a PIL image of mode RGB or L; load=False: any mode, for its size."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    try:
        with Image.open(source) as image:
            if load:
                image.load()
            return image.convert("RGB") if load and image.mode not in ("L", "RGB") else image
    except Exception as cause:  # damaged bytes raise many kinds
        raise _error(source, "unreadable", f"no readable image ({cause})", "a PNG or JPEG image",
                     "Extract the recording again.") from cause


def _locate(path):
    """The files of one recording: (name, event file or None, `_aps` folder, `_dvs` folder)."""
    if path.suffix in (".aedat4", ".npz") and path.is_file():
        folder = path.parent if path.parent.name == path.stem else path.parent / path.stem
        name, event_file = path.stem, path
    else:
        # Sample names hold dots and spaces, so suffixes are appended, never replaced.
        name, folder = path.name, path
        candidates = (parent / (name + suffix) for suffix in (".aedat4", ".npz") for parent in (path, path.parent))
        event_file = next((file for file in candidates if file.is_file()), None)
    return name, event_file, folder / f"{name}_aps", folder / f"{name}_dvs"


def _numbered_images(folder):
    """{number: path} of an image folder, by number: 0005.png and 00000005.png are both frame 5."""
    try:
        files = [(*os.path.splitext(file), file) for file in os.listdir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return dict(sorted((int(stem), os.path.join(folder, file)) for stem, suffix, file in files
                       if suffix.lower() in (".png", ".jpg") and stem.isdecimal()))


def read_recording(path, *, size=None):
    """Read one recording in any form in which HARDVS and PokerEvent circulate.

    path: a sample folder holding `<sample>_aps/` and/or `<sample>_dvs/` images and optionally `<sample>.npz`; a flat
    or nested `.npz` (keys x, y, t, p, optionally frame_t) or `.aedat4`; or the same path without its extension. Where
    events exist, stored event images are not used.
    size: (width, height) of the sensor for npz recordings. An aedat4 header overrules it. Without it, the size of the
    frames beside the events holds, else DAVIS346 (346 x 260) if the events fit.

    Frame time stamps come from the aedat4 file or from the npz key `frame_t`; else frames are taken to be evenly
    spread over the stream. Events must be sorted, inside the sensor, with polarities in {0, 1} ({-1, 1} and bool are
    mapped). Raises RecordingError.
    """
    path = Path(path)
    name, event_file, aps_folder, dvs_folder = _locate(path)
    aps, frame_t = _numbered_images(aps_folder), None
    frame_sources = list(aps.values())

    if event_file is None:
        dvs = _numbered_images(dvs_folder)
        if not aps and not dvs:
            raise _error(path, "empty" if path.exists() else "missing", "no recording",
                         f"{name}.aedat4, {name}.npz, or images in {name}_aps/ or {name}_dvs/",
                         "Check the list file against the extracted archive.")
        numbers = sorted(aps.keys() & dvs.keys() if aps and dvs else aps.keys() | dvs.keys())
        if not numbers:
            raise _error(path, "invalid", "no image number that both folders share",
                         "frames and event images with the same numbers", "Extract the recording again.")
        frame_sources, stored = ([images[n] for n in numbers if images] for images in (aps, dvs))
        return Recording(name, path, _image((stored or frame_sources)[0], load=False).size, frame_sources=frame_sources,
                         event_image_sources=stored)

    if event_file.suffix == ".aedat4":
        events, size, own_frames, own_frame_t = _read_aedat4(event_file)
        if own_frames:
            frame_sources, frame_t = own_frames, own_frame_t
    else:
        columns, frame_t = _read_npz(event_file)
        size = size or (_image(frame_sources[0], load=False).size if frame_sources else DAVIS346)
        events = _checked_events(event_file, columns, size)
    if not frame_sources:
        frame_t = None
    elif frame_t is None:
        first, duration = events["t"][0], events["t"][-1] - events["t"][0] + 1
        # Rounded up, no interval is shorter than the last, so that no event falls off the end.
        frame_t = first - (-np.arange(len(frame_sources)) * duration // len(frame_sources))
    elif frame_t.shape != (len(frame_sources),):
        raise _error(event_file, "invalid", f"{frame_t.size} frame time stamps for {len(frame_sources)} frames",
                     "one time stamp per frame", "Extract the recording again.")
    if frame_t is not None and (frame_t[1:] <= frame_t[:-1]).any():
        raise _error(event_file, "invalid", "frame time stamps that do not increase",
                     "strictly increasing time stamps", "Convert the recording again.")
    return Recording(name, path, tuple(size), events, frame_t, frame_sources)


# Header of a .npy file with a plain vector. Reading it with NumPy's parser costs as much as a short stream itself.
_NPY = re.compile(rb"\x93NUMPY\x01\x00..\{'descr': '([<|][biuf]\d)', 'fortran_order': False, "
                  rb"'shape': \((\d+),\), \} *\n", re.DOTALL)


def _npz_array(archive, key):
    content = archive.read(f"{key}.npy")
    if (header := _NPY.match(content)) and int(header[2]):
        return np.frombuffer(content, header[1].decode(), int(header[2]), header.end())
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _read_npz(path):
    """Columns {x, y, t, p} and frame_t (int64 or None) of an npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            if missing := [key for key in "xytp" if key not in keys]:
                raise _error(path, "invalid", f"no key {', '.join(missing)} (keys: {', '.join(keys)})",
                             "the keys x, y, t, p", "Save them with numpy.savez(file, x=x, y=y, t=t, p=p).")
            columns = {key: _npz_array(archive, key) for key in "xytp"}
            frame_t = _npz_array(archive, "frame_t").astype(np.int64) if "frame_t" in keys else None
    except RecordingError:
        raise
    except Exception as cause:  # damaged bytes raise many kinds
        if "Object arrays" in str(cause):
            raise _error(path, "unreadable", "pickled objects, which can run code when loaded",
                         "plain numeric arrays", "Save x, y, t, p as arrays of numbers.") from cause
        raise _error(path, "unreadable", f"no complete npz archive ({cause})", "an npz file with x, y, t, p",
                     "The file may be cut off: copy or download it again.") from cause
    return columns, frame_t


@numba.njit(cache=True, nogil=True)
def _fill(events, x, y, t, p, width, height):
    """Copies columns into EVENT_DTYPE; False if any event is outside, before the one before it or of odd polarity."""
    before, zero, negative = 0, False, False
    for i in range(t.size):
        time = np.int64(t[i])
        if x[i] < 0 or y[i] < 0 or x[i] >= width or y[i] >= height or time < before or p[i] < -1 or p[i] > 1:
            return False
        zero, negative, before = zero or p[i] == 0, negative or p[i] < 0, time
        events[i].x, events[i].y, events[i].t, events[i].p = x[i], y[i], time, p[i] > 0
    return not (zero and negative)


def _checked_events(path, columns, size):
    """EVENT_DTYPE array from columns, or the one RecordingError that applies."""
    lengths = {key: column.shape for key, column in columns.items()}
    if len(set(lengths.values())) > 1 or columns["t"].ndim != 1:
        raise _error(path, "invalid", "arrays of shapes " + ", ".join(f"{k} {v}" for k, v in lengths.items()),
                     "x, y, t, p of the same length", "Convert the recording again.")
    if not len(columns["t"]):
        raise _error(path, "empty", "an event stream without events", "at least one event",
                     "Leave the recording out, or set on_bad_recording='skip'.")
    for key, column in columns.items():
        whole = column.dtype.kind == "f" and np.isfinite(column).all() and (column == np.floor(column)).all()
        if not whole and column.dtype.kind not in "iub":
            raise _error(path, "invalid", f"{key} with values that are no integers ({column.dtype})",
                         "integer pixels, microseconds and polarities", "Convert seconds to microseconds.")
    width, height = size
    # What is compiled takes no floats and no foreign byte order.
    x, y, t, p = (column.astype(np.int64 if column.dtype.kind == "f" else column.dtype.newbyteorder("="), copy=False)
                  for column in columns.values())
    events = np.empty(len(t), EVENT_DTYPE)
    if _fill(events, x, y, t, p, width, height):
        return events
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        raise _error(path, "invalid", f"events at x {x.min()}..{x.max()}, y {y.min()}..{y.max()}",
                     f"events inside the sensor of {width}x{height} pixels",
                     "Give the sensor's size (sensor_size='WIDTHxHEIGHT'), or swap x and y back.")
    t = t.astype(np.int64)
    if t.min() < 0:
        raise _error(path, "invalid", f"a negative time stamp ({t.min()})", "microseconds from 0 on",
                     "Subtract the first time stamp, and check for integer overflow.")
    if (t[1:] < t[:-1]).any():
        raise _error(path, "invalid", f"time stamps that go backwards (first at event {np.argmax(t[1:] < t[:-1]) + 1})",
                     "events sorted by time", "Sort the events by t (stable).")
    raise _error(path, "invalid", f"polarities {np.unique(p)[:5].tolist()}", "0 (OFF) and 1 (ON), or -1 and 1",
                 "Convert the polarities.")


def _check_aedat4(path):
    """Raise on what would abort the interpreter inside the decoder: lengths beyond the file, text that is not UTF-8.

    Damage inside the packets is left to the decoder, which raises for most of it.
    """
    with open(path, "rb", buffering=0) as file:
        size, magic = os.fstat(file.fileno()).st_size, file.read(14)
        position = 18 + int.from_bytes(file.read(4), "little")
        if magic != b"#!AER-DAT4.0\r\n" or position > size:
            raise ValueError("not the AEDAT4 magic number, or a header longer than the file")
        # FlatBuffers table with the fields compression, end of the packets (-1: of the file), information (XML)
        header = file.read(position - 18)
        table, = struct.unpack_from("<I", header)
        vtable = table - struct.unpack_from("<i", header, table)[0]
        end_field, text_field = struct.unpack_from("<HH", header, vtable + 6)
        text = table + text_field + struct.unpack_from("<I", header, table + text_field)[0]
        header[text + 4:text + 4 + struct.unpack_from("<I", header, text)[0]].decode()
        end = struct.unpack_from("<q", header, table + end_field)[0] if end_field else -1
        end = size if end < 0 else end
        while position < end <= size:
            file.seek(position)
            position += 8 + struct.unpack("<4xI", file.read(8))[0]
        if position != end:
            raise ValueError("packets that do not end where the header or the file does")


def _read_aedat4(path):
    """(events, (width, height), frames [H, W] or RGB [H, W, 3], frame_t) of an AEDAT4 file's first camera."""
    packets, frames, frame_t, first = [], [], [], {}
    try:
        _check_aedat4(path)
        decoder = aedat.Decoder(path)
        for number, stream in sorted(decoder.id_to_stream().items()):
            first.setdefault(stream["type"], number)
        if "events" not in first:
            raise _error(path, "empty", "no event stream in the header", "an event stream", "Record again.")
        stream = decoder.id_to_stream()[first["events"]]
        for packet in decoder:
            if packet["stream_id"] == first["events"]:
                packets.append(packet["events"])
            elif packet["stream_id"] == first.get("frame"):
                frame = packet["frame"]
                frames.append(frame["pixels"] if frame["format"] == "L" else frame["pixels"][..., :3])
                # Some writers leave everything but the exposure times at 0.
                frame_t.append(frame["t"] or frame["exposure_begin_t"] or frame["begin_t"])
    except (RecordingError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as cause:  # on damaged bytes the decoder panics, which is no Exception
        raise _error(path, "unreadable", f"no complete AEDAT4 recording ({cause})", "a complete AEDAT4 file",
                     "The file may be cut off: copy or download it again.") from cause
    size = (stream["width"], stream["height"])
    columns = {key: np.concatenate([packet[name] for packet in packets]) if packets else np.empty(0, np.uint8)
               for key, name in zip("xytp", ("x", "y", "t", "on"), strict=True)}
    return _checked_events(path, columns, size), size, frames, np.array(frame_t, np.int64)


# ---------------------------------------------------------------- event images

# Fixed scales, so that a pixel value means the same in every clip; anything beyond saturates.
COUNT_LIMIT = 8  # events of one polarity on a pixel that make 255
VOXEL_LIMIT = 4  # net events on a voxel that make full contrast around mid-grey
TIME_SURFACE_TAU_US = 50_000  # the time constant of Lagorce et al.'s first layer
AUTHORS_COLOURS = np.array([[30, 30, 200], [220, 30, 30]], np.uint8)  # OFF, ON
GROUND = {"authors": 255, "counts": 0, "voxel": 128, "time_surface": 0}  # pixel value without events


@numba.njit(cache=True, nogil=True)
def _all_inside(events, width, height):
    for e in events:
        if e.x >= width or e.y >= height or e.p > 1:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _count(events, counts):
    for e in events:
        counts[e.p, e.y, e.x] += 1


@numba.njit(cache=True, nogil=True)
def _paint(events, image):
    for e in events:
        for channel in range(3):
            image[e.y, e.x, channel] = AUTHORS_COLOURS[e.p, channel]


@numba.njit(cache=True, nogil=True)
def _last_time(events, last):
    for e in events:
        last[e.p, e.y, e.x] = e.t


@numba.njit(cache=True, nogil=True)
def _vote(events, grid, scale):
    last_bin = grid.shape[0] - 1
    for e in events:
        position = (e.t - events[0].t) * scale
        lower = min(int(position), last_bin)
        weight = np.float32(position - lower)
        sign = np.float32(1 if e.p else -1)
        grid[lower, e.y, e.x] += sign * (1 - weight)
        if lower < last_bin:
            grid[lower + 1, e.y, e.x] += sign * weight


def _check_inside(events, size):
    """The loops above do not check bounds, so this does."""
    if events.dtype != EVENT_DTYPE:
        raise TypeError(f"events of dtype {events.dtype}; expected safe_data.EVENT_DTYPE")
    if not _all_inside(events, *size):
        raise ValueError(f"events outside the sensor of {size[0]}x{size[1]} pixels, or polarities other "
                         "than 0 and 1; size is (width, height)")


def count_image(events, size):
    """Events per pixel and polarity: int32 [2, H, W], ON first. size: (width, height)."""
    _check_inside(events, size)
    counts = np.zeros((2, size[1], size[0]), np.int32)
    _count(events, counts)
    return counts[::-1]  # counted by p (OFF 0, ON 1); a reversed view puts ON first


def voxel_grid(events, size, bins):
    """Signed events (ON +1, OFF -1) shared between the two nearest of `bins` instants: float32 [bins, H, W].

    Bilinear in time, the first event at instant 0 and the last at instant bins - 1 (Zhu et al., CVPR 2019, Eq. 1-2).
    The grid's total is the number of ON minus the number of OFF events. size: (width, height).
    """
    _check_inside(events, size)
    grid = np.zeros((bins, size[1], size[0]), np.float32)
    duration = int(events["t"][-1] - events["t"][0]) if len(events) else 0
    _vote(events, grid, (bins - 1) / duration if duration else 0.0)
    return grid


def time_surface(events, size, tau_us):
    """exp(-age / tau_us) of each pixel's last event by polarity: float32 [2, H, W], ON first; 0 where none.

    Age is counted from the last event of the array (Lagorce et al., TPAMI 2017). size: (width, height).
    """
    _check_inside(events, size)
    last = np.full((2, size[1], size[0]), -1, np.int64)
    _last_time(events, last)
    surface = np.zeros(last.shape, np.float32)
    if len(events):
        surface[last >= 0] = np.exp((last[last >= 0] - events["t"][-1]) / tau_us)
    return surface[::-1]


def event_image(events, size, representation):
    """One event image: uint8 [3, H, W]. events: EVENT_DTYPE array; size: (width, height).

    authors: HARDVS's own picture: white ground, ON (220, 30, 30), OFF (30, 30, 200), the last event on a pixel wins.
    counts: ON and OFF counts times 255 / COUNT_LIMIT, clipped at 255; third channel 0.
    voxel: three instants of the voxel grid, 128 + 127 * value / VOXEL_LIMIT, clipped to 1..255.
    time_surface: ON and OFF time surface (TIME_SURFACE_TAU_US) times 255; third channel 0.
    """
    if representation not in GROUND:
        raise ValueError(f"representation {representation!r}; expected one of {', '.join(REPRESENTATIONS)}")
    image = np.full((size[1], size[0], 3), GROUND[representation], np.uint8).transpose(2, 0, 1)
    if representation == "authors":
        _check_inside(events, size)
        _paint(events, image.transpose(1, 2, 0))
    elif representation == "counts":
        image[:2] = np.minimum(count_image(events, size), COUNT_LIMIT) * 255 // COUNT_LIMIT
    elif representation == "voxel":
        image[:] = np.rint(128 + 127 * np.clip(voxel_grid(events, size, 3) / VOXEL_LIMIT, -1, 1))
    else:
        image[:2] = np.rint(255 * time_surface(events, size, TIME_SURFACE_TAU_US))
    return image


# ---------------------------------------------------------------- event windows

def frame_windows(frame_t, event_t):
    """[(start, stop)] event index ranges: frame i is paired with the events from t_i until before t_i+1.

    After the last frame there is a window of one median interval, if the stream runs on for at least half of one; so
    the list is as long as the frames or one shorter. A single frame takes all events from its time stamp on.
    """
    edges, end = list(frame_t), event_t[-1] + 1
    if len(frame_t) == 1:
        edges.append(max(end, frame_t[0]))
    else:
        interval = int(np.median(frame_t[1:] - frame_t[:-1]))
        if end - frame_t[-1] >= interval / 2:
            edges.append(frame_t[-1] + interval)
    return list(itertools.pairwise(np.searchsorted(event_t, edges).tolist()))


def equal_windows(event_t, count, *, rng=None):
    """[(start, stop)] of `count` windows of equal duration that cover the stream.

    With rng, the inner edges are shifted together by up to a quarter of a window.
    """
    shift = rng.uniform(-0.25, 0.25) if rng else 0.0
    inner = event_t[0] + (np.arange(1, count) + shift) * (event_t[-1] + 1 - event_t[0]) / count
    return list(itertools.pairwise([0, *np.searchsorted(event_t, inner).tolist(), len(event_t)]))


def _opened(counts):
    """Morphological opening of each channel by 2 x 2 pixels: events alone on their pixel are noise to AFE."""
    def extreme(of, image):
        return of.reduce([image[:, :-1, :-1], image[:, :-1, 1:], image[:, 1:, :-1], image[:, 1:, 1:]])

    return extreme(np.maximum, np.pad(extreme(np.minimum, counts), ((0, 0), (1, 1), (1, 1))))


def adaptive_windows(events, size, *, min_events, threshold):
    """[(start, stop)] of adaptive fine-grained event windows (AFE; journal version, Sec. 3.2; from ExACT).

    The stream is halved by event count. The halves differ by 200 * sum|A - B| / n, A and B being their opened ON and
    OFF count images and n the events of both. A difference below `threshold` keeps them as one window; otherwise each
    is halved again, until a half would have fewer than `min_events` events. Equality splits, so that threshold 0
    always splits, as published for HARDVS. Windows are in order and cover every event once. size: (width, height).
    """
    def windows(start, stop):
        middle = (start + stop) // 2
        if middle - start < max(min_events, 1):
            return [(start, stop)]
        if threshold > 0:
            first, second = (_opened(count_image(half, size)) for half in (events[start:middle], events[middle:stop]))
            if 200 * np.abs(first - second).sum() / (stop - start) < threshold:
                return [(start, stop)]
        return windows(start, middle) + windows(middle, stop)

    return windows(0, len(events))


def spread_indices(available, count, *, rng=None):
    """`count` increasing indices out of range(available): one from each of `count` equal segments.

    The middle of its segment without rng, anywhere in it with rng: never twice the same, unless available < count,
    when indices repeat evenly.
    """
    low = np.arange(count) * available // count
    high = np.maximum(np.arange(1, count + 1) * available // count, low + 1)
    return rng.integers(low, high) if rng else (low + high - 1) // 2


# ---------------------------------------------------------------- augmentation

@dataclass(frozen=True)
class Augmentation:
    """Where to look in an image, and how. box: (left, top, right, bottom), fractions of
    the image, may reach beyond it; gain and offset change RGB only."""

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    flip: bool = False
    gain: float = 1.0
    offset: float = 0.0


RANKS = set("ace jack queen king joker zero one two three four five six seven eight nine ten".split())
SIDED = ("left", "right", "clockwise", "anticlockwise", "counterclockwise", "letter", "digit")


def flip_permitted(class_name):
    """Whether a mirrored clip still shows the class.

    Not for names with left, right or a sense of rotation; nor for card ranks, digits, letters and shapes named after
    letters ("L type clamp back"), whose mirror image is another sign. A rank in a phrase is none ("jumping jack").
    """
    tokens = re.findall(r"\d+(?:st|nd|rd|th)\b|\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])", class_name)
    return not (any(token.lower().startswith(SIDED) for token in tokens)
                or any(token.isdigit() or token.isupper() and len(token) <= 3 for token in tokens)
                or len(class_name) == 1 or class_name.lower() in RANKS)


def draw_augmentation(rng, class_name):
    """Zoom by up to 10 %, shift by up to 5 %, mirror where permitted, mild brightness and contrast."""
    half = rng.uniform(0.9, 1.1) / 2
    x, y = 0.5 + rng.uniform(-0.05, 0.05, 2)
    flip = rng.random() < 0.5 and flip_permitted(class_name)
    return Augmentation((x - half, y - half, x + half, y + half), flip, rng.uniform(0.8, 1.2), rng.uniform(-25, 25))


def draw_frame_augmentation(rng):
    """Shift by up to 10 of 224 pixels and mirror half of the time, whatever the class: what the released code draws."""
    x, y = rng.uniform(-10, 10, 2) / 224
    return Augmentation((x, y, 1 + x, 1 + y), rng.random() < 0.5)


# ---------------------------------------------------------------- clips

class ClipDataset(torch.utils.data.Dataset):
    """Clips of a list of (sample, label), each a dict as in the module's first lines.

    With modality "rgb" or "event" the other key is absent. names: list[str] of samples; labels: int64 [n].
    Frame i and event image i belong to the same instant. With event_windows="frames" that is frame index i and the
    events up to the next frame. With "afe", F of the adaptive windows are chosen in the same way (repeated evenly when
    there are fewer), each with the frame
    nearest to its middle. Recordings without frames give F windows of equal duration.
    draw: "even"; "jittered" within F equal segments; "random": any F, in any order, each modality on its own.
    augment: "clip" draws one augmentation for all images of a clip, in both modalities; "frame" one for each image.
    All draws depend on (seed, epoch, index) only; "even" and "none" draw nothing. __getitem__ raises RecordingError.
    """

    def __init__(self, items, root, class_names, *, frames, image_size, event_representation="authors",
                 event_windows="frames", afe_min_events=150_000, afe_threshold=0.0, modality="both", draw="even",
                 augment="none", sensor_size=None, seed=0):
        self.names = [sample for sample, _ in items]
        self.labels = torch.tensor([label for _, label in items], dtype=torch.int64)
        self.root, self.class_names = Path(root), class_names
        self.frames, self.image_size, self.sensor_size = frames, image_size, sensor_size
        self.event_representation, self.event_windows = event_representation, event_windows
        self.afe_min_events, self.afe_threshold = afe_min_events, afe_threshold
        self.modality, self.draw, self.augment, self.seed = modality, draw, augment, seed
        # Shared memory: persistent workers hold a copy of this object and must still see the new epoch.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self):
        return len(self.names)

    def set_epoch(self, epoch):
        """Choose the epoch whose random draws the next clips use; reaches running workers too."""
        self._epoch.fill_(epoch)

    def recording(self, index):
        """The whole recording behind clip `index`. Raises RecordingError."""
        return read_recording(self.root / self.names[index], size=self.sensor_size)

    def __getitem__(self, index):
        drawn = self.draw != "even" or self.augment != "none"
        rng = np.random.default_rng([self.seed, int(self._epoch), index]) if drawn else None
        recording, label = self.recording(index), int(self.labels[index])
        frames_at, events_at = self._choose(recording, rng)
        look = draw_augmentation(rng, self.class_names[label]) if self.augment == "clip" else Augmentation()
        clip = {"label": label, "name": self.names[index]}

        def stack(images, ground, levels=None):
            if self.augment == "frame":
                return torch.cat([self._stack([image], draw_frame_augmentation(rng), ground) for image in images])
            return self._stack(images, look, ground, levels)

        if self.modality != "event":
            levels = ((np.arange(256) - 128) * look.gain + 128 + look.offset).clip(0, 255).astype(np.uint8)
            clip["rgb"] = stack([_image(recording.frame_sources[i]) for i in frames_at], 0, levels.tobytes())
        if self.modality != "rgb":
            if recording.events is None:
                images = [_image(recording.event_image_sources[i]) for i in events_at]
            else:
                images = [Image.fromarray(event_image(recording.events[start:stop], recording.size,
                                                      self.event_representation).transpose(1, 2, 0))
                          for start, stop in events_at]
            clip["event"] = stack(images, GROUND[self.event_representation])
        return clip

    def _stack(self, images, augmentation, ground, levels=None):
        """The augmentation's box of F PIL images, bilinear and antialiased, as a tensor uint8 [F, 3, S, S].

        levels: bytes, the new value of each pixel value; None keeps them.
        """
        side, (left, top, right, bottom) = self.image_size, augmentation.box
        seen = max(left, 0), max(top, 0), min(right, 1), min(bottom, 1)
        x0, x1 = (round((edge - left) / (right - left) * side) for edge in seen[::2])
        y0, y1 = (round((edge - top) / (bottom - top) * side) for edge in seen[1::2])
        canvas = Image.new("RGB", (side, side * len(images)), (ground,) * 3)  # one below the other
        for i, image in enumerate(images):
            box = tuple(edge * length for edge, length in zip(seen, image.size * 2, strict=True))
            canvas.paste(image.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box), (x0, i * side + y0))
        pixels = np.frombuffer(canvas.tobytes().translate(levels), np.uint8).reshape(len(images), side, side, 3)
        pixels = pixels[:, :, ::-1 if augmentation.flip else 1]
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    def _pick(self, available, rng):
        """F indices out of range(available); with rng as `draw` says."""
        if self.draw == "random":
            return np.resize(rng.permutation(available), self.frames)
        return spread_indices(available, self.frames, rng=rng if self.draw == "jittered" else None)

    def _choose(self, recording, rng):
        """(frame indices, event windows or indices of stored event images): None for what the recording has not."""
        path, events = recording.path, recording.events
        stored, frames = len(recording.event_image_sources), len(recording.frame_sources)

        def pick_both(usable):
            if usable < self.frames:
                raise _error(path, "too few frames", f"recording has {usable} frames, {self.frames} asked for",
                             "at least as many", "Ask for fewer frames, or set on_bad_recording='skip'.")
            picked = self._pick(usable, rng)
            return picked, self._pick(usable, rng) if self.draw == "random" else picked

        if self.modality != "event" and not frames:
            raise _error(path, "too few frames", "no RGB frames", f"at least {self.frames}", "Set modality='event'.")
        if events is None:
            if self.modality != "rgb" and not stored:
                raise _error(path, "missing", "neither events nor event images", "one of them",
                             "Set modality='rgb', or extract the events.")
            wanted = (self.event_representation, self.event_windows)
            if self.modality != "rgb" and wanted != ("authors", "frames"):
                raise _error(path, "invalid", "stored event images only",
                             f"events, for event_representation='{wanted[0]}', event_windows='{wanted[1]}'",
                             "Set 'authors' and 'frames', or get the npz or aedat4 form.")
            return pick_both(frames or stored)
        if self.event_windows == "afe":
            windows = adaptive_windows(events, recording.size, min_events=self.afe_min_events,
                                       threshold=self.afe_threshold)
            windows = [windows[i] for i in self._pick(len(windows), rng)]
            if not frames or self.draw == "random":
                return self._pick(frames, rng) if frames else None, windows
            middles = [events["t"][(start + stop) // 2] for start, stop in windows]
            return [int(np.abs(recording.frame_t - t).argmin()) for t in middles], windows
        if not frames:
            return None, equal_windows(events["t"], self.frames, rng=rng if self.draw != "even" else None)
        windows = frame_windows(recording.frame_t, events["t"])
        frames_at, events_at = pick_both(len(windows))
        return frames_at, [windows[i] for i in events_at]


# ---------------------------------------------------------------- lists, classes, prompts

def read_list(path):
    """[(sample, n_frames, label)] of a list file with lines `<folder>/<sample> <number of frames> <label>`.

    Fields are taken from the right, because sample and folder names hold spaces. Blank lines are skipped. Raises
    ValueError naming the file and the line.
    """
    items = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), start=1):
        fields = line.strip().rsplit(maxsplit=2)
        if not fields:
            continue
        if len(fields) < 3 or not (fields[1].isdecimal() and fields[2].isdecimal()):
            raise ValueError(f"{path}, line {number}: found {line.strip()!r}; expected '<folder>/<sample> "
                             "<number of frames> <label>', ending in two whole numbers. Correct the line.")
        items.append((fields[0], int(fields[1]), int(fields[2])))
    return items


def class_names(dataset, root):
    """Class names by label: the root's classes.txt, else the published list or the folder's sub-folders."""
    file = Path(root) / "classes.txt"
    if not file.is_file():
        if dataset == "folder":
            return sorted(entry.name for entry in Path(root).iterdir()
                          if entry.is_dir() and not entry.name.startswith("."))
        file = Path(__file__).parent / "book" / "classes" / f"{dataset}.txt"
    return file.read_text(encoding="utf-8").splitlines()


def distinct(names):
    """Names that repeat, ignoring case, get a number: ["Whale", "Cat", "whale"] -> ["Whale 1", "Cat", "whale 2"]."""
    times = Counter(name.casefold() for name in names)
    taken, result = {name for name, count in times.items() if count == 1}, []
    for name in names:
        if times[name.casefold()] > 1:
            name = next(new for i in itertools.count(1) if (new := f"{name} {i}").casefold() not in taken)
            taken.add(name.casefold())
        result.append(name)
    return result


def prompt_sentences(class_names, config):
    """Sentences of each class, in label order: from config.prompt_file, else one from the template config.prompt.

    The file is JSON: {class name: [sentence, ...]}, or a list of such lists in label order. Without a template, that of
    config.dataset in PROMPTS holds. With config.distinct_names, class names that repeat are numbered (`distinct`), so
    that no two classes share a sentence. Raises ValueError.
    """
    names = distinct(class_names) if config.distinct_names else class_names
    if not config.prompt_file:
        template = PROMPTS[config.dataset] if config.prompt is None else config.prompt
        if "{}" not in template:
            raise ValueError(f"prompt={template!r}; expected a sentence with {{}} where the class name belongs, such "
                             f"as {PROMPTS[config.dataset]!r}")
        return [[template.replace("{}", name)] for name in names]
    file = Path(config.prompt_file)
    if not file.is_file():
        file = Path(__file__).parent / file  # those of this project, from any folder
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        entries, found = None, f"no readable JSON ({cause})"
    if isinstance(entries, dict):
        # Of a name that repeats in the file's data set only, the first.
        entries = [entries.get(name, entries.get(f"{name} 1")) for name in names]
    if isinstance(entries, list):
        found = f"{len(entries)} entries"
    elif entries is not None:
        found = f"a {type(entries).__name__}"
    if isinstance(entries, list) and len(entries) == len(names):
        bad = next((i for i, entry in enumerate(entries) if not (
            isinstance(entry, list) and entry and all(isinstance(text, str) and text.strip() for text in entry))), None)
        if bad is None:
            return entries
        found = f"{entries[bad]!r:.80} for class {bad} ({names[bad]})"
    raise ValueError(f"{config.prompt_file}: found {found}; expected a non-empty list of sentences for each of "
                     f"{len(names)} classes, by name or in label order. Correct the file, or unset prompt_file.")


# ---------------------------------------------------------------- splits

def read_lists(dataset, root, names, *, test_fraction=0.2, seed=0):
    """{"train": items, "test": items}, items as in read_list, from the list files or the folders of `root`.

    HARDVS's val_label.txt is not read: every split this module makes comes from the training and test lists. Raises
    FileNotFoundError or ValueError, saying what was looked for, where, and how to get it.
    """
    root = Path(root)
    source = WHERE_TO_GET.get(dataset, "Put one sub-folder of recordings per class into the data root")
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: looked for the {dataset} data set, found no such folder. {source}. For the "
                                "generated sample, leave data_root unset.")
    files = {split: root / f"{split}_label.txt" for split in ("train", "test")}
    absent = [file.name for file in files.values() if not file.is_file()]
    if absent and dataset == "folder":
        items = []
        for label, name in enumerate(names):
            # `a.npz` and a folder `a` are one recording.
            samples = {file.name if file.is_dir() else file.stem for file in (root / name).iterdir()
                       if (file.is_dir() or file.suffix in (".npz", ".aedat4")) and not file.name.startswith(".")}
            items += [(f"{name}/{sample}", 0, label) for sample in sorted(samples)]
        if len(names) < 2 or len(items) < 2:
            raise FileNotFoundError(f"{root}: found {len(items)} recordings in {len(names)} class folders; expected at "
                                    f"least two of each. {source}.")
        test, train = _share(items, test_fraction, seed=seed, leave=1)
        return {"train": train, "test": test}
    if absent:
        raise FileNotFoundError(f"{root}: looked for {' and '.join(absent)}, found none; this does not look like the "
                                f"{dataset} data set. {source}. Put the lists there.")
    lists = {split: read_list(file) for split, file in files.items()}
    for split, items in lists.items():
        wrong = next((item for item in items if item[2] >= len(names)), None)
        if wrong or not items:
            found = f"label {wrong[2]} of {wrong[0]}" if wrong else "no recording"
            raise ValueError(f"{files[split]}: found {found}; expected labels 0 to {len(names) - 1}. Check that the "
                             f"list belongs to {dataset}.")
        places = (_locate(root / sample)[1:] for sample, _, _ in items[:20])
        if not any(file or aps_folder.is_dir() or dvs_folder.is_dir() for file, aps_folder, dvs_folder in places):
            raise FileNotFoundError(f"{root / items[0][0]}: looked for this and the next recordings of "
                                    f"{files[split].name}, found none. {source}. Extract them here.")
    return lists


def _share(items, fraction, *, seed, leave):
    """(chosen, rest): a stratified share of items, at least one per class (if fraction > 0), leaving `leave`.

    A larger fraction holds the smaller ones, so that training-set sizes can be compared on nested sets.
    """
    by_class = {}
    for position, item in enumerate(items):
        by_class.setdefault(item[-1], []).append(position)
    chosen = set()
    for label, positions in by_class.items():
        count = min(max(round(fraction * len(positions)), 1), len(positions) - leave) if fraction > 0 else 0
        chosen.update(np.random.default_rng([seed, label]).permutation(positions)[:count].tolist())
    return tuple([item for i, item in enumerate(items) if (i in chosen) is wanted] for wanted in (True, False))


@dataclass
class Splits:
    """Three ClipDatasets and where they come from.

    origin: "sample" or "real". fingerprint: SHA-256 of class names and lists (of a folder without lists: of its seeded
    split). sensor_size: (width, height) given to npz recordings, or None where each says its own. skipped: [(sample,
    reason)] of recordings left out.
    """

    train: ClipDataset
    val: ClipDataset
    test: ClipDataset
    class_names: list[str]
    origin: str
    root: Path
    fingerprint: str
    sensor_size: tuple[int, int] | None
    skipped: list[tuple[str, str]]

    @property
    def facts(self):
        """What a run record says about its data; JSON types only."""
        return {"origin": self.origin, "fingerprint": self.fingerprint, "sensor_size": self.sensor_size,
                "train": len(self.train), "val": len(self.val), "test": len(self.test), "skipped": self.skipped}


def options(config):
    """The arguments of open_dataset that a configuration object holds under the same names."""
    return {name: getattr(config, name) for name in inspect.signature(open_dataset).parameters}


def _sample_root(dataset, train_per_class, test_per_class):
    """Folder of the generated sample (environment variable SAFE_CACHE, else ~/.cache/safe-companion)."""
    import safe_sample

    options = {"seed": 0, "train_per_class": train_per_class, "test_per_class": test_per_class}
    mark = safe_sample.fingerprint(dataset, **options)
    cache = Path(os.environ.get("SAFE_CACHE") or Path.home() / ".cache" / "safe-companion")
    root = cache / f"{dataset}-{mark[:16]}"
    if not root.is_dir():
        # Made aside and renamed, so that an interrupted run leaves no half sample behind.
        partial = root.with_name(f"{root.name}.partial-{os.getpid()}")
        safe_sample.make_sample(dataset, partial, **options)
        try:
            partial.rename(root)
        except OSError:
            if not root.is_dir():  # otherwise another process was faster, with the same bits
                raise
    return root, mark


def _common_size(root, samples):
    """The smallest sensor (width, height) that holds all images, else all events; None if each says its own."""
    size = 0, 0
    for sample in samples:
        _, event_file, *folders = _locate(root / sample)
        try:
            if images := _numbered_images(folders[0]) or _numbered_images(folders[1]):
                extent = _image(next(iter(images.values())), load=False).size
            elif event_file and event_file.suffix == ".npz":  # an aedat4 header says it when the file is read
                columns, _ = _read_npz(event_file)
                extent = (int(columns[key].max()) + 1 if columns[key].size else 0 for key in "xy")
            else:
                continue
            size = tuple(map(max, size, extent))
        except RecordingError:
            continue  # it is named when it is read
    return size if all(size) else None


def _scan(samples, check):
    """[(sample, RecordingError)] of the samples for which check raises; threads, with progress."""
    def problem(sample):
        try:
            check(sample)
        except RecordingError as error:
            return sample, error

    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        found = pool.map(problem, samples)
        return [p for p in tqdm(found, total=len(samples), desc="checking recordings", leave=False) if p]


def open_dataset(*, dataset, data_root=None, frames, image_size, event_representation="authors",
                 event_windows="frames", afe_min_events=150_000, afe_threshold=0.0, modality="both", augment="clip",
                 frame_draw="aligned", test_frames="even", val_fraction=0.1, train_fraction=1.0,
                 test_fraction=0.2, seed=0, on_bad_recording="stop", sample_train_per_class=48,
                 sample_test_per_class=30, sensor_size=None):
    """Open "hardvs", "pokerevent" or "folder" (one sub-folder per class) and split it: returns Splits.

    data_root: None generates the sample once and opens it; a path opens real data or raises, never falls back.
    val_fraction: share of the training list held out, stratified by class. train_fraction: stratified share kept of the
    rest (nested: larger shares hold smaller ones). test_fraction: for "folder" without list files. All by `seed`.
    augment: of training clips, as in ClipDataset; "none" with aligned frames also leaves out the jitter.
    frame_draw: of training clips, "aligned" (jittered) or "independent" (random, each modality on its own).
    test_frames: of validation and test clips, "even" or "random": drawn as in training, by (seed, epoch, index).
    on_bad_recording: "stop" raises RecordingError when the recording is met; "skip" first makes one clip of every
    recording and leaves out those that give none (Splits.skipped). It decodes the images of that clip only.
    sensor_size: "WIDTHxHEIGHT" of npz recordings. By default the frames beside them tell, else 346x260; for "folder",
    the largest extent over the training recordings, so that one size holds for all and the test set has no say.
    afe_min_events, afe_threshold: published for HARDVS at 346 x 260; smaller sensors need a smaller minimum.
    """
    for value, name, allowed in ((dataset, "dataset", DATASETS), (modality, "modality", ("both", "rgb", "event")),
                                 (event_representation, "event_representation", REPRESENTATIONS),
                                 (event_windows, "event_windows", ("frames", "afe")),
                                 (augment, "augment", ("clip", "frame", "none")),
                                 (frame_draw, "frame_draw", ("aligned", "independent")),
                                 (test_frames, "test_frames", ("even", "random")),
                                 (on_bad_recording, "on_bad_recording", ("stop", "skip"))):
        if value not in allowed:
            raise ValueError(f"{name}={value!r}; expected one of {', '.join(allowed)}")
    for value, name in ((val_fraction, "val_fraction"), (train_fraction, "train_fraction"),
                        (test_fraction, "test_fraction")):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}; expected a share between 0 and 1")
    if sensor_size and not re.fullmatch(r"\d+x\d+", sensor_size):
        raise ValueError(f"sensor_size={sensor_size!r}; expected 'WIDTHxHEIGHT' in pixels, such as '346x260'")
    size = tuple(map(int, sensor_size.split("x"))) if sensor_size else None
    mark = ""
    if data_root is None:
        if dataset == "folder":
            raise ValueError("dataset='folder' has no generated sample; set data_root to your class folders")
        root, mark = _sample_root(dataset, sample_train_per_class, sample_test_per_class)
    else:
        root = Path(data_root).expanduser()
    # The generated sample stays one when it is opened by its path: it must never be shown as real data.
    origin = "sample" if data_root is None or (root / "ground_truth.csv").is_file() else "real"
    names = class_names(dataset, root) if root.is_dir() else []
    lists = read_lists(dataset, root, names, test_fraction=test_fraction, seed=seed)
    fingerprint = hashlib.sha256(json.dumps([mark, names, lists]).encode()).hexdigest()

    if size is None and dataset == "folder":
        size = _common_size(root, [sample for sample, _, _ in lists["train"]])
    options = dict(frames=frames, image_size=image_size, event_representation=event_representation,
                   event_windows=event_windows, afe_min_events=afe_min_events, afe_threshold=afe_threshold,
                   modality=modality, sensor_size=size, seed=seed)

    skipped = []
    if on_bad_recording == "skip":
        every = ClipDataset([(sample, label) for sample, _, label in sum(lists.values(), [])], root, names, **options)
        found = _scan(range(len(every)), every.__getitem__)
        skipped = [(every.names[index], str(error)) for index, error in found]
    bad = {sample for sample, _ in skipped}
    train, test = ([(sample, label) for sample, _, label in lists[split] if sample not in bad]
                   for split in ("train", "test"))
    val, rest = _share(train, val_fraction, seed=seed, leave=1)
    kept, _ = _share(rest, train_fraction, seed=seed, leave=0)
    draw = "random" if frame_draw == "independent" else "jittered"
    train = ClipDataset(kept, root, names, augment=augment, **options,
                        draw="even" if (augment, draw) == ("none", "jittered") else draw)
    options["draw"] = draw if test_frames == "random" else "even"
    return Splits(train=train, val=ClipDataset(val, root, names, **options),
                  test=ClipDataset(test, root, names, **options),
                  class_names=names, origin=origin, root=root, fingerprint=fingerprint, sensor_size=size,
                  skipped=skipped)


# ---------------------------------------------------------------- command line

def main(arguments=None):
    """`python -m safe_data check ROOT --dataset NAME`; returns 1 if any recording is bad, else 0."""
    parser = argparse.ArgumentParser(prog="python -m safe_data", description="Recordings in, clips out.")
    command = parser.add_subparsers(required=True).add_parser("check", help="list the recordings that cannot be used")
    command.add_argument("root", type=Path)
    command.add_argument("--dataset", choices=DATASETS, required=True)
    options = parser.parse_args(arguments)
    root = options.root

    def check(sample):
        recording = read_recording(root / sample, size=size)
        for source in recording.frame_sources + recording.event_image_sources:
            _image(source)

    try:
        lists = read_lists(options.dataset, root, class_names(options.dataset, root) if root.is_dir() else [])
    except (FileNotFoundError, ValueError) as error:
        print(error)
        return 1
    size = None
    if options.dataset == "folder":
        size = _common_size(root, [sample for sample, _, _ in lists["train"]])
    kinds = Counter()
    for split, items in lists.items():
        problems = _scan([sample for sample, _, _ in items], check)
        print(f"{split}: {len(items)} recordings, {len(problems)} with problems")
        for _, error in problems:
            print(f"  {error.kind}: {error}")
            kinds[error.kind] += 1
    print("problems: " + (", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"))
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
