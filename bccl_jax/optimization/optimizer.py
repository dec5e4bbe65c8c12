"""How parameters are renewed: SGD or AdamW, with or without clipping of the gradient."""

import jax
import ml_collections
import optax

# By name; the settings that this one alone reads.
OPTIMIZERS = {"sgd": ("momentum", "nesterov"), "adamw": ("beta1", "beta2", "epsilon")}


def create_optimizer(
    config: ml_collections.ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """SGD with momentum, or AdamW, of a gradient that may be clipped by its norm.

    - "sgd": L2 joins the gradient before momentum, as PyTorch's SGD has it.
    - "adamw": decoupled weight decay (Loshchilov & Hutter 2019), which is multiplied by the
      learning rate and never enters the moments, as PyTorch's AdamW has it.

    With `clip_norm` a gradient whose norm over all parameters is larger is scaled down to it
    (Pascanu et al. 2012). That is the gradient of the loss alone, over the whole batch: weight
    decay joins it afterwards.

    Args:
      config: the whole config, one that `validate` accepts; `config.optimizer` is read.
      schedule: the learning rate.

    Returns:
      The optax transformation. Its `update` needs the parameters. Without clipping there is no
      stage for it in its state.
    """
    settings = config.optimizer
    mask = None if settings.decay_norm_and_bias else _kernels
    if settings.name == "adamw":
        stages = [
            optax.adamw(
                schedule,
                b1=settings.beta1,
                b2=settings.beta2,
                eps=settings.epsilon,
                weight_decay=settings.weight_decay,
                mask=mask,
            )
        ]
    else:
        stages = [
            optax.add_decayed_weights(settings.weight_decay, mask),
            optax.sgd(schedule, momentum=settings.momentum, nesterov=settings.nesterov),
        ]
    # A stage that does nothing would be another structure than older checkpoints have.
    if settings.clip_norm:
        stages.insert(0, optax.clip_by_global_norm(settings.clip_norm))
    return optax.chain(*stages)


def _kernels(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)
