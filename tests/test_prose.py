"""What the book's pages and the README say about commands, keys and works exists."""

import contextlib
import csv
import importlib
import io
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import nbformat
import pytest
from pybtex.database import parse_file
from snakemake.cli import get_argument_parser

import safe_book
import safe_core
import safe_data

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").glob("*.md"))
BIBLIOGRAPHY = parse_file(str(ROOT / "book" / "references.bib")).entries

# The other methods of the paper's Tables 2 and 3, as these call them, and their works
METHODS = {
    "C3D": "tran2015c3d", "TSM": "lin2019tsm", "ACTION-Net": "wang2021actionnet", "TAM": "liu2021tam",
    "V-SwinTrans": "liu2022videoswin", "TimeSformer": "bertasius2021timesformer", "X3D": "feichtenhofer2020x3d",
    "MViT": "fan2021mvit", "SSTFormer": "wang2023sstformer", "SAFE": "li2025safe", "ResNet18": "he2016resnet",
    "SlowFast": "feichtenhofer2019slowfast", "R2Plus1D": "tran2018r2plus1d", "ESTF": "wang2024hardvs",
}  # fmt: skip


def test_every_method_that_the_papers_tables_name_is_in_the_bibliography():
    with open(ROOT / "book" / "claims.csv", newline="") as file:
        named = {claim["system"] for claim in csv.DictReader(file) if claim["where"] in ("Table 2", "Table 3")}
    assert named == set(METHODS)
    assert set(METHODS.values()) <= set(BIBLIOGRAPHY)


def test_works_say_who_what_where_and_when():
    for key, work in BIBLIOGRAPHY.items():
        assert work.persons["author"] and {"title", "year"} <= set(work.fields), key
        assert {"journal", "booktitle", "howpublished"} & set(work.fields), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_cited_works_exist(page):
    for keys in re.findall(r"\{cite[^}]*\}`([^`]+)`", page.read_text()):
        assert {key.strip() for key in keys.split(",")} <= set(BIBLIOGRAPHY)


def commands(page):
    """The commands in a page's shell blocks, as lists of words; continued lines are joined, comments left out."""
    language, lines = None, []
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language in ("", "bash"):
            lines.append(line)
    tools = r"(\.venv/bin/)?(make|papermill|snakemake|torchrun|python|pip) "
    lines = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if re.match(tools, line)]


SHOWN = [pytest.param(words, id=f"{page.stem}: {' '.join(words)[:70]}")
         for page in [ROOT / "README.md", *PAGES] for words in commands(page)]  # fmt: skip


@cache
def parameters(notebook):
    """Names that a notebook's `parameters` cell assigns."""
    cells = [c for c in nbformat.read(ROOT / notebook, 4).cells if "parameters" in c.metadata.get("tags", [])]
    return set(re.findall(r"^(\w+) = ", "\n".join(cell.source for cell in cells), re.MULTILINE))


@cache
def usage(module, *words):
    """What `python -m MODULE WORDS --help` prints."""
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", [module, *words, "--help"]), contextlib.redirect_stdout(printed):
        with pytest.raises(SystemExit):
            importlib.import_module(module).main()
    return printed.getvalue()


@cache
def made(*words):
    """The commands that `make WORDS` would run; AssertionError if the Makefile does not know a target."""
    shown = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return [shlex.split(line) for line in shown.stdout.splitlines() if "bin/snakemake" in line]


def check_snakemake(words):
    """Snakemake's own parser finds the studies: an option of several values would swallow one that stands behind it."""
    options = get_argument_parser().parse_args(words)
    known = {name for dataset in safe_book.SWEPT for name in safe_book.studies(dataset, "real")}
    assert sorted(options.targets) == sorted(word for word in words if "=" not in word and word in known)
    assert all((ROOT / profile / "config.yaml").is_file() for profile in options.profile or [])


@pytest.mark.parametrize("words", SHOWN)
def test_shown_command_exists(words):
    tool, rest = Path(words[0]).name, words[1:]
    if tool == "make":
        for command in made(*rest):
            check_snakemake(command[1:])
    elif tool == "papermill":
        given = {name for flag, name in zip(rest, rest[1:], strict=False) if flag == "-p"}
        assert (ROOT / rest[0]).is_file() and given <= parameters(rest[0])
    elif tool == "snakemake":
        check_snakemake(rest)
    elif tool == "torchrun" or rest[0].endswith(".py"):
        script = next(word for word in rest if word.endswith(".py"))
        assert (ROOT / script).is_file()
        if script == "safe_core.py":
            given = {word[2:].replace("-", "_") for word in rest[rest.index(script) :] if word.startswith("--")}
            fields = set(safe_core.Config.__dataclass_fields__) | {"preset", "out_dir", "resume"}
            assert {name.removeprefix("no_") if name not in fields else name for name in given} <= fields
    elif rest[:1] == ["-m"]:
        assert (ROOT / f"{rest[1]}.py").is_file() or rest[1] in ("pytest", "venv")
        if rest[1].startswith("safe_"):
            command = rest[2:3] if rest[1] != "safe_released" else []  # which has no sub-commands
            assert not command or command[0] in re.search(r"\{([\w,-]+)\}", usage(rest[1]))[1].split(",")
            assert all(word in usage(rest[1], *command) for word in rest if word.startswith("--"))


def test_parameter_counts_of_the_annotated_model_are_those_that_it_has():
    """The table of book/safe.md, for the paper's setting (114 classes) and the sample (26)."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", (ROOT / "book" / "safe.md").read_text(), re.MULTILINE)
    written = {name.strip("*`"): cells for name, *cells in rows}
    for column, preset, names in ((0, "paper", safe_book.class_names("pokerevent", ROOT)),
                                  (1, "sample", safe_book.class_names("pokerevent"))):  # fmt: skip
        config = safe_core.configure(preset, dataset="pokerevent", pretrained=False)
        model = safe_core.SAFE(config, safe_data.prompt_sentences(names, config))
        fusion = model.fusion
        parts = {"vision tower": model.vision, "text tower": model.text, "word_embed": model.word_embed,
                 "multi-modal Transformers (two)": fusion.multimodal_transformer, "self-attention": fusion.self_attention,
                 "cross-attention (two)": fusion.cross_attention, "final attention": fusion.final_attention,
                 "classifier": fusion.classifier}  # fmt: skip
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items() if part is not None}
        total = sum(p.numel() for p in model.parameters())
        counts |= {"embeddings and read-out tokens": total - sum(counts.values()), "all": total}
        for name, count in counts.items():
            assert written[name][column].strip("*") == f"{count:,}", name
        assert preset == "paper" or written["text tower"][column] == "run once, then dropped"
