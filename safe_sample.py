"""The sample world: small stand-ins of HARDVS and PokerEvent, filmed by a simulated RGB + event camera.

    from safe_sample import make_sample
    make_sample("hardvs", "cache/hardvs")          # 24 actions x (48 train + 30 test) recordings
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
import json
import multiprocessing
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections import deque
from concurrent.futures import ProcessPoolExecutor
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
    card_threshold: float = 1.4  # for cards, whose printed edges would make events all too easy
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
DATASET_IDS = {"hardvs": 1, "pokerevent": 2}
SPLIT_IDS = {"train": 1, "test": 2, "frames": 3}  # "frames": the pre-training stream
F32 = np.float32  # in the kernels a plain literal would lift the arithmetic to float64

# ------------------------------------------------------------------------------------------------ actions
# Cyclic key poses. A limb is (upper polar, upper azimuth, lower polar, lower azimuth) in degrees: polar 0
# hangs down, 90 is horizontal, 180 up; azimuth 0 points to the limb's own side, 90 forward, 180 across the body.
ARM, LEG = (10, 10, 8, 40), (5, 0, 3, 0)
HIP = (48, -10, 42, 165)  # hand on the hip
EAR = (50, 10, 152, 168)  # hand at the ear


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
_REACH = _both((160, 10, 186, 0), torso=(0, -14, 0), head=(0, -20, 0), root=(0, 3))
_BLOW = _key(ra=(30, 70, 58, 95), torso=(0, 20, 0), head=(0, 10, 0))
_KNEE = _key(rl=(95, 75, 5, 75), ra=HIP, la=HIP)
_STEP = _key(rl=(50, 80, -12, 80), ra=(-25, 90, 15, 90), la=(30, 90, 75, 90))
_RAISE = [_key(), _key(ra=(172, 0, 174, 0))]
_CIRCLE = [_key(ra=(a, 15, a, 15)) for a in (0, 90, 180, 270)]
_BEND = [_key(ra=HIP, la=(90, 0, 95, 0)), _key(ra=HIP, la=(158, 0, 185, 0), torso=(38, 0, 0), head=(12, 0, 0))]
_LEG_LIFT = [_key(ra=HIP, la=HIP), _key(ra=HIP, la=HIP, rl=(58, 0, 58, 0), torso=(-6, 0, 0))]
_JACK = _both((80, 0, 85, 0), rl=(16, 0, 16, 0), ll=(16, 0, 16, 0), root=(0, 7))
_STAR_JUMP = _both((150, 0, 162, 0), rl=(28, 0, 28, 0), ll=(28, 0, 28, 0))
_SQUAT = _both((92, 75, 92, 85), rl=(88, 50, -18, 60), ll=(88, 50, -18, 60), torso=(0, 18, 0))
_CHEST = _both((84, 55, 84, 172))
_HANDS_UP = _both((82, 0, 168, 20))

# class name -> (1-based number among the 300 actions of HARDVS, key poses)
ACTIONS = {
    "Upper and Lower Swing Arms": (6, [_both((-20, 90, -20, 90)), _both((148, 85, 155, 85))]),
    "Alternate Knee Lift": (17, [_KNEE, _key(ra=HIP, la=HIP), *_mirror([_KNEE]), _key(ra=HIP, la=HIP)]),
    "Stretch": (19, [_both((20, 60, 60, 150)), _REACH]),
    "Body Rotation Movement": (22, [_both((86, 0, 86, 0), torso=(0, 0, t), head=(0, 0, t / 3)) for t in (-62, 62)]),
    "Side Lift": (23, [_both(ARM), _both((92, 0, 92, 0))]),
    "Step in Place": (50, [_STEP, *_mirror([_STEP])]),
    "Right Bend": (70, _BEND),
    "Raise hand with right hand": (71, _RAISE),
    "Right Hand Circle": (73, _CIRCLE),
    "Left Bend": (103, _mirror(_BEND)),
    "Raise hand with left hand": (104, _mirror(_RAISE)),
    "Left hand circle": (106, _mirror(_CIRCLE)),
    "jumping jack": (116, [_key(), _JACK, _STAR_JUMP, _JACK]),
    "Bare Hand Squat": (119, [_both((60, 85, 60, 85)), _SQUAT]),
    "Arm Cross": (129, [_both((86, 0, 86, 0)), _both((78, 118, 80, 158))]),
    "Making a phone call": (136, [_key(), _key(ra=EAR), _key(ra=EAR, head=(14, 0, 8)), _key(ra=EAR)]),
    "Chest Expansion": (141, [_CHEST, _both((86, -25, 84, 120)), _CHEST, _both((90, -12, 90, -12))]),
    "Surrender": (149, [_key(), _HANDS_UP, _both((88, 0, 176, 10), head=(0, 12, 0)), _HANDS_UP]),
    "Wave": (169, [_key(ra=(72, 0, 138, 0)), _key(ra=(78, 0, 205, 0))]),
    "Cover Ears": (171, [_both(ARM), _both(EAR), _both(EAR, torso=(0, 14, 0), head=(0, 24, 0)), _both(EAR)]),
    "Hammering the Table": (172, [_key(ra=(38, 70, 160, 80), torso=(0, 12, 0)), _BLOW]),
    "Standing Right Leg Lift": (242, _LEG_LIFT),
    "Standing Left Leg Lift": (244, _mirror(_LEG_LIFT)),
    "Bow": (291, [_key(), _key(torso=(0, 68, 0), head=(0, 25, 0))]),
}

# ------------------------------------------------------------------------------------------------ cards
# Animals from ellipses (e: x, y, rx, ry), polygons (p) and lines (l: points, width); a capital letter draws the
# mirror image too. Units are percent of the picture's half width; ink 0 body, 1 accent, 2 dark, 3 paper.
RANKS = ["A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K", "JOKER"]
_STAR = [(r * np.sin(k * np.pi / 5), -r * np.cos(k * np.pi / 5)) for k in range(10) for r in [96 if k % 2 == 0 else 34]]
ANIMALS = {
    "Butterfly": [("P", [(0, -18), (40, -95), (95, -90), (98, -30), (40, 4)], 0),
        ("P", [(0, 0), (62, 8), (85, 55), (52, 92), (6, 35)], 1), ("E", (68, -58, 15, 15), 1),
        ("E", (52, 48, 12, 12), 0), ("e", (0, 5, 9, 62), 2), ("L", [(0, -50), (26, -98)], 5, 2)],
    "Crab": [*[("L", [(45, y), (84, y + 2), (96, y + 30)], 9, 0) for y in (0, 18, 36)],
        ("L", [(42, -8), (80, -30), (72, -62)], 13, 0), ("E", (68, -72, 27, 23), 0),
        ("P", [(68, -70), (50, -102), (84, -102)], 3), ("e", (0, 14, 62, 42), 0), ("L", [(16, -20), (20, -48)], 7, 1),
        ("E", (20, -52, 10, 10), 2), ("l", [(-22, 30), (0, 38), (22, 30)], 6, 2)],
    "Elephant": [("E", (62, -25, 38, 58), 0), ("e", (0, -20, 46, 58), 1), ("l", [(0, 0), (0, 62), (26, 88)], 30, 1),
        ("P", [(18, 32), (34, 26), (48, 80)], 2), ("E", (19, -28, 7, 8), 2), ("l", [(-13, 40), (13, 40)], 4, 0),
        ("l", [(-13, 56), (13, 56)], 4, 0)],
    "Giraffe": [*[("l", [(x, 40), (x + d, 98)], 12, 0) for x, d in ((-52, -3), (-38, 3), (2, -3), (16, 3))],
        ("e", (-18, 34, 48, 25), 0), ("p", [(-2, 26), (28, 44), (58, -62), (38, -70)], 0), ("e", (60, -74, 30, 14), 0),
        ("l", [(44, -80), (40, -102)], 6, 2), ("e", (56, -78, 4, 4), 2), ("l", [(-64, 26), (-82, 62)], 6, 2),
        *[("e", (x, y, 9, 8), 1)
          for x, y in ((-48, 32), (-28, 24), (-22, 44), (-2, 34), (20, 10), (30, -16), (40, -42))]],
    "Jellyfish": [("p", [(70 * np.cos(a), -18 - 72 * np.sin(a)) for a in np.linspace(0, np.pi, 16)], 0),
        *[("e", (x, -16, 15, 12), 0) for x in (-54, -27, 0, 27, 54)], ("e", (-24, -60, 14, 10), 3),
        *[("l", [(x + 9 * np.sin(y / 9 + x), y) for y in range(-10, 98, 6)], 7, 1) for x in (-50, -25, 0, 25, 50)]],
    "Owl": [("P", [(12, -58), (52, -98), (58, -40)], 0), ("e", (0, 15, 60, 80), 0), ("E", (54, 32, 17, 50), 1),
        ("E", (26, -28, 27, 27), 3), ("E", (25, -28, 13, 13), 2), ("p", [(-9, -14), (9, -14), (0, 12)], 1),
        *[("e", (x, y, 8, 6), 1) for x, y in ((-18, 32), (0, 32), (18, 32), (-10, 52), (10, 52))],
        ("E", (22, 95, 15, 7), 2)],
    "Penguin": [("P", [(40, -25), (88, 45), (46, 28)], 2), ("e", (0, 18, 52, 76), 2), ("e", (0, 30, 36, 60), 3),
        ("e", (0, -62, 36, 34), 2), ("E", (14, -68, 9, 9), 3), ("E", (14, -68, 4, 4), 2),
        ("p", [(-13, -56), (13, -56), (0, -36)], 1), ("E", (24, 94, 22, 8), 1)],
    "Sea turtle": [("P", [(30, -38), (70, -92), (98, -60), (54, -12)], 1),
        ("P", [(36, 40), (72, 62), (62, 92), (22, 58)], 1), ("e", (0, -72, 20, 25), 1), ("E", (9, -82, 4, 4), 2),
        ("e", (0, 6, 54, 62), 0), ("p", [(-20, -18), (20, -18), (32, 8), (20, 34), (-20, 34), (-32, 8)], 2),
        ("p", [(-15, -12), (15, -12), (25, 8), (15, 28), (-15, 28), (-25, 8)], 0), ("L", [(20, -18), (36, -40)], 5, 2),
        ("L", [(32, 8), (54, 8)], 5, 2), ("L", [(20, 34), (36, 54)], 5, 2)],
    "Spider": [*[("L", [(10, y), (x, y + d), (x + 22, y + e)], 7, 2)
          for x, y, d, e in ((52, -26, -55, -72), (66, -16, -28, 10), (66, -4, 12, 58), (48, 6, 50, 94))],
        ("e", (0, 36, 36, 44), 0), ("e", (0, -22, 25, 23), 0), ("E", (9, -32, 6, 6), 3),
        ("p", [(-12, 22), (12, 22), (0, 40)], 1), ("p", [(-12, 58), (12, 58), (0, 40)], 1)],
    "Starfish": [("p", _STAR, 0), *[("e", (r * np.sin(k * 2 * np.pi / 5), -r * np.cos(k * 2 * np.pi / 5), s, s), 1)
          for k in range(5) for r, s in ((24, 8), (48, 6), (68, 4))], ("e", (0, 0, 7, 7), 1)],
    "Whale": [("p", [(-98, 18), (-90, -20), (-55, -44), (-5, -42), (40, -16), (66, -10), (70, -46), (86, -34),
        (98, -48), (94, -8), (74, 20), (30, 52), (-40, 60), (-84, 48)], 0),
        ("p", [(-98, 20), (-40, 28), (20, 44), (-20, 60), (-60, 58), (-84, 48)], 3), ("e", (-64, 4, 6, 6), 2),
        ("p", [(-28, 24), (-4, 76), (8, 30)], 1), ("l", [(-40, -46), (-40, -78), (-62, -94)], 7, 1),
        ("l", [(-40, -78), (-18, -94)], 7, 1)],
    "Octopus": [("L", [(8, 10), (14, 60), (4, 94)], 13, 0), ("L", [(20, 6), (44, 60), (38, 94), (58, 88)], 13, 0),
        ("L", [(28, 0), (72, 34), (68, 72), (92, 76)], 13, 0), ("L", [(30, -6), (82, 0), (94, -30)], 13, 0),
        ("e", (0, -42, 46, 54), 0), ("E", (18, -26, 13, 15), 3), ("E", (18, -24, 6, 8), 2), ("E", (25, -70, 7, 6), 1),
        ("l", [(-12, -2), (0, 3), (12, -2)], 5, 2)],
}
# fmt: on
CLASSES = {"hardvs": list(ACTIONS), "pokerevent": RANKS + list(ANIMALS)}


# ------------------------------------------------------------------------------------------------ painters
@njit(cache=True)
def _film_background(background, shake, height, width):
    """Bilinear crops [S, H, W, 3] of a picture 8 px wider on all sides, moved by the camera's shake [S, 2] (px)."""
    n, picture = 3 * width, background.reshape(height + 16, -1)
    out = np.empty((len(shake), height, n), np.float32)
    for step in range(len(shake)):
        left, top = 8 - shake[step, 0], 8 - shake[step, 1]
        x0, y0 = int(left), int(top)
        fx, fy = F32(left - x0), F32(top - y0)
        a, b, c, d = (F32(1) - fx) * (F32(1) - fy), fx * (F32(1) - fy), (F32(1) - fx) * fy, fx * fy
        for y in range(height):
            above, below, row = picture[y0 + y, 3 * x0 :], picture[y0 + y + 1, 3 * x0 :], out[step, y]
            above_right, below_right = above[3:], below[3:]
            for i in range(n):
                row[i] = a * above[i] + b * above_right[i] + c * below[i] + d * below_right[i]
    return out.reshape(len(shake), height, width, 3)


