"""The report of an experiment: a Markdown file, a CSV file, tables in LaTeX and pictures."""

import argparse
import csv
import pathlib
from collections.abc import Iterable

from bccl_jax.system.directories import directory_to_write

from ..designing import selection
from ..designing.design import cells
from ..figures.drawing import draw
from ..figures.files import save
from ..records import gathering, results
from ..records.gathering import Section
from ..records.results import Paths
from ..tables.accuracies import accuracies, missing
from ..tables.comparisons import comparisons, order
from ..tables.csv_rows import csv_rows
from ..tables.feature_space import feature_space
from ..tables.label_shift import label_shift
from ..tables.latex import latex
from ..tables.low_classes import low_classes
from ..tables.made_with import made_with
from ..tables.plateau import plateau
from .commands import embedding_command, report_name, run_command
from .versions import choose_code


def report(name: str, arguments: argparse.Namespace, target: pathlib.Path) -> str:
    """Writes the report of an experiment.

    Args:
      name: of the experiment, a key of `arguments.chosen`.
      arguments: parsed flags.
      target: folder to write into.

    Returns:
      The Markdown.

    Raises:
      BcclError: there are no records, or a setting is unknown.
    """
    experiment, scale = arguments.chosen[name], selection.scale(arguments)
    paths = Paths(directory_to_write(arguments.output, "--output").absolute())
    path = paths.results
    records = results.load(path)
    asked = cells(experiment, scale)
    command = run_command(name, arguments)
    code, note = choose_code(records, asked, arguments.code, f"{path}; make them with `{command}`")
    sections = gathering.gather(experiment, scale, records, code)
    target.mkdir(parents=True, exist_ok=True)
    stem = report_name(name, arguments, sections)
    parts = [f"# {experiment.title}", *([note] if note else [])]
    for section in sections:
        parts += [
            f"## {section.dataset}, imbalance {section.imbalance:g}",
            section.recipe.told,
        ]
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
    tables = "\n".join(latex(section) for section in sections if section.records)
    (target / f"{stem}.tex").write_text(tables, encoding="utf-8")
    return text


def _section(section: Section, stem: pathlib.Path, command: str, paths: Paths) -> list[str]:
    drawn = draw(section)
    pictures = {}
    for suffix, figure in drawn.items():
        path = stem.parent / "_".join(filter(None, (stem.name, suffix)))
        save(figure, path)
        pictures[suffix] = f"![{suffix or 'accuracy'}]({path.name}.png)"
    unmade = missing(section)
    parts = [
        accuracies(section),
        unmade and f"{unmade} `{command}` makes them.",
        low_classes(section),
        pictures.pop(""),
        comparisons(section),
        order(section),
        pictures.pop("curves"),
        pictures.pop("classes"),
        pictures.pop("few_against_many", None),
        pictures.pop("reliability", None),
    ]
    shifted = label_shift(section)
    if shifted:
        parts += ["### Other test distributions", shifted, pictures.pop("label_shift", None)]
    begun = plateau(section)
    if begun:
        parts += ["### The start of the contrastive loss", begun]
    measured = feature_space(section)
    if measured:
        command = embedding_command(section, paths)
        parts += ["### Feature space", measured, *pictures.values(), command]
    return [*parts, "### Made with", made_with(section)]


def _write_csv(path: pathlib.Path, name: str, sections: Iterable[Section]) -> None:
    rows = [row for section in sections for row in csv_rows(name, section)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
