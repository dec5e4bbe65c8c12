"""KCL and TSC: what they compare, what they keep, and in which stage what trains."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.clustering.targets import spread_targets
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.methods import base
from bccl_jax.methods.kcl import KPositiveContrast
from bccl_jax.methods.shared.key_queue import enter
from bccl_jax.methods.tsc import TargetedContrast
from bccl_jax.models import Network
from bccl_jax.models.forward import project
from bccl_jax.training.loop import train_and_evaluate
from tests.killed import check_resumed
from tests.losses.test_k_positive import loop
from tests.methods.small import CONTEXT, LABELS, unit
from tests.methods.test_contract import small_config
from tests.tiny import bits, shipped_config, tiny_config
from tests.training.conftest import TwoLayers
from tests.training.test_stages import changed, traced

SMALL = {"projector_dim": 6, "projector_hidden": 5, "queue_size": 10, "temperature": 0.2}
KCL, TSC = KPositiveContrast(**SMALL), TargetedContrast(**SMALL)


@dataclasses.dataclass(frozen=True)
class Case:
    """A method over two layers: network, variables, three views of four images, its state."""

    method: base.Method
    network: Network
    variables: dict
    views: tuple
    state: dict

    def run(self, params, forward, *inputs):
        variables = {**self.variables, "params": params}
        out, renewed = self.network.apply(
            variables, *inputs, method=forward, mutable=["batch_stats"]
        )
        return out, renewed["batch_stats"]

    def loss(self, stage=0, params=None, key=0, state=None):
        """Loss, metrics and new state."""
        params = self.variables["params"] if params is None else params
        loss, (metrics, state, _) = self.method.loss(
            self.run,
            params,
            base.Batch(self.views, LABELS),
            self.state if state is None else state,
            jax.random.key(key),
            base.Progress(jnp.int32(0), jnp.int32(0), stage),
        )
        return loss, metrics, state


@functools.cache
def case(method):
    rng = np.random.default_rng(5)
    network = Network(TwoLayers(), method.heads(CONTEXT))
    views = tuple(jnp.asarray(rng.normal(size=(4, 2, 2, 3)), jnp.float32) for _ in range(3))
    init = jax.jit(functools.partial(network.init, method=method.init_forward))
    variables, other = (init(jax.random.key(seed), views[0]) for seed in (0, 7))
    # The copy is another network; keys of three classes and four places without one.
    state = method.follow(method.init(None, CONTEXT), other["params"], first=True)
    if "queue" in state:
        earlier = jnp.asarray(unit(rng.normal(size=(6, 6))), jnp.float32)
        state["queue"] = enter(state["queue"], earlier, jnp.array([0, 1, 2, 2, 0, 0]))
    return Case(method, network, variables, views, state)


def in_queue(state):
    """Keys, whether each is a candidate of each image, and whether it is of its class."""
    queue = state["queue"]
    there = np.broadcast_to(np.asarray(queue.labels) >= 0, (4, len(queue.labels)))
    same = np.asarray(LABELS)[:, None] == np.asarray(queue.labels)[None, :]
    return np.float64(queue.keys), there, same & there


def embedded(found):
    """Anchors and own keys of a case, in float64."""
    anchors, _ = found.run(found.variables["params"], project, found.views[1])
    own, _ = found.run(found.state["copy"], project, found.views[2])
    return np.float64(anchors), np.float64(own)


def test_anchors_are_compared_with_their_own_key_and_the_queue_as_it_was():
    found = case(dataclasses.replace(KCL, num_positives=0))
    loss, metrics, state = found.loss()
    anchors, own = embedded(found)
    expected = loop(anchors, own, *in_queue(found.state), 0.2)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    # Three keys of class 0, one of class 1, two of class 2, and the own one of each.
    assert float(metrics["positives"]) == pytest.approx(1 + (3 + 3 + 1 + 2) / 4)
    np.testing.assert_allclose(state["queue"].keys[6:], own, rtol=1e-5)
    np.testing.assert_array_equal(state["queue"].keys[:6], found.state["queue"].keys[:6])
    np.testing.assert_array_equal(state["queue"].labels[6:], LABELS)


def test_so_many_keys_of_the_class_are_drawn_anew_by_the_steps_key():
    found = case(dataclasses.replace(KCL, num_positives=1))
    anchors, own = embedded(found)
    keys, there, same = in_queue(found.state)
    each = np.array([np.eye(10, dtype=bool)[row] for row in np.flatnonzero(same[0])])
    seen = set()
    for key in range(12):
        loss, metrics, _ = found.loss(key=key)
        assert float(metrics["positives"]) == 2
        # Which of the three of class 0 each of both images has, and of the two of class 2.
        sets = [
            np.stack([one, two, same[2], three])
            for one in each
            for two in each
            for three in np.array([np.eye(10, dtype=bool)[i] for i in np.flatnonzero(same[3])])
        ]
        losses = [loop(anchors, own, keys, there, positives, 0.2) for positives in sets]
        distances = np.abs(np.array(losses) - float(loss))
        assert distances.min() < 1e-5
        seen.add(int(distances.argmin()))
    assert len(seen) > 5


def test_a_run_starts_without_candidates_in_the_queue():
    found = case(KCL)
    empty = {**found.state, "queue": KCL.init(None, CONTEXT)["queue"]}
    loss, metrics, state = found.loss(state=empty)
    # The own key is the only candidate, so that there is nothing to learn yet.
    assert float(loss) == pytest.approx(0, abs=1e-6)
    assert float(metrics["positives"]) == 1
    assert np.sum(np.asarray(state["queue"].labels) >= 0) == 4


def test_the_queue_has_no_more_places_than_there_are_images():
    for size, expected in ((10, 10), (65_536, 70)):
        state = dataclasses.replace(KCL, queue_size=size).init(None, CONTEXT)
        assert state["queue"].keys.shape == (expected, 6)


@pytest.mark.parametrize("method", [KCL, TSC])
def test_of_all_keys_without_a_queue_it_is_supervised_contrast_of_both_views(method):
    found = case(dataclasses.replace(method, queue_size=0, num_positives=0))
    assert "copy" not in found.state

    def expected(params):
        z, _ = found.run(params, project, base.interleave(found.views[1:]))
        return supervised_contrastive_loss(z, jnp.repeat(LABELS, 2), temperature=0.2)

    params = found.variables["params"]
    value, slope = jax.jit(jax.value_and_grad(lambda p: found.loss(params=p)[0]))(params)
    its_value, its_slope = jax.jit(jax.value_and_grad(expected))(params)
    np.testing.assert_allclose(value, its_value, rtol=1e-6)
    for path, leaf in bits(slope).items():
        np.testing.assert_allclose(leaf, bits(its_slope)[path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_of_weight_0_tsc_is_kcl_to_the_bit():
    plain, other = case(KCL), case(dataclasses.replace(TSC, target_weight=0.0))
    for epochs in (20, 200):
        assert other.method.stages(epochs) == KCL.stages(epochs)
    assert not any(other.method.refresh_due(epoch, 20) for epoch in range(1, 21))
    assert bits(other.state).keys() == bits(plain.state).keys()
    one, two = (found.loss(key=3) for found in (plain, other))
    assert {k: v.tobytes() for k, v in bits(one).items()} == {
        k: v.tobytes() for k, v in bits(two).items()
    }


def test_before_classes_are_matched_tsc_is_kcl_and_then_it_is_drawn_to_their_targets():
    plain, found = case(KCL), case(TSC)
    expected = plain.loss(key=3)[0]
    for stage in (0, 1):
        np.testing.assert_allclose(found.loss(stage, key=3)[0], expected, rtol=1e-6)

    method = dataclasses.replace(TSC, num_positives=0)
    found = case(method)
    seen = found.loss(0)[2]
    matched, report = method.refresh({**found.state, "directions": seen["directions"]}, None)
    assert report["moved_targets"] == 3
    anchors, own = embedded(found)
    means = np.stack([anchors[np.asarray(LABELS) == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(matched["directions"], unit(means), atol=1e-5)
    spread = spread_targets(3, 6)
    assert sorted(map(tuple, spread)) == sorted(map(tuple, np.asarray(matched["targets"])))
    cosine = np.mean(np.sum(unit(means) * np.asarray(matched["targets"]), axis=1))
    assert report["cosine_of_targets"] == pytest.approx(cosine, abs=1e-5)

    loss, metrics, state = found.loss(1, state=matched)
    targets = np.float64(matched["targets"])
    own_targets = np.asarray(LABELS)[:, None] == np.arange(3)
    expected = loop(anchors, own, *in_queue(matched), 0.2, targets, own_targets, 0.2)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    to_target = np.mean(np.sum(anchors * targets[np.asarray(LABELS)], axis=1))
    assert float(metrics["cosine_target"]) == pytest.approx(to_target, abs=1e-5)
    # Of the same means the directions stay where they are.
    np.testing.assert_allclose(state["directions"], matched["directions"], atol=1e-5)
    # In the first stage there are none, matched or not.
    np.testing.assert_array_equal(found.loss(0, state=matched)[0], found.loss(0)[0])


def test_no_gradient_of_the_contrast_goes_into_the_classifier():
    found = case(TSC)
    slope = jax.jit(jax.grad(lambda p: found.loss(params=p)[0]))(found.variables["params"])
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(slope["heads_classifier"]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(slope["heads_projector"]))


def lengths(method, epochs):
    return [stage.epochs for stage in method.stages(epochs)]


def test_the_stages_share_the_runs_epochs():
    assert lengths(KPositiveContrast(), 200) == [190, 10]
    assert lengths(TargetedContrast(), 200) == [95, 95, 10]
    assert lengths(TargetedContrast(untargeted=0.0), 30) == [0, 20, 10]
    assert lengths(TargetedContrast(untargeted=1.0), 30) == [20, 0, 10]
    first, second, last = TargetedContrast().stages(200)
    assert (first.trains, second.trains) == (("backbone", "heads_projector"),) * 2
    assert second.continues
    assert (last.trains, last.anew) == (("heads_classifier",),) * 2
    assert (last.sampler, last.rate_factor) == ("class_balanced", 10.0)
    assert KPositiveContrast(refit_learning_rate=0.3).stages(20)[-1].rate_factor == 1


def test_classes_are_matched_from_the_last_plain_epoch_to_the_last_but_one_with_targets():
    due = [epoch for epoch in range(1, 31) if TargetedContrast().refresh_due(epoch, 30)]
    assert due == list(range(10, 20))
    none = TargetedContrast(untargeted=0.0)
    assert [e for e in range(1, 31) if none.refresh_due(e, 30)] == list(range(1, 20))
    assert not any(KPositiveContrast().refresh_due(epoch, 30) for epoch in range(1, 31))


def test_published_is_that_of_imagenet_lt():
    for name, expected in (("kcl", [200, 40]), ("tsc", [200, 200, 40])):
        config = shipped_config("imagenet_lt", f"{name},published")
        validate(config)
        method = methods.create(config.method)
        stages = method.stages(config.epochs)
        assert [stage.epochs for stage in stages] == expected
        # Each from the start of the schedule.
        assert not any(stage.continues for stage in stages)
        optimizer = {
            "warmup_epochs": 0, "schedule": "step", "learning_rate": 1.25, "weight_decay": 0.0,
            "step_epochs": (20.0, 30.0), "step_factor": 0.1,
        }  # fmt: skip
        assert dict(stages[-1].optimizer) == optimizer
        assert (method.queue_size, method.num_positives, method.projector_dim) == (65_536, 6, 128)
        assert (method.temperature, method.momentum) == (0.07, 0.999)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method.untargeted": 0.0}, "stage 1 of 3 of tsc has no epochs.*config.method.untargeted"),
        ({"method.refit_epochs": 4}, "stage 1 of 3 of tsc has no epochs.*start_from"),
        ({"method.refit_epochs": 5}, "refit_epochs is 5 in a run of 4 epochs"),
        ({"method.num_positives": 2000}, "num_positives"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    config = tiny_config("tsc")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=message):
        validate(config)


@pytest.fixture(scope="module")
def tsc(_two_layers, shared_assemblies, tmp_path_factory):
    """The contract's run: an epoch without targets, one with them, two of the classifier."""
    config = small_config("tsc")
    config.eval.every_epochs = 1
    with pytest.MonkeyPatch.context() as patch:
        workdir = tmp_path_factory.mktemp("tsc") / "run"
        return config, *traced(config, workdir, patch)


