"""Views that take what a method makes of its own state and of the labels."""

import dataclasses
import functools
from collections import Counter
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.augment import views
from bccl_jax.augment.outside import OWN, taken
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base
from bccl_jax.training.assemble import assemble
from bccl_jax.training.between import Passes
from bccl_jax.training.loop import train_and_evaluate
from tests.killed import check_resumed
from tests.tiny import differing, tiny_config
from tests.training.test_photographs import tiny_folder_config, write_pictures

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers", "_registered")


def brightened(images, key, level, steps=0):
    """Each image by its level brighter; two that are equal come to differ by a drawn bit."""
    drawn = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return images // 2 + level[:, None, None, None].astype(jnp.uint8) + drawn.astype(jnp.uint8)


@dataclasses.dataclass(frozen=True)
class Levels(base.Method):
    """Cross-entropy of images that are the brighter the more often their class has been seen.

    The level of a class is the number of parts of batches that had it.
    """

    views = ("brightened", "plain")

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return ("class_balanced",)

    def init(self, key, context):
        """See `base.Method.init`."""
        return {"levels": jnp.zeros(context.num_classes, jnp.int32)}

    def view_inputs(self, state, labels):
        """See `base.Method.view_inputs`."""
        return {"level": state["levels"][labels], "unused": labels}

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        (other,) = batch.others
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        loss = cross_entropy_loss(logits, batch.labels)
        logits, batch_stats = apply(params, base.classify, other.views[0], batch_stats=batch_stats)
        there = jnp.zeros_like(state["levels"]).at[batch.labels].set(1)
        metrics = {
            # Of images halved and rounded down, so that the metric tells the levels.
            "pixels": jnp.mean(batch.views[0]),
            "pixels_of_other": jnp.mean(other.views[0]),
        }
        loss += cross_entropy_loss(logits, other.labels)
        return loss, (metrics, {"levels": state["levels"] + there}, batch_stats)


@dataclasses.dataclass(frozen=True)
class OnPhotographs(Levels):
    """The same of photographs, which have no plain view."""

    views = ("brightened",)


@dataclasses.dataclass(frozen=True)
class Watched(Levels):
    """The same of levels that count the parts of the run, told by a view that tells of them."""

    views = ("watched",)
    streams = ()
    levels: ClassVar[list] = []

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        loss = cross_entropy_loss(logits, batch.labels)
        return loss, ({}, {"levels": state["levels"] + 1}, batch_stats)


def watched(images, key, level):
    """Images as they are."""
    jax.debug.callback(lambda level: Watched.levels.append(np.unique(level).tolist()), level)
    return images


@pytest.fixture(scope="module")
def _registered():
    """Makes the methods and their views, for this module alone."""
    registries = (methods.OWN, OWN)
    kept = [(dict(registry.table), dict(registry.origins)) for registry in registries]
    methods.register("levels")(Levels)
    methods.register("on_photographs")(OnPhotographs)
    methods.register("watched")(Watched)
    views.register("brightened")(brightened)
    views.register("watched")(watched)
    yield
    for registry, (table, origins) in zip(registries, kept, strict=True):
        for now, before in ((registry.table, table), (registry.origins, origins)):
            now.clear()
            now.update(before)


def small_config(method="levels", **changes):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 80
    config.epochs = 3
    config.eval.every_epochs = 3
    config.optimizer.warmup_epochs = 0
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def whole(_two_layers, _registered, shared_assemblies, tmp_path_factory):
    return train_and_evaluate(small_config(), tmp_path_factory.mktemp("levels") / "run")


