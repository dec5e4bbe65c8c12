"""Runs experiments: every cell that has no record yet, the most informative first.

    python -m experiments.run table4 --seeds=3
    python -m experiments.run table4 figure3 --dataset=cifar100_small --budget=60

A run that is interrupted, by a signal, a closed terminal or the end of the budget, goes on from its
last checkpoint with the next command. Results of other code or of another config are never taken
for those that were asked for.
"""

import argparse
import contextlib
import dataclasses
import gc
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from bccl_jax import config as default
from bccl_jax.config.dataset import load_data
from bccl_jax.config.validation import validate
from bccl_jax.errors import BcclError, ConfigError, WorkdirError
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.output import PIPE_CLOSED, lasting, of_a_command
from bccl_jax.system.processes import REQUESTS, without_main
from experiments import provenance, results, selection, worker
from experiments.catalogue import EXPERIMENTS
from experiments.design import Cell, Scale, cells
from experiments.results import Paths

# What a run under way needs to save itself before the budget ends, seconds.
GRACE = 20.0
# With less than this before that, a run would hardly begin.
_TOO_SHORT = 30.0
# Memory that a run on a CPU is thought to take, bytes.
_MEMORY = 2 * 2**30


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the flags say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.run",
        description="Runs every cell that has no record yet; the same command goes on.",
        # --seed=1 would be taken for --seeds=1, which runs seed 0.
        allow_abbrev=False,
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--budget", type=float, metavar="MINUTES", help="stop before that; the next command goes on"
    )
    parser.add_argument(
        "--parallel", type=int, metavar="N",
        help="runs at a time, each a process; on a CPU one for each core, on a GPU 1",
    )  # fmt: skip
    parser.add_argument(
        "--rows", metavar="ROW[;ROW]",
        help="of the experiments' rows these alone, in their order",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="list what would be run, and stop")
    arguments = selection.parse(parser, argv)
    if arguments.budget is not None and not GRACE < arguments.budget * 60 < float("inf"):
        parser.error(f"--budget={arguments.budget}: choose more than the {GRACE:.0f} s to stop in")
    if arguments.parallel is not None and arguments.parallel < 1:
        parser.error(f"--parallel={arguments.parallel} is less than 1")
    deadline = None
    if arguments.budget is not None:
        deadline = time.monotonic() + 60 * arguments.budget - GRACE
    try:
        paths = Paths(directory_to_write(arguments.output, "--output").absolute())
        planned = plan(arguments.experiments, selection.scale(arguments))
        if arguments.rows is not None:
            planned = only(planned, arguments.rows.split(";"))
        waiting = outstanding(planned, results.load(paths.results))
        print(f"{len(planned) - len(waiting)} of {len(planned)} runs have a record", flush=True)
        if arguments.plan:
            for cell in waiting:
                print(_label(cell))
            return 0
        if not waiting:
            print(f"nothing left to do; {paths.results} has all of them")
            return 0
        check(waiting, paths)
        parallel = min(arguments.parallel or _default_parallel(), len(waiting))
        return Runner(paths, parallel, deadline).run(waiting)
    except BcclError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def plan(names: list[str], scale: Scale) -> list[Cell]:
    """The cells of several experiments in the order to run them, each run once.

    Raises:
      ConfigError: a row does not fit a data set.
    """
    found = {}
    for name in names:
        for cell in cells(EXPERIMENTS[name], scale):
            found.setdefault((cell.config_hash, cell.seed), cell)
    return list(found.values())


def only(planned: list[Cell], rows: list[str]) -> list[Cell]:
    """The cells of some rows, in the order that they had.

    Raises:
      ConfigError: no cell is of one of the rows.
    """
    known = dict.fromkeys(cell.row for cell in planned)
    for row in rows:
        if row not in known:
            meant = did_you_mean(nearest(row, known))
            raise ConfigError(
                f"--rows: no row is called {row!r}; there are {'; '.join(known)}{meant}"
            )
    return [cell for cell in planned if cell.row in rows]


def check(waiting: list[Cell], paths: Paths) -> None:
    """Checks every config, that the data of each is there, and that results can be written.

    Raises:
      BcclError: what `validate` and `load_data` raise, or the directory cannot be written.
    """
    for cell in waiting:
        validate(cell.config)
    data = {json.dumps(default.flatten(cell.config.data)): cell.config for cell in waiting}
    for config in data.values():
        load_data(config)
    gc.collect()
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        with paths.results.open("a"):
            pass
    except OSError as error:
        raise WorkdirError(
            f"--output={paths.root} cannot be written ({error.strerror}); name another directory"
        ) from error


