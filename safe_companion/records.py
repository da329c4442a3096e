"""What is known of a run? Its record, and its predictions.

A run record is the JSON that stands behind every number shown anywhere: configuration, data origin
and fingerprint, metrics per epoch, test metrics, time, memory, machine, library versions, git
commit, and the versions of the behaviour that made it (safe_companion.behaviour).
"""

import dataclasses
import functools
import hashlib
import json
import math
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import open_clip
import timm
import torch

import safe_core
from safe_companion import ROOT, behaviour, datasets, predictions, prompts, sample, unseen, variants
from safe_companion.peers import PEERS
from safe_companion.places import CHECKPOINT, RECORD, STATE, Place, config_of_state, recorded
from safe_core import FIELDS, Config

# of a configuration, when a run is resumed
MAY_DIFFER = ["data_root", "workers", "resize", "on_bad_recording", "sensor_size", "epochs"]
MAY_DIFFER += ["compile", "checkpoint_vision"]


def all_runs() -> dict[str, list[dict]]:
    """{"sample/pokerevent/base": its runs by seed}: every committed run, by name."""
    found: dict[str, list[dict]] = {}
    for folder in sorted((ROOT / "results").glob("*/*/*")):
        if runs := [load_run(place) for place in recorded(folder)]:
            found[folder.relative_to(ROOT / "results").as_posix()] = runs
    return found


# ------------------------------------------------------------------------------- records
@functools.cache
def commit(folder: Path = ROOT) -> str | None:
    """The checked-out commit of the repository at `folder`; None outside git.

    It ends in "-dirty" if what decides a run differs from it, or is new: modules, weights,
    sentences.
    """

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)

    try:
        head = git("rev-parse", "HEAD").stdout.strip()
    except OSError:  # no git on this machine
        return None
    decisive = ("safe_core.py", "safe_companion", "weights", "book/classes", "book/prompts")
    # No lock, so that none who commits meanwhile is refused.
    status = ("--no-optional-locks", "status", "--porcelain", "--untracked-files=all")
    found = git(*status, "--", *decisive)
    if not head:
        return None
    return f"{head}-dirty" if found.stdout or found.returncode else head


