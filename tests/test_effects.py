"""Means, paired differences, intervals: against numbers worked out by hand, and by simulation."""

import numpy as np
import pandas as pd
import pytest
from made_runs import made_run, of_accuracies

from safe_companion import effects

T2, T3, T4 = 12.7062, 4.3027, 3.1824  # Student's t for 95 %, two-sided, of 2, 3 and 4 values

# ---------------------------------------------------------------- means


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ([1, 3], 2, T2 * 1),  # standard deviation sqrt(2), over sqrt(2)
        ([1, 2, 3], 2, T3 / np.sqrt(3)),
        ([2, 2, 4, 4], 3, T4 * np.sqrt(4 / 3) / 2),
        ([7, 7, 7], 7, 0),
    ],
)
def test_an_interval_is_students_two_sided_one(values, mean, half):
    assert effects.mean_and_interval(values) == pytest.approx((mean, half), rel=1e-4)


def test_a_single_value_has_no_interval():
    mean, half = effects.mean_and_interval([3.0])
    assert mean == 3 and np.isnan(half)


# ---------------------------------------------------------------- differences


def test_a_difference_is_paired_by_seed():
    ours = [made_run(0, [1, 1, 1, 0]), made_run(1, [1, 1, 0, 0]), made_run(7, [1, 1, 1, 1])]
    theirs = [made_run(1, [1, 0, 0, 0]), made_run(0, [1, 1, 0, 0])]
    mean, half, count = effects.difference(ours, theirs)
    assert (mean, count) == (25, 2)  # both gain one of four recordings, seed 7 has no partner
    assert half > 0  # the seeds agree, the recordings do not
    assert effects.difference(theirs, ours)[0] == -25


def test_the_interval_joins_seeds_and_recordings():
    """Worked out: gains of the seeds 25 and 75, of the recordings 100, 50, 50, 0."""
    ours = [made_run(0, [1, 0, 0, 0]), made_run(1, [1, 1, 1, 0])]
    theirs = [made_run(0, [0, 0, 0, 0]), made_run(1, [0, 0, 0, 0])]
    mean, half, _ = effects.difference(ours, theirs)
    by_seed = T2 * 25  # standard error of 25 and 75
    by_recording = 1.96 * np.sqrt(5000 / 3) / 2  # squared deviations 2500 + 0 + 0 + 2500
    assert (mean, half) == pytest.approx((50, np.hypot(by_seed, by_recording)), rel=1e-4)


def test_what_both_runs_get_right_or_wrong_adds_no_uncertainty():
    """Paired: the accuracies are 50 % each, yet no recording tells the two apart."""
    runs = [made_run(seed, [1, 0] * 50) for seed in range(3)]
    assert effects.difference(runs, runs) == (0, 0, 3)


def test_a_difference_without_partner_or_interval_says_so():
    mean, half, count = effects.difference([made_run(0, [1])], [made_run(1, [1])])
    assert np.isnan(mean) and np.isnan(half) and count == 0
    assert effects.effect(mean, half) == "not run"
    mean, half, count = effects.difference([made_run(0, [1, 1])], [made_run(0, [1, 0])])
    assert mean == 50 and np.isnan(half) and count == 1
    assert effects.effect(mean, half) == "one seed: no interval"


def test_one_recording_has_no_interval():
    ours = [made_run(seed, [1]) for seed in range(3)]
    theirs = [made_run(seed, [0]) for seed in range(3)]
    mean, half, count = effects.difference(ours, theirs)
    assert (mean, count) == (100, 3) and np.isnan(half)


@pytest.mark.parametrize("names", [["r0", "r2"], ["r1", "r0"], ["r0"]])
def test_other_recordings_are_not_compared(names):
    right = [made_run(seed, [1, 1]) for seed in (0, 1)]
    other = made_run(1, [1] * len(names), name=names) | {"path": "other/seed1"}
    with pytest.raises(ValueError, match="seed1 and other/seed1 tested different recordings"):
        effects.difference(right, [made_run(0, [1, 1]), other])


@pytest.mark.parametrize("gain", [0.0, 6.0])
def test_the_interval_holds_the_truth_as_often_as_it_says(gain):
    """Simulated studies: a recording has a difficulty, a seed shifts the accuracy by 1.5 points."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(150):
        difficulty = rng.uniform(0.3, 0.9, size=400)
        ours, theirs = (
            [
                made_run(seed, rng.random(400) < difficulty + shift / 100 + rng.normal(0, 0.015))
                for seed in range(3)
            ]
            for shift in (gain, 0.0)
        )
        mean, half, _ = effects.difference(ours, theirs)
        held.append(abs(mean - gain) <= half)
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize(
    ("mean", "half", "words"),
    [
        (2.0, 1.9, "better"),
        (-2.0, 1.9, "worse"),
        (2.0, 2.0, "no measurable effect"),
        (-2.0, 2.1, "no measurable effect"),
        (0.0, 0.0, "no measurable effect"),
    ],
)
def test_an_effect_is_what_excludes_zero(mean, half, words):
    assert effects.effect(mean, half) == words


# ---------------------------------------------------------------- tables


def test_a_table_has_each_number_in_its_column():
    """The records' accuracies are 10 points above those of the predictions, to tell them apart."""
    full = of_accuracies(70, 72, 74)
    less = of_accuracies(60, 66)
    for run in full + less:
        run["test"]["top1"] += 10
    table = effects.effect_table({"full": full, "less": less, "not run": []}, baseline="full")
    assert list(table.index) == ["full", "less", "not run"]
    assert list(table.seeds) == [3, 2, 0]
    assert table["top-1 [%]"].to_dict() == pytest.approx(
        {"full": 82, "less": 73, "not run": np.nan}, nan_ok=True
    )
    halves = {"full": T3 * 2 / np.sqrt(3), "less": T2 * 3, "not run": np.nan}
    assert table["±"].to_dict() == pytest.approx(halves, rel=1e-4, nan_ok=True)
    deviations = {"full": 2, "less": np.sqrt(18), "not run": np.nan}
    assert table.sd.to_dict() == pytest.approx(deviations, nan_ok=True)
    mean, half, pairs = effects.difference(less, full)
    assert (mean, pairs) == (pytest.approx(-8), 2)  # of seeds 0 and 1, not of the two means
    line = table.loc["less"]
    assert (line.difference, line["± difference"], line.pairs) == (mean, half, pairs)
    assert line.effect == "no measurable effect"  # two seeds, which differ
    for row in ("full", "not run"):
        own = table.loc[row, ["pairs", "difference", "± difference", "effect"]]
        assert own.isna().all()


