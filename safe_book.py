"""What the notebooks share: run records, studies over them, and figures.

A run record is the JSON that stands behind every number shown anywhere: configuration, data origin and fingerprint,
metrics per epoch, test metrics, time, memory, machine, library versions, git commit, and a fingerprint of the code.
Committed records lie in results/ORIGIN/DATASET/WHAT_DIFFERS_FROM_THE_PRESET/seedN, with the predictions beside them.
A study is a dict {row: configuration fields}; it is shown from its records, several seeds a row.
"""

import argparse
import ast
import dataclasses
import functools
import hashlib
import json
import os
import platform
import re
import resource
import subprocess
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.distributed as dist
from IPython.display import HTML, Markdown, Pretty, display
from scipy import stats

import safe_core
import safe_data
import safe_released
import safe_sample

HERE = Path(__file__).resolve().parent
ON, OFF = "#dc1e1e", "#1e1ec8"  # the authors' event colours
RGB, EVENT, BOTH = sns.color_palette("colorblind")[1], sns.color_palette("colorblind")[0], "#444444"

# ------------------------------------------------------------------------------------------------ records


@functools.cache
def code_fingerprint(fusion: str = "paper") -> str:
    """16 hex digits of SHA-256 over what decides a run: the modules, comments and docstrings aside, and the weights."""
    digest = hashlib.sha256()
    for name in ("safe_core", "safe_data", "safe_sample", *["safe_released"] * (fusion == "released")):
        tree = ast.parse((HERE / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Pass()
        digest.update(ast.unparse(tree).encode())
    for file in sorted((HERE / "weights").glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def sentences_fingerprint(class_names: list[str], config: safe_core.Config) -> str | None:
    """16 hex digits of SHA-256 over the sentences of all classes; None without text."""
    if not config.use_text:
        return None
    return hashlib.sha256(json.dumps(safe_data.prompt_sentences(class_names, config)).encode()).hexdigest()[:16]


def differing(config: safe_core.Config) -> tuple[str, dict]:
    """(preset, fields): what sets a run apart from its preset: that of its data, unless it is much nearer to another."""
    unstudied = ("dataset", "data_root", "seed", "workers", "on_bad_recording")
    here = {name: getattr(config, name) for name in unstudied}
    default, found = "sample" if config.data_root is None else "paper", {}
    for preset in sorted(safe_core.PRESETS, key=lambda preset: preset != default):
        base = safe_core.configure(preset, **here)
        found[preset] = {k: v for k, v in dataclasses.asdict(config).items() if v != getattr(base, k)}
    return min(found.items(), key=lambda item: len(item[1]) + (item[0] != default))


def run_name(config: safe_core.Config) -> str:
    """`differing` as a folder name: "base", "use_text=False", "augment=frame,frames=5", "preset=sample,epochs=12"."""
    preset, fields = differing(config)
    parts = [f"preset={preset}"] * (preset != ("sample" if config.data_root is None else "paper"))
    if safe_released.RELEASED.items() <= fields.items():
        parts.append("as_released")
        fields = {k: v for k, v in fields.items() if k not in safe_released.RELEASED}
    parts += [f"{k}={Path(v).stem if k == 'prompt_file' else v}" for k, v in fields.items()]
    return re.sub(r"[^\w.=,-]+", "-", ",".join(parts)).strip("-") or "base"


def record_dir(config: safe_core.Config) -> Path:
    """Where the committed record of a run lies."""
    origin = "sample" if config.data_root is None else "real"
    return HERE / "results" / origin / config.dataset / run_name(config) / f"seed{config.seed}"


@functools.cache
def commit() -> str | None:
    """The checked-out commit, with "-dirty" if modules, weights or prompts differ from it; None outside git."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True)

    try:
        head = git("rev-parse", "HEAD").stdout.strip()
    except OSError:  # no git on this machine
        return None
    changed = git("diff", "--quiet", "HEAD", "--", "*.py", "weights", "book/classes", "book/prompts").returncode
    return head + "-dirty" * bool(changed) if head else None


# Asked once, now: a run is stamped with the code that it was started with, whatever is edited while it trains.
commit(), code_fingerprint("paper"), code_fingerprint("released")


def machine() -> dict:
    """Hardware, peak memory of this process (GiB) and library versions."""
    cuda, cpu = torch.cuda.is_available(), platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "hardware": {"cpu": cpu, "cores": os.cpu_count(), "gpu": torch.cuda.get_device_name() if cuda else None},
        "peak_memory_gib": {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,  # KiB on Linux
                            "gpu": torch.cuda.max_memory_allocated() / 2**30 if cuda else None},
        "versions": {"python": platform.python_version()} | {
            name: __import__(name).__version__ for name in ("torch", "open_clip", "timm", "numpy", "numba")},
    }  # fmt: skip


def write_record(out_dir, config: safe_core.Config, splits: safe_data.Splits, result: dict) -> dict:
    """Writes record.json and predictions.csv of a run of `safe_core.fit` into out_dir; returns the record."""
    record = {
        "config": dataclasses.asdict(config) | {"data_root": config.data_root and Path(config.data_root).name},
        "data": splits.facts | {"skipped": [(name, reason.replace(f"{splits.root}/", "")) for name, reason in splits.skipped]},
        **{key: result[key] for key in ("history", "best_epoch", "test", "trained_parameters", "processes")},
        "seconds": sum(row["seconds"] for row in result["history"]),
        **machine(),
        "sentences": sentences_fingerprint(splits.class_names, config),
        "commit": commit(),
        "code": code_fingerprint(config.fusion),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    table = predictions(splits, result["log_probs"])
    out_dir = Path(out_dir)
    safe_core.write_atomically(out_dir / "predictions.csv", lambda p: table.to_csv(p, index=False, float_format="%.4g"))
    safe_core.write_atomically(out_dir / "record.json", lambda p: p.write_text(json.dumps(record, indent=1)))
    return record


def predictions(splits: safe_data.Splits, log_probs: torch.Tensor) -> pd.DataFrame:
    """One row per test recording: name, label, p (of its own class), correct, then class1, p1, class2, p2, ...

    For the sample also its condition: what was made hard for one of the modalities.
    """
    labels = splits.test.labels
    top = log_probs.exp().topk(min(5, log_probs.shape[1]))
    table = pd.DataFrame({"name": splits.test.names, "label": labels,
                          "p": log_probs.exp()[torch.arange(len(labels)), labels]})  # fmt: skip
    for k in range(top.indices.shape[1]):
        table[f"class{k + 1}"], table[f"p{k + 1}"] = top.indices[:, k], top.values[:, k]
    table.insert(3, "correct", table.class1 == table.label)
    if splits.origin == "sample":
        truth = pd.read_csv(splits.root / "ground_truth.csv", index_col="sample", keep_default_na=False)
        table.insert(4, "condition", [truth.cause[name.rsplit("/", 1)[-1]] for name in splits.test.names])
    return table


def summary(record: dict) -> str:
    """One line for people: what was trained on which data, how well, for how long."""
    data, test, config = record["data"], record["test"], record["config"]
    counted = f"{data['train']} training, {data['val']} validation and {data['test']} test recordings"
    return (f"{config['dataset']} ({data['origin']} data, {counted}): top-1 {test['top1']:.1f} %, "
            f"top-5 {test['top5']:.1f} %, epoch {record['best_epoch']} of {config['epochs']}, "
            f"{record['seconds'] / 60:.1f} min")  # fmt: skip


def train(config: safe_core.Config, out_dir, *, resume: bool = False, on_step=lambda *_: None) -> dict:
    """Data, training, evaluation, record: what notebooks/train.ipynb shows step by step. Returns the record."""
    splits = safe_data.open_dataset(**safe_data.options(config))
    size, first = (dist.get_world_size(), dist.get_rank() == 0) if dist.is_initialized() else (1, True)
    if len(splits.test) < size or 0 < len(splits.val) < size:
        raise ValueError(f"{len(splits.val)} validation and {len(splits.test)} test recordings for {size} processes: use "
                         "fewer processes, or larger val_fraction and test_fraction")  # fmt: skip
    if first:
        print(f"{splits.origin} data: {config.dataset}, {run_name(config)}, seed {config.seed}", flush=True)
    result = safe_core.fit(config, splits.train, splits.val, splits.test, out_dir=out_dir, resume=resume,
                           sentences=safe_data.prompt_sentences(splits.class_names, config),
                           class_names=splits.class_names, on_step=on_step)  # fmt: skip
    return write_record(out_dir, config, splits, result) if first else {}


def run(config: safe_core.Config, *, out_dir=None, resume: bool = False) -> None:
    """The command line's run, in one process or under torchrun."""
    _, rank, size = safe_core.join_processes()
    if size > 1 and config.data_root is None:  # the first process makes the sample, the others find it
        dist.barrier() if rank else safe_data.open_dataset(**safe_data.options(config))
        rank or dist.barrier()
    out_dir = out_dir or HERE / "runs" / f"{config.dataset}-seed{config.seed}"
    if record := train(config, out_dir, resume=resume):
        print(summary(record), f"\nin {out_dir}")
    if size > 1:
        dist.destroy_process_group()


# ------------------------------------------------------------------------------------------------ studies

def load_run(folder: Path) -> dict:
    """A record with its `predictions` and where it lies (`path`). ValueError if sample and real data are mixed up."""
    path = folder.relative_to(HERE) if folder.is_relative_to(HERE) else folder
    record = json.loads((folder / "record.json").read_text())
    check_origin(record, folder)
    return record | {"predictions": pd.read_csv(folder / "predictions.csv"), "path": str(path)}


def check_origin(record: dict, place: Path) -> None:
    """ValueError if a record of the sample would lie among those of real data, or the reverse."""
    found, expected = record["data"]["origin"], place.parts[-4]
    if found != expected:
        raise ValueError(f"{place}: the record is of {found} data, the place for {expected} data; for the sample, "
                         "leave data_root unset")  # fmt: skip


def records(fields: dict, *, dataset: str, origin: str) -> list[dict]:
    """The committed runs of a configuration, by seed."""
    preset = {"sample": {"preset": "sample"}, "real": {"preset": "paper", "data_root": "-"}}[origin]
    config = safe_core.configure(**preset, dataset=dataset, **fields)
    folders = sorted(record_dir(config).parent.glob("seed*"), key=lambda folder: int(folder.name[4:]))
    return [load_run(folder) for folder in folders]


def study(rows: dict[str, dict], *, dataset: str, data_root=None, preset=None, seeds=3, rerun=False) -> dict:
    """{row: runs}, one run per seed, of each row's configuration fields.

    Runs come from their committed records; rows that have none stay empty. With rerun they are trained, into
    runs/, where an interrupted study continues. ValueError if the records are not all about the same recordings.
    """
    found = {}
    for row, fields in rows.items():
        found[row] = []
        for seed in range(seeds):
            config = safe_core.configure(preset, **{"dataset": dataset, "data_root": data_root, "seed": seed} | fields)
            folder = record_dir(config)
            if rerun:
                folder = HERE / "runs" / folder.relative_to(HERE / "results")
                if not (folder / "record.json").exists():
                    train(config, folder, resume=True)
            if (folder / "record.json").exists():
                found[row].append(load_run(folder))
    data = {run["data"]["fingerprint"] for runs in found.values() for run in runs}
    if len(data) > 1:
        raise ValueError(f"records of {dataset} are about {len(data)} different data sets: delete the older ones; a folder "
                         "without lists is split anew by every seed: write lists, or compare one seed")  # fmt: skip
    return found


def mean_and_interval(values) -> tuple[float, float]:
    """(mean, half width of its 95 % interval by Student's t; nan of a single value)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return values.mean(), np.nan
    return values.mean(), stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))


def check_data(runs: dict[str, dict]) -> None:
    """ValueError if records {path: configuration fields} are about other data than those at hand; makes the samples."""
    for dataset, root in {(run["dataset"], run["data_root"]): None for run in runs.values()}:
        config = safe_core.configure(dataset=dataset, data_root=root)
        expected = safe_data.open_dataset(**safe_data.options(config)).fingerprint
        other = [path for path, run in runs.items() if (run["dataset"], run["data_root"]) == (dataset, root)
                 and Path(path).exists() and json.loads(Path(path).read_text())["data"]["fingerprint"] != expected]  # fmt: skip
        if other:
            raise ValueError(f"{len(other)} records are about other data than the {dataset} at hand, the first is "
                             f"{other[0]}: delete them to have them made again")  # fmt: skip


def expected_hours(fields: list[dict]) -> float:
    """Hours that runs of these configurations take one after another, by the recorded runs of their data sets."""
    recorded = {}
    for file in (HERE / "results").glob("*/*/*/seed*/record.json"):
        record = json.loads(file.read_text())
        recorded.setdefault((record["data"]["origin"], record["config"]["dataset"]), []).append(record["seconds"])
    keys = [("real" if f.get("data_root") else "sample", f["dataset"]) for f in fields]
    return sum(np.mean(recorded.get(key, np.nan)) for key in keys) / 3600


def difference(runs: list[dict], against: list[dict]) -> tuple[float, float, int]:
    """(mean, half width of its 95 % interval, number of seeds) of top-1 differences in percentage points, paired.

    Pairs are runs of the same seed on the same test recordings. The interval joins two sources of chance: the seed
    (Student's t over the seeds' differences) and the choice of test recordings (1.96 standard errors of a paired
    bootstrap over recordings, of the differences averaged over seeds). The first holds some of the second already, so the
    interval is rather too wide than too narrow. One pair has no interval.
    """
    pairs = {run["config"]["seed"]: [run] for run in runs}
    for run in against:
        pairs.setdefault(run["config"]["seed"], []).append(run)
    pairs = [pair for _, pair in sorted(pairs.items()) if len(pair) == 2]
    if not pairs:
        return np.nan, np.nan, 0
    if any((a["predictions"].name != b["predictions"].name).any() for a, b in pairs):
        raise ValueError(f"{pairs[0][0]['path']} and {pairs[0][1]['path']} tested different recordings")
    gains = np.array([100 * (a["predictions"].correct.astype(float) - b["predictions"].correct.astype(float))
                      for a, b in pairs])  # [seeds, recordings]  # fmt: skip
    mean, by_seed = mean_and_interval(gains.mean(axis=1))
    rng, each = np.random.default_rng(0), gains.mean(axis=0)
    resampled = [each[rng.integers(len(each), size=len(each))].mean() for _ in range(2000)]
    return mean, float(np.hypot(by_seed, 1.96 * np.std(resampled))), len(pairs)


def effect_table(found: dict, *, baseline: str) -> pd.DataFrame:
    """One line per row of a study: accuracy with its interval over seeds, and the difference to `baseline`.

    A difference is paired, so it rests on the seeds that both have: `pairs`.
    """
    lines = {}
    for row, runs in found.items():
        line = {"seeds": len(runs)}
        if runs:
            line["top-1 [%]"], line["±"] = mean_and_interval([run["test"]["top1"] for run in runs])
            line["sd"] = np.std([run["test"]["top1"] for run in runs], ddof=1) if len(runs) > 1 else np.nan
        if runs and row != baseline:
            line["difference"], line["± difference"], line["pairs"] = difference(runs, found[baseline])
            line["effect"] = effect(line["difference"], line["± difference"])
        lines[row] = line
    columns = ["seeds", "top-1 [%]", "±", "sd", "pairs", "difference", "± difference", "effect"]
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)


def effect(mean: float, half: float) -> str:
    """In words: an effect is measurable if its 95 % interval excludes zero."""
    if np.isnan(half):
        return "one seed: no interval" if np.isfinite(mean) else "not run"
    return "no measurable effect" if abs(mean) <= half else "better" if mean > 0 else "worse"


def show_study(table: pd.DataFrame, *, title: str, origin: str) -> plt.Figure:
    """Differences to the baseline with their 95 % intervals; grey where the interval holds zero."""
    rows = table[table.difference.notna()][::-1]
    fig, ax = plt.subplots(figsize=(7.5, 0.38 * len(rows) + 1.3))
    for y, (_, row) in enumerate(rows.iterrows()):
        colour = {"better": EVENT, "worse": RGB}.get(row.effect, "0.55")
        ax.errorbar(row.difference, y, xerr=row["± difference"], fmt="o", color=colour, capsize=3)
    ax.axvline(0, color="0.3", lw=1)
    ax.set_yticks(range(len(rows)), rows.index, fontsize="small")
    ax.set(xlabel="difference in top-1 accuracy [percentage points], 95 % interval", ylim=(-0.6, len(rows) - 0.4))
    ax.set_title(f"{title} ({origin} data)")
    ax.grid(axis="y", visible=False)
    fig.tight_layout()
    return fig


def in_words(table: pd.DataFrame) -> str:
    """The differences of a table `beside_paper` as a Markdown list."""
    return "\n".join(
        f"- {row}: {line['paper difference']:+.1f} points in the paper, {line.difference:+.1f} ± {line['± difference']:.1f} here: "
        f"{line.verdict}." for row, line in table[table.difference.notna()].iterrows())  # fmt: skip


def class_names(dataset: str, data_root=None) -> list[str]:
    """Class names in label order, of real data or of the sample (which need not have been generated)."""
    return list(safe_sample.CLASSES[dataset]) if data_root is None else safe_data.class_names(dataset, data_root)


def show_beside(table: pd.DataFrame, *, title: str, origin: str, dataset: str) -> plt.Figure:
    """Differences to the first row: the paper's as diamonds, ours with their 95 % intervals below, grey if they hold 0."""
    rows = table[table["paper difference"].notna()][::-1]
    fig, ax = plt.subplots(figsize=(7.5, 0.62 * len(rows) + 1.5))
    for y, (_, row) in enumerate(rows.iterrows()):
        ax.plot(row["paper difference"], y + 0.16, "D", color=RGB, ms=6, label="paper (PokerEvent, one run)" * (y == 0))
        if np.isfinite(row.difference):
            seen = effect(row.difference, row["± difference"]) in ("better", "worse")
            ax.errorbar(row.difference, y - 0.16, xerr=row["± difference"], fmt="o", color=EVENT if seen else "0.55",
                        capsize=3)  # fmt: skip
    ax.errorbar([], [], xerr=[], fmt="o", color=EVENT, capsize=3, label=f"here ({origin} of {dataset}), 95 % interval")
    ax.plot([], [], "o", color="0.55", label="here, interval holds zero")
    ax.axvline(0, color="0.3", lw=1)
    ax.set_yticks(range(len(rows)), [textwrap.fill(name, 38) for name in rows.index], fontsize="small")
    ax.set(xlabel="difference in top-1 accuracy [percentage points]", ylim=(-0.6, len(rows) - 0.4), title=title)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.42 / (0.62 * len(rows) + 1.5) - 0.08), fontsize="x-small",
              ncols=3, frameon=False)  # fmt: skip
    return fig


def paper_and_ours(table: pd.DataFrame, *, origin: str, dataset: str, paper="pokerevent", x=None, xlabel="") -> plt.Figure:
    """Two panels that share no axis, since their numbers cannot be compared: the paper's accuracies, and ours.

    Over numbers `x` as lines, otherwise row by row as dots; ours with 95 % intervals over seeds. paper: its data set.
    """
    tall = 3.2 if x is not None else 0.42 * len(table) + 1.4
    fig, axes = plt.subplots(1, 2, figsize=(9, tall), sharey=x is None)
    panels = (("paper", None, RGB, "D", f"paper, {NEEDED[paper]} (one run each)"),
              ("ours", "±", EVENT, "o", f"here, {origin} of {dataset}"))  # fmt: skip
    for ax, (column, half, colour, marker, title) in zip(axes, panels, strict=True):
        rows = table[table[column].notna()]
        error = rows[half] if half else None
        if x is None:
            y = len(table) - 1 - table.index.get_indexer(rows.index)
            ax.errorbar(rows[column], y, xerr=error, fmt=marker, color=colour, capsize=3)
            ax.set_yticks(range(len(table)), [textwrap.fill(name, 40) for name in table.index[::-1]], fontsize="small")
            ax.set(xlabel="top-1 accuracy [%]", ylim=(-0.6, len(table) - 0.4), title=title)
        else:
            at = np.asarray(x)[table.index.get_indexer(rows.index)]
            ax.errorbar(at, rows[column], yerr=error, marker=marker, color=colour, capsize=3)
            ax.set(xlabel=xlabel, ylabel="top-1 accuracy [%]", title=title, xticks=list(x))
    fig.tight_layout()
    return fig


def with_light(found: dict, root: Path) -> dict:
    """The runs with the illumination of their test recordings in `predictions`, as column `light`, in four bins.

    root: folder of the generated sample, whose ground truth it is; real recordings have none.
    """
    truth = pd.read_csv(Path(root) / "ground_truth.csv", index_col="sample", keep_default_na=False)
    edges, names = [0, 1e-3, 1e-2, 1e-1, 2], ["< 0.001", "0.001 to 0.01", "0.01 to 0.1", "> 0.1"]

    def lit(run):
        level = truth.illumination[[name.rsplit("/", 1)[-1] for name in run["predictions"].name]].to_numpy()
        return run | {"predictions": run["predictions"].assign(light=pd.cut(level, edges, labels=names))}

    return {row: [lit(run) for run in runs] for row, runs in found.items()}


def breakdown(found: dict, *, baseline: str, by: str) -> pd.DataFrame:
    """One line per (row, group): test recordings, top-1 over seeds, paired difference to `baseline` with its interval.

    by: a column of the predictions, such as "label", "condition" or "light".
    """
    lines = {}
    for row, runs in found.items():
        values = runs[0]["predictions"][by] if runs else pd.Series()
        for group in values.cat.categories if hasattr(values, "cat") else sorted(set(values), key=str):
            def inside(these, group=group):
                return [run | {"predictions": run["predictions"][run["predictions"][by] == group].reset_index()}
                        for run in these]  # fmt: skip

            ours = inside(runs)
            line = {"recordings": len(ours[0]["predictions"]),
                    "top-1 [%]": 100 * np.mean([run["predictions"].correct.mean() for run in ours])}  # fmt: skip
            if row != baseline:
                line["difference"], line["± difference"], _ = difference(ours, inside(found[baseline]))
                line["effect"] = effect(line["difference"], line["± difference"])
            lines[row, group] = line
    return pd.DataFrame.from_dict(lines, orient="index")


def show_breakdown(table: pd.DataFrame, *, title: str, names=None, most: int = 30) -> plt.Figure:
    """A breakdown as a picture: accuracy per group and row on the left, paired differences on the right.

    names: {group: label to draw}. Groups in order of the first row's accuracy if there are many; at most `most`, half of
    them from either end.
    """
    rows = list(dict.fromkeys(row for row, _ in table.index))
    groups = list(dict.fromkeys(group for _, group in table.index))
    if len(groups) > 8:
        groups = sorted(groups, key=lambda group: table["top-1 [%]"][rows[0], group])
        groups = groups if len(groups) <= most else groups[: most // 2] + groups[-(most // 2) :]
    colours, y = sns.color_palette("colorblind", len(rows)), np.arange(len(groups))[::-1]
    high = max(2.4, (0.11 * len(rows) + 0.16) * len(groups) + 1.3)
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, high), sharey=True)
    for i, row in enumerate(rows):
        part = table.loc[[(row, group) for group in groups]]
        at = y - 0.13 * (i - (len(rows) - 1) / 2)
        left.plot(part["top-1 [%]"], at, "os^Dvp"[i % 6], color=colours[i], label=row)
        if i:
            right.errorbar(part.difference, at, xerr=part["± difference"], fmt="os^Dvp"[i % 6], color=colours[i], capsize=2)
    right.axvline(0, color="0.3", lw=1)
    labels = [(names or {}).get(group, group) for group in groups]
    left.set_yticks(y, [f"{label} ({table.recordings[rows[0], group]})" for label, group in
                        zip(labels, groups, strict=True)], fontsize="small")  # fmt: skip
    left.set(xlabel="top-1 accuracy [%]", xlim=(0, 102), ylim=(-0.6, len(groups) - 0.4))
    right.set_xlabel(f"difference to {rows[0]} [points],\n95 % interval")
    fig.suptitle(f"{title} (number of test recordings)", fontsize="medium")
    fig.legend(*left.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=3, frameon=False,
               fontsize="small")  # fmt: skip
    fig.tight_layout()
    return fig


