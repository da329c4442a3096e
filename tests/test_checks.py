"""Nothing is found late: what cannot be used, what looks wrong, what is known the next time."""

import shutil

import numpy as np
import pytest
from PIL import Image
from recipes import (
    SIZE,
    gray_frames,
    make_root,
    random_events,
    save_aedat4,
    save_images,
    save_npz,
    save_numbered,
    save_stored,
    write_lists,
)

from safe_companion import checks, datasets, facts
from safe_companion.datasets import open_dataset
from safe_companion.recordings import RecordingError
from safe_core import Config

SENSOR = (30, 20)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SAFE_CACHE", str(folder))
    return folder


def config_of(root, **fields):
    default = {"dataset": "folder", "frames": 2, "image_size": 8, "modality": "event"}
    return Config(data_root=str(root), **(default | fields))


def verdict_of(root, **fields):
    config = config_of(root, **fields)
    names, lists = datasets._names_and_lists(config, root)
    return checks.judge(config, root, names, lists, anew=True)


def warnings_of(root, **fields):
    splits = open_dataset(config_of(root, **fields))
    assert splits.facts["warnings"] == splits.warnings
    assert str(root) not in str(splits.warnings)
    return splits.warnings


def save(root, name, stream=None, **extra):
    """An npz below the root; its default stream reaches the corner of the sensor."""
    if stream is None:
        stream = random_events(300, SENSOR, seed=sum(map(ord, name)))
        stream[0]["x"], stream[0]["y"] = SENSOR[0] - 1, SENSOR[1] - 1
    return save_npz(root / f"{name}.npz", stream, **extra)


@pytest.fixture
def root(tmp_path):
    """A healthy folder of two classes of 8 recordings."""
    for name in "ab":
        for i in range(8):
            save(tmp_path / "data", f"{name}/{i}")
    return tmp_path / "data"


def stream_of(root, name):
    with np.load(root / f"{name}.npz") as arrays:
        stream = random_events(len(arrays["t"]), SENSOR)
        for key in "xytp":
            stream[key] = arrays[key]
    return stream


def only(found, part):
    """The one text that holds `part`."""
    (text,) = [text for text in found if part in text]
    return text


def test_a_healthy_folder_has_nothing_to_say(root):
    splits = open_dataset(config_of(root))
    assert not splits.warnings and not splits.skipped and splits.sensor_size == SENSOR


# ---------------------------------------------------------------- events


def test_one_glitch_event_does_not_make_the_sensor_wide(root):
    for name, key in (("a/3", "x"), ("b/1", "y"), ("b/2", "x")):
        columns = {k: stream_of(root, name)[k].astype(np.uint16) for k in "xy"}
        columns[key][7] = 65535
        save(root, name, stream_of(root, name), **columns)
    verdict = verdict_of(root)
    assert verdict.size == SENSOR
    assert sorted(verdict.problems) == ["a/3", "b/1", "b/2"]
    reason = verdict.problems["a/3"].reason
    assert "a/3.npz" in reason and "65535" in reason and "30x20" in reason
    assert "99 % of the events here lie within x <= 29, y <= 19" in reason
    with pytest.raises(RecordingError, match="found 3 of 16 recordings that cannot be used"):
        open_dataset(config_of(root))
    splits = open_dataset(config_of(root, repair_events=True))
    assert splits.sensor_size == SENSOR and not splits.skipped
    assert splits.warnings == [
        "repair_events: dropped outside the sensor: 3 events in 3 recordings"
    ]


def test_a_sensor_that_is_used_in_full_by_one_recording_only_is_its_size(root):
    for name in "ab":
        for i in range(8):
            save(root, f"{name}/{i}", random_events(200, (12, 8)))
    save(root, "a/0", random_events(200, (40, 30)))
    write_lists(
        root,
        [(f"{c}/{i}", k) for k, c in enumerate("ab") for i in range(7)],
        [("a/7", 0), ("b/7", 1)],
    )
    verdict = verdict_of(root)
    assert verdict.size == (40, 30) and not verdict.problems
    assert verdict.warnings == [
        "the sensor is taken to have 40x30 pixels because of 1 of 16 recordings, such as a/0; most "
        "use 12x8. If that is wrong, give sensor_size"
    ]
    assert not verdict_of(root, sensor_size="40x30").warnings


