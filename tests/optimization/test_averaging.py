import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.optimization.averaging import averaged, kept_share


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 0.99999])
def test_it_is_the_weighted_mean_of_all_values_and_of_nothing_else(decay, rng):
    values = rng.normal(size=(60, 3))
    average = {"x": jnp.full(3, 1e6)}  # what it starts from has no part in it
    for count, value in enumerate(values):
        average = averaged(average, {"x": jnp.float32(value)}, kept_share(decay, jnp.int32(count)))
        weights = decay ** np.arange(count, -1.0, -1.0)
        expected = weights @ values[: count + 1] / weights.sum()
        np.testing.assert_allclose(average["x"], expected, rtol=1e-5, atol=1e-6)


def test_in_the_end_it_is_the_plain_moving_average():
    assert float(kept_share(0.9, jnp.int32(1000))) == pytest.approx(0.9)
    assert float(kept_share(0.99999, jnp.int32(2**31 - 1))) == pytest.approx(0.99999, abs=1e-7)
