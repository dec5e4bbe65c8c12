"""CUDA's augmentation beside Pillow and beside what its authors' code makes of an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from bccl_jax.augment import curriculum
from bccl_jax.augment.curriculum import NAMES, OPERATIONS, SIGNED, arguments
from tests.augment.pillow_policies import operate
from tests.losses import public

VECTORS = public.load("cuda")
FILTERS = {
    "edge_enhance": ImageFilter.EDGE_ENHANCE,
    "detail": ImageFilter.DETAIL,
    "smooth": ImageFilter.SMOOTH,
}
apply = jax.jit(curriculum.apply_at_level)
make = jax.jit(curriculum.curriculum)


def pillow(image, name, value):
    """One operation by Pillow, ``value`` as `arguments` has it, its sign included."""
    width, height = image.size
    if name in FILTERS:
        return image.filter(FILTERS[name])
    if name in ("flip", "mirror"):
        return getattr(ImageOps, name)(image)
    if name == "gaussian_blur":
        return image.filter(ImageFilter.GaussianBlur(value))
    if name == "resize_crop":
        large = image.resize((int(width * value), int(height * value)), Image.LANCZOS)
        left, top = large.width // 2 - width // 2, large.height // 2 - height // 2
        return large.crop((left, top, left + width, top + height))
    if name == "solarize_add":
        table = [min(level + int(value), 255) for level in range(256)]
        return ImageOps.solarize(image.point(table * 3), 128)
    if name == "posterize":
        value = max(1, int(value))
    value /= {"translate_x": width, "translate_y": height}.get(name, 1)
    return operate(image, name, value, Image.NEAREST, (0, 0, 0))


def test_the_operations_are_the_public_ones_entry_by_entry():
    ours = {"TranslateXabs": "translate_x", "TranslateYabs": "translate_y"}
    ours |= {"AutoContrast": "autocontrast"}
    for number, name in enumerate(VECTORS["op_names"].tolist()):
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        least, most = (float(VECTORS[f"op_{end}"][number]) for end in ("min", "max"))
        assert OPERATIONS[number] == (ours.get(name, snake), least, most)
    np.testing.assert_allclose(arguments(), VECTORS["val_by_magnitude"], rtol=1e-15)


LEVELS = sorted({int(n.split("_")[1].removeprefix("level")) for n in VECTORS if "images_" in n})


def test_each_operation_makes_what_the_public_code_makes(assert_close_to_pillow):
    assert len(LEVELS) > 1
    cases = [(level, sign) for level in LEVELS for sign in ("pos", "neg")]
    want = np.concatenate([VECTORS[f"images_level{level}_{sign}"] for level, sign in cases])
    count = len(NAMES)
    got = apply(
        np.repeat(VECTORS["image"][None], len(want), axis=0),
        np.tile(np.arange(count, dtype=np.int32), len(cases)),
        np.repeat(np.int32([level for level, _ in cases]), count),
        np.repeat(np.float32([1 if sign == "pos" else -1 for _, sign in cases]), count),
    )
    differing = np.abs(np.asarray(got).astype(int) - want.astype(int)) > 1
    worst = differing.mean((1, 2, 3)).reshape(len(cases), count).max(0)
    assert dict(zip(NAMES, worst <= 0.01, strict=True)) == dict.fromkeys(NAMES, True), worst


@pytest.mark.parametrize("shape", [(32, 40), (17, 23)])
def test_each_operation_is_within_a_level_of_pillow(photos, rng, assert_close_to_pillow, shape):
    # Each operation of each level, on images of any shape, odd sides too.
    op, level = (
        x.ravel() for x in np.mgrid[: len(NAMES), : curriculum.LEVELS + 1].astype(np.int32)
    )
    images = np.resize(photos[:, : shape[0], : shape[1]], (len(op), *shape, 3))
    sign = rng.choice(np.float32([-1, 1]), len(op))
    got = np.asarray(apply(images, op, level, sign))
    values = arguments()[op, level] * np.where(np.isin(np.array(NAMES)[op], SIGNED), sign, 1)
    want = [
        pillow(Image.fromarray(image), NAMES[number], float(value))
        for image, number, value in zip(images, op, values, strict=True)
    ]
    for number in range(len(NAMES)):
        own = op == number
        assert_close_to_pillow(
            got[own], [image for image, mine in zip(want, own, strict=True) if mine]
        )


def test_at_level_0_and_by_no_chance_an_image_stays_as_it_is(photos):
    count, key = len(photos), jax.random.key(0)
    none, always = jnp.zeros(count), jnp.ones(count)
    np.testing.assert_array_equal(make(photos, key, np.zeros(count, np.int32), always), photos)
    np.testing.assert_array_equal(make(photos, key, np.full(count, 9, np.int32), none), photos)


def test_an_image_goes_through_as_many_drawn_operations_as_its_level(
    photos, assert_close_to_pillow
):
    # What the round of a slot draws, composed by hand.
    key, count = jax.random.key(5), len(photos)
    level = np.arange(count, dtype=np.int32) % 4
    got = make(photos, key, level, jnp.ones(count))
    _, operation_key = jax.random.split(key)
    want = photos
    for slot in range(3):
        draws = np.asarray(jax.random.uniform(jax.random.fold_in(operation_key, slot), (count, 2)))
        op = np.int32(draws[:, 0] * len(NAMES))
        sign = np.where(draws[:, 1] < 0.5, np.float32(-1), np.float32(1))
        changed = apply(want, op, level, sign)
        want = np.where((slot < level)[:, None, None, None], changed, want)
    np.testing.assert_array_equal(got, want)


def test_an_image_is_changed_by_its_chance_and_by_all_operations_alike(monkeypatch):
    # Pixels that tell the operation: 11,000 times 0 for none, 1 for the first ...
    def told(images, op, level, sign):
        turned = 100 * (sign < 0)
        return images + (1 + op + turned).astype(jnp.uint8)[:, None, None, None]

    monkeypatch.setattr(curriculum, "apply_at_level", told)
    count = 22_000
    images, level = np.zeros((count, 1, 1, 3), np.uint8), np.ones(count, np.int32)
    chance = np.where(np.arange(count) < 11_000, np.float32(0.25), np.float32(1))
    got = jax.jit(lambda *given: curriculum.curriculum(*given))(
        images, jax.random.key(1), level, chance
    )[:, 0, 0, 0]
    seldom, always = np.asarray(got[:11_000]), np.asarray(got[11_000:])
    assert np.mean(seldom > 0) == pytest.approx(0.25, abs=0.02)
    assert np.mean(always > 100) == pytest.approx(0.5, abs=0.02)
    drawn = np.bincount((always - 1) % 100, minlength=22)
    # 500 of each, with a standard deviation of 22.
    assert drawn.shape == (22,)
    assert np.all(np.abs(drawn - 500) < 100)
