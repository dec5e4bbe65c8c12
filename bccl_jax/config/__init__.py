"""Configs: their fields, what these may be, and what several recipes share."""

from bccl_jax.config.fields import get_config
from bccl_jax.config.flattening import flatten, unflatten

__all__ = ["flatten", "get_config", "unflatten"]
