"""Label smoothing by the size of a label's class (MiSLAS, Zhong et al. 2021)."""

import jax
import jax.numpy as jnp

# How the share falls from the largest class to the smallest: a sine that stays high, a line, a sine
# that falls at once, or a power of the line.
FORMS = ("concave", "linear", "convex", "power")


def class_smoothing(
    class_counts: jax.Array,
    *,
    head: float,
    tail: float,
    form: str = "concave",
    power: float = 0.5,
) -> jax.Array:
    """What a label of each class gives away to all classes (Zhong et al. 2021, Eq. 6 to 8).

    With t = (n - n_min) / (n_max - n_min) it is `tail + (head - tail) sin(t pi / 2)`, or t in the
    place of the sine, or `1 + sin((3 + t) pi / 2)`, or t to a power. Frequent classes are those
    that a network is too sure of.

    Args:
      class_counts: [K] training images per class, integer or floating, not all zero.
      head: share of the class with the most images, from 0 to 1.
      tail: share of the one with the fewest.
      form: one of `FORMS`.
      power: of the form "power"; the others do not read it.

    Returns:
      float32 [K]. All are `head` where classes are of one size; one without images has `tail`.

    Raises:
      ValueError: class_counts that is not a vector, a share out of its bounds, or no such form.
    """
    if jnp.ndim(class_counts) != 1:
        raise ValueError(
            f"class_counts has shape {jnp.shape(class_counts)}; pass one count a class, [K]."
        )
    if not (0 <= head <= 1 and 0 <= tail <= 1):
        raise ValueError(f"head is {head} and tail {tail}; pass numbers from 0 to 1.")
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; pass one of {', '.join(FORMS)}.")
    counts = jnp.asarray(class_counts, jnp.float32)
    fewest = jnp.min(jnp.where(counts > 0, counts, jnp.inf))
    spread = jnp.max(counts) - fewest
    size = (jnp.maximum(counts, fewest) - fewest) / jnp.where(spread > 0, spread, 1.0)
    size = jnp.where((spread == 0) & (counts > 0), 1.0, size)
    if form == "concave":
        size = jnp.sin(size * jnp.pi / 2)
    elif form == "convex":
        # 1 + sin((3 + t) pi / 2), of which small t would leave few digits.
        size = 2 * jnp.sin(size * jnp.pi / 4) ** 2
    elif form == "power":
        size = size**power
    return tail + (head - tail) * size


def smoothed_by_class(labels: jax.Array, smoothing: jax.Array) -> jax.Array:
    """Label smoothing by the label's own share s: `(1 - s) onehot(label) + s / K`.

    Args:
      labels: [B] integer classes in [0, K).
      smoothing: [K] floating, each from 0 to 1, such as `class_smoothing`.

    Returns:
      float32 [B, K], rows that sum to 1: soft labels for `classification.cross_entropy_loss`.

    Raises:
      ValueError: labels that are no vector of integers, or smoothing that is no vector.
    """
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels are {labels.dtype} of shape {labels.shape}; pass integer classes, [B]."
        )
    if smoothing.ndim != 1:
        raise ValueError(f"smoothing has shape {smoothing.shape}; pass one share a class, [K].")
    own = jnp.asarray(smoothing, jnp.float32)[labels][:, None]
    onehot = jax.nn.one_hot(labels, len(smoothing), dtype=jnp.float32)
    return (1 - own) * onehot + own / len(smoothing)
