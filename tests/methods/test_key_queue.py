import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.methods.shared.key_queue import empty_queue, enter


@pytest.mark.parametrize("sizes", [(3,), (3, 3, 3, 3), (7,), (2, 7, 1), (18, 4), (1,) * 9])
def test_it_keeps_the_newest_keys_with_their_labels(sizes, rng):
    queue, all_keys, all_labels = empty_queue(7, 2), [], []
    push = jax.jit(enter)
    for size in sizes:
        keys, labels = rng.normal(size=(size, 2)).astype(np.float32), rng.integers(0, 5, size)
        queue = push(queue, keys, labels)
        all_keys += list(keys)
        all_labels += list(labels)
        # Place by place, from the oldest on.
        order = np.roll(np.arange(7), -int(queue.cursor))
        found = [(tuple(queue.keys[i]), int(queue.labels[i])) for i in order]
        newest = zip(all_keys[-7:], all_labels[-7:], strict=True)
        kept = [(tuple(key), int(label)) for key, label in newest]
        assert [pair for pair in found if pair[1] >= 0] == kept
        assert int(queue.cursor) == len(all_labels) % 7


def test_an_empty_one_has_no_labels():
    queue = empty_queue(4, 3)
    np.testing.assert_array_equal(queue.labels, [-1] * 4)
    assert (queue.keys.shape, queue.keys.dtype, queue.labels.dtype) == (
        (4, 3),
        jnp.float32,
        jnp.int32,
    )


def test_no_gradient_goes_through_it():
    def total(keys):
        return jnp.sum(enter(empty_queue(3, 2), keys, jnp.zeros(2, int)).keys)

    np.testing.assert_array_equal(jax.grad(total)(jnp.ones((2, 2))), np.zeros((2, 2)))


def test_what_does_not_fit_is_named():
    queue = empty_queue(3, 2)
    for keys, labels in ((jnp.ones((2, 3)), jnp.zeros(2, int)), (jnp.ones((2, 2)), jnp.zeros(1))):
        with pytest.raises(ValueError, match=r"keys have shape .* D = 2, and one label each"):
            enter(queue, keys, labels)
    with pytest.raises(ValueError, match="got size=0, dim=2; each must be at least 1"):
        empty_queue(0, 2)
