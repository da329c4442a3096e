"""Which recordings are there, of which classes, and which are for training, validation and test?

    splits = open_dataset(safe_core.configure(dataset="hardvs"))  # the generated sample
    splits.train[0]  # {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3, S, S], "label", "name"}

Real data that are not found are an error, never replaced by the sample.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm.auto import tqdm

from safe_companion import ROOT, sample
from safe_companion.clips import ClipDataset, Draw
from safe_companion.lists import Item, read_lists, split_off
from safe_companion.readers import READERS
from safe_companion.recordings import (
    RecordingError,
    image_size,
    locate,
    numbered_images,
    read_image,
    read_recording,
)
from safe_core import Config, configure

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"hardvs": "HARDVS", "pokerevent": "PokerEvent", "folder": "A folder of recordings"}
GROUND_TRUTH = "ground_truth.csv"  # only a generated sample has this file

T = TypeVar("T")


def class_names(dataset: str, root: str | Path | None) -> list[str]:
    """Class names by label: the root's classes.txt, else the published list or the sub-folders.

    root: None for the generated sample, which need not have been made.
    """
    if root is None:
        _check_has_sample(dataset)
        return list(sample.CLASSES[dataset])
    file = Path(root) / "classes.txt"
    if not file.is_file():
        if dataset == "folder":
            folders = [entry for entry in Path(root).iterdir() if entry.is_dir()]
            return sorted(folder.name for folder in folders if not folder.name.startswith("."))
        file = ROOT / "book" / "classes" / f"{dataset}.txt"
    return file.read_text(encoding="utf-8").splitlines()


# ---------------------------------------------------------------- splits


@dataclass
class Splits:
    """Three ClipDatasets and where they come from.

    origin: "sample" or "real", as found: a generated sample opened by its path stays one.
    fingerprint: SHA-256 of class names and lists (of a folder without lists: of its seeded split).
    sensor_size: (width, height) given to npz recordings, or None where each says its own. skipped:
    [(sample, reason)] of recordings left out.
    """

    train: ClipDataset
    val: ClipDataset
    test: ClipDataset
    class_names: list[str]
    origin: str
    root: Path
    fingerprint: str
    sensor_size: tuple[int, int] | None
    skipped: list[tuple[str, str]]

    @property
    def facts(self) -> dict[str, Any]:
        """What a run record says about its data; JSON types only."""
        return {
            "origin": self.origin,
            "fingerprint": self.fingerprint,
            "sensor_size": self.sensor_size,
            "train": len(self.train),
            "val": len(self.val),
            "test": len(self.test),
            "skipped": self.skipped,
        }


def open_dataset(config: Config) -> Splits:
    """Open the data set of a configuration, and split it.

    data_root: None generates the sample once and opens it; a path opens real data or raises, never
    falls back. val_fraction: share of the training list held out, stratified by class.
    train_fraction: stratified share kept of the rest (nested: larger shares hold smaller ones).
    test_fraction: for "folder" without list files. All by `seed`.
    augment: of training clips, as in ClipDataset; "none" with aligned frames also leaves out the
    jitter. frame_draw: of training clips, "aligned" (jittered) or "independent" (random, each
    modality on its own). test_frames: of validation and test clips, "even" or "random": drawn as in
    training, by (seed, epoch, index).
    on_bad_recording: "stop" raises RecordingError when the recording is met; "skip" first makes one
    clip of every recording and leaves out those that give none (Splits.skipped). It decodes the
    images of that clip only.
    sensor_size: "WIDTHxHEIGHT" of npz recordings. By default the frames beside them tell, else
    346x260; for "folder", the largest extent over the training recordings, so that one size holds
    for all and the test set has no say.
    Raises FileNotFoundError or ValueError as read_lists does.
    """
    if config.data_root is None:
        root, mark = _sample_root(config)
    else:
        root, mark = Path(config.data_root).expanduser(), ""
    # The generated sample stays one when it is opened by its path: never shown as real data.
    is_sample = config.data_root is None or (root / GROUND_TRUTH).is_file()
    names = class_names(config.dataset, root) if root.is_dir() else []
    lists = read_lists(root, names, config)
    fingerprint = hashlib.sha256(json.dumps([mark, names, lists]).encode()).hexdigest()
    size = _sensor_size(config, root, lists["train"])
    train = [(name, label) for name, _, label in lists["train"]]
    test = [(name, label) for name, _, label in lists["test"]]

    skipped = []
    if config.on_bad_recording == "skip":
        every = ClipDataset(train + test, root, names, config, sensor_size=size)
        for index, error in _problems(range(len(every)), every.__getitem__):
            skipped.append((every.names[index], str(error)))
        bad = {name for name, _ in skipped}
        train = [item for item in train if item[0] not in bad]
        test = [item for item in test if item[0] not in bad]

    val, rest = split_off(train, config.val_fraction, seed=config.seed, leave=1)
    kept, _ = split_off(rest, config.train_fraction, seed=config.seed, leave=0)

    drawn: Draw = "random" if config.frame_draw == "independent" else "jittered"
    as_they_are = config.augment == "none" and config.frame_draw == "aligned"
    in_training: Draw = "even" if as_they_are else drawn
    in_testing: Draw = drawn if config.test_frames == "random" else "even"
    return Splits(
        train=ClipDataset(
            kept,
            root,
            names,
            config,
            draw=in_training,
            augment=config.augment,
            sensor_size=size,
        ),
        val=ClipDataset(val, root, names, config, draw=in_testing, sensor_size=size),
        test=ClipDataset(test, root, names, config, draw=in_testing, sensor_size=size),
        class_names=names,
        origin="sample" if is_sample else "real",
        root=root,
        fingerprint=fingerprint,
        sensor_size=size,
        skipped=skipped,
    )


def _check_has_sample(dataset: str) -> None:
    if dataset == "folder":
        raise ValueError(
            "dataset='folder' has no generated sample; set data_root to your class folders"
        )


def _sample_root(config: Config) -> tuple[Path, str]:
    """Folder of the generated sample, made if it is not there, and its fingerprint.

    It lies in the folder that the environment variable SAFE_CACHE names, else in
    ~/.cache/safe-companion.
    """
    _check_has_sample(config.dataset)
    train, test = config.sample_train_per_class, config.sample_test_per_class
    mark = sample.fingerprint(config.dataset, seed=0, train_per_class=train, test_per_class=test)
    cache = Path(os.environ.get("SAFE_CACHE") or Path.home() / ".cache" / "safe-companion")
    root = cache / f"{config.dataset}-{mark[:16]}"
    sample.make_sample(config.dataset, root, seed=0, train_per_class=train, test_per_class=test)
    return root, mark


# ---------------------------------------------------------------- sensor size


def _sensor_size(config: Config, root: Path, train: list[Item]) -> tuple[int, int] | None:
    """(width, height) of recordings that do not say it, or None if each may have its own."""
    if config.sensor_size:
        width, height = config.sensor_size.split("x")
        return int(width), int(height)
    if config.dataset == "folder":
        return _common_size(root, [name for name, _, _ in train])
    return None


def _common_size(root: Path, names: list[str]) -> tuple[int, int] | None:
    """The smallest (width, height) that holds all images, else all events; None if none says."""
    width, height = 0, 0
    for name in names:
        try:
            extent = _extent(root / name)
        except RecordingError:
            continue  # it is named when it is read
        width = max(width, extent[0])
        height = max(height, extent[1])
    return (width, height) if width and height else None


def _extent(path: Path) -> tuple[int, int]:
    """(width, height) of a recording's images, else of its events in an npz; else (0, 0)."""
    files = locate(path)
    images = numbered_images(files.aps_folder) or numbered_images(files.dvs_folder)
    if images:
        return image_size(next(iter(images.values())))
    # An aedat4 header says it when the file is read.
    if files.event_file is None or files.event_file.suffix == ".aedat4":
        return 0, 0
    columns = READERS[files.event_file.suffix](files.event_file).columns
    if not columns["x"].size or not columns["y"].size:
        return 0, 0
    return int(columns["x"].max()) + 1, int(columns["y"].max()) + 1


