"""Every value of every key ends in one sentence that names the key, or in a config that works."""

import functools
import json
import math
import pickle

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.augment.views import SimView, StrongView, make_views
from bccl_jax.config.allowed import BOUNDS, bounds
from bccl_jax.config.sizing import sized
from bccl_jax.config.validation import validate
from bccl_jax.data.long_tail import subset_indices
from bccl_jax.data.photographs.crops import Crop, random_boxes
from bccl_jax.errors import BcclError, ConfigError
from bccl_jax.optimization.optimizer import create_optimizer
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.settings.bounds import Choice, Joined, Rising, Several, Switch, Text, Whole, shown
from bccl_jax.training.memory import check_memory
from tests.tiny import shipped_config, tiny_config

METHODS = methods.names()
# All keys with one method, and the settings of the others. What CUDA adds to a method is checked
# over plain cross-entropy, and the settings of that method with it alone.
KEYS = [
    (name, key)
    for name in METHODS
    for key in default.flatten(default.get_config(name))
    if name == "bccl" or (key.startswith("method.") and not name.startswith("cuda_"))
]
NUMBERS = [0, -1, 1, 2, 3, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63]
EXTREMES = [
    *NUMBERS,
    *(-number for number in NUMBERS[2:]),
    10**400,
    *(0.0, -0.0, 0.5, 1.0, 1.5, 5e-324, 1e-45, 1e-9, 1e38, 1e39, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf),
    *("", " ", "a", "x" * 300, "x" * 100_000, "\0", "a\0b", "\ud800", "é\n", "/" * 5000, "None"),
    *((), (0,), (0, 0, 0), (1e308,) * 3, (math.nan,) * 4, ((1, 2), (3, 4)), (0.5,) * 100_000),
    *((-1.0, 1.0), (1.0, 0.5), (0.0, 0.0), ("a", "b", "c"), (True, False, True), (None,) * 4),
    *((0.5, 0.5), (2**63, 2**63, 2**63), [0.5, 0.5, 0.5], (0.9, 0.9, 0.9, 0.9)),
    *(True, False, None, b"bytes", {}, {"a": 1}, object(), 1j, np.int64(3), np.float32(0.5)),
]


# Python writes no whole number of so many digits.
ENDLESS = 10**5000


@functools.cache
def pickled(method):
    """A method's config, of which a copy takes a seventh of the time of another one."""
    return pickle.dumps(default.get_config(method))


def changed(method, key, value):
    """The default config with any value at a key, as a config file could set it."""
    config = pickle.loads(pickled(method))
    *groups, last = key.split(".")
    group = functools.reduce(lambda inner, part: inner[part], groups, config)
    # Removed and set anew, so that the value is kept as it is.
    del group[last]
    group[last] = value
    return config


def edges(bound):
    """Values at and beside the ends of a bound."""
    if isinstance(bound, Several):
        return [tuple(v) for v in zip(*map(edges, bound.parts), strict=False)]
    if isinstance(bound, Rising):
        return [(v,) for v in edges(bound.each)]
    if isinstance(bound, Choice):
        return [*bound.known, bound.known[0].upper(), bound.known[0] + " "]
    if not hasattr(bound, "low"):
        return []
    step = 1 if isinstance(bound, Whole) else 1e-6 * max(1, abs(bound.low))
    around = [bound.low, bound.low - step, bound.high, bound.high + step * max(1, bound.high)]
    return [*around, *bound.also, *(value - 1 for value in bound.also)]


@functools.cache
def everything_made_of(method, key):
    """What a value of a key goes into next, with no data and no compilation of the network."""
    group, _, last = key.rpartition(".")
    parts = [json_of_it]
    parts += [optimizer_of_it] if group == "optimizer" or key in ("epochs", "batch_size") else []
    parts += [seeds_of_it] if "seed" in key else []
    parts += [views_of_it] if group.startswith("augment") else []
    parts += [traced_views_of_it] if last in ("size", "scale", "ratio", "blur_sigma") else []
    return parts + ([method_of_it] if group == "method" else [])


def json_of_it(config):
    flat = json.loads(json.dumps(default.flatten(config)))
    assert default.flatten(default.unflatten(flat)) == flat


