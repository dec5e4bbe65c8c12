import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh

from bccl_jax.clustering import sharded
from bccl_jax.clustering.queue import init_queue
from faults import forks
from tests.clustering import on_eight_devices
from tests.clustering.on_eight_devices import CENTROIDS, DIM, ROOM, SAMPLES, SIZE


@pytest.fixture(scope="module")
def findings():
    return forks.on_devices(8, on_eight_devices.find)


@pytest.mark.parametrize("number", [1, 2, 8])
def test_any_number_of_devices_gives_what_one_gives(findings, number):
    assert findings["filled"] > 40
    assert findings["centroids"] > 30
    found = findings[number]
    assert found["queue"] == 0
    assert found["centroids"] < 1e-5
    assert found["classes_of_a_device"] == [ROOM // number] * 4
    losses = {name: found[name] for name in ("loss_None", "loss_1") if name in found}
    assert len(losses) == (2 if number == 8 else 1)
    assert max(losses.values()) < 1e-5


def test_the_mesh_of_the_context_is_the_default(findings):
    assert findings["context"] == 0


def test_queues_and_centroids_never_travel(findings):
    """The batch does, [N, D]; the control shows that a queue that travels is seen."""
    batch = SAMPLES * DIM
    assert batch < ROOM * CENTROIDS * DIM // 8
    communicates = findings["communicates"]
    assert communicates["push"] == batch
    assert communicates["kmeans"] == 0
    assert communicates["push_to_all"] == ROOM * SIZE * DIM
    for chunk_size in (None, 1):
        assert 0 < findings[8][f"loss_{chunk_size}_communicates"] <= batch


def test_room_is_made_for_a_multiple_of_128_and_of_the_devices():
    assert [sharded.padded_classes(k) for k in (1, 128, 129, 8142)] == [128, 128, 256, 8192]
    assert sharded.padded_classes(8142, 8) == 8192
    assert sharded.padded_classes(8142, 6) == 8448
    with pytest.raises(ValueError, match="num_devices=0"):
        sharded.padded_classes(10, 0)


def test_a_mesh_that_does_not_fit_is_named():
    queue = init_queue(10, 2, 3)
    with pytest.raises(ValueError, match=r"axes \(\).*jax.set_mesh"):
        sharded.push(queue, jnp.zeros((4, 3)), jnp.zeros(4, int))
    with pytest.raises(ValueError, match="10 classes.*4 devices.*128"):
        sharded.push(queue, jnp.zeros((4, 3)), jnp.zeros(4, int), AbstractMesh((4,), ("data",)))
    mesh = AbstractMesh((2, 1), ("data", "model"))
    with pytest.raises(ValueError, match="'data', 'model'"):
        sharded.kmeans(queue.features, jnp.ones((10, 2), bool), 2, jax.random.key(0), mesh=mesh)