# ---------------------------------------------------------------- checks and ground truth


def _problems(names: Sequence[T], check: Callable[[T], Any]) -> list[tuple[T, RecordingError]]:
    """[(name, error)] of the names for which check raises RecordingError; shows progress."""

    def problem(name: T) -> tuple[T, RecordingError] | None:
        try:
            check(name)
        except RecordingError as error:
            return name, error
        return None

    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        results = pool.map(problem, names)
        shown = tqdm(results, total=len(names), desc="checking recordings", leave=False)
        return [result for result in shown if result is not None]


def check(root: str | Path, dataset: str) -> int:
    """Print every missing, unreadable or empty recording of a data set; 1 if any is bad, else 0."""
    root = Path(root)
    config = configure(dataset=dataset, data_root=str(root))
    try:
        names = class_names(dataset, root) if root.is_dir() else []
        lists = read_lists(root, names, config)
    except (FileNotFoundError, ValueError) as error:
        print(error)
        return 1
    size = _sensor_size(config, root, lists["train"])

    def read_all(name: str) -> None:
        recording = read_recording(root / name, size=size)
        for source in recording.frame_sources + recording.event_image_sources:
            read_image(source)

    kinds: Counter[str] = Counter()
    for split, items in lists.items():
        problems = _problems([name for name, _, _ in items], read_all)
        print(f"{split}: {len(items)} recordings, {len(problems)} with problems")
        for _, problem in problems:
            print(f"  {problem.kind}: {problem}")
            kinds[problem.kind] += 1
    counts = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
    print(f"problems: {', '.join(counts) or 'none'}")
    return 1 if kinds else 0


def ground_truth(root: str | Path, names: Sequence[str]) -> "pd.DataFrame":
    """What the generated sample knows of the recordings `names`: one row each, in this order.

    root: the sample's folder. The recording's name is the part of a sample behind the last "/".
    """
    import pandas as pd  # half a second that training does not need

    truth = pd.read_csv(Path(root) / GROUND_TRUTH, index_col="sample", keep_default_na=False)
    return truth.loc[[name.rsplit("/", 1)[-1] for name in names]]
