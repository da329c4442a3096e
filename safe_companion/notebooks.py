"""How do notebooks show a study? What their cells have in common."""

import ast
import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.display import HTML, Markdown, clear_output, display
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

import safe_core
from safe_companion import datasets, findings, how_far, plots, real_studies, wording
from safe_companion.claims import direction
from safe_companion.datasets import TITLES
from safe_companion.effects import breakdown, difference, effect_table, how_paired, with_light
from safe_companion.paper import claims
from safe_companion.prompts import prompt_sentences
from safe_companion.records import hardly_trained
from safe_companion.studies import LEFT_OUT, Found, Rows, studies, study, swept
from safe_companion.study_plots import show_breakdown
from safe_companion.tables import HARDLY, show

# ---------------------------------------------------------------- what a page is given


def check_parameters() -> None:
    """Stops a notebook that papermill gave a parameter which it does not have.

    papermill itself warns of a misspelt one and goes on with the default. What it is given stands
    in a cell of its own behind the `parameters` cell, so these two are the first that have run.
    Raises ValueError with the nearest name.
    """
    cells: list[str] = get_ipython().user_ns["In"]  # sources in the order of their run, from 1
    if len(cells) < 3 or not cells[2].startswith("# Parameters\n"):
        return
    _, parameters, given = cells[:3]
    known = _assigned(parameters)
    for name in _assigned(given):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"found the parameter {name!r}, which this notebook does not have; {advice}"
                f"expected some of {', '.join(known)}"
            )


