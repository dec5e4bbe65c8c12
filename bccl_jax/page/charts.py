"""Figures of Plotly as JSON values: axes, lines, points, and what is the same in all of them.

Colours of paper, text and grid are no part of them: the page's style sheet has those, so that a
figure turns dark with its page and white on paper.
"""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bccl_jax.reporting.palette import KINDS, MARKERS, SHOTS
from bccl_jax.reporting.scales import log_ticks, marked, plain
from bccl_jax.system.names import printable, shortened

# Of matplotlib's markers what Plotly calls them.
SYMBOLS = {
    shot: {"o": "circle", "s": "square", "^": "triangle-up"}[mark] for shot, mark in MARKERS.items()
}
# Seen on white and on black alike; black itself is not.
LINES = tuple(color for color in KINDS if color != "#000000")
GREY = SHOTS["all"]
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
# Letters of a word where the pointer is, and on an axis.
_LONGEST, ON_AXIS = 40, 16


def label(text: str, longest: int = _LONGEST) -> str:
    """A user's word in a figure: as it is, cut to so many letters.

    Plotly takes <b> and the like for styles and &amp; for a sign. Right-to-left writing is kept to
    itself.
    """
    escaped = html.escape(shortened(printable(text), longest), quote=False)
    return escaped if escaped.isascii() else f"\u2068{escaped}\u2069"


def packed(values: Any) -> dict[str, str] | list:
    """Numbers in few bytes: Plotly reads arrays in base64, NaN is a gap.

    Args:
      values: a vector or a matrix.
    """
    array = np.asarray(values)
    kind = "f4" if array.dtype.kind == "f" else "i4"
    array = np.ascontiguousarray(array, dtype=f"<{kind}")
    found = {"dtype": kind, "bdata": base64.b64encode(array.tobytes()).decode()}
    return found if array.ndim == 1 else found | {"shape": ",".join(map(str, array.shape))}


def line(
    x: Sequence, y: Sequence, name: str, color: str, dash: str = "solid", **options: Any
) -> dict[str, Any]:
    """A curve; a single point is drawn as one, and so are points that stand alone between gaps."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if marked(y) else "lines",
        "x": packed(np.asarray(x, np.float64)),
        "y": packed(np.asarray(y, np.float64)),
        "name": name,
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"color": color, "size": 5},
        **options,
    }


def points(
    x: Sequence, y: Sequence, name: str, color: str, symbol: str = "circle", **options: Any
) -> dict[str, Any]:
    """Points."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": packed(np.asarray(x, np.float64)),
        "y": packed(np.asarray(y, np.float64)),
        "name": name,
        "marker": {"color": color, "symbol": symbol, "size": 8, "opacity": 0.85},
        **options,
    }


def axis(title: str, **options: Any) -> dict[str, Any]:
    """An axis."""
    return {
        "title": {"text": title, "standoff": 12},
        "automargin": True,
        "zeroline": False,
        **options,
    }


def log_axis(title: str, values: np.ndarray, floor: float | None = None) -> dict[str, Any]:
    """A logarithmic axis over positive values, with ticks at 1, 2 and 5 or at powers of ten.

    Args:
      title: of the axis.
      values: what is drawn on it; what is not positive is not seen.
      floor: where it begins; None for a little below the smallest value.
    """
    there = values[values > 0] if (np.asarray(values) > 0).any() else np.ones(1)
    low, high = floor or there.min() / 1.25, there.max() * 1.25
    ticks = log_ticks(low, high)
    return axis(
        title,
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks,
        ticktext=[plain(tick) for tick in ticks],
    )


def epochs(records_until: int) -> dict[str, Any]:
    """The axis of epochs, from 0 to the last one that there is."""
    most = max(records_until, 1)
    step = next(
        s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10**5) if most / s <= 10
    )
    return axis("epoch", range=[0, most * 1.04], dtick=step, tickangle=0)


def figure(
    data: Sequence[Mapping[str, Any]],
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    height: int = 380,
    **layout: Any,
) -> dict[str, Any]:
    """A figure that is as wide as there is room for it.

    Args:
      data: traces.
      x: `axis`.
      y: `axis`.
      height: in pixels.
      **layout: what else its layout says.
    """
    several = sum(trace.get("showlegend", True) for trace in data) > 1
    return {
        "data": list(data),
        "layout": {
            "xaxis": dict(x),
            "yaxis": dict(y),
            "height": height,
            "autosize": True,
            "showlegend": several,
            # Below the axes, where it lies on no data and takes no width of a phone.
            "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
            "margin": {"l": 55, "r": 15, "t": 15, "b": 85 if several else 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "hovermode": "closest",
            "modebar": {"bgcolor": "rgba(0,0,0,0)"},
            "hoverlabel": {"align": "left"},
            **layout,
        },
    }
