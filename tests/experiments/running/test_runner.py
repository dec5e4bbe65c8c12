import multiprocessing
import os
import signal
import threading
import time

import pytest

from bccl_jax.system.processes import REQUESTS
from experiments.records import results
from experiments.records.results import Paths
from experiments.running import provenance, worker
from experiments.running import runner as running
from experiments.running.stopping import Stop, signals_stop
from tests.experiments.running import fake_worker
from tests.experiments.running.fake_worker import DIES, FAILS, STOPS_ALONE, WAITS
from tests.experiments.running.made_up import digits


@pytest.fixture(autouse=True, scope="module")
def _imported_once():
    """Worker processes are forks of one that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([fake_worker.__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "get_context", lambda method: context)
        yield


def runner(tmp_path, parallel=1, deadline=None):
    return running.Runner(Paths(tmp_path), parallel, deadline, fake_worker.serve)


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


def test_at_the_deadline_runs_save_and_the_rest_waits(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(running, "_TOO_SHORT", 0.0)
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
    # The worker may have begun before the runner notes that it has something to do.
    while not any(each.cell is not None and each.cell.seed == WAITS for each in limited._workers):
        time.sleep(0.01)
    limited._deadline = time.monotonic()
    limited._tell()


def wait_for(path):
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)


def test_no_cell_begins_just_before_the_deadline(tmp_path):
    assert runner(tmp_path, deadline=time.monotonic() + running._TOO_SHORT + 5)._may_begin()
    assert not runner(tmp_path, deadline=time.monotonic() + running._TOO_SHORT - 5)._may_begin()


def test_who_does_not_save_in_time_is_ended(tmp_path):
    class Process:
        ended = None

        def terminate(self):
            self.ended = self.ended or "told"

        def kill(self):
            self.ended = "killed"

    late = runner(tmp_path, deadline=time.monotonic() - 1)
    late._workers = [running._Worker(Process(), None, [], digits(0)[0])]
    late._keep_time()
    assert late._workers[0].process.ended == "told"
    assert 0 < late._patience() <= running.GRACE
    late._deadline -= running.GRACE
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


def test_a_worker_is_told_of_a_signal_that_came_as_it_was_given_its_run(tmp_path):
    class Process:
        ended = ""

        def terminate(self):
            self.ended = "told"

    class Connection:
        def send(self, cell):
            raise Stop(signal.SIGUSR1)

    one = runner(tmp_path)
    one._workers = [running._Worker(Process(), Connection(), [], None, share=[])]
    with pytest.raises(Stop):
        next(one._work(digits(0)))
    one._tell()
    assert one._workers[0].process.ended == "told"


@pytest.mark.parametrize("signum", sorted(set(REQUESTS) - {signal.SIGINT}))
def test_every_request_to_stop_is_heard_unless_it_was_ignored_before(signum):
    with pytest.raises(Stop, match=str(signum.value)), signals_stop():
        os.kill(os.getpid(), signum)
    previous = signal.signal(signum, signal.SIG_IGN)
    try:
        with signals_stop():
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
