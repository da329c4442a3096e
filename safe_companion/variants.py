"""What else can be made of SAFE's parts? A head that reads names, cosines alone, trained branches.

SAFE's own classifier has an output for each class of its training, to which no name is linked.
These score a class by CLIP's cosine between what a branch shows and what the class is called:

    model="safe", classifier="text"             the fusion decides how far to trust each cosine
    model="cosines", classifier="text"          the mean of the branches' cosines, no fusion at all
    model="safe-branches", classifier="tokens"  the paper's head; cosines train each branch, too

The first two read names that they were not trained on (safe_companion/naming.py), and begin with
CLIP's zero-shot answer. Importing this module lets safe_core build them. Shapes as in safe_core.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import safe_core
from safe_companion import unseen
from safe_core import SAFE, Config, Tokens

# Weight of the cross entropy of each branch beside that of the paper's head, in safe-branches.
AUXILIARY = 0.5
# What gives a class token and a sentence the same space, and keeps CLIP's projection for it.
NEEDS = {"vision_tower": "clip", "use_text": True, "fusion": "paper"}


class Cosines(nn.Module):
    """CLIP's own answer (Radford et al., 2021): scaled cosines of class tokens and class features.

    Tokens of the vision tower [B, F, K, D_v] of each branch and text features [L, D_t] -> logits
    [branches, B, L], in full precision. The class tokens go through CLIP's visual projection, which
    is kept here (so it learns at the fusion's rate; it is frozen with the tower), and are averaged
    over frames. CLIP's logit scale is learned.
    """

    def __init__(self, config: Config, clip: Any):
        super().__init__()
        self.projection = clip.visual.proj.requires_grad_(not config.freeze_vision)
        self.logit_scale = clip.logit_scale

    def forward(self, visual: Tokens, text: Tensor) -> Tensor:
        if text.shape[1] != self.projection.shape[1]:
            raise ValueError(
                f"found text features of {text.shape[1]} values; expected "
                f"{self.projection.shape[1]}, as CLIP's image features have, for their cosine. "
                "Give features of the same CLIP (text_file), or set text_source='clip'."
            )
        with torch.autocast(text.device.type, enabled=False):
            shown = torch.stack([tokens[:, :, 0].float() for tokens in visual.values()])
            images = F.normalize((shown @ self.projection).mean(dim=2), dim=-1)
            return self.logit_scale.exp() * images @ F.normalize(text.float(), dim=-1).T


class Head(nn.Module):
    """What stands in the place of the fusion: it gets what the towers say, not yet embedded."""

    def __init__(self, cosines: Cosines, model: SAFE):
        super().__init__()
        self.cosines = cosines

    def forward(self, visual: Tokens, text: Tensor) -> Tensor:
        """The mean of the branches' cosines, scaled: logits [B, L]."""
        return self.cosines(visual, text).mean(dim=0)


class FusedHead(Head):
    """A head with a fusion, which reads embedded tokens."""

    def __init__(self, cosines: Cosines, model: SAFE):
        super().__init__(cosines, model)
        self.visual_embed = model.visual_embed
        self.word_embed = model.word_embed
        self.fusion = model.fusion

    def fused(self, visual: Tokens, text: Tensor) -> Tensor:
        """What the fusion's classifier makes of both."""
        embedded = {branch: self.visual_embed(tokens) for branch, tokens in visual.items()}
        return self.fusion(embedded, self.word_embed(text))


class TrustHead(FusedHead):
    """The fusion says how far each branch's cosines are to be trusted, clip by clip.

    Its readout gives a number t for each branch instead of one for each class; a branch counts
    2 sigmoid(t), from 0 to 2. t is 0 at first: the answer is then the mean, CLIP's own. The classes
    reach the fusion as a set, so to permute the sentences permutes the answers.
    """

    def __init__(self, cosines: Cosines, model: SAFE):
        super().__init__(cosines, model)
        last = nn.Linear(self.fusion.classifier[-1].in_features, len(model.config.branches))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.fusion.classifier[-1] = last

    def trust(self, visual: Tokens, text: Tensor) -> Tensor:
        """How far each branch counts [branches, B], 1 at first."""
        return 2 * self.fused(visual, text).float().sigmoid().T

    def forward(self, visual: Tokens, text: Tensor) -> Tensor:
        trust = self.trust(visual, text)
        return (trust[:, :, None] * self.cosines(visual, text)).mean(dim=0)


class BranchesHead(FusedHead):
    """The paper's head, and each branch's cosines beside it.

    Training gets the logits of all [1 + branches, B, L]; testing the mean of their
    log-probabilities [B, L], since what was trained to answer alone is asked, too.
    """

    def forward(self, visual: Tokens, text: Tensor) -> Tensor:
        logits = self.fused(visual, text).float()
        answers = torch.cat([logits[None], self.cosines(visual, text)])
        return answers if self.training else answers.log_softmax(dim=2).mean(dim=0)


class CosineModel(SAFE):
    """A SAFE with one of these heads; ValueError for what has no cosine of images and names."""

    def __init__(self, head: type[Head], config: Config, sentences: list[list[str]]):
        for field, value in NEEDS.items():
            if (found := getattr(config, field)) != value:
                raise ValueError(
                    f"model={config.model!r} with classifier={config.classifier!r} scores classes "
                    f"by CLIP's cosines: found {field}={found!r}, expected {value!r}. Set that, or "
                    "model='safe' and classifier='tokens'."
                )
        super().__init__(config, sentences)
        self.learned = torch.arange(len(sentences))  # the training list's classes; `fit` says which
        self.fusion = head(self.cosines, self)
        del self.cosines
        unchanged: Any = nn.Identity()
        self.visual_embed = self.word_embed = unchanged  # the head embeds, if it has a fusion

    def build_clip(self, config: Config) -> tuple[Any, Any]:
        clip, tokenizer = safe_core.build_clip(config)
        self.cosines = Cosines(config, clip)  # before the tower gives the projection away
        return clip, tokenizer

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy in nats over the classes of the training list."""
        return super().loss(unseen.only_trained(logits, self.learned), labels)


class BranchesModel(CosineModel):
    """The paper's model, whose branches also learn to answer alone."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy in nats of the paper's head, and AUXILIARY times that of each branch."""
        fused, *alone = (super(BranchesModel, self).loss(part, labels) for part in logits)
        return fused + AUXILIARY * torch.stack(alone).sum()


safe_core.MODELS["safe", "text"] = functools.partial(CosineModel, TrustHead)
safe_core.MODELS["cosines", "text"] = functools.partial(CosineModel, Head)
safe_core.MODELS["safe-branches", "tokens"] = functools.partial(BranchesModel, BranchesHead)
