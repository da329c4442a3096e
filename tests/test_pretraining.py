"""Pre-training on pairs: the stream, the tower that comes out, its record."""

import dataclasses
import functools
import json
import os
import socket

import numpy as np
import open_clip
import pytest
import torch
import torch.multiprocessing as mp
from conftest import ROOT
from recipes import make_root
from safetensors.torch import load_file
from tiny import SENTENCES, Clips, batch_of

import safe_core
from safe_companion import __main__ as commands
from safe_companion import locks, pretraining, sample, towers
from safe_companion.pretraining import Stream, configure, pretrain, render_pair

FEW = {"workers": 0, "sample_train_per_class": 1, "sample_test_per_class": 1, "batch_size": 8}


@pytest.fixture(autouse=True)
def few_classes(monkeypatch, tmp_path_factory):
    """A sample of four classes, in a cache of its own: the tests take seconds."""
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path_factory.getbasetemp() / "pretraining"))
    for dataset in ("hardvs", "conjunctions"):
        monkeypatch.setitem(sample.CLASSES, dataset, sample.CLASSES[dataset][:4])
    torch.set_num_threads(1)


# ---------------------------------------------------------------- the stream
def test_a_pair_is_a_frame_and_the_events_that_follow_it():
    rgb, events = render_pair("conjunctions", 1, 5, seed=0, side=96)
    assert rgb.shape == events.shape == (96, 96, 3) and rgb.dtype == np.uint8
    assert np.median(events) == 255  # white where nothing moved
    strong = (events.min(2) < 60).mean()
    assert 0.005 < strong < 0.3
    assert np.ptp(rgb[..., 0].astype(int) - rgb[..., 2]) > 60  # colours


def test_no_recording_has_a_pair_of_the_stream():
    seeds = {
        split: tuple(sample.stream("hardvs", split, 1, 0, seed=0).generate_state(4))
        for split in sample.SPLIT_IDS
    }
    assert len(set(seeds.values())) == len(seeds) == 4


def test_the_stream_has_the_trained_classes_in_equal_numbers(monkeypatch):
    monkeypatch.undo()
    assert sample.trained_labels("hardvs") == list(range(24))
    assert sample.trained_labels("conjunctions") == [i for i in range(36) if i not in sample.UNSEEN]


def test_the_stream_draws_by_epoch_and_shows_what_is_asked_for():
    config = configure(dataset="hardvs", **FEW)
    stream = Stream(config, 2)
    assert len(stream) == 8 and stream.labels.bincount().tolist() == [2] * 4
    clip = stream[3]
    assert clip["rgb"].shape == clip["event"].shape == (1, 3, 64, 64)
    assert torch.equal(stream[3]["rgb"], clip["rgb"])
    assert not torch.equal(clip["rgb"], stream[7]["rgb"])  # another pair of this class
    stream.set_epoch(1)
    assert not torch.equal(stream[3]["rgb"], clip["rgb"])
    again = Stream(config, 2)
    assert np.array_equal(again.pairs, stream.pairs)
    assert "rgb" not in Stream(configure(dataset="hardvs", modality="event", **FEW), 2)[0]


def test_more_pairs_than_the_cache_takes_are_refused(monkeypatch):
    monkeypatch.setattr(pretraining.finished, "MOST_GIB", 1e-4)
    with pytest.raises(OSError, match="found no place for 8 pairs"):
        Stream(configure(dataset="hardvs", seed=5, **FEW), 2)


