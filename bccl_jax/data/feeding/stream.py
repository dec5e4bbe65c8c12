"""A run's images one after the other, as random-access sources that grain's readers index.

A position alone names an image and its crops, so that any number of readers, processes or restarts
sees the same. Nothing here imports JAX: reader processes import this module.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.order import Order
from bccl_jax.data.photographs.crops import Crop, evaluation_crop, training_crops
from bccl_jax.data.photographs.decode import BrokenImageError
from bccl_jax.data.photographs.decoding import PLAIN, Decoding
from bccl_jax.data.photographs.fitting import Fit
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown

# Where a photograph is broken another one is drawn in its place, so many times at most.
_ATTEMPTS = 50


class TrainingStream:
    """The rows of each batch that one process reads, from a step on.

    Row r of step s is image order(s // T)[s % T, r], T the steps of an epoch.

    Args:
      images: uint8 [N, H, W, 3], or encoded.
      order: epoch -> the images of its batches, with labels, batch size and seed.
      epochs: length of the run.
      rows: those of each batch that are wanted.
      first_step: steps done before.
      crops: of encoded images, one for each view.
      size: S, side of the crops in pixels.
      decoding: by which settings encoded images are decoded.
    """

    def __init__(
        self,
        images: np.ndarray | EncodedImages,
        order: Order,
        epochs: int,
        rows: range,
        first_step: int = 0,
        crops: Sequence[Crop] = (),
        size: int = 0,
        decoding: Decoding = PLAIN,
    ):
        self._images, self._labels, self._seed = images, order.labels, order.seed
        self._order, self._rows, self._pools = order, rows, order.pools
        self._steps = order.steps  # of an epoch
        self._first_step, self._last_step = first_step, self._steps * epochs
        self._epochs: dict[int, np.ndarray] = {}
        self._crops, self._size = tuple(crops), size
        self._decoding = decoding

    @property
    def row_bytes(self) -> int:
        """Bytes of the pixels of one image or of all its crops."""
        if isinstance(self._images, EncodedImages):
            return len(self._crops) * self._size**2 * 3
        return self._images[:1].nbytes

    def __len__(self) -> int:
        return (self._last_step - self._first_step) * len(self._rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """One image: uint8 [H, W, 3], or its crops [V, S, S, 3] and which image was broken.

        Beside it its label, and which image of the split it is.
        """
        steps, row = divmod(int(position), len(self._rows))
        step, row = self._first_step + steps, self._rows[row]
        epoch, batch = divmod(step, self._steps)
        index = int(self._batches(epoch)[batch, row])
        if isinstance(self._images, EncodedImages):
            pool = self._pools[row % len(self._pools)]
            return self._cropped(index, pool, np.random.default_rng([self._seed, step, row]))
        return self._row(self._images[index], index)

    def _row(self, pixels: np.ndarray, index: int) -> dict[str, Any]:
        return {"image": pixels, "label": self._labels[index], "index": np.int32(index)}

    def _batches(self, epoch: int) -> np.ndarray:
        """The order of an epoch, which its many rows share."""
        # Threads may stand in two epochs; what one of them computes twice is the same.
        order = self._epochs.get(epoch)
        if order is None:
            order = self._order(epoch)
            self._epochs = {epoch: order, **dict(list(self._epochs.items())[:3])}
        return order

    def _cropped(self, index: int, pool: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        broken = np.int32(-1)
        for _ in range(_ATTEMPTS):
            try:
                data = _read(self._images, index)
                crops = training_crops(data, self._crops, self._size, rng, decoding=self._decoding)
            except (BrokenImageError, OSError):
                broken = np.int32(index if broken < 0 else broken)
                # Of its own stream: no image that is held out may come in its place.
                index = int(pool[rng.integers(len(pool))])
            else:
                return {**self._row(crops, index), "broken": broken}
        raise DataError(
            f"{_ATTEMPTS} training images in a row cannot be decoded, "
            f"{shown(self._images.name(index))} the last; --mode=inspect --verify lists all that "
            "are broken"
        )


def _read(images: EncodedImages, index: int) -> bytes:
    try:
        return images[index]
    except OSError:
        # A network disk may fail for a moment.
        time.sleep(1)
        return images[index]


class EvaluationStream:
    """The rows of each evaluation batch that one process reads: central crops of photographs.

    What of a batch has no image is black.

    Args:
      images: N encoded images.
      batch_size: rows of a batch over all processes.
      rows: those of each batch that are wanted.
      resize: length of the short side in pixels, before the crop.
      size: S, side of the crop.
      decoding: as of `TrainingStream`.
      filled: rows of a batch that have images; None for all but those at the end of the last one.
      crop: a random crop in the place of the central one.
      seed: of the random crops, of which each image's are a function of its position besides.
      fit: for a run on arrays of one size, how photographs become such, in the place of any crop.
    """

    def __init__(
        self,
        images: EncodedImages,
        batch_size: int,
        rows: range,
        resize: int,
        size: int,
        decoding: Decoding = PLAIN,
        *,
        filled: int | None = None,
        crop: Crop | None = None,
        seed: Sequence[int] = (),
        fit: Fit | None = None,
    ):
        self._decoding = decoding
        self._images, self._filled, self._rows = images, filled or batch_size, rows
        self._resize, self._size = resize, size
        self._crop, self._seed = crop, tuple(seed)
        self._fit, self._shape = fit, fit.shape if fit else (size, size)

    @property
    def row_bytes(self) -> int:
        """Bytes of the pixels of one image."""
        return self._shape[0] * self._shape[1] * 3

    def __len__(self) -> int:
        return -(-len(self._images) // self._filled) * len(self._rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """One image: uint8 [S, S, 3] or as it is fitted, and whether it could be decoded."""
        batch, row = divmod(int(position), len(self._rows))
        index = batch * self._filled + self._rows[row]
        if self._rows[row] < self._filled and index < len(self._images):
            try:
                return {"image": self._cut(index), "decoded": np.bool_(True)}
            except (BrokenImageError, OSError):
                pass
        black = np.zeros((*self._shape, 3), np.uint8)
        return {"image": black, "decoded": np.bool_(False)}

    def _cut(self, index: int) -> np.ndarray:
        data = _read(self._images, index)
        if self._fit is not None:
            return self._fit.of_file(data)
        if self._crop is None:
            return evaluation_crop(data, self._resize, self._size, decoding=self._decoding)
        rng = np.random.default_rng([*self._seed, index])
        (square,) = training_crops(data, [self._crop], self._size, rng, decoding=self._decoding)
        return square
