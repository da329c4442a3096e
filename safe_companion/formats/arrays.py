"""What does a file of NumPy arrays hold? .npz and .npy."""

import io
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from safe_companion.formats.content import (
    ALIASES,
    EventFile,
    RecordingError,
    check_memory,
    columns_of_array,
    find_columns,
    read_bytes,
    reading,
)

ONE_ARRAY = ("events", "event", "arr_0")  # keys under which one array holds all columns

# Header of a .npy file with a plain vector: NumPy's parser costs as much as a short stream itself.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][biuf]\d)', 'fortran_order': False, "
    rb"'shape': \((\d+),\), \} *\n",
    re.DOTALL,
)


def _array(path: Path, content: bytes) -> np.ndarray:
    """The array of a .npy file's bytes, never larger than these, never unpickled."""
    header = _NPY.match(content)
    if header and int(header[2]):
        return np.frombuffer(content, header[1].decode(), int(header[2]), header.end())
    stream = io.BytesIO(content)
    first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise RecordingError(
            f"{path}: found pickled objects, which can run code when loaded; expected plain "
            "numeric arrays. Save x, y, t, p as arrays of numbers.",
            kind="unreadable",
        )
    if 0 in shape:
        return np.empty([min(side, 4) for side in shape], dtype)
    flat = np.frombuffer(content, dtype, math.prod(shape), stream.tell())
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def read_npy(path: Path, *, columns: str | None = None) -> EventFile:
    """A structured array, or an unnamed one [N, 4] whose order `columns` says. RecordingError."""
    with reading(path, "npy file"):
        found, unit = columns_of_array(path, _array(path, read_bytes(path)), columns)
    return EventFile(found, time_unit=unit)


def read_npz(path: Path, *, columns: str | None = None) -> EventFile:
    """Keys x, y, t, p and optionally frame_t and sensor_size (width, height), or usual other names.

    Instead of the four, one array of events may be there, as in a .npy file. Raises RecordingError.
    """
    with reading(path, "npz archive"), zipfile.ZipFile(path) as archive:
        sizes = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        found, unit = find_columns(path, sizes)
        keys = list(found.values())
        extra = [key for key in ("frame_t", "sensor_size") if key in sizes]
        rest = [key for key in sizes if key not in extra]
        alone = rest if len(rest) == 1 else [key for key in ONE_ARRAY if key in rest]
        if alone and not found:
            keys = alone[:1]
        elif len(found) < len(ALIASES):
            missing = ", ".join(key for key in ALIASES if key not in found)
            raise RecordingError(
                f"{path}: found no key {missing} (keys: {', '.join(sizes)}); expected the keys x, "
                "y, t, p. Save them with numpy.savez(file, x=x, y=y, t=t, p=p)."
            )
        keys += extra
        check_memory(path, sum(sizes[key].file_size for key in keys))
        arrays = {}
        for key in keys:
            with archive.open(sizes[key]) as file:
                # No more than the directory says: a longer stream is cut there, unlike by read().
                arrays[key] = _array(path, file.read(sizes[key].file_size))
        frame_t = arrays.pop("frame_t", None)
        size = None
        if "sensor_size" in arrays:
            width, height = arrays["sensor_size"].tolist()
            size = (int(width), int(height))
        if found:
            vectors = {key: arrays[name] for key, name in found.items()}
        else:
            vectors, unit = columns_of_array(path, arrays[alone[0]], columns)
    return EventFile(vectors, size, frame_t, time_unit=unit)
