"""The studies' rows, the runs that are found for them, and what a sweep needs to know."""

import csv
import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from made_runs import made_run, of_accuracies, write_record
from recipes import make_root, random_events, save_npz

import safe_core
from safe_companion import datasets, paper, places, records, released, runs, studies
from safe_companion.recordings import RecordingError
from safe_companion.rows import SEARCHES
from safe_core import configure

POKER = "book/prompts/pokerevent.json"
FULL = {"event_windows": "afe", "prompt_file": POKER}

# ---------------------------------------------------------------- the table of studies


def table_of_studies():
    with open(ROOT / "book" / "studies.csv") as file:
        return list(csv.DictReader(file))


def test_the_table_names_every_study_once_and_the_notebook_that_shows_it():
    rows = table_of_studies()
    names = [row["study"] for row in rows]
    assert len(set(names)) == len(names)
    known = {name for dataset in studies.SWEPT for name in studies.studies(dataset, "sample")}
    assert set(names) == known
    shown_elsewhere = {"longer": "recipe"}  # one question, one page
    for row in rows:
        page = shown_elsewhere.get(row["study"], row["study"])
        assert row["notebook"] == page or row["notebook"].startswith(page + "_")
        assert (ROOT / "notebooks" / f"{row['notebook']}.ipynb").exists()
        assert any(int(row[dataset]) for dataset in studies.SWEPT)


def test_a_sweep_runs_on_a_sample_what_the_table_says():
    assert studies.SWEPT["conjunctions"] == {"conjunctions": 5}
    assert "table3" in studies.SWEPT["hardvs"] and "table3" not in studies.SWEPT["pokerevent"]
    assert studies.swept("fig4") == ["hardvs", "pokerevent"]
    assert studies.swept("table4") == ["pokerevent"] and studies.swept("table9") == []


def test_the_headline_has_eight_seeds_the_longest_training_three_a_search_one_others_five():
    of_table_4 = ("ablation_no_text", "ablation_no_cross_attention")
    for dataset, of_studies in studies.SWEPT.items():
        for study, seeds in of_studies.items():
            if study in SEARCHES:
                assert seeds == 1
            elif study == "longer":  # one run of it has 3,415 steps
                assert seeds == 3
            elif study.startswith(("table2", "table3", "table4", "fig4", "modalities", "text")):
                assert seeds == 8, (dataset, study)
            else:
                assert seeds == (8 if study in of_table_4 else 5), (dataset, study)


def test_rows_that_a_sweep_leaves_out_exist_and_have_a_reason():
    for (dataset, study, row), why in studies.LEFT_OUT.items():
        assert study in studies.SWEPT[dataset] and why.strip()
        own = {"dataset": dataset, "data_root": None}
        fields = own | studies.studies(dataset, "sample")[study][row]
        runs = studies.runs_of_a_sweep(dataset, None)[study]
        assert fields not in [{k: run[k] for k in run if k != "seed"} for run in runs]


def test_a_sweep_has_as_many_seeds_of_a_row_as_the_table_says_and_no_more_than_asked_for():
    def seeds_of(study, fields, **asked):
        runs = studies.runs_of_a_sweep("hardvs", None, **asked)[study]
        return [run["seed"] for run in runs if fields.items() <= run.items()]

    few = studies.studies("hardvs", "sample")["text"]["random vectors, 4 a class"]
    assert seeds_of("text", few) == [0, 1, 2, 3, 4]
    assert seeds_of("text", {"text_source": "learned"}) == list(range(8))
    assert seeds_of("unseen", {"held_out": 3, "model": "cosines"}) == [0, 1]
    assert seeds_of("table3", {"model": "c3d"}, seeds=2) == [0, 1]
    assert seeds_of("recipe", {"augment": "none"}, seeds=2) == [0]
    real = studies.runs_of_a_sweep("pokerevent", "-")
    assert {run["seed"] for run in real["table4"]} == {0, 1, 2}
    assert {run["seed"] for run in real["peers_recipe"]} == {0}
    assert {run["seed"] for run in studies.runs_of_a_sweep("hardvs", "-", 7)["fig4"]} == {*range(7)}
    assert all(run["data_root"] == "-" for run in real["table2"])


