"""Means, paired differences, intervals: against numbers worked out by hand, and by simulation."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_runs import made_run, of_accuracies
from scipy import stats

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
    gain = effects.difference(ours, theirs)
    assert (gain.mean, gain.pairs) == (25, 2)  # both gain one of four, seed 7 has no partner
    assert gain.half > 0  # the seeds agree, the recordings do not
    assert effects.difference(theirs, ours).mean == -25


def table_of(shape, rng):
    """{row: runs} with answers drawn at random: shape (rows, seeds, recordings)."""
    answers = rng.random(shape) < 0.6
    return {
        f"row {r}": [made_run(seed, answers[r, seed]) for seed in range(shape[1])]
        for r in range(shape[0])
    }


def test_recordings_are_drawn_anew_as_by_a_bootstrap():
    table = table_of((2, 3, 120), np.random.default_rng(3))
    gains = effects.gains(*table.values())
    drawn = stats.bootstrap(
        (gains.mean(axis=0),), np.mean, n_resamples=20_000, random_state=np.random.default_rng(0)
    )
    no_seeds = effects.Deviation(0, 0, 4)
    by_recording = gains.mean(axis=0).var() / 120
    error = effects.joined(0, by_recording, no_seeds, 3, 120).error
    assert error == pytest.approx(drawn.standard_error, rel=0.02)


def test_the_spread_of_two_rows_is_that_of_their_paired_differences():
    """Two rows: the variance over seeds of the paired differences, of which noise is a part."""
    table = table_of((2, 5, 80), np.random.default_rng(1))
    gains = effects.gains(*table.values())
    found = effects.of_seeds(table.values())
    assert found.freedom == 4
    assert found.variance == pytest.approx(gains.mean(axis=1).var(ddof=1))
    left = gains - gains.mean(axis=0) - gains.mean(axis=1, keepdims=True) + gains.mean()
    assert found.noise == pytest.approx((left**2).sum() / 4 / 79 / 80)


def test_degrees_of_freedom_of_rows_add_up():
    table = table_of((4, 5, 60), np.random.default_rng(2))
    of_pairs = []
    names = list(table)
    for i, row in enumerate(names):  # every row against every other, each pair as good
        for other in names[:i]:
            gains = effects.gains(table[row], table[other])
            of_pairs.append(gains.mean(axis=1).var(ddof=1))
    found = effects.of_seeds(table.values())
    assert found.freedom == 3 * 4 and found.variance == pytest.approx(np.mean(of_pairs))
    table["row 3"] = table["row 3"][:3]  # two seeds fewer
    assert effects.of_seeds(table.values()).freedom == 10
    table["one seed"], table["not run"] = [made_run(9, [1] * 60)], []
    assert effects.of_seeds(table.values()).freedom == 10


def test_noise_of_the_recordings_is_taken_off_once():
    """Worked out: gains of the seeds 25 and 75, of the recordings 100, 50, 50, 0."""
    ours = [made_run(0, [1, 0, 0, 0]), made_run(1, [1, 1, 1, 0])]
    theirs = [made_run(0, [0, 0, 0, 0]), made_run(1, [0, 0, 0, 0])]
    gain = effects.difference(ours, theirs)
    variance, noise = 1250, 1250 / 3  # left over after seeds and recordings: eight times 25^2
    by_recording = 5000 / 16  # squared deviations 2500 + 0 + 0 + 2500
    error = np.sqrt(by_recording + (variance - noise) / 2)
    freedom = max(1, error**4 / ((variance / 2) ** 2 / 1 + by_recording**2 / 3))
    assert (gain.mean, gain.error, gain.freedom) == pytest.approx((50, error, freedom))
    assert gain.half == pytest.approx(error * stats.t.ppf(0.975, freedom))


def test_rows_of_one_table_lend_each_other_their_degrees_of_freedom():
    rng = np.random.default_rng(5)
    table = table_of((5, 3, 200), rng)
    alone = effects.difference(table["row 1"], table["row 0"])
    pooled = effects.difference(table["row 1"], table["row 0"], table=table)
    assert pooled.mean == alone.mean and pooled.freedom > alone.freedom
    one_seed = effects.difference(table["row 1"][:1], table["row 0"], table=table)
    assert one_seed.pairs == 1 and one_seed.error > pooled.error > 0


def test_what_both_runs_get_right_or_wrong_adds_no_uncertainty():
    """Paired: the accuracies are 50 % each, yet no recording tells the two apart."""
    runs = [made_run(seed, [1, 0] * 50) for seed in range(3)]
    gain = effects.difference(runs, runs)
    assert (gain.mean, gain.error, gain.pairs) == (0, 0, 3) and gain.effect == "the same"


def test_a_difference_without_partner_or_interval_says_so():
    gain = effects.difference([made_run(0, [1])], [made_run(1, [1])])
    assert np.isnan([gain.mean, gain.half, gain.smallest]).all() and gain.pairs == 0
    assert gain.effect == "not run"
    gain = effects.difference([made_run(0, [1, 1])], [made_run(0, [1, 0])])
    assert gain.mean == 50 and np.isnan(gain.half) and gain.pairs == 1
    assert gain.effect == "one seed: no interval"


def test_one_recording_has_no_interval():
    ours = [made_run(seed, [1]) for seed in range(3)]
    theirs = [made_run(seed, [0]) for seed in range(3)]
    gain = effects.difference(ours, theirs)
    assert (gain.mean, gain.pairs) == (100, 3) and np.isnan(gain.half)


@pytest.mark.parametrize("names", [["r0", "r2"], ["r1", "r0"], ["r0"]])
def test_other_recordings_are_not_compared(names):
    right = [made_run(seed, [1, 1]) for seed in (0, 1)]
    other = made_run(1, [1] * len(names), name=names) | {"path": "other/seed1"}
    with pytest.raises(ValueError, match="seed1 and other/seed1 tested different recordings"):
        effects.difference(right, [made_run(0, [1, 1]), other])
    with pytest.raises(ValueError, match="tested different recordings"):
        effects.of_seeds([right, [other]])


REGIMES = {  # sd of a seed's shift and of what a recording has against a row, in points; recordings
    "seeds": (3.0, 0.0, 3000),
    "recordings": (0.0, 30.0, 300),
    "both": (2.0, 20.0, 400),
}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(("seeds", "rows"), [(3, 1), (3, 6), (5, 3), (8, 1)])
def test_the_interval_holds_the_truth_as_often_as_it_says(regime, seeds, rows):
    """Simulated tables: 95 % within 2 points, and what 400 draws leave to chance (2.2)."""
    shift, tilt, count = REGIMES[regime]
    rng = np.random.default_rng(seeds + rows)
    names = [f"r{i}" for i in range(count)]
    held = []
    for _ in range(400):
        table = {}
        chance = rng.uniform(0.35, 0.65, count)
        for row in range(rows + 1):
            tilted = chance + rng.normal(0, tilt / 100, count) * (row > 0)
            shifts = rng.normal(0, shift / 100, (seeds, 1))
            answers = rng.random((seeds, count)) < tilted + shifts
            table[row] = [
                {
                    "config": {"seed": seed},
                    "hardware": {"gpu": None},
                    "predictions": SimpleNamespace(name=names, correct=pd.Series(answers[seed])),
                }
                for seed in range(seeds)
            ]
        gain = effects.difference(table[1], table[0], table=table)
        held.append(abs(gain.mean) <= gain.half)
    print(f"{regime}, {seeds} seeds, {rows} rows: {np.mean(held):.3f}")
    assert 0.93 - 0.022 <= np.mean(held) <= 0.97 + 0.022


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_the_smallest_effect_is_found_in_four_of_five_tables(effect):
    """Differences drawn as their standard error says: the effect times `smallest` is found."""
    rng = np.random.default_rng(0)
    true = effects.Difference(0.0, 1.3, 9.0, 4)
    found = []
    for _ in range(4000):
        error = true.error * np.sqrt(rng.chisquare(9) / 9)
        mean = rng.normal(effect * true.smallest, true.error)
        found.append(effects.Difference(mean, error, 9.0, 4).excludes_zero)
    assert np.mean(found) == pytest.approx(0.8 if effect else 0.05, abs=0.015)


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (2.0, "better"),
        (-2.0, "worse"),
        (1.9, "cannot tell from zero: effects below 2.8 can be missed"),
        (-1.9, "cannot tell from zero: effects below 2.8 can be missed"),
        (0.0, "cannot tell from zero: effects below 2.8 can be missed"),
    ],
)
def test_an_effect_is_what_excludes_zero(mean, words):
    assert effects.Difference(mean, 1.0, 1e6, 3).effect == words  # half width 1.96


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
    gain = effects.difference(less, full)
    assert (gain.mean, gain.pairs) == (pytest.approx(-8), 2)  # of seeds 0 and 1, not of the means
    line = table.loc["less"]
    assert line[list(gain.columns)].to_dict() == pytest.approx(gain.columns)
    assert line.effect == gain.effect == "cannot tell from zero: effects below 10.8 can be missed"
    for row in ("full", "not run"):
        own = table.loc[row, ["pairs", "difference", "± difference", "detectable", "effect"]]
        assert own.isna().all()


def test_a_table_pools_all_its_rows():
    found = table_of((4, 3, 100), np.random.default_rng(8))
    table = effects.effect_table(found, baseline="row 0")
    pooled = effects.difference(found["row 2"], found["row 0"], table=found)
    assert table["± difference"]["row 2"] == pooled.half
    assert table["± difference"]["row 2"] != effects.difference(found["row 2"], found["row 0"]).half
    group = [0] * 50 + [1] * 50
    grouped = {
        row: [run | {"predictions": run["predictions"].assign(group=group)} for run in runs]
        for row, runs in found.items()
    }
    parts = {row: effects.among(runs, "group", [1]) for row, runs in grouped.items()}
    broken = effects.breakdown(grouped, baseline="row 0", by="group")
    expected = effects.difference(parts["row 2"], parts["row 0"], table=parts)
    assert broken["± difference"]["row 2", 1] == expected.half


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
    run["log_probs"] = np.arange(8).reshape(4, 2)
    (kept,) = effects.among([run], "label", [3, 2])
    assert kept["log_probs"].tolist() == [[0, 1], [4, 5], [6, 7]]


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
    assert table["± difference"]["less", "dark"] == pytest.approx(effects.difference(*dark).half)
    assert table.effect["less", "none"].startswith("cannot tell from zero: effects below ")


def test_a_breakdown_finds_what_an_average_hides():
    half = [0] * 50 + [1] * 50
    group = ["a"] * 50 + ["b"] * 50
    found = {
        "full": [made_run(seed, half, group=group) for seed in range(3)],
        "less": [made_run(seed, half[::-1], group=group) for seed in range(3)],
    }
    assert effects.difference(found["less"], found["full"]).mean == 0
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


# ---------------------------------------------------------------- kinds of machines
GPU = {"hardware": {"gpu": "A card"}}


def test_runs_of_one_kind_of_machine_are_paired_where_one_of_them_was_made_on_both():
    cpu, gpu = made_run(0, [1, 1, 1, 0]), made_run(0, [1, 0, 0, 0]) | GPU
    row = made_run(0, [1, 1, 0, 0]) | GPU
    assert effects.gains([row], [cpu]).tolist() == [[0, 0, -100, 0]]  # there is no other
    both = cpu | {"elsewhere": gpu}
    assert effects.gains([row], [both]).tolist() == [[0, 100, 0, 0]]
    assert effects.gains([both], [row]).tolist() == [[0, -100, 0, 0]]
    assert effects.gains([cpu], [both]).tolist() == [[0, 0, 0, 0]]  # alike, as they are kept
    parts = effects.among([both], "name", ["r1", "r2"])
    assert effects.gains(effects.among([row], "name", ["r1", "r2"]), parts).tolist() == [[100, 0]]


def test_twins_are_no_witnesses_of_the_spread_over_seeds():
    rows = [of_accuracies(60, 62, 61), of_accuracies(70, 73, 69)]
    twins = [[run | {"elsewhere": run | GPU} for run in row] for row in rows]
    assert effects.of_seeds(twins) == effects.of_seeds(rows)


def test_a_reader_learns_how_rows_are_paired():
    cpu = [made_run(seed, [1, 0]) for seed in range(3)]
    gpu = [run | GPU for run in cpu]
    assert effects.how_paired({"a": cpu, "b": cpu, "not run": []}) == []
    (seeds,) = effects.how_paired({"a": cpu, "b": cpu[:2]})
    assert seeds.startswith("Rows differ in their number of seeds.")
    _, one = effects.how_paired({"a": cpu, "b": cpu, "c": cpu[:1]})
    assert one == "A row with one pair borrows the spread over seeds from the other rows."
    assert effects.how_paired({"a": cpu, "b": cpu[:2]}, against=()) == []  # compared with nothing
    mixed = {"a": cpu, "b": cpu, "c": gpu}
    for against, pairs in ((["a"], 3), (["c"], 6), (["a", "c"], 9)):
        said = effects.how_paired(mixed, against)
        assert f"for {pairs} pairs that was not possible" in said[-1], against
    (machines,) = effects.how_paired({"a": cpu, "b": gpu})
    assert machines.endswith("CPU with CPU; for 3 pairs that was not possible.")
    twins = [run | {"elsewhere": twin} for run, twin in zip(cpu, gpu, strict=True)]
    (machines,) = effects.how_paired({"a": twins, "b": gpu})
    assert machines.endswith("on the same kind of machine, GPU with GPU and CPU with CPU.")


def test_rows_that_are_not_trained_can_be_kept_out_of_the_spread():
    same, a, b = (of_accuracies(*each) for each in ((50, 50, 50), (60, 70, 80), (60, 80, 64)))
    found, trained = {"same": same, "a": a, "b": b}, {"a": a, "b": b}
    half = effects.effect_table(found, baseline="same", pooled=trained)["± difference"]["a"]
    assert half == effects.difference(a, same, table=trained).half
    assert half > effects.effect_table(found, baseline="same")["± difference"]["a"]


def test_rows_that_are_hardly_trained_widen_only_their_own_differences():
    guess = {"history": [{"train_loss": 3.0}], "log_probs": np.zeros((100, 24))}
    steady = {"same": of_accuracies(50, 50, 50), "a": of_accuracies(60, 62, 61)}
    wild = [run | guess | {"path": f"wild/{run['path']}"} for run in of_accuracies(10, 60, 30)]
    found = steady | {"wild": wild}
    alone = effects.effect_table(steady, baseline="same")
    table = effects.effect_table(found, baseline="same")
    assert table["± difference"]["a"] == alone["± difference"]["a"]
    pooled = effects.difference(wild, found["same"], table=found)
    assert pooled.half > 2 * table["± difference"]["a"]
