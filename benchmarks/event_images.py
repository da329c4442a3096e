"""Speed of the event images on one core: `python benchmarks/event_images.py [number of events]`.

Prints events per second for each representation of a DAVIS346 stream, beside two NumPy baselines that
count events.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import safe_data  # noqa: E402

REPEATS = 5
WIDTH, HEIGHT = SIZE = safe_data.DAVIS346


def random_events(count, seed=0):
    """`count` events spread evenly over the sensor and one second; the worst case for caches."""
    rng = np.random.default_rng(seed)
    events = np.empty(count, safe_data.EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)
    events["t"], events["p"] = np.arange(count) * 1_000_000 // count, rng.integers(0, 2, count)
    return events


def best_time(function):
    """Shortest of REPEATS runs in seconds, after one that compiles."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    events = random_events(count)
    # Contiguous and flat beforehand: the baselines' best case.
    flat = (events["p"].astype(np.int64) * HEIGHT + events["y"]) * WIDTH + events["x"]
    bins = 2 * HEIGHT * WIDTH
    cases = {"baseline: np.bincount of flat indices": lambda: np.bincount(flat, minlength=bins),
             "baseline: np.add.at of flat indices": lambda: np.add.at(np.zeros(bins, np.int32), flat, 1),
             "count_image": lambda: safe_data.count_image(events, SIZE),
             "voxel_grid, 3 bins": lambda: safe_data.voxel_grid(events, SIZE, 3),
             "time_surface": lambda: safe_data.time_surface(events, SIZE, safe_data.TIME_SURFACE_TAU_US)}
    for name in safe_data.REPRESENTATIONS:
        cases[f'event_image "{name}"'] = lambda name=name: safe_data.event_image(events, SIZE, name)
    rates = {name: count / best_time(function) / 1e6 for name, function in cases.items()}
    reference = rates["baseline: np.bincount of flat indices"]
    print(f"{count:,} events on {WIDTH}x{HEIGHT}, one core, best of {REPEATS}\n")
    print("| | million events/s | relative to np.bincount |\n|---|---:|---:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {rate / reference:.2f} |")


if __name__ == "__main__":
    main()
