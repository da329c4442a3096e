"""Recordings are read as written, in every form, or named with what is wrong with them."""

import io
import pickle
import shutil

import numpy as np
import pytest
from recipes import (
    SIZE,
    gray_frames,
    make_events,
    random_events,
    save_aedat4,
    save_images,
    save_npz,
)

from safe_companion import events, recordings
from safe_companion.formats import aedat4
from safe_companion.recordings import RecordingError, read_recording


def rgb(source):
    """uint8 [3, H, W] of a frame or stored event image."""
    return np.asarray(recordings.read_image(source).convert("RGB")).transpose(2, 0, 1)


# ---------------------------------------------------------------- forms


def test_aedat4_comes_back_as_written(tmp_path):
    stream = random_events(500, (20, 10))
    stream["t"] += 1_000_000
    bgr = np.zeros((10, 20, 3), np.uint8)
    bgr[:5] = (200, 100, 10)
    frames = [(1_000_000, bgr), (1_400_000, bgr)]
    path = save_aedat4(tmp_path / "a b.aedat4", stream, frames, (20, 10))
    recording = read_recording(path)
    assert (recording.name, recording.size) == ("a b", (20, 10))
    assert recording.events.dtype == events.EVENT_DTYPE and (recording.events == stream).all()
    assert recording.frame_t.tolist() == [1_000_000, 1_400_000]
    frame = rgb(recording.frame_sources[1])
    assert frame[:, 0, 0].tolist() == [10, 100, 200] and not frame[:, 9, 19].any()
    assert read_recording(tmp_path / "a b").size == (20, 10)
    assert read_recording(path, size=(400, 300)).size == (20, 10)  # the header knows better


def test_an_aedat4_file_without_frames_takes_those_beside_it(tmp_path):
    stream = random_events(100, duration=400)
    stream["t"][0] = 0
    stream["t"][-1] = 399
    save_aedat4(tmp_path / "s/s.aedat4", stream, [], SIZE)
    assert read_recording(tmp_path / "s").frame_t is None
    save_images(tmp_path / "s/s_aps", gray_frames(4))
    recording = read_recording(tmp_path / "s")
    assert recording.frame_t.tolist() == [0, 100, 200, 300]
    assert rgb(recording.frame_sources[2]).max() == 40


def test_gray_frames_repeat_their_channel(tmp_path):
    gray = np.arange(200, dtype=np.uint8).reshape(10, 20)
    path = save_aedat4(tmp_path / "a.aedat4", random_events(50, (20, 10)), [(10, gray)], (20, 10))
    frame = rgb(read_recording(path).frame_sources[0])
    assert (frame == gray).all() and frame.shape == (3, 10, 20)


@pytest.mark.parametrize("file", ["s.1.npz", "s.1/s.1.npz"])
def test_npz_is_read_flat_and_nested(tmp_path, file):
    stream = random_events(100)
    save_npz(tmp_path / file, stream)
    for path in (tmp_path / "s.1", str(tmp_path / file)):
        recording = read_recording(path)
        assert recording.name == "s.1"
        assert recording.size == recordings.DAVIS346 and recording.frame_t is None
        assert (recording.events == stream).all()
    assert read_recording(tmp_path / "s.1", size=SIZE).size == SIZE


def test_of_two_event_files_the_aedat4_is_read(tmp_path):
    save_npz(tmp_path / "s/s.npz", random_events(5))
    save_aedat4(tmp_path / "s/s.aedat4", random_events(7), [], SIZE)
    assert len(read_recording(tmp_path / "s").events) == 7


