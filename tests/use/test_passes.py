from collections import Counter

import pytest

from bccl_jax.use.passes import parts


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 9, 64])
def test_batches_have_few_sizes_and_only_the_last_has_empty_places(batch_size):
    for images in range(1, 200):
        cut = list(parts(images, batch_size))
        assert sum(number for number, _ in cut) == images
        assert all(number == places for number, places in cut[:-1])
        number, places = cut[-1]
        assert 0 < number <= places <= batch_size
        sizes = Counter(places for _, places in cut)
        assert set(sizes) <= {batch_size, 8, 1}
        # None is computed several times over.
        assert sum(places for _, places in cut) < images + max(min(batch_size, 8), 1)
        assert sizes[batch_size] >= images // batch_size
