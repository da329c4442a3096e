"""How are the book's own figures drawn? Diagrams, light and dark, and three animations, by code.

    python book/figures.py                    # writes all of them into book/_static/figures/
    python book/figures.py cross_attention    # one of them

Diagrams are plain SVG, 720 units wide, so that they stay readable on a phone. Letters are drawn as
outlines of one font (DejaVu Sans, which matplotlib brings), so that they look the same everywhere.
Recordings come from the sample world; they are chosen by a rule (`first_easy_recording`), not by
their looks.
"""

import base64
import functools
import io
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont
from matplotlib.colors import to_hex, to_rgb
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import safe_core
from safe_companion import ROOT, plots, sample
from safe_companion.datasets import TITLES
from safe_companion.events import (
    EVENT_DTYPE,
    OFF_COLOUR,
    ON_COLOUR,
    adaptive_windows,
    event_image,
    half_difference,
)

FOLDER = ROOT / "book" / "_static" / "figures"
SIZE = (sample.WORLD.width, sample.WORLD.height)  # of the sample's sensor
WIDTH = 720  # of every diagram, in its own units
SMALLEST = 16  # letters: at 390 px of screen width still about 8 px

# What each row of Table 4 switches off: (row, field of safe_core.Config, value, in words).
SWITCHES = [
    ("w/o SCI", "use_text", False, "no text: no prompts, no text tower"),
    ("w/o LVM", "vision_tower", "vit", 'a plain ViT instead of CLIP; or "resnet"'),
    ("w/o MT", "use_multimodal_transformer", False, "tokens pass unchanged"),
    ("w/o SA", "use_self_attention", False, "tokens pass unchanged"),
    ("w/o CA", "use_cross_attention", False, "text tokens pass unchanged"),
    ("w/o RW", "prompt_file", None, "one template sentence per class"),
    ("w/o AFE", "event_windows", "frames", "windows between frame times"),
]

# What the released model computes otherwise: (whether the paper says something else, what it does).
RELEASED_DIFFERENCES = [
    (True, "class names as they are, without a sentence"),
    (True, "frames drawn at random, RGB and event apart"),
    (False, "all tokens through CLIP's projection to 512"),
    (True, "frames averaged: K tokens, not F × K"),
    (False, "one vector per modality, no position"),
    (True, "one joint block instead of one per branch"),
    (False, "one head, no residual, no LayerNorm"),
    (True, "the value is computed from the key"),
    (False, "one module for both branches"),
    (True, "branches are added, not concatenated"),
    (False, "the weights of the self-attention, again"),
]

