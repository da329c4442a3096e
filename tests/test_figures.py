"""The book's own figures: the committed files are what book/figures.py draws, and they are true."""

import ast
import importlib
import re
import sys

import pytest
from conftest import ROOT
from PIL import Image

import safe_core
from safe_companion import paper

sys.path.insert(0, str(ROOT / "book"))
figures = importlib.import_module("figures")
animations, models, picture, recordings, teaching = (
    importlib.import_module(f"drawing.{name}")
    for name in ("animations", "models", "picture", "recordings", "teaching")
)

VECTOR = [(name, variant) for name in figures.DRAWINGS for variant in ("light", "dark")]


def committed(name, variant):
    return (figures.FOLDER / f"{name}-{variant}.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name,variant", VECTOR)
def test_the_committed_diagram_is_what_the_code_draws(name, variant):
    drawn = figures.DRAWINGS[name](figures.theme(variant)).svg()
    assert drawn == committed(name, variant), f"run `python book/figures.py {name}`"


@pytest.mark.parametrize("name,variant", VECTOR)
def test_a_diagram_needs_no_other_file_and_no_host(name, variant):
    svg = committed(name, variant)
    inside = {"#", "data:image/png;base64,"}
    assert set(re.findall(r'href="(#|data:image/png;base64,|.{0,9})', svg)) <= inside
    assert set(re.findall(r"\w+://[^\"\s]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert "<text" not in svg and "<script" not in svg and "url(" not in svg


def test_the_switches_beside_the_diagram_are_those_of_table_4():
    fields_of = paper.claims().fields
    full = fields_of["t4-full"]
    page = (ROOT / "book" / "safe.md").read_text(encoding="utf-8")
    switches = re.findall(r"^\| without (\w+) \| `(\w+)=(.+?)` \|", page, re.MULTILINE)
    assert {f"t4-no-{row.lower()}" for row, *_ in switches} == of_table_4()
    for row, field, value in switches:
        default = safe_core.FIELDS[field].default
        fields = fields_of[f"t4-no-{row.lower()}"]
        assert fields.get(field, default) == ast.literal_eval(value) != full.get(field, default)


def of_table_4():
    """The claims of Table 4 that switch something off."""
    return {row for row in paper.claims().index if row.startswith("t4-no-")}


def test_a_tag_marks_each_switch_and_a_number_each_difference(monkeypatch):
    tags = []
    markers = []
    monkeypatch.setattr(models.Diagram, "tag", lambda self, x, y, string: tags.append(string))
    monkeypatch.setattr(models.Diagram, "marker", lambda self, x, y, index: markers.append(index))
    figures.architecture_paper(figures.theme("light"))
    figures.architecture_released(figures.theme("light"))
    assert {f"t4-no-{tag.removeprefix('w/o ').lower()}" for tag in tags} == of_table_4()
    # Each in the drawing, and in its list.
    assert all(markers.count(i + 1) >= 2 for i in range(len(models.RELEASED_DIFFERENCES)))


def test_letters_that_do_not_fit_are_an_error():
    drawn = picture.Picture(picture.theme("light"), 100, "")
    with pytest.raises(ValueError, match="do not fit"):
        drawn.text(700, 50, "beyond the right edge")
    with pytest.raises(ValueError, match="do not fit"):
        drawn.text(360, 50, "too small", 9)
    with pytest.raises(ValueError, match="do not fit"):
        drawn.text(360, 50, "wider than its box", room=40)


def test_a_pixel_sends_an_event_for_each_threshold_crossed():
    there_and_back = [0.0, 0.5, 1.1, 1.1, 0.5, 0.0]
    assert teaching.threshold_events(there_and_back, 0.5) == [(1, 1), (2, 1), (4, -1), (5, -1)]
    assert teaching.threshold_events([0.0, 1.0], 0.5) == [(1, 1), (1, 1)]
    assert teaching.threshold_events([0.3, 0.3, 0.3], 0.5) == []


@pytest.mark.parametrize("name,frames", [("hardvs", 27), ("pokerevent", 27), ("events_cloud", 32)])
def test_an_animation_moves_is_small_and_has_a_still(name, frames):
    file = figures.FOLDER / f"{name}.webp"
    assert file.stat().st_size < 600_000
    still = figures.FOLDER / f"{name}-still.webp"
    with Image.open(file) as moving, Image.open(still) as image:
        assert moving.n_frames == frames and moving.info["loop"] == 0
        assert getattr(image, "n_frames", 1) == 1 and image.size == moving.size


def test_every_figure_has_its_alternative_text():
    files = figures.FOLDER.iterdir()
    stems = {re.sub(r"-(light|dark|still)$", "", file.stem) for file in files}
    assert stems == set(figures.ALT) == set(figures.DRAWINGS) | set(figures.ANIMATIONS)
    assert all(len(text) > 100 for text in figures.ALT.values())


def test_the_recording_shown_is_the_first_easy_one_of_the_sample():
    events, frames, frame_t, class_name, name = recordings.first_easy_recording("pokerevent")
    assert (class_name, name, len(events)) == ("A", "sample-test-0000-002", 13_841)
    assert len(frames) == len(frame_t) == animations.MOMENTS // 3
    assert (events["t"][1:] >= events["t"][:-1]).all()
