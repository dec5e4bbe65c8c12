"""Images mixed with those of another batch, beside public code and pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bccl_jax.augment.mixing import (
    blend,
    box_around,
    cutmix_with,
    mix_globally_and_locally,
    paste,
)
from tests.losses import public

GLMC, CONCUTMIX = public.load("glmc"), public.load("concutmix_label")


def boxes(vectors):
    names = sorted(k.removesuffix("_lam_cx_cy") for k in vectors if k.endswith("_lam_cx_cy"))
    return [name for name in names if name.startswith("box")]


def public_box(vectors, name, size, **options):
    share, *centre = vectors[f"{name}_lam_cx_cy"]
    return box_around(jnp.array(centre, jnp.int32), size, size, jnp.float32(share), **options)


def top_bottom_left_right(corners):
    first_row, first_column, last_row, last_column = corners
    return [first_row, last_row, first_column, last_column]


@pytest.mark.parametrize("name", boxes(GLMC))
def test_boxes_of_sides_rounded_up_are_those_of_public_code(name):
    found = public_box(GLMC, name, 32, round_up=True)
    np.testing.assert_array_equal(found, top_bottom_left_right(GLMC[f"{name}_x1_y1_x2_y2"]))


@pytest.mark.parametrize("name", boxes(CONCUTMIX))
def test_boxes_and_their_shares_are_those_of_public_code(name):
    found = public_box(CONCUTMIX, name, 32)
    np.testing.assert_array_equal(found, top_bottom_left_right(CONCUTMIX[f"{name}_x1_y1_x2_y2"]))
    images = jnp.zeros((1, 32, 32, 3))
    _, share = paste(images, images, found)
    assert float(share) == pytest.approx(float(CONCUTMIX[f"{name}_lam_adjusted"]), rel=1e-6)


def test_a_view_blended_and_one_pasted_into_are_those_of_public_code():
    views = {
        name: np.moveaxis(GLMC[f"ordinary_{name}"], 1, -1).astype(np.float32)
        for name in ("org1", "org2", "invs1", "invs2", "mixup_x", "cutmix_x")
    }
    share = jnp.float32(GLMC["ordinary_lam_cx_cy"][0])
    found = blend(views["org1"], views["invs1"], share)
    np.testing.assert_allclose(found, views["mixup_x"], rtol=1e-5, atol=1e-6)
    box = public_box(GLMC, "ordinary", 8, round_up=True)
    np.testing.assert_array_equal(box, top_bottom_left_right(GLMC["ordinary_box"]))
    found, _ = paste(views["org2"], views["invs2"], box)
    # The stored images of the first batch were changed in place.
    np.testing.assert_array_equal(found, views["cutmix_x"])


def keys(number):
    return jax.random.split(jax.random.key(3), number)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_a_share_says_how_much_of_the_other_batch_is_pasted(probability):
    ours, theirs = jnp.zeros((3, 9, 12, 3)), jnp.arange(1.0, 4)[:, None, None, None]
    theirs = jnp.broadcast_to(theirs, ours.shape)

    def run(key):
        return cutmix_with(ours, theirs, key, alpha=1.0, probability=probability)

    images, shares = map(np.asarray, jax.jit(jax.vmap(run))(keys(600)))
    for batch, share in zip(images, shares, strict=True):
        for image, other in zip(batch, (1, 2, 3), strict=True):
            assert set(np.unique(image)) <= {0, other}
            assert np.mean(image == 0) == pytest.approx(share, abs=1e-6)
        # One box for all.
        assert np.all((batch > 0) == (batch[:1] > 0))
    # Of 9 x 12 pixels a box is empty where the share is above 1 - (2 / 9)^2.
    mixed = probability * (1 - (2 / 9) ** 2)
    four_deviations = 4 * np.sqrt(mixed * (1 - mixed) / 600)
    assert np.mean(shares < 1) == pytest.approx(mixed, abs=four_deviations)


def test_both_views_are_mixed_by_one_share():
    ones = jnp.ones((2, 16, 16, 3))
    draw = jax.jit(
        jax.vmap(
            lambda key: mix_globally_and_locally(
                (0 * ones, 2 * ones), (ones, 3 * ones), key, alpha=1.0
            )
        )
    )
    (blended, pasted), shares = draw(keys(500))
    blended, pasted, shares = map(np.asarray, (blended, pasted, shares))
    np.testing.assert_allclose(
        blended, np.broadcast_to((1 - shares)[:, None, None, None, None], blended.shape), atol=1e-6
    )
    assert stats.kstest(shares, "uniform").pvalue > 1e-3
    for image, share in zip(pasted[:, 0, :, :, 0], shares, strict=True):
        rows, columns = (np.flatnonzero((image == 3).any(axis=a)) for a in (1, 0))
        half = int(np.ceil(16 * np.sqrt(1 - share))) // 2
        assert np.sum(image == 3) == len(rows) * len(columns)
        for found in (rows, columns):
            # Half of it lies inside, wherever the centre is.
            assert half <= len(found) <= 2 * half
    assert np.all((pasted == 2) | (pasted == 3))
