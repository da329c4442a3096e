"""What do the 24 actions look like? Key poses, a skeleton, and the actor before a background."""

from collections.abc import Iterable

import numpy as np

from safe_companion.sample.painting import (
    capsule_rows,
    draw_background,
    draw_shake,
    draw_skin,
    film_background,
    paint_capsules,
    random_colour,
)
from safe_companion.sample.world import Nuisance, World

# ---------------------------------------------------------------------------------------- key poses
# A limb is (upper polar, upper azimuth, lower polar, lower azimuth) in degrees: polar 0 hangs down,
# 90 is horizontal, 180 up; azimuth 0 points to the limb's own side, 90 forward, 180 across the
# body.
Limb = tuple[float, float, float, float]
Pose = tuple[float, ...]  # 24 numbers, in the order of these columns:
RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG = 0, 4, 8, 12  # each the first of a limb's four
LEAN, BEND, TWIST = 16, 17, 18  # of the torso, degrees: to the right, forwards, round its axis
TILT, NOD, TURN = 19, 20, 21  # of the head, degrees: to the right, forwards, sideways
SIDEWAYS, JUMP = 22, 23  # of the whole body, percent of its height

ARM = (10, 10, 8, 40)
LEG = (5, 0, 3, 0)
HIP = (48, -10, 42, 165)  # hand on the hip
EAR = (50, 10, 152, 168)  # hand at the ear


def _pose(
    *,
    right_arm: Limb = ARM,
    left_arm: Limb = ARM,
    right_leg: Limb = LEG,
    left_leg: Limb = LEG,
    torso: tuple[float, float, float] = (0, 0, 0),
    head: tuple[float, float, float] = (0, 0, 0),
    root: tuple[float, float] = (0, 0),
) -> Pose:
    return (*right_arm, *left_arm, *right_leg, *left_leg, *torso, *head, *root)


def _symmetric(
    arms: Limb,
    *,
    legs: Limb = LEG,
    torso: tuple[float, float, float] = (0, 0, 0),
    head: tuple[float, float, float] = (0, 0, 0),
    root: tuple[float, float] = (0, 0),
) -> Pose:
    return (*arms, *arms, *legs, *legs, *torso, *head, *root)


def mirror(keys: Iterable[Pose]) -> list[Pose]:
    """The same action of the other side: swap the limbs, negate what points sideways."""
    mirrored = []
    for key in keys:
        right_arm, left_arm = key[0:4], key[4:8]
        right_leg, left_leg = key[8:12], key[12:16]
        lean, bend, twist, tilt, nod, turn, sideways, jump = key[16:]
        body = (-lean, bend, -twist, -tilt, nod, -turn, -sideways, jump)
        mirrored.append((*left_arm, *right_arm, *left_leg, *right_leg, *body))
    return mirrored


# fmt: off
_STAND = _pose()
_REACH = _symmetric((160, 10, 186, 0), torso=(0, -14, 0), head=(0, -20, 0), root=(0, 3))
_TWIST_LEFT = _symmetric((86, 0, 86, 0), torso=(0, 0, -62), head=(0, 0, -62 / 3))
_TWIST_RIGHT = _symmetric((86, 0, 86, 0), torso=(0, 0, 62), head=(0, 0, 62 / 3))
_STEP = _pose(right_leg=(50, 80, -12, 80), right_arm=(-25, 90, 15, 90), left_arm=(30, 90, 75, 90))
_JACK = _symmetric((80, 0, 85, 0), legs=(16, 0, 16, 0), root=(0, 7))
_STAR_JUMP = _symmetric((150, 0, 162, 0), legs=(28, 0, 28, 0))
_SQUAT = _symmetric((92, 75, 92, 85), legs=(88, 50, -18, 60), torso=(0, 18, 0))
_CHEST = _symmetric((84, 55, 84, 172))
_HANDS_UP = _symmetric((82, 0, 168, 20))
_HANDS_HIGH = _symmetric((88, 0, 176, 10), head=(0, 12, 0))
_ON_THE_PHONE = _pose(right_arm=EAR)
_COVERED = _symmetric(EAR, torso=(0, 14, 0), head=(0, 24, 0))
_LIFTED = _pose(right_arm=(38, 70, 160, 80), torso=(0, 12, 0))
_BLOW = _pose(right_arm=(30, 70, 58, 95), torso=(0, 20, 0), head=(0, 10, 0))
# actions that the other side has, too
_HANDS_ON_HIPS = _pose(right_arm=HIP, left_arm=HIP)
_KNEE = _pose(right_leg=(95, 75, 5, 75), right_arm=HIP, left_arm=HIP)
_RAISE = [_STAND, _pose(right_arm=(172, 0, 174, 0))]
_CIRCLE = [_pose(right_arm=(polar, 15, polar, 15)) for polar in (0, 90, 180, 270)]
_BEND = [
    _pose(right_arm=HIP, left_arm=(90, 0, 95, 0)),
    _pose(right_arm=HIP, left_arm=(158, 0, 185, 0), torso=(38, 0, 0), head=(12, 0, 0)),
]
_LEG_LIFT = [
    _HANDS_ON_HIPS,
    _pose(right_arm=HIP, left_arm=HIP, right_leg=(58, 0, 58, 0), torso=(-6, 0, 0)),
]

