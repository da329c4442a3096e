"""Who is at work in a folder? One process at a time, whatever becomes of it."""

import os
import platform
import time
from pathlib import Path

import filelock

LOCK = ".lock"
PATIENCE_S = 15  # loader processes of a killed training live on for some seconds, and hold its lock


def take(folder: Path) -> filelock.BaseFileLock:
    """Makes a folder, if need be, and takes it for this process, until `release()` or its end.

    The kernel lets go of the lock of a process that dies, so none is left behind. OSError where
    another process is at work, with its host and number, or where nothing can be written.
    """
    owner = folder / f"{LOCK}-owner"
    lock = filelock.FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE_S)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        owner.write_text(f"process {os.getpid()} on {platform.node()} since {since} UTC\n")
    except filelock.Timeout as error:
        found = owner.read_text().strip() if owner.exists() else "another process"
        raise OSError(
            f"{folder}: {found} is at work here; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise OSError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    return lock
