"""The sample world: reproducible files in the data sets' formats, a simulator true to physics."""

import contextlib
import csv
import dataclasses
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time

import aedat
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from safe_companion import sample
from safe_companion.behaviour import VERSIONS
from safe_companion.events import EVENT_DTYPE, OFF_COLOUR, ON_COLOUR
from safe_companion.sample import CLASSES, JOINTS, WORLD, cards, writing

COUNTS = {"train_per_class": 1, "test_per_class": 1}
QUIET = dataclasses.replace(  # bright, steady, without noise or anything else that hides the scene
    WORLD,
    p_event_hard=0,
    p_fast=0,
    shake_px=(0, 0),
    illumination=(0.9, 1.0),
    noise_hz=(0, 0),
    leak_hz=0,
    white_electrons=1e7,
    read_noise=0,
    column_noise=0,
)
ACTION_PAIRS = [
    ("Right Bend", "Left Bend"),
    ("Raise hand with right hand", "Raise hand with left hand"),
    ("Right Hand Circle", "Left hand circle"),
    ("Standing Right Leg Lift", "Standing Left Leg Lift"),
]
PHASES = np.linspace(0, 1, 24, endpoint=False)


def film(dataset, label, seed, **changes):
    """A recording, in the quiet world but for the given changes."""
    world = dataclasses.replace(QUIET, **changes)
    return sample.simulate(dataset, label, np.random.SeedSequence(seed), world=world)


def joints_of(action):
    """name -> positions [S, 3] of one cycle of an action."""
    _, keys = sample.ACTIONS[action]
    joints = sample.skeleton(sample.pose_at(keys, PHASES), proportions=(0.16, 0.23, 0.11, 0.05))
    return dict(zip(JOINTS, joints.transpose(1, 0, 2), strict=True))


# ---------------------------------------------------------------------------------------- the files
@pytest.fixture(scope="module", params=["hardvs", "pokerevent"])
def made(request, tmp_path_factory):
    """(data set, root) of a sample with one training and one test recording a class."""
    root = tmp_path_factory.mktemp("sample") / request.param
    sample.make_sample(request.param, root, seed=3, workers=1, progress=False, **COUNTS)
    return request.param, root


@pytest.fixture
def one_class(monkeypatch):
    """The sample of HARDVS has one class only, for the sake of time."""
    monkeypatch.setitem(CLASSES, "hardvs", CLASSES["hardvs"][:1])


def contents(root):
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def rows_of(root, name):
    return [line.rsplit(" ", 2) for line in (root / name).read_text().splitlines()]


def ground_truth(root):
    with open(root / "ground_truth.csv", newline="") as file:
        return list(csv.DictReader(file))


def filmed_again(dataset, row):
    """The recording that a row of the ground truth is about."""
    label = int(row["label"])
    stream = sample.stream(dataset, row["split"], label, 0, seed=3)
    return sample.simulate(dataset, label, stream)


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path, one_class):
    options = {"seed": 3, "train_per_class": 10, "test_per_class": 2, "progress": False}
    one = sample.make_sample("hardvs", tmp_path / "one", workers=1, **options)
    two = sample.make_sample("hardvs", tmp_path / "two", workers=2, **options)
    assert contents(one) == contents(two)


def test_another_seed_gives_other_recordings():
    streams = [sample.stream("hardvs", "train", 0, 0, seed=seed) for seed in (0, 1)]
    first, other = (sample.simulate("hardvs", 0, stream) for stream in streams)
    assert not np.array_equal(first["frames"], other["frames"])
    assert first["truth"] != other["truth"]


def test_no_two_recordings_draw_the_same_stream():
    states = {
        tuple(sample.stream(dataset, split, label, index, seed=seed).generate_state(4))
        for dataset in CLASSES
        for split in sample.SPLIT_IDS
        for label in (0, 1)
        for index in (0, 1)
        for seed in (0, 1)
    }
    assert len(states) == len(CLASSES) * 4 * 2 * 2 * 2


def test_no_two_files_of_recordings_hold_the_same(made, tmp_path, one_class):
    dataset, root = made
    suffix = {"hardvs": "npz", "pokerevent": "aedat4"}[dataset]
    files = [path.read_bytes() for path in root.rglob(f"*.{suffix}")]
    assert len(set(files)) == len(files) >= 2 * 24
    options = {"train_per_class": 2, "test_per_class": 0, "progress": False, "workers": 1}
    twice = sample.make_sample("hardvs", tmp_path / "twice", **options)
    first, second = (path.read_bytes() for path in twice.rglob("*.npz"))
    assert first != second


