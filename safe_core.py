"""SAFE in one file: configuration, towers, fusion, training, evaluation, checkpoints.

Semantic-aware frame-event fusion (Li et al., arXiv 2311.18592; Pattern Recognition 158, 2025): RGB
frames and event images of one recording pass through one CLIP vision tower, the names of all
classes through CLIP's text tower, and a small Transformer fuses the three into a class.

    import safe_companion.models  # for the sample's small CLIP; this file alone builds CLIP
    config = safe_core.configure(dataset="hardvs")  # with data_root="/data/HARDVS": the real thing
    result = safe_core.fit(config, train, val, test, sentences=..., about=..., out_dir=...)
    model, about = safe_core.load_model("RUN/best.safetensors")

Data come as `torch.utils.data.Dataset`s of dicts {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3,
S, S], "label": int, "name": str}. Shapes: B batch, F frames, S image side, K tokens of an image, N
visual tokens of a branch, L classes, M sentences, T text positions, D width.
"""

import contextlib
import dataclasses
import difflib
import functools
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import open_clip
import pydantic
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributed as dist
from torch.optim import AdamW
from torch.utils.data import DataLoader, DistributedSampler, Subset

Tokens = dict[str, Tensor]  # of each branch, "rgb" and "event"
Size = Annotated[int, pydantic.Field(ge=1, le=4096)]  # a field's type, and bounds of its value
Index = Annotated[int, pydantic.Field(ge=0, lt=2**32)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Positive = Annotated[float, pydantic.Field(gt=0, lt=math.inf)]
NotNegative = Annotated[float, pydantic.Field(ge=0, lt=math.inf)]
Sensor = Annotated[str, pydantic.Field(pattern=r"^[1-9]\d{0,3}x[1-9]\d{0,3}$")]
Peers = Literal["resnet18", "tsm", "r2plus1d", "c3d", "video-swin", "mvit"]  # of Tables 2 and 3
Network = Annotated[str, pydantic.Field(pattern="^[^:]+$")]  # a name of the hub would be fetched


# ------------------------------------------------------------------------------- configuration
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run. Defaults: the paper's (4.2); released: the authors' code."""

    # data
    dataset: Literal["hardvs", "pokerevent", "conjunctions", "folder"] = "hardvs"  # folder: yours
    data_root: str | None = None  # None: the generated sample
    modality: Literal["both", "rgb", "event"] = "both"
    frames: Size = 5  # F, Table 5's best
    image_size: Size = 224  # S
    event_representation: Literal["authors", "counts", "voxel", "time_surface"] = "authors"
    event_windows: Literal["frames", "afe"] = "frames"  # frames: between their times; afe: journal
    afe_min_events: pydantic.PositiveInt = 150_000  # AFE's smallest half, ExACT's value for HARDVS
    afe_threshold: NotNegative = 0.0  # AFE's difference threshold; 0: always split (ExACT)
    sensor_size: Sensor | None = None  # "346x260": for recordings that do not carry it
    time_unit: Literal["auto", "us", "ns", "ms", "s"] = "auto"  # of files that do not say it
    columns: str | None = None  # "t,x,y,p": order in text files without a header
    stored_event_images: bool = False  # those beside the recordings, instead of their events
    repair_events: bool = False  # sort what jumps back in time, drop what is outside the sensor
    augment: Literal["clip", "frame", "none"] = "clip"  # one draw a clip, or an image (released)
    modality_dropout: Share = 0.0  # share of training clips that lose one of both modalities
    frame_draw: Literal["aligned", "independent"] = "aligned"  # independent: released
    test_frames: Literal["even", "random"] = "even"  # random: drawn as in training (released)
    train_fraction: Share = 1.0  # share of the training list that is used
    val_fraction: Share = 0.1  # share of the training list that selects the epoch; open
    test_fraction: Share = 0.2  # held-out share of a `folder` without lists
    held_out: Index = 0  # k: the k-th draw of a fifth of the classes is in no training list
    on_bad_recording: Literal["stop", "skip"] = "stop"
    sample_train_per_class: Size = 48  # size of the generated sample
    sample_test_per_class: Size = 105
    sample_seed: Index = 0  # of its recordings; 1: those on which recipes are chosen
    # text
    prompt: str | None = None  # sentence with {} for the class name; None: the paper's
    prompt_file: str | None = None  # JSON, a list of sentences per class, instead of `prompt`
    prompt_context: Index = 0  # learnable context vectors in front of the sentence (CoOp)
    distinct_names: bool = True  # number class names that repeat; False: as released
    text_source: Literal["clip", "random", "learned", "file"] = "clip"  # of the class features
    text_file: str | None = None  # .npz with features and names, for the source file
    # towers
    clip_model: Network = "ViT-B-16-quickgelu"  # open_clip name, or a .json of weights/
    clip_weights: str = "openai"  # open_clip tag or a file
    vit_model: Network = "vit_base_patch16_224.augreg_in21k_ft_in1k"  # timm name or .json; plain
    resnet_model: Network = "resnet50.a1_in1k"  # timm name or .json: the ResNet counterpart
    pretrained: bool = True  # False: every tower starts from random weights
    normalisation: Literal["tower", "half"] = "tower"  # half: 0.5, 0.5 (released)
    freeze_vision: bool = False
    freeze_text: bool = False
    # model: the switches of Table 4, what the released code does otherwise, then sizes
    model: Literal["safe", "safe-branches", "cosines", "clip", Peers] = "safe"  # see MODELS
    classifier: Literal["tokens", "text"] = "tokens"  # reads learned tokens, or class sentences
    vision_tower: Literal["clip", "vit", "resnet"] = "clip"
    use_text: bool = True
    use_multimodal_transformer: bool = True
    use_self_attention: bool = True
    use_cross_attention: bool = True
    fusion: Literal["paper", "released"] = "paper"  # other fusions: safe_companion/released.py
    joint_block: bool = False  # True: one Transformer over [RGB, event, text] (released)
    value_from_key: bool = False  # True: cross-attention's value comes from its key (released)
    frame_fusion: Literal["concat", "mean"] = "concat"  # mean: K tokens (released)
    width: Size = 768  # D
    heads: Size = 12  # open
    layers: Size = 1  # of each multi-modal Transformer; open
    readout_tokens: Size = 10  # learned tokens that the classifier reads; open
    dropout: Share = 0.0
    # training
    epochs: pydantic.PositiveInt = 50
    steps: pydantic.PositiveInt | None = None  # of the optimiser, instead of `epochs`
    batch_size: pydantic.PositiveInt = 16  # clips over all processes
    learning_rate: Positive = 8e-6
    tower_lr_scale: NotNegative = 1.0  # learning rate of the towers relative to the fusion's
    warmup_fraction: Share = 0.05  # of all steps, linear; open
    final_lr_fraction: Share = 0.1  # cosine ends here ("decay rate 0.1")
    weight_decay: NotNegative = 0.05  # where every side is larger than one; open
    schedule: Literal["cosine", "constant"] = "cosine"  # constant: 0.1009 of the rate (released)
    clip_norm: Positive = 1.0  # bound of the gradient's norm
    clip_norm_of: Literal["all", "fusion"] = "all"  # fusion: towers are not clipped (released)
    select_on: Literal["val", "test"] = "val"  # which split chooses the epoch; test: released
    accumulate: pydantic.PositiveInt = 1  # parts of a batch, whose gradients are summed
    checkpoint_vision: bool = False  # compute the vision tower twice, keep less of it in memory
    compile: bool = False  # by torch.compile
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    workers: Index | None = None  # loader processes per training process; None: by the cores
    resize: Literal["auto", "loader", "device"] = "auto"  # auto: on the device if it is a GPU
    seed: Index = 0

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            try:
                kind.validate_python(value := getattr(self, name), strict=True)
            except pydantic.ValidationError as error:
                raise ValueError(f"{name}={value!r}: {error.errors()[0]['msg']}") from None
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads}; expected a divisor of width={self.width}")

    @property
    def origin(self) -> str:
        return origin_of(self.data_root)

    @property
    def branches(self) -> list[str]:
        return ["rgb", "event"] if self.modality == "both" else [self.modality]

    def steps_for(self, clips: int) -> int:
        """Optimiser steps of a training on this many clips."""
        return self.steps or self.epochs * (clips // self.batch_size)


FIELDS = {field.name: field for field in dataclasses.fields(Config)}
KINDS: dict[str, Any] = {k: pydantic.TypeAdapter(f.type) for k, f in FIELDS.items()}  # type: ignore
CHOICES = {k: get_args(f.type) for k, f in FIELDS.items() if get_origin(f.type) is Literal}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "sample": {  # sized so that two CPU cores train it in about three minutes
        **dict(image_size=64, frames=3, afe_min_events=2_000, freeze_text=True, val_fraction=0.0),
        **dict(steps=450, clip_model="weights/tiny_clip.json", vit_model="weights/tiny_vit.json"),
        **dict(resnet_model="weights/tiny_resnet.json", width=96, heads=3, dropout=0.1),
        **dict(batch_size=32, learning_rate=1e-3, final_lr_fraction=0.01, warmup_fraction=0.1),
        **dict(precision="fp32"),  # on a GPU too, so that records of all machines compare
    },
}
PRESET_OF = {"sample": "sample", "real": "paper"}  # what goes with which data


def origin_of(data_root: str | None) -> str:
    """Which data a configuration asks for: "sample", if it names no folder, or "real"."""
    return "sample" if data_root is None else "real"


def configure(preset: str | None = None, **fields: Any) -> Config:
    """Config from a preset (None: that of its data) and fields; a field of None is the preset's."""
    preset = preset or PRESET_OF[origin_of(fields.get("data_root"))]
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r} is unknown: choose one of {', '.join(PRESETS)}")
    for name in set(fields) - set(FIELDS):
        near = " or ".join(difflib.get_close_matches(name, FIELDS)) or "see `safe train --help`"
        raise ValueError(f"unknown configuration field {name}: {near}?")
    given = {name: value for name, value in fields.items() if value is not None}
    if "epochs" in given:
        given.setdefault("steps", None)  # instead of the preset's
    return Config(**PRESETS[preset] | given)


