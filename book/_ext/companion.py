"""The book's own Sphinx extension: every number comes from a run record or from book/claims.csv, and leads back there.

Roles:       {run}`sample/pokerevent/base`        mean and standard deviation of a run, linked to its entry
             {difference}`sample/... - sample/...` paired difference of two runs with its 95 % interval
             {claim}`t4-full`                     the paper's number, linked to its row of the ledger
Directives:  {ledger}, {records}, {status}        the tables of the pages of the same names
             {ledger-summary}                     how many claims have which verdict
Also a box under the title of every notebook: its data, parameters, runs, time, and the command that remakes it.
"""

import functools
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import safe_book  # noqa: E402
import safe_core  # noqa: E402
import safe_released  # noqa: E402

RESULTS = ROOT / "results"
LOGGER = logging.getLogger(__name__)
DATASETS = {"hardvs": "HARDVS", "pokerevent": "PokerEvent", "folder": "A folder of recordings"}
MINUS = "\N{MINUS SIGN}"


# ------------------------------------------------------------------------------------------------ what is at hand


@functools.cache
def all_runs() -> dict[str, list[dict]]:
    """{"sample/pokerevent/base": runs by seed}: every committed run."""
    found = {}
    for file in RESULTS.glob("*/*/*/seed*/record.json"):
        found.setdefault(file.parents[1].relative_to(RESULTS).as_posix(), []).append(safe_book.load_run(file.parent))
    return {name: sorted(found[name], key=lambda run: run["config"]["seed"]) for name in sorted(found)}


@functools.cache
def ledger() -> pd.DataFrame:
    """The ledger, with the paper's values as the paper prints them, and the claims' configurations."""
    raw = pd.read_csv(ROOT / "book" / "claims.csv", dtype=str, keep_default_na=False).set_index("id")
    return safe_book.ledger().assign(printed=raw.value, fields=safe_book.claims().fields, against=raw.against)


@functools.cache
def all_studies() -> dict[str, list[dict]]:
    """{study: configuration fields of the rows that it sets apart from a baseline} over both data sets."""
    found = {}
    for dataset in safe_book.SWEPT:
        for name, rows in safe_book.studies(dataset, "sample").items():
            found.setdefault(name, []).extend(list(rows.values())[1:])
    return found


def notebooks(env) -> list[str]:
    """Stems of the notebooks that the book shows, in the order of their names."""
    return sorted(name.removeprefix("notebooks/") for name in env.found_docs if name.startswith("notebooks/"))


def command(runs: list[dict]) -> str:
    """The command line that makes the runs of one configuration again."""
    config = runs[0]["config"]
    preset, fields = safe_book.differing(safe_core.Config(**config))
    words = ["python safe_core.py", f"--dataset {config['dataset']}"]
    if config["data_root"] is not None:
        words.append(f"--data-root PATH_TO/{shlex.quote(config['data_root'])}")
    if preset != ("sample" if config["data_root"] is None else "paper"):
        words.append(f"--preset {preset}")
    for key, value in fields.items():
        option = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option[2:])
        elif value is not None:
            words.append(f"{option} {shlex.quote(str(value))}")
    folder = "runs/" + "/".join(Path(runs[0]["path"]).parts[1:-1])
    if len(runs) == 1:
        return " ".join([*words, f"--seed {config['seed']} --out-dir {shlex.quote(folder)}/seed{config['seed']}"])
    words += [f"--seed $seed --out-dir {shlex.quote(folder)}/seed$seed"]
    return f"for seed in {' '.join(str(run['config']['seed']) for run in runs)}; do {' '.join(words)}; done"


# ------------------------------------------------------------------------------------------------ words and nodes


