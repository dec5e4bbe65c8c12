"""The clouds of GCL: against loops in float64, by hand, and as public code computes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.clouds import cloud_sizes, clouded_logits, draw_noise
from tests.losses import public

VECTORS = public.load("gcl")
COUNTS, LABELS = VECTORS["cls_num_list"], VECTORS["ordinary_labels"]
# The margin on the label alone, which the first stage does not have, is 0 here.
MARGIN, SCALE, CLOUD = VECTORS["ordinary_backbone_m_s_noisemul_traincls_gamma"][:3]


def loss_of(cosines, noise=VECTORS["ordinary_noise_raw"], cloud=0.5, scale=30.0):
    clouded = clouded_logits(cosines, jnp.clip(noise, -1, 1), COUNTS, cloud=cloud)
    return cross_entropy_loss(scale * clouded, LABELS)


def test_sizes_are_those_of_public_code():
    # Public code divides by the largest later.
    expected = VECTORS["m_list"] / VECTORS["m_list"].max()
    np.testing.assert_allclose(cloud_sizes(COUNTS), expected, rtol=1e-5)


def test_sizes_by_hand():
    # ln 100 - ln n, over ln 100.
    np.testing.assert_allclose(cloud_sizes(np.array([100, 10, 1])), [0, 0.5, 1], rtol=1e-6)
    np.testing.assert_allclose(cloud_sizes(np.array([100, 0, 10])), [0, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(cloud_sizes(np.array([7, 7])), 0)
    np.testing.assert_array_equal(cloud_sizes(np.array([7, 0])), 0)


def test_loss_and_gradient_are_those_of_public_code():
    assert (MARGIN, SCALE, CLOUD) == (0, 30, 0.5)
    public.check(
        loss_of,
        VECTORS["ordinary_cosine"],
        VECTORS["ordinary_backbone_loss"],
        VECTORS["ordinary_backbone_dcosine"],
    )


def test_logits_match_a_loop(rng):
    cosines, noise = rng.uniform(-1, 1, (3, 4)), rng.uniform(-1, 1, (3, 4))
    counts = [81, 27, 9, 3]
    found = clouded_logits(jnp.asarray(cosines), jnp.asarray(noise), np.array(counts), cloud=0.7)
    for i, k in np.ndindex(3, 4):
        size = (np.log(81) - np.log(counts[k])) / (np.log(81) - np.log(3))
        expected = cosines[i, k] - 0.7 * abs(noise[i, k]) * size
        assert float(found[i, k]) == pytest.approx(expected, abs=1e-6)


def test_without_a_cloud_they_are_the_cosines():
    cosines = jnp.asarray(VECTORS["ordinary_cosine"], jnp.float32)
    plain = cross_entropy_loss(30 * cosines, LABELS)
    np.testing.assert_allclose(loss_of(cosines, cloud=0.0), plain, rtol=1e-6)


def test_noise_is_normal_of_a_third_and_cut():
    noise = np.asarray(draw_noise(jax.random.key(0), (400, 500)))
    assert noise.dtype == np.float32
    assert np.abs(noise).max() == 1.0
    # Three deviations: 0.27 % are cut.
    assert np.mean(np.abs(noise) == 1.0) == pytest.approx(0.0027, rel=0.1)
    assert noise.std() == pytest.approx(1 / 3, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.005)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="one count a class"):
        clouded_logits(jnp.zeros((2, 3)), jnp.zeros((2, 3)), np.ones(4), cloud=0.5)
    with pytest.raises(ValueError, match="pass cosines and noise"):
        clouded_logits(jnp.zeros((2, 3)), jnp.zeros((2, 2)), np.ones(3), cloud=0.5)
    with pytest.raises(ValueError, match="one count a class"):
        cloud_sizes(np.ones((2, 2)))
