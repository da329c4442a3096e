"""What do the 36 conjunctions look like? Three squares, of which one moves, and two cameras.

A class names the colour and the motion of the square that moves: "red square moving left". No one
camera, and no sum of what two models of one camera each say, can tell it:

- RGB sees three colours and no motion: whatever moves is back at its place at every exposure, as
  wheels seem to stand still in a film;
- events see where something moves, and how, and no colour: all squares are of equal luminance;
- so only who looks up, at the place where the events are, which colour lies there, can tell more
  than one of three.

A third of the pairs is in no training list. Each colour is seen with four motions, each motion with
four colours, so that neither says more of the other than which four.
"""

import itertools

import numpy as np

from safe_companion.sample.painting import draw_background, film_background
from safe_companion.sample.world import F32, Nuisance, World

COLOURS = {  # linear light, before they are made equal in luminance
    "red": (1.0, 0.08, 0.08),
    "yellow": (1.0, 0.75, 0.04),
    "green": (0.08, 1.0, 0.12),
    "turquoise": (0.05, 0.85, 1.0),
    "blue": (0.10, 0.14, 1.0),
    "pink": (1.0, 0.15, 0.8),
}
MOTIONS = ("moving left", "moving right", "moving up", "moving down", "turning", "growing")
PAIRS = [f"{colour} square {motion}" for colour, motion in itertools.product(COLOURS, MOTIONS)]
UNSEEN = [label for label in range(len(PAIRS)) if sum(divmod(label, len(MOTIONS))) % 3 == 0]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709
SHOWN = 3  # squares
BACKGROUND_LEVEL = (0.45, 0.65)  # mean luminance, relative to white
SQUARE_LEVEL = (0.08, 0.13)
HALF_SIDE_PX = (12.0, 15.0)
WAY_PX = (13.0, 17.0)  # how far the one that moves goes, and comes back
GROWTH = 0.8  # of its side
TILT_DEG = (-20.0, 20.0)
OFF_CENTRE_PX = (-5.0, 5.0)  # of a quarter of the image


def draw_steady(label: int, rng: np.random.Generator) -> Nuisance:
    """Steady cameras in good light. The cause says whether the pair is one of the training list."""
    return {
        "hard_for": "neither",
        "cause": "unseen pair" if label in UNSEEN else "seen pair",
        "illumination": float(np.exp(rng.uniform(np.log(0.2), 0))),
        "speed": 0.0,
        "exposure_steps": 1,  # the instant when everything is at its place
        "isoluminance": 0.0,
        "noise_hz": rng.uniform(0.1, 0.4),
        "shake": 0.0,
    }


def film_squares(
    label: int, rng: np.random.Generator, nuisance: Nuisance, times: np.ndarray, world: World
) -> tuple[np.ndarray, np.ndarray]:
    """Three squares, of which the first moves, at times [S] (s).

    Returns linear light float32 [S, H, W, 3], and where in the image the first is, [S, 1, 2]. What
    is drawn from `rng` does not depend on the label: two classes differ in nothing but their pair.
    """
    colour, motion = divmod(label, len(MOTIONS))
    others = (colour + 1 + rng.permutation(len(COLOURS) - 1)[: SHOWN - 1]) % len(COLOURS)
    colours = [np.array(list(COLOURS.values())[i]) for i in (colour, *others)]
    levels = rng.uniform(*SQUARE_LEVEL, SHOWN)
    inks = [level * ink / (ink @ LUMINANCE) for level, ink in zip(levels, colours, strict=True)]

    quarter = np.array([world.width, world.height]) / 4
    places = np.array([(1, 1), (3, 1), (1, 3), (3, 3)])[rng.permutation(4)[:SHOWN]] * quarter
    places = places + rng.uniform(*OFF_CENTRE_PX, places.shape)
    half = rng.uniform(*HALF_SIDE_PX, SHOWN)
    tilt = np.radians(rng.uniform(*TILT_DEG, SHOWN))
    way = rng.uniform(*WAY_PX)

    # out and back between two frames, whose exposure is an instant at phase 0
    phase = np.arange(len(times)) % world.steps_per_frame / world.steps_per_frame
    out = np.sin(np.pi * phase)
    direction = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}.get(motion, (0, 0))
    points = places[0] + (way * out)[:, None] * direction
    turns = tilt[0] + (np.pi / 2 * phase if motion == 4 else 0 * phase)  # a square again at 90°
    halves = half[0] * (1 + (GROWTH * out if motion == 5 else 0 * out))

    background = draw_background(rng, world)
    background *= F32(rng.uniform(*BACKGROUND_LEVEL) / (background @ LUMINANCE).mean())
    np.clip(background, 0.01, 1, out=background)
    light = film_background(background, np.zeros((1, 2)), world.height, world.width)[0]
    for i in range(1, SHOWN):
        paint_square(light, places[i], half[i], tilt[i], inks[i])
    light = np.repeat(light[None], len(times), 0)
    for step in range(len(times)):
        paint_square(light[step], points[step], halves[step], turns[step], inks[0])
    return light, points[:, None]


def paint_square(
    out: np.ndarray, centre: np.ndarray, half: float, turn: float, ink: np.ndarray
) -> None:
    """A square of half a side (px), turned (radians), on out float32 [H, W, 3]."""
    reach = 1.5 * half + 1
    left, top = np.maximum(centre - reach, 0).astype(int)
    right, bottom = np.maximum(centre + reach + 1, 0).astype(int)
    part = out[top:bottom, left:right]
    dx = np.arange(left, left + part.shape[1]) - centre[0]
    dy = (np.arange(top, top + part.shape[0]) - centre[1])[:, None]
    u = dx * np.cos(turn) + dy * np.sin(turn)
    v = dy * np.cos(turn) - dx * np.sin(turn)
    cover = np.clip(half + 0.5 - np.maximum(np.abs(u), np.abs(v)), 0, 1)[..., None]
    part += (cover * (ink - part)).astype(np.float32)