def draws(folder: Path, count: int) -> dict:
    """Test accuracy of the checkpoint in a run's folder over `count` draws of its random test frames."""
    model, _ = safe_core.load_model(folder / "best.safetensors")
    config = model.config
    if config.test_frames != "random":
        raise ValueError(f"{folder}: test_frames={config.test_frames!r} always draws the same; expected 'random'")
    splits = safe_data.open_dataset(**safe_data.options(config))
    scores = safe_released.evaluate(model.to(safe_core.join_processes()[0]), splits, draws=count)
    return {"top1": [score["top1"] for score in scores], "data": splits.facts, "code": code_fingerprint(config.fusion),
            "commit": commit(), "date": time.strftime("%Y-%m-%d", time.gmtime())} | machine()  # fmt: skip


# ------------------------------------------------------------------------------------------------ claims

EPSILON = 1.0  # percentage points: the paper gives no variance of its own
NEEDED = {"hardvs": "HARDVS", "pokerevent": "PokerEvent"}


def claims() -> pd.DataFrame:
    """book/claims.csv by id: every number of the paper; `fields` is the configuration that would show it, if any."""
    table = pd.read_csv(HERE / "book" / "claims.csv", keep_default_na=False).set_index("id")
    table["value"] = pd.to_numeric(table["value"])  # nan where two claims contradict each other
    table["fields"] = [json.loads(text) if text else None for text in table["fields"]]
    return table