def test_the_usual_sensor_of_a_form_stands_before_the_extent_of_the_events(root):
    for file in root.glob("?/?.npz"):
        stream = stream_of(root, file.relative_to(root).with_suffix(""))
        low = stream["t"].astype(int)
        address = [
            stream["x"],
            stream["y"],
            stream["p"] << 7 | low >> 16,
            low >> 8 & 255,
            low & 255,
        ]
        file.with_suffix(".bin").write_bytes(np.stack(address, 1).astype(np.uint8).tobytes())
        file.unlink()
    verdict = verdict_of(root)
    assert verdict.size == (34, 34) and not verdict.problems and not verdict.warnings


def test_jumps_back_are_counted_and_sorted_on_request(root):
    stream = stream_of(root, "a/3")
    stream["t"][[50, 51, 120]] -= 40_000
    stream["t"] += 2_000_000
    save(root, "a/3", stream)
    back = np.diff(stream["t"]) < 0
    reason = verdict_of(root).problems["a/3"].reason
    assert f"backwards at {back.sum()} of 300 events" in reason and "repair_events" in reason
    found = facts.look(root, ["a/3"])["a/3"]
    assert found.jumps == back.sum() and found.largest_jump == -np.diff(stream["t"]).min()
    warnings = warnings_of(root, repair_events=True)
    assert warnings == [f"repair_events: sorted by time: 1 recording ({back.sum()} jumps back)"]


def test_events_outside_a_given_sensor_are_counted(root):
    stream = stream_of(root, "b/2")
    outside = int(((stream["x"] >= 25) | (stream["y"] >= 20)).sum())
    problems = verdict_of(root, sensor_size="25x20").problems
    assert len(problems) == 16 and f"{outside} of 300 events outside" in problems["b/2"].reason


@pytest.mark.parametrize(
    "unit, factor, lasts",
    [("ns", 1e3, "99. s"), ("ms", 1e-3, "99. us"), ("s", 1e-6, "0 us")],
)
def test_durations_that_suggest_another_unit_are_refused_until_the_unit_is_said(
    root, unit, factor, lasts
):
    for name in "ab":
        for i in range(8):
            stream = stream_of(root, f"{name}/{i}")
            save(root, f"{name}/{i}", stream, t=(stream["t"] * factor).astype(np.int64))
    with pytest.raises(ValueError, match=f"last {lasts}.*set time_unit={unit}, or time_unit=us"):
        open_dataset(config_of(root))
    assert datasets.check(config_of(root)) == 1
    for said in (unit, "us"):
        test = open_dataset(config_of(root, time_unit=said)).test
        events = test.recording(0).events
        stored = stream_of(root, test.names[0])["t"]
        expected = stored if said == "us" else (stored / factor).astype(np.int64)
        assert len(test) == 4 and np.array_equal(events["t"], expected)


def test_slow_nanoseconds_are_known_by_their_rate(root):
    for name in "ab":
        for i in range(8):
            stream = stream_of(root, f"{name}/{i}")
            save(root, f"{name}/{i}", stream, t=stream["t"].astype(np.int64) * 300)
    with pytest.raises(ValueError, match="last 299 s .* at 1 events a second.*time_unit=ns"):
        open_dataset(config_of(root))


def test_unnamed_columns_are_read_in_the_order_that_is_said(root):
    for file in root.glob("?/?.npz"):
        stream = stream_of(root, file.relative_to(root).with_suffix(""))
        np.save(file.with_suffix(".npy"), np.stack([stream[k].astype(int) for k in "tyxp"], 1))
        file.unlink()
    assert len(verdict_of(root).problems) == 16
    splits = open_dataset(config_of(root, columns="t,y,x,p"))
    assert splits.sensor_size == SENSOR and splits.train[0]["event"].shape == (2, 3, 8, 8)