def signed(value: float, digits: int = 1) -> str:
    """1.25 -> "+1.2", with a true minus sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def number(mean: float | None, half: float) -> str:
    """"82.1 ± 0.9", or only the " ± 0.9"; without an interval only the mean."""
    return ("" if mean is None else f"{mean:.1f}") + ("" if pd.isna(half) else f" ± {half:.1f}")


def seeds(count: float) -> str:
    return f"{count:.0f} seed{'s' * (count > 1)}"


def mean_and_deviation(runs: list[dict]) -> str:
    """"82.1 ± 0.9 %, 5 seeds": top-1 over the seeds' runs, ± their standard deviation."""
    top1 = [run["test"]["top1"] for run in runs]
    return f"{number(np.mean(top1), np.std(top1, ddof=1) if len(runs) > 1 else np.nan)} %, {seeds(len(runs))}"


def papers_value(claim: pd.Series) -> str:
    """The paper's number with its unit."""
    if not claim.printed:
        return claim.metric  # two claims that contradict each other have no single number
    return f"{int(claim.printed):,}" if claim.unit == "count" else f"{claim.printed} {claim.unit}"


def run_id(name: str) -> str:
    return nodes.make_id(f"run-{name}")


def claim_id(name: str) -> str:
    return nodes.make_id(f"claim-{name}")


def text(words: str, *classes: str) -> nodes.inline:
    return nodes.inline("", words, classes=list(classes))


def code(words: str) -> nodes.literal:
    return nodes.literal("", words)


def line() -> nodes.raw:
    """A line break in a cell."""
    return nodes.raw("", "<br>", format="html")


def badge(origin: str) -> nodes.inline:
    """The mark of sample or real data, in words."""
    return text(f"{origin} data", f"origin-{origin}")


def link(target: str, child: nodes.Node) -> addnodes.pending_xref:
    """A link to an entry of the tables made here, or to a page ("/notebooks/train"); `resolve` finds where it leads."""
    return addnodes.pending_xref("", child, refdomain="", reftype="companion", reftarget=target, refwarn=True)


def download(path: Path, label: str, *classes: str) -> addnodes.download_reference:
    """A link to a copy of a file of the repository inside the built book."""
    target = "/" + path.relative_to(ROOT).as_posix()
    return addnodes.download_reference("", "", code(label) if not classes else text(label), reftarget=target,
                                       classes=list(classes))  # fmt: skip


def short(commit: str) -> nodes.literal:
    """A commit as people write it; files that differed from it stay marked."""
    return code(commit[:7] + "-dirty" * commit.endswith("-dirty"))


def joined(parts: list, separator: str = ", ") -> list[nodes.Node]:
    """Nodes with a separator between them."""
    found = []
    for part in parts:
        found += [nodes.Text(separator)] * bool(found) + [nodes.Text(part) if isinstance(part, str) else part]
    return found


def paragraph(*parts, classes=()) -> nodes.paragraph:
    return nodes.paragraph("", "", *joined(parts, ""), classes=list(classes))


def details(summary: str, *children: nodes.Node) -> list[nodes.Node]:
    """Content that opens on a click."""
    return [nodes.raw("", f"<details><summary>{summary}</summary>", format="html"), *children,
            nodes.raw("", "</details>", format="html")]  # fmt: skip


def listing(source: str, language: str) -> nodes.literal_block:
    return nodes.literal_block(source, source, language=language)


def facts(lines: dict[str, list]) -> nodes.definition_list:
    """A list of name and value; a value is a list of strings and nodes, or of blocks."""
    items = []
    for name, value in lines.items():
        blocks = all(isinstance(part, nodes.Body) for part in value)
        items.append(nodes.definition_list_item(
            "", nodes.term("", name), nodes.definition("", *(value if blocks else [paragraph(*value)]))))  # fmt: skip
    return nodes.definition_list("", *items, classes=["facts"])


def table(header: list[str], rows: list[tuple[str | None, list]], *classes: str) -> nodes.table:
    """A table; a row is (id or None, cells), a cell a string or a list of strings and nodes."""
    group = nodes.tgroup("", *[nodes.colspec(colwidth=1) for _ in header], cols=len(header))
    for part, lines in ((nodes.thead(), [(None, header)]), (nodes.tbody(), rows)):
        for name, cells in lines:
            row = nodes.row("", ids=[name] if name else [])
            for cell in cells:
                row += nodes.entry("", paragraph(*([cell] if isinstance(cell, str) else cell)))
            part += row
        group += part
    return nodes.table("", group, classes=list(classes))


