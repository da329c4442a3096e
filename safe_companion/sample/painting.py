"""How does anything get onto the picture? Backgrounds, capsules, a card; all in linear light."""

import colorsys

import numpy as np
from numba import njit
from PIL import Image

from safe_companion.sample.world import F32, Nuisance, Range, World

MARGIN = (
    8  # px that a background is wider on each side than the image, so that the camera can shake
)


def random_colour(
    rng: np.random.Generator, *, saturation: Range = (0.2, 0.9), value: Range = (0.15, 0.95)
) -> np.ndarray:
    """A random colour in linear light, float [3]."""
    hsv = (rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(colorsys.hsv_to_rgb(*hsv)) ** 2.2


def draw_skin(rng: np.random.Generator) -> np.ndarray:
    """A random colour of skin in linear light, float [3]."""
    return np.array([0.55, 0.32, 0.22]) * rng.uniform(0.25, 1.25)


def draw_background(rng: np.random.Generator, world: World) -> np.ndarray:
    """Blurred blobs and furniture-like boxes, linear light float32 [H + 16, W + 16, 3]."""
    height = world.height + 2 * MARGIN
    width = world.width + 2 * MARGIN
    base = random_colour(rng, saturation=(0.02, 0.25), value=(0.35, 0.75))
    spread = rng.uniform(0.05, 0.2)
    brightness = rng.standard_normal((5, 7, 1))
    tint = rng.standard_normal((5, 7, 3))
    blobs = (base * np.exp(spread * (brightness + 0.3 * tint))).astype(np.float32)
    planes = []
    for channel in range(3):
        plane = Image.fromarray(blobs[..., channel])
        planes.append(np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)))
    picture = np.stack(planes, -1)
    for _ in range(rng.integers(1, 5)):
        x, y = rng.integers(-20, width - 10), rng.integers(-10, height - 10)
        box_width, box_height = rng.integers(8, 60), rng.integers(8, 70)
        colour = base * np.exp(0.35 * rng.standard_normal() + 0.15 * rng.standard_normal(3))
        box = picture[max(y, 0) : y + box_height, max(x, 0) : x + box_width]
        box[:] = 0.25 * box + 0.75 * colour.astype(np.float32)
        box[:1] *= 0.5  # an edge in shadow
        box[:, -1:] *= 0.6
    picture *= 1 + 0.03 * rng.standard_normal((height, width, 1), np.float32)
    return np.clip(picture, 0.01, 1)


def draw_shake(rng: np.random.Generator, nuisance: Nuisance, times: np.ndarray) -> np.ndarray:
    """Hand-held camera shake at times [S] (s), px [S, 2]: two slow sinusoids an axis."""
    phases = rng.random((2, 2))
    slow = np.sin(2 * np.pi * (1.3 * times[:, None] + phases[0]))
    less_slow = np.sin(2 * np.pi * (3.1 * times[:, None] + phases[1]))
    return nuisance["shake"] * (slow + less_slow)


