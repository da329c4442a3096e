"""Which studies are made of real recordings that anyone can fetch?

Their data sets are of the kind "folder", made by `safe fetch` (fetching.py) below data/. Records
lie under results/real/folder/, each under the name of its folder, so that none is taken for one of
HARDVS, of PokerEvent or of a sample.
"""

from typing import Any

from safe_companion.studies import Rows

DATA = "data"  # of the repository; git ignores it
LIGHTS = ("1", "0.01", "0.001", "0.0001")  # of the stimulus: the sample world's range, by decades
FEW = 0.1  # share of the training list in the rows of few recordings

# {folder in DATA: (set of `safe fetch`, light of the stimulus)}
FOLDERS = {f"nmnist-stimulus-{light}": ("nmnist-pairs", float(light)) for light in LIGHTS}
FOLDERS |= {"biolab": ("biolab", 1.0), "biolab-events": ("biolab-events", 1.0)}

SEEDS = {"real_nmnist": 5, "real_biolab": 8, "real_representations": 8}

# The same for every row, and chosen before any of them: 300 steps; no epoch is selected, since a
# part of the training takes that is held out says nothing of another session.
RECIPE: dict[str, Any] = {"dataset": "folder", "steps": 300, "val_fraction": 0.0}
PRESET = "sample"  # the tiny towers


def real_studies() -> dict[str, Rows]:
    """{study: {row: configuration fields beside PRESET}}; the first row is the baseline."""
    return {
        "real_nmnist": _nmnist(),
        "real_biolab": _biolab(),
        "real_representations": _representations(),
    }


def _nmnist() -> Rows:
    def fields(light: str, **others: Any) -> dict[str, Any]:
        return RECIPE | {"data_root": f"{DATA}/nmnist-stimulus-{light}"} | others

    rows: Rows = {"events": fields("1", modality="event")}  # these are the same at every light
    for light in LIGHTS:
        rows[f"stimulus, light {light}"] = fields(light, modality="rgb")
        rows[f"both, light {light}"] = fields(light)
    rows["events, no names"] = fields("1", modality="event", use_text=False)
    for light in LIGHTS:
        rows[f"both, light {light}, no names"] = fields(light, use_text=False)
    few = {"train_fraction": FEW}
    rows["few: events"] = fields("1", modality="event", **few)
    rows["few: stimulus, light 0.01"] = fields("0.01", modality="rgb", **few)
    rows["few: both, light 0.01"] = fields("0.01", **few)
    rows["few: both, light 0.01, no names"] = fields("0.01", use_text=False, **few)
    return rows


def _objects(folder: str) -> dict[str, Any]:
    return RECIPE | {"data_root": f"{DATA}/{folder}", "modality": "event", "frames": 1}


def _biolab() -> Rows:
    fields = _objects("biolab")
    of_clip = {"text_source": "file", "text_file": f"{DATA}/biolab/clip_names.npz"}
    return {
        "no text": fields | {"use_text": False},
        "names, tiny CLIP": fields,
        "names, CLIP ViT-B/32": fields | of_clip,
        "random vectors": fields | {"text_source": "random"},
    }


def _representations() -> Rows:
    fields = _objects("biolab-events") | {"use_text": False}
    kinds = ("authors", "counts", "voxel", "time_surface")
    return {kind: fields | {"event_representation": kind} for kind in kinds}
