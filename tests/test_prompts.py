"""Which sentences describe each class: templates, names that repeat, files and their damage."""

import json
import re
import zlib

import pytest
import torch

import safe_core
from safe_companion import models, prompts, sample  # noqa: F401  (all that can be built)
from safe_companion.datasets import class_names
from safe_core import Config


def sentences(names, **fields):
    return prompts.prompt_sentences(names, Config(**({"dataset": "hardvs"} | fields)))


def test_prompts_follow_the_data_set_or_the_template():
    assert sentences(["Wave"]) == [["The action of the human is Wave"]]
    assert sentences(["7"], dataset="pokerevent") == [["The content of the playing card is 7"]]
    assert sentences(["cat"], dataset="folder") == [["A photo of a cat"]]
    assert sentences(["a {0}", "b"], prompt="{}, {x}") == [["a {0}, {x}"], ["b, {x}"]]


@pytest.mark.parametrize("template", ["", "a photo of a cat", "a {0}"])
def test_a_template_without_a_place_for_the_name_is_refused(template):
    with pytest.raises(ValueError, match=r"prompt=.*expected a sentence with \{\}"):
        sentences(["cat"], prompt=template)


def test_a_template_that_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match=r"prompt='.udcff \{\}'; expected text .* UTF-8"):
        sentences(["cat"], prompt="\udcff {}")  # as a command line gives bytes that are no UTF-8


def test_no_two_classes_share_a_sentence():
    names = ["Whale", "Cat", "whale", "WHALE 1"]
    assert sentences(names, prompt="{}") == [["Whale 2"], ["Cat"], ["whale 3"], ["WHALE 1"]]
    released = sentences(names[:3], prompt="{}", distinct_names=False)
    assert released == [["Whale"], ["Cat"], ["whale"]]
    names = class_names("pokerevent", "nowhere")
    of_cards = [sentence for entry in sentences(names, dataset="pokerevent") for sentence in entry]
    assert len({sentence.casefold() for sentence in of_cards}) == len(names) == 114
    numbered = [
        sentence.endswith((" 1", " 2")) and not name.isdecimal()
        for name, sentence in zip(names, of_cards, strict=True)
    ]
    assert sum(numbered) == 14


def test_a_prompt_file_gives_every_class_its_sentences(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps([["a man waves", "ein Mann winkt"], ["squat"]]), encoding="utf-8")
    expected = [["a man waves", "ein Mann winkt"], ["squat"]]
    assert sentences(["Wave", "Squat"], prompt_file=str(path)) == expected
    path.write_text(
        '{"squat 1": ["a squat"], "squat 2": ["deeper"], "Wave": ["waving"], "Bow": ["x"]}'
    )
    found = sentences(["Wave", "squat", "squat"], prompt_file=str(path))
    assert found == [["waving"], ["a squat"], ["deeper"]]
    assert sentences(["squat", "Wave"], prompt_file=str(path)) == [["a squat"], ["waving"]]


def test_a_prompt_file_of_the_project_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prompts, "ROOT", tmp_path / "project")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/words.json").write_text('[["x"]]')
    assert sentences(["Wave"], prompt_file="words.json") == [["x"]]


DAMAGE = {
    "[[": "no readable JSON",
    "": "no readable JSON",
    "[" * 100_000: "no readable JSON (maximum recursion depth",
    '{"Wave": ["x"], "Squat": ["y"], "Wave": ["z"]}': "no readable JSON (2 entries for 'Wave')",
    '{"Wave": ["x"]}': "nothing for class 'Squat'; expected",
    '{"Wave": ["x"], "Sqat": ["y"]}': "nothing for class 'Squat', but 'Sqat'; expected",
    '{"Wave": ["x"], "Squat": null}': "nothing for class 'Squat'",
    "{}": "nothing for class 'Wave'",
    "3": "3",
    "null": "null",
    "NaN": "NaN",
    '"Wave"': '"Wave"',
    '[["x"]]': "1 entries",
    '[["x"], []]': "[] for class 1 (Squat)",
    '["x", "y"]': '"x" for class 0 (Wave)',
    '[["x"], ["y", 3]]': '["y", 3] for class 1',
    '[["x"], [" "]]': '[" "] for class 1',
    '[["x"], [""]]': '[""] for class 1',
    r'[["x"], ["half \ud800"]]': r'["half \ud800"] for class 1',
    '[["x"], {"y": ["z"]}]': '{"y": ["z"]} for class 1',
}


