"""The code computes the numbers of tests/golden/: see golden.py and safe_companion/behaviour.py."""

import json

import golden
import pytest

from safe_companion import behaviour


def check(group):
    compute, *_ = golden.GROUPS[group]
    lines = golden.differences(group, compute())
    assert not lines, "\n".join([*lines, "if that is intended, see CONTRIBUTING.md"])


def test_sample():
    check("sample")


def test_clips():
    check("clips")


def test_model():
    check("model")
    check("training")


def test_released():
    check("released")


def test_peers():
    check("peers")


def test_every_group_is_stored_in_its_present_version():
    stored = {file.stem: json.loads(file.read_text()) for file in golden.FOLDER.glob("*.json")}
    assert {name: content["version"] for name, content in stored.items()} == behaviour.VERSIONS
    assert set(stored) == set(golden.GROUPS)


def test_another_number_is_a_difference(monkeypatch):
    values = {"a": [1.0, 2.0], "b": [3.0]}
    monkeypatch.setattr(golden, "stored", lambda group: {"values": values})
    assert golden.differences("clips", values) == []
    assert golden.differences("clips", values | {"b": [3.01]}) == []  # within its tolerance
    assert golden.differences("clips", values | {"b": [3.2]}) == [
        "clips, b: number 0 is 3.2, 3 in the file"
    ]
    assert golden.differences("clips", {"a": [1.0, 2.0, 3.0]}) == [
        "clips, a: 3 numbers, 2 in the file",
        "clips, b: only in the file",
    ]


@pytest.mark.parametrize(
    ("fields", "groups"),
    [
        ({}, {"sample", "clips", "model", "training"}),
        ({"data_root": "/data"}, {"clips", "model", "training"}),
        ({"fusion": "released"}, {"sample", "clips", "released", "training"}),
        ({"model": "tsm", "fusion": "released"}, {"sample", "clips", "peers", "training"}),
    ],
)
def test_a_run_is_stamped_with_the_versions_that_decide_it(fields, groups):
    from safe_core import configure

    made_by = behaviour.versions_of(configure(**fields))
    assert set(made_by) == groups
    assert behaviour.outdated({"behaviour": made_by}) == []
    older = made_by | {"clips": made_by["clips"] - 1}
    assert behaviour.outdated({"behaviour": older}) == ["clips"]
