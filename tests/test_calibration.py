"""What probabilities are worth: errors, temperatures and abstention whose answers are known."""

import numpy as np
import pytest

from safe_companion import calibration as cal


def answers(rng, count, accuracy):
    """Confidences between 0.5 and 1, and whether each answer is right: accuracy(confidence)."""
    confidence = rng.uniform(0.5, 1, count)
    return confidence, rng.random(count) < accuracy(confidence)


def test_the_error_is_the_weighted_gap_of_the_bins():
    confidence = [0.9, 0.9, 0.9, 0.9, 0.55, 0.55]
    correct = [1, 1, 0, 0, 1, 0]
    found = cal.calibration_error(confidence, correct, bins=10).found
    assert found == pytest.approx(100 * (4 * 0.4 + 2 * 0.05) / 6)
    assert cal.calibration_error([1.0, 0.0], [1, 0]).found == 0
    assert cal.calibration_error([1.0, 1.0], [0, 0]).found == 100
    signs = cal.calibration_error([0.2, 0.8], [1, 0], bins=2).found
    assert signs == pytest.approx(80)  # one too low and one too high do not cancel


def test_errors_of_one_bin_cancel_and_its_edges_are_those_of_equal_widths():
    assert cal.calibration_error([0.6, 0.8], [0, 1], bins=2).found == pytest.approx(20)
    assert cal.calibration_error([0.6, 0.8], [0, 1], bins=4).found == pytest.approx(40)


def test_chance_is_taken_off_the_error_and_its_interval_covers():
    rng = np.random.default_rng(0)
    for gap in (0.0, 0.05, 0.15):
        truth = 100 * gap
        found = [
            cal.calibration_error(*answers(rng, 700, lambda c, gap=gap: c - gap)) for _ in range(60)
        ]
        covered = np.mean([one.low <= truth <= one.high for one in found])
        assert covered > 0.8  # of 60 trials; it is about 0.92
        too_much = np.mean([one.found for one in found]) - truth
        assert too_much > 0
        assert abs(np.mean([one.corrected for one in found]) - truth) < max(1.5, too_much / 2)
        assert all(one.low <= one.corrected <= one.high for one in found)
    assert np.mean([one.high - one.low for one in found]) < 10  # they say something, too


def test_the_same_answers_give_the_same_interval():
    rng = np.random.default_rng(1)
    once = answers(rng, 200, lambda c: c)
    assert cal.calibration_error(*once) == cal.calibration_error(*once)


def test_reliability_has_a_line_for_each_bin_with_recordings():
    table = cal.reliability([0.95, 0.91, 0.3, 0.25], [1, 0, 1, 1], bins=10)
    assert table.recordings.tolist() == [1, 1, 2]
    assert table.confidence.tolist() == pytest.approx([25, 30, 93])
    assert table.accuracy.tolist() == [100, 100, 50]
    assert (table.low < table.accuracy).all() and table.high.iloc[0] == pytest.approx(100)
    # Wilson's interval of 1 of 2, by its formula
    z = 1.959964
    half = z / (1 + z**2 / 2) * np.sqrt(0.25 / 2 + z**2 / 16)
    assert table.low.iloc[2] == pytest.approx(100 * (0.5 - half), abs=1e-4)


def test_who_abstains_where_unsure_is_right_more_often():
    table = cal.abstention([0.5, 0.9, 0.7, 0.6], [0, 1, 1, 0])
    assert table.coverage.tolist() == [25, 50, 75, 100]
    assert table.accuracy.tolist() == pytest.approx([100, 100, 200 / 3, 50])


def test_a_temperature_undoes_what_made_a_model_too_sure():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (4000, 5))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=p) for p in true])
    for factor in (3.0, 1.0, 0.4):
        sure = cal.rescaled(logits * factor, 1.0)
        temperature = cal.fit_temperature(sure, labels)
        assert temperature == pytest.approx(factor, rel=0.08)
        again = cal.rescaled(sure, temperature)
        assert np.allclose(np.exp(again).sum(axis=1), 1)
        assert (again.argmax(axis=1) == sure.argmax(axis=1)).all()
        right = sure.argmax(axis=1) == labels
        after = cal.calibration_error(np.exp(again).max(axis=1), right)
        assert after.low < 1
        if factor != 1:
            assert cal.calibration_error(np.exp(sure).max(axis=1), right).low > 3


def test_a_temperature_needs_recordings():
    with pytest.raises(ValueError, match="no held-out recordings"):
        cal.fit_temperature(np.empty((0, 3)), np.empty(0, int))
