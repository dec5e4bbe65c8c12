"""Configs: their fields, what these may be, and what several recipes share."""

from bccl_jax.config.fields import flatten, get_config, unflatten

__all__ = ["flatten", "get_config", "unflatten"]
