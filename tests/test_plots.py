"""The pictures hold the numbers that they are given: read back from the axes, not looked at."""

import re
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_runs import made_run, of_accuracies
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer

from safe_companion import claims, effects, plots, study_plots, tables, wording
from safe_companion.events import EVENT_DTYPE, event_image

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


def names_at(axis_labels, positions):
    return dict(
        zip(np.round(positions, 6).tolist(), [t.get_text() for t in axis_labels], strict=True)
    )


def y_names(ax):
    """{position: name} of the ticks on the y axis."""
    return names_at(ax.get_yticklabels(), ax.get_yticks())


def error_bars(ax, vertical=False):
    """[(x, y, low, high, colour)]: every point with the ends of its interval."""
    points = []
    for container in ax.containers:
        if not isinstance(container, ErrorbarContainer):
            continue
        line, _, bars = container.lines
        segments = bars[0].get_segments() if bars else []
        for i, (x, y) in enumerate(zip(*line.get_data(), strict=True)):
            ends = segments[i][:, 1 if vertical else 0] if len(segments) else (np.nan, np.nan)
            points.append((x, y, *ends, to_hex(line.get_color())))
    return points


def legend_of(owner):
    """{text: colour} of a legend's lines."""
    (legend,) = [owner.get_legend()] if hasattr(owner, "get_legend") else owner.legends
    texts = [text.get_text() for text in legend.get_texts()]
    handles = legend.legend_handles
    colours = []
    for handle in handles:
        line = handle if hasattr(handle, "get_color") else handle.lines[0]
        colours.append(to_hex(line.get_color()))
    return dict(zip(texts, colours, strict=True))


OURS, PAPER, GREY = to_hex(plots.EVENT), to_hex(plots.RGB), to_hex(study_plots.GREY)

# ---------------------------------------------------------------- recordings and clips


def gradient(value):
    return np.full((3, 4, 4), value, np.uint8)


def test_a_clip_is_a_row_of_frames_above_a_row_of_event_images():
    clip = {
        "event": np.stack([gradient(v) for v in (40, 50, 60)]),
        "rgb": np.stack([gradient(v) for v in (10, 20, 30)]),
        "label": 0,
    }
    fig = plots.show_clip(clip, "a title")
    shown = [ax.images[0].get_array()[0, 0, 0] for ax in fig.axes]
    assert shown == [10, 20, 30, 40, 50, 60]
    assert [fig.axes[i].get_ylabel() for i in (0, 3)] == ["RGB frames", "event images"]
    assert fig.get_suptitle() == "a title"
    seven = {"event": np.stack([gradient(v) for v in range(1, 8)])}
    shown = [ax.images[0].get_array()[0, 0, 0] for ax in plots.show_clip(seven).axes if ax.axison]
    assert shown == [1, 2, 3, 4, 5, 6, 7]  # in rows of four and three
    only = plots.show_clip({"event": clip["event"]})
    assert [ax.get_ylabel() for ax in only.axes] == ["event images", "", ""]


def test_chw_moves_the_colours_to_the_end():
    image = np.arange(24).reshape(3, 2, 4)
    assert plots.chw(image).shape == (2, 4, 3)
    assert list(plots.chw(image)[1, 3]) == list(image[:, 1, 3])


def test_an_event_cloud_has_time_and_place_and_the_colour_of_the_polarity():
    rows = [(1, 2, 5_000, 1), (3, 4, 6_000, 0), (5, 6, 9_000, 1)]
    fig = plots.show_event_cloud(np.array(rows, EVENT_DTYPE), (20, 10))
    on, off = fig.axes[0].collections
    ms, x, y = on._offsets3d
    assert (list(ms), list(x), list(y)) == ([0, 4], [1, 5], [8, 4])  # y points up
    assert [list(values) for values in off._offsets3d] == [[1], [3], [6]]
    labels = [c.get_label() for c in (on, off)]
    assert labels == ["ON (brighter)", "OFF (darker)"]
    assert to_hex(on.get_facecolor()[0][:3]) == "#dc1e1e"
    assert to_hex(off.get_facecolor()[0][:3]) == "#1e1ec8"