@njit(cache=True)
def _paint_capsules(out, capsules):
    """Shaded tapered capsules on out [H, W, 3], in the order given, which are rows of `_capsules`."""
    height, width = out.shape[:2]
    for i in range(capsules.shape[0]):
        x0, y0, r0, x1, y1, r1, _, _, _, stripes = capsules[i]
        reach = max(r0, r1) + F32(1)
        dx, dy = x1 - x0, y1 - y0
        length2 = max(dx * dx + dy * dy, F32(1e-6))
        length = np.sqrt(length2)
        slant = dx / dy if abs(dy) > F32(0.1) else F32(0)
        half = reach * length / abs(dy) if abs(dy) > F32(0.1) else F32(width)  # of a row across the capsule
        for y in range(max(0, int(min(y0, y1) - reach)), min(height, int(max(y0, y1) + reach) + 2)):
            v = F32(y) - y0
            left = max(min(x0, x1) - reach, x0 + v * slant - half)
            right = min(max(x0, x1) + reach, x0 + v * slant + half)
            for x in range(max(0, int(left)), min(width, int(right) + 2)):
                u = F32(x) - x0
                s = min(max((u * dx + v * dy) / length2, F32(0)), F32(1))
                ox, oy, r = u - s * dx, v - s * dy, r0 + s * (r1 - r0)
                distance2 = ox * ox + oy * oy
                if distance2 > (r + F32(0.5)) * (r + F32(0.5)):
                    continue
                cover = min(F32(1), r + F32(0.5) - np.sqrt(distance2))  # one pixel of anti-aliasing
                depth = np.sqrt(max(F32(0), F32(1) - distance2 / (r * r)))
                # light from the upper left front
                shade = F32(0.45) + F32(0.4) * depth - (F32(0.125) * ox + F32(0.2) * oy) / r
                if stripes > 0:
                    shade *= F32(0.75) + F32(0.25) * np.sin(F32(6.2832) * stripes * s * length)
                for k in range(3):
                    out[y, x, k] += cover * (capsules[i, 6 + k] * shade - out[y, x, k])


