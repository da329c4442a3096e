"""Which studies ask what the paper does not, and what did they find? Rows, and a sentence of each.

`conjunctions`: which fusion binds what only one camera sees to what only the other sees; `unseen`:
few recordings, and classes that are in no training list; `pretraining`: towers that have seen
events. A finding says "Not run" of what has no records yet.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from safe_companion import unseen, wording
from safe_companion.sample.squares import COLOURS, MOTIONS, SHOWN, UNSEEN

Rows = dict[str, dict]  # of a study: configuration fields
Found = dict[str, list[dict]]  # of a study: runs

HEADS = {
    "the paper's head": {},
    "a head that reads names": {"classifier": "text"},
    "cosines, no fusion": {"model": "cosines", "classifier": "text"},
}
RECORDINGS = 48  # a class, in the training list of a sample
FEW = (4, 16, RECORDINGS)  # recordings a class
STEPS = 240  # of the optimiser, however many recordings there are
TOWERS = {
    "CLIP": {},
    "CLIP, then events": {"clip_model": "weights/tiny_clip_events.json"},
    "CLIP, then frames and events": {"clip_model": "weights/tiny_clip_pairs.json"},
}
INPUTS: Rows = {
    "RGB and events": {},
    "RGB": {"modality": "rgb"},
    "events": {"modality": "event"},
}


# ------------------------------------------------------------------------------- rows
def _few(recordings: int) -> dict:
    """So many recordings a class, for a fixed number of steps."""
    share = recordings / RECORDINGS
    return {"steps": STEPS, "train_fraction": share}


def conjunctions() -> Rows:
    """Fusions, and single cameras, on pairs of a colour and a motion.

    All but one begin with a tower whose pre-training has met their words, and seen both images of
    the pairs of the training list.
    """
    tower = {"clip_model": "weights/tiny_clip_conjunctions.json"}
    rows: Rows = {
        "paper": {},
        "paper, from a CLIP that has seen no square": {"clip_model": "weights/tiny_clip.json"},
        "paper, one block over all": {"joint_block": True},
        "released": {"fusion": "released", "frame_fusion": "mean"},
        "a head that reads names": {"classifier": "text"},
        "RGB": {"modality": "rgb"},
        "events": {"modality": "event"},
    }
    return {name: tower | fields for name, fields in rows.items()}


def few_and_unseen(dataset: str) -> Rows:
    """Heads on few recordings, and with a fifth of the classes held out of training, five draws.

    The tower's pre-training has seen no class that is ever held out.
    """
    tower = {
        "clip_model": "weights/tiny_clip_unseen.json",
        "prompt_file": f"book/prompts/{dataset}.json",
    }
    rows: Rows = {}
    for head, fields in HEADS.items():
        for recordings in FEW:
            rows[f"{head}, {recordings} a class"] = tower | fields | _few(recordings)
    for head, fields in HEADS.items():
        for draw in range(1, unseen.DRAWS + 1):
            held = {"held_out": draw} | _few(RECORDINGS)
            rows[f"{head}, draw {draw}"] = tower | fields | held
    return rows


def pretraining() -> Rows:
    """Three towers, each on few and all recordings, with either modality and both."""
    return {
        f"{tower}, {name}, {recordings} a class": fields | inputs | _few(recordings)
        for tower, fields in TOWERS.items()
        for name, inputs in INPUTS.items()
        for recordings in FEW
    }


# ------------------------------------------------------------------------------- tables
def mean_accuracy(runs: Sequence[dict]) -> float:
    """Mean top-1 in percent over runs; nan without any."""
    return float(np.mean([run["test"]["top1"] for run in runs])) if runs else float("nan")


def ceilings() -> dict[str, float]:
    """What a sum of what two single models say can reach at most, in percent.

    RGB says which colours are shown, events how one of them moves, so one of the colours shown is
    to be guessed. Who knows the training list guesses among those that it has with this motion, and
    is right on seen pairs only.
    """
    motions = len(MOTIONS)
    chances = []
    for label in range(len(COLOURS) * motions):
        colour, motion = divmod(label, motions)
        others = [other for other in range(len(COLOURS)) if other != colour]
        for shown in itertools.combinations(others, SHOWN - 1):
            possible = [other for other in shown if motions * other + motion not in UNSEEN]
            if label not in UNSEEN:
                chances.append(100 / (1 + len(possible)))
    return {"seen pairs": float(np.mean(chances)), "all pairs": 100 / SHOWN}


def pairs_table(found: Found) -> pd.DataFrame:
    """Per row, means over seeds in percent: top-1 of seen and unseen pairs, and of either half.

    colour, motion: how often that half of the answer is right, over all pairs. bound: of answers
    with the right motion, how many have the right colour, over all pairs. Behind each column, "± "
    and its name: half of its 95 % interval over seeds.
    """
    lines = {}
    for row, runs in found.items():
        of_runs = pd.DataFrame([_pairs(run["predictions"]) for run in runs])
        halves = of_runs.sem() * stats.t.ppf(0.975, max(len(runs) - 1, 1))
        lines[row] = {"seeds": len(runs)} | of_runs.mean().to_dict()
        lines[row] |= halves.add_prefix("± ").to_dict()
    names = ("seen pairs", "unseen pairs", "colour", "motion", "bound")
    columns = ["seeds", *(column for name in names for column in (name, f"± {name}"))]
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)


def _pairs(table: pd.DataFrame) -> dict[str, float]:
    count = len(MOTIONS)
    is_seen = table.condition == "seen pair"
    colour = table.label // count == table.class1 // count
    motion = table.label % count == table.class1 % count
    shares = {
        "seen pairs": table.correct[is_seen].mean(),
        "unseen pairs": table.correct[~is_seen].mean(),
        "colour": colour.mean(),
        "motion": motion.mean(),
        "bound": colour[motion].mean(),
    }
    return {name: 100 * float(share) for name, share in shares.items()}


def unseen_table(found: Found, classes: int, heads: Sequence[str] = tuple(HEADS)) -> pd.DataFrame:
    """Per head, over draws and seeds: top-1 of seen and unseen classes, their harmonic mean, sd.

    among them: of the unseen, with an answer chosen among the unseen names alone. sd: of the
    harmonic mean, over draws. half, half among: of the 95 % intervals of the unseen, over draws.
    """
    lines = {}
    for head in heads:
        of_draws = []
        for draw in range(1, unseen.DRAWS + 1):
            runs = found.get(f"{head}, draw {draw}", [])
            scores = [_of_unseen(run, unseen.held_out(classes, draw)) for run in runs]
            if scores:
                of_draws.append(pd.DataFrame(scores).mean())
        columns = ["seen", "unseen", "harmonic mean", "among them"]
        table = pd.DataFrame(of_draws, columns=columns)
        lines[head] = {"draws": len(table)} | table.mean().to_dict()
        lines[head]["sd"] = table["harmonic mean"].std()
        wide = stats.t.ppf(0.975, max(len(table) - 1, 1))
        lines[head]["half"] = table.unseen.sem() * wide
        lines[head]["half among"] = table["among them"].sem() * wide
    return pd.DataFrame.from_dict(lines, orient="index")


def of_the_tower(table: pd.DataFrame, row: str, held_out: int) -> str:
    """What the tower knew of unseen classes before any training, by a row of `unseen_table`."""
    line, guess = table.loc[row], 100 / held_out
    known = line["among them"] - line["half among"] > guess
    meaning = (
        "so there was something that a head could carry over"
        if known
        else "whether there was anything to carry over cannot be told"
    )
    return (
        f"The tower from which all begin tells the {held_out} held-out names apart in "
        f"{line['among them']:.1f} ± {line['half among']:.1f} % of their recordings, before any "
        f"training (a guess: {guess:.0f} %): {meaning}."
    )


def _of_unseen(run: dict, labels: Sequence[int]) -> dict[str, float]:
    table = run["predictions"]
    scores = unseen.scores(table, labels)
    if run.get("log_probs") is not None:
        scores["among them"] = unseen.among(run["log_probs"], table.label.to_numpy(), labels)
    return scores


def zero_shot_draws(name: str, log_probs: np.ndarray, labels: np.ndarray) -> Found:
    """CLIP's zero-shot answer as rows of `unseen_table`: one for every draw, all the same run."""
    table = pd.DataFrame({"label": labels, "class1": log_probs.argmax(axis=1)})
    table["correct"] = table.class1 == table.label
    run = {"predictions": table, "log_probs": log_probs}
    return {f"{name}, draw {draw}": [run] for draw in range(1, unseen.DRAWS + 1)}


