"""How is one recording read, in every form in which HARDVS and PokerEvent circulate?

A recording is one take of the camera: RGB frames, an event stream, or both. What lies in an event
file is joined here with the images beside it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from safe_companion.readers import READERS, ImageSource, RecordingError, checked_events

DAVIS346 = (346, 260)  # width, height of the camera that recorded HARDVS and PokerEvent


@dataclass
class Recording:
    """One recording as read from disk.

    size: (width, height) of the sensor in pixels. events: EVENT_DTYPE array sorted by t, or None
    when the recording has stored event images only. frame_t: int64 microseconds, one per RGB frame,
    or None when frames are unknown or nothing says when they were taken. Images are decoded when
    asked for, by read_image.
    """

    name: str
    path: Path
    size: tuple[int, int]
    events: np.ndarray | None = None
    frame_t: np.ndarray | None = None
    frame_sources: list[ImageSource] = field(default_factory=list, repr=False)
    event_image_sources: list[ImageSource] = field(default_factory=list, repr=False)


# ---------------------------------------------------------------- images


def _no_image(source: ImageSource, cause: Exception) -> RecordingError:
    return RecordingError(
        f"{source}: found no readable image ({cause}); expected a PNG or JPEG image. Extract the "
        "recording again.",
        kind="unreadable",
    )


def read_image(source: ImageSource) -> Image.Image:
    """A frame or event image, decoded, of mode RGB or L. Raises RecordingError."""
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    try:
        with Image.open(source) as image:
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
        with Image.open(source) as image:
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
    """Where the parts of one recording are, or would be."""

    name: str
    event_file: Path | None
    aps_folder: Path  # frames
    dvs_folder: Path  # stored event images


def locate(path: Path) -> Files:
    """The files of the recording at `path`: a folder, an event file, or one without its suffix."""
    if path.suffix in READERS and path.is_file():
        name = path.stem
        folder = path.parent if path.parent.name == name else path.parent / name
        return Files(name, path, folder / f"{name}_aps", folder / f"{name}_dvs")
    name = path.name
    # Sample names hold dots and spaces, so suffixes are appended, never replaced.
    candidates = (parent / (name + suffix) for suffix in READERS for parent in (path, path.parent))
    event_file = next((file for file in candidates if file.is_file()), None)
    return Files(name, event_file, path / f"{name}_aps", path / f"{name}_dvs")


def read_recording(path: str | Path, *, size: tuple[int, int] | None = None) -> Recording:
    """Read one recording in any form in which HARDVS and PokerEvent circulate.

    path: a sample folder holding `<sample>_aps/` and/or `<sample>_dvs/` images and optionally
    `<sample>.npz`; a flat or nested `.npz` (keys x, y, t, p, optionally frame_t) or `.aedat4`; or
    the same path without its extension. Where events exist, stored event images are not used.
    size: (width, height) of the sensor for npz recordings. An aedat4 header overrules it. Without
    it, the size of the frames beside the events holds, else DAVIS346 (346 x 260) if the events fit.

    Frame time stamps come from the aedat4 file or from the npz key `frame_t`; else frames are taken
    to be evenly spread over the stream. Events must be sorted, inside the sensor, with polarities
    in {0, 1} ({-1, 1} and bool are mapped). Raises RecordingError.
    """
    path = Path(path)
    files = locate(path)
    if files.event_file is None:
        return _read_image_folders(path, files)
    return _read_event_file(path, files, files.event_file, size)


def _read_image_folders(path: Path, files: Files) -> Recording:
    """A recording of frames, stored event images, or both, which then pair by their numbers."""
    aps = numbered_images(files.aps_folder)
    dvs = numbered_images(files.dvs_folder)
    if not aps and not dvs:
        name = files.name
        raise RecordingError(
            f"{path}: found no recording; expected {name}.aedat4, {name}.npz, or images in "
            f"{name}_aps/ or {name}_dvs/. Check the list file against the extracted archive.",
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


def _read_event_file(
    path: Path, files: Files, event_file: Path, size: tuple[int, int] | None
) -> Recording:
    """A recording with an event stream, and the frames in its file or beside it."""
    content = READERS[event_file.suffix](event_file)
    frames = content.frames or list(numbered_images(files.aps_folder).values())
    if content.size is not None:
        size = content.size
    elif size is None:
        size = image_size(frames[0]) if frames else DAVIS346
    events = checked_events(event_file, content.columns, size)
    frame_t = content.frame_t if frames else None
    if frames:
        if frame_t is None:
            frame_t = _evenly_spread(events["t"], len(frames))
        _check_frame_times(event_file, frame_t, len(frames))
    return Recording(files.name, path, size, events, frame_t, frames)


def _evenly_spread(event_t: np.ndarray, count: int) -> np.ndarray:
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
