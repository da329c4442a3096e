"""Costs of a model: what is counted, against what is known; what is measured, of a tiny model."""

import json

import pytest

import safe_core
from safe_companion import cost


@pytest.fixture(scope="module")
def counts():
    return cost.Counts("pokerevent")


def test_operations_of_the_vision_tower_are_those_that_are_known(counts):
    """ViT-B/16 at 224 pixels takes 17.6 billion multiply-adds an image."""
    parameters, flops, tokens, width = counts.towers["paper", "clip"]
    assert 2 * 17.3e9 < flops < 2 * 17.9e9 and (tokens, width) == (197, 768)
    assert 85e6 < parameters < 87e6


def test_parts_are_those_of_the_model_that_is_built(counts):
    line = counts.row("sample")
    model = cost.build("sample", "pokerevent")
    assert line["parameters"] == sum(p.numel() for p in model.parameters())
    assert line["text parameters"] == cost.parameters(model.text)
    assert line["vision parameters"] == cost.parameters(model.vision)


def test_a_camera_or_frames_less_cost_less(counts):
    table = counts.table()
    assert set(table.index) == {(p, row) for p in cost.PRESETS for row in cost.ROWS}
    for preset in cost.PRESETS:
        part = table.loc[preset]
        assert part["vision tower"]["full model"] == 2 * part["vision tower"]["RGB only"]
        assert part["text tower"]["without text"] == part["text parameters"]["without text"] == 0
        frames = [part.fusion[f"{count} frame{'s' * (count > 1)}"] for count in (1, 3, 7)]
        assert frames == sorted(frames) and frames[0] < frames[2] / 4
        assert part.fusion["frames averaged"] < part.fusion["3 frames"]


def test_a_row_is_measured_with_its_texts_anew_and_kept():
    measured = cost.measure_row("sample", "hardvs", "full model", seconds=0)
    assert set(measured) == {"texts anew", "texts kept", "weights_mib"}
    for way in ("texts anew", "texts kept"):
        times = measured[way]
        assert 0 < times["fastest_ms"] <= times["median_ms"] <= times["slowest_ms"]
        assert times["repeats"] == 5
    model = cost.build("sample", "hardvs")
    size = 4 * sum(p.numel() for p in model.parameters()) / 2**20
    assert measured["weights_mib"] == pytest.approx(size)
    without = cost.measure_row("sample", "hardvs", "without text", seconds=0)
    assert "texts kept" not in without and without["weights_mib"] < size
    assert cost.by_way(without) == {cost.KEPT: without["texts anew"]}
    assert list(cost.by_way(measured).values()) == [measured["texts kept"], measured["texts anew"]]


def test_times_of_a_busy_machine_stand_apart(tmp_path, monkeypatch):
    file = tmp_path / "cost.json"
    monkeypatch.setattr(cost, "FILE", file)
    assert cost.entries("hardvs") == ([], [])
    monkeypatch.setattr(cost, "measure_row", lambda preset, dataset, row: {"row": row})
    monkeypatch.setattr(cost.os, "getloadavg", lambda: (0.5, 0, 0))
    cost.measure("hardvs")
    cost.measure("hardvs")  # in the place of the first
    cost.measure("pokerevent")
    assert len(json.loads(file.read_text())) == 2
    (quiet,), busy = cost.entries("hardvs")
    assert not busy and set(quiet["results"]["sample"]) == set(cost.MEASURED)
    assert quiet["device"] == safe_core.here()[0].type
    assert cost.measured_on(quiet).startswith(f"Measured on {quiet['date']}: ")
    cores = quiet["hardware"]["cores"]
    for load, device, is_busy in [(cores + 1, "cpu", 1), (cores + 0.4, "cpu", 0), (99, "cuda", 0)]:
        file.write_text(json.dumps([quiet | {"load": [0.1, load], "device": device}]))
        assert [len(found) for found in cost.entries("hardvs")] == [1 - is_busy, is_busy]
