"""What do the animals on the cards consist of? Ovals, polygons and lines.

Units are percent of the picture's half width, from its middle; y points down.
"""

from typing import NamedTuple

import numpy as np

Point = tuple[float, float]
BODY, ACCENT, DARK, PAPER = range(4)  # inks


class Shape(NamedTuple):
    """One stroke of an animal."""

    kind: str  # "oval", "polygon" or "line"
    points: list[Point]  # an oval's is its centre
    ink: int
    radii: Point = (0, 0)  # of an oval
    width: float = 0  # of a line
    mirrored: bool = False  # drawn on both sides


def _oval(x: float, y: float, radius_x: float, radius_y: float, ink: int) -> Shape:
    return Shape("oval", [(x, y)], ink, radii=(radius_x, radius_y))


def _polygon(points: list[Point], ink: int) -> Shape:
    return Shape("polygon", points, ink)


def _line(points: list[Point], width: float, ink: int) -> Shape:
    return Shape("line", points, ink, width=width)


def _pair(shape: Shape) -> Shape:
    """The shape and its mirror image."""
    return shape._replace(mirrored=True)


def _ray(radius: float, k: int) -> Point:
    """The point at the k-th of ten directions, clockwise from above."""
    return radius * np.sin(k * np.pi / 5), -radius * np.cos(k * np.pi / 5)


