"""The project's side of the comparison, a process without PyTorch."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.config import get_config
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.data.sources import DATASETS, Split
from bccl_jax.devices.mesh import replicated
from bccl_jax.models.heads import l2_normalize
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from bccl_jax.training.step import make_train_step
from benchmarks.torch_twin.turns import serve


def build(settings: dict):
    """See `turns.serve`."""
    batch, steps = settings["batch"], settings["steps"]
    with np.load(settings["data"]) as data:
        labels = data["labels"]
        split = Split(data["images"], labels, tuple(map(str, range(labels.max() + 1))))
    DATASETS["given"] = {"original": lambda data_dir: (split, split)}
    counts = np.bincount(labels)

    config = get_config("bccl")
    config.batch_size, config.dtype = batch, settings["dtype"]
    config.model.backbone = settings["backbone"]
    config.data.name, config.data.imbalance = "given", float(counts.max() / counts.min())
    config.optimizer.learning_rate = settings["learning_rate"]
    config.optimizer.schedule, config.optimizer.warmup_epochs = "constant", 0
    run = assemble(config)

    def first_state():
        state = run.init_state()
        # As after the first refresh: the longer phase of a run.
        shape = state.method.centroids.shape
        centroids = l2_normalize(jax.random.normal(jax.random.key(1), shape))
        full = {"centroids": centroids, "centroid_mask": jnp.ones(shape[:2], bool)}
        return state.replace(method=state.method.replace(**full))

    def timed(run_steps):
        state = first_state()

        def measure():
            nonlocal state
            jax.block_until_ready(state)
            started = time.perf_counter()
            state = jax.block_until_ready(run_steps(state))
            return (time.perf_counter() - started) / steps

        return measure

    dtype = jnp.dtype(config.dtype)
    step = make_train_step(
        run.network,
        run.method,
        run.optimizer,
        create_schedule(config, run.steps_per_epoch),
        lambda views, key: views,
        run.steps_per_epoch,
    )
    step = jax.jit(step, donate_argnames="state")
    rng = np.random.default_rng(0)
    views = tuple(jnp.asarray(rng.normal(size=(batch, 32, 32, 3)), dtype) for _ in range(3))
    ready = {"image": views, "label": jnp.asarray(rng.choice(labels, batch), jnp.int32)}

    def run_ready(state):
        for _ in range(steps):
            state, _ = step(state, ready)
        return state

    on_cpu = jax.default_backend() == "cpu"
    run_epoch = (engine.looped if on_cpu else engine.scanned)(
        run.train_step,
        put_on_device(split, replicated(run.mesh)),
        lambda epoch: np.resize(run.order(epoch), (steps, batch)),
        run.mesh,
        run.state_shardings,
    )

    def run_end_to_end(state):
        for renewed, _ in run_epoch(state, 0, 0):
            state = renewed
        return state

    return {"platform": jax.default_backend()}, {
        "project-ready": timed(run_ready),
        "project-end-to-end": timed(run_end_to_end),
    }


if __name__ == "__main__":
    serve(build)
