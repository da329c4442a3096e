"""Which faults does no test find? Draws mutants at random, puts them in one at a time, runs tests.

    python tests/mutants.py --jobs 2                     200 mutants over the modules of MODULES
    python tests/mutants.py --module events --count 30   30 of one module
    python tests/mutants.py --seed 5                     another draw

A mutant is one small change of a module: another operator, number or string, a condition turned
round, a call or a keyword argument left out. It is found if a test of its module fails, or takes
far too long. Survivors are listed with what tests/survivors.csv says of them: why they change
nothing that matters. Modules and tests are copied, what they read (book, weights, results, ...) is
linked.
"""

import argparse
import ast
import copy
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SURVIVORS = ROOT / "tests" / "survivors.csv"  # mutant, reason
COPIED = ("safe_core.py", "safe_companion", "tests", "pyproject.toml")
LINKED = ("weights", "book", "results", "notebooks", "Makefile", "Snakefile", "profiles")

# module -> its tests, the quick ones first
MODULES = {
    "safe_core.py": [
        "test_core.py",
        "test_golden.py::test_model",
        "test_fit.py",
        "test_distributed.py::test_two_processes_evaluate_every_clip_once",
    ],
    "safe_companion/events.py": ["test_events.py", "test_golden.py::test_clips"],
    "safe_companion/clips.py": ["test_clips.py", "test_golden.py::test_clips"],
    "safe_companion/effects.py": ["test_effects.py"],
    "safe_companion/studies.py": ["test_studies.py"],
    "safe_companion/claims.py": ["test_claims.py"],
}

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


class Mutant(NamedTuple):
    """One fault: where it is, what it changes, and the module with it."""

    file: str
    name: str  # FILE::FUNCTION: BEFORE -> AFTER
    source: str


# ------------------------------------------------------------------------------- mutants
def mutants_of(file: str) -> list[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse((ROOT / file).read_text())
    found = []
    for path, place in sites(tree):
        original = node_at(tree, path)
        for changed in changes(original):
            mutated = copy.deepcopy(tree)
            set_node(mutated, path, changed)
            ast.fix_missing_locations(mutated)
            before, after = (" ".join(ast.unparse(n).split())[:90] for n in (original, changed))
            name = f"{file}::{place}: {before} -> {after}"
            found.append(Mutant(file, name, ast.unparse(mutated)))
    return found


def without_fault(file: str) -> str:
    """A module as a mutant is written: without comments, in lines of any length."""
    return ast.unparse(ast.parse((ROOT / file).read_text()))


def sites(tree: ast.Module) -> Iterator[tuple[tuple, str]]:
    """(path to a node, function that holds it) of everything that may be changed.

    Not docstrings, type hints, imports, raised errors and f-strings.
    """

    def walk(node: ast.AST, path: tuple, place: str) -> Iterator[tuple[tuple, str]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            place = f"{place}.{node.name}".lstrip(".")
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases"):
                continue
            children = value if isinstance(value, list) else [value]
            for i, child in enumerate(children):
                if not isinstance(child, ast.AST) or skipped(child):
                    continue
                here = (*path, (field, i if isinstance(value, list) else None))
                yield here, place
                yield from walk(child, here, place)

    yield from walk(tree, (), "")


def skipped(node: ast.AST) -> bool:
    """Whether nothing below a node counts: imports, raised errors, f-strings, docstrings."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """The changes that a node allows."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        yield ast.BinOp(node.left, SWAPS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(SWAPS[type(node.op)](), node.values)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield ast.Compare(node.left, [SWAPS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.If):
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.AugAssign):
        yield ast.Pass()
    elif isinstance(node, ast.Constant):
        yield from other_constants(node)
    elif isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])


def other_constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
        if abs(value) > 1:
            yield ast.Constant(type(value)(value / 2))
    elif isinstance(value, str) and value:
        yield ast.Constant(f"{value} ")


def node_at(tree: ast.AST, path: tuple) -> ast.AST:
    node = tree
    for field, i in path:
        child = getattr(node, field)
        node = child if i is None else child[i]
    return node


def set_node(tree: ast.AST, path: tuple, new: ast.AST) -> None:
    *above, (field, i) = path
    parent = node_at(tree, tuple(above))
    if i is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[i] = new


