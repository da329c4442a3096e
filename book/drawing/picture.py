"""What is a diagram made of? Colours, letters as outlines of one font, and shapes, as plain SVG."""

import base64
import functools
import io
import math
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont
from matplotlib.colors import to_hex, to_rgb

from safe_companion import plots
from safe_companion.events import OFF_COLOUR, ON_COLOUR

WIDTH = 720  # of every diagram, in its own units
SMALLEST = 16  # letters: at 390 px of screen width still about 8 px


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


def heading(p, title, line):
    p.text(16, 34, title, 25, anchor="start", style="-Bold")
    p.text(16, 62, line, 18, anchor="start", colour="soft")
