"""The book as a reader meets it: built, served on this machine, and opened in a browser.

    python tests/test_site.py FOLDER [PAGE ...]    screenshots: desktop and phone, light and dark

The browser is the system's Chromium, driven by the Python package playwright. Where one of them is
missing the tests that need it are skipped; with CI_REQUIRES_BROWSER=1 in the environment they fail
instead.
"""

import argparse
import functools
import importlib
import inspect
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from safe_companion import __main__, paper, records, released, studies, wording
from safe_companion.datasets import TITLES
from safe_core import FIELDS, configure

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = [TOC["root"], *[page["file"] for of in CHAPTERS for page in (of, *of.get("sections", ()))]]
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def build() -> str:
    """What `make book` runs; returns its output."""
    book = Path(sys.executable).with_name("jupyter-book")
    command = [book, "build", ROOT, "-W", "-n", "--keep-going"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-6000:]
    return made.stdout


class Page(HTMLParser):
    """What one HTML file refers to, and what can be referred to in it."""

    def __init__(self, path: Path):
        super().__init__()
        self.links = []
        self.images = []
        self.ids = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    """{page: its parsed HTML} of the book, built from what is here."""
    build()
    return {name: Page(HTML / f"{name}.html") for name in PAGES}


def serve() -> tuple[ThreadingHTTPServer, str]:
    """A server of the built book, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/"


def browser_missing() -> str:
    """Why no browser can be driven here, "" if one can."""
    if not chromium():
        return "no Chromium on this machine (Debian: apt-get install chromium)"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "the Python package playwright is not installed (no browser download is needed)"
    return ""


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser(site):
    """The system's Chromium and the address of the served book."""
    if reason := browser_missing():
        if os.environ.get("CI_REQUIRES_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    server, address = serve()
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=chromium(), args=OPTIONS), address
    server.shutdown()


@pytest.fixture(scope="module")
def phone(browser):
    """A browser window as wide as a phone; what went wrong in it is noted in `trouble`."""
    chrome, address = browser
    trouble = []

    def said(message):
        if message.type in ("error", "warning"):
            trouble.append(f"console: {message.text}")

    def failed(request):
        unhurried = request.url.endswith("favicon.svg") or "/play/data/" in request.url
        page_was_left = unhurried and "ABORTED" in request.failure
        if not page_was_left:
            trouble.append(f"failed: {request.url} {request.failure}")

    def answered(response):
        if response.status >= 400:
            trouble.append(f"{response.status}: {response.url}")

    def asked(request):
        if not request.url.startswith((address, "data:", "blob:")):
            trouble.append(f"another host: {request.url}")

    window = chrome.new_page(viewport=PHONE)
    window.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    window.on("console", said)
    window.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    window.on("requestfailed", failed)
    window.on("response", answered)
    window.on("request", asked)
    return SimpleNamespace(window=window, trouble=trouble, address=address)


