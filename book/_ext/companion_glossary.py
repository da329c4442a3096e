"""Which words does a page explain? The first use of each term of the glossary, in running text.

A term is linked to its entry in book/glossary.md, and carries the entry's first sentences, which
book/_static/companion.js shows while the pointer or the keyboard is on it.
"""

import functools
import re
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

from safe_companion import ROOT

PAGE = "book/glossary"
FILE = ROOT / f"{PAGE}.md"
# How pages begin that have no running text of their own, or are about names of the code.
LEFT_OUT = (PAGE, "book/api", "book/bibliography", "book/records", "book/status")
# What is no running text: terms inside stay as they are.
APART = (
    nodes.title,
    nodes.literal,
    nodes.literal_block,
    nodes.reference,
    nodes.raw,
    nodes.math,
    nodes.table,
    nodes.caption,
    nodes.comment,
    nodes.term,
    nodes.image,
)


class Term(NamedTuple):
    """An entry of the glossary: the name that its link leads to, and what is shown of it."""

    name: str
    preview: str


class term_link(nodes.Inline, nodes.TextElement):  # noqa: N801, named like docutils' own
    """A word that is explained in the glossary; attributes: name, preview."""


def read(text: str) -> dict[str, Term]:
    """{name in lower case: its entry} of the glossary's page, with all names of an entry."""
    found: dict[str, Term] = {}
    block = re.search(r"^```\{glossary\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if block is None:
        raise ValueError(f"{FILE}: found no glossary; expected a block ```{{glossary}}")
    for entry in re.split(r"\n\s*\n", block[1].strip()):
        lines = [line for line in entry.splitlines() if not line.startswith(":")]
        names = [line for line in lines if not line.startswith(" ")]
        body = " ".join(line.strip() for line in lines if line.startswith(" "))
        for name in names:
            found[name] = Term(name, preview(body))
    return found


def preview(body: str) -> str:
    """An entry as plain text, without the sentences that lead to pages."""
    sentences = re.split(r"(?<=[.;]) (?=[A-Z])", body)
    plain = " ".join(sentence for sentence in sentences if "{doc}" not in sentence)
    return re.sub(r"[`*]|\{\w+\}", "", plain)


@functools.cache
def entries() -> dict[str, Term]:
    return read(FILE.read_text(encoding="utf-8"))


def pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the names as a word of its own; small ones also capitalised and in plural."""
    forms = []
    for name in sorted(names, key=len, reverse=True):
        form = re.escape(name).replace(r"\ ", r"\s+")
        if name[0].islower():
            form = f"[{name[0].upper()}{name[0]}]{form[1:]}"
        forms.append(f"(?P<t{names.index(name)}>{form}{'(?:e?s)?' if name[-1].islower() else ''})")
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(forms)})(?![\w-])")


def explain(doctree: nodes.Node, known: dict[str, Term]) -> None:
    """Turns the first use of each entry in running text into a `term_link`."""
    names = tuple(known)
    words = pattern(names)
    done: set[str] = set()
    for leaf in list(doctree.findall(nodes.Text)):
        if not is_running(leaf):
            continue
        parts = split(leaf.astext(), words, names, known, done)
        if len(parts) > 1 or isinstance(parts[0], term_link):
            leaf.parent.replace(leaf, parts)


def split(
    text: str,
    words: re.Pattern[str],
    names: tuple[str, ...],
    known: dict[str, Term],
    done: set[str],
) -> list[nodes.Node]:
    """A text in parts, some of them links; `done` holds the previews that the page has shown."""
    parts: list[nodes.Node] = []
    at = 0
    for match in words.finditer(text):
        index = next(int(key[1:]) for key, value in match.groupdict().items() if value)
        term = known[names[index]]
        if term.preview in done:
            continue
        done.add(term.preview)
        if match.start() > at:
            parts.append(nodes.Text(text[at : match.start()]))
        parts.append(term_link("", match[0], name=term.name, preview=term.preview))
        at = match.end()
    if at < len(text) or not parts:
        parts.append(nodes.Text(text[at:]))
    return parts


def is_running(leaf: nodes.Text) -> bool:
    """Whether a text stands in a paragraph, not in code, a heading, a table or a link."""
    inside = False
    node: Any = leaf.parent
    while node is not None:
        classes = node.get("classes", []) if isinstance(node, nodes.Element) else []
        if isinstance(node, APART) or node.tagname in ("pending_xref", "download_reference"):
            return False
        if "provenance" in classes or any(name.startswith("origin-") for name in classes):
            return False
        inside = inside or isinstance(node, nodes.paragraph)
        node = node.parent
    return inside


# ------------------------------------------------------------------------------- while it builds
def add_terms(app: Sphinx, doctree: nodes.document) -> None:
    if PAGE in app.env.found_docs and not app.env.docname.startswith(LEFT_OUT):
        app.env.note_dependency(str(FILE))
        explain(doctree, entries())


def visit(translator: Any, node: term_link) -> None:
    builder = translator.builder
    domain = builder.env.get_domain("std")
    page, anchor = domain.objects.get(("term", node["name"]), (PAGE, ""))
    address = builder.get_relative_uri(builder.current_docname, page)
    attributes = {"href": f"{address}#{anchor}", "data-preview": node["preview"]}
    translator.body.append(translator.starttag(node, "a", "", CLASS="term-link", **attributes))


def depart(translator: Any, node: term_link) -> None:
    translator.body.append("</a>")


def plain(translator: Any, node: term_link) -> None:
    """In formats without previews a term is a word like any other."""


def setup(app: Sphinx) -> None:
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), (plain, plain))
    app.add_node(term_link, html=(visit, depart), **others)
    app.connect("builder-inited", lambda app: entries.cache_clear())
    app.connect("doctree-read", add_terms, priority=102)  # once the page is whole
