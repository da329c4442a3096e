"""How do attention, an event camera's pixel and adaptive windows work? Three teaching pictures."""

import math

import numpy as np

import safe_core
from drawing.alt import ALT
from drawing.picture import WIDTH, Picture, blend, heading
from drawing.recordings import SIZE, authors_image, first_easy_recording
from safe_companion.events import adaptive_windows, half_difference


def cross_attention(colours):
    """Three texts ask six patches; the scores are invented, everything after them is computed."""
    p = Picture(colours, 746, ALT["cross_attention"])
    heading(p, "Cross-attention", "each class name asks: which image tokens are about me?")
    names = ("waving", "kicking", "sitting")
    scores = np.array(
        [
            [1.3, 0.7, 3.1, 0.2, 0.1, 0.3],
            [0.1, 0.3, 0.2, 0.1, 1.7, 2.9],
            [0.2, 1.2, 0.1, 0.4, 2.2, 1.5],
        ]
    )
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    left, top = 172, 260  # of the table of weights
    cell, height = 66, 84
    right = left + 6 * cell

    # the image, and its six patches as the heads of columns
    scene = Picture(colours, 100, "")
    trunk = [(75, 34), (75, 60)]
    arms = [(36, 36), (50, 52), (75, 38), (106, 34), (122, 10)]
    legs = [(69, 97), (75, 60), (104, 72), (132, 62)]
    for limb in (trunk, arms, legs):
        scene.path(limb, "ink", line=6)
    scene.circle(75, 21, 11, fill="ink")
    figure = "".join(scene.shapes)
    p.rect(16, 86, 144, 96, fill="rgb_tint", stroke="rgb", radius=4)
    p.add(f'<svg x="16" y="86" width="144" height="96" viewBox="0 0 150 100">{figure}</svg>')
    for line in ([(64, 86), (64, 182)], [(112, 86), (112, 182)], [(16, 134), (160, 134)]):
        p.path(line, "rgb", line=1.5)
    p.text(left + 4, 106, "N visual tokens: keys and values", 18, anchor="start", style="-Bold")
    for k in range(6):
        row, column = divmod(k, 3)
        x, y = left + k * cell + 4, 122
        side = cell - 8
        p.rect(x, y, side, side, fill="rgb_tint", stroke="rgb", radius=4)
        part = f'viewBox="{column * 50} {row * 50} 50 50"'
        p.add(f'<svg x="{x}" y="{y}" width="{side}" height="{side}" {part}>{figure}</svg>')
        p.text(x + cell / 2 - 4, y + 82, str(k + 1), 18, style="-Bold")
        p.arrow(
            (x + cell / 2 - 4, y + 92), (x + cell / 2 - 4, top - 4), colour="rgb", line=2.5, head=7
        )

    # queries, weights, outputs
    p.text(16, top - 34, "L text tokens:", 18, anchor="start", style="-Bold")
    p.text(16, top - 10, "queries", 18, anchor="start", style="-Bold")
    for i, name in enumerate(names):
        y = top + height * i
        middle = y + height / 2 - 5
        p.box(16, y + 6, 116, height - 22, name, hue="text", size=19)
        p.arrow((133, middle), (left - 4, middle), colour="text", head=7)
        for k, weight in enumerate(weights[i]):
            x = left + k * cell
            fill = blend(colours["ground"], colours["rgb"], 0.06 + 0.9 * weight)
            look = {"fill": fill, "stroke": "rgb", "radius": 4, "line": 1.5}
            p.rect(x + 2, y, cell - 4, height - 10, **look)
            style = "-Bold" if weight == weights[i].max() else ""
            p.text(left + (k + 0.5) * cell, middle + 7, f"{100 * weight:.0f} %", 18, style=style)
        p.arrow((right + 2, middle), (right + 42, middle), colour="text", head=7)
        p.box(right + 44, y + 6, 92, height - 22, f"out {i + 1}", hue="text", size=19)
    p.text(right + 90, top - 34, "L outputs", 18, style="-Bold")
    p.text(right + 90, top - 10, "of width D", 18, colour="soft")

    # how to read it
    y = top + 3 * height + 22
    steps = [
        ("1  Compare", "score = query · key / √dₖ, for each name and each patch"),
        ("2  Share out", "softmax: each row becomes shares of 100 %"),
        ("3  Collect", "output = the patches' values, averaged with these shares"),
    ]
    for i, (head, line) in enumerate(steps):
        p.text(16, y + 30 * i, head, 18, anchor="start", style="-Bold")
        p.text(160, y + 30 * i, line, 17, anchor="start")
    p.rect(16, y + 84, 688, 58, fill="text_tint", stroke="text")
    p.text(360, y + 121, "softmax( Q Kᵀ / √dₖ ) V", 25, style="-Bold")
    note = "The scores are invented; a trained model's are on the attention page."
    p.text(360, y + 172, note, 17, colour="soft")
    return p


