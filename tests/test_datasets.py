"""Lists, splits, class names and prompts of a data set, as its configuration asks for them."""

import csv
import hashlib
import json
import os
import shutil

import numpy as np
import pytest
import torch
from recipes import (
    gray_frames,
    listed_root,
    make_root,
    random_events,
    save_images,
    save_npz,
    save_numbered,
    save_stored,
    write_lists,
)

from safe_companion import datasets, lists, prompts
from safe_companion.clips import ClipDataset
from safe_companion.datasets import class_names, open_dataset
from safe_companion.recordings import RecordingError
from safe_core import CHOICES, Config


def config_of(root, **fields):
    fields = {"dataset": "hardvs", "frames": 3, "image_size": 16} | fields
    return Config(data_root=None if root is None else str(root), **fields)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Facts of recordings are kept apart from the user's."""
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path_factory.mktemp("cache")))


def open_root(root, *, skipped=None, **fields):
    return open_dataset(config_of(root, **fields), skipped=skipped)


def open_listed(root, **fields):
    """Of a root whose lists name more than there is: nothing is looked at."""
    return open_root(root, skipped=[], **fields)


def labelled(clips):
    """{name: label} of a ClipDataset."""
    return dict(zip(clips.names, clips.labels.tolist(), strict=True))


# ---------------------------------------------------------------- lists and class names


def test_lists_are_parsed_from_the_right(tmp_path):
    path = tmp_path / "train_label.txt"
    path.write_text(
        "\ufeffaction_001/dvSave (2) 54 0\r\n\n  Sea hare/a b\t7   12 \n", encoding="utf-8"
    )
    assert lists.read_list(path) == [("action_001/dvSave (2)", 54, 0), ("Sea hare/a b", 7, 12)]


@pytest.mark.parametrize(
    "line",
    [
        "action_001/a 5",
        "action_001/a x 0",
        "action_001/a 5 -1",
        f"action_001/a 5 {'9' * 5000}",
        f"action_001/{'a' * 300} 5 0",
        "action_001/\0 5 0",
        "action_001/a 5 \u0663",
    ],
)
def test_a_line_that_is_none_of_a_list_is_named(tmp_path, line):
    path = tmp_path / "train_label.txt"
    path.write_text(f"action_001/a 5 0\n{line}\n")
    with pytest.raises(ValueError, match="train_label.txt, line 2: found 'action"):
        lists.read_list(path)


def test_published_class_names():
    names = {dataset: class_names(dataset, "nowhere") for dataset in ("hardvs", "pokerevent")}
    assert len(names["hardvs"]) == 300 and len(names["pokerevent"]) == 114
    assert names["hardvs"][0] == "L type clamp back" and names["pokerevent"][13] == "JOKER"


def test_class_names_come_from_the_root_before_the_published_list(tmp_path):
    (tmp_path / "classes.txt").write_text("Wave\nGrüßen", encoding="utf-8")
    assert class_names("hardvs", tmp_path) == class_names("folder", tmp_path) == ["Wave", "Grüßen"]


def test_sub_folders_are_the_classes_of_a_folder(tmp_path):
    for name in ("b", "a c", ".hidden", "__MACOSX", "emptied"):
        (tmp_path / name).mkdir()
    for file in ("b/1.npz", "a c/1.NPZ", ".hidden/1.npz", "__MACOSX/1.npz", "emptied/.DS_Store"):
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "notes").write_text("no folder")
    assert class_names("folder", str(tmp_path)) == ["a c", "b"]


@pytest.mark.parametrize(
    "content", ["\ufeffWave\nBow\n\n", "Wave\r\nBow\r\n", "\n Wave \n\nBow", "Wave\rBow"]
)
def test_blank_lines_marks_and_foreign_line_ends_are_no_part_of_a_class_name(tmp_path, content):
    (tmp_path / "classes.txt").write_bytes(content.encode())
    assert class_names("hardvs", tmp_path) == ["Wave", "Bow"]


