"""Whether the logits of a run have a class prior that post-hoc adjustment can take off."""

import ml_collections
import numpy as np

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method
from bccl_jax.methods.seam.prior import carried_prior, is_flat

# Images of two classes that are not balanced: a prior that is flat for these is flat for any.
_UNBALANCED = np.array([900, 20])


def check_adjustment(config: ml_collections.ConfigDict, method: Method) -> None:
    """Refuses post-hoc adjustment of logits that are free of the class prior.

    Args:
      config: checked but for this.
      method: of the run.

    Raises:
      ConfigError: the loss, the sampler or the method itself has made up for the prior.
    """
    factor, name = config.eval.logit_adjustment, config.method.name
    if not factor:
        return
    if method.prior_in_loss:
        why = f"the loss of this {name} run has the class prior in it"
    elif is_flat(carried_prior(method, config.epochs, config.data.sampler, _UNBALANCED)):
        why = f"the classifier of this {name} run ends up on balanced classes"
    else:
        return
    raise ConfigError(
        f"config.eval.logit_adjustment is {factor:g}, but {why} already, which would be corrected "
        "twice; leave it at 0 (it is for cross_entropy)"
    )