def test_lists_name_existing_recordings_with_dense_labels(made):
    dataset, root = made
    for split in ("train", "test"):
        rows = rows_of(root, f"{split}_label.txt")
        assert [int(label) for _, _, label in rows] == list(range(len(CLASSES[dataset])))
        for name, frames, _ in rows:
            assert int(frames) == WORLD.frames
            assert f"sample-{split}-" in name
            if dataset == "pokerevent":
                assert (root / f"{name}.aedat4").is_file()
                continue
            sample_name = name.split("/")[1]
            for kind in ("aps", "dvs"):
                files = sorted(
                    path.name for path in (root / name / f"{sample_name}_{kind}").iterdir()
                )
                assert files == [f"{5 * i:08d}.png" for i in range(WORLD.frames)]
            assert (root / name / f"{sample_name}.npz").is_file()


def test_folders_are_named_after_the_classes_as_in_the_real_sets(made):
    dataset, root = made
    folders = [name.split("/")[0] for name, _, _ in rows_of(root, "test_label.txt")]
    if dataset == "hardvs":
        assert folders[CLASSES[dataset].index("Wave")] == "action_169"
        assert folders[CLASSES[dataset].index("Upper and Lower Swing Arms")] == "action_006"
    else:
        assert folders == CLASSES[dataset]


def test_the_description_covers_the_sample(made):
    dataset, root = made
    description = json.loads((root / "sample.json").read_text())
    assert description["fingerprint"] == sample.fingerprint(dataset, seed=3, **COUNTS)
    assert description["origin"] == "sample"
    assert (root / "classes.txt").read_text().splitlines() == CLASSES[dataset]


def test_ground_truth_covers_every_recording_and_says_what_was_filmed(made):
    dataset, root = made
    truth = ground_truth(root)
    listed = set()
    for split in ("train", "test"):
        listed |= {name.split("/")[1] for name, _, _ in rows_of(root, f"{split}_label.txt")}
    assert {row["sample"] for row in truth} == listed
    for row in truth[:: len(truth) // 6]:
        assert row["class_name"] == CLASSES[dataset][int(row["label"])]
        again = filmed_again(dataset, row)
        assert int(row["events"]) == len(again["events"])
        for name, value in again["truth"].items():
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value, rel=1e-5)
            else:
                assert row[name] == str(value)


def test_some_names_hold_a_space_as_in_the_real_set():
    assert sample.sample_name("train", 3, 7) == "sample-train-0003-007 (2)"
    assert sample.sample_name("train", 3, 12) == "sample-train-0003-012"


@pytest.mark.parametrize("made", ["hardvs"], indirect=True)
def test_hardvs_files_read_back_as_they_were_simulated(made):
    _, root = made
    for row in ground_truth(root)[:6]:
        folder = root / sample.class_folder("hardvs", int(row["label"])) / row["sample"]
        again = filmed_again("hardvs", row)
        events = again["events"]
        with np.load(folder / f"{row['sample']}.npz") as stored:
            for column in ("x", "y", "t", "p"):
                assert stored[column].dtype == EVENT_DTYPE[column]
                assert np.array_equal(stored[column], events[column])
            frame_t = stored["frame_t"]
        assert frame_t.tolist() == again["frame_t"].tolist() == list(range(0, 990_000, 110_000))
        for i in (0, 2, 8):
            frame = Image.open(folder / f"{row['sample']}_aps" / f"{5 * i:08d}.png")
            assert np.array_equal(np.asarray(frame), again["frames"][i])


@pytest.mark.parametrize("made", ["hardvs"], indirect=True)
def test_an_event_image_shows_the_last_event_of_each_pixel_between_two_frames(made):
    _, root = made
    row = ground_truth(root)[0]
    events = filmed_again("hardvs", row)["events"]
    folder = root / sample.class_folder("hardvs", int(row["label"])) / row["sample"]
    image = np.asarray(Image.open(folder / f"{row['sample']}_dvs" / "00000010.png"))
    expected = np.full((WORLD.height, WORLD.width, 3), 255)
    for event in events[(events["t"] >= 220_000) & (events["t"] < 330_000)]:
        expected[event["y"], event["x"]] = ON_COLOUR if event["p"] else OFF_COLOUR
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("made", ["pokerevent"], indirect=True)
def test_aedat4_reads_back_as_it_was_simulated(made):
    _, root = made
    label = CLASSES["pokerevent"].index("Owl")
    decoded = {"events": [], "frame": []}
    for packet in aedat.Decoder(root / "Owl" / f"sample-test-{label:04d}-000.aedat4"):
        for kind in decoded:
            if kind in packet:
                decoded[kind].append(packet[kind])
    events = np.concatenate(decoded["events"])
    stream = sample.stream("pokerevent", "test", label, 0, seed=3)
    again = sample.simulate("pokerevent", label, stream)
    assert np.array_equal(events["t"].astype(np.int64), again["events"]["t"] + sample.EPOCH_US)
    for theirs, ours in (("x", "x"), ("y", "y"), ("on", "p")):
        assert np.array_equal(events[theirs], again["events"][ours])
    frame_t = [frame["t"] for frame in decoded["frame"]]
    assert frame_t == (sample.EPOCH_US + again["frame_t"]).tolist()
    for frame, rgb in zip(decoded["frame"], again["frames"], strict=True):
        # The file holds BGR; the decoder names its format and hands over RGB.
        assert np.array_equal(frame["pixels"], rgb)


