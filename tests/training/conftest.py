"""What makes many small runs of one config cheap."""

import dataclasses
import json

import flax.linen as nn
import jax.numpy as jnp
import pytest

from bccl_jax import methods, models
from bccl_jax.augment import outside as views
from bccl_jax.classifier import reading
from bccl_jax.classifier.image_classifier import create_classifier
from bccl_jax.config.sizing import sized
from bccl_jax.evaluation.passes import make_pass
from bccl_jax.models import BACKBONES
from bccl_jax.training import between, loop, results
from bccl_jax.training.assemble import assemble
from bccl_jax.training.sameness import sameness

# Of a module's tests: what was assembled of each config, and what is traced of such runs.
_runs, _programs, _classifiers, _passes = {}, {}, {}, {}
# Whatever was registered by its identity, which nothing else has as long as it is here.
_registered = {}
_KEPT = (_runs, _programs, _classifiers, _passes, _registered)


def _names():
    """What the names in a config stand for, which tests register."""
    tables = (registry.table for registry in (methods.OWN, models.OWN, views.OWN))
    things = {id(thing): thing for table in tables for thing in table.values()}
    _registered.update(things)
    return tuple(things)


def _text(config):
    return config.to_json_best_effort(sort_keys=True), _names()


def _traced(config):
    """What a config says of a run's programs: not where its images lie, nor when it saves."""
    text, names = _text(config)
    settings = json.loads(text)
    del settings["checkpoint"]
    settings["data"] = settings["data"]["sampler"]
    return json.dumps(settings), names


def _shared(config):
    """An assembly whose functions are those of the first one that compiles to the same programs."""
    key = _text(config)
    if key not in _runs:
        run = assemble(config)
        own = run.classifier
        data = own.class_names, own.class_counts.tobytes(), own.image_shape
        first = _programs.setdefault((_traced(run.config), data), run)
        classifier = own
        if first is not run:
            classifier = dataclasses.replace(first.classifier, config=own.config)
        _runs[key] = dataclasses.replace(
            run,
            classifier=classifier,
            augment=first.augment,
            stages=first.stages,
            init_state=first.init_state,
        )
    return _runs[key]


def _shared_classifier(config, *rest):
    key = _traced(config), repr(rest)
    if key not in _classifiers:
        _classifiers[key] = create_classifier(config, *rest)
    found = _classifiers[key]
    return dataclasses.replace(found, config=sized(config, int(found.class_counts.sum())))


def _shared_pass(classifier, forward, view):
    # One network for each assembly, which stays.
    key = id(classifier.network), _text(classifier.config), sameness(forward), view
    if key not in _passes:
        _passes[key] = make_pass(classifier, forward, view)
    return _passes[key]


@pytest.fixture(scope="module")
def shared_assemblies():
    """Runs that compile to the same programs share what is traced of them, which is stateless.

    The fixture's value makes such an assembly of a config. Nothing is kept for the next module:
    the programs of all would take gigabytes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "assemble", _shared)
        patch.setattr(between, "make_pass", _shared_pass)
        patch.setattr(reading, "create_classifier", _shared_classifier)
        yield _shared
    for kept in _KEPT:
        kept.clear()


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
