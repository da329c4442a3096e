"""Do our runs bear out what the paper says? Every claim, with a verdict by a fixed rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from safe_companion import paper
from safe_companion.datasets import TITLES
from safe_companion.effects import difference, effect, mean_and_interval
from safe_companion.records import outdated
from safe_companion.studies import records

EPSILON = 1.0  # percentage points: the paper gives no variance of its own


def ledger() -> pd.DataFrame:
    """Every claim beside our runs of it: real data where there are records, else the sample.

    Where there are no records: why. `code`: "older" if a record would be another today.
    """
    table = paper.claims()
    run = {"", "SAFE", *table.system[table.fields.notna()]}
    lines = {}
    for name, claim in table.iterrows():
        line = {
            "where": claim["where"],
            "dataset": claim.dataset,
            "system": claim.system,
            "setting": claim.setting,
            "metric": claim.metric,
            "paper": claim.value,
            "unit": claim.unit,
        }
        if claim.metric in ("contradiction", "ambiguity"):
            line["verdict"] = f"{claim.metric} in the paper"
        elif claim.system not in run:
            line["verdict"] = "not run: another method"
        else:
            line |= evidence(claim, table)
        lines[name] = line
    columns = ["where", "dataset", "system", "setting", "metric", "paper", "unit"]
    columns += ["ours", "±", "seeds", "origin"]
    columns += ["paper difference", "difference", "± difference", "pairs", "verdict"]
    columns += ["record", "commit", "code"]
    found = pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)
    return found.rename_axis("claim")


def evidence(claim: pd.Series, table: pd.DataFrame) -> dict:
    """What our committed records say about one claim of the ledger."""
    other = _other(claim, table)
    if claim.fields is not None:
        for origin in ("real", "sample"):
            fields = paper.fields_of(claim, origin)
            runs = records(fields, dataset=claim.dataset, origin=origin)
            if not runs:
                continue
            against = []
            if other is not None:
                fields = paper.fields_of(other, origin)
                against = records(fields, dataset=other.dataset, origin=origin)
            older = any(outdated(run) for run in runs)
            return judge(claim, other, runs, against) | {
                "origin": origin,
                "record": str(Path(runs[0]["path"]).parent),
                "commit": runs[0]["commit"],
                "code": "older" if older else "current",
            }
    return {"verdict": f"not run: needs {TITLES[claim.dataset]}"}


def _other(claim: pd.Series, table: pd.DataFrame) -> pd.Series | None:
    """The claim that a claim is compared with."""
    return table.loc[claim.against] if claim.against else None


def judge(claim: pd.Series, other: pd.Series | None, runs: list[dict], against: list[dict]) -> dict:
    """Our numbers for a claim and the verdict, by a fixed rule.

    Real data: `reproduced` if the mean over seeds lies within EPSILON of the paper's number; `not
    reproduced` if it lies further away than that and than the half width of its own 95 % interval;
    otherwise `too few seeds to tell`. Sample: never the number, only the direction of the
    difference to the claim `other`; without one, or for another data set than the paper's, what
    would be needed.
    """
    mean, half = mean_and_interval([run["test"]["top1"] for run in runs])
    line: dict[str, Any] = {"ours": mean, "±": half, "seeds": len(runs)}
    pairs = 0
    if other is not None:
        line["paper difference"] = claim.value - other.value
        line["difference"], line["± difference"], pairs = difference(runs, against)
        line["pairs"] = pairs
    origin = runs[0]["data"]["origin"]
    same_data = runs[0]["config"]["dataset"] == claim.dataset
    if same_data and origin == "real":
        off = abs(mean - claim.value)
        if off <= EPSILON:
            line["verdict"] = "reproduced"
        elif off > half or np.isnan(half):
            line["verdict"] = "not reproduced"
        else:
            line["verdict"] = "too few seeds to tell"
    elif same_data and pairs:
        line["verdict"] = direction(
            line["paper difference"], line["difference"], line["± difference"]
        )
    else:
        ours = "sample only" if origin == "sample" else "other data"
        line["verdict"] = f"{ours}: needs {TITLES[claim.dataset]}"
    return line


def direction(paper_difference: float, mean: float, half: float) -> str:
    """Verdict of a difference on the sample: of an effect that is not measurable, nothing."""
    seen = effect(mean, half)
    if seen not in ("better", "worse"):
        return seen
    return "same direction" if (mean > 0) == (paper_difference > 0) else "opposite"


def beside_paper(found: dict[str, list[dict]], where: str) -> pd.DataFrame:
    """The rows of a table of the paper, with its numbers, those of a study's runs, and verdicts.

    where: such as "Table 4". Other methods, and rows without runs, have the paper's number only.
    """
    table = paper.claims()
    rows = table[(table["where"] == where) & (table.metric == "top1")]
    lines = {}
    for _, claim in rows.iterrows():
        other = _other(claim, table)
        line = {"paper": claim.value, "verdict": "not run: another method"}
        if other is not None:
            line["paper difference"] = claim.value - other.value
        if claim.fields is not None:
            line["verdict"] = f"not run: needs {TITLES[claim.dataset]}"
            runs = found.get(paper.row_of(claim), [])
            if runs:
                against = [] if other is None else found.get(paper.row_of(other), [])
                line |= judge(claim, other, runs, against)
        lines[paper.row_of(claim)] = line
    columns = ["paper", "paper difference", "ours", "±", "seeds"]
    columns += ["pairs", "difference", "± difference", "verdict"]
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)
