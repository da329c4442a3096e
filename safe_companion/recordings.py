"""How is one recording read, in every form in which HARDVS and PokerEvent circulate?

A recording is one take of the camera: RGB frames, an event stream, or both. What lies in an event
file is joined here with the images beside it.
"""

import functools
import io
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from safe_companion.formats import shards
from safe_companion.formats.content import Inside
from safe_companion.formats.pack import EventView
from safe_companion.readers import (
    READABLE,
    READERS,
    EventFile,
    ImageSource,
    RecordingError,
    checked_events,
    read_events,
    repaired_events,
)

DAVIS346 = (346, 260)  # width, height of the camera that recorded HARDVS and PokerEvent


@dataclass
class Recording:
    """One recording as read from disk.

    size: (width, height) of the sensor in pixels. events: EVENT_DTYPE array sorted by t (of a pack
    a view of it, which reads what is asked for), or None when the recording has stored event images
    only. frame_t: int64 microseconds, one per RGB frame,
    or None when frames are unknown or nothing says when they were taken. Images are decoded when
    asked for, by read_image. repairs: what was mended in the events, in words.
    """

    name: str
    path: Path
    size: tuple[int, int]
    events: np.ndarray | EventView | None = None
    frame_t: np.ndarray | None = None
    frame_sources: list[ImageSource] = field(default_factory=list, repr=False)
    event_image_sources: list[ImageSource] = field(default_factory=list, repr=False)
    repairs: str = ""


# ---------------------------------------------------------------- images


def _no_image(source: ImageSource, cause: Exception) -> RecordingError:
    return RecordingError(
        f"{source}: found no readable image ({cause}); expected a PNG or JPEG image. Extract the "
        "recording again.",
        kind="unreadable",
    )


def _openable(source: ImageSource) -> Any:
    """What Image.open takes."""
    return io.BytesIO(source.content) if isinstance(source, Inside) else source


