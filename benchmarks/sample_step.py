"""What does a training step of the sample cost on one thread? `python benchmarks/sample_step.py`.

The sample preset (batch 32) of HARDVS, random clips. Each other way runs in turn with today's, step
by step, so that other programs on the machine disturb both; ratios are of the medians of PAIRS
steps' processor time. Compiling is not in a step, it stands apart. "Differs by": of the losses of
three steps from the same seed, the largest relative difference to today's; the golden values of a
whole training are compared to 5e-3, those of three steps to 2e-3. About six minutes; `--quick`
leaves compiling out. Then: where the time goes (torch.profiler), evaluation in larger batches, and
loading, if the sample has been made.
"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import common
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import safe_core
from safe_companion import datasets, prompts, towers  # noqa: F401  (the networks of weights/)

PAIRS = 7
DENSE = ("aten::mm", "aten::addmm", "aten::bmm", "convolution", "scaled_dot_product")


def sample_model(**fields: Any) -> safe_core.SAFE:
    config = safe_core.configure("sample", **fields)
    names = datasets.class_names("hardvs", None)
    torch.manual_seed(0)
    return safe_core.SAFE(config, prompts.prompt_sentences(names, config)).train()


class Way:
    """One way to train the sample: `step()` -> loss."""

    def __init__(self, change: Callable[[safe_core.SAFE], Any] = lambda model: None, **fields: Any):
        self.threads = fields.pop("threads", 1)
        self.optimizer_of: dict[str, bool] = fields.pop("optimizer", {})
        self.change, self.fields = change, fields
        self.start()

    def start(self) -> None:
        self.model = sample_model(**self.fields)
        self.change(self.model)
        self.optimizer = safe_core.make_optimizer(self.model, self.model.config)
        for group in self.optimizer.param_groups:
            group.update(self.optimizer_of)
        self.clips = torch.Generator().manual_seed(1)
        torch.manual_seed(0)

    def step(self) -> float:
        config = self.model.config
        size = (2, config.batch_size, config.frames, 3, config.image_size, config.image_size)
        rgb, event = torch.randint(0, 255, size, dtype=torch.uint8, generator=self.clips)
        labels = torch.arange(config.batch_size) % len(self.model.counts)
        with safe_core.autocast(config, torch.device("cpu")):
            logits = self.model(rgb, event)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def losses(self) -> Tensor:
        self.start()
        return torch.tensor([self.step() for _ in range(3)])


def packed(self: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple:
    """Attention without copies between projection and kernel; masks are added, as in CLIP.

    Its result lies in memory as torch's [N, B, D], so that a dropout behind it draws the same mask.
    """
    width, heads = self.embed_dim, self.num_heads
    if q is k:
        parts = F.linear(q, self.in_proj_weight, self.in_proj_bias)
        q, k, v = parts.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    else:
        weights = self.in_proj_weight.split([width, 2 * width])
        biases = self.in_proj_bias.split([width, 2 * width])
        q = F.linear(q, weights[0], biases[0]).unflatten(-1, (heads, -1)).transpose(1, 2)
        both = F.linear(k, weights[1], biases[1])
        k, v = both.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(q, k, v, options.get("attn_mask"))
    return self.out_proj(mixed.permute(2, 0, 1, 3).flatten(2)).transpose(0, 1), None


def pack_attention(model: safe_core.SAFE) -> None:
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.forward = packed.__get__(module)  # type: ignore[method-assign]


def channels_last(model: safe_core.SAFE) -> None:
    model.vision.to(memory_format=torch.channels_last)


def both(model: safe_core.SAFE) -> None:
    channels_last(model)
    pack_attention(model)


def compile_model(model: safe_core.SAFE) -> None:
    torch._inductor.config.fallback_random = True  # dropout draws as without compiling
    model.compile()


WAYS: dict[str, Callable[[], Way]] = {
    "AdamW foreach": lambda: Way(optimizer={"foreach": True}),
    "AdamW fused": lambda: Way(optimizer={"fused": True}),
    "channels last": lambda: Way(channels_last),
    "packed attention": lambda: Way(pack_attention),
    "packed attention, channels last": lambda: Way(both),
    "bfloat16 autocast": lambda: Way(precision="bf16"),
    "two threads": lambda: Way(threads=2),
    "no dropout (draws of 7 masks)": lambda: Way(dropout=0.0),
    "text tower trained": lambda: Way(freeze_text=False),
    "vision tower frozen": lambda: Way(freeze_vision=True),
}


def seconds(way: Way) -> tuple[float, float]:
    """(processor, wall) time of a step."""
    torch.set_num_threads(way.threads)
    start, wall = time.process_time(), time.perf_counter()
    way.step()
    return time.process_time() - start, time.perf_counter() - wall


def compare(name: str, way: Way, today: Way) -> None:
    """Prints one row."""
    torch.set_num_threads(1)
    expected = today.losses()
    start = time.process_time(), time.perf_counter()
    found = way.losses()
    first = f"{time.process_time() - start[0]:.0f} s" if name.startswith("compiled") else ""
    difference = ((found - expected) / expected).abs().max().item()
    seconds(way)
    taken: Any = [(seconds(today), seconds(way)) for _ in range(PAIRS)]
    torch.set_num_threads(1)
    columns = [statistics.median(pair[i][j] for pair in taken) for j in (0, 1) for i in (0, 1)]
    cpu = f"{columns[0] * 1e3:.0f} | {columns[1] * 1e3:.0f} | {columns[1] / columns[0]:.2f}"
    wall = f"{columns[3] / columns[2]:.2f}"
    print(f"| {name} | {cpu} | {wall} | {difference:.0e} | {first} |", flush=True)


def profile(way: Way) -> None:
    """Prints the share of a step's processor time of each kind of operator."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(3):
            way.step()
    shares: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        kind = "matrix products, convolutions, attention"
        dense = any(name in event.key for name in DENSE)
        shares[kind if dense else event.key] += event.self_cpu_time_total
    total = sum(shares.values())
    print("\n| operator | share of a step |\n|---|---:|")
    for name, time_taken in sorted(shares.items(), key=lambda item: -item[1])[:10]:
        print(f"| {name} | {100 * time_taken / total:.0f} % |")


