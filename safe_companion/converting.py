"""How do recordings of any readable form become npz, alone or a whole folder of them?

    OUT/take_00.npz                                 events: x, y, t, p; sensor_size
    OUT/take_01/take_01.npz, take_01_aps/*.png      the same, frame_t, and frames

What is read back is the same: events, frame times, frames. A folder keeps its sub-folders, lists
and classes.txt. A recording is written whole or not at all, so a conversion that was stopped goes
on with the same command.
"""

import functools
import json
import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safe_companion import how_far
from safe_companion.describing import LIST_FILES, is_recording, recordings_in
from safe_companion.readers import READABLE, RecordingError
from safe_companion.recordings import DAVIS346, Recording, locate, read_image, read_recording
from safe_core import write_atomically


def write_npz(recording: Recording, place: Path, source: str) -> None:
    """Writes a recording as `place`.npz or, with frames, the folder `place`. RecordingError.

    source: what it was made from; it is kept as the comment of the npz, which is a zip archive.
    """
    if recording.events is None:
        raise RecordingError(
            f"{recording.path}: found no events, only images; expected an event stream, which npz "
            "holds. Use the images as they are.",
            kind="empty",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    arrays = {key: recording.events[key] for key in "xytp"}
    if recording.size != DAVIS346:  # which holds where nothing else is said
        arrays["sensor_size"] = np.array(recording.size)
    if not recording.frame_sources:
        partial = place.with_name(f".{place.name}.partial")
        _save(partial, arrays, source)
        os.replace(partial, place.with_name(place.name + ".npz"))
        return
    if recording.frame_t is not None:
        arrays["frame_t"] = recording.frame_t
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a conversion that was stopped
    frames = partial / f"{place.name}_aps"
    frames.mkdir(parents=True)
    for number, image in enumerate(recording.frame_sources):
        read_image(image).save(frames / f"{number:08d}.png")
    _save(partial / f"{place.name}.npz", arrays, source)
    os.replace(partial, place)


def _save(file: Path, arrays: dict[str, Any], source: str) -> None:
    with open(file, "wb") as opened:
        np.savez_compressed(opened, **arrays)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = source.encode()


def _source(path: Path, reading: dict[str, Any]) -> str:
    """What a recording is made from, as JSON: name, bytes and number of its files; how it is read.

    Without a time stamp, so that a copy of the files counts as the same.
    """
    files = locate(path)
    used = [files.event_file] if files.event_file else []
    if files.aps_folder.is_dir():
        used += [file for file in files.aps_folder.iterdir() if file.is_file()]
    return json.dumps(
        {
            "converted_from": files.event_file.name if files.event_file else files.name,
            "files": len(used),
            "bytes": sum(file.stat().st_size for file in used),
            **reading,
        }
    )


def is_done(place: Path, source: str) -> bool:
    """Whether a place holds this very recording, whole; FileExistsError if it holds another."""
    flat, inside = place.with_name(place.name + ".npz"), place / f"{place.name}.npz"
    if not flat.exists() and not place.exists():
        return False
    there = flat if flat.exists() else inside
    if zipfile.is_zipfile(there):
        with zipfile.ZipFile(there) as archive:
            if archive.comment == source.encode():
                return True
    raise FileExistsError(
        f"{there if there.exists() else place}: found something else than this conversion would "
        "write; nothing is overwritten. Give another OUT, or move it away."
    )


def plan(inputs: Sequence[Path], out: Path) -> tuple[dict[Path, Path], dict[Path, Path]]:
    """({place: recording}, {list file to write: its source}); a place has no suffix yet.

    ValueError if two recordings would have one place, or OUT lies in a folder that is converted;
    FileNotFoundError if there is nothing to convert.
    """
    found: list[tuple[Path, Path]] = []
    lists: dict[Path, Path] = {}
    for source in inputs:
        if source.is_dir() and not is_recording(source):
            if out.resolve().is_relative_to(source.resolve()):
                raise ValueError(f"{out} lies in {source}, which is converted: give another OUT")
            inside = recordings_below(source)
            found += [(out / path.relative_to(source), path) for path in inside]
            lists |= {out / n: source / n for n in LIST_FILES if (source / n).is_file()}
        else:
            inside = [source]
            found.append((out / locate(source).name, source))
        if not inside:
            raise FileNotFoundError(
                f"{source}: found no recording in it; expected some. What can be read: {READABLE}."
            )
    places = dict(found)
    if len(places) < len(found):
        place, _ = Counter(place for place, _ in found).most_common(1)[0]
        both = [str(path) for other, path in found if other == place]
        raise ValueError(f"{' and '.join(both)} would both become {place}: convert them apart")
    return places, lists


def recordings_below(folder: Path) -> list[Path]:
    """The recordings in a folder and its sub-folders."""
    found = recordings_in(folder)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith(".") and not is_recording(entry):
            found += recordings_below(entry)
    return found


def convert(inputs: Sequence[Path], out: Path, **reading: Any) -> tuple[Counter[str], list[str]]:
    """({"converted": n, "already there": n, "not converted": n}, what was wrong with the last).

    inputs: recordings, or folders of them. reading: keywords of `read_recording`. FileExistsError,
    ValueError or FileNotFoundError before anything is written.
    """
    if out.suffix == ".npz" or out.is_file():
        raise ValueError(f"{out}: found a file; expected a folder for the npz files. Name one.")
    places, lists = plan(inputs, out)
    sources = {place: _source(path, reading) for place, path in places.items()}
    done = {place for place in places if is_done(place, sources[place])}
    for target, source in lists.items():
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise FileExistsError(f"{target}: found another list; nothing is overwritten")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, functools.partial(shutil.copyfile, source))
    counts = Counter({"converted": 0, "already there": len(done)})  # in this order
    problems = []
    to_do = [(place, path) for place, path in places.items() if place not in done]
    for place, path in how_far.bar(to_do, desc="converting", disable=len(to_do) < 2):
        try:
            write_npz(read_recording(path, **reading), place, sources[place])
            counts["converted"] += 1
        except RecordingError as error:
            problems.append(str(error))
            counts["not converted"] += 1
    return counts, problems
