"""What does a model cost: parameters, operations, time, memory?

Parameters and floating-point operations are counted, at the paper's size and at the sample's, with
random weights and no recordings. Times and memory are measured on the machine at hand, and kept in
results/cost.json.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import safe_core
from safe_companion import ROOT, datasets, prompts, records
from safe_core import SAFE, Config

PRESETS = ("paper", "sample")
ROWS: dict[str, dict] = {
    "full model": {},
    "RGB only": {"modality": "rgb"},
    "events only": {"modality": "event"},
    "without text": {"use_text": False},
    "without multi-modal Transformer": {"use_multimodal_transformer": False},
    "without self-attention": {"use_self_attention": False},
    "without cross-attention": {"use_cross_attention": False},
    "frames averaged": {"frame_fusion": "mean"},
    "plain ViT": {"vision_tower": "vit"},
    "ResNet": {"vision_tower": "resnet"},
    "1 frame": {"frames": 1},
    "3 frames": {"frames": 3},
    "7 frames": {"frames": 7},
}
MEASURED = ("full model", "RGB only", "without text", "frames averaged", "1 frame")
KEPT, ANEW = "texts kept", "texts anew"  # two ways to answer
FILE = ROOT / "results" / "cost.json"
SECONDS = 20.0  # of each measurement, about


def class_names(preset: str, dataset: str) -> list[str]:
    """Those of the data set at the paper's size, and of its generated sample."""
    return datasets.class_names(dataset, str(ROOT) if preset == "paper" else None)


def configure(preset: str, dataset: str, **fields: Any) -> Config:
    """Random weights, and a text tower even where the preset runs it only once."""
    given = {"dataset": dataset, "pretrained": False, "freeze_text": False}
    return safe_core.configure(preset, **given, **fields)


def build(preset: str, dataset: str, **fields: Any) -> SAFE:
    """The model, ready to answer and not to learn."""
    config = configure(preset, dataset, **fields)
    sentences = prompts.prompt_sentences(class_names(preset, dataset), config)
    return SAFE(config, sentences).requires_grad_(False).eval()


# ---------------------------------------------------------------- counted


def flops(call: Callable) -> int:
    """Floating-point operations of a call; a multiplication and an addition are two.

    Fused attention kernels, which the counter may miss, are switched off.
    """
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


