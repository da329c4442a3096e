"""The other methods of Tables 2 and 3: networks on SAFE's clips, by its trainer."""

import dataclasses
import re
import socket

import pytest
import torch
from recipes import random_events, save_npz
from tiny import NAMES, SENTENCES, Clips, run_fit, small
from torch import nn
from torchvision.models import WeightsEnum

import safe_companion
import safe_core
from safe_companion import peers, planning, prediction, records, runs

EACH = pytest.mark.parametrize("name", peers.PEERS)
SIDE = 32


def tiny(name, **fields):
    return small(model=name, image_size=SIDE, **fields)


def model_of(config, seed=0):
    torch.manual_seed(seed)
    return safe_core.build(config, SENTENCES).eval()


def clips_of(frames, batch=2):
    generator = torch.Generator().manual_seed(frames)
    size = (2, batch, frames, 3, SIDE, SIDE)
    return torch.randint(0, 255, size, dtype=torch.uint8, generator=generator)


def stirred(model):
    """The model with noise on all its weights: none of them starts as zero."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.05 * torch.randn_like(p)
    return model


def without_shift(state):
    """The weights under the names that they have in a network without shifts."""
    blocks = re.compile(r"(layer\d\.\d+\.conv1)\.1\.")
    return {blocks.sub(r"\1.", key): value for key, value in state.items()}


# ------------------------------------------------------------------------------- clips to logits


@EACH
def test_a_clip_of_any_number_of_frames_has_a_logit_for_each_class(name):
    for frames in (1, 2, 3, 5, 8):
        logits = model_of(tiny(name, frames=frames))(*clips_of(frames))
        assert logits.shape == (2, 3) and logits.isfinite().all(), frames
        assert not torch.equal(logits[0], logits[1]), "what is seen makes a difference"


@EACH
def test_every_parameter_has_a_gradient(name):
    model = stirred(model_of(tiny(name, frames=3))).train()
    rgb, event = clips_of(3, batch=4)
    model.loss(model(rgb, event), torch.tensor([0, 1, 2, 0])).backward()
    untouched = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    if name == "mvit":  # only the class token leaves its last block, which has no position
        last = [key for key in untouched if ".blocks.3.attn." in key]
        assert all("rel_pos" in key or "pool_q.pool" in key for key in last)
        untouched = sorted(set(untouched) - set(last))
    assert untouched == []


@EACH
def test_a_single_modality_has_a_network_of_its_own_alone(name):
    rgb, event = clips_of(2)
    both = model_of(tiny(name))
    ids = [{id(p) for p in both.vision[branch].parameters()} for branch in ("rgb", "event")]
    assert len(ids[0]) == len(ids[1]) and not ids[0] & ids[1]
    alone = model_of(tiny(name, modality="event"))
    assert list(alone.vision) == ["event"]
    assert torch.equal(alone(rgb, event), alone(event=event))
    with pytest.raises(ValueError, match="modality='event' needs the input 'event'"):
        alone(rgb=rgb)
    with pytest.raises(ValueError, match="modality='both' needs the input 'event'"):
        both(rgb=rgb)
    assert not torch.equal(both(rgb, event), both(event, rgb))


@EACH
def test_the_order_of_frames_counts_for_all_that_look_at_time(name):
    model = stirred(model_of(tiny(name, frames=5)))
    rgb, event = clips_of(5)
    backwards = model(rgb.flip(1), event.flip(1))
    same = torch.allclose(model(rgb, event), backwards, atol=1e-5)
    assert same == (name == "resnet18")


def test_class_names_and_the_fields_of_the_fusion_change_nothing():
    rgb, event = clips_of(2)
    expected = model_of(tiny("tsm"))(rgb, event)
    other = tiny("tsm", use_text=False, use_cross_attention=False, text_source="random")
    assert torch.equal(model_of(other)(rgb, event), expected)
    assert model_of(other).text_tokens() is None
    assert records.sentences_fingerprint(NAMES, tiny("tsm")) is None
    with pytest.raises(ValueError, match="model='tsm' has no classifier='text'"):
        safe_core.build(tiny("tsm", classifier="text"), SENTENCES)


# ------------------------------------------------------------------------------- the networks


def test_the_shift_takes_an_eighth_from_either_side_and_zeros_beyond_the_clip():
    """Two clips of three frames; a channel holds 10 x clip + frame + 1, the channel's hundreds."""
    frame = torch.tensor([1.0, 2, 3, 11, 12, 13])
    images = frame[:, None] + 100 * torch.arange(8.0)
    shifted = peers.Shift(3)(images[:, :, None, None].expand(-1, -1, 2, 2))
    assert shifted.shape == (6, 8, 2, 2)
    assert shifted[:, 0, 0, 0].tolist() == [2, 3, 0, 12, 13, 0]
    assert shifted[:, 1, 1, 1].tolist() == [0, 101, 102, 0, 111, 112]
    assert torch.equal(shifted[:, 2:, 0, 0], images[:, 2:])


