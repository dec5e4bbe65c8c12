"""SAM in the training step: the second pass renews the parameters and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.training.assemble import assemble
from bccl_jax.training.parts import joined, parted
from tests.tiny import bits, differing, tiny_config

pytestmark = pytest.mark.usefixtures("_two_layers")

RHO, RATE = 0.3, 0.1


def sam_config(method, rho=RHO, **changes):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 160
    # So that the change of the parameters is the gradient.
    config.optimizer.update(
        momentum=0.0, weight_decay=0.0, schedule="constant", warmup_epochs=0, learning_rate=RATE
    )
    config.optimizer.sam_rho = rho
    config.update_from_flattened_dict(changes)
    return config


def stepped(run, state=None, stage=0):
    """A state before a step, after it, and the step's metrics."""
    with jax.set_mesh(run.mesh):
        data = put_on_device(run.dataset.train, replicated(run.mesh))
        state = run.init_state() if state is None else state
        renewed, metrics = jax.jit(run.stages[stage].train_step)(state, data.batch(run.order(0)[0]))
    return state, renewed, metrics


def gradient_of(before, after):
    return jax.tree.map(lambda x, y: (np.float64(x) - y) / RATE, before.params, after.params)


@pytest.mark.parametrize(("method", "accumulation"), [("cross_entropy", 2), ("bccl", 1)])
def test_the_gradient_is_that_uphill_and_all_else_the_first_passs(method, accumulation):
    changes = {"accumulation": accumulation}
    plain = assemble(sam_config(method, 0.0, **changes))
    start, once, metrics = stepped(plain)
    first = gradient_of(start, once)
    norm = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(first)))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-3)

    # Two plain steps by hand: from where the parameters are, and from up the hill.
    ahead = jax.tree.map(lambda x, g: jnp.float32(x + RHO * g / norm), start.params, first)
    hill, beyond, _ = stepped(plain, start.replace(params=ahead))
    second = gradient_of(hill, beyond)
    _, found, told = stepped(assemble(sam_config(method, **changes)), start)
    for mine, theirs in zip(
        jax.tree.leaves(gradient_of(start, found)), jax.tree.leaves(second), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=2e-2, atol=2e-4)
    assert any(
        np.abs(one - other).max() > 0.01
        for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )
    # Queues too are pushed to once.
    for name in ("batch_stats", "method"):
        one, other = (bits(getattr(state, name)) for state in (found, once))
        for path, value in one.items():
            np.testing.assert_allclose(value, other[path], rtol=1e-5, atol=1e-6, err_msg=path)
    for name, value in metrics.items():
        np.testing.assert_allclose(told[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_stage_that_trains_a_part_goes_uphill_in_that_part_alone():
    plain = assemble(sam_config("crt", 0.0))
    start, once, _ = stepped(plain, stage=1)
    first = gradient_of(start, once)
    ahead = {
        "heads_classifier": jax.tree.map(
            lambda x, g: jnp.float32(x + RHO * g / optax.global_norm(first)),
            start.params["heads_classifier"],
            first["heads_classifier"],
        )
    }
    rest = parted(start.params, ("heads_classifier",))[1]
    hill, beyond, _ = stepped(plain, start.replace(params=joined(ahead, rest)), stage=1)
    second = gradient_of(hill, beyond)["heads_classifier"]
    _, found, _ = stepped(assemble(sam_config("crt")), start, stage=1)
    assert differing(found.params["backbone"], start.params["backbone"]) == []
    mine = gradient_of(start, found)["heads_classifier"]
    for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=2e-4)
