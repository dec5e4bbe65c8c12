"""Several small runs on one device: one after the other, vmapped, or a process each.

python -m benchmarks.together [--config=configs/cifar100_small.py] [--runs=2]

Runs of one config that differ by seed could share a program, with one more axis over the runs; or
each could have a process of its own, on a CPU with an equal part of the cores. The figure is the
time that one epoch of one run takes on the whole: `experiments.run` takes the least.
"""

import argparse
import functools
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.training import engine
from benchmarks import recipe
from benchmarks.common import in_turn, parser, report
from benchmarks.epoch import Epoch

# Seconds after which a process counts as lost.
_PATIENCE = 600


def _assemble(options: argparse.Namespace):
    config = recipe.config_of(options)
    sizes = {"classes": options.classes, "largest": options.largest, "side": options.side}
    run = recipe.assemble(config, **sizes)
    return run, put_on_device(run.dataset.train, replicated(run.mesh))


def _scanned(options: argparse.Namespace) -> tuple[Epoch, int]:
    run, data = _assemble(options)
    scan = engine.scanned(run.train_step, data, run.order, run.mesh, run.state_shardings)
    return Epoch(scan, run.init_state()), run.steps_per_epoch


def vmapped(run, data, runs: int) -> Callable[[], jax.Array]:
    """Epochs of `runs` runs as one program, the states stacked."""

    def step(states, rows):
        one = lambda state, row: run.train_step(state, data.batch(row))  # noqa: E731
        return jax.vmap(one)(states, rows)

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(states, indices):
        return jax.lax.scan(step, states, indices)

    state = run.init_state()
    held = jax.tree.map(lambda x: jnp.stack([x] * runs), state)
    held = held.replace(key=jax.random.split(state.key, runs))
    indices = np.stack([run.order(number) for number in range(runs)], axis=1)

    def advance():
        nonlocal held
        held, metrics = epoch(held, indices)
        return metrics

    return advance


def _work(options: argparse.Namespace, cores: list[int], barrier, times) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
    epoch, _ = _scanned(options)
    jax.block_until_ready(epoch())
    barrier.wait()
    started = time.perf_counter()
    for _ in range(options.repeats):
        jax.block_until_ready(epoch())
    times.put((time.perf_counter() - started) / options.repeats)


def in_processes(options: argparse.Namespace) -> float:
    """Seconds of an epoch of each of `options.runs` processes that run at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(options.runs), context.Queue()
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // options.runs
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.8 / options.runs:.3f}")
    parts = [cores[i * share : (i + 1) * share] for i in range(options.runs)]
    started = [
        context.Process(target=_work, args=(options, part, barrier, times)) for part in parts
    ]
    for process in started:
        process.start()
    try:
        found = [times.get(timeout=_PATIENCE) for _ in started]
    except queue.Empty:
        for process in started:
            process.kill()
        raise RuntimeError("a process did not end; the memory may not do for so many") from None
    for process in started:
        process.join()
    return max(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a way to train several runs."""
    flags = parser(__doc__, "together")
    recipe.add_flags(flags)
    small = recipe.ROOT / "configs" / "cifar100_small.py"
    flags.set_defaults(config=small, classes=20, side=16, repeats=3)
    flags.add_argument("--runs", type=int, default=2, help="at a time (default: %(default)s)")
    options = flags.parse_args(argv)
    # First, while this process has not yet taken a GPU's memory.
    apart = in_processes(options) / options.runs
    run, data = _assemble(options)
    alone, steps = _scanned(options)
    found = in_turn(
        {"one after the other": alone, "vmapped": vmapped(run, data, options.runs)},
        options.repeats,
    )
    found["vmapped"] /= options.runs
    found["a process each"] = apart
    rows = [
        {
            "runs": name,
            "seconds an epoch of a run": seconds,
            "of one after the other": seconds / found["one after the other"],
        }
        for name, seconds in found.items()
    ]
    report(rows, {**recipe.settings(run), "runs": options.runs, "steps": steps}, options.json)


if __name__ == "__main__":
    main()
