"""TensorBoard event files of a run's records, without TensorFlow."""

import pathlib

from tensorboardX import SummaryWriter


class TensorBoard:
    """Writes each record's numbers as scalars over epochs.

    Args:
      directory: of the event files.
      epoch: epochs complete; events of later epochs, left by an interrupted run, are hidden.
    """

    def __init__(self, directory: pathlib.Path, epoch: int):
        purge = epoch + 1 if epoch else None
        self._writer = SummaryWriter(str(directory), purge_step=purge)

    def write(self, record: dict) -> None:
        """Writes the groups "train", "refresh", "eval" and "eval_ema" of a record."""
        for group in ("train", "refresh", "eval", "eval_ema"):
            for name, value in record.get(group, {}).items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{group}/{name}", value, record["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()
