"""The options that soften labels, in the batch that a loss sees and in a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.validation import validate_against_data
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Batch
from bccl_jax.models import BACKBONES
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from bccl_jax.training.softening import make_soften
from faults import forks
from tests.methods.test_contract import OPTIONS
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers

pytestmark = pytest.mark.usefixtures("_two_layers")


def small_config(method="cross_entropy", **changes):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.update_from_flattened_dict(changes)
    return config


def test_smoothing_spreads_its_share_over_all_classes():
    soften = make_soften(small_config(label_smoothing=0.3), 5)
    labels = jnp.array([4, 0, 2])
    batch = soften(Batch((jnp.ones((3, 2, 2, 3)),), labels), jax.random.key(0))
    expected = 0.7 * np.eye(5)[[4, 0, 2]] + 0.3 / 5
    np.testing.assert_allclose(batch.targets, expected, rtol=1e-6)
    assert batch.targets.dtype == jnp.float32
    np.testing.assert_array_equal(batch.views[0], 1)
    np.testing.assert_array_equal(batch.labels, labels)
    assert make_soften(small_config(), 5) is None


def test_mixing_leaves_labels_and_contrasted_views_and_joins_with_smoothing(rng):
    options = {"augment.mixup_alpha": 1.0, "augment.cutmix_alpha": 1.0}
    views = tuple(jnp.float32(rng.normal(size=(6, 4, 4, 3))) for _ in range(3))
    batch = Batch(views, jnp.array([4, 0, 2, 2, 1, 3]))
    hard, soft = (
        make_soften(small_config("bccl", label_smoothing=smoothing, **options), 5)
        for smoothing in (0.0, 0.3)
    )
    for seed in range(4):
        mixed, smooth = (soften(batch, jax.random.key(seed)) for soften in (hard, soft))
        assert np.any(mixed.views[0] != views[0])
        for one, other in zip(mixed.views[1:], views[1:], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(mixed.labels, batch.labels)
        np.testing.assert_array_equal(mixed.views[0], smooth.views[0])
        assert np.all(np.count_nonzero(mixed.targets, axis=1) <= 2)
        expected = 0.7 * np.float64(mixed.targets) + 0.3 / 5
        np.testing.assert_allclose(smooth.targets, expected, rtol=1e-5)


def find():
    """Losses and weights of one device and of eight."""
    assert jax.device_count() == 8
    BACKBONES["two_layers"] = TwoLayers
    found = []
    for devices in (1, 8):
        config = small_config(**OPTIONS, devices=devices)
        run = assemble(config)
        with jax.set_mesh(run.mesh):
            data = put_on_device(run.dataset.train, replicated(run.mesh))
            epoch = engine.looped(run.train_step, data, run.order, run.mesh, run.state_shardings)
            state, losses = run.init_state(), []
            for after, metrics in epoch(state, 0, 0):
                state = after
                losses.append(
                    [float(metrics[name]) for name in ("loss", "gradient_norm", "accuracy")]
                )
            leaves = jax.tree.leaves((state.params, state.average))
            found.append([losses, [np.asarray(leaf).ravel().tolist() for leaf in leaves]])
    return found


@pytest.mark.slow
def test_devices_that_share_a_batch_mix_it_as_one_does():
    (one, weights), (other, weights_there) = forks.on_devices(8, find)
    np.testing.assert_allclose(other, one, rtol=1e-4)
    for mine, theirs in zip(weights, weights_there, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["cross_entropy", "logit_adjustment"])
def test_a_share_of_a_class_without_training_images_is_refused_with_the_prior(method):
    config = small_config(method, label_smoothing=0.1)
    dataset = assemble(config).dataset
    train = dataset.train
    labels = np.where(train.labels == 7, 8, train.labels)
    train = Split(train.images, labels, train.class_names)
    without = dataclasses.replace(dataset, train=train)
    if method == "cross_entropy":
        validate_against_data(config, without)
        return
    with pytest.raises(ConfigError, match="but 7 has no training image and the loss of logit_adj"):
        validate_against_data(config, without)
