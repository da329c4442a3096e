"""What the repository promises about itself."""

import ast
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

import safe_core

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUN_OPTIONS = {"preset", "out_dir", "resume"}  # of the command line, too; not configuration


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
        if requirement.marker is None or requirement.marker.evaluate({"python_full_version": "3.11.9"}):
            pins[requirement.name.replace("_", "-")] = str(requirement.specifier).removeprefix("==")
    for dependency in map(Requirement, DEPENDENCIES):
        assert dependency.specifier.contains(pins[dependency.name.replace("_", "-").lower()]), dependency


@pytest.mark.parametrize("name", ["torch", "open_clip_torch", "papermill", "nbval"])
def test_installed_version_is_allowed(name):
    assert next(r for r in map(Requirement, DEPENDENCIES) if r.name == name).specifier.contains(version(name))


def test_core_stays_slim_and_imports_no_other_module():
    source = (ROOT / "safe_core.py").read_text()
    assert len(source.splitlines()) <= 600
    top = [node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any("safe_" in ast.unparse(node) for node in top)


def parameters(path):
    cells = [c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", [])]
    return {target.id for c in cells for node in ast.parse(c.source).body for target in node.targets}


def test_parameters_of_the_train_notebook_are_the_configuration():
    assert parameters(ROOT / "notebooks" / "train.ipynb") == set(safe_core.Config.__dataclass_fields__) | RUN_OPTIONS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_parameters_of_notebooks_are_the_configurations_or_options_of_their_own(path):
    own = {"seeds", "rerun", "hardvs_root", "pokerevent_root", "checkpoint", "draws", "recordings"}
    made = {"pretrain_clip"}  # trains CLIP, not SAFE: its parameters are those of that training
    assert path.stem in made or parameters(path) <= set(safe_core.Config.__dataclass_fields__) | RUN_OPTIONS | own


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_committed_with_their_outputs(path):
    """As `python -m safe_book execute` leaves them: every code cell ran, none failed, and the metadata say how."""
    notebook = nbformat.read(path, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run `make notebooks`"
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert notebook.metadata.safe.commit and notebook.metadata.safe.seconds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_committed_without_run_dependent_parts(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    assert not any("injected-parameters" in c.metadata.get("tags", []) for c in notebook.cells)


def test_shipped_weights_are_small_and_say_how_they_were_made():
    files = sorted((ROOT / "weights").glob("*.safetensors"))
    assert [f.stem for f in files] == ["tiny_clip", "tiny_resnet", "tiny_vit"]
    assert sum(f.stat().st_size for f in files) < 10 * 2**20


def test_ci_runs_the_readme_test_command():
    assert "make test" in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "make test" in (ROOT / "README.md").read_text()


def test_repository_names_no_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not files:
        pytest.skip("not a git checkout: there is no list of the repository's files")
    for name in files:
        path = ROOT / name
        if path.suffix in {".safetensors", ".png", ".webp"} or not path.is_file() or path == Path(__file__):
            continue
        assert not re.search(r"/(work|root|home/\w+)/|site-packages|/tmp/", path.read_text()), name
