"""SIGKILL: at random, and in the middle of each operation on a file."""

import contextlib
import os
import signal
import time

from faults.kinds.kind import Kind
from faults.processes import children, is_tracker
from faults.trial import Trial


def at_random(trial: Trial) -> None:
    """Up to three kills, each somewhere in what a run takes."""
    for _ in range(trial.rng.randint(1, 3)):
        before = trial.whole()
        delay = trial.rng.uniform(0, trial.reference.seconds)
        trial.note(f"SIGKILL after {delay:.3f} s")
        processes = trial.start()
        time.sleep(delay)
        for process in processes:
            process.send_signal(signal.SIGKILL)
        trial.ended(processes, killed=True)
        trial.nothing_lost(before)
    trial.resume()


def at_a_file(trial: Trial) -> None:
    """A kill in the place of one operation on a file, and perhaps another one in what follows."""
    for _ in range(trial.rng.randint(1, 2)):
        before = trial.whole()
        at = trial.rng.randint(1, trial.reference.operations)
        trial.note(f"SIGKILL in operation {at} on files")
        given = {"below": str(trial.workdir), "at": at, "action": "kill"}
        trial.train(before=[("faults.injection", "file_layer", given)], killed=True)
        trial.nothing_lost(before)
    trial.resume()


def one_of_two(trial: Trial) -> None:
    """One of two processes is killed; the other one ends by itself."""
    before = trial.whole()
    processes = trial.start()
    delay = trial.rng.uniform(0, trial.reference.seconds)
    victim = trial.rng.randrange(len(processes))
    trial.note(f"SIGKILL of process {victim} after {delay:.3f} s")
    time.sleep(delay)
    processes[victim].send_signal(signal.SIGKILL)
    trial.ended(processes, killed=True)
    trial.nothing_lost(before)
    trial.resume()


def a_reader(trial: Trial) -> None:
    """A process that decodes photographs ends, as the system ends one for its memory."""
    before = trial.whole()
    [process] = trial.start()
    end = time.monotonic() + trial.rng.uniform(0.3, 1.5) * trial.reference.seconds
    number = trial.rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    killed = 0
    while process.poll() is None and not killed:
        time.sleep(0.02)
        readers = [pid for pid in children(process.pid) if not is_tracker(pid)]
        if time.monotonic() > end and readers:
            killed = trial.rng.choice(readers)
            trial.note(f"{number.name} to the reader {killed}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(killed, number)
    trial.ended([process])
    trial.nothing_lost(before)
    trial.resume()


KINDS = (
    Kind(
        "kill",
        "SIGKILL at random moments, up to three times",
        at_random,
        ("digits", "stages", "photographs", "processes"),
        share=3,
    ),
    Kind("kill_at_file", "SIGKILL in the place of an operation on a file", at_a_file, share=3),
    Kind("kill_one_of_two", "SIGKILL of one of two processes", one_of_two, ("processes",)),
    Kind("kill_reader", "a reader of photographs is killed", a_reader, ("photographs",)),
)
