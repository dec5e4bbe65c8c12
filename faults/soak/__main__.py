"""Whether anything grows where nothing should: python -m faults.soak.

Each phase does the same thing over and over in a process of its own, which is sampled: memory,
file handles, threads, processes, shared memory, JAX's arrays and compilations, and the files of the
run. A figure that grows faster than its bound is a FAIL, and the exit code is then 1. Written are
soak.json, all samples and verdicts, and soak.png.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common import ROOT, machine, table
from faults.soak import flatness, picture, sampling
from faults.soak.phases import PHASES


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the phases, one after the other; returns 1 if one of them failed."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, phase in PHASES.items():
        flags.add_argument(
            f"--{name}",
            type=int,
            default=phase.number,
            help=f"each {phase.unit} is one (default: %(default)s; 0 for none)",
        )
    flags.add_argument(
        "--output",
        type=pathlib.Path,
        default=ROOT / "runs" / "soak",
        help="a folder that is not there yet (default: %(default)s)",
    )
    options = flags.parse_args(argv)
    options.output.mkdir(parents=True)
    numbers = {name: getattr(options, name) for name in PHASES if getattr(options, name)}
    where, taken, seconds = machine(), {}, {}
    for name, number in numbers.items():
        print(f"{name}: {number:,}", flush=True)
        begun = time.monotonic()
        taken[name] = repeated(options.output / name, name, number)
        seconds[name] = round(time.monotonic() - begun)
    verdicts = {
        name: flatness.judge(samples, PHASES[name].slopes) for name, samples in taken.items()
    }
    rows = list(as_rows(verdicts))
    print(table(rows))
    write_json(
        options.output / "soak.json",
        {"machine": where, "numbers": numbers, "seconds": seconds, "verdicts": rows},
        taken,
    )
    picture.save(options.output / "soak.png", taken)
    print(f"written to {options.output}: soak.json, soak.png, and a log of each phase")
    return int(any(row["verdict"] == "FAIL" for row in rows))


def repeated(folder: pathlib.Path, name: str, number: int) -> list[dict[str, float]]:
    """Runs a phase in a process of its own.

    Args:
      folder: for all that it writes; it is made.
      name: of the phase.
      number: how often it does what it does.

    Returns:
      Its samples.

    Raises:
      RuntimeError: it ended in an error; the message has the end of its log.
    """
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-m", "faults.soak.phases", name, str(folder), str(number)]
    variables = {**os.environ, "TMPDIR": str(temporary), "JAX_PLATFORMS": "cpu"}
    log = folder / "log"
    with log.open("w") as file:
        done = subprocess.run(command, cwd=ROOT, env=variables, stdout=file, stderr=file)
    if done.returncode:
        raise RuntimeError(
            f"{name} ended with {done.returncode}; {log} ends:\n{log.read_text()[-3000:]}"
        )
    return sampling.read(folder / "samples.jsonl")


def as_rows(verdicts: Mapping[str, list[flatness.Verdict]]) -> list[dict[str, Any]]:
    """Verdicts as the rows of a table, what is not flat first."""
    rows = [
        {"phase": phase, **dataclasses.asdict(one), "verdict": "flat" if one.flat else "FAIL"}
        for phase, found in verdicts.items()
        for one in found
    ]
    return sorted(rows, key=lambda row: row["verdict"] != "FAIL")


def write_json(
    path: pathlib.Path, head: Mapping[str, Any], taken: Mapping[str, list[dict[str, float]]]
) -> None:
    """Writes all of it, the samples as a column for each figure."""
    columns = {
        phase: {name: [sample[name] for sample in samples] for name in samples[0]}
        for phase, samples in taken.items()
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(f'"samples": {json.dumps(columns, separators=(",", ":"))}')
    path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
