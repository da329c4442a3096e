"""How does CLIP go on learning from pairs of frames and event images? `safe pretrain`.

The paper leaves open what a CLIP would give that was pre-trained on both modalities. Here a tower
goes on from where it stands, by the contrastive loss of `safe_companion.contrast`: on the sample's
pre-training stream, of which no recording is part, or on the training list of paired recordings.
What comes out is a file that `clip_model` (a network of weights/) or `clip_weights` (one of
open_clip) names, and a record beside it.
"""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor
from torch import distributed as dist

import safe_core
from safe_companion import (
    ROOT,
    behaviour,
    datasets,
    facts,
    finished,
    locks,
    logs,
    processes,
    runs,
    sample,
)
from safe_companion.augmentation import Augmentation, draw_augmentation, stack_images
from safe_companion.events import BACKGROUND, event_image
from safe_companion.places import STATE
from safe_companion.prompts import prompt_sentences
from safe_companion.records import commit, machine, other_fields, read_json, today, write_json
from safe_core import Config

# Of a recording of the sample, one frame and the window up to the next.
ONE_FRAME = dataclasses.replace(sample.WORLD, frames=1)
BRANCHES = ("rgb", "event")


# ------------------------------------------------------------------------------- pairs
def render_pair(dataset: str, label: int, index: int, *, seed: int, side: int) -> np.ndarray:
    """A pair of the sample's pre-training stream: uint8 [2, side, side, 3].

    An RGB frame, and the image of the events until the next would be taken. Drawn as recordings
    are, from a seed stream that none of them uses.
    """
    stream = sample.stream(dataset, "pairs", label, index, seed=seed)
    film = sample.simulate(dataset, label, stream, world=ONE_FRAME)
    size = (sample.WORLD.width, sample.WORLD.height)
    events = event_image(film["events"], size, "authors").transpose(1, 2, 0)
    images = [Image.fromarray(film["frames"][0]), Image.fromarray(events)]
    small = stack_images(images, Augmentation(), side=side, background=0, recolour=False)
    return small.permute(0, 2, 3, 1).numpy()


class Stream(torch.utils.data.Dataset[dict[str, Any]]):
    """Pairs of the sample's pre-training stream, as clips of one frame, augmented as clips are.

    per_class of each class that the training list has. They are rendered once, and kept among the
    finished clips, half as large again as the model sees them.
    """

    def __init__(self, config: Config, per_class: int):
        self.config = config
        self.class_names = sample.CLASSES[config.dataset]
        self.labels = torch.tensor(sample.trained_labels(config.dataset)).repeat(per_class)
        self.names = [f"pair {i}" for i in range(len(self.labels))]
        self.epoch = 0
        side = 3 * config.image_size // 2
        asked = [config.dataset, per_class, config.seed, side, behaviour.VERSIONS["sample"]]
        mark = hashlib.sha256(json.dumps(["pairs", *asked]).encode()).hexdigest()
        shape = (len(self), 2, side, side, 3)
        render = functools.partial(render_pair, config.dataset, seed=config.seed, side=side)
        pairs = finished.find_or_make(
            facts.cache_folder() / "clips" / f"{mark[:32]}.npy",
            shape,
            lambda i: render(int(self.labels[i]), i),
        )
        if pairs is None:
            gib = np.prod(shape) / 2**30
            raise OSError(
                f"{facts.cache_folder()}: found no place for {len(self):,} pairs of {gib:.1f} GiB; "
                f"expected at most {finished.MOST_GIB} GiB, and a disk that has them. Ask for fewer"
            )
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose augmentation the next clips draw."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.config.seed, self.epoch, index])
        label = int(self.labels[index])
        look = draw_augmentation(rng, self.class_names[label])
        clip: dict[str, Any] = {"label": label, "name": self.names[index]}
        for branch in self.config.branches:
            is_rgb = branch == "rgb"
            clip[branch] = stack_images(
                [Image.fromarray(self.pairs[index, BRANCHES.index(branch)])],
                look,
                side=self.config.image_size,
                background=0 if is_rgb else BACKGROUND["authors"],
                recolour=is_rgb,
            )
        return clip


