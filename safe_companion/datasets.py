"""Which recordings are there, of which classes, and which are for training, validation and test?

    splits = open_dataset(safe_core.configure(dataset="hardvs"))  # the generated sample
    splits.train[0]  # {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3, S, S], "label", "name"}

Real data that are not found are an error, never replaced by the sample.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safe_companion import ROOT, checks, sample, unseen
from safe_companion.checks import Problem
from safe_companion.clips import ClipDataset, Draw
from safe_companion.facts import cache_folder
from safe_companion.lists import Lists, class_folders, read_lines, read_lists, split_off
from safe_companion.recordings import RecordingError, locate
from safe_companion.wording import counted
from safe_core import Config

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "hardvs": "HARDVS",
    "pokerevent": "PokerEvent",
    "conjunctions": "Conjunctions",
    "folder": "A folder of recordings",
}
GROUND_TRUTH = "ground_truth.csv"  # only a generated sample has this file


def in_words(dataset: str, origin: str) -> str:
    """Which data numbers are about: "sample of HARDVS"."""
    return f"{origin} of {TITLES.get(dataset, dataset)}"


def class_names(dataset: str, root: str | Path | None) -> list[str]:
    """Class names by label: the root's classes.txt, else the published list or the sub-folders.

    root: None for the generated sample, which need not have been made. Blank lines are no names;
    hidden sub-folders, __MACOSX and those without recordings are no classes. Raises ValueError for
    a file that is not in UTF-8 or holds no name.
    """
    if root is None:
        _check_has_sample(dataset)
        return list(sample.CLASSES[dataset])
    file = Path(root) / "classes.txt"
    if not file.is_file():
        if dataset == "folder":
            return class_folders(Path(root))[0]
        file = ROOT / "book" / "classes" / f"{dataset}.txt"
    names = [line for line in read_lines(file) if line]
    if not names:
        raise ValueError(f"{file}: found no class name; expected one on each line. Fill the file.")
    return names


# ---------------------------------------------------------------- splits


@dataclass
class Splits:
    """Three ClipDatasets and where they come from.

    origin: "sample" or "real", as found: a generated sample opened by its path stays one.
    fingerprint: SHA-256 of class names and lists (of a folder without lists: of its seeded split).
    sensor_size: (width, height) given to npz recordings, or None where each says its own. skipped:
    [(sample, reason)] of recordings left out. warnings: what looks wrong and stopped nothing.
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
    warnings: list[str] = field(default_factory=list)

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
            "warnings": self.warnings,
        }


def open_dataset(config: Config, *, skipped: Sequence[tuple[str, str]] | None = None) -> Splits:
    """Open the data set of a configuration, and split it.

    Of the configuration's fields:

    data_root: None generates the sample once and opens it; a path opens real data or raises, never
    falls back. val_fraction: share of the training list held out, stratified by class.
    modality_dropout: of training clips, as in ClipDataset.
    train_fraction: stratified share kept of the rest (nested: larger shares hold smaller ones).
    test_fraction: for "folder" without list files. All by `seed`.
    augment: of training clips, as in ClipDataset; "none" with aligned frames also leaves out the
    jitter. frame_draw: of training clips, "aligned" (jittered) or "independent" (random, each
    modality on its own). test_frames: of validation and test clips, "even" or "random": drawn as in
    training, by (seed, epoch, index).
    sensor_size: "WIDTHxHEIGHT" of recordings that do not say it. By default the frames beside them
    tell, else 346x260; for "folder", see checks.sensor_size.

    Every listed recording is looked at before anything is returned (safe_companion.checks); what is
    known of unchanged files is taken from a cache. on_bad_recording: "stop" raises one
    RecordingError that names those that cannot be used; "skip" leaves them out (Splits.skipped). Of
    the generated sample it is only seen whether it is whole. skipped: what another process has
    found out, [(sample, reason)]; then nothing is looked at here.

    Raises FileNotFoundError or ValueError as read_lists does, or where a split that was asked for
    is empty.
    """
    if config.data_root is None:
        root, mark = _sample_root(config)
    else:
        root, mark = Path(config.data_root).expanduser(), ""
    # The generated sample stays one when it is opened by its path: never shown as real data.
    is_sample = config.data_root is None or (root / GROUND_TRUTH).is_file()
    names, lists = _names_and_lists(config, root)
    fingerprint = hashlib.sha256(json.dumps([mark, names, lists]).encode()).hexdigest()
    warnings: list[str] = []
    if skipped is None and config.data_root is None:
        _check_whole_sample(root, lists)
        skipped = []
    if skipped is None:
        verdict = checks.judge(config, root, names, lists)
        if config.on_bad_recording == "stop" and verdict.problems:
            raise _refusal(root, lists, verdict)
        size = verdict.size
        warnings = verdict.warnings
        skipped = [(name, problem.reason) for name, problem in verdict.problems.items()]
    else:
        size = checks.sensor_size(config, root, lists)
    kept, val, test = _split(config, root, names, lists, skipped)
    drawn: Draw = "random" if config.frame_draw == "independent" else "jittered"
    as_they_are = config.augment == "none" and config.frame_draw == "aligned"
    in_training: Draw = "even" if as_they_are else drawn
    in_testing: Draw = drawn if config.test_frames == "random" else "even"
    of_sample = fingerprint if config.data_root is None else ""
    options: dict[str, Any] = {"sensor_size": size, "sample": of_sample}
    looked_at: dict[str, Any] = {
        "draw": in_training,
        "augment": config.augment,
        "modality_dropout": config.modality_dropout,
    }
    return Splits(
        train=ClipDataset(kept, root, names, config, **looked_at, **options),
        val=ClipDataset(val, root, names, config, draw=in_testing, **options),
        test=ClipDataset(test, root, names, config, draw=in_testing, **options),
        class_names=names,
        origin="sample" if is_sample else "real",
        root=root,
        fingerprint=fingerprint,
        sensor_size=size,
        skipped=list(skipped),
        warnings=warnings,
    )


