"""The loss of DRO-LT (Samuel and Chechik 2021): features near class prototypes, at worst."""

import jax
import jax.numpy as jnp

# Of features to prototypes, in memory at a time: 64 MiB in float32.
_DIFFERENCES = 2**24


def robust_prototype_loss(
    features: jax.Array,
    labels: jax.Array,
    prototypes: jax.Array,
    radii: jax.Array,
    *,
    temperature: float,
    class_weights: jax.Array | None = None,
    prototype_mask: jax.Array | None = None,
) -> jax.Array:
    """Contrast of each class's prototype with the images of a batch, the own ones at their worst.

    The logit of image i for the prototype of class c is `-||mu_c - f_i||`, less the radius of c
    where the image is of the class: an own image counts as if it lay as much farther away as a
    prototype of few images may be wrong. Of the softmax over the batch the negative logarithms are
    averaged over the images of the class, then over the classes of the batch.

    Args:
      features: [B, D] floating.
      labels: [B] integer classes in [0, K).
      prototypes: [K, D] floating; they carry no gradient.
      radii: [K] floating, epsilon, of the unit of the features.
      temperature: what the logits are divided by, positive.
      class_weights: [K], not negative: the loss is then `sum_c w_c loss_c / sum_c w_c`, where a
        class that is not in the batch counts in the lower sum alone. None for the mean.
      prototype_mask: [K] bool, which classes have a prototype; the others are left out. None where
        all have.

    Returns:
      The loss, a float32 scalar; 0 with zero gradients where no class of the batch has a prototype.

    Raises:
      ValueError: shapes that do not fit together.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features have shape {features.shape} and labels {labels.shape}; pass features "
            "[B, D] with one label each, [B]."
        )
    num_classes = prototypes.shape[0]
    by_class = {"radii": radii, "class_weights": class_weights, "prototype_mask": prototype_mask}
    given = {name: jnp.shape(value) for name, value in by_class.items() if value is not None}
    fits = prototypes.ndim == 2 and prototypes.shape[1] == features.shape[1]
    if not fits or any(shape != (num_classes,) for shape in given.values()):
        told = ", ".join(f"{name} {shape}" for name, shape in given.items())
        raise ValueError(
            f"prototypes have shape {prototypes.shape} and features {features.shape}, beside "
            f"{told}; pass prototypes [K, D] for features [B, D], all else one a class, [K]."
        )
    if prototype_mask is None:
        prototype_mask = jnp.ones(num_classes, bool)
    radii = radii.astype(jnp.float32)[:, None]
    own = labels[None, :] == jnp.arange(num_classes)[:, None]  # [K, B]
    logits = -(_distances(prototypes, features) + jnp.where(own, radii, 0.0)) / temperature
    losses = jnp.where(own, -jax.nn.log_softmax(logits, axis=1), 0.0)
    members = jnp.sum(own, axis=1)
    losses = jnp.sum(losses, axis=1) / jnp.maximum(members, 1)
    losses = jnp.where(prototype_mask, losses, 0.0)
    if class_weights is None:
        return jnp.sum(losses) / jnp.maximum(jnp.sum((members > 0) & prototype_mask), 1)
    weights = jnp.where(prototype_mask, class_weights, 0).astype(jnp.float32)
    return jnp.sum(weights * losses) / jnp.maximum(jnp.sum(weights), jnp.finfo(jnp.float32).tiny)


def _distances(prototypes: jax.Array, features: jax.Array) -> jax.Array:
    """Euclidean distances, float32 [K, B]; the gradient of a distance of 0 is 0."""
    prototypes = jax.lax.stop_gradient(prototypes).astype(jnp.float32)
    features = features.astype(jnp.float32)

    def of_class(prototype):
        # By differences: those of products would drown in rounding where features are close.
        squared = jnp.sum((features - prototype[None, :]) ** 2, axis=1)
        apart = squared > 0
        return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)

    classes = max(_DIFFERENCES // features.size, 1)
    if classes >= len(prototypes):
        return jax.vmap(of_class)(prototypes)
    # Within a loop nothing can be shared with the forward pass, so `prevent_cse` only costs.
    of_class = jax.checkpoint(of_class, prevent_cse=False)
    return jax.lax.map(of_class, prototypes, batch_size=classes)
