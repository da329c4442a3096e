"""Conversion to npz: the same events, frame times and frames come back; nothing is overwritten."""

import shutil

import numpy as np
import pytest
import recipes

import safe_core
from safe_companion import __main__ as tool
from safe_companion import converting, datasets
from safe_companion.recordings import read_image, read_recording


def assert_same(converted, original):
    """Bit for bit the same recording, whatever the form."""
    found, expected = read_recording(converted), read_recording(original)
    assert found.events.dtype == expected.events.dtype
    assert found.events.tobytes() == expected.events.tobytes()
    assert len(found.frame_sources) == len(expected.frame_sources)
    if expected.frame_sources:
        assert found.frame_t.tolist() == expected.frame_t.tolist()
    for image, other in zip(found.frame_sources, expected.frame_sources, strict=True):
        a, b = np.asarray(read_image(image)), np.asarray(read_image(other))
        assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all()


def frames_of(count, size, channels=(3,)):
    rng = np.random.default_rng(1)
    shape = (size[1], size[0], *channels)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def all_files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# ------------------------------------------------------------------------------- one recording
@pytest.mark.parametrize("channels", [(3,), ()], ids=["colour", "gray"])
def test_an_aedat4_with_frames_comes_back_bit_for_bit(channels, tmp_path):
    size = (32, 24)
    frames = frames_of(12, size, channels)
    timed = [(70_000 * i + 13, frame) for i, frame in enumerate(frames)]
    stream = recipes.random_events(5000, size)
    recipes.save_aedat4(tmp_path / "in" / "a take.aedat4", stream, timed, size)
    counts, problems = converting.convert([tmp_path / "in" / "a take.aedat4"], tmp_path / "out")
    assert counts["converted"] == 1 and not problems
    assert_same(tmp_path / "out" / "a take", tmp_path / "in" / "a take.aedat4")
    images = sorted((tmp_path / "out" / "a take" / "a take_aps").iterdir())
    assert [image.name for image in images] == [f"{i:08d}.png" for i in range(12)]


def test_events_alone_become_one_file_that_knows_its_sensor(tmp_path):
    stream = recipes.random_events(300, (34, 30))
    table = np.stack([stream[key] for key in "txyp"], 1)
    np.savetxt(tmp_path / "a.csv", table, "%d", ",", header="t,x,y,p", comments="")
    converting.convert([tmp_path / "a.csv"], tmp_path / "out", size=(34, 34))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.npz"]
    assert_same(tmp_path / "out" / "a.npz", tmp_path / "a.csv")
    with np.load(tmp_path / "out" / "a.npz") as stored:
        assert stored["sensor_size"].tolist() == [34, 34]


def test_frames_beside_an_npz_and_their_times_come_along(tmp_path):
    take = recipes.save_numbered(tmp_path / "in" / "take")
    converting.convert([take], tmp_path / "out")
    assert_same(tmp_path / "out" / "take", take)
    untimed = tmp_path / "in" / "other"
    recipes.save_npz(untimed / "other.npz", recipes.random_events(400))
    recipes.save_images(untimed / "other_aps", recipes.gray_frames(5), stride=3, digits=4)
    converting.convert([untimed], tmp_path / "out")
    assert_same(tmp_path / "out" / "other", untimed)


def test_real_recordings_come_back_bit_for_bit(real_data, tmp_path):
    digits = sorted((real_data / "nmnist" / "digit_3").iterdir())[:3]
    street = real_data / "street.aedat4"
    counts, _ = converting.convert([street, *digits], tmp_path)
    assert counts["converted"] == 4
    assert_same(tmp_path / "street", street)
    for digit in digits:
        assert_same(tmp_path / digit.name, digit)


# ------------------------------------------------------------------------------- folders
def test_a_folder_keeps_its_places_lists_and_clips(tmp_path):
    root = recipes.make_root(tmp_path / "in", per_class=2)
    (root / "notes.txt").write_text("not a recording")
    counts, problems = converting.convert([root], tmp_path / "out")
    assert counts["converted"] == 8 and not problems
    for name in ("classes.txt", "train_label.txt", "test_label.txt"):
        assert (tmp_path / "out" / name).read_text() == (root / name).read_text()
    before, after = (
        datasets.open_dataset(safe_core.configure("sample", data_root=str(place)))
        for place in (root, tmp_path / "out")
    )
    assert before.fingerprint == after.fingerprint
    for clip, other in zip(before.test, after.test, strict=True):
        assert clip["name"] == other["name"] and (clip["event"] == other["event"]).all()
        assert (clip["rgb"] == other["rgb"]).all()


