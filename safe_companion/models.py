"""Which models can be built? Importing this module tells safe_core of all that are not its own."""

from safe_companion import released, texts, towers, variants

__all__ = ["released", "texts", "towers", "variants"]
