"""Where runs lie, what their records say, how they are made again and kept."""

import dataclasses
import json
import platform
import re
import shutil
import subprocess
import sys

import open_clip
import pandas as pd
import pytest
import torch
from conftest import ROOT

import safe_core
from safe_companion import (
    behaviour,
    datasets,
    locks,
    places,
    records,
    released,
    robustness,
    runs,
    studies,
    temperatures,
)
from safe_core import configure


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty repository: results/ and runs/ below it."""
    for module in (places, records):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------- names
FOLDER = dict(data_root="/my", dataset="folder")
NAMED = [
    ({}, "sample/hardvs/base/seed0"),
    (dict(seed=3, workers=7), "sample/hardvs/base/seed3"),
    (dict(use_text=False, frames=5), "sample/hardvs/frames=5,use_text=False/seed0"),
    (dict(prompt_file="book/prompts/hardvs.json"), "sample/hardvs/prompt_file=hardvs/seed0"),
    (dict(prompt="A photo of a {}"), "sample/hardvs/prompt=A-photo-of-a-HASH/seed0"),
    (dict(prompt_file="mine/hardvs.json"), "sample/hardvs/prompt_file=mine-hardvs.json-HASH/seed0"),
    (released.RELEASED, "sample/hardvs/as_released/seed0"),
    (released.RELEASED | {"frames": 2}, "sample/hardvs/as_released,frames=2/seed0"),
    (dict(data_root="/data/HARDVS"), "real/hardvs/base/seed0"),
    (dict(data_root="/data/HARDVS", frames=3), "real/hardvs/frames=3/seed0"),
    (
        FOLDER | dict(preset="sample", epochs=12),
        "real/folder/data_root=my,preset=sample,epochs=12/seed0",
    ),
    (FOLDER | dict(on_bad_recording="skip"), "real/folder/data_root=my/seed0"),
]


@pytest.mark.parametrize(("fields", "name"), NAMED)
def test_a_run_is_named_by_what_sets_it_apart_from_its_preset(fields, name):
    place = places.Place.of(configure(**fields))
    assert re.fullmatch(re.escape(name).replace("HASH", "[0-9a-f]{8}"), place.name)
    assert place.committed == ROOT / "results" / place.name
    assert place.working == ROOT / "runs" / place.name
    assert places.Place.at(place.committed) == place


def test_runs_that_differ_have_names_that_differ_and_fit_into_a_folder():
    prompts = ["A {}", "A {} !", "A ({})", "a {}", "A  {}", "x" * 400 + "{}", "x" * 401 + "{}"]
    files = ["book/prompts/hardvs.json", "mine/hardvs.json", "other/hardvs.json"]
    asked = [dict(prompt=p) for p in prompts] + [dict(prompt_file=f) for f in files]
    names = [places.run_name(configure(**fields)) for fields in asked]
    assert len(set(names)) == len(names) and max(map(len, names)) < 120


def test_seeds_of_one_configuration_come_in_their_order(root):
    for seed in (10, 2, 0):
        folder = places.Place.of(configure(seed=seed)).committed
        folder.mkdir(parents=True)
        (folder / places.RECORD).touch()
    found = places.seeds_of(configure(seed=5))
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
    assert record == json.loads((folder / places.RECORD).read_text())
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
    table = pd.read_csv(folder / places.TABLE)
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
    assert kept == places.Place.of(configure(**TINY)).committed
    assert json.loads((kept / places.RECORD).read_text()) == record
    assert records.all_runs().keys() == {places.Place.at(kept.parent).name}
    found = records.load_run(kept)
    assert found["path"] == str(kept.relative_to(root)) and len(found["predictions"]) == 24
    assert found["log_probs"].shape == (24, 24) and not (kept / places.TABLE).exists()
    assert [file.name[:11] for file in kept.parents[1].glob("*.csv")] == ["recordings-"]
    assert records.checkpoint(found) == kept / places.CHECKPOINT
    whole = (folder / places.CHECKPOINT).stat().st_size
    assert (kept / places.CHECKPOINT).stat().st_size < 0.6 * whole
    model, _ = safe_core.load_model(kept / places.CHECKPOINT)
    test = datasets.open_dataset(model.config).test
    (score,) = released.evaluate(model, test, draws=1)  # of 24 recordings
    assert score["top1"] == pytest.approx(record["test"]["top1"], abs=5)


def test_a_record_of_other_data_is_not_overwritten(made, root):
    folder, record = made
    kept = runs.keep(folder)
    other = record | {"data": record["data"] | {"fingerprint": "other"}}
    (kept / places.RECORD).write_text(json.dumps(other))
    with pytest.raises(ValueError, match="holds a record with another data; move that away"):
        runs.keep(folder)
    other = record | {"sentences": "0" * 16, "config": record["config"] | {"width": 12}}
    (kept / places.RECORD).write_text(json.dumps(other))
    with pytest.raises(ValueError, match="another width, sentences; move that away"):
        runs.keep(folder)


def derived(place):
    """Puts something in the place of all that is made of a run's weights; its names."""
    names = ["best.safetensors", "best.json", "draws.json", robustness.FILE, temperatures.FILE]
    for name in names:
        (place / name).write_text("of the weights before")
    return set(names)


