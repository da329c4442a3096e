"""Which layouts of HDF5 hold events? Those of DSEC and MVSEC, and plain x, y, t, p."""

import math
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  # blosc and others, by being imported
import numpy as np

from safe_companion.formats.content import (
    ALIASES,
    EventFile,
    RecordingError,
    check_memory,
    columns_of_array,
    find_columns,
    reading,
)

DSEC = (640, 480)
MVSEC = (346, 260)
ONE_ARRAY = ("davis/left/events", "events", "CD/events")  # where one data set holds all columns


def _array(path: Path, dataset: Any) -> np.ndarray:
    """A whole data set of numbers, after a look at how much it is."""
    if dataset.dtype.hasobject:
        raise RecordingError(
            f"{path}: found objects in {dataset.name}; expected numbers. Convert the recording."
        )
    check_memory(path, max(dataset.size, math.prod(dataset.chunks or ())) * dataset.dtype.itemsize)
    return dataset[()]


def read_layout(path: Path, place: str, columns: str | None) -> EventFile:
    """What hdf5.read_h5 says of the file at `place`, which messages call `path`."""
    with reading(path, "HDF5 file"), h5py.File(place, "r", locking=False) as file:
        for where in ("/", "events"):
            group = file.get(where)
            if not isinstance(group, h5py.Group):
                continue
            sets = [name for name, item in group.items() if isinstance(item, h5py.Dataset)]
            found, unit = find_columns(path, sets)
            if len(found) < len(ALIASES):
                continue
            check_memory(path, sum(group[name].nbytes for name in found.values()))
            vectors = {key: _array(path, group[name]) for key, name in found.items()}
            if "ms_to_idx" not in file:
                return EventFile(vectors, time_unit=unit)
            offset = int(file["t_offset"][()]) if "t_offset" in file else 0
            vectors["t"] = vectors["t"].astype(np.int64) + offset
            return EventFile(vectors, usual_size=DSEC, time_unit="us")
        for where in ONE_ARRAY:
            dataset = file.get(where)
            if not isinstance(dataset, h5py.Dataset):
                continue
            array = _array(path, dataset)
            if where.startswith("davis") and array.dtype.names is None:
                vectors, _ = columns_of_array(path, array, "x,y,t,p")
                return EventFile(vectors, usual_size=MVSEC, time_unit="s")
            vectors, unit = columns_of_array(path, array, columns)
            return EventFile(vectors, time_unit=unit)
        raise RecordingError(
            f"{path}: found no events (at the root: {', '.join(file) or 'nothing'}); expected x, "
            "y, t, p there or in `events`, or davis/left/events. Rename the data sets."
        )