Labelled = list[tuple[str, int]]  # (sample, label)


def _split(
    config: Config,
    root: Path,
    names: Sequence[str],
    lists: Lists,
    skipped: Sequence[tuple[str, str]],
) -> tuple[Labelled, Labelled, Labelled]:
    """(training, validation, test), without what is skipped. Raises where one is empty.

    Classes that config.held_out draws are in the test list only (safe_companion.unseen).
    """
    bad = {name for name, _ in skipped}
    left = {}
    for split, items in lists.items():
        left[split] = [(name, label) for name, _, label in items if name not in bad]
        if items and not left[split]:
            raise RecordingError(
                f"{root}: found no recording of the {split} list that can be used, of "
                f"{len(items):,}; expected some. Left out: {counted(len(skipped), 'recording')}; "
                f"the first: {skipped[0][1]}",
                kind="missing",
            )
    absent = unseen.held_out(len(names), config.held_out)
    learned = [(name, label) for name, label in left["train"] if label not in absent]
    kept, val = _shares(learned, config)
    if not val and config.val_fraction > 0 and config.select_on == "val":
        raise ValueError(
            f"{root}: found no recording to hold out for val_fraction={config.val_fraction}, since "
            "each class has one for training; expected two of some class. Add recordings, or set "
            "val_fraction=0 (no epoch is selected, the last one counts)."
        )
    return kept, val, left["test"]


def _shares(listed: Labelled, config: Config) -> tuple[Labelled, Labelled]:
    """(training, validation) of a training list."""
    val, rest = split_off(listed, config.val_fraction, seed=config.seed, leave=1)
    kept, _ = split_off(rest, config.train_fraction, seed=config.seed, leave=0)
    return kept, val


def sample_training_size(config: Config) -> int:
    """Recordings that a training uses on a sample of HARDVS or PokerEvent, all classes in it.

    The sample need not be there.
    """
    labels = range(len(class_names(config.dataset, None)))
    listed = [("", label) for label in labels for _ in range(config.sample_train_per_class)]
    kept, _ = _shares(listed, config)
    return len(kept)


def _check_has_sample(dataset: str) -> None:
    if dataset == "folder":
        raise ValueError(
            "dataset='folder' has no generated sample; set data_root to your class folders"
        )


