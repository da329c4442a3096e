"""What do an RGB camera and an event camera make of the same light?

- RGB: electrons integrated over an exposure, shot and read noise, limited gain, gamma, 8 bits;
- events: contrast threshold on log intensity with per-pixel mismatch, leak, shot noise and
  refractory time, time stamps interpolated between rendered steps (ESIM, Rebecq et al. 2018; v2e,
  Hu et al. 2021).
"""

import numpy as np
from numba import njit

from safe_companion.events import EVENT_DTYPE
from safe_companion.sample.world import F32, WORLD, World

FULL_SCALE = 4095  # of a 12-bit converter
GAMMA = (255 * np.linspace(0, 1, FULL_SCALE + 1) ** (1 / 2.2) + 0.5).astype(np.uint8)


@njit(cache=True)
def luminance_of(light: np.ndarray) -> np.ndarray:
    """Rec. 709 luminance of linear light, float32 [S, H, W]; twice as fast as a matrix product."""
    out = np.empty(light.shape[:3], np.float32)
    colours = light.reshape(-1, 3)
    values = out.reshape(-1)
    for i in range(values.size):
        red, green, blue = colours[i, 0], colours[i, 1], colours[i, 2]
        values[i] = F32(0.2126) * red + F32(0.7152) * green + F32(0.0722) * blue
    return out


# ------------------------------------------------------------------------------------ event camera
@njit(cache=True)
def _cross_thresholds(
    log_light: np.ndarray,
    on: np.ndarray,
    off: np.ndarray,
    reference: np.ndarray,
    step_us: int,
    t: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    p: np.ndarray,
) -> int:
    """Write the events of `threshold_events` as far as the output arrays reach; their number."""
    n = 0
    level = reference.copy()
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
                        part = 0.0  # of the step that has gone by at the crossing
                        if after != before:
                            part = (level[row, column] - before) / (after - before)
                        t[n] = (k - 1) * step_us + int(min(max(part, 0.0), 1.0) * step_us)
                        x[n] = column
                        y[n] = row
                        p[n] = change > 0
                    n += 1
    return n


