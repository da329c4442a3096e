"""How far is it? A bar in a terminal; elsewhere, such as in a log, a line every half minute."""

import sys
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