def test_the_baseline_is_the_row_that_is_asked_for():
    found = {"first": of_accuracies(50, 50), "second": of_accuracies(80, 80)}
    table = effects.effect_table(found, baseline="second")
    assert table.difference["first"] == pytest.approx(-30) and table.effect["first"] == "worse"
    assert np.isnan(table.difference["second"])


def test_a_row_with_one_seed_has_no_spread():
    table = effects.effect_table(
        {"full": of_accuracies(70, 72), "less": of_accuracies(60)}, baseline="full"
    )
    assert table.loc["less", ["±", "sd", "± difference"]].isna().all()
    assert table.pairs["less"] == 1 and table.effect["less"] == "one seed: no interval"


# ---------------------------------------------------------------- parts of the test recordings


def test_among_keeps_the_recordings_with_one_of_the_values():
    run = made_run(0, [1, 0, 1, 1], label=[3, 1, 2, 3])
    (kept,) = effects.among([run], "label", [3, 2])
    assert list(kept["predictions"].name) == ["r0", "r2", "r3"]
    assert list(kept["predictions"].index) == [0, 1, 2] and kept["path"] == run["path"]
    assert len(run["predictions"]) == 4


def conditions(seed, correct):
    return made_run(seed, correct, condition=["dark", "dark", "none", "none", "none"])


def test_a_breakdown_compares_within_groups():
    found = {
        "full": [conditions(0, [1, 1, 1, 0, 0]), conditions(1, [1, 0, 1, 0, 1])],
        "less": [conditions(0, [0, 0, 1, 1, 1]), conditions(1, [0, 0, 1, 0, 0])],
        "not run": [],
    }
    table = effects.breakdown(found, baseline="full", by="condition")
    assert table["top-1 [%]"].to_dict() == pytest.approx(
        {
            ("full", "dark"): 75,
            ("full", "none"): 50,
            ("less", "dark"): 0,
            ("less", "none"): 200 / 3,
        }
    )
    assert list(table.recordings) == [2, 3, 2, 3]
    assert table.difference["less", "dark"] == -75
    assert table.difference["less", "none"] == pytest.approx(50 / 3)
    assert table.difference["full"].isna().all() and table.effect["full"].isna().all()
    dark = [effects.among(found[row], "condition", ["dark"]) for row in ("less", "full")]
    assert table["± difference"]["less", "dark"] == effects.difference(*dark)[1]
    assert table.effect["less", "none"] == "no measurable effect"


def test_a_breakdown_finds_what_an_average_hides():
    half = [0] * 50 + [1] * 50
    group = ["a"] * 50 + ["b"] * 50
    found = {
        "full": [made_run(seed, half, group=group) for seed in range(3)],
        "less": [made_run(seed, half[::-1], group=group) for seed in range(3)],
    }
    assert effects.difference(found["less"], found["full"])[0] == 0
    table = effects.breakdown(found, baseline="full", by="group")
    assert table.effect["less"].to_dict() == {"a": "better", "b": "worse"}


def test_groups_are_in_the_order_of_their_categories_and_empty_ones_left_out():
    level = pd.Categorical(["high", "low", "high"], categories=["low", "middle", "high"])
    table = effects.breakdown(
        {"full": [made_run(0, [1, 0, 0], level=level)]}, baseline="full", by="level"
    )
    assert [group for _, group in table.index] == ["low", "high"]
    assert list(table["top-1 [%]"]) == [0, 50] and list(table.recordings) == [1, 2]


def test_light_comes_in_four_bins_and_an_edge_belongs_to_the_darker_one(tmp_path):
    levels = {
        "r0": 0.5,
        "r1": 0.001,
        "r2": 0.0011,
        "r3": 0.01,
        "r4": 0.011,
        "r5": 0.1,
        "r6": 0.11,
        "r7": 1.5,
        "r8": 0.0001,
    }
    truth = pd.DataFrame({"sample": levels.keys(), "illumination": levels.values()})
    shuffled = truth.iloc[::-1].assign(cause="none", white_electrons=1.0)
    shuffled.to_csv(tmp_path / "ground_truth.csv", index=False)
    run = made_run(0, [1] * 9, name=[f"action_001/{name}" for name in levels])
    lit = effects.with_light({"full": [run], "not run": []}, tmp_path)
    light = lit["full"][0]["predictions"].light
    dark, dim, indoors, bright = "< 0.001", "0.001 to 0.01", "0.01 to 0.1", "> 0.1"
    assert list(light) == [bright, dark, dim, dim, indoors, indoors, bright, bright, dark]
    assert list(light.cat.categories) == [dark, dim, indoors, bright]
    assert lit["not run"] == [] and "light" not in run["predictions"]
