"""Which models can be built? Importing this module tells safe_core of all that are not its own."""

from collections.abc import Callable
from typing import Any

import safe_core
from safe_companion import contrast, faster, peers, released, texts, towers, variants

__all__ = ["contrast", "peers", "released", "texts", "towers", "variants"]


def _faster(make: Callable) -> Callable:
    def build(config: safe_core.Config, sentences: list[list[str]]) -> Any:
        return faster.attention_of(make(config, sentences))

    return build


for name, make in list(safe_core.MODELS.items()):
    safe_core.MODELS[name] = _faster(make)