def optimizer_of_it(config):
    for images in (40, 1_000_000):
        own = sized(config, images)
        per_epoch = max(images // own.batch_size, 1)
        if own.epochs * per_epoch >= 2**31:
            continue
        schedule = create_schedule(own, per_epoch)
        for step in (0, 1, own.epochs * per_epoch // 2, own.epochs * per_epoch - 1):
            rate = float(schedule(np.int32(step)))
            assert np.isfinite(rate)
            assert 0 <= rate <= own.optimizer.learning_rate * 1.001
        optimizer = create_optimizer(own, schedule)
    params = {"kernel": jnp.ones((2, 2))}
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert np.all(np.isfinite(updates["kernel"]))


def seeds_of_it(config):
    jax.random.key(config.seed)
    np.random.default_rng([config.seed, 0])
    np.random.RandomState([config.data.subset_seed, 3])
    assert len(subset_indices(np.zeros(4, int), [2], config.data.subset_seed)) == 2


def views_of_it(config):
    strong, sim = views(config)
    hash((strong, sim))
    for view in (strong, sim):
        rng = np.random.default_rng(0)
        assert (random_boxes(5, 300, [Crop(view.scale, view.ratio)] * 9, rng) >= 0).all()


def traced_views_of_it(config):
    strong, sim = views(config)
    augment = config.augment
    if max(augment.size, 8 * augment.sim.blur_sigma[1]) <= 64:
        jax.eval_shape(
            functools.partial(make_views, names=("sim",), strong=strong, sim=sim,
                              mean=augment.mean, std=augment.std, size=augment.size),
            jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.uint8), jax.random.key(0),
        )  # fmt: skip


def views(config):
    strong, sim = config.augment.strong, config.augment.sim
    return (
        StrongView(**{k: frozen(v) for k, v in strong.items()}),
        SimView(**{k: frozen(v) for k, v in sim.items()}),
    )


def method_of_it(config):
    method = methods.create(sized(config, 10_000).method)
    method.validate(sized(config, 10_000).epochs)
    context = methods.base.Context(np.array([5, 3]), 200, jnp.float32)
    jax.eval_shape(lambda key: method.init(key, context), jax.random.key(0))
    assert method.heads(context)


def frozen(value):
    return tuple(value) if isinstance(value, list | tuple) else value


def check(method, key, value):
    config = changed(method, key, value)
    try:
        validate(config)
    except BcclError as error:
        sentence = str(error)
        named = {key, key.rpartition(".")[2]}
        assert any(name in sentence for name in named), sentence
        assert "\n" not in sentence
        assert len(sentence) < 600, sentence
        return
    for made in everything_made_of(method, key):
        made(config)


@pytest.mark.parametrize(("method", "key"), KEYS)
def test_every_extreme_value_of_every_key_is_refused_by_name_or_works(method, key):
    bound = bounds(method)[key]
    values = [*EXTREMES, ENDLESS]
    refused = [value for value in values + edges(bound) if not bound.allows(value)]
    # Of what is refused one value of each type; of what is allowed, which goes the whole way, the
    # ends of the bound and some of the others.
    for value in {type(value): value for value in refused}.values():
        check(method, key, value)
    others = [value for value in values if bound.allows(value)]
    for value in edges(bound) + others[:: len(others) // 4 or 1]:
        if bound.allows(value):
            check(method, key, value)


@pytest.mark.parametrize("method", METHODS)
def test_every_extreme_value_is_shown_in_one_short_line(method):
    own = [value for bound in bounds(method).values() for value in edges(bound)]
    for value in (*EXTREMES, ENDLESS, *own):
        assert "\n" not in shown(value)
        assert len(shown(value)) <= 80


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(EXTREMES),
    lambda inner: (
        st.lists(inner, max_size=5).map(tuple) | st.dictionaries(st.sampled_from("ab"), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KEYS), ANYTHING)
def test_anything_at_all_is_refused_by_name_or_works(key, value):
    check(*key, value)


@pytest.mark.parametrize("method", METHODS)
def test_every_key_of_numbers_has_bounds_of_its_own(method):
    stated = BOUNDS.keys() | {f"method.{key}" for key in methods.bounds(method)}
    flat = default.flatten(default.get_config(method))
    numbers = {k for k, v in flat.items() if not isinstance(v, bool | str)}
    assert numbers <= stated, f"write bounds of {sorted(numbers - stated)}, as allowed.py says"
    assert BOUNDS.keys() <= flat.keys(), "bounds of keys that the config does not have"
    for key, bound in bounds(method).items():
        assert bound.allows(flat[key]), f"the default of {key} is no {bound}"
        assert isinstance(bound, Switch) == isinstance(flat[key], bool), key
        assert isinstance(bound, Text | Choice | Joined) == isinstance(flat[key], str), key


def test_a_seed_from_a_clock_is_a_sentence():
    config = shipped_config("digits_lt")
    config.data.subset_seed = 1764210000000
    with pytest.raises(ConfigError, match=r"config.data.subset_seed is 1764210000000; it must be"):
        validate(config)


@pytest.mark.parametrize("name", ["seed", "data.subset_seed"])
def test_no_two_seeds_that_are_allowed_are_the_same_to_jax(name):
    high = BOUNDS[name].high
    keys = [jax.random.key_data(jax.random.key(seed)).tolist() for seed in (0, 1, high - 1, high)]
    assert len({tuple(key) for key in keys}) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer.lr": 0.1}, "no key 'optimizer.lr'; did you mean config.optimizer.learning"),
        ({"method.temprature": 0.1}, "'method.temprature'; did you mean config.method.temperature"),
        ({"epochs": "5"}, "config.epochs is '5'; it must be a whole number from 1 to 1,000,000"),
        ({"epochs": True}, "config.epochs is True; it must be a whole number"),
        ({"augment.mean": 0.5}, "config.augment.mean is 0.5; it must be 3 values, each a number"),
        ({"augment.mean": (123.7, 116.3, 103.5)}, "each a number from 0 to 1"),
        ({"data.resident": 1}, "config.data.resident is 1; it must be True or False"),
        ({"augment": 3}, "config.augment is 3; it must be the group of keys"),
        ({"data": None}, "config.data is None; it must be the group of keys"),
        ({"method": None}, "config.method is None; it must be the group of keys"),
        ({"optimizer.step_epochs": (60, 30)}, "each above the one before|above the one before"),
        ({"optimizer.schedule": "step", "epochs": 100}, r"step_epochs is \(160, 180\) in a run"),
        ({"method.preset": "eq9", "method.weight_contrastive": 0.0, "method.weight_centroid": 0.0,
          "method.weight_classification": 0.0}, "nothing would be trained"),
    ],
)  # fmt: skip
def test_what_a_config_file_sets_wrongly_is_said_with_the_mend(change, message):
    config = default.get_config()
    for key, value in change.items():
        *groups, last = key.split(".")
        group = functools.reduce(lambda inner, part: inner[part], groups, config)
        with group.ignore_type():
            group[last] = value
    with pytest.raises(ConfigError, match=message):
        validate(config)


