"""Trackers by the names that `config.trackers` has."""

import importlib
import importlib.util

from bccl_jax.errors import ConfigError
from bccl_jax.tracking import TRACKERS
from bccl_jax.tracking.callback import Callback

# Of each the class, and the package that is installed for it.
_PLACES = {
    "tensorboard": ("tensorboard", "TensorBoard", "tensorboardX"),
    "wandb": ("weights_and_biases", "WeightsAndBiases", "wandb"),
    "mlflow": ("mlflow_runs", "MLflowRuns", "mlflow"),
}


def create(names: str) -> dict[str, Callback]:
    """The trackers of some names, as yet of no run.

    Args:
      names: of `TRACKERS`, joined by commas; "" for none.

    Raises:
      ConfigError: the package of one is not installed.
    """
    found = {}
    for name in (part for part in TRACKERS if part in names.split(",")):
        module, kind, package = _PLACES[name]
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"config.trackers is {names!r}, but {package} is not installed; pip install "
                f"{package}, or leave {name} out"
            )
        found[name] = getattr(importlib.import_module(f"bccl_jax.tracking.{module}"), kind)()
    return found
