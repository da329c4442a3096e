"""Which run is it, and where does it lie? Names of what sets runs apart, and their folders."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch

import safe_core
from safe_companion import ROOT
from safe_companion.models import released
from safe_core import Config

RECORD = "record.json"
PREDICTIONS = "predictions.npz"
TABLE = "predictions.csv"  # for people; all that runs up to 2026-11-26 have
CHECKPOINT = "best.safetensors"
DRAWS = "draws.json"
# What lies beside a record and is made of its run's weights.
OF_WEIGHTS = (CHECKPOINT, "best.json", DRAWS, "robustness.json", "temperature.json")
STATE = "last.pt"  # of an interrupted run, with which it goes on
UNSTUDIED = ("dataset", "data_root", "seed", "workers", "on_bad_recording")  # in no run's name


# ------------------------------------------------------------------------------- where runs lie
def differing(config: Config) -> tuple[str, dict[str, Any]]:
    """(preset, fields): what sets a run apart from a preset.

    From the preset of its data, unless it has more in common with another.
    """
    unstudied = {name: getattr(config, name) for name in UNSTUDIED}
    default = safe_core.PRESET_OF[config.origin]
    nearest, fewest = default, apart_from(default, config, unstudied)
    for preset in safe_core.PRESETS:
        fields = apart_from(preset, config, unstudied)
        if len(fields) + 1 < len(fewest):
            nearest, fewest = preset, fields
    return nearest, fewest


def apart_from(preset: str, config: Config, unstudied: dict[str, Any]) -> dict[str, Any]:
    """The fields in which a configuration differs from a preset, those that decide it.

    A training is as long as `steps` says, or else `epochs`: the other one is no difference. Nor is
    the size of a sample where there is none.
    """
    base = safe_core.configure(preset, **unstudied)
    fields = vars(config)
    other = {name: value for name, value in fields.items() if value != getattr(base, name)}
    if config.origin == "real":
        other = {name: value for name, value in other.items() if not name.startswith("sample_")}
    if config.steps:
        other.pop("epochs", None)
    elif "steps" in other:
        other = {**other, "epochs": config.epochs}
        del other["steps"]
    return other


def run_name(config: Config) -> str:
    """`differing` as a folder name: "base", "use_text=False", "preset=sample,epochs=12".

    Where its words do not tell it all, or are too many, it ends in 8 digits of a hash that does. A
    folder of recordings begins with its own name.
    """
    preset, fields = differing(config)
    exact = hashlib.sha256(json.dumps([preset, fields], sort_keys=True).encode()).hexdigest()[:8]
    parts = []
    if config.dataset == "folder" and config.data_root:
        parts.append(f"data_root={Path(config.data_root).name}")
    if preset != safe_core.PRESET_OF[config.origin]:
        parts.append(f"preset={preset}")
    if released.RELEASED.items() <= vars(config).items():
        parts.append("as_released")
        fields = {k: v for k, v in fields.items() if k not in released.RELEASED}
    for name, value in fields.items():
        ours = name == "prompt_file" and value == f"book/prompts/{Path(value).stem}.json"
        parts.append(f"{name}={Path(value).stem if ours else value}")
    words = ",".join(parts) or "base"
    short = re.sub(r"[^\w.=,-]+", "-", words)[:100].strip("-")
    return short if short == words else f"{short}-{exact}"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one run lies: under `name` in results/ if it is kept, in runs/ while it is made."""

    name: str  # ORIGIN/DATASET/WHAT_DIFFERS/seedN

    @classmethod
    def of(cls, config: Config) -> "Place":
        """The place of the run of a configuration."""
        folder = f"{config.origin}/{config.dataset}/{run_name(config)}"
        return cls(f"{folder}/seed{config.seed}")

    @classmethod
    def at(cls, path: str | Path) -> "Place":
        """The place of a committed folder, such as results/sample/hardvs/base/seed0."""
        return cls(Path(path).relative_to(ROOT / "results").as_posix())

    @property
    def committed(self) -> Path:
        """Its folder in results/, which git keeps."""
        return ROOT / "results" / self.name

    @property
    def working(self) -> Path:
        """Its folder in runs/, where it is trained."""
        return ROOT / "runs" / self.name


def seeds_of(config: Config) -> list[Path]:
    """Folders of the committed runs of a configuration, whatever its seed, by seed."""
    return recorded(Place.of(config).committed.parent)


def recorded_seeds(config: Config) -> list[int]:
    """The seeds of the committed runs of a configuration, whatever its own."""
    return [int(folder.name.removeprefix("seed")) for folder in seeds_of(config)]


def recorded(folder: Path) -> list[Path]:
    """The folders seed0, seed1, ... in a folder that hold a record, by seed."""
    found = [file.parent for file in folder.glob(f"seed*/{RECORD}")]  # not seed0.old
    seeds = {int(place.name[4:]): place for place in found if re.fullmatch(r"seed\d+", place.name)}
    return [seeds[seed] for seed in sorted(seeds)]


def config_of_state(out_dir: Path) -> Config | None:
    """How the run whose state lies in a folder was trained so far; None if there is none.

    Not by the last start: that may have trained nothing.
    """
    file = out_dir / STATE
    if not file.exists():
        return None
    try:  # its tensors are not read
        return Config(**torch.load(file, "cpu", weights_only=True, mmap=True)["about"]["config"])
    except Exception as error:  # damaged files raise many kinds
        raise ValueError(f"{file}: cannot be resumed: {error}") from error
