"""How many kernels does a training step launch? `python benchmarks/kernels.py`, 20 s.

The paper's model with HARDVS's 300 sentences, all towers trained, float32 and bfloat16 autocast.
Nothing is computed: tensors have shapes only. Counted are the calls of PyTorch's operators (aten)
that work on tensors' contents; not counted are views, new memory that is not filled, and questions
for shapes, devices or single numbers. A GPU launches at least one kernel for each that is counted:
some (the backward pass of a layer norm, AdamW over all parameters) take a few. The text tower cuts
its sentences into groups on a CPU, and takes them at once on a GPU.
"""

from collections.abc import Callable
from typing import Any

import common
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import safe_core

NO_KERNEL = {"detach", "_unsafe_view", "lift_fresh", "device", "_local_scalar_dense"}
NO_KERNEL |= {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
TARGET = 1_000  # text, forward and backward


class Count(TorchDispatchMode):
    """`.launched`: how many calls inside worked on a tensor's contents."""

    def __init__(self) -> None:
        super().__init__()
        self.launched = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.split("::")[1]
        is_aten = func.namespace == "aten"
        self.launched += is_aten and not (func.is_view or name in NO_KERNEL)
        return func(*args, **(kwargs or {}))


def forward_and_backward(work: Callable[[], Tensor]) -> tuple[int, int]:
    with Count() as forward:
        result = work()
    gradient = torch.ones_like(result)
    with Count() as backward:
        result.backward(gradient)
    return forward.launched, backward.launched


def count(model: safe_core.SAFE, precision: str, *, at_once: bool) -> dict[str, tuple[int, int]]:
    """(forward, backward) of each part of a step; the model is without data."""
    config = model.config
    images = common.clips(2, config)
    model.zero_grad()  # else gradients would be added
    found = {}
    with common.as_on_gpu(text_at_once=at_once), common.autocast(precision):
        every = list(range(common.HARDVS))
        found["text"] = forward_and_backward(lambda: model.word_embed(model.encode_text(every)))
        stacked = torch.stack([images, images]).flatten(0, 2)
        found["vision"] = forward_and_backward(lambda: model.visual_embed(model.vision(stacked)))
        tokens = torch.zeros(2, config.frames, *model.fusion.position.shape, requires_grad=True)
        words = torch.zeros(common.HARDVS, config.width, requires_grad=True)
        visual = {branch: tokens for branch in config.branches}
        found["fusion"] = forward_and_backward(lambda: model.fusion(dict(visual), words))
    return found


def step_of(model: safe_core.SAFE) -> int:
    """Of clipping and AdamW, both over all parameters at once, as on a GPU."""
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    optimizer.step()  # the first makes its state
    with Count() as counted:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
    return counted.launched


def main() -> None:
    model = common.paper_model()
    print(f"{common.facts()}\n")
    print("| part | text in groups | precision | forward | backward | together |")
    print("|---|---|---|---:|---:|---:|")
    text = 0
    with common.without_data(model):
        for precision in ("fp32", "bf16"):
            for at_once in (False, True):
                for part, (a, b) in count(model, precision, at_once=at_once).items():
                    groups = "" if part != "text" else "no (GPU)" if at_once else "yes (CPU)"
                    if part == "text" or at_once:
                        print(f"| {part} | {groups} | {precision} | {a:,} | {b:,} | {a + b:,} |")
                    if part == "text" and at_once:
                        text = max(text, a + b)
        print(f"| clipping and AdamW, fused | | fp32 | | | {step_of(model):,} |")
    verdict = "met" if text <= TARGET else "missed"
    print(f"\nTarget of text on a GPU: at most {TARGET:,}; {verdict} with {text:,}.")


if __name__ == "__main__":
    main()
