"""What if a camera fails when the model is asked? Clips that are missing, late, swapped, dark.

    corrupted = Corrupted(splits.test, CORRUPTIONS["events late"], level=2)

Nothing is changed but the clips of a test list, of the sample as of real data. What concerns the
event stream is done to it, before event images are made; the rest to the images of the clip. All
draws depend on the recording's index only, so every model meets the same.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from safe_companion.clips import ClipDataset, switched_off
from safe_companion.events import EVENT_DTYPE
from safe_companion.recordings import Recording, RecordingError
from safe_companion.sample import WORLD

Clip = dict[str, Any]


# ------------------------------------------------------------------------------- of event streams
def _events_of(recording: Recording) -> np.ndarray:
    if recording.events is None:
        raise RecordingError(
            f"{recording.path}: found stored event images only; expected events, to drop or add "
            "some. Get the npz or aedat4 form.",
            kind="missing",
        )
    return np.asarray(recording.events)


def late(recording: Recording, frames: float, rng: np.random.Generator) -> Recording:
    """The events come so many frames late: frame i stands beside the events of frame i - frames."""
    delay = int(frames)
    kept = len(recording.frame_sources) - delay
    if kept < 1:
        raise RecordingError(
            f"{recording.path}: found {kept + delay} frames; expected more than the delay of "
            f"{delay}. Ask for a shorter one.",
            kind="too few frames",
        )
    changed = dataclasses.replace(recording, frame_sources=recording.frame_sources[delay:])
    changed.event_image_sources = recording.event_image_sources[:kept]
    if recording.events is not None:
        if recording.frame_t is None:
            raise RecordingError(
                f"{recording.path}: found frames without times; expected times, to delay events.",
                kind="missing",
            )
        events = np.asarray(recording.events)
        changed.frame_t = recording.frame_t[:kept]  # what comes behind them is yet to arrive
        changed.events = events[: np.searchsorted(events["t"], recording.frame_t[kept])]
    return changed


def dropped(recording: Recording, share: float, rng: np.random.Generator) -> Recording:
    """A share of the events is lost, drawn at random; at least one stays."""
    events = _events_of(recording)
    stays = rng.random(len(events)) >= share
    stays[rng.integers(len(events))] = True
    return dataclasses.replace(recording, events=events[stays])


def noisy(recording: Recording, rate: float, rng: np.random.Generator) -> Recording:
    """Each pixel fires `rate` more events a second, at any time and of either sign."""
    events = _events_of(recording)
    first, last = int(events["t"][0]), int(events["t"][-1])
    width, height = recording.size
    added = np.empty(rng.poisson(rate * width * height * (last - first) * 1e-6), EVENT_DTYPE)
    added["t"] = rng.integers(first, last + 1, len(added))
    added["x"] = rng.integers(0, width, len(added))
    added["y"] = rng.integers(0, height, len(added))
    added["p"] = rng.integers(0, 2, len(added))
    together = np.concatenate([events, added])
    return dataclasses.replace(recording, events=together[np.argsort(together["t"], kind="stable")])


# ------------------------------------------------------------------------------- of images
def darkened(images: torch.Tensor, light: float, rng: np.random.Generator) -> torch.Tensor:
    """uint8 images in a share of their light, with the noise of the sample's RGB camera.

    Without the gain that it could set: shot noise and read noise stand out, and 8 bits are few.
    """
    linear = (images.numpy() / 255.0) ** 2.2
    electrons = WORLD.white_electrons * light * linear
    noise = np.sqrt(electrons + WORLD.read_noise**2) * rng.standard_normal(linear.shape)
    seen = np.clip((electrons + noise) / WORLD.white_electrons, 0, 1) ** (1 / 2.2)
    return torch.from_numpy((255 * seen + 0.5).astype(np.uint8))


def blurred(images: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """uint8 images [F, 3, S, S], smeared sideways over a share of their width."""
    pixels = max(1, round(share * images.shape[-1]))
    before = (pixels - 1) // 2
    rows = F.pad(images.flatten(0, 1).float(), (before, pixels - 1 - before), mode="replicate")
    means = F.avg_pool1d(rows.flatten(0, 1)[:, None], pixels, stride=1)
    return (means + 0.5).to(torch.uint8).view(images.shape)


# ------------------------------------------------------------------------------- all of them
@dataclasses.dataclass(frozen=True)
class Corruption:
    """One thing that goes wrong, at some levels.

    needs: the branches of a model for which it means something. of: "recording", "images" of the
    first branch that it needs, or the whole clip: "missing" or "swapped" with another class's.
    """

    unit: str
    levels: Sequence[float]
    needs: tuple[str, ...]
    of: str
    change: Callable[[Any, float, np.random.Generator], Any] | None = None


CORRUPTIONS = {
    "RGB missing": Corruption("", (1,), ("rgb", "event"), "missing"),
    "events missing": Corruption("", (1,), ("event", "rgb"), "missing"),
    "RGB of another class": Corruption("", (1,), ("rgb", "event"), "swapped"),
    "events of another class": Corruption("", (1,), ("event", "rgb"), "swapped"),
    "events late": Corruption("frames", (1, 2, 4), ("event", "rgb"), "recording", late),
    "RGB darker": Corruption("share of its light", (0.3, 0.1, 0.03), ("rgb",), "images", darkened),
    "RGB blurred": Corruption("share of width", (0.05, 0.1, 0.2), ("rgb",), "images", blurred),
    "events lost": Corruption("share", (0.5, 0.9, 0.99), ("event",), "recording", dropped),
    "noise events": Corruption("1 / s / pixel", (1, 4, 16), ("event",), "recording", noisy),
}


SAID = {  # {unit as records have it: how a level is said, of a share in percent}
    "frames": "{:g} frames",
    "share of its light": "to {:g} % of its light",
    "share of width": "over {:g} % of the width",
    "share": "{:g} %",
    "1 / s / pixel": "{:g} per s and pixel",
}


def in_words(what: str, level: float = 0, unit: str = "") -> str:
    """A line of a record for a reader: "events late: 1 frame", "undisturbed"."""
    if what == "nothing":
        return "undisturbed"
    if not unit:
        return what
    shown = 100 * level if unit.startswith("share") else level
    said = SAID.get(unit, f"{{:g}} {unit}").format(shown)
    return f"{what}: {said.removesuffix('s') if unit == 'frames' and level == 1 else said}"


class Corrupted(ClipDataset):
    """The clips of a test list with a corruption at one of its levels.

    clips: of a configuration with resize="loader", since whole images are changed. ValueError for a
    model that does not look at what is corrupted.
    """

    def __init__(self, clips: ClipDataset, corruption: Corruption, level: float):
        if lacking := set(corruption.needs) - set(clips.config.branches):
            raise ValueError(
                f"found modality={clips.config.modality!r}; this corruption needs {lacking.pop()!r}"
            )
        if clips.on_device:
            raise ValueError("found clips that a device resizes; expected resize='loader'")
        super().__init__(
            list(zip(clips.names, clips.labels.tolist(), strict=True)),
            clips.root,
            clips.class_names,
            clips.config,
            draw=clips.draw,
            sensor_size=clips.sensor_size,
            sample=clips.sample,
        )
        self.clean = clips
        self.corruption = corruption
        self.level = level

    def recording(self, index: int) -> Recording:
        """The recording behind clip `index`, with what befalls its events."""
        recording = super().recording(index)
        return self._changed(recording, index) if self.corruption.of == "recording" else recording

    def __getitem__(self, index: int) -> Clip:
        if self.corruption.of == "recording":
            return super().__getitem__(index)
        clip = self._clean(index)
        branch = self.corruption.needs[0]
        if self.corruption.of == "missing":
            return switched_off(clip, branch, self.config)
        if self.corruption.of == "swapped":
            others = (self.labels != self.labels[index]).nonzero().flatten()
            other = int(self._rng(index).choice(others.numpy()))
            return clip | {branch: self._clean(other)[branch]}
        return clip | {branch: self._changed(clip[branch], index)}

    def __getitems__(self, indices: Sequence[int]) -> list[Clip]:
        return [self[index] for index in indices]  # none is kept for another run

    def _clean(self, index: int) -> Clip:
        return self.clean.__getitems__([index])[0]  # of the sample, those that are kept

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([index, 1])

    def _changed(self, whole: Any, index: int) -> Any:
        assert self.corruption.change is not None
        return self.corruption.change(whole, self.level, self._rng(index))