MEASURE = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  await Promise.all([...document.images].map(image => {
    image.loading = 'eager';  // those below the fold, too
    return image.complete ? null : new Promise(done => { image.onload = image.onerror = done; });
  }));
  const all = query => [...document.querySelectorAll(query)];
  const errors = all('mjx-merror, [data-mjx-error]');
  const math = all('.bd-article .math').filter(node => !node.querySelector('mjx-container'));
  const scrolled = 'pre, table, mjx-container, .output, .pst-scrollable-table-container';
  const beyond = node =>
    node.getBoundingClientRect().right > innerWidth && !node.closest(scrolled);
  const width = document.documentElement.scrollWidth;
  const wide = all('.bd-article *').filter(beyond).slice(0, 5);
  return {
    images: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
    math: math.map(node => node.textContent),
    errors: errors.map(node => node.textContent),
    wide: width > innerWidth ? [width, ...wide.map(node => node.outerHTML.slice(0, 160))] : [],
  };
}"""


@pytest.mark.parametrize("name", PAGES)
def test_page_reads_well_on_a_phone_and_asks_no_other_host(phone, name):
    phone.trouble.clear()
    phone.window.goto(f"{phone.address}{name}.html", wait_until="load")
    found = phone.window.evaluate(MEASURE)
    assert found == {"images": [], "math": [], "errors": [], "wide": []}
    assert phone.trouble == []


DESK_AND_PAPER = [("screen", DESK["width"]), ("print", 700)]  # of A4, in CSS pixels


@pytest.fixture(scope="module")
def desk(browser):
    chrome, address = browser
    window = chrome.new_page(viewport=DESK)
    window.set_default_timeout(120_000)
    return SimpleNamespace(window=window, address=address)


FIRST_SAID = "document.querySelector('.bd-article .cell_output p')?.getBoundingClientRect().bottom"
# What `train` shows is of its own run, further below.
OF_RESULTS = [page for page in PAGES if "notebooks/" in page and page != "notebooks/train"]


@pytest.mark.parametrize("name", OF_RESULTS)
def test_what_a_page_found_stands_in_its_first_screen(phone, desk, name):
    for reader, screen in ((phone, PHONE), (desk, DESK)):
        reader.window.goto(f"{reader.address}{name}.html", wait_until="load")
        assert reader.window.evaluate(FIRST_SAID) <= screen["height"]


CUT = """() => {
  const cut = node => node.offsetParent && node.scrollWidth > node.clientWidth + 1;
  return [...document.querySelectorAll('.bd-article pre')].filter(cut).map(node =>
    node.textContent.slice(0, 60));
}"""

# Cells of what was found that are not in sight: beyond the window, or the box they scroll in.
FOUND = ("verdict", "effect", "difference", "detectable", "SAFE is", "Verdict and evidence")
HIDDEN = """(found) => {
  const hidden = [];
  for (const table of document.querySelectorAll('.bd-article table')) {
    const rows = [...table.querySelectorAll('tbody tr')].filter(row => row.offsetParent);
    const first = [...(table.tHead?.rows[0]?.cells ?? [])];
    const heads = first.flatMap(cell => Array(cell.colSpan).fill(cell.textContent.trim()));
    for (const row of rows) for (const [i, head] of heads.entries()) {
      const cell = row.cells[i - heads.length + row.cells.length];  // a head may span rows
      if (!found.includes(head) || !cell?.textContent.trim()) continue;
      const right = cell.getBoundingClientRect().right;
      const around = table.parentElement.closest('div').getBoundingClientRect().right;
      if (right > Math.min(innerWidth, around) + 1) hidden.push(`${head}: ${cell.textContent}`);
    }
  }
  return hidden;
}"""


@pytest.mark.parametrize("name", PAGES)
def test_no_code_and_no_verdict_is_cut_off_anywhere(desk, phone, name):
    desk.window.goto(f"{desk.address}{name}.html", wait_until="load")
    assert desk.window.evaluate(HIDDEN, FOUND) == []
    for medium, width in DESK_AND_PAPER:
        desk.window.emulate_media(media=medium)
        desk.window.set_viewport_size({"width": width, "height": DESK["height"]})
        assert desk.window.evaluate(CUT) == [], medium
    desk.window.emulate_media(media="screen")
    desk.window.set_viewport_size(DESK)
    phone.window.goto(f"{phone.address}{name}.html", wait_until="load")
    assert phone.window.evaluate(HIDDEN, FOUND) == []
    assert phone.window.evaluate(CUT) == []


def test_a_wide_table_is_cards_on_a_phone_and_stays_a_table_for_screen_readers(phone):
    phone.window.goto(f"{phone.address}book/ledger.html", wait_until="load")
    table = phone.window.locator("table.as-cards.ledger").first
    assert table.get_attribute("role") == "table"
    roles = "node => [...new Set([...node.querySelectorAll('[role]')].map(n => n.role))].sort()"
    assert set(table.evaluate(roles)) >= {"cell", "columnheader", "row", "rowgroup"}
    cell = table.locator("tbody td[data-head^=Verdict]").first
    head = "node => getComputedStyle(node, '::before').content"
    assert "Verdict" in cell.evaluate(head)
    phone.window.set_viewport_size(DESK)
    assert phone.window.locator("table.as-cards").count() == 0
    phone.window.set_viewport_size(PHONE)


def test_tables_are_arranged_anew_when_their_column_alone_gets_narrower(desk):
    desk.window.goto(f"{desk.address}notebooks/cost.html", wait_until="load")
    table = desk.window.locator(".cell_output table").nth(2)
    assert table.get_attribute("class") == "dataframe"  # it fits
    desk.window.evaluate("document.querySelector('.bd-article').style.width = '400px'")
    desk.window.wait_for_function("document.querySelectorAll('table.tight').length > 1")
    assert "tight" in table.get_attribute("class")


def test_a_table_that_fits_a_phone_when_set_tight_is_no_cards(phone):
    phone.window.goto(f"{phone.address}notebooks/cost.html", wait_until="load")
    kinds = phone.window.locator(".cell_output table").evaluate_all(
        "all => all.map(t => t.className)"
    )
    assert "tight" in kinds[0] and "as-cards" not in kinds[0]
    assert "as-cards" in kinds[2] and "tight" not in kinds[2]  # seven columns
    sides = "node => getComputedStyle(node).borderLeftWidth"
    card = phone.window.locator("table.as-cards").first
    assert {card.evaluate(sides), card.locator("tbody td").first.evaluate(sides)} == {"0px"}


@pytest.mark.parametrize("name", ["book/limits", "book/formats"])
def test_a_table_of_long_texts_is_cards_on_a_phone(phone, name):
    phone.window.goto(f"{phone.address}{name}.html", wait_until="load")
    heights = """all => all.filter(table => !table.classList.contains('as-cards'))
      .flatMap(table => [...table.rows].map(row => row.offsetHeight))"""
    tables = phone.window.locator(".bd-article table")
    assert max(tables.evaluate_all(heights), default=0) <= 150
    assert phone.window.locator(".bd-article table.as-cards").count() > 0


def test_names_of_files_break_behind_separators_on_a_phone_and_not_on_a_desk(phone, desk):
    for reader in (phone, desk):
        reader.window.goto(f"{reader.address}book/events.html", wait_until="load")
        name = reader.window.locator(".caption-text", has_text="sample/world.py")
        assert name.inner_text().startswith("safe_companion/sample/world.py")
        shown = name.locator("wbr").first.evaluate("node => getComputedStyle(node).display")
        assert (shown == "none") == (reader is desk)


def test_names_break_behind_separators_and_never_inside_a_number(phone):
    pieces = """node => [...node.childNodes].map(part => part.data ?? "|").join("")"""
    phone.window.goto(f"{phone.address}book/records.html", wait_until="load")
    rate = phone.window.locator(".bd-article h4 span.pre", has_text="learning_rate=0.003").first
    assert rate.evaluate(pieces) == "learning_|rate=|0.003"
    phone.window.goto(f"{phone.address}book/api_pages.html", wait_until="load")
    prefix = phone.window.locator(".sig-prename", has_text="safe_companion.__main__.").first
    (text,) = prefix.locator("span.pre").all()
    assert text.evaluate(pieces) == "safe_|companion.|__main__."


def test_cards_keep_the_name_that_stands_above_the_rows_of_a_table(phone):
    phone.window.goto(f"{phone.address}notebooks/robustness.html", wait_until="load")
    table = phone.window.locator("table.as-cards").first
    name = table.evaluate("node => getComputedStyle(node, '::before').content")
    assert name == '"top-1 [%]"'


def test_figures_and_their_frame_have_one_ground_in_the_dark_and_stand_apart(browser):
    chrome, address = browser
    window = chrome.new_page(viewport=DESK, color_scheme="dark")
    window.set_default_timeout(120_000)
    window.goto(f"{address}notebooks/fig3_afe.html", wait_until="load")
    pictures = window.locator(".cell_output img")
    grounds = pictures.evaluate_all("all => all.map(i => getComputedStyle(i).backgroundColor)")
    assert set(grounds) == {"rgb(255, 255, 255)"}
    gaps = """all => all.map(node => node.getBoundingClientRect().top
      - node.previousElementSibling.getBoundingClientRect().bottom)"""
    assert min(window.locator(".cell_output > * + :is(img, .output)").evaluate_all(gaps)) >= 16
    window.goto(f"{address}book/events.html", wait_until="load")
    moving = window.locator("picture > img")  # no white box where they are not loaded yet
    grounds = moving.evaluate_all("all => all.map(i => getComputedStyle(i).backgroundColor)")
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}
    window.close()


def test_a_term_is_explained_by_pointer_and_keyboard_until_escape(desk):
    desk.window.goto(f"{desk.address}book/intro.html", wait_until="load")
    term = desk.window.locator("a.term-link", has_text=re.compile(r"^CLIP$")).first
    bubble = desk.window.locator("#term-preview")
    assert not bubble.is_visible()
    for reach in (term.hover, term.focus):
        reach()
        assert "vision tower and a text tower" in bubble.inner_text()
        assert term.get_attribute("aria-describedby") == "term-preview"
        desk.window.keyboard.press("Escape")
        assert not bubble.is_visible()
        desk.window.mouse.move(0, 0)
    assert term.get_attribute("href").startswith("glossary.html#term-")


CONTRAST = """() => {
  const parse = text => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const over = (top, below) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map(i => alpha * top[i] + (1 - alpha) * below[i]);
  };
  const ground = node => {
    const layers = [];
    for (let at = node; at; at = at.parentElement)
      layers.push(getComputedStyle(at).backgroundColor);
    const isDark = matchMedia('(prefers-color-scheme: dark)').matches;
    const page = isDark ? [18, 18, 18] : [255, 255, 255];
    return layers.map(parse).reverse().reduce((below, top) => over(top, below), page);
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v / 255).map(v =>
      v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = new Set();
  for (const node of document.querySelectorAll('.bd-article *')) {
    const own = [...node.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const is_apart = node.closest('mjx-container, svg, .headerlink, button');
    if (!own || !node.offsetParent || is_apart) continue;
    const style = getComputedStyle(node);
    if (!style.color.startsWith('rgb')) continue;
    const below = ground(node), ink = over(parse(style.color), below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24
      || (parseFloat(style.fontSize) >= 18.5 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5))
      poor.add(`${ratio.toFixed(1)} ${style.color} ${node.tagName}.${node.className}`);
  }
  return [...poor].slice(0, 8);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["book/intro", "book/safe", "book/ledger", "book/records"])
def test_letters_stand_out_from_their_ground(browser, name, scheme):
    chrome, address = browser
    window = chrome.new_page(viewport=DESK, color_scheme=scheme)
    window.set_default_timeout(120_000)
    window.goto(f"{address}{name}.html", wait_until="load")
    assert window.evaluate(CONTRAST) == []
    window.close()


MOST_MB = 6  # of a page with all that it loads: text, styles, scripts, pictures


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light_enough_for_a_slow_line(site, name):
    page = HTML / f"{name}.html"
    inside = re.findall(r'(?:src|href)="([^"#?]+)[^"]*"', page.read_text(encoding="utf-8"))
    loaded = {(page.parent / unquote(file)).resolve() for file in inside if "://" not in file}
    kinds = (".css", ".js", ".png", ".svg", ".webp", ".woff2")
    files = [page, *(file for file in loaded if file.suffix in kinds and file.is_file())]
    assert sum(file.stat().st_size for file in files) < MOST_MB * 1e6


def test_the_whole_book_is_one_page_that_prints(site, desk):
    whole = Page(HTML / "print.html")
    assert {name.replace("/", "-") for name in PAGES} <= whole.ids
    lost = [href for href in whole.links if href.startswith("#") and href[1:] not in whole.ids]
    assert lost == []
    files = [image["src"] for image in whole.images if "://" not in image["src"]]
    assert files and all(f.startswith("data:") or (HTML / unquote(f)).is_file() for f in files)
    desk.window.goto(f"{desk.address}print.html", wait_until="load")
    desk.window.emulate_media(media="print")
    desk.window.set_viewport_size({"width": 700, "height": 900})
    assert desk.window.evaluate(CUT) == []
    desk.window.emulate_media(media="screen")
    desk.window.set_viewport_size(DESK)


@pytest.mark.parametrize("word,page", [("AFE", "representations"), ("DVS", "glossary")])
def test_search_finds_an_abbreviation_and_not_its_letters_inside_words(phone, word, page):
    phone.window.goto(f"{phone.address}search.html?q={word}", wait_until="load")
    phone.window.wait_for_selector("#search-results li a")
    summary = "document.querySelector('.search-summary')?.textContent"
    phone.window.wait_for_function(f"{summary}.includes('found')")  # all entries are there
    links = phone.window.query_selector_all("#search-results li a")
    found = [link.get_attribute("href") for link in links]
    assert any(page in link for link in found) and any("glossary" in link for link in found)
    others = [
        link for link in found if "#safe_" in link and word.lower() not in link.split("#safe")[1]
    ]
    assert others == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["play", "intro"])
