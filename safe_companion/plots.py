"""What does a recording, a clip or a run look like? Pictures of each, and one look for all."""

import re
import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from safe_companion import events as ev
from safe_companion import sample
from safe_companion.datasets import TITLES, Splits
from safe_companion.wording import CONDITIONS

EVENT, RGB = sns.color_palette("colorblind")[:2]  # also ours and the paper's
CAMERAS = {"RGB": RGB, "events": EVENT, "RGB and events": "0.35"}
MOST_CLASSES = 40  # of a page; there are up to 300
MOST_IMAGES = 5  # in a row: a phone is narrow


def style() -> None:
    """One look for all figures: colour-blind palette, light grid, readable in light and dark."""
    sns.set_theme(
        style="whitegrid",
        palette="colorblind",
        context="notebook",
        rc={
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "axes.titlesize": "medium",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.alpha": 0.5,
        },
    )


def chw(image: np.ndarray) -> np.ndarray:
    """[3, H, W] (array or tensor) -> [H, W, 3], as matplotlib draws it."""
    return np.moveaxis(np.asarray(image), 0, -1)


def plain(name: object) -> str:
    """A name as text of a figure, in which matplotlib would take what is between $ as a formula."""
    return str(name).replace("$", r"\$")


def titled(text: str) -> str:
    """A text with data sets as people write them: HARDVS in "sample of hardvs"."""
    keys = "|".join(name for name in TITLES if name != "folder")
    return re.sub(rf"\b({keys})\b", lambda found: TITLES[found[0]], text)


def legend_below(fig: Figure, ax: Axes) -> None:
    """The legend of an axis below its whole figure, in two columns if its names are short."""
    handles, names = ax.get_legend_handles_labels()
    fig.legend(
        handles,
        names,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.01),
        ncols=1 if max(map(len, names), default=0) > 45 else 2,
        frameon=False,
        fontsize="small",
    )


def draw_image(ax: Axes, image: np.ndarray) -> None:
    """An image [H, W, 3] without ticks."""
    ax.imshow(image)
    ax.set_xticks([])
    ax.set_yticks([])


# ---------------------------------------------------------------- recordings and clips


