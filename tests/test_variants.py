"""Heads that read names: where they begin, what they learn, what they answer, what they refuse."""

import dataclasses

import numpy as np
import open_clip
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny import NAMES, SENTENCES, Clips, batch_of, run_fit, small
from torch.nn import functional as F

import safe_core
from safe_companion import naming, variants

TEXT = {"classifier": "text"}
COSINES = {"model": "cosines", "classifier": "text"}
BRANCHES = {"model": "safe-branches"}
MORE = [*NAMES[::-1], "swing", "clap"]


def built(seed=0, *, sentences=SENTENCES, **fields):
    torch.manual_seed(seed)
    return safe_core.build(small(**{"pretrained": True} | fields), sentences)


def zero_shot(config, clips, indices, sentences=SENTENCES):
    """CLIP's scaled cosines [branches, B, L], by open_clip's own functions, image by image."""
    clip, tokenizer = safe_core.build_clip(config)
    clip.eval()
    moments = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in moments)
    text = clip.encode_text(tokenizer([group[0] for group in sentences]), normalize=True)
    of_branch = []
    for images in batch_of(clips, indices)[:2]:
        pixels = (images / 255 - mean) / std
        shown = torch.stack([clip.encode_image(clip_pixels).mean(dim=0) for clip_pixels in pixels])
        of_branch.append(clip.logit_scale.exp() * F.normalize(shown, dim=1) @ text.T)
    return torch.stack(of_branch)


# ------------------------------------------------------------------------------- where they begin
@pytest.mark.parametrize("switch", [TEXT, COSINES], ids=str)
def test_training_begins_with_clips_zero_shot_answer(switch):
    model = built(**switch).eval()
    clips = Clips(5)
    with torch.no_grad():
        expected = zero_shot(model.config, clips, range(5)).mean(dim=0)
        rgb, event, _ = batch_of(clips, range(5))
        found = model(rgb, event)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert found.std() > 0.1
        torch.testing.assert_close(model(rgb, event, model.text_tokens()), found)
        for branch, alone in zip(
            ("rgb", "event"), zero_shot(model.config, clips, range(5)), strict=True
        ):
            single = built(modality=branch, **switch).eval()
            torch.testing.assert_close(single(rgb, event), alone, atol=1e-4, rtol=1e-4)


def test_several_sentences_of_a_class_are_averaged():
    groups = [["wave", "a waving hand"], ["bow"], ["jump"]]
    model = built(sentences=groups, **COSINES).eval()
    rgb, event, _ = batch_of(Clips(3), range(3))
    flat = built(sentences=[["wave"], ["a waving hand"], ["bow"], ["jump"]], **COSINES).eval()
    features = flat.text_tokens()
    together = torch.stack([features[:2].mean(dim=0), features[2], features[3]])
    torch.testing.assert_close(model(rgb, event), flat(rgb, event, together))