def threshold_events(signal, threshold):
    """[(index, +1 or -1)]: an event whenever the signal has left the last event's level.

    It has if it moved by `threshold`.
    """
    level = signal[0]
    events = []
    for i, value in enumerate(signal):
        while abs(value - level) >= threshold:
            sign = 1 if value > level else -1
            level += sign * threshold
            events.append((i, sign))
    return events


def events_idea(colours):
    """One pixel of an event camera, by the contrast-threshold model."""
    p = Picture(colours, 680, ALT["events_idea"])
    heading(
        p, "One pixel of an event camera", "it reports changes of the log intensity, nothing else"
    )
    left, top = 76, 112  # of the curve
    width, height = 616, 330
    threshold = 0.2
    t = np.linspace(0, 1, 20_001)

    def step(at, over, by):  # a smooth change by `by`, centred on `at`
        return by / (1 + np.exp(-(t - at) / over))

    log_light = step(0.18, 0.03, 1.25) + step(0.5, 0.017, -1.45) + step(0.82, 0.045, 0.85)
    log_light -= log_light[0]
    low, high = -0.36, 1.4
    events = threshold_events(log_light, threshold)

    def at(time, value):
        return left + width * time, top + height * (high - value) / (high - low)

    for k in range(math.ceil(low / threshold), math.floor(high / threshold) + 1):
        p.path([at(0, k * threshold), at(1, k * threshold)], "line", line=1, dash="2 6")
    p.path([at(0, low), at(0, high)], "soft", line=2)
    p.path([at(x, v) for x, v in zip(t[::80], log_light[::80], strict=True)], "ink", line=4)
    p.text(16, top - 8, "log intensity", 18, anchor="start", style="-Bold")
    # the threshold, between two lines
    x, y0, y1 = left + 24, at(0, 0.8)[1], at(0, 1.0)[1]
    p.arrow((x, (y0 + y1) / 2), (x, y1), line=2, head=5)
    p.arrow((x, (y0 + y1) / 2), (x, y0), line=2, head=5)
    p.text(x + 12, (y0 + y1) / 2 + 6, "C", 18, anchor="start", style="-Bold")

    base = top + height + 96
    for i, sign in events:
        x, y = at(t[i], log_light[i])
        name = "on" if sign > 0 else "off"
        p.circle(x, y, 6, fill=name, stroke="ground", line=1.5)
        p.arrow((x, base), (x, base - 46 * sign), colour=name, line=2.5, head=5)
    p.arrow((left, base), (left + width + 12, base), colour="soft", line=2, head=7)
    p.text(left + width + 12, base + 26, "time", 18, anchor="end")
    p.text(left - 12, base - 22, "ON", 18, anchor="end", style="-Bold", colour="on")
    p.text(left - 12, base + 36, "OFF", 18, anchor="end", style="-Bold", colour="off")
    lines = [
        f"Each step by the threshold C sends one event (x, y, t, p): {len(events)} here.",
        "Fast changes send many, slow ones few, a constant light none.",
    ]
    for i, line in enumerate(lines):
        p.text(16, base + 92 + 28 * i, line, 18, anchor="start")
    return p


