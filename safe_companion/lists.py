"""Which recordings do list files or folders name, of which class, for training and for testing?"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from safe_companion.readers import READABLE, READERS, is_event_file
from safe_companion.recordings import locate
from safe_core import Config

WHERE_TO_GET = {
    "hardvs": "HARDVS: github.com/Event-AHU/HARDVS",
    "pokerevent": "PokerEvent: github.com/Event-AHU/SAFE_LargeVLM, github.com/Event-AHU/SSTFormer",
    "conjunctions": "`safe sample conjunctions OUT` makes it",
    "folder": "Put one sub-folder of recordings per class into the data root",
}

Item = tuple[str, int, int]  # (sample, number of frames, label), as in a list file
Lists = dict[str, list[Item]]  # {"train": items, "test": items}
T = TypeVar("T", bound=tuple[Any, ...])


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file without surrounding blanks, empty ones too. ValueError: no UTF-8."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: found bytes that are no UTF-8 ({error.reason} at byte {error.start}); "
            "expected a text file in UTF-8. Save it in this encoding."
        ) from error
    return [line.strip() for line in text.split("\n")]


def read_list(path: str | Path) -> list[Item]:
    """[(sample, number of frames, label)] of a list file, whose lines hold them in this order.

    Fields are taken from the right, because sample and folder names hold spaces. Blank lines are
    skipped. Raises ValueError naming the file and the line.
    """
    items = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.rsplit(maxsplit=2)
        if not fields:
            continue
        numbers = [field for field in fields[1:] if re.fullmatch("[0-9]{1,9}", field)]
        if len(numbers) < 2 or not _may_be_a_path(fields[0]):
            raise ValueError(
                f"{path}, line {number}: found {line[:200]!r}; expected '<folder>/<sample> "
                "<number of frames> <label>', ending in two whole numbers. Correct the line."
            )
        items.append((fields[0], int(fields[1]), int(fields[2])))
    return items


def _may_be_a_path(name: str) -> bool:
    """Whether the system can be asked for a file of this name below the data root."""
    parts = [len(part.encode()) for part in name.split("/")]
    is_short = max(parts) <= 255 and sum(parts) <= 2000
    return is_short and "\0" not in name and not name.startswith("/")


def read_lists(root: Path, names: Sequence[str], config: Config) -> Lists:
    """{"train": items, "test": items} from the list files, or the class folders, of `root`.

    names: class names by label. HARDVS's val_label.txt is not read: every split comes from the
    training and test lists. A "folder" without lists is split by config.test_fraction and
    config.seed. Raises FileNotFoundError or ValueError, saying what was looked for, where, and how
    to get it.
    """
    dataset = config.dataset
    source = WHERE_TO_GET[dataset]
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: looked for the {dataset} data set, found no such folder. {source}. For the "
            "generated sample, leave data_root unset."
        )
    files = {split: root / f"{split}_label.txt" for split in ("train", "test")}
    absent = [file.name for file in files.values() if not file.is_file()]
    if absent and dataset == "folder":
        items = _items_of_folders(root, names)
        test, train = split_off(items, config.test_fraction, seed=config.seed, leave=1)
        return {"train": train, "test": test}
    if absent:
        raise FileNotFoundError(
            f"{root}: looked for {' and '.join(absent)}, found none; this does not look like the "
            f"{dataset} data set. {source}. Put the lists there."
        )
    lists = {split: read_list(file) for split, file in files.items()}
    for split, items in lists.items():
        _check_list(files[split], items, root, names, dataset)
    return lists


# ---------------------------------------------------------------- folders


def class_folders(root: Path) -> tuple[list[str], list[str]]:
    """(class folders, sorted; other folders that a person would take for some: without recordings).

    Hidden folders and __MACOSX, which unpacking leaves behind, are neither.
    """
    with os.scandir(root) as entries:
        folders = [entry.name for entry in entries if entry.is_dir()]
    visible = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
    for name in visible:
        _check_name(root, name)
    full = [folder for folder in visible if next(_samples(root / folder), None)]
    return full, [folder for folder in visible if folder not in full]


def _samples(folder: Path) -> Iterator[str]:
    """The recordings of a class folder; `a.npz` and a folder `a` both give `a`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                if not _is_nested(entry):
                    _check_name(folder, entry.name)
                    yield entry.name
            elif is_event_file(Path(entry.path)):
                _check_name(folder, entry.name)
                yield os.path.splitext(entry.name)[0]


def _check_name(folder: Path, name: str) -> None:
    """ValueError for a name that cannot be written into any table: its bytes are no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{folder}: found the name {name!r}, whose bytes are no UTF-8; expected names in UTF-8."
            " Rename it."
        ) from error


def _is_nested(entry: "os.DirEntry[str]") -> bool:
    """Whether a folder holds others' recordings or folders, and no part of one of its own name."""
    name = entry.name
    with os.scandir(entry.path) as inner:
        found = [(e.name, e.is_dir()) for e in inner if not e.name.startswith(".")]
    parts = {f"{name}_aps", f"{name}_dvs"}
    for file, _ in found:
        stem, suffix = os.path.splitext(file)
        if file in parts or (stem == name and suffix.lower() in READERS):
            return False
    return any(is_dir or os.path.splitext(f)[1].lower() in READERS for f, is_dir in found)


