"""What does a kill leave behind? Kills commands at random moments, gives them again, compares.

    python tests/kills.py                       20 kills, seed 0: about ten minutes on two cores
    python tests/kills.py --only sweep --count 5 --seed 1

A command is killed after a random time, or just as it has written something. Then it is given again
until it ends. What lies in its folder must be what an uninterrupted one has left, bit for bit but
for times, dates and memory; hidden files and locks count. All that runs is a copy of this
repository whose samples are tiny. It stays there, with what commands said, if a fault is found.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import safetensors

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("safe_companion", "book", "profiles", "Snakefile", "safe_core.py")
FEW = {  # in the copy's safe_core.py: a run takes seconds
    r"(sample_train_per_class: Size) = \d+": r"\1 = 2",
    r"(sample_test_per_class: Size) = \d+": r"\1 = 1",
    r"(val_fraction: Share) = [\d.]+": r"\1 = 0.5",
    r"epochs=\d+\)": "epochs=3)",
    r"dict\(batch_size=\d+": "dict(batch_size=8",
}
CHANGING = ("seconds", "date", "peak_memory_gib")  # in records and checkpoints
PYTHON = [sys.executable]
SAFE = [*PYTHON, "-m", "safe_companion"]
TRAIN = ["train", "--dataset", "hardvs", "--frames", "2", "--resume", "--out-dir", "{out}/run"]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
MAKE_SAMPLE = """
import sys
from safe_companion import sample
if __name__ == "__main__":
    few = {"train_per_class": 2, "test_per_class": 1, "workers": 2}
    sample.make_sample(sys.argv[1], sys.argv[2], **few)
"""
RECORDS = [f"results/sample/pokerevent/base/seed{seed}/record.json" for seed in (0, 1)]
KILLS = ("kill all", "kill parent", "terminate", "interrupt")


class Case(NamedTuple):
    """What is killed. {out}: a folder of its own; {data}: samples; again: None: the same words."""

    words: list[str]
    again: list[str] | None = None
    cache: str = "{data}"  # SAFE_CACHE
    at: str = "."  # where it runs and writes, in {out}: "repository" gets a copy of its own


CASES = {
    "train": Case([*SAFE, *TRAIN, "--workers", "2"]),
    "train, two processes": Case([*PYTHON, *TWO, *SAFE[1:], *TRAIN, "--workers", "0"]),
    "train, two, then one": Case(
        [*PYTHON, *TWO, *SAFE[1:], *TRAIN, "--workers", "0"], [*SAFE, *TRAIN, "--workers", "0"]
    ),
    "sweep": Case(
        [*PYTHON, "-m", "snakemake", *RECORDS, "--cores", "2", "--quiet"], at="repository"
    ),
    "sample": Case([*PYTHON, "{data}/make_sample.py", "hardvs", "{out}/sample"]),
    "convert": Case([*SAFE, "convert", "{data}/pokerevent", "{out}/npz"]),
    "check": Case([*SAFE, "check", "{data}/hardvs", "--dataset", "hardvs"], cache="{out}"),
}


# ------------------------------------------------------------------------------- commands
class Run:
    """A command of a case that runs in a folder; what it says is in {folder}.log."""

    def __init__(self, case: Case, data: Path, out: Path, words: list[str] | None = None):
        def fill(text: str) -> str:
            return text.replace("{data}", str(data)).replace("{out}", str(out))

        cwd = out / case.at if case.at != "." else data.parent / "repository"
        environment = os.environ | {"SAFE_CACHE": fill(case.cache), "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(cwd), "TQDM_DISABLE": "1"}
        self.log = out.with_suffix(".log")
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [fill(word) for word in words or case.words],
                cwd=cwd,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> int:
        return self.process.wait(timeout=600)

    def end(self, how: str) -> None:
        family = [self.process.pid, *descendants(self.process.pid)]
        if how == "kill all":
            chosen, kind = family, signal.SIGKILL
        elif how == "interrupt":  # as Ctrl-C
            chosen, kind = family, signal.SIGINT
        else:
            kind = signal.SIGKILL if how == "kill parent" else signal.SIGTERM
            chosen = family[:1]
        for number in chosen:
            send(number, kind)
        self.wait()


def send(number: int, kind: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # has just ended by itself
        os.kill(number, kind)


def descendants(number: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        text = Path(f"/proc/{number}/task/{number}/children").read_text()
    except OSError:
        return []
    children = [int(word) for word in text.split()]
    return children + [below for child in children for below in descendants(child)]


# ------------------------------------------------------------------------------- what is left
def names(folder: Path) -> set[str]:
    """Every file below a folder, hidden ones too; of Snakemake's own only its locks."""
    found = set()
    for place, folders, files in os.walk(folder):
        here = os.path.relpath(place, folder)
        if here.endswith(".snakemake"):
            folders[:] = ["locks"]
            files = []
        folders[:] = [f for f in folders if f not in ("__pycache__", "weights", *COPIED)]
        found |= {os.path.normpath(f"{here}/{name}") for name in files if name not in COPIED}
        found |= {os.path.normpath(f"{here}/{name}/") for name in folders if name[0] == "."}
    return found - {"repository/.snakemake"}


