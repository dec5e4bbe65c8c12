"""What one network takes over from another one."""

import jax
import numpy as np
import pytest

from bccl_jax.classifier.image_classifier import create_classifier
from bccl_jax.classifier.transfer import transfer
from bccl_jax.models.forward import plain_logits
from tests.tiny import tiny_config
from tests.training.conftest import _two_layers  # noqa: F401

pytestmark = pytest.mark.usefixtures("_two_layers")

SHAPE = (2, 2, 3)
BIRDS = ("crow", "owl", "rook", "tern")


def network(names, method="cross_entropy", **changes):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.update_from_flattened_dict({"batch_size": 8, "devices": 1, **changes})
    counts = np.arange(len(names), 0, -1) * 10
    return create_classifier(config, names, counts, SHAPE)


def arrays(classifier, seed=0):
    """Of random numbers throughout: biases and scales are constant at the start."""
    found = classifier.init(*jax.random.split(jax.random.key(seed)))
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda x: rng.uniform(0.5, 1.5, x.shape).astype(np.float32), tree)
        for tree in (found.params, found.batch_stats)
    ]


def logits(classifier, params, batch_stats):
    images = np.random.default_rng(7).normal(size=(5, *SHAPE)).astype(np.float32)
    variables = {"params": params, "batch_stats": batch_stats}
    return np.asarray(classifier.network.apply(variables, images, method=plain_logits))


def merged(classifier, found):
    params, batch_stats = arrays(classifier, 1)
    for path, array in found.arrays.items():
        place = {"params": params, "batch_stats": batch_stats}
        for name in path[:-1]:
            place = place[name]
        assert place[path[-1]].shape == array.shape
        place[path[-1]] = array
    return params, batch_stats


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
@pytest.mark.parametrize("names", [BIRDS, BIRDS[::-1], ("tern", "crow")])
def test_classes_of_the_same_names_keep_their_logits(names, classifier):
    kind = {"method.classifier": classifier}
    there, here = network(BIRDS, **kind), network(names, **kind)
    given = arrays(there)
    found = transfer(*given, there, here)
    expected = logits(there, *given)[:, [BIRDS.index(name) for name in names]]
    np.testing.assert_allclose(logits(here, *merged(here, found)), expected, rtol=1e-6)
    assert found.told == (
        "classifier kept, "
        + ("2 of its 4 classes" if len(names) == 2 else "4 classes of the same names")
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("crow", "owl", "stork", "heron"), "classifier new: 2 of 4 classes are the same"),
        ((*BIRDS, "wren"), "classifier new: 4 of 5 classes are the same"),
        (("ash", "oak"), "classifier new: 0 of 2 classes are the same"),
    ],
)
def test_with_a_class_that_is_new_the_whole_classifier_is(names, told):
    there, here = network(BIRDS), network(names)
    found = transfer(*arrays(there), there, here)
    assert {path[1] for path in found.arrays} == {"backbone"}
    assert found.told == told


def test_a_classifier_of_another_kind_is_new():
    there, here = network(BIRDS), network(BIRDS, **{"method.classifier": "cosine"})
    found = transfer(*arrays(there), there, here)
    assert {path[1] for path in found.arrays} == {"backbone"}
    assert found.told == "classifier new: it is of another kind there"


def test_as_many_features_as_classes_are_told_apart():
    # Of the kernel [8, 8] the second axis is the classes'.
    names = tuple("abcdefgh")
    there, here = network(names), network(names[::-1])
    given = arrays(there)
    found = transfer(*given, there, here)
    np.testing.assert_allclose(
        logits(here, *merged(here, found)), logits(there, *given)[:, ::-1], rtol=1e-6
    )


def test_every_head_of_classes_follows_their_names_and_others_their_shapes():
    there, here = network(BIRDS, "glmc"), network(BIRDS[::-1], "glmc")
    given = arrays(there)
    params, _ = merged(here, found := transfer(*given, there, here))
    for name in ("heads_classifier", "heads_plain_classifier"):
        np.testing.assert_array_equal(
            params[name]["Dense_0"]["kernel"], given[0][name]["Dense_0"]["kernel"][:, ::-1]
        )
    np.testing.assert_array_equal(
        params["heads_projector"]["kernel"], given[0]["heads_projector"]["kernel"]
    )
    assert found.told.endswith("plain_classifier kept, predictor kept, projector kept")
    other = network(BIRDS, "glmc", **{"method.projector_dim": 16})
    assert transfer(*given, there, other).told.endswith("predictor new, projector new")
    assert transfer(*given, there, network(("ash", "oak"), "glmc")).told == (
        "classifier new: 0 of 2 classes are the same, plain_classifier new, predictor kept, "
        "projector kept"
    )


def test_statistics_of_a_projector_come_along():
    there, here = network(BIRDS, "bccl"), network(("ash", "oak"), "bcl")
    given = arrays(there)
    params, batch_stats = merged(here, found := transfer(*given, there, here))
    for mine, theirs in ((params, given[0]), (batch_stats, given[1])):
        jax.tree.map(
            np.testing.assert_array_equal, mine["heads_projector"], theirs["heads_projector"]
        )
    assert found.told.endswith("projector kept, prototypes new")


def test_learned_scales_take_over_the_classifier_that_they_scale():
    there, here = network(BIRDS), network(BIRDS[::-1], "lws")
    given = arrays(there)
    params, batch_stats = merged(here, transfer(*given, there, here))
    params["heads_classifier"]["scale"] = np.ones(4, np.float32)
    expected = logits(there, *given)[:, ::-1]
    np.testing.assert_allclose(logits(here, params, batch_stats), expected, rtol=1e-6)
    # The other way the scales would be lost.
    assert "another kind" in transfer(*arrays(here), here, there).told


def test_numbers_name_classes_of_the_same_data_set_alone():
    digits = tuple("0123")
    there, here = network(digits), network(digits[1:])
    assert "kept, 3 of its 4" in transfer(*arrays(there), there, here).told
    other = network(digits, **{"data.name": "places_lt"})
    found = transfer(*arrays(there), there, other)
    assert found.told == "classifier new: numbers of another data set do not name its classes"
    assert {path[1] for path in found.arrays} == {"backbone"}


def test_a_name_that_two_classes_have_is_none_to_go_by():
    twice = ("crane", "crow", "crane")
    there = network(twice)
    given = arrays(there)
    assert "kept" in transfer(*given, there, network(twice)).told
    assert "new" in transfer(*given, there, network(("crow", "crane"))).told
