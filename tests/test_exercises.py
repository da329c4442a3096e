"""The exercises of the teaching pages, and the page that makes one number again, do what they say.

What solutions compute is run with the rest of their pages: pytest takes book/*.md as doctests.
"""

import doctest
import re
import shlex
import tomllib

import pytest
from conftest import ROOT
from scipy import stats

import safe_core
from safe_companion import __main__, effects, paper, places, predictions, records, studies

TEACHING = ["events", "clip", "datasets", "representations", "safe", "text_is_a_set", "training"]
TEACHING += ["peers", "sample_world", "own_data"]
EXERCISE = r"^\*\*(\d)\. [^*]+\*\*"
SOLUTION = r"^:::\{dropdown\} Solution\n(.*?)^:::$"


def page(name):
    return (ROOT / "book" / f"{name}.md").read_text()


def exercises(name):
    """The text of each exercise of a page, with its solution."""
    (part,) = re.findall(r"^## Exercises\n(.*?)(?=^## |\Z)", page(name), re.MULTILINE | re.DOTALL)
    starts = [match.start() for match in re.finditer(EXERCISE, part, re.MULTILINE)]
    assert part[: starts[0]].strip() == ""
    return [part[a:b] for a, b in zip(starts, [*starts[1:], len(part)], strict=True)]


def blocks(text):
    """[(language, code)] of the code boxes in a text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", TEACHING)
def test_a_teaching_page_has_three_to_five_exercises_each_with_one_hidden_solution(name):
    found = exercises(name)
    assert 3 <= len(found) <= 5
    for number, text in enumerate(found, 1):
        assert re.match(EXERCISE, text)[1] == str(number)
        (solution,) = re.findall(SOLUTION, text, re.MULTILINE | re.DOTALL)
        assert solution.strip() and text.rstrip().endswith(":::")
        assert "```" not in text[: text.index(":::")], "what is computed stays hidden, too"


@pytest.mark.parametrize("name", TEACHING)
def test_what_a_solution_computes_is_run_with_its_page(name):
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "--doctest-glob='*.md'" in options["addopts"] and "book" in options["testpaths"]
    run = [example.source for example in doctest.DocTestParser().get_examples(page(name))]
    computed = 0
    for text in exercises(name):
        for language, code in blocks(text):
            assert language in ("pycon", "bash"), "a box in another language is never run"
            if language == "pycon":
                examples = doctest.DocTestParser().get_examples(code)
                assert examples[-1].want, "a solution shows what comes out"
                assert {example.source for example in examples} <= set(run)
                computed += 1
    assert computed >= 1


def solution_commands():
    for name in TEACHING:
        for text in exercises(name):
            for language, code in blocks(text):
                if language == "bash":
                    yield from code.splitlines()


def test_the_commands_of_solutions_print_what_the_solutions_speak_of(capsys):
    (line,) = solution_commands()
    assert __main__.main(shlex.split(line)[1:]) == 0
    printed = capsys.readouterr().out
    assert "detectable" in printed.splitlines()[1]
    assert all(source in printed for source in ("no text, all", "random vectors, all"))


# ------------------------------------------------------------------------- one number again
@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty place for runs/ and results/, the sample's settings as small as can be."""
    for module in (places, records):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    size = dict(sample_train_per_class=2, sample_test_per_class=1, steps=2, batch_size=8)
    monkeypatch.setitem(safe_core.PRESETS, "sample", safe_core.PRESETS["sample"] | size)
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def steps():
    """The shell commands of each section of the page, as lists of words."""
    found = []
    for section in page("one_number").split("\n## ")[1:]:
        lines = [
            line
            for language, code in blocks(section)
            if language == "bash"
            for line in code.splitlines()
        ]
        found.append([shlex.split(line) for line in lines])
    return found


