"""How does a process take its place among others? Its GPU, its group, and how long it waits."""

import os
from datetime import timedelta

import torch
from torch import distributed as dist

import safe_core


def join() -> tuple[torch.device, int, int]:
    """(device, rank, number of processes); joins the group that torchrun names, if it does.

    Each process on a machine gets a GPU of its own. Products of float32 are TF32 there.
    """
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        torch.set_float32_matmul_precision("high")
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        patience = timedelta(minutes=30)  # with a process that says nothing
        dist.init_process_group("nccl" if has_gpu else "gloo", timeout=patience)
    return safe_core.here()
