"""Reports experiments: tables, tests and pictures of the runs that are recorded.

    python -m experiments.report table4 --seeds=3
    python -m experiments.report table4 figure3 --dataset=cifar100_small

Takes the flags of `experiments.run`. Nothing is trained and no data set is read. Figures of
different versions of the code never stand in one report.
"""

import argparse
import csv
import pathlib
import shlex
import sys
from collections.abc import Iterable, Sequence

from bccl_jax.errors import BcclError, WorkdirError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.output import of_a_command
from experiments import (
    class_tables,
    csv_rows,
    figures,
    gathering,
    provenance,
    results,
    selection,
    tables,
)
from experiments.catalogue import EXPERIMENTS
from experiments.design import Cell, cells
from experiments.gathering import Section
from experiments.pictures import save
from experiments.plateau_table import plateau
from experiments.results import Paths, Record


def main(argv: Sequence[str] | None = None) -> int:
    """Reports what the flags say; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description="Tables and pictures of recorded runs; takes the flags of experiments.run.",
        # --seed=1 would be taken for --seeds=1, which runs seed 0.
        allow_abbrev=False,
    )
    selection.add_arguments(parser)
    parser.add_argument(
        "--report", type=pathlib.Path, metavar="DIR",
        help="where the report is written (report/ in --output)",
    )  # fmt: skip
    parser.add_argument(
        "--code", metavar="HASH",
        help="whose records to take: hash of the code (what is checked out if that has records, "
        "else the newest)",
    )  # fmt: skip
    arguments = selection.parse(parser, argv)
    target = arguments.report or arguments.output / "report"
    failed = []
    for name in arguments.experiments:
        try:
            print(report(name, arguments, directory_to_write(target, "--report")))
        except BcclError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(name)
        except BrokenPipeError:
            raise
        except OSError as error:
            print(f"error: --report={target}: {error}; name another folder", file=sys.stderr)
            return 1
    if len(failed) < len(arguments.experiments):
        print(f"written to {target}", file=sys.stderr)
    return int(bool(failed))


def report(name: str, arguments: argparse.Namespace, target: pathlib.Path) -> str:
    """Writes the report of an experiment.

    Args:
      name: of the experiment.
      arguments: parsed flags.
      target: folder to write into.

    Returns:
      The Markdown.

    Raises:
      BcclError: there are no records, or a setting is unknown.
    """
    experiment, scale = EXPERIMENTS[name], selection.scale(arguments)
    paths = Paths(directory_to_write(arguments.output, "--output").absolute())
    path = paths.results
    records = results.load(path)
    asked = cells(experiment, scale)
    command = run_command(name, arguments)
    code, note = choose_code(records, asked, arguments.code, f"{path}; make them with `{command}`")
    sections = gathering.gather(experiment, scale, records, code)
    target.mkdir(parents=True, exist_ok=True)
    stem = report_name(name, arguments)
    parts = [f"# {experiment.title}", *([note] if note else [])]
    for section in sections:
        parts.append(f"## {section.dataset}, imbalance {section.imbalance:g}")
        if section.records:
            picture = stem
            if len(sections) > 1:
                picture += f"-{section.dataset}-{section.imbalance:g}"
            parts += _section(section, target / picture, command, paths)
        else:
            parts.append("Not run.")
    text = "\n\n".join(filter(None, parts)) + "\n"
    (target / f"{stem}.md").write_text(text, encoding="utf-8")
    _write_csv(target / f"{stem}.csv", name, sections)
    return text


def _section(section: Section, stem: pathlib.Path, command: str, paths: Paths) -> list[str]:
    drawn = figures.draw(section)
    pictures = {}
    for suffix, figure in drawn.items():
        path = stem.parent / "_".join(filter(None, (stem.name, suffix)))
        save(figure, path)
        pictures[suffix] = f"![{suffix or 'accuracy'}]({path.name}.png)"
    missing = tables.missing(section)
    parts = [
        tables.accuracies(section),
        missing and f"{missing} `{command}` makes them.",
        class_tables.low_classes(section),
        pictures.pop(""),
        tables.comparisons(section),
        tables.order(section),
        pictures.pop("curves"),
        pictures.pop("classes"),
    ]
    begun = plateau(section)
    if begun:
        parts += ["### The start of the contrastive loss", begun]
    measured = tables.feature_space(section)
    if measured:
        command = embedding_command(section, paths)
        parts += ["### Feature space", measured, *pictures.values(), command]
    return [*parts, "### Made with", tables.provenance(section)]


def report_name(name: str, arguments: argparse.Namespace) -> str:
    """What the files of a report are called: reports at other scales are other files."""
    given = [
        *arguments.dataset,
        *(f"{factor:g}" for factor in arguments.imbalance),
        arguments.epochs and f"{arguments.epochs}epochs",
        arguments.backbone,
        arguments.split,
        arguments.code,
    ]
    return "-".join([name, *filter(None, given)])


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
    command = ["python", "-m", "experiments.embedding_picture", *runs]
    command += [f"--titles={';'.join(titles)}", "--output=embeddings.png"]
    return f"The embeddings themselves: `{shlex.join(command)}`"


def choose_code(
    records: Iterable[Record], asked: Sequence[Cell], code: str | None, where: str
) -> tuple[str, str]:
    """Which version of the code to report.

    Args:
      records: of any runs.
      asked: the runs of the report.
      code: hash that is asked for; None takes what is checked out, else the newest.
      where: file, and how to make records, for a person.

    Returns:
      The hash, and a sentence where it is not what is checked out.

    Raises:
      WorkdirError: there is no record.
    """
    runs = {(cell.config_hash, cell.seed) for cell in asked}
    newest = {}
    for record in records:
        if (record["config_hash"], record["seed"]) in runs:
            own = newest.setdefault(record["code_hash"], record["finished"])
            newest[record["code_hash"]] = max(own, record["finished"])
    here = provenance.code_hash()
    if code is not None and code not in newest:
        others = f"; there are some of {', '.join(newest)}" if newest else ""
        raise WorkdirError(f"no record of these runs by code {code}{others} in {where}")
    if not newest:
        raise WorkdirError(f"no record of these runs in {where}")
    chosen = code or (here if here in newest else max(newest, key=newest.get))
    if chosen == here:
        return chosen, ""
    return chosen, f"Made by code `{chosen}`; what is checked out is `{here}`."


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
    options = [f"{flag}={value}" for flag, value in given.items() if value]
    return shlex.join(
        ["python", "-m", "experiments.run", name, f"--seeds={arguments.seeds}", *options]
    )


def _write_csv(path: pathlib.Path, name: str, sections: Iterable[Section]) -> None:
    rows = [row for section in sections for row in csv_rows.csv_rows(name, section)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    with of_a_command():
        sys.exit(main())
