"""How long a training has to be: the rule for the steps, and the sentence that says its outcome."""

import pandas as pd
import pytest

from safe_companion import recipe
from safe_companion.rows import INPUTS


def table(**top1):
    """Means of `recipe.scores`: the lengths' accuracies of RGB and events; others stay at 50."""
    means = {}
    for steps, accuracy in top1.items():
        for name in INPUTS:
            row = recipe.row_of(name, int(steps.removeprefix("after_")))
            means[row] = accuracy if name == "RGB and events" else 50.0
    return pd.DataFrame({"mean": means})


def test_a_gain_is_that_of_half_as_many_steps_more():
    found = recipe.gains(table(after_450=70.0, after_675=72.5, after_1012=73.0))
    assert found["RGB and events"].to_dict() == {450: 2.5, 675: 0.5}
    assert found["events"].to_dict() == {450: 0.0, 675: 0.0}


def test_a_length_counts_once_every_input_was_trained_on_from_it():
    lengths = table(after_450=70.0, after_675=72.5, after_1012=73.0)
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
    shown = recipe.finding(table(**{f"after_{steps}": top1 for steps, top1 in lengths.items()}))
    assert shown.startswith(f"**{verdict}: half as many steps more gain, from 450 to 675 steps")


def test_one_input_that_still_gains_is_not_enough():
    lengths = table(after_450=70.0, after_675=70.0)
    lengths.loc["events, 675 steps"] = 51.0
    assert recipe.finding(lengths).startswith("**Not enough by the rule below: 450 steps**")
    assert "events +1.0 points" in recipe.finding(lengths)
