"""Checkpoints through Orbax: state, unfinished epoch and digests of both in one atomic step.

The state's step says where in the data a run stands: the stream of images starts anew from there.
"""

import contextlib
import copy
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from bccl_jax.devices.lost import is_of_lost_process, lost_process
from bccl_jax.devices.mesh import is_lead
from bccl_jax.errors import WorkdirError
from bccl_jax.system import digests
from bccl_jax.system.names import shown
from bccl_jax.system.reasons import number
from bccl_jax.system.space import NO_ROOM, told, told_free
from bccl_jax.workdir import checkpoint_folder, orbax_log
from bccl_jax.workdir.saved_checkpoints import SavedCheckpoints


class _Kept(checkpoint_managers.PreservationPolicy):
    """Keeps what `checkpoint_folder.kept` says, by our own record of the scores."""

    def __init__(self, scores: dict[int, checkpoint_folder.Score | None]):
        self._scores = scores

    def should_preserve(self, checkpoints, *, context):
        del context
        found = {each.step: self._scores.get(each.step) for each in checkpoints}
        kept = checkpoint_folder.kept(found)
        return [each.step in kept for each in checkpoints]


class Checkpoints(SavedCheckpoints):
    """The newest checkpoints of a run and the best one, written in the background.

    Two newest ones are kept, so that there is another one where the last is damaged.

    Args:
      directory: where they lie; it is created unless it is there or only to be read.
      read_only: never write or delete anything. A run may be under way there.

    Raises:
      DamagedCheckpointError: from any method that reads one, and at once where they are also
        written: it is not what was written.
      WorkdirError: from any method that writes, and at the end: what was saved is not on the disk,
        or cannot be read.
    """

    def __init__(self, directory: pathlib.Path, read_only: bool = False):
        super().__init__(directory, read_only)
        # The newest save that was not yet looked at: its step, as what it must be read back.
        self._unread: tuple[int, jax.ShapeDtypeStruct] | None = None
        self._trusted = False
        self._scores: dict[int, checkpoint_folder.Score | None] = {}
        self._saving, self._size = 0, 0
        self._records: str | None = None
        with self._writing():
            if not read_only:
                self.directory.mkdir(parents=True, exist_ok=True)
                if is_lead():
                    checkpoint_folder.remove_unfinished(self.directory)
                self._check_best()
                self._scores |= self._read_scores()
            self._open(self._options())
        self._failures = orbax_log.Failures()

    def _options(self) -> ocp.CheckpointManagerOptions:
        return ocp.CheckpointManagerOptions(
            # Every call of `save` is meant: the loop decides when.
            save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
            preservation_policy=_Kept(self._scores),
            # By these Orbax writes the scores; it is not asked for them.
            best_fn=checkpoint_folder.rank,
            best_mode="max",
            lightweight_initialize=True,
            read_only=self._read_only,
            async_options=ocp.AsyncOptions(
                post_finalization_callback=self._write_digests,
                # In the background a folder that cannot be made holds the process for minutes.
                create_directories_asynchronously=False,
            ),
        )

    def _write_digests(self) -> None:
        """Called by Orbax, in the background, before it gives the folder its name."""
        folder = checkpoint_folder.unfinished(self._plain.path, self._saving)
        if self._records is not None:
            (folder / checkpoint_folder.RECORDS).write_text(self._records)
        best = json.dumps(checkpoint_folder.best(self._scores))
        (folder / checkpoint_folder.BEST).write_text(best)
        digests.write(folder, but=checkpoint_folder.NOT_IN_DIGESTS)

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *_):
        try:
            if kind is None or not self._failures.found:
                self.wait()
        finally:
            # The background of one process of several may wait for the others, which are not told.
            if not self._failures.found or jax.process_count() == 1:
                # What failed is raised once more, and is told already.
                with contextlib.suppress(Exception):
                    self._manager.wait_until_finished()
                self._manager.close()
            self._failures.close()
            if self._plain is not None:
                self._plain.close()

    def best(self) -> int | None:
        """See `SavedCheckpoints.best`."""
        with self._writing():
            self._manager.wait_until_finished()
        return super().best()

    def check(self) -> None:
        """Finds out, without waiting, whether what is written in the background has failed.

        Raises:
          WorkdirError: it has.
        """
        with self._writing():
            if self._failures.found:
                raise self._failures.found[0]

    def wait(self) -> None:
        """Returns once all that was saved is on the disk, and the newest was found readable."""
        with self._writing():
            self._manager.wait_until_finished()
        self._read_back()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except WorkdirError:
            raise
        except Exception as error:  # Orbax and what is under it raise whatever they like
            self._unread = None
            if is_of_lost_process(error):
                raise lost_process() from error
            raise WorkdirError(
                f"checkpoints cannot be written to {shown(self.directory)} ({self._reason(error)}"
                f"{self._room(error)}); mend that and give the same command again, which goes on "
                "from the last one that is whole"
            ) from error

    def _room(self, error: Exception) -> str:
        if number(error) not in NO_ROOM:
            return ""
        needed = f": one takes {told(self._size)}" if self._size else ""
        return f"{needed}, {told_free(self.directory)}"

    def _read_back(self) -> None:
        """Reads one number of what was saved last: a checkpoint without its arrays has none."""
        if self._unread is None:
            return
        (step, abstract), self._unread = self._unread, None
        try:
            found = int(self._read_part(step, {"step": abstract})["step"])
        except Exception as error:  # as in `restore`
            if is_of_lost_process(error):
                raise lost_process() from error
            raise self._unreadable(step, self._reason(error)) from error
        if found != step:
            raise self._unreadable(step, f"its step is {found}")
        self._trusted = True

    def _unreadable(self, step: int, why: str) -> WorkdirError:
        return WorkdirError(
            f"the checkpoint {shown(self.directory / str(step))} was written and cannot be read "
            f"({why}); look at the disk that it lies on or name another --workdir"
        )

    def save(
        self,
        state: Any,
        unfinished: dict[str, list[float]],
        metrics: dict[str, float] | None = None,
        records: str | None = None,
    ) -> None:
        """Writes a checkpoint in the background, named by the state's step.

        Args:
          state: of the run, a `flax.struct` of arrays that has `step`.
          unfinished: metrics of the steps of an epoch that is not complete, by name.
          metrics: {"accuracy", "epoch", "lost_classes"} if the state was evaluated.
          records: of the epochs that are complete, of which the checkpoint keeps a copy.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            # A checkpoint of this very step holds the same bits, unless it is of an epoch that
            # could not be evaluated then.
            if unfinished or step != self._without_end:
                return
            self._manager.delete(step)
        if not self._trusted:
            # Of the first one: what keeps it from being read would keep all of them.
            self.wait()
        items = {
            # Orbax reads both while the next step already reuses the arrays' donated memory and
            # its metrics are added to the lists.
            "state": ocp.args.StandardSave(jax.tree.map(jnp.copy, state)),
            "unfinished": ocp.args.JsonSave(copy.deepcopy(unfinished)),
        }
        self._size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        with self._writing():
            self._manager.wait_until_finished()
            self._saving, self._scores[step], self._records = step, metrics, records
            self._manager.save(
                step,
                args=ocp.args.Composite(**items),
                metrics=metrics,
                custom_metadata=checkpoint_folder.HAS_DIGESTS,
            )
        number = state.step
        abstract = jax.ShapeDtypeStruct(number.shape, number.dtype, sharding=number.sharding)
        self._unread = step, abstract
