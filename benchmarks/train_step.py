"""Seconds of one training step at paper size: `python benchmarks/train_step.py`.

ViT-B/16, B = 2, F = 5, L = 300, frames averaged, all towers trained. Side by side in one run: this
project in float32 and under bfloat16 autocast, and the way of the released code (every image
through the tower alone, all texts at 77 positions) with this project's fusion. The best of two
steps counts.
"""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import safe_core
from safe_companion import datasets, prompts, records


def one_at_a_time(model: Any) -> None:
    """Makes the model work as the released code does; the results are the same."""
    text = model.text
    together = model.vision.forward
    model.vision.forward = lambda images: torch.cat([together(image[None]) for image in images])
    text.tokens = torch.nn.functional.pad(text.tokens, (0, 77 - text.tokens.shape[1]))

    def at_all_positions(which: Tensor) -> Tensor:
        x = text.token_embedding(text.tokens[which]) + text.positional_embedding
        x = text.ln_final(text.transformer(x, attn_mask=text.mask))
        return x[torch.arange(len(x)), text.end[which]] @ text.projection

    text.forward = at_all_positions


def seconds(precision: str, *, slow: bool = False) -> float:
    """Of the faster of two steps."""
    fields = {"pretrained": False, "frame_fusion": "mean", "precision": precision}
    config = safe_core.configure("paper", **fields)
    names = datasets.class_names("hardvs", "")  # the published list
    torch.manual_seed(0)
    model = safe_core.SAFE(config, prompts.prompt_sentences(names, config)).train()
    if slow:
        one_at_a_time(model)
    optimizer = safe_core.make_optimizer(model, config)
    rgb, event = torch.randint(0, 255, (2, 2, 5, 3, 224, 224), dtype=torch.uint8)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        with safe_core.autocast(config, torch.device("cpu")):
            logits = model(rgb, event)
        torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1])).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    cpu = records.machine()["hardware"]["cpu"]
    threads = torch.get_num_threads()
    print(f"{cpu}, {threads} threads, torch {torch.__version__}, {time.strftime('%F')}\n")
    base = seconds("fp32", slow=True)
    print("| way | seconds | ratio |\n|---|---:|---:|")
    print(f"| one image at a time, 77 text positions, float32 | {base:.1f} | 1.00 |", flush=True)
    for precision in ("fp32", "bf16"):
        t = seconds(precision)
        print(f"| this project, {precision} | {t:.1f} | {t / base:.2f} |", flush=True)


if __name__ == "__main__":
    main()
