"""Recordings in, clips out: what safe_data promises."""

import inspect
import io
import json
import pickle
from types import SimpleNamespace

import dv_processing as dv
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import safe_data as data

SIZE = (8, 6)


def make_events(*rows):
    return np.array(list(rows), data.EVENT_DTYPE)


def random_events(count, size=SIZE, seed=0, duration=1_000_000):
    rng = np.random.default_rng(seed)
    events = np.empty(count, data.EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, size[0], count), rng.integers(0, size[1], count)
    events["t"], events["p"] = np.sort(rng.integers(0, duration, count)), rng.integers(0, 2, count)
    return events


def save_npz(path, events, **extra):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **({key: events[key] for key in "xytp"} | extra))
    return path


def save_images(folder, images, stride=1, digits=8):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i * stride:0{digits}d}.png")


def save_aedat4(path, events, frames, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    config = dv.io.MonoCameraWriter.Config("DAVIS346_test")
    config.addEventStream(size)
    config.addFrameStream(size)
    writer = dv.io.MonoCameraWriter(str(path), config)
    store = dv.EventStore()
    for x, y, t, p in events.tolist():
        store.push_back(t, x, y, bool(p))
    writer.writeEvents(store)
    for t, pixels in frames:
        writer.writeFrame(dv.Frame(t, pixels))
    del writer
    return path


def gray_frames(count, size=SIZE):
    return [np.full((size[1], size[0], 3), 20 * i, np.uint8) for i in range(count)]


def make_root(root, *, per_class=6, names=("Wave", "Left Bend"), frames=5):
    """A HARDVS-like root of npz + `_aps` recordings, sample names with spaces."""
    for split, count in (("train", per_class), ("test", 2)):
        lines = []
        for label in range(len(names)):
            for i in range(count):
                sample = f"action_{label + 1:03d}/{split} ({i})"
                name = sample.split("/")[1]
                save_npz(root / sample / f"{name}.npz", random_events(400, seed=100 * label + i))
                save_images(root / sample / f"{name}_aps", gray_frames(frames))
                lines.append(f"{sample} {frames} {label}")
        (root / f"{split}_label.txt").write_text("\n".join(lines))
    (root / "classes.txt").write_text("\n".join(names))
    return root


def open_root(root, **options):
    defaults = {"dataset": "hardvs", "data_root": root, "frames": 3, "image_size": 16}
    return data.open_dataset(**(defaults | options))


# ---------------------------------------------------------------- event images

# (x, y, t, p): pixel (1, 0) sees ON, ON, OFF; pixel (7, 5) one ON at the end
FOUR = make_events((1, 0, 0, 1), (1, 0, 250, 1), (1, 0, 500, 0), (7, 5, 1000, 1))


def test_count_image_counts_by_polarity_with_on_first():
    counts = data.count_image(FOUR, SIZE)
    assert counts.shape == (2, 6, 8) and counts.dtype == np.int32
    assert counts[:, 0, 1].tolist() == [2, 1] and counts[:, 5, 7].tolist() == [1, 0] and counts.sum() == 4


def test_voxel_grid_shares_events_between_neighbouring_instants():
    grid = data.voxel_grid(FOUR, SIZE, 3)  # 0 in bin 0; 250 half in 0, half in 1; 500 in bin 1; 1000 in bin 2
    assert grid[:, 0, 1].tolist() == [1.5, -0.5, 0.0] and grid[:, 5, 7].tolist() == [0.0, 0.0, 1.0]


def test_time_surface_decays_from_the_last_event():
    surface = data.time_surface(FOUR, SIZE, 500)
    assert surface[0, 5, 7] == 1
    assert surface[:, 0, 1] == pytest.approx([np.exp(-1.5), np.exp(-1.0)])
    assert np.count_nonzero(surface) == 3


def test_authors_image_shows_the_last_polarity_on_white():
    image = data.event_image(FOUR, SIZE, "authors")
    assert image.shape == (3, 6, 8) and image.dtype == np.uint8
    assert image[:, 0, 1].tolist() == [30, 30, 200] and image[:, 5, 7].tolist() == [220, 30, 30]
    assert (image == 255).all(0).sum() == 46


def test_other_event_images_follow_their_documented_scale():
    counts = data.event_image(FOUR, SIZE, "counts")
    assert counts[:, 0, 1].tolist() == [2 * 255 // data.COUNT_LIMIT, 255 // data.COUNT_LIMIT, 0]
    voxel = data.event_image(FOUR, SIZE, "voxel")
    assert voxel[:, 3, 3].tolist() == [128] * 3 and voxel[:, 0, 1].tolist() == [176, 112, 128]
    assert data.event_image(FOUR, SIZE, "time_surface")[:, 5, 7].tolist() == [255, 0, 0]
    many = np.repeat(FOUR[:1], 100)
    assert data.event_image(many, SIZE, "counts").max() == data.event_image(many, SIZE, "voxel").max() == 255


@pytest.mark.parametrize("representation", data.REPRESENTATIONS)
def test_without_events_an_event_image_is_ground(representation):
    assert (data.event_image(FOUR[:0], SIZE, representation) == data.GROUND[representation]).all()


def test_event_images_refuse_what_they_would_misplace():
    with pytest.raises(ValueError, match="outside the sensor of 6x8"):
        data.count_image(FOUR, (6, 8))
    with pytest.raises(TypeError, match="EVENT_DTYPE"):
        data.count_image(FOUR.astype([("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")]), SIZE)
    with pytest.raises(ValueError, match="voxels.*authors, counts"):
        data.event_image(FOUR, SIZE, "voxels")


streams = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 5000), st.integers(0, 1)),
                   min_size=1, max_size=80
                   ).map(lambda rows: make_events(*sorted(rows, key=lambda row: row[2])))


