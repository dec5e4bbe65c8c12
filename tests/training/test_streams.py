"""A method that is fed by a second sampler beside the first one."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.methods import base
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import train_and_evaluate
from tests.killed import check_resumed
from tests.registered import registered
from tests.tiny import differing, tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers", "_registered")


@dataclasses.dataclass(frozen=True)
class TwoStreams(base.Method):
    """Cross-entropy of two batches, of which the second one has every class equally often."""

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return ("class_balanced",)

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        (other,) = batch.others
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        loss = cross_entropy_loss(logits, batch.labels)
        logits, batch_stats = apply(params, base.classify, other.views[0], batch_stats=batch_stats)
        metrics = {
            "head": jnp.mean(1.0 * (batch.labels < 3)),
            "head_of_other": jnp.mean(1.0 * (other.labels < 3)),
            "rows": jnp.float32(len(batch.labels) + len(other.labels)),
        }
        return loss + cross_entropy_loss(logits, other.labels), (metrics, state, batch_stats)


@pytest.fixture(scope="module")
def _registered():
    """Makes "two_streams" a method, for this module alone."""
    with registered(two_streams=TwoStreams):
        yield


def small_config(**changes):
    config = tiny_config("two_streams")
    config.model.backbone = "two_layers"
    config.batch_size = 80
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def whole(_two_layers, _registered, shared_assemblies, tmp_path_factory):
    return train_and_evaluate(small_config(), tmp_path_factory.mktemp("streams") / "run")


def test_the_second_batch_has_classes_equally_often(whole):
    run = assemble(small_config())
    share = run.class_counts[:3].sum() / run.class_counts.sum()
    for record in whole.records:
        assert record["train"]["rows"] == 160
        assert record["train"]["head_of_other"] == pytest.approx(0.3, abs=0.005)
        assert record["train"]["head"] == pytest.approx(share, abs=0.03)
    assert share > 0.6
    losses = [record["train"]["loss"] for record in whole.records]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "changes", [{"data.resident": False}, {"engine": "scan"}, {"accumulation": 2}]
)
def test_it_is_fed_in_every_way(whole, tmp_path, changes):
    other = train_and_evaluate(small_config(**changes), tmp_path / "run")
    for name in ("head", "head_of_other"):
        np.testing.assert_allclose(
            [record["train"][name] for record in other.records],
            [record["train"][name] for record in whole.records],
            rtol=1e-5,
        )
    if "data.resident" in changes:
        assert differing(whole.state, other.state) == []


def test_a_run_killed_in_mid_epoch_ends_where_the_whole_one_ends(whole, tmp_path):
    config = small_config(**{"checkpoint.every_steps": 1})
    check_resumed(whole, config, tmp_path / "run", 7)
