"""Tables in Markdown, and numbers in their cells."""

import math
from collections.abc import Iterable, Sequence

from bccl_jax.evaluation.statistics import Spread

NONE = "–"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def accuracy(value: Spread | None) -> str:
    """A mean and its deviation to two decimals."""
    return plus_minus(value, "{:.2f}")


def plus_minus(value: Spread | None, form: str) -> str:
    """A mean and its deviation, if it has one, in a format such as "{:.1f}"."""
    if value is None:
        return NONE
    mean = number(value.mean, form)
    return mean if value.deviation is None else f"{mean} ± {number(value.deviation, form)}"


def measure(value: Spread | None) -> str:
    """Three significant digits of the mean or its deviation, whichever is larger."""
    size = 0.0 if value is None else max(abs(value.mean), value.deviation or 0.0)
    decimals = 2 - math.floor(math.log10(size)) if size else 2
    return plus_minus(value, f"{{:.{max(decimals, 0)}f}}")


def number(value: float, form: str) -> str:
    """A number in a format, with a minus sign."""
    return form.format(value).replace("-", "−")


def signed(value: float | None) -> str:
    """A difference to two decimals, with its sign."""
    return NONE if value is None else number(value, "{:+.2f}")


def probability(p: float | None) -> str:
    """A p-value to three decimals."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
