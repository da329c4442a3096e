"""What do the 26 cards look like? Ranks, animals, and a hand that holds one before a background."""

import colorsys
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from safe_companion.sample.animals import ANIMALS, BODY, PAPER, Shape
from safe_companion.sample.painting import (
    capsule_rows,
    draw_background,
    draw_shake,
    draw_skin,
    film_background,
    paint_capsules,
    paint_card,
    random_colour,
)
from safe_companion.sample.world import F32, Nuisance, World

CARD_W, CARD_H = 110, 154  # px of the card's picture
RANKS = ["A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "JOKER"]


@functools.cache
def card_art(label: int, variant: int) -> np.ndarray:
    """One card's picture, linear light float32 [CARD_H, CARD_W, 3]; six variants each."""
    rng = np.random.default_rng([label, variant])
    hue = rng.random()
    tones = [
        (hue, rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.8)),
        ((hue + rng.uniform(0.15, 0.5)) % 1, rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95)),
        (0.63, 0.6, 0.3),
        (0.12, 0.06, 0.97),
    ]
    inks = []
    for tone in tones:
        red, green, blue = colorsys.hsv_to_rgb(*tone)
        inks.append((int(255 * red), int(255 * green), int(255 * blue)))
    image = Image.new("RGB", (3 * CARD_W, 3 * CARD_H), inks[PAPER])  # drawn at three times its size
    if label < len(RANKS):
        ink = (170, 20, 30) if variant % 2 == 0 else (30, 34, 64)
        _draw_rank(image, RANKS[label], ink, rng)
    else:
        animal = list(ANIMALS)[label - len(RANKS)]
        _draw_animal(image, ANIMALS[animal], inks, rng)
    small = image.resize((CARD_W, CARD_H), Image.Resampling.LANCZOS)
    return (np.asarray(small, np.float32) / 255) ** F32(2.2)


def _draw_rank(
    image: Image.Image, rank: str, ink: tuple[int, int, int], rng: np.random.Generator
) -> None:
    """A large rank in the middle and its index in two opposite corners.

    JOKER: letters below one another, and a cap with bells.
    """
    width, height = image.size
    layer = Image.new("L", image.size)
    pen = ImageDraw.Draw(layer)
    corner_height = 110
    if rank == "JOKER":
        corner_height = 290
        font = ImageFont.load_default(46)
        for k, letter in enumerate(rank):
            pen.text((36, 48 + 46 * k), letter, 255, font, anchor="mm", stroke_width=2)
        cx, cy = width / 2 + 16, height / 2
        for dx, dy in ((-95, -60), (0, -125), (95, -60)):
            pen.polygon([(cx - 62, cy + 60), (cx + dx, cy + dy), (cx + 62, cy + 60)], 255)
            pen.ellipse((cx + dx - 20, cy + dy - 20, cx + dx + 20, cy + dy + 20), 255)
        pen.rectangle((cx - 66, cy + 70, cx + 66, cy + 92), 255)
    else:
        size = 200 if len(rank) > 1 else 260
        font = ImageFont.load_default(rng.uniform(0.85, 1.1) * size)
        pen.text((width / 2, height / 2), rank, 255, font, anchor="mm", stroke_width=6)
        pen.text((44, 56), rank, 255, ImageFont.load_default(74), anchor="mm", stroke_width=3)
    corner = layer.crop((0, 0, 90, corner_height)).rotate(180)
    layer.paste(corner, (width - corner.width, height - corner.height))
    image.paste(ink, mask=layer)


def _draw_animal(
    image: Image.Image,
    shapes: list[Shape],
    inks: list[tuple[int, int, int]],
    rng: np.random.Generator,
) -> None:
    """An animal in the middle of the card, a little stretched, with a thin frame."""
    width, height = image.size
    pen = ImageDraw.Draw(image)
    size = width * rng.uniform(0.40, 0.46) / 100
    stretch = size * rng.uniform((0.95, 0.95), (1.02, 1.25))
    centre = np.array([width / 2, height / 2])
    frame = (14, 14, width - 14, height - 14)
    pen.rounded_rectangle(frame, 20, outline=inks[BODY], width=6)
    for shape in shapes:
        ink = inks[shape.ink]
        for side in (1, -1) if shape.mirrored else (1,):
            path = [tuple(centre + stretch * (side * x, y)) for x, y in shape.points]
            if shape.kind == "oval":
                x, y = path[0]
                radius_x, radius_y = stretch * shape.radii
                pen.ellipse((x - radius_x, y - radius_y, x + radius_x, y + radius_y), ink)
            elif shape.kind == "polygon":
                pen.polygon(path, ink)
            else:
                pen.line(path, ink, int(shape.width * stretch[0]), joint="curve")