# ----------------------------------------------------------------------- whole, or not there at all
def test_a_complete_sample_is_reused_and_other_parameters_replace_it(tmp_path, one_class):
    make = {"progress": False, "workers": 1, "test_per_class": 1}
    root = sample.make_sample("hardvs", tmp_path / "s", train_per_class=1, **make)
    before = (root / "sample.json").stat().st_mtime_ns
    sample.make_sample("hardvs", root, train_per_class=1, **make)
    assert (root / "sample.json").stat().st_mtime_ns == before
    sample.make_sample("hardvs", root, train_per_class=2, **make)
    assert len(rows_of(root, "train_label.txt")) == 2
    assert list(tmp_path.iterdir()) == [root]


def test_a_sample_of_another_version_is_replaced(tmp_path, one_class, monkeypatch):
    make = {"progress": False, "workers": 1, **COUNTS}
    root = sample.make_sample("hardvs", tmp_path / "s", **make)
    before = (root / "sample.json").read_bytes()
    monkeypatch.setitem(VERSIONS, "sample", VERSIONS["sample"] + 1)
    sample.make_sample("hardvs", root, **make)
    assert (root / "sample.json").read_bytes() != before


def test_an_interrupted_generation_leaves_nothing_behind(tmp_path, monkeypatch):
    done = []
    simulate = writing.simulate

    def film_two_then_stop(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments)
        return simulate(*arguments)

    monkeypatch.setattr(writing, "simulate", film_two_then_stop)
    with pytest.raises(KeyboardInterrupt):
        sample.make_sample("hardvs", tmp_path / "s", workers=1, progress=False, **COUNTS)
    assert len(done) == 2 and list(tmp_path.iterdir()) == []


def test_an_interrupted_replacement_leaves_the_older_sample(tmp_path, one_class, monkeypatch):
    make = {"progress": False, "workers": 1, "test_per_class": 1}
    root = sample.make_sample("hardvs", tmp_path / "s", train_per_class=1, **make)
    before = contents(root)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "simulate", stop)
    with pytest.raises(KeyboardInterrupt):
        sample.make_sample("hardvs", root, train_per_class=2, **make)
    assert contents(root) == before and list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("moment", ["while recordings are made", "at the last moment"])
def test_of_two_processes_the_second_keeps_what_the_first_has_made(
    tmp_path, one_class, monkeypatch, moment
):
    root = tmp_path / "s"
    make = {"progress": False, "workers": 1, **COUNTS}
    owner, name = (writing, "simulate") if moment.startswith("while") else (os, "replace")
    real = getattr(owner, name)
    firsts = []

    def with_another_process(*arguments):
        monkeypatch.setattr(owner, name, real)
        sample.make_sample("hardvs", root, **make)
        firsts.append((root / "sample.json").stat().st_ino)
        return real(*arguments)

    monkeypatch.setattr(owner, name, with_another_process)
    assert sample.make_sample("hardvs", root, **make) == root
    assert [(root / "sample.json").stat().st_ino] == firsts
    assert list(tmp_path.iterdir()) == [root]


GENERATE = """
import sys
from safe_companion import sample

if __name__ == "__main__":
    sample.make_sample("hardvs", sys.argv[1], workers=2, progress=False)
"""


def test_a_killed_generation_ends_with_its_workers_and_the_next_removes_what_it_left(
    tmp_path, one_class
):
    (tmp_path / "generate.py").write_text(GENERATE)
    root = tmp_path / "data" / "s"
    command = [sys.executable, str(tmp_path / "generate.py"), str(root)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(root.parent.glob(".s-partial-*/sample/*/*"))) < 3:  # both workers work
            assert started.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        started.kill()  # it alone, not its workers
        started.communicate(timeout=20)  # at its end no process has its output any more
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert len(list(root.parent.iterdir())) == 1
    sample.make_sample("hardvs", root, workers=1, progress=False, **COUNTS)
    assert list(root.parent.iterdir()) == [root]