def deviations() -> pd.DataFrame:
    """book/deviations.csv by id: where the released code differs from the paper, how that is known, how to switch it.

    `sample_fields`: instead of `fields`, where the sample has nothing to switch; `samples`: those on which it is run.
    """
    return pd.read_csv(HERE / "book" / "deviations.csv", keep_default_na=False).set_index("id")


# On the samples the sweep runs these; `-p rerun True` trains any other. On real data it runs every study.
SWEPT = {"hardvs": ["table3", "fig4", "modalities", "paper_vs_code"],
         "pokerevent": ["table2", "table4", "table5", "table6", "fig4", "ablation_no_text", "ablation_resnet_backbone",
                        "ablation_no_cross_attention", "modalities", "dataset_size", "backbones", "prompts",
                        "paper_vs_code"]}  # fmt: skip


def studies(dataset: str, origin: str) -> dict[str, dict[str, dict]]:
    """{study: {row: configuration fields}}: the paper's tables as its claims have them, and what goes beyond.

    A study has the first word of its notebook's name. Tables 4 to 6 are the paper's for PokerEvent; for another data set
    their rows are the same with that data set's sentences.
    """
    rewritten = {"prompt_file": f"book/prompts/{dataset}.json"}
    full = {"event_windows": "afe"} | rewritten
    found = {}
    for _, claim in claims().iterrows():
        if isinstance(claim.fields, dict) and claim["where"].startswith("Table"):
            if claim.dataset == dataset or claim["where"] in ("Table 4", "Table 5", "Table 6"):
                fields = claim.fields | (rewritten if "prompt_file" in claim.fields else {})
                found.setdefault(claim["where"].lower().replace(" ", ""), {})[claim.setting or claim.system] = fields
    found["paper_vs_code"] = {"our reading of the paper": {}}
    for name, row in deviations().iterrows():
        if origin == "real" or dataset in row.samples.split():
            text = row.sample_fields if origin == "sample" and row.sample_fields else row.fields
            found["paper_vs_code"][row.topic] = safe_released.RELEASED if name == "all" else json.loads(text)
    found["fig4"] = {"template": {}, "+ rewritten prompts": rewritten, "+ AFE": full}
    found["ablation_no_text"] = {"with text": full, "without text": {"event_windows": "afe", "use_text": False}}
    found["ablation_resnet_backbone"] = {
        "CLIP": full, "plain ViT": full | {"vision_tower": "vit"}, "ResNet": full | {"vision_tower": "resnet"}}
    found["ablation_no_cross_attention"] = {
        "with cross-attention": full, "without cross-attention": full | {"use_cross_attention": False}}
    found["modalities"] = {
        f"{name}, {'with' if text else 'without'} text": ({} if text else {"use_text": False}) | fields
        for text in (True, False)
        for name, fields in (("RGB and events", {}), ("RGB", {"modality": "rgb"}), ("events", {"modality": "event"}))
    }
    found["dataset_size"] = {f"{share} %": {"train_fraction": share / 100} if share < 100 else {}
                             for share in (100, 50, 25, 10, 5)}  # fmt: skip
    found["backbones"] = {
        f"{name}, {way}": ({} if tower == "clip" else {"vision_tower": tower}) | fields
        for name, tower in (("CLIP", "clip"), ("plain ViT", "vit"), ("ResNet", "resnet"))
        for way, fields in (("fine-tuned", {}), ("frozen", {"freeze_vision": True}), ("scratch", {"pretrained": False}))
        if (tower, way) != ("vit", "scratch")  # from random weights it is the network of "CLIP, scratch"
    }
    found["prompts"] = {"template": {}, "template and three rewrites": rewritten} | {
        f"rewrite {i} alone": {"prompt_file": f"book/prompts/{dataset}_rewrite{i}.json"} for i in (1, 2, 3)}
    return found


