"""An exponential moving average of what training renews (Polyak & Juditsky 1992)."""

import math
from typing import Any

import jax
import jax.numpy as jnp


def kept_share(decay: float, count: jax.Array) -> jax.Array:
    """The share of an average that stays when one more value joins it.

    After n values the average is `sum_i decay^(n - i) x_i / sum_i decay^(n - i)`, so that what it
    started from has no part in it, as Adam's correction of its moments (Kingma & Ba 2015) has it.
    The plain `decay * average + (1 - decay) * x` is the same once `decay^n` is small; before, it
    would still hold mostly the random first weights.

    Args:
      decay: from 0, which keeps nothing, to below 1.
      count: int32 [], values in the average so far.

    Returns:
      float32 [], `decay (1 - decay^count) / (1 - decay^(count + 1))`; exactly 0 at the first value.
    """
    if not decay:
        return jnp.float32(0)
    log, count = math.log(decay), count.astype(jnp.float32)
    # 1 - decay^n would lose its digits where the decay is near 1.
    return decay * jnp.expm1(count * log) / jnp.expm1((count + 1) * log)


def averaged(average: Any, values: Any, kept: jax.Array) -> Any:
    """Lets values join their average.

    Args:
      average: a pytree of floating arrays.
      values: one like it.
      kept: float32 [], as `kept_share` has it.

    Returns:
      `kept * average + (1 - kept) * values`; the very values where nothing is kept.
    """
    return jax.tree.map(lambda old, new: new + kept * (old - new), average, values)
