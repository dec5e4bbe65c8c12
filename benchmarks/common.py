"""What the benchmarks share: timing, the machine in words, a table on screen, JSON beside it."""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from bccl_jax.devices.computed_on import computed_on

ROOT = pathlib.Path(__file__).resolve().parents[1]


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """An argument parser with what every benchmark takes.

    Args:
      description: the module's docstring.
      name: the benchmark's, which names its JSON file.

    Returns:
      A parser with `--json` and `--repeats`.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--json",
        type=pathlib.Path,
        default=ROOT / "runs" / "benchmarks" / f"{name}.json",
        help="file to write (default: %(default)s)",
    )
    made.add_argument("--repeats", type=int, default=5, help="timings of which the median is told")
    return made


def seconds(function: Callable, *arguments: Any, repeats: int = 5) -> float:
    """Median seconds of a call, compiled and warmed up by one call before.

    Args:
      function: returns a pytree of JAX arrays, which are waited for.
      *arguments: of the function; it must not donate them.
      repeats: how many calls are timed.

    Returns:
      Seconds.
    """
    jax.block_until_ready(function(*arguments))
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def in_turn(functions: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Median seconds of several functions, called one after the other in each round.

    A machine that slows down or is shared then slows all of them alike, so that ratios hold.

    Args:
      functions: by name; each takes nothing and returns once its work is done.
      repeats: rounds that are timed, after one that is not.

    Returns:
      Seconds by name.
    """
    found = {name: [] for name in functions}
    for timed in range(repeats + 1):
        for name, function in functions.items():
            started = time.perf_counter()
            jax.block_until_ready(function())
            if timed:
                found[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in found.items()}


def machine() -> dict[str, Any]:
    """Returns what a figure depends on beside the code: device, cores, versions, flags, commit."""
    return {
        **computed_on()._asdict(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "commit": _git("describe", "--always", "--dirty", "--abbrev=7"),
    }


def report(rows: Sequence[dict[str, Any]], settings: dict[str, Any], path: pathlib.Path) -> None:
    """Prints rows as a Markdown table under a line on the machine, and writes both as JSON.

    Args:
      rows: one dict a row, all with the same keys: the first row's are the header.
      settings: what was measured, JSON-able.
      path: the JSON file; its directory is made.
    """
    where = machine()
    print(", ".join(f"{key} {value}" for key, value in where.items() if value != ""))
    print(", ".join(f"{key} {value}" for key, value in settings.items()))
    print(table(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"machine": where, "settings": settings, "rows": list(rows)}, indent=1) + "\n"
    )
    print(f"written to {path}")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns rows as an aligned Markdown table; floats with four significant digits."""
    header = list(rows[0])
    cells = [header, *([_cell(row.get(key)) for key in header] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
