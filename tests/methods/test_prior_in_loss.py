"""Post-hoc adjustment is for logits that have the class prior, and for no others."""

import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.methods.seam.prior import carried_prior
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from tests.tiny import tiny_config

# Methods whose loss has no prior, and whose classifier is made on balanced classes in the end.
BALANCED = ("crt", "lws", "tau_norm", "mislas", "kcl", "tsc", "dro_lt")


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
        ("disalign", {}, False),
        ("mislas", {}, False),
        ("kcl", {}, False),
        ("tsc", {}, False),
        ("proco", {}, True),
        ("paco", {}, True),
        ("gpaco", {}, True),
        ("glmc", {}, False),
        ("meta_saug", {}, False),
        ("scl", {}, False),
        ("bcl", {}, True),
        ("gcl", {}, False),
        ("sbcl", {}, False),
        ("dro_lt", {}, False),
        ("concutmix", {}, True),
        ("concutmix", {"prior_factor": 0.0}, False),
        ("bccl", {}, True),
        ("bccl", {"logit_compensation": False}, False),
        ("bccl_plus", {}, True),
        ("bccl_plus", {"prior_factor": 0.0}, False),
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
    if not expected and name not in BALANCED:
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


COUNTS = np.array([500, 60, 12, 2])


@pytest.mark.parametrize(
    ("name", "changes", "sampler", "expected"),
    [
        ("cross_entropy", {}, "instance_balanced", COUNTS),
        ("cross_entropy", {}, "square_root", np.sqrt(COUNTS)),
        ("cross_entropy", {}, "class_balanced", np.ones(4)),
        ("cross_entropy", {}, "reversed", 1 / COUNTS),
        # The run ends on balanced classes.
        ("cross_entropy", {}, "progressive", np.ones(4)),
        ("balanced_softmax", {}, "instance_balanced", np.ones(4)),
        # Balanced twice over: what is missing in the images is added to the logits all the same.
        ("balanced_softmax", {}, "class_balanced", 1 / COUNTS),
        ("concutmix", {"prior_factor": 0.75}, "instance_balanced", COUNTS**0.25),
        ("crt", {}, "instance_balanced", np.ones(4)),
        ("crt", {"refit_sampler": "square_root"}, "instance_balanced", np.sqrt(COUNTS)),
        ("kcl", {}, "instance_balanced", np.ones(4)),
        ("kcl", {"refit_sampler": "instance_balanced"}, "class_balanced", COUNTS),
        ("tsc", {}, "instance_balanced", np.ones(4)),
        ("tsc", {"refit_sampler": "square_root"}, "instance_balanced", np.sqrt(COUNTS)),
        ("tau_norm", {}, "instance_balanced", np.ones(4)),
        ("tau_norm", {"tau": 0.0}, "instance_balanced", COUNTS),
        # n^(1 - 1.2): its weights more than make up for the prior.
        ("disalign", {}, "instance_balanced", COUNTS**-0.2),
        ("disalign", {"weighting": 0.0}, "instance_balanced", COUNTS),
        ("mislas", {}, "instance_balanced", np.ones(4)),
        # n / (1 - b^n), of images by the inverse of their class's effective number.
        ("gcl", {}, "instance_balanced", COUNTS / (1 - 0.9999**COUNTS)),
        ("gcl", {"refit_epochs": 0}, "square_root", np.sqrt(COUNTS)),
        ("lws", {"start_from": "run"}, "instance_balanced", np.ones(4)),
        ("disalign", {"start_from": "run"}, "instance_balanced", COUNTS**-0.2),
        # (1 - b) / (1 - b^n) of n images, and the images of each class as they are.
        ("ldam_drw", {"beta": 0.9}, "instance_balanced", COUNTS * 0.1 / (1 - 0.9**COUNTS)),
        ("ldam_drw", {"deferred": 1.0}, "instance_balanced", COUNTS),
        ("meta_saug", {"beta": 0.9}, "instance_balanced", COUNTS * 0.1 / (1 - 0.9**COUNTS)),
        ("sbcl", {"beta": 0.9}, "instance_balanced", COUNTS * 0.1 / (1 - 0.9**COUNTS)),
        ("sbcl", {"beta": 0.0}, "instance_balanced", COUNTS),
        ("dro_lt", {}, "instance_balanced", np.ones(4)),
        ("dro_lt", {"refit_sampler": "instance_balanced"}, "class_balanced", COUNTS),
        # Half of what it mixes is drawn by n^(1 - 1/2), and labels weigh n^(-1).
        (
            "glmc",
            {"resampling": 0.5, "label_weighting": 1.0},
            "instance_balanced",
            (COUNTS / COUNTS.sum() + np.sqrt(COUNTS) / np.sqrt(COUNTS).sum()) / COUNTS,
        ),
    ],
)
def test_the_prior_that_logits_carry(name, changes, sampler, expected):
    config = tiny_config(name)
    config.method.update(changes)
    found = carried_prior(methods.create(config.method), 4, sampler, COUNTS)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)


def test_a_sampler_that_balances_is_told_too():
    config = tiny_config("cross_entropy")
    config.data.sampler = "class_balanced"
    config.eval.logit_adjustment = 0.5
    with pytest.raises(ConfigError, match="ends up on balanced classes already, .* twice"):
        validate(config)
    config.data.sampler = "square_root"
    validate(config)


@pytest.mark.parametrize("call", [train_and_evaluate, evaluate_checkpoints])
def test_it_is_refused_before_anything_is_read_or_written(tmp_path, call):
    config = tiny_config("logit_adjustment")
    config.eval.logit_adjustment = -0.5
    with pytest.raises(ConfigError, match="corrected twice"):
        call(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