ALT = {
    "architecture_paper": (
        "Diagram of the paper's SAFE model, read from top to bottom. Class names become sentences "
        "and pass through CLIP's text tower to L text tokens. RGB frames and event images pass "
        "through one shared CLIP vision tower, to 5 times 197 tokens of width 768 each, and get "
        "position, frame and modality embeddings. The RGB and the event branch each have a "
        "multi-modal Transformer over their visual tokens and the text tokens. A self-attention "
        "then mixes RGB and event tokens. In each branch a cross-attention lets the text tokens "
        "query the visual tokens. All tokens and ten learned read-out tokens meet in a final "
        "attention, and a linear classifier gives one score per class. Dashed tags mark what the "
        "rows of Table 4 switch off: text (SCI), CLIP's vision tower (LVM), the multi-modal "
        "Transformers (MT), self-attention (SA), cross-attention (CA), rewritten prompts (RW), "
        "adaptive event windows (AFE)."
    ),
    "architecture_released": (
        "Diagram of the model that the released code computes, read from top to bottom, with "
        "eleven numbered differences to the paper. Bare class names pass through CLIP's text "
        "tower. Frames and event images, drawn independently, pass through CLIP's vision tower "
        "with its projection to 512 and are averaged over the frames. One joint block works on "
        "text, RGB and event tokens together. A single-head self-attention mixes RGB and event "
        "tokens. One cross-attention module serves both branches and computes its value from the "
        "key. RGB and event tokens are added, and so are the two text outputs. The same "
        "self-attention runs once more over all tokens and ten read-out tokens, and a linear "
        "layer classifies. Filled numbers contradict the paper; hollow ones concern what the "
        "paper does not settle."
    ),
    "cross_attention": (
        "Teaching picture of cross-attention with invented numbers. Three class names on the left "
        "are the queries, six patches of an image at the top are keys and values. Between them "
        "lies a table of three rows and six columns; each row holds percentages that add up to "
        "100. The row of waving puts most weight on the patch with the raised arm, the row of "
        "kicking on the patch with the leg. On the right each row gives one output token, the "
        "average of the patches' values weighted by that row."
    ),
    "events_idea": (
        "Two plots over the same time axis. Above, the logarithm of the light on one pixel rises, "
        "falls steeply, and rises slowly again, across evenly spaced threshold lines. Below, each "
        "crossing upwards is an upward red ON event and each crossing downwards a downward blue "
        "OFF event: many where the light changes fast, none where it stays the same."
    ),
    "afe_steps": (
        "Adaptive event windows step by step, on one recording of the PokerEvent sample. At the "
        "top, the number of events over time goes up and down. Below, a tree on the same time "
        "axis: the stream is halved by event count into two windows and then into four; windows "
        "are short where many events happen. At the bottom, the four event images of the final "
        "windows."
    ),
    "hardvs": (
        "Animation of one generated recording of the HARDVS sample: on the left the RGB frames of "
        "a figure that swings its arms, on the right the event image of the same moment, red "
        "where pixels grew brighter and blue where they grew darker."
    ),
    "pokerevent": (
        "Animation of one generated recording of the PokerEvent sample: on the left the RGB "
        "frames of a hand that holds a playing card, on the right the event image of the same "
        "moment, red where pixels grew brighter and blue where they grew darker."
    ),
    "events_cloud": (
        "Animation of the events of one generated recording of the HARDVS sample as points in "
        "space and time: red ON and blue OFF events. The view turns slowly, from the sensor "
        "plane, where the figure is seen, to the side, where the motion is spread along the time "
        "axis."
    ),
}


# ---------------------------------------------------------------- colours and letters


def blend(colour, other, share):
    """`share` of `other` mixed into `colour`."""
    return to_hex((1 - share) * np.array(to_rgb(colour)) + share * np.array(to_rgb(other)))


def theme(name):
    """Colours of the light or dark variant: text tones, hues of inputs and marks, tints."""
    hues = {
        "rgb": to_hex(plots.RGB),
        "event": to_hex(plots.EVENT),
        "text": "#029e73",
        "tag": "#cc78bc",
        "mark": "#d55e00",
        "on": to_hex(np.divide(ON_COLOUR, 255)),
        "off": to_hex(np.divide(OFF_COLOUR, 255)),
        "both": "#8b949e",
    }
    if name == "light":
        tones = {"ink": "#1f2328", "soft": "#505860", "line": "#7b848d", "ground": "#ffffff"}
        tints = {f"{hue}_tint": blend(c, tones["ground"], 0.86) for hue, c in hues.items()}
        return hues | tints | tones
    tones = {"ink": "#e8eaed", "soft": "#b4bcc4", "line": "#7d8791", "ground": "#15191e"}
    tints = {f"{hue}_tint": blend(c, tones["ground"], 0.72) for hue, c in hues.items()}
    lighter = {hue: 0.45 if hue in ("on", "off") else 0.15 for hue in hues}
    brightened = {hue: blend(c, "#ffffff", lighter[hue]) for hue, c in hues.items()}
    return brightened | tints | tones


def font_file(style):
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{style}.ttf"


@functools.cache
def font(style):
    """DejaVu Sans, plain, "-Bold" or "Mono": (glyph set, characters, units per em)."""
    loaded = TTFont(font_file(style))
    return loaded.getGlyphSet(), loaded.getBestCmap(), loaded["head"].unitsPerEm


def text_width(string, size, style=""):
    glyphs, characters, em = font(style)
    return sum(glyphs[characters[ord(c)]].width for c in string) * size / em


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def dashes(pattern):
    return f' stroke-dasharray="{pattern}"' if pattern else ""


