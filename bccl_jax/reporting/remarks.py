"""What figures do not show by themselves: classes without images, lost classes, what a mean is."""

from collections.abc import Sequence

import numpy as np

from bccl_jax.data.split import Dataset
from bccl_jax.system.names import shortened, shown

# Names that are told; of thousands of classes results.json has every accuracy.
MOST_NAMED = 20
# Letters of a name in a line of several.
LONGEST_NAME = 24
_MEANINGS = (
    "top-1: share of images; all: mean of classes' accuracies; many, medium, few: of those classes"
)
_LOW = {
    "worst_class": "worst class",
    "harmonic_mean": "harmonic mean of classes",
    "geometric_mean": "geometric mean",
    "macro_f1": "macro F1",
}


def untested(dataset: Dataset) -> list[str]:
    """A sentence for each evaluation split that lacks classes: no figure of it tells of them."""
    told = []
    for part, split in dataset.splits.items():
        if part == "train":
            continue
        there = np.bincount(split.labels, minlength=dataset.num_classes) > 0
        absent = [dataset.train.class_names[k] for k in np.flatnonzero(~there)]
        if absent:
            part = "validation" if dataset.set_aside else part
            choice = ", nor does the choice of the best epoch" if split is dataset.monitored else ""
            told.append(
                f"{len(absent):,} of {dataset.num_classes:,} classes without any {part} image: "
                f"{named(absent)}; no {part} figure tells anything of such{choice}"
            )
    return told


def explain(rows: dict[str, dict], class_names: Sequence[str]) -> str:
    """Says what the figures of a table are means of, and which classes they hide.

    Args:
      rows: records of evaluations by their label, as `console.table` takes them.
      class_names: K names.

    Returns:
      Lines: what the columns are; of each row figures that lost classes pull down, classes without
      images, pictures left out and classes at 0 %.
    """
    lines = [_MEANINGS]
    of_rows: dict[str, list[str]] = {}
    for label, record in rows.items():
        for remark in _remarks(record, class_names):
            of_rows.setdefault(remark, []).append(label.split(" (")[0])
    return "\n".join(lines + [f"{', '.join(labels)}: {text}" for text, labels in of_rows.items()])


def worst(
    record: dict, class_names: Sequence[str], class_counts: Sequence[int], number: int = 5
) -> str:
    """Names the classes that are known the least.

    Args:
      record: of an evaluation.
      class_names: K names.
      class_counts: int [K], training images of each class.
      number: of classes, at most; no more than half of those that were tested.

    Returns:
      A line; "" where there are not two classes that were tested.
    """
    accuracies = np.array(record["per_class"], np.float64)
    tested = np.flatnonzero(~np.isnan(accuracies))
    # Of equal ones first the class of more training images: it had less of an excuse.
    order = tested[np.lexsort((-np.asarray(class_counts)[tested], accuracies[tested]))]
    told = [
        f"{_short(class_names[k])}: {accuracies[k]:.1f} ({class_counts[k]:,})"
        for k in order[: min(number, len(order) // 2)]
    ]
    heading = "the least accurate classes, % (training images): "
    return heading + ", ".join(told) if told else ""


def _short(name: str) -> str:
    return shortened(shown(name), LONGEST_NAME)


def _remarks(record: dict, class_names: Sequence[str]) -> list[str]:
    per_class = record["per_class"]
    absent = [class_names[k] for k, accuracy in enumerate(per_class) if accuracy is None]
    lost = [class_names[k] for k, accuracy in enumerate(per_class) if accuracy == 0]
    # Records of older runs lack some.
    low = {key: record[key] for key in _LOW if record.get(key) is not None}
    told = [f"{_LOW[key]} {value:.2f}" for key, value in low.items()]
    if low.get("worst_class"):  # those at 0 are named below
        told[0] += f" ({shown(class_names[per_class.index(low['worst_class'])])})"
    found = [", ".join(told)] if told else []
    if "undecoded" in record:
        found.append(f"pictures that cannot be decoded and are left out: {record['undecoded']}")
    if absent:
        inside, total = record.get("classes_tested", {}), record.get("classes", {})
        groups = [
            f"{shot} {n:,} of {total[shot]:,}" for shot, n in inside.items() if n < total[shot]
        ]
        means = f"; means and macro F1 are over the others alone ({', '.join(groups)})"
        found.append(
            f"no image was evaluated of {len(absent):,} of {len(per_class):,} classes: "
            f"{named(absent)}{means if groups else ''}"
        )
    if lost:
        found.append(f"0 % in {len(lost):,} of {len(per_class):,} classes: {named(lost)}")
    return found


def named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(shown(name) for name in names[:MOST_NAMED]) + more
