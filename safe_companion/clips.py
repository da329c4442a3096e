"""What does the model see of a recording? F frames and F event images: a clip.

A clip is {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3, S, S], "label": int, "name": str}, with
F frames and S the image size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

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
from safe_companion.recordings import Recording, RecordingError, read_image, read_recording
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


Draw = Literal["even", "jittered", "random"]


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
    "frame" one for each image. All draws depend on (config.seed, epoch, index) only; "even" and
    "none" draw nothing. sensor_size: (width, height) of npz recordings, if known.
    __getitem__ raises RecordingError.
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
        sensor_size: tuple[int, int] | None = None,
    ):
        self.names = [sample for sample, _ in items]
        self.labels = torch.tensor([label for _, label in items], dtype=torch.int64)
        self.root = Path(root)
        self.class_names = class_names
        self.config = config
        self.draw = draw
        self.augment = augment
        self.sensor_size = sensor_size
        # Shared memory: workers that persist hold a copy of this object, and see the new epoch.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.names)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random draws the next clips use; reaches running workers too."""
        self._epoch.fill_(epoch)

    def recording(self, index: int) -> Recording:
        """The whole recording behind clip `index`. Raises RecordingError."""
        return read_recording(
            self.root / self.names[index],
            size=self.sensor_size,
            time_unit=self.config.time_unit,
            columns=self.config.columns,
            repair=self.config.repair_events,
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        # Every source of chance: "even" and "none" leave it untouched.
        rng = np.random.default_rng([self.config.seed, int(self._epoch), index])
        recording = self.recording(index)
        label = int(self.labels[index])
        clip: dict[str, Any] = {"label": label, "name": self.names[index]}
        choice = self._choose(recording, rng)
        common = Augmentation()
        if self.augment == "clip":
            common = draw_augmentation(rng, self.class_names[label])

        if self.config.modality != "event":
            frames = [read_image(recording.frame_sources[i]) for i in choice.frames]
            clip["rgb"] = self._stack(frames, common, rng, background=0, recolour=True)
        if self.config.modality != "rgb":
            images = self._event_images(recording, choice)
            background = BACKGROUND[self.config.event_representation]
            clip["event"] = self._stack(images, common, rng, background=background, recolour=False)
        return clip

    def _event_images(self, recording: Recording, choice: _Choice) -> list[Image.Image]:
        if recording.events is None:
            return [read_image(recording.event_image_sources[i]) for i in choice.event_images]
        representation = self.config.event_representation
        images = []
        for start, stop in choice.windows:
            pixels = event_image(recording.events[start:stop], recording.size, representation)
            images.append(Image.fromarray(pixels.transpose(1, 2, 0)))
        return images

    def _stack(
        self,
        images: list[Image.Image],
        common: Augmentation,
        rng: np.random.Generator,
        *,
        background: int,
        recolour: bool,
    ) -> torch.Tensor:
        """uint8 [F, 3, S, S] of F images, under one common augmentation or one drawn for each."""
        side = self.config.image_size
        if self.augment != "frame":
            return stack_images(images, common, side=side, background=background, recolour=recolour)
        own = [
            stack_images(
                [image],
                draw_frame_augmentation(rng),
                side=side,
                background=background,
                recolour=recolour,
            )
            for image in images
        ]
        return torch.cat(own)

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
                f"{recording.path}: recording has {available} frames, {self.config.frames} asked "
                "for; expected at least as many. Ask for fewer frames, or set "
                "on_bad_recording='skip'.",
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
        event_t = recording.events["t"]
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
        self, recording: Recording, events: np.ndarray, rng: np.random.Generator
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
        middles = [events["t"][(start + stop) // 2] for start, stop in windows]
        nearest = [int(np.abs(recording.frame_t - t).argmin()) for t in middles]
        return _Choice(nearest, windows)
