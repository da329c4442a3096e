"""Which recordings do list files or folders name, of which class, for training and for testing?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from safe_companion.readers import READERS
from safe_companion.recordings import locate
from safe_core import Config

WHERE_TO_GET = {
    "hardvs": "HARDVS: github.com/Event-AHU/HARDVS",
    "pokerevent": "PokerEvent: github.com/Event-AHU/SAFE",
    "folder": "Put one sub-folder of recordings per class into the data root",
}

Item = tuple[str, int, int]  # (sample, number of frames, label), as in a list file
T = TypeVar("T", bound=tuple[Any, ...])


def read_list(path: str | Path) -> list[Item]:
    """[(sample, number of frames, label)] of a list file, whose lines hold them in this order.

    Fields are taken from the right, because sample and folder names hold spaces. Blank lines are
    skipped. Raises ValueError naming the file and the line.
    """
    items = []
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, start=1):
        fields = line.strip().rsplit(maxsplit=2)
        if not fields:
            continue
        if len(fields) < 3 or not (fields[1].isdecimal() and fields[2].isdecimal()):
            raise ValueError(
                f"{path}, line {number}: found {line.strip()!r}; expected '<folder>/<sample> "
                "<number of frames> <label>', ending in two whole numbers. Correct the line."
            )
        items.append((fields[0], int(fields[1]), int(fields[2])))
    return items


def read_lists(root: Path, names: Sequence[str], config: Config) -> dict[str, list[Item]]:
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


def _items_of_folders(root: Path, names: Sequence[str]) -> list[Item]:
    """The recordings of one folder per class; their numbers of frames are not known (0)."""
    items = []
    for label, name in enumerate(names):
        samples = set()  # `a.npz` and a folder `a` are one recording
        for file in (root / name).iterdir():
            if file.name.startswith("."):
                continue
            if file.is_dir():
                samples.add(file.name)
            elif file.suffix in READERS:
                samples.add(file.stem)
        items += [(f"{name}/{sample}", 0, label) for sample in sorted(samples)]
    if len(names) < 2 or len(items) < 2:
        raise FileNotFoundError(
            f"{root}: found {len(items)} recordings in {len(names)} class folders; expected at "
            f"least two of each. {WHERE_TO_GET['folder']}."
        )
    return items


def _check_list(
    file: Path, items: list[Item], root: Path, names: Sequence[str], dataset: str
) -> None:
    """Raise if a list is empty, has a label without a class, or recordings that are not there."""
    found = None if items else "no recording"
    for name, _, label in items:
        if label >= len(names):
            found = f"label {label} of {name}"
            break
    if found:
        raise ValueError(
            f"{file}: found {found}; expected labels 0 to {len(names) - 1}. Check that the list "
            f"belongs to {dataset}."
        )
    if not any(_is_there(root / name) for name, _, _ in items[:20]):
        raise FileNotFoundError(
            f"{root / items[0][0]}: looked for this and the next recordings of {file.name}, found "
            f"none. {WHERE_TO_GET[dataset]}. Extract them here."
        )


def _is_there(path: Path) -> bool:
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
