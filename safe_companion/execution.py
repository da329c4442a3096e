"""How are notebooks executed, and what of that is kept? Outputs without what differs by chance."""

import inspect
import re
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill

import safe_core
from safe_companion import ROOT, records
from safe_companion.rows import NOTEBOOKS

TRAINING = ("train", "pretrain_clip", "released_checkpoint")  # these take minutes, show no study


def notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of these names, first words or studies; without names all that show studies.

    ValueError for an unknown one.
    """
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not names:
        return [path for path in paths if path.stem not in TRAINING]
    chosen = set()
    for name in names:
        names_of_it = (name, NOTEBOOKS.get(name))
        found = [p for p in paths if p.stem in names_of_it or p.stem.startswith(f"{name}_")]
        if not found:
            known = ", ".join(path.stem for path in paths)
            raise ValueError(f"no notebook {name}: choose from {known}")
        chosen.update(found)
    return sorted(chosen)


OF_A_RUN = """\
# None: as the preset has it
preset = None  # paper | sample; None: sample for the generated sample, paper for real data
out_dir = None  # where checkpoints and the run record go; None: runs/DATASET-TIME
resume = False  # continue the run in out_dir
"""


def training_parameters() -> str:
    """The `parameters` cell of notebooks/train.ipynb: each field of Config, with its comment."""
    lines = OF_A_RUN.splitlines()
    for line in inspect.getsource(safe_core.Config).splitlines():
        if line.startswith("    # "):
            lines += ["", line.strip()]
        field = re.match(r"    (\w+): [^=]+ = ([^#]+?)(?:  # (.*))?$", line)
        if field:
            name, default, comment = field.groups()
            choices = " | ".join(safe_core.CHOICES.get(name, ()))
            about = "; ".join(part for part in (choices, comment) if part)
            value = default if name == "dataset" else None
            line = f"{name} = {value}  # {about}" if about else f"{name} = {value}"
            if len(line) > 100:  # as wide as any other code
                lines += textwrap.wrap(f"# {about}", 100, subsequent_indent="# ")
                line = f"{name} = {value}"
            lines.append(line)
    return "\n".join(lines)


def is_parameters(cell: Any) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def execute(path: Path) -> None:
    """Runs a notebook where it is and keeps its outputs, without what differs from run to run.

    Its metadata say how long that took, when, on which machine, from which commit and which records
    it shows, of which data. The parameters of the training are those that Config has now. If a cell
    fails, the notebook stays as it was.
    """
    start = time.perf_counter()
    commit = records.commit()
    quiet = {"progress_bar": False, "kernel_name": "python3"}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"source_{path.name}"
        executed = Path(folder) / path.name
        notebook = nbformat.read(path, 4)
        if path.stem == "train":
            next(c for c in notebook.cells if is_parameters(c)).source = training_parameters()
        nbformat.write(notebook, source)
        papermill.execute_notebook(source, executed, cwd=path.parent, **quiet)
        notebook = nbformat.read(executed, 4)
    shown: set[str] = set()
    origins: set[str] = set()
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            shown.update(output.get("metadata", {}).pop("records", []))
            origins.update(output.get("metadata", {}).pop("origins", []))
    machine = records.machine()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "safe": {
            "seconds": round(time.perf_counter() - start),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit,
            **machine["hardware"],
            "versions": machine["versions"],
            "records": sorted(shown),
            "origins": sorted(origins),
        },
    }
    safe_core.write_atomically(path, lambda file: nbformat.write(notebook, file))
