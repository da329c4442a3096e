"""How is a whole data set packed: a file a recording, or a few shards?

    OUT/CLASS/SAMPLE.pack                                       one file a recording
    OUT/packs.index.json, OUT/shards/shard-00000.tar, ...       with shards

Lists, classes.txt and what a generated sample knows of itself are carried over, so the fingerprint
of the data stays the same. What was interrupted goes on with the same command.
"""

import functools
import io
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safe_companion import converting, how_far
from safe_companion.formats import pack as pack_format
from safe_companion.formats import shards
from safe_companion.packs import Frames, pack, source_of
from safe_companion.readers import RecordingError
from safe_core import write_atomically

CARRIED = ("ground_truth.csv", "sample.json")  # of a generated sample
SHARD = "shards/shard-{:05d}.tar"


def pack_folder(
    data: Path,
    out: Path,
    *,
    frames: Frames = Frames(),  # noqa: B008
    shard_gib: float | None = None,
    **reading: Any,
) -> tuple[Counter[str], list[str]]:
    """({"packed": n, "already there": n, "not packed": n}, what was wrong with the last).

    data: a data root, a folder of recordings, or one of them. shard_gib: size of a shard, None: a
    file a recording. reading: keywords of read_recording. FileExistsError, ValueError or
    FileNotFoundError before anything is written.
    """
    if out.is_file():
        raise ValueError(f"{out}: found a file; expected a folder for the packs. Name one.")
    if not 1 <= frames.quality <= 100:
        raise ValueError(f"quality={frames.quality}; expected 1 to 100")
    if shard_gib is not None and not shard_gib > 0:
        raise ValueError(f"shard_gib={shard_gib}; expected a size above 0")
    places, lists = converting.plan([data], out)
    lists |= {out / name: data / name for name in CARRIED if (data / name).is_file()}
    if shard_gib is not None and out / "train_label.txt" not in lists:
        raise ValueError(
            f"{data}: found no train_label.txt; expected list files, since shards have no class "
            "folders. Write lists, or pack without shards."
        )
    names = {place.relative_to(out).as_posix(): path for place, path in places.items()}
    made_of = {name: source_of(path, frames, reading) for name, path in names.items()}
    there = _in_shards(out) if shard_gib is not None else {}
    done = {name for name in names if _is_done(out, name, made_of[name], there)}
    for target, source in lists.items():
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise FileExistsError(f"{target}: found another list; nothing is overwritten")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, functools.partial(shutil.copyfile, source))
    counts = Counter({"packed": 0, "already there": len(done)})  # in this order
    problems: list[str] = []
    to_do = {name: path for name, path in names.items() if name not in done}
    new = _packs(to_do, problems, frames, reading)
    if shard_gib is None:
        for name, content in new:
            target = out / f"{name}.pack"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, functools.partial(_write, content))
            counts["packed"] += 1
    else:
        counts["packed"] += _write_shards(out, new, int(shard_gib * 2**30))
        index = {"version": 1, "shards": _shard_files(out), "packs": _in_shards(out)}
        write_atomically(out / shards.INDEX, lambda file: file.write_text(json.dumps(index)))
    counts["not packed"] += len(problems)
    return counts, problems


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _packs(
    names: dict[str, Path], problems: list[str], frames: Frames, reading: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """(name, pack) of recordings in this order, by several threads, a few ahead at most."""
    workers = min(8, len(os.sched_getaffinity(0)))
    waiting: list[tuple[str, Future[bytes]]] = []
    left = iter(names.items())
    bar = how_far.bar(total=len(names), desc="packing", disable=len(names) < 2)
    with bar, ThreadPoolExecutor(workers) as pool:
        while True:
            for name, path in left:
                waiting.append((name, pool.submit(pack, path, frames, **reading)))
                if len(waiting) > 2 * workers:
                    break
            if not waiting:
                return
            name, future = waiting.pop(0)
            try:
                yield name, future.result()
            except RecordingError as error:
                problems.append(str(error))
            bar.update()


# ---------------------------------------------------------------- what is there


def _is_done(out: Path, name: str, source: dict[str, Any], there: dict[str, Any]) -> bool:
    """Whether this very recording is there, whole; FileExistsError if another is."""
    file = out / f"{name}.pack"
    if name in there:
        number, offset, _ = there[name]
        with open(out / _shard_files(out)[number], "rb") as shard:
            shard.seek(offset)
            header = pack_format.parse_header(file, shard.read(1 << 20))
    elif file.exists():
        header = pack_format.read_header(file)
    else:
        return False
    if header["source"] == source:
        return True
    raise FileExistsError(
        f"{file}: found a pack of something else than would be packed now; nothing is overwritten. "
        "Give another OUT, or move it away."
    )


def _shard_files(out: Path) -> list[str]:
    """The whole shards of a folder, relative to it."""
    return sorted(file.relative_to(out).as_posix() for file in out.glob("shards/shard-*.tar"))


def _in_shards(out: Path) -> dict[str, list[int]]:
    """{name: [number of its shard, offset, bytes]}, as the whole shards tell."""
    found = {}
    for number, file in enumerate(_shard_files(out)):
        with tarfile.open(out / file) as shard:
            for member in shard:
                found[member.name.removesuffix(".pack")] = [number, member.offset_data, member.size]
    return found


def _write_shards(out: Path, packs: Iterator[tuple[str, bytes]], most: int) -> int:
    """Writes packs into new shards of about `most` bytes; how many. A shard is whole or not there.

    A shard that an interruption cuts off is written again.
    """
    count = 0
    number = len(_shard_files(out))
    left = next(packs, None)
    while left is not None:
        target = out / SHARD.format(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        size = 0
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as shard:
            while left is not None and (size == 0 or size + len(left[1]) <= most):
                name, content = left
                member = tarfile.TarInfo(f"{name}.pack")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
                size += len(content)
                count += 1
                left = next(packs, None)
        os.replace(partial, target)
        number += 1
    return count
