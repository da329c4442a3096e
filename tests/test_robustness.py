"""When cameras fail: what a clip then shows, what a table says of it, and what training can do."""

import json

import numpy as np
import pandas as pd
import pytest
import recipes
import torch
from test_prediction import make_checkpoint
from tiny import SMALL, run_fit, small

import safe_core
from safe_companion import __main__ as tool
from safe_companion import corruptions, datasets, levels, processes, robustness, sample
from safe_companion.clips import ClipDataset
from safe_companion.corruptions import CORRUPTIONS, Corrupted
from safe_companion.events import EVENT_DTYPE
from safe_companion.recordings import Recording, RecordingError

NAMES = ["Wave", "Left Bend"]
FIELDS = {"frames": 2, "image_size": 24, "resize": "loader"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    return recipes.make_root(tmp_path_factory.mktemp("hands") / "hands", per_class=2)


def splits_of(root, **fields):
    fields = {"data_root": str(root), "dataset": "hardvs", "val_fraction": 0.0} | FIELDS | fields
    return datasets.open_dataset(safe_core.configure("sample", **fields))


def all_of(clips):
    return clips.__getitems__(list(range(len(clips))))


def corrupted(clips, name, level=None):
    return Corrupted(
        clips, CORRUPTIONS[name], CORRUPTIONS[name].levels[0] if level is None else level
    )


# ------------------------------------------------------------------------------- what a clip shows
@pytest.mark.parametrize(
    ("name", "branch", "other", "value"),
    [("RGB missing", "rgb", "event", 0), ("events missing", "event", "rgb", 255)],
)
def test_a_camera_that_is_off_gives_black_frames_or_no_events(name, branch, other, value, hands):
    test = splits_of(hands).test
    for clean, changed in zip(all_of(test), all_of(corrupted(test, name)), strict=True):
        assert (changed[branch] == value).all() and torch.equal(changed[other], clean[other])
        assert not (clean[branch] == value).all()
        assert (changed["name"], changed["label"]) == (clean["name"], clean["label"])


def test_no_events_look_as_their_representation_shows_nothing(hands):
    test = splits_of(hands, event_representation="voxel").test
    assert (corrupted(test, "events missing")[0]["event"] == 128).all()


@pytest.mark.parametrize("branch", ["rgb", "event"])
def test_a_swapped_modality_is_that_of_another_class(branch, tiny_sample):
    test = splits_of(tiny_sample("hardvs")).test
    clean = all_of(test)
    name = {"rgb": "RGB of another class", "event": "events of another class"}[branch]
    other = {"rgb": "event", "event": "rgb"}[branch]
    for changed, before in zip(all_of(corrupted(test, name)), clean, strict=True):
        assert torch.equal(changed[other], before[other]) and changed["label"] == before["label"]
        sources = [clip for clip in clean if torch.equal(clip[branch], changed[branch])]
        assert sources and all(clip["label"] != before["label"] for clip in sources)


def stream(times):
    events = np.zeros(len(times), EVENT_DTYPE)
    events["t"] = times
    events["x"] = np.arange(len(times)) % 4
    return events


def recording(**fields):
    frames = [np.full((3, 4, 3), 10 * i, np.uint8) for i in range(5)]
    about = {"name": "a", "path": "a", "size": (4, 3), "frame_sources": frames}
    about |= {"events": stream(range(0, 500, 10)), "frame_t": np.arange(5) * 100}
    return Recording(**about | fields)


def test_events_that_are_late_stand_beside_later_frames():
    delayed = corruptions.late(recording(), 2, np.random.default_rng(0))
    assert [int(frame[0, 0, 0]) for frame in delayed.frame_sources] == [20, 30, 40]
    assert delayed.frame_t.tolist() == [0, 100, 200]
    assert delayed.events["t"].tolist() == list(range(0, 300, 10))
    images = [np.zeros((3, 4, 3), np.uint8)] * 5
    stored = recording(events=None, event_image_sources=images)
    shown = corruptions.late(stored, 1, np.random.default_rng(0))
    assert len(shown.event_image_sources) == len(shown.frame_sources) == 4
    with pytest.raises(RecordingError, match="found 5 frames; expected more than the delay of 5"):
        corruptions.late(recording(), 5, np.random.default_rng(0))
    with pytest.raises(RecordingError, match="frames without times"):
        corruptions.late(recording(frame_t=None), 1, np.random.default_rng(0))


def test_a_late_clip_pairs_a_frame_with_the_events_before(hands):
    test = splits_of(hands, frames=1).test
    changed = corrupted(test, "events late", 1)
    assert not torch.equal(changed[0]["event"], test[0]["event"])
    whole = changed.recording(0)
    assert len(whole.frame_sources) == len(test.recording(0).frame_sources) - 1


def test_lost_events_are_a_share_of_them_and_one_stays():
    events = stream(range(10_000))
    kept = corruptions.dropped(recording(events=events), 0.9, np.random.default_rng(0)).events
    assert 850 < len(kept) < 1150 and np.isin(kept, events).all()
    assert (np.diff(kept["t"]) > 0).all()
    assert len(corruptions.dropped(recording(), 1.0, np.random.default_rng(0)).events) == 1


def test_noise_fires_everywhere_at_its_rate():
    events = stream([0, 1_000_000])
    noisy = corruptions.noisy(recording(events=events, size=(40, 30)), 4, np.random.default_rng(0))
    found = noisy.events
    assert len(found) == pytest.approx(4 * 40 * 30 + 2, abs=4 * 70)
    assert (np.diff(found["t"]) >= 0).all() and found["t"][-1] == 1_000_000
    assert {*found["x"]} == {*range(40)} and {*found["y"]} == {*range(30)}
    assert found["p"].mean() == pytest.approx(0.5, abs=0.05)


def test_without_events_none_can_be_lost():
    bare = recording(events=None)
    for change in (corruptions.dropped, corruptions.noisy):
        with pytest.raises(RecordingError, match="stored event images only; expected events"):
            change(bare, 0.5, np.random.default_rng(0))


def test_less_light_is_darker_by_the_cameras_gamma_and_noisier():
    images = torch.full((1, 3, 80, 80), 255, dtype=torch.uint8)
    last = 0.0
    for light in (0.5, 0.1, 0.03):
        dark = corruptions.darkened(images, light, np.random.default_rng(0)).numpy() / 255
        linear = dark**2.2
        assert linear.mean() == pytest.approx(light, rel=0.03)
        assert linear.std() / linear.mean() > last
        last = linear.std() / linear.mean()
    grey = corruptions.darkened(images // 2, 0.5, np.random.default_rng(0)).numpy() / 255
    assert (grey**2.2).mean() == pytest.approx(0.5 * (127 / 255) ** 2.2, rel=0.05)
    black = corruptions.darkened(images * 0, 0.1, np.random.default_rng(0))
    assert black.float().mean() < 40


def test_blur_smears_sideways_and_keeps_the_light():
    images = torch.zeros(1, 3, 20, 20, dtype=torch.uint8)
    images[..., 10, 10] = 200
    smeared = corruptions.blurred(images, 0.25, np.random.default_rng(0))
    assert smeared[0, 0, 10].tolist() == [0] * 8 + [40] * 5 + [0] * 7
    assert smeared[0, 0].sum() == 200
    flat = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(corruptions.blurred(flat, 0.5, np.random.default_rng(0)), flat)
    assert torch.equal(corruptions.blurred(images, 0.01, np.random.default_rng(0)), images)


def test_corruption_is_the_same_for_every_model_and_another_for_every_clip(hands):
    test = splits_of(hands).test
    for name in ("noise events", "RGB darker", "events of another class"):
        once, again = (all_of(corrupted(test, name)) for _ in range(2))
        for key in ("rgb", "event"):
            assert all(torch.equal(a[key], b[key]) for a, b in zip(once, again, strict=True))
    events = corrupted(test, "events lost", 0.5)
    lengths = {len(events.recording(i).events) for i in range(len(test))}
    assert len(lengths) > 1


def test_what_a_model_does_not_look_at_cannot_fail(hands):
    test = splits_of(hands, modality="event").test
    for name in ("events missing", "RGB darker", "events late"):
        with pytest.raises(ValueError, match="modality='event'; this corruption needs 'rgb'"):
            corrupted(test, name)
    assert corrupted(test, "events lost")[0].keys() == {"event", "label", "name"}
    with pytest.raises(ValueError, match="expected resize='loader'"):
        corrupted(splits_of(hands, resize="device").test, "RGB missing")


# ------------------------------------------------------------------------------- fixed levels
def test_at_a_level_only_its_knob_differs():
    config = safe_core.configure("sample", dataset="hardvs", **FIELDS)
    for axis, condition in levels.AXES.items():
        low, high = (levels.world_at(axis, condition.levels[i]) for i in (0, -1))
        assert low != high and low.p_event_hard == high.p_event_hard == 0
    dark = levels.AtLevel(config, "light", 0.0001)
    bright = levels.AtLevel(config, "light", 1.0)
    assert len(dark) == 240 and dark.labels.bincount().tolist() == [10] * 24
    assert dark.names == bright.names and dark.sample != bright.sample
    at = [clips.recording(31) for clips in (bright, dark)]
    assert np.mean(at[0].frame_sources) > 2 * np.mean(at[1].frame_sources)
    again = levels.AtLevel(config, "light", 1.0).recording(31)
    assert np.array_equal(at[0].events, again.events)


def test_speed_blurs_and_noise_fires():
    config = safe_core.configure("sample", dataset="hardvs", **FIELDS)
    still, fast = (levels.AtLevel(config, "speed", v).recording(5).events for v in (0.03, 4.0))
    assert len(fast) > 2 * len(still)
    quiet, loud = (levels.AtLevel(config, "noise", v).recording(5) for v in (0.1, 10.0))
    assert np.array_equal(quiet.frame_sources, loud.frame_sources)  # of the same person and place
    assert len(loud.events) - len(quiet.events) == pytest.approx(9.9 * 173 * 130 * 0.99, rel=0.15)


def test_levels_are_the_samples_alone(hands):
    config = splits_of(hands).test.config
    with pytest.raises(ValueError, match="expected the generated sample"):
        levels.AtLevel(config, "light", 1.0)


def test_levels_change_nothing_of_conjunctions_so_there_are_none():
    config = safe_core.configure("sample", dataset="conjunctions", **FIELDS)
    with pytest.raises(ValueError, match="found dataset='conjunctions'.* hardvs or pokerevent"):
        levels.AtLevel(config, "light", 0.01)


@pytest.mark.parametrize(
    ("dataset", "on"),
    [("hardvs", {"corruptions", "levels"}), ("conjunctions", {"corruptions"})],
)
def test_levels_are_measured_by_default_where_they_can_be_set(dataset, on, tmp_path, monkeypatch):
    names = sample.CLASSES[dataset][:4]
    monkeypatch.setitem(sample.CLASSES, dataset, names)
    monkeypatch.setattr(levels, "PER_CLASS", 1)
    monkeypatch.setattr(robustness, "CORRUPTIONS", {})
    light = levels.Axis("", (1.0,), levels.AXES["light"].knobs)
    monkeypatch.setattr(robustness, "AXES", {"light": light})
    few = {"data_root": None, "sample_train_per_class": 1, "sample_test_per_class": 1}
    checkpoint = make_checkpoint(tmp_path / "run", None, names=names, dataset=dataset, **few)
    found, _ = robustness.measure(checkpoint)
    assert {line["on"] for line in found["lines"]} == on


# ------------------------------------------------------------------------------- the table
def test_a_line_has_the_paired_difference_to_clean_clips():
    log_probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]).log()
    found = robustness.line(log_probs, torch.tensor([0, 1, 1, 1]), np.array([1.0, 1.0, 1.0, 0.0]))
    assert (found["recordings"], found["top1"], found["difference"]) == (4, 50, -25)
    assert found["half"] == pytest.approx(1.96 * 100 * np.std([0, -1, 0, 0], ddof=1) / 2)
    assert found["confidence"] == pytest.approx(75)
    assert found["low"] < 50 < found["high"]
    assert "difference" not in robustness.line(log_probs, torch.tensor([0, 1, 1, 1]), None)