@pytest.mark.usefixtures("_no_picture", "_two_layers")
def test_the_contrast_leaves_the_classifier_and_the_classifier_all_else(tsc):
    _, result, (first, second, third, fourth) = tsc
    contrasted = changed(first, second)
    assert contrasted
    assert not any("heads_classifier" in path for path in contrasted)
    for one, other in ((second, third), (third, fourth)):
        moved = changed(one, other)
        assert len(moved) == 2
        assert all("heads_classifier" in path for path in moved)
    assert [record["stage"] for record in result.records] == [1, 2, 3, 3]
    refreshed = [bool(record.get("refresh")) for record in result.records]
    assert refreshed == [True, False, False, False]
    assert result.records[0]["refresh"]["moved_targets"] == 10
    # Ten times the run's, from the peak of a cosine.
    rates = [record["train"]["learning_rate"] for record in result.records]
    assert rates[2] > 5 * rates[0]
    spread = {row.tobytes() for row in np.float32(spread_targets(10, 8))}
    assert {row.tobytes() for row in np.asarray(result.state.method["targets"])} == spread


@pytest.mark.usefixtures("_no_picture", "_two_layers")
# Of two steps an epoch and a call at its end, counted anew after each: the last step before classes
# are matched, and the first with targets; the end of that epoch, and what comes first after it.
@pytest.mark.parametrize("calls", [(2, 3), (6, 1)])
def test_killed_around_a_change_of_stage_it_ends_where_the_whole_one_ends(tsc, tmp_path, calls):
    config, result, _ = tsc
    check_resumed(result, config, tmp_path / "run", *calls)


@pytest.mark.usefixtures("_no_picture", "_two_layers")
def test_a_classifier_starts_from_the_representation_of_another_run(tsc, tmp_path):
    config, result, _ = tsc
    config = config.copy_and_resolve_references().unlock()
    config.epochs, config.method.refit_epochs = 2, 2
    config.model.pretrained = str(result.workdir)
    found = train_and_evaluate(config, tmp_path / "run")
    one, other = (bits({"params": r.state.params, "batch_stats": r.state.batch_stats})
                  for r in (result, found))  # fmt: skip
    assert all("heads_classifier" in path for path in changed(one, other))
    assert len(changed(one, other)) == 2