def parameters(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


class Counts:
    """What towers and fusion cost for one recording, at both sizes, for a data set's classes.

    towers: {(preset, kind): (parameters, FLOPs of an image, tokens, width)}; texts: {preset:
    (parameters, FLOPs of all sentences, width)}. Vision towers and fusions are counted on PyTorch's
    `meta` device, which knows shapes but computes nothing.
    """

    def __init__(self, dataset: str):
        self.dataset = dataset
        self.classes = {preset: class_names(preset, dataset) for preset in PRESETS}
        self.texts: dict[str, tuple[int, int, int]] = {}
        self.towers: dict[tuple[str, str], tuple[int, int, int, int]] = {}
        for preset in PRESETS:
            model = build(preset, dataset)
            self.texts[preset] = self._text(model)
            self.towers[preset, "clip"] = self._tower(model.vision, model.config)
            for kind in ("vit", "resnet"):
                config = configure(preset, dataset, vision_tower=kind)
                self.towers[preset, kind] = self._tower(
                    safe_core.TOWERS[kind](config, None), config
                )

    @staticmethod
    def _text(model: Any) -> tuple[int, int, int]:
        every = list(range(sum(model.counts)))
        operations = flops(lambda: model.text(every))
        return parameters(model.text), operations, model.word_embed.in_features

    @staticmethod
    def _tower(tower: Any, config: Config) -> tuple[int, int, int, int]:
        image = torch.zeros(1, 3, config.image_size, config.image_size, device="meta")
        tower = tower.to("meta").requires_grad_(False).eval()
        tokens, width = tower(image).shape[1:]
        return parameters(tower), flops(lambda: tower(image)), tokens, width

    def fusion(self, preset: str, **fields: Any) -> tuple[int, int]:
        """(parameters, FLOPs) of everything after the towers."""
        config = configure(preset, self.dataset, **fields)
        _, _, tokens, width = self.towers[preset, config.vision_tower]
        text_width = self.texts[preset][2]
        classes = len(self.classes[preset])
        text = None
        with torch.device("meta"):
            embed = nn.Identity() if width == config.width else nn.Linear(width, config.width)
            embed_text = nn.Linear(text_width, config.width) if config.use_text else nn.Identity()
            fusion = safe_core.Fusion(config, classes, tokens)
            images = torch.zeros(len(config.branches), 1, config.frames, tokens, width)
            if config.use_text:
                text = torch.zeros(classes, text_width)
        everything = nn.ModuleList([embed, embed_text, fusion]).requires_grad_(False).eval()

        def call() -> None:
            visual = dict(zip(config.branches, embed(images), strict=True))
            fusion(visual, None if text is None else embed_text(text))

        return parameters(everything), flops(call)

    def row(self, preset: str, **fields: Any) -> dict[str, int]:
        """FLOPs for one recording and parameters, of each part."""
        config = configure(preset, self.dataset, **fields)
        of_vision, operations, _, _ = self.towers[preset, config.vision_tower]
        of_fusion, in_fusion = self.fusion(preset, **fields)
        of_text, in_text = self.texts[preset][:2] if config.use_text else (0, 0)
        return {
            "vision tower": config.frames * len(config.branches) * operations,
            "fusion": in_fusion,
            "text tower": in_text,
            "parameters": of_vision + of_fusion + of_text,
            "vision parameters": of_vision,
            "fusion parameters": of_fusion,
            "text parameters": of_text,
        }

    def table(self) -> pd.DataFrame:
        """A line for each (preset, row of ROWS), with the columns of `row`."""
        lines = {(p, name): self.row(p, **fields) for p in PRESETS for name, fields in ROWS.items()}
        return pd.DataFrame.from_dict(lines, orient="index")


# ---------------------------------------------------------------- measured


def _resident(field: str) -> float:
    """MiB of this process: VmRSS is the present, VmHWM the peak; nan where nothing says it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith(field)]
    return found[0] if found else float("nan")


def _working_memory(call: Callable, on_gpu: bool) -> float:
    """MiB that a call takes beyond what is there before it."""
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    resident = _resident("VmRSS")
    call()
    return _resident("VmHWM") - resident


def _times(call: Callable, on_gpu: bool, seconds: float) -> dict[str, float]:
    """Times of a call in ms and its memory in MiB; 5 to 50 repeats."""
    memory = _working_memory(call, on_gpu)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 5 or len(times) < 50 and time.perf_counter() - start < seconds:
        began = time.perf_counter()
        call()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - began))
    return {
        "median_ms": float(np.median(times)),
        "fastest_ms": min(times),
        "slowest_ms": max(times),
        "repeats": len(times),
        "working_memory_mib": memory,
    }


def measure_row(preset: str, dataset: str, row: str, *, seconds: float = SECONDS) -> dict:
    """One recording at a time, both ways: "texts anew" and "texts kept"; "weights_mib"."""
    device, _, _ = safe_core.here()
    on_gpu = device.type == "cuda"
    model: Any = build(preset, dataset, **ROWS[row]).to(device)
    config = model.config
    size = (1, config.frames, 3, config.image_size, config.image_size)
    clip = {branch: torch.randint(256, size, dtype=torch.uint8) for branch in config.branches}
    measured: dict[str, Any] = {}

    @torch.inference_mode()
    def call() -> None:
        with safe_core.autocast(config, device):
            model(**clip)

    call()
    measured["texts anew"] = _times(call, on_gpu, seconds)
    if config.use_text:
        with torch.inference_mode(), safe_core.autocast(config, device):
            kept = model.text_tokens()
        model.text_tokens = lambda: kept
        call()
        measured["texts kept"] = _times(call, on_gpu, seconds)
    size_of_weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return measured | {"weights_mib": size_of_weights / 2**20}


def by_way(measured: Mapping[str, Any]) -> dict[str, dict]:
    """{KEPT or ANEW: times} of what `measure_row` found: without text nothing is encoded anew."""
    if KEPT not in measured:
        return {KEPT: measured[ANEW]}
    return {KEPT: measured[KEPT], ANEW: measured[ANEW]}


def measure(dataset: str) -> None:
    """Measures MEASURED at both sizes on this machine, and keeps that in FILE."""
    load = [os.getloadavg()[0]]
    results = {
        preset: {row: measure_row(preset, dataset, row) for row in MEASURED} for preset in PRESETS
    }
    about = records.machine()
    entry = {
        "dataset": dataset,
        "device": safe_core.here()[0].type,
        "hardware": about["hardware"],
        "versions": about["versions"],
        "threads": torch.get_num_threads(),
        "load": load + [os.getloadavg()[0]],
        "commit": records.commit(),
        "date": records.today(),
        "results": results,
    }
    place = (dataset, entry["hardware"])
    others = [old for old in _read() if (old["dataset"], old["hardware"]) != place]
    records.write_json(FILE, others + [entry])


def _read() -> list[dict]:
    return json.loads(FILE.read_text()) if FILE.exists() else []


def entries(dataset: str) -> tuple[list[dict], list[dict]]:
    """What was measured on quiet machines, and on those with other work, whose times are too long.

    A CPU is quiet if its load was never above its cores by more than a half.
    """
    found = [entry for entry in _read() if entry["dataset"] == dataset]
    busy = [entry for entry in found if _is_disturbed(entry)]
    return [entry for entry in found if entry not in busy], busy


def _is_disturbed(entry: dict) -> bool:
    return max(entry["load"]) > entry["hardware"]["cores"] + 0.5 and entry["device"] != "cuda"


def measured_on(entry: dict) -> str:
    """In words: when, where and with what an entry was measured."""
    hardware = entry["hardware"]
    return (
        f"Measured on {entry['date']}: {hardware['gpu'] or hardware['cpu']}, {hardware['cores']} "
        f"cores, {entry['threads']} threads, torch {entry['versions']['torch']}, "
        f"{entry['device']}, commit {(entry['commit'] or 'unknown')[:7]}."
    )


def finding(counts: pd.DataFrame, entries: Sequence[dict]) -> str:
    """Where the paper's model spends parameters, operations and time.

    counts: `Counts.table`; entries: of quiet machines, as `entries` gives them.
    """
    paper = counts.loc["paper"]
    full, one = paper.loc["full model"], paper.loc["RGB only"]
    once, of_one = (row["vision tower"] + row.fusion for row in (full, one))
    share = 100 * full["vision tower"] / once
    weights = 100 * full["fusion parameters"] / full.parameters
    sentence = (
        f"**At the paper's size the vision tower does {share:.0f} % of the work for a recording "
        f"and the fusion {100 - share:.0f} %** ({once / 1e9:,.0f} GFLOP, the text tower's output "
        f"kept from before); the fusion has {weights:.0f} % of "
        f"{full.parameters / 1e6:,.0f} million parameters. Both cameras take "
        f"{once / of_one:.1f} times the operations of RGB alone"
    )
    times = []
    for entry in entries:
        both, rgb = (
            entry["results"]["paper"][row]["texts kept"]["median_ms"]
            for row in ("full model", "RGB only")
        )
        on = entry["hardware"]["gpu"] or f"{entry['threads']} threads of {entry['hardware']['cpu']}"
        times.append(f"{both:,.0f} ms beside {rgb:,.0f} ({both / rgb:.1f} times) on {on}")
    if times:
        return f"{sentence}; measured: {'; '.join(times)}."
    return f"{sentence}. No time of a quiet machine was measured yet."