def ledger() -> pd.DataFrame:
    """Every claim beside our runs of it: real data where there are records, else the sample, else why there are none."""
    table, lines = claims(), {}
    for name, claim in table.iterrows():
        line = {"where": claim["where"], "dataset": claim.dataset, "system": claim.system, "setting": claim.setting,
                "metric": claim.metric, "paper": claim.value, "unit": claim.unit}  # fmt: skip
        if claim.metric in ("contradiction", "ambiguity"):
            line["verdict"] = f"{claim.metric} in the paper"
        elif claim.system not in ("", "SAFE"):
            line["verdict"] = "not run: another method"
        else:
            line |= evidence(claim, table)
        lines[name] = line
    columns = ["where", "dataset", "system", "setting", "metric", "paper", "unit", "ours", "±", "seeds", "origin",
               "paper difference", "difference", "± difference", "pairs", "verdict", "record", "commit", "code"]  # fmt: skip
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns).rename_axis("claim")


def evidence(claim: pd.Series, table: pd.DataFrame) -> dict:
    """What our committed records say about one claim of the ledger."""
    other = table.loc[claim.against] if claim.against else None
    for origin in ("real", "sample") if isinstance(claim.fields, dict) else ():
        if runs := records(claim.fields, dataset=claim.dataset, origin=origin):
            against = [] if other is None else records(other.fields, dataset=other.dataset, origin=origin)
            about = {"record": str(Path(runs[0]["path"]).parent), "commit": runs[0]["commit"],
                     "code": "older" if any(map(stale, runs)) else "current"}  # fmt: skip
            return judge(claim, other, runs, against) | {"origin": origin} | about
    return {"verdict": f"not run: needs {NEEDED[claim.dataset]}"}