@njit(cache=True)
def _paint_card(out, art, inverse, box, shade):
    """A rounded card seen through the inverse homography (image px -> art px), within box (x0, y0, x1, y1)."""
    art_h, art_w = art.shape[:2]
    half_w, half_h, corner = F32(art_w / 2), F32(art_h / 2), F32(9)  # px of the art
    for y in range(max(0, box[1]), min(out.shape[0], box[3])):
        row = inverse[:, 1] * F32(y) + inverse[:, 2]
        for x in range(max(0, box[0]), min(out.shape[1], box[2])):
            w = F32(1) / (inverse[2, 0] * F32(x) + row[2])
            u, v = (inverse[0, 0] * F32(x) + row[0]) * w, (inverse[1, 0] * F32(x) + row[1]) * w
            qx = max(abs(u - half_w) - half_w + corner, F32(0))
            qy = max(abs(v - half_h) - half_h + corner, F32(0))
            cover = min(F32(1), F32(0.5) - (np.sqrt(qx * qx + qy * qy) - corner) / F32(1.5))
            if cover <= 0:
                continue
            u = min(max(u - F32(0.5), F32(0)), F32(art_w - 1.001))
            v = min(max(v - F32(0.5), F32(0)), F32(art_h - 1.001))
            iu, iv = int(u), int(v)
            fu, fv = u - F32(iu), v - F32(iv)
            for k in range(3):
                top = art[iv, iu, k] + fu * (art[iv, iu + 1, k] - art[iv, iu, k])
                low = art[iv + 1, iu, k] + fu * (art[iv + 1, iu + 1, k] - art[iv + 1, iu, k])
                out[y, x, k] += cover * (shade * (top + fv * (low - top)) - out[y, x, k])


# ------------------------------------------------------------------------------------------------ cameras
@njit(cache=True)
def _luminance(light):
    """Rec. 709 luminance of linear light, float32 [S, H, W]; twice as fast as a matrix product."""
    out, flat = np.empty(light.shape[:3], np.float32), light.reshape(-1, 3)
    values = out.reshape(-1)
    for i in range(values.size):
        values[i] = F32(0.2126) * flat[i, 0] + F32(0.7152) * flat[i, 1] + F32(0.0722) * flat[i, 2]
    return out


