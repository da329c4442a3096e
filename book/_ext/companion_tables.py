"""Which tables does the book build? Ledger, runs, machines, seeds, rows left out, status."""

import functools
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import companion_nodes as made
import numpy as np
import pandas as pd
from companion_nodes import code, joined, link, text
from companion_notebooks import load_notebook, shown_notebooks, state_of
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import safe_core
from safe_companion import (
    ROOT,
    claims,
    flags,
    headline,
    headline_plots,
    paper,
    places,
    real_studies,
    records,
    released,
    studies,
    wording,
)
from safe_companion.datasets import TITLES
from safe_companion.effects import mean_and_interval

SIGNS = {  # beside the words of a verdict, so that nothing depends on colour
    "reproduced": ("✓", "good"),
    "not reproduced": ("✗", "bad"),
    "same direction": ("↗", "good"),
    "opposite": ("↘", "bad"),
    "smaller than": ("<", "bad"),
    "cannot tell": ("~", "open"),
    "hardly trained": ("⋯", "open"),
    "the same": ("=", "open"),
    "one seed": ("•", "open"),
    "too few seeds": ("…", "open"),
    "sample only": ("◐", "none"),
    "other data": ("◐", "none"),
    "not run": ("○", "none"),
    "contradiction": ("!", "paper"),
    "ambiguity": ("?", "paper"),
}


# ------------------------------------------------------------------------------- what is at hand
@functools.cache
def all_runs() -> dict[str, list[dict]]:
    """Every committed run, read once for all pages."""
    return records.all_runs()


@functools.cache
def ledger() -> pd.DataFrame:
    """The ledger, with the paper's values as the paper prints them, and what claims refer to."""
    table = paper.claims()
    as_printed = pd.read_csv(ROOT / "book" / "claims.csv", dtype=str, keep_default_na=False)
    printed = as_printed.set_index("id").value
    return claims.ledger().assign(printed=printed, fields=table.fields, against=table.against)


@functools.cache
def all_studies() -> dict[str, list[dict]]:
    """{study: configuration fields of the rows that it sets apart from a baseline}, of all data."""
    found: dict[str, list[dict]] = {}
    for dataset in studies.SWEPT:
        for name, rows in studies.studies(dataset, "sample").items():
            found.setdefault(name, []).extend(list(rows.values())[1:])
    return found


def papers_value(claim: pd.Series) -> str:
    """The paper's number with its unit."""
    if not claim.printed:
        return claim.metric  # two claims that contradict each other have no single number
    if claim.unit == "count":
        return f"{int(claim.printed):,}"
    return f"{claim.printed} {claim.unit}"


def command(runs: list[dict]) -> str:
    """The command line that makes the runs of one configuration again."""
    config = safe_core.Config(**runs[0]["config"])
    preset, fields = places.differing(config)
    words = ["safe train", f"--dataset {config.dataset}"]
    if config.data_root is not None:
        fetched = config.data_root in real_studies.FOLDERS
        folder = real_studies.DATA if fetched else "PATH_TO"
        words.append(f"--data-root {folder}/{shlex.quote(config.data_root)}")
    if preset != safe_core.PRESET_OF[config.origin]:
        words.append(f"--preset {preset}")
    words += [shlex.quote(word) for word in flags.words(fields)]
    folder = shlex.quote("runs/" + places.Place.of(config).name.rpartition("/")[0])
    if len(runs) == 1:
        words += [f"--seed {config.seed}", f"--out-dir {folder}/seed{config.seed}"]
        return in_lines(words)
    numbers = " ".join(str(run["config"]["seed"]) for run in runs)
    end = ["--seed $seed", f"--out-dir {folder}/seed$seed; done"]
    return in_lines([f"for seed in {numbers}; do", *words, *end])


