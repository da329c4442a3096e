"""The sample world: small stand-ins of HARDVS and PokerEvent, filmed by a simulated RGB + event camera.

    from safe_sample import make_sample
    make_sample("hardvs", "cache/hardvs")          # 24 actions x (100 train + 30 test) recordings
    make_sample("pokerevent", "cache/pokerevent")  # 26 cards, aedat4 files

Nothing here is a real recording; names start with ``sample-``. The files have the data sets' own layouts, so
the readers for the real data read them too. What is modelled:

- scene: articulated figures (forward kinematics) or hand-held cards before a random background;
- RGB: linear light integrated over an exposure, shot and read noise, limited gain, gamma, 8 bits;
- events: contrast threshold on log intensity with per-pixel mismatch, leak, shot noise and refractory time,
  time stamps interpolated between rendered steps (ESIM, Rebecq et al. 2018; v2e, Hu et al. 2021).

The two modalities fail in different places by design: darkness and blur take RGB away; stillness, equal
luminance of actor and background, or noise take the events away. `World` holds every knob; ground_truth.csv
says what each recording drew.
"""

import colorsys
import csv
import functools
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numba import njit
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm


@dataclass(frozen=True)
class World:
    """Every difficulty knob. Ranges are (low, high), drawn uniformly unless a comment says otherwise."""

    width: int = 173  # px; half a DAVIS346
    height: int = 130  # px
    frames: int = 9  # RGB frames per recording
    steps_per_frame: int = 5  # rendered steps per frame interval; also the longest exposure
    step_us: int = 22_000  # us between rendered steps: 9 * 5 * 22 ms = 0.99 s
    # which modality has a hard time
    illumination: tuple = (1e-4, 1.0)  # relative to a bright room; log-uniform
    dark_below: float = 1.6e-3  # darkest 30 % of that range: RGB is lost, so events are left easy there
    p_event_hard: float = 0.48  # of the others: about a third of all recordings
    p_fast: float = 0.10  # of the others: fast motion and a full-interval exposure, heavy RGB blur
    speed: tuple = (0.6, 1.3)  # motion cycles per second
    speed_fast: tuple = (2.4, 3.4)  # cycles per second: a third of a cycle per exposure
    speed_slow: tuple = (0.02, 0.06)  # cycles per second: nearly still
    isoluminance: tuple = (0.93, 1.0)  # share of log-luminance contrast removed in an equal-luminance scene
    clutter_noise_hz: tuple = (1.5, 3.0)  # events / s / px of a noisy event sensor
    # RGB camera
    white_electrons: float = 2500.0  # e- in one step's exposure of a white surface at illumination 1
    read_noise: float = 15.0  # e- rms; also the reason why 1e-3 illumination is lost
    column_noise: float = 3.0  # e- rms, fixed over a recording, so averaging frames does not remove it
    max_gain: float = 1 / 60  # 1 / e-; auto-gain cannot lift a darker image to full range
    exposure_knee: float = 0.1  # relative illumination below which the exposure grows beyond one step
    # event camera
    threshold: float = 0.45  # log-intensity step per event
    threshold_mismatch: float = 0.12  # relative standard deviation from pixel to pixel
    refractory_us: int = 2_000  # us
    leak_hz: float = 0.1  # spontaneous ON events / s / px
    noise_hz: tuple = (0.1, 0.7)  # shot-noise events / s / px at full illumination and at the lowest
    glare: float = 0.03  # share of white light scattered in the lens: black is never quite black
    dark_light: float = 1e-5  # relative intensity equivalent of the dark current: lowers contrast in the dark
    # viewpoint
    figure_px: tuple = (98.0, 118.0)  # body height
    yaw_deg: tuple = (-22.0, 22.0)
    tilt_deg: tuple = (-8.0, 10.0)
    shake_px: tuple = (0.0, 0.7)  # amplitude of hand-held camera shake
    card_px: tuple = (62.0, 84.0)  # card width; the height is 1.4 times that
    card_turn_deg: tuple = (-25.0, 25.0)


WORLD = World()
EPOCH_US = 1_600_000_000_000_000  # aedat4 time stamps are Unix time in microseconds
CARD_W, CARD_H = 110, 154  # px of the card's picture
GAMMA = (255 * np.linspace(0, 1, 4096) ** (1 / 2.2) + 0.5).astype(np.uint8)  # of a 12-bit converter
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # Rec. 709, linear light
DATASET_IDS = {"hardvs": 1, "pokerevent": 2}
SPLIT_IDS = {"train": 1, "test": 2, "frames": 3}  # "frames": the pre-training stream

# -----------------------------------------------------------------------------------------------------------
# Actions: cyclic key poses. A limb is (upper polar, upper azimuth, lower polar, lower azimuth) in degrees:
# polar 0 hangs down, 90 is horizontal, 180 up; azimuth 0 points to the limb's own side, 90 forward, 180
# across the body.
# -----------------------------------------------------------------------------------------------------------
# fmt: off
ARM, LEG = (10, 10, 8, 40), (5, 0, 3, 0)
HIP = (48, -10, 42, 165)  # hand on the hip
EAR = (50, 10, 152, 168)  # hand at the ear

# fmt: on


def _key(ra=ARM, la=ARM, rl=LEG, ll=LEG, torso=(0, 0, 0), head=(0, 0, 0), root=(0, 0)):
    """Right/left arm and leg, torso (lean right, bend, twist), head (tilt, nod, turn), root (x, jump)."""
    return (*ra, *la, *rl, *ll, *torso, *head, *root)


def _mirror(keys):
    """The same action of the other side: swap the limbs, negate what points sideways."""
    sign = (-1, 1, -1, -1, 1, -1, -1, 1)
    return [(*k[4:8], *k[0:4], *k[12:16], *k[8:12], *np.multiply(sign, k[16:]).tolist()) for k in keys]


def _both(arm, **rest):
    return _key(ra=arm, la=arm, **rest)


# fmt: off
_KNEE = _key(rl=(95, 75, 5, 75), ra=HIP, la=HIP)
_STEP = _key(rl=(50, 80, -12, 80), ra=(-25, 90, 15, 90), la=(30, 90, 75, 90))
_RAISE = [_key(), _key(ra=(172, 0, 174, 0))]
_CIRCLE = [_key(ra=(a, 15, a, 15)) for a in (0, 90, 180, 270)]
_BEND = [_key(ra=HIP, la=(90, 0, 95, 0)), _key(ra=HIP, la=(158, 0, 185, 0), torso=(38, 0, 0),
    head=(12, 0, 0))]
_LEG_LIFT = [_key(ra=HIP, la=HIP), _key(ra=HIP, la=HIP, rl=(58, 0, 58, 0), torso=(-6, 0, 0))]
_JACK = _both((80, 0, 85, 0), rl=(16, 0, 16, 0), ll=(16, 0, 16, 0), root=(0, 7))
_CHEST = _both((84, 55, 84, 172))

