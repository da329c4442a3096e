"""How far is it? A bar in a terminal; elsewhere, such as in a log, a line every half minute."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

EVERY_S = 30.0  # outside a terminal


class Lines(tqdm):
    """A bar that writes a new line each time, where tqdm draws over the one before."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        def say(words: str) -> None:
            file.write(f"{words}\n")
            file.flush()

        return say

    def close(self) -> None:
        """Says once more how far it came."""
        if not self.disable:
            if self.n != self.last_print_n:
                self.refresh()
            self.sp = None  # tqdm would write that line again
        super().close()


def bar(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    desc: str = "",
    unit: str = "it",
    initial: int = 0,
    disable: bool = False,
) -> tqdm:
    """tqdm on standard error; silent with `disable` or TQDM_DISABLE=1 in the environment."""
    about: dict[str, Any] = {"total": total, "desc": desc, "unit": unit, "initial": initial}
    if disable:  # an explicit False would be stronger than the environment
        about["disable"] = True
    if sys.stderr.isatty():
        return tqdm(iterable, **about)
    return Lines(iterable, mininterval=EVERY_S, maxinterval=EVERY_S, ascii=True, **about)


class Steps:
    """For `safe_core.fit(on_step=...)`: prints at most every half minute how far the epoch is.

    batch_size: clips of a step, over all processes. Silent with TQDM_DISABLE=1, as `bar` is.
    """

    def __init__(self, batch_size: int, *, clock: Callable[[], float] = time.monotonic):
        self.batch_size = batch_size
        self.clock = clock
        self.silent = os.environ.get("TQDM_DISABLE", "") not in ("", "0")
        self.epoch = -1

    def __call__(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """epoch from 0, step from 1, as `safe_core.fit` counts them."""
        now = self.clock()
        if epoch != self.epoch:  # between two epochs the model is tested, which takes time, too
            self.epoch, self.since, self.before = epoch, now, step
        seconds = now - self.since
        if self.silent or seconds < EVERY_S:
            return
        done = step - self.before
        self.since, self.before = now, step
        minutes = (steps - step) * seconds / done / 60
        print(
            f"epoch {epoch + 1}, step {step} of {steps}, loss {loss:.2f}, "
            f"{done * self.batch_size / seconds:.1f} clips/s, epoch ends in {minutes:.0f} min",
            flush=True,
        )
