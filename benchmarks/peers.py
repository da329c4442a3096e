"""What do the other methods cost beside SAFE? `python benchmarks/peers.py`.

SAFE and the six networks of `safe_companion.peers` with the 24 classes of HARDVS's sample at the
sample's size, with all 300 at the paper's, from random weights. Operations (FLOP; a multiplication
and an addition are two) are PyTorch's count, of a clip; with the sentences' features at hand.
Milliseconds are processor time on one thread: of a clip in a training step (forward, backward,
AdamW; batch of the preset, at the paper's size one clip and no optimiser), and of a clip in
evaluation. The methods take turns, so that other programs on the machine disturb all; medians.
`paper, ms` is what Table 2 reports for a sample, on a GPU that it does not name. `--quick`: the
sample's size alone, in a minute; all takes about ten.
"""

import statistics
import sys
import time
from typing import Any

import common
import torch

import safe_core
from safe_companion import datasets, paper, planning, prompts
from safe_companion.peers import PEERS

TURNS = {"sample": 5, "paper": 2}
BATCH = {"sample": 32, "paper": 1}


class Method:
    """A model at one size, with the clips that it is timed on."""

    def __init__(self, preset: str, name: str):
        self.preset = preset
        frozen = {"freeze_text": True}  # as in the sample's preset, so that a step has no sentences
        self.config = safe_core.configure(preset, model=name, pretrained=False, **frozen)
        names = datasets.class_names("hardvs", None if preset == "sample" else "")
        torch.manual_seed(0)
        self.model = safe_core.build(self.config, prompts.prompt_sentences(names, self.config))
        self.optimizer = safe_core.make_optimizer(self.model, self.config)
        side, frames = self.config.image_size, self.config.frames
        size = (2, BATCH[preset], frames, 3, side, side)
        self.rgb, self.event = torch.randint(0, 255, size, dtype=torch.uint8)
        self.labels = torch.arange(BATCH[preset]) % len(names)

    def train(self) -> float:
        """Processor seconds of a clip in training."""
        self.model.train()
        start = time.process_time()
        self.model.loss(self.model(self.rgb, self.event), self.labels).backward()
        if self.preset == "sample":
            self.optimizer.step()
        self.optimizer.zero_grad()
        return (time.process_time() - start) / len(self.labels)

    @torch.inference_mode()
    def test(self) -> float:
        """Processor seconds of a clip in evaluation."""
        self.model.eval()
        text = self.model.text_tokens()
        start = time.process_time()
        self.model(self.rgb, self.event, text)
        return (time.process_time() - start) / len(self.labels)

    def flops(self) -> tuple[int, int]:
        """Operations of a clip: (evaluation, training)."""
        self.model.eval()
        text: Any = self.model.text_tokens()
        text = None if text is None else text.detach()
        forward, both = planning.flops(lambda: self.model(self.rgb[:1], self.event[:1], text))
        self.optimizer.zero_grad()
        return forward, both


def papers_milliseconds() -> dict[str, float]:
    """{model: milliseconds of a sample in Table 2}."""
    table = paper.claims()
    found = {"safe": table.value["t2-safe-ms"]}
    for name, claim in table[table["where"] == "Table 2"].iterrows():
        if claim.fields and "model" in claim.fields:
            found[claim.fields["model"]] = table.value[str(name).replace("-top1", "-ms")]
    return found


def short(number: float) -> str:
    """Three significant digits."""
    return f"{float(f'{number:.3g}'):,g}"


def compare(preset: str) -> None:
    """Prints a table; at the paper's size beside what the paper reports."""
    methods = {name: Method(preset, name) for name in ("safe", *PEERS)}
    for method in methods.values():  # what is set up at first use
        method.train(), method.test()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(TURNS[preset]):
        for name, method in methods.items():
            taken[name].append((method.train(), method.test()))
    but = "SAFE without its text tower, which is frozen and runs once"
    print(f"\nAt the {preset}'s size ({but}):\n")
    reported = papers_milliseconds() if preset == "paper" else {}
    head = ["method", "parameters", "GFLOP, test", "GFLOP, training"]
    head += ["ms, test", "ms, training", "x SAFE"]
    head += ["paper, ms"] if reported else []
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    columns = {name: list(zip(*pairs, strict=True)) for name, pairs in taken.items()}
    medians = {name: [statistics.median(times) for times in both] for name, both in columns.items()}
    for name, method in methods.items():
        count = sum(p.numel() for p in method.model.parameters())
        train, test = medians[name]
        numbers = [*(flop / 1e9 for flop in method.flops()), 1e3 * test, 1e3 * train]
        cells = [name, f"{count:,}", *map(short, numbers), f"{train / medians['safe'][0]:.2f}"]
        if reported:
            cells.append(f"{reported[name]:.0f}" if name in reported else "–")
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(common.facts())
    compare("sample")
    if "--quick" not in sys.argv[1:]:
        compare("paper")


if __name__ == "__main__":
    main()
