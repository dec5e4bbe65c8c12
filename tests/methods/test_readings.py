"""The preset of the released code, and that each part of it is a setting of its own."""

import dataclasses

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.clustering.queue import contents
from bccl_jax.config import get_config, recipes
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.losses.linear_centroid import linear_centroid_loss
from bccl_jax.methods.base import Batch
from bccl_jax.methods.bccl import BCCL
from bccl_jax.methods.shared.readings import PRESETS, VIEW_SETS, WEIGHTS
from bccl_jax.optimization.schedule import create_schedule
from tests.methods.small import CONTEXT, COUNTS, LABELS, SMALL, loss_of, unit
from tests.tiny import shipped_config

# What was read in the released code, written out.
RELEASED = {
    "view_set": "strong+sim",
    "class_complement": False,
    "class_average": True,
    "one_view_counts": True,
    "centroid_loss_form": "linear",
    "weights": (1.0, 0.1, 1.0),
    "logit_compensation": True,
    "classifier": "cosine",
    "classifier_scale": 1 / 0.03,
    "classifier_start": "uniform",
    "projector_start": "pytorch",
    "projector_hidden": 512,
    "projector_dim": 128,
    "queue_size": 100,
    "num_centroids": 5,
    "clustering": "kmeans",
    "kmeans_start": "random",
    "centroids_on_sphere": False,
    "warmup_epochs": 10,
    "refresh_epochs": 10,
    "refresh_twice": True,
}


def test_released_is_what_was_read_in_the_code():
    method = BCCL(preset="released")
    assert {name: getattr(method, name) for name in RELEASED} == RELEASED
    assert method.views == ("strong", "sim")


def test_every_preset_decides_the_same_settings():
    assert len({frozenset(decided) for decided in PRESETS.values()}) == 1
    fields = {field.name: field.default for field in dataclasses.fields(BCCL)}
    assert {name for name, value in fields.items() if value is None} == {
        *PRESETS["sec43"],
        "temperature_start",
    }


def test_the_total_is_contrast_and_linear_centroid_loss_and_compensation(outputs, rng):
    method = BCCL(preset="released", temperature=0.2, **SMALL)
    state = method.init(jax.random.key(0), CONTEXT)
    centroids = jnp.asarray(0.6 * unit(rng.normal(size=(3, 2, 6))), jnp.float32)
    state = state.replace(centroids=centroids, centroid_mask=jnp.ones((3, 2), bool))
    logits, embeddings = outputs
    doubled = jnp.concatenate([LABELS, LABELS])
    contrast = supervised_contrastive_loss(
        embeddings, doubled, temperature=0.2, class_average=True, one_view_counts=True
    )
    attraction = linear_centroid_loss(embeddings, doubled, centroids)
    compensation = logit_compensation_loss(logits, LABELS, jnp.asarray(COUNTS))
    loss, metrics, renewed = loss_of(method, outputs, state)
    expected = float(contrast) + 0.1 * float(attraction) + float(compensation)
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(metrics["centroid_loss"]) == pytest.approx(float(attraction), rel=1e-5)
    # The strong view, which is the first, is contrasted and so enters the queue.
    np.testing.assert_array_equal(contents(renewed.queue, 2), np.asarray(embeddings)[[3, 7]])


def test_each_part_alone_takes_the_papers_reading_a_step_away(outputs, rng):
    """None of the settings that act on the loss is without effect, or hangs on another one."""
    state = BCCL(**SMALL).init(jax.random.key(0), CONTEXT)
    bank = jnp.asarray(0.6 * unit(rng.normal(size=(3, 2, 6))), jnp.float32)
    state = state.replace(centroids=bank, centroid_mask=jnp.ones((3, 2), bool))
    steps = ({}, {"class_complement": False}, {"class_average": True},
             {"class_average": True, "one_view_counts": True},
             {"centroid_loss_form": "linear"})  # fmt: skip
    losses = [float(loss_of(BCCL(**SMALL, **step), outputs, state)[0]) for step in steps]
    assert len(set(losses)) == len(steps)


@pytest.mark.parametrize("view_set", VIEW_SETS)
def test_the_first_view_is_classified_and_of_more_than_two_all_others_are_contrasted(view_set):
    method = BCCL(view_set=view_set, classifier="linear", **SMALL)

    class Echo:
        """A network that gives back which image it saw."""

        heads = {
            "classifier": lambda features: features,
            "projector": lambda features, train: features,
        }
        scope = None

        @staticmethod
        def backbone(images, train):
            return images[:, 0, 0, :1]

        @staticmethod
        def has_variable(*_):
            return False

    passed = []

    def apply(params, forward, images):
        passed.append(forward(Echo, images))
        raise StopIteration

    views = tuple(
        jnp.broadcast_to(10.0 * v + jnp.arange(4.0)[:, None, None, None], (4, 2, 2, 3))
        for v in range(len(method.views))
    )
    with pytest.raises(StopIteration):
        method.loss(apply, None, Batch(views, LABELS), None, None, None)
    [(logits, embeddings)] = passed
    first = 1 if len(views) > 2 else 0
    np.testing.assert_array_equal(logits[:, 0], [0, 1, 2, 3])
    expected = np.concatenate([10.0 * v + np.arange(4) for v in range(first, len(views))])
    np.testing.assert_array_equal(embeddings[:, 0], expected)


