"""`bccl_jax.train`, but for the training itself."""

import pytest

import bccl_jax
from bccl_jax.errors import ConfigError
from bccl_jax.training import called
from tests.tiny import ROOT, tiny_config


@pytest.fixture
def asked(monkeypatch):
    found = []
    monkeypatch.setattr(called, "train_and_evaluate", lambda *given: found.append(given))
    return found


def test_a_config_file_is_named_and_its_keys_are_changed(asked):
    changes = {"epochs": 7, "optimizer.learning_rate": 0.25, "augment.mean": (0.5, 0.5, 0.5)}
    path = ROOT / "configs" / "digits_lt.py"
    bccl_jax.train(f"{path}:cross_entropy", "run", changes)
    bccl_jax.train(path, "run")
    (config, workdir, observe, callbacks, checkpoint), (usual, *_) = asked
    assert (workdir, observe, callbacks, checkpoint) == ("run", None, (), None)
    assert (config.method.name, usual.method.name) == ("cross_entropy", "bccl")
    assert (config.epochs, config.optimizer.learning_rate) == (7, 0.25)
    assert config.augment.mean == (0.5, 0.5, 0.5)


def test_a_config_is_taken_as_it_is_and_not_changed(asked):
    config = tiny_config()
    bccl_jax.train(config, "run", {"epochs": 7})
    assert asked[0][0].epochs == 7
    assert config.epochs == 4


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ("nowhere.py", {}, "config=nowhere.py names no file"),
        (3, {}, "config is 3; it must be the path of a config file"),
        (tiny_config(), {"epoch": 3}, "the config has no key 'epoch'; did you mean config.epochs"),
        (tiny_config(), {"method.gamma": 3}, "no key 'method.gamma'"),
        (tiny_config(), {"epochs": "many"}, "config.epochs is 'many', which is not a value of it"),
    ],
)
def test_what_cannot_be_is_told(asked, config, changes, message):
    with pytest.raises(ConfigError, match=message):
        bccl_jax.train(config, "run", changes)
    assert not asked
