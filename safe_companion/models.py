"""Which models can be built? Importing this module tells safe_core of all that are not its own."""

from safe_companion import peers, released, texts, towers

__all__ = ["peers", "released", "texts", "towers"]
