"""What is known of each recording on the disk, before any configuration judges it?

Facts are kept in a file per data root, under `cache_folder()/checks`: what has not changed is not
opened again. What could not be read is always looked at anew.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from safe_companion import how_far
from safe_companion.events import frame_windows
from safe_companion.formats import pack, shards
from safe_companion.formats.content import Inside
from safe_companion.readers import (
    EventFile,
    ImageSource,
    RecordingError,
    checked_events,
    is_event_file,
    read_events,
    repaired_events,
)
from safe_companion.recordings import (
    Files,
    image_size,
    locate,
    numbered_images,
    read_image,
    read_recording,
)
from safe_core import write_atomically

VERSION = 1  # of facts and readers: raise it when they say anything new of the same files
LARGEST = (1 << 14, 1 << 14)  # no sensor is wider or higher
SHARE = 0.99  # of a recording's events, whose extent stands for all

S = TypeVar("S")
T = TypeVar("T")


def cache_folder() -> Path:
    """Where samples and facts lie: where SAFE_CACHE says, else in ~/.cache/safe-companion."""
    return Path(os.environ.get("SAFE_CACHE") or Path.home() / ".cache" / "safe-companion")


@dataclass
class Facts:
    """What is known of one recording; JSON types only.

    stamp: sizes and times of its files; None if nothing is there. error, kind: of the
    RecordingError that any reading raises. says_unit: whether the event file says its unit of
    time. size: (width, height) that it says; usual_size: of the cameras that write its form;
    image_size: of the first image. frames; stored: event images, where there are no events;
    pairs: frames that can be paired with events or event images. frame_error, stored_error: of the
    first image that cannot be read. x, y: smallest value, 99 % quantile, largest value. t, frame_t:
    first and last, microseconds (frame_t: None if evenly spread). jumps: events earlier than the
    one before; largest_jump: microseconds. other_forms: event files of it that are not read.
    """

    stamp: list[Any] | None = None
    event_file: str | None = None
    other_forms: list[str] = field(default_factory=list)
    error: str = ""
    kind: str = ""
    says_unit: bool = False
    size: list[int] | None = None
    usual_size: list[int] | None = None
    image_size: list[int] | None = None
    frames: int = 0
    stored: int = 0
    pairs: int = 0
    frame_error: str = ""
    stored_error: str = ""
    events: int = 0
    x: list[int] | None = None
    y: list[int] | None = None
    t: list[int] | None = None
    frame_t: list[int] | None = None
    jumps: int = 0
    largest_jump: int = 0

    @property
    def duration(self) -> int:
        """Microseconds from the first event to the last; 0 without events."""
        return self.t[1] - self.t[0] if self.t else 0


# ---------------------------------------------------------------- one recording


def _image_error(source: ImageSource, decode: bool) -> str:
    """Why an image cannot be read, or "". It is decoded only if asked for, or if its end is odd."""
    if isinstance(source, np.ndarray):
        return ""
    if isinstance(source, Inside) and not decode:
        return ""  # its checksum was compared
    try:
        if isinstance(source, Inside):
            read_image(source)
            return ""
        with open(source, "rb", buffering=0) as file:
            start = file.read(8)
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1024))  # some writers add a few bytes behind the mark
            rest = file.read()
        is_png = start == b"\x89PNG\r\n\x1a\n" and b"IEND" in rest
        is_jpeg = start[:2] == b"\xff\xd8" and b"\xff\xd9" in rest
        if decode or not (is_png or is_jpeg):
            read_image(source)
    except RecordingError as error:
        return str(error)
    except OSError as error:
        return f"{source}: found no readable image ({error}); expected a PNG or JPEG image."
    return ""


def _first_image_error(sources: Sequence[ImageSource], decode: bool) -> str:
    errors = (_image_error(source, decode) for source in sources)
    return next((error for error in errors if error), "")


def _extent(values: np.ndarray) -> list[int]:
    """[smallest, 99 % quantile, largest] of coordinates."""
    smallest, largest = int(values.min()), int(values.max())
    if smallest < 0 or largest > LARGEST[0]:
        values = np.clip(values, 0, LARGEST[0])
    counts = np.bincount(values.astype(np.int64, copy=False)).cumsum()
    return [smallest, int(np.searchsorted(counts, SHARE * len(values))), largest]


def _read_stream(facts: Facts, path: Path, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Notes what is known of the events; their times, sorted. Raises RecordingError.

    Jumps in time and events outside are noted only: whether they matter, a configuration decides.
    """
    try:
        events = checked_events(path, columns, LARGEST)
    except RecordingError:
        events, _ = repaired_events(path, columns, LARGEST)  # raises what cannot be mended
    t = columns["t"].astype(np.int64, copy=False)
    facts.events = len(t)
    facts.x = _extent(columns["x"])
    facts.y = _extent(columns["y"])
    facts.t = [int(t.min()), int(t.max())]
    falls = t[1:] < t[:-1]
    if falls.any():
        facts.jumps = int(np.count_nonzero(falls))
        facts.largest_jump = int((t[:-1] - t[1:]).max())
    return events["t"]


def _read_frames(
    facts: Facts, path: Path, files: Files, content: EventFile, event_t: np.ndarray | None
) -> list[ImageSource]:
    """Notes what is known of the frames in an event file, or beside it; the frames."""
    frames = content.frames or list(numbered_images(files.aps_folder).values())
    facts.frames = facts.pairs = len(frames)
    times = content.frame_t
    if not frames or times is None:
        return frames
    if times.shape == (len(frames),) and (times[1:] > times[:-1]).all():
        facts.frame_t = [int(times[0]), int(times[-1])]
        if event_t is not None:
            facts.pairs = len(frame_windows(times, event_t))
    else:
        read_recording(path, size=LARGEST, repair=True)  # raises, saying which of these it is
    return frames


