"""How does a run go? Lines within an epoch, the same as rows of log.csv, and TensorBoard."""

import csv
import importlib
import io
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

import safe_core
from safe_core import Config

LOG = "log.csv"
BOARD = "tensorboard"  # the folder of its files, beside the log
EVERY_S = 30.0  # a line, at most so often, and one at the end of an epoch
EVERY_STEPS = 10  # several processes average their losses, wherever their clocks stand


class Log:
    """For `safe_core.fit(on_step=...)`, in every process: the first one writes.

    Prints nothing with TQDM_DISABLE=1, as bars do. In `out_dir`, nothing is touched before the
    first line. resume: append to the log there. tensorboard: ValueError if it is not installed.
    """

    def __init__(
        self,
        config: Config,
        out_dir: Path,
        *,
        resume: bool = False,
        tensorboard: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.config = config
        self.file = out_dir / LOG
        self.resume = resume
        self.clock = clock
        _, self.rank, self.size = safe_core.here()
        self.silent = os.environ.get("TQDM_DISABLE", "") not in ("", "0")
        self.make_writer = summary_writer() if tensorboard else None
        self.writer: Any = None
        self.begun = False  # the file is of this run
        self.loss: Tensor | None = None  # summed since processes were asked, on the device
        self.shared: Tensor | None = None  # summed over processes, since the last line
        self.before = self.waited = self.trained = 0.0
        self.pause = 0.0  # from an epoch's last step to the next one's start
        self.last_step = 0
        self.ended: float | None = None

    def watch(self, batches: Iterator) -> Iterator:
        """The batches of an epoch; notes how long the trainer waits for each."""
        self.since = start = self.clock()
        if self.ended is not None:
            self.pause = start - self.ended
        self.waited, self.trained, self.last_step = 0.0, 0.0, 0
        for batch in batches:
            self.waited += self.clock() - start
            yield batch
            start = self.clock()

    def __call__(self, done: int, total: int, per_epoch: int, loss: Tensor) -> None:
        """Steps done of all, and those of an epoch, as `safe_core.fit` counts them.

        loss: of this process.
        """
        epoch = (done - 1) // per_epoch
        step, steps = done - epoch * per_epoch, min(per_epoch, total - epoch * per_epoch)
        self.loss = loss if self.loss is None else self.loss + loss
        if self.size > 1 and step % EVERY_STEPS and step < steps:
            return
        if self.size > 1:
            dist.all_reduce(self.loss)
        self.shared = self.loss if self.shared is None else self.shared + self.loss
        self.loss = None
        now = self.clock()
        if step == steps:
            self.ended = now
        if self.rank or (step < steps and now - self.since < EVERY_S):
            return
        seconds, since = now - self.since, step - self.last_step
        self.trained += seconds
        pauses_left = -(-total // per_epoch) - epoch
        row = {
            "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
            "epoch": epoch + 1,
            "step": step,
            "steps": steps,
            "loss": self.shared.item() / since / self.size,
            "learning_rate": safe_core.learning_rate(done - 1, total, self.config),
            "clips_per_second": since * self.config.batch_size / seconds,
            "waiting": self.waited / seconds,
            "memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "gpu_memory_gib": torch.cuda.max_memory_allocated() / 2**30
            if torch.cuda.is_available()
            else None,
            "seconds_left": (total - done) * self.trained / step + pauses_left * self.pause,
        }
        self.shared, self.waited, self.since, self.last_step = None, 0.0, now, step
        self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        """One row to wherever it is to be read."""
        if not self.silent:
            print(line(row), flush=True)
        if not self.begun:
            begin(self.file, list(row), resume=self.resume)
            self.begun = True
        shown = [f"{v:.6g}" if isinstance(v, float) else v for v in row.values()]
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(as_csv(shown))  # one call of the system, so a kill leaves whole lines
        if self.make_writer:
            at = (row["epoch"] - 1) * row["steps"] + row["step"]
            if self.writer is None:  # what an interrupted epoch had written there is written anew
                start = (row["epoch"] - 1) * row["steps"] + 1
                self.writer = self.make_writer(str(self.file.parent / BOARD), purge_step=start)
            for name, value in row.items():
                if isinstance(value, float):
                    self.writer.add_scalar(f"train/{name}", value, at)
            self.writer.flush()


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    gpu = row["gpu_memory_gib"]
    memory = f"{row['memory_gib']:.1f} GiB" + ("" if gpu is None else f" and {gpu:.1f} on the GPU")
    minutes = round(row["seconds_left"] / 60)
    return (
        f"epoch {row['epoch']}, step {row['step']} of {row['steps']}: loss {row['loss']:.3f}, "
        f"learning rate {row['learning_rate']:.2e}, {row['clips_per_second']:.1f} clips/s, "
        f"{100 * row['waiting']:.0f} % waiting for data, {memory}, "
        f"{minutes // 60} h {minutes % 60:02d} min left"
    )


def as_csv(values: list) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def begin(file: Path, columns: list[str], *, resume: bool) -> None:
    """Makes the log with its first line, or, on resume, drops half a line at its end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    there = file.read_bytes() if resume and file.exists() else b""
    whole = there[: there.rfind(b"\n") + 1]
    file.write_bytes(whole or as_csv(columns).encode())


def summary_writer() -> Callable[..., Any]:
    """TensorBoard's writer, which is no part of the installation."""
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise ValueError(
            f"--tensorboard: found no package tensorboard ({error}); install it with "
            f"`pip install tensorboard`, or leave the option out: {LOG} has the same"
        ) from error
