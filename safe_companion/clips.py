"""What does the model see of a recording? F frames and F event images: a clip.

A clip is {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3, S, S], "label": int, "name": str}, with
F frames and S the image size.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from safe_companion import finished, resizing
from safe_companion.augmentation import (
    Augmentation,
    draw_augmentation,
    draw_frame_augmentation,
    stack_images,
)
from safe_companion.events import (
    BACKGROUND,
    adaptive_windows,
    equal_windows,
    event_image,
    frame_windows,
)
from safe_companion.formats.pack import EventView
from safe_companion.recordings import (
    Recording,
    RecordingError,
    read_image,
    read_recording,
    times_of,
)
from safe_companion.resizing import padded, resized
from safe_core import Config


def spread_indices(
    available: int, count: int, *, rng: np.random.Generator | None = None
) -> np.ndarray:
    """`count` increasing indices out of range(available), int64: one from each of equal segments.

    The middle of its segment without rng, anywhere in it with rng: never twice the same, unless
    available < count, when indices repeat evenly.
    """
    low = np.arange(count) * available // count
    high = np.maximum(np.arange(1, count + 1) * available // count, low + 1)
    if rng is None:
        return (low + high - 1) // 2
    return rng.integers(low, high)


def loader_workers(asked: int | None) -> int:
    """Loader processes of a training process: as asked, or the cores that it may use but one.

    Those of the machine are shared by its training processes (torchrun says how many); 16 at most.
    """
    if asked is not None:
        return asked
    shared_by = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(max(len(os.sched_getaffinity(0)) // shared_by - 1, 0), 16)


Draw = Literal["even", "jittered", "random"]


def unlit(branch: str, config: Config) -> int:
    """Pixel value of what a branch's camera gives when it is off: black, or no event."""
    return 0 if branch == "rgb" else BACKGROUND[config.event_representation]


def switched_off(clip: dict[str, Any], branch: str, config: Config) -> dict[str, Any]:
    """The clip, with what one camera gives when it is off; no brightening lights it up again."""
    changed = clip | {branch: torch.full_like(clip[branch], unlit(branch, config))}
    if f"{branch}_look" in clip:
        changed[f"{branch}_look"] = resizing.unchanged(clip[f"{branch}_look"])
    return changed


class _Choice(NamedTuple):
    """What of a recording becomes a clip: F indices of frames, and F windows or stored images."""

    frames: Sequence[int] | np.ndarray = ()
    windows: Sequence[tuple[int, int]] = ()
    event_images: Sequence[int] | np.ndarray = ()


class ClipDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """Clips of a list of (sample, label), as in this module's first lines.

    names: list[str] of samples; labels: int64 [n]. With config.modality "rgb" or "event" the other
    key is absent. Frame i and event image i belong to the same instant. With event_windows="frames"
    that is frame index i and the events up to the next frame. With "afe", F of the adaptive windows
    are chosen in the same way (repeated evenly when there are fewer), each with the frame nearest
    to its middle. Recordings without frames give F windows of equal duration.

    draw: "even"; "jittered" within F equal segments; "random": any F, in any order, each modality
    on its own. augment: "clip" draws one augmentation for all images of a clip, in both modalities;
    "frame" one for each image. modality_dropout: probability with which a clip loses one of both
    modalities. All draws depend on (config.seed, epoch, index) only; "even" and "none" draw
    nothing. sensor_size: (width, height) of npz recordings, if known. sample: the
    fingerprint of the generated sample whose clips these are, else "": those that draw nothing are
    kept (safe_companion.finished), and the recordings are packed. __getitem__ raises
    RecordingError.
    """

    def __init__(
        self,
        items: Sequence[tuple[str, int]],
        root: str | Path,
        class_names: Sequence[str],
        config: Config,
        *,
        draw: Draw = "even",
        augment: Literal["clip", "frame", "none"] = "none",
        modality_dropout: float = 0.0,
        sensor_size: tuple[int, int] | None = None,
        sample: str = "",
    ):
        shown = (config.event_representation, config.event_windows)
        if config.stored_event_images and shown != ("authors", "frames"):
            raise ValueError(f"stored_event_images with {shown}; expected 'authors' and 'frames'")
        if modality_dropout and config.modality != "both":
            raise ValueError(
                f"modality_dropout={modality_dropout} with modality={config.modality!r}; expected "
                "'both', since a clip has to keep one. Set modality_dropout=0."
            )
        self.names = [sample for sample, _ in items]
        self.labels = torch.tensor([label for _, label in items], dtype=torch.int64)
        self.root = Path(root)
        self.class_names = class_names
        self.config = config
        self.draw = draw
        self.augment = augment
        self.modality_dropout = modality_dropout
        self.sensor_size = sensor_size
        self.sample = sample
        self._kept: np.ndarray | None = None
        self._draws = draw != "even" or augment != "none" or modality_dropout > 0
        self.on_device = config.resize == "device" or (
            config.resize == "auto" and torch.cuda.is_available()
        )
        self.workers = loader_workers(config.workers)
        # Shared memory: workers that persist hold a copy of this object, and see the new epoch.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.names)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random draws the next clips use; reaches running workers too."""
        self._epoch.fill_(epoch)

    def recording(self, index: int) -> Recording:
        """The whole recording behind clip `index`. Raises RecordingError."""
        name = self.names[index]
        recording = read_recording(
            finished.packed(self.root, name) if self.sample else self.root / name,
            size=self.sensor_size,
            time_unit=self.config.time_unit,
            columns=self.config.columns,
            repair=self.config.repair_events,
            stored=self.config.stored_event_images,
        )
        recording.path = self.root / name
        return recording

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._clip(index, native=False)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """What a loader asks for: clips whose images `finish` resizes, where the device does it."""
        if self.sample and not self._draws:
            return [self._kept_clip(index) for index in indices]
        return [self._clip(index, native=self.on_device) for index in indices]

    def _kept_clip(self, index: int) -> dict[str, Any]:
        """A clip that draws nothing, as it was made for the first run that asked for it."""
        branches = self.config.branches
        if self._kept is None:
            side = self.config.image_size
            shape = (len(self), len(branches), self.config.frames, 3, side, side)
            file = finished.file_of(self.sample, self.names, self.config)

            def made(number: int) -> np.ndarray:
                clip = self[number]
                return np.stack([clip[branch] for branch in branches])

            self._kept = finished.find_or_make(file, shape, made)
        if self._kept is None:
            return self[index]
        images = torch.from_numpy(np.array(self._kept[index]))
        about = {"label": int(self.labels[index]), "name": self.names[index]}
        return about | dict(zip(branches, images, strict=True))

    def collate(self, clips: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of some clips; images of other sizes are padded."""
        batch = {}
        for key in clips[0]:
            values = [clip[key] for clip in clips]
            is_native = f"{key}_look" in clips[0]
            batch[key] = padded(values) if is_native else default_collate(values)
        return batch

    def finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with images uint8 [B, F, 3, S, S], resized on the device on which they lie."""
        done = {key: value for key, value in batch.items() if not key.endswith("_look")}
        for key in done:
            if f"{key}_look" in batch:
                looks = batch[f"{key}_look"]
                done[key] = resized(done[key], looks, self.config.image_size)
        return done

    def _clip(self, index: int, *, native: bool) -> dict[str, Any]:
        # Every source of chance: "even" and "none" leave it untouched.
        rng = np.random.default_rng([self.config.seed, int(self._epoch), index])
        recording = self.recording(index)
        label = int(self.labels[index])
        clip: dict[str, Any] = {"label": label, "name": self.names[index]}
        choice = self._choose(recording, rng)
        common = Augmentation()
        if self.augment == "clip":
            common = draw_augmentation(rng, self.class_names[label])

        shown: dict[str, list[Any]] = {}
        if self.config.modality != "event":
            shown["rgb"] = [read_image(recording.frame_sources[i]) for i in choice.frames]
        if self.config.modality != "rgb":
            shown["event"] = self._event_images(recording, choice)
        for key, images in shown.items():
            augmentations = [common] * len(images)
            if self.augment == "frame":
                augmentations = [draw_frame_augmentation(rng) for _ in images]
            is_rgb = key == "rgb"
            options: dict[str, Any] = {
                "side": self.config.image_size,
                "background": unlit(key, self.config),
                "recolour": is_rgb,
            }
            if native:
                clip[key], clip[f"{key}_look"] = resizing.native(images, augmentations, **options)
                continue
            images = [Image.fromarray(i) if isinstance(i, np.ndarray) else i for i in images]
            if self.augment == "frame":
                pairs = zip(images, augmentations, strict=True)
                clip[key] = torch.cat([stack_images([im], aug, **options) for im, aug in pairs])
            else:
                clip[key] = stack_images(images, common, **options)
        if self.modality_dropout and rng.random() < self.modality_dropout:  # the last draws
            return switched_off(clip, str(rng.choice(["rgb", "event"])), self.config)
        return clip

    def _event_images(
        self, recording: Recording, choice: _Choice
    ) -> list[Image.Image | np.ndarray]:
        """F images, those of events as uint8 [H, W, 3]."""
        if recording.events is None:
            return [read_image(recording.event_image_sources[i]) for i in choice.event_images]
        representation = self.config.event_representation
        images: list[Image.Image | np.ndarray] = []
        for start, stop in choice.windows:
            pixels = event_image(recording.events[start:stop], recording.size, representation)
            images.append(pixels.transpose(1, 2, 0))
        return images

    def _pick(self, available: int, rng: np.random.Generator) -> np.ndarray:
        """F indices out of range(available), as `draw` says."""
        count = self.config.frames
        if self.draw == "random":
            return np.resize(rng.permutation(available), count)
        if self.draw == "jittered":
            return spread_indices(available, count, rng=rng)
        return spread_indices(available, count)

    def _pick_pairs(
        self, recording: Recording, available: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """F indices for frames, F for event images: the same, unless each is drawn on its own."""
        if available < self.config.frames:
            raise RecordingError(
                f"{recording.path}: found {available} frames; expected at least "
                f"{self.config.frames}. Ask for fewer frames, or set on_bad_recording='skip'.",
                kind="too few frames",
            )
        frames = self._pick(available, rng)
        if self.draw == "random":
            return frames, self._pick(available, rng)
        return frames, frames

    def _choose(self, recording: Recording, rng: np.random.Generator) -> _Choice:
        if self.config.modality != "event" and not recording.frame_sources:
            raise RecordingError(
                f"{recording.path}: found no RGB frames; expected at least {self.config.frames}. "
                "Set modality='event'.",
                kind="too few frames",
            )
        if recording.events is None:
            return self._choose_stored(recording, rng)
        if self.config.event_windows == "afe":
            return self._choose_adaptive(recording, recording.events, rng)
        event_t = times_of(recording.events)
        if recording.frame_t is None:
            jitter = None if self.draw == "even" else rng
            return _Choice(windows=equal_windows(event_t, self.config.frames, rng=jitter))
        windows = frame_windows(recording.frame_t, event_t)
        frames, at = self._pick_pairs(recording, len(windows), rng)
        return _Choice(frames, windows=[windows[i] for i in at])

    def _choose_stored(self, recording: Recording, rng: np.random.Generator) -> _Choice:
        """Of a recording without events: stored event images, if its modality asks for any."""
        representation = self.config.event_representation
        event_windows = self.config.event_windows
        if self.config.modality != "rgb":
            if not recording.event_image_sources:
                raise RecordingError(
                    f"{recording.path}: found neither events nor event images; expected one of "
                    "them. Set modality='rgb', or extract the events.",
                    kind="missing",
                )
            if representation != "authors" or event_windows != "frames":
                raise RecordingError(
                    f"{recording.path}: found stored event images only; expected events, for "
                    f"event_representation='{representation}', event_windows='{event_windows}'. "
                    "Set 'authors' and 'frames', or get the npz or aedat4 form."
                )
        available = len(recording.frame_sources) or len(recording.event_image_sources)
        frames, at = self._pick_pairs(recording, available, rng)
        return _Choice(frames, event_images=at)

    def _choose_adaptive(
        self, recording: Recording, events: np.ndarray | EventView, rng: np.random.Generator
    ) -> _Choice:
        """AFE windows, each with the frame nearest to its middle event."""
        windows = adaptive_windows(
            events,
            recording.size,
            min_events=self.config.afe_min_events,
            threshold=self.config.afe_threshold,
        )
        windows = [windows[i] for i in self._pick(len(windows), rng)]
        if recording.frame_t is None:
            return _Choice(windows=windows)
        if self.draw == "random":
            return _Choice(self._pick(len(recording.frame_sources), rng), windows)
        event_t = times_of(events)
        middles = [event_t[(start + stop) // 2] for start, stop in windows]
        nearest = [int(np.abs(recording.frame_t - t).argmin()) for t in middles]
        return _Choice(nearest, windows)
