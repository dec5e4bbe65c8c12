"""DRO-LT: the losses of its stages, its prototypes, and what trains when."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.methods import base, dro_lt
from bccl_jax.methods.base import Batch, Between, Passed, Progress
from bccl_jax.methods.dro_lt import RobustPrototypes
from bccl_jax.models.network import Network
from tests.losses.test_robust import loop
from tests.methods.small import CONTEXT, COUNTS, LABELS
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers


@pytest.fixture
def case(rng):
    """Logits, features and radii of four images, and prototypes of all classes but the last."""
    logits, features = rng.normal(size=(4, 3)), rng.normal(size=(4, 5))
    state = {
        "class_counts": jnp.asarray(COUNTS, jnp.int32),
        "prototypes": jnp.float32(rng.normal(size=(3, 5))),
        "prototype_mask": jnp.array([True, True, False]),
    }
    return logits, features, np.array([0.5, 1.5, 1.0]), state


def loss_in(method, stage, case, targets=None):
    logits, features, radii, state = case
    seen = []

    def apply(params, forward, images):
        seen.append(forward)
        outputs = tuple(map(jnp.float32, (logits, features, radii)))
        return (outputs if forward is dro_lt._outputs else outputs[0]), None

    batch = Batch((jnp.zeros((4, 2, 2, 3)),), LABELS, targets)
    progress = Progress(jnp.int32(0), jnp.int32(0), stage)
    loss, (metrics, kept, _) = method.loss(apply, None, batch, state, None, progress)
    assert kept is state
    return float(loss), metrics, *seen


def each_cross_entropy(logits, truth):
    return -np.sum(truth * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))), axis=1)


@pytest.mark.parametrize(
    ("robust", "classification"), [("none", "counts"), ("inverse", "none"), ("counts", "inverse")]
)
@pytest.mark.parametrize("soft", [False, True])
def test_the_second_stage_adds_the_robust_loss(case, robust, classification, soft, rng):
    logits, features, radii, state = case
    method = RobustPrototypes(
        weight_robust=0.7,
        temperature=0.4,
        robust_weights=robust,
        classification_weights=classification,
    )
    truth = rng.dirichlet(np.ones(3), size=4) if soft else np.eye(3)[LABELS]
    loss, metrics, forward = loss_in(method, 1, case, jnp.float32(truth) if soft else None)
    assert forward is dro_lt._outputs
    weights = {"none": np.ones(3), "counts": COUNTS, "inverse": 1 / COUNTS}
    expected_robust = loop(
        features,
        LABELS,
        np.asarray(state["prototypes"], np.float64),
        radii,
        0.4,
        None if robust == "none" else weights[robust],
        np.asarray(state["prototype_mask"]),
    )
    shares = truth * weights[classification]
    expected = np.sum(each_cross_entropy(logits, shares)) / np.sum(shares)
    assert float(metrics["robust_loss"]) == pytest.approx(expected_robust, rel=1e-5)
    assert float(metrics["classification_loss"]) == pytest.approx(expected, rel=1e-5)
    assert loss == pytest.approx(expected + 0.7 * expected_robust, rel=1e-5)
    assert float(metrics["mean_radius"]) == 1.0


def test_the_other_stages_are_cross_entropy(case):
    expected = np.mean(each_cross_entropy(case[0], np.eye(3)[LABELS]))
    for stage, forward in ((0, base.classify), (2, dro_lt.classify_frozen)):
        loss, _, seen = loss_in(RobustPrototypes(), stage, case)
        assert seen is forward
        assert loss == pytest.approx(expected, rel=1e-5)
    # So is the second one without weights and before there are prototypes.
    alike = RobustPrototypes(weight_robust=0.0, classification_weights="none")
    assert loss_in(alike, 1, case)[0] == pytest.approx(expected, rel=1e-5)
    none = {**case[3], "prototype_mask": jnp.zeros(3, bool)}
    unknown = RobustPrototypes(classification_weights="none")
    assert loss_in(unknown, 1, (*case[:3], none))[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_network_has_a_radius_for_each_class_and_room_for_a_prototype(kind, rng):
    method = RobustPrototypes(classifier=kind)
    network = Network(TwoLayers(), method.heads(CONTEXT))
    images = jnp.float32(rng.normal(size=(4, 2, 2, 3)))
    variables = network.init(jax.random.key(0), images, method=method.init_forward)
    np.testing.assert_array_equal(variables["params"]["heads_radii"]["radii"], np.ones(3))
    (logits, features, radii), _ = network.apply(
        variables, images, method=dro_lt._outputs, mutable=["batch_stats"]
    )
    assert (logits.shape, radii.shape) == ((4, 3), (3,))
    state = method.follow(method.init(None, CONTEXT), variables["params"], first=True)
    assert state["prototypes"].shape == (3, features.shape[1])
    assert not np.any(state["prototype_mask"])
    # As it is before each step, and where a run starts from another one's network.
    assert method.follow(state, variables["params"]) is state
    assert method.follow(state, variables["params"], first=True) is state


def test_prototypes_are_class_means_under_the_strong_view(case, rng):
    features = np.float32(rng.normal(size=(6, 5)))
    labels = np.array([2, 0, 0, 2, 2, 0])

    def compute(forward, view, key):
        assert forward is dro_lt._features
        assert view == "strong"
        return Passed(features, labels, np.arange(6))

    found, report = RobustPrototypes().refresh(
        case[3], jax.random.key(0), Between(1, 4, None, None, compute)
    )
    for k in (0, 2):
        np.testing.assert_allclose(
            found["prototypes"][k], features[labels == k].mean(axis=0), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(found["prototype_mask"], [True, False, True])
    assert report == {"prototypes": 2}
    assert found.keys() == case[3].keys()


@pytest.mark.parametrize(
    ("epochs", "parts"), [(300, [200, 80, 20]), (200, [133, 54, 13]), (3, [2, 0, 1])]
)
def test_stages_are_shares_of_the_run(epochs, parts):
    stages = RobustPrototypes().stages(epochs)
    assert [stage.epochs for stage in stages] == parts


def test_after_another_run_the_later_stages_share_out_all_epochs():
    method = RobustPrototypes(start_from="run")
    assert [stage.epochs for stage in method.stages(100)] == [0, 80, 20]
    assert method.trained_epochs(100) == 100
    at_once = RobustPrototypes(start_from="run", robust_after=1.0, refit_after=1.0)
    assert [stage.epochs for stage in at_once.stages(10)] == [0, 0, 10]


def test_prototypes_are_renewed_before_each_epoch_of_the_second_stage():
    method = RobustPrototypes(robust_after=0.5, refit_after=0.8)
    due = [epoch for epoch in range(11) if method.refresh_due(epoch, 10)]
    assert due == [5, 6, 7]
    started = RobustPrototypes(robust_after=0.5, refit_after=0.65, start_from="run")
    assert [epoch for epoch in range(11) if started.refresh_due(epoch, 10)] == [1, 2]


def test_stages_train_what_they_are_for():
    first, second, last = RobustPrototypes().stages(300)
    assert first.trains == ("backbone", "heads_classifier")
    assert (second.trains, second.sampler) == (("backbone", "heads_radii"), "class_balanced")
    assert (last.trains, last.sampler, last.anew) == (("heads_classifier",), "class_balanced", ())
    constant = {"warmup_epochs": 0, "schedule": "constant"}
    assert second.optimizer == constant | {"learning_rate": 0.005}
    assert last.optimizer == constant | {"learning_rate": 0.01}
    of_run = RobustPrototypes(robust_learning_rate=0.0).stages(300)[1]
    assert of_run.optimizer == constant


def test_what_cannot_work_is_named():
    config = tiny_config("dro_lt")
    validate(config)
    config.method.robust_after = 0.9
    with pytest.raises(ConfigError, match="robust_after is 0.9 and config.method.refit_after 0.5"):
        validate(config)
    config.method.robust_after = 0.5
    with pytest.raises(ConfigError, match="stage 2 of 3 of dro_lt has no.*method.refit_after"):
        validate(config)
    config.method.robust_after = 0.0
    with pytest.raises(ConfigError, match="stage 1 of 3 of dro_lt has no.*method.robust_after"):
        validate(config)
