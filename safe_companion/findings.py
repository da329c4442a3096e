"""What was found, in a sentence? First lines of pages that go beyond the paper, from records."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from safe_companion import beyond, effects, variance, wording
from safe_companion.datasets import in_words
from safe_companion.robustness import CLEAN

NOT_RUN = "**Not run**: no record says anything yet."
ONE_SEED = "one seed: no interval"  # as `effects.Difference.effect` says it
VERDICTS = {  # in a sentence
    "smaller than the paper's": "smaller, and not to be told from zero",
    "cannot tell": "to be told neither from zero nor from the paper's",
    ONE_SEED: "with one seed in common, so without a verdict",
}
MOST_WITH_POINTS = 3  # rows of a verdict that a sentence gives with their differences
SMALL = 0.5  # percent; a calibration error below it concerns no one


def _clear(name: str, row: Any) -> str:
    """A row that is better or worse: "*a* is better by 1.2 ± 0.4 points"."""
    amount = wording.of_difference(row.difference, row["± difference"], sign=False)
    return f"*{name}* is {row.effect} by {amount} points"


def _unclear(rows: pd.DataFrame, *, others: bool) -> str:
    """Rows of which nothing can be told, and what would not have been seen.

    others: whether some row stands before them that is better or worse.
    """
    limit = f"effects below {_range(rows.detectable)} points can be missed"
    if len(rows) > 1:
        which = "none of the others" if others else "none of the rows"
        return f"{which} can be told from it ({limit})"
    (name, row), *_ = rows.iterrows()
    amount = wording.of_difference(row.difference, row["± difference"])
    return f"*{name}* ({amount} points) cannot be told from it ({limit})"


def _with_paper(name: Any, row: Any) -> str:
    """A row's difference beside the paper's."""
    ours = wording.of_difference(row.difference, row["± difference"])
    return f"*{name}* {ours} (the paper {wording.signed(row['paper difference'])})"


def _once(rows: pd.DataFrame) -> str:
    """Rows with one pair."""
    return f"with one seed in common there is no verdict on {_with_points(rows)}"


def _with_points(rows: pd.DataFrame) -> str:
    """Rows of an effect table with their differences: "*a* (+1.2 points) and *b* (...)"."""
    return wording.listed(
        [
            f"*{name}* ({wording.of_difference(row.difference, row['± difference'])} points)"
            for name, row in rows.iterrows()
        ]
    )


def _range(values: pd.Series) -> str:
    """The least and the greatest of some numbers: "0.8 to 1.4", or "0.8" if they are equal."""
    return wording.span(f"{values.min():.1f}", f"{values.max():.1f}")


def of_rows(
    table: pd.DataFrame, *, dataset: str, origin: str, untrained: Sequence[str] = ()
) -> str:
    """What the rows of a study do beside its first one, of `effects.effect_table`.

    untrained: rows that `records.hardly_trained` names, which are compared with nothing.
    """
    begun = table.index[0] not in untrained  # else nothing is compared with it
    rows = table[table.difference.notna() & ~table.index.isin(untrained) & begun]
    if table.difference.isna().all():
        return NOT_RUN
    clear = rows[rows.effect.isin(["better", "worse"])]
    said = [_clear(str(name), row) for name, row in clear.iterrows()]
    unclear = rows[rows.effect.str.startswith("cannot tell")]
    if len(unclear):
        said.append(_unclear(unclear, others=bool(said)))
    said += [f"*{name}* is the same" for name in rows.index[rows.effect == "the same"]]
    once = rows[rows.effect == ONE_SEED]
    if len(once):
        said.append(_once(once))
    first = table.iloc[0]
    compared = f": {'; '.join(said)}" if said else " nothing is trained far enough to be compared"
    missing = [f"*{name}*" for name, row in table.iterrows() if not row.seeds]
    return (
        f"**Beside *{table.index[0]}* ({first['top-1 [%]']:.1f} %){compared}** "
        f"({in_words(dataset, origin)}, top-1)."
        + of_untrained(untrained)
        + (f" Not run: {'; '.join(missing)}." if missing else "")
    )


def of_verdicts(table: pd.DataFrame, *, dataset: str, origin: str) -> str:
    """What our rows say of the paper's differences, of `claims.beside_paper`."""
    rows = table[table.difference.notna()]
    if rows.empty:
        return NOT_RUN
    said = []
    for verdict, of_verdict in rows.groupby("verdict", sort=False):
        if verdict in ("same direction", "opposite"):
            kind = f"in the {str(verdict).split()[0]} direction"
            names = wording.listed([_with_paper(name, row) for name, row in of_verdict.iterrows()])
        else:
            kind = VERDICTS.get(str(verdict), str(verdict))
            names = wording.listed([f"*{name}*" for name in of_verdict.index])
            if len(of_verdict) <= MOST_WITH_POINTS:
                names = _with_points(of_verdict)
        said.append(f"{len(of_verdict)} {kind}: {names}")
    counted = len(table[table["paper difference"].notna()])
    lead = f"The paper's {wording.counted(len(rows), 'difference')}, here"
    if counted > len(rows):
        lead = f"Of the paper's {wording.counted(counted, 'difference')} {len(rows)} were run here"
    end = ""
    if rows.detectable.any():
        end = f"; effects from {_range(rows.detectable)} would be seen 4 times in 5"
    return f"**{lead}: {'; '.join(said)}** ({in_words(dataset, origin)}, points of top-1{end})."


