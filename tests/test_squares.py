"""Conjunctions: what one camera sees, the other does not; only the place tells which belongs."""

import csv
import itertools

import numpy as np
import pytest

from safe_companion import sample
from safe_companion.events import event_image
from safe_companion.sample import COLOURS, MOTIONS, PAIRS, UNSEEN, WORLD, squares
from safe_core import configure

SIZE = (WORLD.width, WORLD.height)


def film(label, seed=0):
    return sample.simulate("conjunctions", label, np.random.SeedSequence([seed, 9]))


def label_of(colour, motion):
    return PAIRS.index(f"{colour} square {motion}")


@pytest.fixture(scope="module")
def films():
    """A recording of every class, all of one seed: they differ in their pair alone."""
    return [film(label) for label in range(len(PAIRS))]


# ---------------------------------------------------------------- what each camera can know
def test_frames_do_not_tell_the_motion(films):
    for colour in COLOURS:
        same = [films[label_of(colour, motion)]["frames"] for motion in MOTIONS]
        assert all(np.array_equal(frames, same[0]) for frames in same)


def test_frames_of_a_recording_show_everything_at_its_place(films):
    frames = films[label_of("red", "moving left")]["frames"].astype(float)
    still = np.abs(frames - frames.mean(0)).mean((1, 2, 3))
    assert still.max() < 1.2 * still.min()  # noise, which is alike in all


def test_events_do_not_tell_the_colour(films):
    """But for rounding: fewer than one event of a hundred is another."""
    for motion in MOTIONS:
        streams = [films[label_of(colour, motion)]["events"] for colour in COLOURS]
        first = set(map(bytes, streams[0]))
        for stream in streams[1:]:
            assert len(first ^ set(map(bytes, stream))) < 0.01 * len(first)


def test_each_colour_and_each_motion_can_be_told_by_its_camera(films):
    """Nearest recording of another seed, by the place where something moves."""
    for motion, other in itertools.permutations(MOTIONS, 2):
        one, two = (films[label_of("red", name)]["events"] for name in (motion, other))
        assert len(set(map(bytes, one)) ^ set(map(bytes, two))) > 0.1 * len(one)
    for colour, other in itertools.permutations(COLOURS, 2):
        one, two = (films[label_of(name, "turning")]["frames"] for name in (colour, other))
        assert np.abs(one.astype(int) - two).max() > 60


