"""A model's answers in few bytes: ranks stay, sums with another's do not move, damage is named."""

import hashlib
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from safe_companion import places, predictions, studies


def answers(count=300, classes=26, *, spread=4.0, seed=0):
    """Log-probabilities of random models, from sure to undecided."""
    generator = torch.Generator().manual_seed(seed)
    scale = spread * torch.rand(count, 1, generator=generator)
    return (scale * torch.randn(count, classes, generator=generator)).log_softmax(dim=1)


def splits(count, classes=26):
    labels = torch.arange(count) % classes
    names = [f"class {i % classes}/take {i:05d}" for i in range(count)]
    return SimpleNamespace(
        test=SimpleNamespace(names=names, labels=labels), origin="real", root=None
    )


# ---------------------------------------------------------------- codes


@pytest.mark.parametrize("classes", [2, 4, 26, 300])
@pytest.mark.parametrize("spread", [0.001, 0.3, 4, 40])
def test_the_first_five_ranks_stay(classes, spread):
    log_probs = answers(classes=classes, spread=spread)
    order = predictions.encode(log_probs).argsort(axis=1, kind="stable")[:, :5]
    assert (order == log_probs.topk(min(5, classes)).indices.numpy()).all()


def test_ranks_stay_among_equals():
    log_probs = torch.zeros(3, 9).log_softmax(dim=1)
    order = predictions.encode(log_probs).argsort(axis=1, kind="stable")[:, :5]
    assert (order == log_probs.topk(5).indices.numpy()).all()


def test_what_is_probable_is_kept_finely_and_what_is_hopeless_coarsely():
    log_probs = answers(2000, spread=8)
    again = predictions.decode(predictions.encode(log_probs))
    assert again.dtype == np.float32 and np.exp(again).sum(axis=1) == pytest.approx(1, abs=1e-5)
    off = np.abs(again - log_probs.numpy())
    below = (log_probs.max(dim=1, keepdim=True).values - log_probs).numpy()
    assert np.quantile(off[below < 1], 0.99) < 0.07, "but for ranks that were put right"
    assert off[below < 1].max() < 0.2 and off[below < 4].max() < 0.8
    assert np.median(off[(below > 5) & (below < 10)]) < 1


def test_what_is_impossible_stays_so_and_what_is_no_number_is_refused():
    certain = torch.tensor([[0.0, -torch.inf, -200.0]])
    assert predictions.decode(predictions.encode(certain))[0] == pytest.approx([0, -60, -60])
    with pytest.raises(ValueError, match="found log-probabilities that are no numbers"):
        predictions.encode(torch.tensor([[0.0, torch.nan]]))


def of_all_classes(run, classes):
    """The log-probabilities of a committed run; of an older one, the rest shared out evenly."""
    if run["log_probs"] is not None:
        return torch.from_numpy(run["log_probs"])
    table = run["predictions"]
    rows = np.arange(len(table))
    found = np.full((len(table), classes), np.nan)
    for k in range(1, 6):
        found[rows, table[f"class{k}"]] = table[f"p{k}"]
    rest = (1 - np.nansum(found, axis=1)).clip(1e-7) / (classes - 5)
    found = np.where(np.isnan(found), np.minimum(rest, table.p5.to_numpy())[:, None], found)
    return torch.from_numpy(found.clip(1e-7)).log().log_softmax(dim=1)


def test_sums_and_choices_of_two_models_survive():
    """Late fusion and the surer of two, of all committed pairs: they move by less than 0.05 points.

    With few pairs one answer is more than that; so they are counted together.
    """
    moved = {"fused": [], "surer": []}
    for dataset, classes in (("pokerevent", 26), ("hardvs", 24)):
        pairs = [
            studies.records({"modality": modality}, dataset=dataset, origin="sample")
            for modality in ("rgb", "event")
        ]
        for pair in zip(*pairs, strict=True):
            labels = pair[0]["predictions"].label.to_numpy()
            fine = [of_all_classes(run, classes) for run in pair]
            coarse = [predictions.decode(predictions.encode(x)) for x in fine]
            for x, y in ([x.numpy() for x in fine], coarse):
                moved["fused"].append(np.argmax(x + y, axis=1) == labels)
                surest = np.max(x, axis=1) >= np.max(y, axis=1)
                moved["surer"].append(
                    np.where(surest, np.argmax(x, axis=1), np.argmax(y, axis=1)) == labels
                )
    for answered in moved.values():
        before, after = np.concatenate(answered[::2]), np.concatenate(answered[1::2])
        assert len(before) > 4000 and 0.6 < before.mean() < 0.9
        assert (before != after).mean() < 0.002
        assert 100 * abs(before.mean() - after.mean()) < 0.05


# ---------------------------------------------------------------- files


def test_answers_are_read_as_they_were_written(tmp_path):
    data, log_probs = splits(130), answers(130)
    predictions.write(tmp_path, data, log_probs)
    table, found = predictions.read(tmp_path, 130)
    for_people = pd.read_csv(tmp_path / places.TABLE)
    assert list(table.columns) == list(for_people.columns)
    exact = ["name", "label", "correct", *(f"class{k}" for k in range(1, 6))]
    pd.testing.assert_frame_equal(table[exact], for_people[exact], check_dtype=False)
    assert table.p1.to_numpy() == pytest.approx(for_people.p1.to_numpy(), abs=0.02)
    own = np.exp(found[np.arange(130), table.label])
    assert table.p.to_numpy() == pytest.approx(own)


