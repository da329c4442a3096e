"""An official row is trained from nothing and must fall inside the interval of its committed records."""

import pytest

import safe_book
import safe_core


@pytest.mark.parametrize(("dataset", "fields"), [("pokerevent", {"frames": 1})])
def test_a_row_trained_from_scratch_falls_inside_its_committed_interval(tmp_path, dataset, fields):
    """Table 5, one frame: the cheapest row of the paper's tables. Its first seed again, from the generated sample on."""
    committed = safe_book.records(fields, dataset=dataset, origin="sample")
    mean, half = safe_book.mean_and_interval([run["test"]["top1"] for run in committed])
    record = safe_book.train(safe_core.configure(dataset=dataset, seed=0, **fields), tmp_path / "run")
    assert len(committed) >= 3
    assert record["data"]["fingerprint"] == committed[0]["data"]["fingerprint"]
    assert abs(record["test"]["top1"] - mean) <= half, f"{record['test']['top1']:.1f}, committed {mean:.1f} ± {half:.1f}"
