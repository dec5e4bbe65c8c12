"""How cost grows with classes, queues, centroids, batch and width: python -m benchmarks.scaling.

Sizes double up to the largest one. Of each curve an exponent is fitted by least squares between the
logarithms, over the upper half of its points but three at least, where constant costs weigh least;
± is its standard error. FLOPs are XLA's of the program before optimisation, bytes those of the
compiled one, in which a push that writes in place counts the whole queue; of k-means, whose loops
XLA counts as one pass, both are those of `benchmarks.work`. What is not varied has the recipe's
size, but for the queues of k-means over centroids: twice as many features as there are centroids at
most. The JSON file holds every point.
"""

import argparse
import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.clustering.kmeans import kmeans
from bccl_jax.clustering.queue import init_queue, push
from bccl_jax.losses.contrastive import centroid_loss, supervised_contrastive_loss
from benchmarks import recipe
from benchmarks.common import in_turn, parser, report
from benchmarks.work import kmeans_work

CLASSES, QUEUE, CENTROIDS, DIM, BATCH = 100, 64, 5, 128, 128
PARTS = ("losses", "queue push", "refresh", "step")


@dataclasses.dataclass(frozen=True)
class Point:
    """A part at one size, ready to be timed.

    Attributes:
      call: runs it.
      flops: of one call; None where unknown.
      bytes: read and written by one call; None where unknown.
    """

    call: Callable[[], Any]
    flops: float | None
    bytes: float | None


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """The exponent p of values that grow as size ** p, over the upper half of the points.

    Args:
      sizes: growing, at least 3; the upper half is at least 3 of them too.
      values: positive.

    Returns:
      The exponent and its standard error.
    """
    kept = max(3, -(-len(sizes) // 2))
    x, y = np.log(sizes[-kept:]), np.log(values[-kept:])
    x, y = x - x.mean(), y - y.mean()
    exponent = x @ y / (x @ x)
    rest = y - exponent * x
    return float(exponent), float(np.sqrt(rest @ rest / (kept - 2) / (x @ x)))


def losses(classes: int = CLASSES, centroids: int = CENTROIDS, batch: int = BATCH) -> Point:
    """Both contrastive losses and their gradient."""
    keys = jax.random.split(jax.random.key(0), 3)
    embeddings = recipe.unit_vectors(keys[0], (2 * batch, DIM))
    labels = jax.random.randint(keys[1], (2 * batch,), 0, classes)
    centres = recipe.unit_vectors(keys[2], (classes, centroids, DIM))
    mask = jnp.ones((classes, centroids), bool)

    def both(embeddings, labels, centres, mask):
        contrastive = supervised_contrastive_loss(
            embeddings, labels, temperature=0.1, centroids=centres, centroid_mask=mask
        )
        return contrastive + 0.1 * centroid_loss(embeddings, labels, centres, mask, temperature=0.1)

    return _compiled(jax.jit(jax.value_and_grad(both)), embeddings, labels, centres, mask)


def queue_push(classes: int = CLASSES, queue_size: int = QUEUE, batch: int = BATCH) -> Point:
    """A push of both views' embeddings into full queues, in place."""
    queue = init_queue(classes, queue_size, DIM)
    queue = queue.replace(count=jnp.full_like(queue.count, queue_size))
    embeddings = recipe.unit_vectors(jax.random.key(0), (2 * batch, DIM))
    labels = jax.random.randint(jax.random.key(1), (2 * batch,), 0, classes)

    def pushed(queue, embeddings, labels):
        return push(queue, embeddings, labels), ()

    return _threaded(jax.jit(pushed, donate_argnums=0), queue, embeddings, labels)


def refresh(classes: int = CLASSES, queue_size: int = QUEUE, centroids: int = CENTROIDS) -> Point:
    """K-means of every class's full queue."""
    points = recipe.unit_vectors(jax.random.key(0), (classes, queue_size, DIM))
    mask = jnp.ones((classes, queue_size), bool)
    call = functools.partial(kmeans, points, mask, centroids, jax.random.key(1))
    work = kmeans_work(classes, queue_size, centroids, DIM)
    return Point(call, 2 * work.macs, work.bytes)


def step(options: argparse.Namespace, batch: int = 0, width: int = 0) -> Point:
    """A whole training step; 0 takes the flags' batch and the backbone's own width."""
    config = recipe.config_of(options)
    config.batch_size = batch or config.batch_size
    run = recipe.assemble(
        config, classes=options.classes, largest=options.largest, side=options.side, width=width
    )
    state = recipe.after_warmup(run.init_state(), jax.random.key(1))
    stepping = jax.jit(run.train_step, donate_argnames="state")
    return _threaded(stepping, state, recipe.first_batch(run))


def _compiled(function: Callable, *arguments: Any) -> Point:
    lowered = function.lower(*arguments)
    compiled = lowered.compile()
    return Point(functools.partial(compiled, *arguments), *_cost(lowered, compiled))


def _threaded(function: Callable, carry: Any, *arguments: Any) -> Point:
    lowered = function.lower(carry, *arguments)
    compiled = lowered.compile()
    return Point(recipe.Threaded(compiled, carry, *arguments), *_cost(lowered, compiled))


def _cost(lowered: Any, compiled: Any) -> tuple[float | None, float | None]:
    flops = (lowered.cost_analysis() or {}).get("flops")
    return flops, (compiled.cost_analysis() or {}).get("bytes accessed")


def measured(
    make: Callable[[int], Point], sizes: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """Times a part at all sizes in turn.

    Args:
      make: size -> the part at that size.
      sizes: growing.
      repeats: timings of which the median counts.

    Returns:
      {"size", "seconds", "FLOPs", "bytes"} of each size.
    """
    points = {size: make(size) for size in sizes}
    found = in_turn({size: point.call for size, point in points.items()}, repeats)
    return [
        {"size": size, "seconds": found[size], "FLOPs": point.flops, "bytes": point.bytes}
        for size, point in points.items()
    ]


def curves(options: argparse.Namespace) -> list[tuple[str, str, int, Callable[[int], Point]]]:
    """The curves: part, what grows, its largest size, and size -> point."""
    classes, queue = options.largest_classes, options.largest_queue
    centroids, batch = options.largest_centroids, options.largest_batch
    few = functools.partial(refresh, queue_size=2 * centroids)
    return [
        ("losses", "classes", classes, lambda size: losses(classes=size)),
        ("losses", "centroids", centroids, lambda size: losses(centroids=size)),
        ("losses", "batch", batch, lambda size: losses(batch=size)),
        ("queue push", "classes", classes, lambda size: queue_push(classes=size)),
        ("queue push", "queue size", queue, lambda size: queue_push(queue_size=size)),
        ("queue push", "batch", batch, lambda size: queue_push(batch=size)),
        ("refresh", "classes", classes, lambda size: refresh(classes=size)),
        ("refresh", "queue size", queue, lambda size: refresh(queue_size=size)),
        ("refresh", "centroids", centroids, lambda size: few(centroids=size)),
        ("step", "batch", options.largest_step_batch, lambda size: step(options, batch=size)),
        ("step", "width", options.largest_step_width, lambda size: step(options, width=size)),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a curve."""
    on_cpu = jax.default_backend() == "cpu"
    flags = parser(__doc__, "scaling")
    recipe.add_flags(flags)
    flags.set_defaults(repeats=3)
    if on_cpu:
        flags.set_defaults(backbone="resnet8", batch=16)
    # Of the losses, queues and k-means first, then of the step: CPU, accelerator.
    for name, cpu, accelerator in (
        ("classes", 2048, 16384),
        ("centroids", 32, 256),
        ("queue", 512, 1024),
        ("batch", 1024, 4096),
        ("step-batch", 64, 2048),
        ("step-width", 64, 256),
    ):
        flags.add_argument(f"--largest-{name}", type=int, default=cpu if on_cpu else accelerator)
    add = functools.partial(flags.add_argument, type=int)
    add("--points", default=4 if on_cpu else 7, help="sizes of a curve (%(default)s)")
    add("--step-points", default=3 if on_cpu else 5, help="of the step's (%(default)s)")
    flags.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = flags.parse_args(argv)
    if min(options.points, options.step_points) < 3:
        flags.error("an exponent and its error take 3 points")
    config = recipe.config_of(options)

    chosen = [curve for curve in curves(options) if curve[0] in options.parts]
    sizes_of = {}
    for part, grows, largest, _ in chosen:
        count = options.step_points if part == "step" else options.points
        sizes_of[part, grows] = sizes = [largest >> i for i in reversed(range(count))]
        if sizes[0] < 1:
            flags.error(f"{largest} cannot be halved to {count} points: {part} over {grows}")

    rows, points = [], {}
    for part, grows, _, make in chosen:
        sizes = sizes_of[part, grows]
        found = measured(make, sizes, options.repeats)
        points[f"{part} over {grows}"] = found
        rows.append(_row(part, grows, found))
        # Progress for who waits: the table comes at the end.
        print(f"{part} over {grows}: {rows[-1]['seconds at the largest']:.4g} s", flush=True)
    settings = {
        "classes": CLASSES,
        "queue_size": QUEUE,
        "centroids": CENTROIDS,
        "dim": DIM,
        "batch": BATCH,
        "step": f"{config.model.backbone}, batch {config.batch_size}, {options.side} px, "
        f"{options.classes} classes, {config.dtype}",
    }
    report(rows, settings, options.json)
    written = json.loads(options.json.read_text())
    options.json.write_text(json.dumps({**written, "points": points}, indent=1) + "\n")


def _row(part: str, grows: str, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    sizes = [point["size"] for point in points]
    exponents = {}
    for key in ("seconds", "FLOPs", "bytes"):
        values = [point[key] for point in points]
        # A program without arithmetic, or a device whose XLA does not tell, has no exponent.
        exponents[key] = (None, None)
        if all(values):
            exponents[key] = [round(value, 3) for value in fitted_exponent(sizes, values)]
    return {
        "part": part,
        "grows": grows,
        "from": sizes[0],
        "to": sizes[-1],
        "exponent of seconds": exponents["seconds"][0],
        "±": exponents["seconds"][1],
        "of FLOPs": exponents["FLOPs"][0],
        "of bytes": exponents["bytes"][0],
        "seconds at the largest": points[-1]["seconds"],
    }


if __name__ == "__main__":
    main()