@pytest.mark.parametrize(
    ("maker", "lives", "days", "stays"),
    [
        ("here", True, 0, True),
        ("here", True, 2, True),
        ("here", False, 0, False),
        ("elsewhere", False, 0, True),
        ("elsewhere", False, 2, False),
        (None, False, 0, True),  # he has made the folder just now
        (None, False, 2, False),
    ],
)
def test_a_folder_of_work_goes_when_nobody_works_there(
    tmp_path, one_class, maker, lives, days, stays
):
    folder = tmp_path / ".s-partial-x"
    (folder / "sample" / "action_006").mkdir(parents=True)
    with open(tmp_path / "nobody" if maker is None else folder / writing.MAKER, "w") as file:
        file.write(socket.gethostname() if maker == "here" else "another machine")
        file.flush()
        if lives:
            fcntl.flock(file, fcntl.LOCK_EX)
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))
        sample.make_sample("hardvs", tmp_path / "s", workers=1, progress=False, **COUNTS)
    assert folder.exists() == stays and (tmp_path / "s" / "sample.json").exists()


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_a_sample_is_as_open_as_the_umask_says(tmp_path, one_class, mask):
    before = os.umask(mask)
    try:
        root = sample.make_sample("hardvs", tmp_path / "s", workers=1, progress=False, **COUNTS)
    finally:
        os.umask(before)
    for path in [root, *root.rglob("*")]:
        full = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == full & ~mask, path


def test_a_folder_that_is_not_a_sample_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="no sample.json"):
        sample.make_sample("hardvs", tmp_path, progress=False, **COUNTS)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_unknown_data_set_is_refused_with_the_choices():
    for call in (
        lambda: sample.make_sample("cifar", "x"),
        lambda: sample.render_frames("cifar", [0], seed=0),
        lambda: sample.simulate("cifar", 0, np.random.SeedSequence(0)),
        lambda: sample.fingerprint("cifar", seed=0, **COUNTS),
    ):
        with pytest.raises(ValueError, match=r"'cifar'.*hardvs.*pokerevent"):
            call()


def test_a_changed_parameter_or_version_changes_the_fingerprint(monkeypatch):
    def marks():
        return {
            sample.fingerprint(dataset, seed=seed, train_per_class=train, test_per_class=test)
            for dataset in CLASSES
            for seed in (0, 1)
            for train in (1, 2)
            for test in (1, 2)
        }

    before = marks()
    assert len(before) == 8 * len(CLASSES) and {len(mark) for mark in before} == {16}
    monkeypatch.setitem(VERSIONS, "sample", VERSIONS["sample"] + 1)
    assert not before & marks()


# --------------------------------------------------------------------------------------- difficulty
def test_a_third_of_recordings_is_hard_for_each_modality():
    rng = np.random.default_rng(0)
    kinds = [sample.draw_nuisance(rng)["hard_for"] for _ in range(3000)]
    for kind in ("rgb", "events", "neither"):
        assert 0.25 < kinds.count(kind) / len(kinds) < 0.42


def test_what_makes_a_recording_hard_is_in_its_numbers():
    rng = np.random.default_rng(1)
    hard_for = {"dark": "rgb", "fast": "rgb", "none": "neither"}
    speeds = {"slow": WORLD.speed_slow, "fast": WORLD.speed_fast}
    draws = [sample.draw_nuisance(rng) for _ in range(600)]
    for draw in draws:
        cause = draw["cause"]
        low, high = speeds.get(cause, WORLD.speed)
        assert draw["hard_for"] == hard_for.get(cause, "events")
        assert low <= draw["speed"] <= high
        assert (draw["illumination"] < WORLD.dark_below) == (cause == "dark")
        assert (draw["isoluminance"] > 0.9) == (cause == "isoluminant")
        assert (draw["noise_hz"] > 1) == (cause == "noisy")
        if cause == "fast" or draw["illumination"] < 0.002:
            assert draw["exposure_steps"] == WORLD.steps_per_frame
        elif draw["illumination"] > 0.1:
            assert draw["exposure_steps"] == 1
    shakes = {
        cause: [d["shake"] for d in draws if d["cause"] == cause] for cause in ("slow", "none")
    }
    assert max(shakes["slow"]) < 0.1 * WORLD.shake_px[1] < max(shakes["none"])
    quiet = sorted((d["illumination"], d["noise_hz"]) for d in draws if d["cause"] != "noisy")
    noise = [noise_hz for _, noise_hz in quiet]
    assert noise == sorted(noise, reverse=True) and noise[0] - noise[-1] > 0.4  # more in the dark


EVENT_KNOBS = {
    "clutter_noise_hz", "threshold", "card_threshold", "threshold_mismatch", "refractory_us",
    "leak_hz", "noise_hz", "glare", "dark_light",
}  # fmt: skip
RGB_KNOBS = {"white_electrons", "read_noise", "column_noise", "max_gain", "exposure_knee"}


