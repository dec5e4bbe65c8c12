import math
import os
import re
import shutil
import signal

import jax
import numpy as np
import pytest

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError, NonFiniteLossError, WorkdirError
from bccl_jax.system import progress
from bccl_jax.system.interruption import Interrupted
from bccl_jax.training import engine
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from bccl_jax.workdir.checkpoint import Checkpoints
from tests.killed import act_at, check_resumed, without_times
from tests.tiny import differing
from tests.tiny import tiny_config as shipped

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


def tiny_config(method="bccl"):
    config = shipped(method)
    config.model.backbone = "two_layers"
    # Here all is as it is shipped, so that it is resumed and compared.
    config.augment.sim.jitter = (0.4, 0.4, 0.0, 0.0)
    return config


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def observe(run, state, epoch):
    return {"observed": [epoch, int(state.step), len(run.dataset.test)]}


@pytest.fixture(scope="module")
def under_way():
    """What the heartbeat could tell of in that run, in order."""
    return []


@pytest.fixture(scope="module")
def whole(shared_assemblies, tmp_path_factory, under_way):
    """A run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    begin = progress.Heartbeat.begin

    def told(self, job):
        under_way.append(getattr(job, "what", "training"))
        begin(self, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress.Heartbeat, "begin", told)
        return train_and_evaluate(tiny_config(), workdir, observe=observe)


def test_whatever_may_take_long_has_a_line_a_minute(whole, under_way):
    assert under_way == [
        "preparing the run",
        "reading the data set",
        "training",
        "epoch 1/4  refreshing the method's state",
        "epoch 2/4  evaluating",
        "epoch 2/4  measuring",
        "epoch 3/4  refreshing the method's state",
        "epoch 4/4  evaluating",
        "epoch 4/4  measuring",
    ]


def test_a_run_trains_refreshes_evaluates_and_leaves_its_files(whole):
    rows = whole.records
    steps = rows[0]["step"]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    # Warm-up of one epoch, then every two: the centroids come after epochs 1 and 3.
    assert ["refresh" in row for row in rows] == [True, False, True, False]
    assert ["eval" in row for row in rows] == [False, True, False, True]
    assert rows[0]["train"]["centroid_loss"] == 0
    assert rows[1]["train"]["centroid_loss"] > 0
    fine = ("contrastive_loss", "cosine_within", "contrastive_gradient")
    for row in rows:
        assert set(fine) < row["quarters"].keys() < row["train"].keys()
        for name in fine:
            first, *others = row["quarters"][name]
            # Five steps, of which the first quarter has two.
            assert (2 * first + sum(others)) / 5 == pytest.approx(row["train"][name])
            assert len(others) == 3
    refreshed = {name: rows[2]["refresh"][name] for name in ("centroids", "queue_fill")}
    assert refreshed == {"centroids": 20.0, "queue_fill": 100.0}
    assert rows[2]["refresh"]["classes_without_centroid"] == 0
    assert "centroid_shift" not in rows[0]["refresh"]
    assert 0 < rows[2]["refresh"]["centroid_shift"] < 180
    assert rows[3]["train"]["loss"] < rows[1]["train"]["loss"]
    assert rows[3]["train"]["learning_rate"] < rows[1]["train"]["learning_rate"]
    assert sum(count for _, _, count in rows[3]["confusion"]) == 797
    assert whole.last == rows[3]["eval"]
    assert whole.best["all"] == max(whole.last["all"], rows[1]["eval"]["all"])
    assert [row.get("observed") for row in rows] == [
        None,
        [2, 2 * steps, 797],
        None,
        [4, 4 * steps, 797],
    ]
    assert whole.correct.mean() == pytest.approx(
        sum(count for true, found, count in rows[3]["confusion"] if true == found) / 797
    )
    np.testing.assert_array_equal(whole.class_counts[[0, 9]], [100, 5])
    for name in ("config.json", "metrics.jsonl", "results.json", "tensorboard"):
        assert (whole.workdir / name).exists(), name


def test_a_result_is_shown_in_a_line(whole):
    shown = repr(whole)
    assert len(shown.splitlines()) == 1
    assert f"(4): all {whole.last['all']:.2f}, many " in shown
    assert str(whole.workdir) in shown


def test_the_queues_hold_unit_vectors_of_the_last_steps(whole):
    queue = whole.state.method.queue
    assert np.asarray(queue.count).min() == 8
    np.testing.assert_allclose(np.linalg.norm(queue.features, axis=-1), 1, rtol=1e-5)


def test_two_runs_of_one_seed_are_equal_and_another_seed_differs(whole, tmp_path):
    again = train_and_evaluate(tiny_config(), tmp_path / "again")
    assert differing(whole.state, again.state) == []
    config = tiny_config()
    config.seed = 1
    other = train_and_evaluate(config, tmp_path / "other")
    assert any("params" in path for path in differing(whole.state, other.state))


def test_a_run_killed_three_times_ends_bit_for_bit_where_the_whole_one_ends(whole, tmp_path):
    check_resumed(whole, tiny_config(), tmp_path / "run", 3, 9, 8)


@pytest.mark.parametrize("resident", [True, False])
def test_sigterm_saves_within_the_epoch_and_the_run_goes_on_exactly(
    whole, tmp_path, monkeypatch, capsys, resident
):
    config = tiny_config()
    config.data.resident = resident
    with monkeypatch.context() as patch:
        act_at(patch, 9, terminate)
        # One call of the nine ended the first epoch of five steps.
        with pytest.raises(Interrupted, match="SIGTERM after step 8"):
            train_and_evaluate(config, tmp_path / "run")
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.latest() == 8
    resumed = train_and_evaluate(config, tmp_path / "run")
    assert differing(whole.state, resumed.state) == []
    mine, theirs = (w / "metrics.jsonl" for w in (tmp_path / "run", whole.workdir))
    assert without_times(mine) == without_times(theirs)
    told = capsys.readouterr()
    assert f"begins in {tmp_path}/run\n" in told.out
    # Three steps of 64 images of the second epoch.
    assert (
        "goes on after step 8 of 20 (1 of 4 epochs and 3 of the next one's 5 steps, 192 images, "
        "done) from "
    ) in told.out
    assert told.err.count("compiling the step; a line comes every minute\n") == 2


def test_a_complete_run_started_again_changes_nothing(whole, capsys):
    before = (whole.workdir / "metrics.jsonl").read_text()
    again = train_and_evaluate(tiny_config(), whole.workdir)
    assert differing(whole.state, again.state) == []
    assert (again.last, again.best, again.best_epoch) == (
        whole.last,
        whole.best,
        whole.best_epoch,
    )
    assert (whole.workdir / "metrics.jsonl").read_text() == before
    told = capsys.readouterr()
    assert f"the run in {whole.workdir} is complete, step 20 of 20 (4 of 4 epochs done)" in told.out
    assert "compiling" not in told.err


def test_a_restored_checkpoint_evaluates_to_what_training_reported(whole, capsys):
    found = evaluate_checkpoints(tiny_config(), whole.workdir)
    assert re.match(
        r"evaluating last( and best)?: step 20 of 20 \(4 of 4 epochs done\), .*/checkpoints/20\n",
        capsys.readouterr().out,
    )
    epoch, last, chosen_on, _ = found["last"]
    assert (epoch, last.record(), chosen_on) == (4, whole.last, "test")
    epoch, best, *_ = found["best"]
    assert (epoch, best.record()) == (whole.best_epoch, whole.best)


def test_a_missing_checkpoint_is_named_with_those_there_are(whole):
    with pytest.raises(WorkdirError, match=r"no checkpoint '7'.*steps, .*: 15, 20"):
        evaluate_checkpoints(tiny_config(), whole.workdir, "7")


def test_another_config_is_refused_and_its_keys_named(whole):
    config = tiny_config()
    config.seed = 3
    config.method.temperature = 0.2
    with pytest.raises(WorkdirError, match=r"method\.temperature is 0\.1 there and 0\.2 .*seed"):
        train_and_evaluate(config, whole.workdir)


def test_where_the_data_lies_may_change(whole):
    config = tiny_config()
    config.data.dir = "elsewhere"
    config.data.threads = 2
    assert differing(train_and_evaluate(config, whole.workdir).state, whole.state) == []


def damage_config(run):
    (run / "config.json").write_text("[]")


def damage_checkpoint(run):
    for item in (run / "checkpoints").glob("*/state"):
        shutil.rmtree(item)


def replace_checkpoints_by_a_file(run):
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("x")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_config, "config.json is not what was written"),
        (damage_checkpoint, r"checkpoints/20 is damaged: .* is missing"),
        (replace_checkpoints_by_a_file, "checkpoints is a file"),
    ],
)
def test_a_damaged_run_is_refused_in_one_sentence(whole, tmp_path, damage, message):
    shutil.copytree(whole.workdir, tmp_path / "run")
    damage(tmp_path / "run")
    for call in (train_and_evaluate, evaluate_checkpoints):
        with pytest.raises(WorkdirError, match=message) as error:
            call(tiny_config(), tmp_path / "run")
        assert "\n" not in str(error.value)


def test_a_directory_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(WorkdirError, match="holds files but no run"):
        train_and_evaluate(tiny_config(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_batch_larger_than_the_data_is_refused_before_training(tmp_path):
    config = tiny_config()
    config.batch_size = 1000
    with pytest.raises(ConfigError, match=r"config\.batch_size is 1000 .* only \d+ training"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    config = tiny_config("cross_entropy")
    config.optimizer.learning_rate = 1e30
    config.optimizer.warmup_epochs = 0
    with pytest.raises(
        NonFiniteLossError, match=r"(loss|gradient) is not finite in epoch 1 at step \d"
    ):
        train_and_evaluate(config, tmp_path / "run")
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.steps() == []


def test_scanned_and_looped_epochs_agree(tmp_path):
    run = assemble(tiny_config("logit_adjustment"))
    data = put_on_device(run.dataset.train, replicated(run.mesh))
    ends = []
    for kind in (engine.looped, engine.scanned):
        run_epoch = kind(run.train_step, data, run.order, run.mesh, run.state_shardings)
        with jax.set_mesh(run.mesh):
            chunks = list(run_epoch(run.init_state(), 0, 2))
        losses = [np.atleast_1d(metrics["loss"]) for _, metrics in chunks]
        ends.append((np.concatenate(losses), chunks[-1][0]))
    (looped, one), (scanned, other) = ends
    assert len(looped) == len(scanned) == run.steps_per_epoch - 2
    np.testing.assert_allclose(scanned, looped, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def check_adjustment(config, result):
    """The prior is subtracted: predictions move from the head to the tail."""
    plain = [count for _, found, count in result.records[-1]["confusion"] if found < 3]
    config.eval.logit_adjustment = 1.0
    adjusted = evaluate_checkpoints(config, result.workdir, "last")["last"].evaluation
    moved = [count for _, found, count in adjusted.confusion if found < 3]
    assert sum(moved) < sum(plain)


def test_every_method_trains_through_the_same_loop_in_either_precision(tmp_path):
    for method, dtype in (("cross_entropy", "bfloat16"), ("logit_adjustment", "float32")):
        config = tiny_config(method)
        config.dtype = dtype
        result = train_and_evaluate(config, tmp_path / method)
        if method == "cross_entropy":
            check_adjustment(config, result)
        assert math.isfinite(result.records[-1]["train"]["loss"])
        assert result.records[-1]["train"]["loss"] < result.records[0]["train"]["loss"]
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(result.state.params)}
        assert dtypes == {np.dtype("float32")}
