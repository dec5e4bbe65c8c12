"""The state before the first step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bccl_jax.classifier.image_classifier import ImageClassifier, with_shardings
from bccl_jax.training.first_stage import with_first_stage
from bccl_jax.training.memory import check_memory
from bccl_jax.training.starting_point import started
from bccl_jax.training.state import AveragedState, TrainState


def create_state(
    classifier: ImageClassifier, optimizer: optax.GradientTransformation
) -> tuple[Callable[[], TrainState], TrainState]:
    """Closes over what makes the state before the first step.

    Args:
      classifier: what is trained.
      optimizer: of the first stage.

    Returns:
      `Run.init_state` and `Run.abstract_state`.

    Raises:
      ConfigError: the state does not fit into the memory of a device.
    """
    config = classifier.config

    def build(key):
        run_key, network_key, method_key = jax.random.split(key, 3)
        variables = vars(classifier.init(network_key, method_key))
        own = {"key": run_key, "opt_state": optimizer.init(variables["params"])}
        if not config.optimizer.ema:
            return TrainState(**variables, **own)
        averages = {name: variables[name] for name in ("params", "batch_stats")}
        averages = jax.tree.map(jnp.zeros_like, averages)
        return AveragedState(**variables, **own, average=averages)

    key = jax.random.key(config.seed)
    shapes = jax.eval_shape(build, key)
    shardings = classifier.shardings(shapes)
    check_memory(config, classifier.method, shapes, shardings, classifier.image_shape)

    def init_state():
        state = started(jax.jit(build, out_shardings=shardings)(key), classifier)
        return with_first_stage(state, classifier)

    return init_state, with_shardings(shapes, shardings)
