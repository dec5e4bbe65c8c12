"""The compiled functions of a run: one training step and one prediction, whatever the method."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from bccl_jax.methods.base import Batch, Method, Progress
from bccl_jax.models.network import Network
from bccl_jax.training.state import TrainState


def make_train_step(
    network: Network,
    method: Method,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    augment: Callable,
    steps_per_epoch: int,
) -> Callable:
    """Closes a training step over everything static.

    Args:
      network: backbone and heads.
      method: owns the loss.
      optimizer: renews the parameters.
      schedule: the optimizer's learning rate, to be logged.
      augment: (images uint8 [B, H, W, 3], key) -> the method's views, a tuple of floats.
      steps_per_epoch: steps of an epoch.

    Returns:
      train_step(state, {"image": uint8 [B, H, W, 3], "label": int32 [B]}) -> (state, metrics), the
      metrics float32 scalars by name. It is not compiled yet: the engine compiles it, alone or in
      a scan.
    """

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        view_key, method_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        views = augment(batch["image"], view_key)
        progress = Progress(state.step, state.step // steps_per_epoch)

        def apply(params, forward, *inputs, batch_stats=state.batch_stats):
            variables = {"params": params, "batch_stats": batch_stats}
            outputs, renewed = network.apply(
                variables, *inputs, method=forward, mutable=["batch_stats"]
            )
            return outputs, renewed["batch_stats"]

        def loss_of(params):
            return method.loss(
                apply, params, Batch(views, batch["label"]), state.method, method_key, progress
            )

        (loss, (metrics, method_state, batch_stats)), gradient = jax.value_and_grad(
            loss_of, has_aux=True
        )(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        metrics = {
            "loss": loss,
            **metrics,
            "gradient_norm": optax.global_norm(gradient),
            "learning_rate": schedule(state.step),
        }
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            method=method_state,
        )
        return state, {name: jnp.float32(value) for name, value in metrics.items()}

    return train_step


def make_predict(network: Network, method: Method, normalize: Callable) -> Callable:
    """Closes the prediction over everything static.

    Args:
      network: backbone and heads.
      method: owns the logits.
      normalize: images uint8 [B, H, W, 3] -> floats.

    Returns:
      A jitted predict(state, images uint8 [B, H, W, 3], offset float32 [K]) -> (predictions int32
      [B], confidences float32 [B]), of the logits minus `offset`.
    """

    @jax.jit
    def predict(state: TrainState, images: jax.Array, offset: jax.Array):
        def apply(params, forward, *inputs):
            variables = {"params": params, "batch_stats": state.batch_stats}
            return network.apply(variables, *inputs, method=forward), state.batch_stats

        logits = method.logits(apply, state.params, normalize(images), state.method)
        probabilities = jax.nn.softmax(logits - offset[None, :])
        return jnp.argmax(probabilities, axis=-1), jnp.max(probabilities, axis=-1)

    return predict
