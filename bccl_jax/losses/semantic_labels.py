"""Soft labels that know which classes an image resembles (ConCutMix, Pan et al. 2024)."""

import jax
import jax.numpy as jnp


def semantically_consistent_labels(
    labels: jax.Array,
    features: jax.Array,
    centers: jax.Array,
    class_counts: jax.Array,
    *,
    omega: float,
    num_nearest: int,
) -> jax.Array:
    """Moves labels towards the classes whose centres are near: `(1 - w) y + w s`.

    The similarity s_c is in proportion to 1 / ||f - c_c|| for the nearest classes and 0 for the
    others, with the sum 1; w is `omega log(sum_c y_c n_c) / sum_c log n_c`, larger for images of
    frequent classes. Where features lie on centres, whose similarity would be infinite, these share
    s evenly, which is its limit. What there is nothing of in training has no s and no part in w.

    Args:
      labels: [B, K] shares of the classes, each row's sum 1, such as the areas of a mixed image.
      features: [B, D] floating.
      centers: [K, D] floating, in the space of the features.
      class_counts: [K] training images per class.
      omega: the scale of w, not negative. w is cut to 1.
      num_nearest: how many classes s has, of equally near ones all; K where there are fewer.

    Returns:
      float32 [B, K], shares that sum to 1, without gradient.

    Raises:
      ValueError: shapes that do not fit together, or no nearest class.
    """
    shapes = [jnp.shape(x) for x in (labels, features, centers, class_counts)]
    images, classes, dim = shapes[0][:1], shapes[3], shapes[1][1:]
    expected = [images + classes, images + dim, classes + dim, classes]
    if shapes != expected or [len(shape) for shape in shapes] != [2, 2, 2, 1]:
        raise ValueError(
            "labels have shape {}, features {}, centers {} and class_counts {}; pass [B, K], "
            "[B, D], [K, D] and [K].".format(*shapes)
        )
    if num_nearest < 1:
        raise ValueError(f"num_nearest is {num_nearest}; pass 1 or more.")
    labels, features, centers = (
        jax.lax.stop_gradient(x).astype(jnp.float32) for x in (labels, features, centers)
    )
    counts = jnp.asarray(class_counts, jnp.float32)
    similarity = _similarity(features, centers, counts > 0, min(num_nearest, *classes))
    weight = jnp.minimum(omega * _frequency(labels, counts), 1.0)
    return (1 - weight) * labels + weight * similarity


def _similarity(features, centers, there, num_nearest):
    # Differences, for of close vectors the expanded square keeps no digit.
    squares = jnp.sum((features[:, None, :] - centers[None, :, :]) ** 2, axis=2)
    distances = jnp.where(there[None, :], jnp.sqrt(squares), jnp.inf)  # [B, K]
    nearest = -jax.lax.top_k(-distances, num_nearest)[0]
    least, most = nearest[:, :1], nearest[:, -1:]
    # Beside the nearest one: from 0 to 1, and 0 / 0 = 1 where that lies on the centre.
    on_centre = distances == 0
    ratio = jnp.where(on_centre, 1.0, least / jnp.where(on_centre, 1.0, distances))
    ratio = jnp.where((distances <= most) & there[None, :], ratio, 0.0)
    return ratio / jnp.sum(ratio, axis=1, keepdims=True)


def _frequency(labels, counts):
    """log(sum_c y_c n_c) / sum_c log n_c, [B, 1]; 0 where no class has a second image."""
    logs = jnp.sum(jnp.log(jnp.maximum(counts, 1.0)))
    mean = jnp.sum(labels * counts[None, :], axis=1, keepdims=True)
    return jnp.log(jnp.maximum(mean, 1.0)) / jnp.where(logs > 0, logs, 1.0)
