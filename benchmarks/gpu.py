"""What does a training step give on this GPU? `python benchmarks/gpu.py`, ten minutes.

The paper's model and HARDVS's 300 sentences, B = 16, F = 5, random clips. For each precision and
option: milliseconds of a step, clips/s, peak memory (torch.cuda.max_memory_allocated), and, with
`--root DATA`, the share of time that a training on these recordings waits for its loader. Without a
GPU it says so and ends with exit status 77, at which report.py keeps the part measured elsewhere.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any

import common
import torch
import torch.nn.functional as F

import safe_core
from safe_companion import datasets

STEPS, BEFORE = 20, 5  # measured, and not measured before them
CASES: dict[str, dict[str, Any]] = {
    "fp32, TF32 off, in two parts": {"precision": "fp32", "accumulate": 2},
    "fp32, TF32 on, in two parts": {"precision": "fp32", "accumulate": 2, "tf32": True},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "bf16, accumulate=2": {"precision": "bf16", "accumulate": 2},
    "bf16, checkpoint_vision": {"precision": "bf16", "checkpoint_vision": True},
    "bf16, compile": {"precision": "bf16", "compile": True},
}


def step_time(model: Any, batches: Any) -> tuple[float, float, float]:
    """(seconds a step, share of them spent waiting for data, seconds before the first result)."""
    config = model.config
    optimizer = safe_core.make_optimizer(model, config)
    device = torch.device("cuda")
    half = safe_core.autocast(config, device).fast_dtype == torch.float16
    scaler = torch.amp.GradScaler("cuda", enabled=half)
    begin = start = time.perf_counter()
    waited = first = 0.0
    for step in range(BEFORE + STEPS):
        if step == BEFORE:
            torch.cuda.synchronize()
            start, waited = time.perf_counter(), 0.0
        for _ in range(config.accumulate):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            with safe_core.autocast(config, device):
                logits = model(batch["rgb"], batch["event"])
            loss = F.cross_entropy(logits.float(), batch["label"]) / config.accumulate
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if step == 0:
            torch.cuda.synchronize()
            first = time.perf_counter() - begin
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return seconds / STEPS, waited / seconds, first


def of_recordings(root: str, config: safe_core.Config, part: int) -> Iterator[dict]:
    """Batches of `part` clips of HARDVS at `root`, epoch after epoch."""
    data = safe_core.configure("paper", data_root=root, on_bad_recording="skip")
    train = datasets.open_dataset(data).train
    if len(train) < part:
        raise SystemExit(f"{root}: found {len(train)} training clips; expected a batch of {part}")
    options: Any = {"batch_size": part, "shuffle": True, "drop_last": True}
    for _ in itertools.count():
        yield from safe_core.load(train, config, **options)


def measure(name: str, root: str | None, fields: dict[str, Any]) -> str:
    """A row of the table."""
    fields = dict(fields)
    torch.backends.cuda.matmul.allow_tf32 = fields.pop("tf32", False)
    model = common.paper_model(**fields).cuda()
    config = model.config
    if config.compile:
        model.compile()
    part = config.batch_size // config.accumulate
    if root is None:
        images = common.clips(part, config).cuda()
        labels = torch.arange(part).cuda()
        batches: Any = itertools.repeat({"rgb": images, "event": images, "label": labels})
    else:
        batches = of_recordings(root, config, part)
    torch.cuda.reset_peak_memory_stats()
    seconds, waiting, first = step_time(model, batches)
    peak = torch.cuda.max_memory_allocated() / 2**30
    rate = config.batch_size / seconds
    share = f"{100 * waiting:.0f} %"
    cells = [name, f"{seconds * 1e3:.0f}", f"{rate:.0f}", f"{peak:.1f}", f"{first:.0f}"]
    return f"| {' | '.join([*cells, share] if root else cells)} |"


def head(root: str | None) -> str:
    """The table's first two lines; without recordings nothing is waited for."""
    columns = ["case", "ms a step", "clips/s", "peak, GiB", "first step, s"]
    columns += ["waiting for data"] if root else []
    return f"| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="HARDVS, for the loader's share")
    root = parser.parse_args().root
    print(f"{common.facts()}\n")
    if not torch.cuda.is_available():
        print("This machine has no GPU: nothing is measured.")
        return common.NOTHING
    print(head(root))
    for name, fields in CASES.items():
        if fields["precision"] == "bf16" and torch.cuda.get_device_capability() < (8, 0):
            continue
        print(measure(name, root, fields), flush=True)
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