def test_frames_beside_an_npz_give_the_size_and_spread_evenly_over_it(tmp_path):
    stream = random_events(1000, duration=1000)
    save_npz(tmp_path / "s/s.npz", stream)
    save_images(tmp_path / "s/s_aps", gray_frames(4), stride=5)
    recording = read_recording(tmp_path / "s")
    assert recording.size == SIZE and rgb(recording.frame_sources[3])[0, 0, 0] == 60
    assert np.ptp(np.diff(recording.frame_t)) <= 1
    windows = events.frame_windows(recording.frame_t, recording.events["t"])
    assert len(windows) == 4
    assert windows[0][0] == 0 and windows[-1][1] == 1000  # no event is left over
    assert read_recording(tmp_path / "s", size=(9, 7)).size == (9, 7)


def test_frames_without_times_start_with_the_stream_and_are_rounded_up(tmp_path):
    save_npz(tmp_path / "s/s.npz", make_events((0, 0, 100, 1), (0, 0, 109, 1)))
    save_images(tmp_path / "s/s_aps", gray_frames(4))
    assert read_recording(tmp_path / "s").frame_t.tolist() == [100, 103, 105, 108]


def test_frame_times_of_an_npz_hold(tmp_path):
    save_images(tmp_path / "s/s_aps", gray_frames(4))
    save_npz(tmp_path / "s/s.npz", random_events(10), frame_t=np.array([5, 10, 20, 700]))
    assert read_recording(tmp_path / "s/s.npz").frame_t.tolist() == [5, 10, 20, 700]
    shutil.rmtree(tmp_path / "s/s_aps")
    assert read_recording(tmp_path / "s/s.npz").frame_t is None


def test_images_are_in_the_order_of_their_numbers(tmp_path):
    save_images(tmp_path / "s/s_aps", gray_frames(12), digits=1)
    sources = read_recording(tmp_path / "s").frame_sources
    assert [rgb(source)[0, 0, 0] for source in sources] == list(range(0, 240, 20))


@pytest.mark.parametrize("digits", [4, 8])
def test_frames_and_stored_event_images_pair_by_number(tmp_path, digits):
    save_images(tmp_path / "s/s_aps", gray_frames(12), stride=5, digits=digits)
    save_images(tmp_path / "s/s_dvs", gray_frames(11), stride=5, digits=8)
    (tmp_path / "s/s_aps" / f"{10:0{digits}d}.png").unlink()
    recording = read_recording(tmp_path / "s")
    assert recording.events is None and recording.size == SIZE
    for sources in (recording.frame_sources, recording.event_image_sources):
        assert [rgb(source)[0, 0, 0] for source in sources] == [0, 20, *range(60, 220, 20)]
    assert recording.event_image_sources[-1].endswith("00000050.png")


def test_one_kind_of_image_is_enough(tmp_path):
    save_images(tmp_path / "a/a_aps", gray_frames(2))
    save_images(tmp_path / "d/d_dvs", gray_frames(3))
    (tmp_path / "d/d_dvs/notes.png").write_text("no number")
    (tmp_path / "d/d_dvs/00000009.txt").write_text("no image")
    frames_only, stored_only = read_recording(tmp_path / "a"), read_recording(tmp_path / "d")
    assert len(frames_only.frame_sources) == 2 and not frames_only.event_image_sources
    assert len(stored_only.event_image_sources) == 3 and not stored_only.frame_sources
    assert stored_only.size == SIZE


def test_image_folders_without_a_common_number_are_named(tmp_path):
    save_images(tmp_path / "s/s_aps", gray_frames(1))
    save_images(tmp_path / "s/s_dvs", gray_frames(2), stride=5)
    (tmp_path / "s/s_dvs/00000000.png").unlink()
    with pytest.raises(RecordingError, match="no image number that both folders share"):
        read_recording(tmp_path / "s")


def test_images_of_any_mode_become_rgb_or_gray(tmp_path):
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[..., 0] = 200
    save_images(tmp_path / "s/s_aps", [pixels])
    source = read_recording(tmp_path / "s").frame_sources[0]
    assert recordings.read_image(source).mode == "RGB" and rgb(source)[:, 0, 0].tolist() == [
        200,
        0,
        0,
    ]
    assert recordings.image_size(source) == recordings.image_size(pixels) == SIZE


# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    "polarity", [np.array([-1, 1], np.int8), np.array([False, True]), np.array([0, 1])]
)
def test_polarities_are_mapped(tmp_path, polarity):
    save_npz(tmp_path / "s.npz", make_events((0, 0, 0, 0), (0, 0, 1, 1)), p=polarity)
    assert read_recording(tmp_path / "s").events["p"].tolist() == [0, 1]


@pytest.mark.parametrize("kind", [">u2", ">i8", "float16", "float64", "longdouble"])
def test_whole_numbers_of_any_type_are_events(tmp_path, kind):
    stream = random_events(50, duration=200)
    save_npz(tmp_path / "s.npz", stream, **{key: stream[key].astype(kind) for key in "xytp"})
    assert (read_recording(tmp_path / "s").events == stream).all()


@pytest.mark.parametrize("x, y, fits", [(7, 5, True), (8, 5, False), (7, 6, False)])
def test_width_bounds_x_and_height_bounds_y(tmp_path, x, y, fits):
    save_npz(tmp_path / "s.npz", make_events((x, y, 0, 1)))
    if fits:
        assert read_recording(tmp_path / "s", size=SIZE).events["x"] == [x]
    else:
        with pytest.raises(RecordingError, match=rf"x {x}\.\.{x}, y {y}\.\.{y}.*of 8x6 pixels"):
            read_recording(tmp_path / "s", size=SIZE)


GOOD = random_events(10)
BAD_NPZ = {
    "lengths": (dict(x=GOOD["x"][:5]), "invalid", r"x \(5,\), y \(10,\).*same length"),
    "shapes": ({key: GOOD[key][None] for key in "xytp"}, "invalid", "arrays of shapes"),
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
    with pytest.raises(RecordingError, match=rf"s\.npz: found .*{message}") as caught:
        read_recording(tmp_path / "s")
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "frame_t, message",
    [
        ([1, 2], "2 frame time stamps for 3 frames"),
        (7, "1 frame time stamps"),
        ([[1], [2], [3]], "one time stamp per frame"),
        ([1, 2, 2], "do not increase"),
    ],
)
def test_frame_times_that_do_not_fit_are_named(tmp_path, frame_t, message):
    save_images(tmp_path / "f/f_aps", gray_frames(3))
    save_npz(tmp_path / "f/f.npz", GOOD, frame_t=np.array(frame_t))
    with pytest.raises(RecordingError, match=message):
        read_recording(tmp_path / "f")


def test_more_frames_than_microseconds_are_named(tmp_path):
    save_images(tmp_path / "f/f_aps", gray_frames(4))
    save_npz(tmp_path / "f/f.npz", make_events((0, 0, 0, 1), (0, 0, 1, 1)))
    with pytest.raises(RecordingError, match="frame time stamps that do not increase"):
        read_recording(tmp_path / "f")


# ---------------------------------------------------------------- damaged files


@pytest.mark.parametrize("there, kind", [(False, "missing"), (True, "empty")])
def test_a_path_without_a_recording_is_named(tmp_path, there, kind):
    if there:
        (tmp_path / "nothing").mkdir()
    message = "nothing: found no recording; expected nothing.aedat4"
    with pytest.raises(RecordingError, match=message) as caught:
        read_recording(tmp_path / "nothing")
    assert caught.value.kind == kind


def test_missing_keys_of_an_npz_are_named(tmp_path):
    np.savez(tmp_path / "k.npz", x=GOOD["x"], y=GOOD["y"])
    with pytest.raises(RecordingError, match=r"no key t, p \(keys: x, y\)"):
        read_recording(tmp_path / "k")


