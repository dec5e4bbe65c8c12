"""A run goes on from a checkpoint that is not its newest one; the others are kept beside it."""

from bccl_jax.devices.mesh import is_lead, wait_for_all
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.progress import say
from bccl_jax.workdir import checkpoint_folder, gone
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.verifying import SET_ASIDE


def check_going_back(directory: Workdir, which: str | None) -> None:
    """Checks that there is a checkpoint to go on from, before anything else is read.

    Raises:
      WorkdirError: there is none of that name.
    """
    if which is not None:
        with Checkpoints(directory.checkpoints, read_only=True) as there:
            there.resolve(which)


def go_back(directory: Workdir, which: str | None) -> None:
    """Makes a checkpoint the newest of a run: later ones, and damaged ones, are moved away.

    They go to the folder `set_aside` of the run's directory, and a line says so.

    Args:
      directory: of the run, which the caller holds.
      which: "last", "best" or a step; None for the newest one, whatever it is.

    Raises:
      DamagedCheckpointError: that checkpoint is damaged itself.
      WorkdirError: there is no such checkpoint, or others cannot be moved.
    """
    if which is None:
        return
    with Checkpoints(directory.checkpoints, read_only=True) as there:
        step = there.resolve(which)
        there.check_whole(step)
        others = [other for other in there.steps() if other > step or not there.is_whole(other)]
        best = checkpoint_folder.best_then(directory.checkpoints / str(step))
    # Nobody moves a checkpoint that another process still looks at.
    wait_for_all("checkpoints looked at")
    if is_lead() and others:
        to = directory.path / SET_ASIDE
        try:
            moved = checkpoint_folder.move(directory.checkpoints, others, to)
        except OSError as error:
            raise WorkdirError(
                f"checkpoints cannot be moved to {shown(to)} ({error.strerror}); mend that"
            ) from error
        those = " and ".join(shown(path) for path in moved)
        say(f"goes on from the checkpoint of step {step}; what is later or damaged: {those}")
        if best in others:
            say(
                f"the one of step {best} was the best; the best of those that are left is taken for"
                " the best"
            )
    if is_lead():
        gone.accept(directory.checkpoints)
    wait_for_all("checkpoints set aside")
