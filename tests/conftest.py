"""Fixtures shared by the tests: real recordings where they are at hand, and small samples."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # threads that wait for another's cores make all slow
    os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[1]
# Files that take longest. They are begun first, so that no process works alone at the end.
LONGEST = [
    *("tests/test_site.py", "notebooks/train.ipynb", "tests/test_play_page.py"),
    *("notebooks/attention.ipynb", "tests/test_reproduce.py", "notebooks/text.ipynb"),
    *("notebooks/fig6_embedding.ipynb", "tests/test_distributed.py"),
    *("notebooks/released_checkpoint.ipynb", "tests/test_fit.py", "tests/test_records.py"),
]
MAKE_SAMPLES = """
import safe_core
from safe_companion import datasets, studies
for name in studies.SWEPT:
    datasets.open_dataset(safe_core.configure(dataset=name))
"""


def pytest_configure(config):
    """Makes the samples before notebooks are compared: a progress bar is no part of a notebook."""
    compares_notebooks = config.getoption("nbval", False)  # unknown without the plug-in
    if compares_notebooks and not hasattr(config, "workerinput"):
        subprocess.run([sys.executable, "-c", MAKE_SAMPLES], cwd=ROOT, check=True)


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.nodeid.split("::")[0], len(order)))


@pytest.fixture(scope="session")
def real_data():
    """Folder of real recordings (street.aedat4, nmnist/); not part of this repository."""
    folder = Path(os.environ.get("SAFE_REAL_DATA") or ROOT.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} does not exist (set SAFE_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_sample(tmp_path_factory):
    """tiny_sample(dataset) -> root of a sample with 2 training and 1 test recordings per class."""
    from safe_companion import sample

    roots = {}

    def make(dataset):
        if dataset not in roots:
            root = tmp_path_factory.mktemp("sample") / dataset
            few = {"train_per_class": 2, "test_per_class": 1, "workers": 1, "progress": False}
            sample.make_sample(dataset, root, **few)
            roots[dataset] = root
        return roots[dataset]

    return make
