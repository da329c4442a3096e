"""Speed of the event images on one core: `python benchmarks/event_images.py [number of events]`.

Prints events per second for each representation of a DAVIS346 stream, beside two NumPy baselines
that count events.
"""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import common
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from safe_companion import events, recordings

REPEATS = 5
SIZE = recordings.DAVIS346
WIDTH, HEIGHT = SIZE
REFERENCE = "baseline: np.bincount of flat indices"


def random_events(count: int, seed: int = 0) -> np.ndarray:
    """`count` events spread evenly over the sensor and one second; the worst case for caches."""
    rng = np.random.default_rng(seed)
    stream = np.empty(count, events.EVENT_DTYPE)
    stream["x"] = rng.integers(0, WIDTH, count)
    stream["y"] = rng.integers(0, HEIGHT, count)
    stream["t"] = np.arange(count) * 1_000_000 // count
    stream["p"] = rng.integers(0, 2, count)
    return stream


def best_time(function: Callable[[], object]) -> float:
    """Shortest of REPEATS runs in seconds, after one that compiles."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    stream = random_events(count)
    # Contiguous and flat beforehand: the baselines' best case.
    flat = (stream["p"].astype(np.int64) * HEIGHT + stream["y"]) * WIDTH + stream["x"]
    bins = 2 * HEIGHT * WIDTH
    tau = events.TIME_SURFACE_TAU_US
    cases: dict[str, Callable[[], object]] = {
        REFERENCE: lambda: np.bincount(flat, minlength=bins),
        "baseline: np.add.at of flat indices": lambda: np.add.at(np.zeros(bins, np.int32), flat, 1),
        "count_image": lambda: events.count_image(stream, SIZE),
        "voxel_grid, 3 bins": lambda: events.voxel_grid(stream, SIZE, 3),
        "time_surface": lambda: events.time_surface(stream, SIZE, tau),
    }
    for name in events.BACKGROUND:
        cases[f'event_image "{name}"'] = functools.partial(events.event_image, stream, SIZE, name)
    rates = {name: count / best_time(function) / 1e6 for name, function in cases.items()}
    print(f"{common.facts()}\n")
    print(f"{count:,} events on {WIDTH}x{HEIGHT}, one core, best of {REPEATS}\n")
    print("| | million events/s | relative to np.bincount |\n|---|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {rate / rates[REFERENCE]:.2f} |")


if __name__ == "__main__":
    main()
