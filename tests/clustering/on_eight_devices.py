"""Compares classes split over 1, 2 and 8 devices with all on one, for `test_sharded.py`."""

import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bccl_jax.clustering import kmeans, queue, sharded
from bccl_jax.losses.contrastive import complement_and_centroid_loss

CLASSES, ROOM, SIZE, CENTROIDS, DIM, SAMPLES = 13, 16, 6, 5, 16, 8
KEY = jax.random.key(3)


def batches():
    """Embeddings and labels; the first batch overruns a queue, all hold padding."""
    rng = np.random.default_rng(0)
    for step in range(12):
        features = rng.normal(size=(SAMPLES, DIM)).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        labels = rng.integers(-1, CLASSES, SAMPLES).astype(np.int32)
        if step == 0:
            labels[:7] = 12
        yield features, labels


def largest_difference(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.max(np.abs(np.asarray(a, float) - np.asarray(b, float)))) for a, b in pairs)


def communicated(compiled):
    """Elements of the largest array that any collective of a compiled function gives."""
    sizes = [0]
    for line in compiled.as_text().splitlines():
        name = r"(all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)"
        if found := re.search(rf"= (.*?) {name}(-start)?\(", line):
            shapes = re.findall(r"\w+\[([\d,]*)\]", found.group(1))
            sizes += [int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes]
    return max(sizes)


def loss_of(class_average, chunk_size, mesh):
    def total(features, labels, centroids, mask):
        pair = complement_and_centroid_loss(
            features,
            labels,
            centroids,
            mask,
            temperature=0.1,
            class_average=class_average,
            chunk_size=chunk_size,
            mesh=mesh,
        )
        return pair[0] + 0.1 * pair[1]

    return jax.jit(jax.value_and_grad(total))


def find():
    """What the tests are of, where there are eight devices."""
    pushed = queue.init_queue(ROOM, SIZE, DIM, stamped=True)
    push = jax.jit(queue.push)
    for stamp, (features, labels) in enumerate(batches()):
        pushed = push(pushed, features, labels, stamp)
    points, filled = pushed.features, queue.filled_mask(pushed)
    clustered = kmeans.kmeans(points, filled, CENTROIDS, KEY)
    labels = np.maximum(labels, 0)
    losses = {
        average: loss_of(average, None, None)(features, labels, *clustered)
        for average in (False, True)
    }

    findings = {"filled": int(jnp.sum(filled)), "centroids": int(jnp.sum(clustered[1]))}
    for number in (1, 2, 8):
        mesh = Mesh(np.array(jax.devices()[:number]), ("data",), axis_types=(AxisType.Auto,))
        split = NamedSharding(mesh, PartitionSpec("data"))
        part = jax.device_put(queue.init_queue(ROOM, SIZE, DIM, stamped=True), split)
        split_push = jax.jit(
            lambda *arguments, stamp, mesh=mesh: sharded.push(*arguments, mesh, stamp)
        )
        for stamp, batch in enumerate(batches()):
            own = jax.device_put(batch, split)
            part = split_push(part, *own, stamp=stamp)
        part_filled = queue.filled_mask(part)
        centroids = sharded.kmeans(part.features, part_filled, CENTROIDS, KEY, mesh=mesh)
        found = {
            "queue": largest_difference(part, pushed),
            "centroids": largest_difference(centroids, clustered),
            "classes_of_a_device": [
                array.addressable_shards[0].data.shape[0]
                for array in (part.features, part.cursor, *centroids)
            ],
        }
        arguments = (*jax.device_put((features, labels), split), *jax.device_put(clustered, split))
        for average, chunk_size in ((True, 1),) if number < 8 else ((False, None), (True, 1)):
            function = loss_of(average, chunk_size, mesh)
            found[f"loss_{chunk_size}"] = largest_difference(function(*arguments), losses[average])
            found[f"loss_{chunk_size}_communicates"] = communicated(
                function.lower(*arguments).compile()
            )
        findings[number] = found

    with jax.set_mesh(mesh):
        by_context = jax.jit(sharded.push)(part, *own, stamp=stamp)
        clusters = sharded.kmeans(part.features, part_filled, CENTROIDS, KEY)
    findings["context"] = largest_difference(
        (by_context, clusters), (split_push(part, *own, stamp=stamp), centroids)
    )
    clustering = jax.jit(lambda *arguments: sharded.kmeans(*arguments[:2], 5, KEY, mesh=mesh))
    whole = jax.jit(
        sharded.push, static_argnames="mesh", out_shardings=NamedSharding(mesh, PartitionSpec())
    )
    findings["communicates"] = {
        "push": communicated(split_push.lower(part, *own, stamp=stamp).compile()),
        "kmeans": communicated(clustering.lower(part.features, part_filled).compile()),
        "push_to_all": communicated(whole.lower(part, *own, mesh=mesh, stamp=stamp).compile()),
    }
    return findings
