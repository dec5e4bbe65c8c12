"""Clocks that jump, and files of any age."""

import os

from faults.kinds.kind import Kind
from faults.trial import Trial


def jumping(trial: Trial) -> None:
    """The wall clock jumps to and fro while a run trains, is killed and goes on."""
    longest = 10 ** trial.rng.uniform(0, 8)
    trial.note(f"a clock that jumps by up to {longest:.0f} s")
    jumps = {"seed": trial.rng.randrange(2**31), "longest": longest}
    clock = ("faults.injection", "jumping_clock", jumps)
    record = trial.rng.randint(2, trial.subject.epochs)
    killed = {"below": str(trial.workdir), "record": record}
    trial.train(before=[clock, ("faults.injection", "killed_at_record", killed)], killed=True)
    trial.resume()


def ages(trial: Trial) -> None:
    """Files of a run were changed at any time, in any order, some in the future."""
    trial.given("begun")
    for path in sorted(trial.workdir.rglob("*")):
        when = trial.rng.uniform(0, 4e9)
        os.utime(path, (when, when))
    trial.note("every file of another age")
    trial.resume()


KINDS = (
    Kind("clock", "a wall clock that jumps by seconds to years", jumping, ("digits", "stages")),
    Kind("ages", "files of any age, some of the future", ages, ("digits", "photographs")),
)