def test_npz_files_that_cannot_be_read_are_named(tmp_path):
    whole = save_npz(tmp_path / "c.npz", random_events(1000)).read_bytes()
    one_array = io.BytesIO()
    np.save(one_array, GOOD["x"])
    contents = [whole[:length] for length in (0, 3, 100, len(whole) // 2, len(whole) - 1)]
    for content in (*contents, pickle.dumps({"x": 1}), one_array.getvalue()):
        (tmp_path / "c.npz").write_bytes(content)
        with pytest.raises(RecordingError, match="c.npz: found no complete npz archive") as caught:
            read_recording(tmp_path / "c")
        assert caught.value.kind == "unreadable"


def test_aedat4_files_that_cannot_be_read_are_named(tmp_path):
    whole = save_aedat4(tmp_path / "a.aedat4", random_events(2000), [], SIZE).read_bytes()
    contents = [whole[:length] for length in (0, 10, 100, len(whole) // 2)]
    # This byte makes the decoder panic, which Python sees as a BaseException.
    contents.append(whole[:18] + b"\xff" + whole[19:])
    for content in contents:
        (tmp_path / "a.aedat4").write_bytes(content)
        with pytest.raises(RecordingError, match="a.aedat4: found no complete AEDAT4 recording"):
            read_recording(tmp_path / "a")


def test_a_damaged_aedat4_header_does_not_reach_the_decoder(tmp_path, monkeypatch):
    """These bytes abort the interpreter, or allocate 4 GB, inside the decoder."""
    whole = save_aedat4(tmp_path / "a.aedat4", random_events(300), [], SIZE).read_bytes()
    start = 18 + int.from_bytes(whole[14:18], "little")
    damage = {
        0: b"?",
        14: b"\xff" * 4,
        18: b"\xff" * 4,
        42: b"\xff" * 4,
        50: b"\xff\xff\x00\x00",
        54: b"\x00",
        55: b"\xff" * 3,
        whole.index(b"attr"): b"\xc0",
        start + 4: b"\xff\xff\xff\x7f",
    }
    read_recording(tmp_path / "a")
    monkeypatch.setattr(
        aedat4.aedat, "Decoder", lambda path: pytest.fail("the decoder got a damaged file")
    )
    for position, content in damage.items():
        damaged = whole[:position] + content + whole[position + len(content) :]
        (tmp_path / "a.aedat4").write_bytes(damaged)
        with pytest.raises(RecordingError, match="a.aedat4: found no complete AEDAT4 recording"):
            read_recording(tmp_path / "a")


def test_images_that_cannot_be_read_are_named(tmp_path):
    save_images(tmp_path / "i/i_aps", gray_frames(2))
    file = tmp_path / "i/i_aps/00000001.png"
    whole = file.read_bytes()
    huge = whole[:16] + b"\x00\x0f\xff\xff" * 2 + whole[24:]  # 10^12 pixels
    for content in (b"\x89PNG\r\n\x1a\n cut off", whole[:45], huge, b""):
        file.write_bytes(content)
        with pytest.raises(RecordingError, match="00000001.png: found no readable image"):
            recordings.read_image(read_recording(tmp_path / "i").frame_sources[1])


def test_an_error_survives_its_way_out_of_a_loader_process():
    error = RecordingError("a.npz: found nothing", kind="empty")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.kind) == (str(error), "empty")
    assert str(type(error)("text")) == "text"  # torch makes it anew from its text alone


# ---------------------------------------------------------------- real recordings


def test_real_street_recording(real_data):
    recording = read_recording(real_data / "street.aedat4")
    assert recording.size == (346, 260) and len(recording.events) == 6676
    assert np.diff(recording.frame_t).tolist() == [40_000] * 3
    assert rgb(recording.frame_sources[0]).shape == (3, 260, 346)
    windows = events.frame_windows(recording.frame_t, recording.events["t"])
    assert len(windows) == 4 and all(stop - start > 1000 for start, stop in windows)


def test_a_mistyped_file_is_named_as_one(tmp_path):
    with pytest.raises(
        RecordingError, match="absent.npz: found no such file.*Check the path"
    ) as it:
        read_recording(tmp_path / "absent.npz")
    assert it.value.kind == "missing"