def _assigned(source: str) -> list[str]:
    """The names that a cell of plain assignments assigns."""
    targets = [node.targets[0] for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


# ---------------------------------------------------------------- a study on a page


@dataclasses.dataclass(frozen=True)
class Opened:
    """A study as a notebook has asked for it: its rows and their runs, the baseline first."""

    name: str
    dataset: str
    data_root: str | None
    preset: str | None
    rows: Rows
    found: Found

    @property
    def origin(self) -> str:
        """Which data were asked for: "sample" or "real"."""
        return safe_core.origin_of(self.data_root)

    @property
    def baseline(self) -> str:
        return next(iter(self.rows))

    @property
    def asked(self) -> Found:
        """The rows that were run, or that a sweep would run: not those that it leaves out."""
        left_out = _left_out(self.name, self.dataset, self.data_root, self.found)
        return {row: runs for row, runs in self.found.items() if row not in left_out}

    @property
    def complete(self) -> bool:
        """Whether every row has runs that is to have some, so that rows can be compared."""
        return all(self.asked.values())

    @property
    def effects(self) -> pd.DataFrame:
        """`effects.effect_table` of the rows; no effect is said of what is hardly trained."""
        table = effect_table(self.found, baseline=self.baseline)
        begun = self.baseline not in self.untrained
        hardly = table.effect.notna() & table.index.isin(self.untrained if begun else table.index)
        if hardly.any():
            table.loc[hardly, "effect"] = HARDLY
        return table

    @property
    def untrained(self) -> list[str]:
        """Rows that are hardly trained: they say nothing of a method."""
        return [row for row, runs in self.found.items() if any(map(hardly_trained, runs))]

    @property
    def finding(self) -> str:
        """What the rows do beside the first one, in a sentence, and which are hardly trained."""
        about = {"dataset": self.dataset, "origin": self.origin}
        return findings.of_rows(self.effects, untrained=self.untrained, **about)

    def opening(self, finding: str | None = None, against: Sequence[str] | None = None) -> None:
        """Displays what a page found (default: `finding`), and then what that is about.

        against: the rows that the page compares others with, as in `effects.how_paired`.
        """
        display(Markdown(self.finding if finding is None else finding))
        if self.name in real_studies.real_studies():
            about, how = str(self.data_root), "make real"
        else:
            about, how = self.dataset, "-p rerun True"
        root = self.data_root
        origin_note(self.name, self.found, dataset=about, data_root=root, how=how, against=against)


def open_study(
    name: str,
    *,
    dataset: str,
    data_root: str | None = None,
    preset: str | None = None,
    seeds: int = 3,
    rerun: bool = False,
    names: dict[str, str] | None = None,
) -> Opened:
    """A study's rows and runs, which a page `opening` begins with. With rerun: trains what lacks.

    names: {row: name on the page}, where only some rows are shown; default: all, as they are named.
    """
    plots.style()
    rows = studies(dataset, safe_core.origin_of(data_root), preset)[name]
    if names is not None:
        rows = {shown: rows[row] for row, shown in names.items()}
    found = study(
        rows, dataset=dataset, data_root=data_root, preset=preset, seeds=seeds, rerun=rerun
    )
    return Opened(name, dataset, data_root, preset, rows, found)


def open_real_study(name: str, *, seeds: int) -> Opened:
    """One of `real_studies`, from its committed records."""
    plots.style()
    rows = real_studies.real_studies()[name]
    found = study(rows, dataset="folder", preset=real_studies.PRESET, seeds=seeds)
    data_root = next(iter(rows.values()))["data_root"]
    return Opened(name, "folder", data_root, real_studies.PRESET, rows, found)


def _left_out(name: str, dataset: str, data_root: str | None, found: Found) -> dict[str, str]:
    """{row without runs: why the sweep of its sample leaves it out}."""
    reasons = {row: LEFT_OUT.get((dataset, name, row), "") for row in found if not found[row]}
    return {row: why for row, why in reasons.items() if why and data_root is None}


def origin_note(
    name: str,
    found: Found,
    *,
    dataset: str,
    data_root: str | None = None,
    how: str = "-p rerun True",
    against: Sequence[str] | None = None,
) -> None:
    """Displays what a study's numbers are about, which rows were not run, and what would run them.

    The records that are shown and the origin go into the output's metadata, where `execute` finds
    them. how: what trains rows that are missing, if `make NAME` does not. against: the rows that
    others are compared with, default the first.
    """
    shown = [run for these in found.values() for run in these]
    counts = [len(these) for these in found.values() if these]
    origin = safe_core.origin_of(data_root)
    if origin == "sample":
        data = "**Sample data**: generated by this project, no real recording"
    else:
        data = "**Real data**"
    lines = [f"{data} ({TITLES.get(dataset, dataset)})."]
    if shown:
        of_rows = wording.counted(len(counts), "model")
        lines[0] += f" {of_rows}, {wording.counted(len(shown), 'training')}."
    left_out = _left_out(name, dataset, data_root, found)
    for why in dict.fromkeys(left_out.values()):
        rows = [row for row in left_out if left_out[row] == why]
        lines.append(_folded("Left out", rows, f" ({why})", how))
    missing = [row for row, these in found.items() if not these and row not in left_out]
    if missing:
        how = f"make {name}" if data_root is None and dataset in swept(name) else how
        lines.append(_folded("Not run", missing, "", how))
    lines += how_paired(found, against)
    paths = [run["path"] for run in shown]
    display(Markdown("\n\n".join(lines)), metadata={"records": paths, "origins": [origin]})


def _folded(what: str, rows: list[str], why: str, how: str) -> str:
    """What rows these are, and what trains them; more than three open on a click."""
    trains = f"`{how}` trains {'it' if len(rows) == 1 else 'them'}."
    if len(rows) <= 3:
        return f"{what}: {'; '.join(rows)}{why}. {trains}"
    return (
        f"<details><summary>{what}: {wording.counted(len(rows), 'model')}{why}</summary>\n\n"
        f"{'; '.join(rows)}. {trains}\n\n</details>"
    )


def first_of_each(conditions: Sequence[str]) -> list[int]:
    """One index for each condition, so that none is picked by its looks.

    Of n conditions in alphabetical order, the search for the i-th starts at i / n of the list, and
    goes on from its beginning.
    """
    kinds = sorted(set(conditions))
    twice = [*conditions, *conditions]
    starts = [i * len(conditions) // len(kinds) for i in range(len(kinds))]
    found = [twice.index(kind, start) for kind, start in zip(kinds, starts, strict=True)]
    return [index % len(conditions) for index in found]


def parameter_counts(opened: Opened) -> HTML:
    """Trained parameters of each row's model: a frozen text tower, which runs once, has none.

    fusion: with the layer that fits visual tokens of another width to it.
    """
    names = datasets.class_names(opened.dataset, opened.data_root)
    asked = {"dataset": opened.dataset, "data_root": opened.data_root, "pretrained": False}
    lines = {}
    for row, fields in opened.rows.items():
        config = safe_core.configure(opened.preset, **asked | fields)
        model = safe_core.build(config, prompt_sentences(names, config))
        fusion = nn.ModuleList([model.fusion, model.visual_embed])
        parts = {"vision": model.vision, "fusion": fusion, "all": model}
        line = {
            part: sum(p.numel() for p in module.parameters() if p.requires_grad)
            for part, module in parts.items()
        }
        lines[row] = line | {"text": line["all"] - line["vision"] - line["fusion"]}
    table = pd.DataFrame.from_dict(lines, orient="index").rename_axis("trained parameters")
    return show(table[["vision", "text", "fusion", "all"]])


def zero_shot(
    dataset: str, data_root: str | None = None, preset: str | None = None, **fields: Any
) -> tuple[Tensor, datasets.Splits]:
    """CLIP's answer before any training: log-probabilities [n, L] of the test list, and the lists.

    fields: of the configuration, such as modality and clip_model; both modalities: the mean of
    their cosines.
    """
    asked = {"dataset": dataset, "data_root": data_root, "workers": 0}
    config = safe_core.configure(preset, **asked, model="cosines", classifier="text", **fields)
    splits = datasets.open_dataset(config)
    clear_output()  # of the progress bar
    model = safe_core.build(config, prompt_sentences(splits.class_names, config))
    device, _, _ = safe_core.here()
    log_probs = safe_core.predict(model.to(device), splits.test, config)
    return log_probs, splits


def claims_and_differences(opened: Opened, ids: Iterable[str]) -> Markdown:
    """The paper's claims of these ids, then our differences to the baseline, as a list.

    A row that changes what the claims change has the verdict of the ledger's rule, too.
    """
    table = claims()
    values = {str(name): float(value) for name, value in table.value.items()}
    lines, papers = [], []
    changed: set[tuple[str, Any]] = set()
    for name in ids:
        claim = table.loc[name]
        changed |= claim.fields.items()
        before = values[str(claim.against)]
        papers.append(values[name] - before)
        gain = wording.better_or_worse(papers[-1])
        lines.append(
            f"- The paper, {claim['where']}, {claim.setting}: {gain} ({before} to {values[name]}), "
            "one run."
        )
    rows = [row for row in opened.found if row != opened.baseline and opened.found[row]]
    where = datasets.in_words(opened.dataset, opened.origin)
    for row in rows:
        ours = difference(opened.found[row], opened.found[opened.baseline], table=opened.found)
        lines.append(f"- Here ({where}), {row}: {ours.sentence}.")
        of_row = opened.rows[row].items() - opened.rows[opened.baseline].items()
        if of_row <= changed and ours.pairs > 1:
            verdicts = [
                f"beside the paper's {wording.signed(paper)}, *{direction(paper, ours)}*"
                for paper in papers
            ]
            lines[-1] += f" By the ledger's rule: {'; '.join(verdicts)}."
    return Markdown("\n".join(lines))


def by_class(opened: Opened) -> Figure | None:
    """Class by class, if every row was run."""
    if not opened.complete:
        return None
    names = datasets.class_names(opened.dataset, opened.data_root)
    table = breakdown(opened.found, baseline=opened.baseline, by="label")
    title = f"Per class, {datasets.in_words(opened.dataset, opened.origin)}"
    return show_breakdown(table, title=title, names=dict(enumerate(names)))


def by_light(opened: Opened) -> Figure | None:
    """By illumination, if every row was run on the sample, which knows it. Makes the sample."""
    if opened.origin != "sample" or not opened.complete:
        return None
    splits = datasets.open_dataset(safe_core.configure(opened.preset, dataset=opened.dataset))
    clear_output()  # of the progress bar
    lit = with_light(opened.found, splits.root)
    table = breakdown(lit, baseline=opened.baseline, by="light")
    return show_breakdown(table, title="Per illumination (1: a bright room), sample")


def by_condition(opened: Opened) -> Figure | None:
    """By what was made hard for a camera, if every row was run on the sample, which knows it."""
    if opened.origin != "sample" or not opened.complete:
        return None
    table = breakdown(opened.found, baseline=opened.baseline, by="condition")
    return show_breakdown(table, title="Per condition, sample")


# ---------------------------------------------------------------- progress


class Progress:
    """A bar for `safe_core.fit(on_step=...)`, of all steps; `close` removes it."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, per_epoch: int, loss: Any) -> None:
        """Steps done of all, and those of an epoch, as `safe_core.fit` counts them."""
        if self.bar is None:  # a resumed run begins in the middle
            self.bar = how_far.bar(total=total, initial=done - 1, unit="step")
        epoch, epochs = 1 + (done - 1) // per_epoch, -(-total // per_epoch)
        self.bar.set_description(f"epoch {epoch} of {epochs}", refresh=False)
        if done % 10 == 0 or done == total:  # asking a GPU for it keeps that waiting
            self.bar.set_postfix_str(f"loss {float(loss):.3f}", refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            clear_output()