def _sample_root(config: Config) -> tuple[Path, str]:
    """Folder of the generated sample, made if it is not there, and its fingerprint."""
    _check_has_sample(config.dataset)
    train, test = config.sample_train_per_class, config.sample_test_per_class
    size = {"train_per_class": train, "test_per_class": test}
    mark = sample.fingerprint(config.dataset, seed=config.sample_seed, **size)
    root = cache_folder() / f"{config.dataset}-{mark[:16]}"
    sample.make_sample(
        config.dataset, root, seed=config.sample_seed, train_per_class=train, test_per_class=test
    )
    return root, mark


def _names_and_lists(config: Config, root: Path) -> tuple[list[str], Lists]:
    names = class_names(config.dataset, root) if root.is_dir() else []
    return names, read_lists(root, names, config)


# ---------------------------------------------------------------- what cannot be used


def _check_whole_sample(root: Path, lists: Lists) -> None:
    """Raise FileNotFoundError if something was deleted from the generated sample."""
    names = [name for items in lists.values() for name, _, _ in items]
    lost = []
    for name in names:
        files = locate(root / name)
        event_file = files.event_file
        has_images = files.aps_folder.is_dir() and files.dvs_folder.is_dir()
        alone = event_file is not None and event_file.suffix in (".aedat4", ".pack")
        if event_file is None or not (alone or has_images):
            lost.append(name)
    if lost:
        raise FileNotFoundError(
            f"{root}: found {len(names) - len(lost):,} of {len(names):,} recordings of the "
            f"generated sample whole, not {lost[0]}; expected all. Delete this folder: it is made "
            "again."
        )


def _refusal(root: Path, lists: Lists, verdict: checks.Verdict) -> RecordingError:
    """One error for all: how many, and the first five."""
    problems = verdict.problems
    total = len({name for items in lists.values() for name, _, _ in items})
    kinds = {problem.kind for problem in problems.values()}
    first = [f"\n  {problem.kind}: {problem.reason}" for problem in list(problems.values())[:5]]
    looked = "" if verdict.opened else " Nothing was opened yet."
    more = f"\n  and {len(problems) - 5:,} more" if len(problems) > 5 else ""
    return RecordingError(
        f"{root}: found {len(problems):,} of {counted(total, 'recording')} that cannot be used "
        f"({_counts(problems)}); expected none. Correct them, or set on_bad_recording='skip' to "
        f"leave them out; `safe check` lists all.{looked}{''.join(first)}{more}",
        kind=kinds.pop() if len(kinds) == 1 else "invalid",
    )


def _counts(problems: dict[str, Problem]) -> str:
    """ "1 empty, 2 missing"."""
    kinds = Counter(problem.kind for problem in problems.values())
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))


def check(config: Config, *, decode: bool = False) -> int:
    """Print what `open_dataset` would find, all of it; 1 if anything cannot be used, else 0.

    Every file is opened, whatever the cache says of it. decode: every image is decoded as well.
    """
    root = _sample_root(config)[0] if config.data_root is None else Path(config.data_root)
    root = root.expanduser()
    try:
        names, lists = _names_and_lists(config, root)
        verdict = checks.judge(config, root, names, lists, anew=True, decode=decode)
    except (FileNotFoundError, ValueError) as error:
        print(error)
        return 1
    for split, items in lists.items():
        found = dict.fromkeys(name for name, _, _ in items)
        bad = [verdict.problems[name] for name in found if name in verdict.problems]
        print(f"{split}: {counted(len(items), 'recording')}, {len(bad)} with problems")
        for problem in bad:
            print(f"  {problem.kind}: {problem.reason}")
    for warning in verdict.warnings:
        print(f"warning: {warning}")
    skipped = [(name, problem.reason) for name, problem in verdict.problems.items()]
    try:
        _split(config, root, names, lists, skipped)
        empty = False
    except (RecordingError, ValueError) as error:
        print(error)
        empty = True
    print(f"problems: {_counts(verdict.problems) or 'none'}")
    return 1 if verdict.problems or empty else 0


def ground_truth(root: str | Path, names: Sequence[str]) -> "pd.DataFrame":
    """What the generated sample knows of the recordings `names`: one row each, in this order.

    root: the sample's folder. The recording's name is the part of a sample behind the last "/".
    """
    import pandas as pd  # half a second that training does not need

    truth = pd.read_csv(Path(root) / GROUND_TRUTH, index_col="sample", keep_default_na=False)
    return truth.loc[[name.rsplit("/", 1)[-1] for name in names]]
