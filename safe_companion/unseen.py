"""Which classes are held out of training, and how well are they recognised?

`held_out=k` leaves a fifth of the classes out of the training and validation lists. The model still
has the names of all, and the test list all recordings.

The draws k = 1, 2, ... are seeded and overlap: all come from one reserve, two fifths of the
classes. So a single tower, which was pre-trained without the reserve
(weights/tiny_clip_unseen.json), has seen neither name nor frame of any class that any draw holds
out. Five fifths that do not overlap would need five such towers.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

DRAWS = 5  # of a study
PARTS = 5  # a fifth is held out, of a reserve of two


def reserve(count: int) -> list[int]:
    """The classes, of `count`, of which every draw takes its own; sorted labels."""
    if count < PARTS:
        raise ValueError(f"held_out needs at least {PARTS} classes, found {count}; unset it")
    order = np.random.default_rng(count).permutation(count)
    return sorted(order[: round(2 * count / PARTS)].tolist())


def held_out(count: int, draw: int) -> list[int]:
    """Classes, of `count`, that a draw leaves out of training; none for draw 0. Sorted labels."""
    if draw == 0:
        return []
    order = np.random.default_rng([count, draw]).permutation(reserve(count))
    return sorted(order[: round(count / PARTS)].tolist())


def only_trained(logits: Tensor, learned: Tensor) -> Tensor:
    """Logits [B, L] for a loss in training: -inf but for the classes that have recordings there.

    learned: their labels int64 [l]. Otherwise every step teaches a model that reads names that the
    other classes are never the answer.
    """
    absent = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
    absent[learned] = False
    return logits.masked_fill(absent, -float("inf"))


def scores(table: pd.DataFrame, unseen: Sequence[int]) -> dict[str, float]:
    """Top-1 in percent, over all names, of seen and unseen classes, and their harmonic mean.

    table: predictions of a run. Means over the recordings of either kind; nan where there are none.
    """
    is_unseen = table.label.isin(unseen)
    of_seen = 100 * float(table.correct[~is_unseen].mean())
    of_unseen = 100 * float(table.correct[is_unseen].mean())
    both = of_seen + of_unseen
    harmonic = 2 * of_seen * of_unseen / both if both else 0.0
    return {"seen": of_seen, "unseen": of_unseen, "harmonic mean": harmonic}


def among(log_probs: np.ndarray, labels: np.ndarray, unseen: Sequence[int]) -> float:
    """Top-1 in percent of the recordings of unseen classes, each answered among these names alone.

    log_probs: [n, L], labels: [n], of all recordings. A guess is right once in len(unseen).
    """
    own, names = np.isin(labels, unseen), np.asarray(unseen)
    answers = names[log_probs[own][:, names].argmax(axis=1)]
    return 100 * float((answers == labels[own]).mean())
