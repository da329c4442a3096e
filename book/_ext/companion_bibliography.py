"""How does the bibliography name a work? By author and year, as the text cites it, with links.

Addresses that the entries hold as words, "arXiv:2311.18592" and "doi:10.1109/...", become links.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx

ADDRESSES = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}
ADDRESS = re.compile(r"(arXiv):(\d{4}\.\d{4,5})|(doi):(10\.\d{4,9}/[^\s,;]*[^\s,;.])")


class AuthorYearLabels(BaseLabelStyle):
    """ "Li et al., 2025"; letters tell the works of one label apart: 2025a, 2025b."""

    def format_labels(self, sorted_entries: list[Any]) -> Iterator[str]:
        labels = [author_and_year(entry) for entry in sorted_entries]
        count = Counter(labels)
        used: Counter[str] = Counter()
        for label in labels:
            yield label + chr(ord("a") + used[label]) if count[label] > 1 else label
            used[label] += 1


def author_and_year(entry: Any) -> str:
    """The family names of one or two authors, of the first of more; and the year."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    names = [" ".join(map(str, who.rich_prelast_names + who.rich_last_names)) for who in people]
    said = " and ".join(names) if len(names) <= 2 else f"{names[0]} et al."
    return ", ".join(part for part in (said, entry.fields.get("year")) if part) or entry.key


class Style(PlainStyle):
    default_label_style = AuthorYearLabels


def link_addresses(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Makes links of the numbers of arXiv and the DOIs of cited works."""
    for entry in doctree.findall(nodes.citation):
        for leaf in list(entry.findall(nodes.Text)):
            if not isinstance(leaf.parent, nodes.reference) and ADDRESS.search(leaf):
                leaf.parent.replace(leaf, linked(leaf.astext()))


def linked(text: str) -> list[nodes.Node]:
    """A text in parts, its addresses among them as links."""
    parts: list[nodes.Node] = []
    at = 0
    for match in ADDRESS.finditer(text):
        kind, number = match[1] or match[3], match[2] or match[4]
        parts.append(nodes.Text(text[at : match.start()]))
        address = ADDRESSES[kind] + number
        parts.append(nodes.reference("", match[0], refuri=address, internal=False))
        at = match.end()
    return [*parts, nodes.Text(text[at:])]


def setup(app: Sphinx) -> None:
    register_plugin("pybtex.style.formatting", "companion", Style)
    app.connect("doctree-resolved", link_addresses)
