"""What the repository promises about itself."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import safe_companion
import safe_core

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEPENDENCIES = PROJECT["dependencies"] + EXTRAS["test"] + EXTRAS["lint"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUN_OPTIONS = {"preset", "out_dir", "resume"}  # of the command line, too; not configuration
NEVER_IMPORTED = {  # declared for another reason than an import
    "jupyter": "the kernel of the notebooks, and what opens them",
    "jupyter-book": "`make book`",
    "pydata-sphinx-theme": "pinned: the book's style sheet is written for it",
    "sphinx-book-theme": "pinned: the book's style sheet is written for it",
    "nbval": "a plug-in of pytest: `--nbval`",
    "pytest-xdist": "a plug-in of pytest: `-n`",
    "import-linter": "`make lint`",
    "mypy": "`make lint`",
    "pre-commit": "lint before every commit",
    "ruff": "`make lint`",
    "setuptools": "the project is installed with the environment's own",
}


# ------------------------------------------------------------------------------- packages


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert environment[-1]["pip"] == DEPENDENCIES


def locked():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[a-z]", line)]


def test_lock_satisfies_the_project_and_names_no_host():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--index" not in text and text.count("--hash=sha256:") > 200
    pins = {}
    for requirement in locked():
        marker = requirement.marker
        if marker is None or marker.evaluate({"python_full_version": "3.11.9"}):
            pin = str(requirement.specifier).removeprefix("==")
            pins[canonicalize_name(requirement.name)] = pin
    for dependency in map(Requirement, DEPENDENCIES):
        assert dependency.specifier.contains(pins[canonicalize_name(dependency.name)]), dependency


@pytest.mark.parametrize("name", ["torch", "open_clip_torch", "papermill", "nbval"])
def test_installed_version_is_allowed(name):
    requirement = next(r for r in map(Requirement, DEPENDENCIES) if r.name == name)
    assert requirement.specifier.contains(version(name))


def files_of_the_repository():
    """Files that git knows or would add."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if not names:
        pytest.skip("not a git checkout: there is no list of the repository's files")
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def sources(path):
    """The Python code in a file: of a notebook one for each cell."""
    if path.suffix == ".py":
        return [path.read_text()]
    if path.suffix != ".ipynb":
        return []
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def imported_by(source):
    """Names of the modules that a piece of code imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return names


def test_what_is_imported_is_declared_and_what_is_declared_is_used():
    files = files_of_the_repository()
    python = [path for path in files if path.suffix == ".py"]
    ours = {path.parent.name if path.stem == "__init__" else path.stem for path in python}
    imported = set()
    for path in files:
        for source in sources(path):
            imported.update(name.partition(".")[0] for name in imported_by(source))
    packages = packages_distributions()
    used = set()
    for name in imported - ours - sys.stdlib_module_names:
        used.update(canonicalize_name(package) for package in packages.get(name, [name]))
    declared = {canonicalize_name(Requirement(line).name) for line in DEPENDENCIES}
    assert used - declared == set(), "imported and not declared in pyproject.toml"
    assert declared - used == set(NEVER_IMPORTED), "declared, but not imported"


# ------------------------------------------------------------------------------- modules
def loaded_by(code):
    """Names of the packages that are loaded after this code ran in a fresh process."""
    code = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_training_loads_no_plots_notebooks_or_sweeps():
    loaded = loaded_by("from safe_companion import runs")
    assert {"safe_core", "torch"} <= loaded
    assert loaded & {"matplotlib", "seaborn", "IPython", "snakemake", "sphinx"} == set()


def test_help_is_there_at_once():
    code = "from safe_companion import __main__\ntry:\n    __main__.main(['--help'])\n"
    loaded = loaded_by(code + "except SystemExit:\n    pass")
    assert "safe_companion" in loaded
    assert loaded & {"torch", "numpy", "pandas", "safe_core"} == set()


def modules_in_order():
    """The modules that the package's docstring lists, from top to bottom."""
    names = []
    for line in safe_companion.__doc__.splitlines():
        if entry := re.match(r"    (\w[\w, ]*?)  ", line):
            names += entry[1].split(", ")
    return names


