"""The models that the book's reader plays with: what is exported, and what JavaScript makes of it.

Node runs the page's own code; without it the tests that need it are skipped. What a reader does
with the page is tested in a browser, in test_play_page.py.
"""

import base64
import dataclasses
import functools
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

import safe_core
from safe_companion import (
    corruptions,
    datasets,
    models,
    places,
    playing,
    predictions,
    records,
    rivals,
)
from safe_companion.sample import threshold_events

CODE = ROOT / "book" / "_static" / "play"
DATA = playing.FOLDER
MIB = 2**20


# ------------------------------------------------------------------------------- what was written
@functools.cache
def content(name):
    """What data/NAME.js hands to the page."""
    file = DATA / f"{name}.js"
    assert file.is_file(), f"{file} is not there: `make play` writes it from the checkpoints"
    found = re.fullmatch(r'play\.receive\("([\w-]+)", (.*)\);\n', file.read_text(), re.DOTALL)
    assert found[1] == name
    return json.loads(found[2])


def bits_in(text):
    """The inverse of playing.text_of, written anew: uint8 bits."""
    digits = np.zeros(128, np.int64)
    digits[playing.ALPHABET] = np.arange(91)
    codes = digits[np.frombuffer(text.encode("ascii"), np.uint8)]
    values = codes[::2] + 91 * codes[1::2]
    return ((values[:, None] >> np.arange(12, -1, -1)) & 1).astype(np.uint8).ravel()


def numbers_in(bits, width):
    return bits.reshape(-1, width) @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def floats_in(bits):
    return numbers_in(bits, 32).astype(np.uint32).view(np.float32)


def tensors_in(found):
    """{name: tensor} of a model's file."""
    bits = bits_in(found["data"])
    width = found["bits"]
    tensors = {}
    at = 0
    for name, shape, is_rounded in found["tensors"]:
        size = int(np.prod(shape))
        if not is_rounded:
            values = floats_in(bits[at : at + 32 * size])
            at += 32 * size
        else:
            row = size // shape[0]
            rows = bits[at : at + shape[0] * (32 + width * row)].reshape(shape[0], -1)
            scales = floats_in(rows[:, :32].ravel())
            numbers = numbers_in(rows[:, 32:].ravel(), width).reshape(shape[0], row)
            values = (numbers - 2 ** (width - 1)).astype(np.float32) * scales[:, None]
            at += rows.size
        tensors[name] = torch.from_numpy(np.array(values)).reshape(shape)
    assert len(bits) - at < 13
    return tensors


@functools.cache
def shipped(dataset, name):
    """The PyTorch model with the weights that the page has, one sentence a class."""
    config = safe_core.configure(dataset=dataset, pretrained=False, **playing.MODELS[name])
    model = safe_core.build(config, [[c] for c in content(dataset)["classes"]])
    model.load_state_dict(tensors_in(content(f"{dataset}-{name}")))
    return model.eval()


@functools.cache
def splits(dataset):
    return datasets.open_dataset(safe_core.configure(dataset=dataset, resize="loader"))


@functools.cache
def clips(dataset):
    """[(index in the test list, clip)] of the shipped recordings."""
    test = splits(dataset).test
    indices = [test.names.index(told["name"]) for told in content(dataset)["recordings"]]
    return [(index, test[index]) for index in indices]


@torch.inference_mode()
def asked(dataset, name, clip, names=None):
    """PyTorch's log-probabilities [L] and cross-attention, told the names in this order."""
    model = shipped(dataset, name)
    weights = {}

    def hook(branch):
        def ask_again(layer, inputs, output):
            queries, context = map(layer.norm, inputs)
            weights[branch] = layer.attention(queries, context, context, need_weights=True)[1][0]

        return ask_again

    fusion = getattr(model.fusion, "fusion", model.fusion)
    hooks = [at.register_forward_hook(hook(b)) for b, at in fusion.cross_attention.items()]
    text = model.text_tokens()
    text = text if names is None else text[names]
    log_probs = model(clip["rgb"][None], clip["event"][None], text)[0].float().log_softmax(0)
    for handle in hooks:
        handle.remove()
    return log_probs.numpy(), {branch: found.numpy() for branch, found in weights.items()}