@njit(cache=True)
def _cross_thresholds(log_light, on, off, reference, step_us, t, x, y, p):
    """Write the events of `threshold_events` as far as the output arrays reach; their number."""
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
    """Contrast-threshold events between rendered steps (ESIM, Rebecq et al. 2018, Sec. 3; v2e, Hu et al. 2021).

    log_light float32 [S, H, W]: log intensity at S instants, step_us (us) apart; on, off float32 [H, W]: thresholds in
    log intensity; reference float32 [H, W]: each pixel's log intensity at its last event. Returns t int64 (us), x, y
    uint16, p uint8 (1 ON, 0 OFF), step by step, not sorted within a step. Log intensity is taken as linear between two
    instants, so the k-th crossing gets a time stamp of its own.
    """
    room = 1 << 17  # an array that grows inside the loop would make it forty times slower
    while True:
        columns = [np.empty(room, kind) for kind in (np.int64, np.uint16, np.uint16, np.uint8)]
        n = _cross_thresholds(log_light, on, off, reference, step_us, *columns)
        if n <= room:
            return [column[:n] for column in columns]
        room = n


@njit(cache=True)
def refractory_mask(t, x, y, width, height, refractory_us):
    """bool [n]: False for events (sorted by t, us) less than refractory_us after their pixel's last kept one."""
    last = np.full((height, width), -(1 << 60), np.int64)
    keep = np.zeros(t.size, np.bool_)
    for i in range(t.size):
        if t[i] - last[y[i], x[i]] >= refractory_us:
            last[y[i], x[i]] = t[i]
            keep[i] = True
    return keep


def record_events(luminance, *, illumination, threshold, noise_hz, rng, world=WORLD):
    """Events of linear luminance float32 [S, H, W] (1 = white): dict of t (int64 us), x, y, p, sorted by t.

    threshold: mean log-intensity step per event. The leak is a slow ramp of the log intensity (v2e, Sec. 4.2); shot
    noise is a Poisson process per pixel of noise_hz.
    """
    steps, height, width = luminance.shape
    log_light = luminance + F32(world.glare + world.dark_light / illumination)  # relative: only differences count
    np.log(log_light, out=log_light)
    ramp = np.arange(steps) * (world.leak_hz * threshold * world.step_us * 1e-6)
    log_light += ramp.astype(np.float32)[:, None, None]
    mismatch = 1 + world.threshold_mismatch * rng.standard_normal((2, height, width), np.float32)
    on, off = F32(threshold) * np.clip(mismatch, 0.4, 2)
    # Pixels start anywhere between two events, else all of them would fire together.
    reference = log_light[0] + (rng.random((height, width), np.float32) - F32(0.5)) * on
    t, x, y, p = threshold_events(log_light, on, off, reference, world.step_us)
    n = rng.poisson(noise_hz * height * width * (steps - 1) * world.step_us * 1e-6)
    t = np.concatenate([t, rng.integers(0, (steps - 1) * world.step_us, n)])
    x = np.concatenate([x, rng.integers(0, width, n, np.uint16)])
    y = np.concatenate([y, rng.integers(0, height, n, np.uint16)])
    p = np.concatenate([p, rng.integers(0, 2, n, np.uint8)])
    order = np.sort(t * t.size + np.arange(t.size)) % max(t.size, 1)  # a stable argsort, at a fifth of its time
    order = order[refractory_mask(t[order], x[order], y[order], width, height, world.refractory_us)]
    return {"t": t[order], "x": x[order], "y": y[order], "p": p[order]}


def event_image(x, y, p, *, world=WORLD):
    """uint8 [H, W, 3] in HARDVS's colours: white ground, ON red, OFF blue; the last event on a pixel wins."""
    image = np.full((world.height, world.width, 3), 255, np.uint8)
    image[y, x] = np.array([(30, 30, 200), (220, 30, 30)], np.uint8)[p]
    return image


@njit(cache=True)
def _develop(light, noise, column_noise, white, read_variance, gain):
    """8-bit rows [H, 3 W] of light [S, H, 3 W]; column loops a compiler can vectorise."""
    steps, height, width = light.shape
    out, value = np.empty((height, width), np.uint8), np.empty(width, np.float32)
    for y in range(height):
        value[:] = light[0, y]
        for step in range(1, steps):
            for i in range(width):
                value[i] += light[step, y, i]
        for i in range(width):
            electrons = value[i] * white
            electrons += noise[y, i] * np.sqrt(electrons + read_variance) + column_noise[i]
            value[i] = min(max(electrons * gain, F32(0)), F32(4095))
        for i in range(width):
            out[y, i] = GAMMA[int(value[i])]
    return out


def expose(light, *, illumination, noise, column_noise, world=WORLD):
    """One RGB frame, uint8 [H, W, 3], from linear light float32 [S, H, W, 3] (1 = white) exposed for S steps.

    Electrons add up over the exposure; shot and read noise are the standard normals `noise` float32 [H, W, 3] times
    their standard deviation, column_noise float32 [W] is in e-; auto-gain aims at full range but is limited.
    """
    steps, height, width, _ = light.shape
    white = world.white_electrons * illumination * steps
    gain = 4095 * min(1 / white, world.max_gain)
    rows = _develop(light.reshape(steps, height, -1), noise.reshape(height, -1), np.repeat(column_noise, 3),
                    F32(white / steps), F32(world.read_noise**2), F32(gain))
    return rows.reshape(height, width, 3)