@pytest.mark.parametrize("way", ["file", "http"])
def test_models_can_be_played_with_in_the_book(browser, way, page, scheme):
    """From a disk and from a server; nothing in the theme cuts it off or makes it faint."""
    import test_play_page as playing  # which has more of this, without the theme

    chrome, address = browser
    base = {"file": f"{HTML.as_uri()}/", "http": address}[way]
    window = chrome.new_context(viewport=PHONE, color_scheme=scheme).new_page()
    window.set_default_timeout(120_000)
    window.goto(f"{base}book/{page}.html")
    window.locator("div.play").scroll_into_view_if_needed()
    shown = playing.ready(window)
    assert set(shown["logProbs"]) >= {"safe", "rgb", "event", "surer", "mean"}
    found = window.evaluate(playing.MEASURE)
    assert {key: found[key] for key in ("faint", "small")} == {"faint": [], "small": []}
    window.context.close()


def test_search_finds_cross_attention(phone):
    phone.trouble.clear()
    phone.window.goto(f"{phone.address}search.html?q=cross-attention", wait_until="load")
    phone.window.wait_for_selector("#search-results li a")
    links = phone.window.query_selector_all("#search-results li a")
    found = [link.get_attribute("href") for link in links]
    assert any("clip.html" in link or "cross_attention.html" in link for link in found)
    assert phone.trouble == []


