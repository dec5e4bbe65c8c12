"""The features of a split as a trained network sees them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment.views import normalize
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.evaluate import compute_on
from bccl_jax.training.assemble import Assembly
from bccl_jax.training.state import TrainState


class Embeddings(NamedTuple):
    """Features of a split's images, without those that cannot be decoded.

    Attributes:
      features: float32 [N, D].
      labels: int32 [N].
    """

    features: np.ndarray
    labels: np.ndarray


def make_embed(run: Assembly, head: str | None = None) -> Callable[[TrainState, Split], Embeddings]:
    """Closes over a network what computes features with running statistics; it compiles once.

    Args:
      run: whose network it is.
      head: what is put on the backbone's features, such as "projector", whose embeddings are unit
        vectors; None takes the features as they are.

    Returns:
      embed(state, split): the features of every image of a split, in its order, the same in every
      process. It raises DataError where more pictures than `config.data.max_broken` allows cannot
      be decoded.

    Raises:
      ConfigError: the run's method has no such head.
    """
    if head is not None and head not in run.network.heads:
        raise ConfigError(
            f"config.method.name is {run.config.method.name!r}, which has no head {head!r}; there "
            f"are {', '.join(run.network.heads)}, or the backbone alone"
        )
    augment = run.config.augment
    colors = {"mean": tuple(augment.mean), "std": tuple(augment.std)}

    def forward(network, images):
        features = network.backbone(images, train=False)
        if head is None:
            return features
        train = {} if head == "classifier" else {"train": False}
        return network.heads[head](features, **train)

    @functools.partial(jax.jit, out_shardings=replicated(run.mesh))
    def compute(params, batch_stats, images):
        images = normalize(images, **colors, dtype=jnp.dtype(run.config.dtype))
        variables = {"params": params, "batch_stats": batch_stats}
        return run.network.apply(variables, images, method=forward)

    def embed(state: TrainState, split: Split) -> Embeddings:
        (features,), decoded = compute_on(
            split,
            lambda images: (compute(state.params, state.batch_stats, images),),
            run.config,
            run.mesh,
        )
        return Embeddings(features, split.labels[decoded])

    return embed
