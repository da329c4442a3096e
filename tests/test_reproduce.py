"""An official row is trained from nothing and must fall inside its committed interval."""

import pytest

import safe_core
from safe_companion import effects, runs, studies


@pytest.mark.parametrize(("dataset", "fields"), [("pokerevent", {"modality": "rgb"})])
def test_a_row_trained_from_scratch_falls_inside_its_committed_interval(tmp_path, dataset, fields):
    """RGB alone, the cheapest row of Table 2's sample: its first seed again."""
    committed = studies.records(fields, dataset=dataset, origin="sample")
    mean, half = effects.mean_and_interval([run["test"]["top1"] for run in committed])
    record = runs.train(safe_core.configure(dataset=dataset, seed=0, **fields), tmp_path / "run")
    found = record["test"]["top1"]
    assert len(committed) >= 3
    assert record["data"]["fingerprint"] == committed[0]["data"]["fingerprint"]
    assert abs(found - mean) <= half, f"{found:.1f}, committed {mean:.1f} ± {half:.1f}"
