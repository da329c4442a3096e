"""Figures as a reader meets them: readable on a phone, and no lamps in the dark.

The page has the book's own look and script without the theme, so that nothing has to be built; the
built book is opened in test_site.py. Where there is no browser the tests are skipped, as there.
"""

import io

import pytest
from conftest import ROOT
from PIL import Image
from test_play_page import HEAD, LOOKS, browser  # noqa: F401
from test_site import DESK, PHONE

WIDTHS = {"wide": 800, "small": 240}  # of pictures, in their own pixels
CELL = """<p>before</p>
<div class="cell"><div class="cell_output"><img alt="w" src="wide.png"></div></div>
<div class="cell"><div class="cell_output"><img alt="s" src="small.png"></div></div>
<figure><a href="wide.png"><img alt="w" src="wide.png" style="width: 100%"></a></figure>
<script defer src="../_static/companion.js"></script>"""
BOXES = """() => {
  const after = box => getComputedStyle(box, '::after');
  return [...document.querySelectorAll('img')].map(image => {
    const box = image.closest('.wide-figure');
    return {
      shown: Math.round(image.getBoundingClientRect().width),
      scrolls: box !== null && box.scrollWidth > box.clientWidth,
      inside: box === null || box.getBoundingClientRect().right <= innerWidth,
      shadow: box !== null && after(box).content !== 'none' && after(box).visibility === 'visible',
      keyboard: box === null || box.tabIndex === 0,
    };
  });
}"""


@pytest.fixture(params=LOOKS)
def window(request, browser, tmp_path):  # noqa: F811
    """A page with a wide figure, a small one and a wide still with a link, as wide as a phone."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_static").symlink_to(ROOT / "book" / "_static")
    for name, width in WIDTHS.items():
        picture = io.BytesIO()
        Image.new("RGB", (width, width // 2), "white").save(picture, "PNG")
        (tmp_path / "book" / f"{name}.png").write_bytes(picture.getvalue())
    look = f"* {{ box-sizing: border-box }} {LOOKS[request.param]}"  # as the theme has it
    page = HEAD.format(theme=request.param, look=look, part=CELL)
    (tmp_path / "book" / "page.html").write_text(page)
    window = browser.new_context(viewport=PHONE).new_page()
    window.goto((tmp_path / "book" / "page.html").as_uri(), wait_until="load")
    yield window
    window.context.close()


def test_a_wide_figure_keeps_its_letters_on_a_phone_and_scrolls_alone(window):
    wide, small, still = window.evaluate(BOXES)
    for figure in (wide, still):
        assert figure["shown"] >= 0.7 * WIDTHS["wide"]
        assert figure["scrolls"] and figure["inside"] and figure["shadow"] and figure["keyboard"]
    assert small["shown"] <= WIDTHS["small"] + 20 and not small["scrolls"]
    assert window.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_shadow_at_the_edge_of_a_figure_goes_where_it_ends(window):
    window.evaluate("document.querySelector('.wide-figure').scrollLeft = 9999")
    window.wait_for_selector(".wide-figure.at-end")
    wide, _, still = window.evaluate(BOXES)
    assert not wide["shadow"] and still["shadow"]


def test_on_a_desk_and_on_paper_a_figure_is_as_wide_as_the_page_lets_it_be(window):
    window.set_viewport_size(DESK)
    assert not any(figure["scrolls"] or figure["shadow"] for figure in window.evaluate(BOXES))
    window.emulate_media(media="print")
    window.set_viewport_size({"width": 500, "height": 900})
    assert max(figure["shown"] for figure in window.evaluate(BOXES)) <= 500


def test_in_the_dark_a_figure_has_a_ground_of_its_own_that_is_not_glaring(window):
    looks = """all => all.map(image => {
      const {filter, backgroundColor} = getComputedStyle(image);
      return [filter, backgroundColor];
    })"""
    found = window.locator("img").evaluate_all(looks)
    is_dark = window.evaluate("document.documentElement.dataset.theme") == "dark"
    expected = (
        ["brightness(0.88)", "rgb(255, 255, 255)"] if is_dark else ["none", "rgba(0, 0, 0, 0)"]
    )
    assert found == [expected] * 3