# class name -> (1-based number among the 300 actions of HARDVS, key poses)
ACTIONS = {
    "Upper and Lower Swing Arms": (6, [_both((-20, 90, -20, 90)), _both((148, 85, 155, 85))]),
    "Alternate Knee Lift": (17, [_KNEE, _key(ra=HIP, la=HIP), *_mirror([_KNEE]), _key(ra=HIP, la=HIP)]),
    "Stretch": (19, [_both((20, 60, 60, 150)), _both((160, 10, 186, 0), torso=(0, -14, 0),
        head=(0, -20, 0), root=(0, 3))]),
    "Body Rotation Movement": (22, [_both((86, 0, 86, 0), torso=(0, 0, t), head=(0, 0, t / 3))
        for t in (-62, 62)]),
    "Side Lift": (23, [_both(ARM), _both((92, 0, 92, 0))]),
    "Step in Place": (50, [_STEP, *_mirror([_STEP])]),
    "Right Bend": (70, _BEND),
    "Raise hand with right hand": (71, _RAISE),
    "Right Hand Circle": (73, _CIRCLE),
    "Left Bend": (103, _mirror(_BEND)),
    "Raise hand with left hand": (104, _mirror(_RAISE)),
    "Left hand circle": (106, _mirror(_CIRCLE)),
    "jumping jack": (116, [_key(), _JACK, _both((150, 0, 162, 0), rl=(28, 0, 28, 0), ll=(28, 0, 28, 0)),
        _JACK]),
    "Bare Hand Squat": (119, [_both((60, 85, 60, 85)), _both((92, 75, 92, 85), rl=(88, 50, -18, 60),
        ll=(88, 50, -18, 60), torso=(0, 18, 0))]),
    "Arm Cross": (129, [_both((86, 0, 86, 0)), _both((78, 118, 80, 158))]),
    "Making a phone call": (136, [_key(), _key(ra=EAR), _key(ra=EAR, head=(14, 0, 8)), _key(ra=EAR)]),
    "Chest Expansion": (141, [_CHEST, _both((86, -25, 84, 120)), _CHEST, _both((90, -12, 90, -12))]),
    "Surrender": (149, [_key(), _both((82, 0, 168, 20)), _both((88, 0, 176, 10), head=(0, 12, 0)),
        _both((82, 0, 168, 20))]),
    "Wave": (169, [_key(ra=(72, 0, 138, 0)), _key(ra=(78, 0, 205, 0))]),
    "Cover Ears": (171, [_both(ARM), _both(EAR), _both(EAR, torso=(0, 14, 0), head=(0, 24, 0)), _both(EAR)]),
    "Hammering the Table": (172, [_key(ra=(38, 70, 160, 80), torso=(0, 12, 0)),
                                  _key(ra=(30, 70, 58, 95), torso=(0, 20, 0), head=(0, 10, 0))]),
    "Standing Right Leg Lift": (242, _LEG_LIFT),
    "Standing Left Leg Lift": (244, _mirror(_LEG_LIFT)),
    "Bow": (291, [_key(), _key(torso=(0, 68, 0), head=(0, 25, 0))]),
}

