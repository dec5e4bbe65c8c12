import json

import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config import flatten, unflatten
from bccl_jax.errors import ConfigError
from tests.tiny import ROOT, shipped_config

CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


def kinds(config):
    return {key: type(value) for key, value in config.items()}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("method", methods.names())
def test_unflatten_gives_back_every_shipped_config(name, method):
    config = shipped_config(name, method)
    found = unflatten(json.loads(json.dumps(flatten(config))))
    assert found == config
    for part in (None, "augment", "data", "method", "optimizer"):
        mine, theirs = (c if part is None else c[part] for c in (found, config))
        assert kinds(mine) == kinds(theirs)


def test_what_was_changed_comes_back():
    config = default.get_config()
    config.method.weight_centroid = 0.5
    config.optimizer.step_epochs = ()
    config.data.imbalance = 10
    found = unflatten(flatten(config))
    assert found == config
    assert (found.method.weight_centroid, found.optimizer.step_epochs) == (0.5, ())
    assert isinstance(found.data.imbalance, float)


def test_a_key_younger_than_the_run_has_its_default():
    flat = flatten(default.get_config())
    del flat["data.max_broken"]
    assert unflatten(flat) == default.get_config()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.colour": 1}, "no key 'data.colour'"),
        ({"method.name": "bcll"}, "no method is called 'bcll'"),
        ({"method.name": "cross_entropy"}, "no key 'method.centroid_loss'"),
        ({"epochs": "many"}, "config.epochs is 'many'"),
        ({"augment.mean": 0.5}, "config.augment.mean is 0.5"),
    ],
)
def test_what_is_no_config_is_refused(change, message):
    flat = {**flatten(default.get_config()), **change}
    with pytest.raises(ConfigError, match=message):
        unflatten(flat)
    with pytest.raises(ConfigError, match="no method"):
        unflatten({})