def test_of_many_events_a_share_is_drawn():
    events = np.zeros(500, EVENT_DTYPE)
    events["t"] = np.arange(500) * 1000
    fig = plots.show_event_cloud(events, (20, 10), most=100)
    ms = np.concatenate([c._offsets3d[0] for c in fig.axes[0].collections])
    assert len(ms) == 100 and len(set(ms)) == 100
    assert fig.axes[0].get_legend().get_title().get_text() == "100 of 500 events"
    whole = plots.show_event_cloud(events, (20, 10))
    assert not whole.axes[0].get_legend().get_title().get_text()


def test_the_sample_is_shown_by_the_first_draw_of_each_condition(monkeypatch):
    causes = ["fast", "none", "none", "dark", "isoluminant", "slow", "dark"]

    def simulate(dataset, label, stream):
        index = stream.entropy[-1]
        events = np.zeros(3, EVENT_DTYPE)
        events["t"] = (5, 15, 25)  # the middle frame's event is the second
        events["x"] = (0, 1, 2)
        frames = np.stack([np.full((4, 4, 3), 10 * index + k, np.uint8) for k in range(3)])
        return {
            "events": events,
            "frames": frames,
            "frame_t": np.array([0, 10, 20]),
            "truth": {"cause": causes[index]},
        }

    monkeypatch.setattr(plots.sample, "simulate", simulate)
    fig = plots.sample_picture()
    axes = np.array(fig.axes).reshape(4, 5)
    titles = [ax.get_title() for ax in axes[0]]
    assert titles[:2] == ["easy\nfor both", "dark\nhard for RGB"]
    words = [title.splitlines()[0] for title in titles]
    assert set(words) == set(wording.CONDITIONS.values()) - {"noisy events"}
    frames = [ax.images[0].get_array()[0, 0, 0] for ax in axes[0]]
    assert frames == [11, 31, 1, 51, 41]  # the middle one of draws 1, 3, 0, 5, 4
    middle = np.zeros(1, EVENT_DTYPE)
    middle["x"] = 1
    expected = plots.chw(event_image(middle, (4, 4), "authors"))
    for ax in [*axes[1], *axes[3]]:
        assert np.array_equal(ax.images[0].get_array(), expected)
    assert (
        axes[0, 0].get_ylabel().endswith("RGB frame") and axes[3, 0].get_ylabel() == "event image"
    )


# ---------------------------------------------------------------- one run


def lines_of(ax):
    """{label: (y values, colour)}."""
    return {
        line.get_label(): (list(line.get_ydata()), to_hex(line.get_color())) for line in ax.lines
    }


@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("test", "test (selecting)")])
def test_learning_curves_have_each_metric_in_its_place(split, name):
    history = [
        {"epoch": 1, "train_loss": 3.0}
        | {f"{split}_loss": 2.5, f"{split}_top1": 10.0, f"{split}_top5": 40.0},
        {"epoch": 2, "train_loss": 2.0}
        | {f"{split}_loss": 2.2, f"{split}_top1": 20.0, f"{split}_top5": 60.0},
    ]
    fig = plots.learning_curves(history, best_epoch=2)
    left, right = fig.axes
    assert lines_of(left) == {"training": ([3, 2], OURS), name: ([2.5, 2.2], PAPER)}
    accuracy = lines_of(right)
    assert accuracy[f"{name} top-1"][0] == [10, 20] and accuracy[f"{name} top-5"][0] == [40, 60]
    (marked,) = [line for line in right.lines if line.get_label() == "chosen epoch"]
    assert set(marked.get_xdata()) == {2}
    assert (left.get_title(), right.get_title()) == ("loss", "accuracy")
    assert list(left.lines[0].get_xdata()) == [1, 2]


def test_learning_curves_without_validation_show_the_training_alone():
    fig = plots.learning_curves([{"epoch": 1, "train_loss": 3.0}], best_epoch=1)
    (only,) = fig.axes  # no empty half
    assert list(lines_of(only)) == ["training"]


def class_table(counts):
    """Predictions with {label: (right, all)}."""
    rows = []
    for label, (right, number) in counts.items():
        rows += [{"label": label, "correct": i < right} for i in range(number)]
    return pd.DataFrame(rows)


