"""How is attention computed with fewer copies? By the same parameters, to the same result.

PyTorch's `nn.MultiheadAttention` copies queries, keys and values between their projection and the
kernel. Without that, a training step of the sample takes 0.89 of its time on one core
(benchmarks/sample_step.py).
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` where key and value are the same batch, and no weights are asked for.

    Other calls go to PyTorch's own. The result lies in memory as PyTorch's does, [N, B, D], so that
    a dropout behind it draws the same mask.
    """

    def forward(  # type: ignore[override]
        self, query: Tensor, key: Tensor, value: Tensor, **options: Any
    ) -> Any:
        known = {"attn_mask", "need_weights", "key_padding_mask", "is_causal"}
        is_plain = self.batch_first and self._qkv_same_embed_dim and not self.dropout
        is_plain = is_plain and key is value and query.ndim == 3 and options.keys() <= known
        if not is_plain or options.get("need_weights", True) or _masks_more(options):
            return super().forward(query, key, value, **options)
        width, heads = self.embed_dim, self.num_heads
        if query is key:
            qkv = F.linear(query, self.in_proj_weight, self.in_proj_bias)
            q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        else:
            of_query, of_key = self.in_proj_weight.split([width, 2 * width])
            bias_of_query, bias_of_key = self.in_proj_bias.split([width, 2 * width])
            q = F.linear(query, of_query, bias_of_query).unflatten(-1, (heads, -1)).transpose(1, 2)
            kv = F.linear(key, of_key, bias_of_key)
            k, v = kv.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        mixed = F.scaled_dot_product_attention(q, k, v, options.get("attn_mask"))
        return self.out_proj(mixed.permute(2, 0, 1, 3).flatten(2)).transpose(0, 1), None


def _masks_more(options: dict[str, Any]) -> bool:
    """Whether there is a mask other than numbers [T, T], which the plain kernel takes."""
    mask = options.get("attn_mask")
    is_known = mask is None or (mask.ndim == 2 and mask.is_floating_point())
    return not is_known or options.get("key_padding_mask") is not None


def attention_of(model: nn.Module) -> nn.Module:
    """The model, whose attention layers compute so from now on."""
    for module in model.modules():
        if type(module) is nn.MultiheadAttention:
            module.__class__ = Attention  # the same parameters and buffers
    return model