@pytest.mark.parametrize("file", ["classes.txt", "train_label.txt", "test_label.txt"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_named(tmp_path, file, encoding):
    root = listed_root(tmp_path)
    (root / file).write_bytes("Grüße/a 5 0\n".encode(encoding))
    with pytest.raises(ValueError, match=f"{file}: found bytes that are no UTF-8.*Save it"):
        open_listed(root)


def test_a_class_file_without_a_name_is_named(tmp_path):
    (tmp_path / "classes.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="classes.txt: found no class name"):
        class_names("hardvs", tmp_path)


def test_two_classes_may_share_a_name(tmp_path):
    (tmp_path / "classes.txt").write_text("whale\nwhale\n")
    assert class_names("pokerevent", tmp_path) == ["whale", "whale"]


def test_class_names_of_the_sample_need_no_sample(monkeypatch):
    monkeypatch.setattr(datasets.sample, "make_sample", None)
    assert class_names("hardvs", None) == list(datasets.sample.CLASSES["hardvs"])
    assert len(class_names("pokerevent", None)) == 26
    with pytest.raises(ValueError, match="no generated sample; set data_root"):
        class_names("folder", None)


def test_every_data_set_that_can_be_chosen_has_title_source_and_prompt():
    for table in (datasets.TITLES, lists.WHERE_TO_GET, prompts.TEMPLATES):
        assert tuple(table) == CHOICES["dataset"]


# ---------------------------------------------------------------- splits


def test_splits_are_stratified_and_hold_every_recording_once(tmp_path):
    splits = open_listed(listed_root(tmp_path), val_fraction=0.2)
    train, val, test = labelled(splits.train), labelled(splits.val), labelled(splits.test)
    assert sorted(val.values()) == [0, 0, 1, 1] and sorted(train.values()) == [0] * 8 + [1] * 8
    assert not train.keys() & val.keys()
    assert train | val == {f"{label}/train {i}": label for label in (0, 1) for i in range(10)}
    assert test == {f"{label}/test {i}": label for label in (0, 1) for i in range(2)}
    assert splits.class_names == ["Wave", "Left Bend"]


@pytest.mark.parametrize("share, per_class", [(0, 0), (0.01, 1), (0.2, 2), (0.5, 5), (1, 9)])
def test_val_fraction_holds_out_its_share_and_leaves_one_for_training(tmp_path, share, per_class):
    splits = open_listed(listed_root(tmp_path), val_fraction=share)
    assert list(labelled(splits.val).values()).count(0) == per_class
    assert len(splits.val) == 2 * per_class and len(splits.train) == 2 * (10 - per_class)


def test_the_seed_decides_the_split(tmp_path):
    root = listed_root(tmp_path)
    first = open_listed(root, val_fraction=0.2)
    assert open_listed(root, val_fraction=0.2).val.names == first.val.names
    assert open_listed(root, val_fraction=0.2, seed=1).val.names != first.val.names
    few = open_listed(root, train_fraction=0.3).train.names
    assert open_listed(root, train_fraction=0.3, seed=1).train.names != few


def test_classes_are_drawn_on_their_own(tmp_path):
    held_out = open_listed(listed_root(tmp_path, per_class=30), val_fraction=0.2).val.names
    numbers = [
        {name.split()[1] for name in held_out if name.startswith(label)} for label in ("0", "1")
    ]
    assert numbers[0] != numbers[1]


def test_smaller_training_sets_lie_within_larger_ones(tmp_path):
    root = listed_root(tmp_path)
    whole, half, quarter, least = (
        open_listed(root, val_fraction=0.2, train_fraction=share) for share in (1, 0.5, 0.25, 0.01)
    )
    sizes = [len(splits.train) for splits in (whole, half, quarter, least)]
    assert sizes == [16, 8, 4, 2]
    assert set(labelled(least.train).values()) == {0, 1}
    sets = [set(splits.train.names) for splits in (least, quarter, half, whole)]
    assert sets[0] < sets[1] < sets[2] < sets[3]
    assert whole.val.names == half.val.names == least.val.names
    assert whole.test.names == least.test.names


def folder_root(root, per_class=10):
    for name in ("b", "a"):
        for i in range(per_class):
            stream = random_events(60 + i, (30 - i, 20), seed=i)
            stream[0]["x"], stream[0]["y"] = 29, 19  # all of one sensor
            save_npz(root / name / f"{i}.npz", stream)
    return root


FOLDER = {"dataset": "folder", "frames": 2, "image_size": 8, "modality": "event"}


@pytest.mark.parametrize("share, per_class", [(0, 0), (0.2, 2), (0.5, 5), (0.01, 1), (1, 9)])
def test_test_fraction_splits_a_folder_without_lists(tmp_path, share, per_class):
    splits = open_root(folder_root(tmp_path), test_fraction=share, val_fraction=0, **FOLDER)
    assert len(splits.test) == 2 * per_class and len(splits.train) == 2 * (10 - per_class)
    names = splits.train.names + splits.test.names
    assert sorted(names) == sorted(f"{c}/{i}" for c in "ab" for i in range(10))
    for clips in (splits.train, splits.test):
        assert all(label == "ab".index(name[0]) for name, label in labelled(clips).items())


def test_the_seed_decides_the_test_set_of_a_folder(tmp_path):
    root = folder_root(tmp_path)
    first, again, other = (open_root(root, seed=seed, **FOLDER) for seed in (0, 0, 1))
    assert first.test.names == again.test.names != other.test.names
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_list_files_of_a_folder_decide_its_split(tmp_path):
    root = folder_root(tmp_path)
    write_lists(root, [("a/1", 0), ("b/1", 1), ("a/2", 0)], [("b/7", 1)])
    splits = open_root(root, val_fraction=0, **FOLDER)
    assert splits.train.names == ["a/1", "b/1", "a/2"] and splits.test.names == ["b/7"]


def test_a_file_and_a_folder_of_the_same_name_are_one_recording(tmp_path):
    root = folder_root(tmp_path, per_class=3)
    save_images(root / "a/0/0_aps", gray_frames(2))
    (root / "a/.DS_Store").write_text("")
    (root / "a/notes.txt").write_text("")
    splits = open_root(root, val_fraction=0, **FOLDER)
    assert sorted(splits.train.names + splits.test.names) == [
        f"{c}/{i}" for c in "ab" for i in "012"
    ]


def test_a_folder_without_recordings_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match="found 0 recordings in 0 class folders.*no files"):
        open_root(tmp_path, **FOLDER)


@pytest.mark.parametrize("kind", ["class", "recording", "folder of a recording"])
def test_names_that_no_table_can_hold_are_refused_before_a_training(kind, tmp_path):
    strange = os.fsdecode(b"caf\xe9")
    root = tmp_path / "takes"
    for name in ("Wave", strange if kind == "class" else "Bow"):
        for i in range(3):
            save_npz(root / name / f"{i}.npz", random_events(20))
    if kind == "recording":
        save_npz(root / "Bow" / f"{strange}.npz", random_events(20))
    if kind == "folder of a recording":
        save_numbered(root / "Bow" / strange)
    place = root if kind == "class" else root / "Bow"
    with pytest.raises(ValueError, match=f"{place}: found the name 'caf.+udce9.*UTF-8"):
        open_root(root, dataset="folder")


def test_a_folder_of_what_cannot_be_read_says_what_is_there_and_what_can_be_read(tmp_path):
    for name in ("a/1.mp4", "a/2.MP4", "b/1.bag"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = (
        r"found 0 recordings.*There are 2 .mp4 \(a/1.mp4\), 1 .bag \(b/1.bag\).*read: .aedat4, .npz"
    )
    with pytest.raises(FileNotFoundError, match=found):
        open_root(tmp_path, **FOLDER)


def test_class_folders_one_level_too_deep_are_no_recordings(tmp_path):
    for split in ("train", "test"):
        folder_root(tmp_path / split, per_class=2)
    found = r"found 0 recordings in 0 class folders.*There are 8 .npz \(test/a/0.npz\)"
    with pytest.raises(FileNotFoundError, match=found):
        open_root(tmp_path, **FOLDER)


def test_a_class_file_that_names_no_folder_is_an_error(tmp_path):
    root = folder_root(tmp_path, per_class=2)
    (root / "classes.txt").write_text("a\nc\n")
    with pytest.raises(FileNotFoundError, match="/c: looked for the folder of class 1, found none"):
        open_root(root, **FOLDER)


# ---------------------------------------------------------------- what each split draws


@pytest.fixture(scope="module")
def moving_root(tmp_path_factory):
    """One class, three recordings for training and one for testing, of six different frames."""
    root = tmp_path_factory.mktemp("moving")
    rng = np.random.default_rng(0)
    for name in ("train 0", "train 1", "train 2", "test 0"):
        save_stored(root / name, list(rng.integers(0, 256, (6, 12, 16, 3), np.uint8)))
    write_lists(root, [(f"train {i}", 0) for i in range(3)], [("test 0", 0)])
    (root / "classes.txt").write_text("Wave")
    return root


def same(a, b):
    return torch.equal(a["rgb"], b["rgb"]) and torch.equal(a["event"], b["event"])


def in_epochs(clips, epochs=4):
    found = []
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        found.append(clips[0])
    return found


@pytest.mark.parametrize("augment", CHOICES["augment"])
@pytest.mark.parametrize("frame_draw", CHOICES["frame_draw"])
def test_validation_and_test_clips_are_even_and_never_augmented(moving_root, augment, frame_draw):
    splits = open_root(moving_root, val_fraction=0.3, augment=augment, frame_draw=frame_draw)
    assert len(splits.val) == len(splits.test) == 1
    for clips in (splits.val, splits.test):
        plain = ClipDataset([(clips.names[0], 0)], moving_root, ["Wave"], config_of(moving_root))
        assert all(same(clip, plain[0]) for clip in in_epochs(clips))


@pytest.mark.parametrize("augment", CHOICES["augment"])
@pytest.mark.parametrize("frame_draw, draw", [("aligned", "jittered"), ("independent", "random")])
def test_training_clips_are_drawn_and_augmented_as_asked(moving_root, augment, frame_draw, draw):
    train = open_root(moving_root, val_fraction=0, augment=augment, frame_draw=frame_draw).train
    if (augment, draw) == ("none", "jittered"):
        draw = "even"
    expected = ClipDataset(
        [(name, 0) for name in train.names],
        moving_root,
        ["Wave"],
        config_of(moving_root),
        draw=draw,
        augment=augment,
    )
    clips = in_epochs(train)
    assert all(same(*pair) for pair in zip(clips, in_epochs(expected), strict=True))
    if draw != "even":
        assert not any(same(clips[0], other) for other in clips[1:])


@pytest.mark.parametrize("frame_draw, draw", [("aligned", "jittered"), ("independent", "random")])
def test_random_test_frames_are_drawn_as_in_training_without_augmentation(
    moving_root, frame_draw, draw
):
    fields = {"test_frames": "random", "frame_draw": frame_draw, "augment": "none"}
    splits = open_root(moving_root, val_fraction=0.3, **fields)
    for clips in (splits.val, splits.test):
        expected = ClipDataset(
            [(clips.names[0], 0)], moving_root, ["Wave"], config_of(moving_root), draw=draw
        )
        found = in_epochs(clips, 6)
        assert all(same(*pair) for pair in zip(found, in_epochs(expected, 6), strict=True))
        assert len({clip["rgb"].numpy().tobytes() for clip in found}) > 3


def test_configuration_reaches_every_split(tmp_path):
    root = listed_root(tmp_path)
    fields = {"modality": "event", "frames": 2, "image_size": 20, "event_representation": "counts"}
    splits = open_listed(root, **fields)
    assert splits.test[0]["event"].shape == (2, 3, 20, 20) and "rgb" not in splits.test[0]
    for clips in (splits.train, splits.val, splits.test):
        assert clips.config == config_of(root, **fields)
        assert clips.class_names == splits.class_names and clips.root == root


# ---------------------------------------------------------------- sensor size


def test_the_sensor_size_of_the_configuration_holds(tmp_path):
    root = folder_root(tmp_path, per_class=3)
    splits = open_root(root, sensor_size="40x32", **FOLDER)
    assert splits.sensor_size == (40, 32)
    for clips in (splits.train, splits.val, splits.test):
        assert clips.recording(0).size == (40, 32)


def test_npz_recordings_of_a_folder_share_the_extent_of_those_for_training(tmp_path):
    root = folder_root(tmp_path, per_class=3)
    lists_of = [("a/1", 0), ("b/2", 1)], [("a/0", 0)]
    write_lists(root, *lists_of)
    save_npz(root / "a/1.npz", random_events(500, (28, 9), seed=1))
    save_npz(root / "b/2.npz", random_events(500, (15, 19), seed=2))
    splits = open_root(root, val_fraction=0, repair_events=True, **FOLDER)
    # of all for training; the wider test recording has no say
    assert splits.sensor_size == splits.train.recording(1).size == (28, 19)
    with pytest.raises(RecordingError, match="a/0.npz.*inside the sensor of 28x19 pixels"):
        open_root(root, val_fraction=0, **FOLDER)
    (root / "a/1.npz").write_bytes(b"cut off")
    fields = {"repair_events": True, "on_bad_recording": "skip", "val_fraction": 0}
    assert open_root(root, **fields, **FOLDER).sensor_size == (15, 19)


def test_frames_beside_the_events_give_a_folder_its_size(tmp_path):
    root = folder_root(tmp_path, per_class=3)
    for name in "ab":
        for i in range(3):
            save_images(root / name / f"{i}/{i}_aps", gray_frames(3, (32, 24)))
    splits = open_root(root, **FOLDER)
    assert splits.sensor_size == (32, 24)


def test_recordings_of_a_published_data_set_say_their_own_size(tmp_path):
    splits = open_listed(listed_root(tmp_path))
    assert splits.sensor_size is None and splits.test.recording(0).size == (8, 6)


# ---------------------------------------------------------------- identity


def test_fingerprint_is_that_of_class_names_and_lists(tmp_path):
    root = make_root(tmp_path, per_class=2)
    before = open_root(root).fingerprint
    content = ["", class_names("hardvs", root)]
    content.append({s: lists.read_list(root / f"{s}_label.txt") for s in ("train", "test")})
    assert before == hashlib.sha256(json.dumps(content).encode()).hexdigest()
    assert open_root(root, seed=3, val_fraction=0.5).fingerprint == before
    (root / "classes.txt").write_text("Wave\nRight Bend")
    assert open_root(root).fingerprint != before


def test_facts_fit_into_a_run_record(tmp_path):
    facts = open_listed(listed_root(tmp_path), val_fraction=0.2).facts
    assert json.loads(json.dumps(facts)) == facts and facts["origin"] == "real"
    assert (facts["train"], facts["val"], facts["test"]) == (16, 4, 4)
    assert str(tmp_path) not in str(facts)


def test_a_generated_sample_opened_by_its_path_stays_one(tmp_path):
    root = listed_root(tmp_path)
    assert open_listed(root).origin == "real"
    (root / "ground_truth.csv").write_text("sample\n")
    assert open_listed(root).origin == "sample"


def test_the_default_sample_lies_in_the_cache(tmp_path, monkeypatch):
    made = []

    def make_sample(dataset, root, **sizes):
        made.append((dataset, root, sizes))
        if not root.exists():
            make_root(root)
            for folder in root.glob("action_*/*"):
                save_images(folder / f"{folder.name}_dvs", gray_frames(5))
        return root

    def fingerprint(dataset, **sizes):
        return f"{dataset[0]}{sizes['train_per_class']}-".ljust(64, "f")

    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.sample, "make_sample", make_sample)
    monkeypatch.setattr(datasets.sample, "fingerprint", fingerprint)
    first = open_root(None, sample_train_per_class=6)
    again = open_root(None, sample_train_per_class=6)
    expected = tmp_path / "cache" / "hardvs-h6-fffffffffffff"
    sizes = {"seed": 0, "train_per_class": 6, "test_per_class": 105}
    assert made == [("hardvs", expected, sizes)] * 2
    assert first.root == expected and first.origin == "sample"
    assert first.fingerprint == again.fingerprint
    other = open_root(None, sample_train_per_class=7)
    assert other.root != expected and other.fingerprint != first.fingerprint


def test_a_folder_has_no_sample():
    with pytest.raises(ValueError, match="no generated sample; set data_root"):
        open_root(None, dataset="folder")


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
def test_a_generated_sample_opens_and_reads(tiny_sample, dataset):
    splits = open_root(
        tiny_sample(dataset), dataset=dataset, frames=5, image_size=48, on_bad_recording="skip"
    )
    assert splits.origin == "sample" and not splits.skipped
    assert splits.class_names == class_names(dataset, None)
    clip = splits.train[0]
    assert clip["rgb"].shape == clip["event"].shape == (5, 3, 48, 48)


def test_ground_truth_has_one_row_for_each_name_in_order(tmp_path):
    with open(tmp_path / "ground_truth.csv", "w", newline="") as file:
        rows = [("sample", "cause", "speed"), ("a", "none", 1.5), ("b", "NA", 2), ("c", "dark", 3)]
        csv.writer(file).writerows(rows)
    truth = datasets.ground_truth(tmp_path, ["x/c", "a", "x y/b", "c"])
    assert truth.cause.tolist() == ["dark", "none", "NA", "dark"]
    assert truth.speed.tolist() == [3, 1.5, 2, 3]
    assert truth.index.tolist() == ["c", "a", "b", "c"]


# ---------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    "dataset, source",
    [("hardvs", "Event-AHU/HARDVS"), ("pokerevent", "Event-AHU/SAFE_LargeVLM.*SSTFormer")],
)
def test_a_wrong_root_is_an_error_not_the_sample(tmp_path, dataset, source):
    with pytest.raises(FileNotFoundError, match=f"no such folder.*{source}"):
        open_root(tmp_path / "absent", dataset=dataset)
    looked_for = "looked for train_label.txt and test_label.txt"
    with pytest.raises(FileNotFoundError, match=f"{looked_for}.*{source}"):
        open_root(tmp_path, dataset=dataset)
    (tmp_path / "train_label.txt").write_text("a 5 0\n")
    with pytest.raises(FileNotFoundError, match="looked for test_label.txt, found none"):
        open_root(tmp_path, dataset=dataset)


def test_lists_without_recordings_are_an_error(tmp_path):
    write_lists(tmp_path, [("action_001/a", 0)], [("action_001/a", 0)])
    with pytest.raises(FileNotFoundError, match="action_001/a.*Event-AHU/HARDVS"):
        open_root(tmp_path)


def test_labels_without_a_class_are_named(tmp_path):
    root = listed_root(tmp_path)
    (root / "classes.txt").write_text("Wave")
    message = "train_label.txt: found label 1 of 1/train 0; expected labels 0 to 0"
    with pytest.raises(ValueError, match=message):
        open_root(root)


def test_labels_counted_from_1_are_named_as_such(tmp_path):
    root = listed_root(tmp_path)
    for split in ("train", "test"):
        items = lists.read_list(root / f"{split}_label.txt")
        lines = [f"{name} {frames} {label + 1}\n" for name, frames, label in items]
        (root / f"{split}_label.txt").write_text("".join(lines))
    with pytest.raises(ValueError, match="labels 1 to 2, counted from 1.*Subtract 1"):
        open_root(root)


def test_an_empty_list_is_named(tmp_path):
    root = listed_root(tmp_path)
    (root / "test_label.txt").write_text("\n")
    with pytest.raises(ValueError, match="test_label.txt: found no recording"):
        open_root(root)


def test_bad_recordings_stop_or_are_skipped_with_a_reason(tmp_path):
    root = make_root(tmp_path)
    lost, broken, short = (f"action_001/train ({i})" for i in (1, 2, 3))
    (root / lost / "train (1).npz").rename(root / "away.npz")
    (root / lost / "train (1)_aps").rename(root / "away")
    (root / broken / "train (2).npz").write_bytes(b"PK cut off")
    for image in sorted((root / short / "train (3)_aps").iterdir())[2:]:
        image.unlink()
    tested = "action_002/test (1)"
    (root / tested / "test (1).npz").write_bytes(b"")
    with pytest.raises(RecordingError, match=r"found 1 of 16 .*\(1 empty\).*Nothing was opened"):
        open_root(root, val_fraction=0)
    (root / "away.npz").rename(root / lost / "train (1).npz")
    with pytest.raises(RecordingError) as refusal:
        open_root(root, val_fraction=0)
    message = str(refusal.value)
    for found in (
        "found 4 of 16 recordings",
        "on_bad_recording='skip'",
        "train (2).npz: found no complete npz",
        "train (1): found no RGB frames",
        "found 2 frames; expected at least 3",
        "test (1).npz: found no complete npz",
    ):
        assert found in message
    (root / lost / "train (1).npz").rename(root / "away.npz")
    splits = open_root(root, val_fraction=0, on_bad_recording="skip")
    assert [sample for sample, _ in splits.skipped] == [lost, broken, short, tested]
    assert "expected" in splits.skipped[0][1] and len(splits.facts["skipped"]) == 4
    assert len(splits.train) == 9 and len(splits.test) == 3
    assert [len(splits.train[i]["rgb"]) for i in range(9)] == [3] * 9
    assert splits.test[1]["name"] == "action_001/test (1)"


def test_check_lists_every_bad_recording(tmp_path, capsys):
    root = make_root(tmp_path, per_class=2)
    assert datasets.check(config_of(root)) == 0
    out = capsys.readouterr().out
    assert "train: 4 recordings, 0 with problems" in out and "problems: none" in out
    save_npz(root / "action_001/test (0)/test (0).npz", random_events(0))
    (root / "action_002/test (1)/test (1)_aps/00000002.png").write_bytes(b"no image")
    assert datasets.check(config_of(root)) == 1
    out = capsys.readouterr().out
    assert "test: 4 recordings, 2 with problems" in out
    assert "problems: 1 empty, 1 unreadable" in out
    assert "test (0).npz" in out and "00000002.png" in out


def test_check_of_a_wrong_root_says_so(tmp_path, capsys):
    assert datasets.check(config_of(tmp_path / "absent")) == 1
    assert "no such folder" in capsys.readouterr().out


def test_a_generated_sample_with_a_class_deleted_is_not_opened(tiny_sample, tmp_path, monkeypatch):
    for dataset in ("hardvs", "pokerevent"):
        root = tmp_path / dataset
        shutil.copytree(tiny_sample(dataset), root)
        monkeypatch.setattr(datasets, "_sample_root", lambda config, root=root: (root, "mark"))
        assert len(open_root(None, dataset=dataset).test) > 20
        shutil.rmtree(sorted(path for path in root.iterdir() if path.is_dir())[3])
        with pytest.raises(FileNotFoundError, match="sample whole, not .*/.*Delete this folder"):
            open_root(None, dataset=dataset)


def test_real_nmnist_folder(real_data):
    splits = open_root(
        real_data / "nmnist", dataset="folder", frames=3, image_size=34, modality="event"
    )
    assert splits.sensor_size == (34, 34) and splits.origin == "real"
    assert len(splits.class_names) == 10
    assert (len(splits.train), len(splits.val), len(splits.test)) == (430, 50, 120)
    clip = splits.test[0]
    assert "rgb" not in clip and clip["event"].shape == (3, 3, 34, 34)
    assert all((image.amin(0) < 255).sum() > 50 for image in clip["event"])
