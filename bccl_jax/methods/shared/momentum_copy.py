"""A momentum copy of backbone and projector, which makes keys (MoCo, He et al. 2020)."""

from typing import Any

import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError
from bccl_jax.methods.seam.context import Context
from bccl_jax.optimization.averaging import averaged

_COPIED = ("backbone", "heads_projector")


def followed_copy(state: dict[str, Any], params: Any, momentum: float, first: bool) -> dict:
    """Renews the "copy" of a method's state, or makes the first one of the parameters.

    Args:
      state: the method's own.
      params: of the network.
      momentum: m of `m copy + (1 - m) parameters`.
      first: whether there is no copy yet.
    """
    followed = {name: params[name] for name in _COPIED}
    if first:
        return {**state, "copy": jax.tree.map(jnp.copy, followed)}
    return {**state, "copy": averaged(state["copy"], followed, momentum)}


def check_shared_statistics(context: Context, method: str) -> None:
    """Refuses batch statistics by which an anchor could know the keys of its own device.

    Raises:
      ConfigError: each device has batch statistics of its own.
    """
    if context.norm_groups > 1:
        raise ConfigError(
            f"config.model.batch_norm is 'device' on {context.norm_groups} devices, whose "
            f"statistics would tell {method} which keys are of an anchor's device; write 'global'"
        )
