"""SGD and its learning-rate schedule."""

import jax
import ml_collections
import optax


def create_schedule(config: ml_collections.ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      config: the whole config; `config.optimizer` and `config.epochs` are read.
      steps_per_epoch: steps of an epoch.

    Returns:
      A function from an int32 step to a float32 learning rate.
    """
    settings = config.optimizer
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


def create_optimizer(
    config: ml_collections.ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """SGD with momentum; L2 joins the gradient before momentum, as PyTorch's SGD has it.

    Args:
      config: the whole config; `config.optimizer` is read.
      schedule: the learning rate.

    Returns:
      The optax transformation.
    """
    settings = config.optimizer
    mask = None if settings.decay_norm_and_bias else _kernels
    return optax.chain(
        optax.add_decayed_weights(settings.weight_decay, mask),
        optax.sgd(schedule, momentum=settings.momentum, nesterov=settings.nesterov),
    )


def _kernels(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)
