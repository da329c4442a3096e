"""The rule that binds a colour to the place where events are: on clips made by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from safe_companion import binding
from safe_companion.sample.squares import MOTIONS


def clip(*, at, inks):
    """Frames with a square of each ink in a quarter, and events that flicker in the `at`-th."""
    rgb = torch.full((2, 3, 40, 40), 90, dtype=torch.uint8)
    event = torch.full((2, 3, 40, 40), 255, dtype=torch.uint8)
    for i, ink in enumerate(inks):
        y, x = 6 + 20 * (i // 2), 6 + 20 * (i % 2)
        rgb[:, :, y : y + 9, x : x + 9] = torch.tensor(ink, dtype=torch.uint8)[:, None, None]
        if i == at:
            event[:, 0, y : y + 9 : 2, x : x + 9] = 0
    return rgb, event


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_the_colour_is_that_where_the_events_are(at):
    inks = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (200, 200, 10)]
    colour = binding.colour_at_events(*clip(at=at, inks=inks))
    assert colour.tolist() == pytest.approx(inks[at])


def test_a_colour_is_named_by_the_nearest_mean_of_training():
    vectors = np.array([[0.0, 0], [2, 0], [10, 10], [12, 10]])
    kinds = np.array([4, 4, 1, 1])
    asked = np.array([[1.0, 1], [11, 9], [5, 4]])
    assert binding.nearest(vectors, kinds, asked).tolist() == [4, 1, 4]


def run_of(names, answers, labels):
    table = pd.DataFrame({"name": names, "label": labels, "class1": answers})
    table["condition"] = "seen pair"
    return {"config": {"seed": 3}, "predictions": table, "path": "runs/events"}


def test_the_rule_gives_the_colour_and_the_model_the_motion(tmp_path):
    file = tmp_path / "rule.csv"
    assert binding.bound(file, []) == []  # not measured yet
    pd.DataFrame({"name": ["a", "b"], "label": [8, 3], "colour": [1, 0]}).to_csv(file, index=False)
    motion = 2 * len(MOTIONS) + 2  # right motion of the first, of another colour
    (run,) = binding.bound(file, [run_of(["a", "b"], [motion, 4], [8, 3])])
    assert run["predictions"].class1.tolist() == [len(MOTIONS) + 2, 4]
    assert run["test"]["top1"] == 50 and run["config"] == {"seed": 3}


def test_the_rule_refuses_other_recordings(tmp_path):
    file = tmp_path / "rule.csv"
    pd.DataFrame({"name": ["a"], "label": [8], "colour": [1]}).to_csv(file, index=False)
    with pytest.raises(ValueError, match="other recordings than those of runs/events"):
        binding.bound(file, [run_of(["b"], [8], [8])])
