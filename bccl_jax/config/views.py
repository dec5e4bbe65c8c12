"""The views that a config describes."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import ml_collections

from bccl_jax.augment.views import SimView, StrongView, make_views
from bccl_jax.data.photographs.crops import Crop


def create_views(
    config: ml_collections.ConfigDict, names: tuple[str, ...]
) -> tuple[Callable, tuple[Crop, ...]]:
    """What makes views of a batch, and the crop of each where images are photographs.

    Args:
      config: of the run; `augment` and `dtype` are read.
      names: of the views, V.

    Returns:
      (images uint8 [B, H, W, 3] or crops [B, V, S, S, 3], key) -> V arrays, with `inputs=` of views
      that take more; and V crops.
    """
    settings = config.augment
    kinds = {
        "strong": StrongView(**{k: _frozen(v) for k, v in settings.strong.items()}),
        "sim": SimView(**{k: _frozen(v) for k, v in settings.sim.items()}),
    }
    augment = functools.partial(
        make_views,
        names=names,
        **kinds,
        size=settings.size,
        mean=tuple(settings.mean),
        std=tuple(settings.std),
        dtype=jnp.dtype(config.dtype),
    )
    # A view of one's own has the strong one's crop.
    cut = [kinds.get(name, kinds["strong"]) for name in names]
    return augment, tuple(Crop(kind.scale, kind.ratio) for kind in cut)


def _frozen(value):
    return tuple(value) if isinstance(value, list | tuple) else value
