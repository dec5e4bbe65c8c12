import os
import signal
import threading

import pytest

from bccl_jax.system import interruption
from bccl_jax.system.interruption import Interrupted, StopSignal
from bccl_jax.system.processes import REQUESTS


def raise_in_process(signum):
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", REQUESTS)
def test_each_request_to_stop_is_heard_and_named(signum):
    with StopSignal() as stop:
        raise_in_process(signum)
        assert stop.reached(1) == signum
    assert f"stopped by {signum.name} after step 1" in str(Interrupted(signum, 1))


@pytest.mark.parametrize("signum", REQUESTS)
def test_what_was_ignored_stays_ignored(signum):
    before = signal.signal(signum, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            raise_in_process(signum)
            assert stop.reached(1) is None
        assert signal.getsignal(signum) is signal.SIG_IGN
    finally:
        signal.signal(signum, before)


def test_a_closed_pipe_is_a_request_to_stop(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        with StopSignal() as stop:
            print("first", flush=True)
            print("second", flush=True)
            assert stop.reached(1) == signal.SIGPIPE


def test_a_pipe_that_another_thread_finds_closed_is_a_request_too(monkeypatch):
    """As the one that tells of the run's progress may."""
    read, write = os.pipe()
    os.close(read)
    before = signal.getsignal(signal.SIGINT)
    with open(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        with StopSignal() as stop:
            thread = threading.Thread(target=lambda: print("progress", flush=True))
            thread.start()
            thread.join()
            assert stop.reached(1) == signal.SIGPIPE
    assert signal.getsignal(signal.SIGINT) is before


def test_a_request_is_answered_at_once(capfd):
    with StopSignal():
        for _ in range(2):
            raise_in_process(signal.SIGTERM)
    told = capfd.readouterr().err
    assert told.count("SIGTERM: the run saves itself when the step under way is done") == 1


def test_of_several_processes_each_request_is_passed_on_as_sigterm(monkeypatch):
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(signal.SIGTERM))
    monkeypatch.setattr(interruption.jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        interruption.multihost_utils, "reached_preemption_sync_point", lambda step: len(told) == 3
    )
    try:
        with StopSignal() as stop:
            for signum in (signal.SIGHUP, signal.SIGUSR1):
                raise_in_process(signum)
                assert stop.reached(1) is None
            raise_in_process(signal.SIGTERM)
            assert stop.reached(2) == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_repeated_sigterm_is_the_same_request():
    with StopSignal() as stop:
        for _ in range(3):
            raise_in_process(signal.SIGTERM)
        assert stop.reached(1) == signal.SIGTERM


def test_a_second_ctrl_c_acts_as_usual():
    with StopSignal() as stop:
        raise_in_process(signal.SIGINT)
        assert stop.reached(1) == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            raise_in_process(signal.SIGINT)


def test_a_sigterm_after_ctrl_c_does_not_end_what_is_being_saved():
    with StopSignal() as stop:
        raise_in_process(signal.SIGINT)
        raise_in_process(signal.SIGTERM)
        assert stop.received == signal.SIGINT


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(s) for s in REQUESTS]
    with StopSignal():
        raise_in_process(signal.SIGINT)
    assert [signal.getsignal(s) for s in REQUESTS] == before


def test_a_command_that_ends_with_its_run_is_ended_by_no_repeated_request(monkeypatch):
    monkeypatch.setattr(StopSignal, "ends_process", True)
    before = {signum: signal.getsignal(signum) for signum in REQUESTS}
    try:
        with StopSignal():
            pass
        assert {signum: signal.getsignal(signum) for signum in REQUESTS} == before
        with StopSignal():
            raise_in_process(signal.SIGTERM)
        for signum in set(REQUESTS) - {signal.SIGINT}:
            raise_in_process(signum)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
