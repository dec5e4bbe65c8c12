"""Compiled epochs against a Python loop of the same step: python -m benchmarks.epoch.

The scan runs an epoch as one program; the loop gathers and dispatches each step. A third row calls
the step alone on one batch, so that the loop's gap to it is what order, transfer and gather cost.
On a CPU the defaults are a tiny network and few steps, so that dispatch shows. To measure as
training does on a GPU, set XLA_FLAGS=--xla_gpu_exclude_nondeterministic_ops=true.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.training import engine
from benchmarks import recipe
from benchmarks.common import in_turn, parser, report

CPU_DEFAULTS = {"backbone": "resnet8", "side": 8, "classes": 10, "largest": 100, "batch": 32}
CPU_STEPS = 8


class Epoch:
    """An engine's epochs in a row, each begun with the state that the last one left.

    Args:
      run_epoch: of an engine; it donates its state.
      state: the first one.
    """

    def __init__(self, run_epoch: engine.RunEpoch, state: Any):
        self._run_epoch, self._state = run_epoch, state

    def __call__(self) -> Any:
        """Returns the state and metrics after the epoch."""
        for state, metrics in self._run_epoch(self._state, 0, 0):
            renewed = state, metrics
        self._state = renewed[0]
        return renewed


def alone(train_step: Callable, batch: dict[str, jax.Array], steps: int) -> engine.RunEpoch:
    """An engine that repeats the step on one batch: nothing to gather, nothing to transfer."""
    compiled = jax.jit(train_step, donate_argnames="state")

    def run_epoch(state, epoch, skip):
        for _ in range(steps):
            state, metrics = compiled(state, batch)
            yield state, metrics

    return run_epoch


def first_call(function: Callable[[], Any]) -> float:
    """Seconds of a call that traces and compiles everything anew."""
    with recipe.cold():
        started = time.perf_counter()
        jax.block_until_ready(function())
        return time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a way to run an epoch."""
    on_cpu = jax.default_backend() == "cpu"
    flags = parser(__doc__, "epoch")
    recipe.add_flags(flags)
    flags.add_argument(
        "--steps", type=int, default=CPU_STEPS if on_cpu else 0, help="0 for a whole epoch"
    )
    flags.set_defaults(repeats=3)
    if on_cpu:
        flags.set_defaults(**CPU_DEFAULTS)
    options = flags.parse_args(argv)
    config = recipe.config_of(options)
    run = recipe.assemble(
        config, classes=options.classes, largest=options.largest, side=options.side
    )
    steps = min(options.steps or run.steps_per_epoch, run.steps_per_epoch)
    data, state = (
        put_on_device(run.dataset.train, replicated(run.mesh)),
        recipe.after_warmup(run.init_state(), jax.random.key(1)),
    )

    def order(epoch):
        return run.order(epoch)[:steps]

    engines = {
        "scan": engine.scanned(run.train_step, data, order, run.mesh, run.state_shardings),
        "loop": engine.looped(run.train_step, data, order, run.mesh, run.state_shardings),
        "step alone": alone(run.train_step, recipe.first_batch(run), steps),
    }
    epochs = {name: Epoch(run, recipe.copied(state)) for name, run in engines.items()}
    first = {name: first_call(epoch) for name, epoch in epochs.items()}
    found = in_turn(epochs, options.repeats)
    views = run.config.batch_size * len(run.method.views)
    rows = [
        {
            "epoch": name,
            "seconds a step": found[name] / steps,
            "views/s": steps * views / found[name],
            "gap to the step alone, ms": 1e3 * (found[name] - found["step alone"]) / steps,
            "compilation s": first[name] - found[name],
        }
        for name in epochs
    ]
    report(rows, {**recipe.settings(run), "steps": steps}, options.json)


if __name__ == "__main__":
    main()
