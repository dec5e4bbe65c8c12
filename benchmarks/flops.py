"""What a step must compute and move, and the floor under a run's time: python -m benchmarks.flops.

Multiply-accumulates of convolutions and dense layers are counted in the jaxpr of the training
forward pass, padding included, as the literature counts them (69 M an image for ResNet-32 at 32
pixels). An operation is half a multiply-accumulate; the backward pass is twice the forward pass.

Bytes follow a simple model, in which each kernel reads its inputs from memory once and writes its
outputs once. Forward, a layer reads input and weights and writes its output, over which the batch
statistics are gathered on the way; normalisation and ReLU read and write it once. Backward, the
normalisation reads gradient and output twice (its sums come first) and writes the gradient; the
layer reads that gradient, its input and its weights for its two products and writes two gradients.
Shortcuts, pooling and random numbers cost nothing. A cache that holds a whole layer, or a compiler
that fuses more, moves less than this: the floor of memory traffic is the model's, that of the
arithmetic is hard. Evaluation is left out.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from bccl_jax.methods.base import Batch
from bccl_jax.training.assemble import Assembly
from benchmarks import recipe
from benchmarks.common import parser, report

# The jit of `recipe.network_passes`, outside of which nothing is a layer.
_PASS = "network_pass"

# H100 SXM by NVIDIA's datasheet, dense; JAX runs float32 convolutions as TF32 by default.
H100_FLOPS = {"bfloat16": 989e12, "float32": 495e12}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or dense layer of a forward pass, over the whole batch.

    Attributes:
      kind: "conv" or "dense".
      macs: multiply-accumulates.
      inputs: elements read.
      weights: elements read, float32 in memory.
      outputs: elements written.
      shape: of the output.
      itemsize: bytes of an activation.
    """

    kind: str
    macs: int
    inputs: int
    weights: int
    outputs: int
    shape: tuple[int, ...]
    itemsize: int

    @property
    def forward_bytes(self) -> int:
        """Bytes of the layer and its normalisation, as the module's model has them."""
        return self.itemsize * (self.inputs + 3 * self.outputs) + 4 * self.weights

    @property
    def backward_bytes(self) -> int:
        """Bytes of the gradients of both."""
        return self.itemsize * (2 * self.inputs + 7 * self.outputs) + 8 * self.weights


@dataclasses.dataclass(frozen=True)
class Work:
    """What one part of a run computes and moves.

    Attributes:
      part: its name.
      macs: multiply-accumulates.
      bytes: read and written.
      network: whether it runs at the rate of the network's dtype; float32 otherwise.
    """

    part: str
    macs: float
    bytes: float
    network: bool = False

    def seconds(self, rates: "Rates") -> tuple[float, float]:
        """Returns the seconds of its arithmetic and those of its memory traffic."""
        flops = rates.network if self.network else rates.float32
        return 2 * self.macs / flops, self.bytes / rates.bandwidth


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device can do in a second.

    Attributes:
      network: operations in the network's dtype.
      float32: operations in full float32, in which losses and k-means are.
      bandwidth: bytes of memory.
    """

    network: float
    float32: float
    bandwidth: float


def layers(function: Callable, *arguments: Any, within: str | None = None) -> list[Layer]:
    """The convolutions and dense layers of a function, in the order of its jaxpr.

    Args:
      function: traced, never run.
      *arguments: of the function; shapes and dtypes are enough.
      within: the name of a jitted function of which alone layers count; None for all.

    Returns:
      The layers.

    Raises:
      ValueError: a layer in a loop or branch, of which the jaxpr does not tell how often it runs.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    return list(_layers(closed.jaxpr, within, within is None))


def _layers(jaxpr: Any, within: str | None, counting: bool) -> Iterator[Layer]:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        inside = counting or equation.params.get("name") == within
        if counting and name in ("conv_general_dilated", "dot_general"):
            yield _layer(equation)
        for inner in _inner_jaxprs(equation):
            for layer in _layers(inner, within, inside):
                if name in ("while", "scan", "cond"):
                    raise ValueError(f"a layer within {name} cannot be counted; unroll it")
                yield layer


