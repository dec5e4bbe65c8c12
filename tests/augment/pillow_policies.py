"""AutoAugment's and RandAugment's operations spelled out in Pillow: the tests' oracle."""

from PIL import Image, ImageEnhance, ImageOps

ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}


def operate(image, name, value, kernel, fill):
    """One operation; ``value`` in Pillow's units, translation as a fraction of the side."""
    width, height = image.size
    maps = {
        "shear_x": (1, value, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, value, 1, 0),
        "translate_x": (1, 0, value * width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, value * height),
    }
    if name in maps:
        return image.transform(image.size, Image.AFFINE, maps[name], kernel, fillcolor=fill)
    if name == "rotate":
        return image.rotate(value, kernel, fillcolor=fill)
    if name in ENHANCERS:
        return ENHANCERS[name](image).enhance(value)
    if name == "posterize":
        return ImageOps.posterize(image, int(value)) if value else Image.new("RGB", image.size)
    if name == "solarize":
        return ImageOps.solarize(image, value)
    if name == "solarize_add":
        table = [min(level + int(value), 255) if level < 128 else level for level in range(256)]
        return image.point(table * 3)
    plain = {
        "identity": lambda image: image,
        "invert": ImageOps.invert,
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
    }
    return plain[name](image)


def autoaugment_operation(image, name, level, sign):
    """One operation at AutoAugment's level 0..9, the CIFAR recipes' reading."""
    part = level / 9
    if name.startswith("shear"):
        return operate(image, name, sign * 0.3 * part, Image.BICUBIC, (128,) * 3)
    if name.startswith("translate"):
        return operate(image, name, sign * 150 / 331 * part, Image.NEAREST, (128,) * 3)
    if name == "rotate":
        turned = image.convert("RGBA").rotate(30 * part)
        grey = Image.new("RGBA", image.size, (128,) * 4)
        return Image.composite(turned, grey, turned).convert("RGB")
    value = 0.0
    if name in ENHANCERS:
        value = 1 + sign * 0.9 * part
    elif name == "posterize":
        value = round(8 - 4 * part)
    elif name == "solarize":
        value = 256 * (1 - part)
    return operate(image, name, value, None, None)
