"""A ring buffer of the newest M features of every class, of fixed shape and pushed under jit."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class QueueState:
    """The ring buffers of K classes (Eq. 3).

    Attributes:
      features: [K, M, D], slot by slot; those not written yet are zero.
      cursor: int32 [K], the slot that the class's next feature goes to.
      count: int32 [K], how many of the M slots are written.
    """

    features: jax.Array
    cursor: jax.Array
    count: jax.Array


@flax.struct.dataclass
class StampedQueueState(QueueState):
    """A queue that keeps a stamp with each feature, such as the epoch that it is of.

    Another class and not a field that may be None, for a checkpoint has a place for each field.

    Attributes:
      stamp: int32 [K, M], the stamp that each feature was pushed with.
    """

    stamp: jax.Array


def init_queue(
    num_classes: int,
    size: int,
    dim: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
    *,
    stamped: bool = False,
) -> QueueState:
    """An empty queue.

    Args:
      num_classes: K.
      size: M, how many features a class keeps.
      dim: D.
      dtype: what features are stored in; bfloat16 halves the memory.
      stamped: whether each feature's stamp is kept.

    Returns:
      A `QueueState`, or a `StampedQueueState`, with nothing in it.

    Raises:
      ValueError: a size below 1.
    """
    if min(num_classes, size, dim) < 1:
        raise ValueError(
            f"got num_classes={num_classes}, size={size}, dim={dim}; each must be at least 1."
        )
    empty = {
        "features": jnp.zeros((num_classes, size, dim), dtype),
        "cursor": jnp.zeros((num_classes,), jnp.int32),
        "count": jnp.zeros((num_classes,), jnp.int32),
    }
    if stamped:
        return StampedQueueState(**empty, stamp=jnp.zeros((num_classes, size), jnp.int32))
    return QueueState(**empty)


def push(
    queue: QueueState,
    features: jax.Array,
    labels: jax.Array,
    stamp: int | jax.Array | None = None,
) -> QueueState:
    """Append each feature to the queue of its class, in batch order.

    Exact for any batch: afterwards each class holds its newest M features, also where the batch
    brings more than M of one class. Features enter without gradient and in the queue's dtype.

    Args:
      queue: K queues of M features.
      features: [N, D] floating.
      labels: [N] integer classes; those outside [0, K), such as -1 for padding, are ignored.
      stamp: int32 [], of all these features; needed where the queue keeps stamps.

    Returns:
      The queue after the push.

    Raises:
      ValueError: shapes that do not fit together, or a stamp for a queue without stamps, or none
        for one with them.

    Examples:
      A queue of two places keeps the newest two features of its class:

      >>> queue = init_queue(num_classes=2, size=2, dim=1)
      >>> features = jnp.array([[1.0], [2.0], [3.0], [7.0]])
      >>> queue = jax.jit(push)(queue, features, jnp.array([0, 0, 0, 1]))
      >>> contents(queue, 0).tolist(), contents(queue, 1).tolist()
      ([[2.0], [3.0]], [[7.0]])
    """
    stamped = isinstance(queue, StampedQueueState)
    if stamped != (stamp is not None):
        raise ValueError("a queue takes a stamp if and only if it was made with stamped=True.")
    num_classes, size, dim = queue.features.shape
    if features.ndim != 2 or features.shape[1] != dim or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features have shape {features.shape}, labels {labels.shape} and the queue "
            f"{queue.features.shape}; pass features [N, D] and labels [N] for a queue [K, M, D]."
        )
    num_samples = labels.shape[0]
    if num_samples == 0:
        return queue
    labels = labels.astype(jnp.int32)
    labels = jnp.where((labels >= 0) & (labels < num_classes), labels, num_classes)
    arrivals = jnp.zeros_like(queue.count).at[labels].add(1, mode="drop")  # [K]

    rank = _rank_within_class(labels)  # [N]
    own_arrivals = arrivals.at[labels].get(mode="fill", fill_value=0)
    own_cursor = queue.cursor.at[labels].get(mode="fill", fill_value=0)
    # Every slot is written by one sample at most, so the order of the scatter cannot matter: what
    # a later sample of the batch would overwrite is not written at all. The samples left out are
    # sent to rows past the end, a different one each, which keeps the indices unique.
    kept = (labels < num_classes) & (rank >= own_arrivals - size)
    row = jnp.where(kept, labels, num_classes + jnp.arange(num_samples, dtype=jnp.int32))
    slot = (own_cursor + rank) % size
    stored = jax.lax.stop_gradient(features).astype(queue.features.dtype)
    options = {"mode": "drop", "unique_indices": True}
    renewed = {
        "features": queue.features.at[row, slot].set(stored, **options),
        "cursor": (queue.cursor + arrivals) % size,
        "count": jnp.minimum(queue.count + arrivals, size),
    }
    if stamped:
        renewed["stamp"] = queue.stamp.at[row, slot].set(jnp.int32(stamp), **options)
    return queue.replace(**renewed)


def filled_mask(queue: QueueState, since: int | jax.Array | None = None) -> jax.Array:
    """Which slots hold a feature.

    Args:
      queue: K queues of M features.
      since: leaves out features of a smaller stamp, of a `StampedQueueState`; None leaves out none.

    Returns:
      bool [K, M]. The order of a queue that is not full starts at slot 0.
    """
    slots = jnp.arange(queue.features.shape[1])
    filled = slots[None, :] < queue.count[:, None]
    return filled if since is None else filled & (queue.stamp >= since)


def contents(queue: QueueState, k: int) -> np.ndarray:
    """What the queue of one class holds; on the host, for inspection.

    Args:
      queue: K queues of M features.
      k: the class, in [0, K).

    Returns:
      A NumPy array [count, D] in the queue's dtype, oldest first.

    Raises:
      IndexError: a class outside [0, K).
    """
    num_classes, size, _ = queue.features.shape
    if not 0 <= k < num_classes:
        raise IndexError(f"class {k} has no queue; pass a class in [0, {num_classes}).")
    count, cursor = int(queue.count[k]), int(queue.cursor[k])
    oldest_first = (cursor - count + np.arange(count)) % size
    return np.asarray(queue.features[k])[oldest_first]


def _rank_within_class(labels):
    """How many samples of the same label stand before each one: int32 [N], from [N]."""
    order = jnp.argsort(labels, stable=True)
    in_order = labels[order]
    positions = jnp.arange(labels.shape[0], dtype=jnp.int32)
    opens = jnp.concatenate([jnp.ones((1,), bool), in_order[1:] != in_order[:-1]])
    start = jax.lax.cummax(jnp.where(opens, positions, 0))
    return jnp.zeros_like(positions).at[order].set(positions - start, unique_indices=True)