def test_every_internal_link_leads_somewhere(site):
    pages = {(HTML / f"{name}.html").resolve(): page for name, page in site.items()}
    broken = []
    for name, page in site.items():
        for href in page.links:
            if urlsplit(href).scheme:
                continue  # for a person to click
            target, fragment = urldefrag(urljoin(f"/{name}.html", href))
            path = (HTML / unquote(target).lstrip("/")).resolve()
            if path.suffix == ".html" and path.is_file() and path not in pages:
                pages[path] = Page(path)
            if path in pages:
                found = unquote(fragment) in pages[path].ids
            else:
                found = path.is_file()
            if not found:
                broken.append(f"{name}: {href}")
    assert broken == []


def test_every_image_says_what_it_shows(site):
    for name, page in site.items():
        assert [image for image in page.images if not image.get("alt")] == [], name


def test_every_notebook_page_says_where_it_comes_from_and_can_be_downloaded(site):
    for name in [name for name in PAGES if name.startswith("notebooks/")]:
        text = (HTML / f"{name}.html").read_text()
        assert f"papermill {name}.ipynb out.ipynb" in re.sub(r"<[^>]+>", "", text), name
        target = rf'href="[^"]*{Path(name).name}.ipynb"'
        assert re.search(rf'<a class="[^"]*download[^"]*" download="" {target}', text), name
        notebooks = extension("companion_notebooks")
        stem = name.removeprefix("notebooks/")
        notebook = notebooks.load_notebook(stem)
        shown = notebooks.shown_runs(notebook["metadata"].get("safe", {}).get("records", []))
        for origin in ("sample", "real"):
            is_named = f'class="origin-{origin}"' in text
            assert is_named == (origin in notebooks.origins_of(notebook, shown)), name
        assert "tag_parameters" not in text, name


def test_every_run_and_every_claim_has_its_place(site):
    companion = extension()
    runs = {companion.made.run_id(name) for name in records.all_runs()}
    assert runs and runs <= site["book/records"].ids
    claims = {companion.made.claim_id(name) for name in paper.claims().index}
    assert claims <= site["book/ledger"].ids


# ------------------------------------------------------------------------------- extension alone
def extension(name="companion"):
    """A module of book/_ext."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    return importlib.import_module(name)


def small_book(folder: Path, text: str) -> tuple[str, str]:
    """(HTML, warnings) of a book of one page with our roles and directives."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    tables = "\n".join(f"```{{{name}}}\n```\n" for name in ("ledger", "records", "status"))
    (folder / "conf.py").touch()
    (folder / "index.md").write_text(f"# Title\n\n{text}\n\n{tables}")
    warnings = io.StringIO()
    settings = {"extensions": ["myst_parser", "companion"], "exclude_patterns": ["out"]}
    extension()
    out = folder / "out"
    streams = {"status": None, "warning": warnings}
    with docutils_namespace():  # forgets what this book registers
        Sphinx(folder, folder, out, out, "html", settings, **streams).build()
    lines = warnings.getvalue().splitlines()
    lines = [line for line in lines if "download file not readable" not in line]
    return (out / "index.html").read_text(), "\n".join(lines)


