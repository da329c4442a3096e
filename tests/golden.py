"""Golden values: what the code computes, as numbers, in groups that have a version each.

    python tests/golden.py            compares every group with its file in tests/golden/
    python tests/golden.py --write    writes the files whose version was raised, adds cases that
                                      are new, and changes no other number

The versions are in safe_companion/behaviour.py. A value is a list of numbers under the name of its
case. They are stored with few digits and compared with a tolerance, so that another processor or
library version gives the same answer.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DistributedSampler

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import safe_core
from safe_companion import behaviour, clips, events, models, peers, released, sample  # noqa: F401

FOLDER = Path(__file__).parent / "golden"
Values = dict[str, list[float]]
torch.set_num_threads(1)  # sums in another order give other digits
NAMES = ["wave", "bow", "jump", "sit"]
SENTENCES = [
    ["The action of the human is wave", "somebody waves a hand"],
    ["The action of the human is bow"],
    ["The action of the human is jump", "a jump", "they jump high"],
    ["The action of the human is sit"],
]
TINY = dict(frames=2, readout_tokens=3, batch_size=4, workers=0, precision="fp32", epochs=4)

# On one machine, other convolutions (mkldnn off) move what these give in single precision behind
# three steps by 2e-4, 2e-3 and 3e-2; so does another kind of CPU.
DOUBLE = ", steps in double precision"  # ends the names of these cases

PAPER_MODELS: dict[str, dict] = {
    "full": {},
    "frames averaged": {"frame_fusion": "mean"},
    "one frame": {"frames": 1},
    "no text": {"use_text": False},
    "no multi-modal Transformer": {"use_multimodal_transformer": False},
    "no self-attention": {"use_self_attention": False},
    "no cross-attention": {"use_cross_attention": False},
    "two layers": {"layers": 2},
    "joint block": {"joint_block": True},
    "value from key": {"value_from_key": True},
    "rgb": {"modality": "rgb"},
    "event": {"modality": "event"},
    "plain ViT": {"vision_tower": "vit"},
    f"ResNet{DOUBLE}": {"vision_tower": "resnet"},
    "frozen ResNet": {"vision_tower": "resnet", "freeze_vision": True},
    "half normalisation": {"normalisation": "half"},
    "trained text": {"freeze_text": False},
    "learned context": {"prompt_context": 3},
    "random towers": {"pretrained": False},
    "slow towers": {"tower_lr_scale": 0.1},
    "fusion clipped": {"clip_norm_of": "fusion", "clip_norm": 0.1},
    "a head that reads names": {"classifier": "text"},
    "the same, events alone": {"classifier": "text", "modality": "event"},
    "cosines": {"model": "cosines", "classifier": "text"},
    "branches trained, too": {"model": "safe-branches"},
    "modality dropout": {"modality_dropout": 0.5},
    "random vectors": {"text_source": "random"},
    "learned vectors": {"text_source": "learned"},
}


def numbers(*values: torch.Tensor | float) -> list[float]:
    """All values in one list, with six significant digits."""
    flat = torch.cat([torch.as_tensor(v, dtype=torch.float64).flatten() for v in values])
    return [float(f"{v:.6g}") for v in flat.tolist()]


# ------------------------------------------------------------------------------- sample recordings
def recordings_of_the_sample() -> Values:
    """Moments of events and frames of a few recordings, and what was drawn for them."""
    found = {}
    for dataset, labels in {"hardvs": (0, 8, 14), "pokerevent": (1, 11, 20)}.items():
        for label in labels:
            for draw in range(4):
                stream = np.random.SeedSequence([7, label, draw])
                shot = sample.simulate(dataset, label, stream)
                e, frames = shot["events"], shot["frames"].astype(float)
                moments = [float(f(e[k])) for k in "txyp" for f in (np.mean, np.std)]
                pictures = [*frames.mean((1, 2, 3)), *frames.std((1, 2, 3))]
                drawn = [v for v in shot["truth"].values() if not isinstance(v, str)]
                case = f"{dataset} {label} {draw} {shot['truth']['cause']}"
                found[case] = numbers(len(e["t"]), *moments, *pictures, *map(float, drawn))
        still = sample.render_frames(dataset, [3, 5], seed=1).astype(float)
        found[f"{dataset} pre-training"] = numbers(
            *still.mean((1, 2)).flat, *still.std((1, 2)).flat
        )
    return found


# ------------------------------------------------------------------------------- clips
def write_recordings(root: Path) -> None:
    """Three recordings of 48 x 36 pixels: events with frames, events alone, stored images alone."""
    rng = np.random.RandomState(0)
    size = (48, 36)
    for name, has_events, has_frames in (
        ("both", True, True),
        ("events", True, False),
        ("images", False, True),
    ):
        folder = root / name
        folder.mkdir(parents=True)
        if has_events:
            t = np.sort(rng.randint(0, 900_000, 6000))
            x = (t // 20_000 + rng.randint(0, 6, 6000)) % size[0]
            y = (t // 45_000 + rng.randint(0, 9, 6000)) % size[1]
            extra = {"frame_t": np.arange(8) * 100_000 + 5_000} if has_frames else {}
            np.savez(folder / f"{name}.npz", x=x, y=y, t=t, p=rng.randint(0, 2, 6000), **extra)
        for kind in ("aps", "dvs") if has_frames else ():
            images = folder / f"{name}_{kind}"
            images.mkdir()
            for i in range(8):
                picture = rng.randint(0, 256, (4, 5, 3)).astype(np.uint8)
                Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC).save(
                    images / f"{5 * i:08d}.png"
                )


def clips_of_recordings() -> Values:
    """Mean, deviation and some pixels of every image of a clip, for all ways to make one."""
    found = {}
    cases: dict[str, tuple[str, dict, str, str]] = {
        f"{kind} {windows}": (
            "both",
            {"event_representation": kind, "event_windows": windows},
            "even",
            "none",
        )
        for kind in events.BACKGROUND
        for windows in ("frames", "afe")
    }
    cases["afe with a threshold"] = (
        "both",
        {"event_windows": "afe", "afe_threshold": 60.0},
        "even",
        "none",
    )
    for name in ("events", "images"):
        modality = {"modality": "event"} if name == "events" else {}
        for draw in ("even", "jittered", "random"):
            cases[f"{name} {draw}"] = (name, modality, draw, "none")
    for augment in ("clip", "frame"):
        for draw in ("jittered", "random"):
            cases[f"{augment} {draw}"] = ("both", {}, draw, augment)
            cases[f"{augment} {draw} afe"] = ("both", {"event_windows": "afe"}, draw, augment)
    with tempfile.TemporaryDirectory() as folder:
        write_recordings(Path(folder))
        for case, (name, fields, draw, augment) in cases.items():
            config = safe_core.configure(
                "sample", frames=3, image_size=32, afe_min_events=400, seed=5, **fields
            )
            dataset = clips.ClipDataset(
                [(name, 0), (name, 1)], Path(folder), ["Wave", "Left Bend"], config,
                draw=draw, augment=augment, sensor_size=(48, 36),
            )  # fmt: skip
            for epoch, index in (
                ((0, 0), (0, 1), (3, 1)) if (draw, augment) != ("even", "none") else ((0, 0),)
            ):
                dataset.set_epoch(epoch)
                clip = dataset[index]
                images = torch.cat([clip[k] for k in ("rgb", "event") if k in clip]).double()
                where = images[:, :, 9::11, 5::13].mean(1)
                found[f"{case} {epoch} {index}"] = numbers(
                    images.mean((1, 2, 3)), images.std((1, 2, 3)), where
                )
    return found


# ------------------------------------------------------------------------------- models
def images_by_rule(batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """rgb, event uint8 [B, F, 3, 64, 64]: smooth random pictures, the same on every machine."""
    rng = np.random.RandomState(11)
    coarse = torch.from_numpy(rng.randint(0, 256, (2 * batch * frames, 3, 6, 6)).astype(np.float32))
    fine = F.interpolate(coarse, (64, 64), mode="bilinear", antialias=False).round().to(torch.uint8)
    rgb, event = fine.view(2, batch, frames, 3, 64, 64)
    return rgb, event


def three_steps(config: safe_core.Config, *, double: bool = False) -> list[float]:
    """Logits before an epoch of three optimiser steps, their losses, logits after them.

    double: the steps in double precision, for networks whose training amplifies rounding.
    """
    torch.manual_seed(config.seed)
    model = safe_core.build(config, SENTENCES)
    rgb, event = images_by_rule(4, config.frames)
    labels = torch.arange(4)
    with torch.no_grad():
        before = model.eval()(rgb, event)
    if double:
        model.double()
    trained = {"model": model, "optimizer": safe_core.make_optimizer(model, config)}
    trained["scaler"] = torch.amp.GradScaler("cpu", enabled=False)
    losses: list[float] = []
    batches = [{"rgb": rgb, "event": event, "label": labels}] * 3

    def note(step: int, steps: int, per_epoch: int, loss: torch.Tensor) -> None:
        losses.append(loss.item())

    sampler = DistributedSampler(range(12), 1, 0)
    with mock.patch.object(safe_core, "load", lambda *_, **__: batches):
        safe_core.train_epoch(model, sampler, trained, 0, config, note)
    with torch.no_grad():
        after = model.eval()(rgb, event)
    return numbers(before, torch.tensor(losses), after)


def models_of_the_paper() -> Values:
    return {
        case: three_steps(
            safe_core.configure("sample", **{**TINY, "seed": 3, **fields}),
            double=case.endswith(DOUBLE),
        )
        for case, fields in PAPER_MODELS.items()
    }


def released_models() -> Values:
    fields = {**TINY, **released.RELEASED, "prompt": None, "seed": 3}
    return {
        "pretrained": three_steps(safe_core.configure("sample", **fields)),
        "random": three_steps(safe_core.configure("sample", **fields, pretrained=False)),
    }


def models_of_the_other_methods() -> Values:
    fields = {**TINY, "seed": 3}
    amplifying = ("c3d", "r2plus1d")
    cases: dict[str, dict] = {
        f"{name}{DOUBLE}" if name in amplifying else name: {"model": name} for name in peers.PEERS
    }
    cases["events alone, frozen"] = {"model": "tsm", "modality": "event", "freeze_vision": True}
    return {
        case: three_steps(
            safe_core.configure("sample", **fields | own), double=case.endswith(DOUBLE)
        )
        for case, own in cases.items()
    }


# ------------------------------------------------------------------------------- a whole training
class RuleClips(torch.utils.data.Dataset):
    """Clips whose class shows in their brightness pattern; another shift in every epoch."""

    def __init__(self, count: int, frames: int):
        rng = np.random.RandomState(count)
        self.labels = torch.arange(count) % len(NAMES)
        self.names = [f"clip {i}" for i in range(count)]
        patterns = np.random.RandomState(1).randint(0, 200, (len(NAMES), 1, 3, 8, 8))
        coarse = patterns[self.labels.numpy()] + rng.randint(0, 56, (count, frames, 3, 8, 8))
        self.images = torch.from_numpy(coarse.repeat(8, axis=3).repeat(8, axis=4).astype(np.uint8))
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, i: int) -> dict:
        rgb = self.images[i].roll(self.epoch, dims=-1)
        return {"rgb": rgb, "event": 255 - rgb, "label": int(self.labels[i]), "name": self.names[i]}


def whole_trainings() -> Values:
    """History and answers of three epochs, as the paper has them and as the released trainer."""
    choices = {
        "paper": {"dropout": 0.1, "warmup_fraction": 0.2},
        "released trainer": {
            "schedule": "constant",
            "clip_norm_of": "fusion",
            "select_on": "test",
            "learning_rate": 4e-3,
        },
    }
    found = {}
    for case, fields in choices.items():
        config = safe_core.configure("sample", **{**TINY, "epochs": 3, "seed": 1, **fields})
        train, val, test = (RuleClips(count, config.frames) for count in (16, 9, 10))
        with tempfile.TemporaryDirectory() as folder:
            about = {"class_names": NAMES}
            result = safe_core.fit(
                config, train, val, test, sentences=SENTENCES, about=about, out_dir=folder
            )
        rows = [[v for k, v in row.items() if k != "seconds"] for row in result["history"]]
        found[case] = numbers(
            torch.tensor(rows),
            result["best_epoch"],
            *result["test"].values(),
            result["log_probs"][:4],
        )
    return found


# ------------------------------------------------------------------------------- files
# relative and absolute tolerance: pixels are whole numbers, training amplifies the last digits
GROUPS: dict[str, tuple[Callable[[], Values], float, float]] = {
    "sample": (recordings_of_the_sample, 2e-3, 1e-3),
    "clips": (clips_of_recordings, 1e-3, 0.05),
    "model": (models_of_the_paper, 2e-3, 2e-4),
    "released": (released_models, 2e-3, 2e-4),
    "peers": (models_of_the_other_methods, 2e-3, 2e-4),
    "training": (whole_trainings, 5e-3, 1e-3),
}


def stored(group: str) -> dict:
    """{"version": ..., "values": {case: numbers}} of a group's file."""
    return json.loads((FOLDER / f"{group}.json").read_text())


