import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.augment import policies
from bccl_jax.augment.views import SimView, StrongView, make_views, normalize, strong_view
from bccl_jax.errors import ConfigError

NO_JITTER = (0.0, 0.0, 0.0, 0.0)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
BARE = {"crop": "none", "flip": False, "policy": "none", "cutout": 0}
CHEAP = {"strong": StrongView(policy="none", cutout=4), "sim": SimView(jitter=NO_JITTER)}
strong = jax.jit(strong_view, static_argnums=(2, 3))


def views(images, names, seed=0, **options):
    return make_views(
        images,
        jax.random.key(seed),
        names,
        options.pop("strong", StrongView()),
        options.pop("sim", SimView()),
        MEAN,
        STD,
        **options,
    )


def numpy_normalized(images):
    return (images / 255.0 - np.array(MEAN)) / np.array(STD)


def test_plain_is_normalised_only(photos):
    (plain,) = views(photos, ("plain",))
    assert plain.dtype == jnp.float32
    np.testing.assert_allclose(plain, numpy_normalized(photos), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(plain, jax.jit(normalize)(photos, MEAN, STD))


def test_views_come_in_the_asked_order_shape_and_type(photos):
    names = ("strong", "sim", "plain")
    got = jax.eval_shape(lambda: views(photos, names, size=16, dtype=jnp.bfloat16))
    assert [view.shape for view in got] == [(24, 32, 40, 3), (24, 16, 16, 3), (24, 32, 40, 3)]
    assert {view.dtype for view in got} == {jnp.dtype(jnp.bfloat16)}


def test_a_repeated_name_is_drawn_anew_and_independent_of_the_others(digits):
    first, second = views(digits, ("sim", "sim"), **CHEAP)
    assert (np.asarray(first) != np.asarray(second)).any()
    together = views(digits, ("strong", "sim", "sim"), **CHEAP)
    np.testing.assert_allclose(together[1], first, atol=1e-5)
    np.testing.assert_allclose(together[2], second, atol=1e-5)


def test_the_curriculum_is_the_strong_view_with_more_operations_before_cutout(photos):
    images, bare = np.maximum(photos, 1), {"strong": StrongView(**BARE | {"cutout": 8})}
    level = np.int32(np.arange(24) % 2 * 5)
    inputs = {"level": level, "chance": np.ones(24, np.float32)}
    (hard,) = map(np.asarray, views(images, ("curriculum",), inputs=inputs, **bare))
    (plain,) = map(np.asarray, views(images, ("strong",), **bare))
    np.testing.assert_array_equal(hard[level == 0], plain[level == 0])
    # Some of five operations show. What Cutout blackened is black after them.
    assert np.all((hard != plain)[level == 5].mean((1, 2, 3)) > 0.1)
    hole = np.isclose(plain, numpy_normalized(np.zeros(3)), atol=1e-5).all(3)
    assert 24 * 16 <= hole.sum() <= 24 * 64
    np.testing.assert_array_equal(hard[hole], plain[hole])
    with pytest.raises(ConfigError, match=r"'curriculum' takes 'level', which is not given"):
        views(images, ("curriculum",), **bare)


def test_views_are_a_pure_function_of_images_and_key(digits):
    names = ("strong", "sim", "sim")
    first, again, other = (views(digits, names, seed, **CHEAP) for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (np.asarray(a) != np.asarray(c)).any()


def test_the_bare_strong_view_is_the_image(digits):
    np.testing.assert_array_equal(strong(digits, jax.random.key(0), StrongView(**BARE)), digits)


def test_the_strong_view_flips_half_of_the_images(digits):
    images = np.repeat(digits[:1], 2000, axis=0)
    view = StrongView(**BARE | {"flip": True})
    got = np.asarray(strong(images, jax.random.key(0), view))
    flipped = (got == images[:, :, ::-1]).all((1, 2, 3))
    same = (got == images).all((1, 2, 3))
    assert (flipped | same).all()
    assert abs(flipped.mean() - 0.5) < 0.05


def test_crop_offsets_are_uniform():
    # Each pixel's level is its place, so that the middle pixel tells the offset.
    place = (16 * np.arange(8)[:, None] + np.arange(8)[None, :]).astype(np.uint8)
    images = np.tile(place[None, :, :, None], (5000, 1, 1, 3))
    view = StrongView(**BARE | {"crop": "padded", "crop_padding": 2})
    middle = np.asarray(strong(images, jax.random.key(0), view))[:, 4, 4, 0].astype(int)
    offsets = (middle // 16 - 2) * 5 + middle % 16 - 2
    counts = np.bincount(offsets, minlength=25)
    assert len(counts) == 25
    np.testing.assert_allclose(counts / 5000, 1 / 25, atol=0.014)


def test_cutout_comes_last_and_is_black_before_normalising(photos, monkeypatch):
    # A policy that would turn the square white, and that compiles at once.
    monkeypatch.setattr(policies, "autoaugment_cifar10", lambda images, key: 255 - images)
    # Settings that nothing else has, for what is traced of them is kept.
    strong = StrongView(cutout=16, fill=(1, 2, 3))
    (view,) = make_views(photos, jax.random.key(0), ("strong",), strong, SimView(), MEAN, STD)
    black = np.isclose(np.asarray(view), numpy_normalized(np.zeros(3)), atol=1e-5).all(-1)
    # The square keeps at least a quarter within the image.
    assert (black.sum((1, 2)) >= 64).all()


def test_the_imagenet_view_is_resized_and_jittered(photos):
    view = StrongView(
        crop="resized",
        jitter=(0.4, 0.4, 0.4, 0.0),
        policy="randaugment",
        num_ops=1,
        fill=(124, 116, 104),
        cutout=0,
    )
    got = jax.eval_shape(lambda: strong(photos, jax.random.key(0), view, 24))
    assert got.shape == (24, 24, 24, 3)
    assert got.dtype == jnp.uint8


def test_crops_made_elsewhere_are_mirrored_and_never_cropped_again(digits):
    bare = StrongView(**BARE | {"crop": "padded", "flip": True})
    sim = SimView(jitter=NO_JITTER, grayscale_prob=0.0)
    crops = np.stack([digits, digits[::-1]], axis=1)
    found = views(crops, ("strong", "sim"), strong=bare, sim=sim)
    for crop, view in enumerate(found):
        same, mirrored = numpy_normalized(crops[:, crop]), numpy_normalized(crops[:, crop, :, ::-1])
        kept = np.isclose(view, same, atol=1e-4).all((1, 2, 3))
        flipped = np.isclose(view, mirrored, atol=1e-4).all((1, 2, 3))
        assert (kept | flipped).all()
        assert 0 < kept.sum() < len(digits)


def test_each_view_wants_a_crop_of_its_own(digits):
    with pytest.raises(ValueError, match="one crop for each view"):
        views(np.stack([digits], axis=1), ("strong", "sim"))


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="'random'"):
        StrongView(crop="random")
    with pytest.raises(ValueError, match="autoaugment_cifar10"):
        StrongView(policy="autoaugment")


def test_an_unknown_view_is_refused(digits):
    with pytest.raises(ValueError, match="'weak' is unknown"):
        views(digits, ("weak",))
