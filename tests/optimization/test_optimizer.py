import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import config as default
from bccl_jax.optimization.optimizer import create_optimizer, create_schedule

STEPS = 10  # of an epoch


def settings(**changes):
    config = default.get_config("cross_entropy")
    config.epochs = 20
    config.optimizer.update(changes)
    return config


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


@pytest.mark.parametrize("nesterov", [False, True])
def test_optimizer_follows_pytorchs_sgd(nesterov, rng):
    # torch.optim.SGD's documented recurrence, in float64.
    decay, momentum, rate = 0.01, 0.9, 0.1
    config = settings(
        learning_rate=rate,
        schedule="constant",
        warmup_epochs=0,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=decay,
    )
    optimizer = create_optimizer(config, create_schedule(config, STEPS))
    theta = rng.normal(size=3)
    params = {"bias": jnp.asarray(theta, jnp.float32)}
    state = optimizer.init(params)
    buffer = None
    for _ in range(5):
        gradient = rng.normal(size=3)
        updates, state = optimizer.update({"bias": jnp.float32(gradient)}, state, params)
        params = {"bias": params["bias"] + updates["bias"]}

        g = gradient + decay * theta
        buffer = g if buffer is None else momentum * buffer + g
        theta = theta - rate * (g + momentum * buffer if nesterov else buffer)
    np.testing.assert_allclose(params["bias"], theta, rtol=1e-5)


def test_decay_can_spare_norms_and_biases():
    config = settings(weight_decay=1.0, decay_norm_and_bias=False, warmup_epochs=0)
    optimizer = create_optimizer(config, create_schedule(config, STEPS))
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zero = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    assert float(jnp.abs(updates["bias"]).max()) == 0
    assert float(updates["kernel"][0, 0]) == pytest.approx(-config.optimizer.learning_rate)
