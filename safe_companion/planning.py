"""How long does which table take? Estimates from counted operations and the speed of a card."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import safe_core
from safe_companion import datasets, paper, prompts, studies
from safe_companion.peers import PEERS
from safe_companion.places import Place
from safe_companion.records import all_runs
from safe_core import FUSIONS, SAFE, Config

# Peak TFLOP/s of dense half-precision matrix products, by the vendor's data sheets.
CARDS = {
    "b200": 2250,
    "h200": 989,
    "h100": 989,
    "a100": 312,
    "l40s": 362,
    "rtx4090": 165,
    "rtx3090": 71,
    "v100": 125,
}
UTILISATION = 0.18  # of the peak: training steps in bfloat16 on MEASURED, `benchmarks/gpu.py`
MEASURED = "h200"
REAL = "/"  # where configurations of real data could lie; no recording is read


class Clip(NamedTuple):
    """Operations (FLOP; a multiplication and an addition are two) of a model for one clip."""

    training: float  # forward and backward, with its share of the sentences, which a step encodes
    testing: float  # forward, with the sentences' features at hand


# ------------------------------------------------------------------------------- operations
def flops(call: Callable[[], Tensor]) -> tuple[int, int]:
    """(forward, forward and backward) of a call, counted by PyTorch."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        result = call()
        forward = counter.get_total_flops()
        if result.requires_grad:
            result.sum().backward()
    return forward, counter.get_total_flops()


@functools.cache
def towers(dataset: str, vision_tower: str, fusion: str) -> tuple:
    """(model, `flops` of an image, `flops` of all sentences, tokens of an image).

    The model lies on the meta device, which computes nothing.
    """
    fields = {"vision_tower": vision_tower, "fusion": fusion, "frame_fusion": "mean"}
    config = safe_core.configure("paper", dataset=dataset, pretrained=False, **fields)
    names = datasets.class_names(dataset, REAL)
    model = SAFE(config, prompts.prompt_sentences(names, config)).to("meta").train()
    image = torch.zeros(1, 3, config.image_size, config.image_size, device="meta")
    tokens = model.visual_embed(model.vision(image))
    of_image = flops(lambda: model.visual_embed(model.vision(image)))
    of_text = flops(lambda: model.word_embed(model.encode_text(list(range(len(names))))))
    return model, of_image, of_text, tokens.shape[1]


def count(config: Config) -> Clip:
    """Operations of a clip: of SAFE in its towers, which rows share, and its fusion."""
    if config.model in PEERS:
        return count_peer(config)
    model, of_image, of_text, tokens = towers(config.dataset, config.vision_tower, config.fusion)
    config = dataclasses.replace(config, pretrained=False)  # nothing is fetched
    with torch.device("meta"):
        kind = FUSIONS[config.fusion, config.joint_block, config.value_from_key]
        fusion = kind(config, len(model.counts), tokens)
        images = torch.zeros(1, config.frames, tokens, config.width, requires_grad=True)
        texts = torch.zeros(len(model.counts), config.width, requires_grad=True)
    visual = {branch: images for branch in config.branches}
    of_fusion = flops(lambda: fusion(visual, texts if config.use_text else None))
    number = config.frames * len(config.branches)
    texts_of_step = of_text[1] if config.use_text and not config.freeze_text else 0
    return Clip(
        training=number * of_image[0 if config.freeze_vision else 1]
        + of_fusion[1]
        + texts_of_step / config.batch_size,
        testing=number * of_image[0] + of_fusion[0],
    )


@functools.cache
def count_peer(config: Config) -> Clip:
    """Operations of a clip in another method's network, as a whole."""
    config = dataclasses.replace(config, pretrained=False)
    names = datasets.class_names(config.dataset, REAL)
    with torch.device("meta"):
        model = safe_core.build(config, [[name] for name in names]).eval()  # of one clip
        size = (1, config.frames, 3, config.image_size, config.image_size)
        clip = {branch: torch.zeros(size, dtype=torch.uint8) for branch in config.branches}
    forward, both = flops(lambda: model(**clip))
    return Clip(training=both, testing=forward)


