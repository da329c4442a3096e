"""What counts as a change of behaviour? A version for each group of golden values.

The numbers in tests/golden/ say what the code computes. Renaming, moving and rewording change none
of them, so they leave every record as it is. Whoever changes a number on purpose raises the version
of its group here and writes the new numbers with `python tests/golden.py --write`. A run record
holds the versions that it was made by; one of an older version is shown with a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:  # processes that render the sample need no torch
    from safe_core import Config

VERSIONS = {
    "sample": 1,  # recordings of the generated samples, and the files that hold them
    "clips": 1,  # what the model sees of a recording, in training and in testing
    "model": 1,  # logits and optimiser steps of the paper's model, from the shipped weights
    "released": 1,  # the same of the released model
    "peers": 1,  # the same of the other methods' networks, from random weights or the tiny ResNet's
    "training": 1,  # a whole training: order of clips, schedule, choice of the epoch, evaluation
}


def versions_of(config: Config) -> dict[str, int]:
    """The versions that decide a run of this configuration."""
    from safe_core import Peers  # loaded already: `config` is of there

    model = "model" if config.fusion == "paper" else "released"
    if config.model in get_args(Peers):
        model = "peers"
    groups = ["clips", model, "training"]
    if config.origin == "sample":
        groups.insert(0, "sample")
    return {group: VERSIONS[group] for group in groups}


def outdated(record: dict) -> list[str]:
    """The groups of golden values that a record was made by another version of."""
    made_by = record["behaviour"]
    return [group for group, version in made_by.items() if version != VERSIONS.get(group)]
