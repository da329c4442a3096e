"""What is in a recording, in words? And which recordings are in a folder?"""

from pathlib import Path
from typing import Any

import numpy as np

from safe_companion.formats import shards
from safe_companion.formats.pack import EventView
from safe_companion.readers import READERS, is_event_file
from safe_companion.recordings import Files, Recording, image_size, locate
from safe_core import Config

LIST_FILES = ("classes.txt", "train_label.txt", "val_label.txt", "test_label.txt")


def reading(config: Config) -> dict[str, Any]:
    """How a configuration wants recordings read: the keywords of `read_recording`."""
    size = None
    if config.sensor_size:
        width, height = config.sensor_size.split("x")
        size = (int(width), int(height))
    return {
        "size": size,
        "time_unit": config.time_unit,
        "columns": config.columns,
        "repair": config.repair_events,
    }


def is_recording(path: Path) -> bool:
    """Whether a path is a file, or a folder that holds parts of one recording of its name."""
    files = locate(path)
    forms = [files.event_file, *files.other_forms] if files.event_file else []
    inside = any(form.parent == path for form in forms)
    return path.is_file() or inside or files.aps_folder.is_dir() or files.dvs_folder.is_dir()


def recordings_in(folder: Path) -> list[Path]:
    """The recordings that lie in a folder itself, sorted, without suffix: all forms count once."""
    found = set()
    for entry in folder.iterdir():
        if entry.is_dir():
            if not entry.name.startswith(".") and is_recording(entry):
                found.add(entry)
        elif entry.name not in LIST_FILES and is_event_file(entry):
            found.add(entry.with_suffix(""))
    return sorted(found)


def expanded(path: Path) -> list[Path]:
    """A recording's path as it is; that of a folder of recordings as theirs."""
    if path.is_dir() and not is_recording(path):
        return recordings_in(path) or [path]
    return [path]


def describe(recording: Recording, files: Files) -> list[tuple[str, str]]:
    """[(what, words)] of a recording: its files, sensor, events, frames and clocks."""
    lines = [("form", _form(recording, files))]
    if files.other_forms:
        names = ", ".join(str(file) for file in files.other_forms)
        lines.append(("not read", f"other forms of it: {names}"))
    width, height = recording.size
    lines.append(("sensor", f"{width} x {height} pixels"))
    if recording.events is not None:
        lines += _events(recording.events)
    if recording.event_image_sources:
        lines.append(("event images", f"{len(recording.event_image_sources)} stored"))
    lines += _frames(recording)
    if recording.repairs:
        lines.append(("repaired", recording.repairs))
    return lines


def _form(recording: Recording, files: Files) -> str:
    if files.event_file is None:
        return "folders of images"
    suffix = files.event_file.suffix.lower()
    reader = READERS[suffix]
    place = shards.find(files.event_file)
    size = (place.size or 0) if place else files.event_file.stat().st_size
    where = f" in {place.file.name}" if place else ""
    read_by = f"{reader.__module__}.{reader.__name__}"
    return f"{suffix}{where}, {size / 1e6:,.3f} MB, read by {read_by}"


def _events(events: np.ndarray | EventView) -> list[tuple[str, str]]:
    first, last = int(events["t"][0]), int(events["t"][-1])
    seconds = (last - first) / 1e6
    rate = f"{len(events) / seconds:,.0f} a second" if seconds else "all at one instant"
    share = 100 * float(np.mean(events["p"]))
    used = [f"{axis} {events[axis].min()} to {events[axis].max()}" for axis in "xy"]
    return [
        ("events", f"{len(events):,} in {seconds:,.3f} s, {rate}; {share:.1f} % ON"),
        ("pixels", ", ".join(used)),
        ("event clock", f"{first:,} to {last:,} us"),
    ]


def _frames(recording: Recording) -> list[tuple[str, str]]:
    """Frames, their clock, and how far it overlaps with that of the events."""
    count = len(recording.frame_sources)
    if not count:
        return [("frames", "none")]
    width, height = image_size(recording.frame_sources[0])
    text = f"{count} of {width} x {height} pixels"
    t = recording.frame_t
    if t is None:
        return [("frames", text), ("frame clock", "not recorded")]
    seconds = float(t[-1] - t[0]) / 1e6
    if seconds:
        text += f", {(count - 1) / seconds:,.1f} a second"
    lines = [("frames", text), ("frame clock", f"{int(t[0]):,} to {int(t[-1]):,} us")]
    if recording.events is not None:
        first, last = recording.events["t"][[0, -1]]
        inside = int(np.count_nonzero((t >= first) & (t <= last)))
        lines.append(("overlap", f"{inside} of {count} frames were taken while events came in"))
    return lines