def threshold_events(
    log_light: np.ndarray,
    on: np.ndarray,
    off: np.ndarray,
    reference: np.ndarray,
    step_us: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Contrast-threshold events (ESIM, Rebecq et al. 2018, Sec. 3; v2e, Hu et al. 2021).

    log_light float32 [S, H, W]: log intensity at S instants, step_us (us) apart; on, off float32
    [H, W]: thresholds in log intensity; reference float32 [H, W]: each pixel's log intensity at its
    last event. Returns t int64 (us), x, y uint16, p uint8 (1 ON, 0 OFF), step by step, not sorted
    within a step. Log intensity is taken as linear between two instants, so the k-th crossing gets
    a time stamp of its own.
    """
    room = 1 << 17  # an array that grows inside the loop would make it forty times slower
    while True:
        t = np.empty(room, np.int64)
        x = np.empty(room, np.uint16)
        y = np.empty(room, np.uint16)
        p = np.empty(room, np.uint8)
        n = _cross_thresholds(log_light, on, off, reference, step_us, t, x, y, p)
        if n <= room:
            return t[:n], x[:n], y[:n], p[:n]
        room = n


@njit(cache=True)
def refractory_mask(
    t: np.ndarray, x: np.ndarray, y: np.ndarray, width: int, height: int, refractory_us: int
) -> np.ndarray:
    """bool [n]: False for events less than refractory_us after their pixel's last kept one.

    The events (t in us) are sorted by t.
    """
    last = np.full((height, width), -(1 << 60), np.int64)
    keep = np.zeros(t.size, np.bool_)
    for i in range(t.size):
        if t[i] - last[y[i], x[i]] >= refractory_us:
            last[y[i], x[i]] = t[i]
            keep[i] = True
    return keep


def record_events(
    luminance: np.ndarray,
    *,
    illumination: float,
    threshold: float,
    noise_hz: float,
    rng: np.random.Generator,
    world: World = WORLD,
) -> np.ndarray:
    """Event stream (EVENT_DTYPE, sorted by t) of linear luminance float32 [S, H, W] (1 = white).

    threshold: mean log-intensity step per event. The leak is a slow ramp of the log intensity (v2e,
    Sec. 4.2); shot noise is a Poisson process per pixel of noise_hz.
    """
    steps, height, width = luminance.shape
    duration_us = (steps - 1) * world.step_us
    # The illumination is a factor, which the logarithm makes a constant: only differences count.
    log_light = luminance + F32(world.glare + world.dark_light / illumination)
    np.log(log_light, out=log_light)
    leak = np.arange(steps) * (world.leak_hz * threshold * world.step_us * 1e-6)
    log_light += leak.astype(np.float32)[:, None, None]
    mismatch = 1 + world.threshold_mismatch * rng.standard_normal((2, height, width), np.float32)
    on, off = F32(threshold) * np.clip(mismatch, 0.4, 2)
    # Pixels start anywhere between two events, else all of them would fire together.
    reference = log_light[0] + (rng.random((height, width), np.float32) - F32(0.5)) * on
    t, x, y, p = threshold_events(log_light, on, off, reference, world.step_us)

    noise = rng.poisson(noise_hz * height * width * (steps - 1) * world.step_us * 1e-6)
    t = np.concatenate([t, rng.integers(0, duration_us, noise)])
    x = np.concatenate([x, rng.integers(0, width, noise, np.uint16)])
    y = np.concatenate([y, rng.integers(0, height, noise, np.uint16)])
    p = np.concatenate([p, rng.integers(0, 2, noise, np.uint8)])

    # a stable argsort, at a fifth of its time
    order = np.sort(t * t.size + np.arange(t.size)) % max(t.size, 1)
    kept = refractory_mask(t[order], x[order], y[order], width, height, world.refractory_us)
    order = order[kept]
    events = np.empty(order.size, EVENT_DTYPE)
    events["t"] = t[order]
    events["x"] = x[order]
    events["y"] = y[order]
    events["p"] = p[order]
    return events


# -------------------------------------------------------------------------------------- RGB camera
@njit(cache=True)
def _develop(
    light: np.ndarray,
    noise: np.ndarray,
    column_noise: np.ndarray,
    white: np.float32,
    read_variance: np.float32,
    gain: np.float32,
) -> np.ndarray:
    """8-bit rows [H, 3 W] of light [S, H, 3 W]; column loops a compiler can vectorise."""
    steps, height, width = light.shape
    out = np.empty((height, width), np.uint8)
    value = np.empty(width, np.float32)
    for y in range(height):
        value[:] = light[0, y]
        for step in range(1, steps):
            for i in range(width):
                value[i] += light[step, y, i]
        for i in range(width):
            electrons = value[i] * white
            electrons += noise[y, i] * np.sqrt(electrons + read_variance) + column_noise[i]
            value[i] = min(max(electrons * gain, F32(0)), F32(FULL_SCALE))
        for i in range(width):
            out[y, i] = GAMMA[int(value[i])]
    return out


def expose(
    light: np.ndarray,
    *,
    illumination: float,
    noise: np.ndarray,
    column_noise: np.ndarray,
    world: World = WORLD,
) -> np.ndarray:
    """One RGB frame, uint8 [H, W, 3], from linear light float32 [S, H, W, 3] (1 = white).

    Electrons add up over the exposure of S steps; shot and read noise are the standard normals
    `noise` float32 [H, W, 3] times their standard deviation, column_noise float32 [W] is in e-;
    auto-gain aims at full range but is limited.
    """
    steps, height, width, _ = light.shape
    white = world.white_electrons * illumination * steps
    gain = FULL_SCALE * min(1 / white, world.max_gain)
    rows = _develop(
        light.reshape(steps, height, -1),
        noise.reshape(height, -1),
        np.repeat(column_noise, 3),
        F32(white / steps),
        F32(world.read_noise**2),
        F32(gain),
    )
    return rows.reshape(height, width, 3)