def steady(content: object) -> object:
    """JSON without what is another at each run."""
    if isinstance(content, dict):
        return {k: steady(v) for k, v in content.items() if k not in CHANGING}
    return [steady(item) for item in content] if isinstance(content, list) else content


def read(file: Path) -> object:
    """What must be the same in a file."""
    if file.suffix == ".safetensors":
        with safetensors.safe_open(file, "np") as opened:
            about = steady(json.loads(opened.metadata()["about"]))
            return about, {key: opened.get_tensor(key).tobytes() for key in opened.keys()}
    if file.suffix == ".json" and "checks" not in file.parts:
        return steady(json.loads(file.read_text()))
    return None if file.name == ".lock-owner" else file.read_bytes()


def faults(out: Path, reference: Path, *, same: bool) -> list[str]:
    """What is another in a folder than in the reference; same: files must be equal, too."""
    found = [f"lacks {name}" for name in sorted(names(reference) - names(out))]
    found += [f"leaves {name}" for name in sorted(names(out) - names(reference))]
    for name in sorted(names(reference) & names(out)):
        if same and (out / name).is_file() and read(out / name) != read(reference / name):
            found.append(f"other content of {name}")
    for file in out.rglob("record.json"):
        beside = file.with_name("best.json")
        if beside.exists():
            record, best = json.loads(file.read_text()), json.loads(beside.read_text())
            if best["history"] != record["history"][: record["best_epoch"]]:
                found.append(f"{beside} and {file.name} disagree")
    return found


# ------------------------------------------------------------------------------- trials
def prepared(case: Case, work: Path, out: Path) -> Path:
    """A new folder for a trial."""
    out.mkdir()
    if case.at != ".":
        shutil.copytree(work / "repository", out / case.at, symlinks=True)
    return out


def trial(case: Case, work: Path, number: int, draw: random.Random, usual: tuple) -> list[str]:
    """Kills one command, gives it again until it ends; [moment, what happened, *faults]."""
    reference, seconds, changes = usual
    out = prepared(case, work, work / f"trial{number}")
    start = names(out)
    how = draw.choice(KILLS)
    moment = draw.uniform(0.1, 1) * seconds
    change = draw.randint(1, changes) if draw.random() < 0.6 else None
    run = Run(case, work / "data", out)
    began = time.monotonic()
    seen, changed = start, 0
    while run.process.poll() is None:
        if change is None and time.monotonic() - began > moment:
            break
        if change is not None and (now := names(out)) != seen:
            seen, changed = now, changed + 1
            if changed >= change:
                time.sleep(draw.choice((0, 0.001, 0.01, 0.1)))
                break
        time.sleep(0.001)
    when = f"{time.monotonic() - began:.1f} s" + (f", change {changed}" if change else "")
    run.end(how)
    refused, began = 0, time.monotonic()
    found = []
    while status := (run := Run(case, work / "data", out, case.again)).wait():
        refused += 1
        orphans = how != "kill all" and "is at work here" in run.log.read_text()
        if not orphans or time.monotonic() - began > 120:
            found.append(f"status {status} when given again: see {run.log}")
            break
    ended = time.monotonic() - began
    found += faults(out, reference, same=case.again is None)
    return [f"{how} after {when}", f"again {ended:.1f} s, refused {refused} times", *found]