def show_clip(clip: dict, title: str = "") -> Figure:
    """A clip as the model gets it: a row of RGB frames above a row of event images.

    Of more than MOST_IMAGES frames, two such rows or more.
    """
    names = {"rgb": "RGB frames", "event": "event images"}
    kinds = [key for key in names if key in clip]
    frames = len(clip[kinds[0]])
    columns = -(-frames // -(-frames // MOST_IMAGES))  # as evenly as it goes
    rows = [(key, first) for first in range(0, frames, columns) for key in kinds]
    size = (max(1.4 * columns, 3), 1.55 * len(rows) + 0.3)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for row, (key, first) in zip(axes, rows, strict=True):
        images = clip[key][first : first + columns]
        for ax, image in zip(row, images, strict=False):
            draw_image(ax, chw(image))
        for ax in row[len(images) :]:
            ax.set_axis_off()
        row[0].set_ylabel(names[key], fontsize="small")
    fig.suptitle(textwrap.fill(title, 70), fontsize="medium")
    fig.tight_layout()
    return fig


def show_event_cloud(
    events: np.ndarray, size: tuple[int, int], *, most: int = 12_000, title: str = ""
) -> Figure:
    """Events as points in (time, x, y); a random share of them where there are more than `most`.

    events: EVENT_DTYPE array; size: (width, height) of the sensor.
    """
    fig = plt.figure(figsize=(7, 4))
    ax = fig.add_subplot(projection="3d")
    draw_event_cloud(ax, events, size, most=most)
    ax.set(title=title)
    return fig


def draw_event_cloud(
    ax: Any, events: np.ndarray, size: tuple[int, int], *, most: int = 12_000
) -> None:
    """The points of `show_event_cloud` on axes of three dimensions."""
    width, height = size
    share = f"{most:,} of {len(events):,} events" if len(events) > most else None
    if len(events) > most:
        drawn = np.random.default_rng(0).choice(len(events), most, replace=False)
        events = events[np.sort(drawn)]
    ms = (events["t"] - events["t"][0]) / 1000
    for polarity, colour, name in (
        (1, ev.ON_COLOUR, "ON (brighter)"),
        (0, ev.OFF_COLOUR, "OFF (darker)"),
    ):
        inside = events["p"] == polarity
        x = events["x"][inside]
        y = height - events["y"][inside]
        points = {"s": 0.6, "color": np.array(colour) / 255, "alpha": 0.5, "label": name}
        ax.scatter(ms[inside], x, y, **points)
    ax.set_xlabel("time [ms]", labelpad=14)
    ax.set_ylabel("x [px]", labelpad=8)
    ax.set_zlabel("y [px]")
    ax.set_box_aspect((2.2, width / height, 1), zoom=1.15)
    ax.view_init(18, -62)
    ax.legend(
        markerscale=10, loc="upper left", fontsize="small", title=share, title_fontsize="small"
    )


def sample_picture() -> Figure:
    """The sample world at a glance: per condition, a recording's middle RGB frame and event image.

    For each condition it is the first draw that meets it, so nothing is picked by its looks.
    """
    conditions = {
        "none": "for both",
        "dark": "hard for RGB",
        "fast": "hard for RGB",
        "slow": "hard for events",
        "isoluminant": "hard for events",
    }
    shown = {"hardvs": 12, "pokerevent": 21}  # data set: label
    fig, axes = plt.subplots(2 * len(shown), len(conditions), figsize=(13, 8.2))
    for i, (dataset, label) in enumerate(shown.items()):
        frame_row = axes[2 * i]
        event_row = axes[2 * i + 1]
        for column, cause in enumerate(conditions):
            frame, event_image = _middle_of_first(dataset, label, cause)
            draw_image(frame_row[column], frame)
            draw_image(event_row[column], event_image)
        frame_row[0].set_ylabel(f"{sample.CLASSES[dataset][label]}\nRGB frame")
        event_row[0].set_ylabel("event image")
    for ax, (cause, hard) in zip(axes[0], conditions.items(), strict=True):
        ax.set_title(f"{CONDITIONS[cause]}\n{hard}", fontsize="medium")
    fig.tight_layout()
    return fig


def _middle_of_first(dataset: str, label: int, cause: str) -> tuple[np.ndarray, np.ndarray]:
    """Middle frame and event image, both [H, W, 3], of the first draw that meets a condition."""
    for i in range(100):
        shot = sample.simulate(dataset, label, np.random.SeedSequence([2311, 18592, i]))
        if shot["truth"]["cause"] == cause:
            break
    else:
        raise ValueError(f"none of 100 recordings of {dataset} meets the condition {cause!r}")
    middle = len(shot["frames"]) // 2
    frame = shot["frames"][middle]
    start, stop = np.searchsorted(shot["events"]["t"], shot["frame_t"][middle : middle + 2])
    size = (frame.shape[1], frame.shape[0])
    return frame, chw(ev.event_image(shot["events"][start:stop], size, "authors"))


# ---------------------------------------------------------------- one run


def learning_curves(history: list[dict], best_epoch: int) -> Figure:
    """Loss and accuracy per epoch; the chosen epoch is marked. Without accuracies, loss alone."""
    table = pd.DataFrame(history)
    panels = 1 + bool({"test_loss", "val_loss"} & set(table))
    fig, axes = plt.subplots(1, panels, figsize=(3.6 * panels, 3), squeeze=False)
    left = axes[0, 0]
    left.plot(table.epoch, table.train_loss, marker="o", color=EVENT, label="training")
    if "test_loss" in table:
        split, name = "test", "test (selecting)"
    else:
        split, name = "val", "validation"
    if panels == 2:
        right = axes[0, 1]
        line = {"marker": "s", "color": RGB}
        left.plot(table.epoch, table[f"{split}_loss"], label=name, **line)
        right.plot(table.epoch, table[f"{split}_top5"], ls="--", label=f"{name} top-5", **line)
        right.plot(table.epoch, table[f"{split}_top1"], label=f"{name} top-1", **line)
        right.axvline(best_epoch, color="gray", ls=":", label="chosen epoch")
        right.set(xlabel="epoch", ylabel="accuracy [%]", ylim=(0, 102), title="accuracy")
        right.legend(fontsize="small")
    for ax in axes[0]:
        ax.xaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="epoch", ylabel="cross entropy [nats]", ylim=(0, None), title="loss")
    left.legend(fontsize="small")
    fig.tight_layout()
    return fig


