"""How long tables take: counted operations, the arithmetic around them, and what is assumed."""

import re

import pytest
import torch
from conftest import ROOT
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import safe_core
from safe_companion import __main__ as commands
from safe_companion import paper, planning
from safe_companion.planning import Clip


@pytest.fixture
def counted(monkeypatch):
    """Every clip takes 3 and 1 TFLOP, without text 2 and 0.5."""

    def count(config):
        return Clip(3e12, 1e12) if config.use_text else Clip(2e12, 0.5e12)

    monkeypatch.setattr(planning, "count", count)
    planning.operations.cache_clear()
    yield
    planning.operations.cache_clear()


def table(text):
    """{study: (runs, hours)} of a printed plan."""
    rows = re.findall(r"^(\w.*?) +(\d+) +([\d.]+)$", text, re.MULTILINE)
    return {name: (int(runs), float(hours)) for name, runs, hours in rows}


def test_the_parts_of_a_model_count_as_much_as_the_whole():
    """At the paper's size, towers, fusion and sentences together."""
    config = safe_core.configure("paper", dataset="pokerevent", pretrained=False)
    model, *_ = planning.towers("pokerevent", "clip", "paper")
    with torch.device("meta"):
        fusion = safe_core.Fusion(config, len(model.counts), 197)
        images = torch.zeros(2, 5, 3, 224, 224, dtype=torch.uint8)
    whole = safe_core.SAFE.__new__(safe_core.SAFE)
    whole.__dict__ = model.__dict__ | {"_modules": model._modules | {"fusion": fusion}}
    whole.config = config
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = whole(images, images).sum()
        forward = counter.get_total_flops()
        loss.backward()
    clip = planning.count(safe_core.configure("paper", dataset="pokerevent", batch_size=2))
    assert 2 * clip.training == counter.get_total_flops()
    assert clip.testing < forward / 2, "the sentences are encoded once, not for every clip"
    assert clip.testing > 10 * 2 * 17.3e9, "a ViT-B/16 takes 17.6 billion multiply-adds an image"


def test_frozen_towers_and_fewer_inputs_take_less():
    def clip(**fields):
        return planning.count(safe_core.configure("paper", dataset="pokerevent", **fields))

    full, frozen, silent = clip(), clip(freeze_vision=True), clip(freeze_text=True)
    assert frozen.training < 0.6 * full.training and frozen.testing == full.testing
    assert clip(use_text=False).training < silent.training < full.training
    one = clip(modality="rgb")
    assert one.training < 0.6 * full.training and one.testing < 0.6 * full.testing
    assert clip(frames=7).testing == pytest.approx(1.4 * full.testing, rel=0.03)


def test_the_hours_of_a_run_are_its_clips_times_their_operations_by_the_speed(counted):
    config = safe_core.configure(dataset="pokerevent", data_root="/", epochs=2)
    train, val, test = paper.recordings(config)
    assert (train, val, test) == pytest.approx((0.9 * 16216, 0.1 * 16216, 8199))
    work = 2 * (train * 3e12 + val * 1e12) + test * 1e12
    assert planning.hours([config, config], 100) == pytest.approx(2 * work / 100e12 / 3600)
    half = safe_core.configure(dataset="pokerevent", data_root="/", train_fraction=0.5)
    assert paper.recordings(half) == pytest.approx((train / 2, val, test))
    steps = round(train) // 16 * 2
    as_many = safe_core.configure(
        dataset="pokerevent", data_root="/", train_fraction=0.5, steps=steps
    )
    more_often = work + 2 * val * 1e12  # an epoch of half the clips ends twice as often
    assert planning.hours([as_many], 100) == pytest.approx(more_often / 100e12 / 3600, rel=1e-3)