def test_the_shift_stands_before_every_block_and_is_all_that_tells_tsm_from_its_resnet():
    tsm, plain = stirred(model_of(tiny("tsm"))), model_of(tiny("resnet18"))
    nets = [stream.tower.net for stream in tsm.vision.values()]
    blocks = [b for net in nets for k in (1, 2, 3, 4) for b in getattr(net, f"layer{k}")]
    assert all(isinstance(block.conv1[0], peers.Shift) for block in blocks) and len(blocks) == 8
    plain.load_state_dict(without_shift(tsm.state_dict()))
    still = clips_of(1).expand(-1, -1, 2, -1, -1, -1)
    assert not torch.allclose(tsm(*still), plain(*still)), "zeros come in at both ends"
    for block in blocks:
        block.conv1[0] = nn.Identity()
    assert torch.equal(tsm(*still), plain(*still))


def test_c3d_is_the_published_one_on_sixteen_frames_of_112_pixels():
    with torch.device("meta"):
        net = peers.C3D(64, 4096, 0.5, 16, 112)
        volumes = torch.zeros(1, 3, 16, 112, 112)
        before_average = net.layers[:-8](volumes)
    assert isinstance(net.layers[-8], nn.AdaptiveAvgPool3d)
    assert before_average.shape == (1, 512, 1, 4, 4)
    widths = [layer.out_channels for layer in net.layers if isinstance(layer, nn.Conv3d)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512]
    layers = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    assert [(f.in_features, f.out_features) for f in layers] == [(8192, 4096), (4096, 4096)]
    assert net(torch.zeros(1, 3, 5, 224, 224, device="meta")).shape == (1, 4096)


@pytest.mark.parametrize("frames", [1, 3, 16])
def test_c3d_starts_with_features_as_large_as_its_input_however_short_the_clip(frames):
    torch.manual_seed(0)
    features = peers.C3D(8, 128, 0.0, frames, SIDE)(torch.randn(8, 3, frames, SIDE, SIDE))
    assert 0.4 < features.square().mean().sqrt() < 2.5


@pytest.mark.parametrize(
    ("name", "frames", "preset", "times"),
    [
        ("mvit", 3, "sample", [0, 0, 1, 1, 2, 2]),
        ("mvit", 5, "paper", [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]),
        ("mvit", 16, "paper", list(range(16))),
        ("c3d", 3, "sample", [0, 1, 2]),
    ],
)
def test_mvit_holds_frames_for_as_many_times_as_it_sees(name, frames, preset, times):
    assert peers.times(safe_core.configure(preset, model=name, frames=frames)) == times