def test_numbers_in_prose_come_from_records_and_claims(tmp_path):
    difference = "sample/pokerevent/modality=rgb - sample/pokerevent/base"
    text = f"{{run}}`sample/pokerevent/base` {{claim}}`t4-full` {{difference}}`{difference}`"
    html, warnings = small_book(tmp_path, text)
    html = html.replace("\xa0", " ")
    assert warnings == ""
    link = 'href="#run-sample-pokerevent-base"><span class="from-us of-sample">'
    assert re.search(link + r"\d\d\.\d ± \d\.\d %, \d seeds<", html)
    assert re.search(r'href="#claim-t4-full"><span class="from-paper">58\.2 %<', html)
    said = r"(better|worse) by \d+\.\d ± \d+\.\d points, \d paired runs?"
    unclear = r"[+−]\d+\.\d ± \d+\.\d points, \d paired runs?: cannot tell from zero: "
    unclear += "effects below [0-9.]+"
    assert re.search(rf'of-sample">({said}|{unclear} can be missed)<', html)


def test_methods_that_are_run_have_a_rate_where_they_are_and_the_others_a_need(tmp_path):
    html, _ = small_book(tmp_path, "```{methods}\n```")
    run, needs = (
        {name: row for name, *row in rows_of(html, kind)} for kind in ("methods", "needs")
    )
    assert run["TSM"][1:] == ["–", "0.003"] and run["C3D"][1:] == ["0.003", "0.001"]
    assert "PyTorchVideo" in needs["X3D"][0] and (len(run), len(needs)) == (6, 7)


def test_a_missing_record_or_claim_is_a_warning(tmp_path):
    _, warnings = small_book(tmp_path, "{run}`sample/pokerevent/nothing` {claim}`t9-nothing`")
    assert "results/sample/pokerevent/nothing: no run record" in warnings
    assert "no claim 't9-nothing'" in warnings


def test_an_older_record_is_marked_with_what_changed_and_is_no_error(tmp_path, monkeypatch):
    def outdated(run):
        return ["clips"] if run["path"].endswith("pokerevent/base/seed1") else []

    monkeypatch.setattr(records, "outdated", outdated)
    html, warnings = small_book(tmp_path, "")
    assert warnings == ""
    assert html.count('<span class="older">older: clips</span>') == 1  # in the table of runs
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.DOTALL)
    listed = [re.sub(r"<[^>]+>", " ", row).split() for row in rows if "pokerevent/base<" in row]
    assert [cells[:3] for cells in listed] == [["sample/pokerevent/base", "1", "clips"]]


def rows_of(html, kind):
    """The cells of a generated table's rows, as text."""
    (body,) = re.findall(rf'<table class="[^"]*{kind}[^"]*">(.*?)</table>', html, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in body.split("<tr")[2:]]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def test_seeds_of_a_sweep_are_listed_and_rows_that_it_leaves_out_with_the_reason(tmp_path):
    html, warnings = small_book(tmp_path, "```{left-out}\n```\n\n```{seeds}\n```")
    assert warnings == ""
    seeds = {name: row for name, *row in rows_of(html, "seeds")}
    assert seeds["fig4"] == [str(swept.get("fig4", "–")) for swept in studies.SWEPT.values()]
    assert seeds.keys() == {name for swept in studies.SWEPT.values() for name in swept}
    lines = rows_of(html, "left-out")
    listed = [(name, study, why) for study, _, names, why in lines for name in names.split("; ")]
    expected = [(row, study, why) for (_, study, row), why in studies.LEFT_OUT.items()]
    assert sorted(listed) == sorted(expected)


