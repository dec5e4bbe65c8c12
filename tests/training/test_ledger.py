import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.errors import NonFiniteLossError
from bccl_jax.training.ledger import Ledger, position


def metrics(losses, gradient_norms=None, **others):
    losses = jnp.asarray(losses, jnp.float32)
    norms = jnp.ones_like(losses) if gradient_norms is None else jnp.asarray(gradient_norms)
    rates = 0.1 * losses
    return {"loss": losses, "gradient_norm": norms, "learning_rate": rates, **others}


class Skipped:
    def __init__(self):
        self.seen = []

    def add(self, broken):
        self.seen.append(broken.tolist())


def test_metrics_are_read_one_chunk_late_and_averaged():
    ledger = Ledger(0, 0, {}, None)
    ledger.add(metrics([4.0, 2.0]))
    assert (ledger.steps, ledger.newly_read) == (2, 0)
    assert np.isnan(ledger.last_loss)
    ledger.add(metrics(3.0))
    assert (ledger.steps, ledger.newly_read, ledger.last_loss) == (3, 2, 2.0)
    means = ledger.means()
    assert (ledger.newly_read, ledger.last_loss) == (1, 3.0)
    assert means["loss"] == 3.0
    # Of the learning rate the last one.
    assert means["learning_rate"] == pytest.approx(0.3)


def test_quarters_of_an_epoch_are_averaged_apart():
    ledger = Ledger(0, 0, {}, None)
    ledger.add(metrics([1.0, 3.0, 5.0, 7.0], cosine=jnp.arange(4.0)))
    ledger.add(metrics([2.0, 4.0], cosine=jnp.array([6.0, 6.0])))
    assert ledger.quarters(("loss", "cosine")) == {
        "loss": [2.0, 6.0, 2.0, 4.0],
        "cosine": [0.5, 2.5, 6.0, 6.0],
    }
    assert ledger.quarters(()) == {}


def test_an_epoch_of_few_steps_has_as_many_quarters():
    ledger = Ledger(0, 0, {}, None)
    ledger.add(metrics([1.0, 3.0, 5.0]))
    assert ledger.quarters(("loss",)) == {"loss": [1.0, 3.0, 5.0]}


def test_what_only_some_steps_have_is_not_cut_in_quarters():
    unfinished = {"loss": [5.0], "gradient_norm": [1.0], "learning_rate": [0.1]}
    ledger = Ledger(3, 30, unfinished, None)
    ledger.add(metrics(2.0, cosine=jnp.float32(0.5)))
    assert ledger.quarters(("loss", "cosine", "unheard-of")) == {"loss": [5.0, 2.0]}


def test_an_epoch_goes_on_from_the_metrics_of_its_first_steps():
    unfinished = {"loss": [5.0, 5.0], "gradient_norm": [1.0, 1.0], "learning_rate": [0.1, 0.2]}
    ledger = Ledger(3, 30, unfinished, None)
    assert ledger.steps == 2
    ledger.add(metrics(2.0))
    assert ledger.read_all()["loss"] == [5.0, 5.0, 2.0]
    assert unfinished["loss"] == [5.0, 5.0]


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (metrics([1.0, np.nan]), "the loss is not finite in epoch 3 at step 23"),
        (metrics([1.0, 1.0], [np.inf, 1.0]), "the gradient is not finite in epoch 3 at step 22"),
    ],
)
def test_the_first_step_that_is_not_finite_is_named(chunk, message):
    ledger = Ledger(2, 20, {}, None)
    ledger.add(metrics(1.0))
    ledger.add(chunk)
    with pytest.raises(NonFiniteLossError, match=message):
        ledger.read_all()


def test_broken_photographs_are_told_and_are_no_metric():
    skipped = Skipped()
    ledger = Ledger(0, 0, {}, skipped)
    ledger.add(metrics(1.0, broken=jnp.array([-1, 7])))
    ledger.add(metrics(1.0, broken=jnp.array([-1, -1])))
    assert "broken" not in ledger.means()
    assert skipped.seen == [[-1, 7], [-1, -1]]


LOSSES = [9.0, 8.0, 7.0, 6.0, 5.0]


@pytest.mark.parametrize(
    ("done", "losses", "epoch", "skip"),
    [
        (0, [], 0, 0),
        (5, [], 1, 0),
        (10, [], 2, 0),
        (8, LOSSES[:3], 1, 3),
        # The end of the second epoch could not be evaluated.
        (10, LOSSES, 1, 5),
    ],
)
def test_an_epoch_goes_on_where_its_checkpoint_was_written(done, losses, epoch, skip):
    unfinished = {"loss": losses, "accuracy": losses} if losses else {}
    assert position(done, 5, unfinished) == (epoch, skip, unfinished)


def test_metrics_of_steps_after_the_checkpoints_are_left_out():
    # Of five steps an epoch the eighth step is the third of the second epoch.
    assert position(8, 5, {"loss": LOSSES}) == (1, 3, {"loss": LOSSES[:3]})