def _inner_jaxprs(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for inner in value if isinstance(value, list | tuple) else [value]:
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield inner


def _layer(equation: Any) -> Layer:
    left, right = (variable.aval for variable in equation.invars)
    output = equation.outvars[0].aval
    if equation.primitive.name == "conv_general_dilated":
        kind = "conv"
        channels = equation.params["dimension_numbers"].rhs_spec[0]
        macs = output.size * (right.size // right.shape[channels])
    else:
        kind = "dense"
        (contracted, _), _ = equation.params["dimension_numbers"]
        macs = output.size * math.prod(left.shape[axis] for axis in contracted)
    shape, itemsize = output.shape, output.dtype.itemsize
    return Layer(kind, macs, left.size, right.size, output.size, shape, itemsize)


def network_layers(run: Assembly) -> list[Layer]:
    """The layers of one training forward pass over all views of a batch."""
    network, views, batch_shape = run.network, len(run.method.views), _batch_shape(run)
    images = jax.ShapeDtypeStruct(batch_shape, jnp.dtype(run.config.dtype))
    labels = jax.ShapeDtypeStruct(batch_shape[:1], jnp.int32)

    def passes(state, images, labels):
        batch = Batch((images,) * views, labels)
        return recipe.network_passes(network, run.method, state, batch, state.params)

    state = jax.eval_shape(run.init_state)
    return layers(passes, state, images, labels, within=_PASS)


def _batch_shape(run: Assembly) -> tuple[int, ...]:
    return run.config.batch_size, *run.dataset.train.images.shape[1:]


def step_work(run: Assembly) -> list[Work]:
    """What each part of one training step computes and moves.

    Args:
      run: its method may be any; losses and queues are BCCL's alone, for those of the others
        are nothing beside the network.

    Returns:
      One `Work` a part: augmentation, forward, backward, losses and queue push, optimizer.
    """
    found = network_layers(run)
    macs = sum(layer.macs for layer in found)
    pixels = math.prod(_batch_shape(run)) * len(run.method.views)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(run.init_state).params))
    work = [
        Work("augmentation", 0, pixels * (1 + jnp.dtype(run.config.dtype).itemsize)),
        Work("forward", macs, sum(layer.forward_bytes for layer in found), network=True),
        Work("backward", 2 * macs, sum(layer.backward_bytes for layer in found), network=True),
    ]
    if run.config.method.name == "bccl":
        method, classes = run.config.method, len(run.class_counts)
        embeddings, dim = 2 * run.config.batch_size, method.projector_dim
        work.append(loss_work(embeddings, classes, method.num_centroids, dim))
        stored = jnp.dtype(method.queue_dtype).itemsize
        work.append(Work("queue push", 0, embeddings * dim * (4 + stored)))
    # Parameter, gradient and momentum are read, parameter and momentum written; before that the
    # gradient's norm reads it.
    work.append(Work("optimizer", 4 * parameters, 4 * 6 * parameters))
    return work


def loss_work(embeddings: int, classes: int, centroids: int, dim: int) -> Work:
    """Both contrastive losses of BCCL with their gradient.

    The two share their similarities. Of the gradient, the products with the batch go to anchors
    and candidates, those with the centroids to the anchors alone. A similarity is written and read
    in the forward pass, its gradient in the backward pass.

    Args:
      embeddings: N, two a image.
      classes: K.
      centroids: C.
      dim: D.

    Returns:
      The work.
    """
    candidates = classes * centroids
    forward = embeddings * (embeddings + candidates) * dim
    backward = embeddings * (2 * embeddings + candidates) * dim
    similarities = 4 * 4 * embeddings * (embeddings + candidates)
    vectors = 4 * dim * (3 * embeddings + 2 * candidates)
    return Work("losses", forward + backward, similarities + vectors)


def kmeans_work(
    classes: int, points: int, centroids: int, dim: int, iterations: int = 20, restarts: int = 4
) -> Work:
    """One refresh of all centroids by `bccl_jax.clustering.kmeans`, whose points stay in cache.

    Args:
      classes: K.
      points: M, of a class.
      centroids: C.
      dim: D.
      iterations: of Lloyd, each an assignment and a mean; one more assignment gives the inertia.
      restarts: greedy starts, of which each further centroid tries 2 + log C candidates.

    Returns:
      The work.
    """
    trials = 2 + int(math.log(centroids))
    start = 1 + (centroids - 1) * trials
    lloyd = (2 * iterations + 1) * centroids
    macs = classes * restarts * (start + lloyd) * points * dim
    return Work("refresh", macs, 4 * classes * (points + centroids) * dim)


def run_work(run: Assembly) -> tuple[Work | None, int, int]:
    """Returns one refresh (None without one), how many a run has, and its steps."""
    epochs, method = run.config.epochs, run.config.method
    refreshes = sum(run.method.refresh_due(epoch) for epoch in range(1, epochs + 1))
    refresh = None
    if refreshes and method.clustering == "kmeans":
        shape = method.queue_size, method.num_centroids, method.projector_dim
        refresh = kmeans_work(len(run.class_counts), *shape, method.kmeans_iterations)
    return refresh, refreshes, epochs * run.steps_per_epoch


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