class Picture:
    """A drawing, WIDTH units wide: shapes are added in painting order, `svg` gives the file's text.

    Colours are names of `theme`. ValueError where letters are too small, or leave the picture or
    their box.
    """

    def __init__(self, colours, height, description):
        self.colours = colours
        self.height = height
        self.description = description
        self.shapes = []
        self.letters = {}

    def add(self, shape):
        self.shapes.append(shape)

    def text(self, x, y, string, size=19, *, anchor="middle", style="", colour="ink", room=None):
        """One line of letters that stand on y; x is their middle, start or end.

        room: width that they may take.
        """
        width = text_width(string, size, style)
        left = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
        inside = left >= 0 and left + width <= WIDTH and 0 < y <= self.height
        if size < SMALLEST or width > (room or WIDTH) or not inside:
            found = f"{width:.0f} units of size {size} at {left:.0f}, {y}"
            raise ValueError(f"{string!r}: {found} do not fit")
        glyphs, characters, em = font(style)
        uses = []
        at = 0
        for c in string:
            name = characters[ord(c)]
            if c != " ":
                key = self.letters.setdefault((style, name), f"l{len(self.letters)}")
                uses.append(f'<use href="#{key}" x="{at}"/>')
            at += glyphs[name].width
        scale = size / em
        place = f"translate({number(left)} {number(y)}) scale({scale:.5f} {-scale:.5f})"
        fill = self.colours[colour]
        self.add(f'<g fill="{fill}" transform="{place}">{"".join(uses)}</g>')

    def look(self, fill, stroke, line):
        """Attributes of a shape: colours are names of `theme`, or any colour."""
        inside, around = self.colours.get(fill, fill), self.colours.get(stroke, stroke)
        return f'fill="{inside}" stroke="{around}" stroke-width="{line}"'

    def rect(self, x, y, width, height, *, fill="none", stroke="none", radius=8, line=2, dash=""):
        place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        look = self.look(fill, stroke, line)
        self.add(f'<rect {place} rx="{radius}" {look}{dashes(dash)}/>')

    def path(self, points, colour="line", *, line=3, fill="none", dash="", close=False):
        d = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + ("Z" if close else "")
        ends = 'stroke-linejoin="round" stroke-linecap="round"'
        self.add(f'<path d="{d}" {self.look(fill, colour, line)} {ends}{dashes(dash)}/>')

    def circle(self, x, y, radius, *, fill="none", stroke="none", line=2):
        place = f'cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"'
        self.add(f"<circle {place} {self.look(fill, stroke, line)}/>")

    def arrow(self, *points, colour="line", line=3, head=9):
        """A line through the points with a head at the last one."""
        (x0, y0), (x1, y1) = points[-2:]
        length = math.hypot(x1 - x0, y1 - y0)
        u, v = (x1 - x0) / length, (y1 - y0) / length
        base = (x1 - 1.5 * head * u, y1 - 1.5 * head * v)
        self.path([*points[:-1], base], colour, line=line)
        wings = [(base[0] - s * head * v * 0.8, base[1] + s * head * u * 0.8) for s in (1, -1)]
        self.path([(x1, y1), *wings], colour, line=1, fill=colour, close=True)

    def box(self, x, y, width, height, title, *lines, hue="both", size=21):
        """A named part of the model: a bold title and lines below it, centred."""
        self.rect(x, y, width, height, fill=f"{hue}_tint", stroke=hue)
        step = 25
        middle = x + width / 2
        first = y + height / 2 - step * len(lines) / 2 + 0.35 * size
        self.text(middle, first, title, size, style="-Bold", room=width - 14)
        for i, line in enumerate(lines, start=1):
            self.text(middle, first + step * i, line, 18, colour="soft", room=width - 12)

    def tag(self, x, y, string):
        """A dashed tag, centred on (x, y): a row of Table 4 switches the part off."""
        width = text_width(string, 17, "-Bold") + 22
        self.rect(
            x - width / 2, y - 14, width, 28, fill="tag_tint", stroke="tag", radius=14, dash="6 4"
        )
        self.text(x, y + 6, string, 17, style="-Bold")

    def marker(self, x, y, index):
        """The number of a difference, filled if it contradicts the paper."""
        contradicts = RELEASED_DIFFERENCES[index - 1][0]
        fill, ink = ("mark", "ground") if contradicts else ("ground", "ink")
        self.circle(x, y, 15, fill=fill, stroke="mark", line=2.5)
        self.text(x, y + 6, str(index), 17, style="-Bold", colour=ink)

    def image(self, x, y, width, height, picture):
        """A small raster image, inside the file."""
        data = io.BytesIO()
        picture.save(data, "PNG", optimize=True)
        content = base64.b64encode(data.getvalue()).decode()
        place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        look = f'style="image-rendering:pixelated" href="data:image/png;base64,{content}"'
        self.add(f"<image {place} {look}/>")

    def svg(self):
        shapes = []
        for (style, name), key in self.letters.items():
            glyphs = font(style)[0]
            pen = SVGPathPen(glyphs)
            glyphs[name].draw(pen)
            shapes.append(f'<path id="{key}" d="{pen.getCommands()}"/>')
        size = f'viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" height="{self.height}"'
        start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        title = f"<title>{escape(self.description)}</title>"
        defined = ["<defs>", *shapes, "</defs>"]
        return "\n".join([start, title, *defined, *self.shapes, "</svg>", ""])


