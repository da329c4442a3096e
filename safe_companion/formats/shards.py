"""Where in a few large files does a pack lie? Tar files without compression, and their index.

    ROOT/packs.index.json          {"version", "shards": [file], "packs": {sample: [n, at, bytes]}}
    ROOT/shards/shard-00000.tar    its members: SAMPLE.pack; any tar unpacks them

A shared file system wants few files; a pack is mapped where it lies in its shard.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

INDEX = "packs.index.json"
DEPTH = 4  # folders between a data root and its recordings, at most


class Place(NamedTuple):
    """Where the bytes of a pack lie: from `offset` on in `file`; size None: to its end."""

    file: Path
    offset: int
    size: int | None


@functools.lru_cache(maxsize=16)
def _index(file: str, changed: int) -> dict[str, Any]:
    return json.loads(Path(file).read_bytes())


def index_of(root: str) -> dict[str, Any] | None:
    """The index of a data root, or None. Raises ValueError if it is damaged."""
    file = os.path.join(root, INDEX)
    try:
        changed = os.stat(file).st_mtime_ns
    except OSError:
        return None
    return _index(file, changed)


def find(path: Path) -> Place | None:
    """Where the pack that would be the file `path` lies in a shard; None if it is in none."""
    if path.is_file():
        return None
    for folder in path.parents[:DEPTH]:
        index = index_of(str(folder))
        if index is not None:
            known = index["packs"].get(path.relative_to(folder).with_suffix("").as_posix())
            if known is None:
                return None
            number, offset, size = known
            return Place(folder / index["shards"][number], offset, size)
    return None
