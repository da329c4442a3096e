"""What looks wrong in a data set as a whole? Its unit of time, its lists, its files, odd ones out.

Nothing here stops a run, but times that cannot be microseconds. Names are given without the data
root.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from safe_companion.facts import Facts
from safe_companion.lists import Lists, class_folders, unread
from safe_companion.readers import READABLE
from safe_companion.wording import counted
from safe_core import Config

ODD = 1000  # times what is usual: said


def check_unit(config: Config, root: Path, known: dict[str, Facts]) -> None:
    """Raise ValueError if durations suggest that times are no microseconds.

    Judged by the median over the recordings whose file does not say its unit.
    """
    silent = [fact for fact in known.values() if fact.events >= 10 and not fact.says_unit]
    if config.time_unit != "auto" or not silent:
        return
    duration = statistics.median(fact.duration for fact in silent)
    rate = statistics.median(1e6 * fact.events / max(fact.duration, 1) for fact in silent)
    if duration < 20:
        unit, factor = "s", 1e6
    elif duration < 20_000:
        unit, factor = "ms", 1e3
    elif duration > 15 * 60e6 or (duration > 60e6 and rate < 100):
        unit, factor = "ns", 1e-3
    else:
        return
    raise ValueError(
        f"{root}: found recordings that last {_seconds(duration)} (median of {len(silent):,}) at "
        f"{rate:,.3g} events a second, if their times are microseconds; expected 20 ms to 15 "
        f"minutes. In {unit} they would last {_seconds(duration * factor)}: set time_unit={unit}, "
        "or time_unit=us if they are right as they are."
    )


def _seconds(microseconds: float) -> str:
    if microseconds < 1e5:
        return f"{microseconds:,.0f} us"
    return (
        f"{microseconds / 1e6:,.3g} s" if microseconds < 1e9 else f"{microseconds / 6e7:,.0f} min"
    )


def _first(names: Sequence[str]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def of_lists(class_names: Sequence[str], lists: Lists, left: Lists) -> list[str]:
    """Samples named twice, labels against their folder, classes without recordings.

    left: the lists without what cannot be used.
    """
    warnings = []
    names = {split: [name for name, _, _ in items] for split, items in lists.items()}
    both = sorted(set(names["train"]) & set(names["test"]))
    if both:
        warnings.append(
            f"for training and for the test: {counted(len(both), 'recording')}: {_first(both)}"
        )
    for split, listed in names.items():
        twice = sorted(name for name, count in Counter(listed).items() if count > 1)
        if twice:
            warnings.append(
                f"{split}: named twice: {counted(len(twice), 'recording')}: {_first(twice)}"
            )
    warnings += _against_folders(class_names, lists)
    for split, items in left.items():
        used = {label for _, _, label in items}
        unused = [name for label, name in enumerate(class_names) if label not in used]
        if items and unused:
            warnings.append(
                f"{split}: {counted(len(unused), 'class', 'classes')} without recordings: "
                f"{_first(unused)}"
            )
    return warnings


def _against_folders(class_names: Sequence[str], lists: Lists) -> list[str]:
    """Labels other than that of most recordings of their folder, or of the class of its name."""
    labels: dict[str, Counter[int]] = {}
    every = [item for items in lists.values() for item in items]
    for name, _, label in every:
        labels.setdefault(name.rpartition("/")[0], Counter())[label] += 1
    usual = {folder: counts.most_common(1)[0][0] for folder, counts in labels.items() if folder}
    odd = []
    for name, _, label in every:
        most = usual.get(name.rpartition("/")[0], label)
        if label != most:
            odd.append(f"{name} has {label}, most of its folder {most}")
    warnings = []
    if odd:
        warnings.append(f"{len(odd):,} labels contradict their folder: {_first(odd)}")
    by_name = {name.casefold(): name for name in class_names}
    other = [
        f"{folder} has label {label}, which is {class_names[label]}"
        for folder, label in usual.items()
        if folder.casefold() in by_name and class_names[label].casefold() != folder.casefold()
    ]
    if other:
        warnings.append(f"{len(other):,} folders named as another class: {_first(other)}")
    return warnings


def of_files(config: Config, root: Path, lists: Lists) -> list[str]:
    """Files that are there and are not read; class folders without recordings."""
    warnings = []
    folders = {name.rpartition("/")[0] for items in lists.values() for name, _, _ in items}
    if config.dataset == "folder" and not (root / "classes.txt").is_file():
        empty = class_folders(root)[1]
        warnings += [f"class folder without recordings, so no class: {name}" for name in empty]
        folders |= set(empty)
    counts = unread([root / folder for folder in sorted(folders)])
    if counts:
        found = ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
        warnings.append(f"there and not read: {found}; what can be read: {READABLE}")
    return warnings


def of_recordings(known: dict[str, Facts]) -> list[str]:
    """Both forms of one recording; recordings unlike all others."""
    warnings = []
    double = {name: fact for name, fact in known.items() if fact.other_forms}
    if double:
        name, fact = next(iter(double.items()))
        warnings.append(
            f"there in several forms: {counted(len(double), 'recording')}, such as {name}: "
            f"{fact.event_file} is read, {', '.join(fact.other_forms)} is not"
        )
    streams = {name: fact for name, fact in known.items() if fact.events}
    if len(streams) < 3:
        return warnings
    duration = statistics.median(fact.duration for fact in streams.values())
    events = statistics.median(fact.events for fact in streams.values())
    for name, fact in streams.items():
        if duration and not duration / ODD < fact.duration < duration * ODD:
            lasts = f"{name} lasts {_seconds(fact.duration)}"
            warnings.append(f"{lasts}, the others {_seconds(duration)} (median)")
        if not events / ODD < fact.events < events * ODD:
            warnings.append(f"{name} has {fact.events:,} events, the others {events:,.0f} (median)")
    return warnings
