"""What does a table of events in text say? .csv and .txt."""

import os
import re
from pathlib import Path

import numpy as np

from safe_companion.formats.content import (
    ALIASES,
    EventFile,
    RecordingError,
    check_memory,
    column_order,
    find_columns,
    reading,
)

HEAD = 1 << 16  # bytes in which the first event must begin
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|true|false", re.IGNORECASE)


def _fields(line: str) -> list[str]:
    line = re.sub(r"\s+(?=[\[(])", "", line.lstrip("#% ").strip())  # "t [us]" is one field
    return re.split(r"\s*[,;]\s*|\s+", line) if line else []


def _head(path: Path) -> tuple[list[str], list[str], int, tuple[int, int] | None]:
    """Names in the header, fields of the first event, lines before it, geometry if it is said."""
    with open(path, "rb") as file:
        lines = re.split(r"\r\n?|\n", file.read(HEAD).decode("utf-8-sig", "replace"))
    names: list[str] = []
    size = None
    for number, line in enumerate(lines):
        fields = _fields(line)
        if fields and all(_NUMBER.fullmatch(field) for field in fields):
            if len(fields) == 2 and size is None and all(field.isdecimal() for field in fields):
                size = int(fields[0]), int(fields[1])
                continue
            if line.startswith(("#", "%")):
                continue
            return names, [line, *fields], number, size
        if len(find_columns(path, fields)[0]) == len(ALIASES):
            names = fields
            sides = re.findall(r"@(\d+)", line)  # faery writes x@640,y@480
            size = (int(sides[0]), int(sides[1])) if len(sides) == 2 else size
        elif fields and not line.startswith(("#", "%")):
            raise RecordingError(
                f"{path}: found {line[:60]!r} in line {number + 1}; expected a header with x, y, "
                "t, p, or numbers. Correct the line, or put # before it."
            )
    return names, [], len(lines), size


def looks_like_events(path: Path) -> bool:
    """Whether a text file begins like a table of events: a header with all four, or four numbers.

    Lists of recordings, labels and notes do not.
    """
    try:
        names, first, _, _ = _head(path)
    except (RecordingError, OSError):
        return False
    return bool(first) and (bool(names) or len(first) == 1 + len(ALIASES))


def read_text(path: Path, *, columns: str | None = None) -> EventFile:
    """One event a line, between commas, semicolons, tabs or spaces. Raises RecordingError.

    A header says which column is which, else `columns` has to. A line of two whole numbers before
    the events is the sensor's width and height. Lines that begin with # may stand before them.
    """
    with reading(path, "table of events"):
        check_memory(path, 4 * os.path.getsize(path))  # "1 1 1 1", 8 bytes, are 32 in memory
        names, first, skipped, size = _head(path)
        if not first:
            raise RecordingError(
                f"{path}: found no line of numbers; expected one event a line. Leave the file out, "
                "or write the recording again.",
                kind="empty",
            )
        line, *fields = first
        unit = None
        if columns is not None:
            order = column_order(path, columns)
        elif names:
            found, unit = find_columns(path, names)
            keys = {name: key for key, name in found.items()}
            order = [keys.get(name) for name in names]
        else:
            raise RecordingError(
                f"{path}: found {len(fields)} columns without a header ({line.strip()[:60]!r}); "
                "expected to be told their order. Give for example columns='t,x,y,p' (--columns "
                "t,x,y,p), or a first line with the names."
            )
        if len(order) != len(fields):
            raise RecordingError(
                f"{path}: found {len(fields)} columns ({line.strip()[:60]!r}); expected "
                f"{len(order)}, as named. Name every column; '_' for one to pass over."
            )
        separator = next((mark for mark in ",;" if mark in line), r"\s+")
        vectors = _table(path, separator, skipped, [order.index(key) for key in ALIASES])
    return EventFile(vectors, size, time_unit=unit)


def _table(path: Path, separator: str, skipped: int, places: list[int]) -> dict[str, np.ndarray]:
    import pandas  # here: it takes a while, and few recordings need it

    table = pandas.read_csv(
        path,
        sep=separator,
        header=None,
        skiprows=skipped,
        skipinitialspace=True,
        low_memory=False,
        encoding="utf-8-sig",
    )
    vectors = {key: table[place].to_numpy() for key, place in zip(ALIASES, places, strict=True)}
    for key, vector in vectors.items():
        if vector.dtype.kind not in "iufb" or not np.isfinite(vector).all():
            raise ValueError(f"something in column {key} that is no number, or nothing")
    return vectors
