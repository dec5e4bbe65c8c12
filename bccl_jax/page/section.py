"""The parts of a report: sections of words and charts."""

import dataclasses
from typing import Any

from bccl_jax.page.markup import Markup


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture that Plotly draws.

    Attributes:
      title: above it.
      alt: what it shows, for those who do not see it.
      figure: {"data", "layout"} of Plotly, JSON values.
      note: below it; None for nothing.
    """

    title: str
    alt: str
    figure: dict[str, Any]
    note: Markup | None = None


@dataclasses.dataclass(frozen=True)
class Section:
    """A section.

    Attributes:
      title: its heading.
      parts: HTML and charts, in order.
      lacking: what it would have beside these, and why it has not: a sentence each.
    """

    title: str
    parts: tuple[Markup | Chart, ...] = ()
    lacking: tuple[str, ...] = ()
