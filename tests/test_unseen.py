"""Held-out classes: which, what of them training sees, and how they are scored."""

import numpy as np
import pandas as pd
import pytest
import torch
from recipes import make_root

from safe_companion import unseen
from safe_companion.datasets import open_dataset
from safe_core import configure

NAMES = [f"kind {letter}" for letter in "abcdefghij"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    return make_root(tmp_path / "root", names=NAMES)


def opened(root, **fields):
    asked = {"dataset": "hardvs", "data_root": str(root), "workers": 0} | fields
    return open_dataset(configure("sample", **asked))


# ---------------------------------------------------------------- which
@pytest.mark.parametrize(("count", "each"), [(24, 5), (26, 5), (300, 60), (5, 1)])
def test_a_draw_is_a_fifth_and_all_draws_are_of_one_reserve(count, each):
    draws = [unseen.held_out(count, draw) for draw in range(1, 6)]
    reserve = unseen.reserve(count)
    assert len(reserve) == round(2 * count / 5)
    for labels in draws:
        assert len(set(labels)) == len(labels) == each and set(labels) <= set(reserve)
        assert labels == sorted(labels) and max(labels) < count
    if count > 5:
        assert len(set(map(tuple, draws))) == 5
        assert set().union(*draws) == set(reserve) or count == 300


def test_a_draw_is_the_same_everywhere_and_zero_holds_out_nothing():
    assert unseen.held_out(24, 1) == unseen.held_out(24, 1)
    assert unseen.held_out(24, 0) == unseen.held_out(2, 0) == []
    with pytest.raises(ValueError, match="at least 5 classes, found 4"):
        unseen.held_out(4, 1)


# ---------------------------------------------------------------- what training sees
def test_held_out_classes_are_in_the_test_list_only(root):
    splits = opened(root, held_out=2, val_fraction=0.3)
    absent = set(unseen.held_out(10, 2))
    assert splits.class_names == NAMES
    assert set(splits.test.labels.tolist()) == set(range(10))
    for split in (splits.train, splits.val):
        assert set(split.labels.tolist()) == set(range(10)) - absent
    whole = opened(root, val_fraction=0.3)
    kept = [
        name
        for name, label in zip(whole.train.names, whole.train.labels, strict=True)
        if int(label) not in absent
    ]
    assert splits.train.names == kept  # nothing else changes
    assert splits.fingerprint == whole.fingerprint


def test_too_few_classes_to_hold_any_out_stop_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))
    few = make_root(tmp_path / "root", names=NAMES[:3])
    with pytest.raises(ValueError, match="at least 5 classes, found 3"):
        opened(few, held_out=1)


def test_a_loss_over_the_trained_classes_does_not_push_the_others_down():
    logits = torch.randn(6, 10, requires_grad=True)
    absent = [2, 7]
    others = torch.tensor([i for i in range(10) if i not in absent])
    labels = others[:6]
    torch.nn.functional.cross_entropy(unseen.only_trained(logits, others), labels).backward()
    assert not logits.grad[:, absent].any()
    assert logits.grad[:, others].all()
    assert torch.equal(unseen.only_trained(logits, torch.arange(10)), logits)


# ---------------------------------------------------------------- scores
def test_seen_and_unseen_classes_are_scored_apart():
    correct = [True, True, True, False, True, False, False, False]
    table = pd.DataFrame({"label": [0, 0, 0, 0, 1, 1, 2, 2], "correct": correct})
    found = unseen.scores(table, [1, 2])
    assert found == {"seen": 75.0, "unseen": 25.0, "harmonic mean": 37.5}
    none = unseen.scores(table, [2])
    assert none["unseen"] == none["harmonic mean"] == 0
    assert np.isnan(unseen.scores(table, [])["unseen"])


def test_answers_among_the_unseen_names_ignore_all_others():
    log_probs = np.log([[0.7, 0.2, 0.1], [0.6, 0.1, 0.3], [0.1, 0.5, 0.4], [0.9, 0.05, 0.05]])
    labels = np.array([1, 2, 2, 0])
    assert unseen.among(log_probs, labels, [1, 2]) == pytest.approx(100 * 2 / 3)
    assert unseen.among(log_probs, labels, [2]) == 100  # nothing else can be said
