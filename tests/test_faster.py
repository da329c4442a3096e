"""Attention with fewer copies is PyTorch's attention."""

import pytest
import torch
from tiny import SENTENCES, Clips, batch_of, model_of, small
from torch import nn

import safe_core
from safe_companion import faster


def pair(**options):
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(12, 3, batch_first=True, **options)
    fast = nn.MultiheadAttention(12, 3, batch_first=True, **options)
    fast.load_state_dict(plain.state_dict())
    with torch.no_grad():
        for layer in (plain, fast):
            layer.in_proj_bias.copy_(torch.linspace(-1, 1, 36))
    return plain, faster.attention_of(nn.Sequential(fast))[0]


@pytest.mark.parametrize("case", ["self", "cross", "masked"])
def test_results_and_gradients_are_those_of_pytorch(case):
    queries = torch.randn(2, 4, 12)
    context = queries if case != "cross" else torch.randn(2, 7, 12)
    mask = torch.full((4, 4), -torch.inf).triu(1) if case == "masked" else None
    found = []
    for layer in pair():
        q = queries.clone().requires_grad_()
        k = q if context is queries else context
        result, weights = layer(q, k, k, need_weights=False, attn_mask=mask)
        assert weights is None and result.transpose(0, 1).is_contiguous()
        result.square().sum().backward()
        found.append([result, q.grad, layer.in_proj_weight.grad, layer.in_proj_bias.grad])
    assert type(pair()[1]) is faster.Attention
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_other_calls_go_to_pytorch():
    plain, fast = pair()
    x, other = torch.randn(2, 4, 12), torch.randn(2, 4, 12)
    padding = torch.tensor([[False, False, True, True]] * 2)
    boolean = torch.ones(4, 4).triu(1).bool()
    for options in (
        {"need_weights": True},
        {"need_weights": False, "key_padding_mask": padding},
        {"need_weights": False, "attn_mask": boolean},
    ):
        for results in zip(plain(x, x, x, **options), fast(x, x, x, **options), strict=True):
            torch.testing.assert_close(*results)
    torch.testing.assert_close(
        plain(x, x, other, need_weights=False)[0], fast(x, x, other, need_weights=False)[0]
    )
    plain, fast = pair(dropout=0.5)
    for layer in (plain, fast):
        torch.manual_seed(1)
        layer.result = layer(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(plain.result, fast.result)


def test_every_model_that_is_built_attends_so_and_answers_the_same():
    config = small(freeze_text=False)
    torch.manual_seed(0)
    model = safe_core.build(config, SENTENCES).eval()
    kinds = {type(m) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    assert kinds == {faster.Attention}
    rgb, event, _ = batch_of(Clips(4), range(4))
    torch.testing.assert_close(model(rgb, event), model_of(config)(rgb, event))