def per_class(table: pd.DataFrame, class_names: list[str]) -> Figure:
    """Top-1 accuracy of every class, sorted, with its 95 % Wilson interval.

    table: predictions of a run. Of more than MOST_CLASSES the worst and the best are shown.
    """
    groups = table.groupby("label").correct.agg(["sum", "count"])
    groups["accuracy"] = 100 * groups["sum"] / groups["count"]
    intervals = [
        stats.binomtest(int(right), int(count)).proportion_ci(method="wilson")
        for right, count in zip(groups["sum"], groups["count"], strict=True)
    ]
    groups["low"] = [100 * interval.low for interval in intervals]
    groups["high"] = [100 * interval.high for interval in intervals]
    groups = groups.sort_values("accuracy")
    if len(groups) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        groups = pd.concat([groups.iloc[:half], groups.iloc[-half:]])
    fig, ax = plt.subplots(figsize=(7, 0.24 * len(groups) + 1))
    y = np.arange(len(groups))
    ax.barh(y, groups.accuracy, color=EVENT, alpha=0.8)
    reach = np.array([groups.accuracy - groups.low, groups.high - groups.accuracy])
    reach = reach.clip(min=0)  # at 0 and 100 % rounding may put the end inside
    ax.errorbar(groups.accuracy, y, xerr=reach, fmt="none", ecolor="0.35", lw=1)
    ax.set_yticks(y, [plain(class_names[label]) for label in groups.index], fontsize="small")
    ax.axvline(100 * table.correct.mean(), color=RGB, ls="--", label="all classes")
    ax.set(xlabel="top-1 accuracy [%], 95 % interval", xlim=(0, 100))
    ax.set_ylim(-0.6, len(groups) - 0.4)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize="small", frameon=False)
    fig.tight_layout()
    return fig


def confusion(table: pd.DataFrame, class_names: list[str]) -> Figure:
    """Confusion matrix, rows (true classes) normalised to percent.

    table: predictions of a run. Of more than MOST_CLASSES the 30 most confused ones are shown.
    """
    shown = list(range(len(class_names)))
    if len(shown) > MOST_CLASSES:
        shown = sorted(table[~table.correct].label.value_counts().index[:30])
    matrix = 100 * pd.crosstab(table.label, table.class1, normalize="index")
    matrix = matrix.reindex(index=shown, columns=shown, fill_value=0)
    names = [plain(class_names[label]) for label in shown]
    side = min(0.25 * len(shown), 5)
    fig, ax = plt.subplots(figsize=(side + 3, side + 2.5))
    sns.heatmap(
        matrix,
        cmap="cividis",
        vmin=0,
        vmax=100,
        square=True,
        ax=ax,
        linewidths=0.3,
        xticklabels=names,
        yticklabels=names,
        cbar_kws={"label": "% of the class's recordings", "shrink": 0.7},
    )
    ax.tick_params(labelsize="x-small")
    ax.set(xlabel="predicted", ylabel="true")
    fig.tight_layout()
    return fig


def show_predictions(table: pd.DataFrame, splits: Splits, *, count: int = 4) -> Figure:
    """The surest right and the surest wrong answers: middle RGB frame, middle event image, top 5.

    table: predictions of a run on splits.test.
    """
    right = table[table.correct].nlargest(count, "p1")
    wrong = table[~table.correct].nlargest(count, "p1")
    answers = pd.concat([right, wrong])
    kinds = [kind for kind in ("rgb", "event") if kind in splits.test[0]]
    fig, axes = plt.subplots(
        len(answers),
        len(kinds) + 1,
        figsize=(1.7 * len(kinds) + 3.6, 1.7 * len(answers)),
        squeeze=False,
        width_ratios=[1] * len(kinds) + [2],
    )
    for row, index in zip(axes, answers.index.tolist(), strict=True):
        answer = answers.loc[index]
        clip = splits.test[index]
        for ax, kind in zip(row[:-1], kinds, strict=True):
            draw_image(ax, chw(clip[kind][len(clip[kind]) // 2]))
        row[0].set_title(plain(splits.class_names[int(answer.label)]), fontsize="small", loc="left")
        draw_top5(row[-1], answer, splits.class_names)
        row[-1].set_title("right" if answer.correct else "wrong", fontsize="small", loc="left")
    axes[-1, -1].set_xlabel("probability [%]", fontsize="small")
    fig.tight_layout()
    return fig


def draw_top5(ax: Axes, answer: pd.Series, class_names: list[str]) -> None:
    """The surest classes of one answer (a line of predictions) as bars; the true class is blue."""
    ranks = [k for k in range(1, 6) if f"class{k}" in answer]
    classes = [int(answer[f"class{k}"]) for k in ranks]
    colours = [EVENT if label == answer.label else "0.7" for label in classes]
    ax.barh(range(len(ranks)), [100 * answer[f"p{k}"] for k in ranks], color=colours, alpha=0.6)
    for y, label in enumerate(classes):
        name = plain(class_names[label])
        ax.text(2, y, name, va="center", fontsize="small", color="black")
    ax.set(xlim=(0, 100), yticks=[])
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.tick_params(labelsize="small")