def in_lines(words: list[str]) -> str:
    """A command in lines of at most 84 characters, where no word is longer."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > 80:
            lines[-1] += " \\"
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


# ------------------------------------------------------------------------------- directives
def overviews(env: BuildEnvironment) -> set[str]:
    """The pages that are read again when a record, a notebook or a claim comes or goes."""
    return vars(env).setdefault("companion_overviews", set())


class Overview(SphinxDirective):
    """What the directives share: their page is one of `overviews`."""

    def run(self) -> list[nodes.Node]:
        overviews(self.env).add(self.env.docname)
        return self.content_nodes()

    def content_nodes(self) -> list[nodes.Node]:
        raise NotImplementedError

    def anchor(self, name: str, title: str) -> str:
        """Makes `name` a target for `link`; returns it."""
        domain: Any = self.env.get_domain("std")
        domain.note_hyperlink_target(name, self.env.docname, name, title)
        return name

    def section(self, name: str, title: nodes.Node) -> nodes.section:
        heading = nodes.title("", "", title)
        self.anchor(name, heading.astext())
        return nodes.section("", heading, ids=[name], names=[name])


class Ledger(Overview):
    """{ledger}: every claim of the paper beside our runs.

    With an argument: those claims whose place in the paper contains it.
    """

    optional_arguments = 1
    final_argument_whitespace = True

    def content_nodes(self) -> list[nodes.Node]:
        shown = ledger()
        if not self.arguments:
            return [self.place(place, group) for place, group in shown.groupby("where", sort=False)]
        shown = shown[shown["where"].str.contains(self.arguments[0], regex=False)]
        if shown.empty:
            place = repr(self.arguments[0])
            raise self.error(f"no claim of book/claims.csv has {place} in its place in the paper")
        return [self.table(shown, anchors=False)]

    def place(self, place: str, group: pd.DataFrame) -> nodes.section:
        section = self.section(nodes.make_id(f"claims-of-{place}"), nodes.Text(place))
        section += self.table(group, anchors=True)
        return section

    def table(self, shown: pd.DataFrame, *, anchors: bool) -> nodes.table:
        rows = []
        for name, claim in shown.iterrows():
            anchor = self.anchor(made.claim_id(name), name) if anchors else None
            label: nodes.Node = code(name)
            if not anchors:
                label = link(made.claim_id(name), label)
            what = [text(in_words(claim)), made.line(), label]
            rows.append((anchor, [what, self.verdict(claim), of_ours(claim), of_paper(claim)]))
        return made.table(["Claim", "Verdict and evidence", "Ours", "Paper"], rows, "ledger")

    def verdict(self, claim: pd.Series) -> list[made.Part]:
        parts: list[made.Part] = []
        if pd.notna(claim.record):
            name = Path(claim.record).relative_to("results").as_posix()
            parts.append(link(made.run_id(name), text("records")))
            if pd.notna(claim.commit):
                parts.append(made.short(claim.commit))
            if claim.code == "older":
                parts.append(text("made by an older version", "older"))
        parts += [link(f"/notebooks/{stem}", code(stem)) for stem in self.notebooks(claim)]
        if not parts:
            return [verdict(claim.verdict)]
        return [verdict(claim.verdict), made.line(), *joined(parts)]

    def notebooks(self, claim: pd.Series) -> list[str]:
        """The table's own notebook, and those of studies that set the claim's row apart."""
        table = claim["where"].lower().replace(" ", "")
        found = set()
        for name, rows in all_studies().items():
            if claim.fields and claim.fields in rows and not name.startswith("table"):
                found.add(name)
        return [
            stem
            for stem in shown_notebooks(self.env)
            if stem.startswith(f"{table}_") or stem in found or stem.split("_")[0] in found
        ]


def in_words(claim: pd.Series) -> str:
    """What a claim is about: system, setting, metric and data set."""
    if claim.metric in ("contradiction", "ambiguity"):  # the setting is a sentence of its own
        return f"{claim.setting} ({TITLES[claim.dataset]})"
    metric = "top-1" if claim.metric == "top1" else claim.metric.replace("_", " ")
    words = [claim.system, claim.setting, metric, TITLES[claim.dataset]]
    return ", ".join(word for word in words if word)


def of_paper(claim: pd.Series) -> list[made.Part]:
    """The paper's number, and its difference to another."""
    parts: list[made.Part] = [text(papers_value(claim), "from-paper")]
    if pd.notna(claim["paper difference"]):
        difference = text(wording.signed(claim["paper difference"], 2), "from-paper")
        other = link(made.claim_id(claim.against), code(claim.against))
        parts += [made.line(), difference, " to ", other]
    return parts


