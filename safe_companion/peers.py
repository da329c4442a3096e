"""Does a plain video network on both inputs do as well? Six of the methods of Tables 2 and 3.

They see the clips that SAFE sees, and are trained and tested by the same trainer: `model` of the
configuration names one. Each modality has a network of its own (two streams, Simonyan and
Zisserman, 2014); their pooled features are concatenated, and one linear layer classifies them.
Fields of the text and of the fusion change nothing here: class names are not read.

Sizes: the published networks with their published weights where torchvision or timm have them; or,
if `resnet_model` is a network of weights/, as in the sample's preset, the same classes with small
arguments (`is_small`). Importing this module lets safe_core build them.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, get_args

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import video
from torchvision.models.video.mvit import MSBlockConfig
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, VideoResNet

import safe_core
from safe_companion import towers
from safe_core import Config

PEERS: tuple[str, ...] = get_args(safe_core.Peers)


def is_small(config: Config) -> bool:
    """Whether the networks are those of the sample's size: they go by the ResNet."""
    return config.resnet_model in safe_core.NETWORKS


class Peer(nn.Module):
    """A network a modality, one linear layer: uint8 rgb, event [B, F, 3, S, S] -> logits [B, L].

    sentences: a list for each class, of which only the number is used.
    """

    def __init__(self, config: Config, sentences: list[list[str]]):
        super().__init__()
        self.config = config
        self.about: dict[str, Any] = {}  # what was saved beside a loaded model
        stream = STREAMS[config.model]
        self.vision = nn.ModuleDict({branch: stream(config) for branch in config.branches})
        self.vision.requires_grad_(not config.freeze_vision)
        width = sum(net.width for net in self.vision.values())  # type: ignore[misc]
        head = [nn.Dropout(config.dropout), nn.Linear(width, len(sentences))]
        self.classifier = nn.Sequential(*head)

    def forward(self, rgb: Any = None, event: Any = None, text: Any = None) -> Tensor:
        inputs: dict[str, Any] = {"rgb": rgb, "event": event}
        if missing := [branch for branch in self.vision if inputs[branch] is None]:
            raise ValueError(f"modality={self.config.modality!r} needs the input {missing[0]!r}")
        device = self.classifier[-1].weight.device
        found = [net(inputs[branch].to(device)) for branch, net in self.vision.items()]
        return self.classifier(torch.cat(found, dim=1))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy in nats, as SAFE's."""
        return F.cross_entropy(logits.float(), labels)

    def text_tokens(self) -> None:
        """There are none."""

    def train(self, mode: bool = True) -> "Peer":
        super().train(mode)
        if self.config.freeze_vision:  # batch statistics and dropout, too
            self.vision.eval()
        return self


# ------------------------------------------------------------------------------- images, then time
class ImageStream(nn.Module):
    """A ResNet on each frame, its features averaged over the frames: [B, F, 3, S, S] -> [B, width].

    `resnet18` is a ResNet-18 (He et al., 2016); `tsm` is `resnet_model`, a ResNet-50 as in Table 2,
    with the temporal shift before the first convolution of every residual block (Lin et al., 2019).
    Both are the one ResNet of weights/ at the sample's size, so there the shift alone sets them
    apart.
    """

    def __init__(self, config: Config):
        super().__init__()
        own = "resnet18.a1_in1k" if config.model == "resnet18" else config.resnet_model
        name = config.resnet_model if is_small(config) else own
        chosen = dataclasses.replace(config, vision_tower="resnet", resnet_model=name)
        self.tower = towers.OtherTower(chosen, None)
        self.width = self.tower.net.num_features
        if config.model == "tsm":
            net = self.tower.net
            for block in [*net.layer1, *net.layer2, *net.layer3, *net.layer4]:
                block.conv1 = nn.Sequential(Shift(config.frames), block.conv1)

    def forward(self, clips: Tensor) -> Tensor:
        features = self.tower(clips.flatten(0, 1)).mean(dim=1)  # [B*F, K, width], over the image
        return features.unflatten(0, clips.shape[:2]).mean(dim=1)


class Shift(nn.Module):
    """The temporal shift (Lin et al., 2019): [B*F, C, h, w] -> the same shape.

    An eighth of the channels comes from the next frame, an eighth from the one before; beyond both
    ends of the clip stand zeros.
    """

    def __init__(self, frames: int):
        super().__init__()
        self.frames = frames

    def forward(self, images: Tensor) -> Tensor:
        clips = images.unflatten(0, (-1, self.frames))
        part = images.shape[1] // 8
        from_next, from_last, own = clips.split([part, part, images.shape[1] - 2 * part], dim=2)
        nothing = torch.zeros_like(from_next[:, :1])
        from_next = torch.cat([from_next[:, 1:], nothing], dim=1)
        from_last = torch.cat([nothing, from_last[:, :-1]], dim=1)
        return torch.cat([from_next, from_last, own], dim=2).flatten(0, 1)


