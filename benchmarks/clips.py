"""CPU time of a training clip by part: `python benchmarks/clips.py hardvs ROOT [frames] [size]`.

Every part is the least of REPEATS runs of the same clip, averaged over the clips: other programs on
the machine disturb it little. A part includes the parts that it calls.
"""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common

import safe_core
from safe_companion import clips, datasets, readers, recordings

REPEATS = 8
CLIPS = 40
PARTS = [  # (where a function is looked up, its name, what it does)
    (
        clips,
        "read_recording",
        "read the recording (includes to find, inflate or decode, and check)",
    ),
    (recordings, "locate", "find its files"),
    (readers.READERS, ".npz", "inflate the events"),
    (readers.READERS, ".aedat4", "decode events and frames"),
    (recordings, "checked_events", "check the events"),
    (clips, "read_image", "decode the frames"),
    (clips, "event_image", "paint the event images"),
    (clips, "stack_images", "crop, resize and stack"),
]


def timed(function: Callable, name: str, spent: dict[str, float]) -> Callable:
    """The function, which adds the seconds that it takes to spent[name]."""

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **options)
        finally:
            spent[name] = spent.get(name, 0) + time.process_time() - start

    return wrapper


def main() -> None:
    dataset, root = sys.argv[1:3]
    frames, image_size = (int(value) for value in (sys.argv[3:5] or (4, 96)))
    fields: dict[str, Any] = {"data_root": root, "frames": frames, "image_size": image_size}
    train = datasets.open_dataset(safe_core.configure(dataset=dataset, **fields)).train
    spent: dict[str, float] = {}
    for home, name, part in PARTS:
        place = home if isinstance(home, dict) else vars(home)
        place[name] = timed(place[name], part, spent)
    clip = timed(train.__getitem__, "clip, all in all", spent)
    count = min(CLIPS, len(train))
    least: dict[tuple[str, int], float] = {}
    for _ in range(REPEATS):
        for index in range(count):
            spent.clear()
            clip(index)
            for part, seconds in spent.items():
                least[part, index] = min(least.get((part, index), seconds), seconds)
    print(f"{common.facts()}\n")
    print(f"{count} clips of {frames} frames, {image_size} pixels, {dataset}\n")
    print("| part | ms per clip |\n|---|---:|")
    measured = {part for part, _ in least}
    for part in [*(part for *_, part in PARTS if part in measured), "clip, all in all"]:
        total = sum(least.get((part, i), 0) for i in range(count))
        print(f"| {part} | {total / count * 1e3:.2f} |")


if __name__ == "__main__":
    main()
