"""What a method computes between epochs: of which images, under which view, compiled once."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.data.photographs.crops import training_crops
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.methods import base
from bccl_jax.methods.cross_entropy import CrossEntropy
from bccl_jax.training.assemble import assemble
from bccl_jax.training.between import Passes
from bccl_jax.training.loop import train_and_evaluate
from bccl_jax.training.sameness import sameness
from tests.killed import check_resumed
from tests.registered import registered
from tests.tiny import NO_OFFSETS, differing, tiny_config
from tests.training.test_photographs import tiny_folder_config, write_pictures

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers", "_registered")

PER_CLASS = 3


@dataclasses.dataclass(frozen=True)
class LooksBack(CrossEntropy):
    """Cross-entropy, and between epochs the class means of features under the strong view.

    Attributes:
      level: of the confidence that is counted.
    """

    seen: ClassVar[list] = []

    level: float = 0.5

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return (base.BalancedSubset(2),)

    def init(self, key, context):
        """See `base.Method.init`."""
        return {"means": jnp.zeros((context.num_classes, 8)), "sure": jnp.zeros(())}

    def refresh_due(self, epoch, epochs=0):
        """See `base.Method.refresh_due`."""
        return True

    def refresh(self, state, key, between=None):
        """See `base.Method.refresh`."""
        labels = between.labels("train")
        # Other images each epoch.
        chosen = np.concatenate(
            [
                np.resize(np.roll(np.flatnonzero(labels == label), between.epoch), PER_CLASS)
                for label in range(10)
            ]
        )

        def confident(apply, params, images, state):
            logits = self.logits(apply, params, images, state)
            return jnp.max(jax.nn.softmax(logits), axis=-1) > self.level

        drawn = between.compute(backbone, view="strong", indices=chosen, key=key, on_device=True)
        assert isinstance(drawn.outputs, jax.Array)
        means = jnp.mean(drawn.outputs.reshape(10, PER_CLASS, -1), axis=1)
        sure = between.compute(confident, "held_out")
        assert sure.outputs.dtype == bool
        assert isinstance(sure.outputs, np.ndarray)
        assert len(between.features("train")[0]) == len(labels)
        self.seen.append(between.epoch)
        share = float(np.mean(sure.outputs))
        return {"means": means, "sure": jnp.float32(share)}, {"sure": share}


@dataclasses.dataclass(frozen=True)
class OnPhotographs(CrossEntropy):
    """Cross-entropy."""


def backbone(apply, params, images, state):
    return apply(params, base.plain_features, images)[0]


def pixels(apply, params, images, state):
    return {"pixels": images, "first": images[:, 0, 0, 0]}


@pytest.fixture(scope="module")
def _registered():
    """Makes both methods, for this module alone."""
    with registered(looks_back=LooksBack, on_photographs=OnPhotographs):
        yield


def small_config(**changes):
    config = tiny_config("looks_back")
    config.model.backbone = "two_layers"
    config.batch_size = 80
    config.eval.batch_size = 50
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def whole(_two_layers, _registered, shared_assemblies, tmp_path_factory):
    """The run, and how many programs had been compiled when each refresh began and ended."""
    compiled, at_refresh = [], []
    refresh = LooksBack.refresh

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    def counted(self, *args):
        before = len(compiled)
        found = refresh(self, *args)
        at_refresh.append(len(compiled) - before)
        return found

    jax.monitoring.register_event_duration_secs_listener(listen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LooksBack, "refresh", counted)
        result = train_and_evaluate(small_config(), tmp_path_factory.mktemp("between") / "run")
    return result, at_refresh


@pytest.fixture(scope="module")
def assembled(_two_layers, _registered):
    """An assembly of that run, its state before the first step, and what may be computed then."""
    run = assemble(small_config())
    state = run.init_state()
    return run, state, Passes(run).between(state, 0)


def test_it_is_compiled_once_whatever_the_epoch(whole):
    result, at_refresh = whole
    assert LooksBack.seen[:4] == [1, 2, 3, 4]
    assert at_refresh[0] >= 3
    assert at_refresh[1:] == [0, 0, 0]
    assert all(0 <= record["refresh"]["sure"] <= 1 for record in result.records)
    assert np.ptp(result.state.method["means"]) > 0


def test_nothing_is_compiled_for_other_images_of_the_same_split(assembled):
    _, _, between = assembled
    compiled = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    for make in (closed_over, functools.partial(functools.partial, shifted)):
        for number, level, anew in ((3, 0.5, 1), (1, 0.5, 0), (60, 0.5, 0), (120, 0.5, 0)):
            del compiled[:]
            indices, key = np.arange(number), jax.random.key(number)
            found = between.compute(make(level), indices=indices, view="strong", key=key)
            assert len(found.outputs) == number
            assert bool(compiled) == anew


def closed_over(level):
    return lambda apply, params, images, state: images[:, 0, 0] > level


def shifted(level, apply, params, images, state):
    return images[:, 0, 0] + level


def test_images_as_they_are_are_those_of_the_network_in_running_mode(assembled):
    run, state, between = assembled
    settings, train = run.config.augment, run.dataset.train
    kept = run.order.trained
    features, labels = between.features("train")
    np.testing.assert_array_equal(labels, train.labels[kept])
    images = (train.images[kept] / 255 - settings.mean) / settings.std
    dense = state.params["backbone"]["Dense_0"]
    # Running statistics are 0 and 1 before the first step.
    hidden = images.reshape(len(images), -1) @ np.asarray(dense["kernel"], np.float64)
    expected = np.maximum(hidden / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)
    found = between.compute(run.method.logits, "held_out")
    np.testing.assert_array_equal(found.labels, train.labels[run.order.held_out])
    np.testing.assert_array_equal(found.indices, np.arange(len(run.order.held_out)))
    held_out = train.images[run.order.held_out]
    predictions, *_ = run.classifier.predict(state, held_out, *NO_OFFSETS)
    np.testing.assert_array_equal(np.argmax(found.outputs, axis=-1), predictions)
    assert between.compute(backbone, "test").outputs.shape == (797, 8)


def test_a_view_is_what_a_step_would_see_and_the_key_decides_it(assembled):
    run, _, between = assembled
    indices, key = np.random.default_rng(0).integers(0, 100, 120), jax.random.key(5)
    found = between.compute(pixels, view="strong", indices=indices, key=key)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.labels, between.labels("train")[indices])
    images = run.dataset.train.images[run.order.trained][indices]
    # Three batches of 50 images, the last one filled up.
    for batch in range(3):
        rows = slice(50 * batch, 50 * batch + 50)
        given = np.zeros((50, 8, 8, 3), np.uint8)
        given[: len(images[rows])] = images[rows]
        (view,) = run.augment(given, jax.random.fold_in(key, batch))
        view = view[: len(images[rows])]
        np.testing.assert_allclose(found.outputs["pixels"][rows], view, atol=1e-6)
    np.testing.assert_array_equal(found.outputs["first"], found.outputs["pixels"][:, 0, 0, 0])
    again = between.compute(pixels, view="strong", indices=indices, key=key, on_device=True)
    np.testing.assert_array_equal(again.outputs["pixels"], found.outputs["pixels"])
    other = between.compute(pixels, view="strong", indices=indices, key=jax.random.key(6))
    assert not np.array_equal(other.outputs["pixels"], found.outputs["pixels"])


@pytest.mark.parametrize("call", [3, 6])
def test_a_run_killed_between_refreshes_ends_where_the_whole_one_ends(whole, tmp_path, call):
    config = small_config(**{"checkpoint.every_steps": 1})
    check_resumed(whole[0], config, tmp_path / "run", call)


@pytest.mark.parametrize("changes", [{"data.resident": False}, {"engine": "scan"}])
def test_it_computes_however_the_run_is_fed(whole, tmp_path, changes):
    other = train_and_evaluate(small_config(**changes), tmp_path / "run")
    np.testing.assert_allclose(
        other.state.method["means"], whole[0].state.method["means"], rtol=1e-3, atol=1e-4
    )
    if "data.resident" in changes:
        assert differing(whole[0].state, other.state) == []


def test_photographs_are_seen_through_the_readers_of_an_evaluation(tmp_path):
    write_pictures(tmp_path / "photos", (10, 10, 10))
    config = tiny_folder_config(tmp_path / "photos", "on_photographs")
    config.model.backbone = "two_layers"
    config.data.max_broken = 0.1
    config.eval.batch_size = 16
    run = assemble(config)
    train, key = run.dataset.train, jax.random.key(3)
    between = Passes(run).between(run.init_state(), 0)
    indices = np.array([4, 0, 4, 9, 20])
    plain = between.compute(pixels).outputs["pixels"]
    assert plain.shape == (24, 8, 8, 3)
    np.testing.assert_array_equal(
        between.compute(pixels, indices=indices).outputs["pixels"], plain[indices]
    )
    found = between.compute(pixels, view="strong", indices=indices, key=key)
    seed = np.ravel(jax.random.key_data(key)).tolist()
    crops = np.zeros((16, 1, 8, 8, 3), np.uint8)
    for position, index in enumerate(indices):
        rng = np.random.default_rng([*seed, position])
        crops[position] = training_crops(train.images[index], run.crops, 8, rng)
    (view,) = run.augment(crops, jax.random.fold_in(key, 0))
    np.testing.assert_allclose(found.outputs["pixels"], view[:5], atol=1e-6)

    with open(train.images.name(4), "wb"):
        pass  # an empty file
    left = between.compute(pixels, view="strong", indices=indices, key=key)
    assert left.indices.tolist() == [0, 9, 20]
    np.testing.assert_array_equal(left.labels, train.labels[[0, 9, 20]])
    np.testing.assert_array_equal(left.outputs["pixels"], found.outputs["pixels"][[1, 3, 4]])
    # One broken picture is within the tenth of 24 that may be, however often it is asked for.
    left = between.compute(pixels, indices=np.array([4, 4, 4, 4, 4, 9]))
    assert left.indices.tolist() == [9]
    with pytest.raises(DataError, match=r"2 of 2 pictures .*, which leaves nothing"):
        between.compute(pixels, indices=np.array([4, 4]))


def reduced(apply, params, images, state):
    return jnp.sum(images)


def test_what_cannot_be_computed_is_one_sentence(assembled):
    _, _, between = assembled
    array = np.zeros(3)
    for message, arguments in {
        "digits has no validation split": ((pixels, "validation"), {}),
        "'looks_back', which between epochs asks for the view 'stron'.*mean strong": (
            (pixels,),
            {"view": "stron"},
        ),
        r"view 'strong' without a key.*fold_in\(key, 1\)": ((pixels,), {"view": "strong"}),
        r"the images \[3, 1000\] of the held_out split; .* 0 to \d+": (
            (pixels, "held_out"),
            {"indices": [3, 1000]},
        ),
        "name them by whole numbers": ((pixels,), {"indices": np.zeros(3)}),
        "at least one": ((pixels,), {"indices": np.zeros(0, int)}),
        "bound to a ndarray, so that it would be compiled anew": (
            (lambda apply, params, images, state: images + array,),
            {},
        ),
        r"an array \[\] of 50 images between epochs; each must have a row": ((reduced,), {}),
    }.items():
        with pytest.raises(ConfigError, match=message) as error:
            between.compute(*arguments[0], **arguments[1])
        assert "\n" not in str(error.value)


def test_functions_are_the_same_by_what_they_do():
    def closing(value):
        return lambda: value

    one, other = LooksBack(), LooksBack(level=0.25)
    assert sameness(closing(one)) == sameness(closing(LooksBack()))
    assert sameness(closing(one)) != sameness(closing(other))
    assert sameness(closing(1)) != sameness(closing(True))
    assert sameness(one.logits) == sameness(LooksBack().logits) != sameness(other.logits)
    assert sameness(closing(closing(2))) == sameness(closing(closing(2)))
    partials = [functools.partial(shifted, level) for level in (1, 1, 2)]
    assert sameness(partials[0]) == sameness(partials[1]) != sameness(partials[2])
    assert sameness(lambda x=1: x) != sameness(lambda x=2: x)
    with pytest.raises(TypeError, match="^dict$"):
        sameness(closing({}))