# ---------------------------------------------------------------- diagrams of the models

# Lanes of the diagrams, mirrored: text tokens outside, visual tokens inside.
# (x, hue, offset and anchor of its labels).
OUTER = [(82, "text", 12, "start"), (638, "text", -12, "end")]
INNER = [(262, "rgb", -12, "end"), (458, "event", 12, "start")]
SIZES = [
    ("F", "frames of a clip: 5"),
    ("S", "image side: 224 pixels"),
    ("K", "tokens of an image: 1 + 14 × 14 = 197"),
    ("N", "visual tokens of a branch: F × K = 985"),
    ("D", "width of a token: 768"),
    ("L", "classes: 300 (HARDVS) or 114 (PokerEvent)"),
    ("R", "read-out tokens, learned: 10"),
]


def person(p, x, y, scale, colour, *, line):
    """Somebody who raises one arm, drawn from lines.

    (x, y) is the top left of a square of 100 * scale units.
    """
    trunk = [(50, 36), (50, 62)]
    legs = [(62, 92), (50, 62), (36, 92)]
    arms = [(28, 58), (50, 40), (66, 30), (78, 10)]
    for limb in (trunk, legs, arms):
        p.path([(x + scale * a, y + scale * b) for a, b in limb], colour, line=line)
    head = (x + scale * 50, y + scale * 24)
    fill = colour if line > 3 else "none"
    p.circle(*head, 10 * scale, fill=fill, stroke=colour, line=line / 2)


def stack(p, x, y, hue):
    """A pile of RGB frames or event images; (x, y) is the middle of its top."""
    for back in (2, 1, 0):
        p.rect(
            x - 59 + 9 * back, y + 18 - 9 * back, 100, 80, fill=f"{hue}_tint", stroke=hue, radius=5
        )
    if hue == "rgb":
        person(p, x - 49, y + 18, 0.8, "ink", line=5)
    else:  # a moving edge leaves a brighter and a darker trace
        person(p, x - 52, y + 18, 0.8, "off", line=2.5)
        person(p, x - 46, y + 18, 0.8, "on", line=2.5)


def shape(p, x, y, side, anchor, letters, numbers=""):
    """A tensor's shape beside its lane at x: in letters, below them the paper's numbers."""
    p.text(x + side, y, letters, 18, anchor=anchor)
    if numbers:
        p.text(x + side, y + 23, numbers, 16, anchor=anchor, colour="soft")


def heading(p, title, line):
    p.text(16, 34, title, 25, anchor="start", style="-Bold")
    p.text(16, 62, line, 18, anchor="start", colour="soft")


def inputs(p, sentence, tower, images):
    """The upper part that both models share, down to the vision tower at y = 542."""
    for x, title, line in ((16, "class names", "L of them"), (260, *sentence), (504, *tower)):
        p.box(x, 90, 200, 84, title, line, hue="text", size=20)
    p.arrow((217, 132), (258, 132), colour="text")
    p.arrow((461, 132), (502, 132), colour="text")
    for (x, hue, *_), name in zip(INNER, ("RGB frames", "event images"), strict=True):
        stack(p, x, 266, hue)
        p.text(x, 390, name, 19, style="-Bold")
        p.text(x, 415, images, 18, colour="soft")
        p.arrow((x, 426), (x, 460), colour=hue)
    p.box(130, 462, 460, 80, "CLIP vision tower", "one and the same for both")


