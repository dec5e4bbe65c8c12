"""Checkpoints hold what they were given, whatever happens to it while they are written."""

import asyncio
import threading

import jax
import jax.numpy as jnp
from flax import struct
from orbax.checkpoint._src.handlers.json_checkpoint_handler import JsonCheckpointHandler

from bccl_jax.workdir.checkpoint import Checkpoints


@struct.dataclass
class State:
    step: jax.Array


def test_metrics_that_come_while_it_is_written_are_not_in_it(tmp_path, monkeypatch):
    added = threading.Event()
    save = JsonCheckpointHandler._save_fn

    async def late(*args):
        while not added.is_set():
            await asyncio.sleep(0.01)
        await save(*args)

    monkeypatch.setattr(JsonCheckpointHandler, "_save_fn", late)
    unfinished = {"loss": [2.5, 2.25]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(State(jnp.int32(2)), unfinished)
        unfinished["loss"].append(2.0)
        added.set()
        checkpoints.wait()
        _, restored = checkpoints.restore(2, State(jnp.int32(0)))
    assert restored == {"loss": [2.5, 2.25]}
