"""What do the paper and its released code say? The tables in book/ that hold it."""

import json

import pandas as pd

from safe_companion import ROOT


def claims() -> pd.DataFrame:
    """book/claims.csv by id: every number of the paper (`value`), and where it stands.

    fields: the configuration that would show it, a dict, or None if there is no such run. against:
    the id of the claim that it is compared with, or "". value is nan where the paper contradicts
    itself or leaves something open.
    """
    table = pd.read_csv(ROOT / "book" / "claims.csv", keep_default_na=False).set_index("id")
    table["value"] = pd.to_numeric(table["value"])
    table["fields"] = [json.loads(text) if text else None for text in table["fields"]]
    return table


def deviations() -> pd.DataFrame:
    """book/deviations.csv by id: where the released code differs from the paper, how that is known.

    fields: the JSON of the configuration that switches it. sample_fields: instead of `fields`,
    where the sample has nothing to switch; samples: those on which it is run.
    """
    return pd.read_csv(ROOT / "book" / "deviations.csv", keep_default_na=False).set_index("id")