@settings(max_examples=50, deadline=None)
@given(streams, st.integers(1, 6))
def test_no_event_is_lost_or_counted_twice(events, count):
    signed = 2 * int(events["p"].sum()) - len(events)
    assert data.count_image(events, SIZE).sum() == len(events)
    assert data.voxel_grid(events, SIZE, count).sum() == pytest.approx(signed, abs=1e-3)
    for windows in (data.equal_windows(events["t"], count),
                    data.equal_windows(events["t"], count, rng=np.random.default_rng(0)),
                    data.adaptive_windows(events, SIZE, min_events=count, threshold=0),
                    data.adaptive_windows(events, SIZE, min_events=count, threshold=40)):
        assert [i for a, b in windows for i in range(a, b)] == list(range(len(events)))


# ---------------------------------------------------------------- windows

def test_a_frame_is_paired_with_the_events_up_to_the_next():
    frame_t, t = np.array([100, 200, 300]), np.arange(50, 500, 10)
    windows = data.frame_windows(frame_t, t)
    assert [(t[a], t[b - 1]) for a, b in windows] == [(100, 190), (200, 290), (300, 390)]
    assert len(data.frame_windows(frame_t, t[t <= 350])) == 3  # half an interval is enough
    assert len(data.frame_windows(frame_t, t[t < 340])) == 2
    assert len(data.frame_windows(frame_t, t[t < 150])) == 2  # the second frame sees no motion
    assert len(data.frame_windows(frame_t[:1], t)) == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_spread_indices_take_one_of_each_segment(available, count, seed):
    even = data.spread_indices(available, count)
    jittered = data.spread_indices(available, count, rng=np.random.default_rng(seed))
    for indices in (even, jittered):
        assert len(indices) == count and 0 <= indices.min() and indices.max() < available
        if available >= count:
            assert (np.diff(indices) > 0).all()
        else:
            assert set(indices.tolist()) == set(range(available))


