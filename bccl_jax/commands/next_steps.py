"""What can be done with a run that has ended, as commands to be copied."""

import os
import pathlib
import shlex
import sys

from bccl_jax.system.names import printable


def next_steps(workdir: pathlib.Path, trackers: str) -> str:
    """Lines of a name and a command.

    Args:
      workdir: of the run.
      trackers: as `config.trackers` has them.
    """
    command = _shown_command("bccl_jax.main", f"--workdir={workdir}")
    lines = [
        f"picture      {printable(workdir / 'report.png')}",
        f"evaluate     {command} --mode=eval",
        f"resume       {command}",
        f"predict      {_shown_command('bccl_jax.predict', str(workdir))} PICTURES",
    ]
    if "tensorboard" in trackers.split(","):
        logs = printable(workdir / "tensorboard")
        lines.append(f"TensorBoard  pip install tensorboard; tensorboard --logdir={logs}")
    return "\n".join(lines)


def _shown_command(*arguments: str) -> str:
    command = shlex.join([sys.executable, "-m", *arguments])
    # Bytes that are not UTF-8 can only be shown.
    return os.fsencode(command).decode(errors="backslashreplace")
