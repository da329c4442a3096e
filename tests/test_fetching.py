"""Real recordings are fetched from small clones made here, and from the true ones at hand."""

import hashlib
import json
import os
import re
import subprocess

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from recipes import random_events

import safe_core
from safe_companion import datasets, fetching, real_sets
from safe_companion.__main__ import main
from safe_companion.lists import read_list
from safe_companion.real_sets import How
from safe_companion.recordings import read_image, read_recording

DIGITS = {"zero": 5, "one": 6}  # class: recordings
OBJECTS = {"box": "Caixa", "mug": "Caneca"}
FEW = 24  # pieces of a take of session 1, where the published ones have 300


def bs2(events):
    """N-MNIST's five bytes an event."""
    t = events["t"].astype(np.uint32)
    rows = np.stack(
        [events["x"], events["y"], (events["p"] << 7) | (t >> 16), t >> 8 & 255, t & 255], axis=1
    )
    return rows.astype(np.uint8).tobytes()


def aedat(events):
    """AEDAT 2.0 of a DVS128."""
    address = (127 - events["y"].astype(">u4")) << 8 | events["x"].astype(">u4") << 1
    pairs = np.stack([address | (1 - events["p"]), events["t"]], axis=1).astype(">u4")
    return b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n" + pairs.tobytes()


def take(seed, pieces):
    """A stream of whole pieces of 100 ms, that begins anywhere."""
    events = random_events(40 * pieces, (128, 128), seed)
    inner = np.sort(np.random.default_rng(seed).integers(0, 100_000 * pieces, len(events) - 2))
    events["t"] = 12_345 + np.concatenate([[0], inner, [100_000 * pieces - 1]])
    return events


def files():
    """{clone: {path: content}} of small repositories with the published ones' layout."""
    found = {"slayerPytorch": {}, "mnist-pngs": {}, "DVS128_BioLab": {}, "Detic": {}}
    number = 0
    for digit, count in enumerate(DIGITS.values()):
        for _ in range(count):
            number += 1
            events = random_events(60, (34, 34), number)
            events["t"] = np.linspace(10, 305_000, len(events)).astype(int)
            found["slayerPytorch"][f"NMNISTsmall/{number}.bs2"] = bs2(events)
            found["mnist-pngs"][f"train/{digit}/{number - 1}.png"] = png(
                np.full((28, 28), 20 * number, np.uint8)
            )
    for seed, name in enumerate(OBJECTS.values()):
        stream = take(seed, FEW)
        found["DVS128_BioLab"][f"raw/{name}.aedat"] = aedat(stream)
        found["DVS128_BioLab"][f"DataSet2/{name}.aedat"] = aedat(take(10 + seed, 3))
        for k, events in enumerate(np.split(stream, _edges(stream))[1:-1], start=1):
            signs = np.zeros((128, 128), int)
            np.add.at(signs, (events["y"], events["x"]), np.where(events["p"], 1, -1))
            grey = np.select([signs > 0, signs < 0], [255, 0], 128).astype(np.uint8)
            found["DVS128_BioLab"][f"images/{name}/{name}_{k}.png"] = png(grey)
    names = [{"id": i, "name": n} for i, n in ((2, "mug"), (1, "box"), (3, "lamp"))]
    found["Detic"]["info.json"] = json.dumps(names).encode()
    return found


def _edges(stream):
    return np.searchsorted(stream["t"], stream["t"][0] + 100_000 * np.arange(FEW + 1))


