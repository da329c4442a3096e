"""CPU time of a training clip by part: `python benchmarks/clips.py hardvs ROOT [frames] [image size]`.

Every part is the least of REPEATS runs of the same clip, averaged over the clips: other programs on the machine
disturb it little. A part includes the parts that it calls.
"""

import functools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import safe_data  # noqa: E402

REPEATS, CLIPS = 8, 40
PARTS = {"read_recording": "read the recording (includes the next four)", "_locate": "find its files",
         "_read_npz": "inflate the events", "_read_aedat4": "decode events and frames",
         "_checked_events": "check the events", "_image": "decode the frames", "event_image": "paint the event images"}


def timed(function, name, spent):
    @functools.wraps(function)
    def wrapper(*args, **options):
        start = time.process_time()
        try:
            return function(*args, **options)
        finally:
            spent[name] = spent.get(name, 0) + time.process_time() - start

    return wrapper


def main():
    dataset, root = sys.argv[1:3]
    frames, image_size = (int(value) for value in (sys.argv[3:5] or (4, 96)))
    train = safe_data.open_dataset(dataset=dataset, data_root=root, frames=frames, image_size=image_size).train
    spent, least = {}, {}
    for name, part in PARTS.items():
        setattr(safe_data, name, timed(getattr(safe_data, name), part, spent))
    safe_data.ClipDataset._stack = timed(safe_data.ClipDataset._stack, "crop, resize and stack", spent)
    clip = timed(train.__getitem__, "clip, all in all", spent)
    count = min(CLIPS, len(train))
    for _ in range(REPEATS):
        for index in range(count):
            spent.clear()
            clip(index)
            for part, seconds in spent.items():
                least[part, index] = min(least.get((part, index), seconds), seconds)
    print(f"{count} clips of {frames} frames, {image_size} pixels, {dataset}\n\n| part | ms per clip |\n|---|---:|")
    for part in dict.fromkeys(part for part, _ in least):
        print(f"| {part} | {sum(least.get((part, i), 0) for i in range(count)) / count * 1e3:.2f} |")


if __name__ == "__main__":
    main()
