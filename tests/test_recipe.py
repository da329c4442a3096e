"""How long a training has to be: the rule for the steps, and the sentence that says its outcome."""

import itertools

import pandas as pd
import pytest
from made_runs import of_accuracies

from safe_companion import recipe
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
    assert recipe.finding(lengths.head(2)).startswith("**Not run**")


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
    shown = recipe.finding(table(lengths))
    assert shown.startswith(f"**{verdict}: half as many steps more gain, from 450 to 675 steps")


def test_one_input_that_still_gains_is_not_enough():
    lengths = table({450: 70.0, 675: 70.0})
    lengths.loc["events, 675 steps"] = 51.0
    assert recipe.finding(lengths).startswith("**Not enough by the rule below: 450 steps**")
    assert "events +1.0 points" in recipe.finding(lengths)


def test_the_first_screen_says_which_length_would_do_and_who_is_ahead_at_each(monkeypatch):
    def found(event):
        top1 = {"RGB and events": (70, 72, 72.5), "RGB": (50, 50, 50), "events": (50, 50, event)}
        return {
            recipe.row_of(name, steps): of_accuracies(accuracy)
            for name, accuracies in top1.items()
            for steps, accuracy in zip((450, 675, 1012), accuracies, strict=True)
        }

    late = itertools.cycle([71, 72, 73])
    monkeypatch.setattr(
        recipe.rivals, "rivals", lambda *_: {recipe.LATE: of_accuracies(next(late))}
    )
    assert recipe.in_short({"hardvs": found(50)}) == (
        "**No table shows fully trained models**: 675 steps would do (half as many more gain less "
        "than a point), and a sweep on two cores can afford 450. In 2 of 3 comparisons (each "
        "length on each sample, on recordings of their own, one run each) the averaged single "
        "models are ahead of a SAFE of as many steps as either. Two models take twice the steps of "
        "one. SAFE after 675 and 1,012 steps beside the two after 450 each: HARDVS 72.0 and "
        "72.5 % beside 71.0 %."
    )
    still = recipe.in_short({"hardvs": found(52)})
    assert "more steps than a sweep on two cores can afford still gained. In 2 of 3" in still
    assert recipe.in_short({"hardvs": {}}) == ""
    assert recipe.in_short({"hardvs": found(50), "pokerevent": {}}) == ""  # no gain is known
