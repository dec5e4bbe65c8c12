"""PaCo, GPaCo and KCL on 1 and 8 devices: a process of its own sees eight of them."""

import jax
import numpy as np
import pytest

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from faults import forks
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers

# Of devices that share a batch `test_devices` has the quick tests.
pytestmark = pytest.mark.slow


def find():
    """What is tested, where there are eight devices."""
    assert jax.device_count() == 8
    BACKBONES["two_layers"] = TwoLayers

    def assembled(name, devices, **changes):
        config = tiny_config(name).unlock()
        config.optimizer.learning_rate = 0.001
        usual = {"devices": devices, "model.backbone": "two_layers", "batch_size": 160}
        config.update_from_flattened_dict(usual | changes)
        return assemble(config)

    found = {}
    for name in ("paco", "gpaco", "kcl"):
        for devices in (1, 8):
            run = assembled(name, devices)
            with jax.set_mesh(run.mesh):
                data = put_on_device(run.dataset.train, replicated(run.mesh))
                run_epoch = engine.looped(
                    run.train_step, data, run.order, run.mesh, run.state_shardings
                )
                state, losses = run.init_state(), []
                for epoch in range(2):
                    for after, metrics in run_epoch(state, epoch, 0):
                        state = after
                        losses.append(float(metrics["loss"]))
            queue = state.method["queue"]
            copy = state.method.get("copy", {})
            found[f"{name} {devices}"] = {
                "losses": losses,
                "keys": np.asarray(queue.keys).tolist(),
                "labels": np.asarray(queue.labels).tolist(),
                "copy": [np.asarray(x).ravel().tolist() for x in jax.tree.leaves(copy)],
                "devices": len(queue.keys.sharding.device_set),
            }
    try:
        assembled("paco", 8, **{"model.batch_norm": "device", "model.backbone": "resnet8"})
    except ConfigError as error:
        found["refused"] = str(error)
    return found


@pytest.fixture(scope="module")
def found():
    return forks.on_devices(8, find)


@pytest.mark.parametrize("name", ["paco", "gpaco", "kcl"])
def test_the_number_of_devices_changes_nothing(found, name):
    one, other = found[f"{name} 1"], found[f"{name} 8"]
    assert (one["devices"], other["devices"]) == (1, 8)
    np.testing.assert_allclose(other["losses"], one["losses"], rtol=1e-5)
    # In the same places: the labels are those of the keys.
    assert other["labels"] == one["labels"]
    np.testing.assert_allclose(other["keys"], one["keys"], atol=1e-4)
    assert bool(one["copy"]) == (name != "gpaco")
    for mine, theirs in zip(other["copy"], one["copy"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_statistics_of_each_device_are_refused_for_the_copys_keys(found):
    assert "batch_norm is 'device' on 8 devices" in found["refused"]
