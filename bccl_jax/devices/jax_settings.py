"""JAX's settings that shape what a run computes: the same whatever the environment says."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from bccl_jax.errors import ConfigError

# What cannot be set for a run alone, or is the user's to choose: how exact products are, whether
# anything is compiled.
_USUAL = {
    "jax_default_matmul_precision": None,
    "jax_disable_jit": False,
    "jax_random_seed_offset": 0,
}


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """Within it arrays have 32 bits, keys give their default numbers, and arrays may travel.

    The environment (JAX_ENABLE_X64, JAX_DEFAULT_PRNG_IMPL, JAX_THREEFRY_PARTITIONABLE, ...) or a
    notebook may have set them otherwise, and find them so again.
    """
    with (
        jax.enable_x64(False),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
        jax.enable_custom_prng(False),
        jax.numpy_dtype_promotion("standard"),
        jax.transfer_guard("allow"),
    ):
        yield


def unusual() -> str:
    """One line on settings that stay and make another run of this one; "" where there are none."""
    found = [
        f"{name.upper()}={value}"
        for name, usual_value in _USUAL.items()
        if (value := getattr(jax.config, name, usual_value)) != usual_value
    ]
    return f"JAX is set to give other numbers than by default: {', '.join(found)}" if found else ""


def check_precision() -> None:
    """Tries the precision that products are to have, where the user has set one.

    Raises:
      ConfigError: this device has no such products.
    """
    asked = jax.config.jax_default_matmul_precision
    if asked is None:
        return
    try:
        jax.block_until_ready(jnp.ones((8, 8)) @ jnp.ones((8, 8)))
    except Exception as error:  # each kind of device refuses in its own way
        first_line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(
            f"JAX_DEFAULT_MATMUL_PRECISION is {asked}, which this device does not compute with "
            f"({first_line}); unset it or choose another one"
        ) from error