def few_table(found: Found, names: Sequence[str]) -> pd.DataFrame:
    """Top-1 in percent, means over seeds: a line for each name, a column for each of FEW."""
    lines = {
        name: {f"{n} a class": mean_accuracy(found.get(f"{name}, {n} a class", [])) for n in FEW}
        for name in names
    }
    return pd.DataFrame.from_dict(lines, orient="index")


# ------------------------------------------------------------------------------- findings
def not_run(study: str, found: Found) -> str | None:
    """What a page says first while rows have no records; None if all have."""
    missing = sum(not runs for runs in found.values())
    if not missing:
        return None
    return (
        f"**Not run**: {missing} of {wording.counted(len(found), 'row')} without a record. "
        f"`make {study}` trains what is missing."
    )


def finding_of_conjunctions(found: Found) -> str:
    """The first sentence of the page `conjunctions`."""
    if missing := not_run("conjunctions", found):
        return missing
    table = pairs_table(found)
    most = ceilings()["seen pairs"]
    fusions = [row for row in found if row not in ("RGB", "events")]
    bind = [row for row in fusions if min(_of_seen(run) for run in found[row]) > most]
    best = str(table["seen pairs"].reindex(fusions).idxmax())
    line, fewest = table.loc[best], int(table.seeds[fusions].min())
    shown = f"{len(bind) or 'None'} of {len(fusions)} models of both cameras "
    shown += "is" if len(bind) < 2 else "are"
    return (
        f"**{shown} shown to bind colours to motions**{': ' if bind else ''}{'; '.join(bind)}. The "
        f"highest on seen pairs, *{best}*, has {line['seen pairs']:.1f} % of them and "
        f"{line['unseen pairs']:.1f} % of the unseen ones (at least "
        f"{wording.counted(fewest, 'run')} each). The sum of what two single models say cannot "
        f"exceed {most:.0f} % on seen pairs; RGB alone has {table['seen pairs']['RGB']:.1f} %, "
        f"events alone {table['seen pairs']['events']:.1f} %."
    )


