import os
import signal
import threading
import time

import numpy as np
import pytest

from bccl_jax.errors import ConfigError
from bccl_jax.system.processes import REQUESTS
from experiments import provenance, results, run, worker
from experiments.catalogue import EXPERIMENTS
from experiments.design import Cell, Scale, cells, get_config
from experiments.results import Paths
from tests.experiments import fake_worker
from tests.experiments.fake_worker import DIES, FAILS, STOPS_ALONE, WAITS
from tests.tiny import shrink


def digits(*seeds):
    config = get_config("digits", "bccl")
    return [Cell("BCCL", "digits", 20.0, seed, config, False) for seed in seeds]


def runner(tmp_path, parallel=1, deadline=None):
    return run.Runner(Paths(tmp_path), parallel, deadline, fake_worker.serve)


def recorded(tmp_path):
    return sorted(record["seed"] for record in results.load(tmp_path / "results.jsonl"))


def test_cells_go_to_every_worker_and_no_failure_stops_another(tmp_path, capsys):
    seeds = [0, FAILS, 1, DIES, 2, STOPS_ALONE, 3]
    assert runner(tmp_path, parallel=2).run(digits(*seeds)) == 1
    assert recorded(tmp_path) == [0, 1, 2, 3]
    printed = capsys.readouterr().out
    assert "failed, an unlucky number" in printed
    assert "failed, its process ended with 9" in printed
    assert "stopped, stopped by SIGTERM after step 7" in printed
    assert "2 failed, 3 of 7 runs are left" in printed
    assert "from within" not in printed
    (cell,) = digits(0)
    log = Paths(tmp_path).run(cell, provenance.code_hash()).with_suffix(".log")
    assert log.read_text() == "from within\n"


def test_rows_are_run_alone_in_the_order_of_the_experiment():
    planned = cells(EXPERIMENTS["full_size"], Scale(seeds=2, imbalances=(100.0,)))
    found = run.only(planned, ["L_SCL + L_LC", "BCCL, released code"])
    names = ["BCCL, released code", "L_SCL + L_LC"]
    assert [(cell.row, cell.seed) for cell in found] == [(n, s) for s in (0, 1) for n in names]
    with pytest.raises(ConfigError, match=r"'BCCL, relased code'; there are BCCL; .*did you mean"):
        run.only(planned, ["BCCL, relased code"])


def test_at_the_deadline_runs_save_and_the_rest_waits(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "_TOO_SHORT", 0.0)
    limited = runner(tmp_path, deadline=time.monotonic() + 600)
    thread = threading.Thread(target=when_begun, args=(tmp_path, limited))
    thread.start()
    assert limited.run(digits(0, WAITS, 1)) == 1
    thread.join()
    assert recorded(tmp_path) == [0]
    printed = capsys.readouterr().out
    assert "stopped by SIGTERM after step 7" in printed
    assert "2 of 3 runs are left" in printed


def when_begun(tmp_path, limited):
    """Moves the deadline to now, and wakes the runner by the end of the run under way."""
    wait_for(tmp_path / "begun")
    limited._deadline = time.monotonic()
    limited._tell()


def wait_for(path):
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)


def test_no_cell_begins_just_before_the_deadline(tmp_path):
    assert runner(tmp_path, deadline=time.monotonic() + run._TOO_SHORT + 5)._may_begin()
    assert not runner(tmp_path, deadline=time.monotonic() + run._TOO_SHORT - 5)._may_begin()


def test_who_does_not_save_in_time_is_ended(tmp_path):
    class Process:
        ended = None

        def terminate(self):
            self.ended = self.ended or "told"

        def kill(self):
            self.ended = "killed"

    late = runner(tmp_path, deadline=time.monotonic() - 1)
    late._workers = [run._Worker(Process(), None, [], digits(0)[0])]
    late._keep_time()
    assert late._workers[0].process.ended == "told"
    assert 0 < late._patience() <= run.GRACE
    late._deadline -= run.GRACE
    late._keep_time()
    assert late._workers[0].process.ended == "killed"


def test_a_signal_lets_runs_save(tmp_path, capsys):
    def warn():
        wait_for(tmp_path / "begun")
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=warn)
    previous = [signal.getsignal(signum) for signum in REQUESTS]
    thread.start()
    assert runner(tmp_path).run(digits(0, WAITS)) == 128 + signal.SIGUSR1
    thread.join()
    assert [signal.getsignal(signum) for signum in REQUESTS] == previous
    assert "stopping" in capsys.readouterr().err
    assert recorded(tmp_path) == [0]


@pytest.mark.parametrize("signum", sorted(set(REQUESTS) - {signal.SIGINT}))
def test_every_request_to_stop_is_heard_unless_it_was_ignored_before(signum):
    with pytest.raises(run._Stop, match=str(signum.value)), run._signals_stop():
        os.kill(os.getpid(), signum)
    previous = signal.signal(signum, signal.SIG_IGN)
    try:
        with run._signals_stop():
            os.kill(os.getpid(), signum)
    finally:
        signal.signal(signum, previous)


def test_a_closed_pipe_of_the_output_lets_runs_save(tmp_path, monkeypatch, capsys):
    def work(_):
        raise BrokenPipeError

    ended = []
    stopped = runner(tmp_path)
    monkeypatch.setattr(stopped, "_start", lambda cores: None)
    monkeypatch.setattr(stopped, "_work", work)
    monkeypatch.setattr(stopped, "_end", lambda: ended.append(True))
    assert stopped.run(digits(0)) == 128 + signal.SIGPIPE
    assert ended == [True]
    assert "save themselves" in capsys.readouterr().err


