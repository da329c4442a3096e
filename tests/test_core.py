"""Configuration, towers, fusion, optimiser: what the model computes, on clips of a few pixels."""

import dataclasses
import functools

import open_clip
import pytest
import torch
from tiny import NAMES, SENTENCES, Clips, batch_of, model_of, small
from torch.nn import functional as F

import safe_core
from safe_companion import released, towers
from safe_core import SAFE, Config, configure


# ------------------------------------------------------------------------------- configuration
def test_preset_follows_the_data():
    assert configure(dataset="hardvs").clip_model == "weights/tiny_clip.json"
    assert configure(dataset="hardvs", data_root="/data").clip_model == "ViT-B-16-quickgelu"
    paper = configure("paper")
    assert (paper.epochs, paper.batch_size, paper.learning_rate) == (50, 16, 8e-6)
    assert (paper.frames, paper.image_size, paper.width, paper.heads) == (5, 224, 768, 12)
    assert (paper.afe_min_events, paper.afe_threshold) == (150_000, 0)  # ExACT's for HARDVS
    assert (paper.readout_tokens, paper.layers) == (10, 1)  # as in the released code
    assert (paper.final_lr_fraction, paper.dropout, paper.clip_norm) == (0.1, 0, 1)
    assert (paper.sample_train_per_class, paper.sample_test_per_class) == (48, 105)
    sample = configure("sample", epochs=2, use_text=False)
    assert (sample.epochs, sample.steps, sample.batch_size) == (2, None, 32)
    assert (sample.learning_rate, sample.val_fraction) == (1e-3, 0)
    assert (sample.warmup_fraction, sample.final_lr_fraction) == (0.1, 0.01)
    assert (sample.afe_min_events, sample.image_size, sample.freeze_text) == (2_000, 64, True)
    assert configure(data_root="/data", preset="sample").steps == configure().steps == 450


def test_origin_is_what_the_data_root_says():
    assert configure().origin == safe_core.origin_of(None) == "sample"
    assert configure(data_root="/data").origin == safe_core.origin_of("/data") == "real"
    assert configure(modality="event").branches == ["event"]
    assert configure().branches == ["rgb", "event"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(vision_tower="swin"), ["vision_tower='swin'", "'clip', 'vit' or 'resnet'"]),
        (dict(modality="depth"), ["modality", "'both', 'rgb' or 'event'"]),
        (dict(modality=["rgb"]), ["modality", "'both', 'rgb' or 'event'"]),
        (dict(dataset="nmnist"), ["dataset", "'hardvs', 'pokerevent', 'conjunctions' or 'folder'"]),
        (dict(epoch=3), ["unknown configuration field epoch: epochs?"]),
        (dict(xyz=3), ["unknown configuration field xyz", "--help"]),
        (dict(preset="big"), ["preset='big'", "paper, sample"]),
        (dict(val_fraction=1.5), ["val_fraction=1.5", "less than or equal to 1"]),
        (dict(train_fraction=-0.1), ["train_fraction=-0.1", "greater than or equal to 0"]),
        (dict(sensor_size="346,260"), ["sensor_size='346,260'", "x"]),
        (dict(sensor_size="0x260"), ["sensor_size='0x260'"]),
        (dict(use_cross_attention="false"), ["use_cross_attention='false'", "boolean"]),
        (dict(use_text=1), ["use_text=1", "boolean"]),
        (dict(frames=0), ["frames=0", "greater than or equal to 1"]),
        (dict(frames=True), ["frames=True", "integer"]),
        (dict(frames=2.5), ["frames=2.5", "integer"]),
        (dict(epochs="3"), ["epochs='3'", "integer"]),
        (dict(layers=-1), ["layers=-1", "greater than"]),
        (dict(readout_tokens=0), ["readout_tokens=0", "greater than"]),
        (dict(clip_norm=-1.0), ["clip_norm=-1.0", "greater than 0"]),
        (dict(learning_rate=float("nan")), ["learning_rate=nan"]),
        (dict(learning_rate="1e-3"), ["learning_rate='1e-3'", "number"]),
        (dict(width=97), ["heads=3", "divisor of width=97"]),
        (dict(prompt=7), ["prompt=7", "string"]),
        (dict(clip_model="hf-hub:someone/something"), ["clip_model='hf-hub:someone/something'"]),
        (dict(resnet_model="hf_hub:someone/something"), ["resnet_model='hf_hub:someone"]),
    ],
)
def test_wrong_configuration_names_what_was_expected(fields, words):
    with pytest.raises(ValueError) as error:
        configure(**fields)
    assert all(word in str(error.value) for word in words)


