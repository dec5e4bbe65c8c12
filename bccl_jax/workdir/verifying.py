"""Looks at checkpoints before they are read: are they what was written, and what helps if not."""

import pathlib
import time

import jax
import numpy as np

from bccl_jax.devices.mesh import gather_rows, is_lead
from bccl_jax.errors import DamagedCheckpointError
from bccl_jax.system import digests
from bccl_jax.system.commands import shown_command
from bccl_jax.system.locks import is_held
from bccl_jax.system.names import shown
from bccl_jax.system.progress import say
from bccl_jax.workdir import checkpoint_folder
from bccl_jax.workdir.holding import LOCK

# Where going on from an earlier checkpoint puts others, beside the directory of checkpoints.
SET_ASIDE = "set_aside"
# Seconds for a run under way to have removed a checkpoint whose files begin to go.
_PATIENCE = 10.0


class Verifier:
    """Compares the files of checkpoints with their digests, once each.

    Args:
      directory: of the checkpoints of a run, absolute, by its own name.
      read_only: whether who asks only reads, so that a run may be under way there.
    """

    def __init__(self, directory: pathlib.Path, read_only: bool):
        self._directory, self._read_only = directory, read_only
        # The names of their files.
        self._whole: dict[int, list[str]] = {}

    def check(self, step: int) -> None:
        """Checks that a checkpoint is what was written; of several processes each looks at a part.

        One of a time before digests were written passes, and a line says so.

        Raises:
          DamagedCheckpointError: it is not; the message names the file, and what to do.
        """
        if step in self._whole:
            return
        folder = self._folder(step)
        try:
            listed = checkpoint_folder.digests_of(folder)
        except DamagedCheckpointError as error:
            raise self.damaged(step, str(error)) from error
        if listed is None and folder.exists():
            if is_lead():
                say(
                    f"the checkpoint {shown(folder)} has no digests, as those of earlier versions: "
                    "damage to it would not be noticed"
                )
        elif wrong := self._wrong(folder, listed or {}):
            raise self.damaged(step, wrong)
        self._whole[step] = list(listed) if listed is not None else digests.files(folder)

    def _wrong(self, folder: pathlib.Path, listed: dict[str, str]) -> str:
        count, index = jax.process_count(), jax.process_index()
        found = digests.damage(folder, listed, lambda position: position % count == index)
        # All of them ask, for the answer is one for all.
        anywhere = gather_rows(np.array([bool(found)])).any()
        if anywhere and not found:
            return "another process found a file of it that is not what was written"
        if len(found) > 1:
            return f"{found[0]}, and {len(found) - 1} more of its files are damaged"
        return found[0] if found else ""

    def is_there(self, step: int) -> bool:
        """Whether a checkpoint has all of its files, and so had them for all the time before."""
        return all((self._folder(step) / name).exists() for name in self._whole.get(step, [""]))

    def goes(self, step: int) -> bool:
        """Whether a checkpoint is gone, or goes: the run that writes them keeps some alone."""
        end = time.monotonic() + _PATIENCE
        while self._folder(step).exists():
            if time.monotonic() > end or not self._is_under_way():
                return False
            time.sleep(0.02)
        return True

    def _is_under_way(self) -> bool:
        return self._read_only and is_held(self._directory.parent / LOCK)

    def damaged(self, step: int, wrong: str) -> DamagedCheckpointError:
        """The error of a checkpoint that is not what was written.

        Args:
          step: of it.
          wrong: a clause about it.
        """
        folder = self._folder(step)
        told = f"the checkpoint {shown(folder)} is damaged: {wrong}; restore it from a copy"
        other = self._another(step)
        if other is None:
            told += " (there is no other one that is whole)"
            if not self._read_only:
                told += ", or name another --workdir to begin anew"
        elif self._read_only:
            told += f", or name the one of step {other}, which is whole: --checkpoint={other}"
        else:
            command = shown_command(
                "bccl_jax.main", f"--workdir={self._directory.parent}", f"--checkpoint={other}"
            )
            told += (
                f", or go on from step {other}, whose checkpoint is whole, by: {command} (which "
                f"moves the damaged one to {shown(self._directory.parent / SET_ASIDE)})"
            )
        return DamagedCheckpointError(told)

    def is_whole(self, step: int) -> bool:
        """Whether a checkpoint is what was written, as far as it has digests; no other process."""
        try:
            listed = checkpoint_folder.digests_of(self._folder(step))
            checkpoint_folder.score(self._folder(step))
        except DamagedCheckpointError:
            return False
        return not digests.damage(self._folder(step), listed or {})

    def _another(self, step: int) -> int | None:
        """The newest checkpoint before another one that is whole, or else the newest of all."""
        there = [other for other in checkpoint_folder.steps(self._directory) if other != step]
        earlier_first = sorted(there, key=lambda other: (other < step, other), reverse=True)
        return next(filter(self.is_whole, earlier_first), None)

    def _folder(self, step: int) -> pathlib.Path:
        return self._directory / str(step)
