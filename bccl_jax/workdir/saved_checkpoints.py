"""Reads the checkpoints of a run, each compared with its digests before, also beside the run."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from bccl_jax.devices.lost import is_of_lost_process, lost_process
from bccl_jax.errors import DamagedCheckpointError, WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.numbers import whole_number
from bccl_jax.system.reasons import reason
from bccl_jax.workdir import checkpoint_folder, gone
from bccl_jax.workdir.orbax_log import leave_out_late_answers
from bccl_jax.workdir.plain_path import PlainPath
from bccl_jax.workdir.verifying import Verifier

_Taken = TypeVar("_Taken")
# How often a reader takes the next checkpoint where a run under way removes what it reads.
_TRIES = 10


class SavedCheckpoints:
    """What `Checkpoints` does by reading alone.

    Args:
      directory: where they lie.
      read_only: whether nothing is to be written; a run may then be under way there.
    """

    # Averaged weights, of a run that has them, lie beside the raw ones.
    averaged = None

    def __init__(self, directory: pathlib.Path, read_only: bool):
        self.directory = directory.absolute()
        self._read_only = read_only
        self._verifier = Verifier(self.directory, read_only)
        # The step of a checkpoint that was restored and is of an epoch without its end.
        self._without_end: int | None = None
        self._plain: PlainPath | None = None
        leave_out_late_answers()

    def _open(self, options: ocp.CheckpointManagerOptions) -> None:
        there = self.directory.is_dir()
        self._plain = PlainPath(self.directory) if there else None
        path = self._plain.path if there else self.directory
        self._manager = ocp.CheckpointManager(path, options=options)

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint."""
        return checkpoint_folder.steps(self.directory)

    def latest(self) -> int | None:
        """The newest step, None if there is none."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step of the highest accuracy, None if none was evaluated.

        Raises:
          DamagedCheckpointError: it is not known any more how one scored, or the best is gone.
        """
        self._check_best()
        return checkpoint_folder.best(self._read_scores())

    def _check_best(self) -> None:
        newest = self.latest()
        try:
            gone.check_best(self.directory)
        except gone.GoneError:
            raise
        except DamagedCheckpointError as error:
            raise self._verifier.damaged(newest, str(error)) from error

    def _read_scores(self) -> dict[int, checkpoint_folder.Score | None]:
        found = {}
        for step in self.steps():
            try:
                found[step] = checkpoint_folder.score(self.directory / str(step))
            except DamagedCheckpointError as error:
                if not self._verifier.goes(step):
                    raise self._verifier.damaged(step, str(error)) from error
        return found

    def named(self) -> list[str]:
        """Those that have a name: "last", and "best" if one was evaluated."""
        return ["last"] if self.best() is None else ["last", "best"]

    def place(self, step: int) -> str:
        """Where a checkpoint lies, for a message."""
        return str(self.directory / str(step))

    def resolve(self, which: str) -> int:
        """Turns "last", "best" or a number into a step that there is.

        Raises:
          WorkdirError: there is no such checkpoint, or the one of that name is gone.
        """
        if which == "last" and self._read_only:
            gone.check_last(self.directory)
        named = {"last": self.latest, "best": self.best}
        if which in named:
            step = named[which]()
        else:
            step = whole_number(which)
        there = self.steps()
        if step is None or step not in there:
            there = ", ".join(map(str, there)) or "none"
            raise WorkdirError(
                f"there is no checkpoint '{shown(which)}' in {shown(self.directory)} "
                f"(last, best, or one of these steps, not epochs: {there})"
            )
        return step

    def taking(self, which: str, read: Callable[[int], _Taken]) -> tuple[int, _Taken]:
        """Reads a checkpoint by its name, be that of another one by now.

        A run under way keeps the newest and the best alone: where it removes one that is being
        read, the next one of the same name is taken.

        Args:
          which: as `resolve` takes it.
          read: what to read of the checkpoint of a step.

        Returns:
          The step, and what was read.

        Raises:
          WorkdirError: there is no such checkpoint, or no more, or it is damaged.
        """
        for _ in range(_TRIES):
            step = self.resolve(which)
            try:
                found = read(step)
                if not self._read_only or self._verifier.is_there(step):
                    return step, found
            except WorkdirError:
                if not self._verifier.goes(step):
                    raise
        raise WorkdirError(
            f"the run under way in {shown(self.directory.parent)} removes its checkpoints faster "
            "than they are read; stop it, or evaluate its end"
        )

    def check_whole(self, step: int) -> None:
        """See `Verifier.check`."""
        self._verifier.check(step)

    def is_whole(self, step: int) -> bool:
        """See `Verifier.is_whole`."""
        return self._verifier.is_whole(step)

    def restore(self, step: int, abstract: Any) -> tuple[Any, dict[str, list[float]]]:
        """Reads a checkpoint back.

        Args:
          step: one of `steps()`.
          abstract: shapes, dtypes and shardings of the state.

        Returns:
          The state, and the metrics of the unfinished epoch.

        Raises:
          WorkdirError: the checkpoint is damaged.
        """
        items = {
            "state": ocp.args.StandardRestore(abstract),
            "unfinished": ocp.args.JsonRestore(),
        }
        self._verifier.check(step)
        with self._reading(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        self._without_end = step if restored["unfinished"] else None
        return restored["state"], restored["unfinished"]

    def restore_part(self, step: int, abstract: Any) -> Any:
        """Reads some of the arrays of a checkpoint's state.

        Args:
          step: one of `steps()`.
          abstract: shapes, dtypes and shardings, a `flax.struct` of some fields of the state.

        Returns:
          The arrays, in a struct like it.

        Raises:
          WorkdirError: the checkpoint is damaged.
        """
        self._verifier.check(step)
        with self._reading(step):
            wanted = {name: part for name, part in vars(abstract).items() if jax.tree.leaves(part)}
            return abstract.replace(**self._read_part(step, wanted))

    def records(self, step: int) -> str | None:
        """The copy that a checkpoint has of the run's records, as they were saved with it.

        Returns:
          The text; None of a checkpoint of a time before they had any.

        Raises:
          DamagedCheckpointError: it is damaged.
        """
        self._verifier.check(step)
        with self._reading(step):
            path = self.directory / str(step) / checkpoint_folder.RECORDS
            return path.read_text() if path.exists() else None

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # damaged files raise whatever their reader trips over
            if is_of_lost_process(error):
                raise lost_process() from error
            raise self._verifier.damaged(
                step, f"it cannot be read ({self._reason(error)})"
            ) from error

    def _read_part(self, step: int, item: dict[str, Any]) -> dict[str, Any]:
        arguments = ocp.args.PyTreeRestore(
            item,
            restore_args=ocp.checkpoint_utils.construct_restore_args(item),
            partial_restore=True,
        )
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            found = reader.restore(self._plain.path / str(step) / "state", args=arguments)
        # Of what is not there Orbax gives back what it was asked for.
        for path, leaf in jax.tree_util.tree_leaves_with_path(found):
            if not isinstance(leaf, jax.Array):
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                raise ValueError(f"it has no {shown(name)}")
        return found

    def _reason(self, error: Exception) -> str:
        alias = str(self._plain.path) if self._plain is not None else ""
        found = reason(error)
        return found.replace(alias, shown(self.directory)) if alias else found
