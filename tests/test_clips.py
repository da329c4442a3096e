"""A clip shows the right instants, augmented as drawn, and drawn by seed, epoch and index."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recipes import (
    gray_frames,
    make_events,
    random_events,
    save_images,
    save_npz,
    save_numbered,
    save_stored,
)

from safe_companion.augmentation import (
    Augmentation,
    draw_augmentation,
    draw_frame_augmentation,
    flip_permitted,
    stack_images,
)
from safe_companion.clips import ClipDataset, spread_indices
from safe_companion.events import BACKGROUND, event_image
from safe_companion.recordings import RecordingError, read_recording
from safe_core import Config

BOTH_CLASSES = ["Wave", "Left Bend"]  # the second may not be mirrored


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Roots with one recording `a` each."""
    top = tmp_path_factory.mktemp("clips")
    wandering = []  # a black block wanders to the right on white
    for i in range(8):
        image = np.full((60, 80, 3), 255, np.uint8)
        image[20:32, 15 + 4 * i : 27 + 4 * i] = 0
        wandering.append(image)
    save_numbered(top / "numbered/a")
    save_stored(top / "wandering/a", wandering)
    save_stored(top / "grey/a", [np.full((6, 8, 3), 128, np.uint8)])
    save_npz(top / "eventful/a.npz", random_events(400))
    return SimpleNamespace(
        numbered=top / "numbered",
        wandering=top / "wandering",
        grey=top / "grey",
        eventful=top / "eventful",
    )


def clips_of(root, items=(("a", 0),), *, draw="even", augment="none", sensor_size=None, **fields):
    config = Config(**({"frames": 3, "image_size": 24} | fields))
    return ClipDataset(
        items, root, BOTH_CLASSES, config, draw=draw, augment=augment, sensor_size=sensor_size
    )


