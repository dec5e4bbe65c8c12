"""The learning rate over a run."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

SCHEDULES = ("cosine", "cosine_per_epoch", "step", "constant")
# Those of which each step depends on the number of epochs.
FOLLOWING = ("cosine", "cosine_per_epoch")


def create_schedule(config: ml_collections.ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      config: the whole config; `config.optimizer` and `config.epochs` are read.
      steps_per_epoch: steps of an epoch.

    Returns:
      A function from an int32 step to a float32 learning rate.
    """
    settings = config.optimizer
    if settings.schedule == "cosine_per_epoch":
        return _by_epoch(config, steps_per_epoch)
    # A whole number would be one of 32 bits to JAX.
    peak = float(settings.learning_rate)
    warmup = settings.warmup_epochs * steps_per_epoch
    after = config.epochs * steps_per_epoch - warmup
    if settings.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, after)
    elif settings.schedule == "step":
        drops = {
            int(e * steps_per_epoch) - warmup: settings.step_factor for e in settings.step_epochs
        }
        main = optax.piecewise_constant_schedule(peak, drops)
    else:
        main = optax.constant_schedule(peak)
    if not warmup:
        return main
    # The first step already moves: 1/warmup of the peak, as the field's per-epoch warm-ups do.
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, main], [warmup])


def _by_epoch(config: ml_collections.ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate renewed once an epoch, as the code released with Kim & Ko 2025 does.

    Of E epochs with w of warm-up, epoch e (from 0) has (e + 1) / w of the peak in warm-up, and by
    cosine (1 + cos(pi (e - w + 1) / (E - w + 1))) / 2 of it afterwards: the last epoch is above 0.
    """
    warmup, epochs = config.optimizer.warmup_epochs, config.epochs
    epoch = np.arange(epochs)
    rise = (epoch + 1) / max(warmup, 1)
    fall = (1 + np.cos(np.pi * (epoch - warmup + 1) / (epochs - warmup + 1))) / 2
    rates = config.optimizer.learning_rate * np.where(epoch < warmup, rise, fall)
    table = jnp.asarray(rates, jnp.float32)
    return lambda step: table[jnp.minimum(step // steps_per_epoch, epochs - 1)]
