"""A method's own recipe in place of the harness's: what it changes, and where there is none."""

import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config.published import method_recipes
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from tests.tiny import shipped_config

RECIPES = [(name, kind) for name in methods.names() for kind in method_recipes(name)]
FILES = {
    "cifar": "cifar100_lt",
    "cifar10": "cifar10_lt",
    "photographs": "imagenet_lt",
    "inaturalist2018": "inaturalist2018",
}


def plain(value):
    """As a flattened config has it."""
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("method", "kind"), RECIPES)
def test_it_changes_what_it_names_and_nothing_else(method, kind):
    fair = default.flatten(shipped_config(FILES[kind], method))
    published = shipped_config(FILES[kind], f"{method},published")
    validate(published)
    published = default.flatten(published)
    assert published.keys() == fair.keys()
    recipe = dict(method_recipes(method)[kind])
    differing = {key for key in fair if fair[key] != published[key]}
    assert differing <= recipe.keys()
    for key, value in recipe.items():
        assert published[key] == plain(value), key


@pytest.mark.parametrize(("method", "kind"), RECIPES)
def test_the_fair_recipe_is_the_harness_but_for_the_method(method, kind):
    fair = default.flatten(shipped_config(FILES[kind], method))
    harness = default.flatten(shipped_config(FILES[kind], "cross_entropy"))
    differing = {
        key
        for key in fair.keys() & harness.keys()
        if fair[key] != harness[key] and not key.startswith("method.")
    }
    assert differing == set()
    if not kind.startswith("cifar"):
        # What is the method's own it has on photographs in either recipe.
        for key, value in method_recipes(method)[kind].items():
            if key.startswith("method."):
                assert fair[key] == plain(value), key


def test_a_contrasted_method_without_a_recipe_has_what_bccl_has_on_photographs():
    scl, bccl = (shipped_config("imagenet_lt", name).method for name in ("scl", "bccl"))
    for key in ("temperature", "projector_hidden", "projector_dim", "classifier"):
        assert scl[key] == bccl[key]


@pytest.mark.parametrize(
    ("file", "variant", "message"),
    [
        ("digits_lt", "bcl,published", "data sets that they trained on: cifar10_lt.py.*write bcl"),
        ("tiny_imagenet_lt", "bcl,published", "data sets that they trained on"),
        ("folder", "bcl,published", "data sets that they trained on"),
        ("imagenet_lt", "gcl,published", "no published recipe for photographs, only for cifar"),
        ("inaturalist2018", "paco,published", "no published recipe for inaturalist2018, only for"),
        ("cifar100_lt", "published", "published is a preset, written"),
        ("imagenet_lt", "published", "'published' is a preset of a method"),
        ("cifar100_lt", "scl,published", "'scl,published' names several things"),
        ("imagenet_lt", "scl,published", "'published' is no preset of 'scl'"),
        ("cifar100_lt", "bcl,publishd", r"did you mean bcl,published\?"),
    ],
)
def test_where_there_is_none_it_is_refused(file, variant, message):
    with pytest.raises(ConfigError, match=message):
        shipped_config(file, variant)