def test_each_class_has_its_accuracy_and_wilson_interval_worst_first():
    """By Wilson's formula: 8 of 10, say, may be 49.0 to 94.3 %."""
    table = class_table({0: (8, 10), 1: (0, 5), 2: (3, 3)})
    ax = plots.per_class(table, ["fan", "whale", "ace"]).axes[0]
    (bars,) = [c for c in ax.containers if isinstance(c, BarContainer)]
    widths = [bar.get_width() for bar in bars]
    names = y_names(ax)
    assert [names[i] for i in range(3)] == ["whale", "fan", "ace"]
    assert widths == pytest.approx([0, 80, 100])
    (segments,) = [c.get_segments() for c in ax.collections]
    ends = [tuple(segment[:, 0]) for segment in segments]
    expected = [(0, 43.45), (49.02, 94.33), (43.85, 100)]
    assert np.array(ends) == pytest.approx(np.array(expected), abs=0.01)
    (average,) = [line for line in ax.lines if line.get_label() == "all classes"]
    assert average.get_xdata()[0] == pytest.approx(100 * 11 / 18)
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.bbox.y1  # it covers no line


def test_of_many_classes_the_twenty_worst_and_best_are_shown():
    counts = {label: (label, 60) for label in range(60)}
    ax = plots.per_class(class_table(counts), [f"class {label}" for label in range(60)]).axes[0]
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [f"class {label}" for label in [*range(20), *range(40, 60)]]
    forty = plots.per_class(class_table({k: counts[k] for k in range(40)}), names * 2).axes[0]
    assert len(forty.get_yticks()) == 40


