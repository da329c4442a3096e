"""A sweep that is killed goes on with the same command, and two in one folder are refused."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

STAND_IN = """
import os, sys, time
from pathlib import Path

command, *words = sys.argv[1:]
if command == "train":
    folder = Path(words[words.index("--out-dir") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last.0").write_text("begun")
    time.sleep(float(os.environ["SECONDS_OF_A_RUN"]))
    (folder / "record.json").write_text("made by a run")
if command == "keep":
    folder = Path("results", *Path(words[0]).parts[1:])
    folder.mkdir(parents=True, exist_ok=True)
    (Path(words[0]) / "record.json").rename(folder / "record.json")
"""


@pytest.fixture
def repository(tmp_path):
    """A copy without records, in which a run takes no time; its name needs quotes in a shell."""
    root = tmp_path / "a copy"
    root.mkdir()
    for name in ("safe_companion", "book", "profiles"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("Snakefile", "safe_core.py"):
        shutil.copy(ROOT / name, root)
    (root / "weights").symlink_to(ROOT / "weights")
    (root / "safe_companion" / "__main__.py").write_text(STAND_IN)
    with open(root / "safe_companion" / "studies.py", "a") as file:  # no sample is made
        file.write("\n\ndef check_data(asked: dict[str, dict]) -> None:\n    pass\n")
    return root


def sweep(root, seconds, *words):
    """One run of each of Table 5's rows on PokerEvent's sample, two side by side."""
    command = [sys.executable, "-m", "snakemake", "table5", "--cores", "2", *words]
    environment = os.environ | {"SECONDS_OF_A_RUN": str(seconds), "PYTHONPATH": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command += ["--config", "seeds=1"]
    return subprocess.Popen(command, cwd=root, env=environment, start_new_session=True, **pipes)


def test_a_killed_sweep_goes_on_with_the_same_command_and_a_living_one_is_left_alone(repository):
    first = sweep(repository, 600)
    deadline = time.monotonic() + 120
    while not (begun := list(repository.glob("runs/*/*/*/seed0/last.0"))):
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()[0]
        time.sleep(0.05)
    second = sweep(repository, 0)
    said, _ = second.communicate(timeout=120)
    assert second.returncode != 0 and "found another sweep at work here" in said
    assert first.poll() is None

    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert list((repository / ".snakemake" / "locks").iterdir()), "Snakemake holds no lock"
    # Killed just after a record has appeared, before Snakemake has noted that the run is done.
    whole = repository / "results" / begun[0].parent.relative_to(repository / "runs")
    whole.mkdir(parents=True, exist_ok=True)
    (whole / "record.json").write_text("made by the killed sweep")

    third = sweep(repository, 0)
    said, _ = third.communicate(timeout=120)
    assert third.returncode == 0, said
    made = sorted(path.read_text() for path in repository.glob("results/*/*/*/seed0/record.json"))
    assert made == ["made by a run"] * (len(made) - 1) + ["made by the killed sweep"]
    assert len(made) >= 3 and len(list(repository.glob("runs/*/*/*/seed0/last.0"))) == 1