# ---------------------------------------------------------------- the tower that comes out
def test_a_short_run_writes_a_tower_and_its_record(tmp_path, monkeypatch, capsys):
    out = tmp_path / "mine.safetensors"
    words = f"pretrain {out} --dataset hardvs --pairs-per-class 4 --epochs 2 --out-dir {tmp_path}/s"
    words += " --workers 0 --sample-train-per-class 1 --sample-test-per-class 1 --batch-size 8"
    assert commands.main(words.split()) == 0
    printed = capsys.readouterr().out
    assert "zero-shot" in printed and "rgb: " in printed and str(out) in printed
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["build"] == json.loads((ROOT / "weights/tiny_clip.json").read_text())["build"]
    record = about["record"]
    assert (record["pairs"], record["steps"], record["data"]["origin"]) == (16, 4, "sample")
    assert set(record["zero_shot"]["before"]) == {"both", "rgb", "event"}
    assert record["config"]["freeze_text"] is False and record["behaviour"]["sample"] == 1

    name = str(out.with_suffix(".json"))
    monkeypatch.setitem(safe_core.NETWORKS, name, functools.partial(towers.build, name))
    trained, _ = safe_core.load_model(tmp_path / "s" / "best.safetensors")
    sentences = trained.about["sentences"]
    config = configure(dataset="hardvs", clip_model=name, **FEW)
    loaded = safe_core.build(config, sentences).eval()
    before = safe_core.build(configure(dataset="hardvs", **FEW), sentences).eval()
    rgb, event, _ = batch_of(Clips(4), range(4))
    with torch.no_grad():
        answers = trained(rgb, event)
        assert torch.allclose(loaded(rgb, event), answers, atol=0.1)  # half precision
        assert not torch.allclose(before(rgb, event), answers, atol=0.1)
    assert safe_core.build(safe_core.configure(dataset="hardvs", clip_model=name), SENTENCES)


def test_words_that_the_tower_had_not_met_are_stored(tmp_path):
    config = configure(dataset="conjunctions", **FEW)
    model = safe_core.build(config, [["a turquoise square"], ["a pink square"]])
    with torch.no_grad():
        model.text.token_embedding.weight.normal_()
    pretraining.write_tower(model, tmp_path / "t.safetensors", {})
    net = towers.build(str(tmp_path / "t.json"), pretrained=True)
    rows = open_clip.get_tokenizer("ViT-B-16")(["turquoise pink wave"])[0].unique()
    stored = net.token_embedding.weight[rows]
    assert torch.allclose(stored, model.text.token_embedding.weight[rows], atol=1e-2)


