"""What is damaged, and what do people do with it? The kinds of inputs of tests/damage.py."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import torch
from damaging import ODD, SMALL, TEXTS, Damage, bomb, fixed_npz, npy
from tiny import small

import safe_core
from safe_companion import claims, datasets, effects, prediction, predictions, prompts, records
from safe_companion.clips import ClipDataset
from safe_companion.facts import cache_folder
from safe_companion.readers import READERS, read_events
from safe_companion.recordings import read_recording

FORMATS = [suffix for suffix in READERS if suffix not in (".hdf5", ".bs2")]  # read as others are
RESULTS = Path(__file__).resolve().parents[1] / "results" / "sample" / "hardvs"


class Trial(NamedTuple):
    """call: what a person does; its answer. names: the error must hold one. key: of its options."""

    call: Callable[[], Any]
    names: Sequence[str]
    key: str | None = None  # the undamaged input under the same key has the answer to compare


def digest(*parts: Any) -> str:
    """Of arrays, tensors and JSON."""
    total = hashlib.sha256()
    for part in parts:
        total.update(np.asarray(part).tobytes() if hasattr(part, "shape") else repr(part).encode())
    return total.hexdigest()


def sane(condition: Any, what: str) -> None:
    """An answer that anyone can see to be wrong is none."""
    if not condition:
        raise AssertionError(what)


# ------------------------------------------------------------------------------- recordings
def look_at(path: Path, options: dict[str, Any], modality: str) -> Callable[[], str]:
    """Reads a recording, and makes a clip of it."""

    def call() -> str:
        if path.suffix in READERS and path.is_file():
            read_events(path, time_unit=options["time_unit"], columns=options["columns"])
        recording = read_recording(path, **options)
        events, (width, height) = recording.events, recording.size
        sane(width > 0 and height > 0, f"size {recording.size}")
        if events is not None:
            sane((np.diff(events["t"]) >= 0).all() and events["t"][0] >= 0, "times")
            sane(events["x"].max() < width and events["y"].max() < height, "outside")
        fields = {k: v for k, v in options.items() if k in ("time_unit", "columns")}
        config = safe_core.configure("sample", **SMALL, **fields, modality=modality, data_root="/")
        config = dataclasses.replace(config, repair_events=options["repair"])
        clip = ClipDataset([(path.name, 0)], path.parent, ["a"], config)[0]
        images = [clip[key] for key in config.branches]
        sane(all(i.shape == (2, 3, 32, 32) and i.dtype == torch.uint8 for i in images), "clip")
        return digest(*images, *([] if events is None else [events]))

    return call


def drawn_options(rng: Damage, suffix: str) -> dict[str, Any]:
    unnamed = suffix in (".txt", ".npy")
    options = {"time_unit": rng.choice(["auto", "auto", "us", "s"]), "repair": rng.random() < 0.5}
    return options | {"columns": "t,x,y,p" if unnamed or rng.random() < 0.1 else None}


def a_recording(suffix: str, rng: Damage, folder: Path, bases: Any) -> Trial:
    """A damaged event file; of npz also damage that its checksums agree with."""
    base = rng.choice(bases[suffix])
    options = drawn_options(rng, suffix)
    inside = suffix == ".npz" and rng.random() < 0.6
    path = folder / f"take{suffix}"
    if inside:
        with zipfile.ZipFile(base) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(list(members))
        damaged = rng.content(members[name], rng.choice(list(members.values())))
        fixed_npz(path, members | {name: damaged})
    else:
        near = rng.random() < 0.5
        other = rng.choice(bases[suffix if near else rng.choice(FORMATS)])
        path.write_bytes(rng.content(base.read_bytes(), other.read_bytes()))
    modality = "both" if base.name == "a.aedat4" else "event"
    return Trial(look_at(path, options, modality), [str(path)], f"{base} {options} {inside}")


def odd_arrays(rng: Damage, folder: Path, bases: Any) -> Trial:
    """Columns of any type and shape, in each format that can hold them."""
    length = rng.choice([0, 1, 2, 50])
    columns = {key: rng.array(length) for key in "xytp"}
    for key in rng.sample("xytp", rng.choice([2, 3, 4])):  # the others are right
        columns[key] = np.sort(np.array([rng.randrange(2) for _ in range(length)]))
    if rng.random() < 0.2:
        columns[rng.choice(["frame_t", "sensor_size", "ts"])] = rng.array(rng.choice([0, 1, 2, 3]))
    path = folder / f"take.{rng.choice(['npz', 'npz', 'npy', 'h5'])}"
    if path.suffix == ".npz":
        fixed_npz(path, {f"{key}.npy": npy(column) for key, column in columns.items()})
    elif path.suffix == ".npy":
        named = np.zeros(length, [(key, column.dtype) for key, column in columns.items()])
        square = np.stack([rng.array(4)] * rng.choice([3, 4, 5]), axis=-1)
        path.write_bytes(npy(rng.choice([named, square, columns["x"]])))
    else:
        with h5py.File(path, "w") as file:
            for key, column in columns.items():
                with contextlib.suppress(TypeError):  # what HDF5 has no type for
                    file[rng.choice(["", "events/"]) + key] = column
    return Trial(look_at(path, drawn_options(rng, path.suffix), "event"), [str(path)])


def an_image(rng: Damage, folder: Path, bases: Any) -> Trial:
    """One damaged image of an _aps or _dvs folder, with or without events."""
    modality, kind = rng.choice(["rgb", "event", "both"]), rng.choice(["aps", "dvs"])
    take, base = folder / "take", rng.choice(bases["image"])
    has_events = rng.random() < 0.3
    for part in ("aps", "dvs"):
        (take / f"take_{part}").mkdir(parents=True)
        for i in range(3):
            shutil.copy(base, take / f"take_{part}" / f"{i:04d}{base.suffix}")
    if has_events:
        shutil.copy(bases[".npz"][0], take / "take.npz")
    image = take / f"take_{kind}" / f"{rng.randrange(3):04d}{base.suffix}"
    content = base.read_bytes()
    if not rng.intact and rng.random() < 0.2:
        image.write_bytes(bomb(rng))
    elif not rng.intact and rng.random() < 0.2:
        image.unlink()
        rng.choice([lambda: image.mkdir(), lambda: image.symlink_to("/dev/zero"), lambda: None])()
    else:
        image.write_bytes(rng.content(content, rng.choice(bases["image"]).read_bytes()))
    options = {"time_unit": "auto", "repair": False, "columns": None}
    key = f"{modality} {base} {has_events}"
    return Trial(look_at(take, options, modality), [str(take)], key)


def link_root(folder: Path, root: Path) -> Path:
    """A root that shares the recordings of another."""
    own = folder / "hands"
    own.mkdir()
    for part in root.iterdir():
        (own / part.name).symlink_to(part) if part.is_dir() else shutil.copy(part, own / part.name)
    return own


def open_root(root: Path, **fields: Any) -> Callable[[], str]:
    def call() -> str:
        config = safe_core.configure("sample", **SMALL | {"data_root": str(root)} | fields)
        splits = datasets.open_dataset(config)
        sane(len(splits.train) and len(splits.test), "empty")
        sentences = prompts.prompt_sentences(splits.class_names, config)
        sane(all(s.strip() for group in sentences for s in group), "blank sentence")
        json.dumps(splits.facts)
        clip = splits.train[0]
        images = [clip[branch] for branch in config.branches]
        return digest(splits.facts, splits.class_names, sentences, *images)

    return call


def a_root(rng: Damage, folder: Path, bases: Any) -> Trial:
    """Damaged lists, class names, sentences, or facts that were kept of the recordings."""
    root = link_root(folder, bases["root"][0])
    what = rng.choice(["train_label.txt", "test_label.txt", "classes.txt", "prompts", "facts"])
    fields: dict[str, Any] = {"on_bad_recording": rng.choice(["stop", "skip"])}
    names = [str(root)]
    tree: Any = None
    if what == "prompts":
        file = folder / "prompts.json"
        tree = rng.choice([{"Wave": ["a"], "Left Bend": ["b", "c"]}, [["a"], ["b", "c"]]])
        text = json.dumps(rng.tree(tree)).encode()
        file.write_bytes(text if rng.random() < 0.5 else rng.content(text, b"\xff{}"))
        fields["prompt_file"] = str(file)
        names = [str(file)]
    elif what == "facts":
        open_root(root, **fields)()
        file = next((cache_folder() / "checks").iterdir())
        content = file.read_bytes()
        file.write_bytes(rng.content(content, bases["image"][0].read_bytes()))
        return Trial(open_root(root, **fields), names, f"facts {fields} same")
    else:
        (root / what).write_bytes(rng.lines((root / what).read_text()))
    return Trial(open_root(root, **fields), names, f"{what} {fields} {tree}")


def a_check(rng: Damage, folder: Path, bases: Any) -> Trial:
    """One damaged recording among others, of any format, before a training or `safe check`."""
    root = link_root(folder, bases["root"][0])
    suffix = rng.choice(FORMATS)
    base = rng.choice(bases[suffix])
    path = root / "more" / f"take{suffix}"
    path.parent.mkdir()
    if rng.random() < 0.2:
        base = rng.choice(bases["image"])
        shutil.copytree(next((root / "action_001").iterdir()), path.parent / "take")
        for file in (path.parent / "take").iterdir():
            file.rename(file.with_name("take.npz" if file.is_file() else "take_aps"))
        path = path.parent / "take" / "take_aps" / f"00000001{base.suffix}"
    path.write_bytes(rng.content(base.read_bytes(), bases[".npz"][0].read_bytes()))
    with open(root / "train_label.txt", "a") as file:
        file.write("more/take 5 1\n")
    fields = {"on_bad_recording": rng.choice(["stop", "skip"]), "columns": "t,x,y,p"}
    fields |= {"modality": rng.choice(["event", "both"]), "repair_events": rng.random() < 0.5}
    fields |= {"dataset": rng.choice(["hardvs", "hardvs", "folder"])}
    config = safe_core.configure("sample", **SMALL, **fields, data_root=str(root))

    def check() -> str:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = datasets.check(config, decode=True)
        return digest(code, said.getvalue())

    key = f"{fields} {suffix} {base}"
    if rng.random() < 0.3:
        return Trial(check, [str(root)], f"check {key}")
    return Trial(open_root(root, **fields), [str(root)], key)


def odd_names(rng: Damage, folder: Path, bases: Any) -> Trial:
    """Class folders and class names of any characters, up to a model and its answers."""
    root = folder / "odd"
    root.mkdir()
    texts = [text.replace("\ud800", "\udcff") for text in TEXTS if not {"/", "\0"} & set(text)]
    texts = [text for text in texts if 0 < len(os.fsencode(text)) < 250]
    for name in rng.sample([*texts, "caf\udce9", "-x", "x" * 250, "a,b", '"'], 2):
        (root / name).mkdir()
        for i in range(3):
            shutil.copy(bases[".npz"][0], root / name / f"{i}.npz")
    prompt = rng.choice([None, None, *TEXTS, *(f"{text} {{}}" for text in TEXTS)])

    def call() -> str:
        fields = dict(dataset="folder", modality="event", prompt=prompt, data_root=str(root))
        config = small(**SMALL | {"image_size": 64} | fields)
        splits = datasets.open_dataset(config)
        sentences = prompts.prompt_sentences(splits.class_names, config)
        model = safe_core.SAFE(config, sentences)
        log_probs = safe_core.predict(model, splits.test, config)
        predictions.write(folder, splits, log_probs)
        again = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
        sane(len(again) == len(splits.test), "predictions.csv")
        table, _ = predictions.read(folder, len(splits.test))
        sane(list(table.name) == splits.test.names, "names")
        about = {"class_names": splits.class_names, "sentences": sentences}
        about |= {"config": dataclasses.asdict(config), "identity": {}, "history": []}
        safe_core.save_checkpoint(folder / "m.safetensors", model.state_dict(), about)
        known = safe_core.load_model(folder / "m.safetensors")[1]["class_names"]
        sane(known == splits.class_names, "names")
        return digest(log_probs)

    return Trial(call, [str(root), "prompt", "too long"])


def a_field(rng: Damage, folder: Path, bases: Any) -> Trial:
    """A configuration with one field of any value, and the data and sentences that it asks for."""
    field = rng.choice(list(safe_core.FIELDS))
    value = rng.choice([*ODD, b"a", object, np.int64(3), np.float32(0.5), Path("a")])
    if rng.random() < 0.3:
        words = ["0x0", "9999x9999", "t,x,y,p", "t", "1x1\n"]
        value = rng.choice(safe_core.CHOICES.get(field, words))
    root = bases["root"][0]
    fields = SMALL | {"data_root": str(root), field: value}

    def call() -> str:
        config = safe_core.configure("sample", **fields)
        if config.data_root is not None:  # None makes a sample, which takes long
            open_root(root, **fields)()
        return digest(dataclasses.asdict(config))

    return Trial(call, [field, str(root), str(value)[:80] or field])


def a_record(rng: Damage, folder: Path, bases: Any) -> Trial:
    """Damage in the files of a run or of an evaluation, read as the ledger reads them."""
    kinds = ["tree", "tree", "evaluation", "record.json", "predictions.csv", "predictions.npz"]
    what = rng.choice(kinds)
    place = folder / "sample" / "hardvs" / "base" / "seed0"
    base = bases["evaluation"][0] if what == "evaluation" else RESULTS / "base" / "seed0"
    shutil.copytree(base, place)
    for recordings in RESULTS.glob("recordings-*.csv"):
        shutil.copy(recordings, place.parents[1])
    if what.startswith("predictions"):
        table = records.load_run(RESULTS / "base" / "seed0")["predictions"]
        table.to_csv(place / "predictions.csv", index=False)
        (place / "predictions.npz").unlink(missing_ok=True)
    if what == "predictions.npz":
        test = SimpleNamespace(names=list(table.name), labels=table.label.to_numpy())
        answers = torch.randn(len(table), 24, generator=torch.Generator().manual_seed(0))
        predictions.write(place, SimpleNamespace(test=test, origin="real"), answers)
    file = place / (what if what.startswith("predictions") else "record.json")
    if what in ("tree", "evaluation"):
        file.write_text(json.dumps(rng.tree(json.loads(file.read_text()))))
    elif what == "predictions.csv":
        file.write_bytes(rng.lines(file.read_text()))
    else:
        file.write_bytes(rng.content(file.read_bytes(), b"{}"))

    def call() -> str:
        evaluation = prediction.read_evaluation(place)
        if evaluation is not None:
            return digest(prediction.summary(evaluation))
        run = records.load_run(place)
        other = records.load_run(RESULTS / "modality=rgb" / "seed0")
        said = [records.outdated(run), records.summary(run), effects.difference([run], [other])]
        claim = pd.Series({"value": 50.0, "dataset": "hardvs", "metric": "top1"})
        return digest(said, claims.judge(claim, claim, [run], [other]), run["commit"])

    return Trial(call, [str(place)], what)


def a_checkpoint(rng: Damage, folder: Path, bases: Any) -> Trial:
    """A damaged checkpoint: its bytes, or what it says of itself; then an answer of its model."""
    base, path = bases["checkpoint"][0], folder / "best.safetensors"
    take = next((bases["root"][0] / "action_001").iterdir())
    if rng.random() < 0.5:
        tensors, about = safe_core.load_checkpoint(base)
        safe_core.save_checkpoint(path, tensors, rng.tree(about))
    else:
        path.write_bytes(rng.content(base.read_bytes(), bases[".npz"][0].read_bytes()))

    def call() -> str:
        model, about = safe_core.load_model(path)
        size = prediction.trained_size(about, path)
        found = prediction.predict(model, take)
        sane(all(isinstance(name, str) and math.isfinite(p) for name, p in found), f"{found}")
        return digest(found, size)

    return Trial(call, [str(path), str(take)], "")


KINDS: dict[str, tuple[int, Callable[[Damage, Path, Any], Trial]]] = {  # share of the inputs
    **{suffix[1:]: (6, functools.partial(a_recording, suffix)) for suffix in FORMATS},
    "arrays": (8, odd_arrays),
    "images": (8, an_image),
    "lists": (8, a_root),
    "checks": (6, a_check),
    "names": (2, odd_names),
    "fields": (12, a_field),
    "records": (8, a_record),
    "checkpoints": (4, a_checkpoint),
}
