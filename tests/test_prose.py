"""What the book's pages and the README say about commands, keys and works exists."""

import argparse
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from pybtex.database import parse_file
from snakemake.cli import get_argument_parser

import safe_core
from safe_companion import datasets, paper, prompts, real_studies, records, rows, studies
from safe_companion.__main__ import COMMANDS

PAGES = sorted((ROOT / "book").glob("*.md"))
BIBLIOGRAPHY = parse_file(str(ROOT / "book" / "references.bib")).entries

# The other methods of the paper's Tables 2 and 3, as these call them, and their works
METHODS = {
    "C3D": "tran2015c3d",
    "TSM": "lin2019tsm",
    "ACTION-Net": "wang2021actionnet",
    "TAM": "liu2021tam",
    "V-SwinTrans": "liu2022videoswin",
    "TimeSformer": "bertasius2021timesformer",
    "X3D": "feichtenhofer2020x3d",
    "MViT": "fan2021mvit",
    "SSTFormer": "wang2023sstformer",
    "SAFE": "li2025safe",
    "ResNet18": "he2016resnet",
    "SlowFast": "feichtenhofer2019slowfast",
    "R2Plus1D": "tran2018r2plus1d",
    "ESTF": "wang2024hardvs",
}


def test_every_method_that_the_papers_tables_name_is_in_the_bibliography():
    table = paper.claims()
    assert set(table.system[table["where"].isin(["Table 2", "Table 3"])]) == set(METHODS)
    assert set(METHODS.values()) <= set(BIBLIOGRAPHY)


def test_works_say_who_what_where_and_when():
    for key, work in BIBLIOGRAPHY.items():
        assert work.persons["author"] and {"title", "year"} <= set(work.fields), key
        assert {"journal", "booktitle", "howpublished"} & set(work.fields), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_cited_works_exist(page):
    for keys in re.findall(r"\{cite[^}]*\}`([^`]+)`", page.read_text()):
        assert {key.strip() for key in keys.split(",")} <= set(BIBLIOGRAPHY)


# ------------------------------------------------------------------------------- commands
TOOLS = ("make", "papermill", "snakemake", "torchrun", "python", "pip", "safe")


def commands(page):
    """The commands in a page's shell blocks, as lists of words.

    Continued lines are joined, comments left out.
    """
    language = None
    lines = []
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language in ("", "bash"):
            lines.append(line)
    starts = rf"({'|'.join(TOOLS)}) "
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in whole if re.match(starts, line)]