# ------------------------------------------------------------------------------------------------ roles


class FromRecords(SphinxRole):
    """What the roles on runs share: finding them, and saying what is missing without losing the page."""

    def runs(self, name: str) -> list[dict]:
        """The runs of results/NAME; the page is read again when their records change. KeyError without any."""
        found = all_runs()[name]
        for run in found:
            self.env.note_dependency(str(ROOT / run["path"] / "record.json"))
        return found

    def missing(self, name: str) -> list[nodes.Node]:
        self.env.note_reread()
        LOGGER.warning("results/%s: no run record, so there is no number to show; `python safe_core.py` and "
                       "`python -m safe_book keep` make one", name, location=self.get_location())  # fmt: skip
        return [text("no record", "missing")]


class Run(FromRecords):
    """{run}`sample/pokerevent/base`: mean top-1 ± standard deviation over the committed seeds."""

    def run(self):
        try:
            runs = self.runs(self.text)
        except KeyError:
            return self.missing(self.text), []
        origin = runs[0]["data"]["origin"]
        return [link(run_id(self.text), text(mean_and_deviation(runs), "from-us", f"of-{origin}"))], []


class Difference(FromRecords):
    """{difference}`A - B`: paired difference in top-1 of run A to run B, 95 % interval, and what that means."""

    def run(self):
        first, _, second = self.text.partition(" - ")
        found = []
        for name in (first.strip(), second.strip()):
            try:
                found.append(self.runs(name))
            except KeyError:
                return self.missing(name), []
        mean, half, _ = safe_book.difference(*found)
        words = f"{signed(mean)}{number(None, half)} points: {safe_book.effect(mean, half)}"
        origin = found[0][0]["data"]["origin"]
        return [link(run_id(first.strip()), text(words, "from-us", f"of-{origin}"))], []


class Claim(SphinxRole):
    """{claim}`t4-full`: the paper's number as the paper prints it."""

    def run(self):
        self.env.note_dependency(str(ROOT / "book" / "claims.csv"))
        if self.text not in ledger().index:
            LOGGER.warning("book/claims.csv has no claim %r", self.text, location=self.get_location())
            return [text("no such claim", "missing")], []
        return [link(claim_id(self.text), text(papers_value(ledger().loc[self.text]), "from-paper"))], []


# ------------------------------------------------------------------------------------------------ tables

VERDICTS = {  # a sign beside the words, so that nothing depends on colour
    "reproduced": ("✓", "good"), "not reproduced": ("✗", "bad"), "same direction": ("↗", "good"),
    "opposite": ("↘", "bad"), "no measurable effect": ("≈", "open"), "one seed": ("1", "open"),
    "too few seeds": ("…", "open"), "sample only": ("◐", "none"), "other data": ("◐", "none"), "not run": ("○", "none"), "contradiction": ("!", "paper"), "ambiguity": ("?", "paper"),
}  # fmt: skip


def verdict(words: str) -> nodes.inline:
    sign, kind = next(value for start, value in VERDICTS.items() if words.startswith(start))
    return text(f"{sign} {words}", "verdict", f"verdict-{kind}")


class Overview(SphinxDirective):
    """What the directives share: their pages are read again when a record, a notebook or a claim comes or goes."""

    def run(self):
        vars(self.env).setdefault("companion_overviews", set()).add(self.env.docname)
        return self.content_nodes()

    def anchor(self, name: str, title: str) -> str:
        """Makes `name` a target for `link`; returns it."""
        self.env.get_domain("std").note_hyperlink_target(name, self.env.docname, name, title)
        return name

    def section(self, name: str, *title: nodes.Node) -> nodes.section:
        heading = nodes.title("", "", *title)
        self.anchor(name, heading.astext())
        return nodes.section("", heading, ids=[name], names=[name])