def of_ours(claim: pd.Series) -> list[made.Part]:
    """Our number, and its difference to another."""
    if pd.isna(claim.ours):
        return [text("–", "quiet")]
    mean = text(f"{claim.ours:.1f}{wording.plus_minus(claim['±'])} %", "from-us")
    parts: list[made.Part] = [
        mean,
        f", {wording.counted(claim.seeds, 'seed')} ",
        made.badge(claim.origin),
    ]
    if pd.notna(claim.difference):
        words = wording.of_difference(claim.difference, claim["± difference"])
        other = link(made.claim_id(claim.against), code(claim.against))
        parts += [made.line(), text(words, "from-us"), " to ", other]
        if pd.notna(claim.detectable):
            parts.append(f" (found from {claim.detectable:.1f})")
    return parts


def verdict(words: str) -> nodes.inline:
    """A verdict with its sign."""
    sign, kind = next(value for start, value in SIGNS.items() if words.startswith(start))
    return text(f"{sign} {words}", "verdict", f"verdict-{kind}")


class LedgerSummary(Overview):
    """{ledger-summary}: how many of the paper's numbers have which verdict, and on which data."""

    EFFECTS = ("same direction", "opposite", "smaller than the paper's", "cannot tell")

    def found(self) -> nodes.paragraph:
        """What the verdicts on effects come to, in a sentence."""
        counts = Counter(ledger().verdict)
        every = sum(counts[words] for words in self.EFFECTS)
        said: list[made.Part] = [
            f"Of {len(ledger())} claims {every} compare an effect, on the samples"
        ]
        for separator, words in zip((": ", ", ", ", ", ", "), self.EFFECTS, strict=True):
            said += [f"{separator}{counts[words] or 'none'} ", nodes.emphasis("", words)]
        return made.paragraph(*said, ".")

    def content_nodes(self) -> list[nodes.Node]:
        was_run = ~ledger().verdict.str.startswith("not run")
        judged = ledger().assign(rests_on=ledger().origin.fillna("").where(was_run, ""))
        counts = judged.groupby(["rests_on", "verdict"]).size().sort_index(level=0, ascending=False)
        rows: list[made.Row] = []
        for (origin, words), count in counts.items():
            rests_on: Any = [made.badge(origin)] if origin else "–"
            rows.append((None, [[verdict(words)], rests_on, str(count)]))
        whole = link("/book/ledger", text(f"all {len(judged)} claims"))
        rows.append((None, [[whole], "", str(len(judged))]))
        return [self.found(), made.table(["verdict", "rests on", "claims"], rows, "summary")]


class RealSummary(Overview):
    """{real-summary}: what the pages of real recordings found, in their own first words."""

    PAGES: ClassVar = {
        "real_nmnist": "Do two inputs beat one?",
        "real_biolab": "Does the text help, in another session?",
        "real_events": "How real is the sample world?",
    }

    def content_nodes(self) -> list[nodes.Node]:
        rows: list[made.Row] = [
            (None, [[link(f"/notebooks/{stem}", text(question))], finding_of(stem)])
            for stem, question in self.PAGES.items()
        ]
        header = ["question", "what was found, on real events"]
        return [made.table(header, rows, "real-summary")]


def finding_of(stem: str) -> str:
    """The first sentences of a notebook's output, those in bold; ValueError if there are none."""
    for cell in load_notebook(stem)["cells"]:
        for output in cell.get("outputs", []):
            said = "".join(output.get("data", {}).get("text/markdown", ""))
            if bold := re.match(r"\*\*(.+?)\*\*", said, re.DOTALL):
                return bold[1].replace("*", "")
    raise ValueError(f"notebooks/{stem}.ipynb: found no finding in its outputs; execute it")


