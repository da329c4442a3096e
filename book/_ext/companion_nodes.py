"""What do all parts of the extension write with? Words for numbers, and small docutils nodes."""

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from safe_companion import ROOT
from safe_companion.effects import mean_and_interval
from safe_companion.wording import counted, plus_minus

Part = str | nodes.Node
Row = tuple[str | None, Sequence[Any]]  # of a table: an id or None, and its cells


# ------------------------------------------------------------------------------- words
def top1_in_words(runs: list[dict]) -> str:
    """Top-1 over the seeds' runs, ± its 95 % interval: "82.1 ± 0.9 %, 5 seeds"."""
    mean, half = mean_and_interval([run["test"]["top1"] for run in runs])
    return f"{mean:.1f}{plus_minus(half)} %, {counted(len(runs), 'seed')}"


def machine(hardware: dict, versions: dict) -> str:
    """Hardware and library versions in words."""
    gpu = hardware["gpu"] or "no GPU"
    libraries = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    return f"{hardware['cpu']}, {counted(hardware['cores'], 'core')}, {gpu}; {libraries}"


def run_id(name: str) -> str:
    return nodes.make_id(f"run-{name}")


def claim_id(name: str) -> str:
    return nodes.make_id(f"claim-{name}")


# ------------------------------------------------------------------------------- nodes
def text(words: str, *classes: str) -> nodes.inline:
    return nodes.inline("", words, classes=list(classes))


def code(words: str) -> nodes.literal:
    return nodes.literal("", words)


def name_in_parts(name: str) -> nodes.literal:
    """A name that may be broken behind its underscores."""
    *before, last = name.split("_")
    parts: list[nodes.Node] = []
    for part in before:
        parts += [nodes.Text(f"{part}_"), nodes.raw("", "<wbr>", format="html")]
    return nodes.literal("", "", *parts, nodes.Text(last))


def line() -> nodes.raw:
    """A line break in a cell."""
    return nodes.raw("", "<br>", format="html")


def badge(origin: str) -> nodes.inline:
    """The mark of sample or real data, in words."""
    return text(f"{origin} data", f"origin-{origin}")


def short(commit: str) -> nodes.literal:
    """A commit as people write it; files that differed from it stay marked."""
    head, dash, mark = commit.partition("-")
    return code(head[:7] + dash + mark)


def link(target: str, child: nodes.Node) -> addnodes.pending_xref:
    """A link to an entry of the tables made here, or to a page such as "/notebooks/train".

    `companion.resolve` finds where it leads.
    """
    attributes: dict[str, Any] = {"reftype": "companion", "reftarget": target, "refwarn": True}
    return addnodes.pending_xref("", child, refdomain="", **attributes)


def download(path: Path, label: nodes.Node, *classes: str) -> addnodes.download_reference:
    """A link to a copy of a file of the repository inside the built book."""
    target = "/" + path.relative_to(ROOT).as_posix()
    return addnodes.download_reference("", "", label, reftarget=target, classes=list(classes))


def joined(parts: Sequence[Part], separator: str = ", ") -> list[nodes.Node]:
    """Nodes with a separator between them."""
    found: list[nodes.Node] = []
    for part in parts:
        if found:
            found.append(nodes.Text(separator))
        found.append(nodes.Text(part) if isinstance(part, str) else part)
    return found


def paragraph(*parts: Part) -> nodes.paragraph:
    return nodes.paragraph("", "", *joined(parts, ""))


def details(summary: str, *children: nodes.Node) -> list[nodes.Node]:
    """Content that opens on a click."""
    start = nodes.raw("", f"<details><summary>{escape(summary)}</summary>", format="html")
    return [start, *children, nodes.raw("", "</details>", format="html")]


def listing(source: str, language: str) -> nodes.literal_block:
    return nodes.literal_block(source, source, language=language)


def facts(lines: Mapping[str, Sequence[Part]]) -> nodes.definition_list:
    """A list of name and value; a value is a list of strings and nodes, or of blocks."""
    items = []
    for name, value in lines.items():
        blocks: Sequence[Any] = value
        if not all(isinstance(part, nodes.Body) for part in value):
            blocks = [paragraph(*value)]
        definition = nodes.definition("", *blocks)
        items.append(nodes.definition_list_item("", nodes.term("", name), definition))
    return nodes.definition_list("", *items, classes=["facts"])


def table(header: list[str], rows: Sequence[Row], *classes: str) -> nodes.table:
    """A table; a row is (id or None, cells), a cell a string or a list of strings and nodes."""
    columns = [nodes.colspec(colwidth=1) for _ in header]
    head = nodes.thead("", _row(None, header))
    body = nodes.tbody("", *[_row(name, cells) for name, cells in rows])
    group = nodes.tgroup("", *columns, head, body, cols=len(header))
    return nodes.table("", group, classes=list(classes))


def _row(name: str | None, cells: Sequence[Any]) -> nodes.row:
    row = nodes.row("", ids=[name] if name else [])
    for cell in cells:
        parts = [cell] if isinstance(cell, str) else cell
        row += nodes.entry("", paragraph(*parts))
    return row
