"""SBCL: what its stages compare, when subclasses are found anew, and how they are kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.clustering.class_spread import class_temperatures
from bccl_jax.config.recipes import photographs
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.methods import sbcl
from bccl_jax.methods.base import Batch, Between, Passed, Progress
from bccl_jax.methods.ldam_drw import LdamDrw
from bccl_jax.methods.sbcl import SubclassBalance
from tests.losses.test_subclass_balance import loop
from tests.methods.small import CONTEXT, COUNTS, LABELS, loss_of, unit
from tests.tiny import tiny_config

METHOD = SubclassBalance(subclass_size=4, temperature=0.2)
IMAGES = np.array([5, 39, 47, 69])


@functools.partial(jax.jit, static_argnums=(0, 1))
def loss_in(method, stage, embeddings, state):
    """Loss and metrics of a stage of contrast, for embeddings of both views of four images."""
    views = tuple(jnp.full((4, 2, 2, 3), float(view)) for view in range(3))

    def apply(params, forward, images):
        # Image by image, and without the strong view.
        np.testing.assert_array_equal(np.shape(images), (8, 2, 2, 3))
        return embeddings, "renewed statistics"

    batch = Batch(views, LABELS, indices=jnp.asarray(IMAGES))
    progress = Progress(jnp.int32(0), jnp.int32(0), stage)
    loss, (metrics, kept, _) = method.loss(apply, None, batch, state, None, progress)
    assert kept is state
    return loss, metrics


def split_state():
    """Images 5 and 39 of class 0 in its subclasses 1 and 3, and a temperature for each class."""
    state = METHOD.init(None, CONTEXT)
    subclasses = np.zeros(70, np.int32)
    subclasses[[5, 39, 47, 69]] = 1, 3, 1, 0
    temperatures = jnp.array([0.1, 0.3, 0.2])
    return state | {"subclasses": jnp.asarray(subclasses), "temperatures": temperatures}


def test_a_class_has_as_many_subclasses_as_the_rarest_fits_into_it():
    state = METHOD.init(None, CONTEXT)
    np.testing.assert_array_equal(state["subclass_counts"], [4, 2, 1])
    assert state["subclasses"].shape == (COUNTS.sum(),)
    np.testing.assert_allclose(state["temperatures"], 0.2)


def test_the_second_stage_contrasts_by_subclasses_and_by_classes(outputs):
    state = split_state()
    loss, metrics = loss_in(METHOD, 1, outputs[1], state)
    # Numbered over all classes: 0 to 3 of class 0, 4 and 5 of class 1, 6 of class 2.
    labels, subclasses = np.tile(LABELS, 2), np.tile([1, 3, 5, 6], 2)
    rest = (labels, subclasses, np.asarray(state["temperatures"], np.float64), 0.2, 0.07)
    embeddings = np.asarray(outputs[1], np.float64)
    assert float(loss) == pytest.approx(loop(embeddings, *rest, 0.25), rel=1e-5)
    within = loop(embeddings, *rest, 0.0)
    assert float(metrics["subclass_loss"]) == pytest.approx(within, rel=1e-5)
    assert float(metrics["class_loss"]) == pytest.approx(4 * (float(loss) - within), rel=1e-4)


def test_with_one_subclass_a_class_it_is_its_supervised_contrast(outputs):
    method = SubclassBalance(
        subclass_size=1000, temperature=0.2, base_temperature=0.2, weight_class=0.0
    )
    state = method.init(None, CONTEXT)
    np.testing.assert_array_equal(state["subclass_counts"], 1)
    found, _ = loss_in(method, 1, outputs[1], state)
    expected, _ = loss_in(method, 0, outputs[1], state)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    split, _ = loss_in(METHOD, 0, outputs[1], split_state())
    np.testing.assert_allclose(split, expected, rtol=1e-6)


def test_the_last_stage_is_ldam_with_weights(outputs):
    method = SubclassBalance(max_margin=0.4, beta=0.99)
    state = method.init(None, CONTEXT)
    logits, _ = outputs
    batch = Batch(tuple(jnp.zeros((4, 2, 2, 3)) for _ in range(3)), LABELS)

    def apply(params, forward, images):
        assert forward is sbcl.classify_frozen
        assert images.shape == (4, 2, 2, 3)
        return logits, None

    progress = Progress(jnp.int32(0), jnp.int32(0), 2)
    found, _ = method.loss(apply, None, batch, state, None, progress)
    other = LdamDrw(max_margin=0.4, beta=0.99, deferred=0.0)
    expected, _, _ = loss_of(other, logits, other.init(None, CONTEXT), 0)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_views_are_told_apart():
    network = type("Network", (), {"heads": {"projector": lambda x, train: x}})
    network.backbone = staticmethod(lambda images, train: images)
    first, second = jnp.arange(6.0).reshape(3, 2), 10 + jnp.arange(6.0).reshape(3, 2)
    order = jnp.stack([first, second], axis=1).reshape(6, 2)
    np.testing.assert_array_equal(sbcl._embed(network, order), jnp.concatenate([first, second]))


def test_subclasses_are_groups_of_the_embeddings_under_the_contrasted_view(rng):
    labels = np.repeat(np.arange(3), COUNTS)
    group = np.concatenate([np.arange(40) % 4, np.arange(20) % 2, np.zeros(10, int)])
    centres = unit(rng.normal(size=(3, 4, 6)))
    embeddings = np.float32(unit(centres[labels, group] + 0.02 * rng.normal(size=(70, 6))))
    # Two photographs cannot be decoded.
    there = np.setdiff1d(np.arange(70), [3, 44])

    def compute(forward, view, key):
        assert forward is sbcl._embedded
        assert view == "sim"
        return Passed(embeddings[there], labels[there], there)

    state = METHOD.init(None, CONTEXT)
    state["subclasses"] = jnp.full(70, 9, jnp.int32).at[3].set(2).at[44].set(1)
    between = Between(10, 100, None, None, compute)
    found, report = METHOD.refresh(state, jax.random.key(0), between)
    subclasses = np.asarray(found["subclasses"])
    assert found["subclasses"].dtype == state["subclasses"].dtype
    np.testing.assert_array_equal(subclasses[[3, 44]], [2, 1])
    pairs = {(k, g): set() for k in range(3) for g in range(4)}
    for image in there:
        pairs[labels[image], group[image]].add(subclasses[image])
    assert all(len(own) <= 1 for own in pairs.values())
    for k, number in enumerate((4, 2, 1)):
        assert set(subclasses[there][labels[there] == k]) == set(range(number))
    expected = class_temperatures(
        embeddings[there], labels[there], np.array([4, 2, 1]), temperature=0.2
    )
    np.testing.assert_array_equal(found["temperatures"], expected)
    assert report["subclasses"] == 7
    assert report["largest_subclass"] == 10
    assert found.keys() == state.keys()


def due(method, epochs):
    return [epoch for epoch in range(epochs + 1) if method.refresh_due(epoch, epochs)]


def test_they_are_found_from_the_second_stage_on_and_never_in_the_last():
    method = SubclassBalance(warmup_epochs=10, refresh_epochs=10, refit_epochs=20)
    assert [stage.epochs for stage in method.stages(60)] == [10, 30, 20]
    assert due(method, 60) == [10, 20, 30]
    assert due(method, 61) == [10, 20, 30, 40]
    # Of a run that starts from another one's network.
    started = SubclassBalance(warmup_epochs=0, refresh_epochs=3, refit_epochs=20)
    assert due(started, 28) == [1, 4, 7]
    assert due(SubclassBalance(start_from="run"), 20) == []


def test_after_another_run_the_classifier_alone_is_trained():
    method = SubclassBalance(start_from="run", refit_epochs=8)
    assert method.trained_epochs(200) == 8
    assert [stage.epochs for stage in method.stages(8)] == [0, 0, 8]
    method.validate(8)


def test_stages_train_what_they_are_for():
    first, second, last = SubclassBalance().stages(200)
    assert first.trains == second.trains == ("backbone", "heads_projector")
    assert second.continues
    assert last.trains == last.anew == ("heads_classifier",)
    assert last.optimizer == {
        "warmup_epochs": 5,
        "schedule": "cosine",
        "learning_rate": 0.1,
        "weight_decay": 0.0,
    }
    assert SubclassBalance(refit_epochs=8).stages(200)[2].optimizer["warmup_epochs"] == 2


def test_what_cannot_work_is_named():
    config = tiny_config("sbcl")
    validate(config)
    config.method.classifier = "linear"
    with pytest.raises(ConfigError, match="last stage of sbcl has margins of cosines; write"):
        validate(config)
    config.method.classifier = "cosine"
    config.method.warmup_epochs = 0
    with pytest.raises(ConfigError, match="stage 1 of 3 of sbcl has no.*method.warmup_epochs"):
        validate(config)
    config.method.warmup_epochs = 2
    with pytest.raises(ConfigError, match="warmup_epochs is 2 and config.method.refit_epochs 2 in"):
        validate(config)
    config.method.refit_epochs = 5
    with pytest.raises(ConfigError, match="refit_epochs is 5 in a run of 4 epochs"):
        validate(config)
    # The classifier alone, of a network that was trained before.
    config.method.refit_epochs = 4
    with pytest.raises(ConfigError, match="stage 1 of 3 of sbcl has no.*config.method.start_from"):
        validate(config)
    config.method.start_from = "runs/other"
    validate(config)


def test_on_photographs_subclasses_and_sizes_are_the_authors():
    method = photographs("sbcl").method
    assert (method.subclass_size, method.refresh_epochs, method.temperature) == (20, 5, 0.07)
    assert (method.projector_hidden, method.projector_dim) == (2048, 128)
