"""What are the small networks of weights/? NAME.json says what to build, NAME.safetensors has it.

They stand in for CLIP, a plain ViT and a ResNet where training has to take two minutes on two
cores. Importing this module lets safe_core build them.
"""

import functools
import itertools
import json
from typing import Any

import open_clip
import safetensors.torch
import timm
from torch import nn

import safe_core
from safe_companion import ROOT


def conv_stem(width: int, patch_size: int) -> nn.Sequential:
    """Patch embedding by stride-2 convolutions (Xiao et al., 2021): a small ViT learns faster."""
    layers: list[nn.Module] = []
    channels = [3, *(width >> k for k in reversed(range(patch_size.bit_length() - 1)))]
    for inputs, outputs in itertools.pairwise(channels):
        layers.append(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False))
        layers += [nn.GroupNorm(outputs // 6, outputs), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))


def build(path: str, pretrained: bool) -> Any:
    """The network of a file such as weights/tiny_clip.json; pretrained: with float16 weights."""
    file = ROOT / path
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such tower; notebooks/pretrain_clip.ipynb makes them")
    spec = json.loads(file.read_text())["build"]
    if "timm" in spec:
        net: Any = timm.create_model(spec["timm"], num_classes=0, **spec["arguments"])
    else:
        net = open_clip.CLIP(**spec)
        net.visual.conv1 = conv_stem(spec["vision_cfg"]["width"], spec["vision_cfg"]["patch_size"])
    if pretrained:
        state = safetensors.torch.load_file(file.with_suffix(".safetensors"))
        if "token_ids" in state:  # only the tokens of its captions are stored; others: their mean
            rows = state.pop("token_ids").long()
            trained = state["token_embedding.weight"].float()
            every = trained.mean(0).repeat(net.vocab_size, 1).index_copy_(0, rows, trained)
            state["token_embedding.weight"] = every
        net.load_state_dict(state, strict=False)  # the plain ViT is stored without a text half
    return net


for description in sorted((ROOT / "weights").glob("*.json")):
    name = description.relative_to(ROOT).as_posix()
    safe_core.NETWORKS[name] = functools.partial(build, name)