class Ledger(Overview):
    """{ledger}: every claim of the paper beside our runs; with an argument, those whose place contains it."""

    optional_arguments = 1
    final_argument_whitespace = True

    def content_nodes(self):
        shown = ledger()
        if not self.arguments:
            return [self.place(place, group) for place, group in shown.groupby("where", sort=False)]
        shown = shown[shown["where"].str.contains(self.arguments[0], regex=False)]
        if shown.empty:
            raise self.error(f"no claim of book/claims.csv has {self.arguments[0]!r} in its place in the paper")
        return [self.table(shown, anchors=False)]

    def place(self, place: str, group: pd.DataFrame) -> nodes.section:
        section = self.section(nodes.make_id(f"claims-of-{place}"), nodes.Text(place))
        section += self.table(group, anchors=True)
        return section

    def table(self, shown: pd.DataFrame, *, anchors: bool) -> nodes.table:
        rows = []
        for name, claim in shown.iterrows():
            anchor = self.anchor(claim_id(name), name) if anchors else None
            cells = [self.what(name, claim, anchors), self.paper(claim), self.ours(claim), self.verdict(claim)]
            rows.append((anchor, cells))
        return table(["Claim", "Paper", "Ours", "Verdict and evidence"], rows, "ledger")

    def what(self, name, claim, anchors):
        names = {"top1": "top-1", "contradiction": "", "ambiguity": ""}
        metric = names.get(claim.metric, claim.metric.replace("_", " "))
        words = ", ".join(filter(None, [claim.system, claim.setting, metric, DATASETS[claim.dataset]]))
        return [text(words), line(), code(name) if anchors else link(claim_id(name), code(name))]

    def paper(self, claim):
        parts = [text(papers_value(claim), "from-paper")]
        if pd.notna(claim["paper difference"]):
            parts += [line(), text(signed(claim["paper difference"], 2), "from-paper"), " to ",
                      link(claim_id(claim.against), code(claim.against))]  # fmt: skip
        return parts

    def ours(self, claim):
        if pd.isna(claim.ours):
            return [text("–", "quiet")]
        mean = text(number(claim.ours, claim["±"]) + " %", "from-us")
        parts = [mean, f", {seeds(claim.seeds)} ", badge(claim.origin)]
        if pd.notna(claim.difference):
            parts += [line(), text(signed(claim.difference) + number(None, claim["± difference"]), "from-us"), " to ",
                      link(claim_id(claim.against), code(claim.against))]  # fmt: skip
        return parts

    def verdict(self, claim):
        parts = [link(f"/notebooks/{stem}", code(stem)) for stem in self.notebooks(claim)]
        if pd.notna(claim.record):
            parts.insert(0, link(run_id(Path(claim.record).relative_to("results").as_posix()), text("records")))
            parts += [short(claim.commit)] if pd.notna(claim.commit) else []
            parts += [text("made by older code", "older")] if claim.code == "older" else []
        return [verdict(claim.verdict), *([line(), *joined(parts)] if parts else [])]

    def notebooks(self, claim) -> list[str]:
        """The table's own notebook, and those of studies that set the claim's row apart from their baseline."""
        table = claim["where"].lower().replace(" ", "")
        studies = {name for name, rows in all_studies().items()
                   if claim.fields and claim.fields in rows and not name.startswith("table")}  # fmt: skip
        return [stem for stem in notebooks(self.env)
                if stem.startswith(f"{table}_") or stem in studies or stem.split("_")[0] in studies]  # fmt: skip


class LedgerSummary(Overview):
    """{ledger-summary}: how many of the paper's numbers have which verdict, and on which data that rests."""

    def content_nodes(self):
        rests_on = {"real": [badge("real")], "sample": [badge("sample")], "": ["–"]}
        run = ~ledger().verdict.str.startswith("not run")
        judged = ledger().assign(rests_on=ledger().origin.fillna("").where(run, ""))
        counts = judged.groupby(["rests_on", "verdict"]).size().sort_index(level=0, ascending=False)
        rows = [(None, [[verdict(words)], rests_on[origin], str(n)]) for (origin, words), n in counts.items()]
        whole = [link("/book/ledger", text(f"all {len(judged)} claims"))]
        return [table(["verdict", "rests on", "claims"], [*rows, (None, [whole, "", str(len(judged))])], "summary")]


