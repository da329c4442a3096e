"""What stands in for the text, and a training by its number of steps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import NAMES, SENTENCES, Clips, batch_of, model_of, run_fit, small

import safe_core
from safe_companion import texts

FILE = ["the name of something else", *reversed(NAMES)]


def file_of_features(folder, **arrays):
    features = np.arange(len(FILE) * 5, dtype=np.float16).reshape(len(FILE), 5) + 1
    path = folder / "features.npz"
    np.savez(path, **{"features": features, "names": np.array(FILE)} | arrays)
    return str(path)


def of_file(path):
    return small(text_source="file", text_file=path)


def test_random_vectors_are_the_same_for_a_seed_and_not_trained():
    first, again = (model_of(small(text_source="random"), seed) for seed in (0, 1))
    other = model_of(small(text_source="random", seed=1))
    found = [F.normalize(model.text_features, dim=1) for model in (first, again, other)]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=0.1)
    assert first.text is None


@pytest.mark.parametrize("source", ["random", "learned"])
def test_vectors_in_place_of_the_text_are_as_long_as_its_features(source):
    expected = model_of(small(pretrained=True)).text_features.norm(dim=1).mean()
    model = model_of(small(pretrained=True, text_source=source))
    lengths = model.encode_text([0, 1, 2]).norm(dim=1)
    torch.testing.assert_close(lengths.detach(), expected.expand(3))
    assert expected > 5, "not the unit length that directions have"


def test_learned_vectors_are_trained_though_the_text_tower_is_frozen(tmp_path):
    config = small(text_source="learned", freeze_text=True, epochs=1)
    run_fit(tmp_path, config)
    model, _ = safe_core.load_model(tmp_path / "best.safetensors")
    before = model_of(config).text.vectors
    assert model.text.vectors.shape == before.shape == (3, 64)
    assert not torch.equal(model.text.vectors, before)


def test_features_of_a_file_go_by_the_names(tmp_path):
    model = safe_core.build(of_file(file_of_features(tmp_path)), [[name] for name in NAMES])
    expected = torch.tensor([[1.0, 2, 3, 4, 5]]) + 5 * torch.tensor([[3], [2], [1]])
    torch.testing.assert_close(model.text_features, torch.nn.functional.normalize(expected, dim=1))
    rgb, event, _ = batch_of(Clips(4), range(4))
    assert model.eval()(rgb, event).shape == (4, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"names": np.array(["a", "b", "c", "wave"])}, "of 2 of 3 classes, the first is 'bow'"),
        ({"names": np.array(["wave", "wave", "bow", "jump"])}, "of 3 names; expected .npz"),
        ({"features": np.zeros((4, 2, 2))}, r"features \(4, 2, 2\) of 4 names"),
        ({"features": np.full((4, 2), np.nan)}, "expected .npz with finite"),
        ({"features": np.array([None] * 4)}, "found no features"),
    ],
)
def test_features_that_do_not_fit_are_refused(tmp_path, arrays, said):
    config = of_file(file_of_features(tmp_path, **arrays))
    with pytest.raises(ValueError, match=said):
        safe_core.build(config, [[name] for name in NAMES])


def test_a_file_must_be_named_and_be_there(tmp_path):
    with pytest.raises(ValueError, match="needs text_file=FILE"):
        safe_core.build(of_file(None), SENTENCES)
    with pytest.raises(ValueError, match="found no features.*No such file"):
        safe_core.build(of_file(str(tmp_path / "none.npz")), SENTENCES)


def test_a_file_of_this_project_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "elsewhere").mkdir()
    file_of_features(tmp_path / "project")
    monkeypatch.setattr(texts, "ROOT", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = small(text_source="file", text_file="features.npz", epochs=1)
    run_fit(tmp_path / "run", config, sentences=[[name] for name in NAMES])
    model, _ = safe_core.load_model(tmp_path / "run" / "best.safetensors")
    assert model.text_features.shape == (3, 5)
    file_of_features(tmp_path / "elsewhere", features=np.ones((len(FILE), 7)))
    assert texts.read_features("features.npz", NAMES).shape == (3, 7)  # where one is, comes first
    for folder in ("project", "elsewhere"):
        (tmp_path / folder / "features.npz").unlink()
    with pytest.raises(ValueError, match="features.npz: found no features.* Put the file there"):
        safe_core.load_model(tmp_path / "run" / "best.safetensors")


def test_a_budget_of_steps_ends_within_an_epoch(tmp_path):
    told = []
    config = small(steps=7, schedule="cosine")
    result = run_fit(tmp_path, config, on_step=lambda *step: told.append(step))
    assert [step[:3] for step in told] == [(i, 7, 3) for i in range(1, 8)]
    assert len(result["history"]) == 3
    rates = [safe_core.learning_rate(step, 7, config) for step in (2, 5, 6)]
    assert [row["learning_rate"] for row in result["history"]] == pytest.approx(rates)
    losses = [float(step[3]) for step in told]
    assert result["history"][2]["train_loss"] == pytest.approx(losses[6])


def test_epochs_that_are_asked_for_replace_the_steps_of_a_preset(monkeypatch):
    monkeypatch.setitem(safe_core.PRESETS, "sample", {"steps": 5})
    assert safe_core.configure("sample").steps == 5
    assert safe_core.configure("sample", epochs=2).steps is None
    assert safe_core.configure("sample", epochs=2, steps=9).steps == 9


def test_a_model_that_nobody_has_made_is_named():
    with pytest.raises(ValueError, match="model='mvit' has no classifier='text'"):
        safe_core.build(small(model="mvit", classifier="text"), SENTENCES)


@pytest.mark.parametrize("source", ["random", "learned", "file"])
def test_a_learned_context_needs_sentences(source):
    with pytest.raises(ValueError, match=f"needs text_source='clip': found '{source}'"):
        safe_core.build(small(text_source=source, prompt_context=4), SENTENCES)
