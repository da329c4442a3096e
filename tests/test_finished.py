"""What is kept of the generated sample is what would be made again, whole and bounded."""

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from safe_companion import clips as clips_module
from safe_companion import datasets, finished
from safe_companion.__main__ import parse
from safe_companion.clips import ClipDataset, loader_workers
from safe_core import FIELDS, Config

NAMES = ["bow", "sit"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(finished, "KEEP_FREE_GIB", 0.0)  # on a disk that is nearly full, too
    return tmp_path / "cache"


def clips_of(root, sample="f1", draw="even", augment="none", **fields):
    """The first six recordings of a generated sample."""
    lists = [line.rsplit(" ", 2) for line in (root / "train_label.txt").read_text().splitlines()]
    config = Config(**({"frames": 3, "image_size": 24, "afe_min_events": 500} | fields))
    items = [(name, 0) for name, _, _ in lists[:6]]
    return ClipDataset(items, root, NAMES, config, draw=draw, augment=augment, sample=sample)


def same(a, b):
    return all(torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k] for k in a | b)


def all_same(found, expected):
    return len(found) == len(expected) and all(map(same, found, expected))


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
@pytest.mark.parametrize("fields", [{}, {"modality": "event"}, {"event_windows": "afe"}])
def test_even_clips_are_made_once_and_stay_the_same(
    tiny_sample, cache, monkeypatch, dataset, fields
):
    root = tiny_sample(dataset)
    expected = [clips_of(root, sample="", **fields)[i] for i in range(6)]
    first = clips_of(root, **fields)
    assert all_same(
        first.__getitems__([0, 5, 2, 1, 3, 4]), [expected[i] for i in (0, 5, 2, 1, 3, 4)]
    )
    monkeypatch.setattr(ClipDataset, "_clip", lambda *_, **__: pytest.fail("made again"))
    again = clips_of(root, seed=7, resize="device", **fields)  # another run of the sweep
    (batch,) = torch.utils.data.DataLoader(again, batch_size=6, collate_fn=again.collate)
    batch = again.finish(batch)
    for branch in again.config.branches:
        assert torch.equal(batch[branch], torch.stack([clip[branch] for clip in expected]))
    assert len(list((cache / "clips").glob("*.npy"))) == 1


def test_a_kept_clip_may_be_written_into(tiny_sample):
    clips = clips_of(tiny_sample("hardvs"))
    clips.__getitems__([0])[0]["rgb"].zero_()
    assert clips.__getitems__([0])[0]["rgb"].any()


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
def test_training_clips_come_from_packs_and_stay_the_same(tiny_sample, cache, monkeypatch, dataset):
    root = tiny_sample(dataset)
    drawn = {"draw": "jittered", "augment": "clip"}
    for _ in range(2):
        for epoch in range(2):
            kept, plain = clips_of(root, **drawn), clips_of(root, sample="", **drawn)
            kept.set_epoch(epoch)
            plain.set_epoch(epoch)
            assert all_same(kept.__getitems__(range(6)), [plain[i] for i in range(6)])
    assert not (cache / "clips").exists()  # what draws is never kept
    files = sorted((cache / "packs" / root.name).rglob("*"))
    assert sum(file.suffix == ".pack" for file in files) == 6
    assert not any(file.suffix == ".partial" for file in files)
    assert clips_of(root).recording(0).path == clips_of(root, sample="").recording(0).path
    monkeypatch.setattr(finished, "pack", lambda *_: pytest.fail("packed again"))
    clips_of(root, **drawn)[0]


def test_without_a_place_everything_goes_on_as_before(tiny_sample, cache, monkeypatch):
    root = tiny_sample("hardvs")
    expected = clips_of(root, sample="")[0]
    cache.write_text("no folder")
    assert same(clips_of(root).__getitems__([0])[0], expected)
    cache.unlink()
    monkeypatch.setattr(finished, "KEEP_FREE_GIB", 1e9)
    monkeypatch.setattr(finished, "MOST_GIB", 1e-6)
    assert same(clips_of(root).__getitems__([0])[0], expected)
    assert not list(cache.rglob("*.npy")) and not list(cache.rglob("*.pack"))


def test_only_a_generated_sample_is_kept(tiny_sample, cache):
    config = Config(data_root=str(tiny_sample("hardvs")), frames=3, image_size=24, val_fraction=0)
    config = Config(**{**vars(config), "select_on": "test"})
    splits = datasets.open_dataset(config)
    assert splits.test.sample == splits.train.sample == ""


