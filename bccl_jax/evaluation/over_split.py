"""Something computed of the images of a split, batch by batch, each image once."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from bccl_jax.data.encoded import allowed_broken
from bccl_jax.data.feeding.pipeline import read_batches, shared_bytes
from bccl_jax.data.feeding.stream import EvaluationStream
from bccl_jax.data.photographs.crops import Crop
from bccl_jax.data.photographs.decode import why_broken
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.photographs.fitting import Fit
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import gather_rows, local_rows, put, split_over
from bccl_jax.errors import BrokenPicturesError
from bccl_jax.system.names import shown


@dataclasses.dataclass(frozen=True)
class Reading:
    """How images are read where that is not as an evaluation reads a split.

    Attributes:
      of: images of the split that these are chosen from. Batches are as large as that one's, so
        that choices of any size share what is compiled. 0 where they are a split themselves.
      filled: images of a batch, behind which is black; 0 for as many as it has room for. Room is
        made for whole shares of all devices, so that it depends on their number.
      crop: the random crop that is cut out of photographs; None for the central one.
      seed: of random crops, whole numbers.
      fit: how photographs are seen by a run on arrays of one size; None for a run on photographs.
    """

    of: int = 0
    filled: int = 0
    crop: Crop | None = None
    seed: tuple[int, ...] = ()
    fit: Fit | None = None


AS_EVALUATED = Reading()


def compute_on(
    split: Split,
    compute: Callable,
    config: ml_collections.ConfigDict,
    mesh: Mesh,
    advance: Callable[[int], None] | None = None,
    note_broken: Callable[[list[int]], None] | None = None,
    *,
    reading: Reading = AS_EVALUATED,
    on_device: bool = False,
) -> tuple[list[np.ndarray] | list[jax.Array], np.ndarray]:
    """Computes something of every image of a split, batch by batch.

    Args:
      split: N images.
      compute: images uint8 [B, H, W, 3] -> a tuple of arrays [B, ...] that every process has in
        whole; called once for each batch, in order.
      config: of the run.
      mesh: whose devices share each batch.
      advance: called with the number of images that were done since the last call.
      note_broken: called with the positions of the pictures that cannot be decoded, if any.
      reading: how the images are read.
      on_device: whether the arrays stay on the devices.

    Returns:
      Those arrays of the images that are decoded, in the order of the split, and bool [N], which
      images these are; the same in every process.

    Raises:
      BrokenPicturesError: more pictures than `config.data.max_broken` allows cannot be decoded, or
        none can.
    """
    size, filled = batch_of(split, config, mesh, reading)
    rows = local_rows(size)
    found, marks = [], []
    with contextlib.closing(_batches(split, size, rows, config, filled, reading)) as batches:
        for batch in batches:
            images = put(batch["image"], split_over(mesh))
            found.append(compute(images))
            marks.append(gather_rows(batch["decoded"]))
            if len(found) > 1:
                # Of the batch before, so that the devices have this one to go on with.
                found[-2] = (jax.block_until_ready if on_device else jax.device_get)(found[-2])
                if advance is not None:
                    advance(filled)
    outputs = found if on_device else jax.device_get(found)
    if advance is not None:
        advance(len(split) - (len(found) - 1) * filled)
    marks = np.stack(marks)
    kept = np.flatnonzero(marks)
    decoded = marks[:, :filled].reshape(-1)[: len(split)]
    _check_decoded(split, decoded, config, reading.of, note_broken)
    join = jnp.concatenate if on_device else np.concatenate
    return [join(column)[kept] for column in zip(*outputs, strict=True)], decoded


def _check_decoded(
    split: Split,
    decoded: np.ndarray,
    config: ml_collections.ConfigDict,
    of: int,
    note_broken: Callable[[list[int]], None] | None,
) -> None:
    undecoded = np.flatnonzero(~decoded)
    if len(undecoded) and note_broken is not None:
        note_broken(undecoded.tolist())
    share = config.data.max_broken
    # A picture may be asked for many times; it is one picture all the same.
    pictures = len({split.images.name(int(index)) for index in undecoded})
    if pictures <= allowed_broken(share, of or len(split)) and decoded.any():
        return
    limit = f"more than config.data.max_broken={share:g} allows"
    limit = limit if decoded.any() else "which leaves nothing to evaluate"
    first = int(undecoded[0])
    why = why_broken(split.images, first, Decoding.of(config))
    reason = f" ({why})" if why else ""
    raise BrokenPicturesError(
        f"{len(undecoded)} of {len(split)} pictures to evaluate on cannot be decoded, "
        f"{shown(split.images.name(first))} the first{reason}, {limit}; mend "
        "them (--mode=inspect --verify lists those of a data set) and give the same command again"
    )


def readers_need(split: Split, config: ml_collections.ConfigDict, mesh: Mesh) -> int:
    """Bytes of shared memory that the reader processes of an evaluation take."""
    if not split.encoded:
        return 0
    size, filled = batch_of(split, config, mesh, AS_EVALUATED)
    rows = local_rows(size)
    stream = _stream(split, size, rows, config, filled, AS_EVALUATED)
    return shared_bytes(stream, len(rows), config.data.workers)


def batch_of(
    split: Split, config: ml_collections.ConfigDict, mesh: Mesh, reading: Reading
) -> tuple[int, int]:
    """Rows of a batch, and how many of them are images.

    Args:
      split: whose images they are.
      config: of the run; `eval.batch_size` is read.
      mesh: whose devices share each batch.
      reading: how the images are read.
    """
    # One shape is compiled; the devices share it evenly, and what is too much is cut off.
    most = min(config.eval.batch_size, reading.of or len(split))
    size = -(-most // mesh.size) * mesh.size
    return size, reading.filled or size


def seen(
    split: Split, indices: np.ndarray, config: ml_collections.ConfigDict, reading: Reading
) -> np.ndarray:
    """A few images of a split as the network sees them, before they are normalised.

    Args:
      split: whose images they are.
      indices: int [n], of those that can be decoded.
      config: of the run.
      reading: how the images are read.

    Returns:
      uint8 [n, H, W, 3].
    """
    chosen = split.take(np.asarray(indices, np.int64))
    if not split.encoded or not len(chosen):
        return chosen.images if not split.encoded else np.zeros((0, 1, 1, 3), np.uint8)
    stream = _stream(chosen, len(chosen), range(len(chosen)), config, len(chosen), reading)
    return np.stack([stream[i]["image"] for i in range(len(chosen))])


def rows_of_batch(array: np.ndarray, *, number: int, size: int, filled: int) -> np.ndarray:
    """This process's rows of an array [N, ...] in a batch, as its images lie there.

    Args:
      array: a row for each image of a split.
      number: of the batch.
      size: rows of a batch, as `batch_of` has it.
      filled: the same of images.
    """
    rows = local_rows(size)
    own = np.asarray(array)[number * filled : (number + 1) * filled]
    own = np.pad(own, ((0, size - len(own)), *[(0, 0)] * (own.ndim - 1)))
    return own[rows.start : rows.stop]


def _stream(
    split: Split,
    size: int,
    rows: range,
    config: ml_collections.ConfigDict,
    filled: int,
    reading: Reading,
) -> EvaluationStream:
    return EvaluationStream(
        split.images,
        size,
        rows,
        config.augment.eval_resize,
        config.augment.size,
        Decoding.of(config),
        filled=filled,
        crop=reading.crop,
        seed=reading.seed,
        fit=reading.fit,
    )


def _batches(
    split: Split,
    size: int,
    rows: range,
    config: ml_collections.ConfigDict,
    filled: int,
    reading: Reading,
) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of each batch, filled up: images, and which are decoded."""
    if split.encoded:
        data, stream = config.data, _stream(split, size, rows, config, filled, reading)
        return _closing(read_batches(stream, len(rows), data.workers, data.threads))
    return _slices(split.images, rows, filled)


def _closing(iterator) -> Iterator[dict[str, np.ndarray]]:
    try:
        yield from iterator
    finally:
        iterator.close()


def _slices(images: np.ndarray, rows: range, filled: int) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), filled):
        own = images[start : start + filled][rows.start : rows.stop]
        missing = len(rows) - len(own)
        yield {
            "image": np.pad(own, ((0, missing), *[(0, 0)] * (own.ndim - 1))),
            "decoded": np.arange(len(rows)) < len(own),
        }
