"""TensorBoard event files of a run's records, without TensorFlow."""

import os

from tensorboardX import SummaryWriter

from bccl_jax.tracking.callback import Callback
from bccl_jax.tracking.scalars import scalars

# Of a run's directory.
FOLDER = "tensorboard"


class TensorBoard(Callback):
    """Writes each record's numbers as scalars over epochs, pictures, and the config as a text."""

    def begin(self, run):
        """Opens an event file; events of later epochs, left by an interrupted run, are hidden."""
        folder, epoch = run.workdir / FOLDER, len(run.records)
        lacking = run.records if not folder.exists() else ()
        purge = epoch + 1 if epoch and not lacking else None
        # Files are named by seconds: one of a run that goes on at once is not to be written over.
        suffix = f".{epoch}.{os.getpid()}"
        self._writer = SummaryWriter(str(folder), purge_step=purge, filename_suffix=suffix)
        if lacking or not epoch:
            rows = "".join(f"|{key}|{value!r}|\n" for key, value in run.config.items())
            self._writer.add_text("config", f"|key|value|\n|-|-|\n{rows}")
        for record in lacking:
            self.epoch(record)

    def epoch(self, record):
        """Writes the numbers of a record."""
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record["epoch"])
        self._writer.flush()

    def picture(self, name, image, epoch):
        """Writes an image."""
        self._writer.add_image(name, image, epoch, dataformats="HWC")

    def end(self, result):
        """Closes the event file."""
        del result
        self._writer.close()