def processor() -> str:
    """The name of this machine's processor."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, dict]:
    """Hardware, peak memory of this process (GiB) and library versions."""
    has_gpu = torch.cuda.is_available()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    modules = (torch, open_clip, timm, np, numba)
    versions = {module.__name__: str(module.__version__) for module in modules}
    return {
        "hardware": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if has_gpu else None,
        },
        "peak_memory_gib": {
            "process": peak,
            "gpu": torch.cuda.max_memory_allocated() / 2**30 if has_gpu else None,
        },
        "versions": {"python": platform.python_version()} | versions,
    }


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def sentences_fingerprint(class_names: list[str], config: Config) -> str | None:
    """16 hex digits of SHA-256 over the sentences of all classes; None if none is read."""
    if not config.use_text or config.model in PEERS:
        return None
    sentences = json.dumps(prompts.prompt_sentences(class_names, config))
    return hashlib.sha256(sentences.encode()).hexdigest()[:16]


def outdated(run: dict) -> list[str]:
    """What of a record would be another today: groups of golden values, or its "sentences"."""
    changed = behaviour.outdated(run)
    config = Config(**run["config"])
    if run["data"]["origin"] == "sample" and config.data_root is None:
        names = datasets.class_names(config.dataset, None)
        if run["sentences"] != sentences_fingerprint(names, config):
            changed.append("sentences")
    return changed


def other_fields(record: dict, config: Config) -> list[str]:
    """Fields that a record's run and a configuration must share and do not.

    Not `epochs` where `steps` says how long a training is.
    """
    before = {name: field.default for name, field in FIELDS.items()} | record["config"]
    also = () if config.steps else ("epochs",)
    compared = [name for name in FIELDS if name not in MAY_DIFFER or name in also]
    return [name for name in compared if before[name] != getattr(config, name)]


def about(config: Config, splits: datasets.Splits) -> dict[str, Any]:
    """What the checkpoints of a run say of it, for `safe_core.fit`.

    "identity": what a resumed run must share with the one before.
    """
    fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in MAY_DIFFER}
    made_with = {"data": splits.fingerprint, "behaviour": behaviour.versions_of(config)}
    return {
        "class_names": splits.class_names,
        "sensor_size": splits.sensor_size,
        "identity": fields | made_with,
    }


def note_start(out_dir: Path, config: Config, *, resume: bool) -> list[dict]:
    """[{"commit", "config"}] of a run's starts, the last this one, which is noted here.

    FileExistsError if the folder holds a run and resume is not given, or weights without the state
    from which to go on. ValueError if the run was begun with more epochs. Then nothing is noted.
    """
    begun = any((out_dir / name).exists() for name in (STATE, RECORD))
    if begun and not resume:
        raise FileExistsError(f"{out_dir} holds a run: resume it, or choose another folder")
    if resume and not begun:
        print(f"{out_dir}: no run to resume; starting it", flush=True)
    file = out_dir / "starts.json"
    before = read_json(file) if begun and file.exists() else []
    try:
        if not isinstance(before, list):
            raise TypeError("no list")
        for start in before:
            Config(**start["config"]), start["commit"]
    except Exception as error:  # damaged content raises many kinds
        raise ValueError(f"{file}: does not say how the run was begun ({error!r})") from error
    if resume:
        check_resumable(out_dir, config)
    starts = [*before, {"commit": commit(), "config": dataclasses.asdict(config)}]
    write_json(file, starts)
    return starts


def check_resumable(out_dir: Path, config: Config) -> None:
    """As `note_start` says; a folder without any of it is fine."""
    before = config_of_state(out_dir)
    left = [name for name in (RECORD, CHECKPOINT) if (out_dir / name).exists()]
    if before is None and left:  # it would begin anew, and overwrite them
        raise FileExistsError(
            f"{out_dir}: found {' and '.join(left)}, and no {STATE} to go on from; choose another "
            "folder, or move that one away, to train from the start"
        )
    if before and not (before.steps or config.steps) and config.epochs < before.epochs:
        raise ValueError(
            f"epochs={config.epochs}: the run in {out_dir} was begun with {before.epochs}; give no "
            "fewer, or choose another folder"
        )


def write_record(
    out_dir: Path,
    config: Config,
    splits: datasets.Splits,
    result: dict,
    starts: list[dict],
) -> dict:
    """Writes the record and the predictions of a run of `safe_core.fit`; returns the record.

    starts: of the run (`note_start`). The record of a run that was finished before stays as it is.
    """
    if (out_dir / RECORD).exists():
        known = read_record(out_dir)
        if known["history"] == result["history"]:
            return known
    told = {"data_root": config.data_root and Path(config.data_root).name}  # no path of a machine
    skipped = [(name, reason.replace(f"{splits.root}/", "")) for name, reason in splits.skipped]
    from_fit = ("history", "best_epoch", "test", "trained_parameters")
    record = {
        "config": dataclasses.asdict(config) | told,
        "data": splits.facts | {"skipped": skipped},
        **{key: result[key] for key in from_fit},
        "processes": safe_core.here()[2],
        "seconds": sum(row["seconds"] for row in result["history"]),
        **machine(),
        "sentences": sentences_fingerprint(splits.class_names, config),
        "commit": starts[0]["commit"],
        "resumed_with": [s["commit"] for s in starts[1:] if s["commit"] != starts[0]["commit"]],
        "behaviour": behaviour.versions_of(config),
        "date": today(),
    }
    predictions.write(out_dir, splits, result["log_probs"])
    write_json(out_dir / RECORD, record)  # last: where it is, the run is whole
    return record


def write_json(path: Path, content: Any) -> None:
    """JSON for people, written as a whole or not at all."""
    text = json.dumps(content, indent=1)
    safe_core.write_atomically(path, lambda p: p.write_text(text))


def read_json(path: Path) -> Any:
    """What a JSON file of ours holds. ValueError names one that is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: found no whole JSON ({error}); make it anew") from error


def read_record(folder: Path) -> dict:
    """The record in a run's folder. ValueError names one that is damaged."""
    record = read_json(folder / RECORD)
    try:
        Config(**record["config"])
        data, test = record["data"], record["test"]
        numbers = [record["seconds"], record["best_epoch"], test["top1"], test["top5"]]
        numbers += [data[split] for split in ("train", "val", "test")]
        numbers += [record["config"]["seed"], *(row["epoch"] for row in record["history"])]
        texts = [record["config"]["dataset"], data["origin"], data["fingerprint"]]
        texts += dict(record["behaviour"])
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise TypeError("a figure that is no number")
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a text that is none")
        if missing := {"sentences", "commit"} - record.keys():
            raise TypeError(f"no {' and '.join(sorted(missing))}")
    except Exception as error:  # damaged content raises many kinds
        raise ValueError(f"{folder / RECORD}: not the record of a run ({error!r})") from error
    return record