def read_image(source: ImageSource) -> Image.Image:
    """A frame or event image, decoded, of mode RGB or L. Raises RecordingError."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    try:
        with Image.open(_openable(source)) as image:
            image.load()
            return image if image.mode in ("L", "RGB") else image.convert("RGB")
    except Exception as cause:  # damaged bytes raise many kinds
        raise _no_image(source, cause) from cause


def image_size(source: ImageSource) -> tuple[int, int]:
    """(width, height) of a frame or event image, without decoding it. Raises RecordingError."""
    if isinstance(source, np.ndarray):
        height, width = source.shape[:2]
        return width, height
    try:
        with Image.open(_openable(source)) as image:
            return image.size
    except Exception as cause:
        raise _no_image(source, cause) from cause


def numbered_images(folder: Path) -> dict[int, ImageSource]:
    """{number: path} of an image folder, by number: 0005.png and 00000005.png are both frame 5."""
    try:
        files = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    images: dict[int, ImageSource] = {}
    for file in files:
        stem, suffix = os.path.splitext(file)
        if suffix.lower() in (".png", ".jpg") and stem.isdecimal():
            images[int(stem)] = os.path.join(folder, file)
    return dict(sorted(images.items()))


# ---------------------------------------------------------------- recordings


class Files(NamedTuple):
    """Where the parts of one recording are, or would be. other_forms: event files not read.

    An event file that is no file of its own is a pack in a shard (formats.shards.find).
    """

    name: str
    event_file: Path | None
    aps_folder: Path  # frames
    dvs_folder: Path  # stored event images
    other_forms: tuple[Path, ...] = ()


@functools.lru_cache(maxsize=256)
def _listed(folder: str, changed: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in sorted(os.listdir(folder)):
        name, suffix = os.path.splitext(file)  # sample names hold dots and spaces
        if suffix.lower() in READERS:
            found.setdefault(name, []).append(file)
    return found


def _event_files(folder: str) -> dict[str, list[str]]:
    """{name of a recording: file names} of the event files in a folder, which need not exist.

    Listed once for all its recordings: a question for each suffix of each takes network disks long.
    """
    try:
        changed = os.stat(folder).st_mtime_ns
        if time.time_ns() - changed < 2_000_000_000:  # it may change again and keep its time
            return _listed.__wrapped__(folder, changed)
        return _listed(folder, changed)
    except (OSError, ValueError):
        return {}


def locate(path: Path) -> Files:
    """The files of the recording at `path`: a folder, an event file, or one without its suffix."""
    asked = path.suffix.lower() in READERS and path.is_file()
    name = path.stem if asked else path.name
    folder = path
    if asked:
        folder = path.parent if path.parent.name == name else path.parent / name
    named = [
        parent / file
        for parent in (folder, folder.parent)
        for file in _event_files(str(parent)).get(name, ())
    ]
    order = list(READERS)
    forms = sorted(filter(Path.is_file, named), key=lambda form: order.index(form.suffix.lower()))
    event_file = path if asked else next(iter(forms), None)
    if event_file is None:
        pack = path if path.suffix.lower() == ".pack" else path.with_name(f"{path.name}.pack")
        event_file = pack if shards.find(pack) else None
        name = name.removesuffix(".pack") if event_file == path else name
    others = tuple(form for form in forms if form != event_file)
    return Files(name, event_file, folder / f"{name}_aps", folder / f"{name}_dvs", others)


def read_recording(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    time_unit: str = "auto",
    columns: str | None = None,
    repair: bool = False,
    stored: bool = False,
) -> Recording:
    """Read one recording in any form in which event cameras' recordings circulate.

    path: a sample folder holding `<sample>_aps/` and/or `<sample>_dvs/` images and optionally
    `<sample>.npz`; a flat or nested event file of any suffix in readers.READERS; or the same path
    without its extension. Where events exist, stored event images are not used, unless `stored`:
    then the events are not read, and each frame needs its event image.
    size: (width, height) of the sensor for files that do not say it. Without it, that of the camera
    which writes the format holds, else that of the frames beside the events, else DAVIS346.
    time_unit, columns: as in readers.read_events. repair: drop events outside the sensor and sort
    by time; `repairs` says how many.

    Frame time stamps come from the event file (aedat4, npz key `frame_t`); else frames are taken to
    be evenly spread over the stream. Events must be sorted, inside the sensor, with polarities in
    {0, 1} ({-1, 1} and bool are mapped). Raises RecordingError.
    """
    path = Path(path)
    files = locate(path)
    is_pack = files.event_file is not None and files.event_file.suffix.lower() == ".pack"
    if files.event_file is None or (stored and not is_pack):
        if stored:
            _check_pairs(path, files)
        return _read_image_folders(path, files)
    content = read_events(files.event_file, time_unit=time_unit, columns=columns)
    if stored:
        if not content.event_images:
            raise _no_pairs(path)
        content = content._replace(columns=None, frame_t=None)
    return join(path, files, content, size=size, repair=repair)


def _no_pairs(path: Path) -> RecordingError:
    return RecordingError(
        f"{path}: found no stored event image for each frame; expected the same numbers of both, "
        "since stored_event_images asks for them. Set stored_event_images=False.",
        kind="missing",
    )


def pairs(files: Files) -> bool:
    """Whether frames and stored event images lie in folders, as many of both, by number."""
    event_images = numbered_images(files.dvs_folder)
    return bool(event_images) and event_images.keys() == numbered_images(files.aps_folder).keys()


def _check_pairs(path: Path, files: Files) -> None:
    if not pairs(files):
        raise _no_pairs(path)


def _read_image_folders(path: Path, files: Files) -> Recording:
    """A recording of frames, stored event images, or both, which then pair by their numbers."""
    aps = numbered_images(files.aps_folder)
    dvs = numbered_images(files.dvs_folder)
    if not aps and not dvs and path.suffix.lower() in READERS and not path.exists():
        raise RecordingError(
            f"{path}: found no such file; expected an event file. Check the path.", kind="missing"
        )
    if not aps and not dvs:
        name = files.name
        raise RecordingError(
            f"{path}: found no recording; expected {name}.aedat4, {name}.npz or another event file "
            f"({READABLE}), or images in {name}_aps/ or {name}_dvs/. Check the list file against "
            "the extracted archive.",
            kind="empty" if path.exists() else "missing",
        )
    if aps and dvs:
        shared = sorted(aps.keys() & dvs.keys())
        if not shared:
            raise RecordingError(
                f"{path}: found no image number that both folders share; expected frames and "
                "event images with the same numbers. Extract the recording again."
            )
        aps = {number: aps[number] for number in shared}
        dvs = {number: dvs[number] for number in shared}
    frames = list(aps.values())
    event_images = list(dvs.values())
    size = image_size(event_images[0] if event_images else frames[0])
    return Recording(files.name, path, size, frame_sources=frames, event_image_sources=event_images)


def join(
    path: Path,
    files: Files,
    content: EventFile,
    *,
    size: tuple[int, int] | None,
    repair: bool,
) -> Recording:
    """What an event file says, with the frames in it or beside it. Raises RecordingError."""
    event_file = files.event_file or path
    frames = content.frames or list(numbered_images(files.aps_folder).values())
    size = content.size or size or content.usual_size
    if size is None:
        size = image_size(frames[0]) if frames else DAVIS346
    events: np.ndarray | EventView | None = None
    repairs = ""
    if isinstance(content.columns, EventView) and content.columns.fits(size):
        events = content.columns  # checked when it was packed
    elif content.columns is not None and repair:
        events, repairs = repaired_events(event_file, content.columns, size)
    elif content.columns is not None:
        events = checked_events(event_file, content.columns, size)
    elif not frames and not content.event_images:
        raise RecordingError(
            f"{event_file}: found neither events nor frames; expected one of them. Record again.",
            kind="empty",
        )
    frame_t = content.frame_t if frames else None
    if frames and frame_t is None and events is not None:
        frame_t = _evenly_spread(times_of(events), len(frames))
    if frame_t is not None:
        _check_frame_times(event_file, frame_t, len(frames))
    stored = (content.event_images or []) if events is None else []
    return Recording(files.name, path, size, events, frame_t, frames, stored, repairs)


def times_of(events: np.ndarray | EventView) -> Any:
    """The times of events, to look up windows in; those of a pack are not read for it."""
    return events.times if isinstance(events, EventView) else events["t"]


def _evenly_spread(event_t: Any, count: int) -> np.ndarray:
    """int64 [count]: the starts of equal intervals that cover the stream."""
    duration = event_t[-1] - event_t[0] + 1
    # Rounded up, no interval is shorter than the last, so that no event falls off the end.
    return event_t[0] - (-np.arange(count) * duration // count)


def _check_frame_times(path: Path, frame_t: np.ndarray, frames: int) -> None:
    if frame_t.shape != (frames,):
        raise RecordingError(
            f"{path}: found {frame_t.size} frame time stamps for {frames} frames; expected one "
            "time stamp per frame. Extract the recording again."
        )
    if (frame_t[1:] <= frame_t[:-1]).any():
        raise RecordingError(
            f"{path}: found frame time stamps that do not increase; expected strictly increasing "
            "time stamps. Convert the recording again."
        )
