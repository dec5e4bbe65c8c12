"""How picture files become pixels: what of it a run's config decides."""

import dataclasses

import ml_collections

from bccl_jax.data.photographs.levels import WHITE, Color

# Above it Pillow warns of a bomb, above twice as many it refuses: a quarter of a GiB at 3 bytes.
MAX_PIXELS = 89_478_485


@dataclasses.dataclass(frozen=True)
class Decoding:
    """By which settings pictures are decoded; objects can be pickled.

    Attributes:
      background: red, green and blue of the ground that transparent parts are put on.
      max_pixels: a picture of more is broken, and found so by its header.
    """

    background: Color = WHITE
    max_pixels: int = MAX_PIXELS

    @classmethod
    def of(cls, config: ml_collections.ConfigDict) -> "Decoding":
        """That of a run."""
        return cls(tuple(config.data.background), config.data.max_pixels)


PLAIN = Decoding()
