"""A process takes its place: a GPU of its own, whatever started it."""

import os
import subprocess
import sys
import types

import pytest
import torch
from conftest import ROOT

from safe_companion import processes


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """cards(count, names): a machine with GPUs; gives what was chosen."""
    chosen = []
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(processes, "TAKEN", {})
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)

    def make(*names):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
        about = {i: types.SimpleNamespace(uuid=name) for i, name in enumerate(names)}
        monkeypatch.setattr(torch.cuda, "get_device_properties", about.__getitem__)
        return chosen

    return make


HOLDER = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """held(name): another process that has taken a GPU."""
    started = []

    def hold(name):
        (tmp_path / "gpus").mkdir(exist_ok=True)
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "gpus" / f"{name}.lock")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=ROOT, **pipes)
        started.append(process)
        assert process.stdout.readline() == "mine\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


def test_runs_side_by_side_get_a_gpu_each_if_they_are_to_share(cards, held, monkeypatch):
    monkeypatch.setenv("SAFE_SHARE_GPUS", "1")
    chosen = cards("a", "b", "c")
    held("a")
    processes.join()
    assert chosen == [1]
    processes.join()  # as another process would
    assert chosen == [1, 2]


def test_a_gpu_is_known_by_its_own_name_not_by_its_number(cards, held, monkeypatch):
    monkeypatch.setenv("SAFE_SHARE_GPUS", "1")
    held("b")
    chosen = cards("b", "c")  # of a machine that also has "a", which is not shown
    processes.join()
    assert chosen == [1]


def test_it_waits_until_a_gpu_is_free_and_says_so_once(cards, held, monkeypatch, capsys):
    monkeypatch.setenv("SAFE_SHARE_GPUS", "1")
    chosen = cards("a", "b")
    _, second = held("a"), held("b")
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            second.kill()  # without giving anything back
            second.wait()

    monkeypatch.setattr(processes.time, "sleep", sleep)
    processes.join()
    assert chosen == [1] and waits == [processes.PATIENCE_S] * 3
    assert capsys.readouterr().out.count("all 2 GPUs are taken") == 1


@pytest.mark.parametrize("share", ["", "1"])
def test_under_torchrun_the_number_of_the_process_decides(cards, held, monkeypatch, share):
    monkeypatch.setenv("SAFE_SHARE_GPUS", share)
    monkeypatch.setenv("LOCAL_RANK", "2")
    held("c")
    chosen = cards("a", "b", "c")
    processes.join()
    assert chosen == [2]


def test_without_being_asked_and_where_one_is_shown_no_lock_is_taken(cards, held, monkeypatch):
    held("a")
    chosen = cards("a", "b")
    processes.join()
    monkeypatch.setenv("SAFE_SHARE_GPUS", "1")
    cards("a")  # a scheduler's choice
    processes.join()
    assert chosen == [0, 0]
    assert not processes.TAKEN and os.listdir(os.environ["SAFE_CACHE"]) == ["gpus"]