def test_the_command_writes_a_table_beside_the_checkpoint(hands, tmp_path, capsys):
    checkpoint = make_checkpoint(tmp_path / "run", hands, dataset="hardvs", val_fraction=0.0)
    assert tool.main(["robustness", str(checkpoint), "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "events of another class" in said and said.strip().endswith("robustness.json")
    table = robustness.read(checkpoint.parent)
    expected = sum(len(corruption.levels) for corruption in CORRUPTIONS.values())
    assert len(table) == expected + 1 and table.what.iloc[0] == "nothing"
    too_late = (table.what == "events late") & (table.level == 4)  # of the 5 frames of these
    assert table.left_out[too_late].str.contains("found 1 frames; expected at least 2").all()
    assert (table.left_out.notna() == too_late).all() and "left out: events late 4: " in said
    assert pd.isna(table.difference.iloc[0])
    assert (table.difference.iloc[1:].notna() != too_late.iloc[1:]).all()
    content = json.loads((checkpoint.parent / "robustness.json").read_text())
    assert content["config"]["data_root"] == "hands" and str(tmp_path) not in json.dumps(content)
    assert robustness.read(tmp_path) is None
    assert tool.main(["robustness", str(checkpoint), "--on", "levels"]) == 2
    assert "expected the generated sample" in capsys.readouterr().err
    (checkpoint.parent / "robustness.json").write_text("{}")
    with pytest.raises(ValueError, match="found no table of tests"):
        robustness.read(checkpoint.parent)


@pytest.mark.parametrize(
    "words", ["robustness absent.safetensors", "released absent.pt --data-root absent"]
)
def test_a_command_takes_its_place_among_others_before_it_reads_a_model(words, monkeypatch):
    class Joined(Exception):
        pass

    def join():
        raise Joined

    monkeypatch.setattr(processes, "join", join)
    monkeypatch.setenv("SAFE_TRACEBACK", "1")
    with pytest.raises(Joined):
        tool.main(words.split())


def test_a_model_of_one_camera_is_asked_what_concerns_it(hands, tmp_path):
    checkpoint = make_checkpoint(
        tmp_path / "run", hands, dataset="hardvs", val_fraction=0.0, modality="rgb"
    )
    found, _ = robustness.measure(checkpoint, on="corruptions", workers=0)
    assert {line["what"] for line in found["lines"]} == {"nothing", "RGB darker", "RGB blurred"}


# ------------------------------------------------------------------------------- modality dropout
def training(root, share, *, epoch=0, **fields):
    train = splits_of(root, modality_dropout=share, **fields).train
    train.set_epoch(epoch)
    return [train[i] for i in range(len(train))] if "resize" not in fields else train


def lost(clip):
    """Which modality a clip lacks."""
    off = {"rgb": (clip["rgb"] == 0).all(), "event": (clip["event"] == 255).all()}
    return [branch for branch, is_off in off.items() if is_off]


def test_training_clips_lose_one_of_both_modalities_and_are_the_same_otherwise(hands):
    whole = training(hands, 0.0)
    assert all(lost(clip) == [] for clip in whole)
    kinds = set()
    for epoch in range(6):
        before, after = (training(hands, share, epoch=epoch) for share in (0.0, 1.0))
        for a, b in zip(before, after, strict=True):
            (branch,) = lost(b)
            kinds.add(branch)
            other = {"rgb": "event", "event": "rgb"}[branch]
            assert torch.equal(a[other], b[other])  # no other draw is another
    assert kinds == {"rgb", "event"}
    halves = [len(lost(clip)) for epoch in range(30) for clip in training(hands, 0.5, epoch=epoch)]
    assert np.mean(halves) == pytest.approx(0.5, abs=0.15)
    assert [lost(c) for c in training(hands, 0.5)] == [lost(c) for c in training(hands, 0.5)]


def test_a_run_whose_cameras_drop_out_resumes_bit_for_bit(hands, tmp_path):
    config = small(epochs=2, batch_size=2)

    def run(folder, share=0.5, **options):
        train = splits_of(hands, modality_dropout=share, image_size=64).train
        history = run_fit(tmp_path / folder, config, train, **options)["history"]
        return [epoch["train_loss"] for epoch in history]

    def interrupt(step, *_):
        if step == 3:
            raise KeyboardInterrupt

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("parts", on_step=interrupt)
    assert run("parts", resume=True) == whole
    assert not set(run("none", share=0.0)) & set(whole)


def test_validation_and_test_clips_lose_nothing(hands):
    splits = splits_of(hands, modality_dropout=1.0, val_fraction=0.5)
    for part in (splits.val, splits.test):
        assert len(part) and all(lost(part[i]) == [] for i in range(len(part)))


def test_a_camera_is_off_on_a_device_too(hands):
    train = training(hands, 1.0, resize="device")
    batch = train.finish(train.collate(train.__getitems__(list(range(len(train))))))
    loader = training(hands, 1.0)
    for i, clip in enumerate(loader):
        (branch,) = lost(clip)
        assert torch.equal(batch[branch][i], clip[branch])


def test_dropout_of_a_modality_needs_both(hands):
    with pytest.raises(ValueError, match="modality_dropout=0.5 with modality='rgb'; expected"):
        splits_of(hands, modality_dropout=0.5, modality="rgb")


def test_dropped_clips_are_not_kept_for_other_runs(tmp_path):
    items = [("a", 0)]
    config = safe_core.configure("sample", **SMALL | {"dataset": "hardvs"})
    plain = ClipDataset(items, tmp_path, NAMES, config, sample="mark")
    drops = ClipDataset(items, tmp_path, NAMES, config, sample="mark", modality_dropout=0.5)
    assert not plain._draws and drops._draws


# ------------------------------------------------------------------------------- words
def test_levels_are_said_in_words():
    said = {
        corruptions.in_words(name, level, corruption.unit)
        for name, corruption in CORRUPTIONS.items()
        for level in corruption.levels
    }
    assert {
        "events late: 1 frame",
        "events late: 4 frames",
        "RGB darker: to 3 % of its light",
        "RGB blurred: over 20 % of the width",
        "events lost: 99 %",
        "noise events: 16 per s and pixel",
        "RGB missing",
    } < said
    assert corruptions.in_words(robustness.CLEAN) == "undisturbed"
    assert {corruption.unit for corruption in CORRUPTIONS.values()} <= {"", *corruptions.SAID}
    assert corruptions.in_words("rain", 2, "mm") == "rain: 2 mm"