def test_shares_from_nothing_to_all_and_sizes_of_a_sensor_are_allowed():
    config = configure(val_fraction=0.0, train_fraction=1.0, sensor_size="640x480")
    assert (config.val_fraction, config.train_fraction, config.sensor_size) == (0, 1, "640x480")


def test_every_constructor_checks():
    fields = dataclasses.asdict(configure())
    assert Config(**fields) == configure()
    with pytest.raises(ValueError, match="precision='fp8'"):
        Config(**fields | {"precision": "fp8"})


# ------------------------------------------------------------------------------- the whole model
SWITCHES = [
    {},
    {"use_text": False},
    {"use_multimodal_transformer": False},
    {"use_self_attention": False},
    {"use_cross_attention": False},
    {"vision_tower": "vit"},
    {"vision_tower": "resnet"},
    {"vision_tower": "resnet", "use_text": False},
    {"modality": "rgb"},
    {"modality": "event"},
    {"frame_fusion": "mean"},
    {"prompt_context": 4},
    {"freeze_text": False},
    {"freeze_text": False, "prompt_context": 4},
    {"freeze_vision": True},
    {"layers": 2},
    {"frames": 1},
    {"joint_block": True},
    {"value_from_key": True},
    {"fusion": "released", "frame_fusion": "mean"},
]
SAME_GRAPH = ({}, {"frame_fusion": "mean"}, {"vision_tower": "vit"}, {"value_from_key": True})


def graph(model):
    return {(name, tuple(p.shape), p.requires_grad) for name, p in model.named_parameters()}


@functools.cache
def graph_of_the_full_model():
    return graph(SAFE(small(), SENTENCES))


@pytest.mark.parametrize(
    "switch", SWITCHES, ids=lambda s: ",".join(f"{k}={v}" for k, v in s.items()) or "full"
)
def test_every_switch_changes_the_graph_and_trains(switch):
    config = small(**switch)
    clips = Clips(6, config.frames)
    torch.manual_seed(0)
    model = SAFE(config, SENTENCES).train()
    if switch not in SAME_GRAPH:
        assert graph(model) != graph_of_the_full_model()
    rgb, event, labels = batch_of(clips, range(6))
    optimizer = safe_core.make_optimizer(model, config)
    losses = []
    reached = set()
    for _ in range(4):  # the inner layers of a fresh ResNet's blocks get none in the first step
        loss = F.cross_entropy(model(rgb, event), labels)
        optimizer.zero_grad()
        loss.backward()
        for name, p in model.named_parameters():
            if p.grad is not None and p.grad.any():
                reached.add(name)
        optimizer.step()
        losses.append(loss.item())
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    assert min(losses[1:]) < losses[0]
    in_optimizer = {p for group in optimizer.param_groups for p in group["params"]}
    assert in_optimizer == {p for p in model.parameters() if p.requires_grad}


def test_freezing_leaves_only_the_rest_trainable():
    model = SAFE(small(freeze_vision=True, freeze_text=True), SENTENCES).train()
    assert not any(p.requires_grad for p in model.vision.parameters())
    assert model.fusion.training
    assert model.text is None and model.text_features.shape == (3, 64)


def test_missing_modality_is_named():
    rgb, event, _ = batch_of(Clips(3), range(3))
    model = SAFE(small(), SENTENCES)
    with pytest.raises(ValueError, match="modality='both' needs the input 'event'"):
        model(rgb, None)
    with pytest.raises(ValueError, match="modality='both' needs the input 'rgb'"):
        model(event=event)


def test_a_single_modality_sees_only_its_own_input():
    rgb, event, _ = batch_of(Clips(3), range(3))
    for modality, own, other in (("rgb", rgb, event), ("event", event, rgb)):
        model = model_of(small(modality=modality))
        inputs = {"rgb": rgb, "event": event}
        with torch.no_grad():
            both, alone = model(**inputs), model(**{modality: own})
            changed = model(**{modality: other})
        assert torch.equal(both, alone) and not torch.allclose(alone, changed, atol=1e-4)


