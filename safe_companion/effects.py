"""How large is a difference between runs, and could chance have made it? Means, pairs, intervals.

A run is a record as `records.load_run` gives it: what is read here is config.seed, test.top1, path,
hardware.gpu and the table `predictions` (one row a test recording: name, label, correct, ...),
beside it `log_probs` where there are some, and `elsewhere`, the same run of another machine.
`found` is always {row of a study: its runs}. All numbers are percentages or percentage points of
top-1 accuracy, all intervals two-sided ones of 95 %.

Where the chance in a difference comes from. Of recording i under seed s the gain is

    g[s, i] = difference + a[s] + b[i] + e[s, i]

a: what a seed does to all recordings; b: what a recording does under every seed; e: the rest. Of S
seeds and N recordings the mean gain has the variance A/S + B/N + E/(S N), A, B and E the variances
of a, b and e. Recordings drawn anew (the bootstrap of gains averaged over seeds) vary it by
B/N + E/(S N); seeds drawn anew on one test list by A/S + E/(S N). Their sum would count E twice, so
E/(S N) is taken off the second, which leaves A/S, and nothing where that is below zero. Simulated,
such intervals hold the truth in 93 to 97 % of tables; in up to 98 % where seeds do nothing and few
are known, since variances below zero are cut off (tests/test_effects.py).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from safe_companion import datasets, wording
from safe_companion.records import hardly_trained, of_gpu

LIGHT_EDGES = [0, 1e-3, 1e-2, 1e-1, 2]  # illumination; 1 is a bright room
LIGHT_NAMES = ["< 0.001", "0.001 to 0.01", "0.01 to 0.1", "> 0.1"]
POWER = 0.8  # probability of an interval without zero, for the smallest effect that is found


def mean_and_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """(mean, half width of its interval by Student's t; nan of a single value)."""
    if len(values) < 2:
        return float(np.mean(values)), np.nan
    t = stats.t.ppf(0.975, len(values) - 1)
    return float(np.mean(values)), float(t * stats.sem(values))


# ---------------------------------------------------------------- differences


@dataclasses.dataclass(frozen=True)
class Difference:
    """A mean difference, its standard error with degrees of freedom, and how many pairs it has."""

    mean: float
    error: float
    freedom: float
    pairs: int

    @property
    def half(self) -> float:
        """Half width of the interval."""
        return float(self.error * stats.t.ppf(0.975, self.freedom))

    @property
    def smallest(self) -> float:
        """The smallest effect whose interval excludes zero with the probability POWER."""
        return float(self.half + self.error * stats.t.ppf(POWER, self.freedom))

    @property
    def excludes_zero(self) -> bool:
        return abs(self.mean) > self.half

    @property
    def effect(self) -> str:
        """In words: better or worse if the interval excludes zero, else what can be missed."""
        if np.isnan(self.mean):
            return "not run"
        if np.isnan(self.error):
            return "one seed: no interval"
        if self.mean == self.error == 0:
            return "the same"
        if not self.excludes_zero:
            return f"cannot tell from zero: effects below {self.smallest:.1f} can be missed"
        return "better" if self.mean > 0 else "worse"

    @property
    def sentence(self) -> str:
        """For running text: "worse by 10.1 ± 2.5 points, 5 paired runs"."""
        return wording.compared(self.mean, self.half, self.pairs, self.effect)

    @property
    def columns(self) -> dict[str, float]:
        """As numbers of a line of a table."""
        return {
            "pairs": self.pairs,
            "difference": self.mean,
            "± difference": self.half,
            "detectable": self.smallest,
        }


def difference(
    runs: list[dict], against: list[dict], *, table: Mapping[str, list[dict]] | None = None
) -> Difference:
    """`runs` minus `against`, paired: runs of the same seed on the same test recordings.

    table: {row: runs} of one protocol, which holds both; the deviation between seeds is then that
    of its `witnesses`, whose degrees of freedom add up (default: of these two rows). ValueError for
    other recordings. One seed alone, or one recording, has no interval: nan. Without pairs the mean
    is nan, too.
    """
    found = gains(runs, against)
    seeds, recordings = found.shape
    if not seeds:
        return Difference(np.nan, np.nan, np.nan, 0)
    if not found.any():
        return Difference(0.0, 0.0, np.inf, seeds)
    rows = [runs, against] if table is None else witnesses(table, runs, against)
    deviation = of_seeds(rows)
    if recordings == 1 or deviation.freedom == 0:
        return Difference(float(found.mean()), np.nan, np.nan, seeds)
    # The variance of a bootstrap over recordings, which for a mean is known without drawing.
    by_recording = found.mean(axis=0).var() / recordings
    return joined(float(found.mean()), by_recording, deviation, seeds, recordings)


def witnesses(
    table: Mapping[str, list[dict]], runs: list[dict], against: list[dict]
) -> list[list[dict]]:
    """The rows of a table that say how far seeds vary a difference of these two.

    All but those that are hardly trained, unless they are one of the two: where one seed finds the
    way and another does not, that says nothing of rows whose seeds all do.
    """
    compared = {run.get("path") for run in [*runs, *against]}
    return [
        row
        for row in table.values()
        if not any(map(hardly_trained, row)) or any(run.get("path") in compared for run in row)
    ]


def gains(runs: list[dict], against: list[dict]) -> np.ndarray:
    """[pairs, recordings]: 100 if only `runs` has it right, -100 if only its partner, else 0."""
    found = []
    for run, partner in pairs(runs, against):
        _check_same(run, partner)
        found.append(100 * (_correct(run) - _correct(partner)))
    return np.stack(found) if found else np.empty((0, 0))


def pairs(runs: list[dict], against: list[dict]) -> list[tuple[dict, dict]]:
    """Runs of the same seed; of the same kind of machine, too, where one of them was made on both.

    A GPU draws another dropout and resizes images itself, which no difference should hold.
    """
    partners = {run["config"]["seed"]: run for run in against}
    found = []
    for run in runs:
        partner = partners.get(run["config"]["seed"])
        if partner is not None:
            if not alike(run, partner):
                partner = partner.get("elsewhere") or partner
                if not alike(run, partner):
                    run = run.get("elsewhere") or run
            found.append((run, partner))
    return found


def alike(run: dict, partner: dict) -> bool:
    """Whether both were made on a GPU, or neither."""
    return of_gpu(run) == of_gpu(partner)


def how_paired(found: Mapping[str, list[dict]], against: Sequence[str] | None = None) -> list[str]:
    """What a reader of differences between these rows should know of their pairs, in sentences.

    against: the rows that others are compared with, default the first; none: nothing to be said.
    """
    said: list[str] = []
    baselines = list(found)[:1] if against is None else against
    if not baselines:
        return said
    if len({len(runs) for runs in found.values() if runs}) > 1:
        said.append(
            "Rows differ in their number of seeds. A mean is over all seeds of its row, a "
            "difference over those that both rows have (*pairs*): so a difference need not be that "
            "of the two means."
        )
    of_rows = [pairs(runs, found[row]) for row in baselines for runs in found.values()]
    if 1 in map(len, of_rows) and of_seeds(found.values()).freedom:
        said.append("A row with one pair borrows the spread over seeds from the other rows.")
    mixed = sum(not alike(*pair) for of_row in of_rows for pair in of_row)
    if len({of_gpu(run) for runs in found.values() for run in runs}) > 1:
        left = f"; for {wording.counted(mixed, 'pair')} that was not possible" if mixed else ""
        said.append(
            f"Runs are compared on the same kind of machine, GPU with GPU and CPU with CPU{left}."
        )
    return said


def joined(
    mean: float, by_recording: float, deviation: "Deviation", seeds: int, recordings: int
) -> Difference:
    """A difference over this many seeds and recordings, with both sources of chance.

    by_recording: variance over recordings of the mean over seeds. The degrees of freedom of the sum
    are Satterthwaite's.
    """
    variance = by_recording + deviation.alone / seeds
    uncertain = (deviation.variance / seeds) ** 2 / deviation.freedom
    uncertain += by_recording**2 / (recordings - 1)
    freedom = variance**2 / uncertain if uncertain else np.inf
    least = min(deviation.freedom, recordings - 1)
    return Difference(mean, float(np.sqrt(variance)), float(max(freedom, least)), seeds)


@dataclasses.dataclass(frozen=True)
class Deviation:
    """Variance of a paired difference of two runs over seeds, on one test list of a table.

    noise: its part that comes from the recordings, E/N. freedom: degrees of freedom.
    """

    variance: float
    noise: float
    freedom: int

    @property
    def alone(self) -> float:
        """What the seeds alone give, A: it would stay with any number of recordings."""
        return max(0.0, self.variance - self.noise)


def of_seeds(rows: Iterable[list[dict]]) -> Deviation:
    """The variance over seeds, pooled over the rows of a table; a twin (`elsewhere`) is no run.

    What rows and seeds explain is taken off each recording's results (least squares); what is left
    is the interaction of both. Two runs of one seed differ by twice its variance. So rows with one
    baseline are no witnesses of each other: R rows beside it with S seeds have R (S - 1) degrees.
    """
    rows = [row for row in rows if row]
    runs = [run for row in rows for run in row]
    for run in runs[1:]:
        _check_same(run, runs[0])
    of_row = np.repeat(np.eye(len(rows)), [len(row) for row in rows], axis=0)
    seeds = np.array([run["config"]["seed"] for run in runs])
    of_seed = seeds[:, None] == np.unique(seeds)
    explained = np.hstack([of_row, of_seed])  # [runs, rows + seeds]
    freedom = len(runs) - int(np.linalg.matrix_rank(explained))
    if freedom == 0:
        return Deviation(np.nan, np.nan, 0)
    correct = 100 * np.stack([_correct(run) for run in runs])
    left = correct - explained @ np.linalg.lstsq(explained, correct, rcond=None)[0]
    means = left.mean(axis=1, keepdims=True)
    count = correct.shape[1]
    noise = np.square(left - means).sum() / max(1, count - 1) / count
    return Deviation(
        2 * float(np.square(means).sum()) / freedom, 2 * float(noise) / freedom, freedom
    )


def _correct(run: dict) -> np.ndarray:
    return run["predictions"].correct.to_numpy(float)


def _check_same(run: dict, partner: dict) -> None:
    if not np.array_equal(run["predictions"].name, partner["predictions"].name):
        raise ValueError(f"{run['path']} and {partner['path']} tested different recordings")


def effect_table(
    found: Mapping[str, list[dict]],
    *,
    baseline: str,
    pooled: Mapping[str, list[dict]] | None = None,
) -> pd.DataFrame:
    """One line per row of a study: accuracy with its interval over seeds, difference to `baseline`.

    A difference is paired, so it rests on the seeds that both have: `pairs`. sd: over seeds.
    detectable: the smallest effect that such a comparison finds with the probability POWER.
    pooled: the table whose `witnesses` say how far seeds vary; default: all of `found`.
    """
    lines = {}
    for row, runs in found.items():
        line: dict[str, object] = {"seeds": len(runs)}
        if runs:
            accuracies = [run["test"]["top1"] for run in runs]
            line["top-1 [%]"], line["±"] = mean_and_interval(accuracies)
            line["sd"] = np.std(accuracies, ddof=1) if len(runs) > 1 else np.nan
        if runs and row != baseline:
            gain = difference(runs, found[baseline], table=pooled or found)
            line |= gain.columns | {"effect": gain.effect}
        lines[row] = line
    columns = ["seeds", "top-1 [%]", "±", "sd"]
    columns += ["pairs", "difference", "± difference", "detectable", "effect"]
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)


