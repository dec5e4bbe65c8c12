"""A whole training run from its command line: python -m benchmarks.run [-- FLAGS OF bccl_jax.main].

Runs the command twice in new processes, with an empty compilation cache and then with the one that
the first has filled, and tells from the records of each where the time went. The first is short.
What is around the steps, evaluation, clustering, logging and checkpoints, is what remains of the
time from the first step to the end of the process when that of the steps is taken away.

    python -m benchmarks.run
    python -m benchmarks.run --config configs/cifar100_lt.py --epochs 200 -- --config.data.dir=DIR
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.common import ROOT, parser, report


def timed_run(command: Sequence[str], workdir: pathlib.Path, cache: pathlib.Path) -> dict[str, Any]:
    """Runs a training command and tells where its time went.

    Args:
      command: of `bccl_jax.main`, without its --workdir.
      workdir: a new directory.
      cache: the compilation cache.

    Returns:
      Seconds by name; the first epoch's compilation counts as start, and shares are in percent.

    Raises:
      SystemExit: the command failed.
    """
    records = workdir / "metrics.jsonl"
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    with tempfile.TemporaryFile("w+") as output:
        started, first_record = time.perf_counter(), None
        process = subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            if first_record is None and records.exists() and records.stat().st_size:
                first_record = time.perf_counter() - started
            time.sleep(0.01)
        whole = time.perf_counter() - started
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"error: {' '.join(command)} failed:\n{output.read()[-2000:]}")
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    return account(rows, first_record, whole)


def account(rows: Sequence[dict[str, Any]], first_record: float, whole: float) -> dict[str, Any]:
    """Splits the time of a process that trained.

    Args:
      rows: its records of at least three epochs; an epoch's "seconds" are those of its steps and
        of the clustering, if it ended with one.
      first_record: seconds from the start of the process to its first record.
      whole: seconds from the start of the process to its end.

    Returns:
      Seconds by name, and the share around the steps in percent of the time after the start.
    """
    plain = [row["seconds"] for row in rows[1:] if "refresh" not in row]
    epoch = statistics.median(plain or [row["seconds"] for row in rows[1:]])
    # The first epoch's steps are taken to be as fast as the others': what it took more is the
    # compilation's, as are the tracing and the reading of data before it.
    start = first_record - epoch
    clustering = sum(row["seconds"] - epoch for row in rows[1:] if "refresh" in row)
    steps = sum(row["seconds"] for row in rows[1:]) - clustering + epoch
    after_start = whole - start
    return {
        "start to first step s": start,
        "epoch s": epoch,
        "steps s": steps,
        "clustering s": clustering,
        "whole run s": whole,
        "around the steps %": 100 * (after_start - steps) / after_start,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the flags, runs and reports."""
    made = parser(__doc__, "run")
    made.add_argument("--config", default="configs/digits_lt.py", help="(%(default)s)")
    made.add_argument("--epochs", type=int, default=100, help="of the warm run (%(default)s)")
    made.add_argument("--cold-epochs", type=int, default=25, help="of the cold one (%(default)s)")
    argv = list(sys.argv[1:] if argv is None else argv)
    ours, _, theirs = [list(part) for part in _partition(argv, "--")]
    options = made.parse_args(ours)
    rows = []
    with tempfile.TemporaryDirectory(prefix="bccl_jax_run_") as scratch:
        directory = pathlib.Path(scratch)
        for cache, epochs in (("cold", options.cold_epochs), ("warm", options.epochs)):
            command = [sys.executable, "-m", "bccl_jax.main", f"--config={options.config}"]
            command += [f"--config.epochs={epochs}", *theirs]
            found = timed_run(command, directory / cache, directory / "cache")
            rows.append({"cache": cache, "epochs": epochs, **found})
    report(rows, {"config": options.config, "flags": " ".join(theirs)}, options.json)


def _partition(items: list[str], mark: str) -> tuple[list[str], list[str], list[str]]:
    at = items.index(mark) if mark in items else len(items)
    return items[:at], items[at : at + 1], items[at + 1 :]


if __name__ == "__main__":
    main()