def test_output_does_not_depend_on_the_rest_of_the_batch():
    model = model_of(small())
    rgb, event, _ = batch_of(Clips(6), range(6))
    with torch.no_grad():
        together, alone = model(rgb, event), model(rgb[2:3], event[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-4)


def test_each_modality_has_its_own_place_in_the_model():
    """RGB in the place of events is another input, though one tower serves both."""
    model = model_of(small())
    rgb, event, _ = batch_of(Clips(3), range(3))
    with torch.no_grad():
        assert (model(rgb, event) - model(event, rgb)).abs().max() > 1e-3


def test_frame_order_matters_only_when_frames_are_concatenated():
    rgb, event, _ = batch_of(Clips(3), range(3))
    rgb = rgb.clone()
    rgb[:, 1] = 255 - rgb[:, 1]
    for fusion, same in (("concat", False), ("mean", True)):
        model = model_of(small(frame_fusion=fusion))
        with torch.no_grad():
            difference = (model(rgb, event) - model(rgb.flip(1), event.flip(1))).abs().max()
        assert (difference < 1e-5) == same


def test_a_frozen_vision_tower_stays_in_evaluation_mode():
    for freeze in (True, False):
        model = SAFE(small(vision_tower="resnet", freeze_vision=freeze), SENTENCES).train()
        assert model.training and model.fusion.training and model.vision.training != freeze
        before = {k: v.clone() for k, v in model.vision.state_dict().items()}
        model(*batch_of(Clips(3), range(3))[:2])
        after = model.vision.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before) == freeze
        assert not model.eval().vision.training


# ------------------------------------------------------------------------------- vision tower
def seen_by_the_network(config, images):
    """What a vision tower hands to its network."""
    tower = safe_core.VisionTower(config, safe_core.build_clip(config)[0])
    seen = []
    tower.net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    tower(images)
    return seen[0]


def test_half_normalisation_spans_minus_one_to_one():
    images = torch.tensor([0, 255], dtype=torch.uint8).repeat(1, 3, 64, 32)
    assert seen_by_the_network(small(normalisation="half"), images).unique().tolist() == [-1, 1]


def test_pixels_are_normalised_as_in_clips_pre_training():
    images = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
    seen = seen_by_the_network(small(), images)[0, :, 0, 0]
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)
    torch.testing.assert_close(seen, (128 / 255 - mean) / std)


@pytest.mark.parametrize("kind", ["clip", "vit", "resnet"])
def test_shipped_towers_have_their_weights_and_random_ones_have_not(kind):
    def first_weight(pretrained):
        config = small(vision_tower=kind, pretrained=pretrained)
        clip = safe_core.build_clip(config)[0] if kind == "clip" else None
        tower = safe_core.TOWERS[kind](config, clip)
        return next(p for p in tower.parameters() if p.ndim > 1)

    assert torch.equal(first_weight(True), first_weight(True))
    assert not torch.equal(first_weight(True), first_weight(False))


@pytest.mark.parametrize(
    ("kind", "name", "tokens"),
    [("vit", "vit_tiny_patch16_224", (17, 192)), ("resnet", "resnet10t", (4, 512))],
)
def test_a_tower_of_timm_takes_the_image_size_and_its_own_normalisation(kind, name, tokens):
    config = small(vision_tower=kind, **{f"{kind}_model": name})
    tower = safe_core.TOWERS[kind](config, None).eval()
    assert tower.net.num_classes == 0  # no head that nothing would train
    about = tower.net.pretrained_cfg
    expected = 255 * torch.tensor([about["mean"], about["std"]])
    torch.testing.assert_close(tower.mean_and_std.flatten(1), expected)
    assert about["mean"] != open_clip.OPENAI_DATASET_MEAN
    images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert tower(images).shape == (2, *tokens)


@pytest.mark.parametrize(("pretrained", "weights"), [(True, "openai"), (False, None)])
def test_clip_comes_from_open_clip_in_the_size_and_with_the_weights_asked_for(
    monkeypatch, pretrained, weights
):
    asked = []
    monkeypatch.setattr(
        open_clip, "create_model", lambda *names, **options: asked.append((*names, options))
    )
    safe_core.build_clip(configure("paper", pretrained=pretrained, image_size=96))
    expected = {"pretrained": weights, "force_image_size": 96}
    assert asked == [("ViT-B-16-quickgelu", expected)]


