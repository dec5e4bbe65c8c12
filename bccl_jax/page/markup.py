"""HTML as text of which everything is escaped that is not known to be HTML."""

import html
import re
from collections.abc import Container, Iterable, Sequence
from typing import Any

from bccl_jax.system.names import printable

# Elements without content, and so without an end.
_VOID = {"img", "br", "meta"}


class Markup(str):
    """HTML that is known to be some."""


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """An element.

    Args:
      name: of the element.
      *content: its children in order; what is no `Markup` is text, and escaped. None is left out.
      **attributes: by name, `class_` for class and `data_x` for data-x; None leaves one out, True
        gives it no value.
    """
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(content)}</{name}>")


def joined(content: Iterable[Any]) -> Markup:
    """Children one after the other; what is no `Markup` is escaped, None left out."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else escaped(part)
            for part in content
            if part is not None
        )
    )


def escaped(value: Any) -> str:
    """A value as text that neither ends an element nor an attribute."""
    return html.escape(str(value), quote=True)


def name(text: str) -> Markup:
    """What a user calls something, as one word: right-to-left writing turns nothing around it."""
    return tag("bdi", printable(text))


def paragraph(*content: Any, **attributes: Any) -> Markup:
    """A paragraph."""
    return tag("p", *content, **attributes)


def table(
    heads: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    caption: str,
    words: int = 1,
    spared: Container[int] = (),
) -> Markup:
    """A table whose rows each begin with their own head, and that scrolls where it is too wide.

    Args:
      heads: of the columns.
      rows: of as many cells.
      caption: what it shows.
      words: columns from the left that hold words; the others hold numbers.
      spared: columns, from 0, for which a phone has no room.
    """

    def cell(kind: str, column: int, content: Any, **attributes: Any) -> Markup:
        classes = ["number"] * (column >= words) + ["spared"] * (column in spared)
        return tag(kind, content, class_=" ".join(classes) or None, **attributes)

    # "top-1" stays in one line, by another hyphen.
    heads = [text.replace("-", "\u2011") if type(text) is str else text for text in heads]
    head = [cell("th", i, text, scope="col") for i, text in enumerate(heads)]
    body = [
        tag(
            "tr",
            cell("th", 0, first, scope="row"),
            *(cell("td", i, content) for i, content in enumerate(rest, 1)),
        )
        for first, *rest in rows
    ]
    made = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
    )
    # What scrolls can be reached by the keyboard.
    return tag("div", made, class_="scrolls", tabindex="0", role="group", aria_label=caption)


def facts(pairs: Iterable[tuple[Any, Any]]) -> Markup:
    """A list of what there is to know, by name."""
    inner = [part for term, told in pairs for part in (tag("dt", term), tag("dd", told))]
    return tag("dl", *inner)


def plain_key(text: str) -> str:
    """A text as a part of an id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def number(value: float | None, digits: int = 2) -> str:
    """A figure with so many digits after the point; a dash for none."""
    return "–" if value is None or value != value else f"{value:,.{digits}f}"