def test_class_folders_of_bare_files_are_found_at_any_depth(tmp_path):
    for place in ("left/a.npz", "right/deep/b.NPZ", "c.npz", ".hidden/d.npz", "left.npz"):
        file = recipes.save_npz(tmp_path / "in" / f"{place}.npz", recipes.random_events(50))
        file.rename(tmp_path / "in" / place)
    recipes.save_numbered(tmp_path / "in" / ".half.partial")
    converting.convert([tmp_path / "in"], tmp_path / "out")
    found = sorted(str(f.relative_to(tmp_path / "out")) for f in all_files(tmp_path / "out"))
    assert found == ["c.npz", "left.npz", "left/a.npz", "right/deep/b.npz"]


def test_a_conversion_that_was_stopped_goes_on(tmp_path, monkeypatch):
    root = recipes.make_root(tmp_path / "in", per_class=2)
    converting.convert([root], tmp_path / "whole")
    whole = {f.relative_to(tmp_path / "whole"): b for f, b in all_files(tmp_path / "whole").items()}

    saved = converting._save
    left = iter(range(3))

    def stopped(file, arrays, source):  # in the middle of the fourth recording
        if next(left, None) is None:
            file.write_bytes(b"half of it")
            raise KeyboardInterrupt
        saved(file, arrays, source)

    monkeypatch.setattr(converting, "_save", stopped)
    with pytest.raises(KeyboardInterrupt):
        converting.convert([root], tmp_path / "out")
    monkeypatch.setattr(converting, "_save", saved)
    counts, _ = converting.convert([root], tmp_path / "out")
    assert counts == {"already there": 3, "converted": 5}
    out = {f.relative_to(tmp_path / "out"): b for f, b in all_files(tmp_path / "out").items()}
    assert out.keys() == whole.keys()
    assert all(out[f] == whole[f] for f in out if f.suffix != ".npz")  # an npz holds the time
    counts, _ = converting.convert([root], tmp_path / "out")
    assert counts["already there"] == 8 and not counts["converted"]


# ------------------------------------------------------------------------------- refusals
def test_nothing_else_is_overwritten(tmp_path):
    take = recipes.save_npz(tmp_path / "in" / "a.npz", recipes.random_events(300))
    out = tmp_path / "out"
    for other in ("a.npz", "a/a.npz", "a/note.md"):
        file = out / other
        file.parent.mkdir(parents=True)
        recipes.save_npz(file, recipes.random_events(9)) if file.suffix == ".npz" else file.touch()
        before = all_files(out)
        with pytest.raises(FileExistsError, match="found something else than this conversion"):
            converting.convert([take], out)
        assert all_files(out) == before
        shutil.rmtree(out)
    converting.convert([take], out)
    with pytest.raises(FileExistsError):  # read in another way, it is another recording
        converting.convert([take], out, time_unit="ns")
    with pytest.raises(FileExistsError):
        converting.convert([tmp_path / "in" / "a.npz"], tmp_path / "in")


def test_two_recordings_for_one_place_are_refused_before_anything_is_written(tmp_path):
    a = recipes.save_npz(tmp_path / "1" / "take.npz", recipes.random_events(30))
    b = recipes.save_npz(tmp_path / "2" / "take.npz", recipes.random_events(30))
    with pytest.raises(ValueError, match="1/take.npz and .*2/take.npz would both become"):
        converting.convert([a, b], tmp_path / "out")
    with pytest.raises(ValueError, match="lies in .*, which is converted"):
        converting.convert([tmp_path / "1"], tmp_path / "1" / "npz")
    with pytest.raises(ValueError, match="expected a folder"):
        converting.convert([a], tmp_path / "take.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found no recording in it.*aedat4"):
        converting.convert([tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_converted_is_named_and_the_rest_is(tmp_path, capsys):
    recipes.save_npz(tmp_path / "in" / "good.npz", recipes.random_events(300))
    (tmp_path / "in" / "bad.npz").write_bytes(b"no archive")
    recipes.save_stored(tmp_path / "in" / "images", recipes.gray_frames(3))
    words = [str(tmp_path / "in"), str(tmp_path / "out")]
    assert tool.main(["convert", *words]) == 1
    shown = capsys.readouterr()
    assert f"1 converted, 2 not converted; in {tmp_path / 'out'}" in shown.out
    assert "bad.npz: found no complete npz" in shown.err
    assert "images: found no events, only images" in shown.err
    (tmp_path / "in" / "bad.npz").unlink()
    shutil.rmtree(tmp_path / "in" / "images")
    assert tool.main(["convert", *words]) == 0
    assert "1 already there" in capsys.readouterr().out


def test_reading_options_hold_for_conversions(tmp_path, capsys):
    stream = recipes.random_events(300)
    table = np.stack([stream[key] for key in "pyxt"], 1)
    np.save(tmp_path / "a.npy", table)
    words = ["convert", str(tmp_path / "a.npy"), str(tmp_path / "out")]
    assert tool.main(words) == 1
    assert "without names" in capsys.readouterr().err
    assert tool.main([*words, "--columns", "p,y,x,t", "--sensor-size", "8x6"]) == 0
    assert (read_recording(tmp_path / "out" / "a.npz").events == stream).all()
