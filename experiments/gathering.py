"""From records to what tables and figures show: the runs of each row, and rows compared."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from bccl_jax.data.long_tail import shot_groups
from bccl_jax.evaluation.metrics import low_classes
from bccl_jax.reporting.console import SHOTS
from experiments import statistics
from experiments.design import Cell, Experiment, Row, Scale, cells, get_config, settings
from experiments.results import Record, unpack
from experiments.statistics import Spread


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of a row in one setting.

    Attributes:
      row: of the experiment.
      cells: that were asked for; none where the harness has no method or the scale leaves it out.
      records: of those that are finished, by seed in rising order.
    """

    row: Row
    cells: tuple[Cell, ...]
    records: dict[int, Record]

    @property
    def missing(self) -> list[int]:
        """Seeds that have no record."""
        return [cell.seed for cell in self.cells if cell.seed not in self.records]

    def accuracy(self, shot: str, epoch: str = "last") -> Spread | None:
        """Accuracy in percent over seeds.

        Args:
          shot: "top1", "all", "many", "medium" or "few", or another figure of an evaluation.
          epoch: "last" or "best".
        """
        return statistics.spread([figure(r, epoch, shot) for r in self.records.values()])

    def per_class(self) -> np.ndarray:
        """Accuracy of each class in percent at the last epoch, float64 [K], mean over seeds.

        NaN for a class without evaluation images in any of the runs.
        """
        return np.array([class_accuracies(record) for record in self.records.values()]).mean(axis=0)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One row less another, over the seeds that both have.

    Attributes:
      row: name of the first.
      reference: name of the second.
      seeds: that both have.
      difference: of the mean accuracy of the classes that both tested, percentage points.
      low: of its 95 % interval; None where the images cannot be paired.
      high: of its 95 % interval.
      p_seeds: paired t-test over seeds; None where there is none.
      p_images: sign flips over images; None where the images cannot be paired.
      adjusted_seeds: `p_seeds` by Holm over the comparisons made together.
      adjusted_images: `p_images` likewise.
    """

    row: str
    reference: str
    seeds: tuple[int, ...]
    difference: float
    low: float | None
    high: float | None
    p_seeds: float | None
    p_images: float | None
    adjusted_seeds: float | None = None
    adjusted_images: float | None = None


@dataclasses.dataclass(frozen=True)
class Section:
    """All rows in one setting: a data set at an imbalance factor.

    Attributes:
      experiment: of the rows.
      dataset: a key of `design.CONFIGS`.
      imbalance: the imbalance factor.
      rows: every row of the experiment, in its order.
    """

    experiment: Experiment
    dataset: str
    imbalance: float
    rows: tuple[Runs, ...]

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
            abs(100 * _correct(record).mean() - record["last"]["all"]) < 1e-6
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
        name = get_config(self.dataset, "bccl").data.name
        for dataset in self.experiment.datasets:
            if dataset == self.dataset or get_config(dataset, "bccl").data.name == name:
                return dataset
        return ""

    @functools.cached_property
    def against_reference(self) -> list[Comparison]:
        """Every other row less the reference row, p-values adjusted over these."""
        reference = next(r for r in self.rows if r.row.name == self.experiment.reference)
        others = [runs for runs in self.finished if runs is not reference]
        return _adjusted(compare(runs, reference) for runs in others)

    @functools.cached_property
    def adjacent(self) -> list[Comparison]:
        """Each row less the next one, from the most accurate down, p-values adjusted over these."""
        order = self.in_order
        return _adjusted(compare(a, b) for a, b in zip(order, order[1:], strict=False))

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
    asked = cells(experiment, scale)
    sections = []
    for setting in settings(experiment, scale):
        here = [cell for cell in asked if (cell.dataset, cell.imbalance) == setting]
        rows = []
        for row in experiment.rows:
            own = tuple(cell for cell in here if cell.row == row.name)
            keys = {cell.seed: (cell.config_hash, cell.seed) for cell in own}
            found = {seed: by_run[key] for seed, key in keys.items() if key in by_run}
            rows.append(Runs(row, own, found))
        sections.append(Section(experiment, *setting, tuple(rows)))
    return sections


def compare(first: Runs, second: Runs) -> Comparison | None:
    """The first row less the second, over the seeds that both have; None where nothing is common.

    The difference is over the classes that all these runs tested: a mean that lacks a hard class is
    no gain.
    """
    seeds = tuple(seed for seed in first.records if seed in second.records)
    if not seeds:
        return None
    pairs = [(first.records[seed], second.records[seed]) for seed in seeds]
    if len({len(record["class_counts"]) for pair in pairs for record in pair}) > 1:
        return None
    of_classes = np.array([class_accuracies(a) - class_accuracies(b) for a, b in pairs])
    common = ~np.isnan(of_classes).any(axis=0)
    if not common.any():
        return None
    differences = of_classes[:, common].mean(axis=1)
    low = high = p_images = None
    # Pictures that could not be decoded are left out: without the same ones, images do not pair.
    images = {_images(record) for pair in pairs for record in pair}
    if len(images) == 1 and None not in images and pairs[0][0]["images"] > 1:
        of_images = np.array([_correct(a).astype(int) - _correct(b) for a, b in pairs])
        low, high = (100 * bound for bound in statistics.interval(of_images))
        p_images = statistics.sign_flip(of_images)
    return Comparison(
        first.row.name,
        second.row.name,
        seeds,
        float(differences.mean()),
        low,
        high,
        statistics.paired_t(differences),
        p_images,
    )


def _adjusted(comparisons: Iterable[Comparison | None]) -> list[Comparison]:
    found = [comparison for comparison in comparisons if comparison is not None]
    of_seeds = statistics.holm([comparison.p_seeds for comparison in found])
    of_images = statistics.holm([comparison.p_images for comparison in found])
    return [
        dataclasses.replace(comparison, adjusted_seeds=s, adjusted_images=i)
        for comparison, s, i in zip(found, of_seeds, of_images, strict=True)
    ]


def figure(record: Record, epoch: str, name: str) -> float | None:
    """A figure of an evaluation; of older runs what their records allow, else None.

    Args:
      record: of a run.
      epoch: "last" or "best".
      name: a key of `Evaluation.record`.
    """
    found = record[epoch]
    if name in found:
        return found[name]
    if name == "top1" and epoch == "last":
        return 100 * float(_correct(record).mean())
    return low_classes(np.array(found.get("per_class", []), np.float64)).get(name)


def class_accuracies(record: Record) -> np.ndarray:
    """Accuracy of each class at the last epoch, float64 [K]; null becomes NaN."""
    found = record["last"].get("per_class", [None] * len(record["class_counts"]))
    return np.array(found, np.float64)


def _images(record: Record) -> tuple[int, ...] | None:
    """What says which images a record is of; None where it does not tell."""
    left_out = record.get("left_out")
    if left_out is None:  # a record of an older run, which tells how many were left out alone
        left_out = None if record["last"].get("undecoded") else ()
    return None if left_out is None else (record["images"], *left_out)


def _correct(record: Record) -> np.ndarray:
    return unpack(record["correct"], record["images"])


def measures(
    runs: Runs, space: str, names: Sequence[str], columns: Sequence[str] = SHOTS
) -> dict[int, dict[str, dict[str, Spread | None]]]:
    """Feature-space measures of a row over seeds.

    Args:
      runs: of the row.
      space: "backbone" or "projector".
      names: of the measures, attributes of `feature_space.FeatureSpace`.
      columns: what to give of each: shot groups, or another key of `FeatureSpace.record`. A measure
        of the whole space has "all" alone.

    Returns:
      {epoch: {measure: {column: spread}}} of the epochs that every seed has; {} where the runs have
      no such space.
    """
    by_seed = [
        {point["epoch"]: point[space] for point in record["feature_space"] if space in point}
        for record in runs.records.values()
    ]
    epochs = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return {
        epoch: {
            name: {
                column: statistics.spread([_value(seed[epoch][name], column) for seed in by_seed])
                for column in columns
            }
            for name in names
        }
        for epoch in epochs
    }


def _value(measure: dict | float | None, column: str) -> float | None:
    if isinstance(measure, dict):
        return measure[column]
    return measure if column == "all" else None
