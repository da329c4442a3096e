"""What do the paper and its released code say? The tables in book/ that hold it."""

import functools
import io
import json
from typing import Any

import pandas as pd

from safe_companion import ROOT
from safe_core import Config


def claims() -> pd.DataFrame:
    """book/claims.csv by id: every number of the paper (`value`), and where it stands.

    fields: the configuration that would show it, a dict, or None if there is no such run. against:
    the id of the claim that it is compared with, or "". value is nan where the paper contradicts
    itself or leaves something open. ValueError with the file's name if it is damaged.
    """
    table = _table("claims.csv")
    try:
        table["value"] = pd.to_numeric(table["value"])
        table["fields"] = [_fields(text) if text else None for text in table["fields"]]
    except (ValueError, KeyError) as cause:
        raise _damaged("claims.csv", cause) from cause
    return table


def methods() -> pd.DataFrame:
    """book/peers.csv by the name of a method in Tables 2 and 3, but for SAFE.

    here: what is run in its name, at both sizes, or "". needs: what it would take instead. hardvs,
    pokerevent: its learning rate on that sample, of the study peers_recipe; "": the preset's.
    """
    return _table("peers.csv")


def row_of(claim: pd.Series) -> str:
    """The row of a study that a claim is: in Tables 2 and 3 the method, else the setting."""
    compares_methods = claim["where"] in ("Table 2", "Table 3")
    return claim.system if compares_methods else claim.setting


def fields_of(claim: pd.Series, origin: str) -> dict[str, Any]:
    """The configuration fields of a claim's runs on such data, "sample" or "real".

    On the sample, other methods have the learning rate that was found for them there.
    """
    rate = methods()[claim.dataset].get(claim.system) if origin == "sample" else None
    return claim.fields | ({"learning_rate": float(rate)} if rate else {})


def deviations() -> pd.DataFrame:
    """book/deviations.csv by id: where the released code differs from the paper, how that is known.

    fields: the JSON of the configuration that switches it. sample_fields: instead of `fields`,
    where the sample has nothing to switch; samples: those on which it is run. ValueError with the
    file's name if it is damaged.
    """
    table = _table("deviations.csv")
    try:
        for text in [*table["fields"], *table["sample_fields"]]:
            _fields(text or "{}")
    except (ValueError, KeyError) as cause:
        raise _damaged("deviations.csv", cause) from cause
    return table


def recordings(config: Config) -> tuple[float, float, float]:
    """(train, val, test) of the data set as the paper's Table 1 counts it."""
    listed, test = (
        float(claims().value[f"t1-{config.dataset}-{split}_samples"]) for split in ("train", "test")
    )
    val = listed * config.val_fraction
    return (listed - val) * config.train_fraction, val, test


def _fields(text: str) -> Any:
    """A dict of configuration fields."""
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"{text}: no configuration fields")
    return fields


def _table(name: str) -> pd.DataFrame:
    try:
        return _parsed((ROOT / "book" / name).read_bytes()).copy()
    except (OSError, ValueError, KeyError) as cause:
        raise _damaged(name, cause) from cause


@functools.lru_cache(maxsize=4)  # asked for with each row of a study
def _parsed(content: bytes) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(content), keep_default_na=False)
    if table["id"].duplicated().any():
        raise ValueError("an id stands there twice")
    return table.set_index("id")


def _damaged(name: str, cause: Exception) -> ValueError:
    return ValueError(
        f"{ROOT / 'book' / name}: found no table that can be used ({str(cause).strip()}); "
        f"expected the one that this project ships. `git diff book/{name}` shows what has changed."
    )
