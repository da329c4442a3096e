"""How are tables shown on a page? What is the paper's and ours, and what stands first."""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from pandas.api.types import is_integer_dtype

from safe_companion import wording

FORMATS = {
    "paper": "{:.2f}",
    "paper difference": "{:+.2f}",
    "ours": "{:.1f}",
    "top-1 [%]": "{:.1f}",
    "sd": "{:.1f}",
    "seeds": "{:.0f}",
    "pairs": "{:.0f}",
    "difference": "{:+.1f}",
    "detectable": "{:.1f}",
}
ACCURACIES = ("ours", "top-1 [%]")  # of seeds, whose interval is the column "±"
QUIET = "var(--quiet, rgb(110,110,110))"  # the book's own grey, light on dark pages
# What a table found stands first, where a narrow screen shows it.
FIRST = ("verdict", "effect", "SAFE is", "difference")
PRINTED = {"paper", "paper difference"}  # with one decimal or two
HARDLY = "hardly trained"  # a verdict: the row is compared with nothing
COMPARED = ("difference", "± difference", "pairs", "detectable")
SHORT = 24  # letters: a verdict or a difference of as many stays in one line


def show(
    table: pd.DataFrame,
    *,
    paper: Sequence[str] = ("paper", "paper difference"),
    ours: Sequence[str] = ACCURACIES,
    origin: str = "",
    **formats: str | Callable[[float], str],
) -> HTML:
    """A table as HTML: the paper's columns in italics on amber, ours in bold.

    Rows that were not run are grey, rows that are hardly trained have no difference, and columns of
    numbers without any are left out. Names and cells are text: what is HTML in them is escaped.
    origin: of our numbers, for the head of the column "ours". formats: {column: format, or what
    gives the words} beside FORMATS. Columns of FIRST come first. A number and half of its interval
    are one column. The name of the index stands in the corner.
    """
    first = [name for name in FIRST if name in table]
    table = table[[*first, *(name for name in table if name not in first)]]
    table = _without_untrained(table)
    numbers = table.select_dtypes("number")
    table = table.drop(columns=numbers.columns[numbers.isna().all()])
    if "detectable" in table:  # which has the number
        said = [name for name in ("effect", "SAFE is") if name in table]
        table = table.assign(**{name: table[name].map(_without_limit) for name in said})
    printed = {name: _as_printed(table[name]) for name in PRINTED & {*table}}
    given: dict[Any, Any] = FORMATS | printed | formats
    table = _with_intervals(table, given)
    known: dict[Any, Any] = {}
    for name in table.select_dtypes("number"):
        usual = "{:,}" if is_integer_dtype(table[name]) else wording.significant
        known[name] = _typeset(given.get(name, usual))
    head = f"here ({origin})" if origin else "ours"
    if table.index.nlevels == 1 and table.index.name is not None:
        table = table.rename_axis(index=None, columns=table.index.name)
    table = table.rename_axis(index=_escaped, columns=_escaped)
    styler: Any = table.style.format(known, na_rep="–", escape="html")
    styler.format_index(escape="html", axis=0)
    styler.format_index(lambda name: _unit_beside(head if name == "ours" else name), axis=1)
    styler.set_td_classes(_short(table))
    # The same table gives the same HTML.
    styler.set_uuid(hashlib.sha256(table.to_csv().encode()).hexdigest()[:8])
    styler.cell_ids = False
    styler.set_table_attributes('class="dataframe"')
    styler.set_table_styles([{"selector": "td, th", "props": "padding: 0.25em 0.6em"}])
    amber = {"background-color": "rgba(222,143,5,0.16)", "font-style": "italic"}
    styler.set_properties(subset=[name for name in paper if name in table], **amber)
    bold = {"font-weight": "bold"}
    styler.set_properties(subset=[name for name in ours if name in table], **bold)
    if "verdict" in table:
        not_run = table.index[table.verdict.str.startswith("not run")]
        not_of_paper = [name for name in table if name not in paper]
        styler.set_properties(subset=(not_run, not_of_paper), color=QUIET)
    return HTML(styler.to_html(sparse_index=False))  # a row alone, as on a phone, says what it is


def of_conditions(table: pd.DataFrame) -> pd.DataFrame:
    """A table by the sample's conditions in their words and order; other rows keep their places."""
    ordered = iter([name for name in wording.CONDITIONS if name in table.index])
    rows = [next(ordered) if name in wording.CONDITIONS else name for name in table.index]
    return table.loc[rows].rename(index=wording.CONDITIONS)


def _as_printed(numbers: pd.Series) -> str:
    """The format of a column of the paper's numbers: with one decimal if none has two."""
    known = pd.to_numeric(numbers, errors="coerce").dropna()
    form = FORMATS[str(numbers.name)]
    return form.replace(".2f", ".1f") if np.allclose(known, known.round(1)) else form


def _escaped(name: object) -> object:
    return html.escape(name) if isinstance(name, str) else name


def _without_untrained(table: pd.DataFrame) -> pd.DataFrame:
    """The table without differences of rows that are hardly trained."""
    hardly = pd.Series(False, index=table.index)
    for name in ("verdict", "effect"):
        if name in table:
            hardly |= table[name] == HARDLY
    return table.assign(**{name: table[name].mask(hardly) for name in COMPARED if name in table})


def _with_intervals(table: pd.DataFrame, formats: dict[Any, Any]) -> pd.DataFrame:
    """Numbers and half of their intervals in one column: "−1.3 ± 0.9".

    An interval's column is "± " and the name of the other, or "±" of an accuracy.
    """
    halves = {name: f"± {name}" for name in table} | dict.fromkeys(ACCURACIES, "±")
    for name, half in halves.items():
        if name in table and half in table:
            sign = "+" in str(formats.get(name, ""))
            words = [
                wording.of_difference(value, reach, sign=sign) if pd.notna(value) else None
                for value, reach in zip(table[name], table[half], strict=True)
            ]
            table = table.assign(**{name: words}).drop(columns=half)
    return table


def _short(table: pd.DataFrame) -> pd.DataFrame:
    """{cell: the class of those that stay in one line}, by which the book's styles find them."""
    found = table[[name for name in (*FIRST, *ACCURACIES) if name in table]]
    return found.map(lambda cell: "short" if len(str(cell)) <= SHORT else "")


def _unit_beside(head: object) -> str:
    """The head of a column as HTML; its last word and the unit are in one line: "top-1 [%]"."""
    return re.sub(r"\S+ \[[^\] ]+\]", r'<span class="short">\g<0></span>', html.escape(str(head)))


def _typeset(how: str | Callable[[float], str]) -> Callable[[float], str]:
    """The same format, with true minus signs and no sign before a zero."""
    form = how.format if isinstance(how, str) else how
    return lambda value: wording.typeset(form(value))


def _without_limit(effect: Any) -> Any:
    """What can be missed, taken off the end of an effect that cannot be told."""
    return effect.partition(":")[0] if str(effect).startswith("cannot tell") else effect
