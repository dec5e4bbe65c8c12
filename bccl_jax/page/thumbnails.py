"""Pictures within a page, in few bytes."""

import base64
import io

import numpy as np
from PIL import Image

from bccl_jax.page.markup import Markup, tag

# Pixels of a side, drawn and kept: twice as many as are drawn would be for the finest screens.
SIDE = 112
# Larger ones are photographs, of which JPEG takes a tenth of the bytes.
_FEW = 40


def thumbnail(image: np.ndarray, alt: str) -> Markup:
    """A picture as an element of HTML; small ones are shown pixel by pixel.

    Args:
      image: uint8 [H, W, 3].
      alt: what it shows.
    """
    height, width = image.shape[:2]
    buffer, small = io.BytesIO(), max(height, width) <= _FEW
    picture = Image.fromarray(image)
    if small:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.thumbnail((SIDE, SIDE))
        picture.save(buffer, "JPEG", quality=82)
    kind = "png" if small else "jpeg"
    data = base64.b64encode(buffer.getvalue()).decode()
    return tag(
        "img",
        src=f"data:image/{kind};base64,{data}",
        alt=alt,
        width=SIDE if width >= height else round(SIDE * width / height),
        height=SIDE if height >= width else round(SIDE * height / width),
        class_="pixels" if small else None,
    )
