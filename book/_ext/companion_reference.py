"""How does the reference show modules? Docstrings as plain text, each name once, with its fields.

Docstrings hold code: strings keep the quotes, dashes and dots that they have.
"""

import ast
import inspect
import re
import textwrap
from typing import Any

from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


def as_literal(match: re.Match[str]) -> str:
    """Code between backticks in docutils' way."""
    code = match[0].strip("`")
    follows = match.string[match.end() : match.end() + 1]
    # What follows at once, as in `Dataset`s, is set apart for docutils only.
    return f"``{code}``\\ " if follows.isalnum() else f"``{code}``"


def is_python(text: str) -> bool:
    """Whether a text, indented or not, can be read as Python."""
    try:
        ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return False
    return True


def fields_of(found: type) -> list[str]:
    """A class's fields that have a comment beside them, as a list: one block, or none."""
    if "__annotations__" not in vars(found):
        return []
    lines = inspect.getsource(found).splitlines()
    fields = filter(None, (re.match(r"    (\w+): [^#]+  # (.+)", line) for line in lines))
    listed = "\n".join(f"- `{name}`: {comment}" for name, comment in (f.groups() for f in fields))
    return [listed] if listed else []


def plain_docstring(
    app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings are plain text: `code` between backticks, and indented blocks as they stand.

    Such a block is shown as Python where it is some. Classes have their fields below, with the
    comments that stand beside them.
    """
    blocks = re.split(r"\n\s*\n", "\n".join(lines))
    if what == "class" and name != "safe_core.Config":  # whose fields are a table of their own
        blocks += fields_of(found)
    shown: list[str] = []
    for block in blocks:
        if block.startswith("    "):
            if not shown or not shown[-1].startswith("    "):
                shown.append(f".. code-block:: {'python' if is_python(block) else 'text'}")
        else:
            block = re.sub(r"``[^`]+``|`[^`]+`", as_literal, block)
        shown.append(block)
    lines[:] = "\n\n".join(shown).splitlines()


def plain_signature(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """A signature that can be read as Python, in which Sphinx then links and shortens the types.

    The fields of a configuration would fill a page here; the page says where they stand.
    """
    if name == "safe_core.Config":
        return "(**fields)", ""
    return (signature.replace("<factory>", "..."), returned) if signature else None


def is_left_out(
    app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any
) -> bool | None:
    """Leaves out fields of named tuples, and what a module or class takes over from elsewhere.

    autodoc leaves out a module's, too, but only once it has read the module where it is made.
    """
    module = app.env.temp_data.get("autodoc:module")
    taken = what == "module" and getattr(found, "__module__", module) != module
    taken |= what == "class" and "." not in getattr(found, "__qualname__", ".")
    field = str(getattr(found, "__doc__", "")).startswith("Alias for field number")
    return True if taken or field else None


class AsTyped(SphinxTransform):
    """Quotes of the reference stay straight, and two dashes two."""

    default_priority = 700  # before Sphinx sets them as a printer would

    def apply(self) -> None:
        if self.env.docname.startswith("book/api"):
            self.document["support_smartquotes"] = False


def setup(app: Sphinx) -> None:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", is_left_out)
    app.add_transform(AsTyped)
