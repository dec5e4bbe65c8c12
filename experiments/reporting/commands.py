"""Commands and file names that belong to a report."""

import argparse
import shlex
from collections.abc import Iterable

from ..records.gathering import Section
from ..records.results import Paths

# Its name: another one once it is installed.
_PACKAGE = __package__.rpartition(".")[0]


def report_name(name: str, arguments: argparse.Namespace, sections: Iterable[Section]) -> str:
    """What the files of a report are called: reports at other scales are other files."""
    given = [
        *(dict.fromkeys(section.dataset for section in sections) if arguments.dataset else ()),
        *(f"{factor:g}" for factor in arguments.imbalance),
        arguments.epochs and f"{arguments.epochs}epochs",
        arguments.backbone,
        arguments.split,
        arguments.code,
    ]
    return "-".join([name, *filter(None, given)])


def run_command(name: str, arguments: argparse.Namespace) -> str:
    """The command that makes the runs of a report."""
    given = {
        "--dataset": ",".join(arguments.dataset),
        "--imbalance": ",".join(f"{factor:g}" for factor in arguments.imbalance),
        "--epochs": arguments.epochs,
        "--backbone": arguments.backbone,
        "--data-dir": arguments.data_dir,
        "--split": arguments.split,
        "--output": arguments.output,
    }
    what = name if arguments.methods is None else f"--methods={arguments.methods}"
    options = [f"{flag}={value}" for flag, value in given.items() if value]
    return shlex.join(
        ["python", "-m", f"{_PACKAGE}.run", what, f"--seeds={arguments.seeds}", *options]
    )


def embedding_command(section: Section, paths: Paths) -> str:
    """The command that draws the embeddings of each row's first seed, if its run is still there."""
    runs, titles = [], []
    for row in section.finished:
        seed, record = next(iter(row.records.items()))
        cell = next(cell for cell in row.cells if cell.seed == seed)
        directory = paths.run(cell, record["code_hash"])
        if directory.is_dir():
            runs.append(str(directory))
            titles.append(row.row.name)
    if not runs:
        return ""
    command = ["python", "-m", f"{_PACKAGE}.embedding_picture", *runs]
    command += [f"--titles={';'.join(titles)}", "--output=embeddings.png"]
    return f"The embeddings themselves: `{shlex.join(command)}`"
