"""The authors' model and checkpoints: numbers of the real thing (see tests/data), and what does not fit is refused."""

import json
import pickle
from pathlib import Path

import pytest
import torch

import safe_core
from safe_core import SAFE
from safe_released import CLIP_NAMES, FUSION_NAMES, RELEASED, evaluate, load_released_checkpoint, rule_filled

DATA = Path(__file__).parent / "data"
KEYS = json.loads((DATA / "released_keys.json").read_text())  # every key and shape of a file of the authors' code
EXPECTED = json.loads((DATA / "released_expected.json").read_text())  # what their model computed, filled by rule
TINY = dict(clip_model="weights/tiny_clip.json", vit_model="weights/tiny_vit.json", image_size=64, width=96, heads=3,
            frames=2, readout_tokens=4, workers=0, precision="fp32")  # fmt: skip
NAMES = ["wave", "bow", "jump"]


def never_used(name):
    return not next(new for old, new in FUSION_NAMES.items() if name.startswith(old))


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory):
    """A checkpoint of the authors' form and size; what is never used has its shape, but takes no space."""
    fusion, clip = KEYS["model_state_dict"], KEYS["ViT_model_state_dict"]
    state = rule_filled({k: shape for k, shape in fusion.items() if not never_used(k)})
    state |= {k: torch.full((), torch.nan).expand(shape) for k, shape in fusion.items() if never_used(k)}
    file = tmp_path_factory.mktemp("released") / "checkpoint.pth"
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3,
                "ViT_model_state_dict": rule_filled(clip), "optimizer_state_dict": {"state": {}}}, file)  # fmt: skip
    yield file
    file.unlink()


@pytest.fixture(scope="module")
def model(rule_file):
    model = load_released_checkpoint(rule_file, class_names=EXPECTED["words"], frames=EXPECTED["frames"])
    model.vision.mean_and_std.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))  # the fixture's inputs are normalised
    return model


def fixture_inputs(batch=1, frames=2):
    """rgb, event float32 [B, F, 3, 224, 224]: standard normal by name, without the weights' 0.02."""
    drawn = rule_filled({name: [batch, frames, 3, 224, 224] for name in ("input.rgb", "input.event")})
    return drawn["input.rgb"] / 0.02, drawn["input.event"] / 0.02


def log_probs(model, rgb, event):
    with torch.inference_mode():
        return model(rgb, event).log_softmax(dim=1)


def test_every_stage_and_the_answer_agree_with_the_authors_model(model):
    """Float32, 1e-4: log-probabilities, and shape, mean, standard deviation and first values of every stage."""
    seen, fusion = {}, model.fusion

    def keep(name):
        return lambda module, inputs, output: seen.setdefault(name, []).append((inputs, output))

    stages = {"visual_embed": model.visual_embed, "word_embed": model.word_embed, "block": fusion.block,
              "norm": fusion.norm, "self_attention": fusion.self_attention,
              "cross_attention": fusion.cross_attention}  # fmt: skip
    hooks = [module.register_forward_hook(keep(name)) for name, module in stages.items()]
    found = log_probs(model, *fixture_inputs())
    for hook in hooks:
        hook.remove()
    outputs = {name: [output for _, output in calls] for name, calls in seen.items()}
    # theirs averages the frames before this linear layer, ours after it
    outputs["visual_embed"] = list(outputs["visual_embed"][0].unflatten(0, (2, 1, 2)).mean(dim=2))
    # theirs computes all rows of the last self-attention, ours only those that the classifier reads
    everything = seen["self_attention"][1][0][1]
    with torch.inference_mode():
        outputs["self_attention"][1] = fusion.self_attention(everything, everything)
    assert outputs.keys() == EXPECTED["probes"].keys()
    for name, probes in EXPECTED["probes"].items():
        for output, probe in zip(outputs[name], probes, strict=True):
            assert list(output.shape) == probe["shape"], name
            numbers = torch.stack([output.mean(), output.std(), *output.flatten()[:4]])
            expected = torch.tensor([probe["mean"], probe["std"], *probe["first4"]])
            torch.testing.assert_close(numbers, expected, atol=1e-4, rtol=0, msg=lambda m, name=name: f"{name}: {m}")
    torch.testing.assert_close(found, torch.tensor(EXPECTED["log_probabilities"]), atol=1e-4, rtol=0)


def test_other_orders_of_classes_and_other_numbers_of_frames(model, rule_file):
    rgb, event = fixture_inputs()
    expected = log_probs(model, rgb, event)
    order = torch.tensor([3, 0, 4, 2, 1])
    classifier, tokens = model.fusion.classifier, model.text_features
    saved = [t.detach().clone() for t in (classifier.weight, classifier.bias, tokens)] if model.text is None else None
    assert saved is None  # the text tower is trained in the released code, so its features are not kept
    permuted = load_released_checkpoint(rule_file, class_names=[EXPECTED["words"][i] for i in order], frames=4)
    permuted.vision.mean_and_std.copy_(model.vision.mean_and_std)
    with torch.no_grad():
        permuted.fusion.classifier.weight.copy_(classifier.weight[order])
        permuted.fusion.classifier.bias.copy_(classifier.bias[order])
    twice = [x.repeat(1, 2, 1, 1, 1).flip(1) for x in (rgb, event)]  # the same mean over frames
    torch.testing.assert_close(log_probs(permuted, *twice), expected[:, order], atol=1e-4, rtol=0)


