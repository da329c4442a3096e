"""Fixtures shared by the tests: real recordings where they are at hand, and small generated samples."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # side by side, threads that wait for another's cores make all slow
    os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def pytest_configure(config):
    """Makes the samples before notebooks are compared: a progress bar is no part of what a notebook shows."""
    if config.option.nbval and not hasattr(config, "workerinput"):
        code = ("import safe_book, safe_core, safe_data as data\nfor name in safe_book.SWEPT:\n"
                "    data.open_dataset(**data.options(safe_core.configure(dataset=name)))")  # fmt: skip
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture(scope="session")
def real_data():
    """Folder of real recordings (street.aedat4, nmnist/); they are not part of this repository."""
    folder = Path(os.environ.get("SAFE_REAL_DATA") or ROOT.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"no real recordings: {folder} does not exist (set SAFE_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_sample(tmp_path_factory):
    """tiny_sample(dataset) -> root of a generated sample with 2 training and 1 test recording per class."""
    roots = {}

    def make(dataset):
        if dataset not in roots:
            import safe_sample

            roots[dataset] = tmp_path_factory.mktemp("sample") / dataset
            safe_sample.make_sample(dataset, roots[dataset], train_per_class=2, test_per_class=1, workers=1,
                                    progress=False)
        return roots[dataset]

    return make
