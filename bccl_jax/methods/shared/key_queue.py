"""A ring buffer of the newest M keys of all classes with their labels, of fixed shape."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class KeyQueue:
    """The keys of earlier steps, as MoCo (He et al. 2020) keeps them, and what class each is of.

    Attributes:
      keys: float32 [M, D]; those not written yet are zero.
      labels: int32 [M], -1 where nothing has been written yet.
      cursor: int32 [], the place that the next key goes to.
    """

    keys: jax.Array
    labels: jax.Array
    cursor: jax.Array


def empty_queue(size: int, dim: int) -> KeyQueue:
    """A queue without keys.

    Args:
      size: M, how many keys it keeps.
      dim: D.

    Raises:
      ValueError: a size below 1.
    """
    if min(size, dim) < 1:
        raise ValueError(f"got size={size}, dim={dim}; each must be at least 1.")
    return KeyQueue(
        keys=jnp.zeros((size, dim), jnp.float32),
        labels=jnp.full(size, -1, jnp.int32),
        cursor=jnp.int32(0),
    )


def enter(queue: KeyQueue, keys: jax.Array, labels: jax.Array) -> KeyQueue:
    """Puts keys into the places of the oldest ones.

    Args:
      queue: as it was.
      keys: [B, D] floating, the last of them the newest; of more than M the newest M are kept.
      labels: [B] integer classes.

    Returns:
      The queue, into which no gradient goes.

    Raises:
      ValueError: shapes that do not fit together.
    """
    size = len(queue.labels)
    if keys.shape[1:] != queue.keys.shape[1:] or labels.shape != keys.shape[:1]:
        raise ValueError(
            f"keys have shape {keys.shape} and labels {labels.shape}; pass keys [B, D] with "
            f"D = {queue.keys.shape[1]}, and one label each, [B]."
        )
    # A place that is written twice would hold either.
    surplus = max(len(labels) - size, 0)
    places = (queue.cursor + jnp.arange(surplus, len(labels))) % size
    keys = jax.lax.stop_gradient(keys).astype(jnp.float32)
    return KeyQueue(
        keys=queue.keys.at[places].set(keys[surplus:]),
        labels=queue.labels.at[places].set(labels[surplus:].astype(jnp.int32)),
        cursor=(queue.cursor + len(labels)) % size,
    )