# ------------------------------------------------------------------------------- node
def computed(jobs, data=DATA):
    """What the page's code makes of jobs, with the recordings and models of a folder."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine (Debian: apt-get install nodejs)")
    command = [node, ROOT / "tests" / "playing.js", CODE, data]
    made = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


def images(found, branch):
    pixels = np.frombuffer(base64.b64decode(found[branch]), np.uint8)
    return pixels.reshape(3, 3, 64, 64)


@pytest.fixture(scope="module", params=playing.DATASETS)
def answered(request):
    """(data set, what the page answers to each of its recordings, as it is)."""
    about = content(request.param)
    names = list(range(len(about["classes"])))
    job = {"set": request.param, "models": list(playing.MODELS), "names": names}
    jobs = [job | {"recording": i} for i in range(len(about["recordings"]))]
    return request.param, computed(jobs)


# ------------------------------------------------------------------------------- what is exported
@pytest.mark.parametrize("width", [8, 10, 13, 32])
def test_text_holds_every_bit_of_every_number(width):
    numbers = np.random.default_rng(0).integers(0, 2**width, 1000)
    text = playing.text_of(playing.bits_of(numbers, width))
    bits = bits_in(text)
    assert (numbers_in(bits[: 1000 * width], width) == numbers).all()
    assert not set(text) & set('"\\<') and text.isascii() and text.isprintable()


@pytest.mark.parametrize("dataset", playing.DATASETS)
def test_the_export_is_complete(dataset):
    about = content(dataset)
    assert about["origin"] == "sample"
    assert about["fingerprint"] == splits(dataset).fingerprint  # of the sample that is made today
    assert about["classes"] == splits(dataset).class_names
    assert list(about["models"]) == list(playing.MODELS)
    for name in playing.MODELS:
        assert content(f"{dataset}-{name}")["bits"] == about["models"][name]["bits"]
    files = {file.name for file in DATA.glob(f"{dataset}*")}
    recordings = {f"{dataset}-{i:02}.js" for i in range(12)}
    assert files == {f"{dataset}.js"} | {f"{dataset}-{m}.js" for m in playing.MODELS} | recordings


@pytest.mark.parametrize("dataset", playing.DATASETS)
def test_recordings_are_of_the_test_list_and_chosen_by_the_rule(dataset):
    test = splits(dataset).test
    told = content(dataset)["recordings"]
    names = [line["name"] for line in told]
    assert names == [test.names[i] for i in playing.chosen(splits(dataset))]
    assert not set(names) & set(splits(dataset).train.names)
    kinds = [(line["cause"], line["label"] % 2) for line in told]
    causes = ("dark", "fast", "isoluminant", "noisy", "none", "slow")
    assert kinds == [(cause, odd) for cause in causes for odd in (0, 1)]


def test_the_page_is_light():
    code = [*CODE.glob("*.js"), CODE / "play.css", DATA / "still.png"]
    files = {file: file.stat().st_size for file in [*code, *DATA.glob("*.js")]}
    assert max(files.values()) < 3 * MIB
    assert sum(files.values()) < 13 * MIB
    for dataset in playing.DATASETS:
        needed = [f"{dataset}.js", f"{dataset}-safe.js", f"{dataset}-00.js"]
        assert sum(files[file] for file in [*code, *(DATA / name for name in needed)]) < 3 * MIB


# ------------------------------------------------------------------------------- agreement
def difference(found, clip):
    """Of all pixels of both branches, by how many grey levels the page's clip is another."""
    pairs = [(images(found, branch), clip[branch].numpy()) for branch in ("rgb", "event")]
    return np.concatenate([abs(a.astype(int) - b.astype(int)).ravel() for a, b in pairs])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the recordings as this machine exports them."""
    folder = tmp_path_factory.mktemp("exported")
    for dataset in playing.DATASETS:
        for number, (index, _) in enumerate(clips(dataset)):
            name = f"{dataset}-{number:02}"
            told = playing.recording_content(splits(dataset).test.recording(index), 64)
            (folder / f"{name}.js").write_text(playing.script(name, told))
    return folder


@pytest.mark.parametrize("dataset", playing.DATASETS)
def test_clips_are_those_of_the_data_set_to_the_last_bit(exported, dataset):
    jobs = [{"set": dataset, "recording": i} for i in range(len(clips(dataset)))]
    for (_, clip), found in zip(clips(dataset), computed(jobs, exported), strict=True):
        assert not difference(found, clip).any(), clip["name"]


def test_shipped_clips_are_those_of_the_data_set(answered):
    """To the last bit on the kind of CPU that made them.

    Others round a value of a film another way here and there: of 24 clips one value, by one level.
    """
    dataset, found = answered
    record = json.loads((ROOT / f"results/sample/{dataset}/base/seed0/record.json").read_text())
    same_kind = record["hardware"]["cpu"] == records.processor()
    for (_, clip), answer in zip(clips(dataset), found, strict=True):
        apart = difference(answer, clip)
        assert apart.sum() <= (0 if same_kind else 3), clip["name"]


def test_answers_are_those_of_the_checkpoint_before_rounding(answered):
    """Within 0.5 points, and the five first in the same order."""
    dataset, found = answered
    for name, model in content(dataset)["models"].items():
        for before, answer in zip(model["log_probs"], found, strict=True):
            after = np.array(answer["models"][name]["logProbs"])
            assert np.abs(np.exp(before) - np.exp(after)).max() < 0.005
            assert (np.argsort(-after)[:5] == np.argsort(-np.array(before))[:5]).all()


def test_with_the_same_weights_pytorch_computes_the_same(answered):
    """Log-probabilities within 1e-3, attention within 1e-5: the engine adds no error of its own."""
    dataset, found = answered
    for (_, clip), answer in zip(clips(dataset), found, strict=True):
        for name in playing.MODELS:
            log_probs, weights = asked(dataset, name, clip)
            here = answer["models"][name]
            assert np.abs(log_probs - here["logProbs"]).max() < 1e-3, (name, clip["name"])
            assert set(weights) == set(here["attention"])
            for branch, matrix in weights.items():
                assert np.abs(matrix.ravel() - here["attention"][branch]).max() < 1e-5


def test_rivals_are_those_of_the_studies(answered):
    _, found = answered
    for answer in found:
        rgb, event = (np.array([answer["models"][m]["logProbs"]]) for m in ("rgb", "event"))
        runs = [as_run(rgb), as_run(event)]
        assert np.allclose(rivals.surer(*runs)["log_probs"][0], answer["surer"], atol=1e-6)
        assert np.allclose(rivals.mean(*runs)["log_probs"][0], answer["mean"], atol=1e-6)


def as_run(log_probs):
    """What `rivals` takes, of answers [1, L]."""
    anything = pd.DataFrame({"name": ["a"], "label": [0]})
    order = np.argsort(-log_probs, axis=1)[:, : predictions.TOP]
    table = predictions.as_table(anything, log_probs, order)
    test = {"top1": 0.0, "top5": 0.0}
    return {"predictions": table, "log_probs": log_probs, "path": "", "test": test}


# ------------------------------------------------------------------------------- what goes wrong
WRONG = {
    "events late": ({"delay": 2}, 2),
    "RGB blurred": ({"blur": 0.1}, 0.1),
    "RGB missing": ({"camera": "event"}, 1),
    "events missing": ({"camera": "rgb"}, 1),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_befalls_a_camera_is_what_robustness_measures(exported, what):
    state, level = WRONG[what]
    jobs = [{"set": "hardvs", "recording": i, "state": state} for i in (0, 5, 9)]
    clean = splits("hardvs").test
    corrupted = corruptions.Corrupted(clean, corruptions.CORRUPTIONS[what], level)
    for job, found in zip(jobs, computed(jobs, exported), strict=True):
        assert not difference(found, corrupted[clips("hardvs")[job["recording"]][0]]).any()


def test_darkness_has_the_mean_and_the_noise_of_pythons():
    """Chance is another one; over 36,864 values its mean and deviation are not."""
    (found,) = computed([{"set": "hardvs", "recording": 5, "state": {"light": 0.1}}])
    clean = clips("hardvs")[5][1]["rgb"]
    expected = corruptions.darkened(clean, 0.1, np.random.default_rng(0)).numpy().astype(float)
    dark = images(found, "rgb").astype(float)
    assert abs(dark.mean() - expected.mean()) < 1
    assert abs(dark.std() / expected.std() - 1) < 0.03


def test_lost_events_are_as_many_as_asked_for_and_late_frames_are_earlier_ones():
    base = {"set": "hardvs", "recording": 5}
    jobs = [base | {"state": state} for state in ({}, {"lost": 0.9}, {"delay": -2}, {"delay": 2})]
    clean, lost, late, early = computed(jobs)
    ink = [(images(found, "event") != 255).mean() for found in (clean, lost)]
    assert 0.1 < ink[1] / ink[0] < 0.5  # a tenth of the events, which overlap less
    frames = splits("hardvs").test.recording(clips("hardvs")[5][0])
    shown = playing.frames_of(frames, 64)
    assert (images(late, "rgb") == shown[[0, 2, 5]]).all()  # with the events of frames 2, 4, 7
    assert (images(early, "rgb") == shown[[2, 4, 7]]).all()


# ------------------------------------------------------------------------------- names
def named(names):
    job = {"set": "hardvs", "recording": 4, "models": ["safe", "text"], "names": names}
    (found,) = computed([job])
    return {name: np.array(of["logProbs"]) for name, of in found["models"].items()}


def test_permuted_names_change_nothing_for_the_papers_head_and_go_along_with_the_reading_one():
    order = np.random.default_rng(0).permutation(24)
    before, after = named(list(range(24))), named(order.tolist())
    assert np.abs(before["safe"] - after["safe"]).max() < 1e-4
    assert np.abs(before["text"][order] - after["text"]).max() < 1e-4
    assert before["text"].argmax() != after["text"].argmax()


def test_a_dropped_name_takes_away_an_answer_from_the_reading_head_only():
    first = int(named(list(range(24)))["text"].argmax())
    kept = [name for name in range(24) if name != first]
    after = named(kept)
    assert len(after["safe"]) == 24 and len(after["text"]) == 23
    for name in ("safe", "text"):
        log_probs, _ = asked("hardvs", name, clips("hardvs")[4][1], kept)
        assert np.abs(log_probs - after[name]).max() < 1e-3


# ------------------------------------------------------------------------------- export, refused
def test_a_missing_checkpoint_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="safe train --dataset hardvs") as error:
        playing.export(tmp_path / "out", runs=tmp_path)
    assert "sample/hardvs/base/seed0" in str(error.value) and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def untrained():
    assert models.__all__  # every model can be built
    torch.manual_seed(0)
    config = safe_core.configure(dataset="hardvs", modality="event")
    return safe_core.build(config, [[name] for name in splits("hardvs").class_names]).eval()


def test_a_model_that_the_page_cannot_compute_is_refused(tmp_path, untrained):
    file = tmp_path / "best.safetensors"
    config = dict(vars(untrained.config))
    about = {"config": config, "sentences": [["a"]] * 24, "class_names": ["a"] * 24}
    safe_core.save_checkpoint(file, untrained.state_dict(), about)
    playing.load(file, untrained.config)
    with pytest.raises(ValueError, match="found modality='event'; expected 'both'"):
        playing.load(file, safe_core.configure(dataset="hardvs"))


def test_weights_get_as_many_bits_as_the_answers_need(untrained, monkeypatch):
    some = [clip for _, clip in clips("hardvs")[:3]]
    state = {name: tensor.clone() for name, tensor in untrained.state_dict().items()}
    monkeypatch.setattr(playing, "BITS", (2, 16))
    bits, log_probs = playing.fewest_bits(untrained, some)
    assert bits == 16 and torch.equal(log_probs, playing.answers(untrained, some))
    assert all(torch.equal(state[k], tensor) for k, tensor in untrained.state_dict().items())
    monkeypatch.setattr(playing, "BITS", (2,))
    with pytest.raises(ValueError, match="with 2 bits a weight"):
        playing.fewest_bits(untrained, some)


@pytest.fixture
def one_model(tmp_path, untrained, monkeypatch):
    """The folder of runs of a page with one model, of one data set."""
    monkeypatch.setattr(playing, "DATASETS", ("hardvs",))
    monkeypatch.setattr(playing, "MODELS", {"event": {"modality": "event"}})
    monkeypatch.setattr(playing, "BITS", (24,))  # answers of random weights lie close together
    folder = tmp_path / "runs" / places.Place.of(untrained.config).name
    folder.mkdir(parents=True)
    names = splits("hardvs").class_names
    about = {"config": dataclasses.asdict(untrained.config), "class_names": names}
    about |= {"sentences": [[name] for name in names]}
    safe_core.save_checkpoint(folder / "best.safetensors", untrained.state_dict(), about)
    return tmp_path / "runs"


def test_an_export_replaces_its_own_files_and_tells_of_no_other(tmp_path, one_model):
    out = tmp_path / "out"
    out.mkdir()
    (out / "hardvs-12.js").write_text("of a page with more recordings")
    (out / "notes.txt").write_text("mine")
    written = playing.export(out, runs=one_model)
    names = ["hardvs.js", "hardvs-event.js", *(f"hardvs-{i:02}.js" for i in range(12)), "still.png"]
    assert [file.name for file, _ in written] == sorted(names)
    assert all(file.stat().st_size == size for file, size in written)
    assert {file.name for file in out.iterdir()} == {*names, "notes.txt"}


def test_a_folder_of_other_scripts_stays_as_it_is(tmp_path):
    (tmp_path / "hardvs-00.js").write_text("play")
    (tmp_path / "engine.js").write_text("code")
    with pytest.raises(FileExistsError, match="found engine.js; expected .* Choose another folder"):
        playing.export(tmp_path, runs=tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["engine.js", "hardvs-00.js"]


# ------------------------------------------------------------------------------- one pixel
SETTINGS = [(0.45, 1, 1), (0.2, 2.5, 1e-3), (0.1, 0.7, 1e-5)]


@pytest.mark.parametrize(("threshold", "speed", "light"), SETTINGS)
def test_the_one_pixel_fires_as_the_samples_camera(threshold, speed, light):
    state = {"threshold": threshold, "speed": speed, "light": light}
    (found,) = computed([{"pixel": state}])
    log_light = np.array(found["log"], np.float32).reshape(-1, 1, 1)
    at = np.full((1, 1), threshold, np.float32)
    reference = np.full((1, 1), found["reference"][0], np.float32)
    t, _, _, p = threshold_events(log_light, at, at, reference, 1000)
    events = found["events"]
    assert len(events) == len(t) and len(t) > 2
    assert [event["p"] for event in events] == p.tolist()
    assert np.abs(np.array([event["t"] for event in events]) * 1e6 - t).max() < 100


def test_a_still_pixel_is_silent_and_light_counts_only_in_the_dark():
    states = [{"threshold": 0.3, "speed": 1, "light": light} for light in (1, 0.01, 1e-6)]
    still, *lit = computed([{"pixel": {**states[0], "speed": 0}}, *({"pixel": s} for s in states)])
    counts = [len(found["events"]) for found in lit]
    assert still["events"] == [] and counts[0] == counts[1] > 0 and counts[2] < counts[0]
