"""The book's own Sphinx extension: every number leads back to its run record or to claims.csv.

Roles:
    {run}`sample/pokerevent/base`          mean top-1 of a run's seeds, linked to its entry
    {difference}`sample/... - sample/...`  paired difference of two runs with its 95 % interval
    {claim}`t4-full`                       the paper's number, linked to its row of the ledger
Directives:
    {ledger}, {records}, {status}          the tables of the pages of the same names
    {found}                                what was found, in a few sentences
    {seeds}, {left-out}                    of a sweep: seeds of each study; rows that it leaves out
    {methods}                              the other methods of Tables 2 and 3
    {machines}                             what runs on two kinds of machines differ by
    {ledger-summary}                       how many claims have which verdict
Also a box under the title of every notebook: its data, parameters, runs, time, and the command that
remakes it; terms that the glossary explains (companion_glossary), a search that finds abbreviations
(companion_search), works named by author and year (companion_bibliography), the whole book on one
page (companion_print), the reference (companion_reference), and cards for other sites.
"""

import gc
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

import companion_bibliography
import companion_glossary
import companion_nodes as made
import companion_print
import companion_reference
import companion_search
from companion_nodes import link, text
from companion_notebooks import add_provenance, file_of, name_unexecuted, shown_notebooks
from companion_tables import (
    FoundHere,
    Ledger,
    LedgerSummary,
    LeftOut,
    Machines,
    Methods,
    RealSummary,
    Records,
    Seeds,
    Status,
    all_runs,
    ledger,
    overviews,
    papers_value,
)
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

from safe_companion import ROOT, effects

sys.path.insert(0, str(ROOT / "book"))
import address

LOGGER = logging.getLogger(__name__)
Found = tuple[list[nodes.Node], list[nodes.system_message]]  # what a role gives


# ------------------------------------------------------------------------------- roles
class FromRecords(SphinxRole):
    """What the roles on runs share: to find them, and to say what is missing."""

    def runs(self, name: str) -> list[dict]:
        """The runs of results/NAME; the page is read again when their records change.

        KeyError without any.
        """
        found = all_runs()[name]
        for run in found:
            self.env.note_dependency(str(ROOT / run["path"] / "record.json"))
        return found

    def missing(self, name: str) -> Found:
        """What stands where a number should be; the page is not lost."""
        self.env.note_reread()
        LOGGER.warning(
            "results/%s: no run record, so there is no number to show; `safe train` and "
            "`safe keep` make one",
            name,
            location=self.get_location(),
        )
        return [text("no record", "missing")], []


class Run(FromRecords):
    """{run}`sample/pokerevent/base`: mean top-1 ± its 95 % interval over the committed seeds."""

    def run(self) -> Found:
        try:
            runs = self.runs(self.text)
        except KeyError:
            return self.missing(self.text)
        origin = runs[0]["data"]["origin"]
        number = text(made.top1_in_words(runs), "from-us", f"of-{origin}")
        return [link(made.run_id(self.text), number)], []


class Difference(FromRecords):
    """{difference}`A - B`: paired difference in top-1 of run A to run B, and what that means."""

    def run(self) -> Found:
        names = [name.strip() for name in self.text.split(" - ", maxsplit=1)]
        found = []
        for name in names:
            try:
                found.append(self.runs(name))
            except KeyError:
                return self.missing(name)
        runs, against = found
        gain = effects.difference(runs, against)
        origin = runs[0]["data"]["origin"]
        words = text(gain.sentence, "from-us", f"of-{origin}")
        return [link(made.run_id(names[0]), words)], []


class Claim(SphinxRole):
    """{claim}`t4-full`: the paper's number as the paper prints it."""

    def run(self) -> Found:
        self.env.note_dependency(str(ROOT / "book" / "claims.csv"))
        if self.text not in ledger().index:
            location = self.get_location()
            LOGGER.warning("book/claims.csv has no claim %r", self.text, location=location)
            return [text("no such claim", "missing")], []
        number = text(papers_value(ledger().loc[self.text]), "from-paper")
        return [link(made.claim_id(self.text), number)], []


# ------------------------------------------------------------------------------- while it builds
def set_refdoc(app: Sphinx, doctree: nodes.document) -> None:
    """Links made by this extension say which page they are on, as Sphinx's own do."""
    for kind in (addnodes.pending_xref, addnodes.download_reference):
        for node in doctree.findall(kind):
            node.setdefault("refdoc", app.env.docname)


CODE = (nodes.literal_block, nodes.doctest_block)
MOST_LETTERS = 28  # of a word of code that is kept in one line: a longer one could not fit a phone


def tidy_code(app: Sphinx, doctree: nodes.document) -> None:
    """Listings end with their last line of code; short words of code in a text are not broken."""
    for block in doctree.findall(lambda node: isinstance(node, CODE)):
        if block.rawsource == block.astext():  # else it has a markup of its own
            block.rawsource = block.rawsource.rstrip()
            block[:] = [nodes.Text(block.rawsource)]
    for literal in doctree.findall(nodes.literal):
        if all(len(word) <= MOST_LETTERS for word in literal.astext().split()):
            literal["classes"].append("short")


