"""Runs that nothing disturbs, which trials are compared with."""

import pathlib
import random
import shutil
import time

from faults.outcome import outcome
from faults.subjects import Subject
from faults.trial import FailedTrial, Reference, Trial, figures

# As which record the run that is gone on with is killed: it has two checkpoints and a best one.
_KILLED_AT = 4


def make(subject: Subject, folder: pathlib.Path, pictures: pathlib.Path) -> Reference:
    """Makes the reference of a subject.

    Args:
      subject: of the run.
      folder: its own, made anew.
      pictures: that `subjects.write_pictures` wrote.

    Raises:
      FailedTrial: the run does not end, or not twice to the same bits.
    """
    # Of an earlier campaign in the same folder, and perhaps of other code.
    shutil.rmtree(folder, ignore_errors=True)
    empty = Reference({}, 0.0, 0, {}, folder, folder)

    def trial(name):
        (folder / name).mkdir(parents=True)
        return Trial(subject, empty, folder / name, pictures, random.Random(0))

    counted, begun, whole = trial("counted"), trial("begun"), trial("complete")
    count = {"below": str(counted.workdir), "at": 0}
    _well(counted.train(before=[("faults.injection", "file_layer", count)]))
    # Timed once all that it compiles is in the cache.
    started = time.monotonic()
    _well(whole.train())
    seconds = time.monotonic() - started

    killed = {"below": str(begun.workdir), "record": _KILLED_AT}
    begun.train(before=[("faults.injection", "killed_at_record", killed)], killed=True)
    there = {"begun": begun.workdir, "complete": whole.workdir}
    reference = Reference(
        outcome(whole.workdir),
        seconds,
        int(pathlib.Path(f"{counted.workdir}.count").read_text()),
        {},
        **there,
    )
    for name, workdir in there.items():
        copy = trial(f"evaluated_{name}")
        shutil.copytree(workdir, copy.workdir)
        reference.evaluated[name] = figures(copy.evaluate())
    for checked in (counted, begun):
        other = Trial(subject, reference, checked.folder, pictures, random.Random(0))
        if checked is begun:
            other.workdir = checked.folder / "resumed"
            other.given("begun")
            other.resume()
        else:
            other.compare()
    return reference


def _well(ended):
    for each in ended:
        if each.code:
            raise FailedTrial(f"an undisturbed run ends by {each.code}: {each.stderr[-3000:]}")
