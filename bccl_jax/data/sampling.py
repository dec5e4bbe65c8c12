"""How often each class is drawn: the samplers of long-tailed training (Kang et al. 2020).

A sampler is a share of an epoch's images for each class. Which images these are is a pure function
of seed and epoch (`data/order.py`).
"""

import numpy as np

# "instance_balanced" takes each image once, so that a class comes as often as it has images.
INSTANCE_BALANCED = "instance_balanced"
CLASS_BALANCED = "class_balanced"
# The one whose shares depend on how much of the epochs is done.
PROGRESSIVE = "progressive"
# n^q of a class of n images.
_POWERS = {CLASS_BALANCED: 0.0, "square_root": 0.5, "reversed": -1.0}
SAMPLERS = (INSTANCE_BALANCED, *_POWERS, "effective_number", PROGRESSIVE)
# Before the q of a sampler of any other power, as in "power:0.8".
_ANY_POWER = "power:"
# Of the effective number of images, (1 - beta^n) / (1 - beta) (Cui et al. 2019).
BETA = 0.9999


def power_sampler(power: float) -> str:
    """The sampler of shares in proportion to n^power, which no name in `SAMPLERS` is needed for.

    Images that are drawn with weights n^(-r) make shares in proportion to n^(1 - r): the power is
    1 - r.

    Args:
      power: 1 is instance-balanced, 0 class-balanced, -1 reversed.

    Returns:
      What `class_shares` and `data.order.Order` take as a sampler.

    Examples:
      >>> class_shares(power_sampler(0.5), [100, 25])
      array([0.66666667, 0.33333333])
    """
    return f"{_ANY_POWER}{power:.12g}"


def is_sampler(name: str) -> bool:
    """Whether `class_shares` takes it: one of `SAMPLERS`, or what `power_sampler` gives."""
    if not isinstance(name, str) or not name.startswith(_ANY_POWER):
        return name in SAMPLERS
    try:
        return np.isfinite(float(name.removeprefix(_ANY_POWER)))
    except ValueError:
        return False


def class_shares(sampler: str, class_counts: np.ndarray, progress: float = 0.0) -> np.ndarray:
    """Share of an epoch's images that is drawn of each class.

    - "instance_balanced": n / N.
    - "class_balanced": 1 / K.
    - "square_root": in proportion to n^(1/2) (Mahajan et al. 2018).
    - "reversed": in proportion to 1 / n, so that the rarest class comes most often (Zhou et al.
      2020).
    - `power_sampler(q)`: in proportion to n^q.
    - "effective_number": each image by the inverse of its class's effective number.
    - "progressive": from instance- to class-balanced as the run goes on (Kang et al. 2020, Eq. 2).

    Args:
      sampler: one of `SAMPLERS`, or what `power_sampler` gives.
      class_counts: int [K], training images of each class.
      progress: share of the epochs that are done, for "progressive".

    Returns:
      float64 [K], sum 1; 0 for a class without images.

    Examples:
      >>> counts = [80, 15, 5]
      >>> class_shares("instance_balanced", counts)
      array([0.8 , 0.15, 0.05])
      >>> class_shares("class_balanced", counts).round(3)
      array([0.333, 0.333, 0.333])
      >>> class_shares("square_root", counts).round(3)
      array([0.594, 0.257, 0.149])
    """
    counts = np.asarray(class_counts, np.float64)
    there = counts > 0
    instance = counts / counts.sum()
    if sampler == INSTANCE_BALANCED:
        return instance
    if sampler == PROGRESSIVE:
        return (1 - progress) * instance + progress * there / there.sum()
    if sampler == "effective_number":
        # expm1 and log1p keep the digits of classes of few images.
        effective = -np.expm1(counts * np.log1p(BETA - 1))
        shares = np.divide(counts, effective, out=np.zeros_like(counts), where=there)
    else:
        named = sampler.removeprefix(_ANY_POWER)
        power = _POWERS[sampler] if named == sampler else float(named)
        shares = np.where(there, np.maximum(counts, 1) ** power, 0.0)
    return shares / shares.sum()


def draw(labels: np.ndarray, shares: np.ndarray, number: int, rng: np.random.Generator):
    """Draws images so that classes come by their shares, and images of a class equally often.

    A class comes its share of `number` times, rounded up or down at random; its images come in
    turn, each once before any comes again, in a random order.

    Args:
      labels: int [N].
      shares: [K], sum 1.
      number: of images to draw.
      rng: random numbers.

    Returns:
      int64 [number], indices in random order.
    """
    # One uniform number rounds all classes, so that the sum is met (systematic sampling).
    marks = np.concatenate([[0.0], np.cumsum(shares)]) * number + rng.uniform()
    marks[-1] = number + marks[0]
    times = np.diff(np.floor(marks)).astype(np.int64)
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], np.arange(len(shares) + 1))
    drawn = []
    for label in np.flatnonzero(times):
        own = by_class[starts[label] : starts[label + 1]]
        rounds = -(-times[label] // len(own))
        turns = np.concatenate([rng.permutation(own) for _ in range(rounds)])
        drawn.append(turns[: times[label]])
    return rng.permutation(np.concatenate(drawn))
