"""What the host does in training: a dispatch a chunk, its indices, nothing compiled anew."""

import jax
import numpy as np
import pytest

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import train_and_evaluate
from tests.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")
COMPILATION = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compilations():
    """A list that grows by one at each compilation, also at one that the cache answers."""
    found = []

    def listen(event, seconds, **_):
        if event == COMPILATION:
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.clear_event_listeners()


def test_the_counter_counts(compilations):
    jax.jit(lambda x: x + 1)(np.ones(5))
    assert len(compilations) >= 1


@pytest.mark.parametrize("kind", [engine.scanned, engine.looped])
def test_epochs_send_their_indices_and_nothing_else_and_compile_once(
    kind, compilations, monkeypatch
):
    config = tiny_config("cross_entropy")
    config.model.backbone = "two_layers"
    run = assemble(config)
    sent = []
    put = jax.device_put
    data = put_on_device(run.dataset.train, replicated(run.mesh))
    run_epoch = kind(run.train_step, data, run.order, run.mesh, run.state_shardings)
    state = run.init_state()
    monkeypatch.setattr(jax, "device_put", lambda x, *to: sent.append(x.nbytes) or put(x, *to))
    with jax.transfer_guard("disallow"):
        chunks = list(run_epoch(state, 0, 0))
        state = chunks[-1][0]
        first = len(compilations)
        assert first > 0
        for epoch in (1, 2):
            chunks = list(run_epoch(state, epoch, 0))
            state = chunks[-1][0]
    assert len(compilations) == first
    assert int(state.step) == 3 * run.steps_per_epoch
    # A scanned epoch is one dispatch and one transfer, of indices of four bytes.
    dispatches = 1 if kind is engine.scanned else run.steps_per_epoch
    assert len(chunks) == dispatches
    assert sent == [4 * run.order(0).size // dispatches] * 3 * dispatches


def test_the_second_half_of_a_run_compiles_nothing(compilations, tmp_path):
    """By epoch 4 it has refreshed, evaluated, logged and saved twice, and does so until epoch 8."""
    config = tiny_config().unlock()
    config.model.backbone = "two_layers"
    config.epochs = 8
    counts = {}

    def observe(run, state, epoch):
        counts[epoch] = len(compilations)
        return {}

    train_and_evaluate(config.lock(), tmp_path / "run", observe=observe)
    assert counts.keys() == {2, 4, 6, 8}
    assert counts[8] == counts[4] > 0
