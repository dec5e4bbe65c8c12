"""CUDA: what tests the levels, what they become, and that nothing else of a method changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.augment.curriculum import LEVELS
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Between, Passed
from bccl_jax.methods.shared.levels import draw_tests, next_levels, positions
from bccl_jax.methods.shared.queued_centroids import enqueue
from bccl_jax.training.assemble import assemble
from tests.losses import public
from tests.methods.small import CONTEXT, COUNTS, SMALL, unit
from tests.tiny import bits, shipped_config, tiny_config

# The bits of two programs are compared.
OPTIMIZED = True
pytestmark = pytest.mark.usefixtures("_two_layers")

VECTORS = public.load("cuda")
BASES = {
    "cuda": "cross_entropy",
    "cuda_balanced_softmax": "balanced_softmax",
    "cuda_ldam_drw": "ldam_drw",
    "cuda_bcl": "bcl",
    "cuda_bccl": "bccl",
}
LABELS = np.repeat(np.arange(3), COUNTS).astype(np.int32)
SHUFFLED = np.random.default_rng(0).permutation(LABELS)


def create(name, **changes):
    known = methods.settings(name)
    small = {key: value for key, value in SMALL.items() if key in known}
    return methods.create(methods.settings(name, **small, **changes))


def test_levels_are_renewed_as_by_the_public_code():
    steps = sum(name.endswith("level_after") for name in VECTORS)
    assert steps > 1
    accept = float(VECTORS["accept_rate"])
    for step in range(steps):
        before, correct, trials, after = (
            VECTORS[f"step{step}_{what}"]
            for what in ("level_before", "correct", "trials", "level_after")
        )
        np.testing.assert_array_equal(next_levels(before, correct, trials, accept), after)


def test_levels_are_renewed_as_by_hand():
    trials = np.zeros((6, LEVELS + 1), int)
    trials[:, :3] = 10, 20, 30
    correct = np.zeros_like(trials)
    correct[:, :3] = 7, 13, 19
    correct[1, 0] = 6  # of 10: not more than 0.6
    correct[3] = trials[3] = 0  # a class without images
    correct[4, 2] = 0  # beyond its level
    levels = np.array([2, 2, 0, 0, 1, 2])
    trials[5, 1] = 0  # all that would have tested it are broken
    renewed = next_levels(levels, correct, trials, 0.6)
    assert renewed.tolist() == [3, 1, 1, 0, 2, 1]
    # A share of 1 is not exceeded, and no class rises above the last level.
    full = np.full((2, LEVELS + 1), 5)
    assert next_levels(np.array([0, 10]), full, full, 1.0).tolist() == [0, 9]
    assert next_levels(np.array([9, 10]), full, full, 0.6).tolist() == [10, 10]


def test_a_class_is_tested_on_its_own_images_more_often_at_higher_levels():
    labels = np.array([2, 0, 2, 1, 2, 0])  # one image of class 1, none of class 3
    levels = np.array([1, 10, 0, 4])
    indices, at = draw_tests(labels, levels, 10, np.random.default_rng(0))
    found = np.zeros((4, LEVELS + 1), int)
    np.add.at(found, (labels[indices], at), 1)
    expected = np.zeros_like(found)
    expected[0, :2] = 10, 20
    expected[1] = 10 * np.arange(1, 12)
    expected[2, 0] = 10
    np.testing.assert_array_equal(found, expected)
    again, _ = draw_tests(labels, levels, 10, np.random.default_rng(0))
    other, _ = draw_tests(labels, levels, 10, np.random.default_rng(1))
    assert np.array_equal(indices, again)
    assert not np.array_equal(indices, other)
    # With replacement and evenly: of 3,000 draws from three images 1,000 each, give or take 26.
    many, _ = draw_tests(labels, np.zeros(4, int), 3000, np.random.default_rng(2))
    drawn = np.bincount(many, minlength=6)
    assert np.all(np.abs(drawn[labels == 2] - 1000) < 130)


def test_what_is_left_of_a_test_is_found_again():
    asked = np.array([4, 0, 4, 9, 4])
    assert positions(asked, asked).tolist() == [0, 1, 2, 3, 4]
    assert positions(np.array([0, 9]), asked).tolist() == [1, 3]
    assert positions(np.array([4, 4, 9, 4]), asked).tolist() == [0, 2, 3, 4]


class Pass:
    """A network that knows class c up to level c, and has pictures that are broken."""

    def __init__(self, broken=()):
        self.calls, self.broken = [], broken

    def __call__(self, forward, role="train", *, view, indices, key, inputs):
        assert role == "train"
        self.calls.append((forward, view, indices, jax.random.key_data(key).tolist(), inputs))
        left = ~np.isin(indices, self.broken)
        labels = SHUFFLED[indices]
        predicted = np.where(inputs["level"] <= labels, labels, (labels + 1) % 3)
        return Passed(predicted[left], labels[left], indices[left])

    def between(self, epoch, epochs=100):
        return Between(epoch, epochs, None, None, self, lambda role: SHUFFLED)


@pytest.mark.parametrize("broken", [(), (0, 1, 2, 50)])
def test_levels_rise_as_far_as_a_class_is_known(broken):
    method = create("cuda")
    state = method.init(jax.random.key(0), CONTEXT)
    assert state["levels"].tolist() == [0, 0, 0]
    seen = Pass(broken)
    # Class c rises to c + 1, where it fails, and so from c to c + 1 and back.
    for epoch, expected in enumerate([(1, 1, 1), (0, 2, 2), (1, 1, 3), (0, 2, 2), (1, 1, 3)], 1):
        assert method.refresh_due(epoch, 100)
        state, told = method.refresh(state, jax.random.key(epoch), seen.between(epoch))
        assert state["levels"].tolist() == list(expected)
        assert state["levels"].dtype == jnp.int32
        assert told["level"] == pytest.approx(np.mean(expected))
        assert told["level_of_images"] == pytest.approx(np.dot(expected, COUNTS) / COUNTS.sum())
        assert [told[f"classes_at_level_{level}"] for level in range(4)] == np.bincount(
            expected, minlength=4
        ).tolist()
    forwards, views, indices, keys, inputs = zip(*seen.calls, strict=True)
    assert set(views) == {"curriculum"}
    # One program, whatever the epoch; images and draws are others each time.
    assert len(set(forwards)) == 1
    assert len({tuple(key) for key in keys}) == 5
    assert all(np.all(given["chance"] == 1) for given in inputs)
    again = Pass(broken)
    method.refresh(method.init(None, CONTEXT), jax.random.key(1), again.between(1))
    np.testing.assert_array_equal(again.calls[0][2], indices[0])


def test_tests_are_due_by_their_epochs_and_not_after_the_last_one(rng):
    every, third = create("cuda"), create("cuda", curriculum_epochs=3)
    assert [epoch for epoch in range(7) if every.refresh_due(epoch, 6)] == [1, 2, 3, 4, 5]
    assert [epoch for epoch in range(10) if third.refresh_due(epoch, 9)] == [3, 6]
    # Centroids keep to their own epochs.
    both = create("cuda_bccl", curriculum_epochs=4, warmup_epochs=3, refresh_epochs=2)
    assert [epoch for epoch in range(9) if both.refresh_due(epoch, 8)] == [3, 4, 5, 7]
    state, seen = both.init(jax.random.key(0), CONTEXT), Pass()
    embeddings = jnp.asarray(unit(rng.normal(size=(12, 6))), jnp.float32)
    state["base"] = enqueue(
        state["base"], embeddings, jnp.arange(12) % 3, None, split_classes=False
    )
    for epoch, tested in ((3, 0), (4, 1), (5, 1)):
        renewed, told = both.refresh(state, jax.random.key(0), seen.between(epoch, 8))
        assert len(seen.calls) == tested
        assert ("level" in told) == (epoch == 4)
        assert (renewed["base"] is state["base"]) == (epoch == 4)
    # By the key that the method below would have.
    alone, _ = create("bccl").refresh(state["base"], jax.random.key(0))
    np.testing.assert_array_equal(renewed["base"].centroids, alone.centroids)
    assert alone.centroid_mask.all()


@pytest.mark.parametrize("name", BASES)
def test_what_a_method_is_made_of_is_that_of_the_one_below(name):
    method, base = create(name), create(BASES[name])
    assert method.views == ("curriculum", *base.views[1:])
    for what in ("taps", "fine_metrics", "soft_labels", "mixable", "prior_in_loss", "streams"):
        assert getattr(method, what) == getattr(base, what)
    own = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    assert own == {key: getattr(method, key) for key in own}
    added = {field.name for field in dataclasses.fields(method)} - own.keys()
    assert added
    assert all(key.startswith("curriculum_") for key in added)
    assert method.heads(CONTEXT).keys() == base.heads(CONTEXT).keys()
    state = method.init(jax.random.key(0), CONTEXT)
    assert jax.tree.structure(state["base"]) == jax.tree.structure(base.init(None, CONTEXT))
    state["levels"] = jnp.array([3, 0, 7])
    given = method.view_inputs(state, jnp.array([2, 2, 0, 1]))
    assert given["level"].tolist() == [7, 7, 3, 0]
    assert given["chance"].tolist() == [0.5] * 4
    split = create("cuda_bccl", split_classes=True).split_over_classes
    if name == "cuda_bccl":
        assert not split(state)["levels"]
        assert split(state)["base"].centroids


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("file", ["cifar100_small", "inaturalist2018", "folder"])
def test_its_config_is_that_of_the_method_below(name, file):
    config, below = (default.flatten(shipped_config(file, each)) for each in (name, BASES[name]))
    added = {f"method.{key}" for key in methods.settings(name) if key.startswith("curriculum_")}
    assert {key: config[key] for key in below} == below | {"method.name": name}
    assert config.keys() - below.keys() == added
    # As its authors' code has it, of small images and of photographs.
    assert config["method.curriculum_accept"] == (0.6 if file == "cifar100_small" else 0.4)


def arrays_below(state):
    """The arrays of a state but the levels, as the method below calls them."""
    found = {path.replace("['base']", ""): array for path, array in bits(state).items()}
    found.pop(".method['levels']", None)
    return found


def test_at_level_0_it_trains_as_the_method_below_bit_for_bit():
    ends = []
    for name in ("cuda", "cross_entropy"):
        config = tiny_config(name)
        config.model.backbone = "two_layers"
        config.batch_size = 32
        run = assemble(config)
        state, step = run.init_state(), jax.jit(run.train_step)
        for rows in run.order(0)[:3]:
            train = run.dataset.train
            batch = {"image": train.images[rows], "label": train.labels[rows]}
            state, metrics = step(state, batch)
        ends.append((arrays_below(state), metrics))
    (found, told), (expected, below) = ends
    assert found.keys() == expected.keys()
    assert [path for path in found if found[path].tobytes() != expected[path].tobytes()] == []
    assert told == below


def test_it_is_refused_where_the_classified_view_is_no_strong_one():
    config = tiny_config("cuda_bccl")
    config.method.view_set = "sim+sim"
    with pytest.raises(ConfigError, match=r"view_set is 'sim\+sim', .*; write 'strong\+sim'"):
        validate(config)
    config.method.view_set = "strong+sim"
    validate(config)
