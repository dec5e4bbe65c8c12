"""A run that goes on for more epochs than it had."""

import json
import shlex

import pytest

from bccl_jax.errors import WorkdirError
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from faults import forks
from tests.killed import Killed, act_at, check_resumed, kill
from tests.tiny import differing, tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")

BACKBONE = """
import flax.linen as nn

from bccl_jax import models


@models.register("one_layer")
class OneLayer(nn.Module):
    @nn.compact
    def __call__(self, images, train):
        return nn.relu(nn.Dense(8)(images.reshape(len(images), -1)))
"""


def config_of(epochs, **changes):
    config = tiny_config("bccl")
    config.model.backbone = "two_layers"
    changes = {
        "optimizer.schedule": "constant",
        "optimizer.ema": 0.9,
        "augment.strong.policy": "none",
        "batch_size": 160,
        "eval.every_epochs": 1,
        **changes,
    }
    config.update_from_flattened_dict({"epochs": epochs, **changes})
    return config


def records(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "confusion")} for row in rows]


@pytest.fixture(scope="module")
def whole(_two_layers, _no_picture, shared_assemblies, tmp_path_factory):
    """Five epochs in one go."""
    return train_and_evaluate(config_of(5), tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def longer(whole, tmp_path_factory):
    """Three epochs, then two more: what the directory said between, and how it ended."""
    workdir = tmp_path_factory.mktemp("longer") / "run"
    first = train_and_evaluate(config_of(3), workdir)
    assert int(first.state.step) == 3 * int(whole.state.step) // 5
    between = json.loads((workdir / "results.json").read_text())
    return between, train_and_evaluate(config_of(5), workdir)


def test_the_run_is_that_of_all_epochs_in_one_go(whole, longer):
    _, result = longer
    assert differing(whole.state, result.state) == []
    assert records(result.workdir) == records(whole.workdir)
    assert (result.last, result.best_epoch) == (whole.last, whole.best_epoch)


def test_the_directory_says_the_new_number_and_how_it_ended_before(whole, longer):
    between, result = longer
    for name in ("config.json", "sized.json"):
        assert json.loads((result.workdir / name).read_text()) == json.loads(
            (whole.workdir / name).read_text()
        )
    assert json.loads((result.workdir / "earlier.json").read_text()) == [{"epochs": 3, **between}]
    ended = json.loads((result.workdir / "results.json").read_text())
    assert ended == json.loads((whole.workdir / "results.json").read_text())
    assert not (whole.workdir / "earlier.json").exists()
    # The last epoch of then is recorded in full.
    third = json.loads((result.workdir / "metrics.jsonl").read_text().splitlines()[2])
    assert third["eval"] == between["last"]
    assert "confusion" in third


def test_once_it_went_on_it_is_a_run_of_that_many(longer, capsys):
    _, result = longer
    again = train_and_evaluate(config_of(5), result.workdir)
    assert differing(result.state, again.state) == []
    assert "is complete" in capsys.readouterr().out
    assert len(json.loads((result.workdir / "earlier.json").read_text())) == 1
    for config in (config_of(3), config_of(0)):
        with pytest.raises(WorkdirError, match=f"epochs is 5 there and {config.epochs} here"):
            train_and_evaluate(config, result.workdir)
    with pytest.raises(WorkdirError, match="epochs is 5 there and 6 here"):
        evaluate_checkpoints(config_of(6), result.workdir)
    with pytest.raises(WorkdirError, match="epochs is 5 there and 6 here; seed is"):
        train_and_evaluate(config_of(6, seed=3), result.workdir)


def test_it_may_be_killed_at_any_time(whole, tmp_path):
    workdir = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        act_at(patch, 4, kill)
        with pytest.raises(Killed):
            train_and_evaluate(config_of(3), workdir)
    check_resumed(whole, config_of(5), workdir, 3, 4)
    # It had not ended before.
    assert json.loads((workdir / "config.json").read_text())["epochs"] == 5
    assert not (workdir / "earlier.json").exists()


def test_while_it_goes_on_it_has_not_ended(tmp_path, capfd):
    workdir = tmp_path / "run"
    train_and_evaluate(config_of(3), workdir)
    with pytest.MonkeyPatch.context() as patch:
        act_at(patch, 1, kill)
        with pytest.raises(Killed):
            train_and_evaluate(config_of(5), workdir)
    told = capfd.readouterr()
    assert "had 3 epochs and has 5 from now on" in told.err
    assert "(3 of 5 epochs done)" in told.out
    assert not (workdir / "results.json").exists()
    (before,) = json.loads((workdir / "earlier.json").read_text())
    assert before["epochs"] == 3
    assert "last" in before


def test_what_cannot_go_on_comes_with_the_command_of_a_new_run(tmp_path):
    """From another folder, in folders whose names have blanks, on data that has moved."""
    home, away = tmp_path / "a home", tmp_path / "away"
    for folder in (home, away):
        folder.mkdir()
    (home / "mine.py").write_text(BACKBONE)
    given = (
        "--config=digits_lt:cross_entropy",
        "--config.imports=mine.py",
        "--config.model.backbone=one_layer",
        "--config.optimizer.warmup_epochs=0",
        "--config.augment.strong.policy=none",
        "--config.batch_size=320",
    )
    first = forks.run(*given, "--config.epochs=1", "--workdir=my run", cwd=home)
    assert first.returncode == 0, first.stderr
    refused = forks.run(
        "--workdir=my run", "--config.epochs=2", "--config.checkpoint.every_epochs=2", cwd=home
    )
    assert refused.returncode == 1
    message, _, command = refused.stderr.strip().rpartition(" by: ")
    assert message.endswith(
        "is one of 1 epochs and cannot go on to 2, for their number decides its cosine learning "
        "rate; a new run of 2 epochs starts from its model"
    )
    _, dash_m, module, *arguments = shlex.split(command)
    assert (dash_m, module) == ("-m", "bccl_jax.main")
    started = forks.run(*arguments, cwd=away)
    assert started.returncode == 0, started.stderr
    assert f"starts from {home / 'my run'} (epoch 1, backbone one_layer)" in started.stderr
    assert "classifier kept, 10 classes of the same names" in started.stderr
    before, after = (
        json.loads((home / name / "config.json").read_text()) for name in ("my run", "my run_2")
    )
    changed = {key: value for key, value in after.items() if before[key] != value}
    assert changed == {
        "epochs": 2,
        "model.pretrained": str(home / "my run"),
        "checkpoint.every_epochs": 2,
    }
    assert json.loads((home / "my run" / "config.json").read_text())["epochs"] == 1
