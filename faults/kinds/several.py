"""Several commands on one directory at a time."""

import signal
import time

from faults.kinds.kind import Kind
from faults.trial import FailedTrial, Trial


def starters(trial: Trial) -> None:
    """Two or three commands begin the same run, or go on with it; one of them may be killed."""
    if trial.rng.random() < 0.5:
        trial.given("begun")
    before = trial.whole()
    started = []
    for _ in range(trial.rng.randint(2, 3)):
        started += trial.start()
        time.sleep(trial.rng.choice([0, trial.rng.uniform(0, 1)]))
    killed = trial.rng.random() < 0.5
    if killed:
        time.sleep(trial.rng.uniform(0, trial.reference.seconds))
        trial.note("SIGKILL of the first one")
        started[0].send_signal(signal.SIGKILL)
    ended = trial.ended(started, killed)
    trial.nothing_lost(before)
    for each in ended:
        if each.refused and "another process" not in each.refused:
            raise FailedTrial(f"refused for something else: {each.refused}")
    if not killed and not any(each.code == 0 for each in ended):
        raise FailedTrial("none of them trained")
    trial.resume()


def strangers(trial: Trial) -> None:
    """Another config and this one begin in the same directory: one of them has it, whole."""
    trial.note("the same directory for two configs")
    own, other = trial.start(), trial.start("--config.seed=1")
    first, second = trial.ended([*own, *other])
    if first.code and second.code:
        raise FailedTrial("neither trained")
    if first.code == second.code == 0:
        raise FailedTrial("both trained in one directory")
    if first.code == 0:
        trial.compare()


def evaluated_beside(trial: Trial) -> None:
    """The run is evaluated again and again while it trains, and evaluations are killed."""
    process = trial.start()
    while process[0].poll() is None:
        beside = trial.evaluating()
        if trial.rng.random() < 0.5:
            time.sleep(trial.rng.uniform(0, 2))
            beside.send_signal(signal.SIGKILL)
        [ended] = trial.ended([beside], killed=True)
        if ended.code == 1 and not any(
            word in ended.refused
            for word in ("no run", "no checkpoint", "holds no", "is not there", "has no")
        ):
            raise FailedTrial(f"refused for something else: {ended.refused}")
    trial.ended(process)
    trial.compare()


KINDS = (
    Kind(
        "starters",
        "two or three commands at once, one of them perhaps killed",
        starters,
        ("digits", "stages", "photographs"),
        share=2,
    ),
    Kind("strangers", "another config in the same directory at once", strangers, ("digits",)),
    Kind("evaluated_beside", "evaluations beside the training", evaluated_beside, ("digits",)),
)