# -----------------------------------------------------------------------------------------------------------
# Cards: animals from ellipses (e: x, y, rx, ry), polygons (p) and lines (l: points, width); a capital letter
# draws the mirror image too. Units are percent of the picture's half width; ink 0 body, 1 accent, 2 dark, 3
# paper.
# -----------------------------------------------------------------------------------------------------------
RANKS = ["A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "JOKER"]
_STAR = [(r * np.sin(k * np.pi / 5), -r * np.cos(k * np.pi / 5)) for k in range(10)
    for r in [96 if k % 2 == 0 else 34]]
ANIMALS = {
    "Butterfly": [("P", [(0, -18), (40, -95), (95, -90), (98, -30), (40, 4)], 0),
                  ("P", [(0, 0), (62, 8), (85, 55), (52, 92), (6, 35)], 1), ("E", (68, -58, 15, 15), 1),
                  ("E", (52, 48, 12, 12), 0), ("e", (0, 5, 9, 62), 2), ("L", [(0, -50), (26, -98)], 5, 2)],
    "Crab": [("L", [(45, y), (84, y + 2), (96, y + 30)], 9, 0) for y in (0, 18, 36)] + [
        ("L", [(42, -8), (80, -30), (72, -62)], 13, 0), ("E", (68, -72, 27, 23), 0),
        ("P", [(68, -70), (50, -102), (84, -102)], 3), ("e", (0, 14, 62, 42), 0), ("L", [(16, -20),
            (20, -48)], 7, 1),
        ("E", (20, -52, 10, 10), 2), ("l", [(-22, 30), (0, 38), (22, 30)], 6, 2)],
    "Elephant": [("E", (62, -25, 38, 58), 0), ("e", (0, -20, 46, 58), 1), ("l", [(0, 0), (0, 62),
        (26, 88)], 30, 1),
                 ("P", [(18, 32), (34, 26), (48, 80)], 2), ("E", (19, -28, 7, 8), 2), ("l", [(-13, 40),
                     (13, 40)], 4, 0),
                 ("l", [(-13, 56), (13, 56)], 4, 0)],
    "Giraffe": [("l", [(x, 40), (x + d, 98)], 12, 0) for x, d in ((-52, -3), (-38, 3), (2, -3), (16, 3))] + [
        ("e", (-18, 34, 48, 25), 0), ("p", [(-2, 26), (28, 44), (58, -62), (38, -70)], 0), ("e",
            (60, -74, 30, 14), 0),
        ("l", [(44, -80), (40, -102)], 6, 2), ("e", (56, -78, 4, 4), 2), ("l", [(-64, 26), (-82, 62)], 6, 2),
        *[("e", (x, y, 9, 8), 1) for x, y in ((-48, 32), (-28, 24), (-22, 44), (-2, 34), (20, 10), (30, -16),
            (40, -42))]],
    "Jellyfish": [("p", [(70 * np.cos(a), -18 - 72 * np.sin(a)) for a in np.linspace(0, np.pi, 16)], 0),
                  *[("e", (x, -16, 15, 12), 0) for x in (-54, -27, 0, 27, 54)],
                  *[("l", [(x + 9 * np.sin(y / 9 + x), y) for y in range(-10, 98, 6)], 7, 1)
                      for x in (-50, -25, 0, 25, 50)],
                  ("e", (-24, -60, 14, 10), 3)],
    "Owl": [("P", [(12, -58), (52, -98), (58, -40)], 0), ("e", (0, 15, 60, 80), 0), ("E",
        (54, 32, 17, 50), 1),
            ("E", (26, -28, 27, 27), 3), ("E", (25, -28, 13, 13), 2), ("p", [(-9, -14), (9, -14),
                (0, 12)], 1),
            *[("e", (x, y, 8, 6), 1) for x, y in ((-18, 32), (0, 32), (18, 32), (-10, 52), (10, 52))],
            ("E", (22, 95, 15, 7), 2)],
    "Penguin": [("P", [(40, -25), (88, 45), (46, 28)], 2), ("e", (0, 18, 52, 76), 2), ("e",
        (0, 30, 36, 60), 3),
                ("e", (0, -62, 36, 34), 2), ("E", (14, -68, 9, 9), 3), ("E", (14, -68, 4, 4), 2),
                ("p", [(-13, -56), (13, -56), (0, -36)], 1), ("E", (24, 94, 22, 8), 1)],
    "Sea turtle": [("P", [(30, -38), (70, -92), (98, -60), (54, -12)], 1), ("P", [(36, 40), (72, 62),
        (62, 92), (22, 58)], 1),
                   ("e", (0, -72, 20, 25), 1), ("E", (9, -82, 4, 4), 2), ("e", (0, 6, 54, 62), 0),
                   ("p", [(-20, -18), (20, -18), (32, 8), (20, 34), (-20, 34), (-32, 8)], 2),
                   ("p", [(-15, -12), (15, -12), (25, 8), (15, 28), (-15, 28), (-25, 8)], 0),
                   ("L", [(20, -18), (36, -40)], 5, 2), ("L", [(32, 8), (54, 8)], 5, 2), ("L", [(20, 34),
                       (36, 54)], 5, 2)],
    "Spider": [("L", [(10, y), (x, y + d), (x + 22, y + e)], 7, 2)
               for x, y, d, e in ((52, -26, -55, -72), (66, -16, -28, 10), (66, -4, 12, 58),
                   (48, 6, 50, 94))] + [
        ("e", (0, 36, 36, 44), 0), ("e", (0, -22, 25, 23), 0), ("E", (9, -32, 6, 6), 3), ("p", [(-12, 22),
            (12, 22), (0, 40)], 1),
        ("p", [(-12, 58), (12, 58), (0, 40)], 1)],
    "Starfish": [("p", _STAR, 0), *[("e", (r * np.sin(k * 2 * np.pi / 5), -r * np.cos(k * 2 * np.pi / 5), s,
        s), 1)
                                    for k in range(5) for r, s in ((24, 8), (48, 6), (68, 4))], ("e",
                                        (0, 0, 7, 7), 1)],
    "Whale": [("p", [(-98, 18), (-90, -20), (-55, -44), (-5, -42), (40, -16), (66, -10), (70, -46),
        (86, -34), (98, -48),
                     (94, -8), (74, 20), (30, 52), (-40, 60), (-84, 48)], 0),
              ("p", [(-98, 20), (-40, 28), (20, 44), (-20, 60), (-60, 58), (-84, 48)], 3), ("e",
                  (-64, 4, 6, 6), 2),
              ("p", [(-28, 24), (-4, 76), (8, 30)], 1), ("l", [(-40, -46), (-40, -78), (-62, -94)], 7, 1),
              ("l", [(-40, -78), (-18, -94)], 7, 1)],
    "Octopus": [("L", [(8, 10), (14, 60), (4, 94)], 13, 0), ("L", [(20, 6), (44, 60), (38, 94),
        (58, 88)], 13, 0),
                ("L", [(28, 0), (72, 34), (68, 72), (92, 76)], 13, 0), ("L", [(30, -6), (82, 0),
                    (94, -30)], 13, 0),
                ("e", (0, -42, 46, 54), 0), ("E", (18, -26, 13, 15), 3), ("E", (18, -24, 6, 8), 2), ("E",
                    (25, -70, 7, 6), 1),
                ("l", [(-12, -2), (0, 3), (12, -2)], 5, 2)],
}
# fmt: on
CLASSES = {"hardvs": list(ACTIONS), "pokerevent": RANKS + list(ANIMALS)}


# -----------------------------------------------------------------------------------------------------------
# Painters: per-pixel loops over a linear-light image out [H, W, 3]
# -----------------------------------------------------------------------------------------------------------
@njit(cache=True)
def _paint_background(out, background, left, top):
    """Crop a larger picture at a fractional offset (px), bilinear: the camera's shake."""
    x0, y0 = int(left), int(top)
    fx, fy = np.float32(left - x0), np.float32(top - y0)
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for k in range(3):
                out[y, x, k] = (
                    a * background[y0 + y, x0 + x, k]
                    + b * background[y0 + y, x0 + x + 1, k]
                    + c * background[y0 + y + 1, x0 + x, k]
                    + d * background[y0 + y + 1, x0 + x + 1, k]
                )


@njit(cache=True)
def _paint_capsules(out, capsules):
    """Shaded tapered capsules, in the order given; rows: x0, y0, r0, x1, y1, r1 (px), red, green, blue,
    stripes per px.
    """
    height, width = out.shape[:2]
    for i in range(capsules.shape[0]):
        x0, y0, r0, x1, y1, r1, red, green, blue, stripes = capsules[i]
        reach = max(r0, r1) + 1
        dx, dy = x1 - x0, y1 - y0
        length2 = max(dx * dx + dy * dy, np.float32(1e-6))
        for y in range(max(0, int(min(y0, y1) - reach)), min(height, int(max(y0, y1) + reach) + 2)):
            for x in range(max(0, int(min(x0, x1) - reach)), min(width, int(max(x0, x1) + reach) + 2)):
                s = min(max(((x - x0) * dx + (y - y0) * dy) / length2, np.float32(0)), np.float32(1))
                ox, oy, r = x - x0 - s * dx, y - y0 - s * dy, r0 + s * (r1 - r0)
                distance2 = ox * ox + oy * oy
                if distance2 > (r + 0.5) * (r + 0.5):
                    continue
                cover = min(
                    np.float32(1), r + np.float32(0.5) - np.sqrt(distance2)
                )  # one pixel of anti-aliasing
                depth = np.sqrt(max(np.float32(0), 1 - distance2 / (r * r)))
                shade = (
                    0.45 + 0.4 * depth - 0.25 * (0.5 * ox + 0.8 * oy) / r
                )  # light from the upper left front
                if stripes > 0:
                    shade *= 0.75 + 0.25 * np.sin(6.2832 * stripes * s * np.sqrt(length2))
                out[y, x, 0] += cover * (red * shade - out[y, x, 0])
                out[y, x, 1] += cover * (green * shade - out[y, x, 1])
                out[y, x, 2] += cover * (blue * shade - out[y, x, 2])


@njit(cache=True)
def _paint_card(out, art, inverse, box, shade):
    """A rounded card seen through the inverse homography (image px -> art px), within box (x0, y0, x1,
    y1).
    """
    art_h, art_w = art.shape[:2]
    corner = np.float32(9)  # px of the art
    for y in range(max(0, box[1]), min(out.shape[0], box[3])):
        for x in range(max(0, box[0]), min(out.shape[1], box[2])):
            w = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
            u = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / w
            v = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / w
            qx = max(abs(u - art_w / 2) - art_w / 2 + corner, np.float32(0))
            qy = max(abs(v - art_h / 2) - art_h / 2 + corner, np.float32(0))
            cover = min(
                np.float32(1), np.float32(0.5) - (np.sqrt(qx * qx + qy * qy) - corner) / np.float32(1.5)
            )
            if cover <= 0:
                continue
            u, v = min(max(u - 0.5, 0.0), art_w - 1.001), min(max(v - 0.5, 0.0), art_h - 1.001)
            iu, iv = int(u), int(v)
            fu, fv = np.float32(u - iu), np.float32(v - iv)
            for k in range(3):
                top = art[iv, iu, k] + fu * (art[iv, iu + 1, k] - art[iv, iu, k])
                low = art[iv + 1, iu, k] + fu * (art[iv + 1, iu + 1, k] - art[iv + 1, iu, k])
                out[y, x, k] += cover * (shade * (top + fv * (low - top)) - out[y, x, k])


# -----------------------------------------------------------------------------------------------------------
# Event camera
# -----------------------------------------------------------------------------------------------------------
@njit(cache=True)
def _cross_thresholds(log_light, on, off, reference, step_us, t, x, y, p):
    """Write the events of `threshold_events` as far as the output arrays reach; the number there are."""
    n, level = 0, reference.copy()
    for k in range(1, log_light.shape[0]):
        for row in range(log_light.shape[1]):
            for column in range(log_light.shape[2]):
                after = log_light[k, row, column]
                rise = after - level[row, column]
                if -off[row, column] < rise < on[row, column]:
                    continue
                before = log_light[k - 1, row, column]
                change = on[row, column] if rise > 0 else -off[row, column]
                while (after - level[row, column] - change) * change >= 0:
                    level[row, column] += change
                    if n < t.size:
                        part = (level[row, column] - before) / (after - before) if after != before else 0.0
                        t[n] = (k - 1) * step_us + int(min(max(part, 0.0), 1.0) * step_us)
                        x[n], y[n], p[n] = column, row, change > 0
                    n += 1
    return n


def threshold_events(log_light, on, off, reference, step_us):
    """Contrast-threshold events between rendered steps (ESIM, Rebecq et al. 2018, Sec. 3; v2e, Hu et al.
    2021).

    log_light float32 [S, H, W]: log intensity at S instants, step_us (us) apart; on, off float32 [H, W]:
    thresholds in log intensity; reference float32 [H, W]: each pixel's log intensity at its last event.
    Returns t int64 (us), x, y uint16, p uint8 (1 ON, 0 OFF), step by step, not sorted within a step. Log
    intensity is taken as linear between two instants, so the k-th crossing gets a time stamp of its own.
    """
    n, kinds = 0, (np.int64, np.uint16, np.uint16, np.uint8)
    for _ in range(2):  # the first pass counts: growing arrays inside the loop makes it forty times slower
        columns = [np.empty(n, kind) for kind in kinds]
        n = _cross_thresholds(log_light, on, off, reference, step_us, *columns)
    return columns


@njit(cache=True)
def refractory_mask(t, x, y, width, height, refractory_us):
    """bool [n]: False for events (sorted by t, us) that come less than refractory_us after the pixel's
    last kept one.
    """
    last = np.full((height, width), -(1 << 60), np.int64)
    keep = np.zeros(t.size, np.bool_)
    for i in range(t.size):
        if t[i] - last[y[i], x[i]] >= refractory_us:
            last[y[i], x[i]] = t[i]
            keep[i] = True
    return keep


def record_events(luminance, *, illumination, noise_hz, rng, world=WORLD):
    """Film linear luminance float32 [S, H, W] (1 = white) with the event camera; dict of t (int64 us), x, y,
    p, sorted by t.

    The leak is a slow ramp of the log intensity (v2e, Sec. 4.2); shot noise is a Poisson process per pixel
    of noise_hz.
    """
    steps, height, width = luminance.shape
    log_light = np.log(
        (luminance + np.float32(world.glare)) * np.float32(illumination) + np.float32(world.dark_light)
    )
    ramp = np.arange(steps) * (world.leak_hz * world.threshold * world.step_us * 1e-6)
    log_light += ramp.astype(np.float32)[:, None, None]
    mismatch = 1 + world.threshold_mismatch * rng.standard_normal((2, height, width), np.float32)
    on, off = world.threshold * np.clip(mismatch, 0.4, 2)
    # Pixels start anywhere between two events, else all of them would fire together.
    reference = log_light[0] + (rng.random((height, width), np.float32) - np.float32(0.5)) * on
    t, x, y, p = threshold_events(
        log_light, on.astype(np.float32), off.astype(np.float32), reference, world.step_us
    )
    n = rng.poisson(noise_hz * height * width * (steps - 1) * world.step_us * 1e-6)
    t = np.concatenate([t, rng.integers(0, (steps - 1) * world.step_us, n)])
    x = np.concatenate([x, rng.integers(0, width, n, np.uint16)])
    y = np.concatenate([y, rng.integers(0, height, n, np.uint16)])
    p = np.concatenate([p, rng.integers(0, 2, n, np.uint8)])
    order = np.argsort(t, kind="stable")
    order = order[refractory_mask(t[order], x[order], y[order], width, height, world.refractory_us)]
    return {"t": t[order], "x": x[order], "y": y[order], "p": p[order]}


def event_image(x, y, p, *, world=WORLD):
    """uint8 [H, W, 3] in HARDVS's colours: white ground, ON red, OFF blue; the last event on a pixel wins."""
    image = np.full((world.height, world.width, 3), 255, np.uint8)
    image[y, x] = np.array([(30, 30, 200), (220, 30, 30)], np.uint8)[p]
    return image


def expose(light, *, illumination, exposure_steps, rng, column_noise, world=WORLD):
    """One RGB frame, uint8 [H, W, 3], from linear light float32 [exposure_steps, H, W, 3] (1 = white).

    Electrons add up over the exposure; shot noise has the signal's variance; auto-gain aims at full range
    but is limited.
    """
    white = world.white_electrons * illumination * exposure_steps
    electrons = light.mean(0) * np.float32(white)
    noise = rng.standard_normal(electrons.shape, np.float32)
    electrons += noise * np.sqrt(electrons + np.float32(world.read_noise**2)) + column_noise
    values = np.clip(electrons * np.float32(4095 * min(1 / white, world.max_gain)), 0, 4095)
    return GAMMA[values.astype(np.uint16)]


# -----------------------------------------------------------------------------------------------------------
# Scenes
# -----------------------------------------------------------------------------------------------------------
def _colour(rng, *, saturation=(0.2, 0.9), value=(0.15, 0.95)):
    """A random colour in linear light, float [3]."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))) ** 2.2


def _background(rng, world):
    """Blurred blobs and furniture-like boxes, linear light float32 [H + 16, W + 16, 3]."""
    height, width = world.height + 16, world.width + 16
    base, spread = _colour(rng, saturation=(0.02, 0.25), value=(0.35, 0.75)), rng.uniform(0.05, 0.2)
    blobs = base * np.exp(spread * (rng.standard_normal((5, 7, 1)) + 0.3 * rng.standard_normal((5, 7, 3))))
    planes = [
        np.asarray(Image.fromarray(blobs[..., k].astype(np.float32)).resize((width, height), Image.BICUBIC))
        for k in range(3)
    ]
    picture = np.stack(planes, -1)
    for _ in range(rng.integers(1, 5)):
        x, y = rng.integers(-20, width - 10), rng.integers(-10, height - 10)
        w, h = rng.integers(8, 60), rng.integers(8, 70)
        colour = base * np.exp(0.35 * rng.standard_normal() + 0.15 * rng.standard_normal(3))
        box = picture[max(y, 0) : y + h, max(x, 0) : x + w]
        box[:] = 0.25 * box + 0.75 * colour.astype(np.float32)
        box[:1] *= 0.5  # an edge in shadow
        box[:, -1:] *= 0.6
    picture *= 1 + 0.03 * rng.standard_normal((height, width, 1), np.float32)
    return np.clip(picture, 0.01, 1)


def pose_at(keys, phase):
    """Poses float [S, 24] of cyclic key poses [K, 24] at phases [S] (cycles): periodic cubic Hermite on
    the shorter arcs.
    """
    keys = np.asarray(keys, float)
    step = (np.roll(keys, -1, 0) - keys + 180) % 360 - 180
    slope = (step + np.roll(step, 1, 0)) / 2
    position = (phase % 1) * len(keys)
    i = position.astype(int) % len(keys)
    s = (position - np.floor(position))[:, None]
    after = (i + 1) % len(keys)
    return (
        keys[i]
        + (s**3 - 2 * s**2 + s) * slope[i]
        + (3 * s**2 - 2 * s**3) * step[i]
        + (s**3 - s**2) * slope[after]
    )


def skeleton(pose, *, proportions):
    """Joints float [S, 19, 3] (body heights; x to the image's right, y up, z to the camera) of poses [S, 24]
    in degrees.

    proportions: arm length, leg length, shoulder width, hip width (body heights). The lowest foot stands on
    y = 0 unless the pose jumps. The actor faces the camera, so its right hand has the smaller x.
    """
    arm, leg, shoulder, hip = proportions
    angle = np.radians(pose)
    sin, cos = np.sin(angle), np.cos(angle)
    zero, one = np.zeros(len(pose)), np.ones(len(pose))

    def along(limb, side, up, front):
        """Unit vectors of the two segments of the limb whose angles start at column `limb`."""
        return [
            side * (sin[:, c] * cos[:, c + 1])[:, None]
            - up * cos[:, c, None]
            + front * (sin[:, c] * sin[:, c + 1])[:, None]
            for c in (limb, limb + 2)
        ]

    world_right, world_up, world_front = (
        np.stack([-one, zero, zero], 1),
        np.stack([zero, one, zero], 1),
        np.stack([zero, zero, one], 1),
    )
    up = np.stack([-sin[:, 16], cos[:, 16] * cos[:, 17], cos[:, 16] * sin[:, 17]], 1)
    level = np.stack([-cos[:, 16], -sin[:, 16] * cos[:, 17], -sin[:, 16] * sin[:, 17]], 1)
    front = np.cross(up, level)
    right = cos[:, 18, None] * level + sin[:, 18, None] * front
    front = np.cross(up, right)
    pelvis = np.zeros((len(pose), 3))
    chest = pelvis + 0.29 * up
    neck = cos[:, 20, None] * up + sin[:, 20, None] * front + sin[:, 19, None] * right
    head = chest + 0.125 * neck
    face = front * cos[:, 20, None] - up * sin[:, 20, None] - right * sin[:, 21, None]
    joints = [
        pelvis,
        chest,
        head,
        head + 0.02 * neck - 0.03 * face,
        head + 0.06 * face + 0.012 * neck + 0.022 * right,
        head + 0.06 * face + 0.012 * neck - 0.022 * right,
        head + 0.062 * face - 0.03 * neck,
    ]
    for limb, side in ((0, right), (4, -right)):
        upper, lower = along(limb, side, up, front)
        joint = chest - 0.02 * up + shoulder * side
        joints += [joint, joint + arm * upper, joint + arm * upper + 0.95 * arm * lower]
    for limb, side in ((8, world_right), (12, -world_right)):
        upper, lower = along(limb, side, world_up, world_front)
        joint = pelvis + hip * side
        ankle = joint + leg * upper + leg * lower
        joints += [joint + leg * upper, ankle, ankle + 0.06 * world_front + 0.02 * side]
    joints = np.stack(joints, 1)
    joints[:, :, 1] += (pose[:, 23] / 100 - joints[:, :, 1].min(1))[:, None]
    joints[:, :, 0] += pose[:, 22, None] / 100
    return joints


# (joint, joint, radius, radius in body heights, colour slot); slots: 0 skin, 1 shirt, 2 trousers, 3 hair, 4
# shoes, 5 eyes
_BODY = [
    (0, 1, 0.075, 0.085, 1),
    (7, 10, 0.05, 0.05, 1),
    (1, 2, 0.035, 0.04, 0),
    (2, 2, 0.068, 0.068, 0),
    (3, 3, 0.07, 0.07, 3),
    (4, 4, 0.012, 0.012, 5),
    (5, 5, 0.012, 0.012, 5),
    (6, 6, 0.012, 0.012, 5),
]
for _a in (7, 10):
    _BODY += [
        (_a, _a + 1, 0.042, 0.034, 1),
        (_a + 1, _a + 2, 0.032, 0.024, 0),
        (_a + 2, _a + 2, 0.036, 0.036, 0),
    ]
for _a in (13, 16):
    _BODY += [(0, _a, 0.066, 0.048, 2), (_a, _a + 1, 0.046, 0.034, 2), (_a + 1, _a + 2, 0.034, 0.026, 4)]


def _figure_scene(label, rng, truth, times, world):
    """Linear light float32 [S, H, W, 3] of one action at times (s), and the image points [S, M, 2] that
    move.
    """
    keys = np.array(list(ACTIONS.values())[label][1], float)
    keys[:, :22] += rng.normal(0, 4, 22) + rng.normal(
        0, 2.5, keys[:, :22].shape
    )  # nobody poses like the table
    # A still recording shows the far side of the action: at its start most actions are the same standing
    # person.
    phase = rng.uniform(0.38, 0.62) if truth["cause"] == "slow" else rng.random()
    joints = skeleton(
        pose_at(keys, phase + truth["speed"] * times),
        proportions=rng.uniform((0.15, 0.21, 0.10, 0.045), (0.18, 0.25, 0.13, 0.06)),
    )
    yaw, tilt = np.radians([rng.uniform(*world.yaw_deg), rng.uniform(*world.tilt_deg)])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    joints = joints @ (lean @ turn).T
    scale = rng.uniform(*world.figure_px) * 4 / (4 - joints[..., 2])  # seen from four body heights away
    origin = np.array([world.width / 2 + rng.uniform(-24, 24), world.height - rng.uniform(3, 10)])
    shake = _shake(rng, truth, times)
    points = origin + np.stack([joints[..., 0] * scale, -joints[..., 1] * scale], -1) + shake[:, None]
    skin = np.array([0.55, 0.32, 0.22]) * rng.uniform(0.25, 1.25)
    colours = np.array(
        [
            skin,
            _colour(rng),
            _colour(rng),
            _colour(rng, value=(0.1, 0.5)),
            _colour(rng, value=(0.1, 0.6)),
            (0.01, 0.01, 0.02),
        ]
    )
    stripes = np.array([0, rng.choice([0, 0, 0.12, 0.2]), 0, 0, 0, 0])
    background = _background(rng, world)
    light = np.empty((len(times), world.height, world.width, 3), np.float32)
    first, second, radius0, radius1, slot = (np.array(c) for c in zip(*_BODY, strict=True))
    for k in range(len(times)):
        capsules = np.column_stack(
            [
                points[k, first],
                radius0 * scale[k, first],
                points[k, second],
                radius1 * scale[k, second],
                colours[slot],
                stripes[slot],
            ]
        )
        nearer = np.argsort(joints[k, first, 2] + joints[k, second, 2] + 0.1 * (slot == 5), kind="stable")
        _paint_background(light[k], background, 8 - shake[k, 0], 8 - shake[k, 1])
        _paint_capsules(light[k], capsules[nearer].astype(np.float32))
    return light, points


def _shake(rng, truth, times):
    """Hand-held camera shake, px [S, 2]: two slow sinusoids an axis."""
    phases = rng.random((2, 2))
    return truth["shake"] * sum(
        np.sin(2 * np.pi * (hz * times[:, None] + phases[i])) for i, hz in enumerate((1.3, 3.1))
    )


@functools.lru_cache(maxsize=None)
def _card_art(label, variant):
    """The picture of one card, linear light float32 [CARD_H, CARD_W, 3]; drawn at three times its size,
    then reduced.
    """
    rng = np.random.default_rng([label, variant])
    width, height = 3 * CARD_W, 3 * CARD_H
    hue = rng.random()
    inks = [
        colorsys.hsv_to_rgb(*hsv)
        for hsv in (
            (hue, rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.8)),
            ((hue + rng.uniform(0.15, 0.5)) % 1, rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95)),
            (0.63, 0.6, 0.3),
            (0.12, 0.06, 0.97),
        )
    ]
    inks = [tuple(int(255 * channel) for channel in ink) for ink in inks]
    image = Image.new("RGB", (width, height), inks[3])
    pen = ImageDraw.Draw(image)
    if label < len(RANKS):
        _draw_rank(image, RANKS[label], ((170, 20, 30), (30, 34, 64))[variant % 2], rng)
    else:
        _draw_animal(pen, list(ANIMALS.values())[label - len(RANKS)], inks, rng)
    small = image.resize((CARD_W, CARD_H), Image.LANCZOS)
    return (np.asarray(small, np.float32) / 255) ** np.float32(2.2)


def _draw_rank(image, rank, ink, rng):
    """A large rank in the middle (JOKER: letters below a cap with bells) and its index in two opposite
    corners.
    """
    width, height = image.size
    layer = Image.new("L", image.size)
    pen = ImageDraw.Draw(layer)
    if rank == "JOKER":
        for k, letter in enumerate(rank):
            pen.text((36, 48 + 46 * k), letter, 255, ImageFont.load_default(46), anchor="mm", stroke_width=2)
        cx, cy = width / 2 + 16, height / 2
        for dx, dy in ((-95, -60), (0, -125), (95, -60)):
            pen.polygon([(cx - 62, cy + 60), (cx + dx, cy + dy), (cx + 62, cy + 60)], 255)
            pen.ellipse((cx + dx - 20, cy + dy - 20, cx + dx + 20, cy + dy + 20), 255)
        pen.rectangle((cx - 66, cy + 70, cx + 66, cy + 92), 255)
    else:
        size = rng.uniform(0.85, 1.1) * (200 if len(rank) > 1 else 260)
        pen.text(
            (width / 2, height / 2), rank, 255, ImageFont.load_default(size), anchor="mm", stroke_width=6
        )
        pen.text((44, 56), rank, 255, ImageFont.load_default(74), anchor="mm", stroke_width=3)
    corner = layer.crop((0, 0, 90, 290 if rank == "JOKER" else 110)).rotate(180)
    layer.paste(corner, (width - corner.width, height - corner.height))
    image.paste(ink, mask=layer)


def _draw_animal(pen, shapes, inks, rng):
    """Shapes of `ANIMALS` in the middle of the card, a little stretched, with a thin frame."""
    width, height = 3 * CARD_W, 3 * CARD_H
    stretch = width * rng.uniform(0.40, 0.46) / 100 * rng.uniform((0.95, 0.95), (1.02, 1.25))
    centre = np.array([width / 2, height / 2])
    pen.rounded_rectangle((14, 14, width - 14, height - 14), 20, outline=inks[0], width=6)
    for kind, geometry, *line_width, ink in shapes:
        for side in (1, -1) if kind.isupper() else (1,):
            if kind in "eE":
                x, y, rx, ry = geometry
                (x, y), (rx, ry) = centre + stretch * (side * x, y), stretch * (rx, ry)
                pen.ellipse((x - rx, y - ry, x + rx, y + ry), inks[ink])
                continue
            path = [tuple(centre + stretch * (side * x, y)) for x, y in geometry]
            if kind in "pP":
                pen.polygon(path, inks[ink])
            else:
                pen.line(path, inks[ink], int(line_width[0] * stretch[0]), joint="curve")


def _card_scene(label, rng, truth, times, world):
    """Linear light float32 [S, H, W, 3] of one hand-held card at times (s), and its corners [S, 4, 2]
    in the image.
    """
    art = _card_art(label, int(rng.integers(6)))
    paper = 1 - rng.uniform(0, 0.25, 3).astype(np.float32)
    art = art * paper
    size = rng.uniform(*world.card_px) / CARD_W
    cycle = 2 * np.pi * (rng.random() + truth["speed"] * times)
    direction, swing = rng.uniform(0, 2 * np.pi), rng.uniform(2, 6)
    sway, second = np.sin(cycle), np.sin(2 * cycle + rng.uniform(0, 6)) * 0.2
    turn = np.radians(rng.uniform(*world.card_turn_deg)) + np.radians(rng.uniform(-7, 7)) * sway
    pitch, yaw = np.radians(
        rng.uniform(-20, 20, 2)[:, None] + rng.uniform(-9, 9, 2)[:, None] * np.stack([sway, second])
    )
    centre = np.stack(
        [
            world.width / 2 + rng.uniform(-28, 28) + swing * (np.cos(direction) * sway + second),
            world.height / 2 + rng.uniform(-10, 2) + swing * (np.sin(direction) * sway - second),
        ],
        1,
    )
    shake = _shake(rng, truth, times)
    centre += shake
    zoom = size * (1 + 0.04 * second)
    skin = np.array([0.55, 0.32, 0.22]) * rng.uniform(0.25, 1.25)
    sleeve = _colour(rng)
    grip = rng.uniform(-0.22, 0.22)  # where along the lower edge the hand holds the card, in card widths
    reach = rng.uniform(0.10, 0.26)  # how far thumb and finger cover the card, in card heights
    background = _background(rng, world)
    light = np.empty((len(times), world.height, world.width, 3), np.float32)
    corners = np.empty((len(times), 4, 2))
    for k in range(len(times)):
        homography = _homography(centre[k], zoom[k], turn[k], pitch[k], yaw[k])
        corners[k] = _project(homography, [(0, 0), (CARD_W, 0), (CARD_W, CARD_H), (0, CARD_H)])
        hand = _project(
            homography,
            [
                (CARD_W * (0.5 + grip + dx), CARD_H * y)
                for dx, y in (
                    (0, 1.05),
                    (0.1, 1.7),
                    (-0.05, 1.05),
                    (-0.12, 1 - reach),
                    (0.22, 1.12),
                    (0.3, 1.04 - reach / 2),
                )
            ],
        )
        thick = zoom[k] * CARD_W
        arm = [(hand[0], 0.22, hand[1], 0.24, sleeve), (hand[0], 0.24, hand[0], 0.24, skin)]
        fingers = [(hand[2], 0.09, hand[3], 0.07, skin), (hand[4], 0.085, hand[5], 0.065, skin)]
        behind, before = (
            np.array([(*a, r0 * thick, *b, r1 * thick, *c, 0) for a, r0, b, r1, c in limbs], np.float32)
            for limbs in (arm, fingers)
        )
        _paint_background(light[k], background, 8 - shake[k, 0], 8 - shake[k, 1])
        _paint_capsules(light[k], behind)
        low, high = corners[k].min(0).astype(int) - 2, corners[k].max(0).astype(int) + 3
        shade = 0.55 + 0.35 * np.cos(pitch[k] + 0.3) * np.cos(yaw[k] - 0.3)
        _paint_card(
            light[k],
            art,
            np.linalg.inv(homography).astype(np.float32),
            (low[0], low[1], high[0], high[1]),
            np.float32(shade),
        )
        _paint_capsules(light[k], before)
    return light, corners


def _homography(centre, zoom, turn, pitch, yaw):
    """3 x 3 map from art px to image px: the card turned about its own centre, seen from 450 px away."""
    ct, st, cp, sp, cy, sy = (
        np.cos(turn),
        np.sin(turn),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(yaw),
        np.sin(yaw),
    )
    rotation = np.array([[ct, -st, 0], [st, ct, 0], [0, 0, 1]]) @ np.array(
        [[cy, 0, sy], [sy * sp, cp, -cy * sp], [-sy * cp, sp, cy * cp]]
    )
    plane = zoom * rotation[:, :2] @ np.array([[1, 0, -CARD_W / 2], [0, 1, -CARD_H / 2]])
    depth = plane[2] / 450 + (0, 0, 1)
    return np.array([plane[0] + centre[0] * depth, plane[1] + centre[1] * depth, depth])


def _project(homography, points):
    """Art px [M, 2] to image px [M, 2]."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def draw_nuisance(rng, *, world=WORLD):
    """What makes a recording hard, a dict independent of the class; `hard_for`: rgb, events or neither."""
    illumination = float(np.exp(rng.uniform(*np.log(world.illumination))))
    lot = rng.random()
    cause = "none"
    if illumination < world.dark_below:
        cause = "dark"
    elif lot < world.p_event_hard:
        cause = str(rng.choice(["slow", "isoluminant", "noisy"]))
    elif lot < world.p_event_hard + world.p_fast:
        cause = "fast"
    exposure = (
        world.steps_per_frame if cause == "fast" else round((world.exposure_knee / illumination) ** 0.5)
    )
    darkness = np.log(illumination / world.illumination[1]) / np.log(
        world.illumination[0] / world.illumination[1]
    )
    speed = {"slow": world.speed_slow, "fast": world.speed_fast}.get(cause, world.speed)
    return {
        "hard_for": {"none": "neither", "dark": "rgb", "fast": "rgb"}.get(cause, "events"),
        "cause": cause,
        "illumination": illumination,
        "speed": rng.uniform(*speed),  # cycles per second
        "exposure_steps": int(np.clip(exposure, 1, world.steps_per_frame)),
        "isoluminance": rng.uniform(*world.isoluminance) if cause == "isoluminant" else 0.0,
        "noise_hz": rng.uniform(*world.clutter_noise_hz)
        if cause == "noisy"
        else float(np.interp(darkness, (0, 1), world.noise_hz)),
        "shake": rng.uniform(*world.shake_px) * (0.1 if cause == "slow" else 1.0),  # px
    }


def _film(dataset, label, rng, truth, *, instants, world):
    """Render `instants` steps; linear light float32 [S, H, W, 3] and the moving image points [S, M, 2]."""
    times = np.arange(instants) * world.step_us * 1e-6
    light, points = (_figure_scene if dataset == "hardvs" else _card_scene)(label, rng, truth, times, world)
    if truth["isoluminance"] > 0:
        luminance = light @ LUMA
        level = np.exp(np.log(luminance[0]).mean())
        light *= ((level / luminance) ** np.float32(truth["isoluminance"]))[..., None]
    return light, points


def simulate(dataset, label, rng_seed_sequence, *, world=WORLD):
    """Film one recording of class `label` (dense, see `CLASSES`).

    Returns a dict: events (dict of t int64 us, x uint16, y uint16, p uint8, sorted by t), frames uint8 [N,
    H, W, 3] RGB, frame_t int64 [N] (us, start of exposure), truth (dict of nuisance values, JSON-ready).
    """
    _check_dataset(dataset)
    rng = np.random.default_rng(rng_seed_sequence)
    truth = draw_nuisance(rng, world=world)
    light, points = _film(
        dataset, label, rng, truth, instants=world.frames * world.steps_per_frame + 1, world=world
    )
    column_noise = world.column_noise * rng.standard_normal((world.width, 1), np.float32)
    starts = np.arange(world.frames) * world.steps_per_frame
    exposure = truth["exposure_steps"]
    frames = np.stack(
        [
            expose(
                light[s : s + exposure],
                illumination=truth["illumination"],
                exposure_steps=exposure,
                rng=rng,
                column_noise=column_noise,
                world=world,
            )
            for s in starts
        ]
    )
    events = record_events(
        light @ LUMA, illumination=truth["illumination"], noise_hz=truth["noise_hz"], rng=rng, world=world
    )
    motion = np.linalg.norm(np.diff(points, axis=0), axis=-1).mean()  # px per step
    truth |= {
        "blur_px": motion * exposure,
        "white_electrons": world.white_electrons * truth["illumination"] * exposure,
        "events": int(events["t"].size),
    }
    return {"events": events, "frames": frames, "frame_t": starts * world.step_us, "truth": truth}


def _render_chunk(dataset, seed, labels, first):
    """Frames uint8 [n, H, W, 3] for the pre-training draws first, first + 1, ..."""
    images = np.empty((len(labels), WORLD.height, WORLD.width, 3), np.uint8)
    for i, label in enumerate(labels):
        rng = np.random.default_rng(
            np.random.SeedSequence([seed, DATASET_IDS[dataset], SPLIT_IDS["frames"], int(label), first + i])
        )
        truth = draw_nuisance(rng)
        light, _ = _film(dataset, int(label), rng, truth, instants=truth["exposure_steps"], world=WORLD)
        column_noise = WORLD.column_noise * rng.standard_normal((WORLD.width, 1), np.float32)
        images[i] = expose(
            light,
            illumination=truth["illumination"],
            exposure_steps=truth["exposure_steps"],
            rng=rng,
            column_noise=column_noise,
        )
    return images


def render_frames(dataset, labels, *, seed):
    """Single RGB frames uint8 [n, H, W, 3] for pre-training, one for each label, at a random phase of the
    motion.

    Nuisances are drawn as in recordings, from a seed stream that no recording uses. Two processes when n >
    500.
    """
    _check_dataset(dataset)
    labels = np.asarray(labels, np.int64)
    if len(labels) <= 500:
        return _render_chunk(dataset, seed, labels, 0)
    parts = [(part, 250 * i) for i, part in enumerate(np.split(labels, range(250, len(labels), 250)))]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_render_chunk, dataset, seed, part, first) for part, first in parts]
        return np.concatenate([job.result() for job in jobs])