def test_every_knob_has_an_effect_and_a_camera_s_knobs_only_on_that_camera():
    seeds = (0, 1, 2, 52, 6, 17)  # one of each cause
    base = dataclasses.replace(WORLD, frames=2)

    def recorded(world):
        """(events, frames) of a few recordings."""
        films = [
            sample.simulate(dataset, 3, np.random.SeedSequence(seed), world=world)
            for dataset in CLASSES
            for seed in seeds
        ]
        events = b"".join(shot["events"].tobytes() for shot in films)
        return events, b"".join(shot["frames"].tobytes() for shot in films)

    assert {
        sample.draw_nuisance(np.random.default_rng(np.random.SeedSequence(seed)))["cause"]
        for seed in seeds
    } == {"none", "dark", "fast", "slow", "isoluminant", "noisy"}
    events, frames = recorded(base)
    for field in dataclasses.fields(WORLD):
        value = getattr(base, field.name)
        if isinstance(value, tuple):
            halved = tuple(bound / 2 for bound in value)
        else:
            halved = type(value)(value / 2)
        changed = recorded(dataclasses.replace(base, **{field.name: halved}))
        found = (changed[0] != events, changed[1] != frames)
        expected = (field.name not in RGB_KNOBS, field.name not in EVENT_KNOBS)
        assert found == expected, f"{field.name}: (events, frames) changed {found}"


# ---------------------------------------------------------------------------------------- the scene
@pytest.mark.parametrize("right, left", ACTION_PAIRS)
def test_an_action_of_the_left_is_the_mirror_image_of_that_of_the_right(right, left):
    other = joints_of(left)
    moved = 0
    for name, place in joints_of(right).items():
        swapped = name
        if "right" in name:
            swapped = name.replace("right", "left")
        elif "left" in name:
            swapped = name.replace("left", "right")
        np.testing.assert_allclose(other[swapped], place * (-1, 1, 1), atol=1e-12)
        moved = max(moved, np.abs(other[name] - place).max())
    assert moved > 0.1


def test_the_right_hand_is_on_the_image_s_left_and_does_what_the_name_says():
    raised = joints_of("Raise hand with right hand")
    assert (raised["right hand"][:, 0] < raised["left hand"][:, 0]).all()
    assert raised["right hand"][:, 1].max() > raised["head"][:, 1].max() > 0.6
    assert raised["left hand"][:, 1].max() < raised["pelvis"][:, 1].max() + 0.1
    lifted = joints_of("Standing Right Leg Lift")
    assert lifted["right ankle"][:, 1].max() > lifted["left ankle"][:, 1].max() + 0.1
    bent = joints_of("Right Bend")
    assert bent["head"][:, 0].min() < bent["pelvis"][0, 0] - 0.15
    bow = joints_of("Bow")
    assert bow["head"][:, 2].max() > 0.3  # towards the camera


def test_the_lowest_foot_stands_on_the_ground_unless_the_action_jumps():
    for action in sample.ACTIONS:
        lowest = np.min([place[:, 1] for place in joints_of(action).values()], axis=0)
        if action in ("jumping jack", "Stretch"):
            assert lowest.max() > 0.02
        else:
            np.testing.assert_allclose(lowest, 0, atol=1e-9)


def test_poses_pass_through_the_keys_and_take_the_shorter_arc():
    keys = np.zeros((3, 24))
    keys[:, 0] = [350, 10, 40]
    np.testing.assert_allclose(sample.pose_at(keys, np.arange(3) / 3), keys)
    half_way = sample.pose_at(keys, np.array([1 / 6, 7 / 6]))[:, 0]
    assert abs(half_way[0] - 360) < 6 and half_way[0] == half_way[1]


def test_the_raised_arm_leaves_its_events_on_its_own_side():
    for seed in range(4):
        centres = []
        for action in ("Raise hand with right hand", "Raise hand with left hand"):
            shot = film("hardvs", CLASSES["hardvs"].index(action), seed)
            centres.append(shot["events"]["x"].mean())
        assert centres[0] < centres[1] - 5


@pytest.mark.parametrize("name", ["4", "JOKER", "Whale", "Giraffe"])
def test_the_card_shows_its_picture_the_right_way_round(name):
    label = CLASSES["pokerevent"].index(name)
    rng = np.random.default_rng(0)
    nuisance = sample.draw_nuisance(rng, world=QUIET)
    light, corners = cards.film_card(label, rng, nuisance, np.zeros(1), QUIET)
    v, u = np.mgrid[0.05:0.6:60j, 0.1:0.9:60j]  # above thumb and finger
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], -1)
    x, y = (weights @ corners[0]).round().astype(int).transpose(2, 0, 1)
    seen = light[0, y, x].mean(-1)

    def likeness(art):
        rows = (v * cards.CARD_H).astype(int)
        columns = (u * cards.CARD_W).astype(int)
        return np.corrcoef(art[rows, columns].mean(-1).ravel(), seen.ravel())[0, 1]

    variants = [sample.card_art(label, variant) for variant in range(6)]
    best = max(likeness(art) for art in variants)
    assert best > 0.6
    assert best > max(likeness(art[:, ::-1]) for art in variants) + 0.1
    assert best > max(likeness(sample.card_art(other, 0)) for other in range(26) if other != label)