def test_an_interrupted_run_goes_on(tmp_path):
    config = configure(dataset="hardvs", epochs=2, **FEW)
    whole = pretrain(config, tmp_path / "a.safetensors", pairs_per_class=4, out_dir=tmp_path / "a")
    with pytest.raises(FileExistsError, match="resume"):
        pretrain(config, tmp_path / "a.safetensors", pairs_per_class=4, out_dir=tmp_path / "a")
    again = pretrain(
        config, tmp_path / "b.safetensors", pairs_per_class=4, out_dir=tmp_path / "a", resume=True
    )
    assert again["zero_shot"]["after"] == whole["zero_shot"]["after"]
    assert again["minutes"] == whole["minutes"] > 0  # of all sessions, though this one did nothing
    files = [(tmp_path / f"{name}.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_a_tower_that_is_there_is_kept(tmp_path):
    out = tmp_path / "tower.safetensors"
    config = configure(dataset="hardvs", epochs=1, **FEW)
    others = {out: b"weights", out.with_suffix(".json"): b'{"build": {}, "record": {"top1": 83}}'}
    for file, content in others.items():
        file.write_bytes(content)
    for resume in (False, True):  # with nothing to go on from
        with pytest.raises(FileExistsError, match="found the tower of something else; expected"):
            pretrain(config, out, pairs_per_class=4, out_dir=tmp_path / "state", resume=resume)
    assert not (tmp_path / "state" / "last.pt").exists()
    assert all(file.read_bytes() == content for file, content in others.items())


def test_a_tower_is_replaced_by_the_same_run_and_by_no_other(tmp_path):
    out = tmp_path / "tower.safetensors"
    config = configure(dataset="hardvs", epochs=1, **FEW)
    pretrain(config, out, pairs_per_class=4, out_dir=tmp_path / "a")
    for other, pairs in [(dataclasses.replace(config, seed=1), 4), (config, 5)]:
        with pytest.raises(FileExistsError, match="something else"):
            pretrain(other, out, pairs_per_class=pairs, out_dir=tmp_path / "b")
    before = out.read_bytes()
    out.write_bytes(b"damaged")
    pretrain(config, out, pairs_per_class=4, out_dir=tmp_path / "b")
    assert out.read_bytes() == before


def test_a_training_that_fails_leaves_its_folder_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_S", 0)
    config = configure(dataset="hardvs", epochs=1, **FEW)
    how = {"pairs_per_class": 4, "out_dir": tmp_path / "state"}
    large = dataclasses.replace(config, batch_size=800)
    with pytest.raises(ValueError, match="batch_size=800") as failed:
        pretrain(large, tmp_path / "a.safetensors", **how)
    assert pretrain(config, tmp_path / "a.safetensors", **how)["steps"] == 2
    assert failed.value  # as a notebook keeps it, with all that its frames held


def one_of_two(rank, folder, cache, port):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(port), "SAFE_CACHE": cache}
    sample.CLASSES["hardvs"] = sample.CLASSES["hardvs"][:4]
    config = configure(dataset="hardvs", epochs=2, **FEW)
    out = folder / "two.safetensors"
    record = pretrain(config, out, pairs_per_class=4, out_dir=folder / "two")
    assert bool(record) == (rank == 0)


def test_two_processes_make_the_tower_that_one_makes(tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    config = configure(dataset="hardvs", epochs=2, **FEW)
    pretrain(config, tmp_path / "one.safetensors", pairs_per_class=4, out_dir=tmp_path / "one")
    mp.spawn(one_of_two, args=(tmp_path, os.environ["SAFE_CACHE"], port), nprocs=2)
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=4e-3, rtol=0, msg=name)


def test_a_run_on_other_pairs_is_not_resumed(tmp_path):
    config = configure(dataset="hardvs", epochs=1, **FEW)
    pretrain(config, tmp_path / "a.safetensors", pairs_per_class=4, out_dir=tmp_path / "a")
    with pytest.raises(ValueError, match="another pairs"):
        pretrain(
            config,
            tmp_path / "a.safetensors",
            pairs_per_class=6,
            out_dir=tmp_path / "a",
            resume=True,
        )


def test_recordings_of_ones_own_and_a_network_of_open_clip(tmp_path):
    root = make_root(tmp_path / "root", per_class=6)
    bad = root / "action_001" / "train (0)" / "train (0).npz"
    bad.write_bytes(b"no archive")
    fields = {"clip_model": "ViT-S-32-alt", "image_size": 64, "pretrained": False, "frames": 2}
    fields |= {"on_bad_recording": "skip"}
    config = configure(
        "paper", dataset="hardvs", data_root=str(root), batch_size=4, epochs=1, workers=0, **fields
    )
    out = tmp_path / "s32.safetensors"
    record = pretrain(config, out, out_dir=tmp_path / "state")
    assert record["data"]["origin"] == "real" and record["data"]["train"] > 0
    ((name, reason),) = record["data"]["skipped"]
    assert name == "action_001/train (0)" and "npz" in reason
    assert record["config"]["data_root"] == "root" and str(tmp_path) not in json.dumps(record)
    assert set(record["zero_shot"]["after"]) == {"both", "rgb", "event"}
    net = open_clip.create_model("ViT-S-32-alt", pretrained=str(out), force_image_size=64)
    trained, _ = safe_core.load_model(tmp_path / "state" / "best.safetensors")
    assert torch.allclose(net.text_projection, trained.text.projection, atol=1e-3)
    assert torch.allclose(net.visual.proj, trained.vision.projection, atol=1e-3)
    assert torch.allclose(net.visual.conv1.weight, trained.vision.net.conv1.weight, atol=1e-3)


@pytest.mark.parametrize(
    ("out", "fields", "says"),
    [
        ("a.pt", {}, "expected .safetensors"),
        ("a.safetensors", {"model": "safe"}, "not pre-trained"),
        ("a.safetensors", {"accumulate": 2}, "found accumulate=2; expected 1"),
    ],
)
def test_what_cannot_be_written_or_trained_is_said_first(out, fields, says, tmp_path):
    config = safe_core.configure(
        **{"dataset": "hardvs", "model": "clip", "classifier": "text"} | fields
    )
    with pytest.raises(ValueError, match=says):
        pretrain(config, tmp_path / out, out_dir=tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_zero_shot_asks_each_modality_alone_and_both():
    config = configure(dataset="hardvs", **FEW)
    model = safe_core.build(config, SENTENCES)
    clips = Clips(9)
    clips.config = config
    clips.images[:, 1] = clips.images[:, 1].flip(0)  # event images of other classes
    found = pretraining.zero_shot(model, clips)
    for modality in ("both", "rgb", "event"):
        alone = safe_core.build(dataclasses.replace(config, modality=modality), SENTENCES)
        scores = safe_core.accuracy(safe_core.predict(alone, clips, config), clips.labels)
        assert found[modality] == scores["top1"]
    assert model.config == config
