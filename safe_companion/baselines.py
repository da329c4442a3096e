"""What do simple classifiers answer on the same clips? Neighbours, and a line beside CLIP.

They are deterministic, so each has one answer to a recording, whatever the seed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import safe_core
from safe_companion.clips import ClipDataset
from safe_companion.datasets import Splits
from safe_core import Config

SIDE = 32  # px, of the images that neighbours are looked for among
ITERATIONS = 1_000  # of the linear probe's solver, at most
NAMES = ("chance", "nearest neighbour", "linear probe")


def pixels(clips: ClipDataset) -> np.ndarray:
    """The event images of clips, averaged down: float32 [n, F * 3 * SIDE * SIDE]."""
    side = clips.config.image_size
    rows = []
    for i in range(len(clips)):
        images = clips[i]["event"].float() / 255
        if side != SIDE:
            images = torch.nn.functional.adaptive_avg_pool2d(images, SIDE)
        rows.append(images.flatten().numpy())
    return np.stack(rows)


def features(clips: ClipDataset, config: Config) -> np.ndarray:
    """CLIP's class tokens of the event images, its tower as it came: float32 [n, F * D_v]."""
    clip, _ = safe_core.build_clip(config)
    tower = safe_core.VisionTower(config, clip).eval()
    rows = []
    with torch.inference_mode():
        for i in range(len(clips)):
            rows.append(tower(clips[i]["event"].float())[:, 0].flatten().numpy())
    return np.stack(rows)


def answers(splits: Splits, config: Config) -> pd.DataFrame:
    """A row per test recording: name, label, and the label that each of NAMES answers.

    chance: the most frequent class of training, the first of several. nearest neighbour: by the
    pixels. linear probe: logistic regression on CLIP's features. Trained on `splits.train`, whose
    clips must draw nothing. ValueError otherwise.
    """
    if splits.train.draw != "even" or splits.train.augment != "none":
        raise ValueError("training clips are drawn; expected augment='none'")
    labels = splits.train.labels.numpy()
    found: dict[str, Any] = {"name": splits.test.names, "label": splits.test.labels.numpy()}
    found["chance"] = np.full(len(splits.test), np.bincount(labels).argmax())
    nearest = KNeighborsClassifier(1).fit(pixels(splits.train), labels)
    found["nearest neighbour"] = nearest.predict(pixels(splits.test))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    probe.fit(features(splits.train, config), labels)
    found["linear probe"] = probe.predict(features(splits.test, config))
    return pd.DataFrame(found)


def as_runs(file: Path, seeds: int) -> dict[str, list[dict]]:
    """{name of a baseline: runs}, as `effects` compares them with others; none without the file.

    The answers are the same for every seed, so that each seed of another row has its partner.
    """
    if not file.exists():
        return {name: [] for name in NAMES}
    table = pd.read_csv(file, converters={"name": str})
    found = {}
    for name in NAMES:
        correct = table[name] == table.label
        shown = table[["name", "label"]].assign(correct=correct)
        run = {"predictions": shown, "test": {"top1": 100 * correct.mean()}, "path": str(file)}
        run["hardware"] = {"gpu": None}
        found[name] = [run | {"config": {"seed": seed}} for seed in range(seeds)]
    return found
