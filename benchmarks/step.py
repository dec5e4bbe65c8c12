"""One training step and its parts: python -m benchmarks.step.

Time, views a second, model FLOP utilisation, memory and compilation of the step of a config over
random images, after warm-up: queues full, every centroid valid. The parts are compiled each by
itself and timed in turn with the step, which overlaps and fuses them: their sum need not be the
step's time. Training excludes kernels that add in another order each time; to measure it so on a
GPU, set XLA_FLAGS=--xla_gpu_exclude_nondeterministic_ops=true.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bccl_jax.methods.base import Batch
from bccl_jax.training.assemble import Run
from bccl_jax.training.state import TrainState
from benchmarks import recipe
from benchmarks.common import in_turn, parser, report, seconds
from benchmarks.flops import H100_FLOPS
from benchmarks.layers import network_layers

# Operations a second by device_kind and dtype: dense tensor-core figures of NVIDIA's datasheets,
# where JAX runs float32 as TF32 by default. Names in full: a slice or a PCIe card is another one.
_A100_FLOPS = {"bfloat16": 312e12, "float32": 156e12}
PEAK_FLOPS = {
    "NVIDIA H100 80GB HBM3": H100_FLOPS,
    "NVIDIA H200": H100_FLOPS,
    "NVIDIA A100-SXM4-40GB": _A100_FLOPS,
    "NVIDIA A100-SXM4-80GB": _A100_FLOPS,
    "NVIDIA A100-PCIE-40GB": _A100_FLOPS,
    "NVIDIA A100 80GB PCIe": _A100_FLOPS,
}


def peak_flops(dtype: str, side: int) -> tuple[float, str]:
    """Operations a second that the device can do at best.

    Args:
      dtype: "float32" or "bfloat16".
      side: of the square matrices whose product is timed where no datasheet figure is known.

    Returns:
      The rate, and where it comes from.
    """
    kind = jax.devices()[0].device_kind
    if kind in PEAK_FLOPS:
        return PEAK_FLOPS[kind][dtype], f"datasheet, {'TF32' if dtype == 'float32' else dtype}"
    left, right = jax.random.normal(jax.random.key(0), (2, side, side), jnp.dtype(dtype))
    return 2 * side**3 / seconds(jax.jit(jnp.matmul), left, right), f"measured, {side}^3 product"


def peak_memory(compiled: Any) -> tuple[int, str]:
    """Bytes on the device at the peak of a step that has run, and where the figure comes from."""
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"], "allocator's peak, one batch of images alone"
    sizes = compiled.memory_analysis()
    total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return total - sizes.alias_size_in_bytes, "XLA's plan: arguments, results, temporaries"


def parts(run: Run, state: TrainState, batch: dict[str, jax.Array]) -> dict[str, Callable]:
    """The parts of a step, each compiled at its first call.

    Args:
      run: whose step it is.
      state: after warm-up; it is copied where a part renews it.
      batch: of `recipe.first_batch`.

    Returns:
      Functions without arguments, by name. "forward and backward" is the network's alone, from
      given gradients of its outputs; "losses" are those of given outputs, with their gradient.
    """
    method, network, key = run.method, run.network, jax.random.key(2)
    inputs = method.view_inputs(state.method, batch["label"])
    augment = functools.partial(run.augment, batch["image"], key, inputs=inputs)
    views = augment()

    def forward(params, state, views, labels):
        batch = Batch(views, labels)
        return recipe.network_passes(network, method, state, batch, params)

    def forward_backward(params, state, views, labels, cotangents):
        def weighted(params):
            found = forward(params, state, views, labels)
            outputs, batch_stats = [outputs for outputs, _ in found], found[-1][1]
            return optax.tree.vdot(outputs, cotangents), batch_stats

        return jax.grad(weighted, has_aux=True)(params)

    def loss_of(outputs, params, state, views, labels):
        given = iter(outputs)

        def apply(*_, **__):
            return next(given), state.batch_stats

        return recipe.method_loss(method, apply, params, state, Batch(views, labels))

    def losses(outputs, *arguments):
        return jax.value_and_grad(lambda outputs: loss_of(outputs, *arguments)[0])(outputs)

    def renewal(own, outputs, params, state, views, labels):
        _, (_, renewed, _) = loss_of(outputs, params, state.replace(method=own), views, labels)
        return renewed, ()

    def update(carry, gradient):
        params, opt_state = carry
        updates, opt_state = run.optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), optax.global_norm(gradient)

    arguments = state.params, state, views, batch["label"]
    passes = jax.jit(forward)
    outputs = [outputs for outputs, _ in passes(*arguments)]
    cotangents = jax.tree.map(lambda out: jax.random.normal(key, out.shape, out.dtype), outputs)
    gradient = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), state.params)
    carry = recipe.copied((state.params, state.opt_state))
    made = {
        "augmentation": augment,
        "forward": functools.partial(passes, *arguments),
        "forward and backward": functools.partial(
            jax.jit(forward_backward), *arguments, cotangents
        ),
        "losses": functools.partial(jax.jit(losses), outputs, *arguments),
        "optimizer": recipe.Threaded(jax.jit(update, donate_argnums=0), carry, gradient),
    }
    if hasattr(state.method, "queue"):
        # Donated as in the step, where a push writes in place.
        pushing = jax.jit(renewal, donate_argnums=0)
        own = recipe.copied(state.method)
        made["queue push"] = recipe.Threaded(pushing, own, outputs, *arguments)
    return made


def first_calls(functions: dict[str, Callable]) -> dict[str, float]:
    """Seconds of each function's first call, by name: traced, compiled without a cache, and run."""
    found = {}
    with recipe.cold():
        for name, function in functions.items():
            started = time.perf_counter()
            jax.block_until_ready(function())
            found[name] = time.perf_counter() - started
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one figure a row."""
    flags = parser(__doc__, "step")
    recipe.add_flags(flags)
    flags.set_defaults(repeats=3)
    flags.add_argument("--peak", type=float, help="FLOP/s of the device, for the utilisation")
    flags.add_argument("--product", type=int, default=1024, help="side of the peak's product")
    options = flags.parse_args(argv)
    config = recipe.config_of(options)
    run = recipe.assemble(
        config, classes=options.classes, largest=options.largest, side=options.side
    )
    state = recipe.after_warmup(run.init_state(), jax.random.key(1))
    batch = recipe.first_batch(run)

    step = jax.jit(run.train_step, donate_argnames="state")
    with recipe.cold():
        started = time.perf_counter()
        lowered = step.lower(state, batch)
        lowering = time.perf_counter() - started
        compiled = lowered.compile()
        compiling = time.perf_counter() - started - lowering
    whole = recipe.Threaded(compiled, recipe.copied(state), batch)
    jax.block_until_ready(whole())
    memory, memory_source = peak_memory(compiled)

    made = parts(run, state, batch)
    first = first_calls(made)
    found = in_turn({**made, "step": whole}, options.repeats)
    model_flops = 6 * sum(layer.macs for layer in network_layers(run))
    peak, peak_source = options.peak, "--peak"
    if peak is None:
        peak, peak_source = peak_flops(config.dtype, options.product)
    counted = (lowered.cost_analysis() or {}).get("flops")
    report(
        [
            *_times(found, run.config.batch_size * len(run.method.views)),
            _row("lowering", lowering, "s", "traced and lowered, cold"),
            _row("compilation", compiling, "s", "no cache"),
            *(
                _row(f"start of {name}", value - found[name], "s", "first call less a later one")
                for name, value in first.items()
            ),
            _row("peak memory", memory / 2**20, "MiB", memory_source),
            _row("model FLOPs", model_flops / 1e9, "G", "3 forward passes, benchmarks/layers.py"),
            _row("FLOPs by XLA", counted and counted / 1e9, "G", "the step before optimisation"),
            _row("peak", peak / 1e9, "GFLOP/s", peak_source),
            _row(
                "model FLOP utilisation",
                100 * model_flops / found["step"] / peak,
                "%",
                "model FLOPs over step time and peak",
            ),
        ],
        recipe.settings(run),
        options.json,
    )


def _times(found: dict[str, float], views: int) -> list[dict[str, Any]]:
    """Rows of the step, its rate, its parts and their sum."""
    backward = found["forward and backward"] - found["forward"]
    named = {
        "augmentation": (found["augmentation"], "all views"),
        "forward": (found["forward"], "network"),
        "backward": (backward, "forward and backward less forward"),
        "losses": (found["losses"], "with the gradient of the network's outputs"),
    }
    if "queue push" in found:
        named["queue push"] = found["queue push"], "in place"
    named["optimizer"] = found["optimizer"], "with the gradient's norm"
    total = sum(value for value, _ in named.values())
    named["sum of parts"] = total, "compiled apart; need not be the step"
    step = found["step"]
    return [
        _row("step", step, "s", "one program", 100.0),
        _row("rate", views / step, "views/s", "of the step"),
        *(
            _row(name, value, "s", note, 100 * value / step)
            for name, (value, note) in named.items()
        ),
    ]


def _row(figure: str, value: float, unit: str, note: str, share: float | None = None) -> dict:
    return {"figure": figure, "value": value, "unit": unit, "% of step": share, "note": note}


if __name__ == "__main__":
    main()
