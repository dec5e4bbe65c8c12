"""A picture of any size as one of the images of a data set whose images have one size."""

import dataclasses

import numpy as np

from bccl_jax.data.photographs.crops import fitted
from bccl_jax.data.photographs.decode import Picture, Pixels
from bccl_jax.data.photographs.decoding import PLAIN, Decoding
from bccl_jax.data.split import Split


@dataclasses.dataclass(frozen=True)
class Fit:
    """How pictures are fitted into images of one size; objects can be pickled.

    The largest central part of the proportions of an image is scaled to its size; a picture of that
    very size stays as it is. Where the images were reduced, a picture that can be cut into as many
    squares becomes the means of these.

    Attributes:
      shape: (H, W) of the images.
      pixels: side that they were reduced to by averaging (`config.data.pixels`); 0 for none.
      decoding: by which settings of a run.
    """

    shape: tuple[int, int]
    pixels: int = 0
    decoding: Decoding = PLAIN

    def of_file(self, data: bytes) -> np.ndarray:
        """Makes uint8 [H, W, 3] of the bytes of an image file.

        Raises:
          BrokenImageError: it cannot be decoded.
        """
        picture = Picture(data, self.decoding)
        return self.of_pixels(picture.decode(), (picture.height, picture.width))

    def of_pixels(self, pixels: Pixels, sides: tuple[int, int]) -> np.ndarray:
        """The same of a picture's pixels, and the height and width of the full picture."""
        height, width = sides
        if self.pixels and height == width and height % self.pixels == 0:
            whole = Split(np.asarray(pixels.image)[None], np.zeros(1, np.int32), ())
            return whole.reduced(self.pixels).images[0]
        return fitted(pixels, sides, self.shape)
