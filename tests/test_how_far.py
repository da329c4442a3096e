"""How far a task is: a bar in a terminal, lines elsewhere, nothing if that is asked for."""

import subprocess
import sys

import pytest

from safe_companion import how_far


@pytest.fixture(autouse=True)
def speaking(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_outside_a_terminal_every_state_is_a_line_of_its_own(capsys):
    with how_far.bar(total=1000, desc="sample", unit="recording") as bar:
        for _ in range(1000):  # in far less than half a minute
            bar.update()
    said = capsys.readouterr().err
    first, last = said.splitlines()
    assert first.startswith("sample:   0%") and "1000/1000" in last and "\r" not in said


def test_a_line_comes_when_half_a_minute_is_over(capsys):
    bar = how_far.bar(range(100), desc="checks")
    now = bar.start_t
    bar._time = lambda: now
    for _ in bar:
        now += 7
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21 and all(line.startswith("checks: ") for line in lines)
    assert "10/100 [01:10" in lines[2] and "100/100" in lines[-1]


def test_in_a_terminal_it_is_drawn_over(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with how_far.bar(total=2, desc="x") as bar:
        bar.update(2)
    assert "\r" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_it_is_silent_if_asked(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with how_far.bar(total=2, disable=True) as bar:
        bar.update()
    assert capsys.readouterr().err == ""


def test_the_environment_silences_bars():
    """tqdm reads TQDM_DISABLE when it is imported."""
    code = "from safe_companion import how_far\nwith how_far.bar(total=1, desc='x') as bar: pass"
    for value, is_silent in (("1", True), ("", False)):
        run = subprocess.run(
            [sys.executable, "-c", code], env={"TQDM_DISABLE": value}, capture_output=True
        )
        assert run.returncode == 0 and (run.stderr == b"") == is_silent
