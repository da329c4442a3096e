"""Models that read names, asked by commands about names that they were not trained on."""

import dataclasses
import json

import pytest
import recipes
import torch
from tiny import SMALL

import safe_core
from safe_companion import __main__ as tool
from safe_companion import naming, prediction

NAMES = ["Wave", "Left Bend"]
MORE = ["Clap", "Left Bend", "Wave"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def other_day(tmp_path_factory):
    """Recordings of a class more, in another order."""
    root = tmp_path_factory.mktemp("other") / "day"
    return recipes.make_root(root, per_class=2, names=MORE)


@pytest.fixture(scope="module")
def run(tmp_path_factory, other_day):
    """A checkpoint of a head that reads names, and the file of more names."""
    folder = tmp_path_factory.mktemp("run")
    fields = {"data_root": str(other_day), "dataset": "hardvs", "classifier": "text"}
    config = safe_core.configure("sample", **SMALL | fields | {"pretrained": True})
    sentences = [[f"The action of the human is {name}"] for name in NAMES]
    model = safe_core.build(config, sentences)
    about = {"class_names": NAMES, "sentences": sentences, "config": dataclasses.asdict(config)}
    about |= {"history": [], "identity": {}}
    safe_core.save_checkpoint(folder / "best.safetensors", model.state_dict(), about)
    (folder / "names.txt").write_text("\n".join(MORE))
    return folder


def test_an_evaluation_takes_the_names_of_a_file(run, other_day, capsys):
    words = ["evaluate", str(run / "best.safetensors"), "--data-root", str(other_day)]
    assert tool.main([*words, "--workers", "0"]) == 2
    said = capsys.readouterr().err
    assert "only the data have Clap" in said and "(--classes)" in said
    names = ["--classes", str(run / "names.txt"), "--out-dir", str(run / "test")]
    assert tool.main([*words, *names, "--workers", "0"]) == 0
    assert "names that it was not trained on: Clap" in capsys.readouterr().out
    record = json.loads((run / "test" / "record.json").read_text())
    assert record["new_names"] == ["Clap"] and record["recordings"] == 6
    assert "names that it was not trained on" in prediction.summary(record)


def test_a_prediction_takes_the_names_of_a_file(run, other_day, capsys):
    take = next((other_day / "action_001").iterdir())
    words = ["predict", str(run / "best.safetensors"), str(take), "--json"]
    assert tool.main([*words, "--classes", str(run / "names.txt")]) == 0
    answers = json.loads(capsys.readouterr().out)["predictions"]
    assert {answer["class"] for answer in answers} == set(MORE)
    model, _ = naming.load_model(run / "best.safetensors", MORE)
    clip = prediction.clip_of(take, model.config)
    rows = [clip[key][None] for key in ("rgb", "event")]
    expected = model(*rows)[0].softmax(dim=0).tolist()
    for answer in answers:
        place = MORE.index(answer["class"])
        assert answer["probability"] == pytest.approx(expected[place], abs=1e-4)
    assert tool.main([*words, "--classes", str(run / "none.txt")]) == 2
    assert "none.txt: no such file; expected a class name" in capsys.readouterr().err


def test_the_same_names_in_the_same_order_are_the_models_own(run):
    model, about = naming.load_model(run / "best.safetensors", NAMES)
    assert "new_names" not in about and about["class_names"] == NAMES
    assert torch.equal(
        model.text_tokens(), naming.load_model(run / "best.safetensors")[0].text_tokens()
    )
