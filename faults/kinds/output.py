"""Output that cannot be written."""

from faults.kinds.kind import Kind
from faults.trial import FailedTrial, Trial


def full(trial: Trial) -> None:
    """Either of stdout and stderr or both lie on a full disk."""
    streams = trial.rng.choice([("stdout",), ("stderr",), ("stdout", "stderr")])
    trial.note(f"/dev/full for {' and '.join(streams)}")
    ended = trial.train(silent="stderr" in streams, **dict.fromkeys(streams, "/dev/full"))
    if any(each.code not in (0, 1) for each in ended):
        raise FailedTrial("it ends by another code than 0 and 1")
    # The work is done nevertheless.
    trial.compare()


def closed(trial: Trial) -> None:
    """One of stdout and stderr is closed from the start."""
    number = trial.rng.choice([1, 2])
    trial.note(f"stream {number} is closed")
    closing = ("faults.injection", "closed", {"number": number})
    trial.train(before=[closing], silent=number == 2)
    trial.compare()


KINDS = (
    Kind("output_full", "stdout or stderr on a full disk", full, ("digits",)),
    Kind("output_closed", "stdout or stderr closed", closed, ("digits",)),
)