# ------------------------------------------------------------------------------- trying them
def try_all(work: tuple[list[Mutant], float]) -> list[tuple[str, str, float]]:
    """(mutant, outcome, seconds) of each mutant, in a copy of the tree of this process's own."""
    mutants, limit = work
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        make_copy(tree)
        import_what_tests_need()
        for mutant in mutants:
            start = time.perf_counter()
            file = tree / mutant.file
            original = file.read_text()
            file.write_text(mutant.source)
            outcome = run_tests(tree, MODULES[mutant.file], limit)
            file.write_text(original)
            outcomes.append((mutant.name, outcome, time.perf_counter() - start))
            print(f"{outcome:>8} {outcomes[-1][2]:5.1f} s  {mutant.name}", flush=True)
    return outcomes


def make_copy(tree: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    for name in LINKED:
        (tree / name).symlink_to(ROOT / name)


def import_what_tests_need() -> None:
    """Only once: each mutant's tests run in a fork of this process."""
    import aedat  # noqa: F401
    import dv_processing  # noqa: F401
    import hypothesis  # noqa: F401
    import matplotlib
    import numba  # noqa: F401
    import open_clip  # noqa: F401
    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401
    import seaborn  # noqa: F401
    import sklearn  # noqa: F401
    import timm  # noqa: F401
    import torch

    matplotlib.use("Agg")
    torch.set_num_threads(1)


def run_tests(tree: Path, tests: list[str], limit: float) -> str:
    """What the tests of a mutant say: "found", "survived", or "slow" if they exceed the limit."""
    child = os.fork()
    if child == 0:
        os.setsid()  # whatever the tests start ends with them
        os._exit(tests_in_this_process(tree, tests))
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "found"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "slow"


def tests_in_this_process(tree: Path, tests: list[str]) -> int:
    import pytest

    os.chdir(tree)
    sys.path[:0] = [str(tree), str(tree / "tests")]
    sys.dont_write_bytecode = True
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"]
    return int(pytest.main([*options, *(f"tests/{name}" for name in tests)]))


# ------------------------------------------------------------------------------- command line
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--module", help="part of a module's name; default: all")
    parser.add_argument("--match", default="", help="only mutants whose name holds this")
    parser.add_argument("--limit", type=float, default=150.0, help="seconds for a mutant's tests")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    files = [file for file in MODULES if (options.module or "") in file]
    every = [
        mutant for file in files for mutant in mutants_of(file) if options.match in mutant.name
    ]
    drawn = random.Random(options.seed).sample(every, min(options.count, len(every)))
    print(f"{len(drawn)} of {len(every)} mutants, seed {options.seed}", flush=True)
    drawn.sort(key=lambda mutant: mutant.file)  # the copies of compiled kernels are made less often
    intact = [Mutant(file, f"{file}: no fault", without_fault(file)) for file in files]
    context = get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, max_tasks_per_child=1) as pool:
        unchanged = sum(pool.map(try_all, [([m], options.limit) for m in intact]), [])
        if broken := [name for name, outcome, _ in unchanged if outcome != "survived"]:
            print("tests fail without any fault:", ", ".join(broken))
            return 2
        parts = [(drawn[i :: 4 * options.jobs], options.limit) for i in range(4 * options.jobs)]
        outcomes = sum(pool.map(try_all, parts), [])
    return report(outcomes)


def report(outcomes: list[tuple[str, str, float]]) -> int:
    """Prints what was found, and every survivor with its reason; 1 if one has none."""
    with open(SURVIVORS, newline="") as file:
        reasons = {row["mutant"]: row["reason"] for row in csv.DictReader(file)}
    found = Counter(name.split("::")[0] for name, outcome, _ in outcomes if outcome != "survived")
    total = Counter(name.split("::")[0] for name, *_ in outcomes)
    for file in total:
        print(f"{file}: {found[file]} of {total[file]} found")
    survivors = sorted(name for name, outcome, _ in outcomes if outcome == "survived")
    share = 100 * (1 - len(survivors) / max(1, len(outcomes)))
    print(f"all: {len(outcomes) - len(survivors)} of {len(outcomes)} found, {share:.1f} %")
    for name in survivors:
        print(
            f"survived: {name}\n          {reasons.get(name, 'NO REASON in tests/survivors.csv')}"
        )
    return int(any(name not in reasons for name in survivors))


if __name__ == "__main__":
    sys.exit(main())
