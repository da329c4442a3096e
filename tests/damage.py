"""What does damage do? Damages inputs of every kind at random, and gives them to what people call.

    python tests/damage.py                               10,000 inputs over all kinds
    python tests/damage.py --kind npz --count 500        of one kind
    python tests/damage.py --kind npz --index 17         one again

Each must end in an answer, or in one error of ours that names the file or the field. A crash of the
interpreter, any other exception, memory without bound, 20 s, a flood of warnings, or an answer that
is none is forbidden: it is listed, in capitals, and its input kept. Seed, kind and index make it
again. The kinds are in tests/damaged.py, the ways of damage in tests/damaging.py.
"""

import argparse
import contextlib
import json
import math
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "SAFE_MAX_GIB": "1"}  # so 2 GiB are beyond any bound

import pandas as pd
from damaged import KINDS, Trial
from damaging import Damage, make_bases

from safe_companion.readers import RecordingError

ALLOWED = (RecordingError, ValueError, FileNotFoundError, OSError)  # these types, not others
SECONDS, GROWTH, FLOOD = 20, 2 << 20, 10_000  # of one input; KiB of memory; bytes on stderr

# ------------------------------------------------------------------------------- trying them
KNOWN: dict[tuple[str, str], str] = {}  # answers to undamaged inputs


def made(kind: str, index: int, seed: int, folder: Path, bases: Any, intact: bool) -> Trial:
    """An input, damaged or not; the same options either way."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["SAFE_CACHE"] = str(folder / "cache")
    rng = Damage(f"{seed} {kind} {index}")
    rng.intact = intact
    return KINDS[kind][1](rng, folder, bases)


def answer_of(kind: str, index: int, seed: int, folder: Path, bases: Any) -> tuple[str, str]:
    """(outcome, words) of one input."""
    trial = made(kind, index, seed, folder, bases, False)
    if trial.key is not None and (kind, trial.key) not in KNOWN:
        try:
            KNOWN[kind, trial.key] = made(kind, index, seed, folder, bases, True).call()
        except (RecordingError, ValueError) as error:  # options that do not fit
            KNOWN[kind, trial.key] = str(error)
        trial = made(kind, index, seed, folder, bases, False)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            answer = trial.call()
    except Exception as error:
        trace = traceback.format_exc()
        if "MemoryError" in trace or "Unable to allocate" in trace:
            return "MEMORY", trace
        if type(error) not in ALLOWED:
            return type(error).__name__.upper(), trace
        if not any(name in str(error) for name in trial.names):
            return "UNNAMED", trace
        return type(error).__name__, str(error)
    if len(warned) > 20:
        return "FLOOD", f"{len(warned)} warnings, such as {warned[0].message}"
    if trial.key is None:
        return "answer", ""
    same = answer == KNOWN[kind, trial.key]
    if trial.key.endswith(" same") and not same:
        return "OTHER FACTS", ""
    return "same answer" if same else "other answer", ""


def worker(cases: list[tuple[str, int]], seed: int, work: Path, bases: Any, to: int) -> None:
    """Tries cases one by one; says which before each, and the outcome after it."""
    errors = os.open(work / "stderr", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(errors, 2)
    for kind, index in cases:
        os.write(to, json.dumps([kind, index]).encode() + b"\n")
        before, start = resident(), time.perf_counter()
        os.ftruncate(errors, 0)
        outcome, words = answer_of(kind, index, seed, work / "case", bases)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > GROWTH:
            outcome, words = "MEMORY", f"{grown >> 10} MiB more; {words}"
        if os.fstat(errors).st_size > FLOOD:
            outcome, words = "FLOOD", os.pread(errors, 300, 0).decode(errors="replace")
        seconds = time.perf_counter() - start
        if outcome.isupper():
            keep(kind, index, work)
        os.write(to, json.dumps([kind, index, outcome, words[-3000:], seconds]).encode() + b"\n")
        if outcome.isupper():
            return  # what it has left behind, such as a peak of memory, is no fault of the next


def keep(kind: str, index: int, work: Path) -> None:
    place = work / "kept" / f"{kind}-{index}"
    shutil.copytree(work / "case", place, symlinks=True, dirs_exist_ok=True)


def resident() -> int:
    """KiB of memory of this process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def try_all(
    cases: list[tuple[str, int]], seed: int, work: Path, bases: Any
) -> Iterator[tuple[str, int, str, str, float]]:
    """(kind, index, outcome, words, seconds) of each case, in processes that may end at any."""
    done = 0
    while done < len(cases):
        source, to = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()  # whatever it starts ends with it
            os.close(source)
            try:
                worker(cases[done:], seed, work, bases, to)
            except BaseException:  # a fault of this tool
                traceback.print_exc()
            os._exit(0)
        os.close(to)
        ended, started = "", False
        with os.fdopen(source, "rb", buffering=0) as file:
            lines = LineReader(file)
            while done < len(cases):
                said = lines.next(SECONDS)
                if not said:
                    ended = "SLOW" if said is None else "CRASH" if started else ""
                    break
                started = len(said) == 2
                if not started:
                    done += 1
                    yield tuple(said)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if ended:
            words = (work / "stderr").read_text(errors="replace")[-2000:]
            keep(*cases[done], work)
            yield *cases[done], ended, f"status {status}\n{words}", float(SECONDS)
            done += 1


class LineReader:
    """JSON lines of a pipe: None after too long, an empty list at its end."""

    def __init__(self, file: Any):
        self.file, self.rest = file, b""

    def next(self, seconds: float) -> list | None:
        while b"\n" not in self.rest:
            if not select.select([self.file], [], [], seconds)[0]:
                return None
            more = self.file.read(65536)
            if not more:
                return []
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)


# ------------------------------------------------------------------------------- command line
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, help="default: all")
    parser.add_argument("--index", type=int, help="only this input of the kind")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    kinds = [options.kind] if options.kind else list(KINDS)
    total = sum(KINDS[kind][0] for kind in kinds)
    counts = {kind: math.ceil(options.count * KINDS[kind][0] / total) for kind in kinds}
    cases = [(kind, index) for kind in kinds for index in range(counts[kind])]
    if options.index is not None:
        cases = [(options.kind, options.index)]
    table: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    forbidden = slowest = 0
    work = Path(tempfile.mkdtemp(prefix="damaged-"))
    (work / "bases").mkdir()
    os.environ["SAFE_CACHE"] = str(work / "cache")
    bases = make_bases(work / "bases")
    for kind, index, outcome, words, seconds in try_all(cases, options.seed, work, bases):
        table[kind][outcome] += 1
        slowest = max(slowest, seconds)
        if outcome.isupper():
            forbidden += 1
            again = f"--seed {options.seed} --kind {kind} --index {index}"
            print(f"\n{outcome}: {again}\n{words}", flush=True)
        elif options.index is not None:
            print(outcome, words)
    frame = pd.DataFrame.from_dict(table, orient="index").fillna(0).astype(int)
    print(frame.assign(all=frame.sum(axis=1)).to_string())
    print(f"{len(cases)} inputs, {forbidden} forbidden, slowest {slowest:.1f} s")
    if forbidden:
        print(f"the inputs are kept in {work}/kept")
    else:
        shutil.rmtree(work)
    return int(forbidden > 0)


if __name__ == "__main__":
    sys.exit(main())
