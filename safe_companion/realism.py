"""How real is the sample world? Statistics of event streams, and what they say of `World`.

The same few numbers are measured of any recordings: of the samples, of real ones, of yours.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

import safe_core
from safe_companion import datasets
from safe_companion.clips import spread_indices
from safe_companion.converting import recordings_below
from safe_companion.describing import is_recording
from safe_companion.recordings import Recording, read_recording
from safe_companion.sample import CLASSES, WORLD
from safe_companion.wording import counted, significant, span

if TYPE_CHECKING:
    import pandas as pd

WINDOW_US = 100_000  # of which the ink is measured
NEAR_US = 10_000  # an event is alone if no pixel around it had one in this time before
LONG_S = 10  # seconds that it takes to know which pixels are quiet
LONE = f"with none on their pixel or its neighbours in the {NEAR_US // 1000} ms before"
QUIET = 10  # percent of the pixels: those with the fewest events over all recordings
DOUBLED_US = 10  # so few ticks of its clock apart, a pixel's events are one event read twice

# What is measured, its unit, and how it is shown.
MEASURES = {
    "rate": "events a pixel and second",
    "on": "ON events, % of all",
    "ink": "pixels with an event in 100 ms, %",
    "alone": "lone events, % of all",
    "noise": "lone events a pixel and second",
    "quiet": "events a pixel and second, quietest tenth of the pixels",
    "soonest": "shortest 1 % of times between events of a pixel, µs",
}
BESIDE = {  # how samples are beside real recordings: if a measure of theirs is smaller, greater
    "rate": ("fewer events", "more events"),
    "on": ("fewer ON events", "more ON events"),
    "ink": ("fewer pixels with events", "more pixels with events"),
    "alone": ("a smaller share of lone events", "a larger share of lone events"),
    "noise": ("fewer lone events", "more lone events"),
    "quiet": ("calmer quiet pixels", "busier quiet pixels"),
    "soonest": ("shorter pauses", "longer pauses"),
}


@numba.njit(cache=True)
def _neighbours(events: np.ndarray, width: int, height: int, near_us: int) -> tuple[int, int]:
    """(events, those alone): no event on the 8 pixels around in the near_us before, nor on its own.

    The first events of a stream, whose past is not known, are not counted.
    """
    last = np.full((height + 2, width + 2), -(1 << 60), np.int64)
    counted = 0
    alone = 0
    for e in events:
        y, x = np.int64(e.y) + 1, np.int64(e.x) + 1
        if e.t - events[0].t >= near_us:
            counted += 1
            newest = last[y - 1 : y + 2, x - 1 : x + 2].max()
            if e.t - newest > near_us:
                alone += 1
        last[y, x] = e.t
    return counted, alone


def _gaps(events: np.ndarray, width: int) -> np.ndarray:
    """Times between successive events of the same pixel, in us, but for equal time stamps."""
    pixel = events["y"].astype(np.int64) * width + events["x"]
    order = np.argsort(pixel, kind="stable")
    same = np.diff(pixel[order]) == 0
    gaps = np.diff(events["t"][order])[same]
    return gaps[gaps > 0]


def _ink(events: np.ndarray, size: tuple[int, int]) -> list[float]:
    """Share of pixels with an event, of each window; the last may be cut short by up to half."""
    count = round(int(events["t"][-1] + 1 - events["t"][0]) / WINDOW_US)
    edges = events["t"][0] + WINDOW_US * np.arange(count + 1)
    shares = []
    for part in np.split(events, np.searchsorted(events["t"], edges))[1:-1]:
        pixel = part["y"].astype(np.int64) * size[0] + part["x"]
        shares.append(len(np.unique(pixel)) / (size[0] * size[1]))
    return shares


def statistics(recordings: Iterable[Recording]) -> dict[str, Any]:
    """What MEASURES names, over recordings of one sensor, and `recordings`, `seconds`, `size`.

    "noise" and "quiet" are no bound of the sensor's noise: of the scene, too, some events are
    alone, and noise beside a signal is not; the quietest pixels are chosen for being quiet. "quiet"
    is None if all recordings together are shorter than LONG_S. ValueError without recordings, or
    for two sensor sizes.
    """
    events = on = counted = alone = 0
    seconds = 0.0
    ink: list[float] = []
    gaps: list[np.ndarray] = []
    per_pixel: np.ndarray | None = None
    size: tuple[int, int] | None = None
    number = 0
    for recording in recordings:
        stream = np.asarray(recording.events[:]) if recording.events is not None else None
        if stream is None or not len(stream):
            continue
        if size is None:
            size = recording.size
            per_pixel = np.zeros(size[0] * size[1], np.int64)
        if recording.size != size or per_pixel is None:
            raise ValueError(
                f"{recording.path}: found a sensor of {recording.size}, {size} before; expected "
                "recordings of one sensor. Measure them apart."
            )
        width, height = size
        number += 1
        seconds += float(stream["t"][-1] - stream["t"][0] + 1) / 1e6
        events += len(stream)
        on += int(stream["p"].sum())
        found = _neighbours(stream, width, height, NEAR_US)
        counted += found[0]
        alone += found[1]
        pixel = stream["y"].astype(np.int64) * width + stream["x"]
        per_pixel += np.bincount(pixel, minlength=width * height)
        ink += _ink(stream, size)
        gaps.append(_gaps(stream, width))
    if size is None or per_pixel is None:
        raise ValueError("found no recording with events; expected at least one")
    pixels = size[0] * size[1]
    quietest = np.sort(per_pixel)[: max(1, pixels * QUIET // 100)]
    between = np.concatenate(gaps)
    share_alone = alone / max(1, counted)
    return {
        "recordings": number,
        "seconds": seconds,
        "size": list(size),
        "rate": events / pixels / seconds,
        "on": 100 * on / events,
        "ink": 100 * float(np.mean(ink)) if ink else None,
        "alone": 100 * share_alone,
        "noise": share_alone * events / pixels / seconds,
        "quiet": float(quietest.mean() / seconds) if seconds >= LONG_S else None,
        "soonest": float(np.percentile(between, 1)) if len(between) else None,
    }


def of_folder(path: Path, most: int) -> dict[str, Any]:
    """Statistics of a recording, or of `most` of those in a folder, evenly spread over its names.

    ValueError if there is none.
    """
    is_one = not path.is_dir() or is_recording(path)
    found = [path] if is_one else recordings_below(path)
    if not found:
        raise ValueError(f"{path}: found no recording; expected some, or a folder of them")
    chosen = spread_indices(len(found), min(most, len(found)))
    return statistics(read_recording(found[i]) for i in chosen)


def of_samples(most: int) -> dict[str, dict[str, Any]]:
    """{"sample of hardvs": statistics, ...} of `most` test recordings of each sample."""
    found = {}
    for name in CLASSES:
        test = datasets.open_dataset(safe_core.configure(dataset=name)).test
        chosen = spread_indices(len(test), min(most, len(test)))
        found[f"sample of {name}"] = statistics(test.recording(int(i)) for i in chosen)
    return found


def table(measured: dict[str, dict[str, Any]]) -> "pd.DataFrame":
    """A line for each of some statistics by name, a column for each of MEASURES."""
    import pandas as pd

    lines = {}
    for name, m in measured.items():
        dataset = name.removeprefix("sample of ")
        shown = name if dataset == name else datasets.in_words(dataset, "sample")
        lines[shown] = {about: m[key] for key, about in MEASURES.items()}
    return pd.DataFrame.from_dict(lines, orient="index")


def beside(measured: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each measure that samples and real recordings have: its key, spans and sides.

    "samples", "real": (least, greatest). "sides": what BESIDE says of a sample outside the real
    ones; none if every sample's value lies between the least and the greatest of the others.
    """
    is_sample = {name: name.startswith("sample of ") for name in measured}
    lines = []
    for key, (smaller, greater) in BESIDE.items():
        spans = []
        for wanted in (True, False):
            values = [m[key] for name, m in measured.items() if is_sample[name] == wanted]
            known = [value for value in values if value is not None]
            spans.append((min(known), max(known)) if known else None)
        ours, theirs = spans
        if ours is None or theirs is None:
            continue
        sides = [smaller] * (ours[0] < theirs[0]) + [greater] * (ours[1] > theirs[1])
        lines.append({"key": key, "samples": ours, "real": theirs, "sides": sides})
    return lines


