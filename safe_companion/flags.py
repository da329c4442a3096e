"""How does a configuration look on a command line? Fields as words, and the options they are."""

import argparse
from collections.abc import Mapping
from typing import Any

from safe_core import CHOICES, FIELDS, PRESETS


def option(field: str) -> str:
    """The option of a field: "--use-text" for use_text."""
    return "--" + field.replace("_", "-")


def words(fields: Mapping[str, Any]) -> list[str]:
    """Configuration fields as words of a command line; a field of None has none."""
    found = []
    for field, value in fields.items():
        if isinstance(value, bool):
            found.append(option(field) if value else option(f"no_{field}"))
        elif value is not None:
            found += [option(field), str(value)]
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """An option for every field of the configuration; those that are not given are None."""
    for name, field in FIELDS.items():
        in_sample = PRESETS["sample"].get(name, field.default)
        about: dict[str, Any] = {
            "default": None,
            "help": f"paper: {field.default}, sample: {in_sample}".replace("%", "%%"),
        }
        if isinstance(field.default, bool):
            about["action"] = argparse.BooleanOptionalAction
        else:
            about["type"] = str if field.default is None else type(field.default)
            about["choices"] = CHOICES.get(name)
        parser.add_argument(option(name), **about)