def attentions(p, y, tokens, end):
    """From the Transformers' lower edge y to the cross-attentions' at y + 316.

    Visual tokens go on beside them to `end`.
    """
    for x, hue, side, anchor in OUTER:
        p.arrow((x, y), (x, y + 222), colour=hue)
        shape(p, x, y + 38, side, anchor, "L × D")
        shape(p, x, y + 206, side, anchor, "queries")
    for x, hue, side, anchor in INNER:
        p.arrow((x, y), (x, y + 70), colour=hue)
        shape(p, x, y + 38, side, anchor, f"{tokens} × D")
    p.box(130, y + 72, 460, 80, "Self-attention", f"over [RGB, event]: 2 {tokens} tokens")
    for x, hue, left, edge, name in (
        (290, "rgb", 16, 210, "RGB"),
        (430, "event", 512, 510, "event"),
    ):
        p.arrow((x, y + 152), (x, end), colour=hue)
        p.arrow((x, y + 270), (edge, y + 270), colour=hue)
        for line, below in (("keys,", 260), ("values", 293)):
            p.text((x + edge) / 2, y + below, line, 17)
        p.box(left, y + 224, 192, 92, "Cross-attention", f"text asks {name}", hue=hue, size=19)
    for x, hue, *_ in OUTER:
        p.arrow((x, y + 316), (x, end), colour=hue)


def strip(p, y, parts):
    """Tokens side by side: (x, width, hue, name) each."""
    for x, width, hue, name in parts:
        p.rect(x, y, width, 40, fill=f"{hue}_tint", stroke=hue, radius=4)
        p.text(x + width / 2, y + 26, name, 18, room=width - 4)


def classifier(p, y, line):
    """Read-out tokens to scores, 200 units high."""
    p.arrow((360, y), (360, y + 52))
    shape(p, 360, y + 32, 14, "start", "R × D")
    p.box(130, y + 54, 460, 78, "Classifier", line)
    p.arrow((360, y + 133), (360, y + 168))
    p.text(360, y + 192, "L scores, one per class", 20, style="-Bold")


def sizes(p, y, letters):
    """What the letters of the shapes mean, with the paper's sizes."""
    p.text(16, y, "Shapes (of one clip; the paper's sizes)", 20, anchor="start", style="-Bold")
    for i, (letter, meaning) in enumerate(row for row in SIZES if row[0] in letters):
        p.text(28, y + 32 + 27 * i, letter, 18, anchor="start", style="-Bold")
        p.text(58, y + 32 + 27 * i, meaning, 18, anchor="start", colour="soft")


