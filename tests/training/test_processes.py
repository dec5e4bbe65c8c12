"""Two processes on this machine make one run, as two hosts would."""

import json
import re
import signal
import socket
import time

import numpy as np
import pytest

from bccl_jax.workdir.checkpoint import Checkpoints
from faults import forks

# Whole runs in processes of their own.
pytestmark = pytest.mark.slow

LOSSES = ("loss", "contrastive_loss", "classification_loss", "centroid_loss")


def start(workdir, **variables):
    return forks.start(
        "--config=tests/training/two_processes_config.py",
        f"--workdir={workdir}",
        JAX_PLATFORMS="cpu",
        BCCL_JAX_HEARTBEAT_SECONDS="10",
        **variables,
    )


def start_two(workdir):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2"}
    return [start(workdir, JAX_PROCESS_ID=str(process), **shared) for process in range(2)]


def records(workdir):
    path = workdir / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def finish(processes):
    told = [process.communicate(timeout=240) for process in processes]
    codes = [process.returncode for process in processes]
    assert codes == [0] * len(codes), told
    return told


def wait_until(happened, processes):
    end = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes), [
            process.communicate() for process in processes if process.poll() is not None
        ]
        time.sleep(0.05)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run of one process, its batches shared by two devices."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    finish([start(workdir, devices=2)])
    return records(workdir)


def test_two_processes_train_lose_one_and_both_resume(alone, tmp_path):
    workdir = tmp_path / "run"
    processes = start_two(workdir)
    wait_until(lambda: len(records(workdir)) >= 2, processes)
    processes[1].send_signal(signal.SIGKILL)
    _, told = processes[0].communicate(timeout=240)
    processes[1].communicate(timeout=240)
    if processes[0].returncode == -signal.SIGABRT:
        # JAX noticed it first, by a heartbeat, and ended this process; for a shell that is 134 too.
        assert "stopped sending heartbeats" in told
    else:
        assert processes[0].returncode == 128 + signal.SIGABRT, told
        assert told.count("error: ") == 1, told
        assert "another process of this run was lost; start all of them again" in told
        assert "Traceback" not in told
    assert 2 <= len(records(workdir)) < len(alone)

    (told, _), (silent, _) = finish(start_two(workdir))
    assert "last (epoch 5)" in told
    assert "last (epoch" not in silent
    found = records(workdir)
    assert [row["epoch"] for row in found] == [row["epoch"] for row in alone]
    for mine, theirs in zip(found, alone, strict=True):
        for name in LOSSES:
            np.testing.assert_allclose(mine["train"][name], theirs["train"][name], rtol=1e-3)
        assert mine.get("refresh") == theirs.get("refresh")


def test_a_warning_to_one_process_counts_as_sigterm_and_saves_and_ends_both(tmp_path):
    workdir = tmp_path / "run"
    processes = start_two(workdir)
    wait_until(lambda: len(records(workdir)) >= 1, processes)
    processes[1].send_signal(signal.SIGUSR1)
    steps = set()
    for process in processes:
        _, told = process.communicate(timeout=240)
        assert process.returncode == 128 + signal.SIGTERM, told
        steps.update(re.findall(r"stopped by SIGTERM after step (\d+), which is saved", told))
    [step] = steps
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.latest() == int(step)


@pytest.mark.parametrize("process", ["0", "1"])
def test_a_process_that_waits_in_vain_for_another_one_says_so_in_time(tmp_path, process):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    waiting = start(
        tmp_path / "run",
        JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
        JAX_NUM_PROCESSES="2",
        JAX_PROCESS_ID=process,
        BCCL_JAX_JOIN_SECONDS="2",
    )
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 128 + signal.SIGABRT
    [sentence] = told.splitlines()
    assert sentence.startswith("error: not all of 2 processes have joined this run within 2 s; ")
