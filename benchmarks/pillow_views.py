"""The training views image by image in Pillow, on the host: what the batched ones compete with."""

import random
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from bccl_jax.augment.policies import CIFAR10_POLICY

_GREY = (128, 128, 128)
_ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
_PLAIN = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
}


def strong(image: Image.Image, rng: random.Random, *, padding: int = 4, hole: int = 16):
    """The classification view: padded crop, flip, AutoAugment's CIFAR-10 policy, Cutout.

    Args:
      image: RGB.
      rng: of the draws.
      padding: black pixels around the image that the crop may reach into.
      hole: side of the Cutout square in pixels.

    Returns:
      An RGB image of the same size.
    """
    width, height = image.size
    left, top = (rng.randint(-padding, padding) for _ in range(2))
    image = _flip(image.crop((left, top, left + width, top + height)), rng)
    for name, probability, level in rng.choice(CIFAR10_POLICY):
        if rng.random() < probability:
            image = _operate(image, name, level, rng.choice((-1, 1)))
    return cutout(image, rng, hole)


def cutout(image: Image.Image, rng: random.Random, hole: int) -> Image.Image:
    """Blackens a square of side `hole` around a random pixel, in place."""
    left, top = (rng.randrange(side) - hole // 2 for side in image.size)
    image.paste((0, 0, 0), (left, top, left + hole, top + hole))
    return image


def sim(image: Image.Image, rng: random.Random, *, blurred: float = 0.0) -> Image.Image:
    """The contrastive view: resized crop, flip, colour jitter, greyscale, blur.

    Args:
      image: RGB, square.
      rng: of the draws.
      blurred: chance of the Gaussian blur.

    Returns:
      An RGB image of the same size.
    """
    box = resized_crop_box(rng, *image.size)
    image = _flip(image.crop(box).resize(image.size, Image.Resampling.BILINEAR), rng)
    if rng.random() < 0.8:
        image = _jitter(image, rng)
    if rng.random() < 0.2:
        image = image.convert("L").convert("RGB")
    if rng.random() < blurred:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
    return image


def resized_crop_box(
    rng: random.Random,
    width: int,
    height: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[int, int, int, int]:
    """Draws the box of RandomResizedCrop: left, top, right, bottom.

    Args:
      rng: of the draws.
      width: of the image.
      height: of the image.
      scale: bounds of the box's area as a fraction of the image's.
      ratio: bounds of its width over its height, drawn log-uniformly.

    Returns:
      A box within the image; the whole image where ten draws do not fit.
    """
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        aspect = ratio[0] * (ratio[1] / ratio[0]) ** rng.random()
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


def _flip(image: Image.Image, rng: random.Random) -> Image.Image:
    return ImageOps.mirror(image) if rng.random() < 0.5 else image


def _operate(image: Image.Image, name: str, level: int, sign: int) -> Image.Image:
    """One AutoAugment operation at level 0 to 9."""
    part, (width, height) = level / 9, image.size
    shear, shift = sign * 0.3 * part, sign * 150 / 331 * part
    if name in _PLAIN:
        return _PLAIN[name](image)
    if name in _ENHANCERS:
        return _ENHANCERS[name](image).enhance(1 + sign * 0.9 * part)
    match name:
        case "posterize":
            return ImageOps.posterize(image, round(8 - 4 * part))
        case "solarize":
            return ImageOps.solarize(image, 256 * (1 - part))
        case "rotate":
            return image.rotate(30 * part, fillcolor=_GREY)
        case "shear_x":
            return _affine(image, (1, shear, 0, 0, 1, 0), Image.Resampling.BICUBIC)
        case "shear_y":
            return _affine(image, (1, 0, 0, shear, 1, 0), Image.Resampling.BICUBIC)
        case "translate_x":
            return _affine(image, (1, 0, shift * width, 0, 1, 0), Image.Resampling.NEAREST)
        case "translate_y":
            return _affine(image, (1, 0, 0, 0, 1, shift * height), Image.Resampling.NEAREST)
    raise ValueError(f"AutoAugment's policy has no operation {name!r}.")


def _affine(image, coefficients, kernel) -> Image.Image:
    method = Image.Transform.AFFINE
    return image.transform(image.size, method, coefficients, kernel, fillcolor=_GREY)


def _jitter(image: Image.Image, rng: random.Random) -> Image.Image:
    """Brightness, contrast and saturation by 0.6 to 1.4 and hue by up to 0.1, in random order."""
    changes: list[Callable[[Image.Image], Image.Image]] = [
        lambda image, name=name: _ENHANCERS[name](image).enhance(rng.uniform(0.6, 1.4))
        for name in ("brightness", "contrast", "color")
    ]
    turn = int(rng.uniform(-0.1, 0.1) * 255)
    changes.append(lambda image: _turn_hue(image, turn))
    rng.shuffle(changes)
    for change in changes:
        image = change(image)
    return image


def _turn_hue(image: Image.Image, turn: int) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(level + turn) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
