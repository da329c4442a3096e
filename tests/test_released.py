"""The authors' model and checkpoints: numbers of the real thing, and what does not fit is refused.

tests/data holds every key and shape of a file of theirs, and what their model computed.
"""

import dataclasses
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import safe_core
from safe_companion import __main__, datasets, towers
from safe_companion.released import (
    FUSION_NAMES,
    RELEASED,
    evaluate,
    load_released_checkpoint,
    rule_filled,
)
from safe_core import SAFE

DATA = Path(__file__).parent / "data"
KEYS = json.loads((DATA / "released_keys.json").read_text())
EXPECTED = json.loads((DATA / "released_expected.json").read_text())
TINY = dict(
    clip_model="weights/tiny_clip.json",
    vit_model="weights/tiny_vit.json",
    image_size=64,
    width=96,
    heads=3,
    frames=2,
    readout_tokens=4,
    workers=0,
    precision="fp32",
)
NAMES = ["wave", "bow", "jump"]
SENTENCES = [[name] for name in NAMES]


def never_used(name):
    return not next(new for old, new in FUSION_NAMES.items() if name.startswith(old))


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory):
    """A checkpoint of the authors' form and size; what is never used takes no space."""
    fusion = KEYS["model_state_dict"]
    state = rule_filled({k: shape for k, shape in fusion.items() if not never_used(k)})
    for key, shape in fusion.items():
        if never_used(key):
            state[key] = torch.full((), torch.nan).expand(shape)
    content = {
        "model_state_dict": {f"module.{k}": v for k, v in state.items()},
        "ViT_model_state_dict": rule_filled(KEYS["ViT_model_state_dict"]),
        "optimizer_state_dict": {"state": {}},
        "epoch": 3,
    }
    file = tmp_path_factory.mktemp("released") / "checkpoint.pth"
    torch.save(content, file)
    yield file
    file.unlink()


@pytest.fixture(scope="module")
def model(rule_file):
    asked = {"class_names": EXPECTED["words"], "frames": EXPECTED["frames"]}
    model = load_released_checkpoint(rule_file, **asked)
    take_inputs_as_they_are(model)
    return model


def take_inputs_as_they_are(model):
    """The fixture's inputs are normalised."""
    model.vision.mean_and_std.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))


def fixture_inputs(batch=1, frames=2):
    """rgb, event float32 [B, F, 3, 224, 224]: standard normal by name, without weights' 0.02."""
    shape = [batch, frames, 3, 224, 224]
    drawn = rule_filled({"input.rgb": shape, "input.event": shape})
    return drawn["input.rgb"] / 0.02, drawn["input.event"] / 0.02


def log_probs(model, rgb, event):
    with torch.inference_mode():
        return model(rgb, event).log_softmax(dim=1)


def assert_close(found, expected, what=""):
    """Float32, 1e-4."""
    options = {"atol": 1e-4, "rtol": 0}
    torch.testing.assert_close(found, expected, msg=lambda m: f"{what}: {m}", **options)


def test_every_stage_and_the_answer_agree_with_the_authors_model(model):
    """Log-probabilities, and shape, mean, deviation and first values of every stage."""
    fusion = model.fusion
    stages = {
        "visual_embed": model.visual_embed,
        "word_embed": model.word_embed,
        "block": fusion.block,
        "norm": fusion.norm,
        "self_attention": fusion.self_attention,
        "cross_attention": fusion.cross_attention,
    }
    seen = {name: [] for name in stages}

    def keep(name):
        return lambda module, inputs, output: seen[name].append((inputs, output))

    hooks = [module.register_forward_hook(keep(name)) for name, module in stages.items()]
    found = log_probs(model, *fixture_inputs())
    for hook in hooks:
        hook.remove()
    outputs = {name: [output for _, output in calls] for name, calls in seen.items()}
    # Theirs averages the frames before this linear layer, ours after it.
    outputs["visual_embed"] = list(outputs["visual_embed"][0].unflatten(0, (2, 1, 2)).mean(dim=2))
    # Theirs computes all rows of the last self-attention, ours those that the classifier reads.
    everything = seen["self_attention"][1][0][1]
    with torch.inference_mode():
        outputs["self_attention"][1] = fusion.self_attention(everything, everything)
    assert outputs.keys() == EXPECTED["probes"].keys()
    for name, probes in EXPECTED["probes"].items():
        for output, probe in zip(outputs[name], probes, strict=True):
            assert list(output.shape) == probe["shape"], name
            numbers = torch.stack([output.mean(), output.std(), *output.flatten()[:4]])
            expected = torch.tensor([probe["mean"], probe["std"], *probe["first4"]])
            assert_close(numbers, expected, name)
    assert_close(found, torch.tensor(EXPECTED["log_probabilities"]))


