"""A process that trains cells one after the other and appends their records."""

import contextlib
import dataclasses
import gc
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

import jax

from bccl_jax.errors import BcclError, WorkdirError
from bccl_jax.system.interruption import Interrupted
from bccl_jax.system.output import lasting

from ..designing.design import Cell
from ..records import results
from ..records.results import Paths
from . import provenance, training
from .provenance import Code


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a cell ended: "done", "stopped" (it goes on later) or "failed", and a word on it."""

    status: str
    message: str


def serve(
    connection: Connection,
    paths: Paths,
    code: Code,
    train: Callable[..., results.Record] = training.run,
) -> None:
    """Trains the cells that come over a connection; a process's main function.

    It ends when the other side closes, after a signal, or when its parent is gone; in each case the
    run under way saves a checkpoint first.

    Args:
      connection: cells come in, an `Outcome` goes out for each.
      paths: of the output directory.
      code: what the command was started with.
      train: what makes a cell's record, as `training.run`.
    """
    # The terminal's Ctrl-C is the parent's to answer.
    os.setsid()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    # The parent may be gone, with what it was sent unread.
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            cell = connection.recv()
            outcome = _attempt(cell, paths, code, train)
            _forget()
            connection.send(outcome)
            if outcome.status == "stopped":
                return


def _stop_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _attempt(cell: Cell, paths: Paths, code: Code, train: Callable) -> Outcome:
    log = paths.run(cell, code.hash).with_suffix(".log")
    try:
        if provenance.code_hash() != code.hash:
            raise WorkdirError("the code was changed while the command ran; give it again")
        log.parent.mkdir(parents=True, exist_ok=True)
        with _output_to(log):
            record = train(cell, paths, code)
        results.append(paths.results, record)
    except Interrupted as stop:
        return Outcome("stopped", str(stop))
    except BcclError as error:
        return Outcome("failed", str(error))
    except Exception as error:  # whatever it is, the other cells can be run
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        return Outcome("failed", f"{type(error).__name__}: {error}; {log} has the rest")
    found = f"all {record['last']['all']:.2f} %"
    if "ema" in record:
        found += f", of the averaged weights {record['ema']['last']['all']:.2f} %,"
    return Outcome("done", f"{found} in {record['seconds']:.0f} s")


@contextlib.contextmanager
def _output_to(path: pathlib.Path):
    """What a run prints, bars and warnings of libraries included, goes to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with lasting():
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)


def _forget() -> None:
    """Gives the memory of a run back: JAX keeps every program, with what its functions hold."""
    jax.clear_caches()
    gc.collect()