@pytest.mark.parametrize("dataset", studies.SWEPT)
def test_what_a_sweep_runs_are_studies_of_that_data_set(dataset):
    known = studies.studies(dataset, "sample")
    assert set(studies.SWEPT[dataset]) <= set(known)
    for rows in studies.studies(dataset, "real").values():
        for fields in rows.values():
            safe_core.configure("paper", dataset=dataset, data_root="-", **fields)


# ---------------------------------------------------------------- rows


def without_rates(rows):
    """Rows of a study without the learning rates that were found for other methods."""
    return {
        name: {key: value for key, value in fields.items() if key != "learning_rate"}
        for name, fields in rows.items()
    }


def test_tables_of_the_paper_have_the_rows_of_its_claims():
    found = studies.studies("pokerevent", "sample")
    others = {"C3D": "c3d", "TSM": "tsm", "V-SwinTrans": "video-swin", "MViT": "mvit"}
    assert without_rates(found["table2"]) == {"SAFE": FULL} | {
        name: {"model": model} for name, model in others.items()
    }
    assert "table3" not in found
    assert found["table4"] == {
        "all components": FULL,
        "without semantic category information (no text)": {
            "event_windows": "afe",
            "use_text": False,
        },
        "CLIP vision model replaced by a plain ViT": FULL | {"vision_tower": "vit"},
        "no multi-modal transformer: features only concatenated": FULL
        | {"use_multimodal_transformer": False},
        "no self-attention": FULL | {"use_self_attention": False},
        "no cross-attention": FULL | {"use_cross_attention": False},
        "no ChatGPT rewriting of the prompts": {"event_windows": "afe"},
        "no adaptive fine-grained event representation": {"prompt_file": POKER},
    }
    assert next(iter(found["table4"])) == "all components"
    assert found["table5"] == {f"frames={n}": {"frames": n} for n in (1, 3, 5, 7)}
    assert len(found["table6"]) == 6 and found["table6"]["prompt=no prompt"] == {"prompt": "{}"}


def test_other_data_sets_have_the_rows_of_tables_4_to_6_with_their_own_sentences():
    found = studies.studies("hardvs", "sample")
    assert without_rates(found["table3"]) == {
        "SAFE": {"event_windows": "afe", "prompt_file": "book/prompts/hardvs.json"},
        "C3D": {"model": "c3d"},
        "ResNet18": {"model": "resnet18"},
        "R2Plus1D": {"model": "r2plus1d"},
    }
    assert "table2" not in found
    own = studies.studies("pokerevent", "sample")
    for name in ("table4", "table5", "table6"):
        assert found[name] == json.loads(json.dumps(own[name]).replace("pokerevent", "hardvs"))