def test_what_was_made_of_other_weights_does_not_stay_beside_a_new_record(made, root):
    folder, record = made
    place = runs.keep(folder)
    alone = {file.name for file in place.iterdir()}
    names = derived(place)
    runs.keep(folder)
    assert {file.name for file in place.iterdir()} == alone | names, "the same run is kept again"
    older = record | {"history": [record["history"][0] | {"train_loss": 9.0}]}
    (place / places.RECORD).write_text(json.dumps(older))
    (place / "notes.txt").write_text("mine")
    runs.keep(folder)
    assert {file.name for file in place.iterdir()} == alone | {"notes.txt"}
    derived(place)
    (place / places.RECORD).unlink()  # to have it made again
    runs.keep(folder)
    assert {file.name for file in place.iterdir()} == alone | {"notes.txt"}
    assert json.loads((place / places.RECORD).read_text()) == record


def test_draws_are_other_frames_for_the_same_model(made):
    folder, record = made
    drawn = runs.draws(folder, 2)
    assert drawn["top1"][0] == pytest.approx(record["test"]["top1"]) and len(drawn["top1"]) == 2
    assert drawn["data"]["fingerprint"] == record["data"]["fingerprint"]
    assert drawn["behaviour"] == record["behaviour"]


def test_even_test_frames_have_no_draws(made, tmp_path):
    model, about = safe_core.load_model(made[0] / places.CHECKPOINT)
    about["config"]["test_frames"] = "even"
    safe_core.save_checkpoint(tmp_path / places.CHECKPOINT, model.state_dict(), about)
    with pytest.raises(ValueError, match="test_frames='even' always draws the same"):
        runs.draws(tmp_path, 2)


def test_rerun_trains_and_goes_on_where_it_was(cache, root):
    """Nothing is written to results/, and a finished run is not trained twice."""
    first = studies.study({"tiny": TINY}, dataset="hardvs", seeds=1, rerun=True)["tiny"][0]
    file = root / first["path"] / places.RECORD
    assert file.is_relative_to(root / "runs") and not (root / "results").exists()
    assert records.checkpoint(first) == file.with_name(places.CHECKPOINT)
    before = file.stat().st_mtime_ns
    again = studies.study({"tiny": TINY}, dataset="hardvs", seeds=1, rerun=True)["tiny"][0]
    assert file.stat().st_mtime_ns == before and again["test"] == first["test"]


# ------------------------------------------------------------------------------- identity
def test_a_checkpoint_says_which_data_and_which_behaviour_made_it(made):
    folder, record = made
    _, about = safe_core.load_model(folder / places.CHECKPOINT)
    made_with = {"data": record["data"]["fingerprint"], "behaviour": record["behaviour"]}
    assert made_with.items() <= about["identity"].items()
    assert about["identity"]["frames"] == 3 and "workers" not in about["identity"]