class Records(Overview):
    """{records}: every committed run, of each data set first all in a table."""

    def content_nodes(self) -> list[nodes.Node]:
        of_data: dict[str, dict[str, list[dict]]] = {}
        for name, runs in sorted(all_runs().items(), key=is_of_real_data):
            of_data.setdefault(name.rpartition("/")[0], {})[name] = runs
        return [self.of_data_set(place, found) for place, found in of_data.items()]

    def of_data_set(self, place: str, found: dict[str, list[dict]]) -> nodes.section:
        origin, dataset = place.split("/")
        title = nodes.Text(f"{TITLES.get(dataset, dataset)}, {origin} data")
        section = self.section(nodes.make_id(f"runs-{origin}-{dataset}"), title)
        rows: list[made.Row] = [
            (None, [[link(made.run_id(name), code(what_differs(runs)))], made.top1_in_words(runs)])
            for name, runs in found.items()
        ]
        section += made.table(["run", "top-1"], rows, "run-index")
        for name, runs in found.items():
            section += self.entry(name, runs, origin)
        return section

    def entry(self, name: str, runs: list[dict], origin: str) -> nodes.section:
        section = self.section(made.run_id(name), code(what_differs(runs)))
        section["classes"].append("run")
        top1 = text(made.top1_in_words(runs), "from-us")
        section += made.paragraph(made.badge(origin), " top-1 ", top1)
        section += made.facts(facts_of(runs))
        header = ["seed", "top-1 [%]", "top-5 [%]", "training", "date", "version", "files"]
        section += made.table(header, [(None, cells_of(run)) for run in runs], "runs")
        section += made.listing(command(runs), "bash")
        return section


def is_of_real_data(entry: tuple[str, list[dict]]) -> bool:
    """Sorts the sample's runs before those of real data."""
    return entry[0].startswith("real/")


def what_differs(runs: list[dict]) -> str:
    """The fields that differ from their preset: "use_text=False, train_fraction=0.08333…".

    Of real data the folder stands before them: "biolab: steps=300".
    """
    config = safe_core.Config(**runs[0]["config"])
    _, fields = places.differing(config)
    shown = [f"{key}={shortened(value)}" for key, value in fields.items()]
    folder = f"{Path(config.data_root).name}: " if config.data_root else ""
    return folder + (", ".join(shown) or "base")


def shortened(value: Any) -> str:
    """A long number by its first four digits and "…", everything else as it is."""
    is_long = isinstance(value, float) and float(f"{value:.4g}") != value
    return f"{value:.4g}…" if is_long else str(value)


def facts_of(runs: list[dict]) -> dict[str, list[made.Part]]:
    """What the runs of one configuration have in common."""
    config = safe_core.Config(**runs[0]["config"])
    preset, fields = places.differing(config)
    changed = "with the fields above" if fields else "unchanged"
    lines: dict[str, list[made.Part]] = {"preset": [f"{preset}, {changed}"]}
    if released.RELEASED.items() <= vars(config).items():
        choices = "all choices of the released code together ("
        lines["released"] = [choices, code("released.RELEASED"), ")"]
    data = runs[0]["data"]
    place = f"sample of {TITLES[config.dataset]}" if config.data_root is None else config.data_root
    counted = f"{data['train']} training, {data['val']} validation and {data['test']} test"
    fingerprint = code(data["fingerprint"][:12])
    lines["data"] = [f"{place}, {counted} recordings, fingerprint ", fingerprint]
    lines["machine"] = machines_of(runs)
    return lines


def machines_of(runs: list[dict]) -> list[made.Part]:
    """The machine of all, or each with the seeds that ran on it."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        name = made.machine(run["hardware"], run["versions"])
        seeds.setdefault(name, []).append(str(run["config"]["seed"]))
    if len(seeds) == 1:
        return list(seeds)
    return [
        made.paragraph(f"{name} (seed{'s' if len(these) > 1 else ''} {', '.join(these)})")
        for name, these in seeds.items()
    ]


def cells_of(run: dict) -> list[Any]:
    """One run's row."""
    outdated = records.outdated(run)
    version: Any = [text(f"older: {', '.join(outdated)}", "older")] if outdated else "current"
    files = [
        made.download(ROOT / run["path"] / name, code(name))
        for name in (places.RECORD, places.PREDICTIONS, places.TABLE)
        if (ROOT / run["path"] / name).exists()
    ]
    return [
        str(run["config"]["seed"]),
        f"{run['test']['top1']:.2f}",
        f"{run['test']['top5']:.2f}",
        f"{run['seconds'] / 60:.1f} min",
        run["date"],
        version,
        joined(files),
    ]