def test_released_clusters_at_the_start_and_the_end_of_every_tenth_epoch():
    method = BCCL(preset="released")
    # Epochs counted from 0: in those of 10, 20, 30, before the first step and after the last one.
    assert [e for e in range(1, 36) if method.refresh_due(e)] == [10, 11, 20, 21, 30, 31]
    # None comes again before there was one.
    at_once = BCCL(preset="released", warmup_epochs=0)
    assert [e for e in range(1, 25) if at_once.refresh_due(e)] == [10, 11, 20, 21]


def test_centroids_off_the_sphere_are_means(outputs):
    method = BCCL(preset="released", **SMALL)
    state = method.init(jax.random.key(0), CONTEXT)
    _, _, state = loss_of(method, outputs, state)
    renewed, _ = method.refresh(state, jax.random.key(1))
    members = np.asarray(outputs[1])[[2, 6]]  # one centroid each, of class 1
    found = np.asarray(renewed.centroids[1])
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(members, axis=0), atol=1e-6)
    # Four embeddings of class 0 in two clusters: a mean of several is shorter than 1.
    assert np.linalg.norm(renewed.centroids[0], axis=-1).min() < 0.99


def test_old_embeddings_are_not_clustered(outputs):
    method = BCCL(queue_max_age=2, **SMALL)
    state = method.init(jax.random.key(0), CONTEXT)
    _, _, state = loss_of(method, outputs, state, epoch=0)
    old = jnp.roll(outputs[1], 1, axis=1)
    for epoch in (3, 4):
        _, _, state = loss_of(method, (outputs[0], old), state, epoch=epoch)
    renewed, _ = method.refresh(state, jax.random.key(1))
    # Those of epochs 3 and 4 are the same two of class 2; those of epoch 0 are too old.
    np.testing.assert_allclose(
        np.sort(np.asarray(renewed.centroids[2]), axis=0),
        np.sort(np.asarray(old)[[3, 7]], axis=0),
        atol=1e-5,
    )
    unlimited, _ = BCCL(**SMALL).refresh(state, jax.random.key(1))
    assert not np.allclose(unlimited.centroids[2], renewed.centroids[2], atol=1e-3)


def test_a_state_has_the_places_that_older_checkpoints_have():
    """A field that is None would be a place of its own in a checkpoint."""
    state = flax.serialization.to_state_dict(BCCL(**SMALL).init(jax.random.key(0), CONTEXT))
    assert set(state) == {"queue", "centroids", "centroid_mask", "class_counts"}
    assert set(state["queue"]) == {"features", "cursor", "count"}


def test_the_temperature_falls_and_the_weight_rises_over_their_epochs(outputs):
    state = BCCL(**SMALL).init(jax.random.key(0), CONTEXT)

    def contrastive(epoch, **changes):
        loss, metrics, _ = loss_of(BCCL(**SMALL, **changes), outputs, state, epoch)
        return float(loss - metrics["classification_loss"]), float(metrics["contrastive_loss"])

    falling = {"temperature_start": 0.5, "temperature_epochs": 4, "temperature": 0.1}
    for epoch, temperature in ((0, 0.5), (1, 0.4), (3, 0.2), (4, 0.1), (9, 0.1)):
        expected = contrastive(0, temperature=temperature)
        assert contrastive(epoch, **falling) == pytest.approx(expected, rel=1e-5)
    for epoch, share in ((0, 0.25), (2, 0.75), (3, 1.0), (8, 1.0)):
        weighed, loss = contrastive(epoch, contrastive_ramp_epochs=4)
        assert weighed == pytest.approx(share * loss, rel=1e-5)


@pytest.mark.parametrize("name", ["cifar10_lt", "cifar100_lt"])
def test_its_recipe_of_cifar(name):
    config = shipped_config(name, "bccl,released")
    validate(config)
    assert methods.create(config.method) == BCCL(preset="released")
    optimizer = config.optimizer
    assert (config.epochs, config.batch_size) == (200, 128)
    assert (optimizer.learning_rate, optimizer.weight_decay, optimizer.momentum) == (
        0.15,
        5e-4,
        0.9,
    )
    schedule = create_schedule(config, steps_per_epoch=84)
    assert float(schedule(0)) == pytest.approx(0.015)
    assert float(schedule(84 * 10 - 1)) == pytest.approx(0.15)
    expected = 0.15 / 2 * (1 + np.cos(np.pi * 190 / 191))
    assert float(schedule(84 * 200 - 1)) == pytest.approx(expected, rel=1e-3)
    # The views are the paper's.
    assert config.augment.to_dict() == shipped_config(name).augment.to_dict()


