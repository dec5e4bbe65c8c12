"""PaCo and GPaCo: what they compare, what they keep, what they predict by."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.recipes import photographs
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import balanced_softmax_loss
from bccl_jax.methods import base
from bccl_jax.methods.gpaco import GPaCo
from bccl_jax.methods.paco import PaCo
from bccl_jax.methods.shared.key_queue import enter
from bccl_jax.models import Network
from bccl_jax.models.forward import classify_and_project, plain_logits, project
from bccl_jax.training.assemble import assemble
from tests.losses.test_parametric import loop
from tests.methods.small import CONTEXT, COUNTS, LABELS, unit
from tests.tiny import bits, tiny_config
from tests.training.conftest import TwoLayers

SMALL = {"projector_dim": 6, "projector_hidden": 5, "queue_size": 10}
LOSS = {"alpha": 0.3, "beta": 0.8, "gamma": 0.6, "temperature": 0.2}


@dataclasses.dataclass(frozen=True)
class Small:
    """A method over two layers: its network, variables, two views of four images, its state."""

    method: base.Method
    network: Network
    variables: dict
    views: tuple
    state: dict

    def run(self, params, forward, *inputs):
        return self._run(self.variables["batch_stats"], params, forward, *inputs)

    @functools.cached_property
    def _run(self):
        @functools.partial(jax.jit, static_argnames="forward")
        def run(batch_stats, params, forward, *inputs):
            variables = {"params": params, "batch_stats": batch_stats}
            out, renewed = self.network.apply(
                variables, *inputs, method=forward, mutable=["batch_stats"]
            )
            return out, renewed["batch_stats"]

        return run

    def loss(self, params=None, views=None, state=None, targets=None, batch_stats=None):
        """Loss, metrics, new state and statistics."""
        params = self.variables["params"] if params is None else params
        batch_stats = self.variables["batch_stats"] if batch_stats is None else batch_stats
        return self._loss(params, views or self.views, state or self.state, targets, batch_stats)

    @functools.cached_property
    def _loss(self):
        @jax.jit
        def loss(params, views, state, targets, batch_stats):
            loss, (metrics, state, batch_stats) = self.method.loss(
                functools.partial(self._run, batch_stats),
                params,
                base.Batch(views, LABELS, targets),
                state,
                jax.random.key(0),
                None,
            )
            return loss, metrics, state, batch_stats

        return loss


@functools.cache
def small(method):
    rng = np.random.default_rng(5)
    network = Network(TwoLayers(), method.heads(CONTEXT))
    views = tuple(np.float32(rng.normal(size=(4, 2, 2, 3))) for _ in range(2))
    init = jax.jit(functools.partial(network.init, method=method.init_forward))
    variables = init(jax.random.key(0), views[0])
    other = init(jax.random.key(7), views[0])["params"]
    # Keys of three classes and four places without one; the copy is another network.
    state = method.follow(method.init(None, CONTEXT), other, first=True)
    earlier = np.float32(unit(rng.normal(size=(6, 6))))
    state["queue"] = jax.jit(enter)(state["queue"], earlier, np.array([0, 1, 2, 2, 0, 1]))
    return Small(method, network, variables, views, state)


def expected_loss(logits, anchors, labels, keys, key_labels, method, targets=None):
    arrays = [np.asarray(x, np.float64) for x in (logits, anchors, keys)]
    settings = (method.temperature, method.alpha, method.beta, method.gamma, targets)
    return loop(*arrays[:2], labels, arrays[2], np.asarray(key_labels), COUNTS, *settings)


@pytest.mark.parametrize("soft", [False, True])
def test_paco_contrasts_strong_views_with_keys_of_the_copy_and_of_the_queue(soft, rng):
    case = small(PaCo(**SMALL, **LOSS))
    targets = rng.dirichlet(np.ones(3), size=4) if soft else None
    loss, metrics, state, _ = case.loss(targets=jnp.float32(targets) if soft else None)
    params = case.variables["params"]
    (logits, anchors), _ = case.run(params, classify_and_project, case.views[0])
    keys, _ = case.run(case.state["copy"], project, case.views[1])
    assert not np.allclose(keys, case.run(params, project, case.views[1])[0], atol=0.1)

    queue = case.state["queue"]
    all_keys = np.concatenate([keys, queue.keys])
    key_labels = np.concatenate([LABELS, queue.labels])
    expected = expected_loss(logits, anchors, LABELS, all_keys, key_labels, case.method, targets)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], base.accuracy(logits, LABELS))
    # The keys follow the six that were there.
    np.testing.assert_allclose(state["queue"].keys[6:], keys, rtol=1e-6)
    np.testing.assert_array_equal(state["queue"].keys[:6], queue.keys[:6])
    np.testing.assert_array_equal(state["queue"].labels, [0, 1, 2, 2, 0, 1, *LABELS])
    jax.tree.map(np.testing.assert_array_equal, state["copy"], case.state["copy"])


@pytest.mark.parametrize("soft", [False, True])
def test_gpaco_contrasts_both_views_with_each_other_and_with_the_queue(soft, rng):
    case = small(GPaCo(**SMALL, **LOSS))
    targets = rng.dirichlet(np.ones(3), size=4) if soft else None
    loss, metrics, state, _ = case.loss(targets=jnp.float32(targets) if soft else None)
    (logits, anchors), _ = case.run(
        case.variables["params"], classify_and_project, np.concatenate(case.views)
    )
    logits, anchors = np.asarray(logits), np.asarray(anchors)
    queue, twice = case.state["queue"], np.tile(LABELS, 2)
    both = np.tile(targets, (2, 1)) if soft else None
    expected = expected_loss(logits, anchors, twice, queue.keys, queue.labels, case.method, both)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], base.accuracy(logits[:4], LABELS))
    np.testing.assert_allclose(state["queue"].keys[6:], anchors[4:], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(state["queue"].labels[6:], LABELS)
    assert "copy" not in state


def test_a_run_starts_without_candidates_in_the_queue():
    for method in (PaCo(**SMALL, **LOSS), GPaCo(**SMALL, **LOSS)):
        case = small(method)
        empty = {**case.state, "queue": method.init(None, CONTEXT)["queue"]}
        filled = case.loss()[0]
        without = case.loss(state=empty)[0]
        longer = dataclasses.replace(method, queue_size=50)
        assert abs(filled - without) > 0.1
        more = {**case.state, "queue": longer.init(None, CONTEXT)["queue"]}
        np.testing.assert_allclose(case.loss(state=more)[0], without, rtol=1e-6)


def test_without_contrast_gpaco_is_balanced_softmax_of_both_views():
    case = small(GPaCo(**SMALL, alpha=0.0, gamma=0.0))

    def by_hand(params):
        logits, _ = case.run(params, base.classify, np.concatenate(case.views))
        return balanced_softmax_loss(logits, np.tile(LABELS, 2), COUNTS)

    params = case.variables["params"]
    found, slope = jax.jit(jax.value_and_grad(lambda x: case.loss(x)[0]))(params)
    expected, its_slope = jax.jit(jax.value_and_grad(by_hand))(params)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    its_slope["heads_projector"] = jax.tree.map(jnp.zeros_like, params["heads_projector"])
    for path, value in bits(slope).items():
        np.testing.assert_allclose(value, bits(its_slope)[path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_without_contrast_paco_is_balanced_softmax_of_the_strong_view():
    case = small(PaCo(**SMALL, alpha=0.0, gamma=0.0))
    logits, _ = case.run(case.variables["params"], base.classify, case.views[0])
    np.testing.assert_allclose(
        case.loss()[0], jax.jit(balanced_softmax_loss)(logits, LABELS, COUNTS), rtol=1e-6
    )


def test_running_statistics_of_paco_are_of_the_strong_view_and_its_keys_need_none():
    case = small(PaCo(**SMALL, **LOSS))
    loss, _, state, statistics = case.loss()
    _, expected = case.run(case.variables["params"], classify_and_project, case.views[0])
    for path, value in bits(statistics).items():
        np.testing.assert_array_equal(value, bits(expected)[path], err_msg=path)
    moved = jax.tree.map(lambda x: 3 * x + 1, case.variables["batch_stats"])
    again, _, its_state, _ = case.loss(batch_stats=moved)
    np.testing.assert_array_equal(again, loss)
    jax.tree.map(np.testing.assert_array_equal, its_state, state)


def test_it_predicts_by_the_network_that_is_trained_and_without_the_prior():
    for method in (PaCo(**SMALL), GPaCo(**SMALL)):
        case = small(method)
        params = case.variables["params"]

        def apply(params, forward, *inputs, case=case):
            return case.network.apply({**case.variables, "params": params}, *inputs,
                                      method=forward), None  # fmt: skip

        found = method.logits(apply, params, case.views[0], case.state)
        np.testing.assert_array_equal(found, apply(params, plain_logits, case.views[0])[0])


@pytest.mark.usefixtures("_two_layers")
def test_the_copy_is_a_mean_of_the_parameters_before_each_step():
    config = tiny_config("paco")
    options = {"accumulation": 2, "optimizer.sam_rho": 0.05}
    config.update_from_flattened_dict({"model.backbone": "two_layers", **options})
    config.batch_size = 160
    config.method.momentum = 0.7
    run = assemble(config)
    state = run.init_state()
    copied = {name: state.params[name] for name in ("backbone", "heads_projector")}
    expected = {path: np.float64(value) for path, value in bits(copied).items()}
    with jax.set_mesh(run.mesh):
        data = put_on_device(run.dataset.train, replicated(run.mesh))
        step = jax.jit(run.train_step)
        for number, row in enumerate(np.concatenate([run.order(epoch) for epoch in range(2)]), 1):
            before = bits({name: state.params[name] for name in copied})
            state, _ = step(state, data.batch(row))
            expected = {k: 0.7 * v + 0.3 * before[k] for k, v in expected.items()}
            found = bits(state.method["copy"])
            for path, value in expected.items():
                np.testing.assert_allclose(found[path], value, rtol=1e-5, atol=1e-7, err_msg=path)
            # Part by part, and by one of the two passes.
            queue = state.method["queue"]
            newest = np.roll(queue.labels, -int(queue.cursor))[-160:]
            labels = np.asarray(data.batch(row)["label"])
            np.testing.assert_array_equal(newest, np.concatenate([labels[::2], labels[1::2]]))
            assert int(queue.cursor) == 160 * number % 200


def test_what_cannot_work_is_named():
    with pytest.raises(ConfigError, match="alpha and config.method.beta are 0.*raise one"):
        GPaCo(alpha=0.0, beta=0.0).validate(10)
    PaCo(alpha=0.0).validate(10)
    context = dataclasses.replace(CONTEXT, norm_groups=4)
    with pytest.raises(ConfigError, match=r"batch_norm is 'device' on 4 devices.*write 'global'"):
        PaCo().heads(context)
    assert GPaCo().heads(context)["projector"].norm_groups == 4


@pytest.mark.parametrize(("name", "alpha"), [("paco", 0.05), ("gpaco", 0.045)])
def test_on_photographs_weights_and_sizes_are_the_authors(name, alpha):
    config = photographs(name)
    method = config.method
    assert (method.alpha, method.temperature, method.queue_size) == (alpha, 0.2, 8192)
    assert (method.projector_hidden, method.projector_dim) == (2048, 128)
    assert (config.epochs, config.optimizer.learning_rate) == (100, 0.1)