class FoundHere(Overview):
    """{found}: what was found, in a few sentences and a picture, from the records."""

    def content_nodes(self) -> list[nodes.Node]:
        container = nodes.container(classes=["found"])
        shown, rest = ([f"- {said}" for said in part] for part in headline.sentences())
        picture = []
        table = headline.beside_rivals()
        if len(table):
            place = f"/{headline.PICTURE.relative_to(ROOT).as_posix()}"
            says = headline_plots.in_words(table)
            picture = ["", f"```{{image}} {place}", f":alt: {says}", ":width: 480px", "```"]
            picture += ["", "{.found-caption}", headline_plots.caption(table), ""]
        lines = [*shown, *picture, *rest]
        self.state.nested_parse(StringList(lines, source="records"), 0, container)
        return [container]


class Seeds(Overview):
    """{seeds}: how many seeds of its rows a sweep on the samples trains, for each study."""

    def content_nodes(self) -> list[nodes.Node]:
        names = dict.fromkeys(name for swept in studies.SWEPT.values() for name in swept)
        rows: list[made.Row] = [
            (None, [[code(name)], *[str(swept.get(name, "–")) for swept in studies.SWEPT.values()]])
            for name in names
        ]
        return [made.table(["study", *[TITLES[name] for name in studies.SWEPT]], rows, "seeds")]


class Methods(Overview):
    """{methods}: what is run in the name of each other method of Tables 2 and 3, what is not."""

    def content_nodes(self) -> list[nodes.Node]:
        table = paper.methods()
        run, others = table[table.here != ""], table[table.here == ""]
        rates = run[[*headline.SAMPLES]].replace("", "–")
        rows: list[made.Row] = [
            (None, [str(name), line.here, *rates.loc[name]]) for name, line in run.iterrows()
        ]
        header = ["method", "run here as", *(f"rate, {TITLES[name]}" for name in rates)]
        needs: list[made.Row] = [
            (None, [str(name), line.needs]) for name, line in others.iterrows()
        ]
        return [
            made.paragraph("These are run, each with the learning rate found for it (–: not run):"),
            made.table(header, rows, "methods"),
            made.paragraph("The others would need:"),
            made.table(["method", "would need"], needs, "needs"),
        ]


class LeftOut(Overview):
    """{left-out}: the rows that a sweep on the samples leaves out, and why."""

    def content_nodes(self) -> list[nodes.Node]:
        groups: dict[tuple[str, str, str], list[str]] = {}
        for (dataset, study, row), why in studies.LEFT_OUT.items():
            groups.setdefault((study, dataset, why), []).append(row)
        rows: list[made.Row] = [
            (None, [[code(study)], TITLES[dataset], joined([code(n) for n in names], "; "), why])
            for (study, dataset, why), names in sorted(groups.items())
        ]
        return [made.table(["study", "sample of", "rows", "why"], rows, "left-out")]


class Machines(Overview):
    """{machines}: what runs that were made on both kinds of machines differ by."""

    def content_nodes(self) -> list[nodes.Node]:
        pairs = on_two_machines()
        gain = pairs.gpu - pairs.cpu
        parts = pairs.run.str.split("/", expand=True)
        cameras = np.where(parts[2].str.contains("modality="), "one camera", "both cameras")
        first = np.where(pairs.seed < 2, "seeds 0 and 1", "later seeds")
        groups = {"all": gain} | {name: some for name, some in gain.groupby(first)}
        for (dataset, seen, when), some in gain.groupby([parts[1], cameras, first]):
            if len(some) > 1:
                groups[f"{TITLES[dataset]}, {seen}, {when}"] = some
        rows: list[made.Row] = []
        for name, some in groups.items():
            mean, half = mean_and_interval(some.to_numpy())
            words = f"{wording.signed(mean, 2)} ± {half:.2f}"
            lower = f"{(some < 0).sum()} of {len(some)}"
            rows.append((None, [name, lower, words, f"{some.std():.2f}"]))
        header = ["runs", "lower on the GPU", "GPU less CPU, points", "standard deviation"]
        return [
            made.paragraph(
                f"{len(pairs)} runs of the samples were made on both (records of the GPU: ",
                code("results/machines"),
                "): the difference of their top-1 accuracies, its mean with a 95 % interval, and "
                "its standard deviation. A group of one pair has neither, and no line.",
            ),
            made.table(header, rows, "machines"),
            made.paragraph(in_seeds(pairs)),
        ]


