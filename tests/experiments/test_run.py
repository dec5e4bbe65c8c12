import os
import signal
import sys
import threading
import time

import pytest

from experiments import provenance, results, run, worker
from experiments.catalogue import EXPERIMENTS
from experiments.design import Cell, Scale, cells, get_config
from tests.experiments import fake_worker
from tests.training.tiny import shrink


def digits(*seeds):
    config = get_config("digits", "bccl")
    return [Cell("BCCL", "digits", 20.0, seed, config, False) for seed in seeds]


def runner(tmp_path, parallel=1, deadline=None):
    return run.Runner(worker.Paths(tmp_path), parallel, deadline, fake_worker.serve)


def recorded(tmp_path):
    return sorted(record["seed"] for record in results.load(tmp_path / "results.jsonl"))


def test_cells_go_to_every_worker_and_a_failure_stops_no_other(tmp_path, capsys):
    seeds = [0, 13, 1, 99, 2, 3]
    assert runner(tmp_path, parallel=2).run(digits(*seeds)) == 1
    assert recorded(tmp_path) == [0, 1, 2, 3]
    printed = capsys.readouterr().out
    assert "failed, an unlucky number" in printed
    assert "its process ended with 9" in printed
    assert "2 failed, 2 of 6 runs are left" in printed


def test_at_the_deadline_runs_save_and_the_rest_waits(tmp_path, capsys):
    deadline = time.monotonic() + 6
    assert runner(tmp_path, deadline=deadline).run(digits(0, 1000, 1)) == 1
    assert recorded(tmp_path) == [0]
    assert "stopped, saved" in capsys.readouterr().out


def test_a_cell_that_would_not_end_in_time_is_not_begun(tmp_path):
    late = runner(tmp_path, deadline=time.monotonic() + 60)
    cell = digits(0)[0]
    assert late._fits(cell)
    late._seconds[run._kind(cell)] = 100.0
    assert not late._fits(cell)


def test_sigterm_lets_runs_save(tmp_path, capsys):
    def terminate():
        while "1 of 2" not in "".join(lines):
            time.sleep(0.05)
            lines.append(capsys.readouterr().out)
        os.kill(os.getpid(), signal.SIGTERM)

    lines = []
    thread = threading.Thread(target=terminate)
    previous = signal.getsignal(signal.SIGTERM)
    try:
        thread.start()
        assert runner(tmp_path).run(digits(0, 1000)) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, previous)
        thread.join()
    assert "stopping" in capsys.readouterr().err
    assert recorded(tmp_path) == [0]


def test_a_plan_runs_what_experiments_share_once_and_what_has_a_record_never():
    scale = Scale(seeds=2, datasets=("digits",))
    planned = run.plan(["table4", "figure5", "figure3"], scale)
    assert len(planned) == 2 * (4 + 3 + 4)
    first = planned[0]
    done = {
        "config_hash": first.config_hash,
        "seed": first.seed,
        "code_hash": provenance.code_hash(),
    }
    assert run.outstanding(planned, [done]) == planned[1:]
    assert run.outstanding(planned, [done | {"code_hash": "of old"}]) == planned
    assert run.outstanding(planned, [done | {"seed": 5}]) == planned


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["experiments.run", *arguments])
    return run.main()


def test_a_second_command_finds_nothing_left(tmp_path, monkeypatch, capsys):
    flags = ["table4", "--dataset=digits", "--seeds=1", f"--output={tmp_path}"]
    for cell in cells(EXPERIMENTS["table4"], Scale(seeds=1, datasets=("digits",))):
        record = {"config_hash": cell.config_hash, "seed": 0, "code_hash": provenance.code_hash()}
        results.append(tmp_path / "results.jsonl", record)
    assert command(monkeypatch, *flags) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert command(monkeypatch, *flags, "--epochs=30", "--plan") == 0
    assert capsys.readouterr().out.count("seed 0") == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["table5"], "invalid choice: 'table5'"),
        (["table4", "--dataset=mnist"], "names no data set"),
        (["table4", "--imbalance=0.5"], "no list of factors"),
        (["table4", "--seeds=0"], "not a whole number"),
        (["table4", "--budget=0.1"], "less than the 20 s"),
        (["table4", "--backbone=vgg"], "invalid choice: 'vgg'"),
    ],
)
def test_wrong_flags_are_refused(monkeypatch, capsys, flags, message):
    with pytest.raises(SystemExit):
        command(monkeypatch, *flags)
    assert message in capsys.readouterr().err


def test_missing_data_is_named_before_anything_runs(monkeypatch, capsys, tmp_path):
    flags = ["table4", f"--data-dir={tmp_path}", f"--output={tmp_path}/runs"]
    assert command(monkeypatch, *flags) == 1
    assert f"error: there is no folder {tmp_path}/cifar-100-python" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_cell_becomes_a_record(tmp_path):
    (cell,) = digits(3)
    config = cell.config
    config.seed, config.epochs, config.eval.every_epochs = 3, 4, 2
    config.optimizer.warmup_epochs = 1
    shrink(config.method)
    paths = worker.Paths(tmp_path)
    record = worker.run(cell, paths)
    results.append(paths.results, record)
    assert results.load(paths.results) == [record]
    assert (record["config_hash"], record["seed"]) == (cell.config_hash, 3)
    assert (record["evaluated_on"], record["images"], record["last"]["epoch"]) == ("test", 797, 4)
    assert record["class_counts"][0] == 100
    correct = results.unpack(record["correct"], 797)
    # Digits has unequal classes, so that the mean over images is another than over classes.
    assert abs(100 * correct.mean() - record["last"]["all"]) < 5
    assert [point["epoch"] for point in record["curve"]] == [2, 4]
    assert [point["epoch"] for point in record["feature_space"]] == [2, 4]
    assert record["feature_space"][-1]["projector"].keys() == (
        record["feature_space"][-1]["backbone"].keys()
    )
    again = worker.run(cell, paths)
    assert again["correct"] == record["correct"]
    assert again["seconds"] == record["seconds"]


def test_measured_images_are_the_first_of_each_class():
    import numpy as np

    labels = np.array([2, 0, 2, 1, 2, 0, 0, 0])
    assert worker._first_of_each_class(labels, 2).tolist() == [0, 1, 2, 3, 5]