# ------------------------------------------------------------------------------- what they learn
SWITCHES = [
    *({"modality": modality} | TEXT for modality in ("both", "rgb", "event")),
    *(fields | TEXT for fields in ({"joint_block": True}, {"value_from_key": True})),
    *(fields | TEXT for fields in ({"frame_fusion": "mean"}, {"prompt_context": 2})),
    *(fields | TEXT for fields in ({"freeze_vision": True}, {"text_source": "random"})),
    *(fields | TEXT for fields in ({"freeze_text": False}, {"text_source": "learned"})),
    COSINES,
    COSINES | {"freeze_vision": True},
    COSINES | {"freeze_text": False},
    BRANCHES,
    BRANCHES | {"modality": "event"},
    BRANCHES | {"freeze_vision": True},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_trained_part_gets_a_gradient_and_the_loss_falls(switch):
    model = built(**switch).train()
    rgb, event, labels = batch_of(Clips(6), range(6))
    optimizer = safe_core.make_optimizer(model, model.config)
    losses = []
    reached = set()
    for _ in range(4):  # the trust is 0 at first, so the fusion behind it gets none
        loss = model.loss(model(rgb, event), labels)
        optimizer.zero_grad()
        loss.backward()
        reached |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
        losses.append(loss.item())
    assert reached == {name for name, p in model.named_parameters() if p.requires_grad}
    assert min(losses[1:]) < losses[0]
    if switch.get("freeze_vision"):
        assert not any("vision" in name or "projection" in name for name in reached)


def test_the_fusion_says_how_far_each_branch_is_trusted():
    model = built(**TEXT).eval()
    rgb, event, _ = batch_of(Clips(4), range(4))
    last = model.fusion.fusion.classifier[-1]
    with torch.no_grad():
        of_rgb, of_event = zero_shot(model.config, Clips(4), range(4))
        for bias, expected in {(30.0, -30.0): of_rgb, (-30.0, 30.0): of_event}.items():
            last.bias.copy_(torch.tensor(bias))
            torch.testing.assert_close(model(rgb, event), expected, atol=1e-4, rtol=1e-4)
        torch.nn.init.normal_(last.weight)
        last.bias.zero_()
        other = batch_of(Clips(9), range(4))[0]
        ours, theirs = model(rgb, event), model(other, event)
        assert not torch.allclose(ours - theirs, (of_rgb - of_rgb).mean(), atol=0.1)


def test_a_branchs_own_loss_counts_half_and_all_answer_in_the_end():
    model = built(**BRANCHES)
    rgb, event, labels = batch_of(Clips(6), range(6))
    with torch.no_grad():
        logits = model.train()(rgb, event)
        assert logits.shape == (3, 6, 3)
        torch.testing.assert_close(
            logits[1:], zero_shot(model.config, Clips(6), range(6)), atol=1e-4, rtol=1e-4
        )
        fused, *alone = (F.cross_entropy(part, labels) for part in logits)
        torch.testing.assert_close(model.loss(logits, labels), fused + 0.5 * sum(alone))
        answers = model.eval()(rgb, event)
        torch.testing.assert_close(answers, logits.log_softmax(dim=2).mean(dim=0))
        paper = built(**{"model": "safe"})
        paper.load_state_dict(
            {
                name.replace("fusion.visual_embed", "visual_embed")
                .replace("fusion.word_embed", "word_embed")
                .replace("fusion.fusion", "fusion"): value
                for name, value in model.state_dict().items()
                if "cosines" not in name
            }
        )
        torch.testing.assert_close(paper.eval()(rgb, event), logits[0])  # nothing is lost of it


# ------------------------------------------------------------------------------- names
def trained(folder, **fields):
    config = small(**{"pretrained": True, "epochs": 1, "learning_rate": 1e-2} | fields)
    sentences = [[f"The action of the human is {name}"] for name in NAMES]
    run_fit(folder, config, sentences=sentences)
    return folder / "best.safetensors"


@pytest.mark.parametrize("switch", [TEXT, COSINES, TEXT | {"freeze_text": False}], ids=str)
def test_other_names_get_their_own_answers(switch, tmp_path):
    checkpoint = trained(tmp_path, **switch)
    rgb, event, _ = batch_of(Clips(4), range(4))
    model, _ = naming.load_model(checkpoint)
    with torch.no_grad():
        known = model(rgb, event)
        permuted, about = naming.load_model(checkpoint, NAMES[::-1])
        assert about["class_names"] == NAMES[::-1] and about["new_names"] == []
        torch.testing.assert_close(permuted(rgb, event), known.flip(1), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(known, known.flip(1), atol=0.01)
        wider, about = naming.load_model(checkpoint, MORE)
        assert about["new_names"] == ["swing", "clap"] and wider.about is about
        answers = wider(rgb, event)
        cosines = model.fusion.cosines
        seen = {
            b: model.vision(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            for b, x in {"rgb": rgb, "event": event}.items()
        }
        expected = cosines(seen, wider.text_tokens())
        if switch == COSINES:
            torch.testing.assert_close(answers, expected.mean(dim=0), atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(answers[:, :3], known.flip(1), atol=1e-4, rtol=1e-4)
        else:  # the set of names may change the trust, not the cosines
            trust = wider.fusion.trust(seen, wider.text_tokens())
            assert not torch.allclose(trust, torch.ones(2, 4), atol=1e-3)
            whole = (trust[:, :, None] * expected).mean(dim=0)
            torch.testing.assert_close(answers, whole, atol=1e-4, rtol=1e-4)


def test_names_come_from_a_file(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("\n wave \n\nclap\n", encoding="utf-8-sig")
    assert naming.read_names(file) == ["wave", "clap"]
    file.write_text("\n")
    with pytest.raises(ValueError, match="found no class name"):
        naming.read_names(file)
    with pytest.raises(FileNotFoundError, match="no such file; expected a class name"):
        naming.read_names(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("switch", "said"),
    [
        ({}, "classifier='tokens', which answers with the 3 classes"),
        (BRANCHES, "classifier='tokens', which answers"),
        (TEXT | {"text_source": "random"}, "text_source='random', which has no vector"),
        (TEXT | {"text_source": "learned"}, "text_source='learned', which has no vector"),
        (TEXT | {"pretrained": False}, "frozen text tower of random weights"),
    ],
    ids=str,
)
def test_what_reads_no_other_names_says_so(switch, said, tmp_path):
    checkpoint = trained(tmp_path, **switch)
    naming.load_model(checkpoint, list(NAMES))
    with pytest.raises(ValueError, match=said):
        naming.load_model(checkpoint, MORE)


def test_features_of_a_file_serve_new_names_too(tmp_path):
    features = np.random.default_rng(0).standard_normal((5, 64))
    np.savez(tmp_path / "names.npz", features=features, names=np.array(sorted(MORE)))
    fields = TEXT | {"text_source": "file", "text_file": str(tmp_path / "names.npz")}
    config = small(**{"pretrained": True, "epochs": 1} | fields)
    run_fit(tmp_path, config, sentences=[[name] for name in NAMES])
    model, _ = naming.load_model(tmp_path / "best.safetensors", MORE)
    rgb, event, _ = batch_of(Clips(2), range(2))
    assert model(rgb, event).shape == (2, 5)
    assert torch.allclose(model.text_tokens().norm(dim=1), torch.ones(5))


# ------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("switch", [TEXT, COSINES, BRANCHES], ids=str)
@pytest.mark.parametrize(
    "other",
    [
        {"vision_tower": "vit"},
        {"vision_tower": "resnet"},
        {"use_text": False},
        {"fusion": "released", "frame_fusion": "mean"},
    ],
    ids=str,
)
def test_what_has_no_cosine_is_refused(switch, other):
    field = next(iter(other))
    with pytest.raises(ValueError, match=f"found {field}={other[field]!r}, expected"):
        built(**switch | other)


def test_features_of_another_width_are_refused(tmp_path):
    np.savez(tmp_path / "names.npz", features=np.eye(3, 5), names=np.array(NAMES))
    fields = TEXT | {"text_source": "file", "text_file": str(tmp_path / "names.npz")}
    model = built(sentences=[[name] for name in NAMES], **fields)
    rgb, event, _ = batch_of(Clips(2), range(2))
    with pytest.raises(ValueError, match="text features of 5 values; expected 64"):
        model(rgb, event)


@pytest.mark.parametrize("pair", [("cosines", "tokens"), ("safe-branches", "text")], ids=str)
def test_what_was_not_decided_for_is_refused(pair):
    model, classifier = pair
    with pytest.raises(ValueError, match=f"model='{model}' has no classifier='{classifier}'"):
        built(model=model, classifier=classifier)


# ------------------------------------------------------------------------------- runs
@pytest.mark.parametrize("switch", [TEXT, COSINES, BRANCHES], ids=str)
def test_a_run_resumes_bit_for_bit_and_is_loaded_as_it_was(switch, tmp_path):
    config = small(**switch | {"epochs": 2})
    whole = run_fit(tmp_path / "whole", config)

    def interrupt(step, *_):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "parts", config, on_step=interrupt)
    parts = run_fit(tmp_path / "parts", config, resume=True)
    assert torch.equal(whole["log_probs"], parts["log_probs"])
    model, _ = safe_core.load_model(tmp_path / "parts" / "best.safetensors")
    assert torch.equal(safe_core.predict(model, Clips(7), config), whole["log_probs"])


@pytest.mark.parametrize("switch", [TEXT, COSINES, BRANCHES], ids=str)
def test_half_precision_computes_cosines_in_full(switch):
    model = built(**switch).eval()
    with torch.no_grad():
        exact = safe_core.predict(model, Clips(6), model.config)
        half = dataclasses.replace(model.config, precision="bf16")
        rough = safe_core.predict(model, Clips(6), half)
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, atol=0.15, rtol=0)
    tokens = {branch: torch.randn(2, 3, 5, 96).bfloat16() for branch in ("rgb", "event")}
    with torch.no_grad():
        full = model.fusion.cosines(tokens, model.text_tokens())
        assert full.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.fusion.cosines(tokens, model.text_tokens()), full)


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    place = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    for number, switch in enumerate((TEXT, COSINES, BRANCHES)):
        config = small(**switch | {"epochs": 1, "learning_rate": 1e-3})
        result = run_fit(folder / f"two{number}", config)
        torch.save(result["log_probs"], folder / f"{number}_{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    mp.spawn(one_of_two, args=(tmp_path,), nprocs=2)
    for number, switch in enumerate((TEXT, COSINES, BRANCHES)):
        config = small(**switch | {"epochs": 1, "learning_rate": 1e-3})
        alone = run_fit(tmp_path / f"one{number}", config)["log_probs"]
        for rank in (0, 1):
            answers = torch.load(tmp_path / f"{number}_{rank}.pt", weights_only=True)
            torch.testing.assert_close(answers, alone, atol=2e-3, rtol=0)


def test_the_weight_of_a_branchs_loss_is_the_documented_one():
    assert variants.AUXILIARY == 0.5


@pytest.mark.parametrize("switch", [TEXT, COSINES], ids=str)
def test_a_head_is_not_taught_that_names_without_a_recording_are_never_the_answer(
    switch, tmp_path, monkeypatch
):
    train = Clips(12)
    train.labels %= 2  # nothing shows the third class
    loss = variants.CosineModel.loss
    pulls = []

    def watched(self, logits, labels):
        logits.register_hook(pulls.append)
        return loss(self, logits, labels)

    monkeypatch.setattr(variants.CosineModel, "loss", watched)
    run_fit(tmp_path, small(epochs=1, **switch), train)
    pull = torch.stack(pulls).abs().amax(dim=(0, 1))
    assert pull[:2].min() > 0 and pull[2] == 0