def test_other_orders_of_classes_and_other_numbers_of_frames(model, rule_file):
    rgb, event = fixture_inputs()
    expected = log_probs(model, rgb, event)
    order = torch.tensor([3, 0, 4, 2, 1])
    names = [EXPECTED["words"][i] for i in order]
    permuted = load_released_checkpoint(rule_file, class_names=names, frames=4)
    take_inputs_as_they_are(permuted)
    classifier = model.fusion.classifier
    with torch.no_grad():
        permuted.fusion.classifier.weight.copy_(classifier.weight[order])
        permuted.fusion.classifier.bias.copy_(classifier.bias[order])
    # The same mean over frames.
    twice = [x.repeat(1, 2, 1, 1, 1).flip(1) for x in (rgb, event)]
    assert_close(log_probs(permuted, *twice), expected[:, order])


# ------------------------------------------------------------------------------- small models
TO_THEIRS = {
    "fusion.block.": "blocks.0.",
    "fusion.norm.": "norm.",
    "fusion.self_attention.": "self_attention.",
    "fusion.classifier.": "fc1.",
    "fusion.cross_attention.": "cross_model.",
    "": "",
}


def as_released(model):
    """The file of the authors' code that would hold this model.

    The inverse of the import, on purpose written anew.
    """
    fusion = {"vit.blocks.3.norm1.bias": torch.full((9,), torch.nan)}
    fusion["bn.running_mean"] = torch.zeros(5)
    clip = {"logit_scale": torch.ones(())}
    for key, v in model.state_dict().items():
        if key.startswith("vision.net."):
            clip["visual." + key[11:]] = v
        elif key == "vision.projection":
            clip["visual.proj"] = v
        elif key == "text.projection":
            clip["text_projection"] = v
        elif key.startswith("text."):
            clip[key[5:]] = v
        elif key.startswith("fusion.kind."):
            kind = {"rgb": "rgb", "event": "event", "text": "tex"}[key[12:]]
            fusion[f"{kind}_embed"] = v[None, None]
        elif key == "fusion.readout":
            fusion["CLS_token"] = v[None]
        elif not key.startswith("vision.mean"):
            ours = next(ours for ours in TO_THEIRS if key.startswith(ours))
            fusion[TO_THEIRS[ours] + key.removeprefix(ours)] = v
    wrapped = {f"module.{k}": v for k, v in fusion.items()}
    return {"model_state_dict": wrapped, "ViT_model_state_dict": clip}


def small(**fields):
    asked = {"dataset": "pokerevent", **RELEASED, **TINY, "pretrained": False}
    return safe_core.configure("paper", **asked | fields)


@pytest.fixture
def saved(tmp_path):
    """(model, its file in the authors' form, path)."""
    torch.manual_seed(0)
    model = SAFE(small(), SENTENCES).eval()
    return model, as_released(model), tmp_path / "checkpoint.pth"


def load(path, names=NAMES):
    return load_released_checkpoint(path, class_names=names, **TINY)


