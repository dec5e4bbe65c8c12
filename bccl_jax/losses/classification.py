"""Classification losses: softmax cross-entropy, plain and with logits compensated by the prior.

Labels are hard or soft: integer classes [B], or shares of the classes [B, K] whose rows sum to 1,
as label smoothing (`smoothed`) and mixed images have them.
"""

import jax
import jax.numpy as jnp
import optax


def cross_entropy_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy, averaged over the batch, in float32.

    Of soft labels y it is the mean of `-sum_k y_k log softmax(logits)_k`, where 0 log 0 is 0: a
    class without a share may have the logit -inf.

    Args:
      logits: [B, K] floating.
      labels: [B] integer classes in [0, K), or [B, K] shares of the classes, each row's sum 1,
        which is not checked.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.

    Examples:
      >>> logits = jnp.array([[2.0, 0.0]])
      >>> print(round(float(cross_entropy_loss(logits, jnp.array([0]))), 3))
      0.127
      >>> shares = jnp.array([[0.5, 0.5]])
      >>> print(round(float(cross_entropy_loss(logits, shares)), 3))
      1.127
    """
    check_labels(logits, labels)
    logits = logits.astype(jnp.float32)
    if labels.ndim == 2:
        shares, logs = labels.astype(jnp.float32), jax.nn.log_softmax(logits)
        # 0 * -inf is NaN. optax's safe variant has that in its forward derivative.
        logs = jnp.where((shares == 0) & jnp.isneginf(logs), 0.0, logs)
        return jnp.mean(-jnp.sum(shares * logs, axis=1))
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
    """Checks that labels are what the losses here take beside logits.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.
    """
    if logits.ndim != 2 or labels.shape not in (logits.shape[:1], logits.shape):
        raise ValueError(
            f"logits have shape {logits.shape} and labels {labels.shape}; "
            "pass logits [B, K] with one label each, [B], or shares of the classes, [B, K]."
        )
    if labels.ndim == 1 and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels are {labels.dtype}, one each; pass integer classes, [B], or shares of the "
            "classes, [B, K]."
        )


def check_class_counts(logits: jax.Array, of_classes: jax.Array) -> None:
    """Checks that there is a number for each class of the logits.

    Args:
      logits: [B, K].
      of_classes: [K], made of the class counts.

    Raises:
      ValueError: shapes that do not fit together.
    """
    if logits.ndim != 2 or logits.shape[1:] != of_classes.shape:
        raise ValueError(
            f"logits have shape {logits.shape} and class_counts {of_classes.shape}; "
            "pass logits [B, K] with one count a class, [K]."
        )


def weighted_cross_entropy_loss(
    logits: jax.Array, labels: jax.Array, class_weights: jax.Array
) -> jax.Array:
    """Softmax cross-entropy, each image by the weight of its class: `sum w_y CE / sum w_y`.

    A weight counts beside the others of its batch alone. Of soft labels y the weights are those of
    each class's share, `-sum w_k y_k log softmax(z)_k / sum w_k y_k`, the sums over the batch.

    Args:
      logits: [B, K] floating.
      labels: hard [B] or soft [B, K], as `cross_entropy_loss` has them.
      class_weights: [K], not negative, such as `margins.inverse_count_weights`.

    Returns:
      The loss, a float32 scalar; 0 where all weights of the batch are 0.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.
    """
    if logits.ndim != 2 or jnp.shape(class_weights) != logits.shape[1:]:
        raise ValueError(
            f"logits have shape {logits.shape} and class_weights {jnp.shape(class_weights)}; "
            "pass logits [B, K] with one weight a class, [K]."
        )
    check_labels(logits, labels)
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, logits.shape[1], dtype=jnp.float32)
    shares = labels.astype(jnp.float32) * jnp.asarray(class_weights, jnp.float32)[None, :]
    # The mean is over the images of the batch, whatever the sum of their shares.
    total = jnp.sum(shares) / len(logits)
    return cross_entropy_loss(logits, shares) / jnp.maximum(total, jnp.finfo(jnp.float32).tiny)


def smoothed(labels: jax.Array, num_classes: int, smoothing: float) -> jax.Array:
    """Label smoothing: `(1 - smoothing) onehot(label) + smoothing / K` (Szegedy et al. 2016).

    Args:
      labels: [B] integer classes in [0, K).
      num_classes: K.
      smoothing: from 0, which gives one-hot labels, to 1, which gives each class the same share;
        a number and no array.

    Returns:
      float32 [B, K], rows that sum to 1: soft labels for any loss here. Where a class has no
      training images the losses that know the prior are infinite for them, unless smoothing is 0.

    Raises:
      ValueError: labels that are no vector of integers, or smoothing out of its bounds.

    Examples:
      >>> smoothed(jnp.array([0, 2]), num_classes=4, smoothing=0.2)
      Array([[0.85, 0.05, 0.05, 0.05],
             [0.05, 0.05, 0.85, 0.05]], dtype=float32)
    """
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"labels are {labels.dtype} of shape {labels.shape}; pass integer classes, [B]."
        )
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; pass a number from 0 to 1.")
    return optax.smooth_labels(jax.nn.one_hot(labels, num_classes, dtype=jnp.float32), smoothing)


def mixed(labels: jax.Array, others: jax.Array, share: jax.Array, num_classes: int) -> jax.Array:
    """Soft labels of images mixed with others: `share onehot(label) + (1 - share) onehot(other)`.

    Args:
      labels: [B] integer classes in [0, K).
      others: [B] integer classes, of the images mixed in.
      share: float32 [], from 0 to 1, of the first.
      num_classes: K.

    Returns:
      float32 [B, K], rows that sum to 1.

    Raises:
      ValueError: labels that are no vectors of integers.

    Examples:
      >>> mixed(jnp.array([0]), jnp.array([1]), jnp.float32(0.75), num_classes=3)
      Array([[0.75, 0.25, 0.  ]], dtype=float32)
    """
    first, second = (smoothed(each, num_classes, 0.0) for each in (labels, others))
    return share * first + (1 - share) * second


def log_class_prior(class_counts: jax.Array) -> jax.Array:
    """Log of each class's share of the training set (Eq. 7).

    Args:
      class_counts: [K] images per class, integer or floating.

    Returns:
      float32 [K]: `log(n_y / sum n)`, and -inf for a class without images.

    Raises:
      ValueError: class_counts that is not a vector.

    Examples:
      >>> [round(float(log), 3) for log in log_class_prior([80, 15, 5])]
      [-0.223, -1.897, -2.996]
    """
    if jnp.ndim(class_counts) != 1:
        raise ValueError(
            f"class_counts has shape {jnp.shape(class_counts)}; pass one count a class, [K]."
        )
    counts = jnp.asarray(class_counts, dtype=jnp.float32)
    return jnp.log(counts) - jnp.log(jnp.maximum(jnp.sum(counts), 1.0))


def post_hoc_offset(class_counts: jax.Array, factor: float) -> jax.Array:
    """What post-hoc adjustment takes from the logits: `factor * log prior` (Menon et al. 2021).

    Args:
      class_counts: [K] images per class, integer or floating.
      factor: tau; 0 leaves the logits as they are, whatever the counts.

    Returns:
      float32 [K], without NaN. With a factor a class without training images, whose prior nothing
      is known of, has the offset inf, and so is never predicted.

    Raises:
      ValueError: class_counts that is not a vector.

    Examples:
      Plain cross-entropy has a network prefer the frequent class. With the log prior taken off,
      these logits favour the other one:

      >>> logits = jnp.array([2.0, 1.0])
      >>> [round(float(logit), 2) for logit in logits - post_hoc_offset([90, 10], factor=1.0)]
      [2.11, 3.3]
    """
    prior = log_class_prior(class_counts)
    if not factor:  # 0 * -inf is NaN
        return jnp.zeros_like(prior)
    return jnp.where(jnp.isneginf(prior), jnp.inf, factor * prior)


def logit_compensation_loss(
    logits: jax.Array, labels: jax.Array, class_counts: jax.Array, *, factor: float = 1.0
) -> jax.Array:
    """Cross-entropy of `logits + factor log(n_y / sum n)`, averaged over the batch.

    With factor 1 it is Eq. 8.

    A class without training images has a prior of -inf: it drops out of the softmax and its logit
    gets a zero gradient. A label of such a class, or a share of a soft one, contradicts the counts
    and makes the loss infinite, not NaN.

    Args:
      logits: [B, K] floating.
      labels: hard [B] or soft [B, K], as `cross_entropy_loss` has them.
      class_counts: [K] training images per class, not all zero.
      factor: tau of Menon et al. 2021, a number and no array; 0 leaves plain cross-entropy.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.

    Examples:
      Where the logits favour no class, a frequent label costs little and a rare one much:

      >>> logits = jnp.zeros((1, 2))
      >>> frequent, rare = jnp.array([0]), jnp.array([1])
      >>> print(round(float(logit_compensation_loss(logits, frequent, jnp.array([90, 10]))), 3))
      0.105
      >>> print(round(float(logit_compensation_loss(logits, rare, jnp.array([90, 10]))), 3))
      2.303
    """
    prior = log_class_prior(class_counts)
    check_class_counts(logits, prior)
    logits = logits.astype(jnp.float32)
    if factor:  # 0 * -inf is NaN
        logits += factor * prior[None, :]
    return cross_entropy_loss(logits, labels)


def balanced_softmax_loss(
    logits: jax.Array, labels: jax.Array, class_counts: jax.Array
) -> jax.Array:
    """Balanced softmax: cross-entropy of `logits + log n_y`, averaged (Ren et al. 2020).

    This is `logit_compensation_loss`: of log n_y and log(n_y / sum n) the difference is the same
    for every class, and the softmax drops it. It is computed as such; the name is the field's.

    Args:
      logits: [B, K] floating.
      labels: hard [B] or soft [B, K], as `cross_entropy_loss` has them.
      class_counts: [K] training images per class, not all zero.

    Returns:
      The loss, a float32 scalar; infinite for a label of a class without training images.

    Raises:
      ValueError: shapes that do not fit together, or one label an image that is no integer.
    """
    return logit_compensation_loss(logits, labels, class_counts)
