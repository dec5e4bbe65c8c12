"""The page: sections with their charts in one file that loads nothing."""

import base64
import datetime
import hashlib
import itertools
import json
import pathlib
import string
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from bccl_jax.page.markup import Markup, escaped, joined, name, number, paragraph, plain_key, tag
from bccl_jax.page.section import Chart, Section
from bccl_jax.page.sections import (
    calibration,
    classes,
    comparison,
    confusions,
    embedding,
    inside,
    pictures,
    profile,
    shift,
    training,
    what_ran,
)
from bccl_jax.page.told import Told
from bccl_jax.reporting.console import ACCURACIES
from bccl_jax.reporting.records import finite

_SECTIONS = (
    what_ran,
    profile,
    training,
    classes,
    confusions,
    calibration,
    pictures,
    embedding,
    inside,
    shift,
)
_HERE = pathlib.Path(__file__).parent


class _Page:
    """Puts sections into HTML and collects the figures of their charts."""

    def __init__(self):
        self.figures: list[dict[str, Any]] = []
        self._taken: set[str] = set()

    def key(self, title: str) -> str:
        """An id of its own for a title."""
        plain = plain_key(title)
        keys = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
        found = next(key for key in keys if key not in self._taken)
        self._taken.add(found)
        return found

    def section(self, section: Section, level: int) -> tuple[Markup, Markup]:
        """A section whose heading is of a level from 1 to 6, and a link to it."""
        key = self.key(section.title)
        parts = [
            self._chart(part, level + 1) if isinstance(part, Chart) else part
            for part in section.parts
        ]
        heading = tag(f"h{level}", section.title, id=f"{key}-title")
        made = tag("section", heading, *parts, id=key, aria_labelledby=f"{key}-title")
        return made, link(key, section.title)

    def _chart(self, chart: Chart, level: int) -> Markup:
        self.figures.append(chart.figure)
        plot = tag(
            "div",
            class_="plot",
            role="img",
            aria_label=chart.alt,
            data_figure=len(self.figures) - 1,
            # The room that it will take, so that nothing moves when it is drawn.
            style=f"height:{chart.figure['layout']['height']}px",
        )
        note = None if chart.note is None else tag("figcaption", chart.note)
        return tag("figure", tag(f"h{level}", chart.title), plot, note, class_="chart")


def link(key: str, text: Any) -> Markup:
    """A link to a part of the page."""
    return tag("a", text, href=f"#{key}")


def document(runs: list[Told], plotly: str) -> str:
    """The whole page.

    Args:
      runs: one or more, each with a name of its own.
      plotly: the library's script.

    Returns:
      HTML that holds all it needs and may load nothing.
    """
    page = _Page()
    if len(runs) == 1:
        (run,) = runs
        title = f"{run.title}: {run.name}"
        heading, lead = name(run.title), _lead(run)
        body, links = _of_run(page, run, level=2)
    else:
        title = f"{len(runs)} runs side by side"
        heading, lead = title, paragraph(*_listed(runs))
        body, links = _of_runs(page, runs)
    script = _read("script.js")
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    filled = {
        "policy": policy(plotly, script),
        "title": escaped(title),
        "style": _read("style.css"),
        "heading": joined([heading]),
        "lead": lead,
        "contents": tag("ul", *(tag("li", each) for each in links)),
        "body": joined(body),
        "made": f"Made by bccl_jax {sys.modules['bccl_jax'].__version__}, {now}.",
        "figures": as_script(page.figures),
        "plotly": plotly,
        "script": script,
    }
    return string.Template(_read("template.html")).substitute(filled)


def _of_run(page: _Page, run: Told, level: int) -> tuple[list[Markup], list[Markup]]:
    body, links, lacking = [], [], []
    for module in _SECTIONS:
        section = module.section(run)
        lacking += section.lacking
        if section.parts:
            made, to = page.section(section, level)
            body.append(made)
            links.append(to)
    if lacking:
        lines = tag("ul", *(tag("li", line) for line in lacking), class_="lacking")
        made, to = page.section(Section("Not in this report", (lines,)), level)
        body.append(made)
        links.append(to)
    return body, links


def _of_runs(page: _Page, runs: list[Told]) -> tuple[list[Markup], list[Markup]]:
    side = comparison.section(runs)
    if side.lacking:
        lines = tag("ul", *(tag("li", line) for line in side.lacking), class_="lacking")
        words = paragraph("Not compared image by image:")
        side = Section(side.title, (*side.parts, words, lines))
    made, to = page.section(side, 2)
    body, links = [made], [to]
    for run in runs:
        key = page.key(f"run {run.name}")
        inner, inside_links = _of_run(page, run, level=3)
        heading = tag("h2", name(run.name), ": ", name(run.title), id=f"{key}-title")
        body.append(tag("section", heading, *inner, id=key, aria_labelledby=f"{key}-title"))
        below = tag("ul", *(tag("li", each) for each in inside_links))
        links.append(joined((link(key, name(run.name)), below)))
    return body, links


def _lead(run: Told) -> Markup:
    """How the run came out, in a sentence."""
    words = "."
    if run.figures is not None:
        found = {text: run.figures.record.get(key) for key, text in ACCURACIES.items()}
        shown = [f"{text} {number(value, 1)}" for text, value in found.items() if value is not None]
        words = f", after {run.figures.epoch:,} epochs on {run.figures.of}: {', '.join(shown)} %."
    if run.records and not run.finished:
        words += f" The run is under way: {run.epoch:,} of {run.config['epochs']:,} epochs."
    return paragraph("Run ", tag("strong", name(run.name)), words)


def _listed(runs: Iterable[Told]) -> Iterator[Any]:
    for i, run in enumerate(runs):
        yield from (", " if i else "", name(run.name), " (", name(run.title), ")")
    yield ". The others are compared with the first."


def as_script(value: Any) -> Markup:
    """JSON that ends no element of a script, whatever strings it has."""
    text = json.dumps(finite(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def policy(*scripts: str) -> str:
    """What a browser lets the page do: run these very scripts, show what it holds, load nothing."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _read(file: str) -> str:
    return (_HERE / file).read_text(encoding="utf-8")