def outstanding(planned: list[Cell], records: list[results.Record]) -> list[Cell]:
    """The cells that have no record by the code that is checked out."""
    done = {results.key(record) for record in records}
    code = provenance.code_hash()
    return [cell for cell in planned if (code, cell.config_hash, cell.seed) not in done]


def _default_parallel() -> int:
    if os.environ.get("JAX_PLATFORMS") != "cpu" and shutil.which("nvidia-smi") is not None:
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(_cores()), memory // _MEMORY))


def _cores() -> list[int]:
    # Not every system can say which cores a process may take.
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _shared_out(parallel: int) -> list[list[int]]:
    """The cores of each worker: an equal part, or [] for all where there is nothing to share."""
    cores = _cores()
    share = len(cores) // parallel
    if parallel == 1 or not share or not hasattr(os, "sched_setaffinity"):
        return [[] for _ in range(parallel)]
    return [cores[i * share : (i + 1) * share] for i in range(parallel)]


@contextlib.contextmanager
def _on_cores(cores: list[int]) -> Iterator[None]:
    """What is started within it stays on some cores, with all its threads."""
    if not cores:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _label(cell: Cell) -> str:
    where = f"{cell.dataset} {cell.imbalance:g}"
    if cell.config.data.validation_fraction:
        where += " validation"
    return f"{cell.row}, {where}, seed {cell.seed} [{cell.config_hash}]"


@dataclasses.dataclass
class _Worker:
    process: multiprocessing.Process
    connection: multiprocessing.connection.Connection
    cores: list[int]
    cell: Cell | None = None


class _Stop(Exception):
    """A signal asks to stop."""


@contextlib.contextmanager
def _signals_stop() -> Iterator[None]:
    """Raises `_Stop` with the first signal; Ctrl-C stays KeyboardInterrupt.

    What was ignored before, as `nohup` has it of SIGHUP, stays ignored.
    """
    previous = {
        signum: signal.getsignal(signum)
        for signum in REQUESTS
        if signum != signal.SIGINT and signal.getsignal(signum) is not signal.SIG_IGN
    }

    def stop(signum, _frame):
        # A scheduler may send it more than once; it is the same request.
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        raise _Stop(signum)

    for signum in previous:
        signal.signal(signum, stop)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


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
        with _signals_stop():
            try:
                self._workers = [self._start(cores) for cores in _shared_out(self._parallel)]
                for outcome, cell in self._work(list(waiting)):
                    left -= outcome.status == "done"
                    failed += outcome.status == "failed"
                    counted = f"{total - left} of {total}: {_label(cell)}"
                    print(f"{counted}: {outcome.status}, {outcome.message}", flush=True)
            except (KeyboardInterrupt, _Stop, BrokenPipeError) as stop:
                with lasting(lambda: None):
                    told = "stopping: runs under way save themselves first"
                    print(told, file=sys.stderr, flush=True)
                self._end()
                if isinstance(stop, BrokenPipeError):
                    return PIPE_CLOSED
                return 128 + (stop.args[0] if isinstance(stop, _Stop) else signal.SIGINT)
            self._end()
        if left:
            why = f"{failed} failed, " if failed else ""
            print(f"{why}{left} of {total} runs are left; the same command goes on", flush=True)
        return int(left > 0)

    def _work(self, queue: list[Cell]) -> Iterator[tuple[worker.Outcome, Cell]]:
        while True:
            for each in list(self._workers):
                if each.cell is None and queue and self._may_begin():
                    try:
                        each.connection.send(queue[0])
                    except OSError:  # it died while it had nothing to do
                        each = self._replace(each)
                        each.connection.send(queue[0])
                    each.cell = queue.pop(0)
                    log = self._paths.run(each.cell, self._code.hash).with_suffix(".log")
                    print(f"begun: {_label(each.cell)}, {log}", flush=True)
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
        with _on_cores(cores), without_main():
            process.start()
        there.close()
        return _Worker(process, here, cores)

    def _replace(self, each: _Worker) -> _Worker:
        each.connection.close()
        each.process.join()
        fresh = self._start(each.cores)
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


if __name__ == "__main__":
    with of_a_command():
        sys.exit(main())
