"""What a design finds: against tables that are drawn as it says, and at its limits."""

import numpy as np
import pytest
from made_runs import made_run

from safe_companion import effects, power

VARIANCE = power.Components(seeds=2.0, recordings=300.0, both=900.0)


def drawn(rng, *, seeds, count, rows, seed_sd=0.0):
    """{row: runs}; a recording is as hard in every row, a seed shifts a row."""
    chance = rng.uniform(0.4, 0.8, count)
    return {
        f"row {row}": [
            made_run(seed, rng.random(count) < chance + rng.normal(0, seed_sd))
            for seed in range(seeds)
        ]
        for row in range(rows)
    }


def test_variances_are_found_in_the_records_of_a_study():
    rng = np.random.default_rng(0)
    found = [
        power.components(drawn(rng, seeds=8, count=600, rows=3, seed_sd=0.03), baseline="row 0")
        for _ in range(12)
    ]
    assert np.mean([v.seeds for v in found]) == pytest.approx(2 * 9, rel=0.3)
    # two answers drawn anew of each recording: p (1 - p) each, over p from 0.4 to 0.8
    assert np.mean([v.both for v in found]) == pytest.approx(2e4 * (0.24 - 0.04 / 3), rel=0.1)
    assert np.mean([v.recordings for v in found]) < 0.02 * np.mean([v.both for v in found])


def test_what_recordings_have_against_a_row_is_found_too():
    rng = np.random.default_rng(1)
    found = drawn(rng, seeds=4, count=4000, rows=1)
    found["other"] = [
        made_run(seed, run["predictions"].correct.to_numpy() ^ (np.arange(4000) % 10 == 0))
        for seed, run in enumerate(found["row 0"])
    ]
    # a tenth is answered the other way round: 100 wherever it is, in either direction
    variance = power.components(found, baseline="row 0")
    total = variance.recordings + variance.both / 4
    gains = effects.gains(found["other"], found["row 0"]).mean(axis=0)
    assert total == pytest.approx(gains.var(), rel=0.05)


def test_without_two_seeds_nothing_is_known_of_seeds():
    with pytest.raises(ValueError, match="found no two rows with two common seeds"):
        power.components(
            drawn(np.random.default_rng(0), seeds=1, count=9, rows=3), baseline="row 0"
        )


def test_the_effect_is_smaller_with_more_of_anything():
    def effect(seeds=5, recordings=1000, rows=4):
        return power.smallest_effect(VARIANCE, seeds=seeds, recordings=recordings, rows=rows)

    assert effect(seeds=10) < effect() and effect(recordings=4000) < effect()
    assert effect(rows=8) < effect()


def test_seeds_alone_remain_with_endless_recordings():
    endless = power.smallest_effect(VARIANCE, seeds=5, recordings=10**9, rows=250)
    z = 1.9600 + 0.8416
    assert endless == pytest.approx(z * np.sqrt(2 / 5), rel=0.005)
    many = power.smallest_effect(VARIANCE, seeds=10**6, recordings=1000, rows=1)
    assert many == pytest.approx(z * np.sqrt(300 / 1000), rel=0.01)


def test_a_design_finds_its_smallest_effect_in_four_of_five_tables():
    """Tables drawn with an effect of that size: rows of the same variances, judged by `effects`."""
    rng = np.random.default_rng(4)
    seeds, count = 5, 500
    model = power.Components(seeds=2 * 4.0, recordings=0.0, both=2e4 * 0.25)
    size = power.smallest_effect(model, seeds=seeds, recordings=count, rows=2)
    found = []
    for _ in range(200):
        table = {
            row: [
                made_run(seed, rng.random(count) < 0.5 + shift / 100 + rng.normal(0, 0.02))
                for seed in range(seeds)
            ]
            for row, shift in (("base", 0), ("same", 0), ("better", size))
        }
        gain = effects.difference(table["better"], table["base"], table=table)
        found.append(gain.excludes_zero)
    assert 0.71 < np.mean(found) < 0.89


def test_designs_are_a_table_of_seeds_and_sizes():
    table = power.designs(VARIANCE, seeds=(3, 8), recordings=(500, 2500), rows=7)
    assert list(table.index) == [3, 8] and list(table.columns) == [500, 2500]
    expected = power.smallest_effect(VARIANCE, seeds=8, recordings=500, rows=7)
    assert table[500][8] == expected


def test_two_models_that_are_right_independently_differ_binomially():
    rng = np.random.default_rng(0)
    gains = 100 * ((rng.random(10**6) < 0.6) * 1.0 - (rng.random(10**6) < 0.6))
    found = power.binomial(60, seed_sd=1.5)
    assert (found.seeds, found.recordings) == (4.5, 0)
    assert found.both == pytest.approx(gains.var(), rel=0.01)


def test_time_is_that_of_the_records():
    runs = [made_run(0, [1]) | {"seconds": 60.0}, made_run(1, [1]) | {"seconds": 180.0}]
    assert power.minutes_of_a_run({"a": runs[:1], "b": runs[1:], "not run": []}) == 2
    on_gpu = made_run(2, [1]) | {"seconds": 1.0, "hardware": {"gpu": "A card"}}
    assert power.minutes_of_a_run({"a": [*runs, on_gpu]}) == 2


def test_training_times_of_cpus_and_gpus_stand_apart():
    def run(seconds, gpu):
        return {"seconds": seconds, "hardware": {"gpu": gpu}}

    found = power.fastest_minutes([run(180, None), run(120, None), run(30, "H200")])
    assert found == {"CPU [min]": 2, "GPU [min]": 0.5}
    assert power.fastest_minutes([run(120, None) | {"elsewhere": run(30, "H200")}]) == found
    assert np.isnan(power.fastest_minutes([run(60, "H200")])["CPU [min]"])
    assert np.isnan(list(power.fastest_minutes([]).values())).all()
