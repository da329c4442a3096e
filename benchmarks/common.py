"""What do the benchmarks share? The machine's facts, the paper's model, tensors without data."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import safe_core
from safe_companion import datasets, prompts, records

HARDVS = 300  # classes
NOTHING = 77  # exit status of a benchmark that can measure nothing here: its part stays as it is


def facts() -> str:
    """One line: processor, cores and their load, GPU, versions, date."""
    machine = records.machine()
    hardware, versions = machine["hardware"], machine["versions"]
    return (
        f"{hardware['cpu']}, {hardware['cores']} cores, {torch.get_num_threads()} threads, load "
        f"{os.getloadavg()[0]:.1f}, {hardware['gpu'] or 'no GPU'}, torch {versions['torch']}, "
        f"Python {versions['python']}, {time.strftime('%F %H:%M', time.gmtime())} UTC"
    )


def paper_model(**fields: Any) -> safe_core.SAFE:
    """The paper's model with the 300 names of HARDVS, from random weights, in training mode."""
    config = safe_core.configure("paper", **{"pretrained": False, **fields})
    names = datasets.class_names("hardvs", "")  # the published list
    torch.manual_seed(0)
    return safe_core.SAFE(config, prompts.prompt_sentences(names, config)).train()


def without_data(model: nn.Module) -> FakeTensorMode:
    """Empties the model: its tensors keep shape and type; what is computed under the mode, too."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        for module in model.modules():
            for name, p in module.named_parameters(recurse=False):
                fake = nn.Parameter(torch.empty_like(p, device="cpu"), p.requires_grad)
                module.register_parameter(name, fake)
            for name, b in module.named_buffers(recurse=False):
                keep = name not in module._non_persistent_buffers_set
                module.register_buffer(name, torch.empty_like(b, device="cpu"), persistent=keep)
    return mode


@contextlib.contextmanager
def as_on_gpu(*, text_at_once: bool = True) -> Iterator[None]:
    """What a GPU does otherwise, for tensors without data: layer norms compute in float32."""
    layer_norm = F.layer_norm

    def in_float32(x: Tensor, *arguments: Any) -> Tensor:
        return layer_norm(x.float(), *arguments)

    is_cuda = mock.patch.object(FakeTensor, "is_cuda", text_at_once)  # the text tower asks
    with is_cuda, mock.patch.object(F, "layer_norm", in_float32):
        yield


def autocast(precision: str) -> torch.autocast:
    """The trainer's, of a precision, on a CPU."""
    config = safe_core.configure("paper", precision=precision)
    return safe_core.autocast(config, torch.device("cpu"))


def clips(batch: int, config: safe_core.Config) -> Tensor:
    """One branch, uint8 [B, F, 3, S, S]."""
    side = config.image_size
    return torch.zeros(batch, config.frames, 3, side, side, dtype=torch.uint8)
