"""What does the sample cost beside version 0.1.0? `python benchmarks/versions.py [COMMIT]`.

COMMIT: another version of that form (safe_core.py, safe_sample.py); it is unpacked into a temporary
folder and run with the packages at hand. Both versions in turn, PASSES times, one thread each:

- writing: processor time of a recording, by one process, after a first look that compiles;
- training: processor time of `safe train`, whole, on a sample of 48 training and 30 test recordings
  a class, with as many optimiser steps as version 0.1.0 took, a tenth of the recordings held out
  and no loader processes; a first run of a step, which is not counted, makes sample and packs.

Ratios are of the medians. About half an hour.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import common

from safe_companion.sample import CLASSES

ROOT = Path(__file__).resolve().parents[1]
OLD = "02858ca2a5c8e16a019ced179df45763ffcf3461"  # 0.1.0
DATASETS = ("hardvs", "pokerevent")
PASSES = 2
EPOCHS, BATCH, PER_CLASS, HELD_OUT = 4, 32, 48, 0.1  # of a training
WRITE = """
import sys, tempfile, time
from {module} import make_sample
with tempfile.TemporaryDirectory() as folder:
    for name, count in ("look", 1), ("timed", 5):
        start = time.process_time()
        make_sample(sys.argv[1], folder + "/" + name, train_per_class=count, test_per_class=count,
                    workers=1, progress=False)
        spent = time.process_time() - start
print(spent / 10)
"""


def steps_of(dataset: str) -> int:
    """Optimiser steps of version 0.1.0's EPOCHS epochs; what fills no batch is left out."""
    trained = PER_CLASS - round(HELD_OUT * PER_CLASS)
    return EPOCHS * (trained * len(CLASSES[dataset]) // BATCH)


class Version:
    """One version's folder and its two commands."""

    def __init__(self, folder: Path, cache: Path):
        self.folder = folder
        self.is_old = (folder / "safe_sample.py").exists()
        quiet = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONPATH": str(folder)}
        self.environment = os.environ | quiet | {"SAFE_CACHE": str(cache)}

    def _run(self, *arguments: str) -> tuple[str, float]:
        """Output and processor time in seconds of one call of Python."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call = subprocess.run(
            [sys.executable, "-W", "ignore", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return call.stdout, spent

    def writing(self, dataset: str) -> float:
        """Milliseconds a recording."""
        module = "safe_sample" if self.is_old else "safe_companion.sample"
        output, _ = self._run("-c", WRITE.format(module=module), dataset)
        return 1000 * float(output.split()[-1]) / len(CLASSES[dataset])

    def training(self, dataset: str, *, short: bool = False) -> float:
        """Seconds of a training with its test; short: of a step (of an epoch in version 0.1.0)."""
        if self.is_old:
            command = ["safe_core.py", "--epochs", str(1 if short else EPOCHS)]
        else:
            steps = 1 if short else steps_of(dataset)
            command = ["-m", "safe_companion", "train", "--steps", str(steps)]
        with tempfile.TemporaryDirectory() as out:
            options = {
                "dataset": dataset,
                "workers": 0,
                "batch-size": BATCH,
                "val-fraction": HELD_OUT,
                "sample-train-per-class": PER_CLASS,
                "sample-test-per-class": 30,
                "out-dir": out,
            }
            _, spent = self._run(*command, *(f"--{k}={v}" for k, v in options.items()))
        return spent


def line(title: str, old: list[float], new: list[float], unit: str) -> str:
    """A line of the table: what each pass took, and the ratio of the medians."""
    ratio = statistics.median(new) / statistics.median(old)
    cells = [", ".join(f"{value:.1f}" for value in values) for values in (old, new)]
    return f"| {title} [{unit}] | {cells[0]} | {cells[1]} | {ratio:.2f} |"


def in_turn(
    measure: Callable[[Version, str], float], old: Version, new: Version, dataset: str
) -> tuple[list[float], list[float]]:
    """What it gives of both versions, one after the other, PASSES times."""
    found = [(measure(old, dataset), measure(new, dataset)) for _ in range(PASSES)]
    return [pair[0] for pair in found], [pair[1] for pair in found]


def main() -> int:
    commit = sys.argv[1] if len(sys.argv) > 1 else OLD
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder, "version")
        unpacked.mkdir()
        command = ["git", "-C", str(ROOT), "archive", commit]
        archive = subprocess.run(command, capture_output=True)
        if archive.returncode:
            print(f"found no commit {commit} here: a clone with its whole history has it")
            return common.NOTHING
        subprocess.run(["tar", "-x", "-C", str(unpacked)], input=archive.stdout, check=True)
        old, new = (Version(place, Path(folder, "cache")) for place in (unpacked, ROOT))
        lines, written = [], {}
        for dataset in DATASETS:
            written[dataset] = in_turn(Version.writing, old, new, dataset)
            lines.append(line(f"writing a recording, {dataset}", *written[dataset], "ms"))
        for dataset in DATASETS:
            for version in (old, new):
                version.training(dataset, short=True)
            times = in_turn(Version.training, old, new, dataset)
            lines.append(line(f"training, {steps_of(dataset)} steps, {dataset}", *times, "s"))
    print(f"{common.facts()}; {commit[:7]} and now, processor time\n")
    print("| what | then | now | now / then |\n|---|---:|---:|---:|")
    print("\n".join(lines))
    aim = statistics.median(written["hardvs"][0])
    ratio = statistics.median(written["pokerevent"][1]) / aim
    print(f"\nA recording of PokerEvent's sample now takes {ratio:.2f} times one of HARDVS's then.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
