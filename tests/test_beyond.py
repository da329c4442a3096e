"""Studies beyond the paper: their rows, and what the pages say of their runs."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import safe_core
from safe_companion import beyond, findings, studies, unseen
from safe_companion.sample import MOTIONS, PAIRS, UNSEEN

LABELS = np.arange(len(PAIRS)).repeat(4)


def run_of(answers, labels=LABELS, *, seed=0, **columns):
    """A run that gave these answers."""
    table = pd.DataFrame({"name": [f"r{i}" for i in range(len(labels))], "label": labels})
    table["class1"] = answers
    table["correct"] = table.class1 == table.label
    table["condition"] = np.where(table.label.isin(UNSEEN), "unseen pair", "seen pair")
    top1 = 100 * table.correct.mean()
    return {
        "config": {"seed": seed},
        "hardware": {"gpu": None},
        "predictions": table,
        "test": {"top1": top1},
    } | columns


# ---------------------------------------------------------------- rows
@pytest.mark.parametrize(
    ("dataset", "study", "count"),
    [("conjunctions", "conjunctions", 7), ("hardvs", "unseen", 24), ("hardvs", "pretraining", 27)],
)
def test_every_row_is_a_configuration_of_its_own(dataset, study, count):
    rows = studies.studies(dataset, "sample")[study]
    configs = [safe_core.configure(dataset=dataset, **fields) for fields in rows.values()]
    assert len(set(configs)) == len(rows) == count


def test_conjunctions_are_a_study_of_their_own_data_alone():
    assert "conjunctions" not in studies.studies("hardvs", "real")


def test_rows_on_few_recordings_take_as_many_steps_as_those_on_all():
    rows = beyond.few_and_unseen("hardvs") | beyond.pretraining()
    configs = [safe_core.configure(dataset="hardvs", **fields) for fields in rows.values()]
    assert {config.steps for config in configs} == {beyond.STEPS}
    shares = {round(48 * config.train_fraction, 6) for config in configs}
    assert shares == {4, 16, 48} and {config.val_fraction for config in configs} == {0}
    draws = [config.held_out for config in configs if config.held_out]
    assert sorted(draws) == [k for k in range(1, 6) for _ in beyond.HEADS]


# ---------------------------------------------------------------- what the pages say
def test_the_ceilings_of_late_fusion_are_those_of_an_ideal_one():
    """Every recording that there can be, guessed by one who knows the colours and the motion."""
    known, ignorant = [], []
    for label in range(len(PAIRS)):
        colour, motion = divmod(label, len(MOTIONS))
        for others in itertools.permutations([i for i in range(6) if i != colour], 2):
            shown = {colour, *others}
            in_list = [i for i in shown if 6 * i + motion not in UNSEEN]
            ignorant.append(1 / len(shown))
            if label not in UNSEEN:
                known.append(1 / len(in_list))
    most = beyond.ceilings()
    assert most["seen pairs"] == pytest.approx(100 * np.mean(known)) == pytest.approx(50)
    assert most["all pairs"] == pytest.approx(100 * np.mean(ignorant))


def test_halves_of_an_answer_are_scored_apart():
    colour, motion = LABELS // 6, LABELS % 6
    other_colour = 6 * ((colour + 1) % 6) + motion
    table = beyond.pairs_table({"right": [run_of(LABELS)], "events": [run_of(other_colour)]})
    assert (table.loc["right", ["seen pairs", "unseen pairs", "colour", "bound"]] == 100).all()
    assert table.motion["events"] == 100 and table.colour["events"] == table.bound["events"] == 0
    seen = [label in UNSEEN for label in LABELS]
    never = run_of(np.where(seen, 0, LABELS))
    line = beyond.pairs_table({"a": [never, run_of(LABELS, seed=1)], "b": []})
    assert line["seen pairs"]["a"] == 100 and line.seeds.tolist() == [2, 0]
    right = LABELS[seen] == 0  # one unseen pair is the class that it always says
    assert line["unseen pairs"]["a"] == pytest.approx((100 * right.mean() + 100) / 2)
    assert np.isnan(line.motion["b"])


def test_shares_of_pairs_have_intervals_over_seeds():
    wrong = run_of((LABELS + 1) % 36, seed=1)
    table = beyond.pairs_table({"both": [run_of(LABELS), wrong], "one": [run_of(LABELS)]})
    assert table["seen pairs"]["both"] == 50  # 100 and 0: a standard error of 50
    assert table["± seen pairs"]["both"] == pytest.approx(50 * stats.t.ppf(0.975, 1))
    assert np.isnan(table["± seen pairs"]["one"])


def conjunctions_found(paper):
    event = 6 * ((LABELS // 6 + 1) % 6) + LABELS % 6
    rows = dict.fromkeys(beyond.conjunctions(), [run_of(event)])
    return rows | {"paper": [run_of(answers, seed=i) for i, answers in enumerate(paper)]}


def test_a_fusion_binds_if_every_seed_beats_what_late_fusion_can():
    bound = np.where(np.isin(LABELS, UNSEEN), 1, LABELS)
    said = beyond.finding_of_conjunctions(conjunctions_found([bound, bound]))
    assert said.startswith(
        "**1 of 5 models of both cameras is shown to bind colours to motions**: paper. The"
    )
    assert "*paper*, has 100.0 % of them and 0.0 % of the unseen ones" in said
    assert "cannot exceed 50 %" in said and "(at least 1 run each)" in said
    half = np.where(np.arange(len(LABELS)) % 3 > 0, 1, LABELS)
    said = beyond.finding_of_conjunctions(conjunctions_found([bound, half]))
    assert said.startswith(
        "**None of 5 models of both cameras is shown to bind colours to motions**. The"
    )


def unseen_found():
    """24 classes; the paper's head never names a held-out class, the others half of the time."""
    labels = np.arange(24).repeat(2)
    found = dict.fromkeys(beyond.few_and_unseen("hardvs"), [run_of(labels, labels)])
    for head, draw in itertools.product(beyond.HEADS, range(1, 6)):
        absent = np.isin(labels, unseen.held_out(24, draw))
        wrong = absent if head == "the paper's head" else absent & (np.arange(48) % 2 == 0)
        found[f"{head}, draw {draw}"] = [run_of(np.where(wrong, -1, labels), labels)]
    return found


