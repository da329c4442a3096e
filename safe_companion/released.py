"""What does the authors' code compute? Its model, the variants between it and ours, its checkpoint.

It is not the model of the paper's Fig. 2: one joint Transformer block instead of two, a value that
is computed from the key, frames averaged before the fusion; its self- and cross-attention have one
head and no residual. Written from the behaviour of commit f2c1504 (branch SAFE_V1) of the paper's
repository and checked against its numbers (tests/test_released.py).
"""

import functools
import math
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

import safe_core
from safe_companion import towers
from safe_core import SAFE, Config, Fusion, PreNormAttention, Tokens

# What the authors' code does, as far as there is a switch for it; some of it the paper leaves open.
RELEASED: dict[str, Any] = {
    "fusion": "released",
    "frame_fusion": "mean",
    "normalisation": "half",
    "prompt": "{}",
    "distinct_names": False,
    "augment": "frame",
    "frame_draw": "independent",
    "test_frames": "random",
    "schedule": "constant",
    "clip_norm_of": "fusion",
    "select_on": "test",
    "val_fraction": 0.0,
}

# Names in the authors' files -> names here; an empty name: nothing of it is ever computed with.
FUSION_NAMES = {
    "rgb_embed": "fusion.kind.rgb",
    "event_embed": "fusion.kind.event",
    "tex_embed": "fusion.kind.text",
    "CLS_token": "fusion.readout",
    "word_embed.": "word_embed.",
    "visual_embed.": "visual_embed.",
    "blocks.0.": "fusion.block.",
    "norm.": "fusion.norm.",
    "self_attention.": "fusion.self_attention.",
    "cross_model.": "fusion.cross_attention.",
    "fc1.": "fusion.classifier.",
    "vit.": "",
    "weight_layer.": "",
    "remain_weight_layer.": "",
    "bn.": "",
}
CLIP_NAMES = {
    "visual.proj": "vision.projection",
    "visual.": "vision.net.",
    "text_projection": "text.projection",
    "logit_scale": "",
    "input_resolution": "",
    "context_length": "",
    "vocab_size": "",
    "": "text.",
}
# timm's names of a block's parts -> those of a block of this project's tiny ViT (open_clip)
BLOCK_NAMES = {
    "ln_1.": "norm1.",
    "ln_2.": "norm2.",
    "attn.in_proj_": "attn.qkv.",
    "attn.out_proj.": "attn.proj.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
}


# ------------------------------------------------------------------------------- one step from ours
class KeyValueAttention(PreNormAttention):
    """Attention whose value is computed from its key, as in the released cross-attention."""

    def forward(self, queries: Tensor, context: Tensor | None = None) -> Tensor:
        q = self.norm(queries)
        k = q if context is None else self.norm(context)
        weight = self.attention.in_proj_weight.chunk(3)[1]
        bias = self.attention.in_proj_bias.chunk(3)[1]
        v = nn.functional.linear(k, weight, bias)
        return queries + self.attention(q, k, v, need_weights=False)[0]


class OneStepFusion(Fusion):
    """The paper's fusion with one or both of config.joint_block and config.value_from_key."""

    def __init__(self, config: Config, num_classes: int, num_tokens: int):
        self.attention = KeyValueAttention if config.value_from_key else PreNormAttention
        super().__init__(config, num_classes, num_tokens)

    def mix_with_text(self, visual: Tokens, texts: Tokens) -> tuple[Tokens, Tokens]:
        if not self.config.joint_block:
            return super().mix_with_text(visual, texts)
        text = next(iter(texts.values()))  # the same in every branch
        parts = [*visual.values(), text]
        mixed = self.multimodal_transformer["joint"](torch.cat(parts, dim=1))
        *images, text = mixed.split([part.shape[1] for part in parts], dim=1)
        return dict(zip(visual, images, strict=True)), dict.fromkeys(texts, text)


