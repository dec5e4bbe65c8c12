"""MixUp and CutMix beside what NumPy makes of the same draws, pixel by pixel."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bccl_jax.augment.mixing import Mixing, blend, draw_box, mix, paste

COUNT = 6


def test_blending_is_the_weighted_sum(rng):
    one, other = rng.normal(size=(2, 4, 5, 6, 3)).astype(np.float32)
    found = blend(one, other, jnp.float32(0.3))
    expected = 0.3 * one.astype(np.float64) + 0.7 * other.astype(np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(blend(one, other, jnp.float32(1)), one)
    half = blend(jnp.bfloat16(one), jnp.bfloat16(other), jnp.float32(0.3))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(half), expected, rtol=0.02, atol=0.02)


def by_the_authors(height, width, centre, share):
    """rand_bbox of the code of Yun et al., its corner drawn outside."""
    ratio = np.sqrt(1.0 - share)
    cut_h, cut_w = int(height * ratio), int(width * ratio)
    y, x = centre
    rows = np.clip([y - cut_h // 2, y + cut_h // 2], 0, height)
    columns = np.clip([x - cut_w // 2, x + cut_w // 2], 0, width)
    return *map(int, rows), *map(int, columns)


@pytest.mark.parametrize("share", [0.0, 0.13, 0.6, 0.97, 1.0])
def test_boxes_are_those_of_the_authors_with_centres_drawn_evenly(share):
    height, width = 5, 8
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.jit(jax.vmap(lambda key: draw_box(key, height, width, jnp.float32(share))))
    found = collections.Counter(map(tuple, np.asarray(draw(keys)).tolist()))
    expected = collections.Counter(
        by_the_authors(height, width, (y, x), share) for y in range(height) for x in range(width)
    )
    assert found.keys() == expected.keys()
    if len(expected) > 1:
        seen, wanted = np.array([[found[box], 100 * expected[box]] for box in expected]).T
        assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_the_share_is_that_of_the_pixels(rng):
    ours, theirs = np.zeros((2, 7, 5, 3), np.float32), np.ones((2, 7, 5, 3), np.float32)
    for _ in range(50):
        top, bottom = sorted(rng.integers(0, 8, 2).tolist())
        left, right = sorted(rng.integers(0, 6, 2).tolist())
        mixed, share = paste(ours, theirs, jnp.array([top, bottom, left, right]))
        expected = np.zeros((7, 5))
        expected[top:bottom, left:right] = 1
        for image in np.asarray(mixed):
            np.testing.assert_array_equal(image, np.repeat(expected[:, :, None], 3, axis=2))
        assert float(share) == pytest.approx(1 - expected.sum() / 35, abs=1e-6)


def draws(mixing, times, size=8):
    """Of images that show their own number: the mixed ones, and targets of as many classes."""
    images = jnp.tile(jnp.arange(float(COUNT))[:, None, None, None], (1, size, size, 3))
    keys = jax.random.split(jax.random.key(1), times)
    run = jax.jit(jax.vmap(lambda key: mix(images, jnp.eye(COUNT), key, mixing)))
    return (np.asarray(x, np.float64) for x in run(keys))


def share_and_order(targets):
    """What a batch's targets say: the one share, and the partner of each image."""
    others = np.where(np.eye(COUNT) > 0, 0, targets)
    order = [int(np.argmax(row)) if row.any() else i for i, row in enumerate(others)]
    shares = {round(float(row[i]), 6) for i, row in enumerate(targets) if order[i] != i}
    return shares.pop() if len(shares) == 1 else 1.0, order


@pytest.mark.parametrize("ways", [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_targets_say_what_an_image_shows(ways):
    times, kinds = 400, collections.Counter()
    for images, targets in zip(*draws(Mixing(*ways), times), strict=True):
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        share, order = share_and_order(targets)
        if share == 1.0:
            continue
        assert sorted(order) == list(range(COUNT))
        pasted = all(set(np.unique(image)) <= {i, order[i]} for i, image in enumerate(images))
        for i, image in enumerate(images):
            if order[i] == i:
                np.testing.assert_allclose(image, i, atol=1e-5)
            elif pasted:
                assert np.mean(image == i) == pytest.approx(share, abs=1e-6)
            else:
                np.testing.assert_allclose(image, share * i + (1 - share) * order[i], atol=1e-4)
        kinds["pasted" if pasted else "blended"] += 1
    assert set(kinds) == {
        kind for kind, way in zip(("blended", "pasted"), ways, strict=True) if way
    }
    if all(ways):
        # Some of the boxes are empty.
        assert 0.35 < kinds["blended"] / times < 0.65


def test_mixups_share_is_of_that_beta():
    _, targets = draws(Mixing(mixup_alpha=0.4), 2000)
    shares = [share for share, _ in map(share_and_order, targets) if share < 1]
    # Rounded to 0 or 1 the draw cannot be told from a batch that is not mixed.
    inner = np.array([share for share in shares if 0.01 < share < 0.99])
    beta = stats.beta(0.4, 0.4)
    low, high = beta.cdf(0.01), beta.cdf(0.99)
    assert len(inner) / 2000 == pytest.approx(high - low, abs=0.03)
    assert stats.kstest((beta.cdf(inner) - low) / (high - low), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("ways", [(5.0, 0.0), (5.0, 5.0)])
def test_the_other_batches_stay_as_they_are(ways):
    times, alone = 1000, 0
    for images, targets in zip(*draws(Mixing(*ways, 0.3), times), strict=True):
        if np.array_equal(targets, np.eye(COUNT)):
            np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(COUNT))
            assert np.ptp(images, axis=(1, 2, 3)).max() == 0
            alone += 1
    assert alone / times == pytest.approx(0.7, abs=0.06)


@pytest.mark.parametrize("alpha", [0.001, 1000.0])
def test_every_alpha_gives_shares(alpha):
    for mixing in (Mixing(mixup_alpha=alpha), Mixing(cutmix_alpha=alpha)):
        images, targets = draws(mixing, 200)
        assert np.all(np.isfinite(images))
        assert np.all((targets >= 0) & (targets <= 1))
        np.testing.assert_allclose(targets.sum(axis=2), 1, atol=1e-6)
