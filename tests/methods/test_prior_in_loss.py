"""Post-hoc adjustment is for logits that have the class prior, and for no others."""

import pytest

from bccl_jax import methods
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from tests.tiny import tiny_config


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("cross_entropy", {}, False),
        ("logit_adjustment", {}, True),
        ("balanced_softmax", {}, True),
        ("ldam_drw", {}, False),
        ("crt", {}, False),
        ("lws", {}, False),
        ("tau_norm", {}, False),
        ("proco", {}, True),
        ("paco", {}, True),
        ("gpaco", {}, True),
        ("glmc", {}, False),
        ("meta_saug", {}, False),
        ("scl", {}, False),
        ("bcl", {}, True),
        ("gcl", {}, False),
        ("concutmix", {}, True),
        ("concutmix", {"prior_factor": 0.0}, False),
        ("bccl", {}, True),
        ("bccl", {"logit_compensation": False}, False),
        ("cuda", {}, False),
        ("cuda_balanced_softmax", {}, True),
        ("cuda_ldam_drw", {}, False),
        ("cuda_bcl", {}, True),
        ("cuda_bccl", {}, True),
        ("cuda_bccl", {"logit_compensation": False}, False),
    ],
)
def test_each_method_says_whether_its_loss_has_the_prior(name, changes, expected):
    config = tiny_config(name)
    config.method.update(changes)
    assert methods.create(config.method).prior_in_loss is expected
    validate(config)
    config.eval.logit_adjustment = 1.0
    if not expected:
        validate(config)
        return
    with pytest.raises(
        ConfigError, match=rf"logit_adjustment is 1, .* {name} run .* twice"
    ) as told:
        validate(config)
    assert "\n" not in str(told.value)


def test_every_method_is_known_here():
    (known,) = (
        mark.args[1]
        for mark in test_each_method_says_whether_its_loss_has_the_prior.pytestmark
        if mark.args[0][0] == "name"
    )
    assert sorted({name for name, *_ in known}) == methods.names()


@pytest.mark.parametrize("call", [train_and_evaluate, evaluate_checkpoints])
def test_it_is_refused_before_anything_is_read_or_written(tmp_path, call):
    config = tiny_config("logit_adjustment")
    config.eval.logit_adjustment = -0.5
    with pytest.raises(ConfigError, match="corrected twice"):
        call(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
