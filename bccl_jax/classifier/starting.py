"""How a run starts JAX, and what it says to the one who started it."""

import sys

import ml_collections

from bccl_jax.config.remembering import without_file
from bccl_jax.config.validation import validate
from bccl_jax.devices.jax_settings import check_precision, unusual
from bccl_jax.devices.mesh import configure, devices, is_lead
from bccl_jax.system.processes import start_tracker
from bccl_jax.system.shared_memory import check_locks


def start(config: ml_collections.ConfigDict) -> None:
    """Checks the config, then starts JAX as it asks for.

    Raises:
      ConfigError: the config, or what the environment says, cannot work.
    """
    validate(config)
    configure(config.deterministic)
    devices()
    check_precision()
    check_locks()
    start_tracker()
    tell(unusual(), without_file(config))


def tell(*sentences: str | None) -> None:
    """Prints what there is to say, once of several processes."""
    for sentence in filter(None, sentences):
        if is_lead():
            print(sentence, file=sys.stderr, flush=True)
