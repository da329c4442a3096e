"""CLIP itself: its zero-shot answer, its contrastive loss, in one process and in several."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny import NAMES, SENTENCES, Clips, batch_of, run_fit, small
from torch.nn import functional as F

import safe_core
from safe_companion.contrast import contrast

CLIP = {"model": "clip", "classifier": "text", "freeze_text": False}


def clip(**fields):
    config = small(**CLIP | fields)
    torch.manual_seed(0)
    return safe_core.build(config, SENTENCES)


def test_the_answer_is_the_class_whose_sentence_is_nearest():
    model = clip(pretrained=True).eval()
    rgb, event, _ = batch_of(Clips(4), range(4))
    net, _ = safe_core.build_clip(model.config)
    with torch.no_grad():
        tokens = model.text.get_buffer("tokens")
        whole = F.pad(tokens, (0, 77 - tokens.shape[1]))
        text = F.normalize(net.encode_text(whole), dim=-1)
        mean, std = model.vision.mean_and_std
        expected = 0
        for images in (rgb, event):
            frames = [F.normalize(net.encode_image((x - mean) / std), dim=-1) for x in images]
            clips = F.normalize(torch.stack([f.mean(0) for f in frames]), dim=-1)
            expected = expected + net.logit_scale.exp() * clips @ text.T / 2
        assert torch.allclose(model(rgb, event), expected, atol=1e-4)


def test_to_permute_the_sentences_permutes_the_answers():
    model = clip(pretrained=True).eval()
    rgb, event, _ = batch_of(Clips(4), range(4))
    other = safe_core.build(model.config, SENTENCES[::-1]).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        answers = model(rgb, event)
        assert torch.allclose(other(rgb, event).flip(1), answers, atol=1e-4)
        assert answers.std() > 1e-3


def test_of_several_sentences_a_class_the_answer_takes_the_mean():
    config = small(**CLIP, pretrained=True)
    doubled = safe_core.build(config, [[*group, *group] for group in SENTENCES]).eval()
    single = safe_core.build(config, SENTENCES).eval()
    rgb, event, _ = batch_of(Clips(4), range(4))
    with torch.no_grad():
        assert torch.allclose(doubled(rgb, event), single(rgb, event), atol=1e-4)


# ---------------------------------------------------------------- the loss
def test_the_loss_of_pairs_is_info_nce():
    logits = torch.randn(4, 4)
    by_hand = [-logits.log_softmax(1).diag().mean(), -logits.log_softmax(0).diag().mean()]
    assert contrast(logits, torch.eye(4)).item() == pytest.approx(sum(by_hand).item() / 2)


def test_recordings_of_one_class_share_its_sentence():
    """Of three recordings, two of one class: the best that can be had is the entropy of sharing."""
    belongs = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    right = contrast(100 * belongs, belongs).item()
    assert right == pytest.approx(math.log(2) / 4, abs=1e-4)  # the sentence's own way, half of it


def loss_of(model, labels, **images):
    model.train()
    torch.manual_seed(1)
    return model.loss(model(**images), torch.tensor(labels))


def test_the_loss_joins_frames_event_images_and_sentences():
    rgb, event, _ = batch_of(Clips(4), range(4))
    labels = [0, 1, 2, 0]
    parts = {
        name: loss_of(clip(modality=name), labels, **{name: images}).item()
        for name, images in (("rgb", rgb), ("event", event))
    }
    both = loss_of(clip(), labels, rgb=rgb, event=event).item()
    model = clip()
    images, _, factor = model.train()(rgb, event)
    pairs = contrast(factor * images[0] @ images[1].T, torch.eye(4)).item()
    assert both == pytest.approx((parts["rgb"] + parts["event"] + pairs) / 3, abs=1e-5)


def test_a_class_that_the_batch_lacks_is_no_negative():
    model = clip().train()
    rgb, event, _ = batch_of(Clips(4), range(4))
    images, text, factor = model(rgb, event)
    text = text.detach().requires_grad_()
    model.loss((images, text, factor), torch.tensor([0, 2, 2, 0])).backward()
    assert text.grad[0].any() and text.grad[2].any() and not text.grad[1].any()


@pytest.mark.parametrize(
    ("fields", "moves"),
    [
        ({}, {"text", "vision"}),
        ({"freeze_text": True}, {"vision"}),
        ({"freeze_vision": True}, {"text"}),
    ],
)
def test_every_tower_that_is_not_frozen_learns(fields, moves):
    model = clip(**fields)
    rgb, event, labels = batch_of(Clips(6), range(6))
    loss_of(model, labels.tolist(), rgb=rgb, event=event).backward()
    got = {
        name.split(".")[0]
        for name, p in model.named_parameters()
        if p.grad is not None and p.grad.any()
    }
    assert got == moves | {"logit_scale"}
    for part in moves:
        named = getattr(model, part).named_parameters()
        assert all(p.grad is not None for _, p in named), part


# ---------------------------------------------------------------- training
def test_it_learns_to_tell_classes_apart_and_is_loaded_again(tmp_path):
    config = small(**CLIP, epochs=12, learning_rate=1e-3, warmup_fraction=0.1)
    result = run_fit(tmp_path, config)
    first, last = result["history"][0]["train_loss"], result["history"][-1]["train_loss"]
    assert last < 0.8 * first
    model, about = safe_core.load_model(tmp_path / "best.safetensors")
    assert about["class_names"] == NAMES
    log_probs = safe_core.predict(model, Clips(7), config)
    assert torch.allclose(log_probs, result["log_probs"], atol=1e-5)


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    config = small(**CLIP, epochs=3)
    whole = run_fit(tmp_path / "whole", config)

    def stop(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(tmp_path / "cut", config, on_step=stop)
    again = run_fit(tmp_path / "cut", config, resume=True)
    assert torch.equal(again["log_probs"], whole["log_probs"])


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    place = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    model = clip()
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    rgb, event, labels = batch_of(Clips(6), range(rank, 6, 2))
    loss = model.loss(wrapped(rgb, event), labels)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    result = run_fit(folder / "run", small(**CLIP, epochs=2, learning_rate=1e-3))
    losses = [row["train_loss"] for row in result["history"]]
    torch.save((gradients, loss.detach(), losses), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_contrast_the_whole_batch_as_one_does(tmp_path):
    mp.spawn(one_of_two, args=(tmp_path,), nprocs=2)
    model = clip().train()
    order = [0, 2, 4, 1, 3, 5]
    rgb, event, labels = batch_of(Clips(6), order)
    loss = model.loss(model(rgb, event), labels)
    loss.backward()
    alone = run_fit(tmp_path / "alone", small(**CLIP, epochs=2, learning_rate=1e-3))
    for rank in (0, 1):
        gradients, of_process, losses = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert of_process.item() == pytest.approx(loss.item(), abs=1e-5)
        for name, p in model.named_parameters():
            torch.testing.assert_close(gradients[name], p.grad, atol=1e-5, rtol=1e-3, msg=name)
        expected = [row["train_loss"] for row in alone["history"]]
        assert losses == pytest.approx(expected, abs=1e-3)
