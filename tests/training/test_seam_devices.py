"""What a method asks of the engine is the same on one device and on four."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.augment import views
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base
from bccl_jax.models import BACKBONES
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from bccl_jax.training.between import Passes
from faults import forks
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers

# Of devices that share a batch `test_devices` has the quick tests.
pytestmark = pytest.mark.slow


def find():
    """What is tested, where there are four devices."""
    assert jax.device_count() == 4
    BACKBONES["two_layers"] = TwoLayers

    @views.register("brighter")
    def brighter(images, key, level):
        drawn = jax.random.randint(key, (len(images), 1, 1, 1), 0, 50)
        return images // 2 + (drawn + level[:, None, None, None]).astype(jnp.uint8)

    @methods.register("mine")
    @dataclasses.dataclass(frozen=True)
    class Mine(base.Method):
        views = ("brighter",)
        streams = (base.BalancedSubset(4),)

        def init(self, key, context):
            return {"levels": jnp.arange(context.num_classes)}

        def view_inputs(self, state, labels):
            return {"level": state["levels"][labels]}

        def loss(self, apply, params, batch, state, key, progress):
            (other,) = batch.others
            logits, statistics = apply(params, base.classify, batch.views[0])
            loss = cross_entropy_loss(logits, batch.labels)
            logits, statistics = apply(
                params, base.classify, other.views[0], batch_stats=statistics
            )
            loss += cross_entropy_loss(logits, other.labels)
            means = {"first": jnp.mean(batch.views[0]), "other": jnp.mean(other.views[0])}
            return loss, (means, {"levels": state["levels"] + 1}, statistics)

    def seen(apply, params, images, state):
        return {
            "pixels": jnp.mean(images, axis=(1, 2, 3)),
            "logits": Mine().logits(apply, params, images, state),
        }

    found = {}
    for devices in (1, 4):
        config = tiny_config("mine").unlock()
        config.model.backbone = "two_layers"
        config.batch_size, config.devices = 80, devices
        # Four devices cannot share it evenly.
        config.eval.batch_size = 50
        run = assemble(config)
        with jax.set_mesh(run.mesh):
            data = put_on_device(run.dataset.train, replicated(run.mesh))
            run_epoch = engine.scanned(
                run.train_step, data, run.order, run.mesh, run.state_shardings
            )
            ((state, metrics),) = run_epoch(run.init_state(), 0, 0)
            between = Passes(run).between(state, 1)
            drawn = {"view": "brighter", "indices": np.arange(120), "key": jax.random.key(2)}
            passes = [between.compute(seen, **drawn), between.compute(seen, "held_out")]
            passes.append(between.compute(seen, inputs={"level": np.arange(120)}, **drawn))
            on_device = between.compute(seen, on_device=True, **drawn).outputs["pixels"]
            assert on_device.sharding.is_fully_replicated
            assert len(on_device.devices()) == devices
            np.testing.assert_array_equal(on_device, passes[0].outputs["pixels"])
        found[devices] = {
            "metrics": {name: np.asarray(value).tolist() for name, value in metrics.items()},
            "passes": [{k: v.tolist() for k, v in p.outputs.items()} for p in passes],
            "sizes": [len(p.labels) for p in passes],
        }
        # A gradient within a gradient, through statistics of the whole batch.
        config = tiny_config("meta_saug").unlock()
        config.model.backbone = "two_layers"
        config.batch_size, config.devices = 80, devices
        run = assemble(config)
        with jax.set_mesh(run.mesh):
            data = put_on_device(run.dataset.train, replicated(run.mesh))
            run_epoch = engine.looped(
                run.stages[1].train_step, data, run.order, run.mesh, run.state_shardings
            )
            state = run.init_state()
            state = state.replace(step=state.step + 3 * run.steps_per_epoch - 2)
            *_, (state, metrics) = run_epoch(state, 2, run.steps_per_epoch - 2)
        found[devices]["meta_saug"] = {name: float(value) for name, value in metrics.items()}
        found[devices]["covariances"] = state.method["covariances"].covariances.tolist()
        # Clusters of every training image, of arrays that came from the devices and go back there,
        # and a step that looks its images up among them.
        config = tiny_config("sbcl").unlock()
        config.model.backbone = "two_layers"
        config.batch_size, config.devices = 80, devices
        run = assemble(config)
        with jax.set_mesh(run.mesh):
            state = run.init_state()
            between = Passes(run).between(state, 1)
            own, _ = run.method.refresh(state.method, jax.random.key(1), between)
            found[devices]["subclasses"] = np.asarray(own["subclasses"]).tolist()
            labels = run.dataset.train.labels
            assert np.all(own["subclasses"] < own["subclass_counts"][labels])
            data = put_on_device(run.dataset.train, replicated(run.mesh))
            run_epoch = engine.looped(
                run.stages[1].train_step, data, run.order, run.mesh, run.state_shardings
            )
            state = state.replace(method=own)
            *_, (_, metrics) = run_epoch(state, 1, run.steps_per_epoch - 1)
        found[devices]["sbcl"] = {name: float(value) for name, value in metrics.items()}
    return found


@pytest.fixture(scope="module")
def found():
    return forks.on_devices(4, find)


def test_streams_and_views_are_the_same(found):
    one, four = found[1]["metrics"], found[4]["metrics"]
    assert one.keys() == four.keys() > {"first", "other", "loss"}
    for name in ("first", "other", "loss"):
        assert np.ptp(one[name]) > 0
        np.testing.assert_allclose(four[name], one[name], rtol=1e-4, atol=1e-5)


def test_passes_are_the_same_however_the_devices_share_a_batch(found):
    assert found[4]["sizes"] == found[1]["sizes"] == [120, 40, 120]
    for one, four in zip(found[1]["passes"], found[4]["passes"], strict=True):
        np.testing.assert_allclose(four["pixels"], one["pixels"], atol=1e-5)
        np.testing.assert_allclose(four["logits"], one["logits"], atol=1e-2)
    assert found[1]["passes"][0]["pixels"] != found[1]["passes"][2]["pixels"]


def test_a_meta_gradient_is_the_same(found):
    one, four = found[1]["meta_saug"], found[4]["meta_saug"]
    assert one.keys() == four.keys()
    assert one["correction_norm"] > 0
    for name, value in one.items():
        assert four[name] == pytest.approx(value, rel=2e-3), name
    largest = np.max(one_of := found[1]["covariances"])
    np.testing.assert_allclose(found[4]["covariances"], one_of, atol=1e-3 * largest)


def test_subclasses_are_the_same(found):
    assert len(set(found[1]["subclasses"])) == 10
    # Of a few points that lie as near to one centroid as to another.
    same = np.equal(found[4]["subclasses"], found[1]["subclasses"])
    assert np.mean(same) > 0.97
    for name, value in found[1]["sbcl"].items():
        assert found[4]["sbcl"][name] == pytest.approx(value, rel=0.02), name
