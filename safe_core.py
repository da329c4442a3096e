"""SAFE in one file: configuration, towers, fusion, training, evaluation, checkpoints.

Semantic-aware frame-event fusion (Li et al., arXiv 2311.18592; Pattern Recognition 158, 2025): RGB frames and
event images of one recording pass through one CLIP vision tower, the names of all classes through CLIP's text
tower, and a small Transformer fuses the three into a class.

    python safe_core.py --dataset hardvs                                  # sample world: minutes on two CPU cores
    python safe_core.py --dataset hardvs --data-root /data/HARDVS         # the real thing, the paper's settings
    torchrun --nproc-per-node 4 safe_core.py --dataset pokerevent --data-root /data/PokerEvent --resume

Data come as a `torch.utils.data.Dataset` of dicts {"rgb": uint8 [F, 3, S, S], "event": uint8 [F, 3, S, S],
"label": int, "name": str}. Shapes: B batch, F frames, S image side, K tokens of an image, N visual tokens of a branch,
L classes, M sentences, T text positions, D width.
"""

import argparse
import dataclasses
import json
import math
import os
import time
from pathlib import Path
from typing import Literal, get_args, get_origin

import open_clip
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, Subset

HERE = Path(__file__).resolve().parent


# ------------------------------------------------------------------------------------------------ configuration
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run. The defaults are the paper's (Sec. 4.2); "open" marks what it leaves open."""

    # data
    dataset: Literal["hardvs", "pokerevent", "folder"] = "hardvs"  # folder: your own, one folder per class
    data_root: str | None = None  # None: the generated sample
    modality: Literal["both", "rgb", "event"] = "both"
    frames: int = 5  # F, Table 5's best
    image_size: int = 224  # S
    event_representation: Literal["authors", "counts", "voxel", "time_surface"] = "authors"
    event_windows: Literal["frames", "afe"] = "frames"  # frames: between frame time stamps; afe: journal
    afe_min_events: int = 150_000  # AFE's smallest half, ExACT's value for HARDVS
    afe_threshold: float = 0.0  # AFE's difference threshold; 0: always split, ExACT's value for HARDVS
    sensor_size: str | None = None  # "346x260": for recordings that do not carry it
    augment: Literal["clip", "frame", "none"] = "clip"  # shift and flip, once per clip; frame: per image (released)
    frame_draw: Literal["aligned", "independent"] = "aligned"  # independent: RGB and event at random (released)
    test_frames: Literal["even", "random"] = "even"  # random: drawn as in training (released)
    train_fraction: float = 1.0  # share of the training list that is used
    val_fraction: float = 0.1  # share of the training list that selects the epoch; open
    test_fraction: float = 0.2  # held-out share of a `folder` without lists
    on_bad_recording: Literal["stop", "skip"] = "stop"
    sample_train_per_class: int = 48  # size of the generated sample
    sample_test_per_class: int = 30
    # text
    prompt: str | None = None  # sentence with {} for the class name; None: the paper's for the data set
    prompt_file: str | None = None  # JSON, a list of sentences per class, instead of `prompt`
    prompt_context: int = 0  # learnable context vectors in front of the sentence (CoOp)
    distinct_names: bool = True  # number class names that repeat; False: as released
    # towers
    clip_model: str = "ViT-B-16-quickgelu"  # open_clip name, or a .json of weights/
    clip_weights: str = "openai"  # open_clip tag or a file
    vit_model: str = "vit_base_patch16_224.augreg_in21k_ft_in1k"  # timm name or .json: Table 4's plain ViT
    resnet_model: str = "resnet50.a1_in1k"  # timm name or .json: the ResNet counterpart
    pretrained: bool = True  # False: every tower starts from random weights
    normalisation: Literal["tower", "half"] = "tower"  # tower: as in its pre-training; half: 0.5, 0.5 (released)
    freeze_vision: bool = False
    freeze_text: bool = False
    # fusion: the switches of Table 4, what the released code does otherwise, then sizes
    vision_tower: Literal["clip", "vit", "resnet"] = "clip"
    use_text: bool = True
    use_multimodal_transformer: bool = True
    use_self_attention: bool = True
    use_cross_attention: bool = True
    fusion: Literal["paper", "released"] = "paper"  # released: the authors' code, which averages frames (safe_released)
    joint_block: bool = False  # True: one multi-modal Transformer over [RGB, event, text] (released)
    value_from_key: bool = False  # True: cross-attention's value is computed from its key (released)
    frame_fusion: Literal["concat", "mean"] = "concat"  # concat: F*K tokens (equations); mean: K (released code)
    width: int = 768  # D
    heads: int = 12  # open
    layers: int = 1  # of each multi-modal Transformer; open
    readout_tokens: int = 10  # learned tokens that the classifier reads; open
    dropout: float = 0.0
    # training
    epochs: int = 50
    batch_size: int = 16  # clips over all processes
    learning_rate: float = 8e-6
    tower_lr_scale: float = 1.0  # learning rate of the towers relative to the fusion's
    warmup_fraction: float = 0.05  # of all steps, linear; open
    final_lr_fraction: float = 0.1  # cosine ends here ("decay rate 0.1")
    weight_decay: float = 0.05  # on matrices only; open
    schedule: Literal["cosine", "constant"] = "cosine"  # constant: 0.1009 of learning_rate throughout (released)
    clip_norm: float = 1.0  # bound of the gradient's norm
    clip_norm_of: Literal["all", "fusion"] = "all"  # fusion: the towers' gradients are not clipped (released)
    select_on: Literal["val", "test"] = "val"  # which split chooses the epoch; test: as released
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int = 2  # loader processes per training process
    seed: int = 0


