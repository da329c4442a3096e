"""The sample world: reproducible files in the data sets' formats, a simulator true to its equations."""

import csv
import dataclasses
import json

import aedat
import numpy as np
import pytest
from PIL import Image

import safe_sample
from safe_sample import (
    CLASSES,
    EPOCH_US,
    WORLD,
    draw_nuisance,
    event_image,
    expose,
    fingerprint,
    make_sample,
    refractory_mask,
    render_frames,
    simulate,
    threshold_events,
)

COUNTS = {"train_per_class": 1, "test_per_class": 1}


@pytest.fixture(scope="module", params=["hardvs", "pokerevent"])
def sample(request, tmp_path_factory):
    """A sample with one training and one test recording a class, made by one process."""
    root = tmp_path_factory.mktemp("sample") / request.param
    return request.param, make_sample(request.param, root, seed=3, workers=1, progress=False, **COUNTS)


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def rows_of(root, name):
    return [line.rsplit(" ", 2) for line in (root / name).read_text().splitlines()]


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(sample, tmp_path):
    dataset, root = sample
    again = make_sample(dataset, tmp_path / "again", seed=3, workers=2, progress=False, **COUNTS)
    assert contents(again) == contents(root)


def test_another_seed_gives_other_recordings():
    first, other = (simulate("hardvs", 0, np.random.SeedSequence([seed, 1, 1, 0, 0])) for seed in (0, 1))
    assert not np.array_equal(first["frames"], other["frames"])
    assert first["truth"] != other["truth"]


def test_lists_name_existing_recordings_with_dense_labels(sample):
    dataset, root = sample
    for split in ("train", "test"):
        rows = rows_of(root, f"{split}_label.txt")
        assert [int(label) for _, _, label in rows] == list(range(len(CLASSES[dataset])))
        for name, frames, _ in rows:
            assert int(frames) == WORLD.frames
            if dataset == "pokerevent":
                assert (root / f"{name}.aedat4").is_file()
                continue
            sample_name = name.split("/")[1]
            for kind in ("aps", "dvs"):
                files = sorted(path.name for path in (root / name / f"{sample_name}_{kind}").iterdir())
                assert files == [f"{5 * i:08d}.png" for i in range(WORLD.frames)]
            assert (root / name / f"{sample_name}.npz").is_file()


def test_ground_truth_and_description_cover_every_recording(sample):
    dataset, root = sample
    with open(root / "ground_truth.csv", newline="") as file:
        truth = list(csv.DictReader(file))
    listed = {row[0].split("/")[1] for split in ("train", "test") for row in rows_of(root, f"{split}_label.txt")}
    assert {row["sample"] for row in truth} == listed
    assert {row["hard_for"] for row in truth} <= {"rgb", "events", "neither"}
    description = json.loads((root / "sample.json").read_text())
    assert description["fingerprint"] == fingerprint(dataset, seed=3, **COUNTS)
    assert (root / "classes.txt").read_text().splitlines() == CLASSES[dataset]


def test_some_names_hold_a_space_as_in_the_real_set():
    assert safe_sample._sample_name("train", 3, 7) == "sample-train-0003-007 (2)"
    assert safe_sample._sample_name("train", 3, 12) == "sample-train-0003-012"


@pytest.mark.parametrize("sample", ["hardvs"], indirect=True)
def test_hardvs_events_fit_the_sensor_and_the_event_images(sample):
    _, root = sample
    for name, _, _ in rows_of(root, "test_label.txt")[:6]:
        sample_name = name.split("/")[1]
        with np.load(root / name / f"{sample_name}.npz") as events:
            x, y, t, p, frame_t = (events[key] for key in ("x", "y", "t", "p", "frame_t"))
        assert (x.dtype, y.dtype, t.dtype, p.dtype) == (np.uint16, np.uint16, np.int64, np.uint8)
        assert x.max() < WORLD.width and y.max() < WORLD.height and set(p) == {0, 1}
        assert (np.diff(t) >= 0).all()
        assert t[0] < frame_t[1] and frame_t[-1] < t[-1] < 1_000_000
        window = (t >= frame_t[2]) & (t < frame_t[3])
        drawn = np.asarray(Image.open(root / name / f"{sample_name}_dvs" / "00000010.png"))
        assert np.array_equal(drawn, event_image(x[window], y[window], p[window]))


