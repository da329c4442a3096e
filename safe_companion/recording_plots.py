"""What does one recording look like, and what does a model answer to it? As pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from safe_companion import events as ev
from safe_companion import plots
from safe_companion.clips import spread_indices
from safe_companion.recordings import Recording, read_image

MOST_ANSWERS = 20  # of one picture
CLOUD_POINTS = 12_000
ROWS = {"rgb": "frames", "event": "event images"}


def check_file(file: Path, *, answers: int = 1) -> None:
    """ValueError if a picture cannot have the form that a file's suffix says, or so many answers.

    FileNotFoundError if its folder is not there.
    """
    if answers > MOST_ANSWERS:
        found = f"{file}: found {answers} recordings; expected at most {MOST_ANSWERS} in a picture"
        raise ValueError(f"{found}. Draw fewer at once.")
    known = plt.gcf().canvas.get_supported_filetypes()
    plt.close()
    if file.suffix.lower().removeprefix(".") not in known:
        forms = ", ".join(sorted(known))
        raise ValueError(f"{file}: found the form {file.suffix!r}; expected one of {forms}")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file.parent}: found no such folder for the picture; make it")


# ------------------------------------------------------------------------------- a recording
def recording_picture(recording: Recording, *, columns: int = 5) -> Figure:
    """Frames and event images, evenly spread over a recording, above its events as points."""
    if recording.frame_sources:
        columns = min(columns, len(recording.frame_sources))
    rows = _images(recording, columns)
    has_events = recording.events is not None
    heights = [1.0] * len(rows) + [2.6] * has_events
    size = (max(1.5 * columns, 6.0), 1.6 * sum(heights))
    fig = plt.figure(figsize=size, layout="constrained")
    grid = fig.add_gridspec(len(heights), columns, height_ratios=heights)
    for row, (title, images) in enumerate(rows.items()):
        for column, (image, caption) in enumerate(images):
            ax = fig.add_subplot(grid[row, column])
            _draw(ax, image)
            ax.set_title(caption, fontsize="small")
            if column == 0:
                ax.set_ylabel(title, fontsize="small")
    if recording.events is not None:
        ax = fig.add_subplot(grid[len(rows), :], projection="3d")
        plots.draw_event_cloud(ax, recording.events[:], recording.size, most=CLOUD_POINTS)
    fig.suptitle(plots.plain(recording.name), fontsize="medium")
    return fig


def _images(recording: Recording, columns: int) -> dict[str, list[tuple[np.ndarray, str]]]:
    """{row: [(image, caption)]}: frames, and the event images that belong to them."""
    rows = {}
    frames = recording.frame_sources
    at = spread_indices(len(frames), columns) if frames else np.arange(0)
    t = recording.frame_t
    start = 0 if t is None else t[0]
    if recording.events is not None:
        start = recording.events["t"][0]
    if frames:
        captions = [f"frame {i}" if t is None else f"{(t[i] - start) / 1000:.0f} ms" for i in at]
        images = [np.asarray(read_image(frames[i])) for i in at]
        rows[ROWS["rgb"]] = list(zip(images, captions, strict=True))
    if recording.events is not None:
        event_t = recording.events["t"]
        windows = ev.equal_windows(event_t, columns)
        if t is not None:
            of_frames = ev.frame_windows(t, event_t)
            windows = [of_frames[min(i, len(of_frames) - 1)] for i in at]
        images = [
            plots.chw(ev.event_image(recording.events[first:last], recording.size, "authors"))
            for first, last in windows
        ]
        captions = [f"{last - first:,} events" for first, last in windows]
        rows[ROWS["event"]] = list(zip(images, captions, strict=True))
    elif recording.event_image_sources:
        stored = recording.event_image_sources
        at = spread_indices(len(stored), columns)
        images = [np.asarray(read_image(stored[i])) for i in at]
        rows[ROWS["event"]] = [(image, f"number {i}") for image, i in zip(images, at, strict=True)]
    return rows


def _draw(ax: Axes, image: np.ndarray) -> None:
    """An image [H, W] or [H, W, 3] on a scale of 0 to 255, without ticks."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255)
    ax.set_xticks([])
    ax.set_yticks([])


# ------------------------------------------------------------------------------- answers
def answers_picture(
    answers: Sequence[tuple[str, dict[str, Any], list[tuple[str, float]]]],
) -> Figure:
    """What a model saw of each recording, and below it how sure it is of which classes.

    answers: (name, clip, [(class, probability)]).
    """
    kinds = [kind for kind in ROWS if kind in answers[0][1]]
    frames = len(answers[0][1][kinds[0]])
    width = min(max(1.5 * frames, 4.5), 7.5)
    bars = 0.28 * len(answers[0][2]) + 0.6  # inches, as the images are
    heights = [width / frames] * len(kinds) + [bars]
    fig = plt.figure(figsize=(width, (sum(heights) + 0.5) * len(answers)), layout="constrained")
    parts = fig.subfigures(len(answers), 1, squeeze=False)[:, 0]
    for part, (name, clip, top) in zip(parts, answers, strict=True):
        part.suptitle(plots.plain(name), fontsize="small")
        grid = part.add_gridspec(len(kinds) + 1, frames, height_ratios=heights)
        for row, kind in enumerate(kinds):
            for column, image in enumerate(clip[kind]):
                ax = part.add_subplot(grid[row, column])
                _draw(ax, plots.chw(image))
                if column == 0:
                    ax.set_ylabel(ROWS[kind], fontsize="small")
        ax = part.add_subplot(grid[len(kinds), :])
        ax.barh(range(len(top)), [100 * p for _, p in top], color=plots.EVENT, alpha=0.6)
        for y, (label, p) in enumerate(top):
            ax.text(2, y, f"{label}  {100 * p:.1f} %", va="center", fontsize="small")
        ax.set(xlim=(0, 100), yticks=[], xlabel="probability [%]")
        ax.invert_yaxis()
        ax.grid(visible=False)
        ax.tick_params(labelsize="small")
    return fig