def test_what_rests_on_real_events_is_said_in_the_words_of_its_pages(tmp_path):
    html, warnings = small_book(tmp_path, "```{real-summary}\n```")
    pages = extension("companion_tables").RealSummary.PAGES
    missing = [line for line in warnings.splitlines() if "target not found: /notebooks/" in line]
    assert len(missing) == len(warnings.splitlines()) == len(pages)  # this book has one page
    lines = rows_of(html, "real-summary")
    assert [question for question, _ in lines] == list(pages.values())
    for stem, (_, found) in zip(pages, lines, strict=True):
        outputs = (ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8")
        assert found and json.dumps(found)[1:60] in outputs.replace("*", "")


def test_the_summary_of_the_ledger_begins_with_what_its_verdicts_come_to(tmp_path):
    html, _ = small_book(tmp_path, "```{ledger-summary}\n```")
    verdicts = extension("companion_tables").ledger().verdict
    kinds = ("same direction", "opposite", "smaller than the paper's", "cannot tell")
    counts = [int((verdicts == kind).sum()) for kind in kinds]
    text = unescape(re.sub(r"<[^>]+>", "", html)).replace("\u2019", "'")
    said = ", ".join(f"{n or 'none'} {kind}" for n, kind in zip(counts, kinds, strict=True))
    assert (
        f"Of {len(verdicts)} claims {sum(counts)} compare an effect, on the samples: {said}."
        in text
    )


def test_a_page_without_a_finding_stops_the_summary(monkeypatch):
    tables = extension("companion_tables")
    monkeypatch.setattr(tables, "load_notebook", lambda stem: {"cells": [{"outputs": []}]})
    with pytest.raises(ValueError, match="found no finding in its outputs; execute it"):
        tables.finding_of("real_nmnist")


def test_runs_on_two_kinds_of_machines_are_compared(tmp_path):
    html, warnings = small_book(tmp_path, "```{machines}\n```")
    assert warnings == ""
    lines = {name: row for name, *row in rows_of(html.replace("\xa0", " "), "machines")}
    pairs = extension("companion_tables").on_two_machines().to_dict("records")
    gains: dict[str, list[float]] = {"all": []}
    for pair in pairs:
        sample = TITLES[pair["run"].split("/")[1]]
        cameras = "one camera" if "modality=" in pair["run"] else "both cameras"
        when = "seeds 0 and 1" if pair["seed"] < 2 else "later seeds"
        for name in ("all", when, f"{sample}, {cameras}, {when}"):
            gains.setdefault(name, []).append(float(pair["gpu"]) - float(pair["cpu"]))
    gains = {name: gain for name, gain in gains.items() if len(gain) > 1}
    assert lines.keys() == gains.keys() and len(lines) == 9
    for name, gain in gains.items():
        half = stats.t.ppf(0.975, len(gain) - 1) * np.std(gain, ddof=1) / len(gain) ** 0.5
        mean = wording.signed(np.mean(gain), 2)
        lower = f"{sum(g < 0 for g in gain)} of {len(gain)}"
        assert lines[name] == [lower, f"{mean} ± {half:.2f}", f"{np.std(gain, ddof=1):.2f}"]
    said = unescape(re.sub(r"<[^>]+>", "", html))
    assert f"{len(pairs)} runs of the samples were made on both" in said
    assert (
        "deviation of 0.42 points on the CPU and of 0.52 points on the GPU (18 configurations"
        in said
    )


def test_an_accuracy_in_words_has_the_interval_of_its_mean():
    in_words = extension("companion_nodes").top1_in_words
    runs = [{"test": {"top1": top1}} for top1 in (80.0, 82.0, 84.0)]
    assert in_words(runs) == "82.0 ± 5.0 %, 3 seeds"  # 4.303 standard errors of 2 / sqrt(3)
    assert in_words(runs[:1]) == "80.0 %, 1 seed"


def test_a_run_names_every_machine_that_made_it():
    tables = extension("companion_tables")
    (runs,) = [runs for name, runs in records.all_runs().items() if name == "sample/hardvs/base"]
    runs = runs[:2]
    assert tables.machines_of(runs[:1]) == tables.machines_of([runs[0], runs[0]])
    other = runs[1] | {"hardware": runs[1]["hardware"] | {"gpu": "A card", "cores": 16}}
    first, second = (part.astext() for part in tables.machines_of([runs[0], other]))
    assert first.endswith("(seed 0)") and second.endswith("(seed 1)")
    assert "16 cores, A card" in second and "A card" not in first


def test_the_command_under_a_run_makes_that_configuration_again():
    tables = extension("companion_tables")
    parser = argparse.ArgumentParser()
    __main__.COMMANDS["train"].add_options(parser)
    for name, runs in records.all_runs().items():
        config = runs[0]["config"]
        line = tables.command(runs)
        assert all(len(one) < 85 or len(one.split()) < 4 for one in line.splitlines()), line
        line = re.sub(r" \\\n +", " ", line)
        assert "\n" not in line, line
        if len(runs) > 1:
            seeds = " ".join(str(run["config"]["seed"]) for run in runs)
            line = line.removeprefix(f"for seed in {seeds}; do ").removesuffix("; done")
            line = line.replace("$seed", str(config["seed"]))
        tool, command, *words = shlex.split(line)
        assert (tool, command) == ("safe", "train")
        fields = vars(parser.parse_args(words))
        assert fields.pop("out_dir") == Path("runs", name, f"seed{config['seed']}")
        assert fields.pop("resume") is False and fields.pop("tensorboard") is False
        if fields["data_root"] is not None:
            fields["data_root"] = re.sub("^(PATH_TO|data)/", "", fields["data_root"])
        again = vars(configure(**fields))
        free = ("workers", "on_bad_recording")  # change no number, and so no name
        if again["steps"]:
            free += ("epochs",)
        if fields["data_root"] is not None:
            free += tuple(k for k in again if k.startswith("sample_"))
        config = {k: f.default for k, f in FIELDS.items()} | config  # which may lack later fields
        assert {k: v for k, v in again.items() if config[k] != v and k not in free} == {}, name


def test_a_notebook_that_was_not_executed_names_the_target_that_does(tmp_path, monkeypatch):
    companion = extension("companion_notebooks")
    source = ["seeds = 3\n", "rerun = False"]
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    content = {"cells": [cell | {"outputs": []}], "metadata": {}}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "table4_components.ipynb").write_text(json.dumps(content))
    monkeypatch.setattr(companion, "ROOT", tmp_path)
    monkeypatch.setattr(companion.made, "ROOT", tmp_path)
    text = companion.provenance("table4_components").astext()
    assert "make notebooks" in text
    assert "papermill notebooks/table4_components.ipynb out.ipynb -p rerun True" in text
    assert "make table4" in text


