"""Worker processes, and the cells that they are handed one by one."""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from bccl_jax.system.output import PIPE_CLOSED, lasting
from bccl_jax.system.processes import without_main

from ..designing.design import Cell
from ..records.results import Paths
from . import provenance, worker
from .cores import kept, on_cores, shared_out
from .planning import label
from .stopping import Stop, signals_stop

# What a run under way needs to save itself before the budget ends, seconds.
GRACE = 20.0
# With less than this before that, a run would hardly begin.
_TOO_SHORT = 30.0


@dataclasses.dataclass
class _Worker:
    process: multiprocessing.Process
    connection: multiprocessing.connection.Connection
    cores: list[int]
    cell: Cell | None = None
    # What it has where a run does not need another number of them.
    share: list[int] | None = None


class Runner:
    """Hands cells to worker processes until none is left or time is over.

    Args:
      paths: of the output directory.
      parallel: worker processes.
      deadline: of `time.monotonic`, when runs under way are told to save and stop, `GRACE` before
        they are ended; None for none.
      serve: the main function of a worker process, as `worker.serve`.
    """

    def __init__(
        self,
        paths: Paths,
        parallel: int,
        deadline: float | None = None,
        serve: Callable = worker.serve,
    ):
        self._paths, self._parallel, self._deadline = paths, parallel, deadline
        self._serve = serve
        self._code = provenance.code()
        self._workers: list[_Worker] = []
        self._told = False

    def run(self, waiting: list[Cell]) -> int:
        """Runs the cells in their order; returns the exit code, 0 if every one has a record."""
        total = left = len(waiting)
        failed = 0
        if self._parallel > 1:
            # Of a GPU's memory, which a process would else take most of.
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / self._parallel:.3f}")
        with signals_stop():
            try:
                self._workers = [self._start(cores) for cores in shared_out(self._parallel)]
                for outcome, cell in self._work(list(waiting)):
                    left -= outcome.status == "done"
                    failed += outcome.status == "failed"
                    counted = f"{total - left} of {total}: {label(cell)}"
                    print(f"{counted}: {outcome.status}, {outcome.message}", flush=True)
            except (KeyboardInterrupt, Stop, BrokenPipeError) as stop:
                with lasting(lambda: None):
                    told = "stopping: runs under way save themselves first"
                    print(told, file=sys.stderr, flush=True)
                self._end()
                if isinstance(stop, BrokenPipeError):
                    return PIPE_CLOSED
                return 128 + (stop.args[0] if isinstance(stop, Stop) else signal.SIGINT)
            self._end()
        if left:
            why = f"{failed} failed, " if failed else ""
            print(f"{why}{left} of {total} runs are left; the same command goes on", flush=True)
        return int(left > 0)

    def _work(self, queue: list[Cell]) -> Iterator[tuple[worker.Outcome, Cell]]:
        while True:
            for each in list(self._workers):
                if each.cell is None and queue and self._may_begin():
                    workdir = self._paths.run(queue[0], self._code.hash)
                    if (cores := kept(workdir, each.share)) != each.cores:
                        each = self._replace(each, cores)
                    # Before it is sent: a signal may come as soon as the worker has it.
                    each.cell = cell = queue.pop(0)
                    try:
                        each.connection.send(cell)
                    except OSError:  # it died while it had nothing to do
                        each = self._replace(each)
                        each.cell = cell
                        each.connection.send(cell)
                    log = self._paths.run(each.cell, self._code.hash).with_suffix(".log")
                    print(f"begun: {label(each.cell)}, {log}", flush=True)
            busy = {each.connection: each for each in self._workers if each.cell is not None}
            if not busy:
                return
            for connection in multiprocessing.connection.wait(list(busy), self._patience()):
                each = busy[connection]
                cell, each.cell = each.cell, None
                outcome, ended = self._receive(each)
                if ended and queue and not self._told:
                    self._replace(each)
                elif ended:
                    self._workers.remove(each)
                yield outcome, cell
            self._keep_time()

    def _receive(self, each: _Worker) -> tuple[worker.Outcome, bool]:
        """What became of a cell, and whether its process has ended with it."""
        try:
            outcome = each.connection.recv()
            return outcome, outcome.status == "stopped"
        except (EOFError, ConnectionError):
            each.process.join()
            code = each.process.exitcode
            # Before it had begun nothing catches the signal, and nothing is lost.
            told = self._told and code in (-signal.SIGTERM, -signal.SIGKILL)
            if told:
                return worker.Outcome("stopped", "it goes on from its last checkpoint"), True
            return worker.Outcome("failed", f"its process ended with {code}"), True

    def _may_begin(self) -> bool:
        if self._deadline is None:
            return True
        return not self._told and time.monotonic() + _TOO_SHORT < self._deadline

    def _patience(self) -> float | None:
        """Seconds to wait for an outcome; None for ever."""
        if self._deadline is None:
            return None
        until = self._deadline + (GRACE if self._told else 0.0)
        return min(max(0.0, until - time.monotonic()), 3600.0)

    def _keep_time(self) -> None:
        """At the deadline tells runs under way to stop; `GRACE` later it ends them."""
        if self._deadline is None:
            return
        late = time.monotonic() - self._deadline
        if late >= GRACE:
            for each in self._workers:
                each.process.kill()
        elif late >= 0:
            self._tell()

    def _tell(self) -> None:
        if self._told:
            return
        self._told = True
        for each in self._workers:
            if each.cell is not None:
                each.process.terminate()

    def _start(self, cores: list[int]) -> _Worker:
        # Nothing of JAX may be inherited; each worker has its own.
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=self._serve, args=(there, self._paths, self._code))
        with on_cores(cores), without_main():
            process.start()
        there.close()
        return _Worker(process, here, cores, share=cores)

    def _replace(self, each: _Worker, cores: list[int] | None = None) -> _Worker:
        each.connection.close()
        each.process.join()
        fresh = self._start(each.cores if cores is None else cores)
        fresh.share = each.share
        self._workers[self._workers.index(each)] = fresh
        return fresh

    def _end(self) -> None:
        """Lets every worker save and end; another Ctrl-C waits no longer."""
        try:
            self._tell()
            for each in self._workers:
                each.connection.close()
            for each in self._workers:
                each.process.join()
        except KeyboardInterrupt:
            for each in self._workers:
                each.process.kill()