def test_zero_shot_answers_stand_beside_the_heads():
    labels = np.arange(24).repeat(2)
    log_probs = np.full((48, 24), -9.0)
    log_probs[np.arange(48), (labels + np.arange(48) % 2) % 24] = 0  # every second is another class
    found = unseen_found() | beyond.zero_shot_draws("zero-shot", log_probs, labels)
    table = beyond.unseen_table(found, 24, [*beyond.HEADS, "zero-shot"])
    assert table.draws["zero-shot"] == 5
    assert table.seen["zero-shot"] == table.unseen["zero-shot"] == 50
    assert 50 <= table["among them"]["zero-shot"] <= 100  # the other is often not among them
    assert table["among them"].isna().sum() == 3  # those runs keep no log-probabilities
    assert "cannot be told" not in beyond.of_the_tower(table, "zero-shot", 5)
    guessing = table.assign(**{"among them": 23.0, "half among": 4.0})
    said = beyond.of_the_tower(guessing, "zero-shot", 5)
    assert "23.0 ± 4.0 % of their recordings" in said and "(a guess: 20 %)" in said
    assert said.endswith("whether there was anything to carry over cannot be told.")


def test_unseen_classes_are_scored_over_the_draws():
    table = beyond.unseen_table(unseen_found(), 24)
    assert table.draws.tolist() == [5, 5, 5] and (table.seen == 100).all()
    assert table.unseen.tolist() == [0, 50, 50]
    assert table["harmonic mean"].tolist() == pytest.approx([0, 200 / 3, 200 / 3])
    said = beyond.finding_of_unseen(unseen_found(), 24)
    assert table.half.tolist() == [0, 0, 0]
    found = unseen_found()
    labels = np.arange(24).repeat(2)
    found["cosines, no fusion, draw 1"] = [run_of(labels, labels)]  # 100 % there, 50 % elsewhere
    half = beyond.unseen_table(found, 24).half["cosines, no fusion"]
    assert half == pytest.approx(2.776 * 10, abs=0.01)  # of five draws: t(4), sd 22.4 / sqrt(5)
    assert said.startswith("**Classes that were not trained: 2 of 3 heads are shown to recognise")
    assert "a guess among all names (4.2 %)**: a head that reads names; cosines, no fusion." in said
    assert "- the paper's head: 100.0 % of the seen classes, 0.0 ± 0.0 % of the unseen" in said
    assert "- a head that reads names: 100.0 % of the seen classes, 50.0 ± 0.0 % of the" in said


def test_towers_are_compared_on_few_and_on_all_recordings():
    labels = np.arange(4).repeat(5)
    rows = dict.fromkeys(beyond.pretraining(), [run_of(labels, labels, seed=s) for s in range(3)])
    wrong = [run_of(np.where(np.arange(20) < 15 - s, 3, labels), labels, seed=s) for s in range(3)]
    rows["CLIP, RGB and events, 4 a class"] = wrong
    said = findings.of_pretraining(rows)
    assert said.startswith("**SAFE is better from a CLIP that went on training with events than")
    assert "- RGB and events, 4 a class: after events better by 70.0 ±" in said
    assert ": on events in 0 of 4 comparisons, on RGB and events in 2 of 4 comparisons**" in said
    assert "- events, 48 a class: after events 0" not in said
    table = beyond.few_table(rows, ["CLIP, RGB and events"])
    assert table.loc["CLIP, RGB and events"].tolist() == [30, 100, 100]


@pytest.mark.parametrize(
    ("finding", "rows"),
    [
        (beyond.finding_of_conjunctions, beyond.conjunctions()),
        (lambda found: beyond.finding_of_unseen(found, 24), beyond.few_and_unseen("hardvs")),
        (findings.of_pretraining, beyond.pretraining()),
    ],
)
def test_without_records_a_page_says_that_nothing_was_run(finding, rows):
    said = finding({row: [] for row in rows})
    assert said.startswith(f"**Not run**: {len(rows)} of {len(rows)} rows without a record. `make ")