def _read(path: Path, files: Files, config: tuple[str, str | None], decode: bool) -> Facts:
    """Everything but the stamp."""
    time_unit, columns = config
    others = [file.name for file in files.other_forms if is_event_file(file)]
    facts = Facts(other_forms=others)
    stored: list[ImageSource] = []
    try:
        if files.event_file is None:
            recording = read_recording(path)
            frames = recording.frame_sources
            stored = recording.event_image_sources
            facts.frames = len(frames)
            facts.pairs = len(frames) or len(stored)
        else:
            facts.event_file = files.event_file.name
            if files.event_file.suffix.lower() == ".pack":
                pack.verify(files.event_file)
            content = read_events(files.event_file, time_unit=time_unit, columns=columns)
            facts.says_unit = content.time_unit is not None
            facts.usual_size = list(content.usual_size) if content.usual_size else None
            facts.size = [int(side) for side in content.size] if content.size else None
            times = None
            if content.columns is not None:
                times = _read_stream(facts, files.event_file, content.columns)
            frames = _read_frames(facts, path, files, content, times)
            stored = content.event_images or []
            if content.columns is None:
                facts.pairs = len(frames) or len(stored)
        facts.stored = len(stored) if not facts.events else 0
        first = [*stored[:1], *frames[:1]]
        if first:
            facts.image_size = list(image_size(first[0]))
        facts.frame_error = _first_image_error(frames, decode)
        facts.stored_error = _first_image_error(stored, decode)
    except RecordingError as error:
        facts.error = str(error)
        facts.kind = error.kind
    return facts


# ---------------------------------------------------------------- all recordings, and the cache


def _stamp(files: Files, config: tuple[str, str | None]) -> list[Any] | None:
    """By which unchanged files are known: sizes and times; None if nothing is there."""
    stamp: list[Any] = [*config]
    found = False
    if files.event_file:
        with contextlib.suppress(OSError):
            place = shards.find(files.event_file)
            state = (place.file if place else files.event_file).stat()
            size = [place.offset, place.size] if place else state.st_size
            stamp += [files.event_file.name, size, state.st_mtime_ns]
            found = True
    for folder in (files.aps_folder, files.dvs_folder):
        try:
            stamp.append(folder.stat().st_mtime_ns)
            found = True
        except OSError:
            stamp.append(None)
    return [*stamp, len(files.other_forms)] if found else None


def _cache_file(root: Path) -> Path:
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / "checks" / f"{name}.json"


def _load(file: Path) -> dict[str, Facts]:
    """{name: facts} of a cache file; nothing of one that is damaged or of another version."""
    try:
        mark, _, content = file.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if mark.decode(errors="replace") != _mark(content):
        return {}
    return {name: Facts(*values) for name, values in json.loads(content).items()}


def _mark(content: bytes) -> str:
    """The first line of a cache file: its version, and a sum over the rest, which tells damage."""
    return f"{VERSION} {hashlib.sha256(content).hexdigest()}"


def _save(file: Path, known: dict[str, Facts]) -> None:
    keys = [field.name for field in dataclasses.fields(Facts)]
    facts = {name: [getattr(fact, key) for key in keys] for name, fact in known.items()}
    content = json.dumps(facts).encode()
    with contextlib.suppress(OSError):  # no place for it: the next start looks again
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = _mark(content).encode() + b"\n" + content
        write_atomically(file, lambda partial: partial.write_bytes(whole))


def look(
    root: Path,
    names: Sequence[str],
    *,
    time_unit: str = "auto",
    columns: str | None = None,
    anew: bool = False,
    decode: bool = False,
    whole: bool = False,
) -> dict[str, Facts]:
    """{name: facts} of recordings below `root`; progress is shown.

    time_unit, columns: as read_events takes them. anew: also what has not changed is opened.
    decode: every image, not only the last bytes of each. What is not there gets facts without a
    stamp; whole: then nothing is opened, and what is there is not in the answer.
    """
    file = _cache_file(root)
    config = (time_unit, columns)
    known = {} if anew else _load(file)
    found: dict[str, Facts] = {}
    to_read: dict[str, tuple[Files, list[Any]]] = {}
    for name in dict.fromkeys(names):
        files = locate(root / name)
        stamp = _stamp(files, config)
        facts = known.get(name)
        if stamp is None:
            found[name] = Facts()
        elif facts and facts.stamp == stamp and not _has_error(facts):
            found[name] = facts
        else:
            to_read[name] = files, stamp
    absent = {name: facts for name, facts in found.items() if facts.stamp is None}
    if whole and absent:
        return absent

    def read(name: str) -> Facts:
        files, stamp = to_read[name]
        facts = _read(root / name, files, config, decode)
        facts.stamp = stamp
        return facts

    if to_read:
        try:
            for name, facts in zip(to_read, in_threads(read, list(to_read)), strict=True):
                found[name] = facts
        finally:  # what an interrupted look has seen is kept as well
            _save(file, _load(file) | found)
    return found


def in_threads(function: Callable[[S], T], items: Sequence[S]) -> Iterator[T]:
    """function of each item, in this order, by several threads; progress is shown."""
    if not items:
        return
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        try:
            results = pool.map(function, items)
            few = len(items) < 200  # done before anybody wonders
            about: dict = {"desc": "checking recordings", "unit": "recording", "disable": few}
            yield from how_far.bar(results, total=len(items), **about)
        finally:
            pool.shutdown(cancel_futures=True)


def _has_error(facts: Facts) -> bool:
    return bool(facts.error or facts.frame_error or facts.stored_error)
