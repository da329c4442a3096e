"""Can the conjunctions be bound at all? By a rule that looks up the colour where the events are.

It trains no network: of a clip, as a model gets it, the place with most events, and the mean colour
of the frames there; the answer is the colour whose mean over the training list is nearest. With the
motion that a model of events tells, this answers pairs, also those that are in no training list.
The rule knows how the data are made; no model is told that.

    python -m safe_companion.binding results/baselines/conjunctions.csv
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

import safe_core
from safe_companion import datasets
from safe_companion.clips import ClipDataset
from safe_companion.sample.squares import MOTIONS

PLACE_PX = 9  # about a square, in a clip


def colour_at_events(rgb: Tensor, event: Tensor) -> np.ndarray:
    """Mean colour [3] of the frames uint8 [F, 3, H, W] where the event images differ most."""
    resting = event.flatten(2).float().median(dim=2).values[:, :, None, None]
    activity = (event - resting).abs().sum(dim=(0, 1))
    around = F.avg_pool2d(activity[None], PLACE_PX, stride=1, padding=PLACE_PX // 2)[0]
    y, x = divmod(int(around.argmax()), around.shape[1])
    reach = PLACE_PX // 4
    near = rgb[..., max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
    return near.float().mean(dim=(0, 2, 3)).numpy()


def nearest(vectors: np.ndarray, kinds: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Of each asked vector [m, d] the kind whose mean over vectors [n, d] is nearest."""
    known = np.unique(kinds)
    means = np.stack([vectors[kinds == kind].mean(axis=0) for kind in known])
    return known[np.linalg.norm(asked[:, None] - means, axis=2).argmin(axis=1)]


def answers(splits: datasets.Splits) -> pd.DataFrame:
    """A row per test recording: name, label, and the number of the colour that the rule says."""

    def seen(clips: ClipDataset) -> np.ndarray:
        every = (clips[i] for i in range(len(clips)))
        return np.stack([colour_at_events(clip["rgb"], clip["event"]) for clip in every])

    trained = splits.train.labels.numpy() // len(MOTIONS)
    said = nearest(seen(splits.train), trained, seen(splits.test))
    about = {"name": splits.test.names, "label": splits.test.labels.numpy()}
    return pd.DataFrame(about | {"colour": said})


def bound(file: Path, events: list[dict]) -> list[dict]:
    """Runs that answer the rule's colour and the motion of a model of events; none without file.

    ValueError if the file is about other recordings than the runs.
    """
    if not file.exists():
        return []
    rule = pd.read_csv(file, converters={"name": str})
    runs = []
    for run in events:
        table = run["predictions"][["name", "label", "condition", "class1"]].copy()
        if list(table.name) != list(rule.name):
            raise ValueError(
                f"{file}: found other recordings than those of {run['path']}; expected the same. "
                f"`python -m safe_companion.binding {file}` writes it anew"
            )
        table["class1"] = rule.colour * len(MOTIONS) + table.class1 % len(MOTIONS)
        table["correct"] = table.class1 == table.label
        top1 = 100 * float(table.correct.mean())
        runs.append({"config": run["config"], "predictions": table, "test": {"top1": top1}})
    return runs


def write(file: Path) -> None:
    """Writes the rule's answers on the generated conjunctions, which are made if need be."""
    config = safe_core.configure(dataset="conjunctions", augment="none", workers=0)
    table = answers(datasets.open_dataset(config))
    file.parent.mkdir(parents=True, exist_ok=True)
    safe_core.write_atomically(file, lambda part: table.to_csv(part, index=False))
    right = 100 * (table.colour == table.label // len(MOTIONS)).mean()
    print(f"{file}: the colour is right of {right:.1f} % of {len(table)} recordings")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