# ------------------------------------------------------------------------------------------------ scenes
def _colour(rng, *, saturation=(0.2, 0.9), value=(0.15, 0.95)):
    """A random colour in linear light, float [3]."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))) ** 2.2


def _background(rng, world):
    """Blurred blobs and furniture-like boxes, linear light float32 [H + 16, W + 16, 3]."""
    height, width = world.height + 16, world.width + 16
    base, spread = _colour(rng, saturation=(0.02, 0.25), value=(0.35, 0.75)), rng.uniform(0.05, 0.2)
    blobs = base * np.exp(spread * (rng.standard_normal((5, 7, 1)) + 0.3 * rng.standard_normal((5, 7, 3))))
    planes = (Image.fromarray(plane) for plane in blobs.astype(np.float32).transpose(2, 0, 1))
    picture = np.stack([plane.resize((width, height), Image.BICUBIC) for plane in planes], -1)
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


def _shake(rng, truth, times):
    """Hand-held camera shake, px [S, 2]: two slow sinusoids an axis."""
    phases = rng.random((2, 2))
    waves = [np.sin(2 * np.pi * (hz * times[:, None] + phases[i])) for i, hz in enumerate((1.3, 3.1))]
    return truth["shake"] * sum(waves)


def _capsules(points, first, second, radius0, radius1, colours, stripes):
    """float32 [S, n, 10]: x0, y0, r0, x1, y1, r1 (px), red, green, blue, stripes per px, between points [S, M, 2]."""
    rows = np.empty((len(points), len(first), 10), np.float32)
    rows[..., 0:2], rows[..., 2] = points[:, first], radius0
    rows[..., 3:5], rows[..., 5] = points[:, second], radius1
    rows[..., 6:9], rows[..., 9] = colours, stripes
    return rows


def pose_at(keys, phase):
    """Poses float [S, 24] of cyclic key poses [K, 24] at phases [S] (cycles): periodic cubic Hermite, shorter arcs."""
    keys = np.asarray(keys, float)
    step = (np.roll(keys, -1, 0) - keys + 180) % 360 - 180
    slope = (step + np.roll(step, 1, 0)) / 2
    position = (phase % 1) * len(keys)
    i = position.astype(int) % len(keys)
    s = (position - np.floor(position))[:, None]
    after = slope[(i + 1) % len(keys)]
    return keys[i] + (s**3 - 2 * s**2 + s) * slope[i] + (3 * s**2 - 2 * s**3) * step[i] + (s**3 - s**2) * after


def skeleton(pose, *, proportions):
    """Joints float [S, 19, 3] (body heights; x to the image's right, y up, z to the camera) of poses [S, 24] (degrees).

    proportions: arm length, leg length, shoulder width, hip width (body heights). The lowest foot stands on y = 0
    unless the pose jumps. The actor faces the camera, so its right hand has the smaller x.
    """
    arm, leg, shoulder, hip = proportions
    angle = np.radians(pose)
    sin, cos = np.sin(angle)[..., None], np.cos(angle)[..., None]  # [S, 24, 1]

    def along(limb, side, up, front):
        """Unit vectors of the two segments of the limb whose angles start at column `limb`."""
        return [side * (sin[:, c] * cos[:, c + 1]) - up * cos[:, c] + front * (sin[:, c] * sin[:, c + 1])
                for c in (limb, limb + 2)]

    world_right, world_up, world_front = np.array([(-1, 0, 0), (0, 1, 0), (0, 0, 1)], float)
    up = np.hstack([-sin[:, 16], cos[:, 16] * cos[:, 17], cos[:, 16] * sin[:, 17]])
    level = np.hstack([-cos[:, 16], -sin[:, 16] * cos[:, 17], -sin[:, 16] * sin[:, 17]])
    right = cos[:, 18] * level + sin[:, 18] * np.cross(up, level)
    front = np.cross(up, right)
    pelvis = np.zeros((len(pose), 3))
    chest = pelvis + 0.29 * up
    neck = cos[:, 20] * up + sin[:, 20] * front + sin[:, 19] * right
    face = front * cos[:, 20] - up * sin[:, 20] - right * sin[:, 21]
    head = chest + 0.125 * neck
    eyes = head + 0.06 * face + 0.012 * neck
    joints = [pelvis, chest, head, head + 0.02 * neck - 0.03 * face, eyes + 0.022 * right, eyes - 0.022 * right,
              head + 0.062 * face - 0.03 * neck]
    for limb, side in ((0, right), (4, -right)):
        upper, lower = along(limb, side, up, front)
        joint = chest - 0.02 * up + shoulder * side
        joints += [joint, joint + arm * upper, joint + arm * upper + 0.95 * arm * lower]
    for limb, side in ((8, world_right), (12, -world_right)):
        upper, lower = along(limb, side, world_up, world_front)
        knee = pelvis + hip * side + leg * upper
        ankle = knee + leg * lower
        joints += [knee, ankle, ankle + 0.06 * world_front + 0.02 * side]
    joints = np.stack(joints, 1)
    joints[:, :, 1] += (pose[:, 23] / 100 - joints[:, :, 1].min(1))[:, None]
    joints[:, :, 0] += pose[:, 22, None] / 100
    return joints


# (joint, joint, radius, radius (body heights), colour slot: 0 skin, 1 shirt, 2 trousers, 3 hair, 4 shoes, 5 eyes)
_BODY = [(0, 1, 0.075, 0.085, 1), (7, 10, 0.05, 0.05, 1), (1, 2, 0.035, 0.04, 0), (2, 2, 0.068, 0.068, 0),
         (3, 3, 0.07, 0.07, 3), (4, 4, 0.012, 0.012, 5), (5, 5, 0.012, 0.012, 5), (6, 6, 0.012, 0.012, 5)]
for _a in (7, 10):
    _BODY += [(_a, _a + 1, 0.042, 0.034, 1), (_a + 1, _a + 2, 0.032, 0.024, 0), (_a + 2, _a + 2, 0.036, 0.036, 0)]
for _a in (13, 16):
    _BODY += [(0, _a, 0.066, 0.048, 2), (_a, _a + 1, 0.046, 0.034, 2), (_a + 1, _a + 2, 0.034, 0.026, 4)]


def _figure_scene(label, rng, truth, times, world):
    """Linear light float32 [S, H, W, 3] of one action at times (s), and the image points [S, M, 2] that move."""
    keys = np.array(list(ACTIONS.values())[label][1], float)
    keys[:, :22] += rng.normal(0, 4, 22) + rng.normal(0, 2.5, keys[:, :22].shape)  # nobody poses like the table
    # A still recording shows the far side of the action: at its start most actions are the same standing person.
    phase = rng.uniform(0.38, 0.62) if truth["cause"] == "slow" else rng.random()
    proportions = rng.uniform((0.15, 0.21, 0.10, 0.045), (0.18, 0.25, 0.13, 0.06))
    joints = skeleton(pose_at(keys, phase + truth["speed"] * times), proportions=proportions)
    yaw, tilt = np.radians([rng.uniform(*world.yaw_deg), rng.uniform(*world.tilt_deg)])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    joints = joints @ (lean @ turn).T
    scale = rng.uniform(*world.figure_px) * 4 / (4 - joints[..., 2])  # seen from four body heights away
    origin = np.array([world.width / 2 + rng.uniform(-24, 24), world.height - rng.uniform(3, 10)])
    shake = _shake(rng, truth, times)
    points = origin + np.stack([joints[..., 0] * scale, -joints[..., 1] * scale], -1) + shake[:, None]
    skin = np.array([0.55, 0.32, 0.22]) * rng.uniform(0.25, 1.25)
    colours = np.array([skin, _colour(rng), _colour(rng), _colour(rng, value=(0.1, 0.5)),
                        _colour(rng, value=(0.1, 0.6)), (0.01, 0.01, 0.02)])
    stripes = np.array([0, rng.choice([0, 0, 0.12, 0.2]), 0, 0, 0, 0])
    first, second, radius0, radius1, slot = (np.array(column) for column in zip(*_BODY, strict=True))
    capsules = _capsules(points, first, second, radius0 * scale[:, first], radius1 * scale[:, second],
                         colours[slot], stripes[slot])
    nearer = np.argsort(joints[:, first, 2] + joints[:, second, 2] + 0.1 * (slot == 5), kind="stable")
    light = _film_background(_background(rng, world), shake, world.height, world.width)
    for k in range(len(times)):
        _paint_capsules(light[k], capsules[k, nearer[k]])
    return light, points


@functools.cache
def _card_art(label, variant):
    """The picture of one card, linear light float32 [CARD_H, CARD_W, 3]; drawn at three times its size."""
    rng = np.random.default_rng([label, variant])
    hue = rng.random()
    tones = [(hue, rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.8)),
             ((hue + rng.uniform(0.15, 0.5)) % 1, rng.uniform(0.6, 0.95), rng.uniform(0.6, 0.95)),
             (0.63, 0.6, 0.3), (0.12, 0.06, 0.97)]
    inks = [tuple(int(255 * channel) for channel in colorsys.hsv_to_rgb(*tone)) for tone in tones]
    image = Image.new("RGB", (3 * CARD_W, 3 * CARD_H), inks[3])
    if label < len(RANKS):
        _draw_rank(image, RANKS[label], ((170, 20, 30), (30, 34, 64))[variant % 2], rng)
    else:
        _draw_animal(image, list(ANIMALS.values())[label - len(RANKS)], inks, rng)
    return (np.asarray(image.resize((CARD_W, CARD_H), Image.LANCZOS), np.float32) / 255) ** F32(2.2)


def _draw_rank(image, rank, ink, rng):
    """A large rank in the middle (JOKER: letters below a cap with bells) and its index in two opposite corners."""
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
        font = ImageFont.load_default(rng.uniform(0.85, 1.1) * (200 if len(rank) > 1 else 260))
        pen.text((width / 2, height / 2), rank, 255, font, anchor="mm", stroke_width=6)
        pen.text((44, 56), rank, 255, ImageFont.load_default(74), anchor="mm", stroke_width=3)
    corner = layer.crop((0, 0, 90, 290 if rank == "JOKER" else 110)).rotate(180)
    layer.paste(corner, (width - corner.width, height - corner.height))
    image.paste(ink, mask=layer)


def _draw_animal(image, shapes, inks, rng):
    """Shapes of `ANIMALS` in the middle of the card, a little stretched, with a thin frame."""
    width, height = image.size
    pen = ImageDraw.Draw(image)
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
    """Linear light float32 [S, H, W, 3] of one hand-held card at times (s), and its corners [S, 4, 2] in the image."""
    art = _card_art(label, int(rng.integers(6))) * (1 - rng.uniform(0, 0.25, 3).astype(np.float32))  # tinted paper
    size = rng.uniform(*world.card_px) / CARD_W
    cycle = 2 * np.pi * (rng.random() + truth["speed"] * times)
    direction, swing = rng.uniform(0, 2 * np.pi), rng.uniform(2, 6)
    sway, second = np.sin(cycle), np.sin(2 * cycle + rng.uniform(0, 6)) * 0.2
    turn = np.radians(rng.uniform(*world.card_turn_deg)) + np.radians(rng.uniform(-7, 7)) * sway
    pitch, yaw = np.radians(rng.uniform(-20, 20, (2, 1)) + rng.uniform(-9, 9, (2, 1)) * np.stack([sway, second]))
    x = world.width / 2 + rng.uniform(-28, 28) + swing * (np.cos(direction) * sway + second)
    y = world.height / 2 + rng.uniform(-10, 2) + swing * (np.sin(direction) * sway - second)
    shake = _shake(rng, truth, times)
    zoom = size * (1 + 0.04 * second)
    skin = np.array([0.55, 0.32, 0.22]) * rng.uniform(0.25, 1.25)
    sleeve = _colour(rng)
    grip = rng.uniform(-0.22, 0.22)  # where along the lower edge the hand holds the card, in card widths
    reach = rng.uniform(0.10, 0.26)  # how far thumb and finger cover the card, in card heights
    homography = _homography(np.stack([x, y], 1) + shake, zoom, turn, pitch, yaw)
    inverse = np.linalg.inv(homography).astype(np.float32)
    corners = _project(homography, [(0, 0), (CARD_W, 0), (CARD_W, CARD_H), (0, CARD_H)])
    boxes = np.concatenate([corners.min(1).astype(int) - 2, corners.max(1).astype(int) + 3], 1)
    shade = (0.55 + 0.35 * np.cos(pitch + 0.3) * np.cos(yaw - 0.3)).astype(np.float32)
    # palm, wrist; root and tip of the thumb, then of the finger: offset from the grip and height on the card
    hand = np.array([(0, 1.05), (0.1, 1.7), (-0.05, 1.05), (-0.12, 1 - reach), (0.22, 1.12), (0.3, 1.04 - reach / 2)])
    hand = _project(homography, (hand + (0.5 + grip, 0)) * (CARD_W, CARD_H))
    thick = CARD_W * zoom[:, None]
    behind = _capsules(hand, [0, 0], [1, 0], (0.22, 0.24) * thick, (0.24, 0.24) * thick, [sleeve, skin], 0)
    before = _capsules(hand, [2, 4], [3, 5], (0.09, 0.085) * thick, (0.07, 0.065) * thick, skin, 0)
    light = _film_background(_background(rng, world), shake, world.height, world.width)
    for k in range(len(times)):
        _paint_capsules(light[k], behind[k])
        _paint_card(light[k], art, inverse[k], boxes[k], shade[k])
        _paint_capsules(light[k], before[k])
    return light, corners


def _homography(centre, zoom, turn, pitch, yaw):
    """Maps [S, 3, 3] from art px to image px: the card turned about its own centre, seen from 450 px away."""
    (ct, cp, cy), (st, sp, sy) = np.cos([turn, pitch, yaw]), np.sin([turn, pitch, yaw])
    across = zoom * np.array([ct * cy - st * sy * sp, st * cy + ct * sy * sp, -sy * cp])  # of one art px, [3, S]
    down = zoom * np.array([-st * cp, ct * cp, sp])
    plane = np.stack([across, down, -(CARD_W * across + CARD_H * down) / 2], 1)
    depth = plane[2] / 450 + [[0], [0], [1]]
    return np.stack([plane[0] + centre[:, 0] * depth, plane[1] + centre[:, 1] * depth, depth]).transpose(2, 0, 1)


def _project(homography, points):
    """Art px [M, 2] to image px [S, M, 2]."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.transpose(0, 2, 1)
    return mapped[..., :2] / mapped[..., 2:]


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
    exposure = world.steps_per_frame if cause == "fast" else round((world.exposure_knee / illumination) ** 0.5)
    speed = {"slow": world.speed_slow, "fast": world.speed_fast}.get(cause, world.speed)
    quiet_hz = float(np.interp(np.log(illumination), np.log(world.illumination), world.noise_hz[::-1]))
    return {
        "hard_for": {"none": "neither", "dark": "rgb", "fast": "rgb"}.get(cause, "events"),
        "cause": cause,
        "illumination": illumination,
        "speed": rng.uniform(*speed),  # cycles per second
        "exposure_steps": int(np.clip(exposure, 1, world.steps_per_frame)),
        "isoluminance": rng.uniform(*world.isoluminance) if cause == "isoluminant" else 0.0,
        "noise_hz": rng.uniform(*world.clutter_noise_hz) if cause == "noisy" else quiet_hz,
        "shake": rng.uniform(*world.shake_px) * (0.1 if cause == "slow" else 1.0),  # px
    }


def _film(dataset, label, rng, truth, *, instants, world):
    """Render `instants` steps; linear light float32 [S, H, W, 3] and the moving image points [S, M, 2]."""
    times = np.arange(instants) * world.step_us * 1e-6
    light, points = (_figure_scene if dataset == "hardvs" else _card_scene)(label, rng, truth, times, world)
    if truth["isoluminance"] > 0:
        luminance = _luminance(light)
        level = np.exp(np.log(luminance[0]).mean())
        light *= ((level / luminance) ** F32(truth["isoluminance"]))[..., None]
    return light, points


def simulate(dataset, label, rng_seed_sequence, *, world=WORLD):
    """Film one recording of class `label` (dense, see `CLASSES`).

    Returns a dict: events (dict of t int64 us, x uint16, y uint16, p uint8, sorted by t), frames uint8 [N, H, W, 3]
    RGB, frame_t int64 [N] (us, start of exposure), truth (dict of nuisance values, JSON-ready).
    """
    _check_dataset(dataset)
    rng = np.random.default_rng(rng_seed_sequence)
    truth = draw_nuisance(rng, world=world)
    light, points = _film(dataset, label, rng, truth, instants=world.frames * world.steps_per_frame + 1, world=world)
    exposure, starts = truth["exposure_steps"], np.arange(world.frames) * world.steps_per_frame
    column_noise = F32(world.column_noise) * rng.standard_normal(world.width, np.float32)
    # Every frame takes rows of its own from one sheet of noise, since drawing normals costs more than rendering.
    noise, tops = rng.standard_normal((2 * world.height, world.width, 3), np.float32), rng.permutation(world.height)
    frames = [expose(light[start : start + exposure], illumination=truth["illumination"],
                     noise=noise[top : top + world.height], column_noise=column_noise, world=world)
              for start, top in zip(starts, tops, strict=False)]
    events = record_events(_luminance(light), illumination=truth["illumination"], noise_hz=truth["noise_hz"],
                           threshold=world.threshold if dataset == "hardvs" else world.card_threshold, rng=rng,
                           world=world)
    truth["blur_px"] = np.linalg.norm(np.diff(points, axis=0), axis=-1).mean() * exposure
    truth["white_electrons"] = world.white_electrons * truth["illumination"] * exposure
    truth["events"] = int(events["t"].size)
    return {"events": events, "frames": np.stack(frames), "frame_t": starts * world.step_us, "truth": truth}


def _render_chunk(dataset, seed, labels, first, world):
    """Frames uint8 [n, H, W, 3] for the pre-training draws first, first + 1, ..."""
    images = np.empty((len(labels), world.height, world.width, 3), np.uint8)
    for i, label in enumerate(labels.tolist()):
        stream = np.random.SeedSequence([seed, DATASET_IDS[dataset], SPLIT_IDS["frames"], label, first + i])
        rng = np.random.default_rng(stream)
        truth = draw_nuisance(rng, world=world)
        light, _ = _film(dataset, label, rng, truth, instants=truth["exposure_steps"], world=world)
        column_noise = F32(world.column_noise) * rng.standard_normal(world.width, np.float32)
        noise = rng.standard_normal(images[i].shape, np.float32)
        images[i] = expose(light, illumination=truth["illumination"], noise=noise, column_noise=column_noise,
                           world=world)
    return images


def render_frames(dataset, labels, *, seed, world: World = WORLD):
    """Single RGB frames uint8 [n, H, W, 3] for pre-training, one for each label, at a random phase of the motion.

    Nuisances are drawn as in recordings of `world`, from a seed stream that no recording uses. Two processes when
    n > 500.
    """
    _check_dataset(dataset)
    labels = np.asarray(labels, np.int64)
    if len(labels) <= 500:
        return _render_chunk(dataset, seed, labels, 0, world)
    starts = range(0, len(labels), 250)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_render_chunk, dataset, seed, labels[i : i + 250], i, world) for i in starts]
        return np.concatenate([job.result() for job in jobs])


