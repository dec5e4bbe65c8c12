"""Signals that ask a run to stop, once or in a storm."""

import signal
import time

from faults.kinds.kind import Kind
from faults.trial import Trial

_ASKING = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


def once(trial: Trial) -> None:
    """One signal, somewhere; then another one in what follows."""
    for _ in range(trial.rng.randint(1, 2)):
        _asked(trial, [trial.rng.choice(_ASKING)], None)
    trial.resume()


def storm(trial: Trial) -> None:
    """Signals of one or several kinds until the process has ended."""
    # A second Ctrl-C acts as usual: who wants to leave at once can.
    names = trial.rng.sample(
        [name for name in _ASKING if name != "SIGINT"], trial.rng.randint(1, 3)
    )
    _asked(trial, names, 10 ** trial.rng.uniform(-3, -1))
    trial.resume()


def _asked(trial, names, every):
    before = trial.whole()
    delay = trial.rng.uniform(0, trial.reference.seconds)
    trial.note(
        f"{' and '.join(names)} after {delay:.3f} s" + (f", every {every:.4f} s" if every else "")
    )
    processes = trial.start()
    time.sleep(delay)
    end = time.monotonic() + 60
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        for process in processes:
            process.send_signal(getattr(signal, trial.rng.choice(names)))
        if every is None:
            break
        time.sleep(every)
    # Before its own handlers are there a signal ends a process as the system has it.
    trial.ended(processes, killed=True)
    trial.nothing_lost(before)


KINDS = (
    Kind("signal", "a signal that asks to stop, once or twice", once, share=2),
    Kind("signal_storm", "such signals every 1 to 100 ms until it has ended", storm, share=2),
)