def load_run(folder: Path) -> dict:
    """A record with its `predictions`, their `log_probs` and where it lies (`path`).

    log_probs: of all classes, [n, L]; None for runs up to 2026-11-26. elsewhere: the same run of
    another kind of machine, if results/machines has it, else None. ValueError if it is damaged, or
    if sample and real data are mixed up.
    """
    path = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    record = read_record(folder)
    check_origin(record, folder)
    table, log_probs = predictions.read(folder, record["data"]["test"])
    run = record | {"predictions": table, "log_probs": log_probs, "path": str(path)}
    return run | {"elsewhere": _elsewhere(folder)}


def _elsewhere(folder: Path) -> dict | None:
    """The run of results/machines that is the one in this folder of results/, made elsewhere."""
    results = ROOT / "results"
    if not folder.is_relative_to(results):
        return None
    twin = results / "machines" / folder.relative_to(results)
    return load_run(twin) if (twin / RECORD).exists() else None


def check_origin(record: dict, place: Path) -> None:
    """ValueError if a record of the sample would lie among those of real data, or the reverse."""
    found = record["data"]["origin"]
    expected = place.parts[-4]
    if found != expected:
        raise ValueError(
            f"{place}: the record is of {found} data, the place for {expected} data; for the "
            "sample, leave data_root unset"
        )


BEGUN = 0.5  # share of a guess's loss below which a training counts as begun


def hardly_trained(run: dict) -> bool:
    """Whether the last epoch's training loss is still above half (BEGUN) of a guess's."""
    if run.get("log_probs") is None:
        return False
    guess = np.log(classes_of_loss(run))
    if run["config"].get("model") == "safe-branches":  # its loss is also that of both branches
        guess *= 1 + 2 * variants.AUXILIARY
    return bool(run["history"][-1]["train_loss"] > BEGUN * guess)


def classes_of_loss(run: dict) -> int:
    """Over how many classes a run's loss runs: where cosines learn, those with recordings only."""
    config, count = run["config"], run["log_probs"].shape[1]
    kind = (config.get("model", "safe"), config.get("classifier", "tokens"))
    if kind not in (("safe", "text"), ("cosines", "text"), ("safe-branches", "tokens")):
        return count
    absent = set(unseen.held_out(count, config.get("held_out", 0)))
    if config["dataset"] == "conjunctions":
        absent |= set(sample.UNSEEN)
    return count - len(absent)


def of_gpu(run: dict) -> bool:
    """Whether a run was made on a GPU."""
    return bool(run["hardware"]["gpu"])


def mean_seconds(runs: Iterable[dict], *, on_gpu: bool) -> float:
    """Mean training time of the runs that had a GPU, or had none; of all if none is of that kind.

    nan without any run.
    """
    runs = list(runs)
    alike = [run for run in runs if of_gpu(run) == on_gpu] or runs
    return float(np.mean([run["seconds"] for run in alike])) if alike else math.nan


def summary(record: dict) -> str:
    """One line for people: what was trained on which data, how well, for how long."""
    data, test, config = record["data"], record["test"], record["config"]
    counted = f"{data['train']} training, {data['val']} validation and {data['test']} test"
    return (
        f"{config['dataset']} ({data['origin']} data, {counted} recordings): "
        f"top-1 {test['top1']:.1f} %, top-5 {test['top5']:.1f} %, epoch {record['best_epoch']} of "
        f"{len(record['history'])}, {record['seconds'] / 60:.1f} min"
    )


def checkpoint(run: dict) -> Path | None:
    """The weights of a record's chosen epoch: beside it, or where the run was made, if there."""
    beside = ROOT / run["path"]
    places = [beside]
    if beside.is_relative_to(ROOT / "results"):
        places = [beside, Place.at(beside).working]
    return next((p / CHECKPOINT for p in places if (p / CHECKPOINT).exists()), None)