def test_a_config_without_a_key_is_said():
    config = default.get_config()
    del config.eval.many_above
    with pytest.raises(ConfigError, match="lacks the key eval.many_above"):
        validate(config)


@pytest.mark.parametrize("config", [None, 3, {}, {"method": {"name": "bccl"}}])
def test_what_is_no_config_is_said(config):
    with pytest.raises(ConfigError, match="the config is .*; it must be what bccl_jax.config.get"):
        validate(config)


def test_a_frozen_config_is_as_good():
    config = shipped_config("folder")
    frozen_config = ml_collections.FrozenConfigDict(config)
    validate(frozen_config)
    assert sized(frozen_config, 646) == sized(config, 646)


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("data.name", "cifar1O", "cifar10"),
        ("model.backbone", "ResNet-32", "resnet32"),
        ("optimizer.schedule", "cosin", "cosine"),
        ("method.clustering", "k-means", "kmeans"),
    ],
)
def test_a_word_that_is_none_of_a_few_is_told_the_nearest(key, value, meant):
    config = default.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ConfigError, match=f"did you mean {meant}\\?"):
        validate(config)


def test_a_value_is_shown_in_one_short_line():
    assert shown("a\nb") == r"'a\nb'"
    assert shown(10**5000) == "a int of thousands of digits"
    assert len(shown("x" * 10_000)) <= 80


def test_what_cannot_fit_a_device_is_refused_before_it_is_made(monkeypatch):
    from bccl_jax.training import memory
    from bccl_jax.training.assemble import assemble

    run = assemble(tiny_config())
    monkeypatch.setattr(memory, "device_memory", lambda: 1000)
    with pytest.raises(ConfigError, match="would take .* GiB of a device; lower config"):
        check_memory(run.config, run.method, run.abstract_state, run.state_shardings, (8, 8, 3))
    monkeypatch.setattr(memory, "device_memory", lambda: None)
    check_memory(run.config, run.method, run.abstract_state, run.state_shardings, (8, 8, 3))
