"""Real images for the augmentation tests, and the bar that sampling and filtering must clear."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_sample_image


@pytest.fixture(scope="session")
def photos():
    """uint8 [24, 32, 40, 3]: crops of two photographs."""
    rng = np.random.default_rng(0)
    crops = []
    for name in ("china.jpg", "flower.jpg"):
        picture = load_sample_image(name)
        tops = rng.integers(0, picture.shape[0] - 32, 12)
        lefts = rng.integers(0, picture.shape[1] - 40, 12)
        crops += [
            picture[top : top + 32, left : left + 40] for top, left in zip(tops, lefts, strict=True)
        ]
    return np.stack(crops)


@pytest.fixture(scope="session")
def digits():
    """uint8 [4, 8, 8, 3]: handwritten digits; the last image is of a single colour."""
    images = (load_digits().images[:4] * 255 / 16).astype(np.uint8)
    images[3] = 77
    return np.repeat(images[..., None], 3, axis=-1)


@pytest.fixture(scope="session", params=["photos", "digits"])
def images(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def assert_close_to_pillow():
    def check(got, want):
        want = np.stack([np.asarray(image) for image in want])
        assert got.dtype == np.uint8
        assert got.shape == want.shape
        difference = np.abs(np.asarray(got).astype(int) - want.astype(int))
        assert np.mean(difference <= 1) >= 0.99, f"{np.mean(difference <= 1):.4f} within 1 level"

    return check