def test_the_packages_docstring_the_readme_and_the_reference_name_every_module():
    folder = ROOT / "safe_companion"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"} | packages
    *expected, last = modules_in_order()
    assert set(expected) == modules and last == "safe_core"

    rows = re.findall(r"^\| · (.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    shown = re.findall(r"`(\w+)(?:\.py|/)`", " ".join(rows))
    assert shown == expected

    pages = re.findall(r"book/api\w*", (ROOT / "_toc.yml").read_text())
    reference = [(ROOT / f"{page}.md").read_text() for page in pages]
    documented = re.findall(r"automodule:: (\S+)", "".join(reference))
    listed = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| \{doc.*", reference[0], re.M)))
    assert [name for name in listed if not name.startswith("api_")] == expected
    rooms = {
        f"safe_companion.{package}.{path.stem}"
        for package in packages
        for path in (folder / package).glob("*.py")
        if path.stem != "__init__"
    }
    whole = ["safe_core", *(f"safe_companion.{name}" for name in expected)]
    assert [name for name in documented if name not in rooms] == whole
    assert set(documented) == rooms | set(whole)


def test_the_version_is_one_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]
    assert f"version = {{{PROJECT['version']}}}" in (ROOT / "book" / "limits.md").read_text()


# ------------------------------------------------------------------------------- notebooks


def parameters(path):
    cells = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
    return {
        target.id for c in cells for node in ast.parse(c.source).body for target in node.targets
    }


def test_parameters_of_the_train_notebook_are_the_configuration():
    expected = set(safe_core.FIELDS) | RUN_OPTIONS
    assert parameters(ROOT / "notebooks" / "train.ipynb") == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_parameters_of_notebooks_are_the_configurations_or_options_of_their_own(path):
    if path.stem == "pretrain_clip":
        pytest.skip("trains CLIP, not SAFE: its parameters are those of that training")
    own = {"seeds", "rerun", "hardvs_root", "pokerevent_root", "checkpoint", "draws", "recordings"}
    own |= {"targets", "longer_seeds"}
    assert parameters(path) <= set(safe_core.FIELDS) | RUN_OPTIONS | own


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_committed_with_their_outputs(path):
    """As `safe execute` leaves them: every code cell ran, none failed, the metadata say how."""
    notebook = nbformat.read(path, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    in_order = list(range(1, len(cells) + 1))
    assert [cell.execution_count for cell in cells] == in_order, "run `make notebooks`"
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert notebook.metadata.safe.commit and notebook.metadata.safe.seconds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_committed_without_run_dependent_parts(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    assert not any("injected-parameters" in c.metadata.get("tags", []) for c in notebook.cells)


# ------------------------------------------------------------------------------- the rest
def test_make_clean_leaves_runs_and_records():
    shown = subprocess.run(
        ["make", "--no-print-directory", "-n", "clean"], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.stdout.split() == ["rm", "-rf", ".venv", "_build"]


def test_shipped_weights_are_small_and_say_how_they_were_made():
    files = sorted((ROOT / "weights").glob("*.safetensors"))
    assert {"tiny_clip", "tiny_resnet", "tiny_vit"} <= {f.stem for f in files}
    assert sum(f.stat().st_size for f in files) < 10 * 2**20
    for file in files:
        about = json.loads(file.with_suffix(".json").read_text())
        assert about["build"] and {"made_by", "date", "hardware"} <= about["record"].keys()


def test_ci_runs_the_readme_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "make test" in (ROOT / "README.md").read_text()


def test_repository_names_no_machine():
    for path in files_of_the_repository():
        if path != Path(__file__):
            found = re.search(rb"/(work|root|home/\w+)/|site-packages|/tmp/", path.read_bytes())
            assert not found, path
