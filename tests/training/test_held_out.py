"""A method with a stream of a balanced part that is held out of what it trains on."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss, post_hoc_offset
from bccl_jax.methods import base
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from tests.killed import Killed, act_at, check_resumed, kill
from tests.registered import registered
from tests.tiny import differing, tiny_config
from tests.training.test_photographs import tiny_folder_config, write_pictures

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers", "_registered")


@dataclasses.dataclass(frozen=True)
class WithPart(base.Method):
    """Cross-entropy of two batches, the second one of a small balanced part."""

    views = ("plain",)

    per_class: int = 8
    held_out: bool = True
    sampler: str = "class_balanced"

    @property
    def streams(self):
        """See `base.Method.streams`."""
        return (base.BalancedSubset(self.per_class, self.held_out, self.sampler),)

    def init(self, key, context):
        """The class counts that a loss would see."""
        return jnp.asarray(context.class_counts)

    def loss(self, apply, params, batch, state, key, progress):
        """See `base.Method.loss`."""
        (other,) = batch.others
        logits, batch_stats = apply(params, base.classify, batch.views[0])
        loss = cross_entropy_loss(logits, batch.labels)
        logits, batch_stats = apply(params, base.classify, other.views[0], batch_stats=batch_stats)
        metrics = {
            "pixels": jnp.mean(batch.views[0]),
            "pixels_of_part": jnp.mean(other.views[0]),
            "labels_of_part": jnp.mean(1.0 * other.labels),
            "indices": jnp.mean(1.0 * batch.indices),
            "indices_of_part": jnp.mean(1.0 * other.indices),
        }
        return loss + cross_entropy_loss(logits, other.labels), (metrics, state, batch_stats)


@dataclasses.dataclass(frozen=True)
class OnPhotographs(WithPart):
    """The same of photographs, which have no plain view."""

    views = ("strong",)


@pytest.fixture(scope="module")
def _registered():
    """Makes both methods, for this module alone."""
    with registered(with_part=WithPart, on_photographs=OnPhotographs):
        yield


def small_config(**changes):
    config = tiny_config("with_part")
    config.model.backbone = "two_layers"
    config.batch_size = 80
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def whole(_two_layers, _registered, shared_assemblies, tmp_path_factory):
    return train_and_evaluate(small_config(), tmp_path_factory.mktemp("part") / "run")


def check_images(records, run):
    """That the steps of every epoch had the images that `run.order` names."""
    settings, train = run.config.augment, run.dataset.train
    for epoch, record in enumerate(records):
        first, part = np.moveaxis(run.order(epoch).reshape(-1, 2), 1, 0)
        for behind, indices in (("", first), ("_of_part", part)):
            # Which images these are is told with them.
            expected = pytest.approx(np.mean(indices), rel=1e-6)
            assert record["train"][f"indices{behind}"] == expected
            pixels = (train.images[indices] / 255 - settings.mean) / settings.std
            assert record["train"][f"pixels{behind}"] == pytest.approx(np.mean(pixels), abs=1e-4)
        assert record["train"]["labels_of_part"] == pytest.approx(np.mean(train.labels[part]))


def test_every_step_has_images_of_its_part_and_the_losses_the_counts_without_it(whole, capsys):
    run = assemble(small_config())
    check_images(whole.records, run)
    counts = np.bincount(run.dataset.train.labels)
    assert counts.min() == 5
    trained = np.maximum(counts - 8, 1)
    np.testing.assert_array_equal(run.classifier.context.class_counts, trained)
    np.testing.assert_array_equal(whole.state.method, trained)
    # What is reported of a class is by its images in the data set.
    np.testing.assert_array_equal(whole.class_counts, counts)
    assert run.steps_per_epoch == run.order.steps == trained.sum() // 80
    assert whole.records[-1]["step"] == 4 * run.steps_per_epoch
    assert whole.records[-1]["train"]["loss"] < whole.records[0]["train"]["loss"]
    train_and_evaluate(small_config(), whole.workdir)
    assert f"({counts.sum() - trained.sum()} held out by with_part)" in capsys.readouterr().out


def test_its_directory_alone_has_the_same_prior(whole):
    config = small_config()
    found = evaluate_checkpoints(config, whole.workdir, "last")["last"].evaluation
    assert found.record() == whole.last
    config.eval.logit_adjustment = 1.0
    adjusted = evaluate_checkpoints(config, whole.workdir, "last")["last"].evaluation
    run = assemble(config)
    offset = post_hoc_offset(np.maximum(run.class_counts - 8, 1), 1.0)
    predictions, *_ = run.classifier.predict(
        whole.state, run.dataset.test.images, offset, offset[None]
    )
    np.testing.assert_array_equal(adjusted.correct, predictions == run.dataset.test.labels)
    # Corrected for test images of balanced classes it is the same.
    uniform = whole.last["test_priors"]["uniform"]
    assert uniform["as_is"] == pytest.approx(whole.last["all"])
    assert uniform["corrected"] == pytest.approx(adjusted.shots["all"])
    assert uniform["corrected"] != uniform["as_is"]


@pytest.mark.parametrize(
    "changes", [{"data.resident": False}, {"engine": "scan"}, {"accumulation": 2}]
)
def test_it_is_fed_in_every_way(whole, tmp_path, changes):
    config = small_config(**changes)
    other = train_and_evaluate(config, tmp_path / "run")
    check_images(other.records, assemble(config))
    if "data.resident" in changes:
        assert differing(whole.state, other.state) == []


def test_a_run_killed_in_mid_epoch_ends_where_the_whole_one_ends(whole, tmp_path):
    config = small_config(**{"checkpoint.every_steps": 1})
    check_resumed(whole, config, tmp_path / "run", 6)


def test_a_part_that_stays_in_leaves_epochs_and_counts_as_they_are(tmp_path):
    config = small_config(**{"method.held_out": False, "epochs": 1, "eval.every_epochs": 1})
    config.optimizer.warmup_epochs = 0
    run = assemble(config)
    result = train_and_evaluate(config, tmp_path / "run")
    check_images(result.records, run)
    np.testing.assert_array_equal(result.state.method, run.class_counts)
    assert run.steps_per_epoch == run.class_counts.sum() // 80


def test_photographs_are_held_out_too(tmp_path, monkeypatch):
    write_pictures(tmp_path / "photos", (20, 12, 8))
    config = tiny_folder_config(tmp_path / "photos", "on_photographs")
    config.model.backbone = "two_layers"
    config.method.per_class = 4
    config.epochs, config.eval.every_epochs = 2, 2
    config.optimizer.warmup_epochs = 0
    whole = train_and_evaluate(config, tmp_path / "whole")
    # Of 7, 10 and 16; an epoch has 21 // 8 steps.
    assert whole.state.method.tolist() == [3, 6, 12]
    assert whole.records[-1]["step"] == 4
    # Every class equally often, up to rounding: 16 of 3 classes.
    for record in whole.records:
        assert record["train"]["labels_of_part"] == pytest.approx(1, abs=0.1)
    config.checkpoint.every_steps = 1
    with monkeypatch.context() as patch:
        act_at(patch, 2, kill)
        with pytest.raises(Killed):
            train_and_evaluate(config, tmp_path / "run")
    resumed = train_and_evaluate(config, tmp_path / "run")
    assert differing(whole.state, resumed.state) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method.sampler": "balanced"}, "asks for a stream of 'balanced'; there are instance_"),
        ({"method.per_class": 0}, "asks for a part of 0 images of each class; it must be"),
    ],
)
def test_what_no_stream_can_be_is_told_before_the_data_is_read(changes, message):
    with pytest.raises(ConfigError, match=message):
        validate(small_config(**changes))


def test_what_the_data_cannot_give_is_told_before_training(tmp_path):
    with pytest.raises(ConfigError, match=r"with_part.* but 8 has only one image; lower config"):
        train_and_evaluate(small_config(**{"data.imbalance": 90.0}), tmp_path / "run")
    config = small_config(**{"method.per_class": 100, "batch_size": 40})
    message = r"batch_size is 40 .* only 10 training images, for with_part holds \d+ out; lower it"
    with pytest.raises(ConfigError, match=message):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