def test_what_goes_beyond_the_paper_has_these_rows():
    found = studies.studies("pokerevent", "sample")
    assert found["fig4"] == {
        "template": {},
        "+ rewritten prompts": {"prompt_file": POKER},
        "+ AFE": FULL,
    }
    assert found["ablation_no_text"] == {
        "with text": FULL,
        "without text": {"event_windows": "afe", "use_text": False},
    }
    assert found["ablation_resnet_backbone"] == {
        "CLIP": FULL,
        "plain ViT": FULL | {"vision_tower": "vit"},
        "ResNet": FULL | {"vision_tower": "resnet"},
    }
    assert found["ablation_no_cross_attention"] == {
        "with cross-attention": FULL,
        "without cross-attention": FULL | {"use_cross_attention": False},
    }
    assert found["variants"] == {
        "the paper's model": {},
        "a head that reads names": {"classifier": "text"},
        "cosines, no fusion": {"model": "cosines", "classifier": "text"},
        "branches trained, too": {"model": "safe-branches"},
        "modality dropout": {"modality_dropout": 0.3},
    }
    assert found["modalities"] == {
        "RGB and events, with text": {},
        "RGB, with text": {"modality": "rgb"},
        "events, with text": {"modality": "event"},
        "RGB and events, without text": {"use_text": False},
        "RGB, without text": {"modality": "rgb", "use_text": False},
        "events, without text": {"modality": "event", "use_text": False},
    }
    assert found["dataset_size"] == {
        "all": {},
        "16 a class": {"train_fraction": 0.3333, "steps": 450},
        "4 a class": {"train_fraction": 0.0833, "steps": 450},
    }
    assert found["backbones"] == {
        "CLIP, fine-tuned": FULL,
        "CLIP, frozen": FULL | {"freeze_vision": True},
        "CLIP, scratch": FULL | {"pretrained": False},
        "plain ViT, fine-tuned": FULL | {"vision_tower": "vit"},
        "plain ViT, frozen": FULL | {"vision_tower": "vit", "freeze_vision": True},
        "ResNet, fine-tuned": FULL | {"vision_tower": "resnet"},
        "ResNet, frozen": FULL | {"vision_tower": "resnet", "freeze_vision": True},
        "ResNet, scratch": FULL | {"vision_tower": "resnet", "pretrained": False},
    }
    assert found["prompts"] == {
        "template": {},
        "template and three rewrites": {"prompt_file": POKER},
        "rewrite 1 alone": {"prompt_file": "book/prompts/pokerevent_rewrite1.json"},
        "rewrite 2 alone": {"prompt_file": "book/prompts/pokerevent_rewrite2.json"},
        "rewrite 3 alone": {"prompt_file": "book/prompts/pokerevent_rewrite3.json"},
    }


TEXTS = {
    "text": {},
    "reworded": {"prompt_file": "book/prompts/hardvs_rewrite1.json"},
    "sentences of other classes": {"prompt_file": "book/prompts/hardvs_other.json"},
    "random vectors": {"text_source": "random"},
    "learned vectors": {"text_source": "learned"},
    "no text": {"use_text": False},
}


def test_what_stands_in_for_the_text_is_tried_on_few_and_on_all_recordings():
    rows = studies.studies("hardvs", "sample")["text"]
    expected = {f"{name}, all": fields for name, fields in TEXTS.items()}
    for count, fraction in ((16, 0.3333), (4, 0.0833)):
        part = {"train_fraction": fraction, "steps": 450}
        expected |= {f"{name}, {count} a class": fields | part for name, fields in TEXTS.items()}
    assert rows == expected


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_few_recordings_have_so_many_of_each_class_and_the_steps_of_all(dataset, seed):
    asked = {"dataset": dataset, "seed": seed}
    found = {}
    for row, fields in studies.studies(dataset, "sample")["text"].items():
        if row.startswith("no text"):
            config = configure(**asked, **fields)
            train = datasets.open_dataset(config).train
            assert len(train) == datasets.sample_training_size(config)
            assert config.steps_for(len(train)) == safe_core.PRESETS["sample"]["steps"]
            found[row] = set(Counter(train.labels.tolist()).values())
    assert found == {"no text, all": {48}, "no text, 16 a class": {16}, "no text, 4 a class": {4}}