def test_the_pages_of_real_recordings_name_the_target_that_fetches_and_trains():
    provenance = extension("companion_notebooks").provenance
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for stem in ("real_nmnist", "real_biolab"):
        told = f"make {stem} fetches the recordings and trains the runs that are missing"
        assert told in provenance(stem).astext()
        recipe = makefile.split(f"\n{stem}: ")[1].split("\n\n")[0]
        assert "safe fetch" in recipe and f"snakemake {stem}" in recipe
    text = provenance("real_events").astext()
    assert "make real fetches the recordings and measures them" in text
    assert re.search(r"^real: .*\n\t\S+ realism ", makefile.replace("/safe ", " "), re.MULTILINE)


def test_a_notebook_has_the_badge_of_its_records_else_of_its_own_words():
    origins_of = extension("companion_notebooks").origins_of

    def notebook(*outputs, source="", **about):
        cells = [{"source": source}, {"source": "", "outputs": [{"text": list(outputs)}]}]
        return {"cells": cells, "metadata": {"safe": about} if about else {}}

    assert origins_of(notebook("sample data", origins=["real"]), []) == ["real"]
    assert origins_of(notebook(), ["sample/hardvs/base", "real/hardvs/base"]) == ["real", "sample"]
    assert origins_of(notebook("sample data: hardvs", origins=[]), []) == ["sample"]
    assert origins_of(notebook("3 recordings, real data", source="sample data"), []) == ["real"]
    assert origins_of(notebook(source="frames of the **sample world**"), []) == ["sample"]
    assert origins_of(notebook("174 million parameters", origins=[]), []) == []


def test_more_than_four_configurations_are_counted_as_such():
    companion = extension("companion_notebooks")
    start, _, _ = companion.list_of_runs({f"sample/hardvs/{i}": ["0", "1"] for i in range(5)})
    assert "5 configurations" in start.astext()


def test_the_cell_of_parameters_stands_in_the_box_alone():
    from docutils import nodes
    from docutils.utils import new_document

    doctree = new_document("page")
    cells = (["cell", "tag_parameters"], ["cell", "tag_hide-input"])
    doctree += [nodes.container("", nodes.literal_block("", "a = 1"), classes=c) for c in cells]
    extension("companion_notebooks").leave_out_parameters(doctree)
    assert [cell["classes"] for cell in doctree] == [cells[1]]


def test_listings_end_with_code_and_short_words_of_code_are_not_broken(tmp_path):
    text = "`--sensor-size` `--a-very-long-name-of-an-option-or-path`\n\n"
    html, _ = small_book(tmp_path, text + "```pycon\n>>> 1\n1\n\n```")
    assert re.search(r'<code class="short [^>]*><span class="pre">--sensor-size<', html)
    assert re.search(r'<code class="docutils [^>]*><span class="pre">--a-very-long', html)
    (block,) = re.findall(r'<div class="highlight-pycon.*?</pre>', html, re.DOTALL)
    assert re.sub(r"<[^>]+>", "", block) == "&gt;&gt;&gt; 1\n1\n"


def test_a_number_stays_in_one_line_with_its_unit_and_its_interval(tmp_path):
    html, _ = small_book(tmp_path, "77 % or 3.0 ± 1.0 points, 5 runs, and `a = 7 % 2`.\n")
    assert "77\xa0% or 3.0\xa0±\xa01.0 points, 5 runs" in html
    assert "\xa0" not in html.split("<code")[1].split("</code>")[0]


def test_names_of_notebooks_may_be_broken_behind_underscores():
    parts = extension("companion_nodes").name_in_parts("a_b_c").children
    assert [part.astext() for part in parts] == ["a_", "<wbr>", "b_", "<wbr>", "c"]


def test_the_sign_of_a_verdict_is_no_digit_and_says_no_other_thing():
    signs = extension("companion_tables").SIGNS
    assert not any(sign.isdigit() for sign, _ in signs.values())
    assert signs["smaller than"][0] == "<"


def test_works_are_named_by_author_and_year_and_their_numbers_are_links():
    from pybtex.database import parse_string

    bibliography = extension("companion_bibliography")
    entry = "@misc{{{}, author = {{{}}}, title = {{T}}, year = {{2024}}}}"
    people = (
        "Li, Dong and Wang, Xiao and Luo, Bin",
        "de Vries, A. and Ng, B.",
        'M{\\"o}lder, B.',
        'M{\\"o}lder, C.',
    )
    text = "\n".join(entry.format(f"k{i}", who) for i, who in enumerate(people))
    works = list(parse_string(text, "bibtex").entries.values())
    labels = list(bibliography.AuthorYearLabels().format_labels(works))
    assert labels == ["Li et al., 2024", "de Vries and Ng, 2024", "Mölder, 2024a", "Mölder, 2024b"]
    found = bibliography.linked("arXiv:2308.04369; IEEE, doi:10.1109/T.2025.35.")
    links = {part.astext(): part["refuri"] for part in found if hasattr(part, "attributes")}
    assert links == {
        "arXiv:2308.04369": "https://arxiv.org/abs/2308.04369",
        "doi:10.1109/T.2025.35": "https://doi.org/10.1109/T.2025.35",
    }