def png(pixels):
    from io import BytesIO

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def part(content, clone, role, name, pattern, numbers=()):
    """A part of the table of sources, with its sum by coreutils' format."""
    paths = [pattern.format(n) for n in numbers] or [pattern]
    lines = [f"{hashlib.sha256(content[clone][p]).hexdigest()}  {p}\n" for p in sorted(paths)]
    found = {"clone": clone, "role": role, "class": name, "pattern": pattern}
    if numbers:
        found["numbers"] = ",".join(map(str, numbers))
    return found | {"sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A table of sources, repositories that it names, and copies of them under clones/."""
    content = files()
    content["Detic"]["clip.npy"] = np.array([[1, 0], [0, 1], [5, 5]], np.float16)
    buffer = tmp_path / "clip.npy"
    np.save(buffer, content["Detic"]["clip.npy"])
    content["Detic"]["clip.npy"] = buffer.read_bytes()
    clones = {}
    for name, there in content.items():
        for root in (tmp_path / "origins" / name, tmp_path / "clones" / name):
            for path, data in there.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
        origin = tmp_path / "origins" / name
        first = commit(origin, "as published")
        (origin / sorted(there)[0]).write_text("later")
        commit(origin, "changed later")
        clones[name] = {"address": origin.as_uri(), "commit": first}
        clones[name] |= {"licence": f"licence of {name}", "cite": [f"work of {name}"]}
    pairs, images, streams = [], [], []
    number = 0
    for digit, (name, count) in enumerate(DIGITS.items()):
        numbers = range(number + 1, number + count + 1)
        number += count
        pairs.append(part(content, "slayerPytorch", "events", name, "NMNISTsmall/{}.bs2", numbers))
        pattern = f"train/{digit}/{{}}.png"
        shown = [n - 1 for n in numbers]
        pairs.append(part(content, "mnist-pngs", "stimulus", name, pattern, shown))
    for name, published in OBJECTS.items():
        pattern = f"images/{published}/{published}_{{}}.png"
        test = part(content, "DVS128_BioLab", "test", name, f"DataSet2/{published}.aedat")
        images += [
            part(content, "DVS128_BioLab", "train", name, pattern, range(1, FEW + 1)),
            test,
        ]
        streams += [
            part(content, "DVS128_BioLab", "train", name, f"raw/{published}.aedat"),
            test,
        ]
    images += [
        part(content, "Detic", "features", "", "clip.npy"),
        part(content, "Detic", "names", "", "info.json"),
    ]
    known_as = {n: {"published as": p, "LVIS": n} for n, p in OBJECTS.items()}
    table = {
        "clones": clones,
        "sets": {
            "nmnist-pairs": {"about": "digits", "parts": pairs},
            "biolab": {"about": "objects", "published": known_as, "parts": images},
            "biolab-events": {"about": "objects", "published": known_as, "parts": streams},
        },
    }
    (tmp_path / "sources.json").write_text(json.dumps(table))
    monkeypatch.setattr(fetching, "SOURCES", tmp_path / "sources.json")
    monkeypatch.setattr(fetching, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(real_sets, "PIECES", FEW)
    monkeypatch.setattr(real_sets, "TUNED_ON", 8)
    monkeypatch.delenv("SAFE_SOURCES", raising=False)
    return tmp_path


def commit(folder, message):
    """Commits all that lies in a folder; the commit."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "-q", folder], check=True)
    subprocess.run(["git", "-C", folder, "add", "-A"], check=True)
    subprocess.run(["git", "-C", folder, *who, "commit", "-qm", message], check=True)
    told = ["git", "-C", folder, "rev-parse", "HEAD"]
    return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()


def names_in(out, split):
    return [name for name, _, _ in read_list(out / f"{split}_label.txt")]


# ---------------------------------------------------------------- where they come from


def test_a_set_is_cloned_at_its_commit_and_the_clone_is_kept(world):
    """The newest commit of every repository has another file, whose sum would be refused."""
    said = fetching.fetch("biolab", world / "out")
    assert "48 training and 6 test recordings of 2 classes" in said[-1]
    (world / "origins").rename(world / "moved")  # no network
    again = fetching.fetch("biolab", world / "again")
    assert "48 training and 6 test recordings" in again[-1]
    kept = sorted(p.name for p in (world / "cache" / "clones").glob("*/*"))
    assert kept == ["DVS128_BioLab", "Detic"]


def test_a_clone_holds_no_other_files_than_what_is_used(world):
    fetching.fetch("biolab-events", world / "out")
    (clone,) = (world / "cache" / "clones").glob("*/DVS128_BioLab")
    there = {p.relative_to(clone).parts[0] for p in clone.rglob("*") if p.is_file()}
    assert there == {".git", "raw", "DataSet2"}


def test_without_a_network_it_is_said_what_to_do_and_nothing_is_left(world):
    (world / "origins").rename(world / "moved")
    with pytest.raises(ValueError, match="cannot be cloned .*connect once.*--from FOLDER"):
        fetching.fetch("nmnist-pairs", world / "out")
    assert not list(world.glob("*out*"))


def test_one_repository_that_is_missing_leaves_what_does_not_need_it(world):
    (world / "clones" / "mnist-pngs").rename(world / "elsewhere")
    said = fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones")
    assert "mnist-pngs: no clone of file://" in said[0]
    assert not any("stimulus" in name for name in names_in(world / "out", "train"))
    assert (world / "out" / "zero" / "0001.npz").is_file()
    (world / "clones" / "Detic").rename(world / "elsewhere" / "Detic")
    said = fetching.fetch("biolab", world / "objects", clones=world / "clones")
    assert "Detic: no clone" in said[0] and "48 training" in said[-1]
    assert not (world / "objects" / "clip_names.npz").exists()


def test_a_clone_itself_may_be_given(world):
    alone = world / "clones" / "DVS128_BioLab"
    assert "48 training" in fetching.fetch("biolab-events", world / "out", clones=alone)[-1]


def test_a_changed_file_stops_everything_and_is_named(world):
    file = world / "clones" / "slayerPytorch" / "NMNISTsmall" / "7.bs2"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ValueError, match="in 1 of 4 parts, the first .*events of one; expected"):
        fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones")
    assert not list(world.glob("*out*"))


def test_files_that_a_partial_clone_lacks_are_said_and_the_rest_is_written(world):
    (world / "clones" / "mnist-pngs" / "train" / "1" / "7.png").unlink()
    said = fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones")
    assert re.search(r"7\.png: absent, 1 of 6 files; stimulus of one is left out", said[0])
    names = names_in(world / "out", "train") + names_in(world / "out", "test")
    with_stimulus = {name.split("/")[0] for name in names if name.endswith("_stimulus")}
    assert with_stimulus == {"zero"} and len(names) == 11
    assert "- stimulus of one is left out" in (world / "out" / "README.md").read_text()


def test_one_class_that_is_left_is_no_data_set(world):
    (world / "clones" / "DVS128_BioLab" / "DataSet2" / "Caneca.aedat").unlink()
    with pytest.raises(ValueError, match="found 1 class .*Caneca.aedat: absent"):
        fetching.fetch("biolab", world / "out", clones=world / "clones")
    assert not list(world.glob("*out*"))


# ---------------------------------------------------------------- what is written


def test_the_data_say_what_they_are_under_which_licence_and_whom_to_cite(world):
    fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones", how=How(0.01))
    text = (world / "out" / "README.md").read_text()
    assert "not frames of a camera" in text and "at light 0.01" in text
    commits = json.loads((world / "sources.json").read_text())["clones"]
    for name in ("slayerPytorch", "mnist-pngs"):
        assert f"licence: licence of {name}" in text and f"cite: work of {name}" in text
        assert commits[name]["commit"] in text
    assert "Detic" not in text
    fetching.fetch("biolab", world / "objects", clones=world / "clones")
    assert "| mug | Caneca | mug |" in (world / "objects" / "README.md").read_text()


def test_the_same_again_changes_nothing_and_something_else_is_not_overwritten(world):
    options = {"clones": world / "clones"}
    fetching.fetch("nmnist-pairs", world / "out", **options)
    before = {p: p.stat().st_mtime_ns for p in (world / "out").rglob("*")}
    assert "nothing to do" in fetching.fetch("nmnist-pairs", world / "out", **options)[-1]
    for how in (How(0.5), How(tuning=True)):
        with pytest.raises(FileExistsError, match="nothing is overwritten"):
            fetching.fetch("nmnist-pairs", world / "out", how=how, **options)
    assert {p: p.stat().st_mtime_ns for p in (world / "out").rglob("*")} == before
    (world / "mine").mkdir()
    with pytest.raises(FileExistsError):
        fetching.fetch("nmnist-pairs", world / "mine", **options)


def test_what_a_stopped_call_left_is_no_part_of_the_data(world):
    left = world / ".out.partial" / "zero" / "9999.npz"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones")
    assert not (world / "out" / "zero" / "9999.npz").exists() and not left.exists()


def test_events_are_as_published_and_the_split_is_the_same_for_every_light(world):
    lists = []
    for light in (1.0, 0.001):
        out = world / f"out{light}"
        fetching.fetch("nmnist-pairs", out, clones=world / "clones", how=How(light))
        lists.append([names_in(out, split) for split in ("train", "test")])
        for number in (1, 6):
            name = "zero" if number < 6 else "one"
            made = read_recording(out / name / f"{number:04d}_stimulus")
            file = world / "clones" / "slayerPytorch" / "NMNISTsmall" / f"{number}.bs2"
            assert (made.events == read_recording(file).events).all() and made.size == (34, 34)
            assert len(made.frame_sources) == 3
    assert lists[0] == lists[1]
    train, test = lists[0]
    assert len(test) == 2 + 2 and not set(train) & set(test) and len(train) + len(test) == 11
    assert (out / "classes.txt").read_text().split() == list(DIGITS)  # label k is digit k


def test_a_stimulus_stands_beside_its_own_recording(world):
    """The tiny images are grey, each brighter than the one before."""
    fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones")
    means = []
    for number in range(1, 12):
        name = "zero" if number < 6 else "one"
        frames = read_recording(world / "out" / name / f"{number:04d}_stimulus").frame_sources
        means.append(np.asarray(read_image(frames[0])).mean())
    assert (np.diff(means) > 0).all()


@pytest.mark.parametrize("name", ["biolab", "biolab-events"])
def test_sessions_are_kept_apart(world, name):
    fetching.fetch(name, world / "out", clones=world / "clones")
    train, test = names_in(world / "out", "train"), names_in(world / "out", "test")
    assert len(set(train)) == len(train) == 2 * FEW and len(set(test)) == len(test) == 6
    assert all("/session1_" in n for n in train) and all("/session2_" in n for n in test)
    config = safe_core.configure(
        "sample", dataset="folder", data_root=str(world / "out"), modality="event", frames=1
    )
    splits = datasets.open_dataset(config)
    assert splits.class_names == ["box", "mug"] and splits.origin == "real"
    assert splits.train[0]["event"].shape == (1, 3, 64, 64) and not splits.warnings


def test_both_sessions_have_one_form(world):
    """Published images and those made of raw events: the net sign of a pixel's events in 100 ms."""
    fetching.fetch("biolab", world / "images", clones=world / "clones")
    fetching.fetch("biolab-events", world / "streams", clones=world / "clones")
    for name in ("session1_001", "session1_024", "session2_003"):
        image = world / "images" / "box" / name / f"{name}_dvs" / "00000000.png"
        stream = read_recording(world / "streams" / "box" / f"{name}.npz")
        assert np.ptp(stream.events["t"]) < 100_000
        expected = real_sets.coloured(real_sets.net_signs(stream.events, (128, 128)))
        assert (np.asarray(Image.open(image)) == expected).all()
        assert len(np.unique(expected.reshape(-1, 3), axis=0)) == 3


@pytest.mark.parametrize("name", ["nmnist-pairs", "biolab", "biolab-events"])
def test_recipes_are_chosen_on_no_test_recording(world, name):
    fetching.fetch(name, world / "whole", clones=world / "clones")
    fetching.fetch(name, world / "tuning", clones=world / "clones", how=How(tuning=True))
    train, held_out = (names_in(world / "tuning", split) for split in ("train", "test"))
    assert set(train + held_out) <= set(names_in(world / "whole", "train"))
    assert train and held_out and not set(train) & set(held_out)
    if name != "nmnist-pairs":  # a second of the take lies between
        numbers = [{int(n[-3:]) for n in names} for names in (train, held_out)]
        assert max(numbers[0]) == 8 and min(numbers[1]) == 19


def test_features_go_by_the_names_of_the_classes(world):
    fetching.fetch("biolab", world / "out", clones=world / "clones")
    with np.load(world / "out" / "clip_names.npz") as content:
        assert list(content["names"]) == ["box", "mug"]
        assert content["features"].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("name", "light", "said"),
    [
        ("biolab", 0.5, "no stimulus"),
        ("nmnist-pairs", 0, "above 0"),
        ("nmnist-pairs", 2, "or less"),
    ],
)
def test_a_light_that_makes_no_sense_is_refused(world, name, light, said):
    with pytest.raises(ValueError, match=said):
        fetching.fetch(name, world / "out", clones=world / "clones", how=How(light))


def test_the_command_finds_clones_by_option_or_environment(world, monkeypatch, capsys):
    words = ["fetch", "biolab-events", str(world / "a")]
    assert main([*words, "--from", str(world / "clones")]) == 0
    assert "48 training and 6 test recordings" in capsys.readouterr().out
    monkeypatch.setenv("SAFE_SOURCES", str(world / "clones"))
    (world / "origins").rename(world / "moved")
    assert main(["fetch", "biolab-events", str(world / "b")]) == 0
    assert main(["fetch", "biolab", str(world / "c"), "--light", "0.1"]) == 2
    assert "no stimulus" in capsys.readouterr().err


# ---------------------------------------------------------------- the stimulus through a camera


def digit():
    image = np.zeros((28, 28), np.uint8)
    image[8:20, 12:16] = 255
    return image


def test_in_a_bright_room_the_stimulus_is_sharp_and_moves_from_frame_to_frame():
    frames = real_sets.stimulus_frames(digit(), 1.0, np.random.default_rng(0)).astype(int)
    assert frames.shape == (3, 34, 34, 3)
    for frame, (x, y) in zip(frames, real_sets.PATH, strict=False):
        inside = frame[8 + y : 20 + y, 12 + x : 16 + x]
        outside = frame.sum() - inside.sum()
        assert inside.mean() > 235 and outside / (34 * 34 * 3 - inside.size) < 40


def test_less_light_is_darker_noisier_and_blurred():
    contrast, width = [], []
    for light in (1.0, 0.01, 0.001, 0.0001):
        many = [
            real_sets.stimulus_frames(digit(), light, np.random.default_rng(i)) for i in range(40)
        ]
        first = np.stack(many)[:, 0].astype(float)
        mean = first.mean(axis=(0, 3))
        contrast.append((mean.max() - mean.min()) / first[..., 0].std(axis=0).mean())
        width.append((mean[16] > 0.7 * mean.min() + 0.3 * mean.max()).sum())
    assert contrast == sorted(contrast, reverse=True) and contrast[0] > 10 > 1.5 > contrast[-1]
    assert width[0] == 4 < width[1] < width[2]


@pytest.mark.parametrize(("light", "px"), [(1.0, 0), (0.01, 2.13), (0.001, 4.27), (0.0001, 4.27)])
def test_the_blur_that_is_stated_is_the_way_of_the_first_to_the_last_exposed_step(light, px):
    assert real_sets.blur_px(light) == pytest.approx(px, abs=0.01)
    square = np.zeros((28, 28), np.uint8)
    square[12:16, 12:16] = 255
    if light >= 0.01:  # in darker ones a small square drowns in noise
        many = [
            real_sets.stimulus_frames(square, light, np.random.default_rng(i)) for i in range(20)
        ]
        ways = []
        for frame in np.mean(many, axis=0)[..., 1]:
            y, x = np.nonzero(frame > (frame.max() + np.median(frame)) / 2)
            ways.append(np.hypot(np.ptp(x) - 3, np.ptp(y) - 3))
        assert np.mean(ways) == pytest.approx(px, abs=1)


def test_two_lights_of_a_recording_share_their_noise():
    dark, darker = (
        real_sets.stimulus_frames(digit(), light, np.random.default_rng(3))[0, ..., 0]
        for light in (2e-4, 1e-4)
    )
    assert np.corrcoef(dark.ravel(), darker.ravel())[0, 1] > 0.9


def test_a_grey_stays_the_grey_that_it_is_in_a_bright_room():
    frames = real_sets.stimulus_frames(
        np.full((28, 28), 128, np.uint8), 1.0, np.random.default_rng(0)
    )
    assert frames[0, 8:24, 8:24].mean() == pytest.approx(128, abs=3)


def test_recordings_have_noise_of_their_own(world):
    fetching.fetch("nmnist-pairs", world / "out", clones=world / "clones", how=How(1e-4))
    dark = []
    for number in (1, 2):
        recording = read_recording(world / "out" / "zero" / f"{number:04d}_stimulus")
        frame = np.asarray(read_image(recording.frame_sources[0])).astype(float)
        dark.append((frame - frame.mean(axis=0)).ravel())
    assert abs(np.corrcoef(*dark)[0, 1]) < 0.2


# ---------------------------------------------------------------- as published


@pytest.fixture
def clones(real_data):
    folder = os.environ.get("SAFE_SOURCES") or real_data / "sources"
    folder = real_data.__class__(folder)
    if not folder.is_dir():
        pytest.skip(f"no clones of the sources: {folder} does not exist (set SAFE_SOURCES)")
    return folder


@pytest.mark.parametrize("name", real_sets.WRITERS)
def test_the_clones_at_hand_are_as_published(clones, name):
    known = fetching.sources()
    parts = fetching.parts_of(known["sets"][name])
    folders, problems = fetching._folders(parts, known["clones"], clones)
    whole, absent = fetching.whole_parts(parts, folders)
    assert not problems and not absent and len(whole) == len(parts)


def test_recordings_images_and_labels_of_nmnist_belong_together(clones):
    parts = fetching.parts_of(fetching.sources()["sets"]["nmnist-pairs"])
    file = clones / "slayerPytorch" / "test" / "test_files" / "NMNISTsmall" / "train1K.txt"
    lines = [line.split() for line in file.read_text().splitlines()[1:]]
    label_of = {int(number): int(label) for number, label in lines}
    number = re.compile(r"(\d+)\.\w+$")
    found = {}
    digits = "zero one two three four five six seven eight nine".split()
    for part in parts:
        numbers = [int(number.search(path)[1]) for path in part.paths]
        if part.role == "events":
            found |= dict.fromkeys(numbers, digits.index(part.class_name))
        else:
            assert all(label_of[n + 1] == digits.index(part.class_name) for n in numbers)
            assert all((clones / part.clone / path).is_file() for path in part.paths)
    assert found == label_of and len(found) == 1000


def test_published_event_images_are_those_that_this_project_makes_of_the_raw_events(clones):
    folder = clones / "DVS128_BioLab" / "NeuromorphicObjectDataSet_100"
    alike = []
    for name in ("Caneca", "Tesoura"):
        raw = read_recording(folder / "aedatFiles" / f"{name}.aedat")
        cut = real_sets.pieces(raw, 300)
        for number in (1, 60, 150, 300):
            image = np.asarray(Image.open(folder / name / f"{name}_{number}.png")).astype(int)
            signs = real_sets.net_signs(cut[number - 1], raw.size)
            alike.append((np.sign(image - 128) == signs).mean())
    assert min(alike) > 0.999


def test_every_set_says_where_it_is_from_and_names_its_classes():
    known = json.loads((ROOT / "book" / "sources.json").read_text())
    assert set(known["sets"]) == set(real_sets.WRITERS)
    for facts in known["clones"].values():
        assert re.fullmatch("[0-9a-f]{40}", facts["commit"])
        assert facts["address"].startswith("https://") and facts["licence"] and facts["cite"]
    for about in known["sets"].values():
        for part in fetching.parts_of(about):
            assert part.clone in known["clones"] and re.fullmatch("[0-9a-f]{64}", part.sha256)
