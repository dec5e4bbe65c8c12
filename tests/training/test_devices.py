"""One run on 1 and 8 devices: a process of its own sees eight of them."""

import functools

import jax
import numpy as np
import pytest

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import create_mesh, initialize_processes, replicated
from bccl_jax.errors import ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.models.cifar_resnet import CifarResNet
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from faults import forks
from tests.tiny import tiny_config

WHOLE = (("1", 1, {}), ("8", 8, {}), ("device norm", 4, {"model.batch_norm": "device"}))
IN_PARTS = (
    ("1 of 4 parts", 1, {"accumulation": 4}),
    (
        "8 of 4 parts, split by class",
        8,
        {"accumulation": 4, "method.split_classes": True, "method.class_chunk": 3},
    ),
)


def find(runs):
    """What is tested, where there are eight devices."""
    assert jax.device_count() == 8
    # A convolution and a normalisation, for each line below compiles another program.
    BACKBONES["resnet8"] = functools.partial(CifarResNet, blocks=0)
    found = {}
    for name, devices, changes in runs:
        config = tiny_config().unlock()
        # So small that rounding, which differs, is not amplified.
        config.optimizer.learning_rate = 0.0002
        config.update_from_flattened_dict({"devices": devices, **changes})
        run = assemble(config)
        with jax.set_mesh(run.mesh):
            data = put_on_device(run.dataset.train, replicated(run.mesh))
            run_epoch = engine.looped(
                run.train_step, data, run.order, run.mesh, run.state_shardings
            )
            state, losses, gradients = run.init_state(), [], []
            for epoch in range(2):
                for after, metrics in run_epoch(state, epoch, 0):
                    state = after
                    losses.append(float(metrics["loss"]))
                    gradients.append(
                        [float(metrics[f"{name}_gradient"]) for name in run.method.taps]
                    )
                if epoch == 0:
                    first = np.asarray(state.method.queue.features)[:10].tolist()
                    if name in ("1", "8"):
                        renewed, _ = run.method.refresh(state.method, state.key)
                        state = state.replace(method=renewed)
            queue = state.method.queue
            found[name] = {
                "losses": losses,
                "gradients": gradients,
                "features before the clustering": first,
                "features": np.asarray(queue.features)[:10].tolist(),
                "count": np.asarray(queue.count)[:10].tolist(),
                "cursor": np.asarray(queue.cursor)[:10].tolist(),
                "devices": len(queue.features.sharding.device_set),
                "classes of a device": queue.features.addressable_shards[0].data.shape[0],
            }
    return found


@pytest.fixture(scope="module")
def found():
    return forks.on_devices(8, find, WHOLE)


@pytest.fixture(scope="module")
def found_in_parts():
    return forks.on_devices(8, find, IN_PARTS)


def test_the_number_of_devices_changes_nothing(found):
    check_same(found["1"], found["8"], 10)


@pytest.mark.slow
def test_the_number_of_devices_changes_nothing_in_parts(found_in_parts):
    one, other = (found_in_parts[name] for name, *_ in IN_PARTS)
    check_same(one, other, 5)
    # 10 classes, padded to 128.
    assert other["classes of a device"] == 16


def check_same(one, other, steps):
    assert other["devices"] > one["devices"] == 1
    np.testing.assert_allclose(other["losses"][:steps], one["losses"][:steps], rtol=1e-5)
    np.testing.assert_allclose(other["gradients"][:5], one["gradients"][:5], rtol=1e-3)
    when = "features" if steps == 10 else "features before the clustering"
    # Unit vectors, which batch normalisation over few images makes of differences of rounding.
    np.testing.assert_allclose(other[when], one[when], atol=5e-4)
    assert other["count"] == one["count"]
    assert other["cursor"] == one["cursor"]


def test_classes_that_are_not_split_lie_on_every_device(found):
    assert found["8"]["classes of a device"] == 10


def test_statistics_of_each_device_are_another_run(found):
    difference = np.subtract(found["device norm"]["losses"], found["1"]["losses"])
    assert np.abs(difference).max() > 1e-4
    assert np.isfinite(found["device norm"]["losses"]).all()


def test_devices_that_cannot_share_a_batch_are_refused():
    config = tiny_config().unlock()
    config.devices = 10_000
    with pytest.raises(ConfigError, match=r"config\.devices is 10000 but there are 1"):
        create_mesh(config)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "localhost:1"}, "JAX_NUM_PROCESSES is None"),
        ({"MASTER_ADDR": "", "WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is ''"),
        ({"MASTER_ADDR": "host", "WORLD_SIZE": "2", "RANK": "first"}, "RANK is 'first'"),
        # Digits to str.isdigit, not to int.
        ({"MASTER_ADDR": "host", "WORLD_SIZE": "2", "RANK": "²"}, "RANK is '²'"),
        ({"WORLD_SIZE": "²"}, "WORLD_SIZE is '²'; set a whole number, or unset it"),
        (
            {
                **dict.fromkeys(("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"), "1"),
                "JAX_COORDINATOR_ADDRESS": "localhost:1",
                "BCCL_JAX_HEARTBEAT_SECONDS": "a minute",
            },
            "BCCL_JAX_HEARTBEAT_SECONDS is 'a minute'; set a whole number",
        ),
    ],
)
def test_incomplete_variables_of_several_processes_are_named(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message) as error:
        initialize_processes()
    assert "\n" not in str(error.value)


def test_a_process_of_its_own_joins_nothing(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert initialize_processes() is False
