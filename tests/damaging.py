"""Which inputs are whole, and how does damage come to them? For tests/damage.py."""

import contextlib
import dataclasses
import io
import json
import math
import random
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import recipes
import torch
from PIL import Image
from tiny import small

import safe_core
from safe_companion import packs, prediction
from safe_companion.readers import READERS

FILES = Path(__file__).resolve().parent / "files"
NUMBERS = [0, 1, 2, 3, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
TEXTS = ["", " ", "a", "0", "nan", "<b>&amp;</b>", "$x$", "a\nb", "a\0b", "{}", "{0} {}", "%s", "é"]
TEXTS += ["/", "../..", "~nobody", "x" * 10_000, "\ud800", "\udcff {}", "🂡", "1e999", "-1", "true"]
ODD: list[Any] = [None, True, False, -1, 0.5, -0.0, 1e-300, 1e308, math.nan, math.inf, -math.inf]
ODD += [*NUMBERS, 10**400, *TEXTS, [], [1], ["a"], {}, {"a": 1}, [[]]]
SMALL = dict(frames=2, image_size=32, workers=0, val_fraction=0.5, pretrained=False)


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


def bomb(rng: Damage) -> bytes:
    """A PNG whose checksums are right and whose header says anything."""
    kinds = [rng.choice([1, 4, 8, 16]), rng.choice([0, 2, 3, 4, 6]), 0, 0, rng.choice([0, 1])]
    sides = [rng.choice([0, 1, 24, 9000, 20_000, 65535, 2**31 - 1]) for _ in "wh"]
    header = b"IHDR" + b"".join(side.to_bytes(4, "big") for side in sides) + bytes(kinds)
    parts = [header, b"IDAT" + zlib.compress(bytes(rng.choice([0, 2000, 1 << 20]))), b"IEND"]
    chunks = [(len(p) - 4).to_bytes(4, "big") + p + zlib.crc32(p).to_bytes(4, "big") for p in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# ------------------------------------------------------------------------------- whole inputs
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
    (folder / "a.pack").write_bytes(packs.pack(folder / "a.aedat4"))
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
    prediction.evaluate(folder / "best.safetensors", out_dir=folder / "evaluation")
    found["evaluation"] = [folder / "evaluation"]
    return found