def of_untrained(rows: Sequence[str]) -> str:
    """What a page adds of rows that are hardly trained; nothing if there are none."""
    if not rows:
        return ""
    names = wording.listed([f"*{row}*" for row in rows])
    one = len(rows) == 1
    verb, they = ("is", "it") if one else ("are", "they")
    return f" {names} {verb} hardly trained: what {they} can do is not seen here."


def of_pretraining(found: Mapping[str, list[dict]]) -> str:
    """Whether towers that have seen events do better than CLIP, of `beyond.pretraining`'s rows."""
    if missing := beyond.not_run("pretraining", dict(found)):
        return missing
    parts: list[str] = []
    effect: dict[str, list[str]] = {"events": [], "RGB and events": []}
    for recordings in (beyond.FEW[0], beyond.FEW[-1]):
        rows = {row: runs for row, runs in found.items() if row.endswith(f" {recordings} a class")}
        for name, effects_of in effect.items():
            said = []
            for tower in list(beyond.TOWERS)[1:]:
                after, before = (
                    rows[f"{of}, {name}, {recordings} a class"] for of in (tower, "CLIP")
                )
                gain = effects.difference(after, before, table=rows)
                effects_of.append(gain.effect)
                said.append(f"after {tower.removeprefix('CLIP, then ')} {gain.sentence}")
            parts.append(f"- {name}, {recordings} a class: {'; '.join(said)}")
    better = [
        f"on {name} in {these.count('better')} of {len(these)} comparisons"
        + (f" (worse in {these.count('worse')})" if "worse" in these else "")
        for name, these in effect.items()
    ]
    verdict = "is better from a CLIP that went on training with events than from CLIP as it is"
    return "\n".join([f"**SAFE {verdict}: {', '.join(better)}**", "", *parts])


def of_robustness(tables: Mapping[str, pd.DataFrame], *, dataset: str, origin: str) -> str:
    """What each model loses when a camera is missing, of `robustness.over_seeds` for each row."""
    losses: dict[str, list[float]] = {}
    parts = []
    for name, table in tables.items():
        lines = table.set_index("what")
        missing = [what for what in lines.index if str(what).endswith(" missing")]
        if CLEAN not in lines.index or not missing:
            continue
        for what in missing:
            losses.setdefault(what, []).append(lines.top1[CLEAN] - lines.top1[what])
        left = wording.listed([f"{lines.top1[what]:.1f} with {what}" for what in missing])
        parts.append(f"- {name}: {lines.top1[CLEAN]:.1f} %, {left}")
    if not parts:
        return NOT_RUN
    costs = wording.listed(
        [f"{what} costs {_range(pd.Series(lost))}" for what, lost in losses.items()]
    )
    fewest, most = (least(int(t.seeds.min()) for t in tables.values()) for least in (min, max))
    seeds = wording.counted(fewest, "seed") if fewest == most else f"{fewest} to {most} seeds"
    models = wording.counted(len(parts), "model")
    return "\n".join(
        [
            f"**Of {models}, {costs} points** (top-1, {seeds} each, {in_words(dataset, origin)}):",
            "",
            *parts,
        ]
    )


def of_calibration(table: pd.DataFrame, *, dataset: str, origin: str) -> str:
    """How far confidences are off: lines with "confidence", "top-1 [%]", "corrected", "low".

    An error whose interval comes within SMALL of zero is not called one, which the sentence says.
    """
    if table.empty:
        return NOT_RUN
    parts, told = [], []
    for name, row in table.iterrows():
        gap = row.confidence - row["top-1 [%]"]
        kind = "overconfident" if gap > 0 else "underconfident"
        told.append(row.low > SMALL)
        if not told[-1]:
            kind = f"interval from {row.low:.1f} %: cannot be told from none"
        parts.append(f"{name}: {row.corrected:.1f} % ({kind})")
    where = f"({in_words(dataset, origin)})"
    rule = (
        "" if all(told) else f" An error can be told where its interval begins above {SMALL:g} %."
    )
    return (
        f"**Of {wording.counted(len(told), 'model')} {sum(told) or 'none'} can be told to be "
        f"miscalibrated** {where}. Calibration error, chance taken off: {'; '.join(parts)}.{rule}"
    )


# ------------------------------------------------------------------------------- single pages


