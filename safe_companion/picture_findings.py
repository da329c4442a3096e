"""What do pages of pictures find, in a sentence? The paper's figures and what a model looks at."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from safe_companion import effects, wording
from safe_companion.findings import NOT_RUN

NEARLY_EVEN = 95  # percent of the largest entropy that weights can have


def over_recordings(values: np.ndarray) -> effects.Difference:
    """The mean of one value a recording, with the chance of the recordings alone: one training."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return effects.Difference(float(np.mean(values)), float(error), len(values) - 1, 1)


def _unclear(gap: effects.Difference) -> str:
    """What can be missed of a difference that cannot be told: " (effects below 2.3 ...)"."""
    limit = gap.effect.partition(": ")[2]
    return f" ({limit})" if limit else ""


def of_looking(
    table: pd.DataFrame,
    costs: Mapping[str, np.ndarray],
    *,
    about: str,
    shares: tuple[float, float] | None = None,
) -> str:
    """Whether a class looks at a place of its own, and whether an answer rests on what it looks at.

    table: measures in lines; columns "RGB, trained", "RGB, control", ... costs: {what else was
    hidden: by how many more points top-1 falls if the most looked-at patches are hidden, [n]}.
    shares: of single patches, the 1st and 99th percentile, in multiples of the even share.
    """
    columns = table.T
    trained = columns[columns.index.str.endswith(", trained")]
    control = columns[columns.index.str.endswith(", control")]
    even, apart = trained["evenness [%]"], trained["true against wrong class [%]"]
    looks = "leaves little of the image out"
    if even.min() < NEARLY_EVEN:
        looks = "looks more at some places"
    branches = " and ".join(trained.index.str.removesuffix(", trained"))
    gaps = {other: over_recordings(values) for other, values in costs.items()}
    lost = ", ".join(_lost(gap, other) for other, gap in gaps.items())
    if all(gap.excludes_zero and gap.mean > 0 for gap in gaps.values()):
        verdict = "the weights point at what an answer rests on"
    elif any(gap.excludes_zero and gap.mean < 0 for gap in gaps.values()):
        verdict = "the weights do not rank what an answer rests on"
    else:
        verdict = "whether the weights are a guide to what an answer rests on cannot be told"
    reach = ""
    if shares is not None:
        reach = (
            f", though single patches get {shares[0]:.1f} to {shares[1]:.1f} times the even share "
            "(98 % of them)"
        )
    return (
        f"**A class {looks}, and {verdict}** ({about}). Its weights are {_each(even)} % as even "
        f"as they can be ({branches}; {_each(control['evenness [%]'])} % without training){reach}. "
        f"Of the weight, {_each(apart)} % lies elsewhere than for the strongest wrong class. "
        f"Hiding what is looked at most loses first answers: {lost}."
    )


def _each(values: pd.Series) -> str:
    return " and ".join(f"{value:.1f}" for value in values)


def _lost(gap: effects.Difference, other: str) -> str:
    """Of first answers: "6.4 ± 2.1 points more than hiding what is least looked at"."""
    if not gap.excludes_zero:
        return f"as many, as far as can be told, as hiding what is {other}{_unclear(gap)}"
    more = "more" if gap.mean > 0 else "fewer"
    amount = wording.of_difference(gap.mean, gap.half, sign=False)
    return f"{amount} points {more} than hiding what is {other}"


def of_windows(
    adaptive: Sequence[int], fixed: Sequence[int], gain: effects.Difference, *, about: str
) -> str:
    """What AFE changes beside frame intervals: events of each window, and the accuracy's gain."""
    if not adaptive and not gain.pairs:
        return NOT_RUN
    parts = []
    if adaptive:
        low, high = np.percentile(adaptive, (5, 95))
        least, most = np.percentile(fixed, (5, 95))
        evens = high * max(least, 1) < most * max(low, 1)
        parts.append(
            f"AFE {'evens out' if evens else 'does not even out'} what event images hold: "
            f"{low:,.0f} to {high:,.0f} events, with one image a frame interval {least:,.0f} to "
            f"{most:,.0f} (5th to 95th percentile; {about})"
        )
    accuracy = f"Top-1 accuracy with AFE: {gain.sentence}" if gain.pairs else "Accuracy: not run"
    return ". ".join([*(f"**{part}**" for part in parts), accuracy]) + "."