class Records(Overview):
    """{records}: every committed run."""

    def content_nodes(self):
        sections = {}
        for name, runs in sorted(all_runs().items(), key=lambda item: item[0].startswith("real/")):  # the sample first
            origin, dataset, rest = name.split("/")
            if (origin, dataset) not in sections:
                title = f"{DATASETS.get(dataset, dataset)}, {origin} data"
                sections[origin, dataset] = self.section(nodes.make_id(f"runs-{origin}-{dataset}"), nodes.Text(title))
            sections[origin, dataset] += self.entry(name, runs, origin, rest)
        return list(sections.values())

    def entry(self, name, runs, origin, rest):
        section = self.section(run_id(name), code(rest.replace(",", ", ")))
        section["classes"].append("run")
        preset, fields = safe_book.differing(safe_core.Config(**runs[0]["config"]))
        as_released = safe_released.RELEASED.items() <= fields.items()
        apart = ", ".join(f"{k}={v}" for k, v in fields.items())
        mean, half = safe_book.mean_and_interval([run["test"]["top1"] for run in runs])
        interval = f" (95 % interval of the mean: ± {half:.1f})" if len(runs) > 1 else ""
        rows = []
        for run in runs:
            files = [download(ROOT / run["path"] / name, name) for name in ("record.json", "predictions.csv")]
            rows.append((None, [
                str(run["config"]["seed"]), f"{run['test']['top1']:.2f}", f"{run['test']['top5']:.2f}",
                f"{run['seconds'] / 60:.1f} min", run["date"], [text("older", "older")] if safe_book.stale(run) else "current",
                joined(files)]))  # fmt: skip
        data, folder, last = runs[0]["data"], runs[0]["config"]["data_root"], runs[-1]
        section += paragraph(badge(origin), " top-1 ", text(mean_and_deviation(runs), "from-us"), interval)
        section += facts({
            "apart from the preset": [f"preset {preset}: ", code(apart)] if apart else [f"preset {preset}, unchanged"],
            **({"released": ["all choices of the released code together (", code("safe_released.RELEASED"), ")"]}
               if as_released else {}),
            "data": [f"{folder}, " * bool(folder) + f"{data['train']} training, {data['val']} validation and "
                     f"{data['test']} test recordings, fingerprint ", code(data["fingerprint"][:12])],
            "machine": [machine(last["hardware"], last)],
        })  # fmt: skip
        section += table(["seed", "top-1 [%]", "top-5 [%]", "training", "date", "code", "files"], rows, "runs")
        section += listing(command(runs), "bash")
        return section


def machine(hardware: dict, made: dict) -> str:
    """Hardware and library versions in words, of a run's record or a notebook's metadata `made`."""
    versions = made["versions"]
    gpu = f", {hardware['gpu']}" if hardware["gpu"] else ", no GPU"
    return (f"{hardware['cpu']}, {hardware['cores']} cores{gpu}; "
            + ", ".join(f"{name} {versions[name]}" for name in versions))  # fmt: skip


