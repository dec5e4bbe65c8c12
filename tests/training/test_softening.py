"""The options that soften labels, in the batch that a loss sees and in a run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.validation import validate_against_data
from bccl_jax.data.split import Split
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Batch
from bccl_jax.training.assemble import assemble
from bccl_jax.training.softening import make_soften
from tests.tiny import tiny_config

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
