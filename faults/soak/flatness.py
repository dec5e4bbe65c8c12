"""What "flat" means: a rule for each figure, in its own units."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import theilslopes

# Of the samples; before, programs are compiled, buffers grow to their size and caches fill.
WARM_UP = 1 / 3
# Figures that may not grow by a whole one from the first to the last of the samples looked at.
COUNTS = (
    "processes",
    "handles",
    "threads",
    "temporary",
    "arrays",
    "compilations",
    "files",
)
# The same of a buffer that nobody would miss, in bytes.
SIZES = {"shared": 65536, "array bytes": 1024, "file bytes": 65536}
# How sure it must be that a figure grows faster than it may: files come and go with each save.
CONFIDENCE = 0.99


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a figure is flat.

    Attributes:
      figure: its name.
      slope: of the robust line over the samples after the warm-up, in units of it a step.
      at_least: the lower end of the interval that the slope lies in, by `CONFIDENCE`.
      bound: the slope that is allowed.
      first: median of the first tenth of these samples.
      last: median of their last tenth.
    """

    figure: str
    slope: float
    at_least: float
    bound: float
    first: float
    last: float

    @property
    def flat(self) -> bool:
        """Whether it grows no faster than it may; what shrinks is no leak."""
        return self.at_least <= self.bound


def judge(samples: Sequence[Mapping[str, float]], slopes: Mapping[str, float]) -> list[Verdict]:
    """Says of each figure whether it is flat.

    The line is that of Theil and Sen, whose slope is the median of the slopes between all pairs of
    samples: a few that stand out, as where memory is given back to the system late, do not move it.

    Args:
      samples: in order, with "step"; at least 6.
      slopes: units a step that figures may grow by, beside `COUNTS` and `SIZES`.

    Returns:
      A verdict for each figure with a bound.

    Raises:
      ValueError: there are too few samples.
    """
    if len(samples) < 6:
        raise ValueError(f"{len(samples)} samples say nothing of what grows: take 6 at least.")
    kept = samples[int(len(samples) * WARM_UP) :]
    steps = np.array([sample["step"] for sample in kept], float)
    length = steps[-1] - steps[0]
    bounds = dict.fromkeys(COUNTS, 1 / length)
    bounds |= {name: size / length for name, size in SIZES.items()}
    bounds |= slopes
    tenth = -(-len(kept) // 10)
    verdicts = []
    for name, bound in bounds.items():
        values = np.array([sample[name] for sample in kept], float)
        slope, _, at_least, _ = map(float, theilslopes(values, steps, alpha=CONFIDENCE))
        first, last = np.median(values[:tenth]), np.median(values[-tenth:])
        verdicts.append(Verdict(name, slope, at_least, bound, float(first), float(last)))
    return verdicts
