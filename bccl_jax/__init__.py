"""Balanced clustering contrastive learning (BCCL) for long-tailed images, in JAX and Flax.

    model = bccl_jax.load("runs/digits_lt")
    model.predict("photos/*.jpg")

Importing it costs nothing: JAX is imported by the first use of a name below.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["Callback", "__version__", "load", "train", "views"]

# Where what the package itself is asked for lies.
_PLACES = {
    "Callback": "bccl_jax.tracking.callback",
    "load": "bccl_jax.use.model",
    "train": "bccl_jax.training.called",
    "views": "bccl_jax.training.called",
}


def __getattr__(name: str):
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
