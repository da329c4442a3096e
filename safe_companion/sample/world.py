"""How hard is the sample world, and for which modality?

`World` holds every knob; `draw_nuisance` draws what makes one recording hard.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

F32 = np.float32  # in the kernels a plain literal would lift the arithmetic to float64
Range = tuple[float, float]


@dataclass(frozen=True)
class World:
    """Every difficulty knob. Ranges are (low, high), drawn uniformly unless a comment says else."""

    width: int = 173  # px; half a DAVIS346
    height: int = 130  # px
    frames: int = 9  # RGB frames per recording
    steps_per_frame: int = 5  # rendered steps per frame interval; also the longest exposure
    step_us: int = 22_000  # us between rendered steps: 9 * 5 * 22 ms = 0.99 s
    # which modality has a hard time
    illumination: Range = (1e-4, 1.0)  # relative to a bright room; log-uniform
    dark_below: float = 1.6e-3  # darkest 30 % of that range: RGB is lost, so events stay easy there
    p_event_hard: float = 0.48  # of the others: about a third of all recordings
    p_fast: float = 0.10  # of the others: fast motion and a full-interval exposure, heavy RGB blur
    speed: Range = (0.6, 1.3)  # motion cycles per second
    speed_fast: Range = (2.4, 3.4)  # cycles per second: a third of a cycle per exposure
    speed_slow: Range = (0.02, 0.06)  # cycles per second: nearly still
    isoluminance: Range = (0.93, 1.0)  # share of log-luminance contrast that such a scene loses
    clutter_noise_hz: Range = (1.5, 3.0)  # events / s / px of a noisy event sensor
    # RGB camera
    white_electrons: float = 2500.0  # e- in a step's exposure of a white surface at illumination 1
    read_noise: float = 15.0  # e- rms; also the reason why 1e-3 illumination is lost
    column_noise: float = 3.0  # e- rms, fixed over a recording: averaging frames keeps it
    max_gain: float = 1 / 60  # 1 / e-; auto-gain cannot lift a darker image to full range
    exposure_knee: float = 0.1  # relative illumination below which exposures exceed one step
    # event camera
    threshold: float = 0.45  # log-intensity step per event
    card_threshold: float = 1.4  # for cards, whose printed edges would make events all too easy
    threshold_mismatch: float = 0.12  # relative standard deviation from pixel to pixel
    refractory_us: int = 2_000  # us
    leak_hz: float = 0.1  # spontaneous ON events / s / px
    noise_hz: Range = (0.1, 0.7)  # shot-noise events / s / px at full illumination, at the lowest
    glare: float = 0.03  # share of white light scattered in the lens: black is never quite black
    dark_light: float = 1e-5  # dark current as relative intensity: lowers contrast in the dark
    # viewpoint
    figure_px: Range = (98.0, 118.0)  # body height
    yaw_deg: Range = (-22.0, 22.0)
    tilt_deg: Range = (-8.0, 10.0)
    shake_px: Range = (0.0, 0.7)  # amplitude of hand-held camera shake
    card_px: Range = (62.0, 84.0)  # card width; the height is 1.4 times that
    card_turn_deg: Range = (-25.0, 25.0)


WORLD = World()


class Nuisance(TypedDict):
    """What makes one recording hard, independent of its class."""

    hard_for: str  # "rgb", "events" or "neither"
    cause: str  # "none", "dark", "fast", "slow", "isoluminant" or "noisy"
    illumination: float  # relative to a bright room
    speed: float  # motion cycles per second
    exposure_steps: int  # rendered steps that one RGB frame is exposed for
    isoluminance: float  # share of log-luminance contrast removed from the scene
    noise_hz: float  # shot-noise events / s / px
    shake: float  # px, amplitude of the camera's shake


HARD_FOR = {
    "none": "neither",
    "dark": "rgb",
    "fast": "rgb",
    "slow": "events",
    "isoluminant": "events",
    "noisy": "events",
}


def draw_nuisance(rng: np.random.Generator, *, world: World = WORLD) -> Nuisance:
    """What makes a recording hard, drawn independently of the class."""
    illumination = float(np.exp(rng.uniform(*np.log(world.illumination))))
    lot = rng.random()
    cause = "none"
    if illumination < world.dark_below:
        cause = "dark"
    elif lot < world.p_event_hard:
        cause = str(rng.choice(["slow", "isoluminant", "noisy"]))
    elif lot < world.p_event_hard + world.p_fast:
        cause = "fast"

    speed_range = world.speed
    if cause == "slow":
        speed_range = world.speed_slow
    elif cause == "fast":
        speed_range = world.speed_fast
    speed = rng.uniform(*speed_range)

    exposure = world.steps_per_frame
    if cause != "fast":
        exposure = round((world.exposure_knee / illumination) ** 0.5)

    isoluminance = 0.0
    if cause == "isoluminant":
        isoluminance = rng.uniform(*world.isoluminance)

    if cause == "noisy":
        noise_hz = rng.uniform(*world.clutter_noise_hz)
    else:
        log_range = np.log(world.illumination)
        noise_hz = float(np.interp(np.log(illumination), log_range, world.noise_hz[::-1]))

    shake = rng.uniform(*world.shake_px)
    if cause == "slow":
        shake *= 0.1
    return {
        "hard_for": HARD_FOR[cause],
        "cause": cause,
        "illumination": illumination,
        "speed": speed,
        "exposure_steps": int(np.clip(exposure, 1, world.steps_per_frame)),
        "isoluminance": isoluminance,
        "noise_hz": noise_hz,
        "shake": shake,
    }