def differences(group: str, found: Values) -> list[str]:
    """One line for every case of a group whose numbers are not those of its file."""
    _, relative, absolute = GROUPS[group]
    expected, lines = stored(group)["values"], []
    for case in sorted(expected.keys() | found.keys()):
        if case not in expected or case not in found:
            lines.append(
                f"{group}, {case}: only in {'the file' if case in expected else 'the code'}"
            )
            continue
        a, b = np.array(expected[case]), np.array(found[case])
        if a.shape != b.shape:
            lines.append(f"{group}, {case}: {b.size} numbers, {a.size} in the file")
        elif not np.allclose(a, b, rtol=relative, atol=absolute):
            worst = int(np.argmax(np.abs(a - b) / (absolute + relative * np.abs(a))))
            lines.append(
                f"{group}, {case}: number {worst} is {b[worst]:g}, {a[worst]:g} in the file"
            )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--write", action="store_true", help="write groups with a new version, and new cases"
    )
    write = parser.parse_args().write
    failed = False
    for group, (compute, *_) in GROUPS.items():
        version, file = behaviour.VERSIONS[group], FOLDER / f"{group}.json"
        known = stored(group)["version"] if file.exists() else None
        found = compute()
        changed = differences(group, found) if file.exists() else []
        added = found.keys() - stored(group)["values"].keys() if known == version else set()
        if write and (known != version or (added and len(added) == len(changed))):
            values = found if known != version else stored(group)["values"]
            values = {case: values.get(case, found[case]) for case in found}
            lines = ",\n".join(
                f"  {json.dumps(case)}: {json.dumps(v)}" for case, v in values.items()
            )
            file.write_text(f'{{"version": {version}, "values": {{\n{lines}\n}}}}\n')
            print(f"{group}: version {version} written, {len(found)} cases, {len(changed)} new")
        elif known == version:
            failed |= bool(changed)
            print(
                f"{group}: version {version}, "
                + ("\n".join(["changed", *changed]) if changed else "as stored")
            )
        else:
            failed = True
            print(f"{group}: the code says version {version}, the file {known}: run with --write")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
