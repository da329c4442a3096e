"""What does damage do? Damages inputs of every kind at random, and gives them to what people call.

    python tests/damage.py                               10,000 inputs over all kinds
    python tests/damage.py --kind npz --count 500        of one kind
    python tests/damage.py --kind npz --index 17         one again, with its traceback

Each must end in an answer, or in one error of ours that names the file or the field. A crash of the
interpreter, any other exception, memory without bound, 20 s, a flood of warnings, or an answer that
is no answer is forbidden: it is listed, and its input kept. Kind, index and seed make it again.
"""

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import math
import os
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"OMP_NUM_THREADS": "1", "SAFE_MAX_GIB": "1"}  # so 2 GiB are beyond any bound

import h5py
import numpy as np
import pandas as pd
import recipes
import torch
from PIL import Image
from tiny import small

import safe_core
from safe_companion import claims, datasets, effects, prediction, prompts, records, released
from safe_companion.clips import ClipDataset
from safe_companion.facts import cache_folder
from safe_companion.packs import pack
from safe_companion.readers import READERS, RecordingError, read_events
from safe_companion.recordings import read_recording

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "tests" / "files"
ALLOWED = (RecordingError, ValueError, FileNotFoundError, OSError)  # these types, not others
SECONDS, GROWTH, FLOOD = 20, 2 << 20, 10_000  # of one input; KiB of memory; bytes on stderr
NUMBERS = [0, 1, 2, 3, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
TEXTS = ["", " ", "a", "0", "nan", "<b>&amp;</b>", "$x$", "a\nb", "a\0b", "{}", "{0} {}", "%s", "é"]
TEXTS += ["/", "../..", "~nobody", "x" * 10_000, "\ud800", "\udcff {}", "🂡", "1e999", "-1", "true"]
ODD: list[Any] = [None, True, False, -1, 0.5, -0.0, 1e-300, 1e308, math.nan, math.inf, -math.inf]
ODD += [*NUMBERS, 10**400, *TEXTS, [], [1], ["a"], {}, {"a": 1}, [[]]]
SMALL = dict(frames=2, image_size=32, workers=0, val_fraction=0.5, pretrained=False)


class Trial(NamedTuple):
    """call: what a person does; its answer. names: the error must hold one. key: of its options."""

    call: Callable[[], Any]
    names: Sequence[str]
    key: str | None = None  # the undamaged input under the same key has the answer to compare


# ------------------------------------------------------------------------------- damage
class Damage(random.Random):
    """Damages by chance; with `intact`, nothing."""

    intact = False

    def content(self, data: bytes, other: bytes = b"") -> bytes:
        """Bytes with one or more damages."""
        if self.intact:
            return data
        ways = [self._cut, self._noise, self._zeros, self._swapped, self._doubled, self._numbers]
        ways += [self._text_numbers, lambda d: self._mixed(d, other)]
        for _ in range(self.choice([1, 1, 1, 2, 3])):
            data = self.choice(ways)(data)
        return data

    def _span(self, data: bytes, most: int = 1 << 16) -> slice:
        start = self.randrange(len(data) + 1)
        return slice(start, start + self.randint(0, min(most, len(data) // 2 + 1)))

    def _cut(self, data: bytes) -> bytes:
        return data[: self.choice([0, 1, self.randrange(len(data) + 1), max(0, len(data) - 1)])]

    def _noise(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.choice([1, 1, 2, 8, 64]) if data else 0):
            most = self.choice([len(data), min(len(data), 256)])  # headers more often
            changed[self.randrange(most)] = self.randrange(256)
        return bytes(changed)

    def _zeros(self, data: bytes) -> bytes:
        span = self._span(data)
        return data[: span.start] + bytes(len(data[span])) + data[span.stop :]

    def _swapped(self, data: bytes) -> bytes:
        span, middle = self._span(data), self._span(data).start
        rest = data[: span.start] + data[span.stop :]
        return rest[:middle] + data[span] + rest[middle:]

    def _doubled(self, data: bytes) -> bytes:
        span = self.choice([slice(0, len(data)), self._span(data)])
        return data[: span.stop] + data[span] + data[span.stop :]

    def _mixed(self, data: bytes, other: bytes) -> bytes:
        if self.random() < 0.3:
            return other
        span = self._span(data)
        return data[: span.start] + other[self._span(other)] + data[span.stop :]

    def _numbers(self, data: bytes) -> bytes:
        width = self.choice([1, 2, 4, 8])
        at = self.randrange(max(1, min(len(data), 512)))
        number = self.choice(NUMBERS) % (1 << 8 * width)
        return (
            data[:at] + number.to_bytes(width, self.choice(["little", "big"])) + data[at + width :]
        )

    def _text_numbers(self, data: bytes) -> bytes:
        found = list(re.finditer(rb"\d+", data[:4096]))
        if not found:
            return data
        place = self.choice(found)
        new = self.choice([str(n) for n in NUMBERS] + ["-1", "1.5", "nan", "9" * 400, "", "1e400"])
        return data[: place.start()] + new.encode() + data[place.end() :]

    def tree(self, value: Any) -> Any:
        """JSON with one or two values changed, left out, or moved."""
        value = json.loads(json.dumps(value))
        for _ in range(0 if self.intact else self.choice([1, 1, 2])):
            node, key = None, None
            inner = value
            while (
                isinstance(inner, dict | list) and inner and (node is None or self.random() < 0.7)
            ):
                node, key = (
                    inner,
                    self.choice(list(inner) if isinstance(inner, dict) else range(len(inner))),
                )
                inner = node[key]
            if node is None:
                return self.choice(ODD)
            if self.random() < 0.2:
                del node[key]
            else:
                node[key] = self.choice(ODD)
        return self.choice(ODD) if not self.intact and self.random() < 0.02 else value

    def lines(self, text: str) -> bytes:
        """A text with one field or line changed, or its bytes damaged."""
        if self.intact or self.random() < 0.5:
            return self.content(text.encode(), b"\xff\xfeother 1 0\n")
        lines = text.split("\n")
        at = self.randrange(len(lines))
        fields = re.split(r"( +|,)", lines[at])
        fields[self.randrange(len(fields))] = str(self.choice(ODD))
        lines[at] = self.choice(["".join(fields), str(self.choice(ODD)), ""])
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    def array(self, length: int) -> np.ndarray:
        """A column of any type, shape and value."""
        odd = self.choice([*NUMBERS, -1, -(2**63), 0.5, 1e300, math.nan, math.inf])
        types = [
            "u1",
            "i1",
            "u2",
            ">i2",
            "i4",
            "u4",
            "i8",
            "u8",
            "f2",
            "f4",
            ">f8",
            "?",
            "c8",
            "U3",
        ]
        types += ["S2", "M8[us]", "m8[us]", "g", "V4"]
        with np.errstate(all="ignore"), contextlib.suppress(OverflowError, ValueError, TypeError):
            column = np.sort(np.array([self.randrange(6) for _ in range(length)])).astype("i8")
            column = column.astype(self.choice(types))
            if length and self.random() < 0.5:
                column[self.randrange(length)] = np.array(odd).astype(column.dtype)
            return self.choice([column, column, column, column[:-1], column[:, None], column[:0]])
        return np.array(odd)


# ------------------------------------------------------------------------------- base inputs
def fixed_npz(path: Path, members: dict[str, bytes]) -> Path:
    """An npz archive without the time of its making."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def make_bases(folder: Path) -> dict[str, list[Path]]:
    """{suffix: event files}, images and all else that will be damaged, below `folder`."""
    stream = recipes.random_events(300)
    columns = {key: stream[key] for key in "xytp"}
    extra = {"frame_t": np.arange(3) * 300_000, "sensor_size": np.array(recipes.SIZE)}
    members = {f"{key}.npy": npy(array) for key, array in {**columns, **extra}.items()}
    fixed_npz(folder / "a.npz", members)
    fixed_npz(folder / "b.npz", {"events.npy": npy(stream)})
    np.save(folder / "a.npy", stream)
    np.save(folder / "b.npy", np.stack([columns[key].astype("f8") for key in "txyp"], 1))
    for name, where in {"plain": "", "dsec": "events/", "mvsec": "davis/left/"}.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            if name == "mvsec":
                rows = np.stack([columns["x"], columns["y"], columns["t"] / 1e6, columns["p"]], 1)
                file.create_dataset(f"{where}events", data=rows, chunks=(64, 4), compression="gzip")
            else:
                for key, column in columns.items():
                    file.create_dataset(where + key, data=column, chunks=(64,), fletcher32=True)
            if name == "dsec":
                file["ms_to_idx"], file["t_offset"] = np.arange(10), 5
    frames = list(enumerate(recipes.gray_frames(3)))
    recipes.save_aedat4(
        folder / "a.aedat4", stream, [(300_000 * i, f) for i, f in frames], recipes.SIZE
    )
    lines = "".join(f"{t} {x} {y} {p}\n" for x, y, t, p in stream.tolist())
    (folder / "a.txt").write_text(lines)
    (folder / "a.csv").write_text("t,x,y,p\n" + lines.replace(" ", ","))
    (folder / "a.pack").write_bytes(pack(folder / "a.aedat4"))
    found: dict[str, list[Path]] = {}
    for file in sorted([*folder.iterdir(), *FILES.iterdir()]):
        if file.suffix in READERS:
            found.setdefault(file.suffix, []).append(file)
    pixels = np.arange(24 * 18 * 3, dtype=np.uint8).reshape(18, 24, 3)
    found["image"] = [folder / f"i.{end}" for end in ("png", "jpg")]
    for file in found["image"]:
        Image.fromarray(pixels).save(file)
    root = recipes.make_root(folder / "hands", per_class=2, frames=3)
    found["root"] = [root]
    config = small(data_root=str(root), **SMALL | {"image_size": 64})
    torch.manual_seed(0)
    sentences = [["A wave"], ["A left bend"]]
    model = safe_core.SAFE(config, sentences)
    about = {"class_names": ["Wave", "Left Bend"], "sentences": sentences, "history": []}
    about |= {"config": dataclasses.asdict(config), "identity": {}, "sensor_size": [8, 6]}
    safe_core.save_checkpoint(folder / "best.safetensors", model.state_dict(), about)
    found["checkpoint"] = [folder / "best.safetensors"]
    return found


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


# ------------------------------------------------------------------------------- what people do
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
    forms = [form for form in bases if form.startswith(".")]
    options = drawn_options(rng, suffix)
    inside = suffix == ".npz" and rng.random() < 0.6
    path = folder / f"take{suffix}"
    if inside:
        with zipfile.ZipFile(base) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(list(members))
        fixed_npz(
            path, members | {name: rng.content(members[name], rng.choice(list(members.values())))}
        )
    else:
        other = (
            rng.choice(bases[rng.choice(forms if rng.random() < 0.5 else [suffix])])
            if suffix != ".bs2"
            else base
        )
        path.write_bytes(rng.content(base.read_bytes(), other.read_bytes()))
    return Trial(look_at(path, options, "event"), [str(path)], f"{base} {options} {inside}")


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
        path.write_bytes(
            npy(
                rng.array(length).reshape(-1, rng.choice([1, 4, 5]))
                if length == 50 and False
                else rng.choice(list(columns.values()))
            )
        )
    else:
        with h5py.File(path, "w") as file:
            for key, column in columns.items():
                with contextlib.suppress(TypeError):  # what HDF5 has no type for
                    file[rng.choice(["", "events/"]) + key] = column
    return Trial(look_at(path, drawn_options(rng, path.suffix), "event"), [str(path)])


def bomb(rng: Damage) -> bytes:
    """A PNG whose checksums are right and whose header says anything."""
    kinds = [rng.choice([1, 4, 8, 16]), rng.choice([0, 2, 3, 4, 6]), 0, 0, rng.choice([0, 1])]
    sides = [rng.choice([0, 1, 24, 9000, 20_000, 65535, 2**31 - 1]) for _ in "wh"]
    header = b"IHDR" + b"".join(side.to_bytes(4, "big") for side in sides) + bytes(kinds)
    parts = [header, b"IDAT" + zlib.compress(bytes(rng.choice([0, 2000, 1 << 20]))), b"IEND"]
    chunks = [(len(p) - 4).to_bytes(4, "big") + p + zlib.crc32(p).to_bytes(4, "big") for p in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


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
        return digest(splits.facts, splits.class_names, sentences, splits.train[0]["event"])

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
    suffix = rng.choice([suffix for suffix in bases if suffix.startswith(".")])
    base = rng.choice(bases[suffix])
    path = root / "more" / f"take{suffix}"
    path.parent.mkdir()
    path.write_bytes(rng.content(base.read_bytes(), bases[".npz"][0].read_bytes()))
    with open(root / "train_label.txt", "a") as file:
        file.write("more/take 5 1\n")
    fields = {
        "on_bad_recording": rng.choice(["stop", "skip"]),
        "modality": rng.choice(["event", "both"]),
    }
    fields |= {"repair_events": rng.random() < 0.5, "columns": "t,x,y,p"}
    if rng.random() < 0.2:
        fields |= {"dataset": "folder"}
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
    texts = [t for t in TEXTS if 0 < len(os.fsencode(t.replace("\ud800", "\udcff"))) < 250]
    texts = [t.replace("\ud800", "\udcff") for t in texts]
    texts = [t for t in texts if not {"/", "\0"} & set(t)] + [
        "caf\udce9",
        "-x",
        "x" * 250,
        "a,b",
        '"',
    ]
    for name in rng.sample(texts, 2):
        for i in range(3):
            fixed_npz(root / name / f"{i}.npz", {}) if (root / name).mkdir(exist_ok=True) else None
            shutil.copy(bases[".npz"][0], root / name / f"{i}.npz")
    prompt = rng.choice([None, None, *TEXTS, *(f"{text} {{}}" for text in TEXTS)])

    def call() -> str:
        fields = {
            "dataset": "folder",
            "modality": "event",
            "prompt": prompt,
            "data_root": str(root),
        }
        config = small(**SMALL | {"image_size": 64, "dropout": 0.0} | fields)
        splits = datasets.open_dataset(config)
        sentences = prompts.prompt_sentences(splits.class_names, config)
        model = safe_core.SAFE(config, sentences)
        log_probs = safe_core.predict(model, splits.test, config)
        table = records.predictions(splits, log_probs)
        table.to_csv(folder / "predictions.csv", index=False)
        again = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
        sane(len(again) == len(splits.test), "predictions.csv")
        about = {"class_names": splits.class_names, "sentences": sentences}
        about |= {"config": dataclasses.asdict(config), "identity": {}, "history": []}
        safe_core.save_checkpoint(folder / "m.safetensors", model.state_dict(), about)
        sane(
            released.load_model(folder / "m.safetensors")[1]["class_names"] == splits.class_names,
            "names",
        )
        return digest(log_probs)

    return Trial(call, [str(root), "prompt", "too long"])


def a_field(rng: Damage, folder: Path, bases: Any) -> Trial:
    """A configuration with one field of any value, and the data and sentences that it asks for."""
    field, value = (
        rng.choice(list(safe_core.FIELDS)),
        rng.choice([*ODD, b"a", object, np.int64(3), np.nan, Path("a")]),
    )
    if rng.random() < 0.3:
        value = rng.choice(
            safe_core.CHOICES.get(field) or ["0x0", "9999x9999", "t,x,y,p", "t", "1x1\n"]
        )
    root = bases["root"][0]
    fields = SMALL | {"data_root": str(root), field: value}

    def call() -> str:
        config = safe_core.configure("sample", **fields)
        if config.data_root is not None:  # None makes a sample, which takes long
            open_root(root, **fields)()
        return digest(dataclasses.asdict(config))

    return Trial(call, [field, str(root), str(value)[:80] or field])


def a_record(rng: Damage, folder: Path, bases: Any) -> Trial:
    """A damaged record.json or predictions.csv, read as the ledger reads it."""
    base = ROOT / "results" / "sample" / "hardvs"
    place = folder / "sample" / "hardvs" / "base" / "seed0"
    shutil.copytree(base / "base" / "seed0", place)
    what = rng.choice(["tree", "tree", "record.json", "predictions.csv"])
    if what == "tree":
        file = place / "record.json"
        file.write_text(json.dumps(rng.tree(json.loads(file.read_text()))))
    else:
        other = (place / "record.json").read_bytes() if what == "predictions.csv" else b"{}"
        text = (place / what).read_text()
        content = (
            rng.lines(text) if what == "predictions.csv" else rng.content(text.encode(), other)
        )
        (place / what).write_bytes(content)

    def call() -> str:
        run = records.load_run(place)
        other = records.load_run(base / "modality=rgb" / "seed0")
        said = [records.outdated(run), records.summary(run), effects.difference([run], [other])]
        claim = pd.Series({"value": 50.0, "dataset": "hardvs", "metric": "top1"})
        said += [claims.judge(claim, claim, [run], [other])]
        return digest(said)

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
        model, about = released.load_model(path)
        size = prediction.trained_size(about, path)
        found = prediction.predict(model, take)
        sane(all(math.isfinite(p) for _, p in found), f"probabilities {found}")
        return digest(found, size)

    return Trial(call, [str(path), str(take)], "")


KINDS: dict[str, tuple[int, Callable[[Damage, Path, Any], Trial]]] = {  # share of the inputs
    **{
        s[1:]: (6, functools.partial(a_recording, s)) for s in READERS if s not in (".hdf5", ".bs2")
    },
    "arrays": (8, odd_arrays),
    "images": (8, an_image),
    "lists": (8, a_root),
    "checks": (6, a_check),
    "names": (2, odd_names),
    "fields": (12, a_field),
    "records": (8, a_record),
    "checkpoints": (4, a_checkpoint),
}


# ------------------------------------------------------------------------------- trying them
KNOWN: dict[tuple[str, str], str] = {}  # answers to undamaged inputs


def made(kind: str, index: int, seed: int, folder: Path, bases: Any, intact: bool) -> Trial:
    """An input, damaged or not; the same options either way."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["SAFE_CACHE"] = str(folder / "cache")
    rng = Damage(f"{seed} {kind} {index}")
    rng.intact = intact
    return KINDS[kind][1](rng, folder, bases)


def answer_of(kind: str, index: int, seed: int, folder: Path, bases: Any) -> tuple[str, str]:
    """(outcome, words) of one input."""
    trial = made(kind, index, seed, folder, bases, False)
    if trial.key is not None and (kind, trial.key) not in KNOWN:
        try:
            KNOWN[kind, trial.key] = made(kind, index, seed, folder, bases, True).call()
        except (RecordingError, ValueError) as error:  # options that do not fit
            KNOWN[kind, trial.key] = str(error)
        trial = made(kind, index, seed, folder, bases, False)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            answer = trial.call()
    except Exception as error:
        trace = traceback.format_exc()
        if "MemoryError" in trace or "Unable to allocate" in trace:
            return "MEMORY", trace
        if type(error) not in ALLOWED:
            return type(error).__name__.upper(), trace
        if not any(name in str(error) for name in trial.names):
            return "UNNAMED", trace
        return type(error).__name__, str(error)
    if len(warned) > 20:
        return "FLOOD", f"{len(warned)} warnings, such as {warned[0].message}"
    if trial.key is None:
        return "answer", ""
    same = answer == KNOWN[kind, trial.key]
    if trial.key.endswith(" same") and not same:
        return "OTHER FACTS", ""
    return "same answer" if same else "other answer", ""


def worker(cases: list[tuple[str, int]], seed: int, work: Path, bases: Any, to: int) -> None:
    """Tries cases one by one; says which before each, and the outcome after it."""
    errors = os.open(work / "stderr", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(errors, 2)
    for kind, index in cases:
        os.write(to, json.dumps([kind, index]).encode() + b"\n")
        before, start = resident(), time.perf_counter()
        os.ftruncate(errors, 0)
        outcome, words = answer_of(kind, index, seed, work / "case", bases)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > GROWTH:
            outcome, words = "MEMORY", f"{grown >> 10} MiB more; {words}"
        if os.fstat(errors).st_size > FLOOD:
            outcome, words = "FLOOD", os.pread(errors, 300, 0).decode(errors="replace")
        seconds = time.perf_counter() - start
        os.write(to, json.dumps([kind, index, outcome, words[-3000:], seconds]).encode() + b"\n")


def resident() -> int:
    """KiB of memory of this process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def try_all(
    cases: list[tuple[str, int]], seed: int, work: Path, bases: Any
) -> Iterator[tuple[str, int, str, str, float]]:
    """(kind, index, outcome, words, seconds) of each case, in processes that may end at any."""
    done = 0
    while done < len(cases):
        source, to = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()  # whatever it starts ends with it
            os.close(source)
            try:
                worker(cases[done:], seed, work, bases, to)
            except BaseException:  # a fault of this tool
                traceback.print_exc()
            os._exit(0)
        os.close(to)
        ended = ""
        with os.fdopen(source, "rb", buffering=0) as file:
            lines = LineReader(file)
            while done < len(cases):
                said = lines.next(SECONDS)
                if not said:
                    ended = "SLOW" if said is None else "CRASH"
                    break
                if len(said) > 2:
                    done += 1
                    yield tuple(said)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if ended:
            words = (work / "stderr").read_text(errors="replace")[-2000:]
            yield *cases[done], ended, f"status {status}\n{words}", float(SECONDS)
            done += 1


class LineReader:
    """JSON lines of a pipe: None after too long, an empty list at its end."""

    def __init__(self, file: Any):
        self.file, self.rest = file, b""

    def next(self, seconds: float) -> list | None:
        while b"\n" not in self.rest:
            if not select.select([self.file], [], [], seconds)[0]:
                return None
            more = self.file.read(65536)
            if not more:
                return []
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)


# ------------------------------------------------------------------------------- command line
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, help="default: all")
    parser.add_argument("--index", type=int, help="only this input of the kind")
    options = parser.parse_args()
    kinds = [options.kind] if options.kind else list(KINDS)
    total = sum(KINDS[kind][0] for kind in kinds)
    counts = {kind: math.ceil(options.count * KINDS[kind][0] / total) for kind in kinds}
    cases = [(kind, index) for kind in kinds for index in range(counts[kind])]
    if options.index is not None:
        cases = [(options.kind, options.index)]
    table: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    forbidden = slowest = 0
    kept = Path(tempfile.mkdtemp(prefix="damaged-"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "bases").mkdir()
        bases = make_bases(work / "bases")
        for kind, index, outcome, words, seconds in try_all(cases, options.seed, work, bases):
            table[kind][outcome] += 1
            slowest = max(slowest, seconds)
            if outcome.isupper():
                forbidden += 1
                shutil.copytree(work / "case", kept / f"{kind}-{index}", symlinks=True)
                print(f"\n{outcome}: --seed {options.seed} --kind {kind} --index {index}\n{words}", flush=True)
            elif options.index is not None:
                print(outcome, words)
    frame = pd.DataFrame.from_dict(table, orient="index").fillna(0).astype(int)
    print(frame.assign(all=frame.sum(axis=1)).to_string())
    print(f"{len(cases)} inputs, {forbidden} forbidden (kept in {kept}), slowest {slowest:.1f} s")
    return int(forbidden > 0)


if __name__ == "__main__":
    sys.exit(main())