def evaluation() -> None:
    """Prints the processor time of a clip in evaluation, by batch size."""
    model = sample_model().eval()
    sizes = (32, 128, 8)
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    with torch.inference_mode():
        text = model.text_tokens()
        for _ in range(4):
            for size in sizes:
                clips = torch.randint(0, 255, (2, size, 3, 3, 64, 64), dtype=torch.uint8)
                start = time.process_time()
                model(*clips, text)
                taken[size].append((time.process_time() - start) / size)
    print("\n| evaluation, batch of | ms a clip |\n|---:|---:|")
    for size, times in sorted(taken.items()):
        print(f"| {size} | {statistics.median(times) * 1e3:.1f} |")


def loading() -> None:
    """Prints the processor time of loading a training clip of the sample."""
    train = datasets.open_dataset(safe_core.configure("sample")).train
    times = []
    for index in range(0, len(train), max(1, len(train) // 60)):
        start = time.process_time()
        train[index]
        times.append(time.process_time() - start)
    print(f"\nLoading a training clip: {statistics.median(times) * 1e3:.1f} ms.")


def main() -> None:
    torch.set_num_threads(1)
    print(f"{common.facts()}\n")
    print("| way | today, ms | this, ms | ratio | ratio of wall time | differs by | compiling |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    today = Way()
    ways = dict(WAYS)
    if "--quick" not in sys.argv[1:]:
        ways["compiled (inductor)"] = lambda: Way(compile_model)
    for name, make in ways.items():
        compare(name, make(), today)
    profile(today)
    evaluation()
    loading()


if __name__ == "__main__":
    main()