def test_a_confusion_matrix_has_the_true_classes_as_rows_of_100_percent():
    """Class 0 is taken for class 1 once in four; class 2 is never predicted."""
    table = pd.DataFrame({"label": [0, 0, 0, 0, 1, 2, 2], "class1": [0, 0, 0, 1, 1, 0, 1]})
    table["correct"] = table.label == table.class1
    fig = plots.confusion(table, ["fan", "whale", "ace"])
    ax = fig.axes[0]
    matrix = np.asarray(ax.collections[0].get_array()).reshape(3, 3)
    assert matrix.tolist() == [[75, 25, 0], [0, 100, 0], [50, 50, 0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [t.get_text() for t in labels] == ["fan", "whale", "ace"]


def test_of_many_classes_the_confusion_matrix_shows_the_most_confused():
    label = np.repeat(np.arange(50), 4)
    predicted = label.copy()
    predicted[4 * 10 : 4 * 40] = 0  # classes 10 to 39 are always wrong
    predicted[0] = 7  # and class 0 once
    table = pd.DataFrame({"label": label, "class1": predicted, "correct": label == predicted})
    ax = plots.confusion(table, [f"class {k}" for k in range(50)]).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"class {k}" for k in range(10, 40)]
    assert not np.asarray(ax.collections[0].get_array()).any()  # class 0 is not shown


def test_the_surest_answers_are_shown_right_ones_first():
    top = [(1, 0.9), (0, 0.8), (1, 0.7), (0, 0.6), (0, 0.4), (0, 0.5)]  # class and probability
    table = pd.DataFrame({"label": [1, 1, 1, 0, 1, 1], "class1": [c for c, _ in top]})
    table["p1"] = [p for _, p in top]
    table["class2"], table["p2"] = 1 - table.class1, 0.1
    table["correct"] = table.label == table.class1
    clips = [{"rgb": np.stack([gradient(10 * i + k) for k in range(3)])} for i in range(6)]
    splits = SimpleNamespace(test=clips, class_names=["fan", "whale"])
    fig = plots.show_predictions(table, splits, count=2)
    rows = np.array(fig.axes).reshape(4, 2)
    assert [ax.images[0].get_array()[0, 0, 0] for ax in rows[:, 0]] == [1, 21, 11, 51]
    assert [ax.get_title("left") for ax in rows[:, 1]] == ["right", "right", "wrong", "wrong"]
    assert [ax.get_title("left") for ax in rows[:, 0]] == ["whale"] * 4
    wrong = rows[2, 1]
    assert [bar.get_width() for bar in wrong.patches] == pytest.approx([80, 10])
    assert [text.get_text() for text in wrong.texts] == ["fan", "whale"]
    colours = [to_hex(bar.get_facecolor()[:3]) for bar in wrong.patches]
    assert colours == [to_hex("0.7"), OURS]  # the true class is blue


# ---------------------------------------------------------------- studies


def test_a_study_shows_each_rows_difference_and_colours_what_excludes_zero():
    table = pd.DataFrame(
        {
            "difference": [np.nan, 3.0, -4.0, 1.0],
            "± difference": [np.nan, 1.0, 2.0, 5.0],
            "±": 0.1,
            "effect": [
                np.nan,
                "better",
                "worse",
                "cannot tell from zero: effects below 9 can be missed",
            ],
        },
        index=["full", "up", "down", "flat"],
    )
    ax = study_plots.show_study(table, title="A study", origin="sample").axes[0]
    names = y_names(ax)
    found = {names[y]: (x, low, high, colour) for x, y, low, high, colour in error_bars(ax)}
    assert found == {
        "up": (3, 2, 4, OURS),
        "down": (-4, -6, -2, PAPER),
        "flat": (1, -4, 6, GREY),
    }
    assert max(names, key=float) == 2 and names[2] == "up"  # the first row on top
    assert ax.get_title() == "A study (sample data)"


def test_what_is_hardly_trained_is_no_row_of_a_study():
    table = pd.DataFrame(
        {"difference": [-80.0, -2.0], "± difference": [1.0, 1.0]}, index=["scratch", "frozen"]
    ).assign(effect=["hardly trained", "worse"])
    ax = study_plots.show_study(table, title="A study", origin="sample").axes[0]
    assert list(y_names(ax).values()) == ["frozen"]


def beside():
    return pd.DataFrame(
        {
            "paper": [58.2, 55.8, 57.6, 56.2],
            "paper difference": [np.nan, -2.4, -0.6, -2.0],
            "ours": [84.0, 80.0, 83.5, np.nan],
            "±": [1.0, 2.0, 3.0, np.nan],
            "difference": [np.nan, -4.0, -0.5, np.nan],
            "± difference": [np.nan, 1.5, 2.5, np.nan],
        },
        index=["all", "no cross-attention", "no rewriting", "no self-attention"],
    )


def test_differences_are_shown_beside_those_of_the_paper():
    fig = study_plots.show_beside(beside(), title="A table", origin="sample", dataset="hardvs")
    ax = fig.axes[0]
    names = y_names(ax)
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    papers = {
        names[round(y - 0.16, 6)]: x
        for line in diamonds
        for x, y in zip(*line.get_data(), strict=True)
    }
    expected = {"no cross-attention": -2.4, "no rewriting": -0.6, "no self-attention": -2.0}
    assert papers == expected and {to_hex(d.get_color()) for d in diamonds} == {PAPER}
    ours = {names[round(y + 0.16, 6)]: rest for x, y, *rest in error_bars(ax)}
    assert ours == {
        "no cross-attention": [-5.5, -2.5, OURS],
        "no rewriting": [-3, 2, GREY],
    }
    assert legend_of(fig) == {
        "paper (PokerEvent, one run)": PAPER,
        "here (sample of HARDVS), 95 % interval": OURS,
        "here, interval holds zero": GREY,
    }
    assert names[2] == "no cross-attention"


def test_a_legend_names_only_what_is_drawn():
    kept = {"title": "t", "origin": "sample", "dataset": "hardvs"}
    once = beside().assign(**{"± difference": np.nan})
    here = "here (sample of HARDVS), 95 % interval"
    paper = "paper (PokerEvent, one run)"
    grey = legend_of(study_plots.show_beside(once, **kept))
    assert grey == {paper: PAPER, f"{here} holds zero or is not known": GREY}
    sure = beside().assign(**{"± difference": 0.1})
    assert legend_of(study_plots.show_beside(sure, **kept)) == {paper: PAPER, here: OURS}


def test_rows_that_are_hardly_trained_are_named_and_not_drawn():
    table = beside()
    table["verdict"] = ["", "hardly trained", "cannot tell", "hardly trained"]
    fig = study_plots.show_beside(table, title="t", origin="sample", dataset="hardvs")
    assert list(y_names(fig.axes[0]).values()) == ["no rewriting"]
    label = " ".join(fig.axes[0].get_xlabel().split())
    assert label.endswith("hardly trained: no cross-attention, no self-attention")


def test_accuracies_of_the_paper_and_ours_stand_in_panels_of_their_own():
    table = beside()
    kept = {"origin": "sample", "dataset": "hardvs", "paper": "pokerevent"}
    left, right = study_plots.paper_and_ours(table, **kept).axes
    assert left.get_title() == "paper, PokerEvent\n(one run each)"
    assert right.get_title() == "here, sample of HARDVS\n(95 % interval)"
    names = y_names(left)
    assert [names[y] for y in (3, 2, 1, 0)] == list(table.index)
    assert {names[y]: x for x, y, *_ in error_bars(left)} == table.paper.to_dict()
    assert all(np.isnan(low) for _, _, low, _, _ in error_bars(left))
    ours = {names[y]: (low, high, colour) for _, y, low, high, colour in error_bars(right)}
    assert ours == {
        "all": (83, 85, OURS),
        "no cross-attention": (78, 82, OURS),
        "no rewriting": (80.5, 86.5, OURS),
    }
    assert {colour for *_, colour in error_bars(left)} == {PAPER}


def test_accuracies_over_numbers_stand_at_their_numbers():
    kept = {"origin": "sample", "dataset": "hardvs", "x": [1, 3, 5, 7], "xlabel": "frames"}
    left, right = study_plots.paper_and_ours(beside(), **kept).axes
    assert {x: y for x, y, *_ in error_bars(left, True)} == {1: 58.2, 3: 55.8, 5: 57.6, 7: 56.2}
    ours = {x: (y, low, high) for x, y, low, high, _ in error_bars(right, True)}
    assert ours == {1: (84, 83, 85), 3: (80, 78, 82), 5: (83.5, 80.5, 86.5)}
    assert left.get_xlabel() == right.get_xlabel() == "frames"


def test_methods_are_shown_best_on_top_with_the_papers_numbers():
    table = claims.beside_paper({"SAFE": of_accuracies(99)}, "Table 2")
    table.insert(0, "backbone", [f"net {i}" for i in range(len(table))])
    ax = study_plots.show_methods(table).axes[0]
    others, safe = ax.lines
    assert (others.get_label(), safe.get_label()) == ("other methods (paper)", "SAFE (paper)")
    names = y_names(ax)
    shown = {names[y]: x for line in ax.lines for x, y in zip(*line.get_data(), strict=True)}
    assert shown == {f"{name} ({row.backbone})": row.paper for name, row in table.iterrows()}
    assert len(safe.get_xdata()) == 1 and safe.get_xdata()[0] == 58.15
    assert names[len(table) - 1].startswith(table.paper.idxmax())


def breakdown_of(groups, rows=("full", "less")):
    """A breakdown by group; in the n-th group the first row is right n times in ten."""
    found = {}
    for i, row in enumerate(rows):
        found[row] = []
        for seed in range(2):
            correct, group = [], []
            for n, name in enumerate(groups):
                right = max(n - i, 0)
                correct += [1] * right + [0] * (10 - right)
                group += [name] * 10
            found[row].append(made_run(seed, correct, group=group))
    return effects.breakdown(found, baseline=rows[0], by="group")


def test_a_breakdown_shows_accuracies_left_and_paired_differences_right():
    table = breakdown_of(["a", "b", "c"])
    fig = study_plots.show_breakdown(table, title="By group", names={"a": "the first"})
    left, right = fig.axes
    names = y_names(left)
    assert [names[y] for y in (2, 1, 0)] == ["the first (10)", "b (10)", "c (10)"]
    offset = {"full": 0.125, "less": -0.125}
    rows = {line.get_label(): line for line in left.lines}
    assert set(rows) == {"full", "less"}
    colours = {}
    for row, line in rows.items():
        places = np.round(line.get_ydata() - offset[row]).tolist()
        assert places == [2, 1, 0]
        assert list(line.get_xdata()) == list(table["top-1 [%]"][row])
        colours[row] = to_hex(line.get_color())
    assert legend_of(fig) == colours and len(set(colours.values())) == 2
    bars = error_bars(right)
    less = table.loc["less"]
    assert [x for x, *_ in bars] == list(less.difference) == [0, -10, -10]
    half = (
        np.array([high for *_, high, _ in bars]) - np.array([low for _, _, low, *_ in bars])
    ) / 2
    assert half == pytest.approx(less["± difference"].to_numpy())
    assert {colour for *_, colour in bars} == {colours["less"]}
    below = " ".join(right.get_xlabel().split())
    assert below == "difference from “full” [points], 95 % interval"
    assert fig.get_suptitle() == "By group (number of test recordings)"


def test_many_groups_are_in_order_of_the_baselines_accuracy_and_the_middle_is_left_out():
    groups = list("jihgfedcba")  # the first is the hardest
    fig = study_plots.show_breakdown(breakdown_of(groups), title="", most=6)
    labels = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert labels == [f"{group} (10)" for group in groups[:3] + groups[-3:]]


@pytest.mark.parametrize("rows", [2, 3, 6])
def test_no_marker_of_a_breakdown_hides_that_of_another_row(rows):
    table = breakdown_of(["a", "b"], rows=[f"row {i}" for i in range(rows)])
    fig = study_plots.show_breakdown(table, title="t")
    fig.canvas.draw()
    left = fig.axes[0]
    heights = [left.transData.transform((0, line.get_ydata()[0]))[1] for line in left.lines]
    size = left.lines[0].get_markersize() * fig.dpi / 72
    assert len(heights) == rows and -np.diff(heights).max() >= size


def test_conditions_have_the_words_and_the_order_of_the_page_on_which_one_plays():
    conditions = ["dark", "fast", "isoluminant", "noisy", "none", "slow"]
    fig = study_plots.show_breakdown(breakdown_of(conditions), title="t")
    said = list(y_names(fig.axes[0]).values())
    words = ["dark", "fast", "little contrast", "nearly still", "noisy events", "easy"]
    assert said == [f"{word} (10)" for word in words]
    page = (ROOT / "book" / "_static" / "play" / "page.js").read_text()
    causes = page.split("const CAUSES = {")[1].split("}")[0]
    assert dict(re.findall(r'(\w+): "(.+)"', causes)) == wording.CONDITIONS


def test_a_table_by_condition_has_the_words_and_the_order_of_pictures():
    names = ["all", "fast", "isoluminant", "noisy", "none", "slow"]
    table = pd.DataFrame({"n": range(6)}, index=pd.Index(names, name="condition"))
    shown = tables.of_conditions(table)
    words = ["all", "fast", "little contrast", "nearly still", "noisy events", "easy"]
    assert list(shown.index) == words and list(shown.n) == [0, 1, 2, 5, 3, 4]
    assert shown.index.name == "condition"
    other = table.set_axis(list("abcdef"))
    assert tables.of_conditions(other).equals(other)


def test_a_condition_has_the_same_word_in_a_picture_and_in_a_sentence():
    assert wording.WHERE.keys() == wording.CONDITIONS.keys()
    for name, word in wording.CONDITIONS.items():
        assert word in wording.WHERE[name]


def test_cameras_have_the_same_colours_in_a_breakdown_as_everywhere():
    colours = {}
    for rows in (["RGB and events", "RGB", "events"], ["events", "RGB"], ["RGB", "another"]):
        fig = study_plots.show_breakdown(breakdown_of(["a", "b"], rows=rows), title="t")
        colours[len(rows), rows[-1]] = legend_of(fig)
    both, alone, others = colours.values()
    assert both["RGB"] == alone["RGB"] == to_hex(plots.RGB)
    assert both["events"] == alone["events"] == to_hex(plots.EVENT)
    assert len(set(both.values())) == 3 and len(set(others.values())) == 2


def test_an_axis_of_accuracies_starts_at_zero_only_if_some_are_low():
    table = breakdown_of(["a", "b"])
    assert study_plots.show_breakdown(table, title="t").axes[0].get_xlim()[0] == 0
    table["top-1 [%]"] = [88.0, 91.0, 84.0, 90.0]
    assert study_plots.show_breakdown(table, title="t").axes[0].get_xlim()[0] == 70


def test_data_sets_have_their_names_where_readers_see_them():
    said = plots.titled("Per class, sample of hardvs, pokerevent: real of folder, hardvs2")
    assert said == "Per class, sample of HARDVS, PokerEvent: real of folder, hardvs2"


def test_the_two_colours_are_told_apart():
    assert len({OURS, PAPER, GREY}) == 3
    assert to_rgb(OURS)[2] > to_rgb(OURS)[0] and to_rgb(PAPER)[0] > to_rgb(PAPER)[2]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["$5 and $10", "cost in $", r"$\alpha$", "a_b^c"])
