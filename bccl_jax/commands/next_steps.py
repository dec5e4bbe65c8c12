"""What can be done with a run that has ended, as commands to be copied."""

import pathlib

from bccl_jax.system.commands import shown_command
from bccl_jax.system.names import printable


def next_steps(workdir: pathlib.Path, trackers: str) -> str:
    """Lines of a name and a command.

    Args:
      workdir: of the run.
      trackers: as `config.trackers` has them.
    """
    command = shown_command("bccl_jax.main", f"--workdir={workdir}")
    lines = [
        f"picture      {printable(workdir / 'report.png')}",
        f"look closer  {shown_command('bccl_jax.report', str(workdir))}",
        f"evaluate     {command} --mode=eval",
        f"mistakes     {command} --mode=eval --details",
        f"resume       {command}",
        f"predict      {shown_command('bccl_jax.predict', str(workdir))} PICTURES",
    ]
    if "tensorboard" in trackers.split(","):
        logs = printable(workdir / "tensorboard")
        lines.append(f"TensorBoard  pip install tensorboard; tensorboard --logdir={logs}")
    return "\n".join(lines)
