"""The book as a reader meets it: built, served on this machine, and opened in a browser.

    python tests/test_site.py FOLDER [PAGE ...]    screenshots: desktop and phone, light and dark

The browser is the system's Chromium, driven by the Python package playwright. Where one of them is missing the tests
that need it are skipped; with CI_REQUIRES_BROWSER=1 in the environment they fail instead.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *[chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]]
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def build() -> str:
    """What `make book` runs; returns its output."""
    book = Path(sys.executable).with_name("jupyter-book")
    made = subprocess.run([book, "build", ROOT, "-W", "-n", "--keep-going"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-6000:]
    return made.stdout


class Page(HTMLParser):
    """What one HTML file refers to, and what can be referred to in it."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.ids, self.images = [], {""}, []
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
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser(site):
    """The system's Chromium and the address of the served book."""
    if reason := browser_missing():
        (pytest.fail if os.environ.get("CI_REQUIRES_BROWSER") else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    server, address = serve()
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=chromium(), args=OPTIONS), address
    server.shutdown()


@pytest.fixture(scope="module")
def phone(browser):
    """A browser window as wide as a phone; what went wrong in it is noted in `trouble`."""
    chrome, address = browser
    window, trouble = chrome.new_page(viewport=PHONE), []
    window.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    window.on("console", lambda m: trouble.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    window.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    window.on("requestfailed", lambda r: None if r.url.endswith("favicon.svg") and "ABORTED" in r.failure  # page was left
              else trouble.append(f"failed: {r.url} {r.failure}"))  # fmt: skip
    window.on("response", lambda r: trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    window.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:"))
              else trouble.append(f"another host: {r.url}"))  # fmt: skip
    return SimpleNamespace(window=window, trouble=trouble, address=address)


MEASURE = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  await Promise.all([...document.images].map(image => {
    image.loading = 'eager';  // those below the fold, too
    return image.complete ? null : new Promise(done => { image.onload = image.onerror = done; });
  }));
  const math = [...document.querySelectorAll('.bd-article .math')];
  return {
    images: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
    math: math.filter(node => !node.querySelector('mjx-container')).map(node => node.textContent),
    errors: [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(node => node.textContent),
    wide: document.documentElement.scrollWidth > innerWidth
      ? [...document.querySelectorAll('.bd-article *')].filter(node => node.getBoundingClientRect().right > innerWidth
          && !node.closest('pre, table, mjx-container, .output, .pst-scrollable-table-container'))
          .slice(0, 5).map(node => node.outerHTML.slice(0, 160)).concat(document.documentElement.scrollWidth)
      : [],
  };
}"""


@pytest.mark.parametrize("name", PAGES)
def test_page_reads_well_on_a_phone_and_asks_no_other_host(phone, name):
    phone.trouble.clear()
    phone.window.goto(f"{phone.address}{name}.html", wait_until="load")
    assert phone.window.evaluate(MEASURE) == {"images": [], "math": [], "errors": [], "wide": []}
    assert phone.trouble == []


def test_search_finds_cross_attention(phone):
    phone.trouble.clear()
    phone.window.goto(f"{phone.address}search.html?q=cross-attention", wait_until="load")
    phone.window.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") for link in phone.window.query_selector_all("#search-results li a")]
    assert any("clip.html" in link or "cross_attention.html" in link for link in found)
    assert phone.trouble == []


def test_every_internal_link_leads_somewhere(site):
    pages, broken = {(HTML / f"{name}.html").resolve(): page for name, page in site.items()}, []
    for name, page in site.items():
        for href in page.links:
            if urlsplit(href).scheme:
                continue  # for a person to click
            target, fragment = urldefrag(urljoin(f"/{name}.html", href))
            path = (HTML / unquote(target).lstrip("/")).resolve()
            if path.suffix == ".html" and path.is_file() and path not in pages:
                pages[path] = Page(path)
            if not path.is_file() or path in pages and unquote(fragment) not in pages[path].ids:
                broken.append(f"{name}: {href}")
    assert broken == []


def test_every_image_says_what_it_shows(site):
    assert [f"{name}: {image}" for name, page in site.items() for image in page.images if not image.get("alt")] == []


def test_every_notebook_page_says_where_it_comes_from_and_can_be_downloaded(site):
    for name in (name for name in PAGES if name.startswith("notebooks/")):
        text = (HTML / f"{name}.html").read_text()
        assert f"papermill {name}.ipynb out.ipynb" in re.sub(r"<[^>]+>", "", text), name
        assert re.search(rf'<a class="[^"]*download[^"]*" download="" href="[^"]*{Path(name).name}.ipynb"', text), name
        assert re.search(r'class="origin-(sample|real)"', text), name


def test_every_run_and_every_claim_has_its_place(site):
    import safe_book

    results = ROOT / "results"
    runs = {file.parents[1].relative_to(results).as_posix() for file in results.glob("*/*/*/seed*/record.json")}
    companion = extension()
    assert {companion.run_id(run) for run in runs} <= site["book/records"].ids
    assert {companion.claim_id(claim) for claim in safe_book.claims().index} <= site["book/ledger"].ids


# ------------------------------------------------------------------------------------------------ the extension alone


def extension():
    """book/_ext/companion.py as a module."""
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    import companion

    return companion


def small_book(folder: Path, text: str) -> tuple[str, str]:
    """(HTML, warnings) of a book of one page with our roles and directives."""
    import io

    from sphinx.application import Sphinx

    (folder / "conf.py").touch()
    (folder / "index.md").write_text(f"# Title\n\n{text}\n\n```{{ledger}}\n```\n\n```{{records}}\n```\n")
    warnings = io.StringIO()
    settings = {"extensions": ["myst_parser", "companion"], "exclude_patterns": ["out"]}
    extension()
    app = Sphinx(folder, folder, folder / "out", folder / "out", "html", settings, status=None, warning=warnings)
    app.build()
    lines = [line for line in warnings.getvalue().splitlines() if "download file not readable" not in line]
    return (folder / "out" / "index.html").read_text(), "\n".join(lines)


def test_numbers_in_prose_come_from_records_and_claims(tmp_path):
    html, warnings = small_book(tmp_path, "{run}`sample/pokerevent/base` {claim}`t4-full` "
                                "{difference}`sample/pokerevent/modality=rgb - sample/pokerevent/base`")  # fmt: skip
    assert warnings == ""
    ours = r'href="#run-sample-pokerevent-base"><span class="from-us of-sample">\d\d\.\d ± \d\.\d %, 5 seeds<'
    assert re.search(ours, html)
    assert re.search(r'href="#claim-t4-full"><span class="from-paper">58\.2 %<', html)
    assert re.search(r'of-sample">[+−]\d+\.\d ± \d+\.\d points: (better|worse|no measurable effect)<', html)


def test_a_missing_record_or_claim_is_a_warning(tmp_path):
    _, warnings = small_book(tmp_path, "{run}`sample/pokerevent/nothing` {claim}`t9-nothing`")
    assert "results/sample/pokerevent/nothing: no run record" in warnings and "no claim 't9-nothing'" in warnings


def test_a_notebook_that_was_not_executed_names_the_target_that_does(tmp_path, monkeypatch):
    companion = extension()
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["seeds = 3\n", "rerun = False"],
              "outputs": []}]  # fmt: skip
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "table4_components.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))
    monkeypatch.setattr(companion, "ROOT", tmp_path)
    text = companion.provenance("table4_components").astext()
    assert "make notebooks" in text
    assert "papermill notebooks/table4_components.ipynb out.ipynb -p rerun True" in text
    assert "make table4" in text


@pytest.mark.parametrize("url", ["", "https://github.com/someone/safe"])
def test_buttons_to_the_repository_appear_with_its_address(url):
    config = SimpleNamespace(html_theme_options={"repository_url": url, "launch_buttons": {"colab_url": "https://c"}})
    extension().repository(None, config)
    assert bool(config.html_theme_options.get("launch_buttons")) == bool(url)
    assert bool(config.html_theme_options.get("use_repository_button")) == bool(url)


def screenshots(folder: Path, names: list[str]) -> None:
    """PNGs of pages of the built book: FOLDER/PAGE-desktop-light.png, -dark, -phone-light, -phone-dark."""
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
                    window.screenshot(path=folder / f"{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)
                window.close()
    server.shutdown()


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]), sys.argv[2:] or PAGES)