def test_a_run_takes_few_bytes(tmp_path):
    """2,500 recordings of 26 classes, as sure as a trained model: less than 35 kB."""
    labels = torch.arange(2500) % 26
    log_probs = (answers(2500, spread=4) + 4 * torch.nn.functional.one_hot(labels, 26)).log_softmax(
        1
    )
    predictions.write(tmp_path, splits(2500), log_probs)
    assert (tmp_path / places.PREDICTIONS).stat().st_size < 35_000


def test_recordings_are_kept_once_for_all_runs(tmp_path):
    for seed in range(3):
        folder, place = tmp_path / f"run{seed}", tmp_path / "real" / "hardvs" / "x" / f"seed{seed}"
        for made in (folder, place):
            made.mkdir(parents=True)
        predictions.write(folder, splits(60), answers(60, seed=seed))
        predictions.keep(folder, place)
        pd.testing.assert_frame_equal(
            predictions.read(folder, 60)[0], predictions.read(place, 60)[0]
        )
        assert [file.name for file in place.iterdir()] == [places.PREDICTIONS]
    (shared,) = (tmp_path / "real" / "hardvs").glob("recordings-*.csv")
    assert len(shared.read_text().splitlines()) == 61


def test_runs_that_end_at_the_same_moment_keep_the_recordings(tmp_path, monkeypatch):
    """Both have written them, then both put them in place."""
    root = tmp_path / "sample" / "hardvs" / "x"
    for seed in range(2):
        (folder := tmp_path / f"run{seed}").mkdir()
        (root / f"seed{seed}").mkdir(parents=True)
        predictions.write(folder, splits(60), answers(60, seed=seed))
    replace = os.replace

    def after_the_other(source, target):
        monkeypatch.setattr(os, "replace", replace)
        predictions.keep(tmp_path / "run1", root / "seed1")
        replace(source, target)

    monkeypatch.setattr(os, "replace", after_the_other)
    predictions.keep(tmp_path / "run0", root / "seed0")
    for seed in range(2):
        assert len(predictions.read(root / f"seed{seed}", 60)[0]) == 60
    assert len(list((tmp_path / "sample" / "hardvs").iterdir())) == 2  # x, and one table


def test_the_same_answers_are_the_same_bytes(tmp_path):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        predictions.write(tmp_path / name, splits(60), answers(60))
        contents.append((tmp_path / name / places.PREDICTIONS).read_bytes())
    assert contents[0] == contents[1]


def test_older_runs_have_the_five_highest_alone(tmp_path):
    old = next((ROOT / "results" / "real" / "folder").glob(f"data_root=nmnist,*/*/{places.TABLE}"))
    shutil.copy(old, tmp_path)
    count = len(pd.read_csv(old))
    table, log_probs = predictions.read(tmp_path, count)
    assert len(table) == count and log_probs is None
    place = tmp_path / "sample" / "hardvs" / "x" / "seed0"
    place.mkdir(parents=True)
    predictions.keep(tmp_path, place)
    assert (place / places.TABLE).read_bytes() == old.read_bytes()


# ---------------------------------------------------------------- damage


@pytest.fixture
def written(tmp_path):
    predictions.write(tmp_path, splits(60), answers(60))
    return tmp_path


def test_any_damage_of_the_answers_is_one_named_error(written):
    file = written / places.PREDICTIONS
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    contents = [b"", b"PK", whole[: len(whole) // 2], whole[:-9], b"\x93NUMPY" + whole]
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        contents.append(bytes(damaged))
    _, expected = predictions.read(written, 60)
    named = 0
    for content in contents:
        file.write_bytes(content)
        try:
            _, found = predictions.read(written, 60)
        except ValueError as error:
            assert str(error).startswith(str(file))
            named += 1
        else:  # a bit that nothing reads, such as a date
            assert (found == expected).all()
    assert named > 40


@pytest.mark.parametrize(
    "arrays",
    [
        {"codes": np.zeros((60, 26), np.uint8)},
        {"recordings": np.array("0" * 16), "codes": np.zeros((60, 26), np.int32)},
        {"recordings": np.array("0" * 16), "codes": np.zeros(60, np.uint8)},
        {"recordings": np.array("../../etc/passwd"), "codes": np.zeros((60, 26), np.uint8)},
        {"recordings": np.array("0" * 16), "codes": np.array([{}])},
    ],
)
def test_other_content_is_named(written, arrays):
    np.savez_compressed(written / places.PREDICTIONS, **arrays)
    with pytest.raises(ValueError, match=f"{places.PREDICTIONS}: found no answers of a run"):
        predictions.read(written, 60)


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked(written, monkeypatch):
    monkeypatch.setattr(predictions, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        predictions.read(written, 60)


def test_answers_to_other_recordings_are_named(written):
    with pytest.raises(ValueError, match="found 60 answers of 26 classes to 60 .* each of 61 test"):
        predictions.read(written, 61)
    (recordings,) = written.glob("recordings-*.csv")
    content = recordings.read_text()
    recordings.write_text(content.replace("take 00001", "take 00002"))
    with pytest.raises(ValueError, match=f"{recordings.name}: found other test recordings"):
        predictions.read(written, 60)
    recordings.unlink()
    with pytest.raises(ValueError, match=f"found no {recordings.name} beside it"):
        predictions.read(written, 60)


def test_a_name_of_recordings_is_that_of_their_content(written):
    (recordings,) = written.glob("recordings-*.csv")
    digest = hashlib.sha256(recordings.read_bytes()).hexdigest()
    assert recordings.name == f"recordings-{digest[:8]}.csv"