def test_names_are_shown_as_they_are_where_matplotlib_would_see_a_formula(name):
    def drawn(text):
        """What is drawn: a formula loses its dollars, and an escaped dollar its backslash."""
        return text._preprocess_math(text.get_text())

    table = pd.DataFrame({"label": [0, 0, 1], "class1": [0, 1, 1], "correct": [True, False, True]})
    table[["class2", "p1", "p2"]] = [1, 0.7, 0.3]
    _, ax = plt.subplots()
    plots.draw_top5(ax, table.iloc[0], [name, "other"])
    texts = [
        *plots.per_class(table, [name, "other"]).axes[0].get_yticklabels(),
        *plots.confusion(table, [name, "other"]).axes[0].get_xticklabels(),
        *ax.texts,
    ]
    groups = pd.DataFrame({"recordings": 3, "top-1 [%]": 50.0}, index=[("full", 0)])
    groups.index = pd.MultiIndex.from_tuples(groups.index)
    fig = study_plots.show_breakdown(groups, title="", names={0: name})
    texts += fig.axes[0].get_yticklabels()
    found = [text for text in texts if drawn(text)[0].startswith(name)]
    assert len(found) == 4 and not any(drawn(text)[1] for text in found)
    assert drawn(found[-1])[0] == f"{name} (3)"


