import numpy as np
import pytest

from bccl_jax.optimization.schedule import create_schedule
from tests.optimization.small import settings

STEPS = 10  # of an epoch


def test_cosine_schedule_rises_linearly_then_falls_to_zero():
    schedule = create_schedule(settings(learning_rate=0.5, warmup_epochs=2), STEPS)
    rates = np.array([float(schedule(step)) for step in range(200)])
    np.testing.assert_allclose(rates[:20], 0.5 * np.arange(1, 21) / 20, rtol=1e-5)
    expected = 0.25 * (1 + np.cos(np.pi * np.arange(180) / 180))
    np.testing.assert_allclose(rates[20:], expected, atol=1e-6)


@pytest.mark.parametrize("warmup_epochs", [0, 5])
def test_step_schedule_drops_at_the_named_epochs(warmup_epochs):
    config = settings(
        learning_rate=1.0,
        schedule="step",
        step_epochs=(12, 18),
        step_factor=0.1,
        warmup_epochs=warmup_epochs,
    )
    schedule = create_schedule(config, STEPS)
    for step, rate in {119: 1.0, 120: 0.1, 179: 0.1, 180: 0.01, 199: 0.01}.items():
        assert float(schedule(step)) == pytest.approx(rate)


@pytest.mark.parametrize("warmup", [0, 4])
def test_a_cosine_per_epoch_is_that_of_the_released_code(warmup):
    changes = {"learning_rate": 0.5, "schedule": "cosine_per_epoch", "warmup_epochs": warmup}
    schedule = create_schedule(settings(**changes), STEPS)
    for step in range(200):
        e = step // STEPS
        if e < warmup:
            expected = 0.5 * (e + 1) / warmup
        else:
            angle = np.pi * (e - warmup + 1) / (20 - warmup + 1)
            expected = 0.5 / 2 * (1 + np.cos(angle))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)
    # The step that was never made is asked for when a run is complete.
    assert float(schedule(200)) == float(schedule(199)) > 0