def _of_seen(run: dict) -> float:
    return _pairs(run["predictions"])["seen pairs"]


def finding_of_unseen(found: Found, classes: int) -> str:
    """The first sentences of the page `unseen`: a line for each head."""
    if missing := not_run("unseen", found):
        return missing
    table = unseen_table(found, classes)
    guess = 100 / classes
    heads = [
        f"- {head}: {line.seen:.1f} % of the seen classes, {line.unseen:.1f} ± {line.half:.1f} % "
        f"of the unseen (over {wording.counted(line.draws, 'draw')})"
        for head, line in table.iterrows()
    ]
    above = [str(head) for head, line in table.iterrows() if line.unseen - line.half > guess]
    least = few_table(found, list(HEADS))[f"{FEW[0]} a class"]
    fewest = min(len(found[f"{head}, {FEW[0]} a class"]) for head in HEADS)
    few = "; ".join(f"{head} {top1:.1f} %" for head, top1 in least.items())
    return "\n".join(
        [
            f"**Classes that were not trained: {len(above) or 'none'} of {len(table)} heads"
            f" {'is' if len(above) < 2 else 'are'} shown to recognise them better than a guess "
            f"among all names ({guess:.1f} %)**{': ' if above else ''}{'; '.join(above)}.",
            "",
            *heads,
            f"- With {FEW[0]} recordings a class and nothing held out: {few} (means of at least "
            f"{wording.counted(fewest, 'run')}).",
        ]
    )
