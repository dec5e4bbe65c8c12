"""Everything that a report tells of a run, as its directory has it."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from bccl_jax import methods
from bccl_jax.config.flattening import flatten, unflatten
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.errors import WorkdirError
from bccl_jax.evaluation.metrics import ClassTotals
from bccl_jax.methods.base import Stage
from bccl_jax.page.looking import Looked
from bccl_jax.page.recipe import Changes, changes
from bccl_jax.reporting import records as records_file
from bccl_jax.system.names import printable, shown
from bccl_jax.workdir import computed
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.inputs import read_classes, read_results
from bccl_jax.workdir.opened import Run, config_of, opened


@dataclasses.dataclass(frozen=True)
class Figures:
    """An evaluation as its record has it.

    Attributes:
      record: of `Evaluation.record`; older runs lack some of it.
      confusion: int64 [P, 3], as `metrics.confusion_pairs` has it; None where none was kept.
      epoch: complete epochs.
      of: the images, in words.
    """

    record: dict[str, Any]
    confusion: np.ndarray | None
    epoch: int
    of: str


@dataclasses.dataclass(frozen=True)
class Told:
    """A run.

    Attributes:
      name: how the page calls it.
      config: flattened, as it was run.
      changes: from its recipe.
      class_names: K names.
      class_counts: int [K], training images of each class.
      groups: bool [K] of each shot group.
      records: one for each epoch; none of a shared file.
      results: what the run ended with; {} of one that did not end.
      computed_on: what its steps were computed on, one entry a change.
      stages: of the method.
      parts: digests of its splits by name; {} where none were kept.
      looked: what its network makes of pictures now; None where that was not looked at.
      unseen: why not, a sentence.
    """

    name: str
    config: dict[str, Any]
    changes: Changes
    class_names: tuple[str, ...]
    class_counts: np.ndarray
    groups: Mapping[str, np.ndarray]
    records: list[dict[str, Any]]
    results: dict[str, Any]
    computed_on: list[dict[str, Any]]
    stages: tuple[Stage, ...]
    parts: dict[str, str]
    looked: Looked | None = None
    unseen: str = ""

    @property
    def title(self) -> str:
        """Method and data set."""
        return f"{self.config['method.name']} on {self.config['data.name']}"

    @property
    def epoch(self) -> int:
        """Complete epochs."""
        return self.records[-1]["epoch"] if self.records else 0

    @property
    def finished(self) -> bool:
        """Whether the run ended."""
        return bool(self.results)

    @property
    def tested_on(self) -> str:
        """What the last figures are of: "test", or "validation" where a part was set aside."""
        return "validation" if self.config.get("data.validation_fraction") else "test"

    @functools.cached_property
    def figures(self) -> Figures | None:
        """The newest evaluation; None where there is none."""
        if self.looked is not None:
            seen = self.looked.details.evaluation
            of = f"{len(seen.correct):,} {self.tested_on} images"
            return Figures(seen.record(), seen.confusion, self.looked.epoch, of)
        evaluated = [record for record in self.records if "eval" in record]
        own = "validation" in self.parts
        if self.results.get("last"):
            # The last epoch's matrix is of the split that the run was watched on.
            kept = None if own or not self.records else self.records[-1].get("confusion")
            record, epoch, of = self.results["last"], self.epoch, self.tested_on
        elif evaluated:
            kept = evaluated[-1].get("confusion")
            record, epoch = evaluated[-1]["eval"], evaluated[-1]["epoch"]
            of = "validation" if own else self.tested_on
        else:
            return None
        confusion = None if kept is None else np.array(kept, np.int64).reshape(-1, 3)
        return Figures(record, confusion, epoch, f"the {of} images")

    @functools.cached_property
    def per_class(self) -> np.ndarray:
        """Accuracy of each class in percent, float64 [K], NaN for one that was not tested."""
        if self.figures is None:
            return np.full(len(self.class_counts), np.nan)
        return np.array(self.figures.record["per_class"], np.float64)

    @functools.cached_property
    def totals(self) -> ClassTotals | None:
        """Images by class; None where no confusion was kept."""
        if self.figures is None or self.figures.confusion is None:
            return None
        true, predicted, counts = self.figures.confusion.T
        classes = len(self.class_counts)
        right = true == predicted
        columns = (true, counts), (predicted, counts), (true[right], counts[right])
        return ClassTotals(
            *(np.bincount(k, weights=n, minlength=classes).astype(np.int64) for k, n in columns)
        )

    @functools.cached_property
    def group_of(self) -> np.ndarray:
        """The shot group of each class, [K] of str."""
        found = np.full(len(self.class_counts), "all", object)
        for shot, members in self.groups.items():
            found[members] = shot
        return found


def told(path: str | os.PathLike, imports: Sequence[str] | None = None) -> Told:
    """Reads what a run's directory says of it; nothing is computed.

    Args:
      path: the directory of a run, which may be under way, or a shared file.
      imports: files of one's own, in place of those that the run remembers.

    Raises:
      BcclError: there is no run, or what its directory says is damaged.
    """
    run = opened(path)
    config = config_of(run, imports)
    names, counts = read_classes(run)
    flat = _flat(run, config)
    bounds = flat["eval.many_above"], flat["eval.few_below"]
    own = isinstance(run, Workdir)
    records = records_file.read(run.records) if own else []
    results = read_results(run)
    _checked([r["eval"] for r in records if "eval" in r], shown(run.path), len(counts))
    ends = [results[name] for name in ("last", "best") if name in results]
    _checked(ends, run.place("results"), len(counts))
    return Told(
        name=printable(pathlib.Path(os.path.abspath(path)).name),
        config=flat,
        changes=changes(flatten(config)),
        class_names=names,
        class_counts=counts,
        groups=shot_groups(counts, *bounds),
        records=records,
        results=results,
        computed_on=computed.read(run.path) if own else [],
        stages=methods.create(unflatten(flat).method).stages(flat["epochs"]),
        parts=run.record("splits", dict) if run.has("splits") else {},
    )


def _flat(run: Run, config: ml_collections.ConfigDict) -> dict[str, Any]:
    """As it was run: what follows the size of the data has its number."""
    flat = flatten(config)
    return flat | (run.record("sized", dict) if run.has("sized") else {})


def _checked(found: list[dict[str, Any]], where: str, classes: int) -> None:
    """Raises a WorkdirError where evaluations are of another number of classes."""
    for record in found:
        per_class = record.get("per_class")
        if not isinstance(per_class, list) or len(per_class) != classes:
            raise WorkdirError(
                f"{where} has no figures of the run's {classes} classes; restore the file"
            )
