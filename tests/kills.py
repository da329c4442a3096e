"""What does a kill leave behind? Kills commands at random moments, gives them again, compares.

    python tests/kills.py --count 20 --seed 0    a quarter of an hour on two cores
    python tests/kills.py --only sweep --count 5

A command is killed after a random time, or just as it has written something, and given again until
it ends. Its folder must hold what an uninterrupted one leaves, bit for bit but for times, dates and
memory. What runs is a copy of this repository with few recordings; it stays if a fault is found.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import safetensors
import torch

ROOT = Path(__file__).resolve().parents[1]
FEW = {  # in the copy's safe_core.py: a run takes seconds
    r"(sample_train_per_class: Size) = \d+": r"\1 = 2",
    r"(sample_test_per_class: Size) = \d+": r"\1 = 1",
    r"(val_fraction: Share) = [\d.]+": r"\1 = 0.5",
    r"epochs=\d+\)": "epochs=3)",
    r"dict\(batch_size=\d+": "dict(batch_size=8",
}
MAKE_SAMPLE = """
import sys; from safe_companion import sample
if __name__ == "__main__":
    sample.make_sample(*sys.argv[1:], train_per_class=2, test_per_class=1, workers=2)
"""
LEFT_BY_SWEEPS = {"results", "runs", ".snakemake", "locks"}
CHANGING = ("seconds", "date", "peak_memory_gib")  # in records and checkpoints
KILLS = {"kill all": signal.SIGKILL, "kill parent": signal.SIGKILL}
KILLS |= {"terminate parent": signal.SIGTERM, "interrupt all": signal.SIGINT}  # as Ctrl-C does
RECORDS = " ".join(f"results/sample/pokerevent/base/seed{n}/record.json" for n in (0, 1))


class Case(NamedTuple):
    """Words behind `python -m`. {out}: a folder of its own; {data}: samples."""

    words: str
    again: str = ""  # other words after the kill
    cache: str = "{data}"  # SAFE_CACHE
    copies: bool = False  # runs in a copy of the repository in {out}


TRAIN = "safe_companion train --dataset hardvs --frames 2 --resume --out-dir {out}/run --workers "
TWO = "torch.distributed.run --standalone --nproc-per-node 2 -m "
CASES = {
    "train": Case(TRAIN + "2"),
    "train, two processes": Case(TWO + TRAIN + "0"),
    "train, two, then one": Case(TWO + TRAIN + "0", TRAIN + "0"),
    "sweep": Case(f"snakemake {RECORDS} --cores 2 --quiet", copies=True),
    "sample": Case("make_sample hardvs {out}/sample"),
    "convert": Case("safe_companion convert {data}/pokerevent {out}/npz"),
    "check": Case("safe_companion check {data}/hardvs --dataset hardvs", cache="{out}"),
}


def new(work: Path, case: Case, name: str) -> Path:
    """A folder {out} for a case; what is said goes to {out}.log."""
    out = work / name
    out.mkdir()
    if case.copies:
        shutil.copytree(work / "repository", out / "repository", symlinks=True)
    return out


def start(work: Path, case: Case, out: Path) -> subprocess.Popen:
    cwd = (out if case.copies else work) / "repository"
    text = f"{case.cache} {sys.executable} -m {case.words}".replace("{out}", str(out))
    cache, *words = text.replace("{data}", str(work / "data")).split()
    environment = {"SAFE_CACHE": cache, "PYTHONPATH": str(cwd), "TQDM_DISABLE": "1"}
    environment = os.environ | environment | {"OMP_NUM_THREADS": "1"}
    with open(f"{out}.log", "a") as log:
        pipes: Any = {"stdout": log, "stderr": log, "start_new_session": True}
        return subprocess.Popen(words, cwd=cwd, env=environment, **pipes)


def end(process: subprocess.Popen, how: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # has just ended by itself
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(KILLS[how])
        for one in below if how.endswith("all") else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(KILLS[how])
    process.wait(timeout=600)


def names(folder: Path) -> set[str]:
    """All that lies below a folder, also if hidden; of a repository what a sweep may leave."""
    found = set()
    for place, folders, files in os.walk(folder):
        if os.path.basename(place) in ("repository", ".snakemake"):
            folders[:], files = list(LEFT_BY_SWEEPS.intersection(folders)), []
        found |= {os.path.relpath(f"{place}/{name}", folder) for name in folders + files}
    return found


def steady(text: str | bytes) -> Any:
    """JSON without what is another at each run."""
    return json.loads(text, object_hook=lambda d: {k: d[k] for k in d if k not in CHANGING})


def read(file: Path) -> Any:
    """What must be the same in a file."""
    if file.is_dir() or file.name in (".lock-owner", "starts.json", "log.csv"):  # of each start
        return None
    if file.suffix == ".safetensors":
        with safetensors.safe_open(file, "np") as opened:
            about = steady(opened.metadata()["about"])
            return about, {key: opened.get_tensor(key).tobytes() for key in opened.keys()}
    if file.suffix == ".pt":
        state = torch.load(file, "cpu", weights_only=True)
        about, buffer = steady(json.dumps(state.pop("about"))), io.BytesIO()
        torch.save(state, buffer)
        return about, buffer.getvalue()
    content = file.read_bytes()
    return steady(content) if file.suffix == ".json" and "checks" not in file.parts else content


def faults(out: Path, reference: Path, *, same: bool = True) -> list[str]:
    """What is another in a folder than in the reference; same: files must be equal, too."""
    found = [f"not in both: {name}" for name in sorted(names(out) ^ names(reference))]
    both = sorted(names(out) & names(reference)) if same else []
    found += [f"another {name}" for name in both if read(out / name) != read(reference / name)]
    for file in [] if found else out.rglob("best.json"):
        best, record = (json.loads(f.read_text()) for f in (file, file.with_name("record.json")))
        if best["history"] != record["history"][: record["best_epoch"]]:
            found.append(f"{file} and its record disagree")
    return found


def watch(process: subprocess.Popen, out: Path, changes: float, seconds: float) -> int:
    """Waits for the end of a process, so many changes of its folder, or seconds; its changes."""
    seen, count, began = names(out), 0, time.monotonic()
    while process.poll() is None and count < changes and time.monotonic() - began < seconds:
        if (now := names(out)) != seen:
            seen, count = now, count + 1
        time.sleep(0.001)
    return count


def uninterrupted(work: Path, name: str) -> tuple[Path, int, float]:
    """(its folder, how often it changed, seconds) of a command that is left alone."""
    out, began = new(work, CASES[name], name.replace(" ", "_")), time.monotonic()
    changes = watch(process := start(work, CASES[name], out), out, math.inf, math.inf)
    assert process.returncode == 0, Path(f"{out}.log").read_text()
    return out, changes, time.monotonic() - began


def trial(work: Path, name: str, number: int, draw: random.Random, usual: tuple) -> list[str]:
    """Kills one command, gives it again until it ends; [case, moment, what happened, *faults]."""
    case, (reference, changes, seconds) = CASES[name], usual
    out, how = new(work, case, f"trial{number}"), draw.choice(list(KILLS))
    at = draw.choice([(draw.randint(1, changes), math.inf), (math.inf, draw.random() * seconds)])
    process, began = start(work, case, out), time.monotonic()
    count = watch(process, out, *at)
    how = how if process.poll() is None else "ended"  # it was quicker than the one left alone
    when = f"{how} after {time.monotonic() - began:.1f} s, {count} changes"
    if how in KILLS:
        end(process, how)
    refused, found, began = 0, list[str](), time.monotonic()
    again = case._replace(words=case.again or case.words)
    while status := start(work, again, out).wait():
        refused += 1
        orphans = how != "kill all" and "is at work here" in Path(f"{out}.log").read_text()
        if not orphans or time.monotonic() - began > 120:
            found = [f"status {status} when given again"]
            break
    happened = f"again {time.monotonic() - began:.1f} s, refused {refused} times"
    return [name, when, happened, *found, *faults(out, reference, same=not case.again)]


def two_at_once(work: Path, reference: Path) -> list[str]:
    """A second training in the same folder is refused, and the first does not notice."""
    out = new(work, CASES["train"], "two_at_once")
    first = start(work, CASES["train"], out)
    while not (out / "run" / "last.json").exists():
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # for longer than the second's patience
    status = start(work, CASES["train"], out).wait()
    first.send_signal(signal.SIGCONT)
    refused = status == 2 and "is at work here" in Path(f"{out}.log").read_text()
    found = [] if refused and first.wait() == 0 else ["not refused, or the first is harmed"]
    return ["train", "two at once", f"second: {status}", *found, *faults(out, reference)]


def full_disk(work: Path, reference: Path) -> list[str]:
    """Where no file can be larger than 4 MB, one line says so; with more the run goes on."""
    out = new(work, CASES["train"], "full_disk")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 2**20, before[1]))
    status = start(work, CASES["train"], out).wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    answer = Path(f"{out}.log").read_text().splitlines()[-1]
    goes_on = start(work, CASES["train"], out).wait() == 0
    found = [] if goes_on and answer.startswith("safe: ") else [f"{status}, goes on: {goes_on}"]
    return ["train", "no file over 4 MB", answer, *found, *faults(out, reference)]


def prepare(work: Path) -> None:
    """A copy of the repository with few recordings, and two samples."""
    repository, data = work / "repository", work / "data"
    repository.mkdir()
    copied = ["safe_companion", "book", "profiles", "weights", "Snakefile", "safe_core.py"]
    subprocess.run(["cp", "-rp", *copied, repository], cwd=ROOT, check=True)
    core = (repository / "safe_core.py").read_text()
    for pattern, few in FEW.items():
        core, count = re.subn(pattern, few, core)
        assert count == 1, pattern
    (repository / "safe_core.py").write_text(core)
    (repository / "make_sample.py").write_text(MAKE_SAMPLE)
    for name in ("hardvs", "pokerevent"):
        assert start(work, Case(f"make_sample {name} {{data}}/{name}"), data).wait() == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CASES, help="kills of one case")
    options = parser.parse_args()
    work, draw = Path(tempfile.mkdtemp(prefix="kills-")), random.Random(options.seed)
    prepare(work)
    cases = [options.only] if options.only else list(CASES)
    usual = {name: uninterrupted(work, name) for name in cases}
    told = []
    for number, name in zip(range(options.count), itertools.cycle(cases), strict=False):
        told.append(trial(work, name, number, draw, usual[name]))
        print("; ".join(told[-1]), flush=True)
    if "train" in cases:
        told += [also(work, usual["train"][0]) for also in (two_at_once, full_disk)]
        print(*("; ".join(words) for words in told[-2:]), sep="\n")
    if any(len(words) > 3 for words in told):
        sys.exit(f"faults: see {work}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