@pytest.mark.parametrize("name", ["Butterfly", "Crab", "Owl", "Penguin", "Sea turtle", "Spider"])
def test_an_animal_seen_from_the_front_or_above_has_two_like_sides(name):
    art = sample.card_art(CLASSES["pokerevent"].index(name), 0)
    assert art.std() > 0.1
    assert np.abs(art - art[:, ::-1]).mean() < 0.03


def test_a_still_actor_gives_fewer_events_than_a_moving_one():
    moving = film("hardvs", 4, 1, speed=(1.2, 1.2))["truth"]
    still = film("hardvs", 4, 1, speed=(0.0, 0.0))["truth"]
    assert moving["events"] > 10 * still["events"] and still["blur_px"] == 0


@pytest.mark.parametrize("dataset, label", [("hardvs", 12), ("pokerevent", 21)])
def test_events_lie_where_and_when_the_frames_change_and_on_means_brighter(dataset, label):
    shot = film(dataset, label, 2, card_threshold=WORLD.threshold)
    grey = shot["frames"].astype(float).mean(-1)
    cuts = np.searchsorted(shot["events"]["t"], shot["frame_t"])
    for i in range(WORLD.frames - 1):
        window = shot["events"][cuts[i] : cuts[i + 1]]
        net = np.zeros((WORLD.height, WORLD.width))
        np.add.at(net, (window["y"], window["x"]), np.where(window["p"] == 1, 1, -1))
        change = grey[i + 1] - grey[i]
        assert np.abs(change)[net != 0].mean() > 5 * np.abs(change)[net == 0].mean()
        assert (np.sign(change) == np.sign(net))[net != 0].mean() > 0.75


@pytest.mark.parametrize("dataset, label", [("hardvs", 12), ("pokerevent", 21)])
def test_a_scene_of_equal_luminance_has_colours_and_no_events(dataset, label):
    hard = {"p_event_hard": 1.0}
    seed = next(
        seed
        for seed in range(100)
        if film(dataset, label, seed, frames=1, **hard)["truth"]["cause"] == "isoluminant"
    )
    plain = film(dataset, label, seed, isoluminance=(1e-9, 1e-9), **hard)
    equal = film(dataset, label, seed, isoluminance=(1.0, 1.0), **hard)
    assert len(plain["events"]) > 500 and len(equal["events"]) == 0
    assert np.ptp(equal["frames"].astype(int), axis=-1).mean() > 5


def test_a_longer_exposure_blurs_the_moving_actor():
    short = film("hardvs", 0, 1, exposure_knee=0.1, speed=(2.0, 2.0))
    long = film("hardvs", 0, 1, exposure_knee=25.0, speed=(2.0, 2.0))
    assert (short["truth"]["exposure_steps"], long["truth"]["exposure_steps"]) == (1, 5)
    assert long["truth"]["blur_px"] == pytest.approx(5 * short["truth"]["blur_px"])
    assert long["truth"]["white_electrons"] == pytest.approx(5 * short["truth"]["white_electrons"])
    assert long["truth"]["blur_px"] > 3
    difference = np.abs(long["frames"].astype(int) - short["frames"])
    assert (difference.max(-1) > 10).mean() > 0.01  # where something moves
    assert (difference.max(-1) <= 1).mean() > 0.5  # where nothing does: as bright as before


# ------------------------------------------------------------------------------------- event camera
def pixel_events(log_light, *, threshold):
    """Events of one pixel whose log intensity takes the given values, 10,000 us apart."""
    light = np.array(log_light, np.float32)[:, None, None]
    level = np.full((1, 1), threshold, np.float32)
    return sample.threshold_events(light, level, level, light[0].copy(), 10_000)


def test_a_brightening_pixel_gives_on_events_at_the_threshold_crossings():
    t, _, _, p = pixel_events([0, 1], threshold=0.3)
    assert p.tolist() == [1, 1, 1]  # 0.3, 0.6 and 0.9 of a rise of 1
    np.testing.assert_allclose(t, [3000, 6000, 9000], atol=1)


def test_a_darkening_pixel_gives_off_events():
    t, _, _, p = pixel_events([0, 0, -0.65], threshold=0.3)
    assert p.tolist() == [0, 0]
    crossings = [10_000 + 0.3 / 0.65 * 10_000, 10_000 + 0.6 / 0.65 * 10_000]
    np.testing.assert_allclose(t, crossings, atol=1)


def test_the_reference_is_kept_between_steps():
    t, _, _, p = pixel_events([0, 0.2, 0.4, 0.2, 0.0], threshold=0.3)
    assert p.tolist() == [1, 0]  # up through 0.3, and down from 0.3 to 0
    np.testing.assert_allclose(t, [15_000, 40_000], atol=1)


def test_a_constant_pixel_is_silent():
    assert pixel_events([0.5] * 6, threshold=0.3)[0].size == 0


