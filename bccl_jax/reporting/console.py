"""What a person sees of a run: the progress bar, a line an evaluation, the final table."""

import math
import sys

import ml_collections
from tqdm import tqdm

from bccl_jax.data.split import Dataset
from bccl_jax.reporting import remarks

SHOTS = ("all", "many", "medium", "few")
# Columns of accuracies: the field of a record, and how a table heads it.
ACCURACIES = {"top1": "top-1", **{shot: shot for shot in SHOTS}}


def tested(record: dict) -> tuple[int, int]:
    """Over how many classes the mean of an evaluation's record is, and how many there are."""
    per_class = record["per_class"]
    return sum(accuracy is not None for accuracy in per_class), len(per_class)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def table(rows: dict[str, dict]) -> str:
    """Formats evaluations as a table.

    Args:
      rows: records of evaluations by their label.

    Returns:
      The table: accuracy of the images (top-1), means of the accuracies of all classes and of each
      shot group, calibration error, all in percent, "-" for an empty shot group; and over how many
      classes "all" is. `remarks.explain` says the rest.
    """
    corner = "accuracy, %"
    width = max(map(len, (corner, *rows)))
    headings = [*ACCURACIES.values(), "ECE"]
    lines = [f"{corner:<{width}}" + "".join(f"{h:>9}" for h in headings) + f"{'classes':>15}"]
    for label, record in rows.items():
        # Records of older runs lack some.
        cells = [record.get(name) for name in (*ACCURACIES, "calibration_error")]
        count = "{} of {}".format(*tested(record))
        lines.append(
            f"{label:<{width}}" + "".join(f"{_cell(c):>9}" for c in cells) + f"{count:>15}"
        )
    return "\n".join(lines)


def announcement(config: ml_collections.ConfigDict, dataset: Dataset, steps: int) -> str:
    """Says what a run will do.

    Args:
      config: sized to the data.
      dataset: of the run.
      steps: of an epoch.

    Returns:
      A line, and one for each note on the data.
    """
    sizes = f"{len(dataset.train):,} training images of {dataset.num_classes:,} classes"
    monitored = f"{len(dataset.monitored):,} {dataset.chosen_on} images"
    budget = f"{config.epochs} epochs of {steps} steps, batch {config.batch_size}"
    rate = f"learning rate {config.optimizer.learning_rate:g}"
    lines = [f"{config.data.name}: {sizes}, {monitored}; {budget}, {rate}", *dataset.notes]
    lines += remarks.untested(dataset)
    return "\n".join(lines)


class Progress:
    """A live bar over the steps of a run; where no terminal watches, a line an evaluation alone.

    Args:
      total: steps of the run.
      done: steps done before.
      shown: False says nothing at all.
    """

    def __init__(self, total: int, done: int, shown: bool = True):
        self._shown = shown
        self._bar = tqdm(
            total=total,
            initial=done,
            unit="step",
            disable=None if shown else True,
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.05,
            desc="compiling the step",
        )

    def advance(self, steps: int, epoch: int, loss: float) -> None:
        """Moves the bar on."""
        self._bar.set_description(f"epoch {epoch}", refresh=False)
        if math.isfinite(loss):
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self._bar.update(steps)

    def evaluated(self, record: dict, epochs: int) -> None:
        """Prints what an evaluation found."""
        if not self._shown:
            return
        shown = [f"{heading} {_cell(record['eval'][n])}" for n, heading in ACCURACIES.items()]
        found = "  ".join(shown)
        some, every = tested(record["eval"])
        if some < every:
            found += f"  ({some} of {every} classes)"
        if "undecoded" in record["eval"]:
            found += f"  ({record['eval']['undecoded']} pictures cannot be decoded)"
        tqdm.write(
            f"epoch {record['epoch']:>3}/{epochs}  loss {record['train']['loss']:.3f}  {found}",
            file=sys.stdout,
        )
        sys.stdout.flush()

    def close(self) -> None:
        """Leaves the bar where it stands."""
        self._bar.close()
