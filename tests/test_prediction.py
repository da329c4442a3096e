"""A trained model: asked about recordings, tested on its data and on others of its classes."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import recipes
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny import SMALL

import safe_companion
import safe_core
from safe_companion import __main__ as tool
from safe_companion import behaviour, datasets, naming, prediction, runs
from safe_companion.readers import RecordingError
from safe_companion.recordings import read_recording

NAMES = ["Wave", "Left Bend"]


def make_checkpoint(folder, root, *, names=NAMES, identity=None, sensor_size=None, **fields):
    """A model with random weights, saved as a run of this configuration would save it."""
    config = safe_core.configure("sample", **SMALL | {"data_root": str(root)} | fields)
    torch.manual_seed(0)
    sentences = [[f"A photo of a {name}"] for name in names]
    model = safe_core.SAFE(config, sentences)
    about = {"class_names": names, "sentences": sentences, "config": dataclasses.asdict(config)}
    about |= {"history": [], "identity": identity or {}, "sensor_size": sensor_size}
    folder.mkdir(parents=True, exist_ok=True)
    safe_core.save_checkpoint(folder / "best.safetensors", model.state_dict(), about)
    return folder / "best.safetensors"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    """Eight recordings of RGB frames and events, two of each class in the test list."""
    return recipes.make_root(tmp_path_factory.mktemp("hands") / "hands", per_class=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory, hands):
    return make_checkpoint(tmp_path_factory.mktemp("run"), hands, val_fraction=0.1)


def events_folder(root, per_class=4):
    """Class folders of bare npz files, whose events fill a sensor of 24 x 18 pixels."""
    for label, name in enumerate(NAMES):
        for i in range(per_class):
            stream = recipes.random_events(300, (24, 18), seed=10 * label + i)
            recipes.save_npz(root / name / f"take_{i}.npz", stream)
    return root


# ------------------------------------------------------------------------------- one recording
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"modality": "rgb"},
        {"modality": "event", "event_representation": "voxel"},
        {"event_windows": "afe", "afe_min_events": 50},
        {"fusion": "released", "frame_fusion": "mean"},
    ],
    ids=str,
)
def test_a_recording_is_answered_exactly_as_in_the_evaluation(fields, hands, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "run", hands, **fields)
    model, about = safe_core.load_model(checkpoint)
    splits = datasets.open_dataset(model.config)
    one_by_one = dataclasses.replace(model.config, batch_size=1)
    expected = safe_core.predict(model, splits.test, one_by_one).exp()
    for i, name in enumerate(splits.test.names):
        clip = prediction.clip_of(hands / name, model.config)
        for kind in model.config.branches:
            assert torch.equal(clip[kind], splits.test[i][kind])
        answers = dict(prediction.predict(model, hands / name))
        assert answers == {k: expected[i, n].item() for n, k in enumerate(NAMES)}
        assert prediction.predict(model, read_recording(hands / name)) == list(answers.items())
        assert list(answers.values()) == sorted(answers.values(), reverse=True)


@pytest.mark.parametrize("where", ["checkpoint", "record"])
def test_the_sensor_of_the_training_holds_for_recordings_that_do_not_say_theirs(where, tmp_path):
    root = events_folder(tmp_path / "takes")
    stored = [24, 18] if where == "checkpoint" else None
    fields = {"dataset": "folder", "modality": "event"}
    checkpoint = make_checkpoint(tmp_path / "run", root, sensor_size=stored, **fields)
    if where == "record":
        record = {"data": {"sensor_size": [24, 18]}}
        checkpoint.with_name("record.json").write_text(json.dumps(record))
    model, about = safe_core.load_model(checkpoint)
    size = prediction.trained_size(about, checkpoint)
    splits = datasets.open_dataset(model.config)
    for i, name in enumerate(splits.test.names):
        clip = prediction.clip_of(root / f"{name}.npz", model.config, sensor_size=size)
        assert torch.equal(clip["event"], splits.test[i]["event"])


def test_a_sensor_that_nothing_tells_is_asked_for(tmp_path):
    root = events_folder(tmp_path / "takes")
    fields = {"dataset": "folder", "modality": "event"}
    model, _ = safe_core.load_model(make_checkpoint(tmp_path / "run", root, **fields))
    take = root / "Wave" / "take_0.npz"
    with pytest.raises(RecordingError, match="found no size of its sensor.*--sensor-size"):
        prediction.predict(model, take)
    told = prediction.predict(model, take, sensor_size="24x18")
    assert told != prediction.predict(model, take, sensor_size="240x180")
    full = recipes.save_aedat4(
        tmp_path / "a.aedat4", recipes.random_events(300), [], (346, 260)
    )  # its header tells
    assert len(prediction.predict(model, full)) == 2


@pytest.mark.parametrize(
    ("modality", "holds", "said"),
    [
        ("both", "events", "found events only; expected RGB frames and events.*take_aps"),
        ("rgb", "events", "found events only; expected RGB frames, which.*modality='event'"),
        ("both", "frames", "found RGB frames only; expected RGB frames and events.*'rgb'"),
        ("event", "frames", "found RGB frames only; expected events, which.*modality='rgb'"),
    ],
)
def test_a_recording_without_what_the_model_looks_at_is_said(
    modality, holds, said, hands, tmp_path
):
    model, _ = safe_core.load_model(make_checkpoint(tmp_path / "run", hands, modality=modality))
    if holds == "events":
        recipes.save_npz(tmp_path / "take.npz", recipes.random_events(300))
    else:
        recipes.save_images(tmp_path / "take" / "take_aps", recipes.gray_frames(5))
    with pytest.raises(RecordingError, match=said):
        prediction.predict(model, tmp_path / "take")


def test_class_names_are_the_models_the_given_ones_or_numbers(run, hands):
    model, _ = safe_core.load_model(run)
    take = hands / datasets.open_dataset(model.config).test.names[0]
    assert {name for name, _ in prediction.predict(model, take)} == set(NAMES)
    given = prediction.predict(model, take, class_names=["yes", "no"], top=1)
    assert len(given) == 1 and given[0][0] in ("yes", "no")
    model.about = {}
    assert {name for name, _ in prediction.predict(model, take)} == {"0", "1"}
    with pytest.raises(ValueError, match="top=0; expected 1 or more"):
        prediction.predict(model, take, top=0)


def test_a_trained_model_is_asked_in_two_lines(tmp_path):
    """Its file says which sensor recordings have that do not say it."""
    root = events_folder(tmp_path / "takes", per_class=6)
    fields = {"dataset": "folder", "data_root": str(root), "modality": "event", "epochs": 1}
    runs.train(safe_core.configure("sample", **SMALL | fields), tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").rename(tmp_path / "model.safetensors")
    model, _ = safe_core.load_model(tmp_path / "model.safetensors")
    table = pd.read_csv(tmp_path / "run" / "predictions.csv")
    for _, row in table.iterrows():
        (name, p), _ = safe_companion.predict(model, root / f"{row['name']}.npz")
        assert name == sorted(NAMES)[row.class1] and p == pytest.approx(row.p1, abs=1e-4)


# ------------------------------------------------------------------------------- data sets
@pytest.mark.parametrize("size", [[{}, 6], [8], [8, True], [8, 0], [8.0, 6], "86", 7, [8, 1 << 20]])
def test_a_sensor_size_that_is_none_is_named(size, run, hands, tmp_path):
    model, about = safe_core.load_model(run)
    model.about = about | {"sensor_size": size}
    found = f"found sensor_size {re.escape(repr(size))}; expected"
    with pytest.raises(ValueError, match=f"the model's description: {found}"):
        prediction.predict(model, hands / "action_001" / "test (0)")
    with pytest.raises(ValueError, match=f"best.safetensors: {found}"):
        prediction.trained_size(model.about, run)
    checkpoint = tmp_path / "best.safetensors"
    for data in ({"sensor_size": size}, size):
        (tmp_path / "record.json").write_text(json.dumps({"data": data}))
        with pytest.raises(ValueError, match="record.json: found sensor_size"):
            prediction.trained_size({}, checkpoint)
    (tmp_path / "record.json").write_text("[]")
    with pytest.raises(ValueError, match="record.json: found sensor_size"):
        prediction.trained_size({}, checkpoint)


def test_weights_that_give_no_numbers_give_no_answer(run, hands, tmp_path):
    tensors, about = safe_core.load_checkpoint(run)
    tensors["fusion.readout"][0, 0] = float("nan")
    damaged = tmp_path / "best.safetensors"
    safe_core.save_checkpoint(damaged, tensors, about)
    take = hands / "action_001" / "test (0)"
    with pytest.raises(ValueError, match=r"test \(0\): found .* no numbers.*weights .* damaged"):
        prediction.predict(safe_core.load_model(damaged)[0], take)
    with pytest.raises(ValueError, match=r"found .* no numbers, of 4 of 4 recordings"):
        prediction.evaluate(damaged)


def test_an_evaluation_writes_a_record_of_its_own(run, hands):
    before = sorted(file.name for file in run.parent.iterdir())
    record, folder = prediction.evaluate(run)
    splits = datasets.open_dataset(safe_core.configure("sample", data_root=str(hands)))
    assert folder == run.parent / f"evaluation-hands-{splits.fingerprint[:8]}"
    assert json.loads((folder / "record.json").read_text()) == json.loads(json.dumps(record))
    assert record["recordings"] == 4 and record["data"]["fingerprint"] == splits.fingerprint
    assert record["config"]["data_root"] == "hands" and record["date"] and record["versions"]
    table = pd.read_csv(folder / "predictions.csv")
    assert table.name.tolist() == splits.test.names
    assert record["test"]["top1"] == pytest.approx(100 * table.correct.mean())
    model, _ = safe_core.load_model(run)
    (surest, p), _ = prediction.predict(model, hands / table.name[0])
    assert surest == NAMES[table.class1[0]] and p == pytest.approx(table.p1[0], abs=1e-4)
    assert record["evaluates"]["checkpoint"] == "best.safetensors"
    assert sorted(file.name for file in run.parent.iterdir()) == sorted([*before, folder.name])


def test_what_differs_from_the_training_is_said(hands, tmp_path):
    config = safe_core.configure("sample", data_root=str(hands))
    versions = behaviour.versions_of(config)
    fingerprint = datasets.open_dataset(config).fingerprint
    cases = {
        "same": ({"data": fingerprint, "behaviour": versions}, []),
        "data": ({"data": "e" * 64, "behaviour": versions}, ["data: .*trained on eeeeeeee"]),
        "code": (
            {"data": fingerprint, "behaviour": versions | {"clips": versions["clips"] - 1}},
            [f"clips: version {versions['clips']} of this code, trained with"],
        ),
        "none": ({}, None),
    }
    for name, (identity, said) in cases.items():
        checkpoint = make_checkpoint(tmp_path / name, hands, identity=identity)
        record, _ = prediction.evaluate(checkpoint)
        text = prediction.summary(record)
        if said is None:
            assert record["differs"] is None and "not recorded in the checkpoint" in text
            assert record["evaluates"]["identity"] == "not recorded"
            continue
        assert len(record["differs"]) == len(said)
        assert text.count("differs from the training") == len(said)
        for found, expected in zip(record["differs"], said, strict=True):
            assert re.search(expected, found)


def test_classes_in_another_order_are_mapped_by_name(run, hands, tmp_path):
    """The same recordings under labels the other way round give the same answers and scores."""
    root = tmp_path / "swapped"
    shutil.copytree(hands, root)
    (root / "classes.txt").write_text("\n".join(reversed(NAMES)))
    for split in ("train", "test"):
        lines = (root / f"{split}_label.txt").read_text().splitlines()
        swapped = [f"{line[:-1]}{1 - int(line[-1])}" for line in lines]
        (root / f"{split}_label.txt").write_text("\n".join(swapped))
    expected, _ = prediction.evaluate(run, out_dir=tmp_path / "a")
    found, _ = prediction.evaluate(run, out_dir=tmp_path / "b", data_root=str(root))
    assert found["test"] == expected["test"]
    assert found["classes_mapped_by_name"] and not expected["classes_mapped_by_name"]
    assert "mapped by name" in prediction.summary(found)
    tables = [pd.read_csv(tmp_path / name / "predictions.csv") for name in "ab"]
    pd.testing.assert_frame_equal(*tables)


def test_other_classes_are_refused_with_names_from_both():
    known = [f"class {i}" for i in range(9)]
    with pytest.raises(ValueError) as caught:
        naming.labels_of([*known[:2], "new"], known)
    text = str(caught.value)
    assert "the data have 3 classes, the model 9" in text and "only the data have new;" in text
    assert "class 2, class 3, class 4, class 5, class 6, ..." in text and "class 7" not in text
    twice = ["wave", "wave", "bow"]
    assert naming.labels_of(twice, twice) == [0, 1, 2]
    with pytest.raises(ValueError, match="names that repeat, in another order"):
        naming.labels_of(["bow", "wave", "wave"], twice)


def test_every_split_can_be_tested_without_augmentation(run, hands):
    expected = {"test": 4, "train": 2, "val": 2, "all": 8}
    for split, count in expected.items():
        record, folder = prediction.evaluate(run, split=split)
        assert record["recordings"] == count and record["split"] == split
        assert folder.name.endswith(f"-{split}") == (split != "test")
        assert len(pd.read_csv(folder / "predictions.csv")) == count
    model, about = safe_core.load_model(run)
    splits = datasets.open_dataset(model.config)
    clips = prediction.clips_of(splits, "train", NAMES, model.config)
    assert (splits.train.draw, splits.train.augment) == ("jittered", "clip")
    assert (clips.draw, clips.augment) == ("even", "none")


def test_all_recordings_are_tested_though_a_share_was_trained_on(tmp_path):
    root = recipes.make_root(tmp_path / "hands", per_class=4)
    checkpoint = make_checkpoint(tmp_path / "run", root, train_fraction=0.5)
    assert prediction.evaluate(checkpoint, split="train")[0]["recordings"] == 4
    assert prediction.evaluate(checkpoint, split="all")[0]["recordings"] == 12


def test_a_folder_that_holds_something_else_is_left_alone(run, hands, tmp_path):
    with pytest.raises(FileExistsError, match="found the checkpoints of a run"):
        prediction.evaluate(run, out_dir=run.parent)
    _, folder = prediction.evaluate(run, out_dir=tmp_path / "e")
    prediction.evaluate(run, out_dir=folder)  # the same again
    with pytest.raises(FileExistsError, match="an evaluation on other data"):
        prediction.evaluate(run, out_dir=folder, split="train")
    other = make_checkpoint(tmp_path / "other", hands, modality="rgb")
    with pytest.raises(FileExistsError, match="an evaluation of another checkpoint"):
        prediction.evaluate(other, out_dir=folder)
    record = json.loads((folder / "record.json").read_text())
    del record["evaluates"]
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(FileExistsError, match="found the record of a run"):
        prediction.evaluate(run, out_dir=folder)


@pytest.mark.parametrize(
    "change",
    [
        {"evaluates": 5},
        {"evaluates": {"checkpoint": "a"}},
        {"data": {}},
        {"test": {"top1": "x", "top5": 1}},
        {"split": 3},
        {"config": []},
    ],
    ids=str,
)
def test_a_damaged_record_of_an_evaluation_is_named(change, run, hands, tmp_path, capsys):
    record, folder = prediction.evaluate(run, out_dir=tmp_path / "a")
    (folder / "record.json").write_text(json.dumps(record | change))
    with pytest.raises(ValueError, match="record.json: not the record of an evaluation"):
        prediction.evaluate(run, out_dir=folder)
    assert tool.main(["summary", str(folder)]) == 2
    assert "record.json: not the record of an evaluation" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", "5", "null", '"evaluates"'])
def test_a_record_of_nothing_is_named(content, tmp_path, capsys):
    (tmp_path / "record.json").write_text(content)
    assert tool.main(["summary", str(tmp_path)]) == 2
    assert "record.json: not the record of a run" in capsys.readouterr().err


def test_data_that_are_gone_are_asked_for(tmp_path, hands):
    checkpoint = make_checkpoint(tmp_path / "run", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="gone: found no such folder.*--data-root"):
        prediction.evaluate(checkpoint)
    assert prediction.evaluate(checkpoint, data_root=str(hands))[0]["recordings"] == 4


def one_of_two(rank, folder, run):
    torch.set_num_threads(1)
    place = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    record, _ = prediction.evaluate(run, out_dir=folder / "two", split="all")
    assert record["processes"] == 2
    dist.destroy_process_group()


def test_two_processes_write_what_one_does(run, tmp_path):
    prediction.evaluate(run, out_dir=tmp_path / "one", split="all")
    mp.start_processes(one_of_two, (tmp_path, run), nprocs=2, start_method="fork")
    one, two = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, atol=1e-4)


# ------------------------------------------------------------------------------- commands
def test_evaluate_on_the_command_line(run, hands, tmp_path, capsys):
    words = ["--data-root", str(hands), "--out-dir", str(tmp_path / "e"), "--batch-size", "3"]
    assert tool.main(["evaluate", str(run), *words]) == 0
    shown = capsys.readouterr().out
    assert "best.safetensors on hardvs (real data, split test, 4 recordings): top-1" in shown
    assert "not recorded in the checkpoint" in shown and f"in {tmp_path / 'e'}" in shown
    record = json.loads((tmp_path / "e" / "record.json").read_text())
    assert record["config"]["batch_size"] == 3 and record["config"]["frames"] == SMALL["frames"]
    assert tool.main(["summary", str(tmp_path / "e")]) == 0
    assert capsys.readouterr().out.startswith("best.safetensors on hardvs")


def test_predict_answers_all_that_can_be_read_and_names_the_others(run, hands, tmp_path, capsys):
    good = sorted((hands / "action_001").iterdir())[:2]
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"no archive")
    words = [str(run), str(good[0]), str(bad), str(good[1]), "--top", "1"]
    assert tool.main(["predict", *words]) == 1
    shown = capsys.readouterr()
    model, _ = safe_core.load_model(run)
    lines = shown.out.splitlines()
    for i, take in enumerate(good):
        ((name, p),) = prediction.predict(model, take, top=1)
        assert lines[2 * i : 2 * i + 2] == [str(take), f"  {100 * p:5.1f} %  {name}"]
    assert len(lines) == 4 and shown.err.startswith(f"safe: {bad}: found no complete npz")

    assert tool.main(["predict", *words, "--json"]) == 1
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["recording"] for answer in answers] == [str(good[0]), str(bad), str(good[1])]
    assert "npz" in answers[1]["error"] and len(answers[0]["predictions"]) == 1
    assert tool.main(["predict", str(run), str(good[0])]) == 0


def test_predict_takes_a_folder_of_recordings_and_draws(run, hands, tmp_path, capsys):
    picture = tmp_path / "answers.png"
    words = [str(run), str(hands / "action_002"), "--json", "--save", str(picture)]
    assert tool.main(["predict", *words]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = sorted(str(take) for take in (hands / "action_002").iterdir())
    assert len(expected) == 4
    assert [answer["recording"] for answer in answers] == expected
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert tool.main(["predict", *words[:-1], str(tmp_path / "a.xyz")]) == 2
    assert "found the form '.xyz'; expected one of" in capsys.readouterr().err
    assert tool.main(["predict", str(run), *["a.npz"] * 21, "--save", str(picture)]) == 2
    assert "found 21 recordings; expected at most 20 in a picture" in capsys.readouterr().err


def test_reading_options_reach_the_recording(tmp_path, capsys):
    root = events_folder(tmp_path / "takes")
    fields = {"dataset": "folder", "modality": "event"}
    checkpoint = make_checkpoint(tmp_path / "run", root, sensor_size=[24, 18], **fields)
    stream = recipes.random_events(300, (24, 18))
    stream["x"][5] = 99
    recipes.save_npz(tmp_path / "a.npz", stream)
    assert tool.main(["predict", str(checkpoint), str(tmp_path / "a.npz")]) == 1
    assert "1 of 300 events outside" in capsys.readouterr().err
    words = ["predict", str(checkpoint), str(tmp_path / "a.npz")]
    assert tool.main([*words, "--repair-events"]) == 0
    assert tool.main([*words, "--sensor-size", "100x18"]) == 0


def test_a_model_of_digits_answers_real_recordings(real_data, tmp_path):
    root = tmp_path / "digits"
    for digit in "01":
        (root / digit).mkdir(parents=True)
        for file in sorted((real_data / "nmnist" / f"digit_{digit}").iterdir())[:5]:
            shutil.copy(file, root / digit)
    fields = {"dataset": "folder", "modality": "event", "names": ["0", "1"]}
    checkpoint = make_checkpoint(tmp_path / "run", root, sensor_size=[34, 34], **fields)
    record, folder = prediction.evaluate(checkpoint, split="all")
    table = pd.read_csv(folder / "predictions.csv", dtype={"name": str})
    model, about = safe_core.load_model(checkpoint)
    for _, row in table.iterrows():
        top = prediction.predict(model, root / row["name"], sensor_size="34x34")
        np.testing.assert_allclose([p for _, p in top], [row.p1, row.p2], atol=1e-4)