# ------------------------------------------------------------------------------------ card and hand
def _homography(
    centre: np.ndarray, zoom: np.ndarray, turn: np.ndarray, pitch: np.ndarray, yaw: np.ndarray
) -> np.ndarray:
    """Maps [S, 3, 3] from art px to image px of a card turned about its centre [S, 2] (px).

    It is seen from 450 px away; turn, pitch, yaw [S] in radians.
    """
    cos_turn, cos_pitch, cos_yaw = np.cos([turn, pitch, yaw])
    sin_turn, sin_pitch, sin_yaw = np.sin([turn, pitch, yaw])
    across = zoom * np.array(  # of one art px, [3, S]
        [
            cos_turn * cos_yaw - sin_turn * sin_yaw * sin_pitch,
            sin_turn * cos_yaw + cos_turn * sin_yaw * sin_pitch,
            -sin_yaw * cos_pitch,
        ]
    )
    down = zoom * np.array([-sin_turn * cos_pitch, cos_turn * cos_pitch, sin_pitch])
    plane = np.stack([across, down, -(CARD_W * across + CARD_H * down) / 2], 1)
    depth = plane[2] / 450 + [[0], [0], [1]]
    x, y = plane[0] + centre[:, 0] * depth, plane[1] + centre[:, 1] * depth
    return np.stack([x, y, depth]).transpose(2, 0, 1)


def _project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Art px [M, 2] to image px [S, M, 2]."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.transpose(0, 2, 1)
    return mapped[..., :2] / mapped[..., 2:]


def film_card(
    label: int, rng: np.random.Generator, nuisance: Nuisance, times: np.ndarray, world: World
) -> tuple[np.ndarray, np.ndarray]:
    """One hand-held card at times [S] (s).

    Returns linear light float32 [S, H, W, 3], and where in the image its corners are, [S, 4, 2].
    """
    art = card_art(label, int(rng.integers(6)))
    art = art * (1 - rng.uniform(0, 0.25, 3).astype(np.float32))  # tinted paper
    size = rng.uniform(*world.card_px) / CARD_W

    cycle = 2 * np.pi * (rng.random() + nuisance["speed"] * times)
    direction = rng.uniform(0, 2 * np.pi)
    swing = rng.uniform(2, 6)  # px
    sway = np.sin(cycle)
    overtone = np.sin(2 * cycle + rng.uniform(0, 6)) * 0.2
    turn = np.radians(rng.uniform(*world.card_turn_deg)) + np.radians(rng.uniform(-7, 7)) * sway
    at_rest = rng.uniform(-20, 20, (2, 1))
    swinging = rng.uniform(-9, 9, (2, 1)) * np.stack([sway, overtone])
    pitch, yaw = np.radians(at_rest + swinging)
    x = world.width / 2 + rng.uniform(-28, 28) + swing * (np.cos(direction) * sway + overtone)
    y = world.height / 2 + rng.uniform(-10, 2) + swing * (np.sin(direction) * sway - overtone)
    shake = draw_shake(rng, nuisance, times)
    zoom = size * (1 + 0.04 * overtone)
    homography = _homography(np.stack([x, y], 1) + shake, zoom, turn, pitch, yaw)
    inverse = np.linalg.inv(homography).astype(np.float32)
    corners = _project(homography, np.array([(0, 0), (CARD_W, 0), (CARD_W, CARD_H), (0, CARD_H)]))
    boxes = np.concatenate([corners.min(1).astype(int) - 2, corners.max(1).astype(int) + 3], 1)
    shade = (0.55 + 0.35 * np.cos(pitch + 0.3) * np.cos(yaw - 0.3)).astype(np.float32)

    skin = draw_skin(rng)
    sleeve = random_colour(rng)
    grip = rng.uniform(-0.22, 0.22)  # where the lower edge is held, in card widths from its middle
    reach = rng.uniform(0.10, 0.26)  # how far thumb and finger cover the card, in card heights
    # offset from the grip in card widths, height on the card in card heights
    hand = np.array(
        [
            (0, 1.05),  # palm
            (0.1, 1.7),  # wrist
            (-0.05, 1.05),  # root of the thumb
            (-0.12, 1 - reach),  # tip of the thumb
            (0.22, 1.12),  # root of the finger
            (0.3, 1.04 - reach / 2),  # tip of the finger
        ]
    )
    hand = _project(homography, (hand + (0.5 + grip, 0)) * (CARD_W, CARD_H))
    thick = CARD_W * zoom[:, None]
    wrist_and_palm = capsule_rows(
        hand,
        [0, 0],
        [1, 0],
        np.array((0.22, 0.24)) * thick,
        np.array((0.24, 0.24)) * thick,
        np.array([sleeve, skin]),
        0,
    )
    thumb_and_finger = capsule_rows(
        hand,
        [2, 4],
        [3, 5],
        np.array((0.09, 0.085)) * thick,
        np.array((0.07, 0.065)) * thick,
        skin,
        0,
    )
    background = draw_background(rng, world)
    light = film_background(background, shake, world.height, world.width)
    for step in range(len(times)):
        paint_capsules(light[step], wrist_and_palm[step])
        paint_card(light[step], art, inverse[step], boxes[step], shade[step])
        paint_capsules(light[step], thumb_and_finger[step])
    return light, corners
