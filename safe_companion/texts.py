"""What can stand in for the text? Learned context, vectors that are random or learned, a file's.

Importing this module lets safe_core build them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

import safe_core
from safe_companion import ROOT
from safe_core import Config


class ContextTower(safe_core.TextTower):
    """CLIP's text tower with learned vectors before each sentence (CoOp, Zhou et al., 2022)."""

    def __init__(self, config: Config, clip: Any, tokenizer: Callable, sentences: list[str]):
        super().__init__(config, clip, tokenizer, sentences)
        vectors = torch.randn(config.prompt_context, clip.token_embedding.embedding_dim)
        self.context = nn.Parameter(vectors * 0.02)
        self.token_embedding.register_forward_hook(self.with_context)

    def with_context(self, module: nn.Module, inputs: Any, x: Tensor) -> Tensor:
        """Embedded sentences [M, T, D_t] with the vectors behind the start of each."""
        return torch.cat([x[:, :1], self.context.expand(len(x), -1, -1), x[:, 1:]], dim=1)


class GivenVectors(nn.Module):
    """A vector for each sentence in place of what CLIP says of it.

    `forward(which)` -> [len(which), width]. "random": the same in every run of a seed, never
    trained, with the mean length of CLIP's features of these sentences. "learned": so at first,
    then trained, whatever freeze_text says. "file": of unit length, see `read_features`; never
    trained.
    """

    def __init__(self, config: Config, clip: Any, tokenizer: Callable, sentences: list[str]):
        super().__init__()
        if config.text_source == "file":
            vectors = read_features(config.text_file, sentences)
            length = torch.ones(())
        else:
            text = safe_core.TextTower(config, clip, tokenizer, sentences)
            with torch.no_grad():  # a shorter vector would count less beside what is added to it
                length = text(list(range(len(sentences)))).norm(dim=1).mean()
            generator = torch.Generator().manual_seed(config.seed)
            vectors = torch.randn(len(sentences), text.width, generator=generator)
        vectors = length * nn.functional.normalize(vectors, dim=1)
        self.vectors = nn.Parameter(vectors, requires_grad=config.text_source == "learned")
        self.width = vectors.shape[1]

    def forward(self, which: list[int]) -> Tensor:
        return self.vectors[which]


def read_features(file: str | None, names: list[str]) -> Tensor:
    """Features [len(names), D_t] of an .npz file, which holds `features` [n, D_t] and `names` [n].

    It may hold more names than are asked for. A path that does not exist is looked for in this
    project. ValueError says which names the file lacks, or what else was found.
    """
    expected = "expected .npz with finite `features` [n, D_t] and `names` [n], none of them twice"
    if file is None:
        raise ValueError(f"text_source='file' needs text_file=FILE; {expected}")
    path = Path(file).expanduser()
    if not path.exists():
        path = ROOT / path  # those of this project, from any folder
    try:
        with np.load(path, allow_pickle=False) as content:
            features = torch.from_numpy(content["features"].astype(np.float32))
            rows = {str(name): row for row, name in enumerate(content["names"])}
    except FileNotFoundError as error:  # a checkpoint's model, too, is built from it
        raise ValueError(
            f"{file}: found no features (No such file in {Path.cwd()}, nor in {ROOT}); {expected}. "
            "Put the file there, or give another text_file to a training."
        ) from error
    except Exception as error:  # damaged bytes raise many kinds
        raise ValueError(f"{file}: found no features ({error!r}); {expected}") from error
    if features.ndim != 2 or len(features) != len(rows) or not features.isfinite().all():
        shape = tuple(features.shape)
        raise ValueError(f"{file}: found features {shape} of {len(rows)} names; {expected}")
    if lacking := [name for name in names if name not in rows]:
        raise ValueError(
            f"{file}: found no features of {len(lacking)} of {len(names)} classes, the first is "
            f"{lacking[0]!r}; expected all"
        )
    return features[[rows[name] for name in names]]


def no_context(config: Config, *_: Any) -> NoReturn:
    """ValueError: a learned context stands before the words of a sentence, so it needs words."""
    raise ValueError(
        f"prompt_context={config.prompt_context} needs text_source='clip': found "
        f"{config.text_source!r}, which has no sentences. Set one of them back."
    )


safe_core.TEXTS["clip", True] = ContextTower
for source in ("random", "learned", "file"):
    safe_core.TEXTS[source, False] = GivenVectors
    safe_core.TEXTS[source, True] = no_context
