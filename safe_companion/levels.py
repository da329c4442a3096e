"""How far does one condition alone decide? Test sets of a sample at fixed light, speed, noise.

    clips = AtLevel(config, "light", 0.01)

At every level of an axis the same people stand before the same backgrounds, and nothing else is
made hard: only the knob differs. No model was trained on these recordings.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from safe_companion.behaviour import VERSIONS
from safe_companion.clips import ClipDataset
from safe_companion.recordings import Recording
from safe_companion.sample import CLASSES, WORLD, World, simulate, stream
from safe_core import Config

DATASETS = ("hardvs", "pokerevent")  # conjunctions are always in good light, whatever the World
PER_CLASS = 10  # recordings of a level
SEED = 2  # of their streams; 0 and 1 are the samples'
LIGHT = 0.1  # relative to a bright room, where light is not what is tried


@dataclasses.dataclass(frozen=True)
class Axis:
    """A condition: its unit, its levels, and the knobs of the world at a level."""

    unit: str
    levels: Sequence[float]
    knobs: Callable[[float], dict]


def _lit(light: float) -> dict:
    """The knobs of an illumination, with the noise that the sample has in it."""
    noise = np.interp(np.log(light), np.log(WORLD.illumination), WORLD.noise_hz[::-1])
    return {"illumination": (light, light), "noise_hz": (float(noise), float(noise))}


def _moving(speed: float) -> dict:
    """The knobs of a speed: every frame is exposed for its whole interval, so motion blurs it."""
    return _lit(LIGHT) | {"p_fast": 1.0, "speed_fast": (speed, speed)}


def _noisy(rate: float) -> dict:
    return _lit(LIGHT) | {"noise_hz": (rate, rate)}


AXES = {
    "light": Axis("relative to a bright room", (1.0, 0.1, 0.01, 0.001, 0.0001), _lit),
    "speed": Axis("cycles / s", (0.03, 0.3, 1.0, 2.0, 4.0), _moving),
    "noise": Axis("noise events / s / pixel", (0.1, 0.5, 1.5, 4.0, 10.0), _noisy),
}


def world_at(axis: str, level: float) -> World:
    """The sample's world with one condition fixed, and no recording made hard otherwise."""
    knobs = AXES[axis].knobs(level)
    return dataclasses.replace(WORLD, **{"p_event_hard": 0.0, "p_fast": 0.0} | knobs)


def can_be_set(config: Config) -> bool:
    """Whether a configuration's recordings are of a sample whose light, speed and noise can be."""
    return config.origin == "sample" and config.dataset in DATASETS


class AtLevel(ClipDataset):
    """Clips of recordings at a level of an axis, PER_CLASS of each class of the sample.

    Simulated when they are asked for; their clips are kept as those of the sample are. ValueError
    where no level can be set.
    """

    def __init__(self, config: Config, axis: str, level: float):
        if not can_be_set(config):
            raise ValueError(
                f"found dataset={config.dataset!r} with data_root={config.data_root!r}; expected "
                f"the generated sample of {' or '.join(DATASETS)}: only there can light, speed and "
                "noise be set. Ask for corruptions."
            )
        names = CLASSES[config.dataset]
        items = [(f"{k:03d}-{i:03d}", k) for k in range(len(names)) for i in range(PER_CLASS)]
        decides = [config.dataset, axis, level, SEED, PER_CLASS, VERSIONS["sample"]]
        mark = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
        super().__init__(items, "", names, config, sample=mark)
        self.world = world_at(axis, level)

    def recording(self, index: int) -> Recording:
        """The simulated recording behind clip `index`."""
        label, number = divmod(index, PER_CLASS)
        dataset = self.config.dataset
        drawn = stream(dataset, "test", label, number, seed=SEED)
        film = simulate(dataset, label, drawn, world=self.world)
        return Recording(
            name=self.names[index],
            path=Path(self.names[index]),
            size=(self.world.width, self.world.height),
            events=film["events"],
            frame_t=film["frame_t"],
            frame_sources=list(film["frames"]),
        )
