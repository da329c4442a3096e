"""The playable page as a reader meets it: opened from a disk and from a server, every switch tried.

The page is that of the book without the theme around it, so that nothing has to be built; the built
book is opened in test_site.py. Where there is no browser the tests are skipped, as there.
"""

import functools
import math
import os
import re
import threading
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from test_playing import CODE, DATA, MIB, content
from test_site import DESK, OPTIONS, PHONE, Quiet, browser_missing, chromium

from safe_companion import playing

HEAD = """<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Play</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="../_static/custom.css">
<style>body {{ margin: 0; font: 16px/1.6 sans-serif; {look} }}</style></head>
<body><main class="bd-article" style="max-width: 53rem; margin: auto">{part}</main></body></html>"""
LOOKS = {"light": "color: #222; background: #fff", "dark": "color: #ddd; background: #121212"}
READY = """root => new Promise((done, failed) => {
  const look = () => {
    if (root.dataset.state === 'ready') done();
    else if (root.dataset.state === 'failed') failed(new Error(root.textContent));
    else setTimeout(look, 30);
  };
  setTimeout(look, 120);  // a change is computed a moment later
})"""
SHOWN = """root => {
  const {state, answers, label, classes} = root.shown;
  const logProbs = Object.fromEntries(
    Object.entries(answers).map(([name, of]) => [name, Array.from(of.logProbs)]));
  return {state: {...state, dropped: [...state.dropped]}, logProbs, label, classes};
}"""


