import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from bccl_jax.augment import policies
from bccl_jax.augment.operations import INDEX
from tests.augment.pillow_policies import autoaugment_operation

# Thousands of images go through each policy.
OPTIMIZED = True
NO_JITTER = (0.0, 0.0, 0.0, 0.0)
PLAIN_SIM = {
    "scale": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "flip": False,
    "jitter": NO_JITTER,
    "grayscale_prob": 0.0,
}


def changed(got, images):
    return (np.asarray(got) != images).any((1, 2, 3))


@pytest.fixture(scope="module")
def many():
    """uint8 [1200, 8, 8, 3], coloured, not symmetric, no channel using all levels."""
    return np.random.default_rng(0).integers(40, 200, (1200, 8, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def copies(many):
    """Ten of each in a row."""
    return np.repeat(many, 10, axis=0)


# Cubuk et al. 2019, Table 7, in the order of the published code: operation, probability, level.
PUBLISHED = """
0   Invert 0.1 7        Contrast 0.2 6
1   Rotate 0.7 2        TranslateX 0.3 9
2   Sharpness 0.8 1     Sharpness 0.9 3
3   ShearY 0.5 8        TranslateY 0.7 9
4   AutoContrast 0.5 8  Equalize 0.9 2
5   ShearY 0.2 7        Posterize 0.3 7
6   Color 0.4 3         Brightness 0.6 7
7   Sharpness 0.3 9     Brightness 0.7 9
8   Equalize 0.6 5      Equalize 0.5 1
9   Contrast 0.6 7      Sharpness 0.6 5
10  Color 0.7 7         TranslateX 0.5 8
11  Equalize 0.3 7      AutoContrast 0.4 8
12  TranslateY 0.4 3    Sharpness 0.2 6
13  Brightness 0.9 6    Color 0.2 8
14  Solarize 0.5 2      Invert 0.0 3
15  Equalize 0.2 0      AutoContrast 0.6 0
16  Equalize 0.2 8      Equalize 0.6 4
17  Color 0.9 9         Equalize 0.6 6
18  AutoContrast 0.8 4  Solarize 0.2 8
19  Brightness 0.1 3    Color 0.7 0
20  Solarize 0.4 5      AutoContrast 0.9 3
21  TranslateY 0.9 9    TranslateY 0.7 9
22  AutoContrast 0.9 2  Solarize 0.8 3
23  Equalize 0.8 8      Invert 0.1 3
24  TranslateY 0.7 9    AutoContrast 0.9 1
"""


def test_the_policy_is_the_published_one_entry_by_entry():
    ours = {"ShearY": "shear_y", "TranslateX": "translate_x", "TranslateY": "translate_y"}
    rows = [line.split() for line in PUBLISHED.split("\n") if line]
    assert [int(row[0]) for row in rows] == list(range(25))
    for row, sub_policy in zip(rows, policies.CIFAR10_POLICY, strict=True):
        want = tuple(
            (ours.get(name, name.lower()), float(probability), int(level))
            for name, probability, level in (row[1:4], row[4:7])
        )
        assert sub_policy == want, f"sub-policy {row[0]}"


def test_every_sub_policy_is_pillows_composition(photos, assert_close_to_pillow):
    # 25 sub-policies, each with both operations in both directions, and each operation alone.
    coins = [((1, 1), (1, 1)), ((1, 1), (-1, -1)), ((1, 0), (1, 1)), ((0, 1), (1, -1))]
    cases = [(index, *coin) for index in range(25) for coin in coins]
    images = photos[np.arange(len(cases)) % len(photos)]
    chosen, applied, signs = (np.array(column) for column in zip(*cases, strict=True))
    got = np.asarray(
        jax.jit(policies.apply_sub_policies)(
            images, chosen.astype(np.int32), applied.astype(bool), signs.astype(np.float32)
        )
    )
    for image, result, (index, coin, sign) in zip(images, got, cases, strict=True):
        want = Image.fromarray(image)
        for (name, _, level), use, direction in zip(
            policies.CIFAR10_POLICY[index], coin, sign, strict=True
        ):
            if use:
                want = autoaugment_operation(want, name, level, direction)
        assert_close_to_pillow(result[None], [want])


def test_autoaugment_draws_the_sub_policies_and_coins_at_their_rates(copies):
    # Inverted alone, equalize being without effect on 8 x 8 images: sub-policy 0 without its
    # contrast, 23, and 18 without its autocontrast, as all levels lie above that solarize's 28.
    got = np.asarray(policies.autoaugment_cifar10(copies, jax.random.key(3)))
    inverted = (got == 255 - copies).all((1, 2, 3)).mean()
    assert abs(inverted - (0.1 * 0.8 + 0.1 + 0.2 * 0.2) / 25) < 0.003
    # What stays as it was: nothing applied, or operations without effect on these images. They
    # are too small for equalize and for a turn of 7 degrees, too dark for solarize from 199 on.
    idle = {("rotate", 2), ("solarize", 2), ("color", 0)}
    still = np.mean(
        [
            np.prod(
                [
                    1 - p * (name != "equalize" and (name, level) not in idle)
                    for name, p, level in pair
                ]
            )
            for pair in policies.CIFAR10_POLICY
        ]
    )
    assert abs((~changed(got, copies)).mean() - still) < 0.02


@pytest.mark.parametrize(
    ("name", "level", "sign", "want"),
    [
        ("shear_x", 10, -1, -0.3),
        ("shear_y", 5, 1, 0.15),
        ("translate_x", 10, 1, 0.45),
        ("translate_y", 10, -1, -0.45),
        ("rotate", 10, -1, -30),
        ("posterize", 10, 1, 4),
        ("posterize", 9.9, 1, 3),
        ("solarize", 10, 1, 256),
        ("solarize", 9.5, 1, 243),
        ("solarize_add", 9.5, 1, 104),
        ("color", 10, -1, 1.9),
        ("contrast", 0, -1, 0.1),
        ("brightness", 5, -1, 1.0),
        ("sharpness", 10, -1, 1.9),
        ("invert", 10, -1, 0.0),
    ],
)
def test_randaugment_levels_mean_what_timms_do(name, level, sign, want):
    got = policies.randaugment_values(
        jnp.array([INDEX[name]]), jnp.array([level], jnp.float32), jnp.array([sign], jnp.float32)
    )
    np.testing.assert_allclose(got, [want], rtol=1e-6)


# timm's operations of its default scale with the least and the greatest argument, at level 0 and
# 10: an enhancement's factor, pixels of the side, degrees, bits, a threshold, an addend.
TIMM = {
    "autocontrast": (0, 0),
    "equalize": (0, 0),
    "invert": (0, 0),
    "rotate": (0, 30),
    "posterize": (0, 4),
    "solarize": (0, 256),
    "solarize_add": (0, 110),
    "color": (0.1, 1.9),
    "contrast": (0.1, 1.9),
    "brightness": (0.1, 1.9),
    "sharpness": (0.1, 1.9),
    "shear_x": (0, 0.3),
    "shear_y": (0, 0.3),
    "translate_x": (0, 0.45),
    "translate_y": (0, 0.45),
}


def test_randaugment_has_timms_operations_and_ranges():
    assert sorted(policies.RANDAUGMENT_OPERATIONS) == sorted(TIMM)
    op = jnp.array([INDEX[name] for name in TIMM])
    for end, level in enumerate((0.0, 10.0)):
        got = policies.randaugment_values(op, jnp.full(len(op), level), jnp.ones(len(op)))
        want = [bounds[end] for bounds in TIMM.values()]
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=f"{list(TIMM)} at {level}")


def randaugment_once(images, probability):
    return np.asarray(
        policies.randaugment(
            images, jax.random.key(0), 1, 10, probability=probability, fill=(1, 2, 3)
        )
    )


def test_randaugment_applies_each_drawn_operation_with_its_probability(many):
    assert not changed(randaugment_once(many, 0.0), many).any()
    # At level 10 solarize has no effect, nor has equalize on 8 x 8 images: 13 of 15 show.
    assert abs(changed(randaugment_once(many, 1.0), many).mean() - 13 / 15) < 0.05
    assert abs(changed(randaugment_once(many, 0.5), many).mean() - 0.5 * 13 / 15) < 0.07


def test_randaugment_fills_with_the_given_colour(many):
    got = randaugment_once(np.full_like(many, 200), 1.0)
    filled = (got == np.array([1, 2, 3])).all(-1).any((1, 2))
    # The five motions of the fifteen operations.
    assert abs(filled.mean() - 5 / 15) < 0.07


def test_cutout_centres_are_uniform_over_all_pixels():
    images = np.full((4000, 8, 12, 3), 255, np.uint8)
    holes = np.asarray(policies.cutout(images, jax.random.key(0), 4))[..., 0] == 0
    # A centre (y, x) covers rows y - 2 .. y + 1: the hole's last row and column give it away.
    bottom = 7 - holes.any(2)[:, ::-1].argmax(1)
    right = 11 - holes.any(1)[:, ::-1].argmax(1)
    rows, columns = np.bincount(bottom, minlength=8), np.bincount(right, minlength=12)
    # The centres of the last two rows (columns) share the border.
    np.testing.assert_allclose(rows[1:7] / 4000, 1 / 8, atol=0.025)
    np.testing.assert_allclose(rows[7] / 4000, 2 / 8, atol=0.035)
    np.testing.assert_allclose(columns[1:11] / 4000, 1 / 12, atol=0.025)
    np.testing.assert_allclose(columns[11] / 4000, 2 / 12, atol=0.035)


def test_simaugment_without_its_parts_is_the_image(many):
    got = policies.simaugment(many, jax.random.key(0), **PLAIN_SIM)
    np.testing.assert_array_equal(got, many)


def test_simaugment_flips_half_of_the_images(many):
    got = policies.simaugment(many, jax.random.key(0), **PLAIN_SIM | {"flip": True})
    flipped = changed(got, many)
    np.testing.assert_array_equal(np.asarray(got)[flipped], many[flipped][:, :, ::-1])
    assert abs(flipped.mean() - 0.5) < 0.06


def jittered_and_blurred(images, key, jitter_prob, grayscale_prob):
    options = {"jitter": (0.4, 0.4, 0.4, 0.1), "blur_prob": 0.5, "blur_sigma": (1.0, 2.0)}
    options |= {"jitter_prob": jitter_prob, "grayscale_prob": grayscale_prob}
    return policies.simaugment(images, key, **PLAIN_SIM | options)


def test_simaugment_jitters_greys_and_blurs_at_their_rates(many):
    def share(*probabilities):
        return changed(jittered_and_blurred(many, jax.random.key(1), *probabilities), many)

    blurred = share(0.0, 0.0)
    assert abs(blurred.mean() - 0.5) < 0.06
    # The coins are the same ones, so that these tell jitter and grey apart from blur.
    assert abs(share(0.8, 0.0)[~blurred].mean() - 0.8) < 0.05
    assert abs(share(0.0, 0.2)[~blurred].mean() - 0.2) < 0.05


def test_jitter_factors_are_uniform_in_their_range():
    # On a flat grey image brightness alone acts: the level is the factor.
    images = np.full((4000, 4, 4, 3), 100, np.uint8)
    jitter = jax.jit(policies.color_jitter, static_argnums=2)
    got = jitter(images, jax.random.key(0), (0.4, 0.0, 0.0, 0.0))
    factors = np.asarray(got)[:, 0, 0, 0] / 100
    assert factors.min() < 0.61
    assert factors.max() > 1.38
    assert ((factors >= 0.59) & (factors <= 1.4)).all()
    assert abs(factors.mean() - 0.995) < 0.02


@pytest.mark.parametrize("size", [6, 20])
def test_simaugment_gives_the_asked_size_of_non_square_images(photos, size):
    got = jax.eval_shape(lambda: policies.simaugment(photos, jax.random.key(0), size=size))
    assert got.shape == (len(photos), size, size, 3)
    assert got.dtype == jnp.uint8


# On as many images as above, for which the first and the last are compiled.
@pytest.mark.parametrize(
    ("policy", "count"),
    [
        (policies.autoaugment_cifar10, 12000),
        (lambda images, key: policies.randaugment(images, key, 2, 10, magnitude_std=0.5), 1200),
        (lambda images, key: policies.cutout(images, key, 4), 1200),
        (lambda images, key: jittered_and_blurred(images, key, 0.8, 0.2), 1200),
    ],
    ids=["autoaugment", "randaugment", "cutout", "simaugment"],
)
def test_a_policy_is_a_pure_function_of_images_and_key(copies, policy, count):
    copies = copies[:count]
    first = np.asarray(policy(copies, jax.random.key(0)))
    assert first.shape == copies.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(policy(copies, jax.random.key(0)), first)
    assert (np.asarray(policy(copies, jax.random.key(1))) != first).any()
    # Copies of one image in a batch are drawn apart.
    assert (first[:10] != first[:1]).any()


@pytest.mark.parametrize(
    "policy",
    [
        policies.autoaugment_cifar10,
        lambda images, key: policies.randaugment(images, key, 2, 10),
        lambda images, key: policies.cutout(images, key, 4),
        policies.simaugment,
    ],
)
def test_normalised_images_are_refused(policy):
    with pytest.raises(ValueError, match="before normalising"):
        policy(jnp.zeros((2, 8, 8, 3)), jax.random.key(0))
