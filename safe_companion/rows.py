"""Which rows does a study have? Configurations by name, the paper's by its claims, and beyond.

A study is {row: configuration fields}. On real data a sweep runs all of them. What it runs on the
samples, and with how many seeds: book/studies.csv; which rows it leaves out: book/left_out.csv.
"""

import csv
import json

import safe_core
from safe_companion import ROOT, beyond, datasets, paper
from safe_companion.released import RELEASED

Rows = dict[str, dict]  # of a study: configuration fields


def _table(name: str) -> list[dict[str, str]]:
    with open(ROOT / "book" / name) as file:
        return list(csv.DictReader(file))


def _swept() -> dict[str, dict[str, int]]:
    table = _table("studies.csv")
    samples = [column for column in table[0] if column not in ("study", "notebook")]
    return {name: {s["study"]: int(s[name]) for s in table if int(s[name])} for name in samples}


SEEDS = 3  # of each row on real data
FEWER_SEEDS = {"train_fraction": 5, "held_out": 2}  # at most, of rows that set this field
TUNING_SEED = 1  # of the sample on which recipes are chosen: none of its recordings is tested
SEARCHES = ("recipe", "peers_recipe")  # of settings: one seed a row
# Tried for every other method. The paper's rate for SAFE is the first of those for real data.
RATES = {"sample": (3e-4, 1e-3, 3e-3), "real": (8e-6, 8e-5, 8e-4)}

SWEPT = _swept()  # {sample: {study: seeds of its rows}}
NOTEBOOKS = {row["study"]: row["notebook"] for row in _table("studies.csv")}  # that show them
# {(sample, study, row): why a sweep leaves it out}
LEFT_OUT = {(r["sample"], r["study"], r["row"]): r["why"] for r in _table("left_out.csv")}


def swept(name: str) -> list[str]:
    """The data sets on whose samples a sweep runs a study."""
    return [dataset for dataset, names in SWEPT.items() if name in names]


def number_of_seeds(dataset: str, study: str, row: str, fields: dict) -> int:
    """How many seeds a sweep runs of a row on a data set's sample; 0: it leaves the row out."""
    if (dataset, study, row) in LEFT_OUT:
        return 0
    most = [FEWER_SEEDS[name] for name in fields if name in FEWER_SEEDS]
    return min([SWEPT[dataset].get(study, 0), *most])


def runs_of_a_sweep(
    dataset: str, data_root: str | None, seeds: int | None = None
) -> dict[str, list[dict]]:
    """{study: configuration fields of every run} of a sweep; seeds: at most, of a row."""
    origin = safe_core.origin_of(data_root)
    found: dict[str, list[dict]] = {}
    for study, rows in studies(dataset, origin).items():
        if origin == "sample" and study not in SWEPT[dataset]:
            continue
        for row, fields in rows.items():
            if origin == "real":
                count = 1 if study in SEARCHES else seeds or SEEDS
            else:
                count = number_of_seeds(dataset, study, row, fields)
                count = min(count, seeds or count)
            asked = {"dataset": dataset, "data_root": data_root}
            found.setdefault(study, []).extend(asked | {"seed": k} | fields for k in range(count))
    return found


# ---------------------------------------------------------------- the studies


def studies(dataset: str, origin: str, preset: str | None = None) -> dict[str, Rows]:
    """{study: {row: configuration fields}}: the paper's tables by its claims, and what goes beyond.

    Tables 4 to 6 are the paper's for PokerEvent; for another data set their rows are the same with
    that data set's sentences. preset: to which the fields belong; None: that of the data. Rows of
    fewer recordings have its optimiser steps.
    """
    if dataset == "conjunctions":  # a world of its own, of which the paper says nothing
        return {"conjunctions": beyond.conjunctions()}
    whole = safe_core.configure(preset, dataset=dataset, data_root=no_place(origin))
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
    if origin == "sample":
        found["recipe"] = _recipe()
        found["longer"] = {name: fields | {"steps": LONGER[-1]} for name, fields in INPUTS.items()}
    found["text"] = _text(whole)
    found["dataset_size"] = {"all": {}} | {
        f"{count} a class": found["text"][f"text, {count} a class"] for count in PER_CLASS
    }
    found["backbones"] = _backbones(full)
    found["prompts"] = {"template": template, "template and three rewrites": rewritten} | {
        f"rewrite {i} alone": {"prompt_file": f"book/prompts/{dataset}_rewrite{i}.json"}
        for i in (1, 2, 3)
    }
    found["unseen"] = beyond.few_and_unseen(dataset)
    found["pretraining"] = beyond.pretraining()
    return found


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


INPUTS = beyond.INPUTS
TRIED = 450  # optimiser steps of most rows in the search of a recipe
LONGER = (675, 1012, 1518, 2277, 3415)  # each half as many again
LENGTHS = {"RGB and events": (300, *LONGER), "RGB": LONGER, "events": LONGER}


def _recipe() -> Rows:
    """What was tried before anything is compared: rates, lengths, regularisation, augmentation.

    On recordings of their own, for SAFE and its single models alike.
    """
    tuning: dict = {"sample_seed": TUNING_SEED}
    rows: Rows = {}
    for name, fields in INPUTS.items():
        for rate in (1e-3, 5e-4, 2e-3):
            tried = {"steps": TRIED, "learning_rate": rate}
            rows[f"{name}, rate {rate:g}"] = tuning | fields | tried
    for name, fields in INPUTS.items():
        for steps in LENGTHS[name]:
            rows[f"{name}, {steps} steps"] = tuning | fields | {"steps": steps}
    others: Rows = {
        "no dropout": {"dropout": 0.0},
        "dropout 0.2": {"dropout": 0.2},
        "weight decay 0.2": {"weight_decay": 0.2},
        "no augmentation": {"augment": "none"},
    }
    for name, fields in others.items():
        rows[f"RGB and events, {name}"] = tuning | {"steps": TRIED} | fields
    return rows


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
    with_text = {f"{name}, with text": fields for name, fields in INPUTS.items()}
    without_text = {
        f"{name}, without text": {"use_text": False} | fields for name, fields in INPUTS.items()
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


def no_place(origin: str) -> str | None:
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


def _backbones(full: dict) -> Rows:
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
        f"{tower}, {way}": full | tower_fields | way_fields
        for tower, tower_fields in towers.items()
        for way, way_fields in ways.items()
    }
    del rows["plain ViT, scratch"]  # from random weights it is the network of "CLIP, scratch"
    return rows