def architecture_paper(colours):
    p = Picture(colours, 2444, ALT["architecture_paper"])
    heading(p, "The paper's model", "as safe_core.py computes it, from top to bottom")

    # Text: one token per class, for both branches; down on both sides.
    p.path([(638, 174), (638, 226)], "text")
    p.path([(82, 226), (638, 226)], "text")
    for x, *_ in OUTER:
        p.arrow((x, 226), (x, 764), colour="text")
    inputs(
        p,
        ("sentences", "about each name"),
        ("CLIP text tower", "linear layer to D"),
        "F × 3 × S × S",
    )
    p.text(360, 218, "L × D, + modality embedding", 18, colour="soft")
    p.tag(360, 174, "w/o RW")
    p.tag(82, 262, "w/o SCI")
    p.tag(544, 270, "w/o AFE")
    p.tag(360, 542, "w/o LVM")

    for x, hue, side, anchor in INNER:
        p.arrow((x, 542), (x, 606), colour=hue)
        shape(p, x, 574, side, anchor, "F × K × D", "5 × 197 × 768")
        p.box(
            x - 94, 608, 188, 98, "+ embeddings", "position, frame,", "modality", hue=hue, size=20
        )
        p.arrow((x, 706), (x, 764), colour=hue)
        shape(p, x, 738, side, anchor, "N × D")

    for x, hue, name in ((16, "rgb", "RGB"), (372, "event", "event")):
        over = f"over [{name}, text]: N + L tokens"
        p.box(x, 766, 332, 88, "Multi-modal Transformer", over, hue=hue, size=20)
    attentions(p, 854, "N", 1262)
    p.tag(360, 854, "w/o MT")
    p.tag(360, 1006, "w/o SA")
    for x, _, side, anchor in OUTER:
        shape(p, x, 1224, side, anchor, "L × D")
    for x in (150, 570):
        p.tag(x, 1170, "w/o CA")
    p.box(306, 1080, 108, 88, "read-out", "tokens", "(learned)", size=18)
    p.arrow((360, 1168), (360, 1262))

    side_by_side = [
        (16, 196, "text", "L text"),
        (222, 98, "rgb", "N RGB"),
        (330, 60, "both", "R"),
        (400, 98, "event", "N event"),
        (508, 196, "text", "L text"),
    ]
    strip(p, 1264, side_by_side)
    p.text(360, 1332, "all tokens, side by side: 2 N + 2 L + R", 18, colour="soft")
    p.arrow((360, 1344), (360, 1378))
    p.box(60, 1380, 600, 80, "Final attention", "the read-out tokens ask all tokens")
    classifier(p, 1460, "LayerNorm, flatten, linear layer")

    sizes(p, 1716, "FSKNDLR")
    choice = "The read-out tokens are our choice: the paper leaves it open."
    p.text(28, 1938, choice, 17, anchor="start", colour="soft")
    p.text(
        16, 1988, "Switches (rows of Table 4; fields of Config)", 20, anchor="start", style="-Bold"
    )
    for i, (row, field, value, words) in enumerate(SWITCHES):
        y = 2028 + 62 * i
        p.tag(70, y, row)
        p.text(134, y + 1, f"{field}={value!r}".replace("'", '"'), 17, anchor="start", style="Mono")
        p.text(134, y + 25, words, 17, anchor="start", colour="soft")
    return p


def architecture_released(colours):
    p = Picture(colours, 2600, ALT["architecture_released"])
    heading(
        p, "The released model", "as safe_companion/released.py computes it, from top to bottom"
    )

    # Text: one row of tokens, for the one block.
    p.path([(638, 174), (638, 226)], "text")
    p.path([(82, 226), (638, 226)], "text")
    p.arrow((82, 226), (82, 830), colour="text")
    inputs(
        p,
        ("no sentence", "the bare name"),
        ("CLIP text tower", "linear layer to D"),
        "F × 3 × S × S",
    )
    p.text(360, 218, "L × D, + modality embedding", 18, colour="soft")
    p.marker(460, 90, 1)
    p.marker(360, 316, 2)
    p.marker(590, 542, 3)

    for x, hue, side, anchor in INNER:
        p.arrow((x, 542), (x, 606), colour=hue)
        shape(p, x, 574, side, anchor, "F × K × 512", "5 × 197 × 512")
        steps = ["mean of frames", "linear layer to D", "(one for both)", "+ modality", "embedding"]
        p.box(x - 94, 608, 188, 164, *steps, hue=hue, size=19)
        p.arrow((x, 772), (x, 830), colour=hue)
        shape(p, x, 804, side, anchor, "K × D")
    p.marker(360, 608, 4)
    p.marker(360, 772, 5)

    p.box(
        16,
        832,
        688,
        84,
        "Joint Transformer block, LayerNorm",
        "over [text, RGB, event]: L + 2 K tokens",
    )
    attentions(p, 916, "K", 1304)
    p.marker(688, 832, 6)
    p.marker(590, 988, 7)
    for i in range(3):
        for x in (116, 532):
            p.marker(x + 36 * i, 1232, 7 + i)

    p.box(16, 1306, 688, 80, "Addition", "RGB + event, and text + text")
    p.marker(688, 1306, 10)
    for x, hue in ((134, "text"), (360, "both")):
        p.arrow((x, 1386), (x, 1444), colour=hue)
    shape(p, 134, 1420, 12, "start", "L × D")
    shape(p, 360, 1420, 12, "start", "K × D")
    side_by_side = [
        (16, 236, "text", "L text"),
        (262, 196, "both", "K RGB + event"),
        (468, 236, "both", "R read-out (learned)"),
    ]
    strip(p, 1446, side_by_side)
    p.text(360, 1514, "all tokens, side by side: L + K + R", 18, colour="soft")
    p.arrow((360, 1526), (360, 1560))
    p.box(60, 1562, 600, 80, "Self-attention, once more", "the read-out tokens ask all tokens")
    p.marker(660, 1562, 11)
    classifier(p, 1642, "flatten, linear layer")
    sizes(p, 1898, "FSKDLR")
    p.text(16, 2130, "Differences", 20, anchor="start", style="-Bold")
    legend = "filled: differs from the paper; hollow: the paper does not settle it"
    p.text(16, 2158, legend, 18, anchor="start", colour="soft")
    for i, (_, words) in enumerate(RELEASED_DIFFERENCES, start=1):
        p.marker(36, 2154 + 38 * i, i)
        p.text(64, 2160 + 38 * i, words, 18, anchor="start")
    return p