def test_docstrings_read_as_plain_text():
    lines = [
        "What of `a`s?",
        "",
        "    from x import y",
        "    y = 1",
        "",
        "    y.z()",
        "",
        "``b`` or `c`.",
    ]
    extension("companion_reference").plain_docstring(None, "module", "m", None, None, lines)
    code = ["    from x import y", "    y = 1", "", "    y.z()"]
    shown = [".. code-block:: python", "", *code]
    assert lines == [r"What of ``a``\ s?", "", *shown, "", "``b`` or ``c``."]
    lines = ["    OUT/a.js    what is told", "    OUT/b.js    weights"]  # a table, and no Python
    extension("companion_reference").plain_docstring(None, "module", "m", None, None, lines)
    assert lines[0] == ".. code-block:: text"


def test_the_reference_has_every_name_once_and_code_as_it_is_typed(site):
    files = sorted((HTML / "book").glob("api*.html"))
    articles = [
        file.read_text().partition("<article")[2].partition("</article")[0] for file in files
    ]
    shown = unescape(re.sub(r"<[^>]*>", "", "".join(articles)))
    assert len(files) == 6 and '{"rgb": uint8 [F, 3, S, S]' in shown and '"--use-text"' in shown
    assert "leak_hz: spontaneous ON events / s / px" in shown and shown.count("build_clip(") == 1
    for wrong in ("“", "’", "~safe", "~pathlib", "<factory>", "Alias for"):
        assert wrong not in shown, wrong
    ids = set().union(*(Page(file).ids for file in files))
    paths = [path.relative_to(ROOT) for path in (ROOT / "safe_companion").rglob("*.py")]
    names = {"safe_core", *(".".join(path.with_suffix("").parts) for path in paths)}
    for name in sorted(names):
        module = importlib.import_module(name.removesuffix(".__init__"))
        for member, found in vars(module).items():
            if not (inspect.isfunction(found) or inspect.isclass(found)) or not found.__doc__:
                continue
            is_shown = f"{module.__name__}.{member}" in ids
            assert is_shown == (found.__module__ == module.__name__ and member[0] != "_"), found


@pytest.mark.parametrize("url", ["", "https://github.com/someone/safe"])
def test_buttons_to_the_repository_appear_with_its_address(url):
    options = {"repository_url": url, "launch_buttons": {"colab_url": "https://c"}}
    extension().repository(None, SimpleNamespace(html_theme_options=options))
    assert bool(options.get("launch_buttons")) == bool(url)
    assert bool(options.get("use_repository_button")) == bool(url)


def screenshots(folder: Path, names: list[str]) -> None:
    """PNGs of pages of the built book: FOLDER/PAGE-desktop-light.png, -desktop-dark, -phone-..."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    server, address = serve()
    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=chromium(), args=OPTIONS)
        for width, size in (("desktop", DESK), ("phone", PHONE)):
            for scheme in ("light", "dark"):
                window = chrome.new_page(viewport=size, color_scheme=scheme)
                window.set_default_timeout(120_000)
                for name in names:
                    window.goto(f"{address}{name}.html")
                    window.evaluate(MEASURE)
                    file = f"{name.replace('/', '-')}-{width}-{scheme}.png"
                    window.screenshot(path=folder / file, full_page=True)
                window.close()
    server.shutdown()


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]), sys.argv[2:] or PAGES)


def test_every_run_is_in_the_index_of_its_data_set(site):
    runs = {made_id for made_id in site["book/records"].ids if made_id.startswith("run-")}
    page = (HTML / "book" / "records.html").read_text()
    listed = re.findall(r"<table[^>]*run-index.*?</table>", page, re.DOTALL)
    links = [
        target for table in listed for target in re.findall(r'href="[^"]*#(run-[^"]*)"', table)
    ]
    assert len(links) == len(set(links)) and set(links) == runs and len(listed) > 2


def test_a_run_is_named_by_what_differs_in_numbers_that_can_be_read():
    (runs,) = [runs for name, runs in records.all_runs().items() if name == "sample/hardvs/base"]
    named = extension("companion_tables").what_differs
    assert named(runs) == "base"
    few = {"train_fraction": 1 / 12, "use_text": False}
    assert named([runs[0] | {"config": runs[0]["config"] | few}]) == (
        "train_fraction=0.08333…, use_text=False"
    )
    assert named([runs[0] | {"config": runs[0]["config"] | {"dropout": 0.0}}]) == "dropout=0.0"
    facts = extension("companion_tables").facts_of
    as_released = [runs[0] | {"config": runs[0]["config"] | released.RELEASED}]
    assert "released" in facts(as_released) and "released" not in facts(runs)
    assert facts(runs)["data"][0].startswith("sample of HARDVS, 1152 training, ")
    real = runs[0]["config"] | {"dataset": "folder", "data_root": "/data/biolab"}
    assert named([runs[0] | {"config": real}]).startswith("biolab: ")


def test_a_claim_that_is_a_sentence_is_shown_as_one():
    in_words = extension("companion_tables").in_words
    claim = {"system": "SAFE", "setting": "58 here, 57 there", "dataset": "hardvs"}
    for metric in ("contradiction", "ambiguity"):
        assert in_words(pd.Series(claim | {"metric": metric})) == "58 here, 57 there (HARDVS)"
    number = pd.Series(claim | {"setting": "no text", "metric": "training_time"})
    assert in_words(number) == "SAFE, no text, training time, HARDVS"
