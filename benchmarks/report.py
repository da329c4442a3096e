"""Runs the benchmarks and writes what they print into RESULTS.md: `make benchmarks`, 45 minutes.

    python benchmarks/report.py                 # all of them
    python benchmarks/report.py kernels memory  # these; the others' parts stay

Every module of this folder whose docstring names its command has a part in RESULTS.md, between two
marks with its name: title, command and output, in which it says itself on which machine and when.
What stands outside the marks is left as it is. A benchmark that ends with exit status 77 could
measure nothing on this machine (`common.NOTHING`): its part stays, from a machine that could. One
that fails changes nothing either, and makes the exit status 1.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import common

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
ALL = ("<!-- make benchmarks -->", "<!-- end of make benchmarks -->")
SAMPLE = """
import safe_core
from safe_companion import datasets
print(datasets.open_dataset(safe_core.configure(dataset="hardvs")).root)
"""


def described() -> dict[str, tuple[str, str]]:
    """{name: (title, command)} of the benchmarks, from the first line of each docstring."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        command = re.search(rf"`(python benchmarks/{path.name}[^`]*)`", first.replace("\n", " "))
        if command and path.name != "report.py":
            found[path.stem] = (first[: command.start()].rstrip(" :"), command[1])
    return found


def arguments(command: str) -> list[str]:
    """Those after the file's name that are not optional; ROOT is the generated sample."""
    given = re.sub(r"\[[^]]*\]", "", command).split()[2:]
    if "ROOT" in given:
        run = subprocess.run([sys.executable, "-c", SAMPLE], capture_output=True, text=True)
        given[given.index("ROOT")] = run.stdout.strip().splitlines()[-1]
    return given


def replaced(text: str, parts: dict[str, str]) -> str:
    """RESULTS.md with new parts, in alphabetical order between the marks of all."""
    start, end = ALL
    head, rest = text.split(start)
    inside, tail = rest.split(end)
    old = dict(re.findall(r"<!-- part (\w+) -->\n(.*?)<!-- end of part -->", inside, re.DOTALL))
    marked = [
        f"<!-- part {name} -->\n{part}<!-- end of part -->\n\n"
        for name, part in sorted((old | parts).items())
    ]
    return f"{head}{start}\n\n{''.join(marked)}{end}{tail}"


def main() -> bool:
    benchmarks = described()
    names = sys.argv[1:] or list(benchmarks)
    if unknown := set(names) - set(benchmarks):
        print(f"found no benchmark {', '.join(unknown)}; expected of {', '.join(benchmarks)}")
        return True
    failed = []
    for name in names:
        title, command = benchmarks[name]
        print(f"{name}: {title}", flush=True)
        call = [sys.executable, str(HERE / f"{name}.py"), *arguments(command)]
        run = subprocess.run(call, stdout=subprocess.PIPE, text=True)
        if run.returncode == common.NOTHING:
            print(f"{run.stdout}{name}: its part of {RESULTS.name} stays as it is\n", flush=True)
            continue
        if run.returncode:
            failed.append(name)
            continue
        print(run.stdout, flush=True)
        part = f"### {title}\n\n`{command}`\n\n{run.stdout.strip()}\n\n"
        RESULTS.write_text(replaced(RESULTS.read_text(), {name: part}))
    if failed:
        print(f"failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