def test_on_and_off_have_thresholds_of_their_own():
    light = np.array([0, 0.9, 0], np.float32)[:, None, None]
    on, off = np.full((2, 1, 1), [[[0.2]], [[0.4]]], np.float32)
    _, _, _, p = sample.threshold_events(light, on, off, light[0].copy(), 1000)
    assert p.tolist() == [1, 1, 1, 1, 0, 0]


def test_more_events_than_there_is_room_for_at_first_are_all_kept():
    light = np.zeros((2, 100, 100), np.float32)
    light[1] = 20.05
    level = np.full((100, 100), 1, np.float32)
    t, _, _, p = sample.threshold_events(light, level, level, light[0].copy(), 1000)
    assert t.size == 20 * 100 * 100 and p.all()


def camera_events(luminance, *, illumination=1.0, noise_hz=0.0, threshold=0.3, **changes):
    """Events of luminance [S, H, W] in an event camera without any fault but the given ones."""
    faultless = {"threshold_mismatch": 0, "refractory_us": 0, "glare": 0, "dark_light": 0}
    world = dataclasses.replace(QUIET, **{**faultless, **changes})
    return sample.record_events(
        np.asarray(luminance, np.float32),
        illumination=illumination,
        threshold=threshold,
        noise_hz=noise_hz,
        rng=np.random.default_rng(0),
        world=world,
    )


def brightening(factor, *, start=0.1, steps=46):
    """Luminance [S, 20, 30] that grows exponentially, by factor in all."""
    return start * factor ** np.linspace(0, 1, steps)[:, None, None] * np.ones((1, 20, 30))


def test_brightening_gives_on_and_darkening_off_events_as_many_as_thresholds():
    for luminance, polarity in ((brightening(np.e**3), 1), (brightening(np.e**3)[::-1], 0)):
        events = camera_events(luminance)
        assert events.dtype == EVENT_DTYPE and (events["p"] == polarity).all()
        assert events["x"].max() == 29 and events["y"].max() == 19
        assert len(events) / 600 == pytest.approx(3 / 0.3 - 0.5, abs=0.1)
        assert (np.diff(events["t"]) >= 0).all()


def test_pixels_do_not_fire_together():
    events = camera_events(brightening(np.e**3))
    _, counts = np.unique(events["t"], return_counts=True)
    assert counts.max() < 0.02 * len(events)


def test_pixels_differ_by_the_mismatch_of_their_thresholds():
    def counts(**changes):
        events = camera_events(brightening(np.e**6), **changes)
        return np.bincount(events["y"].astype(int) * 30 + events["x"], minlength=600)

    assert counts().std() <= 0.5
    assert 1.5 < counts(threshold_mismatch=0.12).std() < 4  # of 20 events


def test_the_leak_adds_on_events_at_its_rate():
    still = np.full((91, 20, 30), 0.3)
    whole = camera_events(still, leak_hz=3.0)
    half = camera_events(still[:46], leak_hz=3.0)
    assert whole["p"].all()
    assert (len(whole) - len(half)) / 600 == pytest.approx(3.0 * 0.99, abs=0.05)


def test_shot_noise_comes_at_its_rate_everywhere_with_either_polarity():
    events = camera_events(np.full((46, 20, 30), 0.3), noise_hz=20.0)
    assert len(events) == pytest.approx(20 * 600 * 0.99, rel=0.03)
    assert events["p"].mean() == pytest.approx(0.5, abs=0.02)
    assert events["x"].mean() == pytest.approx(14.5, abs=0.3)
    assert events["y"].mean() == pytest.approx(9.5, abs=0.3)
    assert events["t"].mean() == pytest.approx(495_000, rel=0.02)


def test_glare_and_dark_current_hide_contrast():
    dim = brightening(10, start=0.01)
    clear = len(camera_events(dim))
    assert len(camera_events(dim, glare=0.03)) < 0.7 * clear
    bright = len(camera_events(dim, dark_light=1e-5, illumination=1.0))
    dark = len(camera_events(dim, dark_light=1e-5, illumination=1e-4))
    assert bright > 0.97 * clear > 3 * dark


def test_refractory_time_is_respected_per_pixel():
    t = np.array([0, 400, 500, 999, 1000, 1500, 2100])
    x = np.array([0, 0, 1, 0, 0, 1, 0], np.uint16)
    keep = sample.refractory_mask(t, x, np.zeros(7, np.uint16), 2, 1, 1000)
    assert keep.tolist() == [True, False, True, False, True, True, True]
    keep = sample.refractory_mask(t, np.zeros(7, np.uint16), x, 1, 2, 1000)
    assert keep.tolist() == [True, False, True, False, True, True, True]


def test_recorded_streams_respect_the_refractory_time():
    events = sample.simulate("pokerevent", 2, np.random.SeedSequence(5))["events"]
    pixel = events["y"].astype(np.int64) * WORLD.width + events["x"]
    order = np.lexsort((events["t"], pixel))
    same = np.diff(pixel[order]) == 0
    assert np.diff(events["t"][order])[same].min() >= WORLD.refractory_us


