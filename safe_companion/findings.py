"""What was found, in a sentence? First lines of pages that go beyond the paper, from records."""

from collections.abc import Mapping

import pandas as pd

from safe_companion import beyond, effects, wording
from safe_companion.robustness import CLEAN

NOT_RUN = "**Not run**: no record says anything yet."


def of_rows(table: pd.DataFrame, *, dataset: str, origin: str) -> str:
    """What the rows of a study do beside its first one, of `effects.effect_table`."""
    rows = table[table.difference.notna()]
    if rows.empty:
        return NOT_RUN
    clear = rows[rows.effect.isin(["better", "worse"])]
    said = [
        f"{name} is {row.effect} by {abs(row.difference):.1f} ± {row['± difference']:.1f} points"
        for name, row in clear.iterrows()
    ]
    unclear = rows[rows.effect.str.startswith("cannot tell")]
    if len(unclear):
        low, high = (
            f"{value:.1f}" for value in (unclear.detectable.min(), unclear.detectable.max())
        )
        limit = low if low == high else f"{low} to {high}"
        several = "each of the others" if said else "each of the rows"
        which = several if len(unclear) > 1 else str(unclear.index[0])
        said.append(f"of {which} we cannot tell: effects below {limit} points would not be seen")
    said += [f"{name} is the same" for name in rows.index[rows.effect == "the same"]]
    once = int((rows.effect == "one seed: no interval").sum())
    if once:
        said.append(f"one seed says nothing of {wording.counted(once, 'row')}")
    first = table.iloc[0]
    missing = [str(name) for name, row in table.iterrows() if not row.seeds]
    return (
        f"**Beside {table.index[0]} ({first['top-1 [%]']:.1f} %): {'; '.join(said)}.** "
        f"({origin} of {dataset}, top-1)" + (f" Not run: {', '.join(missing)}." if missing else "")
    )


def of_pretraining(found: Mapping[str, list[dict]]) -> str:
    """Whether towers that have seen events do better than CLIP, of `beyond.pretraining`'s rows."""
    if missing := beyond.not_run("pretraining", dict(found)):
        return missing
    parts, effect = [], []
    for recordings in (beyond.FEW[0], beyond.FEW[-1]):
        rows = {row: runs for row, runs in found.items() if row.endswith(f" {recordings} a class")}
        for name in ("events", "RGB and events"):
            said = []
            for tower in list(beyond.TOWERS)[1:]:
                after, before = (
                    rows[f"{of}, {name}, {recordings} a class"] for of in (tower, "CLIP")
                )
                gain = effects.difference(after, before, table=rows)
                effect.append(gain.effect)
                said.append(f"after {tower.removeprefix('CLIP, then ')} {gain.sentence}")
            parts.append(f"- {name}, {recordings} a class: {'; '.join(said)}")
    better, worse = effect.count("better"), effect.count("worse")
    verdict = f"better than one that has seen no event in {better} of {len(effect)} comparisons"
    if worse:
        verdict += f", worse in {worse}"
    return "\n".join([f"**A CLIP that went on learning from them is {verdict}**:", "", *parts])


def of_robustness(tables: Mapping[str, pd.DataFrame], *, dataset: str, origin: str) -> str:
    """What each model loses when a camera is missing, of `robustness.over_seeds` for each row."""
    if not tables:
        return NOT_RUN
    parts = []
    for name, table in tables.items():
        lines = table.set_index("what")
        missing = [what for what in lines.index if str(what).endswith(" missing")]
        lost = [f"{lines.top1[what]:.0f} with {what}" for what in missing]
        if CLEAN in lines.index and lost:
            parts.append(f"{name}: {lines.top1[CLEAN]:.0f} %, {', '.join(lost)}")
    return f"**{'; '.join(parts)}** (top-1, {origin} of {dataset})." if parts else NOT_RUN


def of_calibration(table: pd.DataFrame, *, dataset: str, origin: str) -> str:
    """How far confidences are off: lines with "confidence", "top-1 [%]", "corrected", "low"."""
    if table.empty:
        return NOT_RUN
    parts = []
    for name, row in table.iterrows():
        gap = row.confidence - row["top-1 [%]"]
        kind = "too sure" if gap > 0 else "not sure enough"
        measurable = kind if row.low > 0.5 else "no error that chance could not make"
        parts.append(f"{name}: {row.corrected:.1f} % ({measurable})")
    return f"**Calibration error, chance taken off: {'; '.join(parts)}** ({origin} of {dataset})."