# ------------------------------------------------------------------------------- the released model
class Attention(nn.Module):
    """Single head: softmax(Q K^T / sqrt(D)) V; no LayerNorm, no output projection, no residual."""

    def __init__(self, width: int, *, bias: bool, value_from_key: bool):
        super().__init__()
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(width, width, bias)
        self.value = nn.Linear(width, width, bias)
        self.value_from_key = value_from_key

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        q = self.query(queries)
        k = self.key(context)
        v = self.value(k if self.value_from_key else context)
        return (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


class ReleasedFusion(nn.Module):
    """The authors' fusion: visual tokens [B, F, K, D] of both, text [L, D] -> logits [B, L].

    The joint block starts as the last block of config.vit_model, a plain ViT of width D, if
    config.pretrained. It has no part that the paper's switches could take away.
    """

    computes = {
        "modality": "both",
        "frame_fusion": "mean",
        "vision_tower": "clip",
        "use_text": True,
        "layers": 1,
        "use_multimodal_transformer": True,
        "use_self_attention": True,
        "use_cross_attention": True,
        "joint_block": False,  # the paper's, to be brought nearer to this one
        "value_from_key": False,
    }
    projects_tokens = True

    def __init__(self, config: Config, num_classes: int, num_tokens: int):
        super().__init__()
        for name, value in self.computes.items():
            if getattr(config, name) != value:
                raise ValueError(f"fusion='released' computes {name}={value!r} only: set that")
        width = config.width
        kinds = [*config.branches, "text"]
        self.kind = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in kinds})
        norm: Any = functools.partial(nn.LayerNorm, eps=1e-6)
        self.block = Block(width, config.heads, qkv_bias=True, norm_layer=norm)
        self.norm = norm(width)
        self.self_attention = Attention(width, bias=True, value_from_key=False)
        self.cross_attention = Attention(width, bias=False, value_from_key=True)
        self.readout = nn.Parameter(torch.randn(config.readout_tokens, width) * 0.02)
        self.classifier = nn.Linear(config.readout_tokens * width, num_classes)
        if config.pretrained:
            block, last_norm = last_block(config)
            self.block.load_state_dict(block)
            self.norm.load_state_dict(last_norm)

    def forward(self, visual: Tokens, text: Tensor) -> Tensor:
        rgb = visual["rgb"].mean(dim=1) + self.kind["rgb"]  # [B, K, D]
        event = visual["event"].mean(dim=1) + self.kind["event"]
        batch, tokens, _ = rgb.shape
        text = (text + self.kind["text"]).expand(batch, -1, -1)  # [B, L, D]
        joint = self.norm(self.block(torch.cat([text, rgb, event], dim=1)))
        text, images = joint.split([text.shape[1], 2 * tokens], dim=1)
        rgb, event = self.self_attention(images, images).chunk(2, dim=1)
        text = self.cross_attention(text, rgb) + self.cross_attention(text, event)
        readout = self.readout.expand(batch, -1, -1)
        everything = torch.cat([rgb + event, text, readout], dim=1)
        last = everything[:, -len(self.readout) :]  # only the rows that the classifier reads
        return self.classifier(self.self_attention(last, everything).flatten(1))


safe_core.FUSIONS["released", False, False] = ReleasedFusion
for flags in ((True, False), (False, True), (True, True)):  # joint_block, value_from_key
    safe_core.FUSIONS["paper", *flags] = OneStepFusion
    safe_core.FUSIONS["released", *flags] = ReleasedFusion  # which refuses them


def last_block(config: Config) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(weights of the last block, of the last LayerNorm) of the plain ViT, under timm's names."""
    if not config.vit_model.endswith(".json"):
        vit: Any = timm.create_model(config.vit_model, pretrained=True)
        return vit.blocks[-1].state_dict(), vit.norm.state_dict()
    vit = towers.build(config.vit_model, True).visual
    block = {}
    for key, tensor in vit.transformer.resblocks[-1].state_dict().items():
        old = next(old for old in BLOCK_NAMES if key.startswith(old))
        block[BLOCK_NAMES[old] + key.removeprefix(old)] = tensor
    return block, vit.ln_post.state_dict()