# ---------------------------------------------------------------- teaching pictures


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
    p.text(left + 4, 106, "K visual tokens: keys and values", 18, anchor="start", style="-Bold")
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
        ("1  Compare", "score = query · key / √d, for each name and each patch"),
        ("2  Share out", "softmax: each row becomes shares of 100 %"),
        ("3  Collect", "output = the patches' values, averaged with these shares"),
    ]
    for i, (head, line) in enumerate(steps):
        p.text(16, y + 30 * i, head, 18, anchor="start", style="-Bold")
        p.text(160, y + 30 * i, line, 17, anchor="start")
    p.rect(16, y + 84, 688, 58, fill="text_tint", stroke="text")
    p.text(360, y + 121, "softmax( Q Kᵀ / √d ) V", 25, style="-Bold")
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


def first_easy_recording(dataset):
    """(events from t = 0, frames [F, H, W, 3], frame times, class name, sample name).

    The first test recording of the generated sample's first class that is hard for neither
    modality; filmed again from its seed, bit for bit the one in the sample.
    """
    label = 0
    for index in range(100):
        seed = [0, sample.DATASET_IDS[dataset], sample.SPLIT_IDS["test"], label, index]
        film = sample.simulate(dataset, label, np.random.SeedSequence(seed))
        if film["truth"]["cause"] == "none":
            events = np.empty(len(film["events"]["t"]), EVENT_DTYPE)
            for column in events.dtype.names:
                events[column] = film["events"][column]
            name = sample.sample_name("test", label, index)
            return events, film["frames"], film["frame_t"], sample.CLASSES[dataset][label], name
    raise RuntimeError(f"{dataset}: 100 recordings, and each is hard for a modality")


def authors_image(events):
    """The event image of these events in the authors' colours."""
    pixels = event_image(events, SIZE, "authors")
    return Image.fromarray(pixels.transpose(1, 2, 0))


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
            count = f"{stop - start:,}".replace(",", " ")
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
    fewest = f"{minimum:,}".replace(",", " ")
    lines = [
        "Each row halves the windows above it by event count, so a window is",
        "short in time where much happens. A halving stops once a half would",
        f"have fewer than {fewest} events. With a threshold above 0, it stops also",
        "where the halves differ by less; here, as published for HARDVS, it is 0.",
    ]
    for i, line in enumerate(lines):
        p.text(16, y + 27 * i, line, 18, anchor="start")
    return p


DRAWINGS = {
    "architecture_paper": architecture_paper,
    "architecture_released": architecture_released,
    "cross_attention": cross_attention,
    "events_idea": events_idea,
    "afe_steps": afe_steps,
}


# ---------------------------------------------------------------- animations

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


def main(names):
    """Writes the named figures, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if unknown := set(names) - ALT.keys():
        raise SystemExit(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(ALT)}")
    for name in names or ALT:
        if name in DRAWINGS:
            for variant in ("light", "dark"):
                picture = DRAWINGS[name](theme(variant))
                (FOLDER / f"{name}-{variant}.svg").write_text(picture.svg(), encoding="utf-8")
            continue
        draw, packing = ANIMATIONS[name]
        images = draw()
        animation = {"save_all": True, "append_images": images[1:], "loop": 0}
        images[0].save(FOLDER / f"{name}.webp", **animation, **packing)
        still = images[len(images) // 2]  # for readers who asked for less motion
        still.save(FOLDER / f"{name}-still.webp", quality=80)


if __name__ == "__main__":
    main(sys.argv[1:])
