"""Fixtures shared by the tests: real recordings where they are at hand, and small generated samples."""

import os
import sys
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # side by side, threads that wait for another's cores make all slow
    os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


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
