"""What each part of a run computes and moves, and how long a device takes for it at least."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from bccl_jax.training.assemble import Run
from benchmarks.layers import batch_shape, network_layers


@dataclasses.dataclass(frozen=True)
class Work:
    """What one part of a run computes and moves.

    Attributes:
      part: its name.
      macs: multiply-accumulates.
      bytes: read and written.
      network: whether it runs at the rate of the network's dtype; float32 otherwise.
    """

    part: str
    macs: float
    bytes: float
    network: bool = False

    def seconds(self, rates: "Rates") -> tuple[float, float]:
        """Returns the seconds of its arithmetic and those of its memory traffic."""
        flops = rates.network if self.network else rates.float32
        return 2 * self.macs / flops, self.bytes / rates.bandwidth


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device can do in a second.

    Attributes:
      network: operations in the network's dtype.
      float32: operations in full float32, in which losses and k-means are.
      bandwidth: bytes of memory.
    """

    network: float
    float32: float
    bandwidth: float


def step_work(run: Run) -> list[Work]:
    """What each part of one training step computes and moves.

    Args:
      run: its method may be any; losses and queues are BCCL's alone, for those of the others
        are nothing beside the network.

    Returns:
      One `Work` a part: augmentation, forward, backward, losses and queue push, optimizer.
    """
    found = network_layers(run)
    macs = sum(layer.macs for layer in found)
    pixels = math.prod(batch_shape(run)) * len(run.method.views)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(run.init_state).params))
    work = [
        Work("augmentation", 0, pixels * (1 + jnp.dtype(run.config.dtype).itemsize)),
        Work("forward", macs, sum(layer.forward_bytes for layer in found), network=True),
        Work("backward", 2 * macs, sum(layer.backward_bytes for layer in found), network=True),
    ]
    if run.config.method.name == "bccl":
        method, classes = run.config.method, len(run.class_counts)
        embeddings, dim = 2 * run.config.batch_size, method.projector_dim
        work.append(loss_work(embeddings, classes, method.num_centroids, dim))
        stored = jnp.dtype(method.queue_dtype).itemsize
        work.append(Work("queue push", 0, embeddings * dim * (4 + stored)))
    # Parameter, gradient and momentum are read, parameter and momentum written; before that the
    # gradient's norm reads it.
    work.append(Work("optimizer", 4 * parameters, 4 * 6 * parameters))
    return work


def loss_work(embeddings: int, classes: int, centroids: int, dim: int) -> Work:
    """Both contrastive losses of BCCL with their gradient.

    The two share their similarities. Of the gradient, the products with the batch go to anchors
    and candidates, those with the centroids to the anchors alone. A similarity is written and read
    in the forward pass, its gradient in the backward pass.

    Args:
      embeddings: N, two a image.
      classes: K.
      centroids: C.
      dim: D.

    Returns:
      The work.
    """
    candidates = classes * centroids
    forward = embeddings * (embeddings + candidates) * dim
    backward = embeddings * (2 * embeddings + candidates) * dim
    similarities = 4 * 4 * embeddings * (embeddings + candidates)
    vectors = 4 * dim * (3 * embeddings + 2 * candidates)
    return Work("losses", forward + backward, similarities + vectors)


def kmeans_work(
    classes: int, points: int, centroids: int, dim: int, iterations: int = 20, restarts: int = 4
) -> Work:
    """One refresh of all centroids by `bccl_jax.clustering.kmeans`, whose points stay in cache.

    Args:
      classes: K.
      points: M, of a class.
      centroids: C.
      dim: D.
      iterations: of Lloyd, each an assignment and a mean; one more assignment gives the inertia.
      restarts: greedy starts, of which each further centroid tries 2 + log C candidates.

    Returns:
      The work.
    """
    trials = 2 + int(math.log(centroids))
    start = 1 + (centroids - 1) * trials
    lloyd = (2 * iterations + 1) * centroids
    macs = classes * restarts * (start + lloyd) * points * dim
    return Work("refresh", macs, 4 * classes * (points + centroids) * dim)


def run_work(run: Run) -> tuple[Work | None, int, int]:
    """Returns one refresh (None without one), how many a run has, and its steps."""
    epochs, method = run.config.epochs, run.config.method
    refreshes = sum(run.method.refresh_due(epoch) for epoch in range(1, epochs + 1))
    refresh = None
    if refreshes and method.clustering == "kmeans":
        shape = method.queue_size, method.num_centroids, method.projector_dim
        refresh = kmeans_work(len(run.class_counts), *shape, method.kmeans_iterations)
    return refresh, refreshes, epochs * run.steps_per_epoch
