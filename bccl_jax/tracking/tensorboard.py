"""TensorBoard event files of a run's records, without TensorFlow."""

import os
import pathlib
import socket
import time
from typing import Any

from tensorboardX import RecordWriter, summary
from tensorboardX.proto.event_pb2 import Event, SessionLog

from bccl_jax.tracking.callback import Callback
from bccl_jax.tracking.scalars import scalars

# Of a run's directory.
FOLDER = "tensorboard"


class TensorBoard(Callback):
    """Writes each record's numbers as scalars over epochs, pictures, and the config as a text.

    It writes in its caller's thread. `SummaryWriter` hands events to a thread of its own, which
    ends at the first error, of a full disk or of a clock that is set back by weeks, and after ten
    events more the run would wait for it for ever.
    """

    def begin(self, run):
        """Opens an event file; events of later epochs, left by an interrupted run, are hidden."""
        folder, epoch = run.workdir / FOLDER, len(run.records)
        lacking = run.records if not folder.exists() else ()
        self._file = _create(folder, epoch)
        self._write(file_version="brain.Event:2")
        if epoch and not lacking:
            self._write(step=epoch + 1, session_log=SessionLog(status=SessionLog.START))
        if lacking or not epoch:
            rows = "".join(f"|{key}|{value!r}|\n" for key, value in run.config.items())
            text = f"|key|value|\n|-|-|\n{rows}"
            self._write(summary=summary.text("config", text))
        for record in lacking:
            self.epoch(record)

    def epoch(self, record):
        """Writes the numbers of a record."""
        for name, value in scalars(record).items():
            self._write(step=record["epoch"], summary=summary.scalar(name, value))
        self._file.flush()

    def picture(self, name, image, epoch):
        """Writes an image."""
        self._write(step=epoch, summary=summary.image(name, image, dataformats="HWC"))

    def end(self, result):
        """Closes the event file."""
        del result
        self._file.close()

    def _write(self, **fields: Any) -> None:
        self._file.write(Event(wall_time=time.time(), **fields).SerializeToString())


def _create(folder: pathlib.Path, epoch: int) -> RecordWriter:
    folder.mkdir(parents=True, exist_ok=True)
    # Files are named by seconds: one of a run that goes on at once is not to be written over.
    name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{epoch}.{os.getpid()}"
    return RecordWriter(str(folder / name))
