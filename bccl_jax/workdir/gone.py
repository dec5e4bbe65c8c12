"""Checkpoints that were there and are gone: others do not take their places in silence."""

import json
import pathlib

from bccl_jax.errors import DamagedCheckpointError, WorkdirError
from bccl_jax.system.commands import shown_command
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import read_regular
from bccl_jax.workdir import checkpoint_folder, json_files
from bccl_jax.workdir.verifying import SET_ASIDE


class GoneError(DamagedCheckpointError):
    """A checkpoint that was there and is gone."""


# Of what a complete run ended with: the step of its last checkpoint.
STEP = "step"


def check_last(directory: pathlib.Path) -> None:
    """Checks that the newest checkpoint of a complete run is the one that it ended with.

    Args:
      directory: of the checkpoints.

    Raises:
      GoneError: that one is.
      WorkdirError: what the run ended with cannot be read.
    """
    results = directory.parent / "results.json"
    if not results.is_file():
        return
    # Those of earlier versions lack it.
    step = json_files.read(results, dict).get(STEP, 0)
    newest = max(checkpoint_folder.steps(directory), default=None)
    if newest is None or not isinstance(step, int) or newest >= step:
        return
    again = shown_command("bccl_jax.main", f"--workdir={directory.parent}")
    raise GoneError(
        f"the run ended with the checkpoint {shown(directory / str(step))}, which is gone; restore "
        f"it from a copy, make it anew by: {again}, or name the newest that is there: "
        f"--checkpoint={newest}"
    )


def check_best(directory: pathlib.Path) -> None:
    """Checks that the checkpoint is there that was the best one when the newest was written.

    Nothing is said where checkpoints were set aside, for who did it chose what is left, nor where
    the run has been further than its newest checkpoint: a later one may have been better, and the
    run makes it anew.

    Args:
      directory: of the checkpoints. A run may write there meanwhile.

    Raises:
      GoneError: it is.
      DamagedCheckpointError: the newest one is damaged.
    """
    before = None
    while True:
        newest = max(checkpoint_folder.steps(directory), default=None)
        if newest is None or (directory.parent / SET_ASIDE).exists():
            return
        best = checkpoint_folder.best_then(directory / str(newest))
        # One that is not the best any more is removed once a newer checkpoint is there.
        if best is None or best in checkpoint_folder.steps(directory):
            return
        if _furthest(directory.parent) > newest:
            return
        if newest == before:
            break
        before = newest
    without = shown_command(
        "bccl_jax.main", f"--workdir={directory.parent}", f"--checkpoint={newest}"
    )
    raise GoneError(
        f"the best checkpoint of the run, {shown(directory / str(best))}, is gone, and the next "
        "best is not taken in its place; restore it from a copy, evaluate by --checkpoint=last, or "
        f"go on without it by: {without}"
    )


def _furthest(run: pathlib.Path) -> int:
    """The step of a run's last record; -1 where there is none that can be read."""
    try:
        last = read_regular(run / "metrics.jsonl").splitlines()[-1]
        step = json.loads(last)["step"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return -1
    return step if isinstance(step, int) else -1


def accept(directory: pathlib.Path) -> None:
    """Goes on without a best checkpoint that is gone.

    Args:
      directory: of the checkpoints of a run that the caller holds, of which the newest is whole.

    Raises:
      WorkdirError: the run's directory cannot be written.
    """
    try:
        check_best(directory)
    except GoneError:
        try:
            (directory.parent / SET_ASIDE).mkdir(exist_ok=True)
        except OSError as error:
            raise WorkdirError(
                f"{shown(directory.parent)} cannot be written ({error.strerror}); mend that"
            ) from error
