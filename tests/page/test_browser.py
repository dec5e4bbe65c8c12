"""A report in Chromium: it is drawn, says no error, asks the network for nothing, fits a phone."""

import io

import numpy as np
import pytest
from PIL import Image

from bccl_jax.page.document import document
from bccl_jax.page.library import plotly_script
from tests.chromium import chromium
from tests.page.made_up import HOSTILE, made_up

# Seconds of a browser that reads five megabytes of script.
pytestmark = pytest.mark.slow

DRAWN = "[...document.querySelectorAll('.plot')].every(place => place.querySelector('.main-svg'))"
# What is wider than the window and is neither scrolled nor cut within its own box.
TOO_WIDE = """[...document.querySelectorAll('body *')]
    .filter(each => !each.closest('.scrolls, svg, .near span'))
    .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
    .map(each => each.outerHTML.slice(0, 80))"""

# Tables of which something is beyond their edge.
CUT = """[...document.querySelectorAll('.scrolls')]
    .filter(each => each.scrollWidth > each.clientWidth + 1)
    .map(each => each.getAttribute('aria-label'))"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    pytest.importorskip("plotly")
    path = tmp_path_factory.mktemp("page") / "report.html"
    runs = [made_up(HOSTILE, name, seed) for seed, name in enumerate(("one", "<b>two</b>"))]
    path.write_text(document(runs, plotly_script()))
    return path


@pytest.mark.parametrize(
    ("width", "dark"), [(390, True), (768, False), (1440, False)], ids=["phone", "tablet", "desk"]
)
def test_a_page_is_drawn_at_any_width_without_an_error(browser, page, width, dark):
    # As high as the page, so that all of it is within sight.
    browser.show(page, width, 40_000, dark)
    browser.wait_for(DRAWN)
    assert browser.said == []
    assert {address.partition(":")[0] for address in browser.asked} == {"file", "data"}
    assert [a for a in browser.asked if a.startswith("file:")] == [page.as_uri()]
    assert browser.evaluate("document.title") == "2 runs side by side"
    assert browser.evaluate(TOO_WIDE) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(CUT) == []
    drawn = Image.open(io.BytesIO(browser.screenshot(x=0, y=0, width=width, height=60)))
    ground = np.asarray(drawn.convert("L"))[0, 0]
    assert ground < 40 if dark else ground > 240
    ink = browser.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill")
    brightness = np.mean([int(part) for part in ink[4:-1].split(",")])
    assert brightness > 180 if dark else brightness < 80


def test_what_a_page_may_not_do_is_seen(browser, tmp_path):
    """Or the test above would not see it either."""
    html = document([made_up(("a", "b"))], "console.error('spoken'); throw new Error('thrown');")
    loads = '<img src="https://127.0.0.1:1/x.png" alt=""><script>console.log("run")</script>'
    path = tmp_path / "page.html"
    path.write_text(html.replace("</main>", f"{loads}</main>"))
    browser.show(path, 800)
    told = "\n".join(browser.said)
    assert "spoken" in told
    assert "thrown" in told
    assert told.count("Content Security Policy") == 2
    assert "['run']" not in told


def test_a_charts_names_are_letters_and_no_markup(browser, page):
    browser.show(page, 1440, 40_000)
    browser.wait_for(DRAWN)
    ticks = browser.evaluate(
        "[...document.querySelectorAll('.xtick text')].map(t => t.textContent)"
    )
    assert "<b>bold<…$ &amp;" in "".join(ticks).replace("\u2068", "").replace("\u2069", "")
    assert browser.evaluate("document.querySelectorAll('.plot a, .plot b').length") == 0


def test_charts_are_drawn_as_one_comes_to_them(browser, page):
    browser.show(page, 1000, 700)
    first, last = (
        f"document.querySelectorAll('.plot').item({at}).children.length"
        for at in ("0", "document.querySelectorAll('.plot').length - 1")
    )
    browser.wait_for(f"{first} > 0")
    assert browser.evaluate(last) == 0
    browser.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    browser.wait_for(f"{last} > 0")


def test_all_is_drawn_on_paper(browser, page):
    browser.show(page, 1000, 700, dark=True)
    assert browser.printed().startswith(b"%PDF")
    assert browser.evaluate(DRAWN)
    assert browser.said == []
