"""Whether rows differ by more than their seeds: against formulas, and by simulation."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from safe_companion import variance


def with_top1(rows):
    """{row: runs} of {row: {seed: top-1}}."""
    return {
        row: [
            {"config": {"seed": seed}, "test": {"top1": top1}, "hardware": {"gpu": None}}
            for seed, top1 in scores.items()
        ]
        for row, scores in rows.items()
    }


def test_scatter_of_rows_with_the_same_seeds_is_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    scores = rng.normal(80, 2, (4, 5))
    found = with_top1({f"row {i}": dict(enumerate(line)) for i, line in enumerate(scores)})
    scatter = variance.scatter(found, list(found))
    means = scores.mean(axis=1)
    left = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    noise = (left**2).sum() / (3 * 4)
    assert scatter.between == pytest.approx(means.std(ddof=1))
    assert scatter.chance == pytest.approx(np.sqrt(noise / 5))
    assert scatter.f == pytest.approx(5 * means.var(ddof=1) / noise)
    assert scatter.p == pytest.approx(stats.f.sf(scatter.f, 3, 12))


def test_rows_that_are_not_compared_say_only_what_chance_does():
    rows = {"a": {0: 80.0, 1: 81.0}, "b": {0: 82.0}, "other": {0: 20.0, 1: 22.0}}
    scatter = variance.scatter(with_top1(rows), ["a", "b"])
    rows["other"] = {0: 60.0, 1: 62.0}  # all by the same amount
    same = variance.scatter(with_top1(rows), ["a", "b"])
    assert dataclasses.astuple(same) == pytest.approx(dataclasses.astuple(scatter))
    assert scatter.f == pytest.approx(scatter.between**2 / scatter.chance**2)
    rows["other"] = {0: 60.0, 1: 61.5}  # nearly as a
    assert variance.scatter(with_top1(rows), ["a", "b"]).chance == pytest.approx(scatter.chance / 2)
    alone = variance.scatter(with_top1({"a": {0: 80.0}, "b": {0: 82.0}}), ["a", "b"])
    assert alone.between == pytest.approx(np.sqrt(2)) and np.isnan(alone.p + alone.smallest)


@pytest.mark.parametrize("lacking", [0, 3])
def test_the_smallest_scatter_is_found_four_times_in_five(lacking):
    """Rows drawn with that scatter; lacking: of so many rows all seeds but one."""
    rng = np.random.default_rng(1)
    shape = {f"row {i}": range(1 if i < lacking else 5) for i in range(8)}

    def drawn(scatter):
        rows = {}
        for row, seeds in shape.items():
            mean = rng.normal(80, scatter)
            rows[row] = {seed: mean + rng.normal(0, 1) for seed in seeds}
        return variance.scatter(with_top1(rows), list(rows))

    # in units of the true noise, which each draw estimates anew
    smallest = np.median([(d := drawn(0)).smallest / d.chance for _ in range(20)])
    weight = sum(map(len, shape.values())) / len(shape) if not lacking else None
    chance = 1 / np.sqrt(weight) if weight else np.median([drawn(0).chance for _ in range(200)])
    share = np.mean([drawn(smallest * chance).p < 0.05 for _ in range(400)])
    assert 0.73 < share < 0.87
    assert 0.02 < np.mean([drawn(0).p < 0.05 for _ in range(400)]) < 0.09


def test_a_run_that_was_made_on_both_machines_is_compared_on_both():
    def found(shift, *, both):
        rows = with_top1({"a": {0: 80.0, 1: 81.0, 2: 80.6}, "b": {0: 82.0, 1: 83.5}})
        for run in rows["b"]:
            run["hardware"] = {"gpu": "A card"}
            run["test"]["top1"] += shift
        for run, top1 in zip(rows["a"], (80.2, 81.5) if both else (), strict=False):
            twin = {"hardware": {"gpu": "A card"}, "test": {"top1": top1 + shift}}
            run["elsewhere"] = run | twin
        return variance.scatter(rows, ["a", "b"])

    apart, moved = found(0, both=True), found(20, both=True)
    assert dataclasses.astuple(apart) == pytest.approx(dataclasses.astuple(moved))
    assert np.isnan(found(0, both=False).between)  # nothing tells the row from the machine


def test_a_run_and_its_twin_are_one_witness_of_what_chance_does():
    rng = np.random.default_rng(2)
    found = with_top1({f"row {i}": dict(enumerate(rng.normal(80, 1, 4))) for i in range(4)})
    alone = variance.scatter(found, list(found))
    for run in (run for runs in found.values() for run in runs):
        top1 = run["test"]["top1"] + rng.normal(0, 0.3)
        run["elsewhere"] = run | {"hardware": {"gpu": "A card"}, "test": {"top1": top1}}
    assert variance.scatter(found, list(found)) == alone


def test_of_a_run_with_a_twin_the_machine_counts_that_has_more_rows_of_its_seed():
    rows = with_top1({"a": {0: 80.0, 1: 81.0}, "b": {0: 82.0, 1: 83.5}, "c": {0: 82.0, 1: 82.4}})
    for run in [*rows["b"], *rows["c"]]:
        run["hardware"] = {"gpu": "A card"}
    for run, top1 in zip(rows["a"], (70.0, 71.4), strict=True):
        twin = {"hardware": {"gpu": "A card"}, "test": {"top1": top1}}
        run["elsewhere"] = run | twin
    scatter = variance.scatter(rows, ["a", "b", "c"])
    means = [70.7, 82.75, 82.2]
    assert scatter.between == pytest.approx(np.std(means, ddof=1))