def frames_shown(clip):
    """Indices of the frames of a `save_numbered` recording that a clip shows."""
    return [int(image[0, 0, 0]) // 20 for image in clip["rgb"]]


def windows_shown(clip):
    """Indices of the windows: of six rows of events, the one with colour (less green)."""
    side = clip["event"].shape[-1]
    rows = [int(image[1].float().mean(1).argmin()) for image in clip["event"]]
    return [row * 6 // side for row in rows]


def same(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if torch.is_tensor(a[key]) else a[key] == b[key] for key in a
    )


def clips_by_epoch(clips, epochs, index=0):
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        yield clips[index]


# ---------------------------------------------------------------- the choice of instants


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_spread_indices_take_one_of_each_segment(available, count, seed):
    even = spread_indices(available, count)
    jittered = spread_indices(available, count, rng=np.random.default_rng(seed))
    for indices in (even, jittered):
        assert len(indices) == count and 0 <= indices.min() and indices.max() < available
        if available >= count:
            assert (np.diff(indices) > 0).all()
            assert (indices * count // available - np.arange(count) <= 0).all()
        else:
            assert set(indices.tolist()) == set(range(available))


def test_spread_indices_are_the_middles_or_anywhere_in_the_segments():
    assert spread_indices(9, 3).tolist() == [1, 4, 7]
    assert spread_indices(6, 3).tolist() == [0, 2, 4]
    assert spread_indices(2, 4).tolist() == [0, 0, 1, 1]
    drawn = [spread_indices(9, 3, rng=np.random.default_rng(seed)) for seed in range(50)]
    assert [set(column) for column in np.transpose(drawn).tolist()] == [
        {0, 1, 2},
        {3, 4, 5},
        {6, 7, 8},
    ]


@pytest.mark.parametrize("frames, shown", [(6, [0, 1, 2, 3, 4, 5]), (3, [0, 2, 4]), (2, [1, 4])])
def test_even_clips_pair_each_frame_with_its_own_window(roots, frames, shown):
    clip = clips_of(roots.numbered, frames=frames)[0]
    assert frames_shown(clip) == windows_shown(clip) == shown


def test_jittered_clips_pair_each_frame_with_its_own_window(roots):
    clips = clips_of(roots.numbered, draw="jittered")
    shown = set()
    for clip in clips_by_epoch(clips, 12):
        assert frames_shown(clip) == windows_shown(clip)
        assert [i // 2 for i in frames_shown(clip)] == [0, 1, 2]  # one of each segment
        shown.add(tuple(frames_shown(clip)))
    assert len(shown) > 3


def test_random_clips_draw_each_modality_on_its_own_in_any_order(roots):
    frames, windows = [], []
    for clip in clips_by_epoch(clips_of(roots.numbered, draw="random"), 20):
        frames.append(frames_shown(clip))
        windows.append(windows_shown(clip))
    for shown in frames + windows:
        assert len(set(shown)) == 3
    assert sum(set(f) != set(w) for f, w in zip(frames, windows, strict=True)) > 10
    assert sum(sorted(f) != f for f in frames) > 10
    assert sum(sorted(w) != w for w in windows) > 10
    assert {i for f in frames for i in f} == {i for w in windows for i in w} == set(range(6))


def test_events_without_frames_give_windows_of_equal_duration(roots):
    stream = read_recording(roots.eventful / "a", size=(8, 6)).events
    clips = clips_of(
        roots.eventful,
        modality="event",
        sensor_size=(8, 6),
        frames=4,
        event_representation="counts",
    )
    clip = clips[0]["event"]
    edges = np.searchsorted(stream["t"], stream["t"][0] + np.arange(1, 4) * np.ptp(stream["t"]) / 4)
    for image, part in zip(clip, np.split(stream, edges), strict=True):
        pixels = event_image(part, (8, 6), "counts").transpose(1, 2, 0)
        expected = Image.fromarray(pixels).resize((24, 24), Image.Resampling.BILINEAR)
        assert torch.equal(image, torch.from_numpy(np.asarray(expected).transpose(2, 0, 1).copy()))
    clips.set_epoch(3)
    assert torch.equal(clips[0]["event"], clip)
    jittered = clips_of(roots.eventful, modality="event", sensor_size=(8, 6), draw="jittered")
    first, second = clips_by_epoch(jittered, 2)
    assert not same(first, second)


def bursts(*centres, count=10):
    """`count` events around each centre, the last of the first half at it."""
    return [t + i - count // 2 for t in centres for i in range(count)]


def save_bursts(root, times):
    """A recording of events at these times, with frames of value 20 * i at 1000 * i us."""
    save_npz(
        root / "a/a.npz",
        make_events(*[(i % 8, 0, t, 1) for i, t in enumerate(times)]),
        frame_t=np.arange(6) * 1000,
    )
    save_images(root / "a/a_aps", gray_frames(6))
    return root


AFE = {"event_windows": "afe", "afe_min_events": 10, "frames": 4}


def test_afe_windows_take_the_nearest_frame(tmp_path):
    root = save_bursts(tmp_path, bursts(100, 1200, 3900, 4400))
    assert frames_shown(clips_of(root, **AFE)[0]) == [0, 1, 4, 4]


def test_the_frame_of_an_afe_window_is_nearest_to_its_middle(tmp_path):
    # The first and last events of this window are nearer to frames 0 and 2 than to 1.
    window = [400, 410, 420, 430, 440, 900, 1600, 1610, 1620, 1630]
    root = save_bursts(tmp_path, window + bursts(2500, 3100, 4100))
    assert frames_shown(clips_of(root, **AFE)[0])[0] == 1


def test_fewer_afe_windows_than_frames_repeat_evenly(tmp_path):
    root = save_bursts(tmp_path, bursts(100, 4100))
    assert frames_shown(clips_of(root, **AFE)[0]) == [0, 0, 4, 4]


def test_afe_follows_its_settings(tmp_path):
    root = save_bursts(tmp_path, bursts(100, 1100, 3100, 4100))
    wide = clips_of(root, **AFE | {"afe_min_events": 20})
    assert frames_shown(wide[0]) == [1, 1, 4, 4]
    # Lone events count for nothing, so that halves never differ.
    assert len(set(frames_shown(clips_of(root, **AFE, afe_threshold=1.0)[0]))) == 1
    assert frames_shown(clips_of(root, **AFE | {"event_windows": "frames"})[0]) == [0, 1, 2, 3]


def test_random_afe_clips_draw_frames_and_windows_on_their_own(tmp_path):
    root = save_bursts(tmp_path, bursts(100, 1100, 3100, 4100))
    shown = [frames_shown(c) for c in clips_by_epoch(clips_of(root, draw="random", **AFE), 12)]
    assert {i for frames in shown for i in frames} == set(range(6))
    assert all(len(set(frames)) == 4 for frames in shown)


# ---------------------------------------------------------------- what a clip holds


@pytest.mark.parametrize("modality", ["both", "rgb", "event"])
@pytest.mark.parametrize("windows", ["frames", "afe"])
def test_clip_keys_shapes_and_types(roots, modality, windows):
    clips = clips_of(
        roots.numbered, modality=modality, event_windows=windows, afe_min_events=5, image_size=16
    )
    clip = clips[0]
    images = {"rgb", "event"} if modality == "both" else {modality}
    assert set(clip) == images | {"label", "name"}
    for key in images:
        assert clip[key].shape == (3, 3, 16, 16) and clip[key].dtype == torch.uint8
        assert clip[key].is_contiguous()


def test_label_and_name_belong_to_the_recording(roots):
    save_numbered(roots.numbered / "folder/b (2)")
    clips = clips_of(roots.numbered, [("folder/b (2)", 1), ("a", 0), ("a", 1)])
    assert len(clips) == 3
    assert [(clip["name"], clip["label"]) for clip in clips] == [
        ("folder/b (2)", 1),
        ("a", 0),
        ("a", 1),
    ]
    assert clips.names == ["folder/b (2)", "a", "a"]
    assert clips.labels.dtype == torch.int64 and clips.labels.tolist() == [1, 0, 1]
    assert [clips.recording(i).name for i in range(3)] == ["b (2)", "a", "a"]


@pytest.mark.parametrize("representation", BACKGROUND)
def test_event_images_are_those_of_the_representation(roots, representation):
    clips = clips_of(roots.numbered, frames=6, image_size=48, event_representation=representation)
    recording = clips.recording(0)
    for i, image in enumerate(clips[0]["event"]):
        window = recording.events[8 * i : 8 * i + 8]
        pixels = event_image(window, (8, 6), representation).transpose(1, 2, 0)
        expected = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BILINEAR)
        assert torch.equal(image, torch.from_numpy(np.asarray(expected).transpose(2, 0, 1).copy()))


def test_the_sensor_size_places_the_events_of_an_npz(roots):
    clips = clips_of(roots.eventful, modality="event", sensor_size=(16, 6), image_size=32)
    assert clips.recording(0).size == (16, 6)
    image = clips[0]["event"][0]
    assert (image[:, :, 17:] == 255).all() and (image[:, :, :16] < 255).any()
    assert clips_of(roots.eventful).recording(0).size == (346, 260)


def test_stored_event_images_serve_the_authors_representation_only(roots):
    assert clips_of(roots.wandering)[0]["event"].shape == (3, 3, 24, 24)
    for field, value in {"event_representation": "counts", "event_windows": "afe"}.items():
        with pytest.raises(RecordingError, match=f"stored event images only.*{field}='{value}'"):
            clips_of(roots.wandering, **{field: value})[0]
    assert "event" not in clips_of(roots.wandering, modality="rgb", event_windows="afe")[0]


def test_recordings_that_give_no_clip_are_named(roots, tmp_path):
    with pytest.raises(RecordingError, match="6 frames; expected at least 7") as caught:
        clips_of(roots.numbered, frames=7)[0]
    assert caught.value.kind == "too few frames"
    with pytest.raises(RecordingError, match="no RGB frames.*modality='event'"):
        clips_of(roots.eventful)[0]
    save_images(tmp_path / "a/a_aps", gray_frames(6))
    with pytest.raises(RecordingError, match="neither events nor event images.*modality='rgb'"):
        clips_of(tmp_path)[0]
    assert frames_shown(clips_of(tmp_path, modality="rgb")[0]) == [0, 2, 4]


# ---------------------------------------------------------------- seed, epoch and index

CHANCE = [
    {"draw": "jittered", "augment": "clip"},
    {"draw": "jittered", "augment": "frame"},
    {"draw": "random", "augment": "none"},
    {"draw": "even", "augment": "clip"},
]


@pytest.mark.parametrize("chance", CHANCE)
def test_clips_differ_by_epoch_index_and_seed(roots, chance):
    items = [("a", 0), ("a", 0)]
    clips = clips_of(roots.numbered, items, **chance)
    other_seed = clips_of(roots.numbered, items, seed=5, **chance)
    of_first = list(clips_by_epoch(clips, 4, index=0))
    of_second = list(clips_by_epoch(clips, 4, index=1))
    seeded = list(clips_by_epoch(other_seed, 4, index=0))
    for i, clip in enumerate(of_first):
        for other in (*of_first[:i], of_second[i], seeded[i]):
            assert not torch.equal(clip["rgb"], other["rgb"])
            assert not torch.equal(clip["event"], other["event"])


@pytest.mark.parametrize("chance", CHANCE)
def test_clips_are_the_same_for_the_same_seed_epoch_and_index(roots, chance):
    for first, second in zip(
        clips_by_epoch(clips_of(roots.numbered, **chance), 3),
        clips_by_epoch(clips_of(roots.numbered, **chance), 3),
        strict=True,
    ):
        assert same(first, second)


def test_even_clips_without_augmentation_never_change(roots):
    first, *others = clips_by_epoch(clips_of(roots.numbered), 4)
    assert all(same(first, other) for other in others)
    assert same(first, clips_of(roots.numbered, seed=7)[0])


def test_a_new_epoch_reaches_workers_that_persist(roots):
    clips = clips_of(roots.numbered, [("a", 0)] * 3, draw="jittered", augment="clip")
    loader = torch.utils.data.DataLoader(
        clips, batch_size=None, num_workers=1, persistent_workers=True
    )
    for epoch in range(2):
        clips.set_epoch(epoch)
        for loaded, own in zip(loader, [clips[i] for i in range(3)], strict=True):
            assert same(loaded, own)


# ---------------------------------------------------------------- augmented clips


def centres(images):
    """Centre (x, y) of the dark block in each image, inside the frame's visible part."""
    positions = []
    for image in images.float().mean(1):
        inner = image[7:-7, 7:-7]
        y, x = torch.nonzero(inner < (inner.min() + inner.max()) / 2, as_tuple=True)
        positions.append((x.float().mean().item(), y.float().mean().item()))
    return np.array(positions)


WANDERING = {"frames": 4, "image_size": 64}


def test_augmentation_is_one_for_the_whole_clip_and_both_modalities(roots):
    clips = clips_of(roots.wandering, draw="jittered", augment="clip", **WANDERING)
    flipped, heights = 0, set()
    for clip in clips_by_epoch(clips, 12):
        rgb, event = centres(clip["rgb"]), centres(clip["event"])
        assert np.abs(rgb - event).max() < 1.5
        steps = np.diff(event[:, 0])
        assert (steps > 0).all() or (steps < 0).all()  # all frames mirrored or none
        assert np.ptp(event[:, 1]) < 0.5  # all frames shifted alike
        flipped += steps[0] < 0
        heights.add(round(event[0, 1], 1))
    assert 0 < flipped < 12 and len(heights) > 6


def test_a_sided_class_is_never_mirrored(roots):
    clips = clips_of(roots.wandering, [("a", 0), ("a", 1)], augment="clip", **WANDERING)
    for clip in clips_by_epoch(clips, 12, index=1):
        assert (np.diff(centres(clip["event"])[:, 0]) > 0).all()


def test_as_released_each_image_is_shifted_and_mirrored_alone(roots):
    clips = clips_of(roots.wandering, [("a", 1)], augment="frame", **WANDERING)
    mixed = shifted = apart = 0
    for clip in clips_by_epoch(clips, 12):
        rgb, event = centres(clip["rgb"]), centres(clip["event"])
        steps = np.diff(event[:, 0])
        mixed += (steps > 0).any() and (steps < 0).any()  # a sided class is mirrored, too
        shifted += np.ptp(event[:, 1]) > 1
        apart += np.abs(rgb - event).max() > 3
    assert mixed > 6 and shifted > 6 and apart > 6


def test_brightness_and_contrast_change_the_frames_and_not_the_event_images(roots):
    clips = clips_of(roots.grey, augment="clip", frames=1)
    greys = set()
    for clip in clips_by_epoch(clips, 12):
        greys.add(int(clip["rgb"][0, 0, 12, 12]))
        assert (clip["event"][0, :, 12, 12] == 128).all()
    assert len(greys) > 8 and 103 <= min(greys) < 120 and 136 < max(greys) <= 153


def test_as_released_brightness_does_not_change(roots):
    for clip in clips_by_epoch(clips_of(roots.grey, augment="frame", frames=1), 4):
        assert (clip["rgb"][0, :, 12, 12] == 128).all()


def test_beyond_the_image_frames_are_black_and_event_images_are_background(tmp_path):
    save_numbered(tmp_path / "a")
    for representation, background in BACKGROUND.items():
        clips = clips_of(
            tmp_path, augment="frame", frames=6, image_size=48, event_representation=representation
        )
        corners = torch.cat([c["event"][..., [0, -1], :] for c in clips_by_epoch(clips, 4)])
        assert (corners == background).flatten(1).all(1).any()
        columns = torch.cat([c["rgb"][1:, ..., [0, -1]] for c in clips_by_epoch(clips, 4)])
        assert (columns == 0).all(1).all(1).any()  # frames 1 to 5 hold no black of their own


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(
    "name, permitted",
    [
        ("Wave", True),
        ("jumping jack", True),
        ("Three Step Run", True),
        ("Make a Face", True),
        ("Bright light", True),
        ("Sea hare", True),
        ("9th set of broadcast gymnastics stretching exercises", True),
        ("arm roll", True),
        ("Left Bend", False),
        ("Raise hand with right hand", False),
        ("Simplified Tai Chi Left Right Shuttle", False),
        ("right_hand_clockwise", False),
        ("turn counter-clockwise", False),
        ("swipeLeft", False),
        ("digit_3", False),
        ("L type clamp back", False),
        ("YTW Rowing Action", False),
        ("Mobile Card 1", False),
        ("a", False),
        ("10", False),
        ("JOKER", False),
        ("Queen", False),
        ("three", False),
        ("K", False),
    ],
)
def test_flips_only_where_the_class_permits(name, permitted):
    assert flip_permitted(name) is permitted


def spread(values):
    return min(values), max(values)


def test_a_clip_is_zoomed_shifted_mirrored_and_brightened_within_bounds():
    rng = np.random.default_rng(0)
    drawn = [draw_augmentation(rng, "Wave") for _ in range(300)]
    boxes = np.array([augmentation.box for augmentation in drawn])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert widths == pytest.approx(heights)
    assert spread(widths) == pytest.approx((0.9, 1.1), abs=0.005)
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    assert spread(x) == pytest.approx((0.45, 0.55), abs=0.005)
    assert spread(y) == pytest.approx((0.45, 0.55), abs=0.005)
    assert 100 < sum(augmentation.flip for augmentation in drawn) < 200
    gains = [augmentation.gain for augmentation in drawn]
    offsets = [augmentation.offset for augmentation in drawn]
    assert spread(gains) == pytest.approx((0.8, 1.2), abs=0.01)
    assert spread(offsets) == pytest.approx((-25, 25), abs=1)
    quantities = [widths, x, y, [augmentation.flip for augmentation in drawn], gains, offsets]
    correlation = np.corrcoef(np.array(quantities, float)) - np.eye(6)
    assert np.abs(correlation).max() < 0.25  # each is drawn on its own


def test_an_image_as_released_is_shifted_and_mirrored_within_bounds():
    rng = np.random.default_rng(0)
    drawn = [draw_frame_augmentation(rng) for _ in range(300)]
    boxes = np.array([augmentation.box for augmentation in drawn])
    assert boxes[:, 2:] - boxes[:, :2] == pytest.approx(np.ones((300, 2)))
    for side in (boxes[:, 0], boxes[:, 1]):
        assert spread(side) == pytest.approx((-10 / 224, 10 / 224), abs=0.001)
    assert abs(np.corrcoef(boxes[:, 0], boxes[:, 1])[0, 1]) < 0.25
    assert 100 < sum(augmentation.flip for augmentation in drawn) < 200
    assert {(augmentation.gain, augmentation.offset) for augmentation in drawn} == {(1.0, 0.0)}


# ---------------------------------------------------------------- cropped, resized, stacked


def stacked(pixels, *, side=8, background=7, recolour=False, **augmentation):
    """int [S, S, 3] of one image under an augmentation."""
    images = [Image.fromarray(np.asarray(pixels, np.uint8))]
    out = stack_images(
        images,
        Augmentation(**augmentation),
        side=side,
        background=background,
        recolour=recolour,
    )
    assert out.shape == (1, 3, side, side) and out.dtype == torch.uint8 and out.is_contiguous()
    return out[0].permute(1, 2, 0).int().numpy()


PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3))


def test_without_augmentation_an_image_of_the_right_size_is_kept():
    assert (stacked(PIXELS) == PIXELS).all()
    gray = stacked(PIXELS[..., 0])
    assert (gray == PIXELS[..., :1]).all()


def test_images_are_stacked_in_order():
    images = [Image.fromarray(frame) for frame in gray_frames(4)]
    out = stack_images(images, Augmentation(), side=5, background=0, recolour=False)
    assert out.shape == (4, 3, 5, 5) and out[:, 1, 2, 2].tolist() == [0, 20, 40, 60]


def test_a_mirrored_image_is_reversed_from_left_to_right():
    assert (stacked(PIXELS, flip=True) == PIXELS[:, ::-1]).all()


def test_a_box_beyond_the_image_shows_background_there():
    right_down = stacked(PIXELS, box=(0.25, 0.5, 1.25, 1.5))
    assert (right_down[:4, :6] == PIXELS[4:, 2:]).all()
    assert (right_down[4:] == 7).all() and (right_down[:, 6:] == 7).all()
    left_up = stacked(PIXELS, box=(-0.25, -0.5, 0.75, 0.5))
    assert (left_up[4:, 2:] == PIXELS[:4, :6]).all()
    assert (left_up[:4] == 7).all() and (left_up[:, :2] == 7).all()


def test_a_smaller_box_is_zoomed_in():
    blocks = np.zeros((8, 16, 3), np.uint8)
    blocks[2:6, 4:8] = 90
    blocks[2:6, 8:12] = 180
    zoomed = stacked(blocks, box=(0.25, 0.25, 0.75, 0.75))
    assert (zoomed[1:-1, 1:3] == 90).all() and (zoomed[1:-1, 5:7] == 180).all()


def test_a_box_of_fractions_of_a_pixel_is_interpolated():
    ramp = np.broadcast_to(np.arange(8)[None, :, None] * 20, (8, 8, 3))
    zoomed = stacked(ramp, box=(1 / 16, 0, 9 / 16, 0.5))  # from half a pixel on, two for one
    assert (zoomed[:, 1:, 0] == np.arange(1, 8) * 10 + 5).all()


def test_gain_acts_around_mid_grey_and_offset_adds():
    values = np.arange(64).reshape(8, 8) * 4
    recoloured = stacked(values, recolour=True, gain=1.2, offset=-20)[..., 0]
    assert (recoloured == ((values - 128) * 1.2 + 108).clip(0, 255).astype(int)).all()
    assert recoloured.min() == 0 and stacked(values, recolour=True, offset=25).max() == 255
    assert (stacked(values, gain=1.2, offset=-20)[..., 0] == values).all()