def block(x0, count, start):
    """A 3 x 3 block of ON events at x0, `count` times over."""
    rows = [(x0 + i % 3, 1 + i // 3 % 3, start + i, 1) for i in range(9 * count)]
    return make_events(*rows)


def test_afe_keeps_a_stationary_stream_and_splits_a_moving_one():
    still = np.concatenate([block(1, 4, 0), block(1, 4, 1000)])
    moving = np.concatenate([block(0, 4, 0), block(5, 4, 1000)])
    assert data.adaptive_windows(still, SIZE, min_events=9, threshold=30) == [(0, 72)]
    assert data.adaptive_windows(moving, SIZE, min_events=9, threshold=30) == [(0, 36), (36, 72)]
    # the difference is exactly 200: every event of one half is missing from the other
    assert len(data.adaptive_windows(moving, SIZE, min_events=9, threshold=200)) == 2
    assert data.adaptive_windows(moving, SIZE, min_events=9, threshold=200.1) == [(0, 72)]


def test_afe_sees_off_events_and_ignores_lone_ones():
    on, off = block(1, 4, 0), block(1, 4, 1000)
    off["p"] = 0
    assert len(data.adaptive_windows(np.concatenate([on, off]), SIZE, min_events=20, threshold=30)) == 2
    lone = make_events(*[(2 * (i // 20), 0, i, 1) for i in range(40)])
    assert data.adaptive_windows(lone, SIZE, min_events=9, threshold=30) == [(0, 40)]


def test_afe_never_makes_a_half_smaller_than_the_minimum():
    events = random_events(1000)
    assert len(data.adaptive_windows(events, SIZE, min_events=125, threshold=0)) == 8
    assert len(data.adaptive_windows(events, SIZE, min_events=126, threshold=0)) == 4
    assert len(data.adaptive_windows(events, SIZE, min_events=501, threshold=0)) == 1


# ---------------------------------------------------------------- readers

def test_aedat4_comes_back_as_written(tmp_path):
    events = random_events(500, (20, 10))
    events["t"] += 1_000_000
    bgr = np.zeros((10, 20, 3), np.uint8)
    bgr[:5] = (200, 100, 10)
    path = save_aedat4(tmp_path / "a b.aedat4", events, [(1_000_000, bgr), (1_400_000, bgr)], (20, 10))
    recording = data.read_recording(path)
    assert (recording.name, recording.size) == ("a b", (20, 10))
    assert recording.events.dtype == data.EVENT_DTYPE and (recording.events == events).all()
    assert recording.frame_t.tolist() == [1_000_000, 1_400_000]
    assert recording.frame(1)[:, 0, 0].tolist() == [10, 100, 200] and not recording.frame(1)[:, 9, 19].any()
    assert data.read_recording(tmp_path / "a b").size == (20, 10)


def test_gray_frames_repeat_their_channel(tmp_path):
    gray = np.arange(200, dtype=np.uint8).reshape(10, 20)
    path = save_aedat4(tmp_path / "a.aedat4", random_events(50, (20, 10)), [(10, gray)], (20, 10))
    frame = data.read_recording(path).frame(0)
    assert (frame == gray).all() and frame.shape == (3, 10, 20)


@pytest.mark.parametrize("form", ["flat", "nested"])
def test_npz_forms(tmp_path, form):
    events = random_events(100)
    save_npz(tmp_path / ("s.1.npz" if form == "flat" else "s.1/s.1.npz"), events)
    recording = data.read_recording(tmp_path / "s.1")
    assert recording.size == data.DAVIS346 and recording.frame_t is None
    assert (recording.events == events).all()
    assert data.read_recording(tmp_path / "s.1", size=SIZE).size == SIZE


def test_npz_with_frames_beside_it(tmp_path):
    events = random_events(1000, duration=1000)
    save_npz(tmp_path / "s/s.npz", events)
    save_images(tmp_path / "s/s_aps", gray_frames(4), stride=5)
    recording = data.read_recording(tmp_path / "s")
    assert recording.size == SIZE and recording.frame(3)[0, 0, 0] == 60
    windows = data.frame_windows(recording.frame_t, recording.events["t"])
    assert len(windows) == 4 and windows[0][0] == 0 and windows[-1][1] == 1000  # no event left over
    save_npz(tmp_path / "s/s.npz", events, frame_t=np.array([5, 10, 20, 700]))
    assert data.read_recording(tmp_path / "s/s.npz").frame_t.tolist() == [5, 10, 20, 700]


@pytest.mark.parametrize("digits", [4, 8])
def test_image_folders_pair_by_number(tmp_path, digits):
    save_images(tmp_path / "s/s_aps", gray_frames(12), stride=5, digits=digits)
    save_images(tmp_path / "s/s_dvs", gray_frames(11), stride=5, digits=8)
    recording = data.read_recording(tmp_path / "s")
    assert recording.events is None and recording.size == SIZE
    assert len(recording.frame_sources) == len(recording.event_image_sources) == 11
    assert recording.frame(10)[0, 0, 0] == 200
    assert recording.event_image_sources[10].endswith("00000050.png")


@pytest.mark.parametrize("polarity", [np.array([-1, 1], np.int8), np.array([False, True]), np.array([0, 1])])
def test_polarities_are_mapped(tmp_path, polarity):
    save_npz(tmp_path / "s.npz", make_events((0, 0, 0, 0), (0, 0, 1, 1)), p=polarity)
    assert data.read_recording(tmp_path / "s").events["p"].tolist() == [0, 1]


@pytest.mark.parametrize("kind", [">u2", ">i8", "float16", "float64", "longdouble"])
def test_whole_numbers_of_any_type_are_events(tmp_path, kind):
    events = random_events(50, duration=200)
    save_npz(tmp_path / "s.npz", events, **{key: events[key].astype(kind) for key in "xytp"})
    assert (data.read_recording(tmp_path / "s").events == events).all()


GOOD = random_events(10)
BAD_NPZ = {
    "lengths": (dict(x=GOOD["x"][:5]), "invalid", r"x \(5,\), y \(10,\).*same length"),
    "outside": (dict(x=GOOD["x"] + 400), "invalid", "inside the sensor of 346x260.*sensor_size"),
    "negative pixel": (dict(y=GOOD["y"].astype(int) - 9), "invalid", "inside the sensor"),
    "negative time": (dict(t=GOOD["t"] - GOOD["t"][1]), "invalid", "negative time stamp"),
    "backwards": (dict(t=GOOD["t"][::-1]), "invalid", "backwards.*first at event 1"),
    "seconds": (dict(t=GOOD["t"] / 1e6), "invalid", "t with values that are no integers"),
    "endless": (dict(t=np.full(10, np.inf)), "invalid", "t with values that are no integers"),
    "overflow": (dict(t=GOOD["t"].astype(np.uint64) + 2**63), "invalid", "negative time stamp"),
    "polarity": (dict(p=GOOD["p"] + 1), "invalid", r"polarities \[1, 2\].*0 \(OFF\)"),
    "mixed polarity": (dict(p=np.arange(10) % 3 - 1), "invalid", r"polarities \[-1, 0, 1\]"),
    "empty": ({key: GOOD[key][:0] for key in "xytp"}, "empty", "without events"),
    "objects": (dict(x=GOOD["x"].astype(object)), "unreadable", "pickled objects"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_events_are_named(tmp_path, case):
    extra, kind, message = BAD_NPZ[case]
    save_npz(tmp_path / "s.npz", GOOD, **extra)
    with pytest.raises(data.RecordingError, match=rf"s\.npz: found .*{message}") as caught:
        data.read_recording(tmp_path / "s")
    assert caught.value.kind == kind


def test_files_that_cannot_be_read_are_named(tmp_path):
    message = "nothing: found no recording; expected nothing.aedat4"
    with pytest.raises(data.RecordingError, match=message) as caught:
        data.read_recording(tmp_path / "nothing")
    assert caught.value.kind == "missing"
    np.savez(tmp_path / "k.npz", x=GOOD["x"], y=GOOD["y"])
    with pytest.raises(data.RecordingError, match=r"no key t, p \(keys: x, y\)"):
        data.read_recording(tmp_path / "k")
    whole = save_npz(tmp_path / "c.npz", random_events(1000)).read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "c.npz").write_bytes(whole[:length])
        with pytest.raises(data.RecordingError, match="c.npz: found no complete npz archive"):
            data.read_recording(tmp_path / "c")
    (tmp_path / "p.npz").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(data.RecordingError, match="no complete npz archive"):
        data.read_recording(tmp_path / "p")
    array = io.BytesIO()
    np.save(array, GOOD["x"])
    (tmp_path / "n.npz").write_bytes(array.getvalue())
    with pytest.raises(data.RecordingError, match="no complete npz archive"):
        data.read_recording(tmp_path / "n")
    whole = save_aedat4(tmp_path / "a.aedat4", random_events(2000), [], SIZE).read_bytes()
    for length in (0, 10, 100, len(whole) // 2):
        (tmp_path / "a.aedat4").write_bytes(whole[:length])
        with pytest.raises(data.RecordingError, match="a.aedat4: found no complete AEDAT4 recording"):
            data.read_recording(tmp_path / "a")
    # This byte makes the decoder panic, which Python sees as a BaseException.
    (tmp_path / "a.aedat4").write_bytes(whole[:18] + b"\xff" + whole[19:])
    with pytest.raises(data.RecordingError, match="a.aedat4: found no complete AEDAT4 recording"):
        data.read_recording(tmp_path / "a")
    save_images(tmp_path / "i/i_aps", gray_frames(2))
    whole = (tmp_path / "i/i_aps/00000001.png").read_bytes()
    huge = whole[:16] + b"\x00\x0f\xff\xff" * 2 + whole[24:]  # 10^12 pixels
    for content in (b"\x89PNG\r\n\x1a\n cut off", whole[:45], huge, b""):
        (tmp_path / "i/i_aps/00000001.png").write_bytes(content)
        with pytest.raises(data.RecordingError, match="00000001.png: found no readable image"):
            data.read_recording(tmp_path / "i").frame(1)
    save_images(tmp_path / "f/f_aps", gray_frames(3))
    for frame_t, message in (([1, 2], "2 frame time stamps for 3 frames"), (7, "1 frame time stamps"),
                             ([[1], [2], [3]], "one time stamp per frame"), ([1, 2, 2], "do not increase")):
        save_npz(tmp_path / "f/f.npz", GOOD, frame_t=np.array(frame_t))
        with pytest.raises(data.RecordingError, match=message):
            data.read_recording(tmp_path / "f")


def test_a_damaged_aedat4_header_does_not_reach_the_decoder(tmp_path, monkeypatch):
    """These bytes abort the interpreter, or allocate 4 GB, inside the decoder."""
    whole = save_aedat4(tmp_path / "a.aedat4", random_events(300), [], SIZE).read_bytes()
    start = 18 + int.from_bytes(whole[14:18], "little")
    damage = {0: b"?", 14: b"\xff" * 4, 18: b"\xff" * 4, 42: b"\xff" * 4, 50: b"\xff\xff\x00\x00", 54: b"\x00",
              55: b"\xff" * 3, whole.index(b"attr"): b"\xc0", start + 4: b"\xff\xff\xff\x7f"}
    data.read_recording(tmp_path / "a")
    monkeypatch.setattr(data.aedat, "Decoder", lambda path: pytest.fail("the decoder was given a damaged file"))
    for position, content in damage.items():
        (tmp_path / "a.aedat4").write_bytes(whole[:position] + content + whole[position + len(content):])
        with pytest.raises(data.RecordingError, match="a.aedat4: found no complete AEDAT4 recording"):
            data.read_recording(tmp_path / "a")


def test_real_street_recording(real_data):
    recording = data.read_recording(real_data / "street.aedat4")
    assert recording.size == (346, 260) and len(recording.events) == 6676
    assert np.diff(recording.frame_t).tolist() == [40_000] * 3 and recording.frame(0).shape == (3, 260, 346)
    windows = data.frame_windows(recording.frame_t, recording.events["t"])
    assert len(windows) == 4 and all(stop - start > 1000 for start, stop in windows)


def test_real_nmnist_folder(real_data):
    splits = data.open_dataset(dataset="folder", data_root=real_data / "nmnist", frames=3, image_size=34,
                               modality="event")
    assert splits.sensor_size == (34, 34) and splits.origin == "real" and len(splits.class_names) == 10
    assert (len(splits.train), len(splits.val), len(splits.test)) == (430, 50, 120)
    clip = splits.test[0]
    assert "rgb" not in clip and clip["event"].shape == (3, 3, 34, 34)
    assert all((image.amin(0) < 255).sum() > 50 for image in clip["event"])


# ---------------------------------------------------------------- lists and splits

def test_lists_are_parsed_from_the_right(tmp_path):
    path = tmp_path / "train_label.txt"
    path.write_text("\ufeffaction_001/dvSave (2) 54 0\r\n\n  Sea hare/a b\t7   12 \n", encoding="utf-8")
    assert data.read_list(path) == [("action_001/dvSave (2)", 54, 0), ("Sea hare/a b", 7, 12)]
    for line in ("action_001/a 5", "action_001/a x 0", "action_001/a 5 -1"):
        path.write_text(f"action_001/a 5 0\n{line}\n")
        with pytest.raises(ValueError, match="train_label.txt, line 2: found 'action"):
            data.read_list(path)


def test_published_class_names():
    names = {dataset: data.class_names(dataset, "nowhere") for dataset in ("hardvs", "pokerevent")}
    assert len(names["hardvs"]) == 300 and len(names["pokerevent"]) == 114
    assert names["hardvs"][0] == "L type clamp back" and names["pokerevent"][13] == "JOKER"


def prompts(names, **config):
    defaults = {"dataset": "hardvs", "prompt": None, "prompt_file": None, "distinct_names": True}
    return data.prompt_sentences(names, SimpleNamespace(**(defaults | config)))


def test_prompts_follow_the_data_set_or_the_template():
    assert prompts(["Wave"]) == [["The action of the human is Wave"]]
    assert prompts(["7"], dataset="pokerevent") == [["The content of the playing card is 7"]]
    assert prompts(["cat"], dataset="folder") == [["A photo of a cat"]]
    assert prompts(["a {0}", "b"], prompt="{}, {x}") == [["a {0}, {x}"], ["b, {x}"]]
    for template in ("", "a photo of a cat", "a {0}"):
        with pytest.raises(ValueError, match=r"prompt=.*expected a sentence with \{\}"):
            prompts(["cat"], prompt=template)


def test_no_two_classes_share_a_sentence():
    assert prompts(["Whale", "Cat", "whale", "WHALE 1"], prompt="{}") == [["Whale 2"], ["Cat"], ["whale 3"],
                                                                         ["WHALE 1"]]
    assert prompts(["Whale", "Cat", "whale"], prompt="{}", distinct_names=False) == [["Whale"], ["Cat"], ["whale"]]
    names = data.class_names("pokerevent", "nowhere")
    sentences = [sentence for entry in prompts(names, dataset="pokerevent") for sentence in entry]
    assert len({sentence.casefold() for sentence in sentences}) == len(names) == 114
    assert sum(sentence.endswith((" 1", " 2")) and not name.isdecimal()
               for name, sentence in zip(names, sentences, strict=True)) == 14


def test_prompt_file_gives_every_class_its_sentences(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([["a man waves", "ein Mann winkt"], ["squat"]]), encoding="utf-8")
    assert prompts(["Wave", "Squat"], prompt_file=path) == [["a man waves", "ein Mann winkt"], ["squat"]]
    path.write_text('{"squat 1": ["a squat"], "squat 2": ["deeper"], "Wave": ["waving"], "Bow": ["x"]}')
    assert prompts(["Wave", "squat", "squat"], prompt_file=path) == [["waving"], ["a squat"], ["deeper"]]
    assert prompts(["squat", "Wave"], prompt_file=path) == [["a squat"], ["waving"]]
    for content, found in (("[[", "no readable JSON"), ('{"Wave": ["x"]}', r"None for class 1 \(Squat\)"),
                           ("3", "a int"), ('[["x"]]', "1 entries"),
                           ('[["x"], []]', r"\[\] for class 1 \(Squat\)"), ('["x", "y"]', "'x' for class 0"),
                           ('[["x"], ["y", 3]]', ".*for class 1"), ('[["x"], [" "]]', ".*for class 1")):
        path.write_text(content)
        with pytest.raises(ValueError, match=f"prompts.json: found {found}.*expected a non-empty list.*of 2 classes"):
            prompts(["Wave", "Squat"], prompt_file=path)
    with pytest.raises(ValueError, match="absent.json: found no readable JSON"):
        prompts(["Wave"], prompt_file=tmp_path / "absent.json")


@pytest.mark.parametrize("name, permitted", [
    ("Wave", True), ("jumping jack", True), ("Three Step Run", True), ("Make a Face", True),
    ("Bright light", True),
    ("Sea hare", True), ("9th set of broadcast gymnastics stretching exercises", True), ("arm roll", True),
    ("Left Bend", False), ("Raise hand with right hand", False),
    ("Simplified Tai Chi Left Right Shuttle", False),
    ("right_hand_clockwise", False), ("turn counter-clockwise", False), ("swipeLeft", False),
    ("digit_3", False),
    ("L type clamp back", False), ("YTW Rowing Action", False), ("Mobile Card 1", False),
    ("a", False), ("10", False),
    ("JOKER", False), ("Queen", False), ("three", False), ("K", False)])
def test_flips_only_where_the_class_permits(name, permitted):
    assert data.flip_permitted(name) is permitted


def pairs(clips):
    assert clips.labels.dtype == torch.int64 and clips.labels.shape == (len(clips),)
    return dict(zip(clips.names, clips.labels.tolist(), strict=True))


def test_splits_are_stratified_disjoint_and_seeded(tmp_path):
    root = make_root(tmp_path, per_class=10)
    splits = open_root(root, val_fraction=0.2)
    train, val = pairs(splits.train), pairs(splits.val)
    assert sorted(val.values()) == [0, 0, 1, 1] and sorted(train.values()) == [0] * 8 + [1] * 8
    assert not train.keys() & val.keys() and len(splits.test) == 4
    assert open_root(root, val_fraction=0.2).val.names == splits.val.names
    assert open_root(root, val_fraction=0.2, seed=1).val.names != splits.val.names
    half, quarter = (open_root(root, val_fraction=0.2, train_fraction=f) for f in (0.5, 0.25))
    assert half.val.names == splits.val.names and len(half.train) == 8
    assert set(quarter.train.names) < set(half.train.names) < set(splits.train.names)
    assert len(open_root(root, val_fraction=0).val) == 0


def test_fingerprint_follows_the_lists(tmp_path):
    root = make_root(tmp_path)
    before = open_root(root).fingerprint
    assert open_root(root, seed=3).fingerprint == before
    (root / "classes.txt").write_text("Wave\nRight Bend")
    assert open_root(root).fingerprint != before


@pytest.mark.parametrize("dataset, source", [("hardvs", "Event-AHU/HARDVS"),
                                             ("pokerevent", "Event-AHU/SAFE")])
def test_a_wrong_root_is_an_error_not_the_sample(tmp_path, dataset, source):
    with pytest.raises(FileNotFoundError, match=f"no such folder.*{source}"):
        open_root(tmp_path / "absent", dataset=dataset)
    with pytest.raises(FileNotFoundError, match=f"looked for train_label.txt and test_label.txt.*{source}"):
        open_root(tmp_path, dataset=dataset)


def test_lists_without_recordings_are_an_error(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}_label.txt").write_text("action_001/a 5 0\n")
    with pytest.raises(FileNotFoundError, match="action_001/a.*Event-AHU/HARDVS"):
        open_root(tmp_path)


def test_wrong_options_and_labels_are_named(tmp_path):
    root = make_root(tmp_path)
    for option in ("modality", "event_representation", "event_windows", "on_bad_recording", "dataset"):
        with pytest.raises(ValueError, match=f"{option}='x'; expected one of"):
            open_root(root, **{option: "x"})
    with pytest.raises(ValueError, match="WIDTHxHEIGHT"):
        open_root(root, sensor_size="346,260")
    with pytest.raises(ValueError, match="set data_root"):
        data.open_dataset(dataset="folder", frames=3, image_size=16)
    (root / "classes.txt").write_text("Wave")
    with pytest.raises(ValueError, match="train_label.txt: found label 1 .*expected labels 0 to 0"):
        open_root(root)


def test_bad_recordings_stop_or_are_skipped_with_a_reason(tmp_path):
    root = make_root(tmp_path)
    lost, broken, short = (f"action_001/train ({i})" for i in (1, 2, 3))
    (root / lost / "train (1).npz").rename(root / "away.npz")
    (root / lost / "train (1)_aps").rename(root / "away")
    (root / broken / "train (2).npz").write_bytes(b"PK cut off")
    for image in list((root / short / "train (3)_aps").iterdir())[2:]:
        image.unlink()
    splits = open_root(root, val_fraction=0)
    by_name = {sample: i for i, sample in enumerate(splits.train.names)}
    for sample, message in ((lost, "no recording"), (broken, "no complete npz"),
                            (short, "recording has 2 frames, 3 asked for")):
        with pytest.raises(data.RecordingError, match=message):
            splits.train[by_name[sample]]
    splits = open_root(root, val_fraction=0, on_bad_recording="skip")
    assert [sample for sample, _ in splits.skipped] == [lost, broken, short]
    assert "expected" in splits.skipped[0][1] and len(splits.train) == 9 and len(splits.facts["skipped"]) == 3
    assert [len(splits.train[i]["rgb"]) for i in range(9)] == [3] * 9


def test_a_worker_hands_on_the_error(tmp_path):
    root = make_root(tmp_path)
    (root / "action_001/test (0)/test (0).npz").write_bytes(b"")
    with pytest.raises(data.RecordingError, match="test .0..npz"):
        list(torch.utils.data.DataLoader(open_root(root).test, num_workers=1))


def test_check_lists_every_bad_recording(tmp_path, capsys):
    root = make_root(tmp_path)
    assert data.main(["check", str(root), "--dataset", "hardvs"]) == 0
    assert "train: 12 recordings, 0 with problems" in capsys.readouterr().out
    save_npz(root / "action_001/test (0)/test (0).npz", GOOD[:0])
    (root / "action_002/test (1)/test (1)_aps/00000002.png").write_bytes(b"no image")
    assert data.main(["check", str(root), "--dataset", "hardvs"]) == 1
    out = capsys.readouterr().out
    assert "test: 4 recordings, 2 with problems" in out and "problems: 1 empty, 1 unreadable" in out
    assert "test (0).npz" in out and "00000002.png" in out


def test_folder_of_npz_recordings_shares_one_sensor_size(tmp_path):
    for name in ("b", "a"):
        for i in range(5):
            save_npz(tmp_path / name / f"{i}.npz", random_events(60 + i, (30 - i, 20), seed=i))
    splits = data.open_dataset(dataset="folder", data_root=tmp_path, frames=2, image_size=8, modality="event",
                               sensor_size="40x30")
    assert splits.class_names == ["a", "b"] and splits.sensor_size == (40, 30)
    splits = data.open_dataset(dataset="folder", data_root=tmp_path, frames=2, image_size=8, modality="event")
    assert splits.sensor_size == (30, 20) or "0" not in {s.split("/")[1] for s in splits.train.names}
    assert (len(splits.train), len(splits.val), len(splits.test)) == (6, 2, 2)
    with pytest.raises(data.RecordingError, match="no RGB frames.*modality='event'"):
        data.open_dataset(dataset="folder", data_root=tmp_path, frames=2, image_size=8).train[0]


# ---------------------------------------------------------------- clips

def marker_root(root, name="Wave", count=8):
    """One-class root whose frames equal its stored event images: a black block wanders on white."""
    for split in ("train", "test"):
        images = []
        for i in range(count):
            image = np.full((60, 80, 3), 255, np.uint8)
            image[20:32, 15 + 4 * i:27 + 4 * i] = 0
            images.append(image)
        for kind in ("aps", "dvs"):
            save_images(root / split / f"{split}_{kind}", images)
        (root / f"{split}_label.txt").write_text(f"{split} {count} 0\n")
    (root / "classes.txt").write_text(name)
    return root


def centres(images):
    """Centre (x, y) of the dark block in each uint8 [3, S, S] image, inside the frame's visible part."""
    positions = []
    for image in images.float().mean(1):
        inner = image[7:-7, 7:-7]
        y, x = torch.nonzero(inner < (inner.min() + inner.max()) / 2, as_tuple=True)
        positions.append((x.float().mean().item(), y.float().mean().item()))
    return np.array(positions)


def test_augmentation_is_one_for_the_whole_clip_and_both_modalities(tmp_path):
    train = open_root(marker_root(tmp_path), frames=4, image_size=64, val_fraction=0).train
    flipped, places = 0, set()
    for epoch in range(12):
        train.set_epoch(epoch)
        clip = train[0]
        rgb, event = centres(clip["rgb"]), centres(clip["event"])
        assert np.abs(rgb - event).max() < 1.5
        steps = np.diff(event[:, 0])
        assert (steps > 0).all() or (steps < 0).all()  # all frames mirrored or none
        assert np.ptp(event[:, 1]) < 0.5  # all frames shifted alike
        flipped += steps[0] < 0
        places.add(round(event[0, 1], 1))
    assert 0 < flipped < 12 and len(places) > 6


def test_a_sided_class_is_never_mirrored(tmp_path):
    train = open_root(marker_root(tmp_path, name="Left Bend"), frames=4, image_size=64, val_fraction=0).train
    for epoch in range(12):
        train.set_epoch(epoch)
        assert (np.diff(centres(train[0]["event"])[:, 0]) > 0).all()


def test_rgb_and_event_image_have_the_same_frame_index(tmp_path):
    """Frame i is a gray level of 20 i, and its window holds events of row i only."""
    frame_t = np.arange(6) * 1000
    rows = [(x, i, 1000 * i + 100 * x, 1) for i in range(6) for x in range(8)]
    for split in ("train", "test"):
        save_npz(tmp_path / split / f"{split}.npz", make_events(*rows), frame_t=frame_t)
        save_images(tmp_path / split / f"{split}_aps", gray_frames(6))
        (tmp_path / f"{split}_label.txt").write_text(f"{split} 6 0\n")
    (tmp_path / "classes.txt").write_text("Wave")
    for augment in ("none", "clip"):
        train = open_root(tmp_path, frames=3, image_size=24, val_fraction=0, augment=augment).train
        for epoch in range(5 if augment == "clip" else 1):
            recording = train.recording(0)
            rng = np.random.default_rng(epoch) if augment == "clip" else None
            indices, windows = train._choose(recording, rng)
            assert len(set(indices.tolist())) == 3
            for i, (start, stop) in zip(indices, windows, strict=True):
                assert set(recording.events["y"][start:stop]) == {i}
    clip = open_root(tmp_path, frames=6, image_size=24).test[0]
    assert clip["rgb"][:, 0, 0, 0].tolist() == [0, 20, 40, 60, 80, 100]
    assert [int(image[1].float().mean(1).argmin()) // 4 for image in clip["event"]] == list(range(6))


def test_as_released_each_modality_draws_its_own_frames_in_any_order(tmp_path):
    frame_t = np.arange(6) * 1000
    events = make_events(*[(x, i, 1000 * i + 100 * x, 1) for i in range(6) for x in range(8)])
    for split in ("train", "test"):
        save_npz(tmp_path / split / f"{split}.npz", events, frame_t=frame_t)
        save_images(tmp_path / split / f"{split}_aps", gray_frames(6))
        (tmp_path / f"{split}_label.txt").write_text(f"{split} 6 0\n")
    (tmp_path / "classes.txt").write_text("Wave")
    options = dict(frames=3, image_size=24, val_fraction=0, augment="none", frame_draw="independent")
    splits = open_root(tmp_path, test_frames="random", **options)
    for clips in (splits.train, splits.test):
        recording, differ, unordered, pairs = clips.recording(0), 0, 0, set()
        for epoch in range(20):
            frames_at, windows = clips._choose(recording, np.random.default_rng(epoch))
            events_at = [int(recording.events["y"][start]) for start, _ in windows]
            assert len(set(frames_at.tolist())) == len(set(events_at)) == 3
            differ += set(frames_at.tolist()) != set(events_at)
            unordered += sorted(frames_at) != frames_at.tolist()
            pairs.add((*frames_at.tolist(), *events_at))
        assert differ > 10 and unordered > 10 and len(pairs) > 15
    draws = set()
    for draw in range(6):
        splits.test.set_epoch(draw)
        draws.add(tuple(splits.test[0]["rgb"][:, 0, 0, 0].tolist()))
        assert torch.equal(splits.test[0]["event"], splits.test[0]["event"])
    assert len(draws) > 3
    even = open_root(tmp_path, **options).test
    assert even[0]["rgb"][:, 0, 0, 0].tolist() == [0, 40, 80]
    jittered = open_root(tmp_path, **options | dict(frame_draw="aligned", test_frames="random")).test
    frames_at, windows = jittered._choose(jittered.recording(0), np.random.default_rng(0))
    assert [int(events["y"][start]) for start, _ in windows] == frames_at.tolist() == sorted(frames_at)


def test_as_released_each_image_is_shifted_and_mirrored_alone(tmp_path):
    options = dict(frames=4, image_size=64, val_fraction=0, augment="frame")
    train = open_root(marker_root(tmp_path, name="Left Bend"), **options).train
    mixed = shifted = apart = 0
    for epoch in range(12):
        train.set_epoch(epoch)
        clip = train[0]
        rgb, event = centres(clip["rgb"]), centres(clip["event"])
        steps = np.diff(event[:, 0])
        mixed += (steps > 0).any() and (steps < 0).any()  # a sided class is mirrored, too, frame by frame
        shifted += np.ptp(event[:, 1]) > 1
        apart += np.abs(rgb - event).max() > 3
    assert mixed > 6 and shifted > 6 and apart > 6


def test_clips_depend_on_seed_epoch_and_index_only(tmp_path):
    root = make_root(tmp_path)

    def clips(workers, epoch, seed=0):
        train = open_root(root, seed=seed).train
        train.set_epoch(epoch)
        loader = torch.utils.data.DataLoader(train, batch_size=None, num_workers=workers)
        return [clip["rgb"] for clip in loader]

    def same(a, b):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))

    assert same(clips(0, 1), clips(2, 1)) and not same(clips(0, 1), clips(0, 2))
    assert not same(clips(0, 1), clips(0, 1, seed=5))
    train = open_root(root).train
    loader = torch.utils.data.DataLoader(train, batch_size=None, num_workers=2, persistent_workers=True)
    for epoch in (0, 1):
        train.set_epoch(epoch)
        assert same([clip["rgb"] for clip in loader], clips(0, epoch))
    test = open_root(root).test
    first = test[0]
    test.set_epoch(9)
    assert torch.equal(first["rgb"], test[0]["rgb"]) and torch.equal(first["event"], test[0]["event"])


@pytest.mark.parametrize("modality", ["both", "rgb", "event"])
@pytest.mark.parametrize("windows", ["frames", "afe"])
def test_clip_keys_shapes_and_types(tmp_path, modality, windows):
    splits = open_root(make_root(tmp_path, per_class=2), modality=modality, event_windows=windows,
                       afe_min_events=50, event_representation="voxel")
    clip = splits.train[0]
    images = {"rgb", "event"} if modality == "both" else {modality}
    assert set(clip) == images | {"label", "name"}
    for key in images:
        assert clip[key].shape == (3, 3, 16, 16) and clip[key].dtype == torch.uint8
        assert clip[key].is_contiguous()
    assert clip["label"] == 0 and clip["name"].startswith("action_001/train")


def test_stored_event_images_serve_the_authors_representation_only(tmp_path):
    root = marker_root(tmp_path)
    assert open_root(root).test[0]["event"].shape == (3, 3, 16, 16)
    with pytest.raises(data.RecordingError, match="stored event images only.*event_representation='counts'"):
        open_root(root, event_representation="counts").test[0]


def test_options_and_facts_fit_configuration_and_run_record(tmp_path):
    names = inspect.signature(data.open_dataset).parameters
    assert data.options(SimpleNamespace(**dict.fromkeys(names, 1), other=2)) == dict.fromkeys(names, 1)
    facts = open_root(make_root(tmp_path)).facts
    assert json.loads(json.dumps(facts)) == facts and facts["origin"] == "real"
    assert str(tmp_path) not in str(facts)


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
def test_generated_sample_opens_and_reads(tiny_sample, dataset):
    splits = data.open_dataset(dataset=dataset, data_root=tiny_sample(dataset), frames=5, image_size=48,
                               on_bad_recording="skip")
    assert splits.origin == "sample" and not splits.skipped
    clip = splits.train[0]
    assert clip["rgb"].shape == clip["event"].shape == (5, 3, 48, 48)


def test_the_default_sample_is_made_once_in_the_cache(tmp_path, monkeypatch):
    import safe_sample

    calls = []

    def make_sample(dataset, root, **options):
        calls.append(options)
        return make_root(root)

    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(safe_sample, "make_sample", make_sample, raising=False)
    monkeypatch.setattr(safe_sample, "fingerprint", lambda dataset, **options: "f" * 64, raising=False)
    for _ in range(2):
        splits = open_root(None, sample_train_per_class=6)
    assert calls == [{"seed": 0, "train_per_class": 6, "test_per_class": 30}] and splits.origin == "sample"
    assert splits.root.parent == tmp_path / "cache" and [*splits.root.parent.iterdir()] == [splits.root]