def test_a_plan_counts_runs_once_and_says_what_it_assumes(counted):
    text = planning.plan("pokerevent", gpu="100", gpus=2, utilisation=0.5, seeds=1)
    found = table(text)
    base = safe_core.configure(dataset="pokerevent", data_root="/")
    of_base = planning.hours([base], 100)  # 2 cards, half of 100 TFLOP/s each
    assert found["table5"] == (4, pytest.approx(4 * of_base, abs=0.05))
    runs, hours = found["all, shared runs once"]
    assert runs < sum(n for name, (n, _) in found.items() if "shared" not in name)
    assert hours < sum(h for name, (_, h) in found.items() if "shared" not in name)
    assert text.startswith("Estimates ") and text.count("(assumed") == 4
    assert "50 TFLOP/s a card (assumed, not measured)" in text and "17 clips/s" in text
    assert "The paper reports 30 h for one training with 2 x RTX 3090" in text
    more = table(planning.plan("pokerevent", gpu="100", gpus=2, utilisation=0.5))
    assert more["table5"][0] == 12 and more["paper_vs_code"][0] % 3 == 0
    four = table(planning.plan("pokerevent", gpu="100", gpus=4, utilisation=0.5))
    assert four["table4"][1] == pytest.approx(more["table4"][1] / 2, abs=0.1)


def test_the_plan_says_where_the_share_of_the_peak_was_measured(counted):
    text = planning.plan("hardvs", gpu=planning.MEASURED)
    assert "18% of it: 178 TFLOP/s a card (measured in training steps; assumed for test" in text
    other = planning.plan("hardvs", gpu="a100")
    assert "18% of it: 56 TFLOP/s a card (measured in steps on an h200; assumed for th" in other
    assert "(assumed, not measured)" not in text + other


def results(start):
    """[cells] of the tables of benchmarks/RESULTS.md behind a line's start, without their heads."""
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text().partition(f"\n{start}")[2]
    part = re.split(r"\n(?=<!-- end|## )", text)[0]
    return [line.strip("| ").split(" | ") for line in part.splitlines() if line[:2] == "| "][1:]


