import functools

import jax
import numpy as np
import pytest
from PIL import Image

from bccl_jax.augment import geometry
from bccl_jax.augment.operations import INDEX, OPERATIONS, apply_operation
from tests.augment.pillow_policies import operate

FILL = (124, 116, 104)
RANGES = {
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "translate_x": (-0.45, 0.45),
    "translate_y": (-0.45, 0.45),
    "rotate": (-30, 30),
    "posterize": (0, 9),
    "solarize": (0, 257),
    "solarize_add": (0, 111),
}
WHOLE = ("posterize", "solarize", "solarize_add")
apply = jax.jit(functools.partial(apply_operation, fill=FILL))


def draw(names, rng):
    values = [rng.uniform(*RANGES.get(name, (0.1, 1.9))) for name in names]
    values = [np.floor(v) if name in WHOLE else v for name, v in zip(names, values, strict=True)]
    return np.float32(values)


def both(images, names, values, kernel):
    """Ours and Pillow's results; ``kernel`` is of ours and Pillow's in a pair."""
    ours, pillows = kernel
    got = apply(
        images,
        np.int32([INDEX[name] for name in names]),
        values,
        np.full(len(images), ours, np.int32),
    )
    want = [
        operate(Image.fromarray(image), name, float(value), pillows, FILL)
        for image, name, value in zip(images, names, values, strict=True)
    ]
    return got, want


@pytest.mark.parametrize(
    "kernel",
    [(geometry.BILINEAR, Image.BILINEAR), (geometry.BICUBIC, Image.BICUBIC)],
    ids=["bilinear", "bicubic"],
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_within_a_level_of_pillow(
    photos, rng, assert_close_to_pillow, name, kernel
):
    names = [name] * len(photos)
    assert_close_to_pillow(*both(photos, names, draw(names, rng), kernel))


def test_each_image_gets_its_own_operation(photos, rng, assert_close_to_pillow):
    names = [OPERATIONS[index % len(OPERATIONS)] for index in range(len(photos))]
    kernel = (geometry.BICUBIC, Image.BICUBIC)
    assert_close_to_pillow(*both(photos, names, draw(names, rng), kernel))


def test_tables_stay_exact_within_a_mixed_batch(photos, rng):
    exact = (
        "identity",
        "invert",
        "posterize",
        "solarize",
        "autocontrast",
        "equalize",
        "brightness",
    )
    names = [exact[index % len(exact)] for index in range(len(photos))]
    got, want = both(photos, names, draw(names, rng), (geometry.BICUBIC, Image.BICUBIC))
    np.testing.assert_array_equal(got, np.stack([np.asarray(image) for image in want]))