@pytest.mark.parametrize("values", [(49.8, 55.8), (0.4, 11), (1, 5621), (3, 3.1)])
def test_a_logarithmic_axis_has_two_or_three_plain_numbers(values):
    _, ax = plt.subplots()
    ax.scatter(values, [0, 1])
    study_plots.plain_log_ticks(ax)
    said = [label.get_text() for label in ax.get_xticklabels(which="both")]
    assert 2 <= len(said) <= 3 and all(float(text.replace(",", "")) > 0 for text in said)


def test_a_note_stands_below_the_name_of_its_row():
    gain = {"difference": [1.0, -2.0], "± difference": [0.5, 0.5], "effect": ["better", "worse"]}
    table = pd.DataFrame(gain, index=["a", "b"])
    fig = study_plots.show_study(table, title="t", origin="sample", notes={"b": "training loss 2"})
    assert list(y_names(fig.axes[0]).values()) == ["b\ntraining loss 2", "a"]


def test_statistics_stand_in_a_panel_each_and_samples_in_their_colour():
    table = pd.DataFrame({"rate": [1.0, 10.0], "ink": [3.0, np.nan]}, index=["sample of a", "mine"])
    fig = study_plots.show_statistics(table, title="title")
    assert fig.get_suptitle() == "title\nlogarithmic axes"
    rate, ink = fig.axes[:2]
    assert rate.get_title() == "rate" and ink.get_title() == "ink" and rate.get_xscale() == "log"
    (dots,) = rate.collections
    assert dots.get_offsets().tolist() == [[1, 1], [10, 0]]
    assert [to_hex(c) for c in dots.get_facecolors()] == [PAPER, OURS]
    assert list(y_names(rate).values()) == ["sample of a", "mine"]
    said = [label.get_text() for label in rate.get_xticklabels(which="both")]
    assert 2 <= len(said) <= 3 and set(said) <= {"1", "2", "5", "10"}  # plain, and far apart


def test_a_statistic_of_zero_is_a_mark_at_the_edge():
    table = pd.DataFrame({"quiet": [0.5, 0.0, 2.0]}, index=["sample of a", "x", "y"])
    fig = study_plots.show_statistics(table, title="title")
    dots, edge = fig.axes[0].collections
    assert dots.get_offsets().tolist() == [[0.5, 2], [2, 0]]
    assert edge.get_offsets().tolist() == [[0, 1]]
    edge_of_axis = fig.axes[0].get_yaxis_transform().transform((0, 1))
    assert np.allclose(edge.get_offset_transform().transform((0, 1)), edge_of_axis)
    assert fig.get_suptitle().endswith("a triangle at the edge: 0")
