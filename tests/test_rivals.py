"""The rivals of a fusion, made of two models' answers: by hand, and against what they promise."""

import numpy as np
import pandas as pd
import pytest

from safe_companion import effects, predictions, rivals

LABELS = [0, 1, 2, 0]
RGB = [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]]  # right on r0, r2
EVENT = [[0.1, 0.6, 0.3], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]  # right on r1


def run_of(probabilities, seed=0, *, whole=True, name="rgb"):
    log_probs = np.log(np.array(probabilities, dtype=np.float32))
    recordings = pd.DataFrame(
        {"name": [f"r{i}" for i in range(4)], "label": LABELS, "condition": "none"}
    )
    order = (-log_probs).argsort(axis=1, kind="stable")
    table = predictions.as_table(recordings, log_probs, order)
    return {
        "config": {"seed": seed},
        "hardware": {"gpu": None},
        "path": f"results/{name}/seed{seed}",
        "predictions": table,
        "log_probs": log_probs if whole else None,
        "test": {"top1": 100 * table.correct.mean(), "top5": 100.0, "loss": 1.0},
    }


def test_each_rival_answers_as_it_promises():
    found = rivals.rivals([run_of(RGB)], [run_of(EVENT, name="event")])
    answers = {name: list(runs[0]["predictions"].class1) for name, runs in found.items()}
    assert answers == {
        "RGB alone": [0, 0, 2, 1],
        "events alone": [1, 1, 0, 1],
        "surer of the two": [0, 1, 0, 1],
        rivals.LATE: [1, 1, 0, 1],  # products .07 .12 .03; .05 .32 .01; .15 .12 .04
        "oracle": [0, 1, 2, 1],
    }
    accuracies = {name: runs[0]["test"]["top1"] for name, runs in found.items()}
    assert accuracies == {
        "RGB alone": 50,
        "events alone": 25,
        "surer of the two": 50,
        rivals.LATE: 25,
        "oracle": 75,
    }
    for name, runs in found.items():
        table = runs[0]["predictions"]
        assert list(table.correct) == list(table.class1 == LABELS), name
        assert list(table.columns) == list(found["RGB alone"][0]["predictions"].columns)


def test_the_mean_has_the_probabilities_of_the_product():
    (fused,) = rivals.rivals([run_of(RGB)], [run_of(EVENT)])[rivals.LATE]
    product = np.sqrt(np.array(RGB) * np.array(EVENT))
    expected = product / product.sum(axis=1, keepdims=True)
    assert np.exp(fused["log_probs"]) == pytest.approx(expected, abs=1e-5)
    table = fused["predictions"]
    assert list(table.p) == pytest.approx([expected[i, label] for i, label in enumerate(LABELS)])
    assert list(table.p1) == pytest.approx(expected.max(axis=1))


def test_seeds_are_paired_and_compared_as_runs_are():
    rgb = [run_of(RGB, seed) for seed in (0, 1, 2)]
    event = [run_of(EVENT, seed, name="event") for seed in (2, 1)]
    found = rivals.rivals(rgb, event)
    assert {tuple(run["config"]["seed"] for run in runs) for runs in found.values()} == {(1, 2)}
    fused = [run_of(RGB, seed, name="both") for seed in (1, 2)]
    gain = effects.difference(fused, found["events alone"])
    assert (gain.mean, gain.pairs) == (25, 2)
    assert effects.difference(found["surer of the two"], found["oracle"]).mean == -25
    assert "rgb/seed1 and results/event/seed1" in found["oracle"][0]["path"]


def test_without_all_log_probabilities_there_is_no_mean_and_the_others_stay():
    rgb, event = run_of(RGB), run_of(EVENT)
    found = rivals.rivals([run_of(RGB, whole=False)], [event])
    assert found[rivals.LATE] == []
    whole = rivals.rivals([rgb], [event])
    for name in ("surer of the two", "oracle"):
        pd.testing.assert_frame_equal(found[name][0]["predictions"], whole[name][0]["predictions"])
    assert found["surer of the two"][0]["log_probs"] is None
    picked = whole["surer of the two"][0]["log_probs"]
    assert list(picked.argmax(axis=1)) == [0, 1, 0, 1]


def test_a_model_without_labels_can_stand_for_rgb():
    zero_shot = np.log(np.array(EVENT, dtype=np.float32))
    found = rivals.rivals([run_of(RGB)], [run_of(EVENT)], zero_shot)
    (run,) = found["zero-shot RGB and events"]
    assert list(run["predictions"].class1) == [1, 1, 0, 1]
    assert "zero-shot RGB and events" not in rivals.rivals([run_of(RGB)], [run_of(EVENT)])


def test_other_recordings_are_refused():
    other = run_of(EVENT)
    other["predictions"] = other["predictions"].assign(name=["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="tested different recordings"):
        rivals.rivals([run_of(RGB)], [other])


def test_the_oracle_is_never_below_the_others():
    rng = np.random.default_rng(0)
    for _ in range(20):
        pair = [rng.dirichlet(np.ones(3), 4) for _ in range(2)]
        found = rivals.rivals([run_of(pair[0])], [run_of(pair[1])])
        best = found["oracle"][0]["test"]["top1"]
        names = ("RGB alone", "events alone", "surer of the two")
        assert all(found[name][0]["test"]["top1"] <= best for name in names)


def test_two_seeds_are_averaged_as_two_cameras_are():
    runs = [run_of(RGB, 0), run_of(EVENT, 1)]
    (run,) = rivals.of_two_seeds(runs)
    assert run["config"]["seed"] == 0
    assert list(run["predictions"].class1) == [1, 1, 0, 1] and run["test"]["top1"] == 25
    more = [*runs, run_of(EVENT, 2), run_of(RGB, 3)]
    assert [run["config"]["seed"] for run in rivals.of_two_seeds(more)] == [0, 2]
    assert len(rivals.of_two_seeds(more[:3])) == 1
    assert rivals.of_two_seeds(runs[:1]) == []
    assert rivals.of_two_seeds([run_of(RGB, 0), run_of(EVENT, 1, whole=False)]) == []


def test_the_average_of_two_seeds_is_compared_with_the_late_fusion_by_seed():
    fused = [run_of(RGB, 0), run_of(EVENT, 1), run_of(EVENT, 2), run_of(RGB, 3)]
    late = rivals.rivals(fused, [run_of(EVENT, seed) for seed in range(4)])
    late = late[rivals.LATE]
    same = (
        "25.0 % beside 25.0 % of late fusion, the same in every answer, 2 paired runs"  # of 0 and 2
    )
    assert rivals.averaged(fused, late) == same
    better = [run_of(np.eye(3)[[0, 1, 2, 0]] * 0.9 + 0.05, seed) for seed in range(4)]
    assert rivals.averaged(fused, better) not in (same, "")
    assert rivals.averaged(fused[:1], late) == ""


def test_a_rival_is_no_run_that_was_made_elsewhere():
    rgb = run_of(RGB) | {"elsewhere": run_of(RGB)}
    assert rivals.rivals([rgb], [run_of(EVENT)])["surer of the two"][0]["elsewhere"] is None