def judge(claim: pd.Series, other: pd.Series | None, runs: list[dict], against: list[dict]) -> dict:
    """Our numbers for a claim and the verdict, by a fixed rule.

    Real data: `reproduced` if the mean over seeds lies within EPSILON of the paper's number; `not reproduced` if it lies
    further away than that and than the half width of its own 95 % interval; otherwise `too few seeds to tell`.
    Sample: never the number, only the direction of the difference to the claim `other`; without one, or for another
    data set than the paper's, what would be needed.
    """
    mean, half = mean_and_interval([run["test"]["top1"] for run in runs])
    origin, pairs = runs[0]["data"]["origin"], 0
    line = {"ours": mean, "±": half, "seeds": len(runs)}
    if other is not None:
        line["paper difference"] = claim.value - other.value
        line["difference"], line["± difference"], pairs = difference(runs, against)
        line["pairs"] = pairs
    off, same_data = abs(mean - claim.value), runs[0]["config"]["dataset"] == claim.dataset
    if origin == "real" and same_data:
        tell = off <= EPSILON or off > half or np.isnan(half)
        line["verdict"] = ("reproduced" if off <= EPSILON else "not reproduced") if tell else "too few seeds to tell"
    elif pairs and same_data:
        line["verdict"] = direction(line["paper difference"], line["difference"], line["± difference"])
    else:
        line["verdict"] = f"{'sample only' if origin == 'sample' else 'other data'}: needs {NEEDED[claim.dataset]}"
    return line


def direction(paper: float, mean: float, half: float) -> str:
    """Verdict of a difference on the sample: of an effect that is not measurable, nothing is claimed."""
    seen = effect(mean, half)
    if seen in ("better", "worse"):
        return "same direction" if (mean > 0) == (paper > 0) else "opposite"
    return seen


def beside_paper(found: dict, where: str) -> pd.DataFrame:
    """The rows of one of the paper's tables with the paper's numbers and those of a study's runs, and the verdicts.

    Other methods, and rows without runs, have the paper's number only.
    """
    table, lines = claims(), {}
    for name, claim in table[(table["where"] == where) & (table.metric == "top1")].iterrows():
        row = claim.setting if claim.system == "SAFE" else claim.system
        other = table.loc[claim.against] if claim.against else None
        line = {"paper": claim.value, "paper difference": np.nan if other is None else claim.value - other.value,
                "verdict": "not run: another method"}  # fmt: skip
        if claim.system == "SAFE":
            line["verdict"] = f"not run: needs {NEEDED[claim.dataset]}"
            if found.get(row):
                line |= judge(claim, other, found[row], [] if other is None else found.get(other.setting, []))
        lines["SAFE" if where in ("Table 2", "Table 3") and claim.system == "SAFE" else row] = line
    columns = ["paper", "paper difference", "ours", "±", "seeds", "pairs", "difference", "± difference", "verdict"]
    return pd.DataFrame.from_dict(lines, orient="index").reindex(columns=columns)


# ------------------------------------------------------------------------------------------------ notebooks