def unread(folders: Sequence[Path]) -> Counter[str]:
    """{what: number} of visible things in class folders that no reader takes.

    By suffix; "folders" are those that hold no recording of their own name.
    """
    counts: Counter[str] = Counter()
    for folder in folders:
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    counts["folders"] += _is_nested(entry)
                elif not is_event_file(Path(entry.path)):
                    suffix = os.path.splitext(entry.name)[1].lower()
                    counts[suffix or "without a suffix"] += 1
    return +counts


def _items_of_folders(root: Path, names: Sequence[str]) -> list[Item]:
    """The recordings of one folder per class; their numbers of frames are not known (0)."""
    items = []
    for label, name in enumerate(names):
        folder = root / name
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"{folder}: looked for the folder of class {label}, found none; expected a folder "
                "for each line of classes.txt. Correct classes.txt, or write list files."
            )
        items += [(f"{name}/{sample}", 0, label) for sample in sorted(set(_samples(folder)))]
    if len(names) < 2 or len(items) < 2:
        raise FileNotFoundError(
            f"{root}: found {len(items)} recordings in {len(names)} class folders; expected at "
            f"least two of each. {WHERE_TO_GET['folder']}. {_instead(root)}What can be read: "
            f"{READABLE}."
        )
    return items


def _instead(root: Path) -> str:
    """What lies in `root`, down to three folders deep: "There are 12 .raw (such as a/b.raw). "."""
    counts: Counter[str] = Counter()
    example: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        shown = [f for f in folders if not f.startswith(".") and f != "__MACOSX"]
        folders[:] = sorted(shown) if depth < 3 else []
        for file in sorted(files):
            suffix = os.path.splitext(file)[1].lower() or "without a suffix"
            counts[suffix] += 1
            example.setdefault(suffix, str((Path(folder) / file).relative_to(root)))
    if not counts:
        return "There are no files. "
    found = [f"{n} {suffix} ({example[suffix]})" for suffix, n in counts.most_common(5)]
    return f"There are {', '.join(found)}. "


# ---------------------------------------------------------------- what lists name


def _check_list(
    file: Path, items: list[Item], root: Path, names: Sequence[str], dataset: str
) -> None:
    """Raise if a list is empty, has a label without a class, or recordings that are not there."""
    if not names:
        raise FileNotFoundError(
            f"{root}: found no class folder with recordings; expected one for each class. "
            f"{_instead(root)}What can be read: {READABLE}."
        )
    if not items:
        raise ValueError(f"{file}: found no recording; expected one on each line. Fill the list.")
    labels = [label for _, _, label in items]
    if min(labels) == 1 and max(labels) == len(names):
        raise ValueError(
            f"{file}: found labels 1 to {len(names)}, counted from 1; expected labels 0 to "
            f"{len(names) - 1}. Subtract 1 from every label, in both lists."
        )
    if max(labels) >= len(names):
        name, _, label = next(item for item in items if item[2] >= len(names))
        raise ValueError(
            f"{file}: found label {label} of {name}; expected labels 0 to {len(names) - 1}, since "
            f"there are {len(names)} class names. Check that list and class names (classes.txt, if "
            f"there is one) belong to {dataset} and to each other."
        )
    if not any(is_there(root / name) for name, _, _ in items[:20]):
        raise FileNotFoundError(
            f"{root / items[0][0]}: looked for this and the next recordings of {file}, found "
            f"none. {WHERE_TO_GET[dataset]}. Extract them here. What can be read: {READABLE}."
        )


def is_there(path: Path) -> bool:
    """Whether any part of a recording is at `path`; nothing is opened."""
    files = locate(path)
    return bool(files.event_file) or files.aps_folder.is_dir() or files.dvs_folder.is_dir()


def split_off(
    items: Sequence[T], fraction: float, *, seed: int, leave: int
) -> tuple[list[T], list[T]]:
    """(chosen, rest): a share of items of each class; each item ends in its label.

    At least one per class is chosen (if fraction > 0), and `leave` are left. A larger fraction
    holds the smaller ones, so that training-set sizes can be compared on nested sets.
    """
    positions_of: dict[int, list[int]] = {}
    for position, item in enumerate(items):
        positions_of.setdefault(item[-1], []).append(position)
    chosen: set[int] = set()
    if fraction > 0:
        for label, positions in positions_of.items():
            shuffled = np.random.default_rng([seed, label]).permutation(positions).tolist()
            count = max(round(fraction * len(positions)), 1)
            chosen.update(shuffled[: min(count, len(positions) - leave)])
    return (
        [item for position, item in enumerate(items) if position in chosen],
        [item for position, item in enumerate(items) if position not in chosen],
    )
