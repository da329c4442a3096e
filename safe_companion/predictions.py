"""What did a model answer on each test recording? Its answers in few bytes, and read again.

A run's answers are two files. recordings-DIGEST.csv has the test recordings, a line each: name,
label and, for the sample, condition (what was made hard for a camera). It is the same for all runs
that were tested alike, and is kept once for a data set. predictions.npz has the log-probabilities
of all classes, in a byte each (`encode`). Older runs have predictions.csv instead, with the five
highest classes alone; a run's own folder has it, too, for people.
"""

import functools
import hashlib
import io
import os
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import safe_core
from safe_companion import datasets
from safe_companion.places import PREDICTIONS, TABLE

TOP = 5  # ranks that are kept exactly
STEP = (0.02, 0.05, 0.02)  # nats: a step at d is the sum of STEP[k] d^k
FARTHEST = 60.0  # nats below the highest, where the codes end
MOST_BYTES = 1 << 28  # of answers: 800,000 recordings of 300 classes

# ------------------------------------------------------------------------------- in few bytes


def _levels() -> np.ndarray:
    """What each code stands for: nats below the highest log-probability, increasing from 0."""
    levels = [0.0]
    while levels[-1] < FARTHEST:
        levels.append(levels[-1] + sum(part * levels[-1] ** k for k, part in enumerate(STEP)))
    return np.minimum(levels, FARTHEST)


LEVELS = _levels()  # fewer than 256, with room for ranks that are put right


def encode(log_probs: torch.Tensor) -> np.ndarray:
    """uint8 [n, L] of log-probabilities [n, L]: how far each lies below the highest, as a code.

    What lies near the highest is kept finely, what no sum with another model's could lift coarsely
    (LEVELS). The first five ranks stay exactly as `torch.topk` has them, where classes of one code
    go by their index. ValueError for what is no number.
    """
    if log_probs.isnan().any():
        raise ValueError("found log-probabilities that are no numbers; expected those of a model")
    top = log_probs.topk(min(TOP, log_probs.shape[1]))
    below = (top.values[:, :1].double() - log_probs.double()).numpy()
    codes = np.searchsorted((LEVELS[1:] + LEVELS[:-1]) / 2, below)
    order = top.indices.numpy()
    rows = np.arange(len(codes))
    for before, here in zip(order.T, order.T[1:], strict=False):
        least = codes[rows, before] + (here < before)
        codes[rows, here] = np.maximum(codes[rows, here], least)
    last = order[:, -1:]
    least = np.take_along_axis(codes, last, axis=1) + (np.arange(codes.shape[1]) < last)
    np.put_along_axis(least, order, 0, axis=1)
    return np.maximum(codes, least).astype(np.uint8)


def decode(codes: np.ndarray) -> np.ndarray:
    """Log-probabilities float32 [n, L] of codes uint8 [n, L]."""
    below = LEVELS[np.minimum(codes, len(LEVELS) - 1)]
    return (-below - np.log(np.exp(-below).sum(axis=1, keepdims=True))).astype(np.float32)


# ------------------------------------------------------------------------------- as a table


def recordings_of(splits: datasets.Splits) -> pd.DataFrame:
    """The test recordings, a row each: name, label and, for the sample, condition."""
    table = pd.DataFrame({"name": splits.test.names, "label": np.asarray(splits.test.labels)})
    if splits.origin == "sample":
        truth = datasets.ground_truth(splits.root, splits.test.names)
        table["condition"] = truth["cause"].to_list()
    return table


def as_table(recordings: pd.DataFrame, log_probs: np.ndarray, order: np.ndarray) -> pd.DataFrame:
    """A row per test recording: name, label, p (of its own class), correct, condition, class1, ...

    order: classes [n, 1 to 5] of each recording, the most probable first.
    """
    probabilities = np.exp(log_probs)
    labels = recordings.label.to_numpy()
    columns = {
        "name": recordings.name,
        "label": labels,
        "p": probabilities[np.arange(len(labels)), labels],
        "correct": order[:, 0] == labels,
    }
    if "condition" in recordings:
        columns["condition"] = recordings.condition
    for k in range(order.shape[1]):
        columns[f"class{k + 1}"] = order[:, k]
        columns[f"p{k + 1}"] = probabilities[np.arange(len(labels)), order[:, k]]
    return pd.DataFrame(columns)


def write_table(file: Path, splits: datasets.Splits, log_probs: torch.Tensor) -> None:
    """Writes the table for people, predictions.csv."""
    order = log_probs.topk(min(TOP, log_probs.shape[1])).indices.numpy()
    table = as_table(recordings_of(splits), log_probs.numpy(), order)
    safe_core.write_atomically(
        file, lambda path: table.to_csv(path, index=False, float_format="%.4g")
    )


# ------------------------------------------------------------------------------- as files


def write(folder: Path, splits: datasets.Splits, log_probs: torch.Tensor) -> None:
    """Writes the answers [n, L] to a run's test recordings, and the table for people."""
    recordings = recordings_of(splits).to_csv(index=False).encode()
    digest = hashlib.sha256(recordings).hexdigest()[:16]
    _write_bytes(folder / _recordings_file(digest), recordings)
    codes = encode(log_probs)
    safe_core.write_atomically(
        folder / PREDICTIONS, lambda path: _save(path, np.array(digest), codes)
    )
    write_table(folder / TABLE, splits, log_probs)