def test_every_field_that_decides_a_clip_decides_its_file():
    one = finished.file_of("f", ["a"], Config())
    others = [
        Config(modality="rgb"),
        Config(frames=4),
        Config(image_size=96),
        Config(event_representation="voxel"),
        Config(event_windows="afe"),
        Config(afe_min_events=9),
        Config(afe_threshold=0.5),
        Config(sensor_size="8x6"),
        Config(time_unit="ms"),
        Config(columns="t,x,y,p"),
        Config(stored_event_images=True),
        Config(repair_events=True),
    ]
    files = {finished.file_of("f", ["a"], config) for config in others}
    files |= {finished.file_of("g", ["a"], Config()), finished.file_of("f", ["b"], Config())}
    assert len(files) == len(finished.FIELDS) + 2 and one not in files
    assert finished.file_of("f", ["a"], Config(seed=3, epochs=2, width=96)) == one
    assert set(finished.FIELDS) <= set(FIELDS)


def test_another_version_of_clips_is_another_file(monkeypatch):
    one = finished.file_of("f", ["a"], Config())
    monkeypatch.setitem(finished.VERSIONS, "clips", 99)
    assert finished.file_of("f", ["a"], Config()) != one


# ---------------------------------------------------------------- files


def clip(i):
    return np.full((2, 3), i, np.uint8)


def test_of_many_at_once_one_makes_the_clips(cache):
    made = []

    def slow(i):
        made.append(i)
        time.sleep(0.02)  # the others come meanwhile
        return clip(i)

    file = cache / "clips/a.npy"
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: finished.find_or_make(file, (5, 2, 3), slow), range(4)))
    assert made == [0, 1, 2, 3, 4]
    for found in results:
        assert found[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_an_interruption_leaves_nothing_that_looks_whole(cache):
    file = cache / "clips/a.npy"
    with pytest.raises(ZeroDivisionError):
        finished.find_or_make(file, (5, 2, 3), lambda i: clip(i // (3 - i)))
    assert finished.find(file) is None
    assert finished.find_or_make(file, (5, 2, 3), clip)[4, 1, 2] == 4
    file.write_bytes(file.read_bytes()[:-4])
    assert finished.find(file) is None
    assert finished.find_or_make(file, (5, 2, 3), clip)[4, 1, 2] == 4


def test_what_was_unused_for_longest_makes_room(cache, monkeypatch):
    monkeypatch.setattr(finished, "MOST_GIB", 1000 / 2**30)
    files = [cache / f"clips/{name}.npy" for name in "abc"]
    for age, file in zip((50, 40), files, strict=False):
        finished.find_or_make(file, (50, 2, 3), clip)
        os.utime(file, (os.stat(file).st_atime - age,) * 2)
    finished.find(files[0])  # used again
    mapped = finished.find(files[0])
    finished.find_or_make(files[2], (50, 2, 3), clip)
    assert [file.exists() for file in files] == [True, False, True]
    assert mapped[3, 0, 0] == 3
    assert finished.find_or_make(cache / "clips/d.npy", (500, 2, 3), clip) is None  # never fits


def write_pack(root, name):
    return str(finished.packed(root, name))


def test_two_processes_pack_the_same_recording(tiny_sample, cache):
    clips = clips_of(tiny_sample("hardvs"))
    asked = [(clips.root, name) for name in clips.names[:2] for _ in range(3)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(write_pack, asked)
    assert len(set(found)) == 2 and all(path.endswith(".pack") for path in found)
    assert same(clips[0], clips_of(clips.root, sample="")[0])


# ---------------------------------------------------------------- workers


@pytest.mark.parametrize(
    ("cores", "processes", "workers"), [(1, 1, 0), (2, 1, 1), (16, 4, 3), (8, 8, 0), (128, 2, 16)]
)
def test_loader_processes_share_the_cores(monkeypatch, cores, processes, workers):
    monkeypatch.setattr(clips_module.os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loader_workers(None) == workers
    assert loader_workers(0) == 0 and loader_workers(5) == 5


def test_workers_are_a_number_on_the_command_line():
    options = parse(["train", "--workers", "3", "--columns", "t,x,y,p"])
    assert (options.workers, options.columns) == (3, "t,x,y,p")
    assert parse(["train"]).workers is None


def test_stored_event_images_of_the_sample_are_those_of_its_events(tiny_sample):
    root = tiny_sample("hardvs")
    for draw in ("even", "jittered", "random"):
        asked = {"sample": "", "draw": draw, "augment": "clip"}
        ours, stored = clips_of(root, **asked), clips_of(root, stored_event_images=True, **asked)
        assert all(same(ours[i], stored[i]) for i in range(6))