def keep_together(app: Sphinx, doctree: nodes.document) -> None:
    """A number stays in one line with its unit and its interval: "77.0 %", "3.0 ± 1.0"."""
    for words in list(doctree.findall(nodes.Text)):
        if not isinstance(words.parent, (nodes.FixedTextElement, nodes.literal, nodes.math)):
            kept = re.sub(r"(?<=\d) (?=%|± \d)|(?<=\d ±) (?=\d)", "\N{NO-BREAK SPACE}", words)
            words.parent.replace(words, nodes.Text(kept))


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Where a `link` leads: unlike Sphinx's own references it keeps the look of what is linked."""
    if node["reftype"] != "companion":
        return None
    page, anchor = node["reftarget"].removeprefix("/"), ""
    if not node["reftarget"].startswith("/"):
        domain: Any = env.get_domain("std")
        page, anchor = domain.anonlabels.get(node["reftarget"], ("", ""))
    if page not in env.found_docs:
        return None
    return make_refnode(app.builder, node["refdoc"], page, anchor, content)


def pages_to_read(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> set[str]:
    """The pages with tables, if anything that they show changed; all, if this extension did."""
    shown = [*(ROOT / "results").rglob("record.json"), ROOT / "book" / "claims.csv"]
    shown += [file_of(stem) for stem in shown_notebooks(env)]
    shown += [ROOT / "safe_core.py", *(ROOT / "safe_companion").rglob("*.py")]
    now = changes(shown), changes(list(Path(__file__).parent.glob("*.py")))
    before = getattr(env, "companion_state", None)
    vars(env)["companion_state"] = now
    if before is not None and before[1] != now[1]:
        return env.found_docs
    return overviews(env) & env.found_docs if before is None or before[0] != now[0] else set()


def changes(files: list[Path]) -> list[tuple[str, int]]:
    """When each file was last written."""
    return sorted((str(file), file.stat().st_mtime_ns) for file in files)


def purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    overviews(env).discard(docname)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
    overviews(env).update(overviews(other))


def repository(app: Sphinx | None, config: Config) -> None:
    """Buttons that lead to the repository, only if _config.yml says where it is."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = True
        options["use_issues_button"] = True
    else:
        options.pop("launch_buttons", None)
        options.pop("repository_url", None)


def card(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None
) -> None:
    """What other sites show of a page that is linked there: title, first sentences, a picture.

    The picture needs a full address, so there is one only if _config.yml says where the project is.
    """
    if doctree is None:
        return
    paragraphs = (p for p in doctree.findall(nodes.paragraph) if not isinstance(p.parent, APART))
    about = " ".join(next((p.astext() for p in paragraphs), "").split())
    about = about if len(about) <= 200 else about[:200].rpartition(" ")[0] + " …"
    values = {
        "og:type": "article",
        "og:site_name": app.config.html_title or app.config.project,
        "og:title": re.sub(r"<[^>]+>", "", context.get("title", "")),
        "og:description": about,
    }
    options = app.config.html_theme_options
    if picture := address.picture(options.get("repository_url", ""), address.branch()):
        values |= {"og:image": picture, "twitter:card": "summary_large_image"}
    lines = [
        f'<meta property="{name}" content="{escape(value)}" />' for name, value in values.items()
    ]
    lines.append(f'<meta name="description" content="{escape(about)}" />')
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])


APART = (nodes.entry, nodes.definition, nodes.caption)  # their paragraphs say nothing of the page


PARTS = (
    companion_bibliography,
    companion_glossary,
    companion_print,
    companion_reference,
    companion_search,
)


def setup(app: Sphinx) -> dict[str, Any]:
    # A page is a large graph: to search it for garbage as often as usual is a sixth of the build.
    gc.set_threshold(200_000, 50, 100)
    for part in PARTS:
        part.setup(app)
    app.add_role("run", Run())
    app.add_role("difference", Difference())
    app.add_role("claim", Claim())
    app.add_directive("ledger", Ledger)
    app.add_directive("ledger-summary", LedgerSummary)
    app.add_directive("real-summary", RealSummary)
    app.add_directive("records", Records)
    app.add_directive("found", FoundHere)
    app.add_directive("machines", Machines)
    app.add_directive("seeds", Seeds)
    app.add_directive("left-out", LeftOut)
    app.add_directive("methods", Methods)
    app.add_directive("status", Status)
    app.connect("config-inited", repository, priority=100)
    app.connect("doctree-read", add_provenance, priority=100)  # before downloads are collected
    app.connect("doctree-read", set_refdoc, priority=101)
    app.connect("doctree-read", tidy_code, priority=101)
    app.connect("doctree-read", keep_together, priority=101)
    app.connect("missing-reference", resolve)
    app.connect("env-get-outdated", pages_to_read)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("html-page-context", card)
    app.connect("build-finished", name_unexecuted)
    parallel = {"parallel_read_safe": True, "parallel_write_safe": True}
    return {"version": "1", "env_version": 3} | parallel