# ---------------------------------------------------------------- parts of the test recordings


def among(runs: list[dict], column: str, values: Sequence) -> list[dict]:
    """The runs with those predictions alone whose `column` holds one of `values`."""
    kept = []
    for run in runs:
        table = run["predictions"]
        inside = table[column].isin(values)
        part = {"predictions": table[inside].reset_index(drop=True)}
        if run.get("log_probs") is not None:
            part["log_probs"] = run["log_probs"][inside.to_numpy()]
        if run.get("elsewhere"):
            (part["elsewhere"],) = among([run["elsewhere"]], column, values)
        kept.append(run | part)
    return kept


def with_light(found: dict[str, list[dict]], root: Path) -> dict[str, list[dict]]:
    """The runs with the illumination of their test recordings in `predictions`: `light`, in 4 bins.

    root: folder of the generated sample, whose ground truth it is; real recordings have none.
    """
    return {row: [_lit(run, root) for run in runs] for row, runs in found.items()}


def _lit(run: dict, root: Path) -> dict:
    table = run["predictions"]
    illumination = datasets.ground_truth(root, list(table.name)).illumination.to_numpy()
    light = pd.cut(illumination, LIGHT_EDGES, labels=LIGHT_NAMES)
    elsewhere = run.get("elsewhere") and _lit(run["elsewhere"], root)
    return run | {"predictions": table.assign(light=light), "elsewhere": elsewhere}


def breakdown(found: dict[str, list[dict]], *, baseline: str, by: str) -> pd.DataFrame:
    """One line per (row, group): recordings, top-1 over seeds, paired difference to `baseline`.

    by: a column of the predictions, such as "label", "condition" or "light"; its values are the
    groups. Rows without runs have no line.
    """
    lines = {}
    for row, runs in found.items():
        for group in _groups(runs, by):
            ours = among(runs, by, [group])
            line: dict[str, object] = {"recordings": len(ours[0]["predictions"])}
            line["top-1 [%]"] = 100 * np.mean([run["predictions"].correct.mean() for run in ours])
            if row != baseline:
                parts = {name: among(these, by, [group]) for name, these in found.items()}
                gain = difference(ours, parts[baseline], table=parts)
                line |= gain.columns | {"effect": gain.effect}
            lines[row, group] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def _groups(runs: list[dict], by: str) -> list:
    """The values of a column of the predictions, in the order of its categories if it has some."""
    if not runs:
        return []
    values = runs[0]["predictions"][by]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.remove_unused_categories().cat.categories)
    return sorted(set(values), key=str)
