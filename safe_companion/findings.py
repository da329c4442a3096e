"""What was found, in a sentence? First lines of pages that go beyond the paper, from records."""

from collections.abc import Mapping

import pandas as pd

from safe_companion.robustness import CLEAN

NOT_RUN = "**Not run**: no record says anything yet."


def of_variants(table: pd.DataFrame, *, dataset: str, origin: str) -> str:
    """Which rows of a study are better or worse than its first; of `effects.effect_table`."""
    rows = table[table.difference.notna()]
    if rows.empty:
        return NOT_RUN
    halves = rows["± difference"]
    parts = [f"{name} {rows.difference[name]:+.1f} ± {halves[name]:.1f}" for name in rows.index]
    clear = rows[rows.effect.isin(["better", "worse"])]
    said = [f"{name} is {row.effect}" for name, row in clear.iterrows()]
    verdict = "; ".join(said) or "no difference excludes zero"
    missing = [str(name) for name, row in table.iterrows() if not row.seeds]
    lines = f"**{verdict}** than {table.index[0]}" if said else f"**{verdict}**"
    lines += f" ({origin} of {dataset}; points of top-1: {', '.join(parts)})."
    return lines + (f" Not run: {', '.join(missing)}." if missing else "")


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