def two_at_once(work: Path, reference: Path) -> list[str]:
    """A second training in the same folder is refused, and the first does not notice."""
    case, out = CASES["train"], prepared(CASES["train"], work, work / "two")
    first = Run(case, work / "data", out)
    while not (out / "run" / "last.json").exists():
        time.sleep(0.01)
    send(first.process.pid, signal.SIGSTOP)  # longer than the second's patience
    status = Run(case, work / "data", out).wait()
    send(first.process.pid, signal.SIGCONT)
    found = [] if status == 2 else [f"the second ended with status {status}"]
    found += [] if first.wait() == 0 else ["the first was harmed"]
    found += [] if "is at work here" in first.log.read_text() else ["does not say who is at work"]
    return ["beside another", "second refused", *found, *faults(out, reference, same=True)]


def full_disk(work: Path, reference: Path) -> list[str]:
    """Where no more than 4 MB can be written, one line says so; with more the run goes on."""
    case, out = CASES["train"], prepared(CASES["train"], work, work / "full")
    limited = ["bash", "-c", 'ulimit -f 4000; exec "$@"', "bash", *case.words]
    status = Run(case, work / "data", out, limited).wait()
    said = out.with_suffix(".log").read_text().splitlines()[-1]
    found = [] if status == 2 and said.startswith("safe: ") else [f"status {status}: {said}"]
    found += [] if Run(case, work / "data", out).wait() == 0 else ["does not go on"]
    return ["files of 4 MB at most", said, *found, *faults(out, reference, same=True)]


def uninterrupted(name: str, case: Case, work: Path) -> tuple[Path, float, int]:
    """(its folder, seconds, how often files appeared or went) of a command that is left alone."""
    out = prepared(case, work, work / f"reference {name}")
    seen, changes, began = names(out), 0, time.monotonic()
    run = Run(case, work / "data", out)
    while run.process.poll() is None:
        if (now := names(out)) != seen:
            seen, changes = now, changes + 1
        time.sleep(0.001)
    assert run.wait() == 0, run.log.read_text()
    return out, time.monotonic() - began, changes


def prepare(work: Path) -> None:
    """The copy of the repository, and samples."""
    repository, data = work / "repository", work / "data"
    for path in (repository, data):
        path.mkdir()
    for name in COPIED:
        copy: Callable = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, repository / name)
    (repository / "weights").symlink_to(ROOT / "weights")
    core = (repository / "safe_core.py").read_text()
    for pattern, few in FEW.items():
        core, count = re.subn(pattern, few, core)
        assert count == 1, pattern
    (repository / "safe_core.py").write_text(core)
    (data / "make_sample.py").write_text(MAKE_SAMPLE)
    for dataset in ("hardvs", "pokerevent"):
        make = Case([*PYTHON, "{data}/make_sample.py", dataset, f"{{data}}/{dataset}"])
        assert Run(make, data, data).wait() == 0, data.with_suffix(".log").read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CASES, help="kills of one case")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kills-"))
    print(f"in {work}", flush=True)
    prepare(work)
    cases = [options.only] if options.only else list(CASES)
    usual = {name: uninterrupted(name, CASES[name], work) for name in cases}
    draw = random.Random(options.seed)
    faulty = 0

    def tell(name: str, moment: str, happened: str, *found: str) -> int:
        print(f"{name}: {moment}; {happened}; {'; '.join(found) or 'the same'}", flush=True)
        return bool(found)

    for number in range(options.count):
        name = cases[number % len(cases)]
        faulty += tell(name, *trial(CASES[name], work, number, draw, usual[name]))
    if "train" in cases:
        faulty += tell("train", *two_at_once(work, usual["train"][0]))
        faulty += tell("train", *full_disk(work, usual["train"][0]))
    if not faulty:
        shutil.rmtree(work)
    sys.exit(f"{faulty} faults" if faulty else 0)


if __name__ == "__main__":
    main()
