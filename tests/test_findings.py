"""First sentences of pages, and temperatures: what they say of numbers that are easy to follow."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import recipes
import torch
from made_runs import made_run
from test_prediction import make_checkpoint

import safe_core
from safe_companion import calibration, datasets, effects, findings, robustness, robustness_plots
from safe_companion import temperatures as temps

HERE = {"dataset": "hardvs", "origin": "sample"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAFE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    return recipes.make_root(tmp_path_factory.mktemp("hands") / "hands", per_class=4)


# ------------------------------------------------------------------------------- sentences
def test_a_finding_names_what_is_better_and_what_was_not_run():
    def runs(share):
        return [made_run(seed, [i < share for i in range(100)]) for seed in range(3)]

    found = {"paper": runs(60), "names": runs(90), "same": runs(60), "more": []}
    table = effects.effect_table(found, baseline="paper")
    assert findings.of_rows(table, **HERE) == (
        "**Beside paper (60.0 %): names is better by 30.0 ± 9.1 points; same is the same.** "
        "(sample of hardvs, top-1) Not run: more."
    )
    empty = effects.effect_table({"paper": runs(60), "names": []}, baseline="paper")
    assert findings.of_rows(empty, **HERE) == findings.NOT_RUN


def test_a_finding_says_what_would_not_have_been_seen():
    def runs(*first_right, seeds=3):
        return [made_run(s, [i in first_right or i > 50 for i in range(100)]) for s in range(seeds)]

    found = {"paper": runs(0, 1), "one": runs(0, 2), "two": runs(1, 3)}
    said = findings.of_rows(effects.effect_table(found, baseline="paper"), **HERE)
    assert ": of each of the rows we cannot tell: effects below" in said
    del found["two"]
    said = findings.of_rows(effects.effect_table(found, baseline="paper"), **HERE)
    assert ": of one we cannot tell: effects below" in said
    once = {"paper": runs(0, seeds=1), "one": runs(1, seeds=1)}
    said = findings.of_rows(effects.effect_table(once, baseline="paper"), **HERE)
    assert said.startswith("**Beside paper (50.0 %): one seed says nothing of 1 row.**")


def lines(**top1):
    """A table of tests, as robustness.read gives it."""
    found = [
        {"on": "corruptions", "what": what, "level": 1, "unit": "", "top1": value}
        | {"low": value - 5, "high": value + 5, "difference": -1.0, "half": 2.0}
        | {"confidence": 70.0, "calibration_error": 5.0}
        for what, value in top1.items()
    ]
    return pd.DataFrame(found)


def test_tables_of_several_seeds_are_averaged():
    tables = [
        lines(**{"nothing": 80, "RGB missing": 20}),
        lines(**{"nothing": 70, "RGB missing": 40}),
    ]
    found = robustness.over_seeds(tables)
    assert found.top1.tolist() == [75, 30] and found.seeds.tolist() == [2, 2]
    said = findings.of_robustness({"paper": found}, **HERE)
    assert said == "**paper: 75 %, 30 with RGB missing** (top-1, sample of hardvs)."
    assert findings.of_robustness({}, **HERE) == findings.NOT_RUN


def test_a_finding_says_whether_a_model_is_too_sure():
    table = pd.DataFrame(
        {
            "confidence": [80.0, 60.0, 70.0],
            "top-1 [%]": [70.0, 75.0, 70.0],
            "corrected": [10.0, 15.0, 1.0],
            "low": [6.0, 11.0, 0.0],
        },
        index=["sure", "shy", "fine"],
    )
    said = findings.of_calibration(table, **HERE)
    assert "sure: 10.0 % (too sure)" in said and "shy: 15.0 % (not sure enough)" in said
    assert "fine: 1.0 % (no error that chance could not make)" in said
    assert findings.of_calibration(table[:0], **HERE) == findings.NOT_RUN


# ------------------------------------------------------------------------------- pictures
def test_pictures_show_every_model_and_level():
    table = lines(**{"nothing": 80, "RGB missing": 20})
    at = [("light", v, 50 + 10 * i) for i, v in enumerate((1.0, 0.1))] + [("speed", 0.3, 70)]
    for axis, level, top1 in at:
        more = lines(**{axis: top1}).assign(on="levels", level=level)
        table = pd.concat([table, more], ignore_index=True)
    ax = robustness_plots.show_corruptions({"a": table, "b": table}, title="t").axes[0]
    assert [line.get_label() for line in ax.lines] == ["a", "b"]
    assert ax.lines[0].get_xdata().tolist() == [80, 20]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert [names[y] for y in ax.lines[0].get_ydata()] == ["nothing", "RGB missing"]
    light, speed, noise = robustness_plots.show_levels({"a": table}, title="t").axes
    assert light.lines[0].get_ydata().tolist() == [50, 60]
    assert speed.lines[0].get_xdata().tolist() == [0.3] and not len(noise.lines[0].get_xdata())
    curve = calibration.abstention([0.9] * 10 + [0.5] * 10, [1] * 10 + [0] * 10)
    ax = robustness_plots.show_abstention({"a": curve}, title="t").axes[0]
    assert ax.lines[0].get_ydata()[[0, -1]].tolist() == [100, 50]
    bins = calibration.reliability([0.9] * 10, [1] * 9 + [0])
    ax = robustness_plots.show_reliability({"a": bins}, title="t").axes[0]
    assert ax.lines[1].get_ydata().tolist() == [90]


# ------------------------------------------------------------------------------- temperatures
def test_a_temperature_is_fitted_on_what_is_held_out_of_training(hands, tmp_path):
    fields = {"dataset": "hardvs", "val_fraction": 0.5}
    checkpoint = make_checkpoint(tmp_path / "run", hands, **fields)
    model, _ = safe_core.load_model(checkpoint)
    splits = datasets.open_dataset(model.config)
    assert temps.held_out(model.config, splits) is splits.val
    found = temps.fitted(checkpoint)
    val = safe_core.predict(model, splits.val, model.config).double().numpy()
    expected = calibration.fit_temperature(val, splits.val.labels.numpy())
    assert found["temperature"] == pytest.approx(expected, rel=1e-3)
    assert found["held out"] == len(splits.val) == 4
    test = safe_core.predict(model, splits.test, model.config)
    loss = torch.nn.functional.nll_loss(test, splits.test.labels)
    assert found["loss before"] == pytest.approx(float(loss), rel=1e-4)
    scaled = calibration.rescaled(test.numpy(), found["temperature"])
    rows = np.arange(len(scaled))
    assert found["loss after"] == pytest.approx(-scaled[rows, splits.test.labels].mean(), rel=1e-4)


def test_without_held_out_recordings_the_other_sample_serves(hands, monkeypatch):
    config = safe_core.configure("sample", data_root=str(hands), dataset="hardvs", val_fraction=0.0)
    splits = datasets.open_dataset(config)
    with pytest.raises(ValueError, match="val_fraction=0.0, so no recording is held out"):
        temps.held_out(config, splits)
    asked = []
    monkeypatch.setattr(datasets, "open_dataset", lambda c: asked.append(c) or splits)
    sample = safe_core.configure(dataset="hardvs", val_fraction=0.0)
    assert temps.held_out(sample, splits) is splits.test
    assert asked == [dataclasses.replace(sample, sample_seed=1)]
    with pytest.raises(ValueError, match="no recording is held out"):
        temps.held_out(asked[0], splits)