def check_pixels(records, run, parts=1):
    """That each step had views of the levels that its batches before it had made."""
    config, train = run.config, run.dataset.train
    mean = np.mean(config.augment.mean)
    levels = np.zeros(10, int)
    for epoch, record in enumerate(records):
        found = Counter()
        for rows in run.order(epoch).reshape(-1, 80, 2):
            for name, indices in zip(("pixels", "pixels_of_other"), rows.T, strict=True):
                # The drawn bit is 1 of half of the images.
                halves = np.mean(train.images[indices] // 2) + 0.5
                seen = halves + np.mean(levels[train.labels[indices]])
                found[name] += (seen / 255 - mean) / config.augment.std[0]
            for part in range(parts):
                levels[np.unique(train.labels[rows[part::parts, 0]])] += 1
        for name, value in found.items():
            # Of 80 images a step; the bit is worth 0.01.
            assert record["train"][name] * run.steps_per_epoch == pytest.approx(value, abs=0.004)
    return levels


def test_a_view_sees_the_state_before_the_step_and_the_labels_of_its_own_stream(whole):
    levels = check_pixels(whole.records, assemble(small_config()))
    np.testing.assert_array_equal(whole.state.method["levels"], levels)
    assert levels.max() == 12
    assert np.ptp(levels) > 0


@pytest.mark.parametrize(
    "changes", [{"data.resident": False}, {"engine": "scan"}, {"accumulation": 2}]
)
def test_it_does_however_the_run_is_fed(whole, tmp_path, changes):
    config = small_config(**changes)
    other = train_and_evaluate(config, tmp_path / "run")
    check_pixels(other.records, assemble(config), config.accumulation)
    if "data.resident" in changes:
        assert differing(whole.state, other.state) == []


def test_all_parts_and_both_passes_see_one_state(tmp_path):
    config = small_config("watched", **{"accumulation": 2, "optimizer.sam_rho": 0.05})
    config.epochs = config.eval.every_epochs = 1
    train_and_evaluate(config, tmp_path / "run")
    jax.effects_barrier()
    # Two parts a step raise the level by two; each is seen twice.
    assert Counter(level for seen in Watched.levels for level in seen) == {0: 4, 2: 4, 4: 4, 6: 4}


def test_a_run_killed_in_mid_epoch_ends_where_the_whole_one_ends(whole, tmp_path):
    config = small_config(**{"checkpoint.every_steps": 1})
    check_resumed(whole, config, tmp_path / "run", 7)


def pixels(apply, params, images, state):
    return images


def between_of(run, levels):
    state = run.init_state()
    state = state.replace(method={"levels": jnp.asarray(levels, jnp.int32)})
    return Passes(run).between(state, 1)


def level_of(run, found, images):
    """The levels that images had, without the drawn bit."""
    settings = run.config.augment
    seen = (found * settings.std + settings.mean) * 255 - images // 2
    return np.floor(np.mean(seen, axis=(1, 2, 3)) + 0.25).astype(int)


def test_between_epochs_it_takes_the_methods_state_or_what_is_given(whole):
    run = assemble(small_config())
    levels = 3 * np.arange(10)
    between = between_of(run, levels)
    indices, key = np.arange(0, 330, 11), jax.random.key(1)
    compute = functools.partial(
        between.compute, pixels, view="brightened", indices=indices, key=key
    )
    images, labels = run.dataset.train.images[indices], run.dataset.train.labels[indices]
    found = compute()
    own = level_of(run, found.outputs, images)
    assert set(own - levels[labels]) <= {0, 1}
    given = compute(inputs={"level": np.arange(30)})
    assert set(level_of(run, given.outputs, images) - np.arange(30)) <= {0, 1}
    for message, inputs in {
        "gives the view 'brightened' 'levels' of .*; it takes level, a row": {"levels": labels},
        r"'level' of the shape \[3\] for 30 images": {"level": labels[:3]},
    }.items():
        with pytest.raises(ConfigError, match=message):
            compute(inputs=inputs)


def test_crops_of_photographs_take_them_too(tmp_path, rng):
    write_pictures(tmp_path / "photos", (10, 10, 10))
    config = tiny_folder_config(tmp_path / "photos", "on_photographs")
    config.model.backbone = "two_layers"
    config.epochs = config.eval.every_epochs = 1
    config.optimizer.warmup_epochs = 0
    result = train_and_evaluate(config, tmp_path / "run")
    # Three steps of an epoch; a class may be missing in one.
    assert set(result.state.method["levels"].tolist()) <= {2, 3}
    run = assemble(config)
    step, state = jax.jit(run.train_step), run.init_state()
    crops = rng.integers(0, 100, (16, 1, 8, 8, 3), np.uint8)
    batch = {"image": crops, "label": np.arange(16, dtype=np.int32) % 3}
    seen = []
    for level in (5, 25):
        given = state.replace(method={"levels": jnp.full(3, level, jnp.int32)})
        seen.append(step(given, batch)[1])
    rise = np.mean(20 / 255 / np.array(config.augment.std))
    for name in ("pixels", "pixels_of_other"):
        assert seen[1][name] - seen[0][name] == pytest.approx(rise, rel=1e-3)

    compute = functools.partial(
        between_of(run, [5, 5, 5]).compute, pixels, view="brightened", key=jax.random.key(1)
    )
    own, given = compute().outputs, compute(inputs={"level": np.full(24, 25)}).outputs
    # The same crops and the same drawn bits.
    np.testing.assert_allclose(
        (given - own) * run.config.augment.std * 255, np.full_like(own, 20), rtol=1e-3
    )


def test_a_view_names_what_it_takes_by_its_arguments():
    assert taken("brightened") == ("level",)
    assert taken("strong") == taken("nobody's") == ()
    for function, names in (
        (lambda *_: None, ()),
        (lambda images, key, *, a, b=1: None, ("a",)),
        (functools.partial(brightened, steps=2), ("level",)),
        (jax.jit(brightened), ("level",)),
    ):
        views.register("mine")(function)
        assert taken("mine") == names
    del OWN.table["mine"], OWN.origins["mine"]


@dataclasses.dataclass(frozen=True)
class Lacking(Levels):
    """The same with inputs that are another thing."""

    kind: str = ""

    def view_inputs(self, state, labels):
        """See `base.Method.view_inputs`."""
        return {
            "none": None,
            "other": {"strength": labels},
            "shape": {"level": state["levels"]},
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "'lacking', whose view_inputs gives None; it must give a dict"),
        ("other", r"'lacking', but the view 'brightened' takes 'level', which .* \(strength is\)"),
        ("shape", r"'brightened' is given 'level' of the shape \[10\] for 80 images; it must"),
    ],
)
def test_what_a_view_lacks_is_told_before_training(tmp_path, kind, message):
    methods.register("lacking")(Lacking)
    config = small_config("lacking", **{"method.kind": kind})
    with pytest.raises(ConfigError, match=message) as error:
        train_and_evaluate(config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
