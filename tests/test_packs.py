"""Packs give the clips of what they were made from, whole or not at all."""

import json
import shutil
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recipes import (
    gray_frames,
    make_events,
    make_root,
    random_events,
    save_aedat4,
    save_images,
    save_npz,
    save_stored,
)

import safe_core
from safe_companion import converting, facts, packing
from safe_companion.__main__ import main
from safe_companion.clips import ClipDataset
from safe_companion.datasets import check, open_dataset
from safe_companion.describing import describe
from safe_companion.events import BACKGROUND, EVENT_DTYPE, equal_windows, frame_windows
from safe_companion.formats import pack as pack_format
from safe_companion.formats.pack import EventView, Times, read_header, verify
from safe_companion.packs import Frames, pack
from safe_companion.recordings import RecordingError, locate, read_image, read_recording
from safe_core import Config

SIZE = (48, 36)
AS_THEY_ARE = Frames("as-they-are")
NAMES = ("frames", "clock", "spread", "events", "images", "aedat4")


def pictures(count, size=SIZE, seed=0):
    rng = np.random.default_rng(seed)
    small = [rng.integers(0, 255, (5, 6, 3), np.uint8) for _ in range(count)]
    return [np.asarray(Image.fromarray(image).resize(size)) for image in small]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A recording of each kind."""
    root = tmp_path_factory.mktemp("sources")
    stream = random_events(9000, SIZE, seed=3)
    late = stream.copy()
    late["t"] = stream["t"] * 9_000 + 1_600_000_000_000_000  # beyond 32 bits
    frame_t = np.arange(6) * 150_000 + 20_000
    said = {"sensor_size": np.array(SIZE)}
    save_npz(root / "frames/frames.npz", stream, frame_t=frame_t)
    save_npz(root / "clock/clock.npz", late, frame_t=frame_t * 9_000 + int(late["t"][0]), **said)
    save_npz(root / "spread/spread.npz", stream, **said)
    for name in ("frames", "clock", "spread"):
        save_images(root / name / f"{name}_aps", pictures(6), stride=5)
    save_npz(root / "events.npz", stream, **said)
    save_stored(root / "images", pictures(6, seed=1))
    save_aedat4(
        root / "aedat4.aedat4",
        stream,
        [(int(t), image) for t, image in zip(frame_t, pictures(6), strict=True)],
        SIZE,
    )
    return root


def packed(sources, out, frames=AS_THEY_ARE, **reading):
    counts, problems = packing.pack_folder(sources, out, frames=frames, **reading)
    assert not problems and counts["packed"] == len(NAMES)
    return out


@pytest.fixture(scope="module")
def packs(sources, tmp_path_factory):
    return packed(sources, tmp_path_factory.mktemp("packs"))


def clip_of(root, name, epoch=0, draw="jittered", augment="clip", **fields):
    config = Config(**({"frames": 3, "image_size": 24, "afe_min_events": 500} | fields))
    clips = ClipDataset([(name, 0)], root, ["Wave"], config, draw=draw, augment=augment)
    clips.set_epoch(epoch)
    return clips[0]


def same(a, b):
    return all(torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k] for k in a | b)


@pytest.mark.parametrize("representation", sorted(BACKGROUND))
@pytest.mark.parametrize("windows", ["frames", "afe"])
@pytest.mark.parametrize("draw", ["even", "jittered", "random"])
def test_clips_are_those_of_the_source_bit_for_bit(sources, packs, representation, windows, draw):
    fields = {"event_representation": representation, "event_windows": windows, "draw": draw}
    for name in set(NAMES) - {"images"}:
        modality = "event" if name == "events" else "both"
        threshold = 10.0 if name == "clock" else 0.0
        for epoch in range(2):
            asked = fields | {"modality": modality, "afe_threshold": threshold, "epoch": epoch}
            assert same(clip_of(sources, name, **asked), clip_of(packs, name, **asked)), name


def test_recordings_of_images_alone_are_packed_as_well(sources, packs):
    for modality in ("both", "rgb", "event"):
        a, b = (clip_of(root, "images", modality=modality) for root in (sources, packs))
        assert same(a, b)
    with pytest.raises(RecordingError, match="stored event images only"):
        clip_of(packs, "images", event_windows="afe")


def test_recordings_read_from_packs_are_those_of_the_source(sources, packs):
    for name in NAMES:
        a, b = read_recording(sources / name), read_recording(packs / name)
        assert (a.name, a.size) == (b.name, b.size)
        if name != "images":
            assert isinstance(b.events, EventView) and len(b.events) == len(a.events)
            assert np.array_equal(a.events, b.events[:])
            assert np.array_equal(a.events[40:90], b.events[40:90])
            assert np.array_equal(a.events[[5, 3]], b.events[np.array([5, 3])])
            assert a.events[7] == b.events[7] and a.events[-1] == b.events[-1]
            for key in "xytp":
                assert np.array_equal(a.events[key], b.events[key])
                assert a.events[key].dtype == b.events[key].dtype
        assert np.array_equal(a.frame_t, b.frame_t) if a.frame_t is not None else b.frame_t is None
        for kind in ("frame_sources", "event_image_sources"):
            pairs = zip(getattr(a, kind), getattr(b, kind), strict=True)
            assert all(np.array_equal(read_image(x), read_image(y)) for x, y in pairs)
        words = [dict(describe(r, locate(root / name))) for r, root in ((a, sources), (b, packs))]
        assert [{**w, "form": ""} for w in words][0] == {**words[1], "form": ""}


def test_facts_of_a_pack_are_those_of_the_source(sources, packs, monkeypatch, tmp_path):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path))
    for name in set(NAMES) - {"images"}:
        a, b = (facts.look(root, [name], decode=True)[name] for root in (sources, packs))
        for fact in (a, b):
            fact.stamp = fact.event_file = None
        assert a == b and not a.error


def test_a_clip_reads_only_its_windows(packs, monkeypatch):
    read = []
    unpack = pack_format._unpack
    monkeypatch.setattr(
        pack_format, "_unpack", lambda since, *rest: read.append(len(since)) or unpack(since, *rest)
    )
    monkeypatch.setattr(EventView, "_column", lambda *_: pytest.fail("a whole column is read"))
    clip_of(packs, "spread")
    clip_of(packs, "clock")
    assert len(read) == 6 and 0 < sum(read) < 9000 * 2 * 0.7


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2**33), min_size=1, max_size=30),
    st.integers(0, 2**50),
    st.integers(1, 9),
)
def test_windows_looked_up_in_mapped_times_are_numpys(since, t0, count):
    events = np.zeros(len(since), EVENT_DTYPE)
    events["t"] = np.sort(np.array(since, np.int64)) + t0
    mapped = Times(pack_format.packed(events)[0], int(events["t"][0]))
    whole = events["t"]
    assert equal_windows(mapped, count) == equal_windows(whole, count)
    jitter = [np.random.default_rng(1) for _ in range(2)]
    assert equal_windows(mapped, count, rng=jitter[0]) == equal_windows(whole, count, rng=jitter[1])
    frame_t = np.arange(count) * 2**30 + t0 - 2**20
    assert frame_windows(frame_t, mapped) == frame_windows(frame_t, whole)
    edges = np.array([whole[0] - 1, whole[-1], whole[-1] + 1, whole[0] + 2**40])
    assert np.array_equal(np.searchsorted(mapped, edges), np.searchsorted(whole, edges))


def test_an_edge_beyond_32_bits_is_behind_all_events():
    times = Times(np.array([0, 5, 2**32 - 1], np.uint32), 7)
    edges = np.array([7, 2**32 + 6, 2**32 + 7, 2**40, -3])
    assert np.searchsorted(times, edges).tolist() == [0, 2, 3, 3, 0]


# ---------------------------------------------------------------- frames and event images


def test_jpeg_frames_are_near_and_smaller(sources, packs, tmp_path):
    jpeg = packed(sources, tmp_path / "out", Frames())
    for name in ("frames", "aedat4"):
        a, b = (clip_of(root, name, augment="none") for root in (sources, jpeg))
        assert torch.equal(a["event"], b["event"])
        difference = (a["rgb"].int() - b["rgb"].int()).abs()
        assert 0 < difference.float().mean() < 1.5 and difference.max() < 16
    header = read_header(jpeg / "frames.pack")
    assert header["source"]["quality"] == 95
    rough = pack(sources / "frames", Frames("jpeg", 30))
    assert len(rough) < (jpeg / "frames.pack").stat().st_size


def test_pixels_are_kept_as_they_are(sources, packs, tmp_path):
    pixels = packed(sources, tmp_path / "out", Frames("pixels"))
    for name in ("frames", "aedat4", "images"):
        assert same(clip_of(packs, name), clip_of(pixels, name))
    assert isinstance(read_recording(pixels / "frames").frame_sources[0], np.ndarray)


def test_event_images_of_few_colours_become_smaller_and_stay_the_same(tmp_path):
    rng = np.random.default_rng(0)
    colours = np.array([(255, 255, 255), (220, 30, 30), (30, 30, 200), (1, 2, 3)], np.uint8)
    drawn = [colours[rng.integers(0, n, (20, 30))] for n in (1, 2, 3, 4)]
    drawn.append(rng.integers(0, 255, (20, 30, 3), np.uint8))
    folder = tmp_path / "a"
    save_images(folder / "a_aps", gray_frames(5))
    save_images(folder / "a_dvs", drawn)
    (tmp_path / "out.pack").write_bytes(pack(folder))
    recording = read_recording(tmp_path / "out.pack")
    for image, source in zip(drawn, recording.event_image_sources, strict=True):
        assert np.array_equal(image, read_image(source))
    sizes = read_header(tmp_path / "out.pack")["event_images"]["bytes"]
    files = [(folder / f"a_dvs/{i:08d}.png").stat().st_size for i in range(5)]
    assert sizes[2] < files[2] and sizes[4] == files[4]


def with_stored(root):
    """A recording whose event images, stored, are other than those of its events."""
    stream = random_events(900, SIZE, seed=3)
    save_npz(root / "a/a.npz", stream, frame_t=np.arange(6) * 150_000)
    save_images(root / "a/a_aps", pictures(6))
    save_images(root / "a/a_dvs", [np.full((36, 48, 3), 40 * i, np.uint8) for i in range(6)])
    return root


def test_stored_event_images_are_used_where_asked_for_and_only_there(tmp_path):
    root = with_stored(tmp_path / "root")
    packing.pack_folder(root, tmp_path / "packs", frames=AS_THEY_ARE)
    even = {"draw": "even", "augment": "none"}
    for place in (root, tmp_path / "packs"):
        clip = clip_of(place, "a", stored_event_images=True, **even)
        assert [int(image[0, 0, 0]) for image in clip["event"]] == [0, 80, 160]
        assert clip_of(place, "a", **even)["event"].unique().numel() > 3
        assert torch.equal(clip["rgb"], clip_of(place, "a", **even)["rgb"])


def test_stored_event_images_that_are_not_there_are_no_silent_change(tmp_path):
    root = with_stored(tmp_path / "root")
    (root / "a/a_dvs/00000003.png").unlink()
    packing.pack_folder(root, tmp_path / "packs")
    for place in (root, tmp_path / "packs"):
        with pytest.raises(RecordingError, match="found no stored event image for each frame"):
            clip_of(place, "a", stored_event_images=True)
    with pytest.raises(ValueError, match="stored_event_images with"):
        clip_of(root, "a", stored_event_images=True, event_windows="afe")


# ---------------------------------------------------------------- sensors and clocks


def test_a_sensor_size_is_asked_of_packs_as_of_their_source(tmp_path):
    save_npz(tmp_path / "root/a.npz", make_events((1, 2, 5, 1), (60, 3, 9, 0), (2, 2, 20, 1)))
    packing.pack_folder(tmp_path / "root", tmp_path / "packs")
    for place in ("root", "packs"):
        path = tmp_path / place / "a"
        assert read_recording(path).size == (346, 260)
        assert read_recording(path, size=(61, 9)).size == (61, 9)
        with pytest.raises(RecordingError, match="1 of 3 events outside the sensor"):
            read_recording(path, size=(50, 40))
        repaired = read_recording(path, size=(50, 40), repair=True)
        assert len(repaired.events) == 2 and "dropped" in repaired.repairs
        assert read_recording(path, time_unit="ms").events["t"][-1] == 20_000


def test_a_unit_and_a_repair_are_asked_for_when_packing(tmp_path):
    backwards = make_events((1, 2, 9, 1), (3, 3, 5, 0))
    save_npz(tmp_path / "root/a.npz", backwards)
    counts, problems = packing.pack_folder(tmp_path / "root", tmp_path / "none")
    assert counts["not packed"] == 1 and "time stamps that go backwards" in problems[0]
    assert not list((tmp_path / "none").rglob("*.pack"))
    asked = {"repair": True, "time_unit": "ms"}
    packing.pack_folder(tmp_path / "root", tmp_path / "packs", **asked)
    found = read_recording(tmp_path / "packs/a", time_unit="s")  # the pack knows better
    assert found.events["t"].tolist() == [5000, 9000]


# ---------------------------------------------------------------- whole or not at all


def test_what_is_there_is_kept_and_what_is_lacking_is_made(sources, tmp_path):
    out = packed(sources, tmp_path / "out")
    (out / "events.pack").unlink()
    (out / "frames.pack.partial").write_bytes(b"of an interruption")
    before = (out / "clock.pack").stat().st_mtime_ns
    counts, _ = packing.pack_folder(sources, out, frames=AS_THEY_ARE)
    assert counts == {"packed": 1, "already there": 5, "not packed": 0}
    assert (out / "clock.pack").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="something else"):
        packing.pack_folder(sources, out, frames=Frames())


def test_damage_is_found(sources, tmp_path):
    whole = pack(sources / "spread", AS_THEY_ARE)
    file = tmp_path / "a.pack"
    file.write_bytes(whole)
    verify(file)
    parts = read_header(file)["parts"]
    for name, (offset, count, _) in parts.items():
        content = bytearray(whole)
        content[offset + count // 2] ^= 64
        file.write_bytes(content)
        with pytest.raises(RecordingError, match=f"{name} that do not match their checksum"):
            verify(file)
        assert facts.look(tmp_path, ["a"], anew=True)["a"].error
    for content in (whole[:-1], whole[:300], b"", whole[:9] + b"\1" + whole[10:], whole[1:]):
        file.write_bytes(content)
        with pytest.raises(RecordingError, match="found no complete pack"):
            read_recording(file)
    content = bytearray(whole)
    offset, count, _ = parts["xyp"]
    content[offset : offset + count] = b"\xff" * count
    file.write_bytes(content)
    with pytest.raises(RecordingError, match="found no complete pack"):  # not an index error
        clip_of(tmp_path, "a")
    content = bytearray(whole)
    content[parts["t"][0] + 4003] = 127  # one time far ahead
    file.write_bytes(content)
    events = read_recording(file).events
    for key in (slice(990, 1010), "t", slice(None)):
        with pytest.raises(RecordingError, match="found no complete pack"):
            events[key]


def test_a_pack_of_a_later_version_says_so(sources, tmp_path):
    content = bytearray(pack(sources / "events"))
    content[12] = 2
    (tmp_path / "a.pack").write_bytes(content)
    with pytest.raises(RecordingError, match="version 2; expected 1"):
        read_recording(tmp_path / "a.pack")


def test_a_pack_is_read_before_other_forms_which_are_said(sources, tmp_path):
    shutil.copy(sources / "events.npz", tmp_path / "a.npz")
    (tmp_path / "a.pack").write_bytes(pack(sources / "events"))
    assert locate(tmp_path / "a").event_file.suffix == ".pack"
    assert [form.name for form in locate(tmp_path / "a").other_forms] == ["a.npz"]


def test_packs_become_npz_again(sources, packs, tmp_path):
    counts, problems = converting.convert([packs], tmp_path / "npz")
    assert counts["converted"] == 5 and "images" in problems[0]
    for name in set(NAMES) - {"images"}:
        again = read_recording(tmp_path / "npz" / name).events
        assert np.array_equal(again, read_recording(sources / name).events)


# ---------------------------------------------------------------- data sets


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = make_root(tmp_path_factory.mktemp("data") / "root")
    (root / "ground_truth.csv").write_text("sample,cause\n")
    return root


def opened(root, **fields):
    asked = {"frames": 3, "image_size": 24, "sensor_size": "8x6", "data_root": str(root)}
    return open_dataset(safe_core.configure("sample", dataset="hardvs", **asked | fields))


@pytest.mark.parametrize("shard_gib", [None, 2e-5, 1.0])
def test_a_packed_data_set_is_the_same_data_set(data, tmp_path, shard_gib):
    out = tmp_path / "out"
    asked = {"frames": AS_THEY_ARE, "shard_gib": shard_gib}
    packing.pack_folder(data, out, **asked)
    a, b = opened(data), opened(out)
    assert a.fingerprint == b.fingerprint and a.origin == b.origin == "sample"
    assert a.class_names == b.class_names and b.warnings == a.warnings == []
    for split in ("train", "val", "test"):
        x, y = getattr(a, split), getattr(b, split)
        assert x.names == y.names and all(same(x[i], y[i]) for i in range(len(x)))
    counts, _ = packing.pack_folder(data, out, **asked)
    assert counts == {"packed": 0, "already there": 16, "not packed": 0}
    shards = sorted((out / "shards").glob("*")) if shard_gib else []
    assert len(shards) == {None: 0, 2e-5: 4, 1.0: 1}[shard_gib]


def test_shards_are_tar_files_of_packs(data, tmp_path):
    packing.pack_folder(data, tmp_path / "out", shard_gib=1)
    with tarfile.open(tmp_path / "out/shards/shard-00000.tar") as shard:
        shard.extractall(tmp_path / "unpacked", filter="data")
    found = sorted((tmp_path / "unpacked").rglob("*.pack"))
    assert len(found) == 16
    verify(found[0])
    form = dict(describe(read_recording(found[0]), locate(found[0])))["form"]
    assert form.startswith(".pack, ")
    inside = tmp_path / "out" / found[0].relative_to(tmp_path / "unpacked").with_suffix("")
    assert np.array_equal(read_recording(found[0]).events[:], read_recording(inside).events[:])
    form = dict(describe(read_recording(inside), locate(inside)))["form"]
    assert form.startswith(".pack in shard-00000.tar, ")


def test_shards_that_were_interrupted_go_on(data, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        packing.pack_folder(data, folder, shard_gib=2e-5)
    last = sorted((out / "shards").iterdir())[-1]
    last.rename(last.with_name(last.name + ".partial"))
    (out / "packs.index.json").unlink()
    counts, _ = packing.pack_folder(data, out, shard_gib=2e-5)
    assert counts["packed"] == 1 and counts["already there"] == 15
    assert opened(out).fingerprint == opened(whole).fingerprint
    index = json.loads((out / "packs.index.json").read_text())
    assert index == json.loads((whole / "packs.index.json").read_text())
    with pytest.raises(FileExistsError, match="something else"):
        packing.pack_folder(data, out, shard_gib=1, frames=AS_THEY_ARE)


def test_a_check_finds_damage_in_a_shard(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    packing.pack_folder(data, out, shard_gib=1)
    index = json.loads((out / "packs.index.json").read_text())
    name, (_, at, size) = list(index["packs"].items())[3]
    shard = out / index["shards"][0]
    config = safe_core.configure("sample", data_root=str(out), frames=3, sensor_size="8x6")
    assert check(config) == 0
    content = bytearray(shard.read_bytes())
    content[at + size - 3] ^= 1
    shard.write_bytes(content)
    assert check(config) == 1
    assert f"{name}.pack: found no complete pack" in capsys.readouterr().out


def test_folders_without_lists_are_packed_by_files_and_not_into_shards(data, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(data, root)
    for file in root.glob("*.txt"):
        file.unlink()
    with pytest.raises(ValueError, match="train_label.txt"):
        packing.pack_folder(root, tmp_path / "no", shard_gib=1)
    assert not (tmp_path / "no").exists()
    packing.pack_folder(root, tmp_path / "out")
    fields = {"dataset": "folder", "data_root": str(root), "frames": 3}
    config = safe_core.configure("sample", **fields)
    packed_config = safe_core.configure("sample", **fields | {"data_root": str(tmp_path / "out")})
    a, b = open_dataset(config), open_dataset(packed_config)
    assert a.fingerprint == b.fingerprint and a.sensor_size == b.sensor_size
    assert a.train.names == b.train.names and same(a.test[0], b.test[0])


def test_a_configuration_of_stored_images_is_checked(data, tmp_path):
    with pytest.raises(RecordingError, match="16 of 16 recordings that cannot be used"):
        opened(data, stored_event_images=True)


def test_the_command_packs_and_says_how_many(data, tmp_path, capsys):
    words = ["pack", str(data), str(tmp_path / "out"), "--frames", "as-they-are"]
    assert main(words) == 0 and "16 packed" in capsys.readouterr().out
    assert main(words) == 0 and "16 already there" in capsys.readouterr().out
    assert main([*words, "--quality", "0"]) == 2
    assert main(["pack", str(tmp_path / "nowhere"), str(tmp_path / "x")]) == 1
