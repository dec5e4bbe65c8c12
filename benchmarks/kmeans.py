"""Time of a refresh, and inertia against scikit-learn's KMeans: python -m benchmarks.kmeans."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from bccl_jax.clustering.kmeans import kmeans

CLUSTERS, KEYS, A_CLASS = 5, 10, 170


def seconds_of_a_refresh() -> float:
    """Seconds for 100 classes of 256 points in 128 dimensions, compiled before."""
    points = jax.random.normal(jax.random.key(0), (100, 256, 128))
    arguments = (points, jnp.ones((100, 256), bool), CLUSTERS, jax.random.key(1))
    kmeans(*arguments)[0].block_until_ready()
    started = time.perf_counter()
    kmeans(*arguments)[0].block_until_ready()
    return time.perf_counter() - started


def excess_inertia() -> np.ndarray:
    """Inertia over scikit-learn's (n_init=10) less 1, in percent, [key, class], of the digits."""
    digits = load_digits()
    pixels = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)
    points = np.stack([pixels[digits.target == k][:A_CLASS] for k in range(10)])
    reference = [KMeans(CLUSTERS, n_init=10, random_state=0).fit(p).inertia_ for p in points]
    excess = []
    for seed in range(KEYS):
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


if __name__ == "__main__":
    print(f"refresh of 100 classes: {seconds_of_a_refresh():.3f} s")
    found = excess_inertia()
    print(f"inertia: {found.mean():+.2f} % in the mean, {found.max():+.2f} % in the worst class")