def test_three_squares_of_different_colours_are_shown_and_one_moves(films):
    """Where events are dense there is one place, of the four quarters of the image."""
    for label, shot in enumerate(films):
        inside = np.stack([shot["events"]["x"] * 2 // SIZE[0], shot["events"]["y"] * 2 // SIZE[1]])
        quarters = np.bincount(inside[0] + 2 * inside[1], minlength=4)
        assert quarters.max() > 2 * np.sort(quarters)[-2], PAIRS[label]
    light, points = squares.film_squares(
        label_of("blue", "moving up"),
        np.random.default_rng(0),
        squares.draw_steady(0, np.random.default_rng(0)),
        np.arange(6) * 0.022,
        WORLD,
    )
    luminance = light @ squares.LUMINANCE
    assert (luminance[0] < 0.16).mean() > 3 * (2 * 12) ** 2 * 0.8 / luminance[0].size
    assert np.allclose(light[0], light[5])  # a frame later it is back
    assert points[2, 0, 1] < points[0, 0, 1] - 10  # up is towards smaller y
    x, y = points[0, 0].astype(int)
    assert light[0, y, x].argmax() == 2  # the one that moves is blue
    assert np.allclose(light[0, y, x] / light[0, y, x, 2], np.array(COLOURS["blue"]), atol=0.02)


def looked_up(shot):
    """The colour at the place where the events are: the nearest of the six, all in linear light."""
    x, y = shot["events"]["x"].astype(int), shot["events"]["y"].astype(int)
    quarter = 2 * x // SIZE[0] + 2 * (2 * y // SIZE[1])
    inside = quarter == np.bincount(quarter).argmax()
    at_x, at_y = int(np.median(x[inside])), int(np.median(y[inside]))
    seen = shot["frames"].mean(0)[at_y - 3 : at_y + 4, at_x - 3 : at_x + 4].mean((0, 1))
    light = (seen / 255) ** 2.2
    inks = np.array([np.array(ink) / (ink @ squares.LUMINANCE) for ink in COLOURS.values()])
    away = np.abs(light / (light @ squares.LUMINANCE) - inks).sum(1)
    return int(away.argmin())


def test_who_looks_up_the_place_of_the_events_sees_the_colour_that_moves():
    """So the classes can be told, by binding: late fusion would be right in one of three."""
    labels = range(0, len(PAIRS), 2)
    right = [looked_up(film(label, seed=label)) == label // len(MOTIONS) for label in labels]
    assert np.mean(right) > 0.8


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("moving left", 0, -1), ("moving right", 0, 1), ("moving up", 1, -1), ("moving down", 1, 1)],
)
def test_what_moves_goes_the_way_that_its_class_says(motion, axis, sign):
    nuisance = squares.draw_steady(0, np.random.default_rng(1))
    times = np.arange(11) * 0.022
    way = squares.film_squares(
        label_of("red", motion), np.random.default_rng(1), nuisance, times, WORLD
    )[1][:, 0]
    gone = way - way[0]
    assert (sign * gone[[2, 3, 7, 8], axis] > 10).all() and not gone[:, 1 - axis].any()
    assert np.allclose(gone[[0, 5, 10]], 0)


def test_one_event_image_shows_whether_something_turns_or_grows(films):
    """The first window: what grows reaches farther out of its square than what turns."""
    reach = {}
    for motion in ("turning", "growing"):
        shot = films[label_of("pink", motion)]
        window = shot["events"][shot["events"]["t"] < shot["frame_t"][1]]
        image = event_image(window, SIZE, "authors")
        reach[motion] = (image.min(0) < 255).mean()
    assert reach["growing"] > 1.3 * reach["turning"]


# ---------------------------------------------------------------- pairs and lists
def test_a_third_of_the_pairs_is_unseen_and_neither_half_tells_which_more_than_another():
    table = np.zeros((len(COLOURS), len(MOTIONS)), bool)
    table.flat[UNSEEN] = True
    assert table.sum() == 12
    assert (table.sum(0) == 2).all() and (table.sum(1) == 2).all()
    assert PAIRS[0] == "red square moving left" and len(set(PAIRS)) == 36


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "conjunctions"
    options = {"train_per_class": 2, "test_per_class": 1, "progress": False}
    return sample.make_sample("conjunctions", root, seed=1, workers=1, **options)


def test_the_training_list_holds_seen_pairs_and_the_test_list_all(made):
    labels = {}
    for split in ("train", "test"):
        lines = (made / f"{split}_label.txt").read_text().splitlines()
        labels[split] = [int(line.rsplit(" ", 1)[1]) for line in lines]
        for line in lines:
            name = line.rsplit(" ", 2)[0]
            assert name.startswith(PAIRS[int(line.rsplit(" ", 1)[1])] + "/sample-")
            assert (made / name).is_dir()
    assert sorted(set(labels["train"])) == [i for i in range(36) if i not in UNSEEN]
    assert labels["train"].count(1) == 2 and labels["test"] == list(range(36))
    with open(made / "ground_truth.csv", newline="") as file:
        truth = list(csv.DictReader(file))
    unseen = {int(row["label"]) for row in truth if row["cause"] == "unseen pair"}
    assert unseen == set(UNSEEN)
    assert {row["cause"] for row in truth if row["split"] == "train"} == {"seen pair"}


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    options = {"train_per_class": 2, "test_per_class": 1, "progress": False}
    again = sample.make_sample("conjunctions", tmp_path / "a", seed=1, workers=2, **options)
    files = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    assert all((made / file).read_bytes() == (again / file).read_bytes() for file in files)
    other = sample.make_sample("conjunctions", tmp_path / "b", seed=2, workers=1, **options)
    npz = next(file for file in files if file.suffix == ".npz")
    assert (made / npz).read_bytes() != (other / npz).read_bytes()


def test_it_is_opened_as_a_sample_by_name_and_by_path(made, tmp_path, monkeypatch):
    from safe_companion import datasets

    monkeypatch.setenv("SAFE_CACHE", str(tmp_path))
    few = {"sample_train_per_class": 2, "sample_test_per_class": 1, "val_fraction": 0.0}
    opened = {
        root: datasets.open_dataset(configure("sample", dataset=name, data_root=root, **few))
        for name, root in (
            ("conjunctions", None),
            ("conjunctions", str(made)),
            ("folder", str(made)),
        )
    }
    for splits in opened.values():
        assert splits.origin == "sample" and splits.class_names == PAIRS
        assert (len(splits.train), len(splits.test)) == (48, 36)
        assert splits.train[0]["rgb"].shape == (3, 3, 64, 64)
    assert configure(dataset="conjunctions").origin == "sample"
