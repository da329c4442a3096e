"""How a run goes: lines and rows within an epoch, over processes, and for TensorBoard."""

import csv
import sys
import types

import pytest
import torch
from tiny import run_fit, small

from safe_companion import logs


@pytest.fixture(autouse=True)
def speaking(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def rows(folder):
    with open(folder / logs.LOG) as file:
        return list(csv.DictReader(file))


class Clock:
    """Stands still unless it is told to go on."""

    now = 0.0

    def __call__(self):
        return self.now


def go(log, clock, epoch, *, steps, wait, work, losses=None):
    """An epoch in which each batch is waited for, and then worked on, for so many seconds."""

    def batches():
        for i in range(steps):
            clock.now += wait
            yield i

    for i, loss in zip(log.watch(batches()), losses or [2.0] * steps, strict=True):
        clock.now += work
        log(epoch * steps + i + 1, log.config.epochs * steps, steps, torch.tensor(loss))


def test_a_line_says_every_half_minute_how_it_goes(tmp_path, capsys):
    clock = Clock()
    config = small(epochs=2, batch_size=16, schedule="constant", learning_rate=1e-3)
    log = logs.Log(config, tmp_path, clock=clock)
    go(log, clock, 0, steps=20, wait=1, work=3, losses=[1.0] * 8 + [3.0] * 12)
    clock.now += 600  # the model is tested
    go(log, clock, 1, steps=20, wait=1, work=1)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == [
        *(f"epoch 1, step {step} of 20" for step in (8, 16, 20)),
        *(f"epoch 2, step {step} of 20" for step in (15, 20)),
    ]
    assert "loss 1.000, learning rate 1.01e-04, 4.0 clips/s, 25 % waiting for data" in said[0]
    assert "GiB, 0 h 02 min left" in said[0] and "GPU" not in said[0]  # 32 steps of 4 s
    assert "loss 3.000" in said[1] and "4.0 clips/s, 25 % waiting" in said[1]
    assert "8.0 clips/s, 50 % waiting" in said[3]
    found = rows(tmp_path)
    assert [float(row["seconds_left"]) for row in found] == [128, 96, 80, 610, 600]
    assert {row["gpu_memory_gib"] for row in found} == {""}
    assert 0.05 < float(found[0]["memory_gib"]) < 500
    assert [row["epoch"] for row in found] == ["1", "1", "1", "2", "2"]


def test_the_pauses_behind_epochs_count_to_what_is_left(tmp_path):
    clock = Clock()
    log = logs.Log(small(epochs=4), tmp_path, clock=clock)
    for epoch in range(3):
        go(log, clock, epoch, steps=2, wait=0, work=1)
        clock.now += 100
    assert [float(row["seconds_left"]) for row in rows(tmp_path)] == [6, 304, 202]


def test_a_resumed_log_goes_on_behind_its_last_whole_line(tmp_path):
    clock = Clock()
    go(logs.Log(small(), tmp_path, clock=clock), clock, 0, steps=2, wait=1, work=1)
    whole = (tmp_path / logs.LOG).read_text()
    (tmp_path / logs.LOG).write_text(whole + "1999-11-26 01:00:0")  # the power went
    go(logs.Log(small(), tmp_path, resume=True, clock=clock), clock, 1, steps=2, wait=1, work=1)
    text = (tmp_path / logs.LOG).read_text()
    assert text.startswith(whole) and "1999" not in text.removeprefix(whole)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2"]
    go(logs.Log(small(), tmp_path, clock=clock), clock, 0, steps=2, wait=1, work=1)
    assert len(rows(tmp_path)) == 1, "a run that begins anew has a log of its own"


def test_it_is_silent_if_asked_and_still_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    go(logs.Log(small(), tmp_path, clock=(clock := Clock())), clock, 0, steps=2, wait=1, work=1)
    assert capsys.readouterr().out == "" and len(rows(tmp_path)) == 1


def test_nothing_is_touched_before_the_first_line(tmp_path):
    logs.Log(small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_tells_its_log_what_it_waits_for_and_its_mean_loss(tmp_path, accumulate):
    config = small(epochs=2, accumulate=accumulate)
    result = run_fit(tmp_path, config, on_step=logs.Log(config, tmp_path))
    found = rows(tmp_path)
    assert [(row["step"], row["steps"]) for row in found] == [("3", "3")] * 2
    for row, epoch in zip(found, result["history"], strict=True):
        if accumulate == 1:  # else the loss is that of each step's last part
            assert float(row["loss"]) == pytest.approx(epoch["train_loss"], rel=1e-4)
        assert float(row["learning_rate"]) == pytest.approx(epoch["learning_rate"], rel=1e-4)
        assert 0 < float(row["waiting"]) < 1 and float(row["clips_per_second"]) > 0


def test_losses_of_two_processes_are_averaged_at_fixed_steps(tmp_path, monkeypatch):
    asked = []

    def all_reduce(loss):
        asked.append(loss.item())
        loss += 3 * loss.clone()  # the other process has three times the loss

    monkeypatch.setattr(logs.safe_core, "here", lambda: (torch.device("cpu"), 0, 2))
    monkeypatch.setattr(logs.dist, "all_reduce", all_reduce)
    go(logs.Log(small(), tmp_path, clock=(clock := Clock())), clock, 0, steps=23, wait=7, work=1)
    assert asked == [20.0, 20.0, 6.0]
    assert [row["step"] for row in rows(tmp_path)] == ["10", "20", "23"]
    assert {float(row["loss"]) for row in rows(tmp_path)} == {4.0}


class Writer:
    """Stands in for TensorBoard's."""

    made: list = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.flushed = folder, purge_step, [], False
        self.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def flush(self):
        self.flushed = True


def test_tensorboard_gets_the_same_numbers_at_steps_of_the_run(tmp_path, monkeypatch):
    fake = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    clock = Clock()
    log = logs.Log(small(), tmp_path, tensorboard=True, clock=clock)
    assert not Writer.made
    for epoch in (1, 2):
        go(log, clock, epoch, steps=5, wait=1, work=1)
    (writer,) = Writer.made
    assert writer.folder == str(tmp_path / "tensorboard") and writer.flushed
    assert writer.purge_step == 6, "what the interrupted second epoch had written is dropped"
    assert [(v, at) for n, v, at in writer.scalars if n == "train/loss"] == [(2.0, 10), (2.0, 15)]
    names = {name for name, _, _ in writer.scalars}
    assert {"train/clips_per_second", "train/waiting", "train/learning_rate"} <= names


def test_without_tensorboard_the_way_to_it_is_said_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not there
    with pytest.raises(ValueError, match="pip install tensorboard.*log.csv"):
        logs.Log(small(), tmp_path, tensorboard=True)