# ------------------------------------------------------------------------------- volumes
class VideoStream(nn.Module):
    """A network of volumes on clips: [B, F, 3, S, S] -> [B, width].

    Pixels are normalised as in the published training; those of networks without one as CLIP's.
    """

    mean_and_std: Tensor

    def __init__(self, config: Config):
        super().__init__()
        build, published = VIDEO_NETWORKS[config.model]
        weights = None if is_small(config) else published
        self.net, self.width = build(config, weights if config.pretrained else None)
        self.times = times(config)
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        if config.normalisation == "half":
            mean = std = (0.5, 0.5, 0.5)
        elif weights is not None:
            mean, std = (seen := weights.transforms()).mean, seen.std
        mean_and_std = 255 * torch.tensor([mean, std]).view(2, 1, 3, 1, 1)
        self.register_buffer("mean_and_std", mean_and_std, persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        pixels = (clips[:, self.times] - self.mean_and_std[0]) / self.mean_and_std[1]
        return self.net(pixels.transpose(1, 2))


def times(config: Config) -> list[int]:
    """Which frame a network sees at each of its times.

    MViT needs an even number, and its weights are for 16: there each frame is held for its share of
    16 times, at the sample's size for two. The others take any number as it is.
    """
    frames = config.frames
    if config.model != "mvit":
        return list(range(frames))
    if not is_small(config) and frames > MVIT_TIMES:
        raise ValueError(f"frames={frames}: MViT sees {MVIT_TIMES}; expected at most as many")
    number = 2 * frames if is_small(config) else MVIT_TIMES
    return [i * frames // number for i in range(number)]


def without_head(net: Any, name: str) -> tuple[nn.Module, int]:
    """(the network without its layer of classes, the width of what went into that)."""
    head = getattr(net, name)
    setattr(net, name, nn.Identity())
    return net, [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1].in_features


def r2plus1d(config: Config, weights: Any) -> tuple[nn.Module, int]:
    """R(2+1)D (Tran et al., 2018) of 18 layers; small: an eighth as wide."""
    net = SmallR2Plus1D() if is_small(config) else video.r2plus1d_18(weights=weights)
    return without_head(net, "fc")


class SmallR2Plus1D(VideoResNet):
    """torchvision's R(2+1)D, whose widths are no arguments, an eighth as wide."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [Conv2Plus1D] * 4, [2, 2, 2, 2], self.small_stem)
        self.fc = nn.Linear(self.inplanes, 1)

    def small_stem(self) -> nn.Module:
        self.inplanes = 8
        space = nn.Conv3d(3, 6, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        time = nn.Conv3d(6, 8, (3, 1, 1), 1, (1, 0, 0), bias=False)
        parts = [space, nn.BatchNorm3d(6), nn.ReLU(), time, nn.BatchNorm3d(8), nn.ReLU()]
        return nn.Sequential(*parts)

    def _make_layer(self, block: Any, conv: Any, planes: int, *rest: Any, **more: Any) -> Any:
        return super()._make_layer(block, conv, planes // 8, *rest, **more)


def video_swin(config: Config, weights: Any) -> tuple[nn.Module, int]:
    """Video Swin, tiny (Liu et al., 2022); small: two of its four stages, larger patches."""
    if not is_small(config):
        return without_head(video.swin3d_t(weights=weights), "head")
    stages: dict[str, Any] = {"embed_dim": 96, "depths": [2, 2], "num_heads": [3, 6]}
    windows: dict[str, Any] = {"patch_size": [2, 8, 8], "window_size": [8, 4, 4]}
    small = video.SwinTransformer3d(**stages, **windows, stochastic_depth_prob=0.0)
    return without_head(small, "head")


MVIT_TIMES, MVIT_SIDE = 16, 224  # frames and pixels of the published network


def mvit(config: Config, weights: Any) -> tuple[nn.Module, int]:
    """MViTv2-S (Fan et al., 2021; Li et al., 2022); small: four blocks, larger patches.

    ValueError for images of another size than it can take.
    """
    side = config.image_size
    if not is_small(config):
        if side != MVIT_SIDE:
            raise ValueError(f"image_size={side}: MViT sees {MVIT_SIDE}; expected that")
        return without_head(video.mvit_v2_s(weights=weights), "head")
    if side % 32:
        raise ValueError(f"image_size={side}: MViT halves it five times; expected a multiple of 32")
    blocks = [
        block_of_mvit(inputs=48, outputs=48, heads=1, stride=1, pooled=4),
        block_of_mvit(inputs=48, outputs=96, heads=2, stride=2, pooled=2),
        block_of_mvit(inputs=96, outputs=96, heads=2, stride=1, pooled=2),
        block_of_mvit(inputs=96, outputs=192, heads=4, stride=2, pooled=1),
    ]
    ways: dict[str, Any] = {"residual_pool": True, "residual_with_cls_embed": False}
    ways |= {"rel_pos_embed": True, "proj_after_attn": True}
    ways |= {"patch_embed_kernel": (3, 9, 9), "patch_embed_padding": (1, 4, 4)}
    ways |= {"patch_embed_stride": (2, 8, 8)}
    return without_head(video.MViT((side, side), len(times(config)), blocks, **ways), "head")


def block_of_mvit(*, inputs: int, outputs: int, heads: int, stride: int, pooled: int) -> Any:
    """A block; stride: of its queries in the image, pooled: of its keys and values."""
    kernels = {"kernel_q": [3, 3, 3], "kernel_kv": [3, 3, 3]}
    strides = {"stride_q": [1, stride, stride], "stride_kv": [1, pooled, pooled]}
    sizes = {"input_channels": inputs, "output_channels": outputs, "num_heads": heads}
    return MSBlockConfig(**sizes, **kernels, **strides)


def c3d(config: Config, weights: None) -> tuple[nn.Module, int]:
    """C3D as published, or an eighth as wide; there are no weights of it to be had here."""
    sizes = (8, 128, config.dropout) if is_small(config) else (64, 4096, 0.5)
    net = C3D(*sizes, config.frames, config.image_size)
    return net, net.hidden


class C3D(nn.Module):
    """Eight 3 x 3 x 3 convolutions, five poolings, two layers (Tran et al., 2015).

    [B, 3, F, S, S] -> [B, hidden]. Published for 16 frames of 112 pixels, which end as 1 x 4 x 4;
    that is what is computed for these. Fewer frames: poolings round up, so that one is left at the
    end, and never none. Other images: averaged to 4 x 4, so that the layers keep their size.
    """

    def __init__(self, width: int, hidden: int, dropout: float, frames: int, side: int):
        super().__init__()
        self.hidden = hidden
        layers: list[nn.Module] = []
        channels = 3
        for stage, (depth, wide) in enumerate([(1, 1), (1, 2), (2, 4), (2, 8), (2, 8)]):
            for i in range(depth):
                conv = nn.Conv3d(channels, wide * width, 3, padding=1)
                # As He et al. (2015), by what a kernel sees beside the padding: of a single frame
                # that is a third of it, and ten layers in a row would leave nothing of the input.
                seen = channels * (3 - 2 / frames) * (3 - 2 / side) ** 2
                gain = 1 if i == 0 else 2  # pooling makes up for the half that rectifying takes
                nn.init.normal_(conv.weight, std=math.sqrt(gain / seen))
                layers += [conv, nn.ReLU()]
                channels = wide * width
            in_time = 1 if stage == 0 else 2
            layers.append(nn.MaxPool3d((in_time, 2, 2), ceil_mode=True))
            frames, side = math.ceil(frames / in_time), math.ceil(side / 2)
        layers += [nn.AdaptiveAvgPool3d((1, 4, 4)), nn.Flatten()]
        for inputs, gain in ((16 * channels, 1), (hidden, 2)):
            linear = nn.Linear(inputs, hidden)
            nn.init.normal_(linear.weight, std=math.sqrt(gain / inputs))
            layers += [linear, nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, volumes: Tensor) -> Tensor:
        return self.layers(volumes)


# What builds a network, and the published weights that it is given.
VIDEO_NETWORKS: dict[str, tuple[Callable[[Config, Any], tuple[nn.Module, int]], Any]] = {
    "r2plus1d": (r2plus1d, video.R2Plus1D_18_Weights.KINETICS400_V1),
    "c3d": (c3d, None),
    "video-swin": (video_swin, video.Swin3D_T_Weights.KINETICS400_V1),
    "mvit": (mvit, video.MViT_V2_S_Weights.KINETICS400_V1),
}
STREAMS: dict[str, type] = {"resnet18": ImageStream, "tsm": ImageStream}
STREAMS |= dict.fromkeys(VIDEO_NETWORKS, VideoStream)
for name in PEERS:
    safe_core.MODELS[name, "tokens"] = Peer