def test_an_absent_tower_is_named():
    with pytest.raises(FileNotFoundError, match="weights/huge.json: no such tower"):
        towers.build("weights/huge.json", pretrained=True)


# ------------------------------------------------------------------------------- text tower
def test_frozen_text_features_are_what_the_tower_gives():
    live = model_of(small(freeze_text=False))
    frozen = model_of(small(freeze_text=True))
    torch.testing.assert_close(frozen.text_features, live.text([0, 1, 2]))
    assert frozen.text is None and not any("text." in name for name in frozen.state_dict())


def test_of_a_frozen_text_tower_only_context_vectors_are_trained():
    model = SAFE(small(prompt_context=2), SENTENCES)
    assert [name for name, p in model.text.named_parameters() if p.requires_grad] == ["context"]
    assert model.text.context.shape[0] == 2


def test_context_vectors_stand_between_the_start_and_the_sentence():
    model = model_of(small(prompt_context=2, freeze_text=False))
    tower = model.text
    seen = []
    tower.transformer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    tower([0, 1, 2])
    embedded = tower.token_embedding.weight[tower.tokens]
    position = tower.positional_embedding
    torch.testing.assert_close(seen[0][:, 0], embedded[:, 0] + position[0])
    torch.testing.assert_close(seen[0][0, 1:3], tower.context + position[1:3])
    torch.testing.assert_close(seen[0][:, 3], embedded[:, 1] + position[3])


def test_cutting_text_positions_changes_nothing():
    clip, tokenizer = safe_core.build_clip(small())
    sentences = [f"sentence number {i} " + "very " * (i % 9) + "long" for i in range(120)]
    tower = safe_core.TextTower(small(), clip, tokenizer, sentences)
    assert tower.tokens.shape[1] < 20
    expected = clip.encode_text(tokenizer(sentences))
    torch.testing.assert_close(tower(list(range(120))), expected, atol=1e-5, rtol=1e-4)
    some = [99, 3, 3, 40]
    torch.testing.assert_close(tower(some), expected[some], atol=1e-5, rtol=1e-4)


def test_sentence_beyond_the_context_is_refused():
    with pytest.raises(ValueError, match="beyond CLIP's 77 tokens.*shorten"):
        SAFE(small(), [["word " * 90], ["b"], ["c"]])
    fits = "word " * 70
    SAFE(small(), [[fits], ["b"], ["c"]])
    SAFE(small(), [["word " * 74], ["b"], ["c"]])  # start, 74 words, end: 76 tokens
    with pytest.raises(ValueError, match="with 0 context"):  # it may have been cut
        SAFE(small(), [["word " * 75], ["b"], ["c"]])
    SAFE(small(prompt_context=5), [[fits], ["b"], ["c"]])
    with pytest.raises(ValueError, match="with 6 context.*'word"):
        SAFE(small(prompt_context=6), [["b"], [fits], ["c"]])


def test_several_sentences_are_averaged_in_evaluation_and_drawn_in_training():
    sentences = [["wave", "a waving hand", "someone waves"], ["bow"], ["jump", "a jump"]]
    model = SAFE(small(freeze_text=False), sentences)
    each = model.word_embed(model.text(list(range(6)))).detach()
    averaged = model.eval().text_tokens().detach()
    expected = torch.stack([each[:3].mean(0), each[3], each[4:].mean(0)])
    torch.testing.assert_close(averaged, expected)
    model.train()
    drawn = [{int((model.text_tokens()[0] - each[:3]).norm(dim=1).argmin()) for _ in range(40)}]
    drawn += [{int((model.text_tokens()[2] - each[4:]).norm(dim=1).argmin()) for _ in range(20)}]
    assert drawn == [{0, 1, 2}, {0, 1}]
    torch.testing.assert_close(model.text_tokens()[1], each[3])


# ------------------------------------------------------------------------------- fusion, by stages
def stages(fields=(), visual=None, text=None):
    """(inputs and outputs of every stage of a small fusion, fusion, visual tokens, text)."""
    torch.manual_seed(0)
    config = small(**dict(fields))
    build = safe_core.FUSIONS[config.fusion, config.joint_block, config.value_from_key]
    fusion = build(config, num_classes=3, num_tokens=5).eval()
    generator = torch.Generator().manual_seed(1)
    drawn = {b: torch.randn(2, 2, 5, 48, generator=generator) for b in config.branches}
    drawn["text"] = torch.randn(3, 48, generator=generator)
    visual = visual or {b: drawn[b] for b in config.branches}
    text = drawn["text"] if text is None else text
    seen = {}

    def note(name):
        def hook(module, inputs, output):
            seen[name] = (*inputs, output)

        return hook

    for name, module in fusion.named_modules():
        module.register_forward_hook(note(name))
    with torch.no_grad():
        fusion(visual, text if config.use_text else None)
    return seen, fusion, visual, text


