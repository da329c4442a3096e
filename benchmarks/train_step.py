"""Seconds of one training step at paper size: `python benchmarks/train_step.py`.

ViT-B/16, B = 2, F = 5, L = 300, frames averaged, all towers trained. Side by side in one run: this
project in float32 and under bfloat16 autocast, and the way of the released code (every image
through the tower alone, all texts at 77 positions) with this project's fusion. The best of two
steps counts, in wall time and in processor time. `--compile`: only float32 with and without
torch.compile, B = 1, the compiling apart.
"""

import sys
import time
from typing import Any

import common
import torch

import safe_core


def one_at_a_time(model: Any) -> None:
    """Makes the model work as the released code does; the results are the same."""
    text = model.text
    together = model.vision.forward
    model.vision.forward = lambda images: torch.cat([together(image[None]) for image in images])
    text.tokens = torch.nn.functional.pad(text.tokens, (0, 77 - text.tokens.shape[1]))

    def at_all_positions(which: list[int]) -> torch.Tensor:
        x = text.token_embedding(text.tokens[which]) + text.positional_embedding
        x = text.ln_final(text.transformer(x, attn_mask=text.mask))
        return x[torch.arange(len(x)), [text.ends[i] for i in which]] @ text.projection

    text.forward = at_all_positions


def seconds(
    precision: str, *, slow: bool = False, compiled: bool = False, batch: int = 2
) -> list[tuple[float, float]]:
    """(wall, processor) seconds of the first step and of the fastest of two more, if compiled."""
    model = common.paper_model(frame_fusion="mean", precision=precision)
    config = model.config
    if slow:
        one_at_a_time(model)
    if compiled:
        model.compile()
    optimizer = safe_core.make_optimizer(model, config)
    rgb, event = torch.randint(0, 255, (2, batch, 5, 3, 224, 224), dtype=torch.uint8)
    times = []
    for _ in range(3 if compiled else 2):
        start, cpu = time.perf_counter(), time.process_time()
        with safe_core.autocast(config, torch.device("cpu")):
            logits = model(rgb, event)
        torch.nn.functional.cross_entropy(logits.float(), torch.arange(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        times.append((time.perf_counter() - start, time.process_time() - cpu))
    return [times[0], min(times[compiled:])]


def main() -> None:
    print(f"{common.facts()}\n")
    print("| way | seconds | processor time | ratio of it |\n|---|---:|---:|---:|")
    base = 0.0
    ways: list[tuple[str, dict[str, Any]]] = [
        ("one image at a time, 77 text positions, fp32", {"precision": "fp32", "slow": True}),
        ("this project, fp32", {"precision": "fp32"}),
        ("this project, bf16", {"precision": "bf16"}),
    ]
    if sys.argv[1:] == ["--compile"]:
        ways = [
            ("fp32, B = 1", {"precision": "fp32", "batch": 1}),
            ("fp32, B = 1, compiled", {"precision": "fp32", "batch": 1, "compiled": True}),
        ]
    for name, options in ways:
        first, (wall, cpu) = seconds(**options)
        base = base or cpu
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {cpu / base:.2f} |", flush=True)
        if options.get("compiled"):
            print(f"| its first step, with compiling | {first[0]:.1f} | {first[1]:.1f} | |")


if __name__ == "__main__":
    main()
