"""Lists, splits, class names and prompts of a data set, as its configuration asks for them."""

import csv
import hashlib
import json

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


def open_root(root, **fields):
    return open_dataset(config_of(root, **fields))


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


@pytest.mark.parametrize("line", ["action_001/a 5", "action_001/a x 0", "action_001/a 5 -1"])
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
    for name in ("b", "a c", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes").write_text("no folder")
    assert class_names("folder", str(tmp_path)) == ["a c", "b"]


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
    splits = open_root(listed_root(tmp_path), val_fraction=0.2)
    train, val, test = labelled(splits.train), labelled(splits.val), labelled(splits.test)
    assert sorted(val.values()) == [0, 0, 1, 1] and sorted(train.values()) == [0] * 8 + [1] * 8
    assert not train.keys() & val.keys()
    assert train | val == {f"{label}/train {i}": label for label in (0, 1) for i in range(10)}
    assert test == {f"{label}/test {i}": label for label in (0, 1) for i in range(2)}
    assert splits.class_names == ["Wave", "Left Bend"]


@pytest.mark.parametrize("share, per_class", [(0, 0), (0.01, 1), (0.2, 2), (0.5, 5), (1, 9)])
def test_val_fraction_holds_out_its_share_and_leaves_one_for_training(tmp_path, share, per_class):
    splits = open_root(listed_root(tmp_path), val_fraction=share)
    assert list(labelled(splits.val).values()).count(0) == per_class
    assert len(splits.val) == 2 * per_class and len(splits.train) == 2 * (10 - per_class)


def test_the_seed_decides_the_split(tmp_path):
    root = listed_root(tmp_path)
    first = open_root(root, val_fraction=0.2)
    assert open_root(root, val_fraction=0.2).val.names == first.val.names
    assert open_root(root, val_fraction=0.2, seed=1).val.names != first.val.names
    few = open_root(root, train_fraction=0.3).train.names
    assert open_root(root, train_fraction=0.3, seed=1).train.names != few


def test_classes_are_drawn_on_their_own(tmp_path):
    held_out = open_root(listed_root(tmp_path, per_class=30), val_fraction=0.2).val.names
    numbers = [
        {name.split()[1] for name in held_out if name.startswith(label)} for label in ("0", "1")
    ]
    assert numbers[0] != numbers[1]


def test_smaller_training_sets_lie_within_larger_ones(tmp_path):
    root = listed_root(tmp_path)
    whole, half, quarter, least = (
        open_root(root, val_fraction=0.2, train_fraction=share) for share in (1, 0.5, 0.25, 0.01)
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
            save_npz(root / name / f"{i}.npz", random_events(60 + i, (30 - i, 20), seed=i))
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
    with pytest.raises(FileNotFoundError, match="found 0 recordings in 1 class folders"):
        open_root(tmp_path, **FOLDER)


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
    splits = open_root(root, **fields)
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
    splits = open_root(root, val_fraction=0, **FOLDER)
    assert splits.sensor_size == (
        28,
        19,
    )  # of all for training; the wider test recording has no say
    assert splits.train.recording(1).size == (28, 19)
    (root / "a/1.npz").write_bytes(b"cut off")
    assert open_root(root, val_fraction=0, **FOLDER).sensor_size == (15, 19)


def test_frames_beside_the_events_give_a_folder_its_size(tmp_path):
    root = folder_root(tmp_path, per_class=3)
    for name in "ab":
        for i in range(3):
            save_images(root / name / f"{i}/{i}_aps", gray_frames(3, (32, 24)))
    splits = open_root(root, **FOLDER)
    assert splits.sensor_size == (32, 24)


def test_recordings_of_a_published_data_set_say_their_own_size(tmp_path):
    splits = open_root(listed_root(tmp_path))
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
    facts = open_root(listed_root(tmp_path), val_fraction=0.2).facts
    assert json.loads(json.dumps(facts)) == facts and facts["origin"] == "real"
    assert (facts["train"], facts["val"], facts["test"]) == (16, 4, 4)
    assert str(tmp_path) not in str(facts)


def test_a_generated_sample_opened_by_its_path_stays_one(tmp_path):
    root = listed_root(tmp_path)
    assert open_root(root).origin == "real"
    (root / "ground_truth.csv").write_text("sample\n")
    assert open_root(root).origin == "sample"


def test_the_default_sample_lies_in_the_cache(tmp_path, monkeypatch):
    made = []

    def make_sample(dataset, root, **sizes):
        made.append((dataset, root, sizes))
        if not root.exists():
            listed_root(root)
        return root

    def fingerprint(dataset, **sizes):
        return f"{dataset[0]}{sizes['train_per_class']}-".ljust(64, "f")

    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.sample, "make_sample", make_sample)
    monkeypatch.setattr(datasets.sample, "fingerprint", fingerprint)
    first = open_root(None, sample_train_per_class=6)
    again = open_root(None, sample_train_per_class=6)
    expected = tmp_path / "cache" / "hardvs-h6-fffffffffffff"
    sizes = {"seed": 0, "train_per_class": 6, "test_per_class": 30}
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
    "dataset, source", [("hardvs", "Event-AHU/HARDVS"), ("pokerevent", "Event-AHU/SAFE")]
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
    train = open_root(root, val_fraction=0).train
    for sample, message in (
        (lost, "no recording"),
        (broken, "no complete npz"),
        (short, "recording has 2 frames, 3 asked for"),
    ):
        with pytest.raises(RecordingError, match=message):
            train[train.names.index(sample)]
    splits = open_root(root, val_fraction=0, on_bad_recording="skip")
    assert [sample for sample, _ in splits.skipped] == [lost, broken, short, tested]
    assert "expected" in splits.skipped[0][1] and len(splits.facts["skipped"]) == 4
    assert len(splits.train) == 9 and len(splits.test) == 3
    assert [len(splits.train[i]["rgb"]) for i in range(9)] == [3] * 9
    assert splits.test[1]["name"] == "action_001/test (1)"


def test_check_lists_every_bad_recording(tmp_path, capsys):
    root = make_root(tmp_path, per_class=2)
    assert datasets.check(root, "hardvs") == 0
    out = capsys.readouterr().out
    assert "train: 4 recordings, 0 with problems" in out and "problems: none" in out
    save_npz(root / "action_001/test (0)/test (0).npz", random_events(0))
    (root / "action_002/test (1)/test (1)_aps/00000002.png").write_bytes(b"no image")
    assert datasets.check(root, "hardvs") == 1
    out = capsys.readouterr().out
    assert "test: 4 recordings, 2 with problems" in out
    assert "problems: 1 empty, 1 unreadable" in out
    assert "test (0).npz" in out and "00000002.png" in out


def test_check_of_a_wrong_root_says_so(tmp_path, capsys):
    assert datasets.check(tmp_path / "absent", "hardvs") == 1
    assert "no such folder" in capsys.readouterr().out


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


# ---------------------------------------------------------------- prompts


def sentences(names, **fields):
    return prompts.prompt_sentences(names, Config(**({"dataset": "hardvs"} | fields)))


def test_prompts_follow_the_data_set_or_the_template():
    assert sentences(["Wave"]) == [["The action of the human is Wave"]]
    assert sentences(["7"], dataset="pokerevent") == [["The content of the playing card is 7"]]
    assert sentences(["cat"], dataset="folder") == [["A photo of a cat"]]
    assert sentences(["a {0}", "b"], prompt="{}, {x}") == [["a {0}, {x}"], ["b, {x}"]]


@pytest.mark.parametrize("template", ["", "a photo of a cat", "a {0}"])
def test_a_template_without_a_place_for_the_name_is_refused(template):
    with pytest.raises(ValueError, match=r"prompt=.*expected a sentence with \{\}"):
        sentences(["cat"], prompt=template)


def test_no_two_classes_share_a_sentence():
    names = ["Whale", "Cat", "whale", "WHALE 1"]
    assert sentences(names, prompt="{}") == [["Whale 2"], ["Cat"], ["whale 3"], ["WHALE 1"]]
    released = sentences(names[:3], prompt="{}", distinct_names=False)
    assert released == [["Whale"], ["Cat"], ["whale"]]
    names = class_names("pokerevent", "nowhere")
    of_cards = [sentence for entry in sentences(names, dataset="pokerevent") for sentence in entry]
    assert len({sentence.casefold() for sentence in of_cards}) == len(names) == 114
    numbered = [
        sentence.endswith((" 1", " 2")) and not name.isdecimal()
        for name, sentence in zip(names, of_cards, strict=True)
    ]
    assert sum(numbered) == 14


def test_a_prompt_file_gives_every_class_its_sentences(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([["a man waves", "ein Mann winkt"], ["squat"]]), encoding="utf-8")
    expected = [["a man waves", "ein Mann winkt"], ["squat"]]
    assert sentences(["Wave", "Squat"], prompt_file=str(path)) == expected
    path.write_text(
        '{"squat 1": ["a squat"], "squat 2": ["deeper"], "Wave": ["waving"], "Bow": ["x"]}'
    )
    found = sentences(["Wave", "squat", "squat"], prompt_file=str(path))
    assert found == [["waving"], ["a squat"], ["deeper"]]
    assert sentences(["squat", "Wave"], prompt_file=str(path)) == [["a squat"], ["waving"]]


def test_a_prompt_file_of_the_project_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prompts, "ROOT", tmp_path / "project")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/words.json").write_text('[["x"]]')
    assert sentences(["Wave"], prompt_file="words.json") == [["x"]]


@pytest.mark.parametrize(
    "content, found",
    [
        ("[[", "no readable JSON"),
        ('{"Wave": ["x"]}', r"None for class 1 \(Squat\)"),
        ("3", "a int"),
        ("null", "a NoneType"),
        ('[["x"]]', "1 entries"),
        ('[["x"], []]', r"\[\] for class 1 \(Squat\)"),
        ('["x", "y"]', "'x' for class 0"),
        ('[["x"], ["y", 3]]', ".*for class 1"),
        ('[["x"], [" "]]', ".*for class 1"),
    ],
)
def test_a_prompt_file_that_does_not_fit_is_named(tmp_path, content, found):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    message = f"prompts.json: found {found}.*expected a non-empty list.*of 2 classes"
    with pytest.raises(ValueError, match=message):
        sentences(["Wave", "Squat"], prompt_file=str(path))


def test_an_absent_prompt_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="absent.json: found no readable JSON"):
        sentences(["Wave"], prompt_file=str(tmp_path / "absent.json"))