def _save(path: Path, digest: np.ndarray, codes: np.ndarray) -> None:
    """As `np.savez_compressed`, by LZMA: a tenth smaller, and `np.load` reads it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
        for name, array in {"recordings": digest, "codes": codes}.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # of 1980: the same answers, the same bytes
            member.compress_type = zipfile.ZIP_LZMA
            with packed.open(member, "w") as file:
                np.lib.format.write_array(file, array)


def keep(folder: Path, place: Path) -> None:
    """Copies a run's answers to the committed place; its recordings to those of the data set."""
    if not (folder / PREDICTIONS).exists():  # of before there were any
        _write_bytes(place / TABLE, (folder / TABLE).read_bytes())
        return
    digest, _ = _load(folder / PREDICTIONS)
    recordings = _recordings_of(folder, digest).read_bytes()
    _write_shared(place.parents[1] / _recordings_file(digest), recordings)
    _write_bytes(place / PREDICTIONS, (folder / PREDICTIONS).read_bytes())
    (place / TABLE).unlink(missing_ok=True)  # of an older record of this run


def read(folder: Path, count: int) -> tuple[pd.DataFrame, np.ndarray | None]:
    """(table, log-probabilities [count, L]) of a run; None of one that has the highest five only.

    ValueError with the file's name if it is damaged, or has not `count` recordings.
    """
    file = folder / PREDICTIONS
    if not file.exists():
        return _read_table(folder / TABLE, count), None
    digest, codes = _load(file)
    recordings = _read_recordings(_recordings_of(folder, digest), digest)
    if len(codes) != count or len(recordings) != count or recordings.label.max() >= codes.shape[1]:
        raise ValueError(
            f"{file}: found {len(codes)} answers of {codes.shape[1]} classes to {len(recordings)} "
            f"recordings; expected one for each of {count} test recordings"
        )
    log_probs = decode(codes)
    order = codes.argsort(axis=1, kind="stable")[:, :TOP]
    return as_table(recordings, log_probs, order), log_probs


def _recordings_file(digest: str) -> str:
    return f"recordings-{digest[:8]}.csv"


def _recordings_of(folder: Path, digest: str) -> Path:
    """The file of test recordings of a run: beside its answers, or where its data set's lie."""
    places = [folder / _recordings_file(digest), folder.parents[1] / _recordings_file(digest)]
    for file in places:
        if file.exists():
            return file
    raise ValueError(
        f"{folder / PREDICTIONS}: found no {places[0].name} beside it or in {places[1].parent}; "
        "expected the test recordings that it answers. Copy that file, too"
    )


def _load(file: Path) -> tuple[str, np.ndarray]:
    """(digest of the recordings, codes [n, L]) of predictions.npz; ValueError if it is damaged."""
    try:
        with zipfile.ZipFile(file) as packed:
            if sum(member.file_size for member in packed.infolist()) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")
        with np.load(file, allow_pickle=False) as arrays:
            digest, codes = str(arrays["recordings"]), arrays["codes"]
        if codes.dtype != np.uint8 or codes.ndim != 2 or not codes.size:
            raise ValueError(f"codes {codes.dtype} {list(codes.shape)}")
        if len(digest) != 16 or not digest.isalnum():
            raise ValueError(f"recordings {digest[:40]!r}")
    except Exception as error:  # damaged content raises many kinds
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{file}: found no answers of a run ({error!r}); expected those that `safe train` wrote"
        ) from error
    return digest, codes


def _read_recordings(file: Path, digest: str) -> pd.DataFrame:
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest()[:16] != digest:
        raise ValueError(
            f"{file}: found other test recordings than were answered; expected those of digest "
            f"{digest}. `git diff` shows what has changed"
        )
    return _parsed(content)


@functools.lru_cache(maxsize=8)  # the runs of a study answer the same recordings
def _parsed(recordings: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(recordings), converters={"name": str}, keep_default_na=False)


def _read_table(file: Path, count: int) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, converters={"name": str})
    except ValueError as error:
        raise ValueError(f"{file}: not readable as a table ({error})") from error
    kinds = {"name": "O", "label": "i", "correct": "b", "class1": "i", "p": "if", "p1": "if"}
    wrong = [
        key
        for key, kind in kinds.items()
        if key not in table or table[key].dtype.kind not in kind or table[key].isna().any()
    ]
    if len(table) != count or wrong:
        bad = f", no whole column {', '.join(wrong)}" if wrong else ""
        expected = f"a line for each of {count} test recordings"
        raise ValueError(f"{file}: found {len(table)} lines{bad}; expected {expected}")
    return table


def _write_bytes(path: Path, content: bytes) -> None:
    safe_core.write_atomically(path, functools.partial(_put, content))


def _write_shared(path: Path, content: bytes) -> None:
    """As `_write_bytes`, where runs that end side by side write the same file."""
    own = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    own.write_bytes(content)
    os.replace(own, path)


def _put(content: bytes, path: Path) -> None:
    path.write_bytes(content)
