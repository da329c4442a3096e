"""What does a recording of one class look like? Scene, light, cameras: films, without files."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypedDict

import numpy as np

from safe_companion.sample.actions import ACTIONS, film_action
from safe_companion.sample.animals import ANIMALS
from safe_companion.sample.cameras import expose, luminance_of, record_events
from safe_companion.sample.cards import RANKS, film_card
from safe_companion.sample.squares import PAIRS, UNSEEN, draw_steady, film_squares
from safe_companion.sample.world import F32, WORLD, Nuisance, World, draw_nuisance

CLASSES = {"hardvs": list(ACTIONS), "pokerevent": RANKS + list(ANIMALS), "conjunctions": PAIRS}
SCENES = {"hardvs": film_action, "pokerevent": film_card, "conjunctions": film_squares}
DATASET_IDS = {"hardvs": 1, "pokerevent": 2, "conjunctions": 3}
SPLIT_IDS = {"train": 1, "test": 2, "frames": 3, "pairs": 4}  # the last two: for pre-training


class Truth(Nuisance):
    """A `Nuisance`, and what else is known of a recording beside its class."""

    blur_px: float  # mean way of a moving point during an exposure
    white_electrons: float  # e- that a white surface gives during an exposure
    events: int  # number of events


class Film(TypedDict):
    """A simulated recording."""

    events: np.ndarray  # EVENT_DTYPE, sorted by t
    frames: np.ndarray  # uint8 [N, H, W, 3], RGB
    frame_t: np.ndarray  # int64 [N], us, start of the exposure
    truth: Truth  # JSON-ready


def check_dataset(dataset: str) -> None:
    """Raises ValueError for a data set that has no sample."""
    if dataset not in CLASSES:
        raise ValueError(f"unknown data set {dataset!r}: expected one of {sorted(CLASSES)}")


def trained_labels(dataset: str) -> list[int]:
    """The classes of the training list: all, but for the conjunctions that it never shows."""
    unseen = UNSEEN if dataset == "conjunctions" else []
    return [label for label in range(len(CLASSES[dataset])) if label not in unseen]


def stream(
    dataset: str, split: str, label: int, index: int, *, seed: int
) -> np.random.SeedSequence:
    """The random stream of one recording (or, of the split "frames", of one single frame)."""
    entropy = [seed, DATASET_IDS[dataset], SPLIT_IDS[split], label, index]
    return np.random.SeedSequence(entropy)


def _film_light(
    dataset: str,
    label: int,
    rng: np.random.Generator,
    nuisance: Nuisance,
    *,
    instants: int,
    world: World,
) -> tuple[np.ndarray, np.ndarray]:
    """Linear light float32 [S, H, W, 3] at S instants, and the moving image points [S, M, 2]."""
    times = np.arange(instants) * world.step_us * 1e-6
    light, points = SCENES[dataset](label, rng, nuisance, times, world)
    if nuisance["isoluminance"] > 0:
        luminance = luminance_of(light)
        level = np.exp(np.log(luminance[0]).mean())
        light *= ((level / luminance) ** F32(nuisance["isoluminance"]))[..., None]
    return light, points


def _draw_nuisance(dataset: str, label: int, rng: np.random.Generator, world: World) -> Nuisance:
    if dataset == "conjunctions":
        return draw_steady(label, rng)
    return draw_nuisance(rng, world=world)


def _draw_column_noise(rng: np.random.Generator, world: World) -> np.ndarray:
    """float32 [W], e-."""
    return F32(world.column_noise) * rng.standard_normal(world.width, np.float32)


def simulate(
    dataset: str,
    label: int,
    rng_seed_sequence: np.random.SeedSequence,
    *,
    world: World = WORLD,
) -> Film:
    """Film one recording of class `label` (dense, see `CLASSES`).

    Raises ValueError for a data set that has no sample.
    """
    check_dataset(dataset)
    rng = np.random.default_rng(rng_seed_sequence)
    nuisance = _draw_nuisance(dataset, label, rng, world)
    illumination = nuisance["illumination"]
    exposure = nuisance["exposure_steps"]
    instants = world.frames * world.steps_per_frame + 1
    light, points = _film_light(dataset, label, rng, nuisance, instants=instants, world=world)

    column_noise = _draw_column_noise(rng, world)
    # Each frame takes rows of its own from one sheet of noise: drawing costs more than rendering.
    sheet = rng.standard_normal((2 * world.height, world.width, 3), np.float32)
    tops = rng.permutation(world.height)
    starts = np.arange(world.frames) * world.steps_per_frame
    frames = []
    for start, top in zip(starts, tops[: world.frames], strict=True):
        frame = expose(
            light[start : start + exposure],
            illumination=illumination,
            noise=sheet[top : top + world.height],
            column_noise=column_noise,
            world=world,
        )
        frames.append(frame)

    events = record_events(
        luminance_of(light),
        illumination=illumination,
        noise_hz=nuisance["noise_hz"],
        threshold=world.card_threshold if dataset == "pokerevent" else world.threshold,
        rng=rng,
        world=world,
    )
    truth: Truth = {
        **nuisance,
        "blur_px": np.linalg.norm(np.diff(points, axis=0), axis=-1).mean() * exposure,
        "white_electrons": world.white_electrons * illumination * exposure,
        "events": len(events),
    }
    return {
        "events": events,
        "frames": np.stack(frames),
        "frame_t": starts * world.step_us,
        "truth": truth,
    }


def _render_chunk(
    dataset: str, seed: int, labels: np.ndarray, first: int, world: World
) -> np.ndarray:
    """Frames uint8 [n, H, W, 3] for the pre-training draws first, first + 1, ..."""
    images = np.empty((len(labels), world.height, world.width, 3), np.uint8)
    for i, label in enumerate(labels.tolist()):
        rng = np.random.default_rng(stream(dataset, "frames", label, first + i, seed=seed))
        nuisance = _draw_nuisance(dataset, label, rng, world)
        instants = nuisance["exposure_steps"]
        light, _ = _film_light(dataset, label, rng, nuisance, instants=instants, world=world)
        column_noise = _draw_column_noise(rng, world)
        images[i] = expose(
            light,
            illumination=nuisance["illumination"],
            noise=rng.standard_normal(images[i].shape, np.float32),
            column_noise=column_noise,
            world=world,
        )
    return images


def render_frames(
    dataset: str, labels: Sequence[int] | np.ndarray, *, seed: int, world: World = WORLD
) -> np.ndarray:
    """Single RGB frames uint8 [n, H, W, 3] for pre-training, one for each of n labels.

    Each is taken at a random phase of the motion. Nuisances are drawn as in recordings of `world`,
    from a seed stream that no recording uses. Two processes when n > 500.

    Raises ValueError for a data set that has no sample.
    """
    check_dataset(dataset)
    labels = np.asarray(labels, np.int64)
    if len(labels) <= 500:
        return _render_chunk(dataset, seed, labels, 0, world)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(_render_chunk, dataset, seed, labels[first : first + 250], first, world)
            for first in range(0, len(labels), 250)
        ]
        return np.concatenate([job.result() for job in jobs])