@pytest.mark.parametrize("sample", ["pokerevent"], indirect=True)
def test_aedat4_reads_back_as_it_was_simulated(sample):
    _, root = sample
    label = CLASSES["pokerevent"].index("Owl")
    decoded = {"events": [], "frame": []}
    for packet in aedat.Decoder(root / "Owl" / f"sample-test-{label:04d}-000.aedat4"):
        for kind in decoded:
            if kind in packet:
                decoded[kind].append(packet[kind])
    events = np.concatenate(decoded["events"])
    truth = simulate("pokerevent", label, np.random.SeedSequence([3, 2, 2, label, 0]))
    assert (np.diff(events["t"].astype(np.int64)) >= 0).all()
    for ours, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        offset = EPOCH_US if ours == "t" else 0
        assert np.array_equal(events[theirs].astype(np.int64), truth["events"][ours].astype(np.int64) + offset)
    assert [frame["t"] for frame in decoded["frame"]] == (EPOCH_US + truth["frame_t"]).tolist()
    for frame, rgb in zip(decoded["frame"], truth["frames"], strict=True):
        # The file holds BGR; the decoder names its format and hands over RGB.
        assert np.array_equal(frame["pixels"], rgb)


def pixel_events(log_light, *, threshold):
    """Events of one pixel whose log intensity takes the given values, 10,000 us apart."""
    light = np.array(log_light, np.float32)[:, None, None]
    level = np.full((1, 1), threshold, np.float32)
    return threshold_events(light, level, level, light[0].copy(), 10_000)


def test_a_brightening_pixel_gives_on_events_at_the_threshold_crossings():
    t, _, _, p = pixel_events([0, 1], threshold=0.3)
    assert p.tolist() == [1, 1, 1]  # 0.3, 0.6 and 0.9 of a rise of 1
    np.testing.assert_allclose(t, [3000, 6000, 9000], atol=1)


def test_a_darkening_pixel_gives_off_events():
    t, _, _, p = pixel_events([0, 0, -0.65], threshold=0.3)
    assert p.tolist() == [0, 0]
    np.testing.assert_allclose(t, [10_000 + 0.3 / 0.65 * 10_000, 10_000 + 0.6 / 0.65 * 10_000], atol=1)


def test_the_reference_is_kept_between_steps():
    t, _, _, p = pixel_events([0, 0.2, 0.4, 0.2, 0.0], threshold=0.3)
    assert p.tolist() == [1, 0]  # up through 0.3, and down from 0.3 to 0
    np.testing.assert_allclose(t, [15_000, 40_000], atol=1)


def test_a_constant_pixel_is_silent():
    assert pixel_events([0.5] * 6, threshold=0.3)[0].size == 0


def test_refractory_time_is_respected_per_pixel():
    t = np.array([0, 400, 500, 999, 1000, 1500, 2100])
    x = np.array([0, 0, 1, 0, 0, 1, 0], np.uint16)
    keep = refractory_mask(t, x, np.zeros(7, np.uint16), 2, 1, 1000)
    assert keep.tolist() == [True, False, True, False, True, True, True]


def test_recorded_streams_respect_the_refractory_time():
    events = simulate("pokerevent", 2, np.random.SeedSequence(5))["events"]
    pixel = events["y"].astype(np.int64) * WORLD.width + events["x"]
    order = np.lexsort((events["t"], pixel))
    same = np.diff(pixel[order]) == 0
    assert np.diff(events["t"][order])[same].min() >= WORLD.refractory_us


def test_darkness_lowers_the_signal_to_noise_of_rgb():
    light = np.full((1, 130, 173, 3), 0.15, np.float32)
    light[:, :, 80:] = 0.4

    def signal_to_noise(illumination):
        noise = np.random.default_rng(0).standard_normal(light.shape[1:], np.float32)
        frame = expose(light, illumination=illumination, noise=noise, column_noise=np.zeros(173, np.float32))
        left, right = frame[:, :80].astype(float), frame[:, 80:].astype(float)
        return (right.mean() - left.mean()) / (left.std() + right.std())

    bright, dim, dark = (signal_to_noise(illumination) for illumination in (1.0, 1e-2, 2e-4))
    assert bright > 4 * dim > 20 * dark


