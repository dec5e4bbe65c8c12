import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bccl_jax.config.allowed import BOUNDS
from bccl_jax.config.validation import validate
from bccl_jax.optimization.optimizer import OPTIMIZERS, create_optimizer
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from tests.optimization.small import settings
from tests.tiny import differing, tiny_config
from tests.training.conftest import _no_picture, _two_layers  # noqa: F401

STEPS = 10  # of an epoch
CONSTANT = {"schedule": "constant", "warmup_epochs": 0}


def made_of(config):
    return create_optimizer(config, create_schedule(config, STEPS))


def trained(optimizer, params, gradients):
    """The parameters after a step for each gradient."""
    params = jax.tree.map(jnp.float32, params)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(jax.tree.map(jnp.float32, gradient), state, params)
        params = optax.apply_updates(params, updates)
    return params


def some(rng, scale=1.0):
    return {"kernel": scale * rng.normal(size=(2, 3)), "bias": scale * rng.normal(size=3)}


def norm_of(tree):
    return np.sqrt(sum(np.sum(x**2) for x in tree.values()))


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
    optimizer = made_of(config)
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
    optimizer = made_of(config)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zero = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    assert float(jnp.abs(updates["bias"]).max()) == 0
    assert float(updates["kernel"][0, 0]) == pytest.approx(-config.optimizer.learning_rate)


@pytest.mark.parametrize("decays_all", [False, True])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_adamw_follows_the_algorithm_as_printed(schedule, decays_all, rng):
    # Algorithm 2 of Loshchilov & Hutter 2019 in float64, its weight decay times the learning rate
    # as PyTorch's AdamW has it.
    beta1, beta2, epsilon, decay = 0.8, 0.95, 1e-3, 0.1
    config = settings(
        name="adamw",
        learning_rate=0.01,
        schedule=schedule,
        warmup_epochs=0,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=decay,
        decay_norm_and_bias=decays_all,
    )
    validate(config)
    start, gradients = some(rng), [some(rng) for _ in range(7)]
    found = trained(made_of(config), start, gradients)
    for name, theta in start.items():
        m, v = np.zeros_like(theta), np.zeros_like(theta)
        for t, gradient in enumerate(gradients, start=1):
            rate = 0.01
            if schedule == "cosine":
                rate *= (1 + np.cos(np.pi * (t - 1) / (20 * STEPS))) / 2
            g = gradient[name]
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
            step += decay * theta if decays_all or name == "kernel" else 0
            theta = theta - rate * step
        np.testing.assert_allclose(found[name], theta, rtol=1e-5, atol=1e-7)


def test_a_first_step_of_adamw_has_the_length_of_the_learning_rate_whatever_the_gradient():
    config = settings(name="adamw", learning_rate=0.25, weight_decay=0.0, **CONSTANT)
    found = trained(
        made_of(config), {"bias": np.zeros(3)}, [{"bias": np.array([1e-3, -50.0, 0.0])}]
    )
    np.testing.assert_allclose(found["bias"], [-0.25, 0.25, 0], rtol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_long_gradient_is_scaled_down_over_all_parameters_before_decay(name, rng):
    limit, decay, rate = 1.0, 0.5, 0.1
    changes = {"name": name, "learning_rate": rate, "weight_decay": decay, **CONSTANT}
    start = some(rng, 10.0)
    # Some are shorter than the limit and stay as they are.
    gradients = [some(rng, scale) for scale in (3.0, 0.01, 40.0)]
    lengths = [norm_of(gradient) for gradient in gradients]
    assert [length > limit for length in lengths] == [True, False, True]
    by_hand = [
        {key: g * min(1.0, limit / length) for key, g in gradient.items()}
        for gradient, length in zip(gradients, lengths, strict=True)
    ]
    found = trained(made_of(settings(clip_norm=limit, **changes)), start, gradients)
    expected = trained(made_of(settings(**changes)), start, by_hand)
    for key in start:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, atol=1e-6)
    if name == "sgd":
        # In float64: decay, far longer than the limit, is not cut.
        theta, buffer = start["bias"], 0.0
        for gradient in by_hand:
            buffer = 0.9 * buffer + gradient["bias"] + decay * theta
            theta = theta - rate * buffer
        np.testing.assert_allclose(found["bias"], theta, rtol=1e-5)


def test_a_gradient_of_zeros_is_left_by_clipping():
    config = settings(clip_norm=1.0, weight_decay=0.0, **CONSTANT)
    found = trained(made_of(config), {"bias": np.ones(2)}, [{"bias": np.zeros(2)}])
    np.testing.assert_array_equal(found["bias"], [1, 1])


@pytest.mark.parametrize("decays_all", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_without_clipping_is_what_older_checkpoints_have(nesterov, decays_all, rng):
    config = settings(nesterov=nesterov, decay_norm_and_bias=decays_all)
    optimizer = made_of(config)
    older = optax.chain(
        optax.add_decayed_weights(
            5e-4, None if decays_all else lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
        ),
        optax.sgd(create_schedule(config, STEPS), momentum=0.9, nesterov=nesterov),
    )
    start, gradients = some(rng), [some(rng) for _ in range(5)]
    params = jax.tree.map(jnp.float32, start)
    named = jax.tree_util.tree_leaves_with_path(optimizer.init(params))
    # As Orbax names the arrays of a checkpoint.
    assert [(jax.tree_util.keystr(path), leaf.shape) for path, leaf in named] == [
        ("[1][0].trace['bias']", (3,)),
        ("[1][0].trace['kernel']", (2, 3)),
        ("[1][1].count", ()),
    ]
    assert jax.tree.structure(optimizer.init(params)) == jax.tree.structure(older.init(params))
    assert not differing(trained(optimizer, start, gradients), trained(older, start, gradients))


def ends(key):
    bound = BOUNDS[f"optimizer.{key}"]
    return (bound.low, bound.high)


def test_adamw_and_clipping_stay_finite_at_every_end_of_their_bounds():
    zero, one = np.zeros(3), np.ones(3)
    of_all = [ends(key) for key in ("beta1", "beta2", "epsilon", "clip_norm", "weight_decay")]
    for beta1, beta2, epsilon, clip_norm, decay in itertools.product(*of_all):
        config = settings(
            name="adamw",
            learning_rate=0.001,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            clip_norm=clip_norm,
            weight_decay=decay,
            **CONSTANT,
        )
        validate(config)
        sizes = np.array([1e-30, 1e-18, 1e-5])
        gradients = [{"bias": g} for g in (zero, sizes, one, sizes, 1e6 * one, zero)]
        found = trained(made_of(config), {"bias": one}, gradients)["bias"]
        assert np.all(np.isfinite(found)), config.optimizer
        # A step is at most some learning rates long, but where the mean gradient is remembered and
        # its square is not.
        if beta1 <= beta2:
            assert np.abs(found - 1).max() < 0.1, config.optimizer


@pytest.mark.usefixtures("_no_picture", "_two_layers")
def test_a_run_trains_and_its_checkpoints_give_it_back(tmp_path):
    config = tiny_config("cross_entropy")
    config.model.backbone = "two_layers"
    config.optimizer.update(name="adamw", learning_rate=0.003, clip_norm=1.0)
    result = train_and_evaluate(config, tmp_path / "run")
    losses = [record["train"]["loss"] for record in result.records]
    assert losses[-1] < losses[0]
    found = evaluate_checkpoints(config, tmp_path / "run", "last")["last"].evaluation
    assert found.record() == result.last
    again = train_and_evaluate(config, tmp_path / "run")
    assert not differing(again.state, result.state)
