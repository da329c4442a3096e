"""How much memory does a training step take? `python benchmarks/memory.py`, two minutes.

The paper's model (B = 16, F = 5, L = 300), all towers trained. Nothing is computed: tensors have
shapes only, so the figures hold for any machine. Two measurements, in GiB:

saved   what autograd keeps between forward and backward pass of one part of the batch: tensors
        through torch.autograd.graph.saved_tensors_hooks, each storage once, without parameters
peak    the most bytes that live at once while gradients are computed, over all parts of the batch:
        weights, their copies in half precision, gradients, Adam's two states, clips, activations,
        intermediate results and what a checkpointed block computes again in the backward pass

Not counted: what CUDA and its libraries take themselves (about 1 GiB), what the allocator loses to
gaps, work space inside one operator. Attention keeps no matrix of all pairs, as PyTorch's fused
kernels do not on a GPU.
"""

import weakref
from typing import Any

import common
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import safe_core

GIB = 2**30
BATCH = 16
CARD, RESERVE = 24, 2  # GiB: the card's, and what stays free for CUDA and gaps
CASES = [(False, 1), (False, 2), (False, 4), (True, 1), (True, 2)]  # checkpoint_vision, accumulate


class Living(TorchDispatchMode):
    """`.peak`: the most bytes of storages at once that were made inside, or given to `add`."""

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.now = self.peak = 0

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (key := storage._cdata) not in self.known:
            self.known.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.remove, key, storage.nbytes())

    def remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return result


def step(model: safe_core.SAFE, precision: str, accumulate: int) -> tuple[float, float]:
    """(saved, peak) in GiB of a step whose gradients are summed over the parts of the batch."""
    parameters = list(model.parameters())
    own = {p.untyped_storage()._cdata for p in parameters}
    kept: dict[int, Any] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    model.zero_grad()
    states = [torch.zeros_like(p) for p in parameters for _ in range(2)]  # Adam's
    saved = 0.0
    with common.as_on_gpu(), Living() as living:
        for tensor in [*parameters, *model.buffers(), *states]:
            living.add(tensor)
        for _ in range(accumulate):
            rgb, event = (common.clips(BATCH // accumulate, model.config) for _ in range(2))
            keeping = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
            with common.autocast(precision), keeping:
                words = model.word_embed(model.encode_text(list(range(common.HARDVS))))
                logits = model(rgb, event, words)
            del words
            saved = max(saved, sum(kept.values()))
            kept.clear()
            F.cross_entropy(logits.float(), torch.zeros(len(rgb), dtype=torch.long)).backward()
    return saved / GIB, living.peak / GIB


def main() -> None:
    print(f"{common.facts()}\n")
    print("| precision | checkpoint_vision | accumulate | saved, GiB | peak, GiB | in 24 GiB |")
    print("|---|---|---:|---:|---:|---|")
    models = {}
    for checkpoint in (False, True):
        models[checkpoint] = common.paper_model(checkpoint_vision=checkpoint)
    reached = {}
    for precision in ("fp32", "bf16", "fp16"):
        for checkpoint, accumulate in CASES:
            model = models[checkpoint]
            with common.without_data(model):
                saved, peak = step(model, precision, accumulate)
            fits = peak <= CARD - RESERVE
            if fits and precision not in reached:
                reached[precision] = (checkpoint, accumulate)
            yes = "yes" if fits else "no"
            row = f"{precision} | {checkpoint} | {accumulate} | {saved:.1f} | {peak:.1f} | {yes}"
            print(f"| {row} |", flush=True)
    statics = 16 * sum(p.numel() for p in models[False].parameters()) / GIB
    print(f"\nWeights, gradients and Adam take {statics:.1f} GiB of each peak.")
    for precision, (checkpoint, accumulate) in reached.items():
        fields = f"accumulate={accumulate}, checkpoint_vision={checkpoint}"
        card = f"{CARD} GiB with {RESERVE} kept free"
        print(f"The least that fits B = {BATCH} into {card}, {precision}: {fields}.")


if __name__ == "__main__":
    main()
