"""The model that the authors' code computes, and the import of a checkpoint that it wrote.

It is not the model of the paper's Fig. 2: one joint Transformer block instead of two, a value that is computed from the
key, frames averaged before the fusion; its self- and cross-attention have one head and no residual. Written from the
behaviour of commit f2c1504 (branch SAFE_V1) of the paper's repository and checked against its numbers
(tests/test_released.py).

    python -m safe_released CHECKPOINT --data-root /data/PokerEvent --draws 20
"""

import argparse
import functools
import math
import pickle
import zlib
from pathlib import Path

import numpy as np
import timm
import torch
from timm.models.vision_transformer import Block
from torch import nn

import safe_core
from safe_core import SAFE, Config

# What the authors' code does, as far as there is a switch for it; some of it the paper leaves open.
RELEASED = dict(
    fusion="released", frame_fusion="mean", normalisation="half", prompt="{}", distinct_names=False, augment="frame",
    frame_draw="independent", test_frames="random", schedule="constant", clip_norm_of="fusion", select_on="test",
    val_fraction=0.0,
)  # fmt: skip

# Names in the authors' files -> names here; an empty name: nothing of it is ever computed with.
FUSION_NAMES = {
    "rgb_embed": "fusion.kind.rgb", "event_embed": "fusion.kind.event", "tex_embed": "fusion.kind.text",
    "CLS_token": "fusion.readout", "word_embed.": "word_embed.", "visual_embed.": "visual_embed.",
    "blocks.0.": "fusion.block.", "norm.": "fusion.norm.", "self_attention.": "fusion.self_attention.",
    "cross_model.": "fusion.cross_attention.", "fc1.": "fusion.classifier.", "vit.": "", "weight_layer.": "",
    "remain_weight_layer.": "", "bn.": "",
}  # fmt: skip
CLIP_NAMES = {
    "visual.proj": "vision.projection", "visual.": "vision.net.", "text_projection": "text.projection",
    "logit_scale": "", "input_resolution": "", "context_length": "", "vocab_size": "", "": "text.",
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ model
class Attention(nn.Module):
    """Single head: softmax(Q K^T / sqrt(D)) V; no LayerNorm, no output projection, no residual."""

    def __init__(self, width: int, *, bias: bool, value_from_key: bool):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias) for _ in range(3))
        self.value_from_key = value_from_key

    def forward(self, queries: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        q, k = self.query(queries), self.key(context)
        v = self.value(k if self.value_from_key else context)
        return (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


class ReleasedFusion(nn.Module):
    """The authors' fusion: visual tokens {"rgb", "event": [B, F, K, D]} and text tokens [L, D] -> logits [B, L].

    The joint block starts as the last block of config.vit_model, a plain ViT of width D, if config.pretrained.
    ValueError for the paper's switches: this model has no part that they could take away.
    """

    def __init__(self, config: Config, branches: list[str], num_classes: int, num_tokens: int):
        super().__init__()
        needed = dict(modality="both", frame_fusion="mean", vision_tower="clip", use_text=True, layers=1,
                      use_multimodal_transformer=True, use_self_attention=True, use_cross_attention=True)  # fmt: skip
        if wrong := [f"{k}={v!r}" for k, v in needed.items() if getattr(config, k) != v]:
            raise ValueError(f"fusion='released' is one fixed model: set {', '.join(wrong)}, or fusion='paper'")
        d = config.width
        self.kind = nn.ParameterDict({name: nn.Parameter(torch.zeros(d)) for name in [*branches, "text"]})
        norm = functools.partial(nn.LayerNorm, eps=1e-6)
        self.block, self.norm = Block(d, config.heads, qkv_bias=True, norm_layer=norm), norm(d)
        self.self_attention = Attention(d, bias=True, value_from_key=False)
        self.cross_attention = Attention(d, bias=False, value_from_key=True)
        self.readout = nn.Parameter(torch.randn(config.readout_tokens, d) * 0.02)
        self.classifier = nn.Linear(config.readout_tokens * d, num_classes)
        if config.pretrained:
            block, norm = last_block(config)
            self.block.load_state_dict(block)
            self.norm.load_state_dict(norm)

    def forward(self, visual: dict[str, torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        rgb, event = (visual[name].mean(dim=1) + self.kind[name] for name in ("rgb", "event"))  # [B, K, D]
        text = (text + self.kind["text"]).expand(len(rgb), -1, -1)  # [B, L, D]
        x = self.norm(self.block(torch.cat([text, rgb, event], dim=1)))
        text, visual = x.split([text.shape[1], 2 * rgb.shape[1]], dim=1)
        rgb, event = self.self_attention(visual, visual).chunk(2, dim=1)
        text = self.cross_attention(text, rgb) + self.cross_attention(text, event)
        x = torch.cat([rgb + event, text, self.readout.expand(len(rgb), -1, -1)], dim=1)
        x = self.self_attention(x[:, -len(self.readout) :], x)  # only the rows that the classifier reads
        return self.classifier(x.flatten(1))


def last_block(config: Config) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(weights of the last block, of the last LayerNorm) of the plain ViT, under timm's names."""
    if not config.vit_model.endswith(".json"):
        vit = timm.create_model(config.vit_model, pretrained=True)
        return vit.blocks[-1].state_dict(), vit.norm.state_dict()
    vit = safe_core.local_tower(config.vit_model, True).visual
    names = {"ln_1.": "norm1.", "ln_2.": "norm2.", "attn.in_proj_": "attn.qkv.", "attn.out_proj.": "attn.proj.",
             "mlp.c_fc.": "mlp.fc1.", "mlp.c_proj.": "mlp.fc2."}  # fmt: skip
    block = {}
    for key, tensor in vit.transformer.resblocks[-1].state_dict().items():
        old = next(old for old in names if key.startswith(old))
        block[names[old] + key.removeprefix(old)] = tensor
    return block, vit.ln_post.state_dict()


# ------------------------------------------------------------------------------------------------ checkpoints
def load_released_checkpoint(path, *, class_names: list[str], **fields) -> SAFE:
    """The authors' checkpoint as a model of this project, in evaluation mode; runs no code of the file.

    class_names: in the checkpoint's label order. fields: what differs from the paper's preset with `RELEASED`.
    FileNotFoundError; ValueError if the file is no such checkpoint, or with the list of keys that do not fit.
    """
    if not (path := Path(path)).is_file():
        raise FileNotFoundError(f"{path}: no such file; the authors publish theirs in the paper's repository")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        parts = [(saved["model_state_dict"].items(), FUSION_NAMES),
                 (saved["ViT_model_state_dict"].items(), CLIP_NAMES)]  # fmt: skip
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a checkpoint of the authors' code, which holds model_state_dict and "
                         f"ViT_model_state_dict: {type(error).__name__} {error}") from error  # fmt: skip
    tensors, unknown = {}, []
    for state, names in parts:
        for key, tensor in state:
            key = key.removeprefix("module.")  # of the wrapper that it was saved from
            old = next((old for old in names if key.startswith(old)), None)
            if old is None:
                unknown.append(key)
            elif names[old]:
                tensors[names[old] + key.removeprefix(old)] = tensor.float()
    config = safe_core.configure("paper", **{"dataset": "pokerevent", **RELEASED, **fields, "pretrained": False})
    if (found := len(tensors.get("fusion.classifier.bias", class_names))) != len(class_names):
        raise ValueError(f"{path}: trained for {found} classes, {len(class_names)} class names were given: give the "
                         "names of its data set, in its label order")  # fmt: skip
    model = SAFE(config, [[config.prompt.replace("{}", name)] for name in class_names])
    expected = model.state_dict()
    for name, tensor in tensors.items():  # these have leading dimensions of 1 there
        if name == "fusion.readout" or name.startswith("fusion.kind."):
            tensors[name] = tensor.flatten() if "kind" in name else tensor.flatten(0, -2)
    wrong = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unknown": sorted(unknown) + sorted(tensors.keys() - expected.keys()),
        "of another shape": [f"{k} {tuple(tensors[k].shape)}, expected {tuple(expected[k].shape)}"
                             for k in sorted(expected.keys() & tensors) if tensors[k].shape != expected[k].shape],
    }  # fmt: skip
    if any(wrong.values()):
        lines = [f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items() if keys]
        raise ValueError(f"{path}: does not fit the released model.\n" + "\n".join(lines))
    model.load_state_dict(tensors)
    return model.eval()


def rule_filled(shapes: dict[str, list[int]], *, salt: str = "") -> dict[str, torch.Tensor]:
    """A state dict filled by the rule of the parity fixture: every tensor is drawn from a seed made of its name."""
    state = {}
    norms = tuple(f"{n}.weight" for n in "ln_pre ln_post ln_1 ln_2 ln_final norm norm1 norm2 bn".split())
    for key, shape in shapes.items():
        if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            state[key] = torch.ones(shape) if key.endswith("var") else torch.zeros(shape)
        else:
            seed = zlib.crc32((salt + key).encode())
            values = np.random.RandomState(seed).standard_normal(shape) * 0.02 + key.endswith(norms)
            state[key] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return state


# ------------------------------------------------------------------------------------------------ command line
def evaluate(model: SAFE, splits, *, draws: int = 1) -> list[dict[str, float]]:
    """Top-1, top-5 and loss on the test split for each of `draws` draws of its frames (`test_frames="random"`)."""
    scores = []
    for draw in range(draws):
        splits.test.set_epoch(draw)
        scores.append(safe_core.accuracy(safe_core.predict(model, splits.test, model.config), splits.test.labels))
    return scores


def main() -> None:
    """Evaluate a checkpoint of the authors' code."""
    import safe_data

    parser = argparse.ArgumentParser(prog="python -m safe_released", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dataset", choices=safe_core.CHOICES["dataset"], default="pokerevent")
    parser.add_argument("--data-root", required=True, help="where the data set lies")
    parser.add_argument("--draws", type=int, default=1, help="evaluate so many random draws of the test frames")
    parser.add_argument("--test-frames", choices=safe_core.CHOICES["test_frames"], default="random")
    parser.add_argument("--batch-size", type=int, default=16)
    options = vars(parser.parse_args())
    checkpoint, draws = options.pop("checkpoint"), options.pop("draws")
    config = safe_core.configure("paper", **RELEASED | options)
    splits = safe_data.open_dataset(**safe_data.options(config))
    model = load_released_checkpoint(checkpoint, class_names=splits.class_names, **options)
    model.to(safe_core.join_processes()[0])
    print(f"{splits.origin} data: {config.dataset}, {len(splits.test)} test recordings")
    for draw, score in enumerate(evaluate(model, splits, draws=draws)):
        print(f"draw {draw}: top-1 {score['top1']:.2f} %, top-5 {score['top5']:.2f} %")


if __name__ == "__main__":
    main()
