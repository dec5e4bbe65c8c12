"""From records to what tables and figures show: the rows of an experiment in one setting."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import numpy as np

from bccl_jax.data.long_tail import shot_groups

from ..designing.design import Experiment, Row, Scale, cells, settings
from ..designing.recipes import Recipe, get_config
from .comparing import Comparison, adjusted, compare
from .reading import class_accuracies, correct
from .results import Record
from .runs import Runs


@dataclasses.dataclass(frozen=True)
class Section:
    """All rows in one setting: a data set at an imbalance factor.

    Attributes:
      experiment: of the rows.
      recipe: of the data set.
      imbalance: the imbalance factor.
      rows: every row of the experiment, in its order.
    """

    experiment: Experiment
    recipe: Recipe
    imbalance: float
    rows: tuple[Runs, ...]

    @property
    def dataset(self) -> str:
        """What the data set is called."""
        return self.recipe.label

    @property
    def finished(self) -> list[Runs]:
        """The rows that have a record."""
        return [runs for runs in self.rows if runs.records]

    @property
    def records(self) -> list[Record]:
        """Every record."""
        return [record for runs in self.rows for record in runs.records.values()]

    @property
    def full_size(self) -> bool:
        """Whether data set, backbone, epochs and split are the paper's."""
        return all(cell.full_size for runs in self.rows for cell in runs.cells)

    @property
    def class_counts(self) -> np.ndarray:
        """Training images of each class, int [K]."""
        return np.array(self.records[0]["class_counts"])

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """The shot groups, bool [K] each."""
        config = self.records[0]["config"]
        return shot_groups(self.class_counts, config["eval.many_above"], config["eval.few_below"])

    @property
    def on(self) -> str:
        """The split that the figures are of: "test" or "validation"."""
        return self.records[0]["evaluated_on"]

    @property
    def equal_classes(self) -> bool:
        """Whether all classes have as many evaluation images, so that "all" is plain accuracy."""
        return all(
            abs(100 * correct(record).mean() - record["last"]["all"]) < 1e-6
            for record in self.records
        )

    @property
    def tested(self) -> np.ndarray:
        """Whether each class has evaluation images in every record, bool [K]."""
        return np.all([~np.isnan(runs.per_class()) for runs in self.finished], axis=0)

    @property
    def alike(self) -> bool:
        """Whether all records have evaluation images of the same classes."""
        return len({np.isnan(class_accuracies(record)).tobytes() for record in self.records}) == 1

    @property
    def untested(self) -> list[str]:
        """What a record calls the classes that no evaluation image was of, labels where unnamed."""
        names = [record["last"].get("untested") for record in self.records]
        if None in names:  # records of older runs
            return [str(label) for label in np.flatnonzero(~self.tested)]
        return list(dict.fromkeys(name for of_record in names for name in of_record))

    def paper(self, row: Row) -> dict[str, float]:
        """What the paper prints of a row at this imbalance factor and its own size; may be {}."""
        return dict(row.paper.get((self.paper_dataset, self.imbalance), {}))

    @property
    def paper_dataset(self) -> str:
        """The paper's data set that this one is, or is a part of; "" for none."""
        name = self.recipe.config("bccl").data.name
        for dataset in self.experiment.datasets:
            if dataset == self.dataset or get_config(dataset, "bccl").data.name == name:
                return dataset
        return ""

    @functools.cached_property
    def against_reference(self) -> list[Comparison]:
        """Every other row less the reference row, p-values adjusted over these."""
        reference = next(r for r in self.rows if r.row.name == self.experiment.reference)
        others = [runs for runs in self.finished if runs is not reference]
        return adjusted(compare(runs, reference) for runs in others)

    @functools.cached_property
    def adjacent(self) -> list[Comparison]:
        """Each row less the next one, from the most accurate down, p-values adjusted over these."""
        order = self.in_order
        return adjusted(compare(a, b) for a, b in zip(order, order[1:], strict=False))

    @property
    def common_seeds(self) -> list[int]:
        """The seeds that every row with a record has."""
        return sorted(set.intersection(*(set(runs.records) for runs in self.finished)))

    @property
    def in_order(self) -> list[Runs]:
        """The rows that have a record, over the common seeds alone, the most accurate first."""
        seeds = self.common_seeds
        rows = [
            dataclasses.replace(runs, records={seed: runs.records[seed] for seed in seeds})
            for runs in self.finished
        ]
        return sorted(rows, key=lambda runs: -runs.accuracy("all").mean) if seeds else []


def gather(
    experiment: Experiment, scale: Scale, records: Iterable[Record], code: str
) -> list[Section]:
    """Sorts the records of one version of the code into the settings of an experiment.

    Args:
      experiment: to report.
      scale: of its runs.
      records: of any runs.
      code: hash of the code that made those to take.

    Returns:
      The settings; rows and settings without records are among them.
    """
    by_run = {(r["config_hash"], r["seed"]): r for r in records if r["code_hash"] == code}
    return _sorted_in(experiment, scale, by_run)


def gather_newest(experiment: Experiment, scale: Scale, records: Iterable[Record]) -> list[Section]:
    """The same of the newest record of each run, whatever version of the code made it.

    For a table whose rows are made over years: a method that is added to the code leaves what was
    measured of another as it was.
    """
    by_run = {}
    for record in records:
        key = record["config_hash"], record["seed"]
        if key not in by_run or record["finished"] > by_run[key]["finished"]:
            by_run[key] = record
    return _sorted_in(experiment, scale, by_run)


def _sorted_in(
    experiment: Experiment, scale: Scale, by_run: Mapping[tuple[str, int], Record]
) -> list[Section]:
    """Records by config hash and seed, in the places of an experiment."""
    asked = cells(experiment, scale)
    sections = []
    for recipe, imbalance in settings(experiment, scale):
        setting = recipe.label, imbalance
        here = [cell for cell in asked if (cell.dataset, cell.imbalance) == setting]
        rows = []
        for row in experiment.rows:
            own = tuple(cell for cell in here if cell.row == row.name)
            keys = {cell.seed: (cell.config_hash, cell.seed) for cell in own}
            found = {seed: by_run[key] for seed, key in keys.items() if key in by_run}
            rows.append(Runs(row, own, found))
        sections.append(Section(experiment, recipe, imbalance, tuple(rows)))
    return sections
