"""What does CLIP itself say of a recording, and how does it go on learning from pairs?

    config = safe_core.configure(model="clip", classifier="text", freeze_text=False)

The answer is zero-shot: the class whose sentence is nearest. The loss is contrastive (Radford et
al., 2021), between what a recording has: its RGB frames, its event images, the sentence of its
class. Importing this module lets safe_core build it.
"""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather

import safe_core
from safe_core import Config

MOST = 100.0  # that cosines are multiplied by, as in CLIP
Features = tuple[Tensor, Tensor, Tensor]  # images [M, B, D], sentences [L, D], factor of cosines


class Contrast(nn.Module):
    """CLIP over uint8 rgb and/or event [B, F, 3, S, S]; M modalities, those of config.modality.

    In evaluation: logits [B, L], cosines averaged over the modalities. In training: features, whose
    `loss` is contrastive. Features of a clip are the mean over its frames. Sentences are encoded
    anew at every step, even by a frozen text tower: what is saved is a whole CLIP.
    """

    def __init__(self, config: Config, sentences: list[list[str]]):
        super().__init__()
        self.config = config
        self.about: dict[str, Any] = {}
        self.counts = [len(group) for group in sentences]
        flat = [sentence for group in sentences for sentence in group]
        clip, tokenizer = safe_core.build_clip(config)
        self.logit_scale = clip.logit_scale
        self.text = safe_core.TextTower(config, clip, tokenizer, flat)
        self.vision = safe_core.VisionTower(config, clip, project=True)
        self.vision.requires_grad_(not config.freeze_vision)

    def forward(self, rgb: Any = None, event: Any = None, text: Any = None) -> Any:
        inputs: dict[str, Any] = {"rgb": rgb, "event": event}
        images = torch.stack([inputs[branch] for branch in self.config.branches])
        images = images.to(self.vision.mean_and_std.device)
        tokens = self.vision(images.flatten(0, 2))[:, 0].unflatten(0, images.shape[:3])
        features = F.normalize(F.normalize(tokens.float(), dim=-1).mean(dim=2), dim=-1)
        text = self.text_tokens() if text is None else text
        factor = self.logit_scale.exp().clamp(max=MOST)
        if self.training:
            return features, text, factor
        return factor * (features @ text.T).mean(dim=0)

    def text_tokens(self) -> Tensor:
        """Unit vectors [L, D]: of a drawn sentence in training, else of the mean of all."""
        counts = torch.tensor(self.counts)
        if self.training:
            drawn = (torch.rand(len(counts)) * counts).long()
            which = (counts.cumsum(0) - counts + drawn).tolist()
            return F.normalize(self.text(which).float(), dim=-1)
        features = F.normalize(self.text(list(range(sum(self.counts)))).float(), dim=-1)
        means = [group.mean(dim=0) for group in features.split(self.counts)]
        return F.normalize(torch.stack(means), dim=-1)

    def loss(self, features: Features, labels: Tensor) -> Tensor:
        """Mean, in nats, of the losses of every two of: frames, event images, sentences.

        Over the whole batch of all processes; with config.accumulate over each part of it alone,
        which is another loss. Frames and event images of one recording belong together; a sentence
        belongs to every recording of its class. Classes that the batch lacks are no negatives, so
        that names which no recording has are not learnt to be wrong.
        """
        images, text, factor = features
        if dist.is_initialized() and dist.get_world_size() > 1:
            images = torch.cat(all_gather(images.contiguous()), dim=1)
            labels = torch.cat(all_gather(labels))
        present, labels = labels.unique(return_inverse=True)
        text = text[present]
        of_class = F.one_hot(labels, len(present)).to(images.dtype)
        alone = torch.eye(len(labels), device=images.device)
        losses = [contrast(factor * some @ text.T, of_class) for some in images]
        for one, other in itertools.combinations(images, 2):
            losses.append(contrast(factor * one @ other.T, alone))
        return torch.stack(losses).mean()


def contrast(logits: Tensor, belongs: Tensor) -> Tensor:
    """InfoNCE both ways, in nats: logits [N, M]; belongs [N, M]: 1 where a row has this column.

    Of several that belong together, each is the answer in equal shares (UniCL, Yang et al., 2022).
    """
    ways = [(logits, belongs), (logits.T, belongs.T)]
    losses = [F.cross_entropy(each, target / target.sum(1, keepdim=True)) for each, target in ways]
    return torch.stack(losses).mean()


safe_core.MODELS["clip", "text"] = Contrast