def test_a_third_of_recordings_is_hard_for_each_modality():
    rng = np.random.default_rng(0)
    kinds = [draw_nuisance(rng)["hard_for"] for _ in range(3000)]
    for kind in ("rgb", "events", "neither"):
        assert 0.25 < kinds.count(kind) / len(kinds) < 0.42


def test_a_still_actor_gives_fewer_events_than_a_moving_one():
    quiet = dataclasses.replace(WORLD, p_event_hard=0, p_fast=0, shake_px=(0, 0), illumination=(0.1, 0.1001),
                                noise_hz=(0, 0), leak_hz=0)
    fast, still = (dataclasses.replace(quiet, speed=speed) for speed in ((1.2, 1.2), (0.0, 0.0)))
    counts = [simulate("hardvs", 4, np.random.SeedSequence(1), world=world)["events"]["t"].size
              for world in (fast, still)]
    assert counts[0] > 10 * counts[1]


def test_pretraining_frames_are_reproducible_and_no_recording_draws_them(monkeypatch):
    streams = []
    real = np.random.SeedSequence
    monkeypatch.setattr(np.random, "SeedSequence", lambda entropy: streams.append(tuple(entropy)) or real(entropy))
    frames = render_frames("hardvs", [0, 1, 1], seed=3)
    monkeypatch.undo()
    assert frames.shape == (3, WORLD.height, WORLD.width, 3) and frames.dtype == np.uint8
    assert np.array_equal(frames, render_frames("hardvs", [0, 1, 1], seed=3))
    assert not np.array_equal(frames[1], frames[2])
    bright = dataclasses.replace(WORLD, illumination=(0.9, 1.0))
    assert render_frames("hardvs", [0, 1, 1], seed=3, world=bright).mean() > frames.mean()
    recording_splits = {safe_sample.SPLIT_IDS["train"], safe_sample.SPLIT_IDS["test"]}
    assert len(streams) == 3 and not {stream[2] for stream in streams} & recording_splits


def test_a_complete_sample_is_reused_and_other_parameters_replace_it(tmp_path, monkeypatch):
    monkeypatch.setitem(safe_sample.CLASSES, "hardvs", CLASSES["hardvs"][:1])
    make = {"progress": False, "workers": 1, "test_per_class": 1}
    root = make_sample("hardvs", tmp_path / "s", train_per_class=1, **make)
    before = (root / "sample.json").stat().st_mtime_ns
    make_sample("hardvs", root, train_per_class=1, **make)
    assert (root / "sample.json").stat().st_mtime_ns == before
    make_sample("hardvs", root, train_per_class=2, **make)
    assert len(rows_of(root, "train_label.txt")) == 2


def test_an_interrupted_generation_leaves_nothing_behind(tmp_path, monkeypatch):
    done = []

    def write_two_then_stop(folder, sample, recording):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(sample)
        safe_sample_write(folder, sample, recording)

    safe_sample_write = safe_sample._write_hardvs
    monkeypatch.setattr(safe_sample, "_write_hardvs", write_two_then_stop)
    with pytest.raises(KeyboardInterrupt):
        make_sample("hardvs", tmp_path / "s", workers=1, progress=False, **COUNTS)
    assert len(done) == 2 and list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_a_sample_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="no sample.json"):
        make_sample("hardvs", tmp_path, progress=False, **COUNTS)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_unknown_data_set_is_refused_with_the_choices():
    for call in (
        lambda: make_sample("cifar", "x"),
        lambda: render_frames("cifar", [0], seed=0),
        lambda: simulate("cifar", 0, np.random.SeedSequence(0)),
        lambda: fingerprint("cifar", seed=0, **COUNTS),
    ):
        with pytest.raises(ValueError, match=r"'cifar'.*hardvs.*pokerevent"):
            call()


def test_a_changed_parameter_changes_the_fingerprint():
    marks = {fingerprint(dataset, seed=seed, train_per_class=n, test_per_class=1)
             for dataset in CLASSES for seed in (0, 1) for n in (1, 2)}
    assert len(marks) == 8
