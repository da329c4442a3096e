"""Where does a notebook's page come from? The box under its title, and words beside its figures."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import companion_nodes as made
from companion_nodes import code, link
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from safe_companion import ROOT, real_studies, studies
from safe_companion.wording import counted

LOGGER = logging.getLogger(__name__)


# ------------------------------------------------------------------------------- notebook files
def shown_notebooks(env: BuildEnvironment) -> list[str]:
    """Stems of the notebooks that the book shows, in the order of their names."""
    folder = "notebooks/"
    return sorted(n.removeprefix(folder) for n in env.found_docs if n.startswith(folder))


def file_of(stem: str) -> Path:
    return ROOT / "notebooks" / f"{stem}.ipynb"


def load_notebook(stem: str) -> dict:
    return json.loads(file_of(stem).read_text(encoding="utf-8"))


def has_outputs(notebook: dict) -> bool:
    return any(cell.get("outputs") for cell in notebook["cells"])


def state_of(notebook: dict) -> str:
    """Whether a notebook was executed, in words."""
    if "safe" in notebook["metadata"]:
        return "executed"
    return "shown, not timed" if has_outputs(notebook) else "not executed"


def parameters(notebook: dict) -> str:
    """The source of the notebook's parameters cell, "" without one."""
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return "".join(cell["source"])
    return ""


def origins_of(notebook: dict, shown: Iterable[str]) -> list[str]:
    """Whether a notebook is about sample or real data: as recorded, else in its own words.

    shown: names of the runs that it shows. [] if it is about neither.
    """
    about = notebook["metadata"].get("safe", {})
    if recorded := about.get("origins") or sorted({name.split("/")[0] for name in shown}):
        return recorded
    if "real data" in json.dumps([cell.get("outputs") for cell in notebook["cells"]]):
        return ["real"]
    said = re.search(r"sample\W+(data|world)", json.dumps(notebook["cells"]))
    return ["sample"] if said else []


# ------------------------------------------------------------------------------- the box
def provenance(stem: str) -> nodes.container:
    """The box under a notebook's finding: data, parameters, runs, time, and how to remake it."""
    notebook = load_notebook(stem)
    about = notebook["metadata"].get("safe", {})
    source = parameters(notebook)
    names = re.findall(r"^(\w+) *=", source, re.MULTILINE)
    shown = shown_runs(about.get("records", []))
    lines: dict[str, Sequence[made.Part]] = {}
    if origins := origins_of(notebook, shown):
        lines["data"] = made.joined([made.badge(origin) for origin in origins], " ")
    if names:
        first = ", ".join(names[:6])
        summary = first if len(names) <= 6 else f"{first} and {len(names) - 6} more"
        lines["parameters"] = made.details(summary, made.listing(source, "python"))
    if shown:
        lines["runs shown"] = list_of_runs(shown)
    if about:
        when = f"{about['date']}, in {about['seconds']} s"
        executed: list[made.Part] = [f"{when}; {made.machine(about, about['versions'])}"]
        if about["commit"]:
            executed += ["; commit ", made.short(about["commit"])]
        lines["executed"] = executed
    elif has_outputs(notebook):
        lines["executed"] = ["run time not recorded; ", code("make notebooks"), " times it"]
    again = f"papermill notebooks/{stem}.ipynb out.ipynb"
    if "rerun" in names:
        again += " -p rerun True"
    where = made.paragraph("in the ", link("/book/intro", made.text("project's environment")))
    lines["make it again"] = [made.listing(again, "bash"), where]
    for study in (stem, stem.split("_")[0]):
        if studies.swept(study):
            lines["its runs"] = [code(f"make {study}"), " trains those that are missing"]
            break
    if stem in real_studies.real_studies():
        trains = " fetches the recordings and trains the runs that are missing"
        lines["its runs"] = [code(f"make {stem}"), trains]
    elif stem == "real_events":
        lines["its numbers"] = [code("make real"), " fetches the recordings and measures them"]
    name = made.text(f"Download {stem}.ipynb")
    lines["file"] = [made.download(file_of(stem), name, "download-notebook")]
    box = nodes.container("", made.facts(lines), classes=["provenance"])
    if not has_outputs(notebook):
        box.insert(0, not_executed())
    return box


def shown_runs(folders: list[str]) -> dict[str, list[str]]:
    """{"sample/pokerevent/base": its seeds} of the records in these folders."""
    shown: dict[str, list[str]] = {}
    for folder in map(Path, folders):
        name = folder.parent.relative_to("results").as_posix()
        shown.setdefault(name, []).append(folder.name.removeprefix("seed"))
    return shown


def list_of_runs(shown: dict[str, list[str]]) -> list[nodes.Node]:
    """Links to runs; more than four configurations open on a click."""
    items = []
    for name, seeds in shown.items():
        entry = link(made.run_id(name), code(name.partition("/")[2]))
        noun = "seed" if len(seeds) == 1 else "seeds"
        items.append(nodes.list_item("", made.paragraph(entry, f" ({noun} {', '.join(seeds)})")))
    bullets = nodes.bullet_list("", *items)
    if len(items) <= 4:
        return [bullets]
    return made.details(counted(len(items), "configuration"), bullets)


def not_executed() -> nodes.admonition:
    """What stands above a notebook without outputs."""
    run, build = code("make notebooks"), code("make book")
    note = made.paragraph(
        "No result yet: ", run, " executes this notebook; then ", build, " shows what it found."
    )
    title = nodes.title("", "Not executed yet")
    return nodes.admonition("", title, note, classes=["admonition-not-executed"])


# ------------------------------------------------------------------------------- while it builds
def add_provenance(app: Sphinx, doctree: nodes.document) -> None:
    """Puts the box below what a notebook found, takes the cell of its parameters off the page.

    Figures without words get some.
    """
    docname = app.env.docname
    if not docname.startswith("notebooks/"):
        return
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        LOGGER.warning("a notebook must begin with a heading", location=docname)
        return
    box = provenance(docname.removeprefix("notebooks/"))
    above = finding(title) or title
    title.parent.insert(title.parent.index(above) + 1, box)
    leave_out_parameters(doctree)
    for image in doctree.findall(nodes.image):
        if not image.get("alt") or image["alt"].endswith((".png", ".svg")):
            section = image.parent
            while not isinstance(section, nodes.section):
                section = section.parent
            heading = section.next_node(nodes.title).astext()
            image["alt"] = f"Figure under the heading “{heading}”"


def finding(title: nodes.title) -> nodes.Node | None:
    """The first cell below a title that shows something, if no text stands before it."""
    section = title.parent
    for node in section[section.index(title) + 1 :]:
        if not isinstance(node, nodes.container):
            return None
        if any("cell_output" in part.get("classes", []) for part in node.children):
            return node
    return None


def leave_out_parameters(doctree: nodes.document) -> None:
    """Takes the cell of parameters off the page: the box lists them, and the file keeps it."""
    for cell in list(doctree.findall(nodes.container)):
        if "tag_parameters" in cell["classes"]:
            cell.parent.remove(cell)


def name_unexecuted(app: Sphinx, exception: Exception | None) -> None:
    """Says at the end of a build which notebooks show nothing, and what executes them."""
    stems = shown_notebooks(app.env)
    empty = [stem for stem in stems if not has_outputs(load_notebook(stem))]
    if empty and exception is None:
        LOGGER.info("not executed: %s; `make notebooks` executes them", ", ".join(empty))
