"""Images resized on the device are those of the loader, within two grey levels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recipes import random_events, save_images, save_npz
from tiny import model_of, small

import safe_core
from safe_companion.augmentation import Augmentation, draw_augmentation, stack_images
from safe_companion.clips import ClipDataset
from safe_companion.events import BACKGROUND
from safe_companion.resizing import native, padded, resized
from safe_core import Config


def picture(width, height, seed=0):
    """Steep edges, a ramp and noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (height, width, 3), np.uint8)
    pixels[: height // 2] = np.linspace(0, 255, width).astype(np.uint8)[None, :, None]
    pixels[height // 4 : height // 3, ::2] = 255
    return Image.fromarray(pixels)


def apart(image, augmentation, side, background=255, recolour=True):
    """Grey levels between both ways: the most.

    Few pixels differ, where rounding met a tie, or where Pillow resizes columns before rows.
    """
    options = {"side": side, "background": background, "recolour": recolour}
    expected = stack_images([image], augmentation, **options)
    found = resized(*native([image], [augmentation], **options), side)
    assert found.shape == expected.shape and found.dtype == torch.uint8
    difference = (found.int() - expected.int()).abs()
    assert difference.float().mean() < (0.02 if image.size == (346, 260) else 0.4)
    return int(difference.max())


@pytest.mark.parametrize("size", [(346, 260), (40, 30), (64, 64), (30, 90), (1, 1)])
@pytest.mark.parametrize("side", [64, 224])
def test_whole_images_are_within_two_levels(size, side):
    assert apart(picture(*size), Augmentation(), side) <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 120), st.integers(2, 120), st.integers(8, 70))
def test_augmented_images_are_within_two_levels(seed, width, height, side):
    rng = np.random.default_rng(seed)
    augmentation = draw_augmentation(rng, "wave")
    assert apart(picture(width, height, seed), augmentation, side, background=seed % 256) <= 2


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "box",
    [(-0.3, 0.1, 0.7, 1.1), (0.2, -0.4, 1.3, 0.6), (-0.5, -0.5, 1.5, 1.5), (0.4, 0.4, 0.6, 0.5)],
)
@pytest.mark.parametrize("background", sorted(set(BACKGROUND.values())))
def test_boxes_beyond_the_image_show_the_background(box, flip, background):
    augmentation = Augmentation(box, flip, 0.8, 20.0)
    for recolour in (False, True):
        assert apart(picture(346, 260), augmentation, 96, background, recolour) <= 2


def test_images_of_other_sizes_are_padded_and_resized_as_if_alone():
    sizes = [(30, 20), (20, 34), (30, 20), (7, 9)]
    options = {"side": 24, "background": 0, "recolour": True}
    rng = np.random.default_rng(0)
    singles = [
        native([picture(*size)] * 2, [draw_augmentation(rng, "wave")] * 2, **options)
        for size in sizes
    ]
    pixels = padded([pixels for pixels, _ in singles])
    assert pixels.shape == (4, 2, 34, 30, 3)
    together = resized(pixels, torch.stack([looks for _, looks in singles]), 24)
    for one, (pixels, looks) in zip(together, singles, strict=True):
        assert (one.int() - resized(pixels, looks, 24).int()).abs().max() <= 1


def test_autocast_around_it_changes_nothing():
    one = native([picture(346, 260)], [Augmentation()], side=96, background=0, recolour=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = resized(*one, 96)
    assert torch.equal(found, resized(*one, 96))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two recordings of other sensors."""
    top = tmp_path_factory.mktemp("resizing")
    for name, size in {"a": (48, 36), "b": (40, 50)}.items():
        t = np.arange(5) * 200_000
        stream = random_events(4000, size, seed=1)
        save_npz(top / name / f"{name}.npz", stream, frame_t=t, sensor_size=np.array(size))
        frames = [np.asarray(picture(*size, seed)) for seed in range(5)]
        save_images(top / name / f"{name}_aps", frames)
    return top


@pytest.mark.parametrize("representation", sorted(BACKGROUND))
@pytest.mark.parametrize("augment", ["none", "clip", "frame"])
def test_batches_of_clips_are_those_of_the_loader(root, representation, augment):
    fields = {"frames": 3, "image_size": 32, "event_representation": representation}
    clips = ClipDataset(
        [("a", 0), ("b", 1)],
        root,
        ["wave", "left"],
        Config(**fields, resize="device"),
        draw="jittered",
        augment=augment,
    )
    (batch,) = torch.utils.data.DataLoader(clips, batch_size=2, collate_fn=clips.collate)
    assert batch["rgb"].shape == (2, 3, 50, 48, 3)
    done = clips.finish(batch)
    assert set(done) == {"label", "name", "rgb", "event"} and done["name"] == ["a", "b"]
    for key in ("rgb", "event"):
        expected = torch.stack([clips[0][key], clips[1][key]])
        assert done[key].shape == expected.shape and done[key].dtype == torch.uint8
        assert (done[key].int() - expected.int()).abs().max() <= 2


def test_the_loader_resizes_where_it_is_asked_to(root):
    config = Config(frames=3, image_size=32, resize="loader")
    clips = ClipDataset([("a", 0), ("b", 1)], root, ["wave", "left"], config)
    (batch,) = torch.utils.data.DataLoader(clips, batch_size=2, collate_fn=clips.collate)
    assert torch.equal(clips.finish(batch)["rgb"], torch.stack([clips[0]["rgb"], clips[1]["rgb"]]))


def test_a_model_answers_the_same_wherever_images_are_resized(root, monkeypatch):
    answers = {}
    seen = []
    monkeypatch.setattr(
        ClipDataset,
        "finish",
        lambda self, batch, finish=ClipDataset.finish: _noted(seen, batch, finish(self, batch)),
    )
    for resize in ("loader", "device"):
        for workers in (0, 1):
            config = small(resize=resize, workers=workers, image_size=64)
            clips = ClipDataset([("a", 0), ("b", 1), ("a", 2)], root, ["wave", "bow"], config)
            answers[resize, workers] = safe_core.predict(model_of(config), clips, config)
    assert [side for side, _ in seen] == [64, 64, 48, 48]
    assert all(after == 64 for _, after in seen)
    expected = answers["loader", 0]
    assert torch.equal(answers["loader", 1], expected)
    assert torch.equal(answers["device", 1], answers["device", 0])
    torch.testing.assert_close(answers["device", 0], expected, atol=0.02, rtol=0)


def _noted(seen, batch, done):
    """Notes the width of images before and after."""
    width = batch["rgb"].shape[-2 if "rgb_look" in batch else -1]
    seen.append((width, done["rgb"].shape[-1]))
    return done