# -----------------------------------------------------------------------------------------------------------
# Files
# -----------------------------------------------------------------------------------------------------------
def _check_dataset(dataset):
    if dataset not in CLASSES:
        raise ValueError(f"unknown data set {dataset!r}: expected one of {sorted(CLASSES)}")


def _class_folder(dataset, label):
    name = CLASSES[dataset][label]
    return f"action_{ACTIONS[name][0]:03d}" if dataset == "hardvs" else name


def _sample_name(split, label, index):
    """Every 20th name ends in " (2)", as some real ones do: readers have to cope with the space."""
    return f"sample-{split}-{label:04d}-{index:03d}" + (" (2)" if index % 20 == 7 else "")


def _write_hardvs(folder, sample, recording):
    """Frames and event images as PNG files numbered 0, 5, 10, ..., and the event stream as compressed npz."""
    events, frame_t = recording["events"], recording["frame_t"]
    cuts = np.append(np.searchsorted(events["t"], frame_t), events["t"].size)
    for kind in ("aps", "dvs"):
        (folder / sample / f"{sample}_{kind}").mkdir(parents=True)
    for i, frame in enumerate(recording["frames"]):
        window = slice(cuts[i], cuts[i + 1])
        image = event_image(events["x"][window], events["y"][window], events["p"][window])
        for kind, picture in (("aps", frame), ("dvs", image)):
            Image.fromarray(picture).save(
                folder / sample / f"{sample}_{kind}" / f"{5 * i:08d}.png", compress_level=1, compress_type=3
            )
    # np.savez_compressed would work too, but at its fixed compression level it costs more than the
    # simulation.
    with zipfile.ZipFile(folder / sample / f"{sample}.npz", "w") as archive:
        for key, values in {**{k: events[k] for k in "xytp"}, "frame_t": frame_t}.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, values)
            archive.writestr(
                zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=1
            )