@functools.cache
def operations(config: Config, train: float, val: float, test: float) -> float:
    """Of a whole run: every epoch trains and chooses, the last word is the test's."""
    clip = count(config)
    epochs: float = config.epochs
    if config.steps:
        epochs = config.steps / (train // config.batch_size)
    return epochs * (train * clip.training + val * clip.testing) + test * clip.testing


# ------------------------------------------------------------------------------- speed
def measured(card: str) -> list[float]:
    """TFLOP/s of one card in each recorded run on real data whose GPU has this in its name."""
    found = []
    for run in (run for these in all_runs().values() for run in these):
        gpu = str(run["hardware"]["gpu"]).lower().replace(" ", "")
        if run["data"]["origin"] == "real" and card in gpu:
            data = run["data"]
            work = operations(Config(**run["config"]), data["train"], data["val"], data["test"])
            found.append(work / run["seconds"] / run["processes"] / 1e12)
    return found


def peak(gpu: str) -> float:
    """TFLOP/s of a card by its name, or as given. ValueError if it is neither."""
    try:
        value = float(CARDS.get(gpu, gpu))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        known = ", ".join(CARDS)
        raise ValueError(f"--gpu {gpu}: choose one of {known}, or give its peak in TFLOP/s")
    return value


# ------------------------------------------------------------------------------- the plan
def runs_of(dataset: str, seeds: int) -> dict[str, dict[str, Config]]:
    """{study: {name of a run: its configuration}} on real data."""
    found: dict[str, dict[str, Config]] = {}
    for study, runs in studies.runs_of_a_sweep(dataset, REAL, seeds).items():
        configs = [safe_core.configure(**run) for run in runs]
        found[study] = {Place.of(config).name: config for config in configs}
    return found


def hours(runs: Iterable[Config], tflops: float) -> float:
    """Of runs at a speed of so many TFLOP/s, all cards together."""
    return sum(operations(run, *paper.recordings(run)) for run in runs) / (tflops * 1e12) / 3600


def plan(
    dataset: str,
    *,
    gpu: str = "h100",
    gpus: int = 1,
    utilisation: float | None = None,
    seeds: int = studies.SEEDS,
) -> str:
    """Hours of every study of a data set on given cards, with all that is assumed.

    utilisation: share of the cards' peak that is used; None: as recorded runs on such a card had
    it, or UTILISATION. ValueError if something is no card, or no number of cards, or no share.
    """
    top = peak(gpu)
    if min(gpus, seeds) < 1 or not 0 < (0.5 if utilisation is None else utilisation) <= 1:
        raise ValueError("expected --gpus and seeds of 1 or more, and --utilisation in 0..1")
    base = safe_core.configure(dataset=dataset, data_root=REAL)
    found = [] if utilisation is not None or gpu not in CARDS else measured(gpu)
    speed = sum(found) / len(found) if found else top * (utilisation or UTILISATION)
    clip = count(base)
    train, val, test = paper.recordings(base)
    used = f"{speed / top:.0%} of it: {speed:.0f} TFLOP/s a card"
    if found:
        used = f"{speed:.0f} TFLOP/s a card, measured in {len(found)} recorded runs"
    elif utilisation is not None:
        used += " (assumed, not measured)"
    elif gpu == MEASURED:
        used += " (measured in training steps; assumed for testing)"
    else:
        used += f" (measured in steps on an {MEASURED}; assumed for this card)"
    assumed = {
        "peak": f"{top:g} TFLOP/s a card, dense, half precision (of its data sheet, or as given)",
        "used": used,
        "cards": f"{gpus}, which share the work without loss (assumed)",
        "loader": f"keeps up with {speed * 1e12 / clip.training:.0f} clips/s a card (assumed)",
        "clip": f"{clip.training / 1e12:.2f} TFLOP in training, {clip.testing / 1e12:.2f} in "
        f"testing for the full model, F = {base.frames} (counted)",
        "sentences": "as long as the template's in every row (assumed)",
        "recordings": f"{train:,.0f} train, {val:,.0f} choose the epoch, {test:,.0f} test (the "
        f"paper's Table 1, val_fraction={base.val_fraction})",
        "a run": f"{base.epochs} epochs, every epoch evaluated, one test",
        "seeds": f"{seeds} of a row",
    }
    lines = [f"Estimates for {dataset} at the paper's settings on {gpus} x {gpu}."]
    lines += [f"  {what:<10}  {text}" for what, text in assumed.items()]
    lines += ["", f"{'study':<28} {'runs':>5} {'hours':>9}"]
    by_study = runs_of(dataset, seeds)
    every: dict[str, Config] = {}
    for study, runs in by_study.items():
        lines.append(f"{study:<28} {len(runs):>5} {hours(runs.values(), speed * gpus):>9.1f}")
        every |= runs
    total = hours(every.values(), speed * gpus)
    lines.append(f"{'all, shared runs once':<28} {len(every):>5} {total:>9.1f}")
    lines += ["", compared(base)]
    return "\n".join(lines)


def compared(base: Config) -> str:
    """The paper's own hours beside what they mean for the use of its cards."""
    name = {"hardvs": "s42-hours-hardvs", "pokerevent": "s42-hours-poker"}[base.dataset]
    claim = paper.claims().loc[name]
    cards = int(claim.setting.split()[0])
    at_peak = hours([base], cards * CARDS["rtx3090"])
    return (
        f"The paper reports {claim.value:g} h for one training with {claim.setting}; if they "
        "computed what is counted here, in half precision (neither is known), that was "
        f"{at_peak / claim.value:.0%} of their peak."
    )