def test_code_that_changes_meanwhile_is_refused(tmp_path):
    stale = provenance.Code("another", "")
    outcome = worker._attempt(digits(0)[0], Paths(tmp_path), stale, fake_worker.train)
    assert (outcome.status, recorded(tmp_path)) == ("failed", [])
    assert "the code was changed" in outcome.message


def test_a_plan_runs_what_experiments_share_once_and_what_has_a_record_never():
    scale = Scale(seeds=2, datasets=("digits",))
    planned = run.plan(["table4", "figure5", "figure3"], scale)
    assert len(planned) == 2 * (5 + 3 + 4)
    first = planned[0]
    done = {
        "config_hash": first.config_hash,
        "seed": first.seed,
        "code_hash": provenance.code_hash(),
    }
    assert run.outstanding(planned, [done]) == planned[1:]
    assert run.outstanding(planned, [done | {"code_hash": "of old"}]) == planned
    assert run.outstanding(planned, [done | {"seed": 5}]) == planned


def command(*arguments):
    return run.main(arguments)


def test_a_second_command_finds_nothing_left(tmp_path, capsys):
    flags = ["table4", "--dataset=digits", "--seeds=1", f"--output={tmp_path}"]
    for cell in cells(EXPERIMENTS["table4"], Scale(seeds=1, datasets=("digits",))):
        record = {"config_hash": cell.config_hash, "seed": 0, "code_hash": provenance.code_hash()}
        results.append(tmp_path / "results.jsonl", record)
    assert command(*flags) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert command(*flags, "--epochs=30", "--plan") == 0
    assert capsys.readouterr().out.count("seed 0") == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["table5"], "no experiment is called 'table5'"),
        (["tabel4"], "did you mean table4?"),
        (["table4", "--dataset=mnist"], "no data set is called 'mnist'"),
        (["table4", "--dataset=cifar10O"], "did you mean cifar10?"),
        (["table4", "--dataset="], "it names no data set"),
        (["table4", "--seed=1"], "did you mean --seeds (N runs seeds 0 to N-1)?"),
        (["table4", "--config.epochs=1"], "did you mean --epochs?"),
        (["table4", "--workdir=x"], "did you mean --output?"),
        (["table4", "--seeds=99999999999"], "not a whole number"),
        (["table4", "--imbalance=0.5"], "no list of factors"),
        (["table4", "--seeds=0"], "not a whole number"),
        (["table4", "--budget=0.1"], "more than the 20 s"),
        (["table4", "--budget=inf"], "more than the 20 s"),
        (["table4", "--parallel=0"], "less than 1"),
        (["table4", "--backbone=vgg"], "no backbone is called 'vgg'"),
    ],
)
def test_wrong_flags_are_refused(capsys, flags, message):
    with pytest.raises(SystemExit):
        command(*flags)
    assert message in capsys.readouterr().err


def test_missing_data_is_named_before_anything_runs(capsys, tmp_path):
    flags = ["table4", f"--data-dir={tmp_path}", f"--output={tmp_path}/runs"]
    assert command(*flags) == 1
    assert f"error: there is no folder {tmp_path}/cifar-100-python" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_named_before_anything_runs(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert command("table4", "--dataset=digits", f"--output={tmp_path}/file/x") == 1
    assert f"error: --output={tmp_path}/file/x cannot be written" in capsys.readouterr().err


def test_a_cell_becomes_a_record(tmp_path):
    (cell,) = digits(3)
    config = cell.config
    config.seed, config.epochs, config.eval.every_epochs = 3, 4, 2
    config.optimizer.warmup_epochs = 1
    shrink(config.method)
    paths, code = Paths(tmp_path), provenance.code()
    record = worker.run(cell, paths, code)
    results.append(paths.results, record)
    assert results.load(paths.results) == [record]
    assert (record["config_hash"], record["seed"]) == (cell.config_hash, 3)
    assert (record["evaluated_on"], record["images"], record["last"]["epoch"]) == ("test", 797, 4)
    assert record["class_counts"][0] == 100
    correct = results.unpack(record["correct"], 797)
    # Digits has unequal classes, so that the mean over images is another than over classes.
    assert abs(100 * correct.mean() - record["last"]["all"]) < 5
    assert [point["epoch"] for point in record["curve"]] == [2, 4]
    # Four epochs by quarters.
    assert {len(values) for values in record["course"].values()} == {16}
    assert all(float(f"{v:.4g}") == v for values in record["course"].values() for v in values)
    assert record["course"].keys() >= {"cosine_within", "cosine_between", "contrastive_gradient"}
    assert [point["epoch"] for point in record["feature_space"]] == [2, 4]
    assert record["feature_space"][-1]["projector"].keys() == (
        record["feature_space"][-1]["backbone"].keys()
    )
    again = worker.run(cell, paths, code)
    assert again["correct"] == record["correct"]
    assert again["seconds"] == record["seconds"]


def test_measured_images_are_the_first_of_each_class():
    labels = np.array([2, 0, 2, 1, 2, 0, 0, 0])
    assert worker._first_of_each_class(labels, 2).tolist() == [0, 1, 2, 3, 5]
