import os
import signal

import pytest

from bccl_jax.training.interruption import StopSignal


def raise_in_process(signum):
    os.kill(os.getpid(), signum)


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
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with StopSignal():
        raise_in_process(signal.SIGINT)
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before
