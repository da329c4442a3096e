"""The sentences of the classes are a set: book/text_is_a_set.md proves it, this tries it.

Models of random weights and, so that no part of them is silent, noise on every weight.
"""

import pytest
import torch
from tiny import NAMES, Clips, batch_of, small
from torch import nn

import safe_core

# A class may have several sentences; whoever permutes gives it another's, all of them.
SENTENCES = [["The action of the human is wave"], ["a bow", "He bows."], ["jump", "leap", "hop"]]
OTHERS = [["A photo of a lamp"], ["a tree", "Trees."], ["snow", "ice", "rain"]]
READINGS = {
    "the paper": {},
    "two layers": {"layers": 2},
    "events alone": {"modality": "event"},
    "without multi-modal Transformer": {"use_multimodal_transformer": False},
    "without cross-attention": {"use_cross_attention": False},
    "trained text tower": {"freeze_text": False},
    "learned context": {"prompt_context": 3},
    "one joint block": {"joint_block": True},
    "value from the key": {"value_from_key": True},
    "both of these, frames averaged": {
        **{"joint_block": True, "value_from_key": True, "frame_fusion": "mean"},
    },
    "the released model": {"fusion": "released", "frame_fusion": "mean"},
}


def made(sentences, seed, **fields):
    """A model of a seed for these sentences, in evaluation mode."""
    torch.manual_seed(seed)
    model = safe_core.build(small(**fields), sentences)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.05 * torch.randn_like(weights)
    return model.eval()


@torch.no_grad()
def answers(sentences, seed, **fields):
    """Logits [4, 3] of four clips."""
    rgb, event, _ = batch_of(Clips(6), range(4))
    return made(sentences, seed, **fields)(rgb, event)


def moved(after, before):
    """The largest change of a logit, relative to the largest logit."""
    return ((after - before).abs().max() / before.abs().max()).item()


ORDERS = [[1, 2, 0], [1, 0, 2]]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fields", READINGS.values(), ids=READINGS)
def test_permuting_the_sentences_changes_no_answer_and_other_sentences_do(fields, seed):
    before = answers(SENTENCES, seed, **fields)
    permuted = answers([SENTENCES[i] for i in ORDERS[seed]], seed, **fields)
    assert moved(permuted, before) < 1e-5
    assert moved(answers(OTHERS, seed, **fields), before) > 1e-3


@pytest.mark.parametrize("source", ["random", "learned"])
def test_permuting_what_stands_in_for_the_text_changes_no_answer_either(source):
    rgb, event, _ = batch_of(Clips(6), range(4))
    model = made(SENTENCES, 0, text_source=source)
    with torch.no_grad():
        text = model.text_tokens()
        before = model(rgb, event, text)
        assert moved(model(rgb, event, text.flip(0)), before) < 1e-5
        assert moved(model(rgb, event, torch.randn_like(text)), before) > 1e-3


def trained(sentences, **fields):
    """Logits on four clips behind ten steps on eight others, which move them."""
    model = made(sentences, 0, freeze_text=False, **fields)
    rgb, event, labels = batch_of(Clips(12), range(8))
    for _ in range(10):
        model.loss(model(rgb, event), labels).backward()
        with torch.no_grad():
            for weights in model.parameters():
                weights -= 0.01 * weights.grad
                weights.grad = None
    rgb, event, _ = batch_of(Clips(6), range(4))
    with torch.no_grad():
        return model(rgb, event)


@pytest.mark.parametrize("fields", [{}, {"fusion": "released", "frame_fusion": "mean"}])
def test_training_with_names_that_are_swapped_gives_the_same_answers(fields):
    wave, bow, jump = ([f"The action of the human is {name}"] for name in NAMES)
    before = trained([wave, bow, jump], **fields)
    assert moved(before, answers([wave, bow, jump], 0, freeze_text=False, **fields)) > 0.05
    assert moved(trained([bow, wave, jump], **fields), before) < 1e-4
    assert moved(trained([["lamp"], bow, jump], **fields), before) > 1e-4


# ------------------------------------------------------------------------------- what breaks it
class WithPlaces(safe_core.Fusion):
    """A learned vector for each class on its text token: a token says which output is its own."""

    def __init__(self, config, num_classes, num_tokens):
        super().__init__(config, num_classes, num_tokens)
        self.place = nn.Parameter(torch.randn(num_classes, config.width))

    def forward(self, visual, text):
        return super().forward(visual, text + self.place)


class OwnToken(safe_core.Fusion):
    """The score of a class is read off its own text token, behind the cross-attention."""

    def forward(self, visual, text):
        visual = {branch: self.embed(branch, tokens) for branch, tokens in visual.items()}
        batch = visual["rgb"].shape[0]
        texts = {branch: text.expand(batch, -1, -1) for branch in visual}
        visual, texts = self.mix_with_text(visual, texts)
        looked = [self.cross_attention[b](texts[b], visual[b]) for b in visual]
        return (looked[0] + looked[1]) @ self.readout[0]


def broken(monkeypatch, fusion, order):
    """(logits, logits with permuted sentences) of a model with another fusion."""
    monkeypatch.setitem(safe_core.FUSIONS, ("paper", False, False), fusion)
    return answers(SENTENCES, 0), answers([SENTENCES[i] for i in order], 0)


@pytest.mark.parametrize("order", ORDERS)
def test_a_vector_for_each_class_breaks_the_symmetry(monkeypatch, order):
    before, permuted = broken(monkeypatch, WithPlaces, order)
    assert moved(permuted, before) > 1e-3


@pytest.mark.parametrize("order", ORDERS)
def test_where_a_class_is_scored_by_its_own_token_the_score_follows_the_name(monkeypatch, order):
    before, permuted = broken(monkeypatch, OwnToken, order)
    assert moved(permuted, before) > 1e-3
    assert moved(permuted, before[:, order]) < 1e-5