def test_a_file_of_the_authors_form_becomes_the_model_that_it_holds(saved):
    model, file, path = saved
    torch.save(file, path)
    rgb, event = torch.randint(0, 256, (2, 3, 2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(log_probs(load(path), rgb, event), log_probs(model, rgb, event))


def test_what_does_not_fit_is_listed(saved):
    _, file, path = saved
    fusion, clip = file["model_state_dict"], file["ViT_model_state_dict"]
    del fusion["module.self_attention.key.bias"]
    fusion["module.gate.weight"] = torch.zeros(2)
    clip["visual.conv1.stride"] = torch.zeros(3)
    clip["ln_final.weight"] = torch.zeros(7)
    torch.save(file, path)
    with pytest.raises(ValueError) as error:
        load(path)
    lines = str(error.value).splitlines()
    assert "checkpoint.pth" in lines[0]
    assert lines[1] == "missing: fusion.self_attention.key.bias"
    assert lines[2] == "unknown: gate.weight, vision.net.conv1.stride"
    assert lines[3] == "of another shape: text.ln_final.weight (7,), expected (64,)"


def test_another_number_of_classes_is_refused(saved):
    torch.save(saved[1], saved[2])
    with pytest.raises(ValueError, match="trained for 3 classes, 4 class names were given"):
        load(saved[2], [*NAMES, "run"])


class Trap:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    "content", [b"no checkpoint", pickle.dumps(Trap(), 2), b""], ids=["text", "trap", "empty"]
)
def test_what_is_no_checkpoint_is_refused_and_never_run(tmp_path, capsys, content):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a checkpoint of the authors' code"):
        load(path)
    assert capsys.readouterr().out == ""


def test_code_inside_a_checkpoint_is_refused_and_never_run(saved, capsys):
    _, file, path = saved
    torch.save(file | {"epoch": Trap()}, path)
    with pytest.raises(ValueError, match="not a checkpoint of the authors' code"):
        load(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "state",
    [{"state_dict": {}}, [1, 2], {"model_state_dict": 3, "ViT_model_state_dict": {}}],
    ids=["other keys", "a list", "other content"],
)
def test_another_project_s_checkpoint_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="holds model_state_dict and ViT_model_state_dict"):
        load(tmp_path / "checkpoint.pth")


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.pth: no such file"):
        load(tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modality", "rgb"),
        ("use_text", False),
        ("use_cross_attention", False),
        ("frame_fusion", "concat"),
        ("vision_tower", "vit"),
    ],
)
def test_switches_of_the_papers_model_are_refused(field, value):
    with pytest.raises(ValueError, match=f"fusion='released' computes {field}=.* only: set that"):
        SAFE(small(**{field: value}), SENTENCES)


def test_the_joint_block_starts_as_the_plain_vits_last_block():
    fusion = SAFE(small(pretrained=True), SENTENCES).fusion
    vit = towers.build(TINY["vit_model"], True).visual
    x = torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = fusion.norm(fusion.block(x))
        expected = vit.ln_post(vit.transformer.resblocks[-1](x))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)  # their eps differ
    assert all(p.abs().sum() == 0 for p in fusion.kind.values())


# ------------------------------------------------------------------------------- evaluation
class Drawn(torch.utils.data.Dataset):
    """Two recordings whose frames depend on the draw."""

    def __init__(self):
        self.labels = torch.tensor([0, 1])
        self.names = ["a", "b"]
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 2

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(10 * self.epoch + i)
        shape = (2, 2, 3, 64, 64)
        rgb, event = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return {"rgb": rgb, "event": event, "label": int(self.labels[i]), "name": self.names[i]}


def test_every_draw_of_the_test_frames_is_another_and_repeats(saved):
    first = evaluate(saved[0], Drawn(), draws=3)
    assert first == evaluate(saved[0], Drawn(), draws=3)
    assert len({score["loss"] for score in first}) == 3


@pytest.mark.parametrize(("words", "frames"), [([], "random"), (["--test-frames", "even"], "even")])
def test_the_command_line_tests_a_checkpoint(saved, monkeypatch, capsys, words, frames):
    _, file, path = saved
    torch.save(file, path)
    asked = []

    def open_dataset(config):
        asked.append(config)
        return SimpleNamespace(test=Drawn(), class_names=NAMES, origin="real")

    monkeypatch.setitem(safe_core.PRESETS, "paper", TINY)
    monkeypatch.setattr(datasets, "open_dataset", open_dataset)
    command = ["released", str(path), "--data-root", "/data", "--draws", "2", *words]
    assert __main__.main(command) == 0
    head, *draws = capsys.readouterr().out.splitlines()
    assert head == "real data: pokerevent, 2 test recordings"
    assert [line.split(":")[0] for line in draws] == ["draw 0", "draw 1"]
    (config,) = asked
    assert config.test_frames == frames and config.data_root == "/data"
    # Everything else is what the authors' code does.
    released = dataclasses.asdict(config) | {"test_frames": "random"}
    assert released | RELEASED == released


@pytest.mark.parametrize("field", ["joint_block", "value_from_key"])
def test_the_released_fusion_has_nothing_to_switch(field):
    fields = TINY | {"fusion": "released", "frame_fusion": "mean", field: True}
    with pytest.raises(ValueError, match=f"fusion='released' computes {field}=False only"):
        safe_core.build(safe_core.configure("sample", **fields), SENTENCES)
