"""A model and clips small enough for tests of a second each."""

import functools
from pathlib import Path
from typing import Any

import open_clip
import torch

import safe_core
from safe_companion import models  # noqa: F401  (all that can be built)
from safe_core import Config, configure, fit

torch.set_num_threads(1)  # the models are too small for more, and other tests run beside
open_clip.get_tokenizer = functools.cache(open_clip.get_tokenizer)  # it reads its vocabulary anew

NAMES = ["wave", "bow", "jump"]
SENTENCES = [[f"The action of the human is {name}"] for name in NAMES]
SMALL = dict(
    frames=2,
    width=48,
    heads=4,
    readout_tokens=3,
    batch_size=4,
    epochs=3,
    workers=0,
    learning_rate=3e-4,
    dropout=0.0,
    pretrained=False,
)


def small(**fields: Any) -> Config:
    return configure("sample", **{**SMALL, **fields})


class Clips(torch.utils.data.Dataset):
    """Random clips, each class with its own pattern; shifted in every epoch if asked."""

    def __init__(self, count: int, frames: int = 2, side: int = 64, jitter: bool = False):
        generator = torch.Generator().manual_seed(count)
        pattern = torch.Generator().manual_seed(7)
        patterns = torch.randint(0, 255, (len(NAMES), 2, 1, 3, 6, 6), generator=pattern)
        self.labels = torch.arange(count) % len(NAMES)
        self.names = [f"clip {i}" for i in range(count)]
        noise = torch.randint(0, 60, (count, 2, frames, 3, side, side), generator=generator)
        big = torch.nn.functional.interpolate(patterns.flatten(0, 2).float(), size=side)
        bright = big.view(len(NAMES), 2, 1, 3, side, side)[self.labels] * 0.7
        self.images = (bright + noise).to(torch.uint8)
        self.jitter = jitter
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, i: int) -> dict:
        rgb, event = self.images[i]
        if self.jitter:
            rgb = rgb.roll(self.epoch, dims=-1)
        return {"rgb": rgb, "event": event, "label": int(self.labels[i]), "name": self.names[i]}


def batch_of(clips: Clips, indices: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """rgb, event, labels of some clips."""
    images = torch.stack([clips.images[i] for i in indices])
    return images[:, 0], images[:, 1], clips.labels[list(indices)]


def run_fit(out_dir: Path, config: Config | None = None, train: Any = None, **options: Any) -> dict:
    """A run on random clips: 12 for training, 5 for the choice of the epoch, 7 for the test."""
    config = config or small()
    train = train or Clips(12, config.frames, jitter=True)
    val = Clips(5, config.frames)
    test = Clips(7, config.frames)
    options.setdefault("sentences", SENTENCES)
    about = {"class_names": NAMES} | options.pop("about", {})
    return fit(config, train, val, test, about=about, out_dir=out_dir, **options)


def model_of(config: Config, seed: int = 0) -> safe_core.SAFE:
    """A fresh model from a seed, in evaluation mode."""
    torch.manual_seed(seed)
    return safe_core.SAFE(config, SENTENCES).eval()
