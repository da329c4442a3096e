"""How does a process take its place among others? Its GPU, its group, and how long it waits."""

import os
import time
from datetime import timedelta

import filelock
import torch
from torch import distributed as dist

import safe_core
from safe_companion import facts

PATIENCE_S = 5.0  # between two looks for a free GPU
TAKEN: dict[int, filelock.BaseFileLock] = {}  # GPU: its lock, held until this process ends


def join() -> tuple[torch.device, int, int]:
    """(device, rank, number of processes); joins the group that torchrun names, if it does.

    Each process on a machine gets a GPU of its own: that of its number under torchrun; without, the
    first, or with SAFE_SHARE_GPUS=1 the first that no other such process has, for which it waits.
    Products of float32 are TF32 there.
    """
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        shared = os.environ.get("SAFE_SHARE_GPUS") == "1" and "LOCAL_RANK" not in os.environ
        card = free_gpu() if shared else int(os.environ.get("LOCAL_RANK", 0))
        torch.cuda.set_device(card)
        torch.set_float32_matmul_precision("high")
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        patience = timedelta(minutes=30)  # with a process that says nothing
        dist.init_process_group("nccl" if has_gpu else "gloo", timeout=patience)
    return safe_core.here()


def free_gpu() -> int:
    """The number of the first GPU that no other process here has taken so; waits until one is free.

    The kernel lets go of the lock of a process that dies. A scheduler that shows this process one
    GPU has chosen it, so that one needs no lock.
    """
    count = torch.cuda.device_count()
    if count == 1:
        return 0
    folder = facts.cache_folder() / "gpus"
    folder.mkdir(parents=True, exist_ok=True)
    says = True
    while True:
        for card in range(count):
            name = torch.cuda.get_device_properties(card).uuid  # numbers change with what is shown
            lock = filelock.FileLock(folder / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                continue
            TAKEN[card] = lock
            return card
        if says:
            print(f"all {count} GPUs are taken by other runs: waiting for one", flush=True)
            says = False
        time.sleep(PATIENCE_S)