def of_choices(table: pd.DataFrame, choices: Sequence[str], noted: Mapping[str, str]) -> dict:
    """{what is known: lines} of the released code's choices, of `effects.effect_table`.

    What is known: "worse", "better", "the same", "cannot tell", "one seed", "noted", "not run".
    noted: {choice: what is known of it in another way}, whatever its line says.
    """
    kinds: dict[str, list[str]] = {}
    for choice in choices:
        kind = "not run"
        if choice in noted:
            kind = "noted"
        elif choice in table.index and table.seeds[choice]:
            kind = table.effect[choice].split(":")[0].removesuffix(" from zero")
        kinds.setdefault(kind, []).append(choice)
    order = ("worse", "better", "the same", "cannot tell", "one seed", "noted", "not run")
    return {kind: kinds[kind] for kind in order if kind in kinds}


def of_deviations(
    table: pd.DataFrame,
    choices: Sequence[str],
    noted: Mapping[str, str],
    *,
    together: str,
    dataset: str,
    origin: str,
) -> str:
    """What the released code's choices change, one at a time and then together.

    table: `effects.effect_table`, our reading of the paper first; choices, noted: as for
    `of_choices`; together: the row that makes all of them.
    """
    if not table.difference.notna().any():
        return NOT_RUN
    kinds = of_choices(table, choices, noted)
    said = []
    for kind in ("worse", "better"):
        rows = table.loc[kinds.get(kind, [])]
        said += [_clear(str(name), row) for name, row in rows.iterrows()]
    if unclear := kinds.get("cannot tell"):
        said.append(_unclear(table.loc[unclear], others=bool(said)))
    said += [f"*{name}* is the same" for name in kinds.get("the same", [])]
    if once := kinds.get("one seed"):
        said.append(_once(table.loc[once]))
    others = [f"*{name}* {noted[name]}" for name in kinds.get("noted", [])]
    compared = sum(len(kinds.get(kind, [])) for kind in kinds if kind not in ("noted", "not run"))
    lead = f"{compared or 'None'} of {len(choices)} choices of the released code "
    lead += f"{'was' if compared < 2 else 'were'} compared here by "
    lead += "itself" if compared < 2 else "themselves"
    sentence = f"{lead}: {'; '.join(said)}." if said else f"{lead}."
    if others:
        sentence += f" Known without a comparison: {'; '.join(others)}."
    if together in table.index and table.seeds[together]:
        every: Any = table.loc[together]
        gain = wording.compared(every.difference, every["± difference"], every.pairs, every.effect)
        sentence += f" All of them together: {gain}."
    first = f"{table.index[0]}, {table['top-1 [%]'].iloc[0]:.1f} %"
    return f"**{sentence}** ({in_words(dataset, origin)}, top-1, beside {first})."


def of_wording(
    accuracies: Mapping[str, float],
    scatter: variance.Scatter,
    *,
    dataset: str,
    origin: str,
) -> str:
    """Whether wording makes more difference than the seed.

    accuracies: {wording: mean top-1} of two or more that were run; scatter: of their runs.
    """
    count = len(accuracies)
    where = f"({in_words(dataset, origin)}, top-1)"
    if np.isnan(scatter.p):
        shown = _range(pd.Series(accuracies))
        return (
            "**Whether wording makes more difference than the seed cannot be told: too few rows "
            f"have seeds in common** {where}. The {count} wordings have {shown} %."
        )
    spread = (
        f"the means of {count} wordings scatter by {scatter.between:.2f} points, where seeds alone "
        f"would give {scatter.chance:.2f} (standard deviations; F test, p = {scatter.p:.2f})"
    )
    if scatter.p < 0.05:
        return f"**Wording makes more difference than the seed: {spread}** {where}."
    return (
        f"**Wording makes no difference that could be told from chance: {spread}; a scatter below "
        f"{scatter.smallest:.2f} points can be missed** {where}."
    )


def of_rates(
    tried: Mapping[str, Mapping[float, float]],
    best: Mapping[str, float],
    *,
    classes: int,
    recordings: int,
    dataset: str,
    origin: str,
) -> str:
    """Which learning rate each method gets, and on which recordings that was decided.

    tried: {method: {rate: top-1 on `recordings` recordings}}; best: the chosen rates. A method
    whose best is within two standard errors of guessing one of `classes` has learned nothing.
    """
    if not best:
        return NOT_RUN
    chance = 100 / classes
    learned = chance + 2 * (chance * (100 - chance) / recordings) ** 0.5
    parts = []
    for method, rate in best.items():
        top1 = tried[method][rate]
        text = f"{method} {rate:g} ({top1:.1f} %)"
        if top1 <= learned:
            text += f", but with none does it learn more than to guess ({chance:.1f} %)"
        elif rate in (min(tried[method]), max(tried[method])):
            end = "highest" if rate == max(tried[method]) else "lowest"
            text += f", the {end} that was tried"
        parts.append(text)
    where = "that no table tests" if origin == "sample" else "held out of the training list"
    missing = [method for method in tried if method not in best]
    return (
        f"**Chosen for each method on recordings {where}: {'; '.join(parts)}** "
        f"({in_words(dataset, origin)}, top-1, one run a rate)."
        + (f" Not run with all: {', '.join(missing)}." if missing else "")
    )
