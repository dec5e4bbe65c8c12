"""scikit-learn's 1,797 real handwritten digits of 8x8 pixels: nothing to download."""

import numpy as np

from bccl_jax.data.split import Split

# Of each class's 174 to 183 images; the others are the test split.
TRAINING_IMAGES_A_CLASS = 100


def load() -> tuple[Split, Split]:
    """Returns the training split, the first 100 images of each digit, and the test split of 797."""
    # Here, for it takes as long to import as JAX, and most commands need no digits.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], values 0 to 16
    images = np.repeat(grey[..., None], 3, axis=-1)
    labels = bunch.target.astype(np.int32)
    training = np.zeros(len(labels), bool)
    for digit in range(10):
        training[np.flatnonzero(labels == digit)[:TRAINING_IMAGES_A_CLASS]] = True
    everything = Split(images, labels, tuple("0123456789"))
    return everything.take(np.flatnonzero(training)), everything.take(np.flatnonzero(~training))
