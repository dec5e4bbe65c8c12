"""Refresh of all centroids against scikit-learn's KMeans: python -m benchmarks.kmeans.

scikit-learn goes class by class, on one thread: so few points leave several threads nothing but
waiting for each other. Both start four times and run up to 20 iterations without tolerance; ours
always runs all of them, scikit-learn stops where no point changes its cluster. Ours uses every core
that it may: taskset -c 0 compares core with core. The points are unit vectors scattered around as
many directions as there are clusters. How good the clusters are is measured on digits.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from bccl_jax.clustering.kmeans import kmeans
from benchmarks.common import in_turn, parser, report
from benchmarks.recipe import unit_vectors

CLUSTERS, A_CLASS = 5, 170


def clustered_points(key: jax.Array, classes: int, points: int, clusters: int, dim: int):
    """Unit vectors [K, M, D] around `clusters` random directions a class, cosines near 0.7."""
    direction_key, noise_key = jax.random.split(key)
    directions = unit_vectors(direction_key, (classes, clusters, dim))
    nearest = directions[:, jnp.arange(points) % clusters]
    mixed = nearest + unit_vectors(noise_key, (classes, points, dim))
    return mixed / jnp.linalg.norm(mixed, axis=-1, keepdims=True)


def by_scikit_learn(points: np.ndarray, clusters: int) -> list[np.ndarray]:
    """Centroids [C, D] of every class of points [K, M, D], on one thread."""
    made = KMeans(clusters, n_init=4, max_iter=20, tol=0.0, random_state=0)
    with threadpool_limits(1):
        return [made.fit(own).cluster_centers_ for own in points]


def excess_inertia(keys: int = 10) -> np.ndarray:
    """Inertia over scikit-learn's (n_init=10) less 1, in percent, [key, class], of the digits."""
    digits = load_digits()
    pixels = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)
    points = np.stack([pixels[digits.target == k][:A_CLASS] for k in range(10)])
    reference = [KMeans(CLUSTERS, n_init=10, random_state=0).fit(p).inertia_ for p in points]
    excess = []
    for seed in range(keys):
        centroids, _ = kmeans(
            jnp.asarray(points, jnp.float32),
            jnp.ones(points.shape[:2], bool),
            CLUSTERS,
            jax.random.key(seed),
            spherical=False,
        )
        distances = ((points[:, :, None] - np.asarray(centroids)[:, None]) ** 2).sum(-1)
        excess.append(100 * (distances.min(-1).sum(-1) / reference - 1))
    return np.array(excess)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a number of classes, then the inertia on digits."""
    flags = parser(__doc__, "kmeans")
    flags.set_defaults(repeats=3)
    flags.add_argument("--classes", type=int, nargs="+", default=[100, 1000, 8142], help="K")
    flags.add_argument("--points", type=int, default=64, help="M, of a class (%(default)s)")
    flags.add_argument("--dim", type=int, default=128, help="D (default: %(default)s)")
    flags.add_argument("--clusters", type=int, default=5, help="C (default: %(default)s)")
    flags.add_argument(
        "--sample", type=int, default=200, help="classes that scikit-learn is measured on, at most"
    )
    flags.add_argument("--keys", type=int, default=10, help="of the inertia (%(default)s)")
    options = flags.parse_args(argv)
    rows = [_refresh(classes, options) for classes in options.classes]
    excess = excess_inertia(options.keys)
    how = f"digits, {options.keys} keys, 10 classes, n_init=10"
    for name, found in (("mean", excess.mean()), ("worst class", excess.max())):
        ratio = 1 + float(found) / 100
        rows.append(_row(f"inertia, {name}", None, None, ratio, how))
    settings = {"points": options.points, "dim": options.dim, "clusters": options.clusters}
    report(rows, settings, options.json)


def _refresh(classes: int, options: Any) -> dict[str, Any]:
    shape = options.points, options.clusters, options.dim
    points = clustered_points(jax.random.key(0), classes, *shape)
    mask = jnp.ones(points.shape[:2], bool)
    sample = np.asarray(points[: options.sample])
    functions = {
        "ours": functools.partial(kmeans, points, mask, options.clusters, jax.random.key(1)),
        "scikit-learn": functools.partial(by_scikit_learn, sample, options.clusters),
    }
    found = in_turn(functions, options.repeats)
    theirs = found["scikit-learn"] * classes / len(sample)
    how = "scikit-learn on all classes"
    if len(sample) < classes:
        how = f"scikit-learn on {len(sample)} classes, scaled"
    name = f"refresh of {classes} classes"
    return _row(name, found["ours"], theirs, found["ours"] / theirs, how)


def _row(what, ours, theirs, ratio, how) -> dict[str, Any]:
    return {
        "what": what,
        "ours s": ours,
        "scikit-learn s": theirs,
        "ours over scikit-learn": ratio,
        "how": how,
    }


if __name__ == "__main__":
    main()
