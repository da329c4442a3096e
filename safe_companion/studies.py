"""Which runs belong together? Studies: rows of configurations, their runs over seeds, sweeps.

A study is {row: configuration fields}. It is shown from its runs, {row: runs by seed}, which come
from committed records or are trained on the spot.
"""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import safe_core
from safe_companion import ROOT, beyond, datasets, paper, runs
from safe_companion.places import RECORD, Place, seeds_of
from safe_companion.records import all_runs, load_run, read_json, read_record
from safe_companion.released import RELEASED

Rows = dict[str, dict]  # of a study: configuration fields
Found = dict[str, list[dict]]  # of a study: runs


def _swept() -> dict[str, list[str]]:
    with open(ROOT / "book" / "studies.csv") as file:
        table = list(csv.DictReader(file))
    samples = [column for column in table[0] if column not in ("study", "notebook")]
    return {name: [line["study"] for line in table if line[name] == "yes"] for name in samples}


SEEDS = 3  # of each row
TUNING_SEED = (
    1  # of the sample on which learning rates are chosen: none of its recordings is tested
)
# Tried for every other method. The paper's rate for SAFE is the first of those for real data.
RATES = {"sample": (3e-4, 1e-3, 3e-3), "real": (8e-6, 8e-5, 8e-4)}
MORE_SEEDS = 5  # of the headline rows, and where effects are small

# {data set: studies}: those that a sweep runs on the samples. On real data it runs every study.
SWEPT = _swept()


def swept(name: str) -> list[str]:
    """The data sets on whose samples a sweep runs a study."""
    return [dataset for dataset, names in SWEPT.items() if name in names]


# ---------------------------------------------------------------- the studies


def studies(dataset: str, origin: str, preset: str | None = None) -> dict[str, Rows]:
    """{study: {row: configuration fields}}: the paper's tables by its claims, and what goes beyond.

    A study has the first word of its notebook's name. Tables 4 to 6 are the paper's for PokerEvent;
    for another data set their rows are the same with that data set's sentences. preset: to which
    the fields belong; None: that of the data. Rows of fewer recordings have its optimiser steps.
    """
    if dataset == "conjunctions":  # a world of its own, of which the paper says nothing
        return {"conjunctions": beyond.conjunctions()}
    whole = safe_core.configure(preset, dataset=dataset, data_root=_no_place(origin))
    template: dict = {}
    rewritten = {"prompt_file": f"book/prompts/{dataset}.json"}
    full = {"event_windows": "afe"} | rewritten
    found = _tables_of_the_paper(dataset, origin)
    found["peers_recipe"] = _peers_recipe(dataset, origin)
    found["paper_vs_code"] = _deviations(dataset, origin)
    found["fig4"] = {"template": template, "+ rewritten prompts": rewritten, "+ AFE": full}
    found["ablation_no_text"] = {
        "with text": full,
        "without text": {"event_windows": "afe", "use_text": False},
    }
    found["ablation_resnet_backbone"] = {
        "CLIP": full,
        "plain ViT": full | {"vision_tower": "vit"},
        "ResNet": full | {"vision_tower": "resnet"},
    }
    found["ablation_no_cross_attention"] = {
        "with cross-attention": full,
        "without cross-attention": full | {"use_cross_attention": False},
    }
    found["modalities"] = _modalities()
    found["variants"] = _variants()
    found["dataset_size"] = {"100 %": {}} | {
        f"{percent} %": _part(percent / 100, whole) for percent in (50, 25, 10, 5)
    }
    found["text"] = _text(whole)
    found["backbones"] = _backbones()
    found["prompts"] = {"template": template, "template and three rewrites": rewritten} | {
        f"rewrite {i} alone": {"prompt_file": f"book/prompts/{dataset}_rewrite{i}.json"}
        for i in (1, 2, 3)
    }
    found["unseen"] = beyond.few_and_unseen(dataset)
    found["pretraining"] = beyond.pretraining()
    return found


def number_of_seeds(
    study: str, fields: dict, rows_of: dict[str, Rows], *, seeds: int, more_seeds: int
) -> int:
    """How many seeds a row of a study has, of those that `studies` gives."""
    if study == "peers_recipe":
        return 1
    many = study == "paper_vs_code" or fields in rows_of.get("fig4", {}).values()
    return more_seeds if many else seeds


