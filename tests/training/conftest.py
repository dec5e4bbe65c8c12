"""What makes many small runs of one config cheap."""

import dataclasses
import json

import flax.linen as nn
import jax.numpy as jnp
import pytest

from bccl_jax.classifier import reading
from bccl_jax.classifier.image_classifier import create_classifier
from bccl_jax.config.sizing import sized
from bccl_jax.evaluation.passes import make_pass
from bccl_jax.models import BACKBONES
from bccl_jax.training import between, loop, results
from bccl_jax.training.assemble import assemble
from bccl_jax.training.sameness import sameness


@pytest.fixture(scope="module")
def shared_assemblies():
    """Runs of equal configs share one assembly, which is stateless, and so what is traced of it.

    So do runs that save at other steps, but for their config. What they compute between epochs is
    compiled once for all of them. The fixture's value makes such an assembly of a config.
    """
    made, read, passes = {}, {}, {}

    def shared(config):
        settings = json.loads(config.to_json_best_effort(sort_keys=True))
        del settings["checkpoint"]
        key = json.dumps(settings)
        if key not in made:
            made[key] = assemble(config)
        run = made[key]
        own = sized(config, len(run.dataset.train))
        if own == run.config:
            return run
        return dataclasses.replace(run, classifier=dataclasses.replace(run.classifier, config=own))

    def shared_classifier(config, *classes):
        key = config.to_json_best_effort(sort_keys=True), repr(classes)
        if key not in read:
            read[key] = create_classifier(config, *classes)
        return read[key]

    def shared_pass(classifier, forward, view):
        # One network for each assembly, which stays.
        key = id(classifier.network), sameness(forward), view
        if key not in passes:
            passes[key] = make_pass(classifier, forward, view)
        return passes[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "assemble", shared)
        patch.setattr(between, "make_pass", shared_pass)
        patch.setattr(reading, "create_classifier", shared_classifier)
        yield shared


class TwoLayers(nn.Module):
    """Features of the pixels, normalised over the batch: it compiles at once."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train):
        x = nn.Dense(8)(images.reshape(len(images), -1))
        return nn.relu(nn.BatchNorm(use_running_average=not train)(x))


@pytest.fixture(scope="module")
def _two_layers():
    """Makes "two_layers" a backbone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "two_layers", TwoLayers)
        yield


@pytest.fixture(scope="module")
def _no_picture():
    """Runs end without their picture, which takes longer than they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "save_report", lambda *args: None)
        yield
