"""Where runs lie, what their records say, how they are made again and kept."""

import dataclasses
import json

import pandas as pd
import pytest
import torch
from conftest import ROOT

import safe_core
from safe_companion import datasets, records, released, runs, studies
from safe_core import configure


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty repository: results/ and runs/ below it."""
    monkeypatch.setattr(records, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------- names
FOLDER = dict(data_root="/my", dataset="folder")
NAMED = [
    ({}, "sample/hardvs/base/seed0"),
    (dict(seed=3, workers=7), "sample/hardvs/base/seed3"),
    (dict(use_text=False, frames=5), "sample/hardvs/frames=5,use_text=False/seed0"),
    (dict(prompt_file="book/prompts/hardvs.json"), "sample/hardvs/prompt_file=hardvs/seed0"),
    (dict(prompt="A photo of a {}"), "sample/hardvs/prompt=A-photo-of-a/seed0"),
    (released.RELEASED, "sample/hardvs/as_released/seed0"),
    (released.RELEASED | {"frames": 2}, "sample/hardvs/as_released,frames=2/seed0"),
    (dict(data_root="/data/HARDVS"), "real/hardvs/base/seed0"),
    (dict(data_root="/data/HARDVS", frames=3), "real/hardvs/frames=3/seed0"),
    (FOLDER | dict(preset="sample", epochs=12), "real/folder/preset=sample,epochs=12/seed0"),
    (FOLDER | dict(on_bad_recording="skip"), "real/folder/base/seed0"),
]


@pytest.mark.parametrize(("fields", "name"), NAMED)
def test_a_run_is_named_by_what_sets_it_apart_from_its_preset(fields, name):
    place = records.Place.of(configure(**fields))
    assert place.committed == ROOT / "results" / name and place.working == ROOT / "runs" / name
    assert records.Place.at(place.committed) == place


def test_seeds_of_one_configuration_come_in_their_order(root):
    for seed in (10, 2, 0):
        records.Place.of(configure(seed=seed)).committed.mkdir(parents=True)
    found = records.seeds_of(configure(seed=5))
    assert [folder.name for folder in found] == ["seed0", "seed2", "seed10"]


# ------------------------------------------------------------------------------- one tiny run
TINY = dict(
    sample_train_per_class=2,
    sample_test_per_class=1,
    epochs=1,
    batch_size=8,
    val_fraction=0.5,
    frame_draw="independent",
    test_frames="random",
    workers=0,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of samples of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAFE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def made(cache, tmp_path_factory):
    """(folder of a run, its record)."""
    folder = tmp_path_factory.mktemp("run")
    return folder, runs.train(configure(**TINY), folder)


def test_a_record_says_what_was_run_on_what_and_by_which_code(made):
    folder, record = made
    config = configure(**TINY)
    splits = datasets.open_dataset(config)
    assert record == json.loads((folder / records.RECORD).read_text())
    assert record["config"] == dataclasses.asdict(config)
    assert record["data"]["fingerprint"] == splits.fingerprint
    assert (record["data"]["train"], record["data"]["val"], record["data"]["test"]) == (24, 24, 24)
    assert record["data"]["origin"] == "sample" and record["behaviour"]["sample"]
    assert record["seconds"] == sum(row["seconds"] for row in record["history"]) > 0
    assert record["versions"]["torch"] == torch.__version__ and record["hardware"]["cores"]
    assert len(record["sentences"]) == 16 and record["processes"] == 1
    assert not records.outdated(record)


def test_a_record_made_with_other_sentences_or_other_behaviour_is_outdated(made):
    _, record = made
    assert records.outdated(record | {"sentences": "0" * 16}) == ["sentences"]
    older = record["behaviour"] | {"model": 0}
    assert records.outdated(record | {"behaviour": older}) == ["model"]


def test_predictions_hold_the_five_best_answers_of_each_test_recording(made):
    folder, record = made
    table = pd.read_csv(folder / records.PREDICTIONS)
    splits = datasets.open_dataset(configure(**TINY))
    assert list(table.columns[:5]) == ["name", "label", "p", "correct", "condition"]
    assert list(table.name) == splits.test.names
    assert list(table.label) == splits.test.labels.tolist()
    assert (table.correct == (table.class1 == table.label)).all()
    assert 100 * table.correct.mean() == pytest.approx(record["test"]["top1"], abs=1e-3)
    hit = table[[f"class{k}" for k in range(1, 6)]].eq(table.label, axis=0).any(axis=1)
    assert 100 * hit.mean() == pytest.approx(record["test"]["top5"], abs=1e-3)
    falling = table[[f"p{k}" for k in range(1, 6)]].to_numpy()
    assert (falling[:, :-1] >= falling[:, 1:]).all() and (falling.sum(axis=1) <= 1.001).all()
    own = table[table.correct]
    assert own.p.to_numpy() == pytest.approx(own.p1.to_numpy())
    truth = datasets.ground_truth(splits.root, splits.test.names)
    assert list(table.condition) == list(truth.cause)


def test_a_summary_names_data_scores_and_epoch(made):
    record = made[1] | {"test": {"top1": 12.34, "top5": 56.78}, "seconds": 90.0}
    assert records.summary(record) == (
        "hardvs (sample data, 24 training, 24 validation and 24 test recordings): "
        "top-1 12.3 %, top-5 56.8 %, epoch 1 of 1, 1.5 min"
    )


def test_a_kept_run_lies_where_studies_find_it(made, root):
    folder, record = made
    kept = runs.keep(folder, checkpoint=True)
    assert kept == records.Place.of(configure(**TINY)).committed
    assert json.loads((kept / records.RECORD).read_text()) == record
    assert records.all_runs().keys() == {records.Place.at(kept.parent).name}
    found = records.load_run(kept)
    assert found["path"] == str(kept.relative_to(root)) and len(found["predictions"]) == 24
    assert records.checkpoint(found) == kept / records.CHECKPOINT
    whole = (folder / records.CHECKPOINT).stat().st_size
    assert (kept / records.CHECKPOINT).stat().st_size < 0.6 * whole
    model, _ = released.load_model(kept / records.CHECKPOINT)
    test = datasets.open_dataset(model.config).test
    (score,) = released.evaluate(model, test, draws=1)  # of 24 recordings
    assert score["top1"] == pytest.approx(record["test"]["top1"], abs=5)


def test_a_record_of_other_data_is_not_overwritten(made, root):
    folder, record = made
    kept = runs.keep(folder)
    other = record | {"data": record["data"] | {"fingerprint": "other"}}
    (kept / records.RECORD).write_text(json.dumps(other))
    with pytest.raises(ValueError, match="holds a record of other data: move that away"):
        runs.keep(folder)


def test_draws_are_other_frames_for_the_same_model(made):
    folder, record = made
    drawn = runs.draws(folder, 2)
    assert drawn["top1"][0] == pytest.approx(record["test"]["top1"]) and len(drawn["top1"]) == 2
    assert drawn["data"]["fingerprint"] == record["data"]["fingerprint"]
    assert drawn["behaviour"] == record["behaviour"]


def test_even_test_frames_have_no_draws(made, tmp_path):
    model, about = released.load_model(made[0] / records.CHECKPOINT)
    about["config"]["test_frames"] = "even"
    safe_core.save_checkpoint(tmp_path / records.CHECKPOINT, model.state_dict(), about)
    with pytest.raises(ValueError, match="test_frames='even' always draws the same"):
        runs.draws(tmp_path, 2)


def test_rerun_trains_and_goes_on_where_it_was(cache, root):
    """Nothing is written to results/, and a finished run is not trained twice."""
    first = studies.study({"tiny": TINY}, dataset="hardvs", seeds=1, rerun=True)["tiny"][0]
    file = root / first["path"] / records.RECORD
    assert file.is_relative_to(root / "runs") and not (root / "results").exists()
    assert records.checkpoint(first) == file.with_name(records.CHECKPOINT)
    before = file.stat().st_mtime_ns
    again = studies.study({"tiny": TINY}, dataset="hardvs", seeds=1, rerun=True)["tiny"][0]
    assert file.stat().st_mtime_ns == before and again["test"] == first["test"]


# ------------------------------------------------------------------------------- sample and real
def test_a_record_of_the_sample_is_never_shown_or_kept_as_real(made, root):
    folder, record = made
    config = dataclasses.asdict(configure("paper", data_root="sample"))
    wrong = root / "runs" / "mine"
    wrong.mkdir(parents=True)
    (wrong / records.RECORD).write_text(json.dumps(record | {"config": config}))
    (wrong / records.PREDICTIONS).write_text("name\n")
    advice = "of sample data, the place for real data; .* leave data_root unset"
    with pytest.raises(ValueError, match=advice):
        runs.keep(wrong)
    place = records.Place.of(configure("paper", data_root="sample")).committed
    assert not place.exists()
    place.mkdir(parents=True)
    for name in (records.RECORD, records.PREDICTIONS):
        (place / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match=advice):
        records.load_run(place)


def test_too_few_recordings_for_the_processes_are_named(cache, monkeypatch):
    splits = datasets.open_dataset(configure(**TINY))
    monkeypatch.setattr(runs, "open_in_all_processes", lambda config: splits)
    monkeypatch.setattr(safe_core, "join_processes", lambda: (torch.device("cpu"), 0, 30))
    with pytest.raises(ValueError, match="24 validation and 24 test recordings for 30 processes"):
        runs.train(configure(**TINY), ROOT / "runs" / "never")
