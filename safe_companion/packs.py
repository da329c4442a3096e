"""How does a recording become a pack, the one file of which a clip reads only what it shows?

The format is that of formats/pack.py. Events are bit-exact; frames are JPEG of a stated quality,
and stored event images small files of the same pixels; or both are as they are: the bytes of their
files, or the frames' pixels.
"""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from safe_companion.formats.content import EventFile, ImageSource, Inside
from safe_companion.formats.pack import Parts, assemble, packed
from safe_companion.readers import read_events
from safe_companion.recordings import (
    Files,
    Recording,
    join,
    locate,
    numbered_images,
    pairs,
    read_image,
    read_recording,
)

QUALITY = 95  # of JPEG, without subsampling of colours
LARGEST = (1 << 14, 1 << 14)  # what fits into the bits of x and y


class Frames(NamedTuple):
    """In which form frames are kept: "jpeg" of a quality, "as-they-are", or "pixels"."""

    form: str = "jpeg"
    quality: int = QUALITY


def source_of(path: Path, frames: Frames, reading: dict[str, Any]) -> dict[str, Any]:
    """What a pack is made from: name, number and bytes of files, how they are read and kept.

    Without a time stamp, so that a copy of the files counts as the same.
    """
    files = locate(path)
    used = [files.event_file] if files.event_file else []
    for folder in (files.aps_folder, files.dvs_folder):
        if folder.is_dir():
            used += [file for file in folder.iterdir() if file.is_file()]
    made = {
        "packed_from": files.event_file.name if files.event_file else files.name,
        "files": len(used),
        "bytes": sum(file.stat().st_size for file in used),
        "frames": frames.form,
        "quality": frames.quality if frames.form == "jpeg" else None,
        **reading,
    }
    return json.loads(json.dumps(made))  # as it is read back


def pack(path: Path, frames: Frames = Frames(), **reading: Any) -> bytes:  # noqa: B008
    """The pack of the recording at `path`. reading: keywords of read_recording. RecordingError."""
    files = locate(path)
    about: dict[str, Any] = {"name": files.name, "source": source_of(path, frames, reading)}
    parts: Parts = {}
    if files.event_file is None:
        recording = read_recording(path)
        about |= {"sensor_size": recording.size, "usual_size": None, "time_unit": None}
        event_images = recording.event_image_sources
    else:
        content = _read(files.event_file, reading)
        recording = _joined(path, files, content, reading)
        repaired = recording.size if reading.get("repair") else None
        about["sensor_size"] = content.size or repaired
        about["usual_size"] = content.usual_size
        told = reading.get("time_unit", "auto") != "auto"
        about["time_unit"] = "us" if content.time_unit or told else None
        event_images = content.event_images or []
        if pairs(files):
            event_images = list(numbered_images(files.dvs_folder).values())
        if recording.events is not None:
            _put_events(about, parts, recording.events[:])
        if content.frame_t is not None and recording.frame_sources:
            parts["frame_t"] = content.frame_t.astype("<i8").tobytes()
    if recording.frame_sources:
        _put_images(about, parts, "frames", recording.frame_sources, frames)
    if event_images:
        keep = _drawn if frames.form == "jpeg" else _content
        files_of = [keep(source) for source in event_images]
        parts["event_images"] = b"".join(files_of)
        about["event_images"] = {"bytes": [len(file) for file in files_of]}
    return assemble(about, parts)


def _read(event_file: Path, reading: dict[str, Any]) -> EventFile:
    options = {key: reading[key] for key in ("time_unit", "columns") if key in reading}
    return read_events(event_file, **options)


def _joined(path: Path, files: Files, content: EventFile, reading: dict[str, Any]) -> Recording:
    """The recording, its events checked against its sensor only where somebody says its size.

    A configuration that knows it asks the pack, too: that holds the extent of the events.
    """
    size = reading.get("size")
    if reading.get("repair") or content.size or size:
        return join(path, files, content, size=size, repair=bool(reading.get("repair")))
    return join(path, files, content._replace(size=LARGEST), size=None, repair=False)


def _put_events(about: dict[str, Any], parts: Parts, events: np.ndarray) -> None:
    since, xyp, t0 = packed(events)
    parts["t"], parts["xyp"] = since.tobytes(), xyp.tobytes()
    extent = [int(reduce(events[axis])) for axis in "xy" for reduce in (np.min, np.max)]
    about |= {"events": len(events), "t0": t0, "t_dtype": since.dtype.str, "extent": extent}


def _put_images(
    about: dict[str, Any], parts: Parts, kind: str, sources: list[ImageSource], frames: Frames
) -> None:
    arrays = [source for source in sources if isinstance(source, np.ndarray)]
    as_pixels = frames.form == "pixels" or (frames.form == "as-they-are" and bool(arrays))
    if as_pixels:
        arrays = [np.asarray(read_image(source)) for source in sources]
    if as_pixels and len({array.shape for array in arrays}) == 1:
        parts[kind] = b"".join(array.tobytes() for array in arrays)
        about[kind] = {"shape": [len(arrays), *arrays[0].shape]}
        return
    keep = frames.form != "jpeg"
    coded = [_content(source) if keep else _jpeg(source, frames.quality) for source in sources]
    parts[kind] = b"".join(coded)
    about[kind] = {"bytes": [len(image) for image in coded]}


def _content(source: ImageSource) -> bytes:
    """The bytes of an image file as they are; of pixels, those of a PNG file."""
    if isinstance(source, np.ndarray):
        return _saved(Image.fromarray(source), "PNG")
    return bytes(source.content) if isinstance(source, Inside) else Path(source).read_bytes()


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _jpeg(source: ImageSource, quality: int) -> bytes:
    return _saved(read_image(source), "JPEG", quality=quality, subsampling=0)


def _drawn(source: ImageSource) -> bytes:
    """A stored event image: as PNG of two bits a pixel if four colours do, else as it is.

    Both decode to the same pixels.
    """
    image = read_image(source)
    colours = image.getcolors(4) if image.mode == "RGB" else None
    if colours is None:
        return _content(source)
    palette = [colour for _, colour in colours]
    pixels = np.asarray(image)
    numbers = np.zeros(pixels.shape[:2], np.uint8)
    for number, colour in enumerate(palette):
        numbers[(pixels == colour).all(axis=2)] = number
    small = Image.fromarray(numbers, "P")
    small.putpalette([value for colour in palette for value in colour])  # type: ignore[union-attr]
    return _saved(small, "PNG", bits=2, compress_level=9)