def test_a_finished_run_is_left_as_it_is_by_whatever_commit(made, monkeypatch, capsys):
    folder, record = made
    before = (folder / places.RECORD).read_bytes()
    monkeypatch.setattr(runs, "commit", lambda: "another")
    monkeypatch.setattr(records, "commit", lambda: "another")
    assert runs.train(configure(**TINY), folder, resume=True) == record
    assert (folder / places.RECORD).read_bytes() == before
    assert "finished before, nothing is left to do" in capsys.readouterr().out
    with pytest.raises(FileExistsError, match="holds a run: resume it, or choose another"):
        runs.train(configure(**TINY), folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(frames=2), "another frames"),
        (dict(sample_test_per_class=2), "another sample_test_per_class, data"),
        (dict(prompt="Here is {}"), "another prompt, sentences"),
    ],
)
def test_a_finished_run_of_something_else_is_named(made, change, words):
    with pytest.raises(ValueError, match=f"{words}; choose another folder"):
        runs.train(configure(**TINY | change), made[0], resume=True)


def test_a_finished_run_of_another_version_is_named(made, monkeypatch):
    monkeypatch.setitem(behaviour.VERSIONS, "clips", 99)
    with pytest.raises(ValueError, match="another version of clips; choose another folder"):
        runs.train(configure(**TINY), made[0], resume=True)