def test_visual_tokens_get_position_frame_and_modality():
    seen, fusion, visual, text = stages()
    for branch in ("rgb", "event"):
        (mixed,) = seen[f"multimodal_transformer.{branch}"][:-1]
        expected = visual[branch] + fusion.position + fusion.frame + fusion.kind[branch]
        torch.testing.assert_close(mixed[:, :10], expected.flatten(1, 2))
        torch.testing.assert_close(mixed[:, 10:], (text + fusion.kind["text"]).expand(2, -1, -1))


def test_averaged_frames_keep_one_set_of_tokens():
    seen, fusion, visual, _ = stages({"frame_fusion": "mean"})
    (mixed,) = seen["multimodal_transformer.rgb"][:-1]
    assert fusion.frame is None and mixed.shape[1] == 5 + 3
    expected = visual["rgb"].mean(dim=1) + fusion.position + fusion.kind["rgb"]
    torch.testing.assert_close(mixed[:, :5], expected)


def test_self_attention_reads_rgb_then_events_as_the_transformers_left_them():
    seen, *_ = stages()
    tokens, mixed = seen["self_attention"]
    expected = [seen[f"multimodal_transformer.{b}"][-1][:, :10] for b in ("rgb", "event")]
    torch.testing.assert_close(tokens, torch.cat(expected, dim=1))
    assert mixed.shape == tokens.shape


def test_each_branchs_text_asks_its_own_visual_tokens():
    """Queries: text behind the branch's Transformer; keys: its tokens behind stage 3."""
    seen, *_ = stages()
    mixed = seen["self_attention"][-1]
    for branch, part in (("rgb", mixed[:, :10]), ("event", mixed[:, 10:])):
        queries, context, _ = seen[f"cross_attention.{branch}"]
        torch.testing.assert_close(queries, seen[f"multimodal_transformer.{branch}"][-1][:, 10:])
        torch.testing.assert_close(context, part)


def test_the_last_attention_reads_everything_and_the_classifier_its_readout():
    seen, fusion, *_ = stages()
    readout, everything, classified = seen["final_attention"]
    texts = [seen[f"cross_attention.{b}"][-1] for b in ("rgb", "event")]
    learned = fusion.readout.expand(2, -1, -1)
    expected = torch.cat([seen["self_attention"][-1], *texts, learned], dim=1)
    torch.testing.assert_close(everything, expected)
    torch.testing.assert_close(readout, learned)
    torch.testing.assert_close(seen["classifier"][0], classified)
    assert seen["classifier"][-1].shape == (2, 3)


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("use_multimodal_transformer", "multimodal_transformer."),
        ("use_self_attention", "self_attention"),
        ("use_cross_attention", "cross_attention."),
    ],
)
def test_a_switched_off_stage_hands_its_input_on(switch, gone):
    seen, fusion, visual, text = stages({switch: False})
    assert not any(name.startswith(gone) for name, _ in fusion.named_parameters())
    everything = seen["final_attention"][1]
    assert everything.shape[1] == 2 * (2 * 5 + 3) + 3
    if switch == "use_multimodal_transformer":
        torch.testing.assert_close(
            seen["cross_attention.rgb"][0], (text + fusion.kind["text"]).expand(2, -1, -1)
        )
    elif switch == "use_self_attention":
        rgb = seen["multimodal_transformer.rgb"][-1][:, :10]
        torch.testing.assert_close(everything[:, :10], rgb)
    else:
        event_text = seen["multimodal_transformer.event"][-1][:, 10:]
        torch.testing.assert_close(everything[:, 23:26], event_text)


def test_without_text_there_are_no_text_tokens():
    seen, fusion, *_ = stages({"use_text": False})
    assert seen["final_attention"][1].shape[1] == 2 * 10 + 3
    assert set(fusion.kind) == {"rgb", "event"} and not fusion.cross_attention


