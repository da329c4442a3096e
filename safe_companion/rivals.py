"""What does a fusion have to beat? Its rivals without any fusion, from models of one modality.

Each is made from the kept answers of two runs of the same seed on the same recordings, one of RGB
and one of events, and looks like a run (`records.load_run`), so that `effects` compares it with
SAFE, paired. None of them trains anything:

    RGB alone, events alone     the two runs themselves
    surer of the two            of each recording, the answer of the more probable first class
    mean of log-probabilities   late fusion: the class whose mean log-probability is the highest
    zero-shot RGB and events    the same with a CLIP that saw no label in place of the RGB model
    oracle                      right where either is: no choice between the two can do better

An average of any two models gains something. How much, `averaged` says of SAFE itself.
"""

import numpy as np
import pandas as pd
import torch

from safe_companion import effects, predictions, wording
from safe_companion.studies import Found

LATE = "mean of log-probabilities"  # late fusion of two single models


def rivals(rgb: list[dict], event: list[dict], zero_shot: np.ndarray | None = None) -> Found:
    """{rival: its runs}, over the seeds that both have; without runs where answers are lacking.

    The mean needs the log-probabilities of all classes, which runs up to 2026-11-26 do not have.
    zero_shot: log-probabilities [n, L] of the test recordings, in the order of the runs; default:
    the rival that needs them is left out. ValueError for other recordings.
    """
    partners = {run["config"]["seed"]: run for run in event}
    pairs = [
        (run, partners[run["config"]["seed"]]) for run in rgb if run["config"]["seed"] in partners
    ]
    for one, other in pairs:
        if list(one["predictions"].name) != list(other["predictions"].name):
            raise ValueError(f"{one['path']} and {other['path']} tested different recordings")
    whole = [pair for pair in pairs if all(run.get("log_probs") is not None for run in pair)]
    found = {
        "RGB alone": [one for one, _ in pairs],
        "events alone": [other for _, other in pairs],
        "surer of the two": [surer(one, other) for one, other in pairs],
        LATE: [mean(one, other) for one, other in whole],
        "oracle": [oracle(one, other) for one, other in pairs],
    }
    if zero_shot is not None:
        found["zero-shot RGB and events"] = [
            mean(run | {"log_probs": zero_shot, "path": "zero-shot"}, run) for _, run in whole
        ]
    return found


def of_two_seeds(runs: list[dict]) -> list[dict]:
    """Runs of one row averaged two by two, as `mean` does, each once: of an odd number one is left.

    Without runs where there is one seed only, or a run lacks log-probabilities.
    """
    if any(run.get("log_probs") is None for run in runs):
        return []
    return [mean(one, other) for one, other in zip(runs[::2], runs[1::2], strict=False)]


def averaged(fused: list[dict], late: list[dict]) -> str:
    """Two SAFE models averaged, beside the late fusion, which is two models as well; or nothing.

    Such as "88.6 % beside 90.0 % of late fusion, worse by 1.4 ± 0.7 points, 4 paired runs".
    """
    of_two = of_two_seeds(fused)
    gain = effects.difference(of_two, late)
    if not gain.pairs:
        return ""
    top1 = float(np.mean([run["test"]["top1"] for run in of_two]))
    said = wording.compared(gain.mean, gain.half, gain.pairs, gain.effect)
    return f"{top1:.1f} % beside {top1 - gain.mean:.1f} % of late fusion, {said}"


def surer(one: dict, other: dict) -> dict:
    """Of two models' answers to a recording, that of higher probability; `one`'s if equal."""
    ours, theirs = one["predictions"], other["predictions"]
    takes_ours = ours.p1 >= theirs.p1
    table = ours.where(takes_ours, theirs).astype(ours.dtypes)
    combined = {"predictions": table, "log_probs": None}
    if one.get("log_probs") is not None and other.get("log_probs") is not None:
        picked = np.where(takes_ours.to_numpy()[:, None], one["log_probs"], other["log_probs"])
        combined["log_probs"] = picked
    return _as_run("surer", one, other, combined)


def mean(one: dict, other: dict) -> dict:
    """The class whose mean log-probability is the highest; the probabilities add up to 1 again."""
    both = torch.from_numpy((one["log_probs"] + other["log_probs"]) / 2).log_softmax(dim=1)
    order = both.topk(min(predictions.TOP, both.shape[1])).indices.numpy()
    table = predictions.as_table(one["predictions"], both.numpy(), order)
    return _as_run("mean", one, other, {"predictions": table, "log_probs": both.numpy()})


def oracle(one: dict, other: dict) -> dict:
    """Of two models' answers to a recording, the right one if there is one."""
    ours, theirs = one["predictions"], other["predictions"]
    table = ours.where(ours.correct | ~theirs.correct, theirs).astype(ours.dtypes)
    return _as_run("oracle", one, other, {"predictions": table, "log_probs": None})


def _as_run(how: str, one: dict, other: dict, combined: dict) -> dict:
    """A run with the accuracy of combined answers; the rest is of `one`."""
    table = combined["predictions"]
    ranks = [column for column in table if column.startswith("class")]
    top5 = table[ranks].eq(table.label, axis=0).any(axis=1).mean()
    test = {"top1": 100 * float(table.correct.mean()), "top5": 100 * float(top5)}
    path = f"{how} of {one['path']} and {other['path']}"
    return one | combined | {"test": test, "path": path, "elsewhere": None}


def compared(fused: list[dict], found: Found) -> pd.DataFrame:
    """One line per rival that has runs: its accuracy, and SAFE's paired difference to it.

    Each difference has the chance of its own pairs: rivals made of the same runs are no witnesses
    of each other.
    """
    lines = {}
    for rival, runs in found.items():
        gain = effects.difference(fused, runs)
        if gain.pairs:
            top1 = float(np.mean([run["test"]["top1"] for run in runs]))
            lines[rival] = {"top-1 [%]": top1} | gain.columns | {"SAFE is": gain.effect}
    return pd.DataFrame.from_dict(lines, orient="index")


def in_words(table: pd.DataFrame) -> str:
    """What a table of `compared` says of the strongest rival that can be had, in a sentence."""
    strongest = str(table.drop(index="oracle", errors="ignore")["top-1 [%]"].idxmax())
    line = table.loc[strongest].to_dict()
    accuracy = f"{line['top-1 [%]']:.1f} %"
    said = wording.compared(
        line["difference"], line["± difference"], line["pairs"], line["SAFE is"]
    )
    return f"**The strongest rival is: {strongest} ({accuracy}). SAFE beside it: {said}.**"