@njit(cache=True)
def film_background(
    background: np.ndarray, shake: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Bilinear crops float32 [S, H, W, 3] of a background, moved by a shake [S, 2] (px)."""
    n = 3 * width
    picture = background.reshape(height + 2 * MARGIN, -1)
    out = np.empty((len(shake), height, n), np.float32)
    for step in range(len(shake)):
        left, top = MARGIN - shake[step, 0], MARGIN - shake[step, 1]
        x0, y0 = int(left), int(top)
        fx, fy = F32(left - x0), F32(top - y0)
        weight_above = (F32(1) - fx) * (F32(1) - fy)
        weight_above_right = fx * (F32(1) - fy)
        weight_below = (F32(1) - fx) * fy
        weight_below_right = fx * fy
        for y in range(height):
            row = out[step, y]
            above = picture[y0 + y, 3 * x0 :]
            below = picture[y0 + y + 1, 3 * x0 :]
            above_right = above[3:]
            below_right = below[3:]
            for i in range(n):
                row[i] = (
                    weight_above * above[i]
                    + weight_above_right * above_right[i]
                    + weight_below * below[i]
                    + weight_below_right * below_right[i]
                )
    return out.reshape(len(shake), height, width, 3)


def capsule_rows(
    points: np.ndarray,
    first: np.ndarray | list[int],
    second: np.ndarray | list[int],
    radius0: np.ndarray,
    radius1: np.ndarray,
    colours: np.ndarray,
    stripes: np.ndarray | float,
) -> np.ndarray:
    """Capsules from a first to a second of the image points [S, M, 2], for `paint_capsules`.

    Returns float32 [S, n, 10]: x0, y0, r0, x1, y1, r1 (px), red, green, blue, stripes per px.
    """
    rows = np.empty((len(points), len(first), 10), np.float32)
    rows[..., 0:2] = points[:, first]
    rows[..., 2] = radius0
    rows[..., 3:5] = points[:, second]
    rows[..., 5] = radius1
    rows[..., 6:9] = colours
    rows[..., 9] = stripes
    return rows


@njit(cache=True)
def paint_capsules(out: np.ndarray, rows: np.ndarray) -> None:
    """Shaded tapered capsules on out [H, W, 3], in the order of their rows (see `capsule_rows`)."""
    height, width = out.shape[:2]
    for i in range(rows.shape[0]):
        x0, y0, r0, x1, y1, r1, _, _, _, stripes = rows[i]
        reach = max(r0, r1) + F32(1)
        dx, dy = x1 - x0, y1 - y0
        length2 = max(dx * dx + dy * dy, F32(1e-6))
        length = np.sqrt(length2)
        slant = F32(0)
        half = F32(width)  # of a row across the capsule
        if abs(dy) > F32(0.1):
            slant = dx / dy
            half = reach * length / abs(dy)
        top = max(0, int(min(y0, y1) - reach))
        bottom = min(height, int(max(y0, y1) + reach) + 2)
        for y in range(top, bottom):
            v = F32(y) - y0
            left = max(min(x0, x1) - reach, x0 + v * slant - half)
            right = min(max(x0, x1) + reach, x0 + v * slant + half)
            for x in range(max(0, int(left)), min(width, int(right) + 2)):
                u = F32(x) - x0
                s = min(max((u * dx + v * dy) / length2, F32(0)), F32(1))
                ox, oy = u - s * dx, v - s * dy
                r = r0 + s * (r1 - r0)
                distance2 = ox * ox + oy * oy
                if distance2 > (r + F32(0.5)) * (r + F32(0.5)):
                    continue
                cover = min(F32(1), r + F32(0.5) - np.sqrt(distance2))  # a pixel of anti-aliasing
                depth = np.sqrt(max(F32(0), F32(1) - distance2 / (r * r)))
                # light from the upper left front
                shade = F32(0.45) + F32(0.4) * depth - (F32(0.125) * ox + F32(0.2) * oy) / r
                if stripes > 0:
                    wave = np.sin(F32(6.2832) * stripes * s * length)
                    shade *= F32(0.75) + F32(0.25) * wave
                for k in range(3):
                    out[y, x, k] += cover * (rows[i, 6 + k] * shade - out[y, x, k])


@njit(cache=True, error_model="numpy")  # checks of the divisions would keep it from vectorising
def paint_card(
    out: np.ndarray, art: np.ndarray, inverse: np.ndarray, box: np.ndarray, shade: float
) -> None:
    """A rounded card on out [H, W, 3], within box (x0, y0, x1, y1).

    It is seen through the inverse homography float32 [3, 3] (image px -> art px).
    """
    art_h, art_w = art.shape[:2]
    half_w, half_h = F32(art_w / 2), F32(art_h / 2)
    corner = F32(9)  # px of the art
    left, right = max(0, box[0]), min(out.shape[1], box[2])
    # Where a row's pixels lie on the art, and how much of each the card covers.
    u = np.empty(max(0, right - left), np.float32)
    v, cover = np.empty_like(u), np.empty_like(u)
    for y in range(max(0, box[1]), min(out.shape[0], box[3])):
        row_u = inverse[0, 1] * F32(y) + inverse[0, 2]
        row_v = inverse[1, 1] * F32(y) + inverse[1, 2]
        row_w = inverse[2, 1] * F32(y) + inverse[2, 2]
        for i in range(u.size):  # a loop that a compiler can vectorise
            x = F32(left + i)
            w = F32(1) / (inverse[2, 0] * x + row_w)
            art_u = (inverse[0, 0] * x + row_u) * w
            art_v = (inverse[1, 0] * x + row_v) * w
            qx = max(abs(art_u - half_w) - half_w + corner, F32(0))
            qy = max(abs(art_v - half_h) - half_h + corner, F32(0))
            beyond = np.sqrt(qx * qx + qy * qy) - corner  # px outside the rounded outline
            cover[i] = min(F32(1), F32(0.5) - beyond / F32(1.5))
            u[i] = min(max(art_u - F32(0.5), F32(0)), F32(art_w - 1.001))
            v[i] = min(max(art_v - F32(0.5), F32(0)), F32(art_h - 1.001))
        row = out[y, left:]
        for i in range(u.size):
            if cover[i] <= 0:
                continue
            iu, iv = int(u[i]), int(v[i])
            fu, fv = u[i] - F32(iu), v[i] - F32(iv)
            for k in range(3):
                top = art[iv, iu, k] + fu * (art[iv, iu + 1, k] - art[iv, iu, k])
                low = art[iv + 1, iu, k] + fu * (art[iv + 1, iu + 1, k] - art[iv + 1, iu, k])
                row[i, k] += cover[i] * (shade * (top + fv * (low - top)) - row[i, k])