def test_one_recording_of_another_unit_is_said(root):
    stream = stream_of(root, "a/2")
    save(root, "a/2", stream, t=stream["t"].astype(np.int64) * 10_000)
    (text,) = warnings_of(root)
    assert text.startswith("a/2 lasts 16") and "min, the others 0.99" in text


def test_frames_and_events_of_two_clocks_are_refused(root):
    for i, shift in enumerate((0, 5_000_000, -5_000_000)):
        times = 1_600_000_000 + shift + np.arange(4) * 200_000
        stream = stream_of(root, f"a/{i}")
        stream["t"] += 1_600_000_000
        (root / f"a/{i}.npz").unlink()
        save(root, f"a/{i}/{i}", stream, frame_t=times)
        save_images(root / f"a/{i}/{i}_aps", gray_frames(4, SENSOR))
    problems = verdict_of(root).problems
    assert sorted(problems) == ["a/1", "a/2"]
    assert "frames at 1,605,000,000 to 1,605,600,000 us and events at 1,6" in problems["a/1"].reason
    assert "one clock" in problems["a/2"].reason


# ---------------------------------------------------------------- images


@pytest.fixture
def pictured(tmp_path):
    """A folder of two classes of 4 recordings: frames of noise, and stored event images."""
    rng = np.random.default_rng(0)
    for name in "ab":
        for i in range(4):
            images = list(rng.integers(0, 256, (5, 12, 16, 3), np.uint8))
            save_stored(tmp_path / "data" / name / str(i), images)
    return tmp_path / "data"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_cut_off_image_is_found_where_it_is_needed(pictured, suffix):
    file = pictured / f"a/2/2_aps/00000003.{suffix}"
    Image.open(pictured / "a/2/2_aps/00000003.png").save(file)
    content = file.read_bytes()
    for other in file.parent.glob("00000003.*"):
        other.unlink()
    file.write_bytes(content)
    assert not verdict_of(pictured, modality="both").problems
    file.write_bytes(content[: len(content) // 2])
    for modality in ("both", "rgb"):
        problems = verdict_of(pictured, modality=modality).problems
        assert list(problems) == ["a/2"] and file.name in problems["a/2"].reason
        assert problems["a/2"].kind == "unreadable"
    assert not verdict_of(pictured, modality="event").problems


def test_images_are_decoded_only_if_asked_for(pictured, monkeypatch, capsys):
    file = pictured / "a/2/2_dvs/00000003.png"
    content = bytearray(file.read_bytes())
    content[60:70] = b"\0" * 10
    file.write_bytes(content)
    config = config_of(pictured)
    assert datasets.check(config) == 0
    assert datasets.check(config, decode=True) == 1
    assert "00000003.png" in capsys.readouterr().out
    monkeypatch.setattr(facts, "read_image", None)
    assert datasets.check(config) == 0


def test_a_missing_number_pairs_by_number(pictured):
    (pictured / "a/1/1_aps/00000002.png").unlink()
    (pictured / "a/1/1_dvs/00000004.png").unlink()
    assert facts.look(pictured, ["a/1"])["a/1"].pairs == 3
    assert not verdict_of(pictured, modality="both", frames=3).problems
    problems = verdict_of(pictured, modality="both", frames=4).problems
    assert list(problems) == ["a/1"] and problems["a/1"].kind == "too few frames"


def test_event_images_alone_ask_for_the_event_modality(pictured):
    shutil.rmtree(pictured / "a/1/1_aps")
    assert not verdict_of(pictured).problems
    for modality in ("both", "rgb"):
        problems = verdict_of(pictured, modality=modality).problems
        assert list(problems) == ["a/1"] and "modality='event'" in problems["a/1"].reason


def test_frames_alone_ask_for_the_rgb_modality(pictured):
    shutil.rmtree(pictured / "a/1/1_dvs")
    assert not verdict_of(pictured, modality="rgb").problems
    problems = verdict_of(pictured).problems
    assert list(problems) == ["a/1"] and "modality='rgb'" in problems["a/1"].reason


def test_event_images_are_no_voxels(pictured):
    assert len(verdict_of(pictured, event_representation="voxel").problems) == 8
    assert len(verdict_of(pictured, event_windows="afe").problems) == 8
    assert not verdict_of(pictured, modality="rgb", event_windows="afe").problems


# ---------------------------------------------------------------- as training would say it


def damage(root):
    """Every kind of recording that cannot be used, one each."""
    good = stream_of(root, "a/0")
    (root / "a/0.npz").write_bytes(b"cut off")
    save(root, "a/1", good[:0])
    save(root, "a/2", good, p=np.arange(300) % 3)
    save(root, "a/3", good, t=good["t"] - 10**9)
    save(root, "a/4", good, x=good["x"][:5])
    save(root, "a/5", good, t=good["t"] + 0.5)
    save(root, "a/6", good, x=good["x"] * 5)
    save(root, "a/7", good[::-1])
    times = {"b/0": [5, 4, 3, 2], "b/1": [1, 2], "b/2": [690_000, 790_000, 890_000, 990_000]}
    for name, frame_t in times.items():
        number = name[-1]
        (root / f"{name}.npz").unlink()
        save(root, f"{name}/{number}", good, frame_t=np.array(frame_t))
        save_images(root / name / f"{number}_aps", gray_frames(4, SENSOR))
    (root / "b/3.npz").unlink()
    (root / "b/3").mkdir()
    (root / "b/4.npz").unlink()
    save_images(root / "b/4/4_aps", gray_frames(1, SENSOR))


@pytest.mark.parametrize("modality", ["event", "both", "rgb"])
@pytest.mark.parametrize("windows", ["frames", "afe"])
@pytest.mark.parametrize("repair", [False, True])
def test_the_check_says_what_training_would_have_said(root, modality, windows, repair):
    damage(root)
    fields = {
        "modality": modality,
        "event_windows": windows,
        "repair_events": repair,
        "frames": 4,
        "sensor_size": "30x20",
    }
    problems = verdict_of(root, **fields).problems
    every = [f"{c}/{i}" for c in "ab" for i in range(8)]
    names = ["a", "b"]
    items = [(name, names.index(name[0])) for name in every]
    clips = datasets.ClipDataset(
        items, root, names, config_of(root, **fields), sensor_size=(30, 20)
    )
    failed = {}
    for i, name in enumerate(every):
        try:
            clips[i]
        except RecordingError as error:
            failed[name] = (error.kind, str(error))
    assert problems == failed and len(failed) > 8


# ---------------------------------------------------------------- lists, classes, files


def test_recordings_named_twice_are_said(root):
    train = [(f"{c}/{i}", k) for k, c in enumerate("ab") for i in range(6)]
    test = [("a/6", 0), ("b/6", 1)]
    write_lists(root, train, test)
    assert not warnings_of(root)
    write_lists(root, train + [("a/2", 0)], test + train[:5])
    warnings = warnings_of(root)
    assert "for training and for the test: 5 recordings: a/0, a/1, a/2, ..." in warnings
    assert "train: named twice: 1 recording: a/2" in warnings and len(warnings) == 2


def test_a_label_against_its_folder_is_said(root):
    train = [(f"{c}/{i}", k) for k, c in enumerate("ab") for i in range(6)]
    train[2] = ("a/2", 1)
    write_lists(root, train, [("a/7", 0), ("b/7", 1)])
    assert warnings_of(root) == [
        "1 labels contradict their folder: a/2 has 1, most of its folder 0"
    ]


def test_folders_in_another_order_than_the_class_names_are_said(root):
    (root / "classes.txt").write_text("b\na\n")
    train = [(f"{c}/{i}", k) for k, c in enumerate("ab") for i in range(6)]
    write_lists(root, train, [("a/7", 0), ("b/7", 1)])
    assert warnings_of(root) == [
        "2 folders named as another class: a has label 0, which is b, b has label 1, which is a"
    ]


def test_classes_without_recordings_are_said(root):
    (root / "classes.txt").write_text("a\nb\nnap\n")
    train = [(f"{c}/{i}", k) for k, c in enumerate("ab") for i in range(6)]
    write_lists(root, train, [("a/7", 0)])
    assert warnings_of(root) == [
        "train: 1 class without recordings: nap",
        "test: 2 classes without recordings: b, nap",
    ]


def test_a_class_that_is_left_out_whole_is_said(root):
    for i in range(8):
        (root / f"a/{i}.npz").write_bytes(b"cut off")
    warnings = warnings_of(root, on_bad_recording="skip")
    assert "train: 1 class without recordings: a" in warnings


def test_what_is_there_and_not_read_is_said(root):
    for name in ("a/9.mp4", "b/8.MP4", "b/8.bag", "b/notes.txt", "a/.DS_Store", "b/README"):
        (root / name).write_bytes(b"")
    save(root, "b/session/1")
    for name in ("nap", ".git", "__MACOSX"):
        (root / name).mkdir()
    empty, unread = warnings_of(root)
    assert empty == "class folder without recordings, so no class: nap"
    assert unread.startswith("there and not read: 2 .mp4, 1 ")
    for what in ("1 .bag", "1 .txt", "1 folders", "1 without a suffix", "can be read: .aedat4"):
        assert what in unread


def test_both_forms_of_a_recording_are_counted_once_and_said(root):
    save_aedat4(root / "a/3.aedat4", stream_of(root, "a/3"), [], SENSOR)
    (root / "a/4.txt").write_text("a note on this recording\n")
    splits = open_dataset(config_of(root))
    assert (splits.train.names + splits.val.names + splits.test.names).count("a/3") == 1
    assert only(splits.warnings, "several forms") == (
        "there in several forms: 1 recording, such as a/3: 3.aedat4 is read, 3.npz is not"
    )


# ---------------------------------------------------------------- what is left


def test_a_data_set_of_which_nothing_is_usable_is_one_error(root):
    write_lists(root, [("a/0", 0), ("b/0", 1), ("a/1", 0), ("b/1", 1)], [("a/7", 0), ("b/7", 1)])
    for file in root.glob("?/?.npz"):
        file.write_bytes(b"cut off")
    message = "no recording of the train list that can be used, of 4.*Left out: 6 recordings"
    with pytest.raises(RecordingError, match=f"{message}.*a/0.npz"):
        open_dataset(config_of(root, on_bad_recording="skip"))
    for file in root.glob("?/?.npz"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match="found no class folder with recordings"):
        open_dataset(config_of(root, on_bad_recording="skip"))


def test_a_test_list_that_is_left_out_whole_names_the_cause(root):
    write_lists(root, [(f"{c}/{i}", k) for k, c in enumerate("ab") for i in range(6)], [("a/7", 0)])
    (root / "a/7.npz").write_bytes(b"cut off")
    with pytest.raises(RecordingError, match="of the test list.*a/7.npz: found no complete npz"):
        open_dataset(config_of(root, on_bad_recording="skip"))


def test_a_validation_split_that_is_empty_names_the_cause(root):
    write_lists(root, [("a/0", 0), ("b/0", 1)], [("a/7", 0), ("b/7", 1)])
    with pytest.raises(ValueError, match="val_fraction=0.1, since each class has one"):
        open_dataset(config_of(root))
    assert datasets.check(config_of(root)) == 1
    for fields in ({"val_fraction": 0}, {"select_on": "test"}):
        assert len(open_dataset(config_of(root, **fields)).train) == 2


def test_nothing_is_opened_when_something_is_missing(tmp_path, monkeypatch):
    root = make_root(tmp_path)
    shutil.rmtree(root / "action_002/test (1)")
    monkeypatch.setattr(facts, "_read", None)
    with pytest.raises(RecordingError, match=r"found 1 of 16 .*Nothing was opened") as error:
        open_dataset(config_of(root, dataset="hardvs"))
    assert error.value.kind == "missing"


def test_what_another_process_has_found_is_not_looked_for_again(root, monkeypatch):
    (root / "a/1.npz").write_bytes(b"cut off")
    found = open_dataset(config_of(root, on_bad_recording="skip"))
    monkeypatch.setattr(facts, "_read", None)
    fields = {"on_bad_recording": "skip", "sensor_size": "30x20"}
    again = open_dataset(config_of(root, **fields), skipped=found.skipped)
    assert again.skipped == found.skipped and again.train.names == found.train.names
    assert again.fingerprint == found.fingerprint


# ---------------------------------------------------------------- the cache


def opened(monkeypatch):
    """The names of the event files that are opened from now on."""
    names = []
    read = facts.read_events

    def read_events(path, **options):
        names.append(path.name)
        return read(path, **options)

    monkeypatch.setattr(facts, "read_events", read_events)
    return names


def test_a_second_start_opens_what_has_changed_and_what_was_bad(root, monkeypatch):
    (root / "b/2.npz").write_bytes(b"cut off")
    config = config_of(root, on_bad_recording="skip")
    first = open_dataset(config)
    names = opened(monkeypatch)
    second = open_dataset(config)
    assert names == ["2.npz"]
    assert second.facts == first.facts
    save(root, "a/5", random_events(299, SENSOR))
    names.clear()
    open_dataset(config)
    assert sorted(names) == ["2.npz", "5.npz"]
    names.clear()
    open_dataset(config_of(root, on_bad_recording="skip", time_unit="ms"))
    assert len(names) == 16


def test_a_check_opens_everything(root, monkeypatch):
    names = opened(monkeypatch)
    for _ in range(2):
        names.clear()
        assert datasets.check(config_of(root)) == 0
        assert len(names) == 16


def test_an_image_that_was_mended_in_place_is_looked_at_again(pictured):
    file = pictured / "a/2/2_dvs/00000003.png"
    content = file.read_bytes()
    file.write_bytes(content[:40])
    with pytest.raises(RecordingError, match="00000003.png"):
        open_dataset(config_of(pictured))
    file.write_bytes(content)
    assert open_dataset(config_of(pictured)).skipped == []


def test_a_damaged_or_outdated_cache_is_made_anew(root, cache, monkeypatch):
    facts.look(root, ["a/1"])
    (file,) = (cache / "checks").iterdir()
    good = file.read_bytes()
    names = opened(monkeypatch)
    flipped = good.replace(b"300", b"301")
    for content in (b"", b"\n", b"\xff\n{}", good[:-9], good.replace(b"1 ", b"0 ", 1), flipped):
        assert content != good
        file.write_bytes(content)
        names.clear()
        assert facts.look(root, ["a/1"])["a/1"].events == 300 and names == ["1.npz"]
    assert facts.look(root, ["a/1"])["a/1"].events == 300 and names == ["1.npz"]
    assert file.read_bytes() == good


def test_roots_do_not_share_a_cache_and_links_to_one_do(root, tmp_path, monkeypatch):
    other = shutil.copytree(root, tmp_path / "other")
    (tmp_path / "link").symlink_to(root)
    facts.look(root, ["a/1"])
    names = opened(monkeypatch)
    facts.look(tmp_path / "link", ["a/1"])
    assert not names
    facts.look(other, ["a/1"])
    assert names == ["1.npz"]


def test_a_cache_that_cannot_be_written_stops_nothing(root, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "file" / "below"))
    assert facts.look(root, ["a/1"])["a/1"].events == 300


def test_an_interrupted_look_keeps_what_it_has_seen(root, monkeypatch):
    names = [f"{c}/{i}" for c in "ab" for i in range(8)]
    read = facts.read_events

    def interrupted(path, **options):
        if path.parent.name == "b":
            raise KeyboardInterrupt
        return read(path, **options)

    monkeypatch.setattr(facts, "read_events", interrupted)
    with pytest.raises(KeyboardInterrupt):
        facts.look(root, names)
    monkeypatch.setattr(facts, "read_events", read)
    seen = opened(monkeypatch)
    facts.look(root, names)
    assert len(seen) == 8


def test_facts_are_those_of_the_recording(tmp_path):
    save_numbered(tmp_path / "a")
    found = facts.look(tmp_path, ["a", "absent"])
    assert found["absent"] == facts.Facts()
    fact = found["a"]
    assert (fact.event_file, fact.events, fact.frames, fact.pairs) == ("a.npz", 48, 6, 6)
    assert (fact.x, fact.y, fact.t) == ([0, 7, 7], [0, 5, 5], [0, 5700])
    assert fact.frame_t == [0, 5000] and fact.image_size == list(SIZE) and fact.duration == 5700
