"""Counts and differences as they are said: by grammar, with true minus signs, without exponents."""

import math

import pytest
from made_runs import made_run

from safe_companion import effects, wording


def test_nouns_follow_their_count():
    assert [wording.counted(n, "run") for n in (0, 1, 2, 1200)] == [
        "0 runs",
        "1 run",
        "2 runs",
        "1,200 runs",
    ]
    assert wording.counted(2, "class", "classes") == "2 classes"
    assert wording.counted(1, "class", "classes") == "1 class"


def test_two_ends_that_are_equal_are_said_once():
    assert wording.span("3", "8") == "3 to 8"
    assert wording.span("8", "8") == "8"


@pytest.mark.parametrize(
    "value,words",
    [(3548, "3,550"), (0.01234, "0.0123"), (0.999, "0.999"), (9.996, "10.0"), (12345, "12,300")]
    + [(0, "0"), (-0.5, "-0.500"), (1e-7, "0.000000100")],
)
def test_a_number_of_any_size_has_three_digits_and_no_exponent(value, words):
    assert wording.significant(value) == words


def test_unknown_numbers_are_no_numbers():
    assert wording.significant(math.nan) == "nan" and wording.plus_minus(math.nan) == ""


def test_a_difference_is_better_or_worse_by_its_size():
    assert wording.compared(-10.12, 2.5, 5, "worse") == "worse by 10.1 ± 2.5 points, 5 paired runs"
    assert wording.compared(0.8, 0.5, 1, "better") == "better by 0.8 ± 0.5 points, 1 paired run"
    unclear = "cannot tell from zero: effects below 3.0 can be missed"
    assert wording.compared(-0.5, 2, 3, unclear) == f"−0.5 ± 2.0 points, 3 paired runs: {unclear}"
    assert wording.compared(0, 0, 2, "the same") == "the same in every answer, 2 paired runs"
    alone = "one seed: no interval"
    assert wording.compared(2.0, math.nan, 1, alone) == f"+2.0 points with {alone}"
    assert wording.compared(math.nan, math.nan, 0, "not run") == "not run"


def test_a_difference_that_can_be_told_looks_like_one_after_rounding():
    assert wording.of_difference(-0.44, 0.36) == "−0.44 ± 0.36"
    assert wording.of_difference(0.44, 0.36, sign=False) == "0.44 ± 0.36"
    assert wording.compared(-0.44, 0.36, 4, "worse") == "worse by 0.44 ± 0.36 points, 4 paired runs"
    assert wording.of_difference(0.36, 0.44) == "+0.4 ± 0.4"  # which cannot be told, and reads so
    assert wording.of_difference(-1.25, 0.9) == "−1.2 ± 0.9"
    assert wording.of_difference(2.0, math.nan) == "+2.0"


def test_what_rounds_to_nothing_is_neither_better_nor_worse():
    assert wording.better_or_worse(-0.04) == "no better and no worse"
    assert wording.better_or_worse(-3.21) == "worse by 3.2 points"
    assert wording.better_or_worse(-0.5) == "worse by 0.5 points"
    assert wording.better_or_worse(3.21, 2) == "better by 3.21 points"


def test_a_difference_of_runs_says_itself():
    runs = [made_run(seed, [i < 60 for i in range(100)]) for seed in range(3)]
    more = [made_run(seed, [i < 90 for i in range(100)]) for seed in range(3)]
    gain = effects.difference(more, runs)
    assert gain.sentence == f"better by 30.0 ± {gain.half:.1f} points, 3 paired runs"