def test_attention_is_pre_norm_with_a_residual():
    torch.manual_seed(0)
    layer = safe_core.PreNormAttention(8, 2)
    queries, context = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    for given in (context, None):
        q = F.layer_norm(queries, (8,))
        k = q if given is None else F.layer_norm(context, (8,))
        weight, bias = layer.attention.in_proj_weight, layer.attention.in_proj_bias
        projected = [
            (x @ w.T + b).unflatten(2, (2, 4)).transpose(1, 2)
            for x, w, b in zip((q, k, k), weight.chunk(3), bias.chunk(3), strict=True)
        ]
        mixed = F.scaled_dot_product_attention(*projected).transpose(1, 2).flatten(2)
        expected = queries + layer.attention.out_proj(mixed)
        torch.testing.assert_close(layer(queries, given), expected)


def test_the_value_can_be_computed_from_the_key():
    torch.manual_seed(0)
    layer = released.KeyValueAttention(8, 2)
    queries, context = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    seen = []
    layer.attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    layer(queries, context)
    weight, bias = layer.attention.in_proj_weight[8:16], layer.attention.in_proj_bias[8:16]
    key = layer.norm(context)
    torch.testing.assert_close(seen[0][1:], (key, key @ weight.T + bias))
    fusion = stages({"value_from_key": True})[1]
    assert isinstance(fusion.cross_attention["event"], released.KeyValueAttention)
    assert not isinstance(fusion.self_attention, released.KeyValueAttention)


def test_in_the_joint_block_one_modality_reaches_the_other():
    """After it, before any later stage, RGB tokens depend on the events; in two branches not."""
    for joint in (False, True):
        fields = {"joint_block": joint, "use_self_attention": False}
        before, _, visual, text = stages(fields)
        changed = visual | {"event": torch.randn(2, 2, 5, 48)}
        after, *_ = stages(fields, changed, text)
        name = "cross_attention.rgb"
        assert torch.equal(before[name][1], after[name][1]) != joint
        assert torch.equal(before[name][0], after[name][0]) != joint  # the text tokens, too


# ------------------------------------------------------------------------------- optimiser
def groups_of(**fields):
    """{parameter name: its group in the optimiser}."""
    config = small(**fields)
    model = SAFE(config, SENTENCES)
    optimizer = safe_core.make_optimizer(model, config)
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: g for g in optimizer.param_groups for p in g["params"]}


def test_what_has_a_side_of_one_is_not_decayed_convolutions_among_it():
    shapes = {"vector": (4,), "token": (1, 4), "matrix": (4, 3), "kernel": (4, 3, 3, 3)}
    shapes |= {"point": (4, 3, 1, 1), "in_time": (4, 3, 3, 1, 1)}
    model = torch.nn.ParameterDict({name: torch.ones(shape) for name, shape in shapes.items()})
    optimizer = safe_core.make_optimizer(model, safe_core.configure("sample", weight_decay=0.1))
    decayed = [p.shape for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]]
    assert {*map(tuple, decayed)} == {shapes["matrix"], shapes["kernel"]}


def test_matrices_are_decayed_and_vectors_and_single_tokens_are_not():
    groups = groups_of(weight_decay=0.07)
    decayed = {name for name, group in groups.items() if group["weight_decay"]}
    assert {groups[name]["weight_decay"] for name in decayed} == {0.07}
    assert {"word_embed.weight", "fusion.classifier.3.weight", "fusion.readout"} <= decayed
    assert "vision.net.transformer.resblocks.0.mlp.c_fc.weight" in decayed
    vectors = {name for name in groups if name.endswith(("bias", "norm.weight"))}
    assert vectors and not decayed & (vectors | {"fusion.kind.rgb", "fusion.kind.text"})


def test_towers_are_known_to_the_optimiser():
    groups = groups_of(freeze_text=False, prompt_context=2)
    towers = {name for name, group in groups.items() if group["tower"]}
    assert towers == {name for name in groups if name.startswith(("vision.", "text."))}
    assert {name.split(".")[0] for name in groups} == {
        *("vision", "text", "word_embed", "visual_embed", "fusion")
    }


def test_what_is_frozen_is_not_in_the_optimiser():
    groups = groups_of(freeze_vision=True)
    assert not any(name.startswith(("vision.", "text.")) for name in groups)