def afe_steps(colours):
    """AFE on one recording of the sample: halves by event count, windows in time, event images."""
    events, _, _, class_name, name = first_easy_recording("pokerevent")
    minimum = safe_core.PRESETS["sample"]["afe_min_events"]
    windows = adaptive_windows(events, SIZE, min_events=minimum, threshold=0.0)
    p = Picture(colours, 880, ALT["afe_steps"])
    about = f"PokerEvent sample (generated), class {class_name}, {name}"
    heading(p, "Adaptive event windows (AFE)", about)
    left, width = 16, 688
    end = int(events["t"][-1]) + 1

    def x_of(t):
        return left + width * float(t) / end

    # events over time
    counts, edges = np.histogram(events["t"], bins=86, range=(0, end))
    base = 200
    height = 80
    p.text(16, 100, "events over time", 18, anchor="start", style="-Bold")
    for count, edge in zip(counts, edges, strict=False):
        tall = height * count / counts.max()
        p.rect(x_of(edge) + 1, base - tall, width / len(counts) - 2, tall, fill="soft", radius=0)
    p.path([(left, base), (left + width, base)], "soft", line=2)

    # the tree, one row a level; a level's windows are what a larger minimum would leave
    levels = int(math.log2(len(windows)))
    row = 236
    step = 112
    for level in range(levels + 1):
        y = row + step * level
        last = level == levels
        fewest = len(events) // 2 ** (level + 1) + 1
        for start, stop in adaptive_windows(events, SIZE, min_events=fewest, threshold=0.0):
            x0 = x_of(events["t"][start]) if start else x_of(0)
            x1 = x_of(events["t"][stop]) if stop < len(events) else x_of(end)
            line = 2 if last else 1.5
            p.rect(x0 + 2, y, x1 - x0 - 4, 44, fill="event_tint", stroke="event", line=line)
            count = f"{stop - start:,}"
            words = f"{count} events" if level == 0 else count
            p.text((x0 + x1) / 2, y + 28, words, 17, style="-Bold", room=x1 - x0)
            if last:
                continue
            middle = (start + stop) // 2
            value = half_difference(events[start:middle], events[middle:stop], SIZE)
            xm = x_of(events["t"][middle])
            p.path([(xm, y + 44), (xm, y + step - 8)], "event", line=2, dash="5 4")
            offset, side = (-10, "end") if xm > WIDTH / 2 else (10, "start")
            p.text(xm + offset, y + 82, f"halves differ by {value:.0f}", 17, anchor=side)
    bottom = row + step * levels + 44
    top = bottom + 60
    side = 166
    p.text(16, bottom + 25, "0", 16, anchor="start", colour="soft")
    p.text(704, bottom + 25, f"{end / 1000:.0f} ms", 16, anchor="end", colour="soft")

    # the event image of each window
    for i, (start, stop) in enumerate(windows):
        x = left + i * (width - side) / (len(windows) - 1)
        t0, t1 = events["t"][start], events["t"][stop - 1]
        p.path(
            [(x_of((t0 + t1) / 2), bottom), (x + side / 2, top - 4)], "event", line=2, dash="5 4"
        )
        tall = side * SIZE[1] / SIZE[0]
        p.image(x, top, side, tall, authors_image(events[start:stop]))
        p.rect(x, top, side, tall, stroke="event", radius=0)
        p.text(x + side / 2, top + tall + 26, f"{(t1 - t0) / 1000:.0f} ms", 18, style="-Bold")
    y = top + 196
    fewest = f"{minimum:,}"
    lines = [
        "Each row halves the windows above it by event count, so a window is",
        "short in time where much happens. A halving stops once a half would",
        f"have fewer than {fewest} events. With a threshold above 0, it stops also",
        "where the halves differ by less; here, as published for HARDVS, it is 0.",
    ]
    for i, line in enumerate(lines):
        p.text(16, y + 27 * i, line, 18, anchor="start")
    return p