@pytest.mark.parametrize("content", DAMAGE, ids=lambda content: repr(content[:30]))
def test_a_prompt_file_that_does_not_fit_is_named(tmp_path, content):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    message = f"prompts.json: found {DAMAGE[content]}"
    with pytest.raises(ValueError) as raised:
        sentences(["Wave", "Squat"], prompt_file=str(path))
    assert message in str(raised.value)
    assert "expected a non-empty list of sentences for each of 2 classes" in str(raised.value)


def test_a_byte_order_mark_is_no_part_of_the_file_and_another_encoding_is_named(tmp_path):
    path = tmp_path / "prompts.json"
    text = '[["wäve"]]'
    path.write_text(text, encoding="utf-8-sig")
    assert sentences(["Wave"], prompt_file=str(path)) == [["wäve"]]
    for encoding in ("latin-1", "utf-16"):
        path.write_text(text, encoding=encoding)
        with pytest.raises(ValueError, match="prompts.json: found text in another encoding than U"):
            sentences(["Wave"], prompt_file=str(path))


@pytest.mark.parametrize("name", ["absent.json", "", "x" * 300, "nul\0.json"])
def test_what_is_no_file_is_named(tmp_path, name):
    with pytest.raises(ValueError, match="found no file that can be read .*; expected a non-empty"):
        sentences(["Wave"], prompt_file=f"{tmp_path}/{name}")


def test_any_damage_to_a_prompt_file_is_a_named_error_or_no_damage(tmp_path):
    """A file cut or changed anywhere: sentences for both classes, or ValueError with its name."""
    path = tmp_path / "prompts.json"
    whole = b'{"Wave": ["a man waves", "w\\u00e4ve"], "Squat": ["a squat"]}'
    refused = 0
    for i in range(400):
        draw = zlib.crc32(str(i).encode())
        where = draw % len(whole)
        damaged = (
            whole[:where] if i % 2 else whole[:where] + bytes([draw >> 24]) + whole[where + 1 :]
        )
        path.write_bytes(damaged)
        try:
            found = sentences(["Wave", "Squat"], prompt_file=str(path))
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)
        else:
            assert [len(entry) for entry in found] == [2, 1]
    assert refused > 200


def test_every_place_for_the_name_is_filled():
    assert sentences(["cat"], prompt="{}, a {}") == [["cat, a cat"]]


# ------------------------------------------------------------------------------- shipped files


def words_of(text):
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.casefold()))} "


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
def test_the_sentences_of_other_classes_name_none_of_either_data_set(dataset):
    names = class_names(dataset, "nowhere")
    others = sentences(names, dataset=dataset, prompt_file=f"book/prompts/{dataset}_other.json")
    assert [len(entry) for entry in others] == [1] * len(names)
    flat = [sentence for (sentence,) in others]
    assert len(set(flat)) == len(names)
    ranks = {"ace", "jack", "queen", "king", "spades", "hearts", "clubs", "card"}
    known = {name for other in ("hardvs", "pokerevent") for name in class_names(other, "nowhere")}
    known = {words_of(name.rstrip("0123456789 ") or name) for name in known} - {words_of("A")}
    for sentence in flat:
        found = words_of(sentence)
        assert not any(name in found for name in known), sentence
        assert not ranks & set(found.split()), sentence


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
def test_the_samples_clip_tells_the_sentences_of_other_classes_apart(dataset):
    """It reads every word that it does not know alike."""
    names = class_names(dataset, None)
    config = safe_core.configure(dataset=dataset, prompt_file=f"book/prompts/{dataset}_other.json")
    features = safe_core.build(config, prompts.prompt_sentences(names, config)).text_features
    apart = torch.pdist(features).min() / features.norm(dim=1).mean()
    assert apart > 0.05
