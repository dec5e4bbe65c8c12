"""Views a second of each augmentation at batch 128 and 32 pixels: python -m benchmarks.augment."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment.policies import simaugment
from bccl_jax.augment.views import StrongView, strong_view

BATCH, STEPS = 128, 50


def main() -> None:
    """Prints one line a view."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (BATCH, 32, 32, 3), np.uint8))
    key = jax.random.key(0)
    views = {
        "strong": lambda images, key: strong_view(images, key, StrongView()),
        "sim": simaugment,
        "sim, half of it blurred": lambda images, key: simaugment(images, key, blur_prob=0.5),
    }
    for name, view in views.items():
        compiled = jax.jit(view)
        compiled(images, key).block_until_ready()
        started = time.perf_counter()
        for step in range(STEPS):
            out = compiled(images, jax.random.fold_in(key, step))
        out.block_until_ready()
        print(f"{name:<24} {STEPS * BATCH / (time.perf_counter() - started):>9,.0f} views/s")


if __name__ == "__main__":
    main()