class Status(Overview):
    """{status}: each notebook's last execution, the records made by older code, and what everything ran on."""

    def content_nodes(self):
        return [self.notebooks(), self.older(), self.machines()]

    def notebooks(self):
        section, rows = self.section("status-notebooks", nodes.Text("Notebooks")), []
        for stem in notebooks(self.env):
            notebook = load_notebook(ROOT / "notebooks" / f"{stem}.ipynb")
            made = notebook["metadata"].get("safe", {})
            state = "executed" if made else "shown, not timed" if has_outputs(notebook) else "not executed"
            rows.append((None, [
                [link(f"/notebooks/{stem}", code(stem))], [text(state, "quiet" if made else "older")],
                f"{made['seconds']} s" if made else "–", made.get("date", "–"),
                [short(made["commit"])] if made.get("commit") else "–",
                machine(made, made) if made else "–"]))  # fmt: skip
        section += table(["notebook", "state", "run time", "date", "commit", "machine"], rows, "status")
        return section

    def older(self):
        section = self.section("status-older", nodes.Text("Records made by older code"))
        older = {name: [run for run in runs if safe_book.stale(run)] for name, runs in all_runs().items()}
        older = {name: runs for name, runs in older.items() if runs}
        if not older:
            count = sum(map(len, all_runs().values()))
            section += paragraph(f"None: all {count} records were made by the present code.")
            return section
        section += paragraph("Their numbers are shown, and marked, until they are computed again: delete the record, "
                             "then let the sweep make it.")  # fmt: skip
        rows = [(None, [[link(run_id(name), code(name))], ", ".join(str(run["config"]["seed"]) for run in runs),
                        runs[0]["date"]]) for name, runs in older.items()]  # fmt: skip
        section += table(["run", "seeds", "date"], rows)
        return section

    def machines(self):
        section = self.section("status-machines", nodes.Text("What the runs ran on"))
        found = [machine(run["hardware"], run) for runs in all_runs().values() for run in runs]
        counts = pd.Series(found).value_counts()
        section += table(["machine and versions", "runs"], [(None, [name, str(n)]) for name, n in counts.items()])
        return section


# ------------------------------------------------------------------------------------------------ notebooks


def load_notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def has_outputs(notebook: dict) -> bool:
    return any(cell.get("outputs") for cell in notebook["cells"])


def parameters(notebook: dict) -> str:
    """The source of the notebook's parameters cell, "" without one."""
    cells = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    return "".join(cells[0]["source"]) if cells else ""


def provenance(stem: str) -> nodes.container:
    """The box under a notebook's title."""
    path = ROOT / "notebooks" / f"{stem}.ipynb"
    notebook = load_notebook(path)
    made, source = notebook["metadata"].get("safe", {}), parameters(notebook)
    names = re.findall(r"^(\w+) *=", source, re.MULTILINE)
    shown = {}
    for folder in map(Path, made.get("records", [])):
        shown.setdefault(folder.parent.relative_to("results").as_posix(), []).append(folder.name.removeprefix("seed"))
    origins = sorted({name.split("/")[0] for name in shown} or {"sample"})  # no notebook here is executed on other data
    lines = {"data": joined([badge(origin) for origin in origins], " ")}
    if names:
        few = ", ".join(names[:6]) + f" and {len(names) - 6} more" * (len(names) > 6)
        lines["parameters"] = details(few, listing(source, "python"))
    if shown:
        runs = [[link(run_id(name), code(name.partition("/")[2])), f" (seeds {', '.join(these)})"]
                for name, these in shown.items()]  # fmt: skip
        bullets = nodes.bullet_list("", *[nodes.list_item("", paragraph(*run)) for run in runs])
        lines["runs shown"] = [bullets] if len(runs) <= 4 else details(f"{len(runs)} runs", bullets)
    if made:
        lines["executed"] = [f"{made['date']}, in {made['seconds']} s; {machine(made, made)}"]
        if made["commit"]:
            lines["executed"] += ["; commit ", short(made["commit"])]
    elif has_outputs(notebook):
        lines["executed"] = ["run time not recorded; ", code("make notebooks"), " executes and times it"]
    rerun = " -p rerun True" * ("rerun" in names)
    lines["make it again"] = [listing(f"papermill notebooks/{stem}.ipynb out.ipynb{rerun}", "bash")]
    study = next((key for key in (stem, stem.split("_")[0]) if key in all_studies()), None)
    if study:
        lines["its runs"] = [code(f"make {study}"), " trains what is missing of them"]
    lines["file"] = [download(path, f"Download {stem}.ipynb", "download-notebook")]
    box = nodes.container("", facts(lines), classes=["provenance"])
    if not has_outputs(notebook):
        note = paragraph("No result yet: ", code("make notebooks"), " executes this notebook; then ", code("make book"),
                         " shows what it found.")  # fmt: skip
        title = nodes.title("", "Not executed yet")
        box.insert(0, nodes.admonition("", title, note, classes=["admonition-not-executed"]))
    return box


