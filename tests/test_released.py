"""The authors' model and checkpoints: numbers of the real thing (see tests/data), and what does not fit is refused."""

import functools
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch

import safe_core
import safe_data
import safe_released
from safe_core import SAFE
from safe_released import FUSION_NAMES, RELEASED, evaluate, load_released_checkpoint, rule_filled

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
    classifier = model.fusion.classifier
    permuted = load_released_checkpoint(rule_file, class_names=[EXPECTED["words"][i] for i in order], frames=4)
    permuted.vision.mean_and_std.copy_(model.vision.mean_and_std)
    with torch.no_grad():
        permuted.fusion.classifier.weight.copy_(classifier.weight[order])
        permuted.fusion.classifier.bias.copy_(classifier.bias[order])
    twice = [x.repeat(1, 2, 1, 1, 1).flip(1) for x in (rgb, event)]  # the same mean over frames
    torch.testing.assert_close(log_probs(permuted, *twice), expected[:, order], atol=1e-4, rtol=0)


# ------------------------------------------------------------------------------------------------ small models


def as_released(model):
    """The file of the authors' code that would hold this model: the inverse of the import, on purpose written anew."""
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("vision.mean")}
    fusion, clip = {}, {"logit_scale": torch.ones(())}
    for key, v in state.items():
        if key.startswith("vision.net."):
            clip["visual." + key[11:]] = v
        elif key == "vision.projection":
            clip["visual.proj"] = v
        elif key == "text.projection":
            clip["text_projection"] = v
        elif key.startswith("text."):
            clip[key[5:]] = v
        elif key.startswith("fusion.kind."):
            fusion[{"rgb": "rgb", "event": "event", "text": "tex"}[key[12:]] + "_embed"] = v[None, None]
        elif key == "fusion.readout":
            fusion["CLS_token"] = v[None]
        else:
            for new, old in (("fusion.block.", "blocks.0."), ("fusion.norm.", "norm."),
                             ("fusion.self_attention.", "self_attention."), ("fusion.classifier.", "fc1."),
                             ("fusion.cross_attention.", "cross_model."), ("", "")):  # fmt: skip
                if key.startswith(new):
                    fusion[old + key.removeprefix(new)] = v
                    break
    fusion |= {"vit.blocks.3.norm1.bias": torch.full((9,), torch.nan), "bn.running_mean": torch.zeros(5)}
    return {"model_state_dict": {f"module.{k}": v for k, v in fusion.items()}, "ViT_model_state_dict": clip}


@pytest.fixture
def saved(tmp_path):
    """(model, its file in the authors' form, path)."""
    torch.manual_seed(0)
    config = safe_core.configure("paper", dataset="pokerevent", **RELEASED, **TINY, pretrained=False)
    model = SAFE(config, [[name] for name in NAMES]).eval()
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


@pytest.mark.parametrize("content", [b"no checkpoint", pickle.dumps(Trap(), 2), b""], ids=["text", "trap", "empty"])
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


@pytest.mark.parametrize("state", [{"state_dict": {}}, [1, 2], {"model_state_dict": 3, "ViT_model_state_dict": {}}])
def test_another_project_s_checkpoint_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "checkpoint.pth")
    with pytest.raises(ValueError, match="holds model_state_dict and ViT_model_state_dict"):
        load(tmp_path / "checkpoint.pth")
    with pytest.raises(FileNotFoundError, match=r"missing\.pth: no such file"):
        load(tmp_path / "missing.pth")


@pytest.mark.parametrize("switch", [dict(modality="rgb"), dict(use_text=False), dict(use_cross_attention=False),
                                    dict(frame_fusion="concat"), dict(vision_tower="vit")])  # fmt: skip
def test_switches_of_the_papers_model_are_refused(switch):
    config = safe_core.configure("paper", **{**RELEASED, **TINY, "pretrained": False, **switch})
    with pytest.raises(ValueError, match="fusion='released' is one fixed model: set " + next(iter(switch))):
        SAFE(config, [[name] for name in NAMES])


def test_the_joint_block_starts_as_the_plain_vits_last_block():
    config = safe_core.configure("paper", **RELEASED, **TINY)
    fusion, vit = SAFE(config, [[name] for name in NAMES]).fusion, safe_core.local_tower(TINY["vit_model"], True).visual
    x = torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(fusion.norm(fusion.block(x)), vit.ln_post(vit.transformer.resblocks[-1](x)),
                                   atol=1e-4, rtol=1e-4)  # eps differ  # fmt: skip
    assert all(p.abs().sum() == 0 for p in fusion.kind.values())


class Drawn(torch.utils.data.Dataset):
    """Two recordings whose frames depend on the draw."""

    labels, names, epoch = torch.tensor([0, 1]), ["a", "b"], 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 2

    def __getitem__(self, i):
        images = torch.randint(0, 256, (2, 2, 3, 64, 64), dtype=torch.uint8,
                               generator=torch.Generator().manual_seed(10 * self.epoch + i))  # fmt: skip
        return {"rgb": images[0], "event": images[1], "label": int(self.labels[i]), "name": self.names[i]}


def test_every_draw_of_the_test_frames_is_another_and_repeats(saved):
    class Splits:
        test = Drawn()

    first, again = (evaluate(saved[0], Splits, draws=3) for _ in range(2))
    assert first == again
    assert len({score["loss"] for score in first}) == 3


@pytest.mark.parametrize(("words", "frames"), [([], "random"), (["--test-frames", "even"], "even")])
def test_the_command_line_tests_a_checkpoint(saved, monkeypatch, capsys, words, frames):
    class Splits:
        test, class_names, origin = Drawn(), NAMES, "real"

    _, file, path = saved
    torch.save(file, path)
    asked = {}
    monkeypatch.setitem(safe_core.PRESETS, "paper", TINY)
    opened = functools.wraps(safe_data.open_dataset)(lambda **options: asked.update(options) or Splits)
    monkeypatch.setattr(safe_data, "open_dataset", opened)
    monkeypatch.setattr(sys, "argv", ["safe_released", str(path), "--data-root", "/data", "--draws", "2", *words])
    safe_released.main()
    head, *draws = capsys.readouterr().out.splitlines()
    assert head == "real data: pokerevent, 2 test recordings"
    assert [line.split(":")[0] for line in draws] == ["draw 0", "draw 1"]
    assert asked["test_frames"] == frames and asked["data_root"] == "/data"