def stale(run: dict) -> bool:
    """Whether a record was made by another state of the code that decides a run or, on the sample, with other sentences."""
    if run["code"] != code_fingerprint(run["config"]["fusion"]):
        return True
    if run["data"]["origin"] == "real" or run["config"]["data_root"]:
        return False  # the class names lie with the data
    config = safe_core.Config(**run["config"])
    return run["sentences"] != sentences_fingerprint(class_names(config.dataset), config)


def origin_note(name: str, found: dict, *, dataset: str, data_root=None) -> None:
    """Displays what a study's numbers are about, which rows were not run, and what would run them.

    The records that are shown go into the output's metadata, where `execute` finds them.
    """
    runs = sum(found.values(), [])
    data = "**Real data**" if data_root else "**Sample data**: generated by this project, no real recording"
    lines = [f"{data} ({dataset}). {len(runs)} runs of {sum(map(bool, found.values()))} rows."]
    if missing := [row for row, these in found.items() if not these]:
        how = f"`make {name}` trains them" if dataset in swept(name) or data_root else "`-p rerun True` trains them"
        lines.append(f"Not run: {'; '.join(missing)}. {how}.")
    if old := sorted({row for row, these in found.items() if any(map(stale, these))}):
        lines.append(f"Made by an older state of the code: {'; '.join(old)}.")
    if len({len(these) for these in found.values() if these}) > 1:
        lines.append("Rows differ in their number of seeds. A mean is over all seeds of its row, a difference over those that "
                     "both rows have (*pairs*): so a difference need not be that of the two means.")
    display(Markdown("\n\n".join(lines)), metadata={"records": [run["path"] for run in runs]})


def checkpoint(run: dict) -> Path | None:
    """The weights of a record's chosen epoch: beside it, or where the run was made; None if neither is there."""
    places = (HERE / run["path"], HERE / run["path"].replace("results", "runs", 1))
    return next((p / "best.safetensors" for p in places if (p / "best.safetensors").exists()), None)


def swept(name: str) -> list[str]:
    """The data sets on whose samples the sweep runs a study."""
    return [dataset for dataset, names in SWEPT.items() if name in names]


FORMATS = {"paper": "{:.2f}", "paper difference": "{:+.2f}", "ours": "{:.1f}", "top-1 [%]": "{:.1f}", "±": "{:.1f}",
           "sd": "{:.1f}", "seeds": "{:.0f}", "pairs": "{:.0f}", "difference": "{:+.1f}", "± difference": "{:.1f}"}  # fmt: skip


def show(table: pd.DataFrame, *, paper=("paper", "paper difference"), ours=("ours", "top-1 [%]"), origin="",
         **formats) -> HTML:  # fmt: skip
    """A table as HTML: the paper's columns in italics on amber, ours in bold, rows that were not run in grey.

    origin: of our numbers, for the head of the column "ours". formats: {column: format} beside FORMATS.
    """
    formats = {k: v for k, v in (FORMATS | formats).items() if k in table.select_dtypes("number")}
    mark = hashlib.sha256(table.to_csv().encode()).hexdigest()[:8]  # the same table gives the same HTML
    styler = table.style.format(formats, na_rep="–").set_uuid(mark)
    styler.cell_ids = False
    if origin:
        styler.format_index(lambda name: f"here ({origin})" if name == "ours" else name, axis=1)
    styler.set_table_attributes('class="dataframe"')
    styler.set_table_styles([{"selector": "td, th", "props": "padding: 0.25em 0.6em"}])
    styler.set_properties(subset=[c for c in paper if c in table],
                          **{"background-color": "rgba(222,143,5,0.16)", "font-style": "italic"})  # fmt: skip
    styler.set_properties(subset=[c for c in ours if c in table], **{"font-weight": "bold"})
    if "verdict" in table:
        grey = table.index[table.verdict.str.startswith("not run")]
        styler.set_properties(subset=(grey, [c for c in table if c not in paper]), color="rgb(128,128,128)")
    return HTML(styler.to_html())


TRAINING = ("train", "pretrain_clip", "released_checkpoint")  # these take minutes, and show no study


def notebooks(names: list[str] = ()) -> list[Path]:
    """The notebooks of these names or first words; without names all that show studies. ValueError for an unknown one."""
    paths = sorted((HERE / "notebooks").glob("*.ipynb"))
    for name in names:
        if not any(path.stem == name or path.stem.startswith(f"{name}_") for path in paths):
            raise ValueError(f"no notebook {name}: choose from {', '.join(path.stem for path in paths)}")
    return [path for path in paths if any(path.stem == name or path.stem.startswith(f"{name}_") for name in names)
            or not names and path.stem not in TRAINING]  # fmt: skip


def execute(path: Path) -> None:
    """Runs a notebook where it is and keeps its outputs, without what differs from run to run.

    Its metadata say how long that took, when, on which machine, from which commit and which records it shows.
    """
    import nbformat  # here, since they take seconds to import, and every run imports this module
    import papermill

    start, state = time.perf_counter(), commit()
    executed = path.with_suffix(".executed.ipynb")
    try:
        papermill.execute_notebook(path, executed, cwd=path.parent, progress_bar=False, kernel_name="python3")
        notebook = nbformat.read(executed, 4)
    finally:
        executed.unlink(missing_ok=True)
    shown = set()
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            shown.update(output.get("metadata", {}).pop("records", []))
    facts = machine()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "safe": {"seconds": round(time.perf_counter() - start), "date": time.strftime("%Y-%m-%d", time.gmtime()),
                 "commit": state, "cpu": facts["hardware"]["cpu"], "cores": facts["hardware"]["cores"],
                 "gpu": facts["hardware"]["gpu"], "versions": facts["versions"], "records": sorted(shown)},
    }  # fmt: skip
    safe_core.write_atomically(path, lambda p: nbformat.write(notebook, p))


# ------------------------------------------------------------------------------------------------ figures


def style() -> None:
    """One look for all figures: colour-blind palette, light grid, transparent ground (readable in light and dark)."""
    sns.set_theme(style="whitegrid", palette="colorblind", context="notebook", rc={
        "figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium", "axes.spines.top": False,
        "axes.spines.right": False, "grid.alpha": 0.5})  # fmt: skip


def chw(image) -> np.ndarray:
    """[3, H, W] -> [H, W, 3], as matplotlib draws it."""
    return np.moveaxis(np.asarray(image), 0, -1)


def show_clip(clip: dict, title: str = "") -> plt.Figure:
    """A clip as the model gets it: a row of RGB frames above a row of event images."""
    rows = [k for k in ("rgb", "event") if k in clip]
    frames = len(clip[rows[0]])
    fig, axes = plt.subplots(len(rows), frames, figsize=(1.9 * frames, 2.0 * len(rows)), squeeze=False)
    for row, key in zip(axes, rows, strict=True):
        for ax, image in zip(row, clip[key], strict=True):
            ax.imshow(chw(image))
            ax.set_xticks([])
            ax.set_yticks([])
        row[0].set_ylabel({"rgb": "RGB frames", "event": "event images"}[key])
    fig.suptitle(title, fontsize="medium")
    fig.tight_layout()
    return fig


