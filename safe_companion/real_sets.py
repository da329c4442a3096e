"""How do published event recordings become a folder of recordings, and which are for the test?

Of each set one function, from the parts of its clones that are there and whole:

- nmnist-pairs: N-MNIST recordings, each beside the MNIST image that the event camera looked at. It
  is the stimulus, not a frame of a camera; it is darkened and blurred as a camera of the sample
  world would see it at a stated light;
- biolab: event images of 100 ms of objects on a turntable, trained on one session and tested on
  another, so that no piece of a take is on both sides;
- biolab-events: the same as event streams, where those of both sessions are published.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from safe_companion.converting import write_npz
from safe_companion.events import OFF_COLOUR, ON_COLOUR, count_image
from safe_companion.lists import split_off
from safe_companion.recordings import Recording, read_image, read_recording
from safe_companion.sample import WORLD, expose
from safe_companion.wording import counted

PIECE_US = 100_000  # of a take: what BioLab's own event images hold
PIECES = 300  # of a take of session 1, as many as there are event images
TUNED_ON = 200  # the first of them, where recipes are chosen; the next 10 are left out
TEST_SHARE = 0.4  # of N-MNIST's recordings, and of those for training where recipes are chosen
# Where the digit stands in N-MNIST's 34 x 34 pixels at the start of each of the three movements,
# and at the end: (x, y), by the mean position of the events of the 1,000 recordings.
PATH = ((0, 2), (3, 6), (6, 2), (0, 2))
BLURRED_OVER = 5  # steps of the sample's cameras, of 22 ms, that one movement takes
SIDE = 34  # px, N-MNIST's


class Part(NamedTuple):
    """Published files that belong together, with the sum by which they are known."""

    clone: str
    role: str
    class_name: str
    paths: tuple[str, ...]  # in the clone
    sha256: str  # of what `sha256sum PATH ...` prints for them, sorted by path


class How(NamedTuple):
    """What can be chosen. light: of the stimulus, 1 is a bright room; tuning: no test recording."""

    light: float = 1.0
    tuning: bool = False


Whole = dict[Part, list[Path]]  # parts that are there and as they were published
Items = dict[str, list[tuple[str, int]]]  # {"train": [(recording, label)], "test": ...}


def classes_of(parts: Whole, role: str) -> list[str]:
    """The classes that have a part of this role, in the order of the table of sources."""
    return list(dict.fromkeys(part.class_name for part in parts if part.role == role))


def files_of(parts: Whole, role: str, class_name: str) -> list[Path]:
    """The files of a part, none if it is not there."""
    for part, files in parts.items():
        if (part.role, part.class_name) == (role, class_name):
            return files
    return []


# ---------------------------------------------------------------- N-MNIST beside its stimulus


def exposure_steps(light: float) -> int:
    """How many of BLURRED_OVER steps the stimulus is exposed for at a light (1: a bright room)."""
    return int(np.clip(round((WORLD.exposure_knee / light) ** 0.5), 1, BLURRED_OVER))


def blur_px(light: float) -> float:
    """How far the digit moves during an exposure at a light, px, mean of the three movements."""
    ways = np.linalg.norm(np.diff(PATH, axis=0), axis=1)
    return float(ways.mean() * (exposure_steps(light) - 1) / BLURRED_OVER)


def stimulus_frames(image: np.ndarray, light: float, rng: np.random.Generator) -> np.ndarray:
    """The image as a camera of the sample world sees it, once a movement: uint8 [3, 34, 34, 3].

    image: uint8 [28, 28], white on black. light: relative to a bright room. Exposure, noise and
    gain are the sample's rules; during the exposure the image moves as the event camera did. The
    draws depend on rng alone, so that two lights of one recording differ by the light.
    """
    screen = np.zeros((SIDE, SIDE), np.float32)
    screen[:28, :28] = (image / np.float32(255)) ** 2.2  # linear light
    steps = exposure_steps(light)
    column_noise = WORLD.column_noise * rng.standard_normal(SIDE).astype(np.float32)
    frames = []
    for start, end in zip(PATH, PATH[1:], strict=False):
        noise = rng.standard_normal((SIDE, SIDE, 3), np.float32)
        shown = []
        for step in range(steps):
            x, y = np.add(start, np.subtract(end, start) * step / BLURRED_OVER)
            shown.append(ndimage.shift(screen, (y, x), order=1))
        colours = np.repeat(np.stack(shown)[..., None], 3, axis=3)
        frames.append(expose(colours, illumination=light, noise=noise, column_noise=column_noise))
    return np.stack(frames)


def write_pairs(parts: Whole, out: Path, how: How) -> Items:
    """N-MNIST: CLASS/NUMBER_stimulus/ with events and three images; CLASS/NUMBER.npz without."""
    items = []
    for label, name in enumerate(classes_of(parts, "events")):
        images = files_of(parts, "stimulus", name)
        for i, file in enumerate(files_of(parts, "events", name)):
            recording = read_recording(file)
            place = out / name / f"{int(file.stem):04d}"
            if images:
                rng = np.random.default_rng([2311, 18592, int(file.stem)])
                image = np.asarray(read_image(str(images[i])).convert("L"))
                # without times: they are not taken by a camera, and cover the stream evenly
                recording.frame_sources = list(stimulus_frames(image, how.light, rng))
                place = place.with_name(f"{place.name}_stimulus")
            write_npz(recording, place, file.name)
            items.append((f"{name}/{place.name}", label))
    test, train = split_off(items, TEST_SHARE, seed=0, leave=1)
    if how.tuning:
        test, train = split_off(train, TEST_SHARE, seed=1, leave=1)
    return {"train": train, "test": test}


# ---------------------------------------------------------------- objects on a turntable


def pieces(recording: Recording, most: int | None = None) -> list[np.ndarray]:
    """The events of a take in whole pieces of PIECE_US, from its first event on; `most` at most."""
    events = np.asarray(recording.events)
    count = int(events["t"][-1] + 1 - events["t"][0]) // PIECE_US
    count = count if most is None else min(count, most)
    edges = events["t"][0] + PIECE_US * np.arange(count + 1)
    return np.split(events, np.searchsorted(events["t"], edges))[1:-1]


def net_signs(events: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """1 where more events are ON, -1 where more are OFF, else 0: int [H, W].

    Of the raw recordings this gives BioLab's own event images: 1, -1 and 0 are 255, 0 and 128.
    """
    on, off = count_image(events, size)
    return np.sign(on - off)


def coloured(signs: np.ndarray) -> np.ndarray:
    """Signs [H, W] in the colours of event_representation="authors": uint8 [H, W, 3]."""
    image = np.full((*signs.shape, 3), 255, np.uint8)
    image[signs > 0] = ON_COLOUR
    image[signs < 0] = OFF_COLOUR
    return image


def _numbers(how: How) -> dict[str, range]:
    """The pieces of a take of session 1, by what they are for where recipes are chosen."""
    if how.tuning:
        return {"train": range(1, TUNED_ON + 1), "test": range(TUNED_ON + 11, PIECES + 1)}
    return {"train": range(1, PIECES + 1)}


def _write_sessions(
    parts: Whole,
    how: How,
    first: Callable[[str, int], None],
    second: Callable[[str], int],
) -> Items:
    """Writes session 1 piece by piece, then, unless for tuning, session 2; the lists of both."""
    found: Items = {"train": [], "test": []}
    names = [name for name in classes_of(parts, "train") if files_of(parts, "test", name)]
    for label, name in enumerate(names):
        for split, numbers in _numbers(how).items():
            for number in numbers:
                first(name, number)
                found[split].append((f"{name}/session1_{number:03d}", label))
        if not how.tuning:
            count = second(name)
            found["test"] += [(f"{name}/session2_{i:03d}", label) for i in range(1, count + 1)]
    return found


def write_images(parts: Whole, out: Path, how: How) -> Items:
    """biolab: CLASS/sessionN_NUMBER/ with one stored event image of 100 ms."""

    def write(name: str, recording: str, signs: np.ndarray) -> None:
        folder = out / name / recording / f"{recording}_dvs"
        folder.mkdir(parents=True)
        Image.fromarray(coloured(signs)).save(folder / "00000000.png")

    def first(name: str, number: int) -> None:
        grey = np.asarray(read_image(str(files_of(parts, "train", name)[number - 1])).convert("L"))
        write(name, f"session1_{number:03d}", np.sign(grey.astype(int) - 128))

    def second(name: str) -> int:
        take = read_recording(files_of(parts, "test", name)[0])
        cut = pieces(take)
        for number, events in enumerate(cut, start=1):
            write(name, f"session2_{number:03d}", net_signs(events, take.size))
        return len(cut)

    return _write_sessions(parts, how, first, second)


def write_streams(parts: Whole, out: Path, how: How) -> Items:
    """biolab-events: CLASS/sessionN_NUMBER.npz, the events of 100 ms."""
    cut: dict[str, list[np.ndarray]] = {}

    def write(name: str, recording: str, events: np.ndarray, take: Recording) -> None:
        place = out / name / recording
        write_npz(Recording(recording, place, take.size, events), place, str(take.path.name))

    def first(name: str, number: int) -> None:
        take = read_recording(files_of(parts, "train", name)[0])
        if name not in cut:
            cut[name] = pieces(take, PIECES)
        write(name, f"session1_{number:03d}", cut[name][number - 1], take)

    def second(name: str) -> int:
        take = read_recording(files_of(parts, "test", name)[0])
        events_of = pieces(take)
        for number, events in enumerate(events_of, start=1):
            write(name, f"session2_{number:03d}", events, take)
        return len(events_of)

    return _write_sessions(parts, how, first, second)


WRITERS: dict[str, Callable[[Whole, Path, How], Items]] = {
    "nmnist-pairs": write_pairs,
    "biolab": write_images,
    "biolab-events": write_streams,
}


# ---------------------------------------------------------------- lists


def write_lists(out: Path, items: Items, frames: int) -> list[str]:
    """classes.txt, train_label.txt and test_label.txt; the class names. ValueError: too few."""
    names = list(dict.fromkeys(item.partition("/")[0] for item, _ in items["train"]))
    if len(names) < 2 or not items["test"]:
        shutil.rmtree(out)
        raise ValueError(
            f"{out.name}: found {counted(len(names), 'class', 'classes')} with recordings of both "
            "lists; expected two or more. Get the files that are absent."
        )
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for split, listed in items.items():
        lines = [f"{name} {frames} {label}\n" for name, label in listed]
        (out / f"{split}_label.txt").write_text("".join(lines), encoding="utf-8")
    return names


def frames_of(name: str) -> int:
    """Images of a recording of a set, as its lists say."""
    return {"nmnist-pairs": len(PATH) - 1, "biolab": 1}.get(name, 0)


def write_features(parts: Whole, out: Path, known_as: Sequence[tuple[str, str]]) -> bool:
    """clip_names.npz: CLIP's features of the class names, by Detic; False if they are not there.

    known_as: [(class name, its name in LVIS)].
    """
    features, about = files_of(parts, "features", ""), files_of(parts, "names", "")
    if not features or not about:
        return False
    categories = json.loads(about[0].read_text(encoding="utf-8"))
    row_of = {category["name"]: category["id"] - 1 for category in categories}
    rows = np.load(features[0], allow_pickle=False)[[row_of[lvis] for _, lvis in known_as]]
    with open(out / "clip_names.npz", "wb") as file:
        np.savez(file, features=rows, names=np.array([name for name, _ in known_as]))
    return True
