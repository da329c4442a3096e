"""Which recordings can a configuration not use, and what looks wrong in its data?

All recordings of the lists are looked at before a run begins:

    verdict = judge(config, root, class_names, lists)
    verdict.problems  # {"nod/take_03": Problem("unreadable", "PATH: found ...")}
    verdict.warnings  # what is said and stops nothing
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from safe_companion import plausibility
from safe_companion.clips import ClipDataset
from safe_companion.facts import Facts, in_threads, look
from safe_companion.lists import Lists
from safe_companion.readers import RecordingError
from safe_companion.recordings import DAVIS346, read_recording
from safe_companion.wording import counted
from safe_core import Config

FAR = 4  # times what is usual: no part of the same sensor


class Problem(NamedTuple):
    """Why a recording cannot be used; kind as in RecordingError."""

    kind: str
    reason: str


@dataclass
class Verdict:
    """What was found. opened: False if something is missing, and so nothing was opened.

    size: (width, height) for recordings that do not say it, or None. problems: by sample.
    """

    opened: bool = False
    size: tuple[int, int] | None = None
    problems: dict[str, Problem] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def judge(
    config: Config,
    root: Path,
    class_names: Sequence[str],
    lists: Lists,
    *,
    anew: bool = False,
    decode: bool = False,
) -> Verdict:
    """Looks at every recording of the lists that the configuration needs.

    What is missing is found before anything is opened; with on_bad_recording="stop" nothing is
    opened then, unless `anew`. anew, decode: as facts.look takes them. Raises ValueError where all
    durations speak against microseconds.
    """
    items = lists["train"] + lists["test"]
    names = list(dict.fromkeys(name for name, _, _ in items))
    verdict = Verdict()
    known = look(
        root,
        names,
        time_unit=config.time_unit,
        columns=config.columns,
        anew=anew,
        decode=decode,
        whole=config.on_bad_recording == "stop" and not anew,
    )
    absent = [name for name, facts in known.items() if facts.stamp is None]
    verdict.problems = {name: _missing(root / name) for name in absent}
    if len(absent) == len(known):
        return verdict
    verdict.opened = True
    plausibility.check_unit(config, root, known)
    train = [known[name] for name, _, _ in lists["train"]]
    verdict.size = _sensor_size(config, train)
    every = ClipDataset(
        [(name, label) for name, _, label in items],
        root,
        class_names,
        config,
        sensor_size=verdict.size,
    )
    indices = {name: index for index, name in enumerate(every.names)}
    repairs: list[Repair] = []
    suspects = []
    for name in known.keys() - verdict.problems.keys():
        problem = _known_problem(root / name, known[name], config)
        if problem:
            verdict.problems[name] = problem
        elif _is_suspect(known[name], every):
            suspects.append(name)

    def confirm(name: str) -> Problem | Repair:
        return _confirm(every, indices[name], known[name])

    for name, found in zip(suspects, in_threads(confirm, suspects), strict=True):
        if isinstance(found, Problem):
            verdict.problems[name] = found
        else:
            repairs.append(found)
    verdict.problems = {name: verdict.problems[name] for name in names if name in verdict.problems}
    left = {
        split: [item for item in listed if item[0] not in verdict.problems]
        for split, listed in lists.items()
    }
    verdict.warnings = [
        *plausibility.of_lists(class_names, lists, left),
        *plausibility.of_files(config, root, lists),
        *plausibility.of_recordings(known),
        *(_of_size(known, verdict) if not config.sensor_size else []),
        *_of_repairs(repairs),
    ]
    return verdict


def sensor_size(config: Config, root: Path, lists: Lists) -> tuple[int, int] | None:
    """(width, height) of recordings that do not say it, or None if each may have its own.

    For "folder" without `sensor_size`: one size for all, of the *training* recordings, so that the
    test set has no say. It is the smallest that holds every recording: its images, else the sensor
    of the cameras that write its form, else its events (a file that says its size has no say). But
    no recording counts whose events reach further than FAR times what is usual, in width or in
    height: what is usual is the median over the recordings of the extent of 99 % of their events.
    So one event at x = 65535, or one recording of another camera, does not make the sensor 65,536
    wide.
    """
    if config.sensor_size or config.dataset != "folder":
        return _sensor_size(config, [])
    names = [name for name, _, _ in lists["train"]]
    known = look(root, names, time_unit=config.time_unit, columns=config.columns)
    return _sensor_size(config, [known[name] for name in names])


def _sensor_size(config: Config, train: Sequence[Facts]) -> tuple[int, int] | None:
    """As sensor_size, whose docstring holds the rule."""
    if config.sensor_size:
        width, height = config.sensor_size.split("x")
        return int(width), int(height)
    if config.dataset != "folder":
        return None
    sizes = []
    extents = []
    for fact in train:
        if fact.size:
            continue
        size = fact.image_size or fact.usual_size
        if size:
            sizes.append((size[0], size[1]))
        elif fact.x and fact.y:
            extents.append((fact.x, fact.y))
    if extents:
        usual_x = statistics.median(x[1] + 1 for x, _ in extents)
        usual_y = statistics.median(y[1] + 1 for _, y in extents)
        for x, y in extents:
            if x[2] + 1 <= FAR * usual_x and y[2] + 1 <= FAR * usual_y:
                sizes.append((x[2] + 1, y[2] + 1))
    if not sizes:
        return None
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _of_size(known: dict[str, Facts], verdict: Verdict) -> list[str]:
    """Of a size that few recordings decide: a wrong coordinate less than FAR from what is usual."""
    bare = {
        name: (fact.x[2] + 1, fact.y[2] + 1)
        for name, fact in known.items()
        if fact.x and fact.y and not fact.size and not fact.image_size and not fact.usual_size
    }
    if not verdict.size or not bare:
        return []
    width = statistics.median(width for width, _ in bare.values())
    height = statistics.median(height for _, height in bare.values())
    wide = [
        name
        for name, size in bare.items()
        if (size[0] > 2 * width or size[1] > 2 * height)
        and size[0] <= verdict.size[0]  # else its events outside are a problem, or dropped
        and size[1] <= verdict.size[1]
    ]
    if not wide:
        return []
    return [
        f"the sensor is taken to have {verdict.size[0]}x{verdict.size[1]} pixels because of "
        f"{len(wide):,} of {len(bare):,} recordings, such as {wide[0]}; most use "
        f"{width:.0f}x{height:.0f}. If that is wrong, give sensor_size"
    ]


# ---------------------------------------------------------------- one recording


class Repair(NamedTuple):
    """What repair_events does to one recording; zeros where nothing is to be done."""

    jumps: int
    dropped: int


def _of_repairs(repairs: Sequence[Repair]) -> list[str]:
    warnings = []
    jumps = [repair.jumps for repair in repairs if repair.jumps]
    if jumps:
        warnings.append(
            f"repair_events: sorted by time: {counted(len(jumps), 'recording')} "
            f"({counted(sum(jumps), 'jump')} back)"
        )
    dropped = [repair.dropped for repair in repairs if repair.dropped]
    if dropped:
        warnings.append(
            f"repair_events: dropped outside the sensor: {counted(sum(dropped), 'event')} in "
            f"{counted(len(dropped), 'recording')}"
        )
    return warnings


def _missing(path: Path) -> Problem:
    """What reading says of a recording of which nothing is there."""
    try:
        read_recording(path)
    except RecordingError as error:
        return Problem(error.kind, str(error))
    raise AssertionError(f"{path}: is there after all; somebody is changing the data")


def _known_problem(path: Path, facts: Facts, config: Config) -> Problem | None:
    """What the facts alone tell."""
    if facts.error:
        return Problem(facts.kind, facts.error)
    if facts.frame_error and config.modality != "event":
        return Problem("unreadable", facts.frame_error)
    if facts.stored_error and config.modality != "rgb":
        return Problem("unreadable", facts.stored_error)
    return _of_clocks(path, facts)


def _is_suspect(facts: Facts, every: ClipDataset) -> bool:
    """Whether a recording may not give a clip: its clip tells, in the words of training."""
    config = every.config
    if facts.jumps or _is_outside(facts, every.sensor_size) or config.stored_event_images:
        return True
    if config.modality != "event" and not facts.frames:
        return True
    if not facts.events:
        is_drawn = (config.event_representation, config.event_windows) == ("authors", "frames")
        has_images = facts.stored > 0 and is_drawn
        return facts.pairs < config.frames or (config.modality != "rgb" and not has_images)
    by_frames = facts.frames > 0 and config.event_windows == "frames"
    return by_frames and facts.pairs < config.frames


def _confirm(every: ClipDataset, index: int, facts: Facts) -> Problem | Repair:
    """What makes clip `index` fail, or what is repaired for it."""
    try:
        recording = every.recording(index)
        every[index]
    except RecordingError as error:
        return Problem(error.kind, str(error) + _what_is_usual(facts, every))
    dropped = 0 if recording.events is None else facts.events - len(recording.events)
    return Repair(facts.jumps, dropped)


def _is_outside(facts: Facts, size: tuple[int, int] | None) -> bool:
    """Whether events may lie outside the sensor, whose size is found as read_recording does."""
    if not facts.x or not facts.y:
        return False
    width, height = facts.size or size or facts.usual_size or facts.image_size or DAVIS346
    return min(facts.x[0], facts.y[0]) < 0 or facts.x[2] >= width or facts.y[2] >= height


def _what_is_usual(facts: Facts, every: ClipDataset) -> str:
    """Of a folder whose recordings share a size: that the others stay within it."""
    size = every.sensor_size
    if not size or every.config.sensor_size or not facts.x or not facts.y:
        return ""
    if not _is_outside(facts, size):
        return ""
    return (
        " This is what the training recordings use, and 99 % of the events here lie within "
        f"x <= {facts.x[1]}, y <= {facts.y[1]}."
    )


def _of_clocks(path: Path, facts: Facts) -> Problem | None:
    """Frames and events that were never at the same time."""
    if not facts.frame_t or not facts.t:
        return None
    if facts.frame_t[0] <= facts.t[1] and facts.t[0] <= facts.frame_t[1]:
        return None
    return Problem(
        "invalid",
        f"{path}: found frames at {facts.frame_t[0]:,} to {facts.frame_t[1]:,} us and events at "
        f"{facts.t[0]:,} to {facts.t[1]:,} us, never at the same time; expected one clock for "
        "both. Give frame_t in the events' clock, or leave it out if the frames cover the stream "
        "evenly.",
    )
