"""Balanced clustering contrastive learning (BCCL) for long-tailed images, in JAX and Flax."""

__version__ = "0.1.0"