def test_the_commands_of_the_page_make_and_keep_the_number_that_it_shows(elsewhere, capsys):
    setup, look, train, check, another, claim = steps()
    assert setup == [["make", ".venv/installed"], [".", ".venv/bin/activate"]]
    run = elsewhere / "runs" / "sample" / "hardvs" / "base" / "seed0"
    committed = elsewhere / "results" / "sample" / "hardvs" / "base" / "seed0"
    assert train[0] == ["export", "OMP_NUM_THREADS=1"]
    assert __main__.main(train[1][1:]) == 0
    last = capsys.readouterr().out.splitlines()[-2:]
    shown = blocks(page("one_number").split("\n## ")[3])[1][1].splitlines()
    assert str(run) in last[1] and shown[1].endswith(f".../{run.relative_to(elsewhere)}")
    without_numbers = [re.sub(r"[\d.]+", "#", line.strip()) for line in (shown[0], last[0])]
    assert without_numbers[0] == without_numbers[1]
    assert {file.name for file in run.iterdir()} >= set(
        ["log.csv", "best.safetensors", "record.json", "predictions.npz", "predictions.csv"]
    )
    mine, theirs, keep, diff = check
    assert __main__.main(mine[1:]) == 0
    own = capsys.readouterr().out.splitlines()[0]
    assert __main__.main(keep[1:]) == 0 and diff[:2] == ["git", "diff"]
    assert capsys.readouterr().out.strip() == str(committed)
    assert __main__.main(theirs[1:]) == 0
    assert capsys.readouterr().out.splitlines()[0] == own == last[0].strip()
    table, summary = look
    assert summary == theirs and table == another[1]
    assert {*records.all_runs()} == {"sample/hardvs/base"}
    assert (committed / places.PREDICTIONS).exists() and claim[0][1] == "ledger"
    assert predictions.read(committed, 24)[1] is not None


def test_another_record_in_the_place_is_refused_by_its_name(elsewhere, capsys):
    train, keep = steps()[2][1], steps()[3][2]
    __main__.main(train[1:])
    __main__.main(keep[1:])
    record = elsewhere / "results" / "sample" / "hardvs" / "base" / "seed0" / "record.json"
    text = record.read_text()
    for change, named in {
        ('"fingerprint": "', '"fingerprint": "x'): "data",
        ('"steps": 2', '"steps": 3'): "steps",
        ('"sentences": "', '"sentences": "x'): "sentences",
    }.items():
        record.write_text(text.replace(*change))
        capsys.readouterr()
        assert __main__.main(keep[1:]) == 2
        assert f"holds a record with another {named}" in capsys.readouterr().err


def test_the_page_names_the_rows_and_the_claim_that_rest_on_its_run():
    text = " ".join(page("one_number").split())
    name = places.Place.of(safe_core.configure(dataset="hardvs")).name
    assert name == "sample/hardvs/base/seed0"
    for study, row in (("variants", "the paper's model"), ("dataset_size", "all")):
        assert studies.studies("hardvs", "sample")[study][row] == {} and f"*{row}*" in text
    assert paper.claims().fields["s43-hardvs-base"] == {}
    seeds = len(studies.records({}, dataset="hardvs", origin="sample"))
    factor = stats.t.ppf(0.975, seeds - 1) * (1 + 1 / seeds) ** 0.5
    assert (
        seeds == 8
        and "has eight seeds, 0 to 7" in text
        and "--seed 8" in text  # which no sweep makes
        and f"{factor:.1f} times" in text
    )
    assert "450 steps" in text and safe_core.PRESETS["sample"]["steps"] == 450


# ------------------------------------------------------------------------- words about the sample
def top1_by_condition(dataset, **fields):
    """{condition: top-1 in percent, mean over the committed seeds}."""
    found = studies.records(fields, dataset=dataset, origin="sample")
    table = effects.breakdown({"row": found}, baseline="row", by="condition")
    return {condition: line["top-1 [%]"] for (_, condition), line in table.iterrows()}


def test_conditions_take_away_what_the_page_of_the_sample_world_says():
    text = " ".join(page("sample_world").split())
    figures = {m: top1_by_condition("hardvs", modality=m) for m in ("rgb", "event")}
    cards = {m: top1_by_condition("pokerevent", modality=m) for m in ("rgb", "event")}
    assert "Darkness takes most of RGB away (on the cards some remains)" in text
    for rgb in (figures["rgb"], cards["rgb"]):
        assert rgb["dark"] < rgb["none"] / 2
    assert cards["rgb"]["dark"] > 2 * figures["rgb"]["dark"]
    assert "isoluminance takes the events away, on both samples" in text
    for event in (figures["event"], cards["event"]):
        assert event["isoluminant"] < 10
    assert "RGB alone does nearly as well on it as on an easy one" in text
    assert cards["rgb"]["none"] - cards["rgb"]["fast"] < 3
    assert "where a card is dark, events alone do no better than on easy recordings" in text
    assert cards["event"]["dark"] < cards["event"]["none"] + 1
    assert "fast motion costs the events more than half of what it costs RGB" in text
    costs = {m: figures[m]["none"] - figures[m]["fast"] for m in figures}
    assert costs["event"] > costs["rgb"] / 2
    assert "noise costs them little beside what stillness and equal brightness do" in text
    lost = {c: figures["event"]["none"] - figures["event"][c] for c in figures["event"]}
    assert lost["noisy"] < min(lost["slow"], lost["isoluminant"]) / 3