def test_a_commit_is_marked_where_what_decides_a_run_differs_from_it(tmp_path):
    def git(*words):
        mine = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        done = subprocess.run(["git", *mine, *words], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout.strip()

    def commit():  # of this moment: within a process it does not change
        return records.commit.__wrapped__(tmp_path)

    assert commit() is None
    git("init")
    for name in ("safe_core.py", "README.md"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert len(head) == 40 and commit() == head
    (tmp_path / "README.md").write_text("2")
    assert commit() == head
    (tmp_path / "safe_core.py").write_text("2")
    assert commit() == f"{head}-dirty"


def test_a_commit_is_marked_where_a_new_file_that_it_lacks_may_decide_a_run(tmp_path):
    def git(*words):
        mine = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        subprocess.run(["git", *mine, *words], cwd=tmp_path, capture_output=True, check=True)

    def marked():
        return records.commit.__wrapped__(tmp_path).endswith("-dirty")

    git("init")
    for folder in ("safe_companion/__pycache__", "book/prompts", "notes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git("add", ".")
    git("commit", "-m", "first")
    git("config", "status.showUntrackedFiles", "no")  # as some have it
    for name in ("safe_companion/__pycache__/mine.pyc", "notes/mine.md"):
        (tmp_path / name).write_text("1")
    assert not marked()
    for name in ("safe_companion/mine.py", "book/prompts/mine.json"):
        (tmp_path / name).write_text("1")
        assert marked(), name
        (tmp_path / name).unlink()
    assert not marked()


def test_more_epochs_go_on_and_say_which_rates_change(made, tmp_path, capsys, monkeypatch):
    folder, record = made
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    monkeypatch.setattr(records, "commit", lambda: "later")
    longer = runs.train(configure(**TINY | dict(epochs=2, workers=1)), mine, resume=True)
    said = capsys.readouterr().out
    assert "resumed with epochs=2, begun with 1" in said and "with workers=1, begun" in said
    assert "the schedule is another: in epoch 1 the learning rate is about" in said
    assert longer["history"][0] == record["history"][0] and len(longer["history"]) == 2
    assert longer["commit"] == record["commit"] and longer["resumed_with"] == ["later"]


def interrupted(made, tmp_path, epochs):
    """The folder of a run that was begun with so many epochs and has made one."""
    mine = tmp_path / "mine"
    shutil.copytree(made[0], mine)
    state = torch.load(mine / "last.pt", weights_only=True)
    state["about"]["config"]["epochs"] = epochs
    torch.save(state, mine / "last.pt")
    (mine / places.RECORD).unlink()
    starts = json.loads((mine / "starts.json").read_text())
    starts[0]["config"]["epochs"] = epochs
    (mine / "starts.json").write_text(json.dumps(starts))
    return mine


def test_fewer_epochs_than_a_run_was_begun_with_are_refused_however_often(made, tmp_path):
    mine = interrupted(made, tmp_path, 5)
    before = {file.name: file.read_bytes() for file in mine.iterdir() if file.suffix}
    for _ in range(2):
        with pytest.raises(ValueError, match="epochs=3: .*begun with 5; give no fewer"):
            runs.train(configure(**TINY | {"epochs": 3}), mine, resume=True)
        with pytest.raises(ValueError, match="epochs=3: .*begun with 5; give no fewer"):
            records.note_start(mine, configure(**TINY | {"epochs": 3}), resume=True)
    assert {file.name: file.read_bytes() for file in mine.iterdir() if file.suffix} == before


def test_a_start_that_trained_nothing_does_not_bind_the_next_one(made, tmp_path):
    mine = interrupted(made, tmp_path, 2)
    with pytest.raises(ValueError, match="another frames"):
        runs.train(configure(**TINY | {"epochs": 9, "frames": 2}), mine, resume=True)
    assert len(records.note_start(mine, configure(**TINY | {"epochs": 2}), resume=True)) == 3


def test_a_run_whose_state_is_gone_is_not_begun_anew_over_its_weights(made, tmp_path):
    """A sweep removes the state of runs that are finished."""
    mine = tmp_path / "mine"
    shutil.copytree(made[0], mine)
    (mine / "last.pt").unlink()
    assert runs.train(configure(**TINY), mine, resume=True) == made[1], "nothing is left to do"
    before = {file.name: file.read_bytes() for file in mine.iterdir() if file.suffix}
    longer = configure(**TINY | {"epochs": 2})
    what = "found record.json and best.safetensors, and no last.pt to go on from"
    with pytest.raises(FileExistsError, match=f"mine: {what}; choose another folder, or move"):
        runs.train(longer, mine, resume=True)
    (mine / places.RECORD).unlink()
    del before[places.RECORD]
    with pytest.raises(FileExistsError, match="found best.safetensors, and no last.pt"):
        records.note_start(mine, longer, resume=True)
    assert {file.name: file.read_bytes() for file in mine.iterdir() if file.suffix} == before
    assert len(records.note_start(mine, longer, resume=False)) == 1, "anew, since it is asked for"


def test_epochs_are_no_difference_where_steps_say_how_long_a_training_is(made, tmp_path, root):
    by_steps = {"steps": 3, "epochs": 4}
    mine = tmp_path / "mine"
    record = runs.train(configure(**TINY | by_steps), mine, resume=True)
    for epochs in (60, 1):
        config = configure(**TINY | by_steps | {"epochs": epochs})
        assert places.Place.of(config) == places.Place.of(configure(**TINY | by_steps))
        assert runs.train(config, mine, resume=True) == record
    place = runs.keep(mine)
    there = record | {"config": record["config"] | {"epochs": 60}}
    (place / places.RECORD).write_text(json.dumps(there))
    assert runs.keep(mine) == place, "they are the same run"


def test_a_run_by_steps_goes_on_whatever_its_epochs(made, tmp_path, capsys):
    by_steps = {"steps": 3, "epochs": 4}
    mine = tmp_path / "mine"
    runs.train(configure(**TINY | by_steps), mine)
    (mine / places.RECORD).unlink()
    capsys.readouterr()
    again = runs.train(configure(**TINY | by_steps | {"epochs": 2}), mine, resume=True)
    assert "epochs" not in capsys.readouterr().out and len(again["history"]) == 1
    with pytest.raises(ValueError, match="holds a run that was made with another steps"):
        runs.train(configure(**TINY | {"steps": 2, "epochs": 4}), mine, resume=True)


def test_resume_without_a_run_says_so(cache, tmp_path, capsys):
    runs.train(configure(**TINY), tmp_path / "new", resume=True)
    assert "new: no run to resume; starting it" in capsys.readouterr().out


def test_draws_of_other_data_are_refused(made, tmp_path):
    model, about = safe_core.load_model(made[0] / places.CHECKPOINT)
    about["identity"]["data"] = "other"
    safe_core.save_checkpoint(tmp_path / places.CHECKPOINT, model.state_dict(), about)
    with pytest.raises(ValueError, match="trained on other data"):
        runs.draws(tmp_path, 1)


# ------------------------------------------------------------------------------- one run a folder
HOLD = """
import sys, time
from pathlib import Path
from safe_companion import locks
lock = locks.take(Path(sys.argv[1]))
print("taken", flush=True)
time.sleep(60)
"""


def hold(folder):
    """A process that is at work in a folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "taken\n"
    return process


def test_a_folder_where_another_run_is_at_work_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_S", 0.1)
    other = hold(tmp_path)
    try:
        who = f"process {other.pid} on {platform.node()} since .* is at work here"
        with pytest.raises(OSError, match=who):
            runs.train(configure(**TINY), tmp_path, resume=True)
        assert not (tmp_path / "last.pt").exists()
    finally:
        other.kill()
        other.wait()
    locks.take(tmp_path).release()  # a killed process holds nothing


def test_a_folder_that_cannot_be_written_is_named_before_anything_else(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "open_in_all_processes", lambda config: pytest.fail("too late"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file/run: cannot be written .*choose another folder"):
        runs.train(configure(**TINY), tmp_path / "file" / "run")


# ------------------------------------------------------------------------------- damaged records
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"config"', '"cfg"', 1),
        lambda text: text.replace('"frames": 3', '"frames": 0', 1),
        lambda text: text.replace('"history": [', '"history": 3, "h": [', 1),
        lambda text: text.replace('"top1"', '"top"', 1).replace('"top1"', '"top"'),
        lambda text: text.replace('"fingerprint"', '"finger"', 1),
    ],
)
def test_a_damaged_record_is_one_named_error(made, tmp_path, damage):
    folder = tmp_path / "results" / "sample" / "hardvs" / "base" / "seed0"
    shutil.copytree(made[0], folder)
    text = (folder / places.RECORD).read_text()
    assert damage(text) != text
    (folder / places.RECORD).write_text(damage(text))
    with pytest.raises(ValueError, match="seed0/record.json: "):
        records.load_run(folder)


def test_predictions_that_do_not_fit_their_record_are_named(made, tmp_path):
    folder = tmp_path / "results" / "sample" / "hardvs" / "base" / "seed0"
    shutil.copytree(made[0], folder)
    (folder / places.PREDICTIONS).unlink()  # as records of before have it
    lines = (folder / places.TABLE).read_text().splitlines()
    for content in ("\n".join(lines[:-3]), "", "a,b\n" * 25):
        (folder / places.TABLE).write_text(content)
        with pytest.raises(ValueError, match="seed0/predictions.csv: "):
            records.load_run(folder)


# ------------------------------------------------------------------------------- sample and real
def test_a_record_of_the_sample_is_never_shown_or_kept_as_real(made, root):
    folder, record = made
    config = dataclasses.asdict(configure("paper", data_root="sample"))
    wrong = root / "runs" / "mine"
    wrong.mkdir(parents=True)
    (wrong / places.RECORD).write_text(json.dumps(record | {"config": config}))
    (wrong / places.TABLE).write_text("name\n")
    advice = "of sample data, the place for real data; .* leave data_root unset"
    with pytest.raises(ValueError, match=advice):
        runs.keep(wrong)
    place = places.Place.of(configure("paper", data_root="sample")).committed
    assert not place.exists()
    place.mkdir(parents=True)
    for name in (places.RECORD, places.PREDICTIONS):
        (place / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match=advice):
        records.load_run(place)


def test_too_few_recordings_for_the_processes_are_named(cache, monkeypatch, tmp_path):
    splits = datasets.open_dataset(configure(**TINY))
    monkeypatch.setattr(runs, "open_in_all_processes", lambda config: splits)
    monkeypatch.setattr(safe_core, "here", lambda: (torch.device("cpu"), 0, 30))
    with pytest.raises(ValueError, match="24 validation and 24 test recordings for 30 processes"):
        runs.train_alone(configure(**TINY), tmp_path, resume=False, on_step=print)


def test_weights_that_cannot_be_had_are_named_with_the_way_out(monkeypatch, tmp_path):
    def no_network(*names, **options):
        raise OSError("no route")

    monkeypatch.setattr(open_clip, "create_model", no_network)
    monkeypatch.setattr(runs, "open_in_all_processes", lambda config: pytest.fail("too late"))
    config = configure(data_root=str(tmp_path / "data"), dataset="folder")
    with pytest.raises(OSError, match="no weights clip_weights='openai'.*clip_weights=FILE.*route"):
        runs.train(config, tmp_path / "run")


# ------------------------------------------------------------------------------- damage
BASE = ROOT / "results" / "sample" / "hardvs" / "base" / "seed0"


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": 10**400},
        {"seconds": float("nan")},
        {"behaviour": ["clips"]},
        {"behaviour": "clips"},
        {"config": {}},
        {"config": {"dataset": "hardvs"}},
        {"history": [{}]},
        {"commit": ...},
        {"sentences": ...},
    ],
    ids=str,
)
def test_a_damaged_record_is_named_before_anything_is_made_of_it(change, tmp_path):
    record = json.loads((BASE / "record.json").read_text()) | change
    record = {key: value for key, value in record.items() if value is not ...}
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="record.json: not the record of a run"):
        records.read_record(tmp_path)


def test_a_record_of_before_a_field_was_there_is_read(tmp_path):
    place = shutil.copytree(BASE, tmp_path / "sample" / "hardvs" / "base" / "seed0")
    for file in BASE.parents[1].glob("recordings-*.csv"):
        shutil.copy(file, place)
    record = json.loads((BASE / "record.json").read_text())
    for name in ("data_root", "epochs"):
        del record["config"][name]
    (place / "record.json").write_text(json.dumps(record))
    run = records.load_run(place)
    assert records.outdated(run) == records.outdated(records.load_run(BASE))
    assert "epoch" in records.summary(run)


@pytest.mark.parametrize(
    ("column", "value"),
    [("correct", "Tru"), ("label", ""), ("class1", "x"), ("p1", "-"), ("p", ""), ("name", None)],
)
def test_predictions_with_a_damaged_value_are_named(column, value, tmp_path):
    old = next((ROOT / "results" / "real" / "folder").glob("data_root=nmnist,*/seed0"))
    place = shutil.copytree(old, tmp_path / "real" / "folder" / "x" / "seed0")
    table = pd.read_csv(place / "predictions.csv", dtype=str)
    if value is None:
        del table[column]
    else:
        table.loc[1, column] = value
    table.to_csv(place / "predictions.csv", index=False)
    with pytest.raises(ValueError, match=f"predictions.csv: .*no whole column {column}"):
        records.load_run(place)


@pytest.mark.parametrize("content", ["5", "{}", '[{"commit": "a"}]', '[{"config": {}}]'])
def test_notes_beside_a_run_that_are_damaged_are_named(tmp_path, content):
    (tmp_path / "last.pt").write_text("")
    (tmp_path / "starts.json").write_text(content)
    with pytest.raises(ValueError, match="starts.json: does not say how the run was begun"):
        records.note_start(tmp_path, configure(), resume=True)


def test_text_features_of_a_file_are_not_asked_for_before_the_classes_are_known():
    """Towers are looked at first, with a class that no file knows."""
    fields = {"dataset": "folder", "data_root": "-", "text_source": "file", "text_file": "no.npz"}
    runs.check_weights(safe_core.configure("sample", **fields))