@pytest.fixture(scope="module")
def browser():
    if reason := browser_missing():
        if os.environ.get("CI_REQUIRES_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=chromium(), args=OPTIONS)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(folder, its address) with a page for each part and theme, as the book has them."""
    content("hardvs")  # else there is nothing to play with
    folder = tmp_path_factory.mktemp("site")
    (folder / "book").mkdir()
    (folder / "_static").symlink_to(ROOT / "book" / "_static")
    for part in ("large", "small", "pixel"):
        for theme, look in LOOKS.items():
            text = HEAD.format(theme=theme, look=look, part=(CODE / f"{part}.html").read_text())
            (folder / "book" / f"{part}-{theme}.html").write_text(text)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


def opened(browser, site, name, *, way="file", size=DESK, **options):
    """A window on a page; `trouble` notes what went wrong, `weight` what was answered over http."""
    folder, address = site
    base = {"file": f"{folder.as_uri()}/", "http": address}[way]
    window = browser.new_context(viewport=size, **options).new_page()
    window.set_default_timeout(120_000)  # a busy machine is slow, not wrong
    found = SimpleNamespace(window=window, trouble=[], weight=[])

    def said(message):
        if message.type in ("error", "warning"):
            found.trouble.append(message.text)

    def asked(request):
        if not request.url.startswith((base, "data:", "blob:")):
            found.trouble.append(f"another host: {request.url}")

    window.on("console", said)
    window.on("pageerror", lambda error: found.trouble.append(str(error)))
    window.on("request", asked)
    window.on("response", lambda r: found.weight.append(int(r.headers.get("content-length", 0))))
    window.goto(f"{base}book/{name}.html")
    return found


def ready(window):
    """What is shown, once all is computed."""
    root = window.locator("div.play")
    root.evaluate(READY)
    return root.evaluate(SHOWN)


def choose(window, legend, value):
    """Chooses a radio button of a group, as a click on its label does."""
    group = window.locator("fieldset", has=window.locator("legend", has_text=legend))
    group.locator("label", has=window.locator(f'input[value="{value}"]')).click()
    return ready(window)


def slide(window, title, value):
    label = window.locator("label.play-slider", has_text=title)
    label.locator("input").fill(str(value))
    return ready(window)


def probabilities(log_probs):
    """JSON has no infinity: what has no answer comes as None."""
    return np.array([0.0 if value is None else math.exp(value) for value in log_probs])


VISITS = {  # both ways, both themes and both widths, each with each of the others
    "file, light, desk": ("file", "light", DESK),
    "file, dark, phone": ("file", "dark", PHONE),
    "http, light, phone": ("http", "light", PHONE),
    "http, dark, desk": ("http", "dark", DESK),
}


@pytest.fixture(params=VISITS.values(), ids=VISITS)
def large(request, browser, site):
    way, theme, size = request.param
    found = opened(browser, site, f"large-{theme}", way=way, size=size)
    yield found
    assert found.trouble == []
    found.window.context.close()


# ------------------------------------------------------------------------------- agreement
@pytest.mark.parametrize("dataset", playing.DATASETS)
def test_every_shipped_clip_is_answered_as_pytorch_does(browser, site, dataset):
    page = opened(browser, site, "large-light")
    ready(page.window)
    choose(page.window, "Data", dataset)
    about = content(dataset)
    for head in ("safe", "text"):
        choose(page.window, "Who answers", head)
        for i, told in enumerate(about["recordings"]):
            shown = choose(page.window, "A test recording", i)
            assert shown["label"] == told["label"] and shown["classes"] == about["classes"]
            for name in (head, "rgb", "event"):
                before = np.array(about["models"][name]["log_probs"][i])
                after = np.array(shown["logProbs"][name])
                assert np.abs(np.exp(before) - np.exp(after)).max() < 0.005
                assert (np.argsort(-before)[:5] == np.argsort(-after)[:5]).all()
            first = about["classes"][int(np.argmax(shown["logProbs"][head]))]
            assert first in page.window.locator(".play-bars li").first.inner_text()
    assert page.trouble == []
    page.window.context.close()


# ------------------------------------------------------------------------------- every switch
@pytest.mark.parametrize("dataset", playing.DATASETS)
def test_every_switch_of_the_cameras_changes_the_answers(large, dataset):
    ready(large.window)
    clean = choose(large.window, "Data", dataset)
    for value, silent in (("rgb", "event"), ("event", "rgb")):
        off = choose(large.window, "Cameras that are on", value)
        assert off["logProbs"][silent] != clean["logProbs"][silent]
        assert off["logProbs"][value] == clean["logProbs"][value]
        assert off["logProbs"]["safe"] != clean["logProbs"]["safe"]
    assert choose(large.window, "Cameras that are on", "both")["logProbs"] == clean["logProbs"]
    concerns = {"Darken": "rgb", "Blur": "rgb", "Drop": "event", "Delay": "event"}
    for title, branch in concerns.items():
        changed = slide(large.window, title, {"Delay": 2}.get(title, 10))
        assert changed["logProbs"][branch] != clean["logProbs"][branch], title
        assert changed["logProbs"]["safe"] != clean["logProbs"]["safe"], title
        if title != "Delay":
            other = "event" if branch == "rgb" else "rgb"
            assert changed["logProbs"][other] == clean["logProbs"][other], title
        assert slide(large.window, title, 0)["logProbs"] == clean["logProbs"]
    rgb_late = slide(large.window, "Delay", -3)
    assert rgb_late["state"]["delay"] == -3
    assert rgb_late["logProbs"]["rgb"] != clean["logProbs"]["rgb"]


@pytest.mark.parametrize("dataset", playing.DATASETS)
def test_names_change_nothing_for_safe_and_everything_for_the_head_that_reads(large, dataset):
    window = large.window
    ready(window)
    before = choose(window, "Data", dataset)
    reading_before = choose(window, "Who answers", "text")["logProbs"]["text"]
    choose(window, "Who answers", "safe")
    said = window.locator(".play-said")
    window.get_by_role("button", name="Shuffle the names").click()
    after = ready(window)
    order = after["state"]["order"]
    assert sorted(order) == list(range(len(order))) and order != sorted(order)
    change = probabilities(after["logProbs"]["safe"]) - probabilities(before["logProbs"]["safe"])
    assert np.abs(change).max() < 5e-5
    assert "the same output" in said.inner_text() and "0.00 points" in said.inner_text()

    read = choose(window, "Who answers", "text")["logProbs"]["text"]
    assert np.allclose(probabilities(read), probabilities(reading_before)[order], atol=1e-4)
    if int(np.argmax(reading_before)) != order[int(np.argmax(reading_before))]:
        assert "another output" in said.inner_text()

    window.get_by_role("button", name="own names again").click()
    assert ready(window)["logProbs"]["text"] == reading_before
    assert said.inner_text().count("output") == 0
    window.get_by_role("button", name="Drop the true class").click()
    dropped = ready(window)
    assert dropped["state"]["dropped"] == [before["label"]]
    assert probabilities(dropped["logProbs"]["text"])[before["label"]] == 0
    still = choose(window, "Who answers", "safe")["logProbs"]["safe"]
    assert probabilities(still)[before["label"]] > 0

    window.locator(".play-names summary").click()
    window.locator(".play-names details input").nth((before["label"] + 1) % 24).uncheck()
    assert len(ready(window)["state"]["dropped"]) == 2


def test_attention_is_laid_over_the_clip_beside_an_even_share(large):
    window = large.window
    ready(window)
    strips = window.locator(".play-strip figure")
    assert [strips.nth(i).locator("canvas").count() for i in range(2)] == [3, 3]
    window.locator(".play-strip input[type=checkbox]").check()
    ready(window)
    assert [strips.nth(i).locator("canvas").count() for i in range(2)] == [4, 4]
    texts = strips.all_inner_texts()
    assert all("evenness" in text and "even share" in text for text in texts)
    window.locator(".play-strip select").select_option("3")
    ready(window)
    assert strips.all_inner_texts() != texts


def test_rivals_stand_beside_safe_with_their_first_answers(large):
    shown = ready(large.window)
    rows = large.window.locator(".play-rivals tbody tr")
    assert rows.count() == 5
    for row in rows.all():
        log_probs = shown["logProbs"][row.get_attribute("data-model")]
        text = row.inner_text()
        first = int(np.argmax(log_probs))
        assert shown["classes"][first] in text
        if model := row.locator("small").all_inner_texts():
            assert re.fullmatch(r"\s*right on \d\d\.\d % of all test recordings", model[0])
        assert ("✓" in text) == (first == shown["label"])
        assert f"{100 * math.exp(log_probs[shown['label']]):.1f} %" in text


def test_the_recording_moves_and_can_be_stopped(large):
    window = large.window
    ready(window)
    time = window.locator(".play-time input")
    now = time.input_value()
    window.wait_for_function(
        "([input, before]) => input.value !== before", arg=[time.element_handle(), now]
    )
    window.locator(".play-time button").click()
    stopped = time.input_value()
    window.wait_for_timeout(400)
    assert time.input_value() == stopped


# ------------------------------------------------------------------------------- readers
def test_the_keyboard_reaches_everything(browser, site):
    page = opened(browser, site, "large-light")
    first = ready(page.window)["state"]["recording"]
    page.window.keyboard.press("Tab")
    reached = []
    for _ in range(60):
        inside = "document.activeElement.closest('.play > div')?.className"
        reached.append(page.window.evaluate(inside))
        if reached.count("play-thumbs") == 1 and reached[-1] == "play-thumbs":
            page.window.keyboard.press("ArrowRight")
            page.window.keyboard.press("ArrowRight")
        page.window.keyboard.press("Tab")
    assert ready(page.window)["state"]["recording"] == first + 2
    parts = ("sets", "thumbs", "player", "cameras", "sliders", "names", "strip")
    assert {f"play-{part}" for part in parts} <= set(reached)
    page.window.context.close()


MEASURE = """() => {
  const over = [...document.querySelectorAll('main *')].filter(
    node => node.getBoundingClientRect().right > innerWidth + 1 && !node.closest('svg'));
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = luminance(parse(getComputedStyle(document.body).backgroundColor));
  const faint = [];
  for (const node of document.querySelectorAll(':is(.play, .pixel) *')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!own || node.closest('option, svg')) continue;
    const text = luminance(parse(getComputedStyle(node).color));
    const [light, dark] = [Math.max(text, ground), Math.min(text, ground)];
    if ((light + 0.05) / (dark + 0.05) < 4.5) faint.push(node.outerHTML.slice(0, 120));
  }
  const small = [...document.querySelectorAll('.play button, .play-switch span')]
    .filter(node => node.getBoundingClientRect().height < 32).map(node => node.textContent);
  return {over: over.slice(0, 3).map(node => node.outerHTML.slice(0, 120)), faint, small};
}"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", LOOKS)
@pytest.mark.parametrize("part", ["large", "small", "pixel"])
def test_nothing_is_cut_off_or_faint(browser, site, part, theme, size):
    page = opened(browser, site, f"{part}-{theme}", size=size)
    if part != "pixel":
        ready(page.window)
    if part == "large":
        page.window.locator(".play-strip input[type=checkbox]").check()
        ready(page.window)
    assert page.window.evaluate(MEASURE) == {"over": [], "faint": [], "small": []}
    assert page.trouble == []
    page.window.context.close()


def test_without_javascript_there_is_a_picture_and_a_sentence(browser, site):
    page = opened(browser, site, "large-light", java_script_enabled=False)
    assert page.window.locator(".play img").get_attribute("alt")
    assert "With JavaScript" in page.window.locator(".play").inner_text()
    assert page.window.locator(".play img").bounding_box()["height"] > 100
    page.window.context.close()


def test_the_first_answer_is_light_and_quick(browser, site):
    """At most 6 MB are loaded before it, and, on a machine with nothing else to do, 3 s go by."""
    page = opened(browser, site, "large-light", way="http")
    page.window.wait_for_selector(".play-bars li")
    assert 0.5 * MIB < sum(page.weight) < 6e6
    seconds = page.window.evaluate("performance.now() / 1000")
    if os.getloadavg()[0] < (os.cpu_count() or 1) / 2:
        assert seconds < 3
    page.window.context.close()


def test_nothing_is_loaded_before_the_reader_comes_near(browser, site):
    folder, _ = site
    text = (folder / "book" / "small-light.html").read_text()
    far = text.replace('<div class="play"', '<p style="height: 5000px">far</p><div class="play"')
    (folder / "book" / "far.html").write_text(far)
    page = opened(browser, site, "far", way="http")
    page.window.wait_for_timeout(500)
    assert sum(page.weight) < 0.3 * MIB
    page.window.locator("div.play").scroll_into_view_if_needed()
    ready(page.window)
    assert page.trouble == []
    page.window.context.close()


def test_where_the_models_are_missing_the_page_says_so(browser, site, tmp_path):
    folder, _ = site
    (tmp_path / "book").mkdir()
    (tmp_path / "_static" / "play").mkdir(parents=True)
    for file in [*CODE.glob("*.js"), *CODE.glob("*.css")]:
        (tmp_path / "_static" / "play" / file.name).write_bytes(file.read_bytes())
    page = folder / "book" / "large-light.html"
    (tmp_path / "book" / "large-light.html").write_bytes(page.read_bytes())
    found = opened(browser, (tmp_path, "http://127.0.0.1/"), "large-light")
    found.window.wait_for_selector(".play-trouble")
    assert "hardvs.js is not there" in found.window.locator(".play").inner_text()
    found.window.context.close()


# ------------------------------------------------------------------------------- one pixel
def test_the_one_pixel_obeys_its_sliders(browser, site):
    page = opened(browser, site, "pixel-light")
    said = page.window.locator(".pixel p")
    arrows = page.window.locator(".pixel path")

    def slide(title, value):
        page.window.locator(".pixel label", has_text=title).locator("input").fill(str(value))
        return arrows.count()

    first = arrows.count()
    assert first > 4
    assert slide("Threshold", 1.2) < first
    assert slide("Threshold", 0.2) > first
    assert slide("Speed", 0) == 0 and "0 ON and 0 OFF" in said.inner_text()
    assert slide("Speed", 3) > 0
    assert slide("Light", 6) < slide("Light", 0)
    assert page.trouble == [] and DATA.is_dir()
    page.window.context.close()


def test_the_words_beside_the_one_pixel_are_as_large_on_a_phone_as_on_a_desk(browser, site):
    sizes = """() => [...document.querySelectorAll('.pixel :is(.pixel-words, svg text)')].map(
      node => parseFloat(getComputedStyle(node).fontSize) * (node.getCTM?.().a ?? 1))"""
    page = opened(browser, site, "pixel-light", size=PHONE)
    found = page.window.evaluate(sizes)
    assert len(found) == 2 and min(found) >= 12
    page.window.context.close()