def show_event_cloud(events: np.ndarray, size: tuple[int, int], *, most: int = 12_000, title: str = "") -> plt.Figure:
    """Events as points in (time, x, y); a random share of them where there are more than `most`."""
    if len(events) > most:
        events = events[np.sort(np.random.default_rng(0).choice(len(events), most, replace=False))]
    fig = plt.figure(figsize=(7, 4))
    ax = fig.add_subplot(projection="3d")
    ms = (events["t"] - events["t"][0]) / 1000
    for polarity, colour, name in ((1, ON, "ON (brighter)"), (0, OFF, "OFF (darker)")):
        e = events["p"] == polarity
        ax.scatter(ms[e], events["x"][e], size[1] - events["y"][e], s=0.6, c=colour, alpha=0.5, label=name)
    ax.set(xlabel="time [ms]", ylabel="x [px]", title=title)
    ax.set_zlabel("y [px]")
    ax.set_box_aspect((2.2, size[0] / size[1], 1), zoom=1.15)
    ax.view_init(18, -62)
    ax.legend(markerscale=10, loc="upper left", fontsize="small")
    return fig


def learning_curves(history: list[dict], best_epoch: int) -> plt.Figure:
    """Loss and accuracy per epoch; the chosen epoch is marked."""
    table = pd.DataFrame(history)
    split, name = ("test", "test (selecting)") if "test_loss" in table else ("val", "validation")
    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    left.plot(table.epoch, table.train_loss, marker="o", color=EVENT, label="training")
    if f"{split}_loss" in table:
        left.plot(table.epoch, table[f"{split}_loss"], marker="s", color=RGB, label=name)
        right.plot(table.epoch, table[f"{split}_top5"], marker="s", color=RGB, ls="--", label=f"{name} top-5")
        right.plot(table.epoch, table[f"{split}_top1"], marker="s", color=RGB, label=f"{name} top-1")
        right.axvline(best_epoch, color="gray", ls=":", label="chosen epoch")
        right.set(xlabel="epoch", ylabel="accuracy [%]", ylim=(0, 102), title="accuracy")
        right.legend()
    else:
        right.set_axis_off()
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)
    left.set(xlabel="epoch", ylabel="cross entropy [nats]", ylim=(0, None), title="loss")
    left.legend()
    fig.tight_layout()
    return fig


def per_class(table: pd.DataFrame, class_names: list[str]) -> plt.Figure:
    """Top-1 accuracy of every class, sorted, with its number of test recordings' 95 % Wilson interval."""
    groups = table.groupby("label").correct.agg(["mean", "count"])
    p, n, z = groups["mean"], groups["count"], 1.96
    centre = (p + z * z / 2 / n) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + (z / 2 / n) ** 2) / (1 + z * z / n)
    groups = groups.assign(low=centre - half, high=centre + half).sort_values("mean")
    if len(groups) > 40:  # a page cannot hold 300 bars
        groups = pd.concat([groups.iloc[:20], groups.iloc[-20:]])
    fig, ax = plt.subplots(figsize=(7, 0.24 * len(groups) + 1))
    y = np.arange(len(groups))
    ax.barh(y, 100 * groups["mean"], color=EVENT, alpha=0.8)
    ax.errorbar(100 * groups["mean"], y, fmt="none", ecolor="0.35", lw=1,
                xerr=100 * np.clip([groups["mean"] - groups.low, groups.high - groups["mean"]], 0, None))  # fmt: skip
    ax.set_yticks(y, [class_names[i] for i in groups.index], fontsize="small")
    ax.axvline(100 * table.correct.mean(), color=RGB, ls="--", label="all classes")
    ax.set(xlabel="top-1 accuracy [%], 95 % interval", xlim=(0, 100), ylim=(-0.6, len(groups) - 0.4))
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    fig.tight_layout()
    return fig


def confusion(table: pd.DataFrame, class_names: list[str]) -> plt.Figure:
    """Confusion matrix, rows normalised to percent; with many classes only the 30 most confused ones are shown."""
    shown = list(range(len(class_names)))
    if len(shown) > 40:
        shown = sorted(table[~table.correct].label.value_counts().index[:30])
    matrix = pd.crosstab(table.label, table.class1, normalize="index").reindex(index=shown, columns=shown, fill_value=0)
    names = [class_names[i] for i in shown]
    fig, ax = plt.subplots(figsize=(0.27 * len(shown) + 3, 0.25 * len(shown) + 2.5))
    sns.heatmap(100 * matrix, cmap="cividis", vmin=0, vmax=100, square=True, ax=ax, linewidths=0.3, xticklabels=names,
                yticklabels=names, cbar_kws={"label": "% of the class's recordings", "shrink": 0.7})  # fmt: skip
    ax.tick_params(labelsize="x-small")
    ax.set(xlabel="predicted", ylabel="true")
    fig.tight_layout()
    return fig


