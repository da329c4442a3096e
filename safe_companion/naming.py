"""Which classes can a model be asked about? Those of its training; if it reads names, any.

A model with classifier="text" scores whatever it is given the names of. Its text tower encodes the
sentences of new names; a frozen tower is not kept in a checkpoint, so CLIP's is loaded for them.
"""

from pathlib import Path
from typing import Any

import safe_core
from safe_companion import prompts
from safe_companion.lists import read_lines
from safe_core import Config


def read_names(file: Path) -> list[str]:
    """Class names by label, one on each line of a file in UTF-8; blank lines are none."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; expected a class name on each line")
    names = [line for line in read_lines(file) if line]
    if not names:
        raise ValueError(f"{file}: found no class name; expected one on each line. Fill the file.")
    return names


def load_model(checkpoint: str | Path, names: list[str] | None = None) -> tuple[Any, dict]:
    """safe_core.load_model; with `names` the model answers with these classes, as in `renamed`."""
    model, about = safe_core.load_model(checkpoint)
    if names is None or names == about["class_names"]:
        return model, about
    model = renamed(model, names)
    return model, model.about


def renamed(model: Any, names: list[str]) -> Any:
    """A loaded model for other classes, in evaluation mode; its weights are the same.

    ValueError if it reads no names, or knows nothing of new ones; OSError if CLIP's text tower,
    which it was trained with, cannot be had.
    """
    config = Config(**model.about["config"])  # with pre-trained towers, if it had them
    known = model.about["class_names"]
    if config.classifier != "text":
        raise ValueError(
            f"found classifier={config.classifier!r}, which answers with the {len(known)} classes "
            "of its training; expected 'text', which reads the names of others. Leave them out "
            "(--classes), or train with classifier='text'."
        )
    if config.text_source in ("random", "learned"):
        raise ValueError(
            f"found text_source={config.text_source!r}, which has no vector of a name that was not "
            "in its training; expected 'clip' or 'file'. Leave other names out (--classes)."
        )
    if config.text_source == "clip" and model.text is None and not config.pretrained:
        raise ValueError(
            "found a frozen text tower of random weights, which no checkpoint keeps; expected a "
            "pre-trained one, or one that was trained. Leave other names out (--classes)."
        )
    sentences = prompts.prompt_sentences(names, config)
    made = safe_core.build(config, sentences)
    tensors = {k: v for k, v in model.state_dict().items() if k != "text_features"}
    lacking, strange = made.load_state_dict(tensors, strict=False)
    if strange or set(lacking) - {"text_features"}:
        raise ValueError(f"found weights that do not fit other names: {lacking} {strange}")
    made.config = model.config
    new = [name for name in names if name not in known]
    made.about = model.about | {"class_names": names, "sentences": sentences, "new_names": new}
    return made.eval()


def labels_of(names: list[str], known: list[str]) -> list[int]:
    """The label of each class name among a model's `known` ones; ValueError if they differ."""
    if names == known:
        return list(range(len(names)))
    strange = [name for name in names if name not in known]
    lacking = [name for name in known if name not in names]
    if strange or lacking or len(set(known)) < len(known) or len(names) != len(known):
        only = {"only the data have": strange, "only the model knows": lacking}
        listed = [
            f"{who} {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}"
            for who, found in only.items()
            if found
        ]
        found = "; ".join(listed) or "names that repeat, in another order"
        raise ValueError(
            f"the data have {len(names)} classes, the model {len(known)}, and they are not the "
            f"same: {found}. Give data of the model's classes (--data-root), or all names "
            "(--classes) to a model that reads them."
        )
    return [known.index(name) for name in names]