# ------------------------------------------------------------------------------- towers
NETWORKS: dict[str, Callable[[bool], Any]] = {}  # more than open_clip's and timm's, by name


def build_clip(config: Config) -> tuple[Any, Callable]:
    """(CLIP, tokenizer): through open_clip (Radford et al., 2021), or this project's tiny one."""
    name = config.clip_model
    if name in NETWORKS:  # those of safe_companion/towers.py
        return NETWORKS[name](config.pretrained), open_clip.get_tokenizer("ViT-B-16")
    weights = config.clip_weights if config.pretrained else None
    clip = open_clip.create_model(name, pretrained=weights, force_image_size=config.image_size)
    return clip, open_clip.get_tokenizer(name)


class VisionTower(nn.Module):
    """Images in 0..255 [B, 3, S, S] -> tokens [B, K, D_v], before CLIP's projection (Sec. 3.2).

    Serves both modalities, normalises pixels as in its training. project: CLIP's own (released).
    """

    def __init__(self, config: Config, clip: Any, *, project: bool = False):
        super().__init__()
        self.net: Any = clip.visual
        self.net.set_grad_checkpointing(config.checkpoint_vision)
        self.projection = self.net.proj if project else None
        self.net.proj = None  # class token and patch tokens at full width
        self.net.output_tokens = True
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        if config.normalisation == "half":
            mean = std = (0.5, 0.5, 0.5)
        self.mean_and_std: Tensor
        values = 255 * torch.tensor([mean, std]).view(2, 3, 1, 1)
        self.register_buffer("mean_and_std", values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        class_token, patches = self.net((images - self.mean_and_std[0]) / self.mean_and_std[1])
        tokens = torch.cat([class_token[:, None], patches], dim=1)
        return tokens if self.projection is None else tokens @ self.projection


class TextTower(nn.Module):
    """CLIP's text tower over fixed sentences: `forward(which)` -> features [len(which), width].

    Attention is causal, so positions behind the longest of each group are cut (GPU: one group).
    ValueError if a sentence is too long.
    """

    def __init__(self, config: Config, clip: Any, tokenizer: Callable, sentences: list[str]):
        super().__init__()
        context = config.prompt_context  # learned vectors in front
        tokens = tokenizer(sentences)
        end = tokens.argmax(dim=1)  # end-of-text is the largest token number
        is_full = tokens[:, -1] != 0  # and perhaps cut by the tokenizer
        too_long = end + context + is_full >= clip.context_length
        if too_long.any():
            limit = f"CLIP's 77 tokens with {context} context vectors"
            raise ValueError(f"beyond {limit}: shorten {sentences[too_long.nonzero()[0]]!r}")
        self.register_buffer("tokens", tokens[:, : int(end.max()) + 1], persistent=False)
        self.ends: list[int] = (end + context).tolist()  # no device is asked for them
        self.register_buffer("mask", clip.attn_mask, persistent=False)
        self.token_embedding = clip.token_embedding
        self.positional_embedding = clip.positional_embedding
        self.transformer = clip.transformer
        self.ln_final = clip.ln_final
        self.projection = clip.text_projection
        self.width = self.projection.shape[1]
        self.requires_grad_(not config.freeze_text)

    def forward(self, which: list[int]) -> Tensor:
        order = sorted(range(len(which)), key=lambda i: self.ends[which[i]])
        size = math.ceil(len(which) / (1 if self.projection.is_cuda else len(which) // 50 + 1))
        groups = [order[i : i + size] for i in range(0, len(order), size)]
        features = torch.cat([self.encode([which[i] for i in group]) for group in groups])
        return features[sorted(range(len(order)), key=order.__getitem__)]

    def encode(self, which: list[int]) -> Tensor:
        ends = [self.ends[i] for i in which]
        length = max(ends) + 1
        x = self.token_embedding(self.get_buffer("tokens")[which])[:, :length]  # [M, T, D_t]
        x = x + self.positional_embedding[:length]
        x = self.transformer(x, attn_mask=self.get_buffer("mask")[:length, :length])
        return self.ln_final(x)[list(range(len(x))), ends] @ self.projection


# ------------------------------------------------------------------------------- fusion
class PreNormAttention(nn.Module):
    """Queries [B, Nq, D] + softmax(Q K^T / sqrt(d_k)) V over context [B, Nk, D] (Sec. 3.3)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, queries: Tensor, context: Tensor | None = None) -> Tensor:
        q = self.norm(queries)
        k = q if context is None else self.norm(context)  # without context: self-attention
        return queries + self.attention(q, k, k, need_weights=False)[0]


def transformer_block(config: Config) -> nn.Module:
    """LayerNorm, self-attention, residual, LayerNorm, feed-forward, residual (Sec. 3.3)."""
    sizes = (config.width, config.heads, 4 * config.width, config.dropout)
    block = nn.TransformerEncoderLayer(*sizes, "gelu", batch_first=True, norm_first=True)
    block.self_attn.dropout = 0.0  # fused attention kernels have none
    return block


class Fusion(nn.Module):
    """The paper's feature enhancement and classifier (Sec. 3.3, Fig. 2).

    Visual tokens {"rgb": [B, F, K, D], "event": [B, F, K, D]} and text tokens [L, D] or None ->
    logits [B, L]. Open, our choices: weights per branch, pre-norm, residuals, learned readout.
    """

    projects_tokens = False  # whether visual tokens go through CLIP's projection
    attention: type[PreNormAttention] = PreNormAttention  # of the cross-attention

    def __init__(self, config: Config, num_classes: int, num_tokens: int):
        super().__init__()
        self.config = config
        width, heads = config.width, config.heads
        frames = config.frames if config.frame_fusion == "concat" else 1
        self.position = nn.Parameter(torch.randn(num_tokens, width) * 0.02)
        self.frame = nn.Parameter(torch.randn(frames, 1, width) * 0.02) if frames > 1 else None
        kinds = [*config.branches, "text"] if config.use_text else config.branches
        self.kind = nn.ParameterDict({k: nn.Parameter(torch.randn(width) * 0.02) for k in kinds})
        self.multimodal_transformer = nn.ModuleDict()
        names = ["joint"] if config.joint_block else config.branches
        for name in names if config.use_multimodal_transformer else []:
            blocks = [transformer_block(config) for _ in range(config.layers)]
            self.multimodal_transformer[name] = nn.Sequential(*blocks)
        if config.use_self_attention:
            self.self_attention = PreNormAttention(width, heads)
        self.cross_attention = nn.ModuleDict()
        for branch in config.branches if config.use_text and config.use_cross_attention else []:
            self.cross_attention[branch] = self.attention(width, heads)
        self.readout = nn.Parameter(torch.randn(config.readout_tokens, width) * 0.02)
        self.final_attention = PreNormAttention(width, heads)
        head = [nn.Dropout(config.dropout), nn.Linear(config.readout_tokens * width, num_classes)]
        self.classifier = nn.Sequential(nn.LayerNorm(width), nn.Flatten(), *head)

    def forward(self, visual: Tokens, text: Tensor | None) -> Tensor:
        # 1. position and modality embeddings: [B, F, K, D] -> [B, N, D]; each branch has the text
        visual = {branch: self.embed(branch, tokens) for branch, tokens in visual.items()}
        batch = next(iter(visual.values())).shape[0]
        text = self.readout[:0] if text is None else text + self.kind["text"]
        texts = {branch: text.expand(batch, -1, -1) for branch in visual}
        # 2. a multi-modal Transformer for each branch, over [visual, text]
        if self.config.use_multimodal_transformer:
            visual, texts = self.mix_with_text(visual, texts)
        # 3. self-attention over [RGB, event]
        if self.config.use_self_attention:
            lengths = [tokens.shape[1] for tokens in visual.values()]
            mixed = self.self_attention(torch.cat(list(visual.values()), dim=1))
            visual = dict(zip(visual, mixed.split(lengths, dim=1), strict=True))
        # 4. cross-attention: each branch's text tokens query its visual tokens
        for branch, layer in self.cross_attention.items():
            texts[branch] = layer(texts[branch], visual[branch])
        # 5. self-attention over everything; only the rows that the classifier reads are computed
        readout = self.readout.expand(batch, -1, -1)
        everything = torch.cat([*visual.values(), *texts.values(), readout], dim=1)
        return self.classifier(self.final_attention(readout, everything))

    def embed(self, branch: str, tokens: Tensor) -> Tensor:
        """Visual tokens of a branch [B, F, K, D] -> [B, N, D], N = F*K or, averaged, K."""
        if self.config.frame_fusion == "mean":
            tokens = tokens.mean(dim=1, keepdim=True)
        tokens = tokens + self.position + self.kind[branch]
        if self.frame is not None:
            tokens = tokens + self.frame
        return tokens.flatten(1, 2)

    def mix_with_text(self, visual: Tokens, texts: Tokens) -> tuple[Tokens, Tokens]:
        """Visual and text tokens of every branch behind its multi-modal Transformer."""
        for branch, transformer in self.multimodal_transformer.items():
            lengths = [visual[branch].shape[1], texts[branch].shape[1]]
            mixed = transformer(torch.cat([visual[branch], texts[branch]], dim=1))
            visual[branch], texts[branch] = mixed.split(lengths, dim=1)
        return visual, texts


class SAFE(nn.Module):
    """Towers and fusion: uint8 rgb and/or event [B, F, 3, S, S] -> logits [B, L].

    sentences: one list per class; of several, evaluation averages the text features ("in token
    space") and training draws one per step. A frozen text tower runs once, here, and is dropped.
    """

    build_clip = staticmethod(build_clip)  # models of safe_companion/variants.py keep more of CLIP

    def __init__(self, config: Config, sentences: list[list[str]]):
        super().__init__()
        fusion = FUSIONS[config.fusion, config.joint_block, config.value_from_key]
        self.config = config
        self.about: dict[str, Any] = {}  # what was saved beside a loaded model
        needs_clip = config.vision_tower == "clip" or config.use_text
        clip, tokenizer = self.build_clip(config) if needs_clip else (None, open_clip.tokenize)
        self.vision = TOWERS[config.vision_tower](config, clip, project=fusion.projects_tokens)
        with torch.no_grad():
            blank = torch.zeros(1, 3, config.image_size, config.image_size)
            num_tokens, vision_width = self.vision.eval()(blank).shape[1:]
        self.vision.train().requires_grad_(not config.freeze_vision)
        fits = vision_width == config.width
        self.visual_embed = nn.Identity() if fits else nn.Linear(vision_width, config.width)
        if config.use_text:
            self.counts = [len(group) for group in sentences]
            flat = [sentence for group in sentences for sentence in group]
            source = TEXTS[config.text_source, config.prompt_context > 0]
            self.text: Any = (text := source(config, clip, tokenizer, flat))
            self.word_embed = nn.Linear(text.width, config.width)
            if not any(p.requires_grad for p in text.parameters()):
                with torch.no_grad():
                    self.register_buffer("text_features", text(list(range(len(flat)))))
                self.text = None
        self.fusion = fusion(config, len(sentences), num_tokens)

    def forward(self, rgb: Any = None, event: Any = None, text: Any = None) -> Tensor:
        inputs: dict[str, Any] = {"rgb": rgb, "event": event}
        branches = self.config.branches
        if missing := [branch for branch in branches if inputs[branch] is None]:
            raise ValueError(f"modality={self.config.modality!r} needs the input {missing[0]!r}")
        images = torch.stack([inputs[branch] for branch in branches])  # both as one batch
        tokens = self.vision(images.to(self.vision.mean_and_std.device).flatten(0, 2))
        tokens = self.visual_embed(tokens).unflatten(0, images.shape[:3])  # [2, B, F, K, D]
        text = self.text_tokens() if text is None else text
        return self.fusion(dict(zip(branches, tokens, strict=True)), text)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy in nats (Sec. 3.4), in full precision."""
        return F.cross_entropy(logits.float(), labels)

    def encode_text(self, which: list[int]) -> Tensor:
        """CLIP's features [M, D_t] of the sentences with these numbers."""
        return self.get_buffer("text_features")[which] if self.text is None else self.text(which)

    def text_tokens(self) -> Tensor | None:
        """One token per class [L, D]: of a drawn sentence in training, else of their mean."""
        if not self.config.use_text:
            return None
        if self.training:
            counts = torch.tensor(self.counts)
            drawn = (torch.rand(len(counts)) * counts).long()
            return self.word_embed(self.encode_text((counts.cumsum(0) - counts + drawn).tolist()))
        features = self.encode_text(list(range(sum(self.counts))))
        return self.word_embed(torch.stack([f.mean(dim=0) for f in features.split(self.counts)]))


# What builds the parts that a configuration names. Others than the paper's: safe_companion.
TOWERS: dict[str, Any] = {"clip": VisionTower}
TEXTS: dict[tuple, Any] = {("clip", False): TextTower}
FUSIONS: dict[tuple, Any] = {("paper", False, False): Fusion}
MODELS: dict[tuple, Any] = {("safe", "tokens"): SAFE}


def build(config: Config, sentences: list[list[str]]) -> Any:
    """The model of a configuration, for classes with these sentences."""
    if (config.model, config.classifier) not in MODELS:
        raise ValueError(f"model={config.model!r} has no classifier={config.classifier!r}")
    return MODELS[config.model, config.classifier](config, sentences)


# ------------------------------------------------------------------------------- processes, files
def here() -> tuple[torch.device, int, int]:
    """(device, rank, number of processes) of this process."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu"), rank, size


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """As asked for; "auto" takes bfloat16, or float16 where a GPU lacks it, not on a CPU."""
    kind = config.precision
    if kind == "auto" and device.type == "cuda":
        kind = "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    dtype = torch.float16 if kind == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=kind in ("bf16", "fp16"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """`write(temporary path)`, then rename: a reader sees the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)


def save_checkpoint(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    """Tensors as safetensors with `about` as JSON in their header, and the JSON beside it."""
    text = json.dumps(about, indent=1)
    stored = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    content = safetensors.torch.save(stored, {"about": text})
    write_atomically(path.with_suffix(".json"), lambda p: p.write_text(text))
    write_atomically(path, lambda p: p.write_bytes(content))  # last: where it is, both are whole


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """(tensors, about) of a checkpoint; runs no code of the file. ValueError if it is damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; a run writes best.safetensors")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = dict(json.loads(file.metadata()["about"]))
            return {key: file.get_tensor(key) for key in file.keys()}, about
    except Exception as error:  # damaged bytes raise many kinds
        raise ValueError(f"{path}: not a checkpoint of this project: {error!r}") from error


def load_model(path: str | Path) -> tuple[Any, dict]:
    """(model in evaluation mode, what was saved beside it: model.about); fetches nothing."""
    tensors, about = load_checkpoint(Path(path))
    try:
        config = Config(**about["config"] | {"pretrained": False})
        size = (len(about["sentences"]), config.readout_tokens, config.width)
        names = sum(isinstance(name, str) for name in about["class_names"])
        stored = (names, *tensors.get("fusion.readout", torch.empty(size[1:])).shape)
        if size != stored or config.layers > len(tensors):  # before much memory is asked for
            raise ValueError("its weights are of another size than its configuration")
        model = build(config, about["sentences"])
        model.load_state_dict(tensors)
        model.about = about
    except Exception as error:  # a damaged description raises many kinds
        raise ValueError(f"{path}: not a model that this code builds: {error}") from error
    return model.eval(), about


# ------------------------------------------------------------------------------- training
def load(dataset: Any, config: Config, **options: Any) -> Iterator[dict]:
    """Batches of clips on the device. A data set may have `workers`, `collate`, `finish(batch)`."""
    device, _, _ = here()
    data = getattr(dataset, "dataset", dataset)  # behind a Subset, or two
    data = getattr(data, "dataset", data)
    options |= {"num_workers": getattr(data, "workers", None) or config.workers or 0}
    options |= {"pin_memory": device.type == "cuda", "collate_fn": getattr(data, "collate", None)}
    for batch in DataLoader(dataset, **options):
        moved = {k: x.to(device, non_blocking=True) for k, x in batch.items() if k != "name"}
        yield data.finish(moved) if hasattr(data, "finish") else moved


@torch.inference_mode()
def predict(model: Any, dataset: Any, config: Config) -> Tensor:
    """Log-probabilities [len(dataset), L] on every process; each takes every n-th clip."""
    model.eval()
    device, rank, size = here()
    own = Subset(dataset, range(rank, len(dataset), size))
    rows = []
    with autocast(config, device):
        text = model.text_tokens()
        for batch in load(own, config, batch_size=config.batch_size):
            rows.append(model(batch.get("rgb"), batch.get("event"), text).float().log_softmax(1))
    gathered = [torch.cat(rows).cpu()] * size
    if size > 1:
        dist.all_gather_object(gathered, gathered[0])
    log_probs = torch.empty(len(dataset), gathered[0].shape[1])
    for r, part in enumerate(gathered):
        log_probs[r::size] = part
    return log_probs


def accuracy(log_probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy in percent (Sec. 4.1), and the mean cross entropy in nats."""
    hits = log_probs.topk(min(5, log_probs.shape[1])).indices == labels[:, None]
    top1, top5 = (100 * h.float().mean().item() for h in (hits[:, 0], hits.any(1)))
    return {"top1": top1, "top5": top5, "loss": F.nll_loss(log_probs, labels).item()}


def make_optimizer(model: nn.Module, config: Config) -> AdamW:
    """AdamW over all trained parameters; what has a side of one is not decayed (biases, 1x1)."""
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, p in model.named_parameters():
        tower = name.startswith(("vision.", "text."))
        decayed = p.ndim >= 2 and min(p.shape) > 1
        group: Any = {"tower": tower, "clipped": config.clip_norm_of == "all" or not tower}
        group |= {"weight_decay": config.weight_decay if decayed else 0.0, "params": []}
        if p.requires_grad:
            groups.setdefault((tower, decayed), group)["params"].append(p)
    return AdamW(groups.values(), config.learning_rate, fused=next(model.parameters()).is_cuda)


def learning_rate(step: int, steps: int, config: Config) -> float:
    """Linear warm-up, then a cosine to final_lr_fraction; or constant. `step` counts from 0."""
    if config.schedule == "constant":
        return 0.1009 * config.learning_rate  # of 8e-6: 8.072e-7, where the released one stays
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    cosine = 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
    return config.learning_rate * (cosine + (1 - cosine) * config.final_lr_fraction)


def fit(
    config: Config,
    train: Any,
    val: Any,
    test: Any,
    *,
    sentences: list[list[str]],
    about: dict[str, Any],
    out_dir: str | Path,
    resume: bool = False,
    on_step: Callable = lambda *_: None,
) -> dict[str, Any]:
    """Trains SAFE, picks the epoch by `val`, evaluates that one on `test`, once.

    The data sets also have `set_epoch` and `labels` int64 [n]. Writes last.pt (the whole state,
    every epoch) and best.safetensors; with resume=True an interrupted run goes on exactly as it
    would have; without, FileExistsError. on_step(step, steps, steps of an epoch, loss), whose
    `watch` (iterator -> iterator), if any, sees the loader. about: what checkpoints say, JSON:
    "class_names" and, if not all, what a resumed run must share, "identity".
    Returns history, best_epoch, test, log_probs [n, L], trained_parameters.
    """
    device, rank, size = here()
    if config.batch_size % (size * config.accumulate) or len(train) < config.batch_size:
        rule = f"must divide over {size} processes and not exceed the {len(train)} training clips"
        raise ValueError(f"batch_size={config.batch_size} {rule}")
    last, best = Path(out_dir, "last.pt"), Path(out_dir, "best.safetensors")
    if last.exists() and not resume:
        raise FileExistsError(f"{last} holds a run: give resume=True or choose another out_dir")
    torch.manual_seed(config.seed)
    model = build(config, sentences).to(device)
    if size > 1 and device.type == "cuda":  # a ResNet's batch is that of all processes
        timm.layers.convert_sync_batchnorm(model)
    half = autocast(config, device).fast_dtype == torch.float16  # whose gradients need scaling
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    trained: Any = {"model": model, "optimizer": make_optimizer(model, config), "scaler": scaler}
    fields = dataclasses.asdict(config)
    about = {"sentences": sentences, "config": fields, "identity": fields} | about
    about["history"] = history = restore(last, trained, about) if last.exists() else []
    if rank == 0 and history and best_epoch(history) == len(history):
        save_checkpoint(best, model.state_dict(), about)  # if killed between the two
    model.learned = torch.as_tensor(train.labels).unique().to(device)  # for heads that read names
    if config.compile:
        model.compile()
    wrapped = nn.parallel.DistributedDataParallel(model) if size > 1 else model  # towers inside
    sampler: DistributedSampler = DistributedSampler(train, size, rank, True, config.seed, True)
    chooser = val if config.select_on == "val" else test
    epochs = math.ceil(config.steps_for(len(train)) / (len(train) // config.batch_size))
    for epoch in range(len(history), epochs):
        start = time.perf_counter()
        torch.manual_seed((config.seed * 10_000 + epoch) * 1_000 + rank)  # resumed or not
        sampler.set_epoch(epoch)
        train.set_epoch(epoch)  # augmentation and jitter
        row = {"epoch": epoch + 1} | train_epoch(wrapped, sampler, trained, epoch, config, on_step)
        if len(chooser):
            scores = accuracy(predict(model, chooser, config), chooser.labels)
            row |= {f"{config.select_on}_{name}": score for name, score in scores.items()}
        history.append(row | {"seconds": time.perf_counter() - start})
        if rank == 0:
            last.parent.mkdir(parents=True, exist_ok=True)
            state = {name: part.state_dict() for name, part in trained.items()} | {"about": about}
            write_atomically(last, functools.partial(torch.save, state))
            if best_epoch(history) == epoch + 1:
                save_checkpoint(best, model.state_dict(), about)
            print(", ".join(f"{k} {v:.4g}" for k, v in history[-1].items()), flush=True)
    if size > 1:
        dist.barrier()  # the first process writes the best epoch
    model.load_state_dict(load_checkpoint(best)[0])
    log_probs = predict(model, test, config)
    return {
        "history": history,
        "best_epoch": best_epoch(history),
        "test": accuracy(log_probs, test.labels),
        "log_probs": log_probs,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def train_epoch(
    model: Any, sampler: Any, trained: dict, epoch: int, config: Config, on_step: Callable
) -> dict[str, float]:
    """One pass over the training clips; {"train_loss": its mean, "learning_rate": the last}."""
    device, _, size = here()
    model.train()
    optimizer, scaler = trained["optimizer"], trained["scaler"]
    clips = config.batch_size // size // config.accumulate
    per_epoch = len(sampler.dataset) // config.batch_size
    steps = config.steps_for(len(sampler.dataset))
    own = min(per_epoch, steps - epoch * per_epoch)  # the last epoch may be cut short
    clipped = [p for g in optimizer.param_groups if g["clipped"] for p in g["params"]]
    total = torch.zeros((), dtype=torch.float64, device=device)
    loader = load(sampler.dataset, config, batch_size=clips, sampler=sampler, drop_last=True)
    batches = getattr(on_step, "watch", iter)(loader)  # notes the waiting
    for i, batch in enumerate(itertools.islice(batches, own * config.accumulate)):
        with autocast(config, device):
            logits = model(batch.get("rgb"), batch.get("event"))
        loss = trained["model"].loss(logits, batch["label"]) / config.accumulate
        total += loss.detach()
        is_last = (i + 1) % config.accumulate == 0  # part of its step: processes are averaged
        with contextlib.nullcontext() if is_last or size == 1 else model.no_sync():
            scaler.scale(loss).backward()
        if not is_last:
            continue
        step = epoch * per_epoch + i // config.accumulate
        rate = learning_rate(step, steps, config)
        for group in optimizer.param_groups:
            group["lr"] = rate * config.tower_lr_scale if group["tower"] else rate
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(clipped, config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        on_step(step + 1, steps, per_epoch, loss.detach() * config.accumulate)
    if size > 1:
        dist.all_reduce(total)
    if not total.isfinite():  # asked once, since each question keeps a GPU waiting
        raise FloatingPointError(f"the loss of epoch {epoch + 1} is {total}: lower learning_rate")
    return {"train_loss": total.item() / own / size, "learning_rate": rate}


def best_epoch(history: list[dict]) -> int:
    """The first epoch of the highest top-1 on the split that selects; without one, the last."""
    scores = [row.get("val_top1", row.get("test_top1", row["epoch"])) for row in history]
    return history[scores.index(max(scores))]["epoch"]


def restore(path: Path, trained: dict[str, Any], about: dict) -> list[dict]:
    """Puts model, optimizer and scaler back to where `path` left them; returns its history."""
    try:
        state = torch.load(path, "cpu", weights_only=True)
        saved = state["about"]
        same = {key: about[key] for key in ("class_names", "sentences")} | about["identity"]
        before = dataclasses.asdict(Config()) | saved | saved["identity"]
        if other := ", ".join(key for key in same if before.get(key) != same[key]):
            raise ValueError(f"was made with another {other}; resume with the same")
        for name, part in trained.items():
            part.load_state_dict(state[name])
    except Exception as error:  # damaged files raise many kinds
        raise ValueError(f"{path}: cannot be resumed: {error}") from error
    return saved["history"]
