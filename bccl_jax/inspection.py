"""What a data set holds, before anything is trained: `--mode=inspect`, with or without `--verify`.

Worker processes import this module: it must not import JAX, which would start a runtime in each.
"""

import contextlib
import dataclasses
import hashlib
import multiprocessing
import os
import pathlib
import pickle
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import ml_collections
import numpy as np
from tqdm import tqdm

from bccl_jax.data.checks import shown
from bccl_jax.data.decode import BrokenImageError, decode
from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.long_tail import imbalance_factor, shot_groups
from bccl_jax.data.processes import deaf_to_interrupts, follow_parent
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import DataError

PICTURE, BROKEN, DUPLICATES = "class_counts.png", "broken_images.txt", "duplicates.txt"
# Classes and files that are told on the screen; the files hold all.
HEAD, FIRST = 5, 10
# Images a task of a worker process.
CHUNK = 32

# Of one image: why it is broken, "" if it is not, and the hash of its bytes, b"" without any.
Check = tuple[str, bytes]

# Of a worker process, read once.
_images: dict[str, EncodedImages] = {}


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


class Verification(NamedTuple):
    """What decoding every image found.

    Attributes:
      broken: name and reason of each image that cannot be read or decoded.
      duplicates: name of an image outside the training split and of a training image that has the
        very same bytes.
    """

    broken: list[tuple[str, str]]
    duplicates: list[tuple[str, str]]


def parts(dataset: Dataset) -> dict[str, Split]:
    """The splits that a data set has, by name."""
    found = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {part: split for part, split in found.items() if split is not None}


def run(
    dataset: Dataset,
    config: ml_collections.ConfigDict,
    output_dir: str | pathlib.Path,
    *,
    verify: bool = False,
) -> int:
    """Prints what a data set holds, draws it, and decodes every image if asked to.

    Args:
      dataset: what to look at.
      config: the bounds of the shot groups and the number of worker processes are taken from it.
      output_dir: where class_counts.png goes and, if there is anything to list, broken_images.txt
        and duplicates.txt; made if it is not there.
      verify: whether to decode every image.

    Returns:
      The exit code: 0, 1 if an image is broken, or 130 where Ctrl-C stopped it.

    Raises:
      DataError: the folder cannot be written, or a worker process was killed.
    """
    # Imported here, for worker processes do without matplotlib.
    from bccl_jax.reporting.class_counts import save_class_counts

    output = pathlib.Path(output_dir).expanduser()
    summary = summarize(dataset, config.eval.many_above, config.eval.few_below)
    print(as_text(summary))
    for note in dataset.notes:
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
    print(f"\npicture      {output / PICTURE}")
    return _verify(dataset, output, config.data.workers) if verify else 0


@contextlib.contextmanager
def _writing(output: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{shown(output)} cannot be written ({error.strerror or error}); name another folder "
            "by --workdir"
        ) from error


def _verify(dataset: Dataset, output: pathlib.Path, workers: int) -> int:
    splits = {part: split for part, split in parts(dataset).items() if split.encoded}
    if not splits:
        print(f"verified     nothing: the images of {dataset.name} are arrays in memory")
        return 0
    try:
        broken, duplicates = verify_images(splits, workers)
    except KeyboardInterrupt:
        print("stopped before every image was read", file=sys.stderr)
        return 130
    number = sum(map(len, splits.values()))
    others = number - len(dataset.train)
    _tell(output / BROKEN, broken, f"of {number:,} images are broken", ": ")
    _tell(
        output / DUPLICATES,
        duplicates,
        f"of {others:,} images outside the training split are byte for byte in it too",
        " = ",
    )
    return 1 if broken else 0


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
        for part, split in parts(dataset).items()
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
    lines = [between.join(pair) for pair in pairs]
    with _writing(path.parent):
        path.unlink(missing_ok=True)
        if lines:
            rows = [line if line.isprintable() else ascii(line) for line in lines]
            path.write_text("".join(f"{row}\n" for row in rows))
    if not lines:
        print(f"verified     none {what}")
        return
    print(f"verified     {len(lines):,} {what}: {path}")
    for line in lines[:FIRST]:
        print(f"  {shown(line)}")


def verify_images(splits: dict[str, Split], workers: int = -1) -> Verification:
    """Decodes every image, with a progress bar, and compares the splits byte by byte.

    Args:
      splits: by name, of `EncodedImages`; "train" is compared with each other one.
      workers: processes that decode; -1 for one on each core, 0 for this process alone.

    Returns:
      What was found, the training split first, each in the order of its images.

    Raises:
      DataError: a worker process was killed.
    """
    images = {part: split.images for part, split in splits.items()}
    checks = _check_all(images, workers)
    broken, duplicates = [], []
    known: dict[bytes, str] = {}
    for part in sorted(images, key=lambda part: part != "train"):
        for index, (reason, digest) in enumerate(checks[part]):
            name = images[part].name(index)
            if reason:
                broken.append((name, reason))
            if part == "train" and digest:
                known.setdefault(digest, name)
            elif digest in known:
                duplicates.append((name, known[digest]))
    return Verification(broken, duplicates)


def _check_all(images: dict[str, EncodedImages], workers: int) -> dict[str, list[Check]]:
    found = {part: [None] * len(some) for part, some in images.items()}
    with tqdm(
        desc="verifying",
        unit="image",
        total=sum(map(len, images.values())),
        file=sys.stderr,
        disable=None,
        dynamic_ncols=True,
    ) as bar:
        for part, start, checks in _checks(images, workers):
            found[part][start : start + len(checks)] = checks
            bar.update(len(checks))
    return found


def _checks(
    images: dict[str, EncodedImages], workers: int
) -> Iterator[tuple[str, int, list[Check]]]:
    """Yields the chunks as they are done."""
    chunks = [
        (part, start, min(start + CHUNK, len(some)))
        for part, some in images.items()
        for start in range(0, len(some), CHUNK)
    ]
    if workers == 0:
        for chunk in chunks:
            yield _check_chunk(images, *chunk)
        return
    with tempfile.NamedTemporaryFile() as file:
        # Sent to each worker as it starts they would keep the next one from starting.
        pickle.dump(images, file)
        file.flush()
        pool = ProcessPoolExecutor(
            len(os.sched_getaffinity(0)) if workers < 0 else workers,
            # A fork of a process that has threads may hang.
            multiprocessing.get_context("spawn"),
            _start_worker,
            (file.name,),
        )
        try:
            with deaf_to_interrupts():
                futures = [pool.submit(_check_in_worker, *chunk) for chunk in chunks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process that decodes images was killed, as is done where memory runs out; lower "
                "config.data.workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(path: str) -> None:
    global _images
    follow_parent()
    with open(path, "rb") as file:
        _images = pickle.load(file)


def _check_in_worker(part: str, start: int, stop: int) -> tuple[str, int, list[Check]]:
    return _check_chunk(_images, part, start, stop)


def _check_chunk(
    images: dict[str, EncodedImages], part: str, start: int, stop: int
) -> tuple[str, int, list[Check]]:
    return part, start, [_check(images[part], index) for index in range(start, stop)]


def _check(images: EncodedImages, index: int) -> Check:
    try:
        data = images[index]
    except OSError as error:
        return " ".join((error.strerror or str(error)).split()), b""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    try:
        decode(data)
    except BrokenImageError as error:
        return str(error), digest
    return "", digest