def test_what_the_book_says_of_one_gpu_follows_from_what_was_measured():
    """The page, its table, the share that plans assume and the hours of a training."""
    page = " ".join((ROOT / "book" / "scaling.md").read_text().split())
    cases = {case: [float(cell) for cell in cells[:4]] for case, *cells in results("<!-- part gpu")}
    ms, clips, peak, first = cases["bf16"]
    base = safe_core.configure(dataset="hardvs", data_root="/")
    clip, card = planning.count(base), planning.CARDS[planning.MEASURED]
    work = clips * clip.training / 1e12
    assert planning.UTILISATION == round(work / card, 2)
    train, val, _ = paper.recordings(base)
    compiled, halved, again = (
        cases[f"bf16, {way}"] for way in ("compile", "accumulate=2", "checkpoint_vision")
    )
    saved = (ms - compiled[0]) / 1e3
    epochs = compiled[3] / saved / (train // base.batch_size)
    loaders = {form: float(rate) for form, _, _, rate, *_ in results("<!-- part loader")}
    pack = loaders["pack, resized on the device"]
    of_theirs = re.search(r"(\d+)% of their peak", planning.compared(base))
    evaluated = work * 1e12 / clip.testing
    assert 4 < epochs < 5 and 1 < pack / clips < 2 and 2 < evaluated / pack < 3
    assert 2 < clips / loaders["PNG folders"] < 3
    assert 13 < clips / loaders["npz, compressed, and PNG frames"] < 14
    for said in (
        f"uses {100 * work / card:.0f} % of the card",
        f"{clips:.0f} clips/s in bfloat16 at {clip.training / 1e12:.2f} TFLOP a clip are "
        f"{work:.0f} TFLOP/s, and the data sheet has {card}",
        f"slower than bfloat16**: {cases['fp16'][1]:.0f} clips/s",
        f"gives {100 * (compiled[1] / clips - 1):.0f} %**: {compiled[1]:.0f} clips/s, after "
        f"{compiled[3]:.0f} s until",
        f"about {compiled[3] / saved:,.0f} steps, four to five epochs",
        f"takes {compiled[2]} GiB, {peak - compiled[2]:.1f} less",
        f"{cases['fp32, TF32 on, in two parts'][1]:.0f} clips/s, "
        f"{cases['fp32, TF32 off, in two parts'][1]:.0f} without",
        f"{again[1]:.0f} clips/s and {again[2]} GiB, against {halved[1]:.0f} clips/s and "
        f"{halved[2]} GiB",
        f"over {train:,.0f} clips of HARDVS's training list",
        f"the {val:,.0f} that choose the epoch",
        f"takes {planning.hours([base], work):.1f} hours on one such card",
        f"used to {of_theirs[1]} % of their peak",
        f"gave {pack:.0f} clips/s a core",
        f"folders of PNG files ({loaders['PNG folders']:.0f} clips/s a core)",
        f"asks for about {round(evaluated, -2):.0f} clips/s",
        f"{again[2]} GiB at most in bfloat16, not {peak} (measured",
    ):
        assert said in page, said
    computed = {}
    for precision, checkpoint, accumulate, _, most, _ in results("<!-- part memory"):
        computed[precision, checkpoint, accumulate] = most
    for case, (precision, checkpoint, accumulate) in {
        "fp32, accumulate=2": ("fp32", "False", "2"),
        "bf16": ("bf16", "False", "1"),
        "fp16": ("fp16", "False", "1"),
        "bf16, accumulate=2": ("bf16", "False", "2"),
        "bf16, checkpoint_vision": ("bf16", "True", "1"),
    }.items():
        found = cases[case.replace("fp32, accumulate=2", "fp32, TF32 on, in two parts")][2]
        counted = computed[precision, checkpoint, accumulate]
        assert f"| {case} | {counted} | {found} |" in page
        assert found - float(counted) < (0.85 if precision == "fp32" else 0.15)


def test_a_recorded_run_on_such_a_card_takes_the_place_of_the_assumption(counted, monkeypatch):
    config = safe_core.configure(dataset="hardvs", data_root="/data", epochs=1)
    work = 100 * 3 + 10 * 1 + 20 * 1  # TFLOP
    run = {
        "config": vars(config),
        "data": {"origin": "real", "train": 100, "val": 10, "test": 20},
        "hardware": {"gpu": "NVIDIA H100 80GB HBM3"},
        "seconds": work / 250,
        "processes": 2,
    }
    other = run | {"hardware": {"gpu": None}}
    sample = run | {"data": run["data"] | {"origin": "sample"}}
    monkeypatch.setattr(planning, "all_runs", lambda: {"a": [run, other], "b": [sample]})
    assert planning.measured("h100") == pytest.approx([125])
    text = planning.plan("hardvs", gpu="h100")
    assert "125 TFLOP/s a card, measured in 1 recorded runs" in text
    assert "396 TFLOP/s a card (assumed" in planning.plan("hardvs", gpu="h100", utilisation=0.4)
    assert "56 TFLOP/s a card (measured in steps on" in planning.plan("hardvs", gpu="a100")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--gpu", "h1000"], "choose one of b200, h200, h100"),
        (["--gpu", "-3"], "choose one of"),
        (["--gpu", "nan"], "choose one of"),
        (["--gpus", "0"], "--gpus"),
        (["--utilisation", "1.5"], "--utilisation in 0..1"),
        (["--utilisation", "0"], "--utilisation in 0..1"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_line(words, said, capsys, counted):
    assert commands.main(["plan", "hardvs", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_the_command_prints_the_plan(capsys, counted):
    assert commands.main(["plan", "hardvs", "--gpu", "a100", "--gpus", "4"]) == 0
    assert "Estimates for hardvs at the paper's settings on 4 x a100." in capsys.readouterr().out
