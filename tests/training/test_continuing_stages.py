"""A stage that continues the one before it: one optimizer, one schedule, one sampler."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base
from bccl_jax.training.loop import train_and_evaluate
from tests.killed import check_resumed
from tests.registered import registered
from tests.tiny import differing, tiny_config

pytestmark = pytest.mark.usefixtures(
    "_hardly_optimized", "_no_picture", "_two_layers", "_registered"
)


@dataclasses.dataclass(frozen=True)
class Halved(base.Method):
    """Cross-entropy in one stage, or in two of which the second continues the first."""

    unfit: ClassVar = {"optimizer.sam_rho": "half of it is enough"}

    first: int = 0

    def stages(self, epochs):
        """See `base.Method.stages`."""
        if not self.first:
            return super().stages(epochs)
        return base.Stage(self.first), base.Stage(epochs - self.first, continues=True)

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        seen = {"stage": jnp.float32(progress.stage), "seen_rate": progress.learning_rate}
        return cross_entropy_loss(logits, batch.labels), (seen, state, batch_stats)


@pytest.fixture(scope="module")
def _registered():
    """Makes "halved" a method, for this module alone."""
    with registered(halved=Halved):
        yield


def small_config(**changes):
    config = tiny_config("halved")
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.eval.every_epochs = 4
    # From one sampler to another over the epochs of a stage.
    config.data.sampler = "progressive"
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def two(_two_layers, _registered, shared_assemblies, tmp_path_factory):
    config = small_config(**{"method.first": 2})
    return train_and_evaluate(config, tmp_path_factory.mktemp("two") / "run")


def test_it_trains_what_one_stage_trains(two, tmp_path):
    one = train_and_evaluate(small_config(), tmp_path / "one")
    assert differing(one.state, two.state) == []
    rates = [[record["train"]["learning_rate"] for record in run.records] for run in (one, two)]
    assert rates[0] == rates[1]
    assert [record["train"]["stage"] for record in two.records] == [0, 0, 1, 1]
    assert [record["stage"] for record in two.records] == [1, 1, 2, 2]


def test_a_loss_sees_the_learning_rate_of_its_step(two):
    # Two steps of warm-up to 0.1, then a cosine over the other six; means over each epoch's two.
    rates = [0.05, 0.1, *(0.05 * (1 + np.cos(np.pi * step / 6)) for step in range(6))]
    np.testing.assert_allclose(
        [record["train"]["seen_rate"] for record in two.records],
        np.reshape(rates, (4, 2)).mean(axis=1),
        rtol=1e-5,
    )


# The last step of the first stage, the end of its epoch, and the first step of the second one.
@pytest.mark.parametrize("call", [5, 6, 7])
def test_a_run_killed_around_the_change_ends_where_the_whole_one_ends(two, tmp_path, call):
    config = small_config(**{"method.first": 2, "checkpoint.every_steps": 1})
    check_resumed(two, config, tmp_path / "run", call)


def test_a_warm_up_may_pass_the_change():
    validate(small_config(**{"method.first": 1, "optimizer.warmup_epochs": 3}))
    config = small_config(**{"method.first": 1, "optimizer.warmup_epochs": 4})
    with pytest.raises(ConfigError, match="warmup_epochs is 4 in a run of 4 epochs"):
        validate(config)


def test_after_a_stage_of_no_epochs_it_begins_at_the_first():
    whole = base.scheduled((base.Stage(0), base.Stage(3, continues=True), base.Stage(2)))
    assert [stage.epochs for stage in whole] == [3, 2]


@pytest.mark.parametrize(
    "own", [{"anew": ("backbone",)}, {"sampler": "reversed"}, {"optimizer": {"momentum": 0.5}}]
)
def test_what_continues_has_nothing_of_its_own(own):
    with pytest.raises(ConfigError, match=f"names {next(iter(own))}, which would be of its own"):
        base.Stage(2, continues=True, **own)


def test_an_option_that_a_method_cannot_go_with_is_refused():
    config = small_config(**{"optimizer.sam_rho": 0.05})
    with pytest.raises(
        ConfigError, match="config.optimizer.sam_rho is 0.05, but half of it is enough; leave it at"
    ):
        validate(config)


def test_a_refusal_of_no_key_is_told(monkeypatch):
    monkeypatch.setattr(Halved, "unfit", {"optimizer.sam_ro": "it is not"})
    with pytest.raises(ConfigError, match="'optimizer.sam_ro', which is no key.*did you mean"):
        validate(small_config())