# ------------------------------------------------------------------------------- training
def configure(preset: str | None = None, **fields: Any) -> Config:
    """The configuration of a pre-training: of CLIP itself, with both of its towers.

    The last epoch counts: no recording is held out to choose one.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    defaults = {"freeze_text": False, "val_fraction": 0.0}
    fixed = {"model": "clip", "classifier": "text"}
    return safe_core.configure(preset, **defaults | given | fixed)


def pretrain(
    config: Config,
    out: Path,
    *,
    pairs_per_class: int = 250,
    out_dir: Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Goes on training CLIP, and writes it to `out` (.safetensors), the record beside it (.json).

    modality="event" or "rgb": from these images and their sentences alone. Works in one process or
    in several, and an interrupted one goes on, as `runs.train` does; the state stays in out_dir.
    Returns the record; an empty dict in all processes but the first. Raises as `runs.train` does,
    and FileExistsError if `out` is there, unless this very training has made it, or goes on.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: found the suffix {out.suffix!r}; expected .safetensors")
    if (config.model, config.classifier) != ("clip", "text"):
        raise ValueError(f"model={config.model!r} is not pre-trained; see pretraining.configure")
    if config.accumulate != 1:
        raise ValueError(
            f"found accumulate={config.accumulate}; expected 1: the loss compares all clips of a "
            "batch, so one of its parts has another. Use checkpoint_vision, or more processes."
        )
    _, rank, size = processes.join()
    folder = out_dir or ROOT / "runs" / "pretraining" / out.stem
    lock = locks.take(folder) if rank == 0 else None
    try:
        if size > 1:
            dist.barrier()  # all find what the last holder of the lock has left
        return pretrain_alone(config, out, folder, pairs_per_class, resume=resume)
    finally:
        if lock:
            lock.release()


def pretrain_alone(
    config: Config, out: Path, folder: Path, pairs_per_class: int, *, resume: bool
) -> dict[str, Any]:
    """`pretrain` with its state in a folder where no other is at work."""
    splits = runs.open_in_all_processes(config)
    of_stream = config.data_root is None
    trained = sample.trained_labels(config.dataset) if of_stream else []
    pairs = pairs_per_class * len(trained) if of_stream else len(splits.train)
    if not (resume and (folder / STATE).exists()):
        check_place(out, config, splits.fingerprint, pairs)
    train: Any = Stream(config, pairs_per_class) if of_stream else splits.train
    sentences = prompt_sentences(splits.class_names, config)
    test = splits.test
    if of_stream:  # whose recordings have both
        test = datasets.open_dataset(dataclasses.replace(config, modality="both")).test
    before = zero_shot(safe_core.build(config, sentences), test)
    told = {k: v for k, v in dataclasses.asdict(config).items() if k != "workers"}
    identity = told | {"data": splits.fingerprint, "pairs": pairs}
    result = safe_core.fit(
        config,
        train,
        splits.val,
        splits.test,
        sentences=sentences,
        about={"class_names": splits.class_names, "identity": identity},
        out_dir=folder,
        resume=resume,
        on_step=logs.Log(config, folder, resume=resume),
    )
    model, _ = safe_core.load_model(folder / "best.safetensors")
    after = zero_shot(model, test)
    if safe_core.here()[1] > 0:
        return {}
    root = {"data_root": config.data_root and Path(config.data_root).name}  # no path of a machine
    skipped = [(name, reason.replace(f"{splits.root}/", "")) for name, reason in splits.skipped]
    record = {
        "made_by": "safe pretrain",
        "config": dataclasses.asdict(config) | root,
        "data": splits.facts | {"train": 0 if of_stream else pairs, "skipped": skipped},
        "pairs": pairs if of_stream else 0,
        "steps": config.steps_for(pairs),
        "history": result["history"],
        "zero_shot": {"before": before, "after": after},
        "chance": 100 / len(sentences),
        "minutes": sum(row["seconds"] for row in result["history"]) / 60,  # of all sessions
        "behaviour": behaviour.versions_of(config),
        "commit": commit(),
        "date": today(),
        **machine(),
    }
    write_tower(model, out, record)
    return record


def check_place(out: Path, config: Config, fingerprint: str, pairs: int) -> None:
    """FileExistsError if a tower, or its description, is there that another training has made."""
    about = out.with_suffix(".json")
    if not out.exists() and not about.exists():
        return
    try:
        record = read_json(about)["record"]
        there = (record["data"]["fingerprint"], record["pairs"] + record["data"]["train"])
        if there == (fingerprint, pairs) and not other_fields(record, config):
            return
    except (OSError, ValueError, KeyError, TypeError):  # damaged, or of another making
        pass
    raise FileExistsError(
        f"{out}: found the tower of something else; expected none, or that of this very training. "
        "Choose another name, or move it away."
    )


def zero_shot(model: Any, test: Any) -> dict[str, float]:
    """Top-1 in percent over the clips of `test`, of each modality that they have and of all."""
    device, _, _ = safe_core.here()
    asked, config = model.config, test.config
    found = {}
    for modality in ["both", *BRANCHES] if config.modality == "both" else [config.modality]:
        model.config = dataclasses.replace(asked, modality=modality)
        log_probs = safe_core.predict(model.to(device), test, config)
        found[modality] = safe_core.accuracy(log_probs, test.labels)["top1"]
    model.config = asked
    return found


# ------------------------------------------------------------------------------- the tower
def clip_state(model: Any) -> dict[str, Tensor]:
    """The whole CLIP of a model, as open_clip names its tensors, in half precision."""
    names = {"vision.projection": "visual.proj", "text.projection": "text_projection"}
    prefixes = {"vision.net.": "visual.", "text.": ""}
    state = {}
    for name, tensor in model.state_dict().items():
        stored = names.get(name)
        for prefix, other in prefixes.items():
            if stored is None and name.startswith(prefix):
                stored = other + name.removeprefix(prefix)
        state[stored or name] = tensor.detach().cpu().half().contiguous()
    return state


def write_tower(model: Any, out: Path, record: dict[str, Any]) -> None:
    """Writes a CLIP and its record, as `clip_model` or `clip_weights` can name it.

    Of a network of weights/, only the tokens that sentences have had are stored.
    """
    name = model.config.clip_model
    about: dict[str, Any] = {"record": record}
    state = clip_state(model)
    if name in safe_core.NETWORKS:
        source = ROOT / name
        about["build"] = json.loads(source.read_text())["build"]
        rows = model.text.get_buffer("tokens").unique().cpu()
        stored = safetensors.torch.load_file(source.with_suffix(".safetensors"))
        rows = torch.cat([rows.int(), stored["token_ids"]]).unique()
        state["token_embedding.weight"] = state["token_embedding.weight"][rows.long()]
        state["token_ids"] = rows
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out.with_suffix(".json"), about)
    content = safetensors.torch.save(state)
    safe_core.write_atomically(out, lambda partial: partial.write_bytes(content))


def run(config: Config, out: Path, **how: Any) -> None:
    """The pre-training of the command line, in one process or under torchrun."""
    record = pretrain(config, out, **how)
    if record:
        scores = record["zero_shot"]
        print(f"{record['data']['origin']} data: {config.dataset}; zero-shot top-1 [%]")
        for modality, before in scores["before"].items():
            print(f"  {modality}: {before:.1f}, then {scores['after'][modality]:.1f}")
        print(f"in {out}")
    if dist.is_initialized():
        dist.destroy_process_group()
