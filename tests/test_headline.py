"""The sentences of README and first page: they follow the records, whichever way these point."""

import pytest
from conftest import ROOT
from made_runs import made_run

from safe_companion import headline


def test_the_readme_says_what_the_records_say_today():
    text = (ROOT / "README.md").read_text()
    assert text.count(headline.BEGIN) == text.count(headline.END) == 1
    assert headline.written_into(text) == text, "python -m safe_companion.headline README.md"


def test_a_file_without_a_place_for_the_sentences_is_refused(tmp_path):
    (tmp_path / "a.md").write_text("nothing")
    with pytest.raises(ValueError, match="a.md: found no <!-- found --> with its <!-- /found -->"):
        headline.write(tmp_path / "a.md")


def runs(share):
    return [made_run(seed, [i < share for i in range(100)]) for seed in range(3)]


def study_of(both, rgb, events):
    names = (headline.BOTH, headline.RGB, headline.EVENTS)
    found = dict(zip(names, map(runs, (both, rgb, events)), strict=True))
    return lambda name, dataset: found


def test_which_of_two_and_one_camera_is_better_is_looked_at(monkeypatch):
    monkeypatch.setattr(headline, "_study", study_of(90, 60, 50))
    said = headline.two_cameras()
    assert said.startswith("**Two cameras beat one**: on the sample of HARDVS 90 % with both, 60 %")
    monkeypatch.setattr(headline, "_study", study_of(70, 90, 50))
    assert headline.two_cameras().startswith("**Two cameras do not always beat one**")


def test_what_has_no_records_is_not_said(monkeypatch):
    found = {headline.BOTH: [], headline.RGB: [], headline.EVENTS: []}
    found |= {"no text, all": [], "random vectors, all": [], "text, all": []}
    found |= {"all components": [], "SAFE": [], "C3D": []}
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    assert headline.sentences() == [headline.what_is_open()]


def test_the_words_are_told_apart_only_where_they_can_be(monkeypatch):
    found = {"text, all": runs(70), "no text, all": runs(70), "random vectors, 4 a class": runs(9)}
    found["random vectors, all"] = [
        made_run(s, [(i + s) % 100 < 71 for i in range(100)]) for s in range(3)
    ]
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    said = headline.words()
    assert "random vectors HARDVS +1.0 ±" in said and "None of these can be told" not in said
    found["no text, all"] = found["random vectors, all"]
    assert "None of these can be told from zero; effects from" in headline.words()
    found["no text, all"] = runs(20)
    said = headline.words()
    assert "no text HARDVS −50.0 ±" in said and "3 paired runs (worse)" in said
    assert "None of these" not in said


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((60, 95), "A plain video network does better than SAFE"),
        ((60, 20), "No other method that was run here does better than SAFE"),
        ((60, 71), "Whether another method does better than SAFE differs"),
    ],
)
def test_the_best_other_method_decides(monkeypatch, shares, verdict):
    found = {"SAFE": runs(70)} | dict(zip(("C3D", "TSM"), map(runs, shares), strict=True))
    monkeypatch.setattr(headline, "_study", lambda name, dataset: found)
    said = headline.other_methods()
    assert said.startswith(f"**{verdict}")
    best = "TSM" if shares[1] > shares[0] else "C3D"
    assert f"{best} on HARDVS" in said
