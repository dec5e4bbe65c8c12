"""What a data set holds, before anything is trained: `--mode=inspect`."""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator
from hashlib import blake2b

import ml_collections
import numpy as np

from bccl_jax.data.fingerprint import fingerprint, pair_names, shared
from bccl_jax.data.long_tail import imbalance_factor, shot_groups
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.photographs.levels import Look
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import DataError
from bccl_jax.inspecting.verification import sample_images, verify_images
from bccl_jax.reporting import remarks
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.names import printable, shown

PICTURE, BROKEN, DUPLICATES = "class_counts.png", "broken_images.txt", "duplicates.txt"
# Classes and files that are told on the screen; the files hold all.
HEAD, FIRST = 5, 10


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a data set holds.

    Attributes:
      name: of the data set.
      class_names: K names.
      counts: int64 [K] for each split that there is, images of each class.
      groups: bool [K] of each shot group, by the training split.
      many_above: many-shot classes have more training images than this.
      few_below: few-shot classes have fewer training images than this.
    """

    name: str
    class_names: tuple[str, ...]
    counts: dict[str, np.ndarray]
    groups: dict[str, np.ndarray]
    many_above: int
    few_below: int


def run(
    dataset: Dataset,
    config: ml_collections.ConfigDict,
    output_dir: str | pathlib.Path,
    *,
    verify: bool = False,
) -> int:
    """Prints what a data set holds, draws it, and decodes a few images, or all if asked to.

    Args:
      dataset: what to look at.
      config: bounds of the shot groups, worker processes and decoding are taken from it.
      output_dir: where class_counts.png goes and, if there is anything to list, broken_images.txt
        and duplicates.txt; made if it is not there.
      verify: whether to decode every image.

    Returns:
      The exit code: 0, 1 if an image is broken, or 130 where Ctrl-C stopped it.

    Raises:
      DataError: the folder cannot be written, or a worker process was killed.
    """
    # Imported here, for worker processes do without matplotlib.
    from bccl_jax.inspecting.class_counts import save_class_counts

    output = directory_to_write(output_dir, "--workdir")
    summary = summarize(dataset, config.eval.many_above, config.eval.few_below)
    print(as_text(summary))
    for note in (*dataset.notes, *remarks.untested(dataset)):
        print(f"\n{note}")
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
        save_class_counts(
            output / PICTURE,
            summary.counts["train"],
            summary.groups,
            summary.class_names,
            headline(summary),
        )
    # At once, for to verify takes long.
    print(f"\npicture      {printable(output / PICTURE)}", flush=True)
    splits = {part: split for part, split in dataset.splits.items() if split.encoded}
    if verify:
        return _verify(dataset, splits, output, config)
    found = sample_images(splits, decoding=Decoding.of(config))
    for line in about_levels(found.looks):
        print(line)
    if found.broken:
        number = len(found.broken) + len(found.looks)
        print(
            f"looked at    {len(found.broken)} of {number} images cannot be decoded; --verify "
            "names all of them"
        )
    return 0


@contextlib.contextmanager
def _writing(output: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{shown(output)} cannot be written ({error.strerror or error}); name another folder "
            "by --workdir"
        ) from error


def _verify(
    dataset: Dataset, splits: dict[str, Split], out: pathlib.Path, config: ml_collections.ConfigDict
) -> int:
    if not splits:
        print(f"verified     nothing: the images of {dataset.name} are arrays in memory")
        _compare_in_memory(dataset, out)
        return 0
    # What an earlier look found may be mended; this one may be stopped before its end.
    with _writing(out):
        for name in (BROKEN, DUPLICATES):
            (out / name).unlink(missing_ok=True)
    try:
        found = verify_images(splits, config.data.workers, Decoding.of(config))
    except KeyboardInterrupt:
        print("stopped before every image was read", file=sys.stderr)
        return 130
    broken, duplicates, looks, fingerprints = found
    number = sum(map(len, splits.values()))
    others = number - len(dataset.train)
    _tell(out / BROKEN, broken, f"of {number:,} images are broken", ": ")
    _tell(
        out / DUPLICATES,
        duplicates,
        f"of {others:,} images outside the training split are byte for byte in it too",
        " = ",
    )
    for line in about_levels(looks):
        print(line)
    _tell_fingerprints(fingerprints)
    return 1 if broken else 0


def about_levels(looks: list[tuple[str, Look]]) -> list[str]:
    """Says what a person should know of the levels of images.

    Args:
      looks: name and levels of each.

    Returns:
      A line for each kind that there is: transparent parts, levels that hardly reach into the
      scale.
    """
    lines = []
    clear = [(name, found) for name, found in looks if found.transparent]
    if clear:
        empty = sum(found.highest < 0 for _, found in clear)
        nothing = f", and {empty:,} are nothing else" if empty else ""
        lines.append(
            f"transparent  {len(clear):,} of {len(looks):,} images have transparent parts, "
            f"{shown(clear[0][0])} for one, which are put on config.data.background{nothing}"
        )
    for bits in (16, 8):
        of_bits = [(name, found) for name, found in looks if found.deep == (bits == 16)]
        faint = [(name, found.highest) for name, found in of_bits if found.faint]
        if any(highest >= 0 for _, highest in faint):
            mend = (
                "fewer bits than 16 may be in use, 12 for example, so spread the levels over 0 to "
                "65,535"
                if bits == 16
                else "spread the levels over 0 to 255 unless they are to be so dark"
            )
            lines.append(
                f"levels       {len(faint):,} of {len(of_bits):,} images of {bits} bits a level "
                f"are read as 0 to {max(highest for _, highest in faint)} of 255, "
                f"{shown(faint[0][0])} for one; {mend}"
            )
    return lines


def _compare_in_memory(dataset: Dataset, output: pathlib.Path) -> None:
    numbers = fingerprint(dataset)
    others = sum(map(len, dataset.splits.values())) - len(dataset.train)
    duplicates = [
        pair_names(dataset, part, *pair)
        for part, pairs in shared(dataset, numbers).items()
        for pair in pairs
    ]
    what = f"of {others:,} images outside the training split are in it too, pixel by pixel"
    _tell(output / DUPLICATES, duplicates, what, " = ")
    _tell_fingerprints(
        {part: blake2b(some, digest_size=8).hexdigest() for part, some in numbers.items()}
    )


def _tell_fingerprints(fingerprints: dict[str, str]) -> None:
    """A text for each split that another byte of any image, or another order, would change."""
    told = ", ".join(f"{part} {text}" for part, text in fingerprints.items())
    print(f"fingerprint  {told}")


def summarize(dataset: Dataset, many_above: int = 100, few_below: int = 20) -> Summary:
    """Counts the images of each class; no image is read.

    Args:
      dataset: what to look at.
      many_above: many-shot classes have more training images than this.
      few_below: few-shot classes have fewer training images than this.

    Returns:
      The counts and the shot groups.
    """
    counts = {
        part: np.bincount(split.labels, minlength=dataset.num_classes)
        for part, split in dataset.splits.items()
    }
    groups = shot_groups(counts["train"], many_above, few_below)
    return Summary(dataset.name, dataset.train.class_names, counts, groups, many_above, few_below)


def headline(summary: Summary) -> str:
    """The data set in one line."""
    train = summary.counts["train"]
    return (
        f"{summary.name}: {train.sum():,} training images, {len(train):,} classes, "
        f"imbalance factor {imbalance_factor(train):.4g}"
    )


def as_text(summary: Summary) -> str:
    """Splits, shot groups and the first classes as tables."""
    splits = [["split", "images", "classes", "largest class", "smallest class", "imbalance"]]
    for part, counts in summary.counts.items():
        ends = [f"{_class(summary, k)}: {counts[k]:,}" for k in (counts.argmax(), counts.argmin())]
        factor = f"{imbalance_factor(counts):.4g}"
        splits.append([part, f"{counts.sum():,}", f"{(counts > 0).sum():,}", *ends, factor])

    train = summary.counts["train"]
    bounds = {
        "many": f"more than {summary.many_above}",
        "medium": f"{summary.few_below} to {summary.many_above}",
        "few": f"fewer than {summary.few_below}",
    }
    shots = [["shot group", "training images of a class", "classes", "images"]]
    for shot, group in summary.groups.items():
        shots.append([shot, bounds[shot], f"{group.sum():,}", f"{train[group].sum():,}"])

    first = range(min(HEAD, len(train)))
    classes = [["label", "class", *summary.counts]]
    for k in first:
        counts = [f"{counts[k]:,}" for counts in summary.counts.values()]
        classes.append([str(k), shown(summary.class_names[k]), *counts])
    if len(train) > len(first):
        classes.append(["...", f"{len(train) - len(first):,} more", *[""] * len(summary.counts)])
    return "\n\n".join(
        [
            headline(summary),
            _table(splits, right=(1, 2, 5)),
            _table(shots, right=(2, 3)),
            _table(classes, right=range(2, 2 + len(summary.counts))),
        ]
    )


def _class(summary: Summary, label: int) -> str:
    name = summary.class_names[label]
    return str(label) if name == str(label) else f"{label} ({shown(name)})"


def _table(rows: list[list[str]], right) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _tell(path: pathlib.Path, pairs: list[tuple[str, str]], what: str, between: str) -> None:
    """Says how many there are and which are the first; all of them go into a file."""
    lines = [between.join(map(printable, pair)) for pair in pairs]
    with _writing(path.parent):
        if lines:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if not lines:
        print(f"verified     none {what}")
        return
    print(f"verified     {len(lines):,} {what}: {printable(path)}")
    for line in lines[:FIRST]:
        print(f"  {shown(line)}")