CHOICES = {f.name: get_args(f.type) for f in dataclasses.fields(Config) if get_origin(f.type) is Literal}

PRESETS = {
    "paper": {},
    "sample": dict(  # sized so that two CPU cores train it in about two minutes
        image_size=64, frames=3, afe_min_events=2_000, clip_model="weights/tiny_clip.json", freeze_text=True,
        vit_model="weights/tiny_vit.json", resnet_model="weights/tiny_resnet.json", width=96, heads=3, dropout=0.1,
        epochs=4, batch_size=32, learning_rate=1e-3, final_lr_fraction=0.01, warmup_fraction=0.1,
    ),
}  # fmt: skip

def configure(preset: str | None = None, **fields) -> Config:
    """Config from a preset ("paper", "sample"; None: sample without data_root, paper with it) and overrides; a field of
    None is as the preset has it. ValueError for unknown names and choices."""
    preset = preset or ("sample" if fields.get("data_root") is None else "paper")
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r} is unknown: choose one of {', '.join(PRESETS)}, or None")
    if unknown := sorted(set(fields) - set(Config.__dataclass_fields__)):
        raise ValueError(f"unknown configuration field {', '.join(unknown)}: see `python safe_core.py --help`")
    config = Config(**{**PRESETS[preset], **{k: v for k, v in fields.items() if v is not None}})
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"{name}={getattr(config, name)!r} is unknown: choose one of {', '.join(choices)}")
    return config


