"""The compiled training step, whatever the method."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from bccl_jax.methods.base import Method, Progress
from bccl_jax.models import taps
from bccl_jax.models.network import Network
from bccl_jax.optimization.averaging import averaged, kept_share
from bccl_jax.optimization.sharpness import uphill
from bccl_jax.training.drawing import by_image, make_draw, parted_batch
from bccl_jax.training.parts import joined, parted, scaled
from bccl_jax.training.state import TrainState


def make_train_step(
    network: Network,
    method: Method,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    augment: Callable,
    steps_per_epoch: int,
    accumulation: int = 1,
    stage: int = 0,
    first_epoch: int = 0,
    trains: tuple[str, ...] = (),
    rates: Mapping[str, float] | None = None,
    anew: tuple[str, ...] = (),
    ema: float = 0.0,
    sam_rho: float = 0.0,
    soften: Callable | None = None,
) -> Callable:
    """Closes a training step over everything static.

    Args:
      network: backbone and heads.
      method: owns the loss.
      optimizer: renews the parameters.
      schedule: the optimizer's learning rate, which the loss sees and which is logged.
      augment: (images uint8 [B, H, W, 3] or crops [B, V, S, S, 3], key) -> the method's views, a
        tuple of floats; with `inputs=`, what `Method.view_inputs` gives, if it gives any.
      steps_per_epoch: steps of an epoch.
      accumulation: A, parts of a batch that go through the network one after the other; the
        gradients are averaged, statistics and the method's state pass from part to part. Views see
        the state before the step.
      stage: which of the method's stages the step is of.
      first_epoch: from which optimizer and schedule count: of that stage, or of the one that it
        continues.
      trains: paths of the parameters that are trained; empty for all.
      rates: paths of those whose learning rate is another one, over that of the schedule.
      anew: paths of those that started anew with the stage.
      ema: decay of the average of the weights, which an `AveragedState` then has; 0 for none.
      sam_rho: how far up the loss the gradient is taken that renews the parameters; 0 for the
        gradient where they are. Statistics, metrics and the method's state are those of the first
        pass, which is where they are.
      soften: (batch, key) -> the batch with soft labels; None for hard ones.

    Returns:
      train_step(state, {"image": uint8, "label": int32 [B], "index": int32 [B]}) -> (state,
      metrics), the metrics float32 scalars by name; of a method with S further streams all are of
      B (1 + S) rows, as `data.order.Order` has them. The index may be missing for a method that
      does not ask which images it sees. Which images were "broken", if the batch has it, comes back
      beside the metrics, of all processes. It is not compiled yet: the engine compiles it, alone or
      in a scan.
    """

    def rate_at(step):
        return schedule(step - first_epoch * steps_per_epoch)

    draw = make_draw(method, augment, soften)

    def differentiate(params, batch_stats, method_state, batch, key, step):
        progress = Progress(step, step // steps_per_epoch, stage, rate_at(step))
        trained, frozen = parted(params, trains)

        def loss_of(trained, sinks):
            params = joined(trained, frozen)

            def apply(params, forward, *inputs, batch_stats=batch_stats):
                variables = {"params": params, "batch_stats": batch_stats, taps.COLLECTION: sinks}
                outputs, renewed = network.apply(
                    variables, *inputs, method=forward, mutable=["batch_stats"]
                )
                return outputs, renewed["batch_stats"]

            return method.loss(apply, params, batch, method_state, key, progress)

        (loss, (metrics, method_state, batch_stats)), (gradient, squares) = jax.value_and_grad(
            loss_of, argnums=(0, 1), has_aux=True
        )(trained, taps.sinks(method.taps))
        gradient = joined(gradient, jax.tree.map(jnp.zeros_like, frozen))
        norms = {f"{name}_gradient": jnp.sqrt(square) for name, square in squares.items()}
        return gradient, {"loss": loss, **metrics, **norms}, batch_stats, method_state

    def accumulate(params, state, batch, key):
        """The same over parts of a batch, one after the other; gradients and metrics averaged."""

        def add(carry, part):
            gradient_sum, batch_stats, method_state = carry
            index, batch = part
            gradient, metrics, batch_stats, method_state = differentiate(
                params,
                batch_stats,
                method_state,
                *draw(batch, jax.random.fold_in(key, index), state.method),
                state.step,
            )
            gradient_sum = jax.tree.map(jnp.add, gradient_sum, gradient)
            return (gradient_sum, batch_stats, method_state), metrics

        parts = parted_batch(batch, accumulation)
        zeros = jax.tree.map(jnp.zeros_like, params)
        (gradient, batch_stats, method_state), metrics = jax.lax.scan(
            add, (zeros, state.batch_stats, state.method), (jnp.arange(accumulation), parts)
        )
        gradient = jax.tree.map(lambda x: x / accumulation, gradient)
        return gradient, jax.tree.map(jnp.mean, metrics), batch_stats, method_state

    def passes(state, batch, key):
        """A function from parameters to their gradient over a batch, and what else a pass gives."""
        if accumulation > 1:
            return lambda params: accumulate(params, state, batch, key)
        drawn = draw(batch, key, state.method)
        return lambda params: differentiate(
            params, state.batch_stats, state.method, *drawn, state.step
        )

    def average(state: TrainState) -> dict:
        """The average after the step that made this state."""
        kept = kept_share(ema, state.step - 1)
        found = {
            "params": averaged(state.average["params"], state.params, kept),
            # Those of the raw network are of features that the averaged one does not have.
            "batch_stats": averaged(state.average["batch_stats"], state.batch_stats, kept),
        }
        if anew:
            since = kept_share(ema, state.step - 1 - first_epoch * steps_per_epoch)
            old, new = (parted(x, anew)[0] for x in (state.average["params"], state.params))
            rest = parted(found["params"], anew)[1]
            found["params"] = joined(averaged(old, new, since), rest)
        return found

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(state.key, state.step)
        broken = {name: batch[name] for name in batch if name == "broken"}
        seen = {name: batch[name] for name in batch if name not in broken}
        batch = by_image(seen, method)
        # Here and not in the loss, which runs once for each part of a batch and each pass of SAM.
        state = state.replace(method=method.follow(state.method, state.params))
        run_pass = passes(state, batch, key)
        first, metrics, batch_stats, method_state = run_pass(state.params)
        gradient = first
        if sam_rho:
            # Of this pass nothing else is kept: no statistic or queue takes a batch in twice.
            gradient, *_ = run_pass(uphill(state.params, first, sam_rho))
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        # Every optimizer here ends with the learning rate as a factor.
        updates = scaled(updates, rates or {})
        # Weight decay would move what has no gradient.
        moved, still = parted(updates, trains)
        updates = joined(moved, jax.tree.map(jnp.zeros_like, still))
        metrics = {
            **metrics,
            "gradient_norm": optax.global_norm(first),
            "learning_rate": rate_at(state.step),
        }
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            method=method_state,
        )
        if ema:
            state = state.replace(average=average(state))
        return state, {name: jnp.float32(value) for name, value in metrics.items()} | broken

    return train_step