def _tables_of_the_paper(dataset: str, origin: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for _, claim in paper.claims().iterrows():
        if claim.fields is None or not claim["where"].startswith("Table "):
            continue
        fields = paper.fields_of(claim, origin)
        if claim.dataset != dataset:
            if claim["where"] not in ("Table 4", "Table 5", "Table 6"):
                continue
            if "prompt_file" in fields:
                fields["prompt_file"] = f"book/prompts/{dataset}.json"
        study_name = claim["where"].lower().replace(" ", "")
        found.setdefault(study_name, {})[paper.row_of(claim)] = fields
    for name, rows in found.items():
        if "SAFE" in rows:  # with which the other methods are compared
            found[name] = {"SAFE": rows["SAFE"]} | rows
    return found


def _peers_recipe(dataset: str, origin: str) -> Rows:
    tuning = {"sample_seed": TUNING_SEED} if origin == "sample" else {}
    table = paper.claims()
    fields_of_data = table.fields[table.dataset == dataset].dropna()
    models = [fields["model"] for fields in fields_of_data if "model" in fields]
    return {
        f"{model}, {rate:g}": {"model": model, "learning_rate": rate} | tuning
        for model in models
        for rate in RATES[origin]
    }


def best_rates(found: Found) -> dict[str, float]:
    """{model: learning rate} by the runs of `peers_recipe`, of models that were run with all.

    The rate of the highest top-1, of the smallest of those: on the tuning sample's test list; for
    real data, which have no tuning sample, the best epoch's on the validation split.
    """
    scores: dict[str, dict[float, float]] = {}
    for row, of_row in found.items():
        model, rate = row.split(", ")
        scores.setdefault(model, {})[float(rate)] = _score(of_row[0]) if of_row else np.nan
    return {
        model: min(tried, key=lambda rate: (-tried[rate], rate))
        for model, tried in scores.items()
        if not np.isnan(list(tried.values())).any()
    }


def _score(run: dict) -> float:
    if run["data"]["origin"] == "sample":
        return run["test"]["top1"]
    return max(epoch["val_top1"] for epoch in run["history"])


def _deviations(dataset: str, origin: str) -> Rows:
    rows: Rows = {"our reading of the paper": {}}
    for name, row in paper.deviations().iterrows():
        if origin == "sample" and dataset not in row.samples.split():
            continue
        if name == "all":
            rows[row.topic] = dict(RELEASED)
        elif origin == "sample" and row.sample_fields:
            rows[row.topic] = json.loads(row.sample_fields)
        else:
            rows[row.topic] = json.loads(row.fields)
    return rows


def _modalities() -> Rows:
    inputs: Rows = {
        "RGB and events": {},
        "RGB": {"modality": "rgb"},
        "events": {"modality": "event"},
    }
    with_text = {f"{name}, with text": fields for name, fields in inputs.items()}
    without_text = {
        f"{name}, without text": {"use_text": False} | fields for name, fields in inputs.items()
    }
    return with_text | without_text


PER_CLASS = (16, 4)  # recordings of a class in the study of the text, beside all of them


def _text(whole: safe_core.Config) -> Rows:
    """What stands in for the text, with every recording and with few of each class.

    On real data, whose classes differ in size, so many a class on average.
    """
    sources: Rows = {
        "text": {},
        "reworded": {"prompt_file": f"book/prompts/{whole.dataset}_rewrite1.json"},
        "sentences of other classes": {"prompt_file": f"book/prompts/{whole.dataset}_other.json"},
        "random vectors": {"text_source": "random"},
        "learned vectors": {"text_source": "learned"},
        "no text": {"use_text": False},
    }
    classes = len(datasets.class_names(whole.dataset, whole.data_root))
    rows = {f"{name}, all": fields for name, fields in sources.items()}
    for count in PER_CLASS:
        part = _part(round(count * classes / _training_size(whole), 4), whole)
        rows |= {f"{name}, {count} a class": fields | part for name, fields in sources.items()}
    return rows


def _part(fraction: float, whole: safe_core.Config) -> dict:
    """Fields of a row that trains on a share of the recordings, in as many steps as on all."""
    return {"train_fraction": fraction, "steps": whole.steps_for(_training_size(whole))}


def _training_size(config: safe_core.Config) -> int:
    """Recordings that a training uses: of a sample exactly, of real data by the paper's Table 1."""
    if config.origin == "sample":
        return datasets.sample_training_size(config)
    return round(paper.recordings(config)[0])


def _no_place(origin: str) -> str | None:
    """A data_root for configurations of this origin whose recordings nobody reads."""
    return None if origin == "sample" else "-"


def _variants() -> Rows:
    return {
        "the paper's model": {},
        "a head that reads names": {"classifier": "text"},
        "cosines, no fusion": {"model": "cosines", "classifier": "text"},
        "branches trained, too": {"model": "safe-branches"},
        "modality dropout": {"modality_dropout": 0.3},
    }


def _backbones() -> Rows:
    towers: Rows = {
        "CLIP": {},
        "plain ViT": {"vision_tower": "vit"},
        "ResNet": {"vision_tower": "resnet"},
    }
    ways: Rows = {
        "fine-tuned": {},
        "frozen": {"freeze_vision": True},
        "scratch": {"pretrained": False},
    }
    rows = {
        f"{tower}, {way}": tower_fields | way_fields
        for tower, tower_fields in towers.items()
        for way, way_fields in ways.items()
    }
    del rows["plain ViT, scratch"]  # from random weights it is the network of "CLIP, scratch"
    return rows


# ---------------------------------------------------------------- their runs


def records(fields: dict, *, dataset: str, origin: str) -> list[dict]:
    """The committed runs of a configuration, by seed. origin: "sample" or "real"."""
    data_root = _no_place(origin)  # no part of a record's place
    config = safe_core.configure(dataset=dataset, data_root=data_root, **fields)
    return [load_run(folder) for folder in seeds_of(config)]


def study(
    rows: Rows,
    *,
    dataset: str,
    data_root: str | None = None,
    preset: str | None = None,
    seeds: int = 3,
    rerun: bool = False,
) -> Found:
    """{row: runs}, one run per seed, of each row's configuration fields.

    Runs come from their committed records; rows that have none stay empty. With rerun they are
    trained, into runs/, where an interrupted study continues. ValueError if the records are not all
    about the same recordings.
    """
    asked = {"dataset": dataset, "data_root": data_root}
    found: Found = {}
    for row, fields in rows.items():
        configs = [
            safe_core.configure(preset, **asked | {"seed": seed} | fields) for seed in range(seeds)
        ]
        folders = [_folder(config, rerun) for config in configs]
        found[row] = [load_run(f) for f in folders if (f / RECORD).exists()]
    data = {run["data"]["fingerprint"] for these in found.values() for run in these}
    if len(data) > 1:
        raise ValueError(
            f"records of {dataset} are about {len(data)} different data sets: delete the older "
            "ones; a folder without lists is split anew by every seed: write lists, or compare one "
            "seed"
        )
    return found


def _folder(config: safe_core.Config, rerun: bool) -> Path:
    """Where a run's record lies, if there is one; with rerun it is trained if it is not there."""
    place = Place.of(config)
    if rerun:
        runs.train(config, place.working, resume=True)
        return place.working
    if config.data_root and Path(config.data_root).exists() and (place.committed / RECORD).exists():
        runs.check_same(read_record(place.committed), config, place.committed)
    return place.committed


# ---------------------------------------------------------------- sweeps


def check_data(asked: dict[str, dict]) -> None:
    """ValueError if records {file: configuration fields} are about other data than those at hand.

    Files that do not exist yet are fine. Makes the samples that are asked for.
    """
    by_data: dict[tuple, list[Path]] = {}
    for file, fields in asked.items():
        data = (fields["dataset"], fields["data_root"], fields.get("sample_seed"))
        by_data.setdefault(data, []).append(Path(file))
    for (dataset, root, sample_seed), every in by_data.items():
        config = safe_core.configure(dataset=dataset, data_root=root, sample_seed=sample_seed)
        looked: list | None = [] if dataset == "folder" else None  # its runs ask for other things
        expected = datasets.open_dataset(config, skipped=looked).fingerprint
        files = [file for file in every if file.exists()]
        other = [file for file in files if _fingerprint(file) != expected]
        if other:
            raise ValueError(
                f"{len(other)} records are about other data than the {dataset} at hand, the first "
                f"is {other[0]}: delete them to have them made again"
            )


def _fingerprint(record: Path) -> str:
    there = read_json(record)
    try:
        return there["data"]["fingerprint"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{record}: not the record of a run ({error!r})") from error


def expected_hours(asked: Iterable[dict]) -> float:
    """Hours that runs of these configuration fields take one after another; nan if not known.

    By the mean time of the committed runs on the same data set.
    """
    recorded: dict[tuple[str, str], list[float]] = {}
    for these in all_runs().values():
        for run in these:
            key = (run["data"]["origin"], run["config"]["dataset"])
            recorded.setdefault(key, []).append(run["seconds"])
    seconds = 0.0
    for fields in asked:
        key = (safe_core.origin_of(fields.get("data_root")), fields["dataset"])
        seconds += float(np.mean(recorded[key])) if key in recorded else np.nan
    return seconds / 3600