_BELL = [(70 * np.cos(a), -18 - 72 * np.sin(a)) for a in np.linspace(0, np.pi, 16)]
_TENTACLE_Y = range(-10, 98, 6)
_STAR = [_ray(96 if k % 2 == 0 else 34, k) for k in range(10)]
ANIMALS = {
    "Butterfly": [
        _pair(_polygon([(0, -18), (40, -95), (95, -90), (98, -30), (40, 4)], BODY)),
        _pair(_polygon([(0, 0), (62, 8), (85, 55), (52, 92), (6, 35)], ACCENT)),
        _pair(_oval(68, -58, 15, 15, ACCENT)),
        _pair(_oval(52, 48, 12, 12, BODY)),
        _oval(0, 5, 9, 62, DARK),
        _pair(_line([(0, -50), (26, -98)], 5, DARK)),
    ],
    "Crab": [
        *[_pair(_line([(45, y), (84, y + 2), (96, y + 30)], 9, BODY)) for y in (0, 18, 36)],
        _pair(_line([(42, -8), (80, -30), (72, -62)], 13, BODY)),
        _pair(_oval(68, -72, 27, 23, BODY)),
        _pair(_polygon([(68, -70), (50, -102), (84, -102)], PAPER)),
        _oval(0, 14, 62, 42, BODY),
        _pair(_line([(16, -20), (20, -48)], 7, ACCENT)),
        _pair(_oval(20, -52, 10, 10, DARK)),
        _line([(-22, 30), (0, 38), (22, 30)], 6, DARK),
    ],
    "Elephant": [
        _pair(_oval(62, -25, 38, 58, BODY)),
        _oval(0, -20, 46, 58, ACCENT),
        _line([(0, 0), (0, 62), (26, 88)], 30, ACCENT),
        _pair(_polygon([(18, 32), (34, 26), (48, 80)], DARK)),
        _pair(_oval(19, -28, 7, 8, DARK)),
        _line([(-13, 40), (13, 40)], 4, BODY),
        _line([(-13, 56), (13, 56)], 4, BODY),
    ],
    "Giraffe": [
        *[
            _line([(x, 40), (x + d, 98)], 12, BODY)
            for x, d in ((-52, -3), (-38, 3), (2, -3), (16, 3))
        ],
        _oval(-18, 34, 48, 25, BODY),
        _polygon([(-2, 26), (28, 44), (58, -62), (38, -70)], BODY),
        _oval(60, -74, 30, 14, BODY),
        _line([(44, -80), (40, -102)], 6, DARK),
        _oval(56, -78, 4, 4, DARK),
        _line([(-64, 26), (-82, 62)], 6, DARK),
        *[
            _oval(x, y, 9, 8, ACCENT)
            for x, y in ((-48, 32), (-28, 24), (-22, 44), (-2, 34), (20, 10), (30, -16), (40, -42))
        ],
    ],
    "Jellyfish": [
        _polygon(_BELL, BODY),
        *[_oval(x, -16, 15, 12, BODY) for x in (-54, -27, 0, 27, 54)],
        _oval(-24, -60, 14, 10, PAPER),
        *[
            _line([(x + 9 * np.sin(y / 9 + x), y) for y in _TENTACLE_Y], 7, ACCENT)
            for x in (-50, -25, 0, 25, 50)
        ],
    ],
    "Owl": [
        _pair(_polygon([(12, -58), (52, -98), (58, -40)], BODY)),
        _oval(0, 15, 60, 80, BODY),
        _pair(_oval(54, 32, 17, 50, ACCENT)),
        _pair(_oval(26, -28, 27, 27, PAPER)),
        _pair(_oval(25, -28, 13, 13, DARK)),
        _polygon([(-9, -14), (9, -14), (0, 12)], ACCENT),
        *[
            _oval(x, y, 8, 6, ACCENT)
            for x, y in ((-18, 32), (0, 32), (18, 32), (-10, 52), (10, 52))
        ],
        _pair(_oval(22, 95, 15, 7, DARK)),
    ],
    "Penguin": [
        _pair(_polygon([(40, -25), (88, 45), (46, 28)], DARK)),
        _oval(0, 18, 52, 76, DARK),
        _oval(0, 30, 36, 60, PAPER),
        _oval(0, -62, 36, 34, DARK),
        _pair(_oval(14, -68, 9, 9, PAPER)),
        _pair(_oval(14, -68, 4, 4, DARK)),
        _polygon([(-13, -56), (13, -56), (0, -36)], ACCENT),
        _pair(_oval(24, 94, 22, 8, ACCENT)),
    ],
    "Sea turtle": [
        _pair(_polygon([(30, -38), (70, -92), (98, -60), (54, -12)], ACCENT)),
        _pair(_polygon([(36, 40), (72, 62), (62, 92), (22, 58)], ACCENT)),
        _oval(0, -72, 20, 25, ACCENT),
        _pair(_oval(9, -82, 4, 4, DARK)),
        _oval(0, 6, 54, 62, BODY),
        _polygon([(-20, -18), (20, -18), (32, 8), (20, 34), (-20, 34), (-32, 8)], DARK),
        _polygon([(-15, -12), (15, -12), (25, 8), (15, 28), (-15, 28), (-25, 8)], BODY),
        _pair(_line([(20, -18), (36, -40)], 5, DARK)),
        _pair(_line([(32, 8), (54, 8)], 5, DARK)),
        _pair(_line([(20, 34), (36, 54)], 5, DARK)),
    ],
    "Spider": [
        *[
            _pair(_line([(10, y), (x, y + d), (x + 22, y + e)], 7, DARK))
            for x, y, d, e in (
                (52, -26, -55, -72),
                (66, -16, -28, 10),
                (66, -4, 12, 58),
                (48, 6, 50, 94),
            )
        ],
        _oval(0, 36, 36, 44, BODY),
        _oval(0, -22, 25, 23, BODY),
        _pair(_oval(9, -32, 6, 6, PAPER)),
        _polygon([(-12, 22), (12, 22), (0, 40)], ACCENT),
        _polygon([(-12, 58), (12, 58), (0, 40)], ACCENT),
    ],
    "Starfish": [
        _polygon(_STAR, BODY),
        *[
            _oval(*_ray(radius, 2 * k), size, size, ACCENT)
            for k in range(5)
            for radius, size in ((24, 8), (48, 6), (68, 4))
        ],
        _oval(0, 0, 7, 7, ACCENT),
    ],
    "Whale": [
        _polygon(
            [
                (-98, 18),
                (-90, -20),
                (-55, -44),
                (-5, -42),
                (40, -16),
                (66, -10),
                (70, -46),
                (86, -34),
                (98, -48),
                (94, -8),
                (74, 20),
                (30, 52),
                (-40, 60),
                (-84, 48),
            ],
            BODY,
        ),
        _polygon([(-98, 20), (-40, 28), (20, 44), (-20, 60), (-60, 58), (-84, 48)], PAPER),
        _oval(-64, 4, 6, 6, DARK),
        _polygon([(-28, 24), (-4, 76), (8, 30)], ACCENT),
        _line([(-40, -46), (-40, -78), (-62, -94)], 7, ACCENT),
        _line([(-40, -78), (-18, -94)], 7, ACCENT),
    ],
    "Octopus": [
        _pair(_line([(8, 10), (14, 60), (4, 94)], 13, BODY)),
        _pair(_line([(20, 6), (44, 60), (38, 94), (58, 88)], 13, BODY)),
        _pair(_line([(28, 0), (72, 34), (68, 72), (92, 76)], 13, BODY)),
        _pair(_line([(30, -6), (82, 0), (94, -30)], 13, BODY)),
        _oval(0, -42, 46, 54, BODY),
        _pair(_oval(18, -26, 13, 15, PAPER)),
        _pair(_oval(18, -24, 6, 8, DARK)),
        _pair(_oval(25, -70, 7, 6, ACCENT)),
        _line([(-12, -2), (0, 3), (12, -2)], 5, DARK),
    ],
}