def in_text(page):
    """The commands of this project that a page's sentences name."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"`(safe [^`\n]+)`", text)
    return [shlex.split(command) for command in found]


def name_of(page, words):
    return f"{page.stem}: {' '.join(words)[:70]}"


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
SHOWN = [
    pytest.param(words, id=name_of(page, words)) for page in DOCUMENTS for words in commands(page)
]
NAMED = [
    pytest.param(words, id=name_of(page, words)) for page in DOCUMENTS for words in in_text(page)
]


@cache
def parameters(notebook):
    """Names that a notebook's `parameters` cell assigns."""
    names = set()
    for cell in nbformat.read(ROOT / notebook, 4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            names.update(re.findall(r"^(\w+) = ", cell.source, re.MULTILINE))
    return names


@cache
def made(*words):
    """The sweeps that `make WORDS` would run; AssertionError if the Makefile lacks a target."""
    shown = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return [shlex.split(line) for line in shown.stdout.splitlines() if "bin/snakemake" in line]


def check_snakemake(words):
    """Snakemake's own parser finds the studies.

    An option of several values would swallow one that stands behind it.
    """
    options = get_argument_parser().parse_args(words)
    known = set()
    for dataset in studies.SWEPT:
        known.update(studies.studies(dataset, "real"))
    known.update(real_studies.real_studies())
    targets = [word for word in words if "=" not in word and word in known]
    assert sorted(options.targets) == sorted(targets)
    for profile in options.profile or []:
        assert (ROOT / profile / "config.yaml").is_file()


def options_of(command):
    """The options that a command has."""
    parser = argparse.ArgumentParser()
    COMMANDS[command].add_options(parser)
    return set(re.findall(r"--[\w-]+", parser.format_help()))


def check_ours(words):
    """A command of this project, with options that it has."""
    if words == ["--help"]:
        return
    command, *rest = words
    given = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert given <= options_of(command), command


@pytest.mark.parametrize("words", SHOWN)
def test_shown_command_exists(words):
    tool = Path(words[0]).name
    rest = words[1:]
    if tool == "make":
        for command in made(*rest):
            check_snakemake(command[1:])
    elif tool == "papermill":
        given = {name for flag, name in zip(rest, rest[1:], strict=False) if flag == "-p"}
        assert (ROOT / rest[0]).is_file() and given <= parameters(rest[0])
    elif tool == "snakemake":
        check_snakemake(rest)
    elif tool == "safe":
        check_ours(rest)
    elif "-m" in rest:
        module, *arguments = rest[rest.index("-m") + 1 :]
        assert module in ("safe_companion", "pytest", "venv")
        if module == "safe_companion":
            check_ours(arguments)
        elif module == "pytest":
            files = [word for word in arguments if word.endswith((".py", ".ipynb"))]
            assert all((ROOT / file).is_file() for file in files)
    elif tool != "pip":
        assert (ROOT / rest[0]).is_file()


@pytest.mark.parametrize("words", NAMED)
def test_command_named_in_a_sentence_exists(words):
    check_ours(words[1:])


@pytest.mark.parametrize("page", DOCUMENTS[1:], ids=lambda page: page.name)
def test_commands_are_marked_as_such_and_fit_80_columns(page):
    boxes = re.findall(r"^```([^\n]*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert "" not in [language for language, _ in boxes]
    shown = "".join(text for language, text in boxes if language == "bash")
    assert [line for line in shown.splitlines() if len(line) > 80] == []


ACTIVATE = ". .venv/bin/activate"


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_commands_are_shown_as_they_are_typed_in_the_environment(page):
    """The README, the book's first page and the page that starts from a clone say once which."""
    text = page.read_text()
    said = page.name in ("README.md", "intro.md", "one_number.md")
    assert text.count(ACTIVATE) == said and ".venv/bin/" not in text.replace(ACTIVATE, "")


def test_every_tool_that_commands_name_is_in_the_environment():
    tools = {words.values[0][0] for words in SHOWN} - {"make"}
    assert {"safe", "papermill", "snakemake", "python"} <= tools
    folder = Path(sys.executable).parent
    assert [tool for tool in tools if not (folder / tool).exists()] == []


def test_the_readmes_sample_output_is_what_the_record_says():
    (run,) = [run for run in committed("sample/hardvs/base") if run["config"]["seed"] == 0]
    assert records.summary(run) in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_a_command_fits_it(command):
    tool, *words = shlex.split(COMMANDS[command].example)
    assert tool == "safe" and words[0] == command
    check_ours(words)


# ------------------------------------------------------------------------------- the model
@pytest.mark.parametrize(("column", "preset"), [(0, "paper"), (1, "sample")])
def test_parameter_counts_of_the_annotated_model_are_those_that_it_has(column, preset):
    """The table of book/safe.md, for the paper's setting (114 classes) and the sample (26)."""
    page = (ROOT / "book" / "safe.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    written = {name.strip("*`"): cells[column] for name, *cells in rows}
    names = datasets.class_names("pokerevent", ROOT if preset == "paper" else None)
    config = safe_core.configure(preset, dataset="pokerevent", pretrained=False)
    model = safe_core.SAFE(config, prompts.prompt_sentences(names, config))
    fusion = model.fusion
    parts = {
        "vision tower": model.vision,
        "text tower": model.text,
        "word_embed": model.word_embed,
        "multi-modal Transformers (two)": fusion.multimodal_transformer,
        "self-attention": fusion.self_attention,
        "cross-attention (two)": fusion.cross_attention,
        "final attention": fusion.final_attention,
        "classifier": fusion.classifier,
    }
    counts = {}
    for name, part in parts.items():
        if part is not None:
            counts[name] = sum(p.numel() for p in part.parameters())
    total = sum(p.numel() for p in model.parameters())
    counts["embeddings and read-out tokens"] = total - sum(counts.values())
    counts["all"] = total
    for name, count in counts.items():
        assert written[name].strip("*") == f"{count:,}", name
    if preset == "sample":
        assert model.text is None and written["text tower"] == "run once, then dropped"


def test_a_model_is_said_to_read_as_many_formats_as_their_page_lists():
    rows = re.findall(
        r"^\| [^|]+ \| `\.\w+`", (ROOT / "book" / "formats.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 12
    assert "Twelve formats of event files are read" in (ROOT / "book" / "own_data.md").read_text()


def test_the_table_of_the_tiny_clip_is_its_record():
    record = records.read_json(ROOT / "weights" / "tiny_clip.json")["record"]
    asked, frames = record["parameters"], record["frames"]
    top1 = record["top1_on_held_out_frames"]["zero-shot"]
    epochs, of_text = asked["epochs"], asked["text_epochs"]
    rate, batch, seed = (asked[name] for name in ("learning_rate", "batch_size", "seed"))
    minutes = record["minutes_of_the_whole_notebook"]
    cells = {
        "frames it was trained on": f"{frames['trained']:,}: {asked['frames_per_class']:,} of each",
        "frames held out": f"{frames['held_out']:,}: {asked['held_out_per_class']} of each class",
        "epochs": f"{epochs} as a classifier, {of_text} of the text tower, {of_text} of both",
        "learning rate, batch, seed": f"{rate}, {batch} frames, {seed}",
        "zero-shot top-1, all held-out frames": f"{top1['all']:.1f}\u00a0%",
        "of the 24 classes of the HARDVS sample": f"{top1['hardvs']:.1f}\u00a0%",
        "of the 26 of the PokerEvent sample": f"{top1['pokerevent']:.1f}\u00a0%",
        "chance": f"{record['chance']:.1f}\u00a0%",
        "time": f"{minutes:.0f} minutes on two cores",
    }
    assert record["hardware"]["cores"] == 2
    page = (ROOT / "book" / "sample_world.md").read_text()
    for name, cell in cells.items():
        assert f"| {name} | {cell}" in page, name


# ------------------------------------------------------------------------- words about numbers
def test_the_pages_say_how_many_seeds_a_sweep_has():
    counts = {
        studies.number_of_seeds(dataset, study, row, fields)
        for dataset, swept in studies.SWEPT.items()
        for study, of_study in studies.studies(dataset, "sample").items()
        if study in swept and study not in rows.SEARCHES
        for row, fields in of_study.items()
    }
    assert max(counts) == studies.SWEPT["pokerevent"]["table4"] == 8 and 5 in counts
    assert studies.SEEDS == 3 and rows.FEWER_SEEDS == {"train_fraction": 5, "held_out": 2}
    for page, words in {
        "limits": "Few seeds: eight at most in a whole sweep, five in many tables, and one where",
        "scaling": "`book/studies.csv`, eight for the main tables; on real data it is three",
        "records": "recordings get five at most, and those that hold out classes two",
    }.items():
        assert words in " ".join((ROOT / "book" / f"{page}.md").read_text().split()), page


def committed(name):
    """The runs of a folder of results/, without their predictions."""
    files = sorted((ROOT / "results" / name).glob("seed*/record.json"))
    return [records.read_json(file) for file in files]


def test_the_released_codes_choices_together_are_said_to_be_undertrained_where_they_are():
    page = " ".join((ROOT / "book" / "limits.md").read_text().split())
    assert "**not trained to convergence**: its training loss at the end is well above" in page
    losses = [
        sum(run["history"][-1]["train_loss"] for run in runs) / len(runs)
        for runs in (committed("sample/hardvs/as_released"), committed("sample/hardvs/base"))
    ]
    assert losses[0] > 1.3 * losses[1]


def test_the_attention_is_as_even_as_the_pages_say():
    """The committed page's table: evenness of the trained model, and of one never trained."""
    cells = nbformat.read(ROOT / "notebooks" / "attention.ipynb", 4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    (table,) = [o["text/html"] for o in outputs if "evenness" in o.get("text/html", "")]
    row = re.search(r"evenness \[%\]</th>(.*?)</tr>", table, re.DOTALL).group(1)
    even = [float(number) for number in re.findall(r">\s*([\d.]+)\s*</td>", row)]
    assert len(even) == 4 and min(even) >= 97
    for page, words in {
        "intro": "spreads its weights almost evenly",
        "safe": "spreads them almost evenly",
        "text_is_a_set": "spreads the weights of a class almost evenly",
    }.items():
        assert words in " ".join((ROOT / "book" / f"{page}.md").read_text().split()), page
