"""The house: what may import what, and how long a file may grow."""

import ast
import re

from conftest import ROOT


def test_the_core_imports_no_other_module_of_ours_and_stays_slim():
    source = (ROOT / "safe_core.py").read_text()
    lines = source.splitlines()
    assert len(lines) <= 720 and max(map(len, lines)) <= 100
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not any("safe_" in ast.unparse(node) for node in imports)


def test_nothing_of_ours_lies_at_the_top_but_the_paper_in_one_file():
    assert [file.name for file in ROOT.glob("*.py")] == ["safe_core.py"]


def test_no_room_is_larger_than_one_sitting_and_no_line_than_a_page():
    for file in (ROOT / "safe_companion").rglob("*.py"):
        lines = file.read_text().splitlines()
        assert len(lines) <= 360, file
        assert max(map(len, lines)) <= 100, file


def test_code_in_a_rooms_docstring_is_indented_as_the_reference_shows_it():
    code = re.compile(r"[\w.]+(, \w+)* = |[\w.]+\(.*\)|\S.*  # ")
    for file in (ROOT / "safe_core.py", *(ROOT / "safe_companion").glob("*.py")):
        for line in ast.get_docstring(ast.parse(file.read_text())).splitlines():
            assert not code.match(line), f"{file}: {line}"


def test_every_room_says_which_question_it_answers():
    for file in (ROOT / "safe_companion").glob("*.py"):
        first = ast.get_docstring(ast.parse(file.read_text())).splitlines()[0]
        assert "?" in first or file.stem.startswith("__"), f"{file}: {first}"