def _write_pokerevent(folder, sample, recording):
    """Events and BGR frames in one aedat4 file; its bytes depend on the recording alone."""
    import dv_processing as dv

    events, frame_t = recording["events"], recording["frame_t"]
    folder.mkdir(exist_ok=True)
    size = (WORLD.width, WORLD.height)
    config = dv.io.MonoCameraWriter.Config("DAVIS346_sample", dv.CompressionType.LZ4)
    config.addEventStream(size)
    config.addFrameStream(size)
    writer = dv.io.MonoCameraWriter(str(folder / f"{sample}.aedat4"), config)
    cuts = np.append(np.searchsorted(events["t"], frame_t), events["t"].size)
    for i, frame in enumerate(recording["frames"]):
        writer.writeFrame(dv.Frame(EPOCH_US + int(frame_t[i]), np.ascontiguousarray(frame[..., ::-1])))
        window, store = slice(cuts[i], cuts[i + 1]), dv.EventStore()
        columns = (
            events["t"][window] + EPOCH_US,
            events["x"][window],
            events["y"][window],
            events["p"][window] == 1,
        )
        for event in zip(*(column.tolist() for column in columns), strict=True):
            store.push_back(*event)
        writer.writeEvents(store)


def _write_chunk(dataset, folder, seed, tasks):
    """Simulate and write recordings (split, label, index); their rows of ground_truth.csv."""
    write = _write_hardvs if dataset == "hardvs" else _write_pokerevent
    rows = []
    for split, label, index in tasks:
        stream = np.random.SeedSequence([seed, DATASET_IDS[dataset], SPLIT_IDS[split], label, index])
        recording = simulate(dataset, label, stream)
        sample = _sample_name(split, label, index)
        write(folder / _class_folder(dataset, label), sample, recording)
        truth = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in recording["truth"].items()}
        rows.append(
            {"sample": sample, "split": split, "label": label, "class_name": CLASSES[dataset][label], **truth}
        )
    return rows