def on_two_machines() -> pd.DataFrame:
    """Top-1 of the runs that a GPU has made, too: run, seed, cpu, gpu."""
    lines = []
    for name, runs in all_runs().items():
        for run in runs:
            if twin := run["elsewhere"]:
                lines.append(
                    [name, run["config"]["seed"], run["test"]["top1"], twin["test"]["top1"]]
                )
    return pd.DataFrame(lines, columns=["run", "seed", "cpu", "gpu"])


def in_seeds(pairs: pd.DataFrame) -> str:
    """How far the seeds of a row lie apart on either machine, in a sentence."""
    both = pairs.groupby("run").filter(lambda row: len(row) > 1).groupby("run")
    said = []
    for name in ("cpu", "gpu"):
        deviation = np.sqrt(both[name].var().mean())
        said.append(f"{deviation:.2f} points on the {name.upper()}")
    apart = np.sqrt(both[["cpu", "gpu"]].var().mean().sum())
    return (
        f"The seeds of a row have a standard deviation of {said[0]} and of {said[1]} "
        f"({both.ngroups} configurations, {both.size().min()} to {both.size().max()} seeds each); "
        f"so the difference of two seeds has one of {apart:.2f} points."
    )


class Status(Overview):
    """{status}: each notebook's last execution, older records, and what everything ran on."""

    def content_nodes(self) -> list[nodes.Node]:
        return [self.notebooks(), self.older(), self.machines()]

    def notebooks(self) -> nodes.section:
        section = self.section("status-notebooks", nodes.Text("Notebooks"))
        rows: list[made.Row] = []
        for stem in shown_notebooks(self.env):
            notebook = load_notebook(stem)
            about = notebook["metadata"].get("safe", {})
            cells: list[Any] = [[link(f"/notebooks/{stem}", made.name_in_parts(stem))]]
            cells.append([text(state_of(notebook), "quiet" if about else "older")])
            if about:
                commit: Any = [made.short(about["commit"])] if about["commit"] else "–"
                cells += [f"{about['seconds']} s", about["date"], commit]
            else:
                cells += ["–", "–", "–"]
            rows.append((None, cells))
        section += made.table(["notebook", "state", "run time", "date", "commit"], rows)
        return section

    def older(self) -> nodes.section:
        section = self.section("status-older", nodes.Text("Records of older versions"))
        rows: list[made.Row] = []
        count = 0
        for name, runs in all_runs().items():
            count += len(runs)
            older = [run for run in runs if records.outdated(run)]
            if older:
                numbers = ", ".join(str(run["config"]["seed"]) for run in older)
                why = sorted({reason for run in older for reason in records.outdated(run)})
                entry = [link(made.run_id(name), code(name))]
                rows.append((None, [entry, numbers, ", ".join(why), older[0]["date"]]))
        if not rows:
            section += made.paragraph(f"None of {wording.counted(count, 'record')} is older.")
            return section
        section += made.paragraph(
            "Their numbers are shown, and marked, until they are computed again: delete the "
            "record, then let the sweep make it."
        )
        section += made.table(["run", "seeds", "what changed", "date"], rows)
        return section

    def machines(self) -> nodes.section:
        title = nodes.Text("What runs and notebooks ran on")
        section = self.section("status-machines", title)
        runs: Counter[str] = Counter()
        for these in all_runs().values():
            runs.update(made.machine(run["hardware"], run["versions"]) for run in these)
        executed: Counter[str] = Counter()
        for stem in shown_notebooks(self.env):
            about = load_notebook(stem)["metadata"].get("safe")
            if about:
                executed[made.machine(about, about["versions"])] += 1
        machines = [machine for machine, _ in (runs + executed).most_common()]
        rows = [(None, [name, str(runs[name]), str(executed[name])]) for name in machines]
        section += made.table(["machine and versions", "runs", "notebooks"], rows, "status")
        return section