def add_provenance(app, doctree) -> None:
    """Puts the box below the first heading of a notebook page, and words beside its figures."""
    docname = app.env.docname
    if not docname.startswith("notebooks/"):
        return
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        LOGGER.warning("a notebook must begin with a heading", location=docname)
        return
    box = provenance(docname.removeprefix("notebooks/"))
    title.parent.insert(title.parent.index(title) + 1, box)
    for image in doctree.findall(nodes.image):
        if not image.get("alt") or image["alt"].endswith((".png", ".svg")):
            section = image
            while section is not None and not isinstance(section, nodes.section):
                section = section.parent
            image["alt"] = f"Figure under the heading “{section.next_node(nodes.title).astext()}”"


# ------------------------------------------------------------------------------------------------ set-up


def set_refdoc(app, doctree) -> None:
    """Links made by this extension say which page they are on, as Sphinx's own do."""
    for kind in (addnodes.pending_xref, addnodes.download_reference):
        for node in doctree.findall(kind):
            node.setdefault("refdoc", app.env.docname)


def resolve(app, env, node, content):
    """Where a `link` leads: unlike Sphinx's own references it keeps the look of what is linked."""
    if node["reftype"] != "companion":
        return None
    if node["reftarget"].startswith("/"):
        page, anchor = node["reftarget"][1:], ""
    else:
        page, anchor = env.get_domain("std").anonlabels.get(node["reftarget"], ("", ""))
    return make_refnode(app.builder, node["refdoc"], page, anchor, content) if page in env.found_docs else None


def outdated(app, env, added, changed, removed) -> set[str]:
    """The pages with tables, if a record, a notebook or a claim came, went or changed; all pages, if this file did."""
    files = [*RESULTS.glob("*/*/*/seed*/record.json"), *(ROOT / "notebooks").glob("*.ipynb"),
             ROOT / "book" / "claims.csv", *ROOT.glob("safe_*.py")]  # fmt: skip
    state = sorted((str(file), file.stat().st_mtime_ns) for file in files) + notebooks(env)
    own = Path(__file__).stat().st_mtime_ns
    before = getattr(env, "companion_state", (None, own))
    env.companion_state = state, own
    if before[1] != own:
        return env.found_docs
    return getattr(env, "companion_overviews", set()) & env.found_docs if before[0] != state else set()


def purge(app, env, docname) -> None:
    getattr(env, "companion_overviews", set()).discard(docname)


def merge(app, env, docnames, other) -> None:
    vars(env).setdefault("companion_overviews", set()).update(getattr(other, "companion_overviews", set()))


def name_unexecuted(app, exception) -> None:
    """Says at the end of a build which notebooks show nothing, and what executes them."""
    files = {stem: ROOT / "notebooks" / f"{stem}.ipynb" for stem in notebooks(app.env)}
    empty = [stem for stem, file in files.items() if not has_outputs(load_notebook(file))]
    if empty and exception is None:
        LOGGER.info("not executed: %s; `make notebooks` executes them", ", ".join(empty))


def repository(app, config) -> None:
    """Buttons that lead to the repository, only if _config.yml says where it is."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = options["use_issues_button"] = True
    else:
        options.pop("launch_buttons", None)
        options.pop("repository_url", None)


def setup(app):
    app.add_role("run", Run())
    app.add_role("difference", Difference())
    app.add_role("claim", Claim())
    app.add_directive("ledger", Ledger)
    app.add_directive("ledger-summary", LedgerSummary)
    app.add_directive("records", Records)
    app.add_directive("status", Status)
    app.connect("config-inited", repository, priority=100)
    app.connect("doctree-read", add_provenance, priority=100)  # before downloads and images are collected
    app.connect("doctree-read", set_refdoc, priority=101)
    app.connect("missing-reference", resolve)
    app.connect("env-get-outdated", outdated)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("build-finished", name_unexecuted)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
