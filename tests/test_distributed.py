"""Several processes: their gradients are averaged, no clip counts twice, their runs resume."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny import Clips, batch_of, model_of, run_fit, small
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from safe_companion import locks, logs, runs
from safe_core import load_checkpoint, predict

ROOT = Path(__file__).resolve().parents[1]
TWO_EPOCHS = small(epochs=2, learning_rate=1e-3)


def join(rank, folder, name):
    torch.set_num_threads(1)
    place = f"file://{folder}/{name}"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    assert dist.get_world_size() == 2


def one_of_two(rank, folder):
    """A step, an evaluation and a run of one of two processes, each with half of every batch."""
    join(rank, folder, "rendezvous")
    model = model_of(small(freeze_text=False))
    wrapped = DistributedDataParallel(model)
    rgb, event, labels = batch_of(Clips(6), range(rank, 6, 2))
    F.cross_entropy(wrapped(rgb, event), labels).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    log_probs = predict(model, Clips(7), small())  # 7 clips: nobody is counted twice
    clock = time.monotonic if rank == 0 else (lambda: 0.0)  # clocks never agree
    log = logs.Log(TWO_EPOCHS, folder / "run", clock=clock)
    result = run_fit(folder / "run", TWO_EPOCHS, on_step=log)
    losses = [row["train_loss"] for row in result["history"]]
    torch.save((gradients, log_probs, result["log_probs"], losses), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """[(gradients, log-probabilities, answers of a run, its losses, its log)] of two processes."""
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(one_of_two, args=(folder,), nprocs=2)
    with open(folder / "run" / logs.LOG) as file:
        log = list(csv.DictReader(file))
    return [(*torch.load(folder / f"{rank}.pt", weights_only=True), log) for rank in (0, 1)]


def test_two_processes_give_the_single_process_gradient(two):
    model = model_of(small(freeze_text=False))
    rgb, event, labels = batch_of(Clips(6), range(6))
    F.cross_entropy(model(rgb, event), labels).backward()
    for gradients, *_ in two:
        for name, p in model.named_parameters():  # towers included
            torch.testing.assert_close(gradients[name], p.grad, atol=1e-6, rtol=1e-3, msg=name)


def test_two_processes_evaluate_every_clip_once(two):
    expected = predict(model_of(small(freeze_text=False)), Clips(7), small())
    for _, log_probs, *_ in two:
        torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=1e-4)


def test_a_run_of_two_processes_is_that_of_one(two, tmp_path):
    """Both see the same batches, halved: only averaged gradients lead to the same model."""
    alone = run_fit(tmp_path, TWO_EPOCHS)
    for _, _, answers, losses, _ in two:
        torch.testing.assert_close(answers, alone["log_probs"], atol=2e-3, rtol=0)
        expected = [row["train_loss"] for row in alone["history"]]
        assert losses == pytest.approx(expected, abs=1e-4)  # of all clips, in both processes


def test_the_log_has_the_mean_loss_of_both_processes(two):
    *_, losses, log = two[0]
    assert [float(row["loss"]) for row in log] == pytest.approx(losses, rel=1e-4)


def finished_meanwhile(rank, folder):
    """One of two processes that resume a run whose record another one is about to write."""
    join(rank, folder, "late")

    def take(out_dir, take=locks.take):
        time.sleep(1)
        (out_dir / "record.json").touch()
        return take(out_dir)

    locks.take = take
    runs.train_alone = lambda config, out_dir, **_: {"found": (out_dir / "record.json").exists()}
    assert runs.train(small(), folder, resume=True)["found"]
    dist.destroy_process_group()


def test_every_process_waits_for_the_one_at_work_in_the_folder(tmp_path):
    mp.spawn(finished_meanwhile, args=(tmp_path,), nprocs=2)


def torchrun(out_dir, *launch):
    """A training on the sample, under a launcher with these options."""
    options = (
        "--dataset hardvs --frames 2 --epochs 1 --batch-size 8 --workers 0 --val-fraction 0.34 "
        "--sample-train-per-class 3 --sample-test-per-class 1 --resume"
    )
    program = str(Path(sys.executable).with_name("torchrun"))
    module = ["-m", "safe_companion", "train", *options.split(), "--out-dir", str(out_dir)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # more would sum in another order
    return subprocess.Popen([program, *launch, *module], cwd=ROOT, env=one_thread, **pipes)


def finished(*launched):
    """What they printed."""
    said = []
    for process in launched:
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
        said.append(out)
    return said


@pytest.fixture(scope="module")
def one_node(tmp_path_factory):
    """The folder of a run of two processes on one node."""
    folder = tmp_path_factory.mktemp("one_node")
    for _ in range(2):  # the second time finds the run finished
        (said,) = finished(torchrun(folder, "--standalone", "--nproc-per-node", "2"))
        counted = "48 training, 24 validation and 24 test recordings"
        assert f"hardvs (sample data, {counted})" in said
    return folder


def test_torchrun_trains_on_the_sample_and_resumes(one_node):
    record = json.loads((one_node / "record.json").read_text())
    assert record["processes"] == 2 and len(record["history"]) == 1
    assert record["data"]["origin"] == "sample"
    assert len((one_node / "predictions.csv").read_text().splitlines()) == 25
    assert len((one_node / logs.LOG).read_text().splitlines()) == 2


def test_two_nodes_give_bit_for_bit_what_one_gives(one_node, tmp_path):
    """Two agents that meet at one address, each with a process."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    nodes = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-id", "run"]
    nodes += ["--rdzv-backend", "c10d", "--rdzv-endpoint", address]
    said = finished(torchrun(tmp_path, *nodes), torchrun(tmp_path, *nodes))
    assert sorted(len(out) > 0 for out in said) == [False, True], "only the first process speaks"
    ours, theirs = (load_checkpoint(f / "best.safetensors")[0] for f in (tmp_path, one_node))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    answers = [(folder / "predictions.csv").read_bytes() for folder in (tmp_path, one_node)]
    assert answers[0] == answers[1]