# ------------------------------------------------------------------------------------------------ files
def _check_dataset(dataset):
    if dataset not in CLASSES:
        raise ValueError(f"unknown data set {dataset!r}: expected one of {sorted(CLASSES)}")


def _class_folder(dataset, label):
    name = CLASSES[dataset][label]
    return f"action_{ACTIONS[name][0]:03d}" if dataset == "hardvs" else name


def _sample_name(split, label, index):
    """Every 20th name ends in " (2)", as some real ones do: readers have to cope with the space."""
    return f"sample-{split}-{label:04d}-{index:03d}" + (" (2)" if index % 20 == 7 else "")


def _png(picture, level):
    """A PNG file of uint8 [H, W, 3]: unfiltered, run-length coded; no larger than Pillow's, in a third of its time."""
    height, width, _ = picture.shape
    rows = np.zeros((height, 3 * width + 1), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = picture.reshape(height, -1)
    coder = zlib.compressobj(level=level, strategy=zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = [b"IHDR" + header, b"IDAT" + coder.compress(rows) + coder.flush(), b"IEND"]
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _write_hardvs(folder, sample, recording):
    """Frames and event images as PNG files numbered 0, 5, 10, ..., and the event stream as compressed npz."""
    events, frame_t = recording["events"], recording["frame_t"]
    aps, dvs = (folder / sample / f"{sample}_{kind}" for kind in ("aps", "dvs"))
    aps.mkdir(parents=True)
    dvs.mkdir()
    cuts = np.append(np.searchsorted(events["t"], frame_t), events["t"].size)
    for i, frame in enumerate(recording["frames"]):
        window = slice(cuts[i], cuts[i + 1])
        image = event_image(events["x"][window], events["y"][window], events["p"][window])
        (aps / f"{5 * i:08d}.png").write_bytes(_png(frame, 0))  # sensor noise does not compress
        (dvs / f"{5 * i:08d}.png").write_bytes(_png(image, 1))
    # np.savez_compressed would do, but its compression level costs more than the simulation.
    with zipfile.ZipFile(folder / sample / f"{sample}.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, values in {**{k: events[k] for k in "xytp"}, "frame_t": frame_t}.items():
            with archive.open(f"{key}.npy", "w") as file:  # opened by name: no time stamp
                np.lib.format.write_array(file, values)


def _write_pokerevent(folder, sample, recording):
    """Events and BGR frames in one aedat4 file; its bytes depend on the recording alone."""
    import dv_processing as dv

    events, frame_t = recording["events"], recording["frame_t"]
    folder.mkdir(exist_ok=True)
    config = dv.io.MonoCameraWriter.Config("DAVIS346_sample", dv.CompressionType.LZ4)
    config.addEventStream((WORLD.width, WORLD.height))
    config.addFrameStream((WORLD.width, WORLD.height))
    writer = dv.io.MonoCameraWriter(str(folder / f"{sample}.aedat4"), config)
    columns = [c.tolist() for c in (events["t"] + EPOCH_US, events["x"], events["y"], events["p"].astype(bool))]
    cuts = np.append(np.searchsorted(events["t"], frame_t), events["t"].size)
    for i, frame in enumerate(recording["frames"][..., [2, 1, 0]]):
        writer.writeFrame(dv.Frame(EPOCH_US + int(frame_t[i]), frame))
        store = dv.EventStore()  # takes events one by one only; `deque` runs the map without a Python loop
        deque(map(store.push_back, *(column[cuts[i] : cuts[i + 1]] for column in columns)), maxlen=0)
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
        rows.append({"sample": sample, "split": split, "label": label, "class_name": CLASSES[dataset][label], **truth})
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
        lines = [f"{_class_folder(dataset, row['label'])}/{row['sample']} {WORLD.frames} {row['label']}\n"
                 for row in rows if row["split"] == split]
        (folder / f"{split}_label.txt").write_text("".join(lines))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES[dataset]))
    with open(folder / "ground_truth.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    (folder / "sample.json").write_text(json.dumps(description, indent=2) + "\n")


def make_sample(dataset, root, *, seed=0, train_per_class=48, test_per_class=30, workers=None, progress=True):
    """Write a complete sample of "hardvs" or "pokerevent" at `root`, unless it is there already; its path.

    The same seed gives the same bytes in every file, whatever the number of workers (default: one a core, at most 8).
    A sample made with other parameters or other code is replaced. Recordings go to a temporary folder beside `root`,
    which takes its place at the end, so an interrupted run leaves nothing that looks complete.

    Raises ValueError for an unknown data set and FileExistsError where `root` holds something that is not a sample.
    """
    mark = fingerprint(dataset, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class)
    root = Path(root)
    description = root / "sample.json"
    if description.is_file() and json.loads(description.read_text())["fingerprint"] == mark:
        return root
    if root.exists() and not description.is_file() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root}: holds files but no sample.json, so it is no sample; expected an empty or new "
                              "folder. Give another path, or move these files away")
    tasks = [(split, label, index) for split, count in (("train", train_per_class), ("test", test_per_class))
             for label in range(len(CLASSES[dataset])) for index in range(count)]
    chunks = [tasks[i : i + 10] for i in range(0, len(tasks), 10)]
    workers = workers or min(os.cpu_count() or 1, 8)
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{root.name}-partial-", dir=root.parent))
    write = functools.partial(_write_chunk, dataset, partial, seed)
    bar = tqdm(total=len(tasks), desc=f"sample of {dataset}", unit="recording", disable=not progress)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) if workers > 1 else None
    try:
        rows = []
        for done in (pool.map(write, chunks) if pool else map(write, chunks)):
            rows += done
            bar.update(len(done))
        _write_index(dataset, partial, rows, {
            "dataset": dataset, "origin": "sample", "seed": seed, "train_per_class": train_per_class,
            "test_per_class": test_per_class, "classes": len(CLASSES[dataset]), "fingerprint": mark,
            "world": asdict(WORLD)})
        if root.exists():
            shutil.rmtree(root)
        os.replace(partial, root)
    finally:
        bar.close()
        if pool:
            pool.shutdown(cancel_futures=True)
        shutil.rmtree(partial, ignore_errors=True)
    return root
