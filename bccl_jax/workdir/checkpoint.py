"""Checkpoints through Orbax: state and unfinished epoch in one atomic step.

The state's step says where in the data a run stands: the stream of images starts anew from there.
"""

import contextlib
import copy
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.numbers import whole_number
from bccl_jax.workdir.plain_path import PlainPath

# What Orbax warns of: each checkpoint between evaluations, for it has no figures to give, and what
# reading alone means.
_EXPECTED = (
    "Requested `tracked_metric`",
    "CheckpointManagerOptions.read_only=True",
    "Given directory is read only",
)


def _unexpected(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_EXPECTED)


logging.getLogger("absl").addFilter(_unexpected)


def _score(metrics: dict[str, Any]) -> tuple[float, float, float]:
    # Of equally accurate epochs the earliest is the best. Accuracies compare over the same classes.
    return -metrics.get("lost_classes", 0), metrics["accuracy"], -metrics["epoch"]


class Checkpoints:
    """The newest and the best checkpoint of a run, written in the background.

    Args:
      directory: where they lie; it is created unless it is there or only to be read.
      read_only: never write or delete anything.

    Raises:
      WorkdirError: from any method that writes, and at the end: what was saved is not on the disk,
        or cannot be read.
    """

    # Averaged weights, of a run that has them, lie beside the raw ones.
    averaged = None

    def __init__(self, directory: pathlib.Path, read_only: bool = False):
        options = ocp.CheckpointManagerOptions(
            # Every call of `save` is meant: the loop decides when.
            save_decision_policy=checkpoint_managers.FixedIntervalPolicy(1),
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(1),
                    checkpoint_managers.BestN(
                        get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False
                    ),
                ]
            ),
            # Without these Orbax forgets after a restart which checkpoint was the best.
            best_fn=_score,
            best_mode="max",
            read_only=read_only,
        )
        self.directory = directory.absolute()
        # The newest save that was not yet looked at: its step, as what it must be read back.
        self._unread: tuple[int, jax.ShapeDtypeStruct] | None = None
        self._trusted = False
        # The step of a checkpoint that was restored and is of an epoch without its end.
        self._without_end: int | None = None
        with self._writing():
            if not read_only:
                self.directory.mkdir(parents=True, exist_ok=True)
            there = self.directory.is_dir()
            self._plain = PlainPath(self.directory) if there else None
            path = self._plain.path if there else self.directory
            self._manager = ocp.CheckpointManager(path, options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.wait()
        finally:
            self._manager.close()
            if self._plain is not None:
                self._plain.close()

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
            raise WorkdirError(
                f"checkpoints cannot be written to {shown(self.directory)} ({self._reason(error)});"
                " mend that and give the same command again, which goes on from the last one that "
                "is whole"
            ) from error

    def _reason(self, error: Exception) -> str:
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        alias = str(self._plain.path) if self._plain is not None else ""
        return first.replace(alias, shown(self.directory)) if alias else first

    def _read_back(self) -> None:
        """Reads one number of what was saved last: a checkpoint without its arrays has none."""
        if self._unread is None:
            return
        (step, abstract), self._unread = self._unread, None
        try:
            found = self._read_part(step, {"step": abstract})
            whole = int(found["step"]) == step
            reason = f"its step is {found['step']}"
        except Exception as error:  # as in `restore`
            whole, reason = False, self._reason(error)
        if not whole:
            raise WorkdirError(
                f"the checkpoint {shown(self.directory / str(step))} was written and cannot be "
                f"read ({reason}); look at the disk that it lies on or name another --workdir"
            )
        self._trusted = True

    def _read_part(self, step: int, item: dict[str, Any]) -> dict[str, Any]:
        arguments = ocp.args.PyTreeRestore(
            item,
            restore_args=ocp.checkpoint_utils.construct_restore_args(item),
            partial_restore=True,
        )
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            return reader.restore(self._plain.path / str(step) / "state", args=arguments)

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """The newest step, None if there is none."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step of the highest accuracy, None if none was evaluated."""
        self._manager.wait_until_finished()
        step = self._manager.best_step()
        return None if step is None or self._manager.metrics(step) is None else step

    def named(self) -> list[str]:
        """Those that have a name: "last", and "best" if one was evaluated."""
        return ["last"] if self.best() is None else ["last", "best"]

    def place(self, step: int) -> str:
        """Where a checkpoint lies, for a message."""
        return str(self.directory / str(step))

    def resolve(self, which: str) -> int:
        """Turns "last", "best" or a number into a step that there is.

        Raises:
          WorkdirError: there is no such checkpoint.
        """
        named = {"last": self.latest, "best": self.best}
        if which in named:
            step = named[which]()
        else:
            step = whole_number(which)
        if step is None or step not in self.steps():
            there = ", ".join(map(str, self.steps())) or "none"
            raise WorkdirError(
                f"there is no checkpoint '{shown(which)}' in {shown(self.directory)} "
                f"(last, best, or one of these steps, not epochs: {there})"
            )
        return step

    def save(
        self,
        state: Any,
        unfinished: dict[str, list[float]],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Writes a checkpoint in the background, named by the state's step.

        Args:
          state: of the run, a `flax.struct` of arrays that has `step`.
          unfinished: metrics of the steps of an epoch that is not complete, by name.
          metrics: {"accuracy", "epoch", "lost_classes"} if the state was evaluated.
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
        with self._writing():
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)
        number = state.step
        abstract = jax.ShapeDtypeStruct(number.shape, number.dtype, sharding=number.sharding)
        self._unread = step, abstract

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
        with self._reading(step):
            wanted = {name: part for name, part in vars(abstract).items() if jax.tree.leaves(part)}
            return abstract.replace(**self._read_part(step, wanted))

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # damaged files raise whatever their reader trips over
            raise WorkdirError(
                f"the checkpoint {shown(self.directory / str(step))} cannot be read "
                f"({self._reason(error)}); restore it, or remove that folder to use an earlier one"
            ) from error