# class name -> (1-based number among the 300 actions of HARDVS, cyclic key poses)
ACTIONS = {
    "Upper and Lower Swing Arms": (
        6, [_symmetric((-20, 90, -20, 90)), _symmetric((148, 85, 155, 85))]),
    "Alternate Knee Lift": (17, [_KNEE, _HANDS_ON_HIPS, *mirror([_KNEE]), _HANDS_ON_HIPS]),
    "Stretch": (19, [_symmetric((20, 60, 60, 150)), _REACH]),
    "Body Rotation Movement": (22, [_TWIST_LEFT, _TWIST_RIGHT]),
    "Side Lift": (23, [_STAND, _symmetric((92, 0, 92, 0))]),
    "Step in Place": (50, [_STEP, *mirror([_STEP])]),
    "Right Bend": (70, _BEND),
    "Raise hand with right hand": (71, _RAISE),
    "Right Hand Circle": (73, _CIRCLE),
    "Left Bend": (103, mirror(_BEND)),
    "Raise hand with left hand": (104, mirror(_RAISE)),
    "Left hand circle": (106, mirror(_CIRCLE)),
    "jumping jack": (116, [_STAND, _JACK, _STAR_JUMP, _JACK]),
    "Bare Hand Squat": (119, [_symmetric((60, 85, 60, 85)), _SQUAT]),
    "Arm Cross": (129, [_symmetric((86, 0, 86, 0)), _symmetric((78, 118, 80, 158))]),
    "Making a phone call": (
        136, [_STAND, _ON_THE_PHONE, _pose(right_arm=EAR, head=(14, 0, 8)), _ON_THE_PHONE]),
    "Chest Expansion": (
        141, [_CHEST, _symmetric((86, -25, 84, 120)), _CHEST, _symmetric((90, -12, 90, -12))]),
    "Surrender": (149, [_STAND, _HANDS_UP, _HANDS_HIGH, _HANDS_UP]),
    "Wave": (169, [_pose(right_arm=(72, 0, 138, 0)), _pose(right_arm=(78, 0, 205, 0))]),
    "Cover Ears": (171, [_STAND, _symmetric(EAR), _COVERED, _symmetric(EAR)]),
    "Hammering the Table": (172, [_LIFTED, _BLOW]),
    "Standing Right Leg Lift": (242, _LEG_LIFT),
    "Standing Left Leg Lift": (244, mirror(_LEG_LIFT)),
    "Bow": (291, [_STAND, _pose(torso=(0, 68, 0), head=(0, 25, 0))]),
}
# fmt: on


def pose_at(keys: np.ndarray | list[Pose], phase: np.ndarray) -> np.ndarray:
    """Poses float [S, 24] of cyclic key poses [K, 24] at phases [S] (cycles).

    Periodic cubic Hermite splines; every angle takes the shorter arc.
    """
    keys = np.asarray(keys, float)
    step = (np.roll(keys, -1, 0) - keys + 180) % 360 - 180
    slope = (step + np.roll(step, 1, 0)) / 2
    position = (phase % 1) * len(keys)
    i = position.astype(int) % len(keys)
    s = (position - np.floor(position))[:, None]
    leaving = (s**3 - 2 * s**2 + s) * slope[i]
    travelling = (3 * s**2 - 2 * s**3) * step[i]
    arriving = (s**3 - s**2) * slope[(i + 1) % len(keys)]
    return keys[i] + leaving + travelling + arriving


