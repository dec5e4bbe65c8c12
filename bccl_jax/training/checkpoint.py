"""Checkpoints through Orbax: state and unfinished epoch in one atomic step.

The state's step says where in the data a run stands: the stream of images starts anew from there.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from bccl_jax.errors import WorkdirError
from bccl_jax.training.state import TrainState


def _score(metrics: dict[str, Any]) -> tuple[float, float, float]:
    # Of equally accurate epochs the earliest is the best. Accuracies compare over the same classes.
    return -metrics.get("lost_classes", 0), metrics["accuracy"], -metrics["epoch"]


class Checkpoints:
    """The newest and the best checkpoint of a run, written in the background.

    Args:
      directory: where they lie; it is created when the first one is written.
      read_only: never write or delete anything.
    """

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
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._manager.wait_until_finished()
        self._manager.close()

    def wait(self) -> None:
        """Returns once all that was saved is on the disk."""
        self._manager.wait_until_finished()

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

    def resolve(self, which: str) -> int:
        """Turns "last", "best" or a number into a step that there is.

        Raises:
          WorkdirError: there is no such checkpoint.
        """
        named = {"last": self.latest, "best": self.best}
        if which in named:
            step = named[which]()
        else:
            step = int(which) if which.isdigit() else None
        if step is None or step not in self.steps():
            there = ", ".join(map(str, self.steps())) or "none"
            raise WorkdirError(
                f"there is no checkpoint {which!r} in {self._manager.directory} "
                f"(last, best, or one of these steps, not epochs: {there})"
            )
        return step

    def save(
        self,
        state: TrainState,
        unfinished: dict[str, list[float]],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Writes a checkpoint in the background, named by the state's step.

        Args:
          state: of the run.
          unfinished: metrics of the steps of an epoch that is not complete, by name.
          metrics: {"accuracy", "epoch", "lost_classes"} if the state was evaluated.
        """
        step = int(state.step)
        # A checkpoint of this very step holds the same bits.
        if step in self._manager.all_steps():
            return
        items = {
            # Orbax reads the arrays while the next step already reuses their donated memory.
            "state": ocp.args.StandardSave(jax.tree.map(jnp.copy, state)),
            "unfinished": ocp.args.JsonSave(unfinished),
        }
        self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, list[float]]]:
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
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # damaged files raise whatever their reader trips over
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise WorkdirError(
                f"the checkpoint {self._manager.directory / str(step)} cannot be read "
                f"({first_line}); restore it, or remove that folder to use an earlier one"
            ) from error
        return restored["state"], restored["unfinished"]