def test_the_steps_of_a_part_are_those_of_the_whole_on_other_data_and_in_other_presets():
    def steps(*asked):
        return studies.studies(*asked)["dataset_size"]["4 a class"]["steps"]

    assert steps("pokerevent", "real") == 50 * (round(0.9 * 16216) // 16)
    assert steps("pokerevent", "sample", "paper") == 50 * (26 * 43 // 16)


def test_steps_that_a_preset_gives_are_those_of_every_part(monkeypatch):
    preset = safe_core.PRESETS["sample"] | {"steps": 77}
    monkeypatch.setitem(safe_core.PRESETS, "sample", preset)
    rows = studies.studies("pokerevent", "sample")
    assert rows["dataset_size"]["4 a class"] == {"train_fraction": 0.0833, "steps": 77}
    assert rows["text"]["text, 4 a class"] == {"train_fraction": 0.0833, "steps": 77}
    few = configure(dataset="pokerevent", **rows["text"]["text, 4 a class"])
    assert datasets.sample_training_size(few) == 4 * 26


def test_every_other_method_is_tried_with_the_same_rates_on_recordings_of_their_own():
    rows = studies.studies("hardvs", "sample")["peers_recipe"]
    tried = {(f["model"], f["learning_rate"]) for f in rows.values()}
    rates = studies.RATES["sample"]
    assert tried == {(m, r) for m in ("c3d", "resnet18", "r2plus1d") for r in rates}
    assert all(fields["sample_seed"] == 1 for fields in rows.values()) and len(rows) == 9
    assert len(studies.studies("pokerevent", "sample")["peers_recipe"]) == 12
    real = studies.studies("pokerevent", "real")["peers_recipe"]
    assert {fields["learning_rate"] for fields in real.values()} == set(studies.RATES["real"])
    assert not any("sample_seed" in fields for fields in real.values())


def test_the_best_rate_is_taken_and_of_two_the_smaller():
    def found(**rows):
        return {
            f"{model}, {rate:g}": of_accuracies(*top1)
            for model, scores in rows.items()
            for rate, top1 in zip((3e-4, 1e-3, 3e-3), scores, strict=True)
        }

    assert studies.best_rates(found(tsm=([50], [60], [55]), c3d=([70], [60], [70]))) == {
        "tsm": 1e-3,
        "c3d": 3e-4,
    }
    assert studies.best_rates(found(tsm=([50], [], [55]), c3d=([1], [2], [3]))) == {"c3d": 3e-3}
    real = {"mvit, 8e-06": of_accuracies(90, origin="real"), "mvit, 8e-05": []}
    real["mvit, 8e-05"] = of_accuracies(10, origin="real")
    for runs_of_row, val in zip(real.values(), ([20, 30], [40, 25]), strict=True):
        runs_of_row[0]["history"] = [{"val_top1": top1} for top1 in val]
    assert studies.best_rates(real) == {"mvit": 8e-5}, "the test list does not choose"


@pytest.mark.parametrize("dataset", ["hardvs", "pokerevent"])
def test_the_rates_in_use_are_those_that_the_search_has_found(dataset):
    rows = studies.studies(dataset, "sample")["peers_recipe"]
    best = studies.best_rates(studies.study(rows, dataset=dataset, seeds=1))
    claims = paper.claims()
    used = paper.methods()[dataset]
    for _, claim in claims[(claims.dataset == dataset) & claims.fields.notna()].iterrows():
        found = best.get(claim.fields.get("model"))
        if claim.system != "SAFE":
            assert used[claim.system] == ("" if found is None else f"{found:g}"), claim.system


BASELINES = {
    "text": "text, all",
    "table2": "SAFE",
    "table3": "SAFE",
    "table4": "all components",
    "fig4": "template",
    "ablation_no_text": "with text",
    "ablation_resnet_backbone": "CLIP",
    "ablation_no_cross_attention": "with cross-attention",
    "modalities": "RGB and events, with text",
    "dataset_size": "all",
    "backbones": "CLIP, fine-tuned",
    "prompts": "template",
    "paper_vs_code": "our reading of the paper",
}


@pytest.mark.parametrize(("name", "row"), BASELINES.items())
def test_the_first_row_is_what_the_others_are_compared_with(name, row):
    dataset = "pokerevent" if name == "table2" else "hardvs"
    assert next(iter(studies.studies(dataset, "sample")[name])) == row


def test_the_released_codes_choices_are_switched_one_at_a_time_and_all_together():
    rows = paper.deviations()
    real = studies.studies("hardvs", "real")["paper_vs_code"]
    assert list(real) == ["our reading of the paper", *rows.topic]
    for name, row in rows.iterrows():
        switched = released.RELEASED if name == "all" else json.loads(row.fields)
        assert real[row.topic] == switched
    of_hardvs = studies.studies("hardvs", "sample")["paper_vs_code"]
    assert set(of_hardvs) == set(real) - {rows.topic["names"]}
    assert of_hardvs[rows.topic["joint"]] == {"joint_block": True}
    repeated = {"prompt_file": "book/prompts/pokerevent_sample_repeated.json"}
    assert studies.studies("pokerevent", "sample")["paper_vs_code"] == {
        "our reading of the paper": {},
        rows.topic["names"]: repeated,  # the sample has no names that repeat
        rows.topic["all"]: released.RELEASED,
    }
    assert studies.studies("pokerevent", "real")["paper_vs_code"][rows.topic["names"]] == {
        "distinct_names": False
    }


# ---------------------------------------------------------------- their runs


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Records are looked for below a folder of this test."""
    for module in (places, records):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path / "results"


def test_a_study_shows_committed_records_and_leaves_missing_rows_empty(results):
    for seed in (0, 1, 3):
        write_record(results / f"sample/hardvs/base/seed{seed}")
    write_record(results / "real/hardvs/use_text=False/seed0")
    rows = {"full": {}, "no text": {"use_text": False}}
    found = studies.study(rows, dataset="hardvs", seeds=3)
    assert [run["config"]["seed"] for run in found["full"]] == [0, 1] and found["no text"] == []
    assert list(found) == ["full", "no text"]
    found = studies.study(rows, dataset="hardvs", data_root="/data")
    assert found["full"] == [] and len(found["no text"]) == 1
    write_record(results / "sample/hardvs/base/seed2")
    found = studies.study(rows, dataset="hardvs")  # three seeds, unless others are asked for
    assert [run["config"]["seed"] for run in found["full"]] == [0, 1, 2]


def test_rows_are_looked_for_where_their_own_fields_say(results):
    write_record(results / "sample/pokerevent/base/seed0", top1=1.0)
    write_record(results / "sample/pokerevent/use_text=False/seed0", top1=2.0)
    rows = {"no text": {"use_text": False}, "full": {}}
    found = studies.study(rows, dataset="pokerevent")
    assert {row: these[0]["test"]["top1"] for row, these in found.items()} == {
        "no text": 2,
        "full": 1,
    }


def test_records_about_different_data_are_not_shown_together(results):
    write_record(results / "sample/hardvs/base/seed0")
    write_record(results / "sample/hardvs/use_text=False/seed0", fingerprint="another")
    rows = {"full": {}, "no text": {"use_text": False}}
    with pytest.raises(ValueError, match="2 different data sets: delete the older ones"):
        studies.study(rows, dataset="hardvs")


def test_records_are_by_seed_and_of_the_origin_that_is_asked_for(results):
    for seed in (10, 2, 0):
        write_record(results / f"sample/hardvs/use_text=False/seed{seed}")
    write_record(results / "real/hardvs/use_text=False/seed4")
    asked = {"fields": {"use_text": False}, "dataset": "hardvs"}
    sample = studies.records(**asked, origin="sample")
    assert [run["config"]["seed"] for run in sample] == [0, 2, 10]
    assert [run["config"]["seed"] for run in studies.records(**asked, origin="real")] == [4]
    assert studies.records({}, dataset="hardvs", origin="sample") == []


def test_folders_without_a_record_or_of_another_name_are_no_runs(results):
    for seed in (10, 2):
        write_record(results / f"sample/hardvs/base/seed{seed}")
    (results / "sample/hardvs/base/seed2/record.json").unlink()  # to have it made again
    aside = results / "sample/hardvs/base/seed10.old"
    shutil.copytree(aside.with_name("seed10"), aside)
    (aside.with_name("seeds") / "notes").mkdir(parents=True)
    found = studies.records({}, dataset="hardvs", origin="sample")
    assert [run["config"]["seed"] for run in found] == [10]
    assert [len(these) for these in records.all_runs().values()] == [1]


def test_rerun_trains_what_is_missing_into_its_own_folder(results, monkeypatch):
    """Nothing is written to results/; `train` leaves a finished run as it is."""
    trained = []

    def train(config, folder, *, resume):
        if not (folder / "record.json").exists():
            trained.append((config.seed, config.use_text, config.image_size, resume))
            write_record(folder)

    monkeypatch.setattr(runs, "train", train)
    write_record(results / "sample/hardvs/base/seed0", top1=99.0)
    runs_folder = results.parent / "runs"
    write_record(runs_folder / "sample/hardvs/use_text=False/seed1")
    rows = {"full": {}, "no text": {"use_text": False}}
    found = studies.study(rows, dataset="hardvs", seeds=2, rerun=True)
    assert trained == [(0, True, 64, True), (1, True, 64, True), (0, False, 64, True)]
    assert [len(these) for these in found.values()] == [2, 2]
    assert all(run["test"]["top1"] == 50 for these in found.values() for run in these)
    assert len(list(results.rglob("record.json"))) == 1
    assert len(list(runs_folder.rglob("record.json"))) == 4


def test_a_run_of_another_version_is_not_shown_as_one_that_was_made_again(results):
    folder = results.parent / "runs/sample/hardvs/base/seed0"
    write_record(folder)
    record = json.loads((folder / "record.json").read_text())
    changes = {"behaviour": {"clips": 0}, "config": dataclasses.asdict(configure())}
    (folder / "record.json").write_text(json.dumps(record | changes))
    with pytest.raises(ValueError, match="base/seed0: holds .*data, sentences, version of clips"):
        studies.study({"full": {}}, dataset="hardvs", seeds=1, rerun=True)


def folder_of_recordings(root, names):
    """Two classes of tiny recordings, which differ from folder to folder."""
    for label in ("a", "b"):
        for name in names:
            (root / label).mkdir(parents=True, exist_ok=True)
            save_npz(root / label / f"{name}.npz", random_events(50))
    return root


def test_the_records_of_one_folder_are_not_shown_as_those_of_another(results, tmp_path):
    first = folder_of_recordings(tmp_path / "one" / "mine", "abcdef")
    second = folder_of_recordings(tmp_path / "two" / "mine", "uvwxyz")
    fields = dict(modality="event", frames=2, epochs=1, batch_size=2, workers=0)
    asked = dict(dataset="folder", preset="sample", seeds=1)
    shown = studies.study({"all": fields}, data_root=str(first), rerun=True, **asked)["all"]
    assert len(shown) == 1
    with pytest.raises(ValueError, match="holds a run that was made with another data"):
        studies.study({"all": fields}, data_root=str(second), rerun=True, **asked)
    with pytest.raises(FileNotFoundError, match="three/mine"):
        studies.study({"all": fields}, data_root=str(tmp_path / "three/mine"), rerun=True, **asked)
    runs.keep(results.parent / shown[0]["path"])
    assert studies.study({"all": fields}, data_root=str(first), **asked)["all"]
    with pytest.raises(ValueError, match="made with another data"):
        studies.study({"all": fields}, data_root=str(second), **asked)


# ---------------------------------------------------------------- sweeps


def test_records_about_other_data_than_those_at_hand_stop_the_sweep(tmp_path, monkeypatch):
    opened = []

    def open_dataset(config, *, skipped):
        assert (skipped is None) == (config.dataset != "folder")  # whose rows ask for other things
        opened.append((config.dataset, config.data_root))
        tuning = " for tuning" if config.sample_seed == 1 else ""
        return SimpleNamespace(fingerprint=f"{config.dataset} at hand{tuning}")

    monkeypatch.setattr(studies.datasets, "open_dataset", open_dataset)
    asked = {}
    for name, dataset in (("a", "hardvs"), ("b", "pokerevent"), ("c", "pokerevent")):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"data": {"fingerprint": f"{dataset} at hand"}}))
        asked[str(file)] = {"dataset": dataset, "data_root": None}
    asked[str(tmp_path / "to be made.json")] = {"dataset": "hardvs", "data_root": None}
    asked[str(tmp_path / "real.json")] = {"dataset": "hardvs", "data_root": "/data"}
    asked[str(tmp_path / "object.json")] = {"dataset": "folder", "data_root": "data/biolab"}
    tuning = tmp_path / "tuning.json"
    tuning.write_text(json.dumps({"data": {"fingerprint": "hardvs at hand for tuning"}}))
    asked[str(tuning)] = {"dataset": "hardvs", "data_root": None, "sample_seed": 1}
    studies.check_data(asked)
    others = [("hardvs", "/data"), ("folder", "data/biolab"), ("hardvs", None)]
    assert opened == [("hardvs", None), ("pokerevent", None), *others]
    Path(tmp_path / "c.json").write_text(json.dumps({"data": {"fingerprint": "hardvs at hand"}}))
    message = r"1 records are about other data than the pokerevent at hand.*c\.json: delete"
    with pytest.raises(ValueError, match=message):
        studies.check_data(asked)


def test_a_sweep_that_leaves_out_bad_recordings_starts_beside_one_that_is_damaged(tmp_path):
    whole, root = make_root(tmp_path / "whole"), make_root(tmp_path / "damaged")
    next(root.glob("action_001/*/*.npz")).write_bytes(b"damaged")
    asked = {"dataset": "hardvs", "data_root": str(root)}
    config = configure(dataset="hardvs", data_root=str(whole))
    record = tmp_path / "record.json"  # of a run that found all recordings whole
    fingerprint = datasets.open_dataset(config).fingerprint
    record.write_text(json.dumps({"data": {"fingerprint": fingerprint}}))
    studies.check_data({str(record): asked | {"on_bad_recording": "skip"}})
    for fields in ({}, {"on_bad_recording": None}, {"on_bad_recording": "stop"}):
        with pytest.raises(RecordingError, match="found 1 of 16 recordings that cannot be used"):
            studies.check_data({str(record): asked | fields})


def test_the_expected_time_is_that_of_recorded_runs_of_the_same_data(monkeypatch):
    hours = {("sample", "hardvs"): [1, 3], ("sample", "pokerevent"): [5], ("real", "hardvs"): [100]}
    recorded = {}
    for (origin, dataset), each in hours.items():
        made = [made_run(0, [1], origin=origin, dataset=dataset) for _ in each]
        for run, hour in zip(made, each, strict=True):
            run["seconds"] = 3600 * hour
        recorded[f"{origin}/{dataset}/base"] = made
    monkeypatch.setattr(studies, "all_runs", lambda: recorded)
    hardvs = {"dataset": "hardvs", "data_root": None}
    poker = {"dataset": "pokerevent"}
    assert studies.expected_hours([hardvs, hardvs, poker]) == pytest.approx(2 + 2 + 5)
    assert studies.expected_hours([hardvs | {"data_root": "/data"}]) == pytest.approx(100)
    assert studies.expected_hours([]) == 0
    on_gpu = made_run(0, [1], dataset="hardvs") | {"seconds": 36.0, "hardware": {"gpu": "A card"}}
    recorded["sample/hardvs/base"].append(on_gpu)
    for here, hours_of_two in (("cpu", 4), ("cuda", 0.02)):
        device = (torch.device(here), 0, 1)
        monkeypatch.setattr(studies.safe_core, "here", lambda device=device: device)
        assert studies.expected_hours([hardvs, hardvs]) == pytest.approx(hours_of_two)
        assert studies.expected_hours([poker]) == pytest.approx(5)  # no other kind is recorded
    assert np.isnan(studies.expected_hours([hardvs, poker | {"data_root": "/data"}]))
