"""Runs of another length: what follows the number of epochs."""

import math

import ml_collections


def shrink(config: ml_collections.ConfigDict, epochs: int) -> None:
    """Sets the length of a run, and warm-ups, refits and step schedule in proportion, in place."""
    # Epochs that follow the size of the data are 100 at least (`bccl_jax/config/sizing.py`).
    share = epochs / config.epochs if config.epochs else min(epochs / 100, 1.0)
    # Below 0 it follows the epochs by itself.
    if config.optimizer.warmup_epochs > 0:
        config.optimizer.warmup_epochs = round(config.optimizer.warmup_epochs * share)
    # Not rounded: in a short run two steps would fall on one epoch.
    config.optimizer.step_epochs = tuple(
        int(epoch) if epoch.is_integer() else epoch
        for epoch in (float(f"{epoch * share:.6g}") for epoch in config.optimizer.step_epochs)
    )
    if config.method.get("warmup_epochs", -1) >= 0:
        # One epoch at least: with none the first centroids would come later, not sooner.
        own = config.method.warmup_epochs
        config.method.warmup_epochs = max(round(own * share), min(own, 1))
    if config.method.get("refit_epochs"):
        config.method.refit_epochs = max(round(config.method.refit_epochs * share), 1)
    for name in ("temperature_epochs", "contrastive_ramp_epochs"):
        if name in config.method:
            config.method[name] = math.ceil(config.method[name] * share)
    config.epochs = epochs