def test_the_gradient_of_all_or_of_the_fusion_alone_is_clipped():
    assert all(group["clipped"] for group in groups_of().values())
    for name, group in groups_of(clip_norm_of="fusion").items():
        assert group["clipped"] != name.startswith("vision.")


def test_schedule_warms_up_then_follows_a_cosine():
    config = small(learning_rate=1.0, warmup_fraction=0.1, final_lr_fraction=0.1)
    rates = [safe_core.learning_rate(step, 100, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rates[55] == pytest.approx(0.55)  # half way down
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


def test_a_schedule_of_warm_up_alone_ends_at_the_full_rate():
    config = small(learning_rate=1.0, warmup_fraction=1.0)
    assert [safe_core.learning_rate(i, 4, config) for i in range(5)] == [0.25, 0.5, 0.75, 1, 1]


def test_the_released_schedule_is_constant():
    config = configure("paper", schedule="constant")
    rates = [safe_core.learning_rate(step, 100, config) for step in range(100)]
    assert rates == [pytest.approx(8.072e-7)] * 100


# ------------------------------------------------------------------------------- precision, scores
@pytest.mark.parametrize(("precision", "bf16"), [("auto", False), ("fp32", False), ("bf16", True)])
def test_a_cpu_computes_in_float32_unless_asked(precision, bf16):
    device = torch.device("cpu")
    with safe_core.autocast(small(precision=precision), device):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if bf16 else torch.float32)


@pytest.mark.parametrize(
    ("precision", "capability", "expected"),
    [
        ("auto", (8, 0), (torch.bfloat16, True)),
        ("auto", (7, 5), (torch.float16, True)),
        ("fp16", (8, 0), (torch.float16, True)),
        ("fp32", (8, 0), (torch.bfloat16, False)),
    ],
)
def test_a_gpu_computes_in_half_precision_as_it_can(monkeypatch, precision, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: (kind, dtype, enabled))
    found = safe_core.autocast(small(precision=precision), torch.device("cuda"))
    assert found == ("cuda", *expected)


def test_accuracy_counts_the_first_and_the_first_five():
    """Ten classes; the true one is ranked first, second, fifth, sixth."""
    log_probs = torch.linspace(0, -9, 10).repeat(4, 1).log_softmax(dim=1)
    scores = safe_core.accuracy(log_probs, torch.tensor([0, 1, 4, 5]))
    assert scores["top1"] == 25 and scores["top5"] == 75
    assert scores["loss"] == pytest.approx(-log_probs[0, [0, 1, 4, 5]].mean().item())
    few = safe_core.accuracy(log_probs[:, :3].log_softmax(dim=1), torch.tensor([2, 2, 2, 0]))
    assert (few["top1"], few["top5"]) == (25, 100)


def test_evaluation_draws_nothing():
    config = small(dropout=0.5, batch_size=3)
    model = SAFE(config, SENTENCES).train()
    first = safe_core.predict(model, Clips(7), config)
    assert not model.training and torch.equal(first, safe_core.predict(model, Clips(7), config))
    assert first.shape == (7, len(NAMES)) and first.dtype == torch.float32
    torch.testing.assert_close(first.exp().sum(dim=1), torch.ones(7))
    rgb, event, _ = batch_of(Clips(7), range(7))
    with torch.no_grad():
        torch.testing.assert_close(first, model(rgb, event).log_softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("names", [["wave", None, "jump"], [1, 2, 3], [["a"], "b", "c"]], ids=str)
def test_class_names_that_are_no_texts_are_damage(names, tmp_path):
    config = small()
    about = {"class_names": names, "sentences": SENTENCES, "config": dataclasses.asdict(config)}
    safe_core.save_checkpoint(tmp_path / "m.safetensors", model_of(config).state_dict(), about)
    with pytest.raises(ValueError, match="m.safetensors: not a model that this code builds"):
        safe_core.load_model(tmp_path / "m.safetensors")


# ------------------------------------------------------------------------------- export
@pytest.mark.parametrize("freeze_text", [True, False])
def test_the_whole_model_can_be_exported(freeze_text):
    model = model_of(small(freeze_text=freeze_text))
    rgb, event, _ = batch_of(Clips(2), range(2))
    exported = torch.export.export(model, (rgb, event)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(rgb, event), model(rgb, event), atol=1e-5, rtol=1e-4)
