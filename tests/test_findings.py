"""First sentences of pages, and temperatures: what they say of numbers that are easy to follow."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import recipes
import torch
from made_runs import made_run
from scipy import stats
from test_prediction import make_checkpoint

import safe_core
from safe_companion import (
    calibration,
    cost,
    datasets,
    effects,
    findings,
    picture_findings,
    robustness,
    robustness_plots,
    variance,
)
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
        "**Beside *paper* (60.0 %): *names* is better by 30.0 ± 9.1 points; *same* is the same** "
        "(sample of HARDVS, top-1). Not run: *more*."
    )
    empty = effects.effect_table({"paper": runs(60), "names": []}, baseline="paper")
    assert findings.of_rows(empty, **HERE) == findings.NOT_RUN


def test_a_finding_says_what_would_not_have_been_seen():
    def runs(*first_right, seeds=3):
        return [made_run(s, [i in first_right or i > 50 for i in range(100)]) for s in range(seeds)]

    found = {"paper": runs(0, 1), "one": runs(0, 2), "two": runs(1, 3)}
    said = findings.of_rows(effects.effect_table(found, baseline="paper"), **HERE)
    assert ": none of the rows can be told from it (effects below 4.0 points can be" in said
    del found["two"]
    said = findings.of_rows(effects.effect_table(found, baseline="paper"), **HERE)
    assert ": *one* (0.0 ± 2.8 points) cannot be told from it (effects below" in said
    once = {"paper": runs(0, seeds=1), "one": runs(1, 2, seeds=1), "two": runs(seeds=1)}
    said = findings.of_rows(effects.effect_table(once, baseline="paper"), **HERE)
    assert said.startswith(
        "**Beside *paper* (50.0 %): with one seed in common there is no verdict on *one* (+1.0 "
        "points) and *two* (−1.0 points)** (sample of HARDVS, top-1)."
    )


def lines(**top1):
    """A table of tests, as robustness.read gives it."""
    found = [
        {"on": "corruptions", "what": what, "level": 1, "unit": "", "top1": value}
        | {"low": value - 5, "high": value + 5, "difference": -1.0, "half": 2.0}
        | {"confidence": 70.0, "calibration_error": 5.0}
        for what, value in top1.items()
    ]
    return pd.DataFrame(found)


def test_rows_that_are_hardly_trained_are_named():
    assert findings.of_untrained([]) == ""
    said = findings.of_untrained(["C3D", "MViT"])
    assert said == " *C3D* and *MViT* are hardly trained: what they can do is not seen here."


def test_rows_that_are_hardly_trained_are_compared_with_nothing():
    def runs(share):
        return [made_run(seed, [i < share for i in range(100)]) for seed in range(3)]

    found = {"paper": runs(60), "names": runs(90), "C3D": runs(10)}
    table = effects.effect_table(found, baseline="paper")
    said = findings.of_rows(table, untrained=["C3D"], **HERE)
    assert "*names* is better" in said and "*C3D* is worse" not in said
    assert said.endswith(" *C3D* is hardly trained: what it can do is not seen here.")
    first = findings.of_rows(table, untrained=[table.index[0]], **HERE)
    assert "nothing is trained far enough to be compared" in first
    none = findings.of_rows(table, untrained=["C3D", "names"], **HERE)
    assert none.startswith("**Beside *paper* (60.0 %) nothing is trained far enough to be compared")


def test_a_finding_counts_the_verdicts_on_the_papers_differences():
    columns = ["difference", "± difference", "paper difference", "detectable", "verdict"]
    table = pd.DataFrame(
        [
            [np.nan, np.nan, np.nan, np.nan, "sample only: needs PokerEvent"],
            [0.7, 0.6, -2.7, 0.8, "opposite"],
            [0.1, 0.4, -1.6, 0.6, "smaller than the paper's"],
            [-0.2, 0.5, -0.4, 1.3, "cannot tell"],
        ],
        index=["all", "no MT", "no SCI", "no AFE"],
        columns=columns,
    )
    assert findings.of_verdicts(table, **HERE) == (
        "**The paper's 3 differences, here: 1 in the opposite direction: *no MT* +0.7 ± 0.6 (the "
        "paper −2.7); 1 smaller, and not to be told from zero: *no SCI* (+0.1 ± 0.4 points); 1 to "
        "be told neither from zero nor from the paper's: *no AFE* (−0.2 ± 0.5 points)** (sample of "
        "HARDVS, points of top-1; effects from 0.6 to 1.3 would be seen 4 times in 5)."
    )
    table.loc["7 frames"] = [np.nan, np.nan, -0.3, np.nan, "not run"]
    assert findings.of_verdicts(table, **HERE).startswith(
        "**Of the paper's 4 differences 3 were run here: 1 in the opposite direction: *no MT* +0.7"
    )
    many = pd.concat([table[2:3]] * 4)
    assert "4 smaller, and not to be told from zero: *no SCI*, *no SCI*" in findings.of_verdicts(
        many, **HERE
    )
    assert findings.of_verdicts(table[:1], **HERE) == findings.NOT_RUN
    once = table[2:3].assign(verdict="one seed: no interval", detectable=float("nan"))
    assert findings.of_verdicts(once, **HERE) == (
        "**The paper's 1 difference, here: 1 with one seed in common, so without a verdict: "
        "*no SCI* (+0.1 ± 0.4 points)** (sample of HARDVS, points of top-1)."
    )


def test_tables_of_several_seeds_are_averaged():
    tables = [
        lines(**{"nothing": 80, "RGB missing": 20}),
        lines(**{"nothing": 70, "RGB missing": 40}),
    ]
    found = robustness.over_seeds(tables)
    assert found.top1.tolist() == [75, 30] and found.seeds.tolist() == [2, 2]
    said = findings.of_robustness({"paper": found}, **HERE)
    assert said == (
        "**Of 1 model, RGB missing costs 45.0 points** (top-1, 2 seeds each, sample of HARDVS):\n\n"
        "- paper: 75.0 %, 30.0 with RGB missing"
    )
    assert findings.of_robustness({}, **HERE) == findings.NOT_RUN


def test_a_finding_says_whether_a_model_is_too_sure(monkeypatch):
    table = pd.DataFrame(
        {
            "confidence": [80.0, 60.0, 70.0],
            "top-1 [%]": [70.0, 75.0, 70.0],
            "corrected": [10.0, 15.0, 1.0],
            "low": [6.0, 11.0, 0.4],
        },
        index=["sure", "shy", "fine"],
    )
    said = findings.of_calibration(table, **HERE)
    assert "sure: 10.0 % (overconfident)" in said and "shy: 15.0 % (underconfident)" in said
    assert "fine: 1.0 % (interval from 0.4 %: cannot be told from none)" in said
    assert said.endswith(" An error can be told where its interval begins above 0.5 %.")
    assert "An error can be told" not in findings.of_calibration(table[:2], **HERE)  # all are
    monkeypatch.setattr(findings, "SMALL", 7)
    assert findings.of_calibration(table, **HERE).endswith("begins above 7 %.")
    assert said.startswith("**Of 3 models 2 can be told to be miscalibrated** (sample of HARDVS).")
    assert findings.of_calibration(table[:0], **HERE) == findings.NOT_RUN


# ------------------------------------------------------------------------------- the figures
ABOUT = {"about": "sample of hardvs"}


def looked(even=(98.0, 99.0), apart=(6.0, 7.0)):
    """A table of attention.ipynb."""
    lines = {
        "evenness [%]": [*even, 99.6, 99.5],
        "true against wrong class [%]": [*apart, 3.0, 3.1],
    }
    columns = ["RGB, trained", "events, trained", "RGB, control", "events, control"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def points(share, *, of=400):
    """±100, as the sign of the share, for so many percent of the recordings; 0 for the others."""
    changed = round(abs(share) / 100 * of)
    return np.array([100.0 * np.sign(share)] * changed + [0.0] * (of - changed))


def test_weights_are_a_guide_only_if_hiding_them_costs_more_than_both_others():
    costs = {"looked at elsewhere": points(10), "least looked at": points(20)}
    said = picture_findings.of_looking(looked(), costs, **ABOUT)
    assert said.startswith(
        "**A class leaves little of the image out, and the weights point at what an answer rests "
        "on** (sample of hardvs). Its weights are 98.0 and 99.0 % as even as they can be (RGB and "
        "events; 99.6 and 99.5 % without training). Of the weight, 6.0 and 7.0 % lies elsewhere "
    )
    of_patches = picture_findings.of_looking(looked(), costs, shares=(0.31, 2.28), **ABOUT)
    assert (
        "training), though single patches get 0.3 to 2.3 times the even share (98 % of them). Of"
        in of_patches
    )
    half = stats.t.ppf(0.975, 399) * np.std(points(10), ddof=1) / 20
    assert f"{10:.1f} ± {half:.1f} points more than hiding what is looked at elsewhere" in said
    costs["least looked at"] = points(-20)
    said = picture_findings.of_looking(looked(even=(98, 90)), costs, **ABOUT)
    assert "A class looks more at some places, and the weights do not rank what an answer" in said
    assert said.endswith("points fewer than hiding what is least looked at.")
    for slight in (-0.25, 0.25):  # one recording of 400
        costs["least looked at"] = points(slight)
        said = picture_findings.of_looking(looked(), costs, **ABOUT)
        assert "and whether the weights are a guide to what an answer rests on cannot be" in said
    seen = picture_findings.over_recordings(points(0.25)).smallest
    assert f"as hiding what is least looked at (effects below {seen:.1f} can be missed)" in said


def gained(*points):
    return effects.difference(*([made_run(s, p) for s in range(2)] for p in points))


def test_windows_of_equal_content_are_told_from_others():
    gain = gained([1] * 60 + [0] * 40, [0] * 40 + [1] * 20 + [0] * 40)
    even, uneven = [2000] * 90 + [4000] * 10, [0] * 50 + [9000] * 50
    said = picture_findings.of_windows(even, uneven, gain, **ABOUT)
    assert said == (
        "**AFE evens out what event images hold: 2,000 to 4,000 events, with one image a frame "
        "interval 0 to 9,000 (5th to 95th percentile; sample of hardvs)**. Top-1 accuracy with "
        f"AFE: {gain.sentence}."
    )
    assert "better by 40.0 ±" in said
    nothing = effects.difference([], [])
    said = picture_findings.of_windows(uneven, even, nothing, **ABOUT)
    assert "AFE does not even out what" in said and said.endswith("**. Accuracy: not run.")
    said = picture_findings.of_windows([], [], gain, **ABOUT)  # stored event images: no windows
    assert said.startswith("Top-1 accuracy with AFE: better by")
    assert picture_findings.of_windows([], [], nothing, **ABOUT) == findings.NOT_RUN


def cameras(rgb, event, both, **columns):
    names = ("RGB only", "events only", "RGB and events")
    return {
        name: [made_run(seed, right, **columns) for seed in range(2)]
        for name, right in zip(names, (rgb, event, both), strict=True)
    }


def test_a_second_camera_corrects_and_breaks():
    dark = 40
    rgb = [0] * dark + [1] * 60
    both = [1] * dark + [1] * 57 + [0] * 3
    event = [1] * dark + [0] * 60
    found = cameras(rgb, event, both, condition=["dark"] * dark + ["none"] * 60)
    table = picture_findings.added(found, both="RGB and events")
    assert list(table.loc["RGB only"].index) == ["all", "dark", "none"]
    counts = table[["recordings", "corrected", "broken"]]
    assert counts.loc["RGB only", "all"].tolist() == [100, 40, 3]
    assert counts.loc["events only", "none"].tolist() == [60, 57, 0]
    assert table.difference["RGB only", "all"] == pytest.approx(37)
    said = picture_findings.of_second_camera(table, 4.0, **ABOUT)
    assert said == (
        "**Adding events to RGB corrects 40 of 100 answers and breaks 3 (better in the dark; "
        "elsewhere we cannot tell), adding RGB to events corrects 57 of 100 answers and breaks 0 "
        "(better on easy recordings); another seed alone corrects 4 and breaks as many** (means "
        "of 2 paired runs, sample of hardvs)."
    )
    worse = picture_findings.added(
        cameras(both, event, rgb, condition=["dark"] * dark + ["none"] * 60), both="RGB and events"
    )
    said = picture_findings.of_second_camera(worse, float("nan"), **ABOUT)
    assert (
        "corrects 3 of 100 answers and breaks 40 (worse in the dark; else" in said
        and "seed" not in said
    )
    unclear = cameras([0, 1] * 50, [1, 0] * 50, [1] * 3 + [0] + [0, 1] * 48)
    for run in sum(unclear.values(), []):
        run["predictions"]["condition"] = ["dark", "none"] * 50
    table = picture_findings.added(unclear, both="RGB and events").drop(
        index=[("RGB only", "dark")]
    )
    said = picture_findings.of_second_camera(table, 4.0, **ABOUT)
    assert "and breaks 1 (cannot tell from zero: effects below" in said.partition(", adding RGB")[0]
    plain = picture_findings.added(
        cameras(rgb, event, both), both="RGB and events"
    )  # real recordings
    said = picture_findings.of_second_camera(plain, 4.0, **ABOUT)
    assert "corrects 40 of 100 answers and breaks 3 (better), adding RGB" in said
    assert picture_findings.of_second_camera(plain[:0], 4.0, **ABOUT) == findings.NOT_RUN


def test_answers_that_another_seed_changes_are_counted():
    runs = [made_run(0, [1, 1, 1, 0]), made_run(1, [0, 0, 1, 1])]
    assert picture_findings.between_seeds(runs) == 1.5  # 2 one way, 1 the other
    assert np.isnan(picture_findings.between_seeds(runs[:1]))
    runs[1]["hardware"]["gpu"] = "another kind of machine"
    assert np.isnan(picture_findings.between_seeds(runs))


def test_features_are_compared_over_the_same_recordings():
    right = {
        "RGB only": np.array([1] * 60 + [0] * 40),
        "events only": np.array([0] * 100),
        "both": np.array([1] * 80 + [0] * 20),
    }
    lines = {"the same, labels shuffled [%]": [3.0, 4.4, 2.0], "silhouette": [0.5, 0.02, 0.41]}
    table = pd.DataFrame(lines, index=list(right))
    said = picture_findings.of_neighbours(right, table, **ABOUT)
    half = stats.t.ppf(0.975, 99) * np.std([100] * 20 + [0] * 80, ddof=1) / 10
    assert said == (
        f"**Classes are separated best with both, 20.0 ± {half:.1f} points ahead of RGB only**: "
        "the nearest other test recording has the same class in 60.0 % with RGB only, 0.0 % with "
        "events only, 80.0 % with both (labels shuffled: at most 4.4 %); the silhouette, another "
        "measure, is highest with RGB only (sample of hardvs)."
    )
    right["both"] = np.array([1] * 61 + [0] * 39)
    said = picture_findings.of_neighbours(right, table, **ABOUT)
    assert said.startswith("**Classes are separated as well with RGB only as with both, as far as")
    assert "can be missed)**: the nearest" in said


def test_counts_stand_beside_the_papers():
    counts = {
        "HARDVS": {"categories": (300, 24), "samples": (96_908, 3_672)},
        "PokerEvent": {"categories": (114, 26), "samples": (24_415, 3_978)},
    }
    assert picture_findings.of_counts(counts, []) == (
        "**The sample of HARDVS holds 24 classes and 3,672 recordings where the paper counts 300 "
        "and 96,908; the sample of PokerEvent holds 26 classes and 3,978 recordings where the "
        "paper counts 114 and 24,415**: no count of the paper can be checked on them."
    )
    counts["HARDVS"] = {"categories": (300, 300), "samples": (96_908, 96_900)}
    assert picture_findings.of_counts(counts, ["HARDVS"]).startswith(
        "**1 of 2 counts of HARDVS are the paper's (not: samples 96,900 for 96,908); the sample of"
    )
    del counts["PokerEvent"]
    counts["HARDVS"]["samples"] = (96_908, 96_908)
    said = picture_findings.of_counts(counts, ["HARDVS"])
    assert said == "**2 of 2 counts of HARDVS are the paper's**."


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
    at = [(line.get_ydata()[0], line.get_ydata()[1]) for line in ax.lines]
    assert [names[round(y)] for y in at[0]] == ["undisturbed", "RGB missing"]
    assert at[0][0] - at[1][0] == pytest.approx(0.25)  # beside one another
    assert ax.figure.get_suptitle() == "Top-1 at the strongest level of each disturbance, t"
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


# ------------------------------------------------------------------------------- single pages
MINUS = "\N{MINUS SIGN}"


def runs_of(*right, seeds=3):
    """Runs that are right of the recordings above 50 and of these, of 0 to 50."""
    return [made_run(s, [i in right or i > 50 for i in range(100)]) for s in range(seeds)]


def deviations(choices, noted, **found):
    table = effects.effect_table({"ours": runs_of(0, 1, 2)} | found, baseline="ours")
    return findings.of_deviations(table, choices, noted, together="all", **HERE)


def test_choices_are_told_apart_by_what_is_known_of_them():
    worse = [made_run(seed, [i > 90 for i in range(100)]) for seed in range(3)]
    found = {"a": worse, "b": runs_of(0, 1, 5), "all": worse}
    half = {
        row: effects.difference(
            found[row], runs_of(0, 1, 2), table={"ours": runs_of(0, 1, 2)} | found
        )
        for row in found
    }
    said = deviations(["a", "b", "c", "d"], {"c": "could not matter (why)"}, **found)
    assert said == (
        "**2 of 4 choices of the released code were compared here by themselves: *a* is worse by "
        f"43.0 ± {half['a'].half:.1f} points; *b* (0.0 ± {half['b'].half:.1f} points) cannot be "
        f"told from it (effects below {half['b'].smallest:.1f} points can be missed). "
        "Known without a comparison: *c* could not matter (why). All of them together: worse by "
        f"43.0 ± {half['all'].half:.1f} points, 3 paired runs.** (sample of HARDVS, top-1, beside "
        "ours, 52.0 %)."
    )
    table = effects.effect_table({"ours": runs_of(0, 1, 2)} | found, baseline="ours")
    kinds = findings.of_choices(table, ["d", "c", "b", "a"], {"c": ""})
    assert list(kinds.items()) == [
        ("worse", ["a"]),
        ("cannot tell", ["b"]),
        ("noted", ["c"]),
        ("not run", ["d"]),
    ]


def test_choices_with_one_seed_have_no_verdict():
    once = {"a": runs_of(seeds=1), "b": runs_of(0, 1, 2, 3, seeds=1), "all": runs_of(seeds=1)}
    said = deviations(["a", "b", "c", "d"], {}, **once)
    assert said.startswith(
        "**2 of 4 choices of the released code were compared here by themselves: with one seed in "
        f"common there is no verdict on *a* ({MINUS}3.0 points) and *b* (+1.0 points). All of them "
        f"together: {MINUS}3.0 points with one seed: no interval.**"
    )
    del once["a"], once["b"]
    said = deviations(["a", "b"], {"a": "could not matter"}, **once)
    assert said.startswith(
        "**None of 2 choices of the released code was compared here by itself. Known without a "
        "comparison: *a* could not matter. All of them together: "
    )
    assert deviations(["a"], {"a": "could not matter"}) == findings.NOT_RUN


def test_wordings_are_told_from_seeds_only_where_they_scatter_more():
    def said(shift):
        rows = {
            "a": [80, 82, 84, 81],
            "b": [80.2 + shift, 82, 83.8 + shift, 81 + shift],
            "c": [79.9, 82.3, 84, 80.9],
        }
        found = {
            row: [made_run(s, [1, 0], top1=value) for s, value in enumerate(values)]
            for row, values in rows.items()
        }
        means = effects.effect_table(found, baseline="a")["top-1 [%]"]
        return findings.of_wording(means, variance.scatter(found, list(found)), **HERE)

    assert said(3).startswith("**Wording makes more difference than the seed: the means of 3")
    for shift in (0, 0.8):  # p = 0.96 and 0.06
        assert said(shift).startswith(
            "**Wording makes no difference that could be told from chance"
        )
    assert "a scatter below 0." in said(0) and "can be missed" not in said(3)
    once = {row: [made_run(0, [1, 0], top1=top1)] for row, top1 in {"a": 80, "b": 81.5}.items()}
    scatter = variance.scatter(once, ["a", "b"])
    assert findings.of_wording({"a": 80.0, "b": 81.5}, scatter, **HERE) == (
        "**Whether wording makes more difference than the seed cannot be told: too few rows have "
        "seeds in common** (sample of HARDVS, top-1). The 2 wordings have 80.0 to 81.5 %."
    )


def test_a_learning_rate_is_said_with_the_recordings_that_chose_it():
    tried = {
        "C3D": {3e-4: 11.0, 1e-3: 40.0, 3e-3: 20.0},
        "TSM": {3e-4: 70.0, 1e-3: 80.0, 3e-3: 90.0},
        "Swin": {3e-4: 4.1, 1e-3: 5.0, 3e-3: 3.3},
        "MViT": dict.fromkeys((3e-4, 1e-3, 3e-3), np.nan),
    }
    best = {"C3D": 1e-3, "TSM": 3e-3, "Swin": 1e-3}
    of_list = {"classes": 25, "recordings": 2500}
    said = findings.of_rates(tried, best, **of_list, **HERE)
    assert said == (
        "**Chosen for each method on recordings that no table tests: C3D 0.001 (40.0 %); TSM 0.003 "
        "(90.0 %), the highest that was tried; Swin 0.001 (5.0 %)** (sample of HARDVS, top-1, one "
        "run a rate). Not run with all: MViT."
    )
    tried["Swin"][1e-3] = 4.7  # within two standard errors of 4 %
    said = findings.of_rates(tried, best | {"C3D": 3e-4}, **of_list, dataset="x", origin="real")
    assert "Swin 0.001 (4.7 %), but with none does it learn more than to guess (4.0 %)" in said
    assert "held out of the training list: C3D 0.0003 (11.0 %), the lowest that was tried" in said
    assert findings.of_rates(tried, {}, **of_list, **HERE) == findings.NOT_RUN


def test_a_cost_is_said_in_parts_and_measured_only_where_it_was():
    columns = ["vision tower", "fusion", "parameters", "fusion parameters"]
    lines = {("paper", "full model"): [9e9, 1e9, 50e6, 5e6]}
    lines["paper", "RGB only"] = [4.5e9, 0.5e9, 40e6, 4e6]
    counts = pd.DataFrame.from_dict(lines, orient="index", columns=columns)
    counts.index = pd.MultiIndex.from_tuples(counts.index)
    said = cost.finding(counts, [])
    assert said == (
        "**At the paper's size the vision tower does 90 % of the work for a recording and the "
        "fusion 10 %** (10 GFLOP, the text tower's output kept from before); the fusion has 10 % "
        "of 50 million parameters. Both cameras take 2.0 times the operations of RGB alone. No "
        "time of a quiet machine was measured yet."
    )
    times = {"full model": 3000.0, "RGB only": 1200.0}
    entry = {
        "hardware": {"gpu": None, "cpu": "A CPU"},
        "threads": 2,
        "results": {"paper": {row: {"texts kept": {"median_ms": t}} for row, t in times.items()}},
    }
    said = cost.finding(counts, [entry])
    assert said.endswith("; measured: 3,000 ms beside 1,200 (2.5 times) on 2 threads of A CPU.")


def test_a_temperature_is_kept_beside_the_record_and_fitted_when_asked(tmp_path, monkeypatch):
    run = {"path": "results/run"}
    (tmp_path / run["path"]).mkdir(parents=True)
    monkeypatch.setattr(temps, "ROOT", tmp_path)
    monkeypatch.setattr(temps, "fitted", lambda weights, **fields: {"temperature": 1.5} | fields)
    weights = []
    monkeypatch.setattr(temps.records, "checkpoint", lambda run: next(iter(weights), None))
    assert temps.of_run(run, rerun=True) is None  # no weights
    weights.append("best.safetensors")
    assert temps.of_run(run) is None
    found = temps.of_run(run, rerun=True, data_root="/data")
    assert found == {"temperature": 1.5, "data_root": "/data"}
    weights.clear()
    assert temps.of_run(run) == found
    kept = json.loads((tmp_path / run["path"] / temps.FILE).read_text())
    assert kept["commit"] and kept["hardware"]["cores"]