@pytest.mark.parametrize("name", ["imagenet_lt", "inaturalist2018", "places_lt"])
def test_its_recipe_of_photographs(name):
    config = shipped_config(name, "bccl,released,resnext50")
    validate(config)
    method = methods.create(config.method)
    assert method.views == ("sim", "sim")
    assert (method.temperature, method.projector_hidden, method.projector_dim) == (0.07, 2048, 2048)
    assert (method.queue_size, method.classifier_scale) == (100, 1 / 0.03)
    assert (config.optimizer.warmup_epochs, config.optimizer.schedule) == (10, "cosine_per_epoch")
    assert config.model.backbone == "resnext50"


@pytest.mark.parametrize("name", ["cifar100_small", "cifar100_middle", "digits_lt", "folder"])
def test_every_recipe_has_a_released_one(name):
    config = shipped_config(name, "bccl,released")
    validate(config)
    assert methods.create(config.method).views[-1] == "sim"
    assert len(methods.create(config.method).views) == 2
    # One number warms both up.
    assert config.optimizer.warmup_epochs == config.method.warmup_epochs > 0
    assert config.optimizer.schedule == "cosine_per_epoch"


def test_what_a_preset_decides_is_written_out_but_for_the_weights():
    paper, released = get_config().method, get_config("bccl,released").method
    assert (paper.warmup_epochs, paper.queue_size, paper.classifier) == (20, 256, "linear")
    assert (released.warmup_epochs, released.queue_size, released.classifier) == (10, 100, "cosine")
    assert paper.weight_centroid is released.weight_centroid is None
    # So that the other readings of Eq. 9 are one key away, and any setting of a preset.
    paper.preset = "eq9"
    assert methods.create(paper).weights == (1, 1, 0.1)
    released.view_set = "strong+sim+sim"
    assert methods.create(released).views == ("strong", "sim", "sim")


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("bccl", {"preset": "released"}),
        ("bccl,released", {"preset": "sec43"}),
        ("bccl,released", {"preset": "bcl"}),
    ],
)
@pytest.mark.parametrize("name", ["cifar100_lt", "digits_lt", "imagenet_lt"])
def test_another_preset_by_its_key_alone_would_be_misnamed(name, variant, changes):
    config = shipped_config(name, variant)
    config.method.update(changes)
    message = f"preset is '{changes['preset']}' but .*--config=cifar100_lt:bccl,released"
    with pytest.raises(ConfigError, match=message):
        validate(config)


def test_a_mixture_of_readings_keeps_its_name():
    config = get_config("bccl,released")
    # Of a class average alone can one view's counts be taken.
    for key in sorted(PRESETS["sec43"], key="one_view_counts".__ne__):
        if key not in ("refresh_twice", *WEIGHTS):
            config.method[key] = PRESETS["sec43"][key]
            validate(config)


def test_the_papers_weights_are_one_key_away():
    config = get_config()
    for preset in ("sec43", "eq9", "bcl"):
        config.method.preset = preset
        validate(config)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("released", "no method is called 'released'.*bccl,released"),
        ("eq9", "bccl,eq9"),
        ("bccl,relased", "one of .*sec43, eq9, bcl, released.*did you mean bccl,released"),
        ("bccl,Released", "did you mean bccl,released"),
        ("logit_adjustment,released", "several things where one method is due"),
        ("released,bccl", "several things where one method is due"),
        ("bccl,eq9,bcl", "several things where one method is due"),
        ("", "no method is called ''"),
        (",", "no method is called ','"),
    ],
)
def test_what_is_no_variant_is_told(variant, message):
    with pytest.raises(ConfigError, match=message):
        get_config(variant)


@pytest.mark.parametrize("variant", ["bccl,released", " bccl , released", "bccl,released,"])
def test_spaces_and_a_last_comma_do_not_matter(variant):
    assert get_config(variant).method.preset == "released"
    assert get_config(" bccl").method.preset == "sec43"


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("released", "write bccl,released"),
        ("logit_adjustment,released", "'released' is no preset of 'logit_adjustment'"),
        ("bccl,relased", "neither a method nor a backbone.*released"),
        ("bccl,released,eq9", "'released' and 'eq9' are two presets"),
    ],
)
def test_what_is_no_variant_of_photographs_is_told(variant, message):
    with pytest.raises(ConfigError, match=message):
        recipes.photographs(variant)


def test_settings_that_belong_together_are_asked_for_together():
    for changes, message in (
        ({"one_view_counts": True}, "class_average is not"),
        ({"temperature_start": 0.2}, "set both or neither"),
        ({"temperature_epochs": 5}, "set both or neither"),
        ({"temperature_start": 0.2, "temperature_epochs": 201}, "end is never reached"),
        ({"contrastive_ramp_epochs": 201}, "contrastive_ramp_epochs is 201"),
        ({"refresh_twice": True, "refresh_epochs": 1}, "every epoch is clustered already"),
        ({"preset": "released", "clustering": "mean_shift"}, "always on the sphere"),
        ({"clustering": "affinity_propagation", "kmeans_start": "random"}, "always on the sphere"),
    ):
        with pytest.raises(ConfigError, match=message):
            BCCL(**changes).validate(200)
    with pytest.raises(ConfigError, match="preset is 'sec44'.*sec43"):
        BCCL(preset="sec44")
