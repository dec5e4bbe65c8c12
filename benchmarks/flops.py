"""What a step must compute and move, and the floor under a run's time: python -m benchmarks.flops.

Multiply-accumulates and bytes of the layers are those of `benchmarks/layers.py`. An operation is
half a multiply-accumulate; the backward pass is twice the forward pass. Shortcuts, pooling and
random numbers cost nothing. A cache that holds a whole layer, or a compiler that fuses more, moves
less than the model of bytes: the floor of memory traffic is the model's, that of the arithmetic is
hard. Evaluation is left out.
"""

from collections.abc import Sequence
from typing import Any

from benchmarks import recipe
from benchmarks.common import parser, report
from benchmarks.layers import network_layers
from benchmarks.work import Rates, Work, run_work, step_work

# H100 SXM by NVIDIA's datasheet, dense; JAX runs float32 convolutions as TF32 by default.
H100_FLOPS = {"bfloat16": 989e12, "float32": 495e12}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints multiply-accumulates, bytes and floor of each part, a step, and a run."""
    flags = parser(__doc__, "flops")
    recipe.add_flags(flags)
    flags.set_defaults(dtype="bfloat16")
    flags.add_argument("--epochs", type=int, help="default: the config's")
    flags.add_argument(
        "--flops", type=float, help="a second, of the network (default: H100 SXM's, by --dtype)"
    )
    flags.add_argument("--float32-flops", type=float, default=67e12, help="H100 SXM: %(default)s")
    flags.add_argument("--bandwidth", type=float, default=3.35e12, help="bytes/s, H100 SXM")
    flags.add_argument("--layers", action="store_true", help="a row for each layer of the network")
    options = flags.parse_args(argv)
    config = recipe.config_of(options)
    if options.epochs:
        config.epochs = options.epochs
    run = recipe.assemble(
        config, classes=options.classes, largest=options.largest, side=options.side
    )
    flops = options.flops or H100_FLOPS[config.dtype]
    rates = Rates(flops, options.float32_flops, options.bandwidth)

    rows = []
    if options.layers:
        for layer in network_layers(run):
            name = f"forward {layer.kind} {list(layer.shape)}"
            rows.append(_row(Work(name, layer.macs, layer.forward_bytes, network=True), rates))
    work = step_work(run)
    rows += [_row(part, rates) for part in work]
    rows.append(_total("step", [(part, 1) for part in work], rates))
    refresh, refreshes, steps = run_work(run)
    whole = [(part, steps) for part in work]
    if refresh is not None:
        rows.append(_row(refresh, rates))
        whole.append((refresh, refreshes))
    rows.append(_total(f"run of {config.epochs} epochs, {steps} steps", whole, rates))
    settings = {
        **recipe.settings(run),
        "refreshes": refreshes,
        "flops_per_s": flops,
        "float32_flops_per_s": options.float32_flops,
        "bytes_per_s": options.bandwidth,
    }
    report(rows, settings, options.json)


def _row(part: Work, rates: Rates) -> dict[str, Any]:
    arithmetic, memory = part.seconds(rates)
    return {
        "part": part.part,
        "MACs": float(part.macs),
        "FLOPs": 2.0 * part.macs,
        "bytes": float(part.bytes),
        "arithmetic s": arithmetic,
        "memory s": memory,
        "floor s": max(arithmetic, memory),
    }


def _total(name: str, work: Sequence[tuple[Work, int]], rates: Rates) -> dict[str, Any]:
    """The row of several parts, each so many times."""
    rows = [(_row(part, rates), times) for part, times in work]
    sums = {
        key: sum(row[key] * times for row, times in rows) for key in rows[0][0] if key != "part"
    }
    return {"part": name, **sums}


if __name__ == "__main__":
    main()
