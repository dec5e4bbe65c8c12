import dataclasses
import functools
from types import SimpleNamespace

import flax.linen as nn
import jax
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.classifier.image_classifier import create_classifier
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.models import Network, Projector
from bccl_jax.models.forward import plain_outputs
from bccl_jax.training.assemble import assemble
from tests.tiny import tiny_config
from tests.training.test_photographs import tiny_folder_config, write_pictures

pytestmark = pytest.mark.usefixtures("_two_layers")


class Pixels(nn.Module):
    """A backbone whose features can be computed by hand: four sums of pixels, in running mode."""

    @nn.compact
    def __call__(self, images, train):
        assert not train
        return nn.Dense(4)(images.reshape(len(images), -1))


def with_small_network(config, rng):
    """A run of a config with a network that compiles at once, and random variables of it."""
    run = assemble(config)
    network = Network(Pixels(), {"projector": Projector(6, 3)})
    run = dataclasses.replace(run, classifier=dataclasses.replace(run.classifier, network=network))
    size = config.augment.size or run.dataset.test.images.shape[1]
    images = jax.ShapeDtypeStruct((2, size, size, 3), np.float32)
    shapes = jax.eval_shape(
        lambda x: run.network.init(
            jax.random.key(0),
            x,
            method=lambda net, x: net.heads["projector"](net.backbone(x, train=False), train=False),
        ),
        images,
    )
    # Variances are positive.
    variables = jax.tree.map(lambda x: rng.uniform(0.1, 1, x.shape).astype(np.float32), shapes)
    return run, SimpleNamespace(**variables, method={})


def by_hand(images, config, params):
    pixels = (images / 255 - config.augment.mean) / config.augment.std
    dense = params["backbone"]["Dense_0"]
    return pixels.reshape(len(images), -1) @ dense["kernel"] + dense["bias"]


@pytest.mark.usefixtures("_two_layers")
@pytest.mark.parametrize("method", methods.shipped())
def test_every_projector_and_classifier_can_be_put_on_the_features(method):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 8
    found = create_classifier(config, tuple("abc"), np.array([9, 6, 3]), (8, 8, 3))
    variables = jax.eval_shape(found.init, jax.random.key(0), jax.random.key(1))
    collections = {"params": variables.params, "batch_stats": variables.batch_stats}
    images = jax.ShapeDtypeStruct((5, 8, 8, 3), np.float32)
    for head in {"classifier", "projector"} & found.network.heads.keys():
        shape = jax.eval_shape(
            functools.partial(found.network.apply, method=plain_outputs(head)), collections, images
        ).shape
        assert len(shape) == 2
        assert shape[0] == 5
        assert head == "projector" or shape[1] == 3


def test_features_and_embeddings_are_those_computed_by_hand(rng):
    config = tiny_config()  # two batches of evaluation, the second one not full
    run, state = with_small_network(config, rng)
    test = run.dataset.test
    # An accelerator's default is too coarse to be compared.
    with jax.default_matmul_precision("highest"):
        features, labels = make_embed(run.classifier)(state, test)
        embeddings, _ = make_embed(run.classifier, "projector")(state, test)
    np.testing.assert_array_equal(labels, test.labels)
    expected = by_hand(test.images, config, state.params)
    assert features.shape == (797, 4)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-3)

    head, stats = state.params["heads_projector"], state.batch_stats["heads_projector"]
    norm, running = (next(v for k, v in tree.items() if "Norm" in k) for tree in (head, stats))
    hidden = expected @ head["Dense_0"]["kernel"]
    hidden = (hidden - running["mean"]) / np.sqrt(running["var"] + 1e-5)
    hidden = np.maximum(hidden * norm["scale"] + norm["bias"], 0)
    out = hidden @ head["Dense_1"]["kernel"] + head["Dense_1"]["bias"]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, out, rtol=1e-3, atol=1e-4)


def test_a_head_that_a_method_lacks_is_named():
    run = assemble(tiny_config("cross_entropy"))
    with pytest.raises(ConfigError, match="'cross_entropy', which has no head 'projector'"):
        make_embed(run.classifier, "projector")


def test_photographs_that_cannot_be_decoded_are_left_out(tmp_path, rng):
    write_pictures(tmp_path / "photos", (10, 10, 10))
    config = tiny_folder_config(tmp_path / "photos", "cross_entropy")
    config.data.max_broken = 0.2
    run, state = with_small_network(config, rng)
    test = run.dataset.test
    whole, _ = make_embed(run.classifier)(state, test)
    with open(test.images.name(2), "wb"):
        pass  # an empty file
    features, labels = make_embed(run.classifier)(state, test)
    np.testing.assert_array_equal(features, np.delete(whole, 2, axis=0))
    np.testing.assert_array_equal(labels, np.delete(test.labels, 2))
