"""Where axes have their ticks and curves their marks, for matplotlib and for Plotly."""

import math
from collections.abc import Sequence

import numpy as np

# A curve of at most so many points shows each of them.
_MARKED = 30


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis between two positive values: 1, 2 and 5, or powers of ten alone.

    Args:
      low: where the axis begins.
      high: where it ends.

    Returns:
      The ticks within, by size.
    """
    digits = (1, 2, 5) if high / low < 2000 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = (digit * 10.0**power for power in powers for digit in digits)
    return [tick for tick in ticks if low <= tick <= high]


def plain(value: float) -> str:
    """A number as it is read: 1,000 and 0.02, no power of ten."""
    return f"{value:,.12g}"


def marked(values: Sequence[float | None]) -> bool:
    """Whether a curve through values shows its points, so that none is lost between gaps.

    Args:
      values: of the curve, in order; what is not finite is a gap.

    Returns:
      True of few points, and where one has no neighbour to be joined with.
    """
    there = np.pad(np.isfinite(np.asarray(values, np.float64)), 1)
    alone = there[1:-1] & ~(there[:-2] | there[2:])
    return len(values) <= _MARKED or bool(alone.any())
