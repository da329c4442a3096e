"""Which vision towers are there beside CLIP's? A plain ViT, a ResNet, and the networks of weights/.

Those stand in for CLIP, ViT and ResNet where training has to take minutes on two cores: NAME.json
says what to build, NAME.safetensors has it. Importing this module lets safe_core build them.
"""

import functools
import itertools
import json
from types import SimpleNamespace
from typing import Any

import open_clip
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

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


class OtherTower(safe_core.VisionTower):
    """The counterparts of Table 4: a ViT that saw no text, or a ResNet, before its pooling."""

    def __init__(self, config: safe_core.Config, clip: Any, *, project: bool = False):
        name = config.resnet_model if config.vision_tower == "resnet" else config.vit_model
        if name in safe_core.NETWORKS:
            net = safe_core.NETWORKS[name](config.pretrained)
        else:
            size: Any = {"img_size": config.image_size} if config.vision_tower == "vit" else {}
            net = timm.create_model(name, config.pretrained, num_classes=0, **size)
        super().__init__(config, SimpleNamespace(visual=getattr(net, "visual", net)))
        self.is_open_clip = isinstance(self.net, open_clip.transformer.VisionTransformer)
        self.frozen = config.freeze_vision
        if name not in safe_core.NETWORKS and config.normalisation == "tower":
            seen = [self.net.pretrained_cfg["mean"], self.net.pretrained_cfg["std"]]
            self.mean_and_std = 255 * torch.tensor(seen).view(2, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        if self.is_open_clip:
            return super().forward(images)
        pixels = (images - self.mean_and_std[0]) / self.mean_and_std[1]
        tokens = self.net.forward_features(pixels)  # ViT: [B, K, D_v]; ResNet: [B, D_v, h, w]
        return tokens.flatten(2).transpose(1, 2) if tokens.ndim == 4 else tokens

    def train(self, mode: bool = True) -> "OtherTower":
        return super().train(mode and not self.frozen)  # a frozen ResNet keeps batch statistics


safe_core.TOWERS["vit"] = safe_core.TOWERS["resnet"] = OtherTower
for description in sorted((ROOT / "weights").glob("*.json")):
    name = description.relative_to(ROOT).as_posix()
    safe_core.NETWORKS[name] = functools.partial(build, name)