# ------------------------------------------------------------------------------- checkpoints
def load_released_checkpoint(path: str | Path, *, class_names: list[str], **fields: Any) -> SAFE:
    """The authors' checkpoint as a model of this project, in evaluation mode; runs no code of it.

    class_names: in the checkpoint's label order. fields: what differs from the paper's preset with
    `RELEASED`. FileNotFoundError; ValueError if the file is no such checkpoint, or with the list of
    keys that do not fit.
    """
    path = Path(path)
    tensors, unknown = translated(path)
    given = {"dataset": "pokerevent", **RELEASED, **fields, "pretrained": False}
    config = safe_core.configure("paper", **given)
    found = len(tensors.get("fusion.classifier.bias", class_names))
    if found != len(class_names):
        raise ValueError(
            f"{path}: trained for {found} classes, {len(class_names)} class names were given: give "
            "the names of its data set, in its label order"
        )
    sentences = [[str(config.prompt).replace("{}", name)] for name in class_names]
    model = SAFE(config, sentences)
    expected = model.state_dict()
    shared = sorted(expected.keys() & tensors)
    wrong = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unknown": sorted(unknown) + sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{key} {tuple(tensors[key].shape)}, expected {tuple(expected[key].shape)}"
            for key in shared
            if tensors[key].shape != expected[key].shape
        ],
    }
    if any(wrong.values()):
        lines = [f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items() if keys]
        raise ValueError(f"{path}: does not fit the released model.\n" + "\n".join(lines))
    model.load_state_dict(tensors)
    return model.eval()


def translated(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """(tensors under this project's names, keys without one) of a file of the authors' code."""
    if not path.is_file():
        published = "the authors publish theirs in the paper's repository"
        raise FileNotFoundError(f"{path}: no such file; {published}")
    damage = (RuntimeError, EOFError, LookupError, TypeError, AttributeError)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        parts = [
            (saved["model_state_dict"].items(), FUSION_NAMES),
            (saved["ViT_model_state_dict"].items(), CLIP_NAMES),
        ]
    except (pickle.UnpicklingError, *damage) as error:
        expected = "which holds model_state_dict and ViT_model_state_dict"
        found = f"{type(error).__name__} {error}"
        raise ValueError(
            f"{path}: not a checkpoint of the authors' code, {expected}: {found}"
        ) from error
    tensors: dict[str, Tensor] = {}
    unknown = []
    for state, names in parts:
        for prefixed, tensor in state:
            key = prefixed.removeprefix("module.")  # of the wrapper that it was saved from
            old = next((old for old in names if key.startswith(old)), None)
            if old is None:
                unknown.append(key)
            elif names[old]:
                tensors[names[old] + key.removeprefix(old)] = tensor.float()
    for name, tensor in tensors.items():  # these have leading dimensions of 1 there
        if name.startswith("fusion.kind."):
            tensors[name] = tensor.flatten()
        elif name == "fusion.readout":
            tensors[name] = tensor.flatten(0, -2)
    return tensors, unknown


def rule_filled(shapes: dict[str, list[int]], *, salt: str = "") -> dict[str, Tensor]:
    """A state dict by the parity fixture's rule: every tensor is drawn from a seed of its name."""
    norms = ("ln_pre", "ln_post", "ln_1", "ln_2", "ln_final", "norm", "norm1", "norm2", "bn")
    around_one = tuple(f"{name}.weight" for name in norms)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("running_var"):
            state[key] = torch.ones(shape)
        elif key.endswith(("running_mean", "num_batches_tracked")):
            state[key] = torch.zeros(shape)
        else:
            seed = zlib.crc32((salt + key).encode())
            values = np.random.RandomState(seed).standard_normal(shape) * 0.02
            values = values + key.endswith(around_one)
            state[key] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return state


def evaluate(model: SAFE, test: Any, *, draws: int = 1) -> list[dict[str, float]]:
    """Top-1, top-5 and loss on a test set, for each of `draws` draws of its random frames."""
    scores = []
    for draw in range(draws):
        test.set_epoch(draw)
        log_probs = safe_core.predict(model, test, model.config)
        scores.append(safe_core.accuracy(log_probs, test.labels))
    return scores
