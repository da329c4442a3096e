"""How does a configuration look on a command line? Fields as words, and the options they are."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from safe_core import CHOICES, FIELDS, PRESETS

# How files are read that do not say everything about themselves.
READING = ("sensor_size", "time_unit", "columns", "repair_events")
ABOUT = {
    "sensor_size": "such as 346x260, of recordings that do not say it",
    "time_unit": "of files that do not say it; auto: microseconds",
    "columns": 'order in text files without a header, such as "t,x,y,p"',
    "repair_events": "sort what jumps back in time, drop what is outside the sensor",
}


def option(field: str) -> str:
    """The option of a field: "--use-text" for use_text."""
    return "--" + field.replace("_", "-")


def _kind(annotation: Any) -> type:
    """int of a field that holds an integer or None; str of one that holds a text or None."""
    first = get_args(annotation)[0]
    return (get_args(first) or (first,))[0]


def words(fields: Mapping[str, Any]) -> list[str]:
    """Configuration fields as words of a command line; a field of None has none."""
    found = []
    for field, value in fields.items():
        if isinstance(value, bool):
            found.append(option(field) if value else option(f"no_{field}"))
        elif value is not None:
            found += [option(field), str(value)]
    return found


def add_options(
    parser: argparse.ArgumentParser,
    names: Sequence[str] = tuple(FIELDS),
    *,
    default: str | None = None,
) -> None:
    """Options for fields of the configuration; those that are not given are None.

    default: what holds for them then, in words; None: the presets, whose values are shown.
    """
    for name in names:
        field = FIELDS[name]
        in_sample = PRESETS["sample"].get(name, field.default)
        of_presets = f"paper: {field.default}, sample: {in_sample}"
        parts = [ABOUT.get(name), of_presets if default is None else f"default: {default}"]
        text = "; ".join(part for part in parts if part)
        about: dict[str, Any] = {"default": None, "help": text.replace("%", "%%")}
        if isinstance(field.default, bool):
            about["action"] = argparse.BooleanOptionalAction
        else:
            about["type"] = _kind(field.type) if field.default is None else type(field.default)
            about["choices"] = CHOICES.get(name)
        parser.add_argument(option(name), **about)