def show_predictions(table: pd.DataFrame, splits: safe_data.Splits, *, count: int = 4) -> plt.Figure:
    """The surest right and the surest wrong answers: middle RGB frame, middle event image, top-5 as bars."""
    right = table[table.correct].nlargest(count, "p1")
    wrong = table[~table.correct].nlargest(count, "p1")
    rows = pd.concat([right, wrong])
    kinds = [k for k in ("rgb", "event") if k in splits.test[0]]
    fig, axes = plt.subplots(len(rows), len(kinds) + 1, figsize=(2.4 * len(kinds) + 5, 1.75 * len(rows)), squeeze=False,
                             width_ratios=[1] * len(kinds) + [1.7])  # fmt: skip
    for row, (index, r) in zip(axes, rows.iterrows(), strict=True):
        clip = splits.test[index]
        for ax, key in zip(row, kinds, strict=False):
            ax.imshow(chw(clip[key][len(clip[key]) // 2]))
            ax.set_xticks([])
            ax.set_yticks([])
        row[0].set_title(splits.class_names[int(r.label)], fontsize="small", loc="left")
        classes = [int(r[f"class{k}"]) for k in range(1, 6) if f"class{k}" in r]
        p = [100 * r[f"p{k + 1}"] for k in range(len(classes))]
        row[-1].barh(range(len(p)), p, color=[EVENT if c == r.label else "0.7" for c in classes], alpha=0.6)
        for k, c in enumerate(classes):
            row[-1].text(2, k, splits.class_names[c], va="center", fontsize="x-small", color="black")
        row[-1].set(xlim=(0, 100), yticks=[])
        row[-1].invert_yaxis()
        row[-1].grid(visible=False)
        row[-1].tick_params(labelsize="x-small")
        row[-1].set_title("right" if r.correct else "wrong", fontsize="small", loc="left")
    row[-1].set_xlabel("probability [%]", fontsize="small")
    fig.tight_layout()
    return fig


def sample_picture() -> plt.Figure:
    """The sample world at a glance: one recording per condition, its middle RGB frame above its middle event image.

    For each condition it is the first draw that meets it, so nothing is picked by its looks.
    """
    conditions = {"none": "easy for both", "dark": "too dark for RGB", "fast": "too fast for RGB",
                  "slow": "too slow for events", "isoluminant": "colour, but no luminance edge"}  # fmt: skip
    fig, axes = plt.subplots(4, len(conditions), figsize=(13, 8.2))
    for rows, (dataset, label) in zip((axes[:2], axes[2:]), (("hardvs", 12), ("pokerevent", 21)), strict=True):
        for column, (cause, title) in enumerate(conditions.items()):
            draws = (safe_sample.simulate(dataset, label, np.random.SeedSequence([2311, 18592, i])) for i in range(100))
            shot = next(draw for draw in draws if draw["truth"]["cause"] == cause)
            e, frame_t, middle = shot["events"], shot["frame_t"], len(shot["frames"]) // 2
            window = slice(*np.searchsorted(e["t"], frame_t[middle : middle + 2]))
            rows[0][column].imshow(shot["frames"][middle])
            rows[1][column].imshow(safe_sample.event_image(e["x"][window], e["y"][window], e["p"][window]))
            rows[0][column].set_title(title if dataset == "hardvs" else "", fontsize="medium")
        rows[0][0].set_ylabel(f"{safe_sample.CLASSES[dataset][label]}\nRGB frame")
        rows[1][0].set_ylabel("event image")
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    fig.tight_layout()
    return fig


class Progress:
    """A live line in a notebook for `safe_core.fit(on_step=...)`; `close` leaves none behind."""

    def __init__(self, epochs: int):
        self.epochs, self.begun, self.drawn = epochs, None, 0.0
        self.handle = display(Pretty(""), display_id=True)

    def __call__(self, epoch: int, step: int, steps: int, loss: float) -> None:
        now, done = time.perf_counter(), (epoch * steps + step) / (self.epochs * steps)
        self.begun = self.begun or (now, done)  # a resumed run begins in the middle
        if now - self.drawn < 1 or self.handle is None or done == self.begun[1]:
            return
        self.drawn, bar = now, ("█" * round(40 * done)).ljust(40, "·")
        left = (now - self.begun[0]) * (1 - done) / (done - self.begun[1]) / 60
        self.handle.update(Pretty(f"{bar} epoch {epoch + 1}/{self.epochs}, step {step}/{steps}, loss {loss:.3f}, "
                                  f"{left:.1f} min left"))  # fmt: skip

    def close(self) -> None:
        if self.handle is not None:
            self.handle.update(Pretty(""))


def keep(folder: Path, *, checkpoint: bool = False) -> Path:
    """Copies a run's record and predictions to where committed ones lie; returns that place.

    With `checkpoint` also the chosen epoch's weights in half precision, which some notebooks look into.
    """
    record = json.loads((folder / "record.json").read_text())
    place = record_dir(safe_core.Config(**record["config"]))
    check_origin(record, place)
    if (place / "record.json").exists():
        there = json.loads((place / "record.json").read_text())["data"]["fingerprint"]
        if there != record["data"]["fingerprint"]:
            raise ValueError(f"{place} holds a record of other data: move that away first")
    place.mkdir(parents=True, exist_ok=True)
    for name in ("predictions.csv", "record.json"):  # the record last: where it is, the run is whole
        content = (folder / name).read_bytes()
        safe_core.write_atomically(place / name, lambda p, content=content: p.write_bytes(content))
    if checkpoint:
        tensors, about = safe_core.load_checkpoint(folder / "best.safetensors")
        half = {key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}
        safe_core.save_checkpoint(place / "best.safetensors", half, about)
    return place


def main() -> None:
    """Run records and what is made of them."""
    parser = argparse.ArgumentParser(prog="python -m safe_book", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, path, text in (
        ("summary", "RUN", "what the run in folder RUN gave and where its files are"),
        ("keep", "RUN", "copy the record of the run in folder RUN to results/"),
        ("draws", "RUN", "test 20 random draws of the test frames, into draws.json beside the record in folder RUN"),
        ("picture", "FILE", "the README's picture of the sample world"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("path", metavar=path, type=Path)
        if name == "keep":
            command.add_argument("--checkpoint", action="store_true", help="its weights, too, in half precision")
    run = commands.add_parser("execute", help="run notebooks where they are, keeping their outputs; default: all studies")
    run.add_argument("names", nargs="*", metavar="NAME", help="a notebook, or the first word of its name")
    shown = commands.add_parser("study", help="a study's rows on the sample from their committed records")
    shown.add_argument("name", choices=list(studies("hardvs", "sample") | studies("pokerevent", "sample")))
    shown.add_argument("--dataset", choices=["hardvs", "pokerevent"], default="hardvs")
    shown = commands.add_parser("ledger", help="every claim of the paper beside our runs")
    shown.add_argument("--format", choices=["text", "csv"], default="text")
    options = parser.parse_args()
    if options.command == "execute":
        paths = notebooks(options.names)
        for dataset in SWEPT:  # samples are made once, before notebooks side by side ask for them
            safe_data.open_dataset(**safe_data.options(safe_core.configure(dataset=dataset)))
        os.environ["OMP_NUM_THREADS"] = "1"  # of each notebook: threads that wait for another's cores make all slow
        with ThreadPoolExecutor(min(4, os.cpu_count())) as pool:
            for path, _ in zip(paths, pool.map(execute, paths), strict=True):
                print(path.relative_to(HERE), flush=True)
        return
    if options.command == "study":
        rows = studies(options.dataset, "sample").get(options.name, {})
        found = {row: records(fields, dataset=options.dataset, origin="sample") for row, fields in rows.items()}
        print(f"sample data, {options.dataset}; differences are to the first row")
        print(effect_table(found, baseline=next(iter(rows), None)).to_string(na_rep="", float_format="{:.1f}".format))
        return
    if options.command == "ledger":
        table, shown = ledger(), ["where", "paper", "unit", "ours", "±", "seeds", "origin", "verdict"]
        text = table[shown].to_string(na_rep="", float_format="{:.5g}".format)
        print(table.to_csv(float_format="%.5g") if options.format == "csv" else text)
        return
    if options.command == "picture":
        style()
        sample_picture().savefig(options.path, dpi=80)
        return
    run = options.path
    if not (run / "record.json").exists():
        raise SystemExit(f"{run / 'record.json'}: no run record; `make train` and notebooks/train.ipynb write one")
    if options.command == "draws":
        text = json.dumps(draws(run, 20), indent=1)
        safe_core.write_atomically(run / "draws.json", lambda p: p.write_text(text))
        return
    if options.command == "keep":
        print(keep(run, checkpoint=options.checkpoint))
        return
    print(summary(json.loads((run / "record.json").read_text())))
    for name, file in (("executed notebook", "train.ipynb"), ("run record", "record.json"),
                       ("predictions", "predictions.csv"), ("checkpoint", "best.safetensors")):  # fmt: skip
        if (run / file).exists():
            print(f"{name}: {run / file}")


if __name__ == "__main__":
    main()
