"""How long a training has to be: the rule for the steps, and the sentence that says its outcome."""

import itertools

import pandas as pd
import pytest
from made_runs import of_accuracies

from safe_companion import recipe, rivals, studies
from safe_companion.rows import INPUTS


def table(top1):
    """Means of `recipe.scores`, of {steps: top-1 of RGB and events}; others stay at 50."""
    means = {}
    for steps, accuracy in top1.items():
        for name in INPUTS:
            row = recipe.row_of(name, steps)
            means[row] = accuracy if name == "RGB and events" else 50.0
    return pd.DataFrame({"mean": means})


def test_a_gain_is_that_of_half_as_many_steps_more():
    found = recipe.gains(table({450: 70.0, 675: 72.5, 1012: 73.0}))
    assert found["RGB and events"].to_dict() == {450: 2.5, 675: 0.5}
    assert found["events"].to_dict() == {450: 0.0, 675: 0.0}


def test_a_length_counts_once_every_input_was_trained_on_from_it():
    lengths = table({450: 70.0, 675: 72.5, 1012: 73.0})
    assert list(recipe.gains(lengths.drop("events, 1012 steps")).index) == [450]
    lengths.loc["RGB, 1012 steps", "mean"] = float("nan")  # of one sample alone
    assert list(recipe.gains(lengths).index) == [450]
    assert recipe.finding(lengths.head(2), {}).startswith("**Not run**")


@pytest.mark.parametrize(
    "lengths, verdict",
    [
        ({450: 70, 675: 70.9, 1012: 71}, "450 steps are enough, by the rule below**"),
        ({450: 70, 675: 72, 1012: 72.9}, "675 steps are enough, by the rule below; 450 are not**"),
        (
            {450: 70, 675: 72, 1012: 74, 1518: 74.5},
            "1,012 steps are enough, by the rule below; 450 are not**",
        ),
        (
            {450: 70, 675: 72, 1012: 74, 1518: 75},
            "Not enough by the rule below: 450, 675 and 1,012 steps**",
        ),
    ],
)
def test_enough_is_the_shortest_length_whose_gains_all_stay_below_a_point(lengths, verdict):
    shown = recipe.finding(table(lengths), {})
    last = max(lengths)
    assert shown.startswith(f"**{verdict}: half as many steps more gain, the last time, from ")
    assert f" to {last:,}, RGB and events " in shown


def test_one_input_that_still_gains_is_not_enough():
    lengths = table({450: 70.0, 675: 70.0})
    lengths.loc["events, 675 steps"] = 51.0
    assert recipe.finding(lengths, {}).startswith("**Not enough by the rule below: 450 steps**")
    assert "events +1.0 points" in recipe.finding(lengths, {})


def made(monkeypatch, late, **top1):
    """Runs of the study by input and length, and a late fusion of these accuracies, in turn."""
    averaged = itertools.cycle(late)
    monkeypatch.setattr(
        recipe.rivals, "rivals", lambda *_: {rivals.LATE: of_accuracies(next(averaged))}
    )
    return {
        recipe.row_of(name.replace("_", " "), steps): of_accuracies(accuracy)
        for name, accuracies in top1.items()
        for steps, accuracy in zip((450, 675, 1012), accuracies, strict=True)
    }


def test_the_first_screen_says_which_length_would_do_and_who_is_ahead_at_each(monkeypatch):
    top1 = {"RGB_and_events": (70, 72, 72.5), "RGB": (50, 50, 50), "events": (50, 50, 50)}
    found = made(monkeypatch, (71, 72, 73), **top1)
    assert recipe.in_short({"hardvs": found}, {}) == (
        "**No table shows fully trained models**: most rows have 450 steps; 675 would be enough "
        "(half as many more gain less than a point). On recordings kept apart for this search, one "
        "run for each length and sample, late fusion is ahead of SAFE in 2 of 3 comparisons where "
        "SAFE has as many steps as either of its two models, and in 0 of 1 where SAFE has 2¼ times "
        "as many, more than the two together."
    )
    found = made(monkeypatch, (73, 72, 73), **top1 | {"events": (50, 50, 52)})
    still = recipe.in_short({"hardvs": found}, {})
    assert "; at every length tried, up to 675, half as many again still gained a point" in still
    assert "in 2 of 3 comparisons" in still and "in 1 of 1 where SAFE has 2¼ times" in still
    assert recipe.in_short({"hardvs": {}}, {}) == ""
    assert recipe.in_short({"hardvs": found, "pokerevent": {}}, {}) == ""  # no gain is known


def test_the_longest_training_is_compared_with_its_own_late_fusion(monkeypatch):
    late = {rivals.LATE: of_accuracies(84, 85)}
    monkeypatch.setattr(recipe.rivals, "rivals", lambda rgb, event: late if rgb and event else {})
    rows = {name: of_accuracies(80, 81) for name in INPUTS}
    said = recipe.trained_on({"hardvs": rows})
    assert said.startswith(" After 3,415 steps, 7.6 times the tables', on the same recordings, ")
    assert "HARDVS 80.5 beside 84.5 %, worse by 4.0 ± " in said and said.endswith("2 paired runs.")


def test_the_longest_training_has_the_steps_that_the_sentence_names():
    for dataset in ("hardvs", "pokerevent"):
        rows = studies.studies(dataset, "sample")["longer"]
        assert {name: fields.pop("steps") for name, fields in rows.items()} == dict.fromkeys(
            INPUTS, 3415
        )
        assert rows == INPUTS  # on the tables' recordings, with the tables' rate


def test_a_row_of_the_search_says_its_steps_and_its_rate():
    rows = ["events, rate 0.002", "events, 1012 steps", "RGB and events, no dropout"]
    shown = recipe.titled(pd.DataFrame({"hardvs": 50.0}, index=rows))
    assert list(shown.index) == [
        "events, 450 steps, rate 0.002",
        "events, 1,012 steps, rate 0.001",
        "RGB and events, 450 steps, rate 0.001, no dropout",
    ]
    assert list(shown) == ["HARDVS"]