def in_words(measured: dict[str, dict[str, Any]]) -> str:
    """In how many measures the samples lie within the real recordings, in one sentence."""
    lines = beside(measured)
    if not lines:
        return "Nothing was measured that could be compared."
    outside = [" and ".join(line["sides"]) for line in lines if line["sides"]]
    text = f"The samples lie within the real recordings in {len(lines) - len(outside)} of "
    text += counted(len(lines), "measure")
    text += f" and outside in {len(outside)}: {', '.join(outside)}." if outside else "."
    return text.replace("lone events", f"lone events ({LONE})", 1)


def plainly(value: float) -> str:
    """A measured number in a table or a sentence: three digits, and all of a whole number's."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else significant(value)


def listed(measured: dict[str, dict[str, Any]]) -> str:
    """The measures behind `in_words`, a line of a Markdown list each, those outside first."""
    found = []
    for line in sorted(beside(measured), key=lambda line: not line["sides"]):
        spans = [span(plainly(low), plainly(high)) for low, high in (line["samples"], line["real"])]
        about = f"{'outside' if line['sides'] else 'within'}: {MEASURES[line['key']]}"
        found.append(f"- {about} ({spans[0]} in the samples, {spans[1]} in real recordings)")
    return "\n".join(found)


def advice(yours: dict[str, Any]) -> dict[str, str]:
    """{field of `World`: what its value should be for a camera with these statistics}.

    Only what can be read off them. What World has no field for is said by `without_a_field`.
    """
    width, height = yours["size"]
    found = {"width, height": f"{width}, {height} (now {WORLD.width}, {WORLD.height})"}
    low, high = WORLD.noise_hz
    near, no_bound = f"{yours['noise']:.2g} (by the lone events)", "not a bound"
    if yours["quiet"] is not None:
        near += f" and {yours['quiet']:.2g} (by the quietest pixels)"
        no_bound = "neither a bound"
    found["noise_hz"] = (
        f"near {near}, {no_bound}, events a second and pixel (now {low:g} to {high:g})"
    )
    soonest = yours["soonest"]
    if soonest is not None and soonest <= DOUBLED_US:
        found["refractory_us"] = (
            f"cannot be told (now {WORLD.refractory_us:,}): the recordings hold doubled events, "
            f"since 1 % of the events follow another of their pixel within {soonest:,.0f} µs"
        )
    elif soonest is not None:
        found["refractory_us"] = (
            f"at most {soonest:,.0f} (now {WORLD.refractory_us:,}): 1 % of the events "
            "follow another of their pixel as soon, if none of them is read twice"
        )
    return found


def without_a_field(measured: dict[str, dict[str, Any]]) -> str:
    """What the statistics of real recordings say that no field of `World` can follow."""
    shares = [
        f"{m['on']:.0f} % ({name})"
        for name, m in measured.items()
        if not name.startswith("sample of ")
    ]
    return (
        f"Of the events, {', '.join(shares)} are ON. `World` has one threshold for both "
        "polarities; a camera that favours one of them needs a second, for which `World` has no "
        "field."
    )
