"""The glossary: what a page explains, and that every abbreviation of the book has an entry."""

import importlib
import re
import sys

import pytest
from conftest import ROOT
from docutils import nodes

sys.path.insert(0, str(ROOT / "book" / "_ext"))
glossary = importlib.import_module("companion_glossary")
printing = importlib.import_module("companion_print")
search = importlib.import_module("companion_search")

TEXT = """
```{glossary}
:sorted:

AFE
adaptive event window
  Windows by number, see `afe`. They are short where much happens. See {doc}`representations`.

event
  The report of one pixel.

event image
  Events drawn as a *picture*.
```
"""


def explained(*children):
    page = nodes.section("", *children)
    glossary.explain(page, glossary.read(TEXT))
    return [(node.astext(), node["name"]) for node in page.findall(glossary.term_link)]


def paragraph(text):
    return nodes.paragraph("", "", nodes.Text(text))


def test_an_entry_has_several_names_and_a_preview_of_plain_text():
    known = glossary.read(TEXT)
    assert set(known) == {"AFE", "adaptive event window", "event", "event image"}
    assert known["AFE"].preview == "Windows by number, see afe. They are short where much happens."
    assert known["event image"].preview == "Events drawn as a picture."


def test_the_first_use_of_an_entry_is_explained_by_its_longest_name():
    found = explained(
        paragraph("Event images, then AFE."), paragraph("AFE: an event, an event image.")
    )
    assert found == [("Event images", "event image"), ("AFE", "AFE"), ("event", "event")]


def test_two_names_of_one_entry_are_explained_once():
    assert explained(paragraph("AFE is adaptive event windows.")) == [("AFE", "AFE")]


def test_text_stays_as_it_reads():
    page = nodes.section("", paragraph("Before AFE after, events."))
    glossary.explain(page, glossary.read(TEXT))
    assert page.astext() == "Before AFE after, events."


@pytest.mark.parametrize("text", ["SAFE", "safe-AFE", "AFEs", "preevent", "event-based", "afe"])
def test_parts_of_other_words_are_not_terms(text):
    assert explained(paragraph(text)) == []


def test_headings_code_tables_and_links_stay_as_they_are():
    link = nodes.reference("", "AFE", refuri="x")
    entry = nodes.entry("", paragraph("AFE"))
    apart = [
        nodes.title("", "AFE"),
        nodes.paragraph("", "", nodes.literal("", "AFE")),
        nodes.literal_block("AFE", "AFE"),
        nodes.paragraph("", "", link),
        nodes.table("", nodes.tgroup("", nodes.tbody("", nodes.row("", entry)))),
    ]
    assert explained(*apart) == []
    assert explained(*apart, paragraph("AFE")) == [("AFE", "AFE")]


def test_a_page_without_a_glossary_is_an_error():
    with pytest.raises(ValueError, match="found no glossary"):
        glossary.read("# Glossary")


# Names of products, data sets, works, licences and units, and words that need no explanation.
NAMES = """
SAFE ON OFF RGB GPU GPUs CPU CPUs AMD EPYC API PNG JPEG JSON MATLAB ROS PyTorch RTX NumPy OpenAI
GB GiB MB UTC MIT CC BY AHU DV DVXplorer DVS128 DAVIS DAVIS240 ATIS EVT ECF DSEC MVSEC MNIST
ESIM PAF SeAct LaCLIP MViT MViTv2 TSM ESTF TF32 TFLOP GFLOP
""".split()


def test_every_abbreviation_of_the_prose_has_an_entry():
    known = {*glossary.entries(), *NAMES}
    words = {word for name in known for word in re.findall(r"[\w]+", name)}
    lacking = {}
    for page in sorted((ROOT / "book").glob("*.md")):
        text = page.read_text()
        text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        text = re.sub(
            r"\$\$.*?\$\$|\$[^$]*\$|\{[\w:]+\}`[^`]*`|`[^`]*`|\]\([^)]*\)",
            " ",
            text,
            flags=re.DOTALL,
        )
        text = re.sub(r"<[^>]*>|https?://\S+", " ", text)
        found = set(re.findall(r"(?<![\w/.])[A-Z][a-z]?[A-Z][A-Za-z0-9]*\b", text)) - words
        if found:
            lacking[page.name] = sorted(found)
    assert lacking == {}


# ------------------------------------------------------------------------------- search, print
def test_short_words_are_not_stemmed_and_others_are():
    english = search.English({})
    assert [english.stem(word) for word in ("AFE", "DVS", "SCI")] == ["afe", "dvs", "sci"]
    assert english.stem("windows") == "window"
    assert f"word.length < {search.SHORT}" in english.js_stemmer_code


def test_links_ids_and_pictures_of_a_page_fit_the_one_page():
    article = (
        '<h1 id="top">A</h1> <a href="#top">t</a> <a href="../book/b.html#x">b</a> '
        '<a href="../notebooks/n.html">n</a> <img src="../_images/i.png"> '
        '<a href="https://example.org/#q">e</a> <a href="other.csv">f</a>'
    )
    assert printing.moved(article, "book/a", {"book/a", "book/b"}) == (
        '<h1 id="book-a--top">A</h1> <a href="#book-a--top">t</a> <a href="#book-b--x">b</a> '
        '<a href="notebooks/n.html">n</a> <img src="_images/i.png"> '
        '<a href="https://example.org/#q">e</a> <a href="book/other.csv">f</a>'
    )


def test_the_one_page_holds_all_articles_in_order_and_can_be_reached(tmp_path):
    for name in ("a", "b"):
        body = f'<nav>x</nav><article class="bd-article"><p id="p">{name}</p></article>'
        (tmp_path / f"{name}.html").write_text(
            f"<html><head><title>{name}</title></head><body>{body}"
        )
    text = printing.one_page(tmp_path, ["b", "a"], "Whole")
    assert "<title>Whole</title>" in text and "<nav>" not in text
    assert text.index('id="b--p"') < text.index('id="a--p"') and 'id="a"' in text
    (tmp_path / "c.html").write_text("<html></html>")
    with pytest.raises(ValueError, match="c.html: found no <article"):
        printing.one_page(tmp_path, ["c"], "Whole")