def test_what_mvit_cannot_take_is_said():
    with pytest.raises(ValueError, match="frames=17: MViT sees 16"):
        peers.times(safe_core.configure("paper", model="mvit", frames=17))
    with pytest.raises(ValueError, match="image_size=72: .* a multiple of 32"):
        safe_core.build(small(model="mvit", image_size=72), SENTENCES)
    with pytest.raises(ValueError, match="image_size=192: MViT sees 224"):
        safe_core.build(safe_core.configure("paper", model="mvit", image_size=192), SENTENCES)


# ------------------------------------------------------------------------------- sizes and weights

PUBLISHED = {  # parameters of one network without its layer of classes
    "resnet18": 11_689_512 - 513_000,
    "tsm": 25_557_032 - 2_049_000,
    "c3d": 27_655_936 + 8192 * 4096 + 4096 + 4096 * 4096 + 4096,
    "r2plus1d": 31_505_325 - 205_200,
    "video-swin": 28_158_070 - 307_600,
    "mvit": 34_537_744 - 307_600,
}


@pytest.fixture
def offline(monkeypatch):
    def connect(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@EACH
def test_the_paper_preset_has_the_published_sizes_and_fetches_nothing_if_not_asked(name, offline):
    config = safe_core.configure("paper", model=name, pretrained=False)
    with torch.device("meta"):
        model = safe_core.build(config, SENTENCES)
    for net in model.vision.values():
        assert sum(p.numel() for p in net.parameters()) == PUBLISHED[name]
    of_sample = safe_core.build(safe_core.configure("sample", model=name), SENTENCES)  # nor there
    assert sum(p.numel() for p in of_sample.parameters()) < 3_000_000


@pytest.mark.parametrize("name", ["r2plus1d", "video-swin", "mvit"])
def test_with_pretrained_the_published_weights_are_asked_for(name, monkeypatch):
    asked = []

    def get_state_dict(self, **_):
        asked.append(self.url.rsplit("/")[-1])
        raise OSError("no network in this test")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", get_state_dict)
    with pytest.raises(OSError, match="connect once.*no network"):
        runs.check_weights(safe_core.configure("paper", model=name))
    assert asked[0].startswith({"video-swin": "swin3d_t"}.get(name, name))


@EACH
def test_pixels_are_normalised_as_in_the_published_training_whatever_the_weights(name):
    config = safe_core.configure("paper", model=name, pretrained=False)
    stream = peers.STREAMS[name]
    seen = {"r2plus1d": 0.43216, "video-swin": 0.485, "mvit": 0.45, "c3d": 0.48145466}
    if name in seen:
        for fields, mean in (({}, seen[name]), ({"normalisation": "half"}, 0.5)):
            net = stream(dataclasses.replace(config, **fields))
            assert net.mean_and_std[0].flatten()[0] == pytest.approx(255 * mean)
    else:
        net = stream(config).tower
        assert net.mean_and_std[0].flatten()[0] == pytest.approx(255 * 0.485)


def test_the_sample_has_the_resnet_that_was_trained_on_rendered_frames():
    given = safe_core.NETWORKS["weights/tiny_resnet.json"](True).state_dict()
    for name in ("resnet18", "tsm"):
        model = safe_core.build(safe_core.configure("sample", model=name), SENTENCES)
        for net in model.vision.values():
            own = without_shift(net.tower.net.state_dict())
            assert all(torch.equal(own[key], value) for key, value in given.items())


# ------------------------------------------------------------------------------- training


@pytest.mark.parametrize("name", ["tsm", "c3d", "mvit"])
def test_an_interrupted_run_goes_on_bit_for_bit_and_its_checkpoint_answers_alike(name, tmp_path):
    config = small(model=name, epochs=2, dropout=0.2)
    whole = run_fit(tmp_path / "whole", config)

    def stop(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "parts", config, on_step=stop)
    parts = run_fit(tmp_path / "parts", config, resume=True)
    assert torch.equal(whole["log_probs"], parts["log_probs"])
    model, about = safe_core.load_model(tmp_path / "parts" / "best.safetensors")
    assert about["config"]["model"] == name
    assert torch.equal(safe_core.predict(model, Clips(7), config), whole["log_probs"])


def test_a_loaded_model_fetches_nothing_though_it_was_made_with_published_weights(
    tmp_path, offline
):
    model = safe_core.build(small(model="r2plus1d"), SENTENCES)
    fields = dataclasses.asdict(small(model="r2plus1d", pretrained=True))
    about = {"config": fields, "sentences": SENTENCES, "class_names": NAMES}
    safe_core.save_checkpoint(tmp_path / "best.safetensors", model.state_dict(), about)
    loaded, _ = safe_core.load_model(tmp_path / "best.safetensors")
    assert loaded.config.pretrained is False


def test_a_frozen_network_keeps_weights_and_statistics_and_the_classifier_is_trained(tmp_path):
    config = small(model="r2plus1d", epochs=1, freeze_vision=True, dropout=0.0)
    torch.manual_seed(config.seed)
    before = safe_core.build(config, SENTENCES).state_dict()
    result = run_fit(tmp_path, config)
    assert result["trained_parameters"] == sum(
        before[f"classifier.1.{k}"].numel() for k in ("weight", "bias")
    )
    after = safe_core.load_checkpoint(tmp_path / "best.safetensors")[0]
    same = {key for key, tensor in after.items() if torch.equal(tensor, before[key])}
    assert set(after) - same == {"classifier.1.weight", "classifier.1.bias"}


def test_networks_have_the_learning_rate_of_towers():
    model = safe_core.build(small(model="tsm"), SENTENCES)
    groups = safe_core.make_optimizer(model, model.config).param_groups
    of_towers = sum(p.numel() for g in groups if g["tower"] for p in g["params"])
    assert of_towers == sum(p.numel() for p in model.vision.parameters())


def test_a_training_by_name_is_recorded_evaluated_and_asked(tmp_path):
    """From the recordings of a folder to the answer about one of them."""
    for label in ("a", "b"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for i in range(6):
            save_npz(tmp_path / "mine" / label / f"{i}.npz", random_events(50))
    fields = dict(dataset="folder", data_root=str(tmp_path / "mine"), modality="event", workers=0)
    config = safe_core.configure(
        "sample", model="c3d", frames=2, image_size=SIDE, epochs=1, batch_size=2, **fields
    )
    record = runs.train(config, tmp_path / "run")
    assert record["config"]["model"] == "c3d" and record["sentences"] is None
    assert "peers" in record["behaviour"] and "model" not in record["behaviour"]
    assert runs.train(config, tmp_path / "run", resume=True)["test"] == record["test"]
    again, _ = prediction.evaluate(tmp_path / "run" / "best.safetensors")
    assert again["test"] == record["test"] and again["differs"] == []
    model, _ = safe_core.load_model(tmp_path / "run" / "best.safetensors")
    answer = safe_companion.predict(model, tmp_path / "mine" / "a" / "0.npz")
    assert {name for name, _ in answer} == {"a", "b"}


# ------------------------------------------------------------------------------- cost


def test_operations_are_counted_of_the_network_that_is_trained():
    def clip(**fields):
        return planning.count(safe_core.configure("paper", dataset="hardvs", **fields))

    both = clip(model="resnet18")
    assert both.testing == pytest.approx(2 * 5 * 2 * 1.8141e9, rel=0.01)  # published: 1.8 GMAC
    assert 2.5 < both.training / both.testing < 3.1
    assert clip(model="resnet18", modality="rgb").testing == pytest.approx(
        both.testing / 2, rel=0.01
    )
    frozen = clip(model="resnet18", freeze_vision=True)
    assert frozen.testing == both.testing and frozen.training < 1.01 * frozen.testing
    assert clip(model="tsm").testing == pytest.approx(2 * 5 * 2 * 4.0892e9, rel=0.02)