def fingerprint(dataset, *, seed, train_per_class, test_per_class):
    """16 hex digits of sha256 over the parameters and this file: changed code never reuses an old sample."""
    _check_dataset(dataset)
    parameters = json.dumps([dataset, seed, train_per_class, test_per_class]).encode()
    return hashlib.sha256(parameters + Path(__file__).read_bytes()).hexdigest()[:16]


def _write_index(dataset, folder, rows, description):
    """Lists, class names, ground truth and, last, sample.json."""
    rows = sorted(rows, key=lambda row: (row["split"], row["label"], row["sample"]))
    for split in ("train", "test"):
        lines = [
            f"{_class_folder(dataset, row['label'])}/{row['sample']} {WORLD.frames} {row['label']}\n"
            for row in rows
            if row["split"] == split
        ]
        (folder / f"{split}_label.txt").write_text("".join(lines))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES[dataset]))
    with open(folder / "ground_truth.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (folder / "sample.json").write_text(json.dumps(description, indent=2) + "\n")


def make_sample(
    dataset, root, *, seed=0, train_per_class=100, test_per_class=30, workers=None, progress=True
):
    """Write a complete sample of "hardvs" or "pokerevent" at `root`; its path. Returns at once if it is
    there already.

    The same seed gives the same bytes in every file, whatever the number of workers (default: one a core, at
    most 8). A sample made with other parameters or other code is replaced. Recordings go to a temporary
    folder beside `root`, which takes its place at the end, so an interrupted run leaves nothing that looks
    complete.

    Raises ValueError for an unknown data set and FileExistsError where `root` holds something that is not a
    sample.
    """
    mark = fingerprint(dataset, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class)
    root = Path(root)
    description = root / "sample.json"
    if description.is_file() and json.loads(description.read_text())["fingerprint"] == mark:
        return root
    if root.exists() and not description.is_file() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"{root}: holds files but no sample.json, so it is not a sample; "
            "expected an empty or new folder. Give another path, or move these files away"
        )
    tasks = [
        (split, label, index)
        for split, count in (("train", train_per_class), ("test", test_per_class))
        for label in range(len(CLASSES[dataset]))
        for index in range(count)
    ]
    chunks = [tasks[i : i + 10] for i in range(0, len(tasks), 10)]
    workers = workers or min(os.cpu_count() or 1, 8)
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{root.name}-partial-", dir=root.parent))
    bar = tqdm(total=len(tasks), desc=f"sample of {dataset}", unit="recording", disable=not progress)
    try:
        rows = []
        if workers == 1:
            for chunk in chunks:
                rows += _write_chunk(dataset, partial, seed, chunk)
                bar.update(len(chunk))
        else:
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
                for job in as_completed(
                    [pool.submit(_write_chunk, dataset, partial, seed, chunk) for chunk in chunks]
                ):
                    rows += job.result()
                    bar.update(len(job.result()))
        _write_index(
            dataset,
            partial,
            rows,
            {
                "dataset": dataset,
                "origin": "sample",
                "seed": seed,
                "train_per_class": train_per_class,
                "test_per_class": test_per_class,
                "classes": len(CLASSES[dataset]),
                "fingerprint": mark,
                "world": asdict(WORLD),
            },
        )
        if root.exists():
            shutil.rmtree(root)
        os.replace(partial, root)
    finally:
        bar.close()
        shutil.rmtree(partial, ignore_errors=True)
    return root
