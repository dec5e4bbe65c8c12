"""The page as a whole: HTML that is whole, escaped, small enough, and loads nothing."""

import base64
import dataclasses
import hashlib
import re

import numpy as np
import pytest

from bccl_jax.page.document import document
from bccl_jax.system.names import printable
from tests.page.made_up import HOSTILE, made_up
from tests.page.reading import Page

PLOTLY = "const Plotly = {newPlot() {}, relayout() {}};"


@pytest.fixture(scope="module")
def one():
    return document([made_up(HOSTILE)], PLOTLY)


@pytest.fixture(scope="module")
def several():
    runs = [made_up(HOSTILE, name, seed) for seed, name in enumerate(("<a>", "b & c", "b-c"))]
    return document(runs, PLOTLY)


@pytest.mark.parametrize("page", ["one", "several"])
def test_a_page_is_whole_and_loads_nothing(page, request):
    html = request.getfixturevalue(page)
    found = Page(html)
    assert found.wrong == []
    assert len(set(found.ids)) == len(found.ids)
    for address in found.addresses:
        assert re.match(r"(#|data:(image/(png|jpeg)|text/csv;charset=utf-8);base64,)", address)
        assert not address.startswith("#") or address[1:] in found.ids
    for _, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        for key in ("aria-labelledby",):
            assert attributes.get(key) is None or attributes[key] in found.ids
    assert not re.search(r"url\(|@import|https?:", html.partition("<script")[0])


@pytest.mark.parametrize("page", ["one", "several"])
def test_a_page_can_be_read_without_eyes(page, request):
    found = Page(request.getfixturevalue(page))
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    steps = np.diff(found.headings)
    assert steps.max() == 1, "a heading is left out"
    for tag, attributes in found.tags:
        if tag == "img":
            assert attributes["alt"]
        if attributes.get("class") == "plot":
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"]) > 20
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    names = [tag for tag, _ in found.tags]
    assert names.count("table") == names.count("caption")
    assert dict(found.tags[[tag for tag, _ in found.tags].index("html")][1])["lang"] == "en"


def test_every_name_stands_on_the_page_as_it_is(one):
    found = Page(one)
    for name in HOSTILE:
        assert printable(name) in found.text
    assert [kind for kind, _ in found.scripts] == ["application/json", None, None]
    names = [tag for tag, _ in found.tags]
    assert names.count("title") == 1
    assert "b" not in names


def test_the_browser_may_run_the_scripts_of_the_page_and_nothing_else(one):
    found = Page(one)
    policies = [a["content"] for tag, a in found.tags if a.get("http-equiv")]
    (policy,) = policies
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    scripts = [text for kind, text in found.scripts if kind is None]
    assert PLOTLY in scripts
    for text in scripts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_each_chart_has_its_figure(several):
    found = Page(several)
    numbers = [int(a["data-figure"]) for _, a in found.tags if "data-figure" in a]
    assert numbers == [*range(len(found.figures))]
    assert len(numbers) > 30


def test_plotly_takes_every_figure(several):
    objects = pytest.importorskip("plotly.graph_objects")
    for figure in Page(several).figures:
        objects.Figure(figure)  # it refuses what it does not know


def test_eight_thousand_classes_stay_below_ten_megabytes():
    # The names of iNaturalist 2018 are as long.
    names = tuple(f"Plantae Magnoliopsida Genus{k} species{k}" for k in range(8142))
    html = document([made_up(names, pictures=12)], PLOTLY)
    # Plotly's own script has 4.8 MB.
    assert len(html.encode()) < 10e6 - 5e6
    found = Page(html)
    assert found.wrong == []
    rows = [tag for tag, _ in found.tags].count("tr")
    assert rows < 200
    assert "The 20 worst classes" in found.text


def test_what_a_run_lacks_is_said_and_left_out():
    whole = made_up(tuple("abcd"))
    html = Page(document([whole], PLOTLY))
    assert "Not in this report" not in html.text
    bare = dataclasses.replace(whole, looked=None, unseen="its disk is away.", results={})
    for record in bare.records:
        record.pop("eval", None)
        record.pop("quarters")
    found = Page(document([bare], PLOTLY))
    told = found.text.partition("Not in this report")[2]
    for sentence in (
        "Classes: the run was not evaluated yet.",
        "Confusion: the run was not evaluated yet.",
        "Calibration: no record has the probabilities.",
        "Pictures: its disk is away.",
        "Embeddings: its disk is away.",
        "Cosines within and between classes: bccl does not log them.",
        "Queues by class: no checkpoint was looked at.",
    ):
        assert sentence in told
    assert "Loss and its terms" in found.text
    assert "Calibration" not in found.text.partition("Not in this report")[0]
    assert "The run is under way: 6 of 6 epochs." in found.text
    nothing = dataclasses.replace(bare, records=[])
    assert Page(document([nothing], PLOTLY)).wrong == []
