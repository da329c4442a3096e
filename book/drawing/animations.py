"""How do recordings move? Two of the samples frame by frame, and events in space and time."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drawing.picture import WIDTH, font_file
from drawing.recordings import SIZE, authors_image, first_easy_recording
from safe_companion.datasets import TITLES
from safe_companion.events import OFF_COLOUR, ON_COLOUR

CARD = "#f6f8fa"  # one look on light and dark pages
INK = "#1f2328"
SOFT = "#505860"
MOMENTS = 27  # of a recording's animation: three for each RGB frame
VIEWS = 32  # of the turning event cloud


def letters(size, style=""):
    return ImageFont.truetype(font_file(style), size)


def recording_moments(dataset):
    """One recording over time: the newest RGB frame, and the events of the last frame interval."""
    events, frames, frame_t, class_name, _ = first_easy_recording(dataset)
    interval = int(frame_t[1] - frame_t[0])
    panel = (346, 260)
    moments = []
    for moment in range(MOMENTS):
        now = (moment + 1) * interval // 3
        start, stop = np.searchsorted(events["t"], [now - interval, now])
        seen = authors_image(events[start:stop])
        frame = Image.fromarray(frames[moment // 3])
        card = Image.new("RGB", (WIDTH, 352), CARD)
        draw = ImageDraw.Draw(card)
        draw.text((9, 10), "RGB frame", INK, letters(19, "-Bold"))
        card.paste(frame.resize(panel, Image.Resampling.BICUBIC), (9, 42))
        draw.text((365, 10), f"events of {interval / 1000:.0f} ms", INK, letters(19, "-Bold"))
        card.paste(seen.resize(panel, Image.Resampling.NEAREST), (365, 42))
        draw.rectangle((9, 310, 711, 315), "#d5dae0")
        draw.rectangle((9, 310, 9 + 702 * (moment + 1) // MOMENTS, 315), INK)
        about = f"generated sample, not {TITLES[dataset]}: {class_name}"
        draw.text((9, 324), about, SOFT, letters(16))
        draw.text((711, 324), f"{now / 1000:.0f} ms", SOFT, letters(16), anchor="ra")
        moments.append(card)
    return moments


def projected(xyz, depth, share):
    """(picture coordinates [n, 2], distances [n]) of points, by parallel projection.

    depth: of the cloud; share: how far the view has turned, 0 from the front, 1 from the side.
    """
    turn = math.radians(72 * share)
    tilt = math.radians(20 * share)
    x, y, z = (xyz - [SIZE[0] / 2, SIZE[1] / 2, depth / 2]).T
    across = x * math.cos(turn) + z * math.sin(turn)
    away = z * math.cos(turn) - x * math.sin(turn)
    down = y * math.cos(tilt) - away * math.sin(tilt)
    return np.stack([WIDTH / 2 + 1.75 * across, 218 + 1.75 * down], axis=1), away


def cloud_views():
    """The events of one recording as points (x, y, time): from the front, the side, and back."""
    events, _, _, class_name, _ = first_easy_recording("hardvs")
    events = events[::2]  # half of them are enough to see, and to load
    width, height = SIZE
    end = int(events["t"][-1]) + 1
    depth = 1.5 * width
    outline = [(0, 0), (width, 0), (width, height), (0, height)]
    corners = np.array([(x, y, z) for z in (0, depth) for x, y in outline])
    front = [(0, 1), (1, 2), (2, 3), (3, 0)]
    back = [(4, 5), (5, 6), (6, 7), (7, 4)]
    edges = [*front, *back, (0, 4), (1, 5), (2, 6), (3, 7)]
    points = np.stack([events["x"], events["y"], events["t"] / end * depth], axis=1)
    colours = np.array([OFF_COLOUR, ON_COLOUR], np.uint8)[events["p"]]
    views = []
    for view in range(VIEWS):
        share = (1 - math.cos(2 * math.pi * view / VIEWS)) / 2
        box, _ = projected(corners, depth, share)
        flat, away = projected(points, depth, share)
        card = Image.new("RGB", (WIDTH, 432), CARD)
        draw = ImageDraw.Draw(card)
        for a, b in edges:
            draw.line([tuple(box[a]), tuple(box[b])], "#a9b1ba", 1)
        canvas = np.array(card)
        far_first = np.argsort(-away)
        at = np.rint(flat[far_first]).astype(int)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            canvas[at[:, 1] + dy, at[:, 0] + dx] = colours[far_first]
        card = Image.fromarray(canvas)
        draw = ImageDraw.Draw(card)
        draw.text((9, 8), "events in space and time", INK, letters(19, "-Bold"))
        draw.text((711, 10), "ON", ON_COLOUR, letters(17, "-Bold"), anchor="ra")
        draw.text((672, 10), "OFF", OFF_COLOUR, letters(17, "-Bold"), anchor="ra")
        draw.text((9, 406), f"generated sample, not HARDVS: {class_name}", SOFT, letters(16))
        long_edge = f"long edge: {end / 1000:.0f} ms"
        draw.text((711, 406), long_edge, SOFT, letters(16), anchor="ra")
        views.append(card)
    return views


ANIMATIONS = {  # how to draw one, and how to pack it
    "hardvs": (functools.partial(recording_moments, "hardvs"), dict(duration=150, quality=40)),
    "pokerevent": (
        functools.partial(recording_moments, "pokerevent"),
        dict(duration=150, quality=30),
    ),
    "events_cloud": (cloud_views, dict(duration=110, lossless=True, quality=60)),
}
