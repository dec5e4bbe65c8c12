"""An image of any kind and size as a run's network sees it: what an evaluation does to it."""

import dataclasses
import pathlib

import numpy as np
from PIL import Image

from bccl_jax.classifier.reading import Saved
from bccl_jax.config.allowed import BOUNDS
from bccl_jax.data.photographs.crops import central_square, evaluation_crop
from bccl_jax.data.photographs.decode import Pixels, upright_rgb
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.data.photographs.fitting import Fit
from bccl_jax.errors import ConfigError
from bccl_jax.system.names import shown


@dataclasses.dataclass(frozen=True)
class Sight:
    """How a run's network sees an image.

    Photographs are resized and cut to their centre as in an evaluation. A run on arrays of one size
    sees pictures as `data.photographs.fitting.Fit` fits them.

    Attributes:
      shape: (H, W) of what the network sees.
      photographs: whether the run is on photographs.
      resize: length of a photograph's short side before the crop.
      pixels: side that images of the run were reduced to by averaging; 0 for none.
      decoding: by which settings of the run pictures are decoded.
    """

    shape: tuple[int, int]
    photographs: bool
    resize: int
    pixels: int
    decoding: Decoding

    @classmethod
    def of(cls, saved: Saved, max_pixels: int | None = None) -> "Sight":
        """That of a run.

        Args:
          saved: what there is of it.
          max_pixels: of a picture, in place of `config.data.max_pixels`.

        Raises:
          ConfigError: that is no such number.
        """
        if max_pixels is not None and not (bound := BOUNDS["data.max_pixels"]).allows(max_pixels):
            raise ConfigError(f"max_pixels is {shown(repr(max_pixels))}; it must be {bound}")
        config, (height, width, _) = saved.classifier.config, saved.classifier.image_shape
        decoding = Decoding.of(config)
        if max_pixels is not None:
            decoding = dataclasses.replace(decoding, max_pixels=int(max_pixels))
        return cls(
            (height, width),
            saved.photographs,
            config.augment.eval_resize,
            0 if saved.photographs else config.data.pixels,
            decoding,
        )

    def see(self, source: str | bytes | Image.Image | np.ndarray) -> np.ndarray:
        """Makes uint8 [H, W, 3] of an image; threads may do so at the same time.

        Args:
          source: as `given.Item` has it.

        Raises:
          BrokenImageError: it cannot be decoded.
          OSError: it cannot be read.
        """
        if isinstance(source, str):
            source = pathlib.Path(source).read_bytes()
        if isinstance(source, bytes):
            return self._of_file(source)
        if isinstance(source, Image.Image):
            return self._of_image(upright_rgb(source, self.decoding))
        if source.shape[-1] == 4:
            return self._of_image(upright_rgb(Image.fromarray(source), self.decoding))
        source = np.broadcast_to(source, (*source.shape[:2], 3))
        if not self.photographs and source.shape[:2] == self.shape:
            return source
        return self._of_image(Image.fromarray(source))

    def _of_file(self, data: bytes) -> np.ndarray:
        if self.photographs:
            return evaluation_crop(data, self.resize, self.shape[0], decoding=self.decoding)
        return self._fit.of_file(data)

    def _of_image(self, image: Image.Image) -> np.ndarray:
        sides = image.height, image.width
        if self.photographs:
            return central_square(Pixels(image), sides, self.resize, self.shape[0])
        return self._fit.of_pixels(Pixels(image), sides)

    @property
    def _fit(self) -> Fit:
        return Fit(self.shape, self.pixels, self.decoding)
