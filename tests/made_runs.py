"""Runs made up for tests: what `runs.load_run` would give, with numbers that are easy to follow."""

import json

import pandas as pd


def made_run(seed, correct, *, top1=None, dataset="pokerevent", origin="sample", **columns):
    """A run that was right (1) or wrong (0) on each test recording r0, r1, ...

    top1: of its record, where it shall differ from the predictions. columns: of its predictions.
    """
    names = [f"r{i}" for i in range(len(correct))]
    table = pd.DataFrame({"name": names, "label": 0, "correct": [bool(c) for c in correct]})
    return {
        "config": {"seed": seed, "dataset": dataset},
        "data": {"origin": origin, "fingerprint": "f", "train": 0},
        "behaviour": {},
        "commit": "c",
        "seconds": 60.0,
        "hardware": {"gpu": None},
        "log_probs": None,
        "path": f"results/{origin}/{dataset}/made/seed{seed}",
        "predictions": table.assign(**columns),
        "test": {"top1": 100 * table.correct.mean() if top1 is None else top1},
    }


def of_accuracies(*accuracies, recordings=100, **facts):
    """One run per accuracy in percent: the first recordings are right, the others wrong."""
    runs = []
    for seed, accuracy in enumerate(accuracies):
        right = round(accuracy / 100 * recordings)
        correct = [1] * right + [0] * (recordings - right)
        runs.append(made_run(seed, correct, top1=accuracy, **facts))
    return runs


def write_record(folder, *, fingerprint="f", seconds=60.0, top1=50.0, origin=None):
    """A record with its predictions in a folder .../ORIGIN/DATASET/WHAT/seedN."""
    origin_of_place, dataset, _, seed = folder.parts[-4:]
    record = {
        "config": {"seed": int(seed.removeprefix("seed")), "fusion": "paper", "dataset": dataset},
        "data": {
            "fingerprint": fingerprint,
            "origin": origin or origin_of_place,
            **{"train": 2, "val": 2, "test": 2},
        },
        "behaviour": {},
        "sentences": None,
        "commit": "c",
        "seconds": seconds,
        "history": [{"epoch": 1}],
        "best_epoch": 1,
        "test": {"top1": top1, "top5": 90.0},
    }
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    table = "name,label,p,correct,class1,p1\na,0,0.9,True,0,0.9\nb,1,0.2,False,0,0.8\n"
    (folder / "predictions.csv").write_text(table)
