"""Which sentences describe each class?"""

import difflib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from safe_companion import ROOT
from safe_core import Config

TEMPLATES = {  # the paper's (Sec. 4.2); CLIP's own for other recordings
    "hardvs": "The action of the human is {}",
    "pokerevent": "The content of the playing card is {}",
    "conjunctions": "A photo of a {}",
    "folder": "A photo of a {}",
}


def distinct(names: list[str]) -> list[str]:
    """Names of which those that repeat, ignoring case, get a number.

    ["Whale", "Cat", "whale"] -> ["Whale 1", "Cat", "whale 2"].
    """
    times = Counter(name.casefold() for name in names)
    taken = {name for name, count in times.items() if count == 1}
    result = []
    for name in names:
        if times[name.casefold()] > 1:
            numbered = (f"{name} {i}" for i in itertools.count(1))
            name = next(new for new in numbered if new.casefold() not in taken)
            taken.add(name.casefold())
        result.append(name)
    return result


def prompt_sentences(class_names: list[str], config: Config) -> list[list[str]]:
    """Sentences of each class, in label order: from config.prompt_file, else one from a template.

    The file is JSON in UTF-8: {class name: [sentence, ...]}, or a list of such lists in label
    order. By name, it may hold classes that these data lack, so that one file serves a data set and
    parts of it. The template is config.prompt, else that of config.dataset in TEMPLATES; every {}
    in it becomes the name. With config.distinct_names, class names that repeat are numbered
    (`distinct`), so that no two classes share a sentence. Raises ValueError.
    """
    names = distinct(class_names) if config.distinct_names else class_names
    if config.text_source == "file":  # whose features go by the names
        return [[name] for name in names]
    if config.prompt_file:
        return _sentences_of_file(config.prompt_file, names)
    template = TEMPLATES[config.dataset] if config.prompt is None else config.prompt
    if not _is_text(template):
        raise ValueError(f"prompt={template!r}; expected text whose bytes are UTF-8")
    if "{}" not in template:
        raise ValueError(
            f"prompt={template!r}; expected a sentence with {{}} where the class name belongs, "
            f"such as {TEMPLATES[config.dataset]!r}"
        )
    return [[template.replace("{}", name)] for name in names]


def _sentences_of_file(prompt_file: str, names: list[str]) -> list[list[str]]:
    def error(found: str) -> ValueError:
        return ValueError(
            f"{prompt_file}: found {found}; expected a non-empty list of sentences for each of "
            f"{len(names)} classes, by name or in label order. Correct the file, or unset "
            "prompt_file."
        )

    try:
        file = Path(prompt_file)
        if not file.exists():
            file = ROOT / file  # those of this project, from any folder
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error("text in another encoding than UTF-8") from cause
    except (OSError, ValueError) as cause:
        raise error(f"no file that can be read ({cause})") from cause
    try:
        entries = json.loads(text, object_pairs_hook=_without_repetition)
    except (RecursionError, ValueError) as cause:
        raise error(f"no readable JSON ({cause})") from cause
    if isinstance(entries, dict):
        by_name = entries
        # Of a name that repeats in the file's data set only, the first.
        entries = [by_name.get(name, by_name.get(f"{name} 1")) for name in names]
        if None in entries:
            name = names[entries.index(None)]
            near = difflib.get_close_matches(name, by_name, n=1)
            raise error(f"nothing for class {name!r}" + "".join(f", but {n!r}" for n in near))
    if not isinstance(entries, list):
        raise error(f"{json.dumps(entries):.80}")
    if len(entries) != len(names):
        raise error(f"{len(entries)} entries")
    for label, entry in enumerate(entries):
        if not _is_list_of_sentences(entry):
            raise error(f"{json.dumps(entry):.80} for class {label} ({names[label]})")
    return entries


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    (name, times), *_ = Counter(name for name, _ in pairs).most_common(1) or [("", 0)]
    if times > 1:
        raise ValueError(f"{times} entries for {name!r}")
    return dict(pairs)


def _is_list_of_sentences(entry: Any) -> bool:
    if not isinstance(entry, list) or not entry:
        return False
    return all(isinstance(text, str) and text.strip() and _is_text(text) for text in entry)


def _is_text(text: str) -> bool:
    """Whether it can be written: JSON also allows halves of characters, such as "\\ud800"."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)