# ----------------------------------------------------------------------------------------- skeleton
JOINTS = (
    *("pelvis", "chest", "head", "hair", "right eye", "left eye", "nose"),
    *("right shoulder", "right elbow", "right hand", "left shoulder", "left elbow", "left hand"),
    *("right knee", "right ankle", "right toe", "left knee", "left ankle", "left toe"),
)


def _direction(
    sin: np.ndarray,
    cos: np.ndarray,
    column: int,
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Unit vectors [S, 3] of the segment whose polar angle is in `column`, its azimuth in the next.

    axes: the limb's own side, up and front.
    """
    side, up, front = axes
    sin_polar, cos_polar = sin[:, column], cos[:, column]
    sin_azimuth, cos_azimuth = sin[:, column + 1], cos[:, column + 1]
    return side * (sin_polar * cos_azimuth) - up * cos_polar + front * (sin_polar * sin_azimuth)


def skeleton(pose: np.ndarray, *, proportions: np.ndarray | Iterable[float]) -> np.ndarray:
    """Joints float [S, 19, 3] (see `JOINTS`) of poses [S, 24] (degrees), in body heights.

    x points to the image's right, y up, z to the camera. proportions: arm length, leg length,
    shoulder width, hip width (body heights). The lowest foot stands on y = 0 unless the pose jumps.
    The actor faces the camera, so its right hand has the smaller x.
    """
    arm, leg, shoulder, hip = proportions
    angle = np.radians(pose)
    sin = np.sin(angle)[..., None]  # [S, 24, 1]
    cos = np.cos(angle)[..., None]

    world_right, world_up, world_front = np.array([(-1, 0, 0), (0, 1, 0), (0, 0, 1)], float)
    up = np.hstack([-sin[:, LEAN], cos[:, LEAN] * cos[:, BEND], cos[:, LEAN] * sin[:, BEND]])
    level = np.hstack([-cos[:, LEAN], -sin[:, LEAN] * cos[:, BEND], -sin[:, LEAN] * sin[:, BEND]])
    right = cos[:, TWIST] * level + sin[:, TWIST] * np.cross(up, level)
    front = np.cross(up, right)

    pelvis = np.zeros((len(pose), 3))
    chest = pelvis + 0.29 * up
    neck = cos[:, NOD] * up + sin[:, NOD] * front + sin[:, TILT] * right
    face = front * cos[:, NOD] - up * sin[:, NOD] - right * sin[:, TURN]
    head = chest + 0.125 * neck
    hair = head + 0.02 * neck - 0.03 * face
    eyes = head + 0.06 * face + 0.012 * neck
    nose = head + 0.062 * face - 0.03 * neck
    joints = [pelvis, chest, head, hair, eyes + 0.022 * right, eyes - 0.022 * right, nose]
    for limb, side in ((RIGHT_ARM, right), (LEFT_ARM, -right)):
        upper = _direction(sin, cos, limb, (side, up, front))
        lower = _direction(sin, cos, limb + 2, (side, up, front))
        start = chest - 0.02 * up + shoulder * side
        elbow = start + arm * upper
        joints += [start, elbow, elbow + 0.95 * arm * lower]
    for limb, side in ((RIGHT_LEG, world_right), (LEFT_LEG, -world_right)):
        upper = _direction(sin, cos, limb, (side, world_up, world_front))
        lower = _direction(sin, cos, limb + 2, (side, world_up, world_front))
        knee = pelvis + hip * side + leg * upper
        ankle = knee + leg * lower
        joints += [knee, ankle, ankle + 0.06 * world_front + 0.02 * side]
    stacked = np.stack(joints, 1)
    stacked[:, :, 1] += (pose[:, JUMP] / 100 - stacked[:, :, 1].min(1))[:, None]
    stacked[:, :, 0] += pose[:, SIDEWAYS, None] / 100
    return stacked


# -------------------------------------------------------------------------------------------- actor
SKIN, SHIRT, TROUSERS, HAIR, SHOES, EYES = range(6)
# capsules from joint to joint: their radii there (body heights) and what they are made of
BODY = [
    ("pelvis", "chest", 0.075, 0.085, SHIRT),
    ("right shoulder", "left shoulder", 0.05, 0.05, SHIRT),
    ("chest", "head", 0.035, 0.04, SKIN),
    ("head", "head", 0.068, 0.068, SKIN),
    ("hair", "hair", 0.07, 0.07, HAIR),
    ("right eye", "right eye", 0.012, 0.012, EYES),
    ("left eye", "left eye", 0.012, 0.012, EYES),
    ("nose", "nose", 0.012, 0.012, EYES),
    ("right shoulder", "right elbow", 0.042, 0.034, SHIRT),
    ("right elbow", "right hand", 0.032, 0.024, SKIN),
    ("right hand", "right hand", 0.036, 0.036, SKIN),
    ("left shoulder", "left elbow", 0.042, 0.034, SHIRT),
    ("left elbow", "left hand", 0.032, 0.024, SKIN),
    ("left hand", "left hand", 0.036, 0.036, SKIN),
    ("pelvis", "right knee", 0.066, 0.048, TROUSERS),
    ("right knee", "right ankle", 0.046, 0.034, TROUSERS),
    ("right ankle", "right toe", 0.034, 0.026, SHOES),
    ("pelvis", "left knee", 0.066, 0.048, TROUSERS),
    ("left knee", "left ankle", 0.046, 0.034, TROUSERS),
    ("left ankle", "left toe", 0.034, 0.026, SHOES),
]


def film_action(
    label: int, rng: np.random.Generator, nuisance: Nuisance, times: np.ndarray, world: World
) -> tuple[np.ndarray, np.ndarray]:
    """One action at times [S] (s).

    Returns linear light float32 [S, H, W, 3], and where in the image the joints are, [S, 19, 2].
    """
    _, poses = list(ACTIONS.values())[label]
    keys = np.array(poses, float)
    # nobody poses like the table
    keys[:, :SIDEWAYS] += rng.normal(0, 4, SIDEWAYS) + rng.normal(0, 2.5, keys[:, :SIDEWAYS].shape)
    if nuisance["cause"] == "slow":
        # A still recording shows the far side of the action: at the start most are just standing.
        phase = rng.uniform(0.38, 0.62)
    else:
        phase = rng.random()
    proportions = rng.uniform((0.15, 0.21, 0.10, 0.045), (0.18, 0.25, 0.13, 0.06))
    joints = skeleton(pose_at(keys, phase + nuisance["speed"] * times), proportions=proportions)

    yaw = np.radians(rng.uniform(*world.yaw_deg))
    tilt = np.radians(rng.uniform(*world.tilt_deg))
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    joints = joints @ (lean @ turn).T
    scale = rng.uniform(*world.figure_px) * 4 / (4 - joints[..., 2])  # from four body heights away
    x = world.width / 2 + rng.uniform(-24, 24)
    y = world.height - rng.uniform(3, 10)
    shake = draw_shake(rng, nuisance, times)
    on_image = np.stack([joints[..., 0] * scale, -joints[..., 1] * scale], -1)
    points = np.array([x, y]) + on_image + shake[:, None]

    colours = np.empty((6, 3))
    colours[SKIN] = draw_skin(rng)
    colours[SHIRT] = random_colour(rng)
    colours[TROUSERS] = random_colour(rng)
    colours[HAIR] = random_colour(rng, value=(0.1, 0.5))
    colours[SHOES] = random_colour(rng, value=(0.1, 0.6))
    colours[EYES] = (0.01, 0.01, 0.02)
    stripes = np.zeros(6)  # per px
    stripes[SHIRT] = rng.choice([0, 0, 0.12, 0.2])

    first = np.array([JOINTS.index(joint) for joint, _, _, _, _ in BODY])
    second = np.array([JOINTS.index(joint) for _, joint, _, _, _ in BODY])
    radius0 = np.array([radius for _, _, radius, _, _ in BODY])
    radius1 = np.array([radius for _, _, _, radius, _ in BODY])
    slot = np.array([part for _, _, _, _, part in BODY])
    rows = capsule_rows(
        points,
        first,
        second,
        radius0 * scale[:, first],
        radius1 * scale[:, second],
        colours[slot],
        stripes[slot],
    )
    nearness = joints[:, first, 2] + joints[:, second, 2] + 0.1 * (slot == EYES)
    nearer = np.argsort(nearness, kind="stable")
    background = draw_background(rng, world)
    light = film_background(background, shake, world.height, world.width)
    for step in range(len(times)):
        paint_capsules(light[step], rows[step, nearer[step]])
    return light, points
