"""Checkpoints hold what they were given, whatever happens to it while they are written."""

import asyncio
import logging
import threading

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from orbax.checkpoint._src.handlers.json_checkpoint_handler import JsonCheckpointHandler

from bccl_jax.errors import WorkdirError
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir


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


@pytest.mark.parametrize("which", ["²", "٣", "-2", "9" * 5000, "newest"])
def test_what_names_no_checkpoint_is_one_sentence(tmp_path, which):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(State(jnp.int32(2)), {})
        checkpoints.wait()
        assert checkpoints.resolve("2") == 2
        with pytest.raises(
            WorkdirError, match="there is no checkpoint '.*these steps.*: 2"
        ) as told:
            checkpoints.resolve(which)
    assert len(str(told.value)) < 1000


def test_reading_alone_says_nothing(tmp_path, caplog):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(State(jnp.int32(2)), {}, {"accuracy": 1.0, "epoch": 1, "lost_classes": 0})
    with (
        caplog.at_level(logging.WARNING, "absl"),
        Checkpoints(tmp_path, read_only=True) as checkpoints,
    ):
        assert checkpoints.best() == 2
    assert caplog.messages == []


def test_a_folder_that_is_no_step_is_no_checkpoint(tmp_path):
    directory = Workdir(tmp_path / "run")
    for name in ("²", "notes", "2.orbax-checkpoint-tmp"):
        (directory.checkpoints / name).mkdir(parents=True)
    assert not directory.has_checkpoint()
    with Checkpoints(directory.checkpoints) as checkpoints:
        checkpoints.save(State(jnp.int32(2)), {})
        checkpoints.wait()
        assert checkpoints.steps() == [2]
    assert directory.has_checkpoint()