# --------------------------------------------------------------------------------------- RGB camera
def exposed(level, illumination, *, steps=1, noise=0.0, column_noise=0.0, **changes):
    """A frame [100, 100, 3], as share of full scale in linear light, of an even surface."""
    world = dataclasses.replace(WORLD, **{"read_noise": 0, **changes})
    normals = np.random.default_rng(0).standard_normal((100, 100, 3), np.float32)
    columns = np.random.default_rng(1).standard_normal(100, np.float32)
    frame = sample.expose(
        np.full((steps, 100, 100, 3), level, np.float32),
        illumination=illumination,
        noise=np.float32(noise) * normals,
        column_noise=np.float32(column_noise) * columns,
        world=world,
    )
    return (frame / 255) ** 2.2


def test_auto_gain_reaches_full_range_down_to_its_limit():
    for illumination in (1.0, 0.1, 60 / 2500):
        assert exposed(1.0, illumination).mean() == pytest.approx(1, abs=0.01)
        assert exposed(0.25, illumination).mean() == pytest.approx(0.25, abs=0.01)
    assert exposed(1.0, 6 / 2500).mean() == pytest.approx(0.1, abs=0.01)
    assert exposed(1.0, 6 / 2500, steps=5).mean() == pytest.approx(0.5, abs=0.01)


def test_shot_noise_follows_the_square_root_of_the_electrons():
    def signal_to_noise(illumination, steps=1):
        frame = exposed(0.5, illumination, steps=steps, noise=1.0)
        return frame.mean() / frame.std()

    assert signal_to_noise(1.0) == pytest.approx(1250**0.5, rel=0.05)
    assert signal_to_noise(0.25) == pytest.approx(312.5**0.5, rel=0.05)
    assert signal_to_noise(0.25, steps=4) == pytest.approx(1250**0.5, rel=0.05)


def test_read_noise_is_in_electrons():
    frame = exposed(0.5, 0.1, noise=1.0, read_noise=20.0)  # 125 of 250 e-
    assert frame.std() * 250 == pytest.approx((125 + 20**2) ** 0.5, rel=0.05)


def test_darkness_lowers_the_signal_to_noise_of_rgb():
    def signal_to_noise(illumination):
        left, right = (
            exposed(level, illumination, noise=1.0, read_noise=WORLD.read_noise)
            for level in (0.15, 0.4)
        )
        return (right.mean() - left.mean()) / (left.std() + right.std())

    bright, dim, dark = (signal_to_noise(illumination) for illumination in (1.0, 1e-2, 2e-4))
    assert bright > 4 * dim > 20 * dark


def test_column_noise_stays_the_same_over_a_recording_and_differs_between_two():
    dark = {"illumination": (1e-4, 1.0001e-4), "white_electrons": 2500, "column_noise": 40}
    first, other = (film("hardvs", 0, seed, read_noise=15, **dark)["frames"] for seed in (0, 1))
    columns = first.astype(float).mean((1, 3))
    assert np.corrcoef(columns)[0].min() > 0.9
    assert np.corrcoef(columns[0], other[0].astype(float).mean((0, 2)))[0, 1] < 0.5


def test_frames_do_not_share_their_noise():
    shot = film("hardvs", 0, 0, white_electrons=2500, read_noise=60, speed=(0.0, 0.0))
    noise = shot["frames"] - shot["frames"].astype(float).mean(0)
    correlation = np.corrcoef(noise.reshape(WORLD.frames, -1))
    assert np.abs(correlation - np.eye(WORLD.frames) * (1 + 1 / 8) + 1 / 8).max() < 0.05


# ------------------------------------------------------------------------------ pre-training frames
def test_pretraining_frames_are_reproducible_and_no_recording_draws_them(monkeypatch):
    streams = []
    real = np.random.SeedSequence

    def noted(entropy):
        streams.append(tuple(entropy))
        return real(entropy)

    monkeypatch.setattr(np.random, "SeedSequence", noted)
    frames = sample.render_frames("hardvs", [0, 1, 1], seed=3)
    monkeypatch.undo()
    assert frames.shape == (3, WORLD.height, WORLD.width, 3) and frames.dtype == np.uint8
    assert np.array_equal(frames, sample.render_frames("hardvs", [0, 1, 1], seed=3))
    assert not np.array_equal(frames, sample.render_frames("hardvs", [0, 1, 1], seed=4))
    assert not np.array_equal(frames[1], frames[2])
    bright = dataclasses.replace(WORLD, illumination=(0.9, 1.0))
    assert sample.render_frames("hardvs", [0, 1, 1], seed=3, world=bright).mean() > frames.mean()
    recording_splits = {sample.SPLIT_IDS["train"], sample.SPLIT_IDS["test"]}
    assert len(streams) == 3 and not {stream[2] for stream in streams} & recording_splits