# ------------------------------------------------------------------------------------------------ towers
def conv_stem(width: int, patch_size: int) -> nn.Sequential:
    """Patch embedding by stride-2 convolutions (Xiao et al., 2021): a small ViT learns much faster with it."""
    channels, layers = [3] + [width >> i for i in reversed(range(patch_size.bit_length() - 1))], []
    for c, out in zip(channels, channels[1:], strict=False):
        layers += [nn.Conv2d(c, out, 3, 2, 1, bias=False), nn.GroupNorm(out // 6, out), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))


def local_tower(path: str, pretrained: bool) -> nn.Module:
    """A tower of weights/: NAME.json says what to build, NAME.safetensors beside it holds float16 weights."""
    file = HERE / path
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such tower; notebooks/pretrain_clip.ipynb makes those of weights/")
    spec = json.loads(file.read_text())["build"]
    if "timm" in spec:
        net = timm.create_model(spec["timm"], num_classes=0, **spec["arguments"])
    else:
        net = open_clip.CLIP(**spec)
        net.visual.conv1 = conv_stem(spec["vision_cfg"]["width"], spec["vision_cfg"]["patch_size"])
    if pretrained:
        state = safetensors.torch.load_file(file.with_suffix(".safetensors"))
        if (rows := state.pop("token_ids", None)) is not None:  # only the tokens of its captions are stored;
            trained = state["token_embedding.weight"].float()  # any other token is read as their mean
            everything = trained.mean(0).repeat(net.vocab_size, 1).index_copy_(0, rows.long(), trained)
            state["token_embedding.weight"] = everything
        net.load_state_dict(state, strict=False)  # the plain ViT is stored without a text half
    return net


def build_clip(config: Config) -> tuple[nn.Module, object]:
    """(CLIP, tokenizer): through open_clip (Radford et al., 2021), or this project's own tiny one."""
    name, weights = config.clip_model, config.clip_weights if config.pretrained else None
    if name.endswith(".json"):
        return local_tower(name, config.pretrained), open_clip.get_tokenizer("ViT-B-16")
    try:
        clip = open_clip.create_model(name, pretrained=weights, force_image_size=config.image_size)
    except OSError as error:  # what the hub's client raises without a network
        raise OSError(f"no weights {weights!r} of {name}: connect once, or set clip_weights=FILE ({error})") from error
    return clip, open_clip.get_tokenizer(name)


class VisionTower(nn.Module):
    """Images in 0..255 [B, 3, S, S] -> all tokens [B, K, D_v] before CLIP's projection (Sec. 3.2: 197 x 768).

    One tower serves both modalities. Pixels are normalised here, on the device, as in the tower's pre-training.
    """

    def __init__(self, config: Config, clip: nn.Module | None):
        super().__init__()
        mean, std, self.projection = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD, None
        name = config.resnet_model if config.vision_tower == "resnet" else config.vit_model
        if config.vision_tower == "clip" or name.endswith(".json"):
            net = clip if config.vision_tower == "clip" else local_tower(name, config.pretrained)
            self.net = getattr(net, "visual", net)
        else:
            size = {"img_size": config.image_size} if config.vision_tower == "vit" else {}
            self.net = timm.create_model(name, pretrained=config.pretrained, num_classes=0, **size)
            mean, std = self.net.pretrained_cfg["mean"], self.net.pretrained_cfg["std"]
        if isinstance(self.net, open_clip.transformer.VisionTransformer):
            if config.fusion == "released":
                self.projection = self.net.proj  # of all tokens, not of the class token alone
            self.net.proj, self.net.output_tokens = None, True  # class token and patch tokens at full width
        if config.normalisation == "half":
            mean = std = (0.5, 0.5, 0.5)
        self.register_buffer("mean_and_std", torch.tensor([mean, std]).view(2, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = (images - self.mean_and_std[0]) / self.mean_and_std[1]
        if isinstance(self.net, open_clip.transformer.VisionTransformer):
            class_token, patches = self.net(images)
            tokens = torch.cat([class_token[:, None], patches], dim=1)
            return tokens if self.projection is None else tokens @ self.projection
        tokens = self.net.forward_features(images)
        return tokens.flatten(2).transpose(1, 2) if tokens.ndim == 4 else tokens


class TextTower(nn.Module):
    """CLIP's text tower over fixed sentences: `forward(which)` -> features [len(which), D_t].

    Causal attention read out at end-of-text needs no position after the longest sentence: they are cut. `context` > 0
    puts that many learned vectors in front of every sentence (CoOp, Zhou et al., 2022). ValueError if one is too long.
    """

    def __init__(self, clip: nn.Module, tokenizer, sentences: list[str], context: int):
        super().__init__()
        tokens = tokenizer(sentences)
        end = tokens.argmax(dim=1)  # end-of-text is the largest token number
        if (overfull := end + context >= clip.context_length - (tokens[:, -1] != 0).int()).any():
            long = sentences[int(overfull.nonzero()[0])]
            raise ValueError(f"too long for CLIP's 77 tokens with {context} context vectors: shorten {long!r}")
        self.register_buffer("tokens", tokens[:, : int(end.max()) + 1], persistent=False)
        self.register_buffer("end", end + context, persistent=False)
        self.register_buffer("mask", clip.attn_mask, persistent=False)
        self.token_embedding, self.positional_embedding = clip.token_embedding, clip.positional_embedding
        self.transformer, self.ln_final, self.projection = clip.transformer, clip.ln_final, clip.text_projection
        width = clip.token_embedding.embedding_dim
        self.context = nn.Parameter(torch.randn(context, width) * 0.02) if context else None

    def forward(self, which: torch.Tensor) -> torch.Tensor:
        order = self.end[which].argsort()  # sentences of like length together, each group cut to its longest
        return torch.cat([self.encode(which[part]) for part in order.chunk(len(which) // 50 + 1)])[order.argsort()]

    def encode(self, which: torch.Tensor) -> torch.Tensor:
        end = self.end[which]
        x = self.token_embedding(self.tokens[which])  # [M, T, D_t]
        if self.context is not None:
            x = torch.cat([x[:, :1], self.context.expand(len(x), -1, -1), x[:, 1:]], dim=1)
        length = int(end.max()) + 1
        x = x[:, :length] + self.positional_embedding[:length]
        x = self.transformer(x, attn_mask=self.mask[:length, :length])
        return self.ln_final(x)[torch.arange(len(x), device=x.device), end] @ self.projection


# ------------------------------------------------------------------------------------------------ fusion
class PreNormAttention(nn.Module):
    """Queries [B, Nq, D] + softmax(Q K^T / sqrt(d_k)) V over context [B, Nk, D], or over themselves (Sec. 3.3)."""

    def __init__(self, width: int, heads: int, value_from_key: bool = False):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, heads, batch_first=True)
        self.value_from_key = value_from_key

    def forward(self, queries: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        q = self.norm(queries)
        k = v = q if context is None else self.norm(context)
        if self.value_from_key:
            v = F.linear(k, *(p.chunk(3)[1] for p in (self.attention.in_proj_weight, self.attention.in_proj_bias)))
        return queries + self.attention(q, k, v, need_weights=False)[0]


class Fusion(nn.Module):
    """The paper's feature enhancement and classifier (Sec. 3.3, Fig. 2).

    Visual tokens {"rgb": [B, F, K, D], "event": [B, F, K, D]} and text tokens [L, D] or None -> logits [B, L]. Open,
    our choices: weights per branch, pre-norm and residuals in all attentions, a few learned tokens to classify from.
    """

    def __init__(self, config: Config, branches: list[str], num_classes: int, num_tokens: int):
        super().__init__()
        self.config, c, d, sizes = config, config, config.width, (config.width, config.heads)
        frames = c.frames if c.frame_fusion == "concat" else 1
        self.position = nn.Parameter(torch.randn(num_tokens, d) * 0.02)
        self.frame = nn.Parameter(torch.randn(frames, 1, d) * 0.02) if frames > 1 else None
        self.kind = nn.ParameterDict({k: nn.Parameter(torch.randn(d) * 0.02) for k in branches + ["text"] * c.use_text})

        def block():  # pre-norm: LayerNorm, self-attention, residual, LayerNorm, feed-forward, residual
            x = nn.TransformerEncoderLayer(d, c.heads, 4 * d, c.dropout, "gelu", batch_first=True, norm_first=True)
            x.self_attn.dropout = 0.0  # fused attention kernels have none
            return x

        self.groups = {"joint": branches} if c.joint_block else {b: [b] for b in branches}
        if c.use_multimodal_transformer:
            blocks = {name: nn.Sequential(*(block() for _ in range(c.layers))) for name in self.groups}
            self.multimodal_transformer = nn.ModuleDict(blocks)
        if c.use_self_attention:
            self.self_attention = PreNormAttention(*sizes)
        if c.use_text and c.use_cross_attention:
            self.cross_attention = nn.ModuleDict({b: PreNormAttention(*sizes, c.value_from_key) for b in branches})
        self.readout = nn.Parameter(torch.randn(c.readout_tokens, d) * 0.02)
        self.final_attention = PreNormAttention(*sizes)
        linear = nn.Linear(c.readout_tokens * d, num_classes)
        self.classifier = nn.Sequential(nn.LayerNorm(d), nn.Flatten(), nn.Dropout(c.dropout), linear)

    def forward(self, visual: dict[str, torch.Tensor], text: torch.Tensor | None) -> torch.Tensor:
        c, visual, texts = self.config, dict(visual), {}
        text = self.position.new_empty(0, c.width) if text is None else text + self.kind["text"]
        for b, x in visual.items():  # 1. position and modality embeddings
            x = x.mean(dim=1, keepdim=True) if c.frame_fusion == "mean" else x
            x = x + self.position + self.kind[b]
            visual[b] = (x if self.frame is None else x + self.frame).flatten(1, 2)  # [B, N, D]
            texts[b] = text.expand(len(x), -1, -1)  # [B, L, D]
        if c.use_multimodal_transformer:  # 2. one multi-modal Transformer per branch, over [visual, text]
            for name, group in self.groups.items():
                parts = [*(visual[b] for b in group), texts[group[0]]]
                x = self.multimodal_transformer[name](torch.cat(parts, dim=1))
                *parts, text = x.split([part.shape[1] for part in parts], dim=1)
                visual, texts = visual | dict(zip(group, parts, strict=True)), texts | dict.fromkeys(group, text)
        if c.use_self_attention:  # 3. self-attention over [RGB, event]
            counts = [x.shape[1] for x in visual.values()]
            x = self.self_attention(torch.cat(list(visual.values()), dim=1))
            visual = dict(zip(visual, x.split(counts, dim=1), strict=True))
        if c.use_text and c.use_cross_attention:  # 4. each branch's text queries its visual tokens
            texts = {b: self.cross_attention[b](texts[b], visual[b]) for b in texts}
        # 5. all tokens together; only the read-out rows of this self-attention are used, so only they are computed
        readout = self.readout.expand(len(x), -1, -1)
        everything = torch.cat([*visual.values(), *texts.values(), readout], dim=1)
        return self.classifier(self.final_attention(readout, everything))


class SAFE(nn.Module):
    """Towers and fusion: uint8 rgb and/or event [B, F, 3, S, S] -> logits [B, L].

    sentences: one list per class; of several, evaluation averages the text features ("in token space") and training
    draws one per step. A frozen text tower is run once, here: its features become a buffer, and the tower is dropped.
    """

    def __init__(self, config: Config, sentences: list[list[str]]):
        super().__init__()
        self.config = config
        self.branches = ["rgb", "event"] if config.modality == "both" else [config.modality]
        clip, tokenizer = build_clip(config) if config.vision_tower == "clip" or config.use_text else (None, None)
        self.vision = VisionTower(config, clip)
        with torch.no_grad():
            tokens, vision_width = self.vision.eval()(torch.zeros(1, 3, config.image_size, config.image_size)).shape[1:]
        self.vision.train().requires_grad_(not config.freeze_vision)
        self.visual_embed = nn.Linear(vision_width, config.width) if vision_width != config.width else nn.Identity()
        if config.use_text:
            self.counts = [len(group) for group in sentences]
            self.text = TextTower(clip, tokenizer, sum(sentences, []), config.prompt_context)
            self.word_embed = nn.Linear(clip.text_projection.shape[1], config.width)
            if config.freeze_text:
                for name, p in self.text.named_parameters():
                    p.requires_grad_(name == "context")
                if not config.prompt_context:
                    with torch.no_grad():
                        self.register_buffer("text_features", self.text(torch.arange(sum(self.counts))))
                    self.text = None
        fusion = Fusion
        if config.fusion == "released":
            from safe_released import ReleasedFusion as fusion  # the one thing that this file does not hold
        self.fusion = fusion(config, self.branches, len(sentences), tokens)

    def forward(self, rgb: torch.Tensor | None = None, event: torch.Tensor | None = None) -> torch.Tensor:
        inputs = {"rgb": rgb, "event": event}
        if missing := [b for b in self.branches if inputs[b] is None]:
            raise ValueError(f"modality={self.config.modality!r} needs the input {missing[0]!r}, which is missing")
        images = torch.stack([inputs[b] for b in self.branches]).to(self.fusion.readout.device)  # both as one batch
        tokens = self.visual_embed(self.vision(images.flatten(0, 2))).unflatten(0, images.shape[:3])  # [2, B, F, K, D]
        text = self.text_tokens() if self.config.use_text else None
        return self.fusion(dict(zip(self.branches, tokens, strict=True)), text)

    def text_tokens(self) -> torch.Tensor:
        """One token per class [L, D]: of a drawn sentence in training, of the mean over its sentences otherwise."""
        encode = self.text or self.text_features.__getitem__
        device = self.word_embed.weight.device
        if self.training:
            counts = torch.tensor(self.counts, device=device)
            draw = (torch.rand(len(counts), device=device) * counts).long()
            return self.word_embed(encode(counts.cumsum(0) - counts + draw))
        features = encode(torch.arange(sum(self.counts), device=device)).split(self.counts)
        return self.word_embed(torch.stack([f.mean(dim=0) for f in features]))

    def train(self, mode: bool = True) -> "SAFE":
        super().train(mode)
        self.vision.train(mode and not self.config.freeze_vision)  # a frozen ResNet keeps its batch statistics, too
        return self


# ------------------------------------------------------------------------------------------------ processes, precision
def join_processes() -> tuple[torch.device, int, int]:
    """(device, rank, number of processes) of this process; joins the group that torchrun describes, if it does."""
    cuda = torch.cuda.is_available()
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    return device, *((dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1))


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """bfloat16 where asked for; "auto" takes it on GPUs that have it, never on a CPU (small models gain nothing)."""
    auto = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    bf16 = {"auto": auto, "fp32": False, "bf16": True}[config.precision]
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


# ------------------------------------------------------------------------------------------------ checkpoints
def write_atomically(path: Path, write) -> None:
    """`write(temporary path)`, then rename: a reader sees the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)


def save_checkpoint(path: Path, tensors: dict[str, torch.Tensor], about: dict) -> None:
    """Tensors as safetensors with `about` as JSON in their header, and the same JSON beside it for people."""
    text = json.dumps(about, indent=1)
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    write_atomically(path, lambda p: safetensors.torch.save_file(tensors, p, metadata={"about": text}))
    write_atomically(path.with_suffix(".json"), lambda p: p.write_text(text))


def load_checkpoint(path: Path, *, num_classes: int | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """(tensors, about) of a checkpoint; runs no code of the file. ValueError if it is none or has other classes."""
    if not (path := Path(path)).is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; a run writes best.safetensors and last.safetensors")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint of this project, which a run writes: {error}") from error
    if num_classes not in (None, found := len(about["class_names"])):
        raise ValueError(f"{path}: trained for {found} classes, the data have {num_classes}: use its data or train")
    return tensors, about


def load_model(path: Path, *, num_classes: int | None = None) -> tuple[SAFE, dict]:
    """(model in evaluation mode, what was saved beside it) from a checkpoint, without fetching any weights."""
    tensors, about = load_checkpoint(path, num_classes=num_classes)
    model = SAFE(Config(**about["config"] | {"pretrained": False}), about["sentences"])
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("optimizer.")})
    return model.eval(), about


# ------------------------------------------------------------------------------------------------ evaluation, training
@torch.inference_mode()
def predict(model: nn.Module, dataset, config: Config) -> torch.Tensor:
    """Log-probabilities [len(dataset), L], float32, on every process; each takes every n-th clip, none twice."""
    model.eval()
    (device, rank, size), parts = join_processes(), []
    mine = Subset(dataset, range(rank, len(dataset), size))
    for batch in DataLoader(mine, batch_size=config.batch_size, num_workers=config.workers):
        with autocast(config, device):
            logits = model(batch.get("rgb"), batch.get("event"))
        parts.append(logits.float().log_softmax(dim=1).cpu())
    gathered = [torch.cat(parts)] * size
    if size > 1:
        dist.all_gather_object(gathered, gathered[0])
    log_probs = torch.empty(len(dataset), gathered[0].shape[1])
    for r, part in enumerate(gathered):
        log_probs[r::size] = part
    return log_probs


def accuracy(log_probs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy in percent (Sec. 4.1), and the mean cross entropy in nats."""
    hits = log_probs.topk(min(5, log_probs.shape[1])).indices == labels[:, None]
    return {"top1": 100 * hits[:, 0].float().mean().item(), "top5": 100 * hits.any(1).float().mean().item(),
            "loss": F.nll_loss(log_probs, labels).item()}  # fmt: skip


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW over all trained parameters; vectors and embeddings of single tokens are not decayed."""
    groups = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            tower, decay = name.startswith(("vision.", "text.")), p.ndim >= 2 and min(p.shape) > 1
            clipped = config.clip_norm_of == "all" or not tower
            about = {"tower": tower, "clipped": clipped, "weight_decay": decay * config.weight_decay}
            groups.setdefault((tower, decay), about | {"params": []})["params"].append(p)
    return torch.optim.AdamW(groups.values(), lr=config.learning_rate)


def learning_rate(step: int, steps: int, config: Config) -> float:
    """Linear warm-up, then a cosine to final_lr_fraction; `step` counts optimizer steps from 0."""
    if config.schedule == "constant":
        return 0.1009 * config.learning_rate  # of 8e-6 that is 8.072e-7, where the released scheduler stays
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    cosine = 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
    return config.learning_rate * (config.final_lr_fraction + (1 - config.final_lr_fraction) * cosine)


def fit(config: Config, train, val, test, *, sentences, class_names, out_dir, resume=False, on_step=lambda *_: None):
    """Trains SAFE, picks the epoch by `val`, evaluates that one on `test`, once. The data sets also have `set_epoch`
    and `labels` int64 [n]. Writes last.safetensors (weights and optimizer, every epoch) and best.safetensors; with
    resume=True an interrupted run goes on from `last` exactly as it would have. Raises FileExistsError rather than
    overwrite a run. on_step(epoch, step, steps, loss) is called after every step.
    Returns history, best_epoch, test, log_probs [n, L], trained_parameters, processes.
    """
    (device, rank, size), out_dir = join_processes(), Path(out_dir)
    if config.batch_size % size or len(train) < config.batch_size:
        raise ValueError(f"batch_size={config.batch_size} must divide over {size} processes and not exceed the "
                         f"{len(train)} training clips")  # fmt: skip
    last, best = out_dir / "last.safetensors", out_dir / "best.safetensors"
    if last.exists() and not resume:
        raise FileExistsError(f"{last} holds a run: continue it with resume=True or choose another out_dir")
    torch.manual_seed(config.seed)
    model = SAFE(config, sentences).to(device)
    optimizer = make_optimizer(model, config)
    about = {"config": dataclasses.asdict(config), "class_names": class_names, "sentences": sentences, "history": []}
    if last.exists():
        about["history"] = restore(last, model, optimizer, about)
    history, wrapped = about["history"], model
    if size > 1:  # the towers are inside, so their gradients are averaged, too
        wrapped = nn.parallel.DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    clipped = [p for group in optimizer.param_groups if group["clipped"] for p in group["params"]]
    chooser = val if config.select_on == "val" else test
    sampler = DistributedSampler(train, size, rank, shuffle=True, seed=config.seed, drop_last=True)
    loader = DataLoader(train, config.batch_size // size, sampler=sampler, num_workers=config.workers, drop_last=True)
    for epoch in range(len(history), config.epochs):
        start, total = time.perf_counter(), 0.0
        torch.manual_seed((config.seed * 10_000 + epoch) * 1_000 + rank)  # resumed or not, an epoch draws the same
        sampler.set_epoch(epoch)
        train.set_epoch(epoch)  # augmentation and jitter
        wrapped.train()
        for i, batch in enumerate(loader):
            rate = learning_rate(epoch * len(loader) + i, config.epochs * len(loader), config)
            for group in optimizer.param_groups:
                group["lr"] = rate * (config.tower_lr_scale if group["tower"] else 1)
            with autocast(config, device):
                logits = wrapped(batch.get("rgb"), batch.get("event"))
            loss = F.cross_entropy(logits.float(), batch["label"].to(device))
            if not math.isfinite(value := loss.item()):
                raise FloatingPointError(f"loss is {value} in epoch {epoch + 1}: lower learning_rate; {last} is kept")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(clipped, config.clip_norm)
            optimizer.step()
            total += value
            on_step(epoch, i + 1, len(loader), value)
        scores = accuracy(predict(model, chooser, config), chooser.labels) if len(chooser) else {}
        scores = {f"{config.select_on}_{k}": v for k, v in scores.items()} | {"seconds": time.perf_counter() - start}
        history.append({"epoch": epoch + 1, "train_loss": total / len(loader), "learning_rate": rate} | scores)
        if rank == 0:
            out_dir.mkdir(parents=True, exist_ok=True)
            tensors = model.state_dict()
            if best_epoch(history) == epoch + 1:
                save_checkpoint(best, tensors, about)
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
            save_checkpoint(last, tensors, about)
            print(", ".join(f"{k} {v:.4g}" for k, v in history[-1].items()), flush=True)

    if size > 1:
        dist.barrier()  # the first process writes the best epoch
    model.load_state_dict(load_checkpoint(best)[0])
    log_probs = predict(model, test, config)
    return {"history": history, "best_epoch": best_epoch(history), "test": accuracy(log_probs, test.labels),
            "log_probs": log_probs, "trained_parameters": sum(p.numel() for p in trained), "processes": size}


def best_epoch(history: list[dict]) -> int:
    """The epoch of the highest top-1 on the split that selects, the earliest of equals; without one, the last."""
    return max(history, key=lambda row: row.get("val_top1", row.get("test_top1", row["epoch"])))["epoch"]


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, about: dict) -> list[dict]:
    """Puts model and optimizer back to where `path` left them; returns its history. The configuration must agree."""
    tensors, saved = load_checkpoint(path, num_classes=len(about["class_names"]))
    if differing := [k for k, v in about["config"].items() if k != "workers" and saved["config"].get(k) != v]:
        raise ValueError(f"{path}: was configured with another {', '.join(differing)}; resume with the same values")
    state = optimizer.state_dict()
    for key in [key for key in tensors if key.startswith("optimizer.")]:
        _, index, name = key.split(".")
        state["state"].setdefault(int(index), {})[name] = tensors.pop(key)
    optimizer.load_state_dict(state)
    model.load_state_dict(tensors)
    return saved["history"]


# ------------------------------------------------------------------------------------------------ command line
def main() -> None:
    """Every configuration field is an option: see --help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, help="default: sample for the sample, paper for real data")
    parser.add_argument("--out-dir", type=Path, help="default: runs/DATASET-seedSEED")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out-dir if it holds one")
    for f in dataclasses.fields(Config):
        kind = {"type": str if f.default is None else type(f.default), "choices": CHOICES.get(f.name)}
        kind = {"action": argparse.BooleanOptionalAction} if isinstance(f.default, bool) else kind
        text = f"paper: {f.default}, sample: {PRESETS['sample'].get(f.name, f.default)}"
        parser.add_argument(f"--{f.name.replace('_', '-')}", default=None, help=text, **kind)
    fields = vars(parser.parse_args())
    out_dir, resume = fields.pop("out_dir"), fields.pop("resume")
    import safe_book  # here, since the model knows neither where data come from nor what a record looks like

    safe_book.run(configure(**fields), out_dir=out_dir, resume=resume)


if __name__ == "__main__":
    main()