def added(found: Mapping[str, list[dict]], *, both: str) -> pd.DataFrame:
    """What the model with both cameras changes beside each with one: (model, condition) in lines.

    corrected, broken: answers, means over paired runs. The first condition is "all".
    """
    lines = {}
    for one in (name for name in found if name != both):
        table = found[one][0]["predictions"]
        conditions = sorted(set(table.condition)) if "condition" in table else []
        for condition in ("all", *conditions):
            parts = dict(found)
            if condition != "all":
                for name, runs in found.items():
                    parts[name] = effects.among(runs, "condition", [condition])
            gains = effects.gains(parts[both], parts[one])
            gain = effects.difference(parts[both], parts[one], table=parts)
            line: dict[str, object] = {"recordings": gains.shape[1]}
            line["corrected"] = float((gains > 0).sum(axis=1).mean())
            line["broken"] = float((gains < 0).sum(axis=1).mean())
            lines[one, condition] = line | gain.columns | {"effect": gain.effect}
    return pd.DataFrame.from_dict(lines, orient="index")


def between_seeds(runs: Sequence[dict]) -> float:
    """Answers that one run has right and another wrong; mean over pairs of one kind of machine.

    So many a second camera would correct, and as many break, if it changed nothing. nan without
    pairs.
    """
    counts = [
        (one["predictions"].correct & ~other["predictions"].correct).sum()
        for one, other in itertools.permutations(runs, 2)
        if effects.alike(one, other)
    ]
    return float(np.mean(counts)) if counts else np.nan


def of_second_camera(table: pd.DataFrame, chance: float, *, about: str) -> str:
    """Which answers a second camera corrects and breaks, of `added`; chance: `between_seeds`."""
    if table.empty:
        return NOT_RUN
    parts = []
    for one in dict.fromkeys(name for name, _ in table.index):
        rows = table.loc[one]
        line = rows.loc["all"]
        first = one.removesuffix(" only")
        where = []
        for effect in ("better", "worse"):
            names = [name for name in rows.index[1:] if rows.effect[name] == effect]
            if names:
                said = [wording.WHERE.get(name, f"where it is {name}") for name in names]
                where.append(f"{effect} {', '.join(said)}")
        if where and rows.effect[1:].str.startswith("cannot tell").any():
            where.append("elsewhere we cannot tell")
        parts.append(
            f"adding {'events' if first == 'RGB' else 'RGB'} to {first} corrects "
            f"{line.corrected:,.0f} of {line.recordings:,.0f} answers and breaks "
            f"{line.broken:,.0f} ({'; '.join(where) or line.effect})"
        )
    text = ", ".join(parts)
    if not np.isnan(chance):
        text += f"; another seed alone corrects {chance:,.0f} and breaks as many"
    runs = wording.counted(float(table.pairs.min()), "paired run")
    return f"**{text[0].upper()}{text[1:]}** (means of {runs}, {about})."


def of_neighbours(right: Mapping[str, np.ndarray], table: pd.DataFrame, *, about: str) -> str:
    """How well classes are separated in what each model's classifier reads.

    right: {model: 1 where a recording's nearest other one has its class, [n]}. table: {model: its
    "silhouette" and "the same, labels shuffled [%]"} in lines.
    """
    percent = {name: 100 * float(np.mean(hits)) for name, hits in right.items()}
    best, second = sorted(percent, key=lambda name: -percent[name])[:2]
    gap = over_recordings(100 * (np.asarray(right[best], float) - np.asarray(right[second], float)))
    if gap.excludes_zero:
        amount = wording.of_difference(gap.mean, gap.half, sign=False)
        verdict = f"best with {best}, {amount} points ahead of {second}"
    else:
        verdict = f"as well with {second} as with {best}, as far as can be told{_unclear(gap)}"
    listed = ", ".join(f"{value:.1f} % with {name}" for name, value in percent.items())
    chance = table["the same, labels shuffled [%]"].max()
    highest = table.silhouette.idxmax()
    return (
        f"**Classes are separated {verdict}**: the nearest other test recording has the same class "
        f"in {listed} (labels shuffled: at most {chance:.1f} %); the silhouette, another measure, "
        f"is highest with {highest} ({about})."
    )


def of_counts(counts: Mapping[str, Mapping[str, tuple[int, int]]], real: Sequence[str]) -> str:
    """What data sets hold beside the paper's counts: {data set: {metric: (paper, here)}}.

    real: those whose own lists were counted; of the others it was the generated sample.
    """
    parts = []
    for name, metrics in counts.items():
        if name in real:
            other = [
                f"{metric} {here:,} for {paper:,}"
                for metric, (paper, here) in metrics.items()
                if here != paper
            ]
            same = f"{len(metrics) - len(other)} of {len(metrics)} counts of {name} are the paper's"
            parts.append(same + (f" (not: {', '.join(other)})" if other else ""))
        else:
            classes, samples = metrics["categories"], metrics["samples"]
            parts.append(
                f"the sample of {name} holds {classes[1]:,} classes and {samples[1]:,} recordings "
                f"where the paper counts {classes[0]:,} and {samples[0]:,}"
            )
    text = "; ".join(parts)
    unchecked = "" if real else ": no count of the paper can be checked on them"
    return f"**{text[0].upper()}{text[1:]}**{unchecked}."
