"""The twin and the project are oracles of each other: same weights, same inputs, same numbers."""

import dataclasses
import functools
import random
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.clustering import queue as project_queue
from bccl_jax.config import get_config
from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.contrastive import centroid_loss, supervised_contrastive_loss
from bccl_jax.methods.base import Batch, Context
from bccl_jax.methods.bccl import BCCL
from bccl_jax.models import Network, create_backbone
from bccl_jax.optimization.optimizer import create_optimizer
from bccl_jax.optimization.schedule import create_schedule
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_train_step
from benchmarks.torch_twin.turns import Side

torch = pytest.importorskip(
    "torch", reason="needs PyTorch: pip install -r benchmarks/requirements-torch.txt"
)
losses = pytest.importorskip("benchmarks.torch_twin.losses")
model = pytest.importorskip("benchmarks.torch_twin.model")
twin_queue = pytest.importorskip("benchmarks.torch_twin.queue")
step = pytest.importorskip("benchmarks.torch_twin.step")

COUNTS = np.array([40, 20, 10])
LABELS = np.array([0, 0, 1, 2])
BATCH, SIDE, HIDDEN, DIM, STEPS = 4, 16, 12, 8, 3
LEARNING_RATE = 0.02
# Class 0 has four embeddings a step, more than its queue holds.
METHOD = BCCL(projector_dim=DIM, projector_hidden=HIDDEN, queue_size=3, num_centroids=2)
MASK = np.array([[True, True], [True, False], [False, False]])


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def close(found, expected, rtol=1e-5, atol=1e-6):
    if isinstance(found, torch.Tensor):
        found = found.detach().numpy()
    np.testing.assert_allclose(found, np.asarray(expected), rtol=rtol, atol=atol)


@functools.cache
def centroids():
    made = unit(np.random.default_rng(1).normal(size=(3, 2, DIM)))
    made[~MASK] = np.nan  # what is not valid must not be read
    return made


@functools.cache
def project():
    """Network, optimizer and state whose parameters and statistics all differ from each other."""
    context = Context(COUNTS, epochs=100, dtype=jnp.float32)
    network = Network(create_backbone("resnet8"), METHOD.heads(context))
    images = jnp.zeros((2, SIDE, SIDE, 3))
    variables = jax.jit(functools.partial(network.init, method=METHOD.init_forward))(
        jax.random.key(0), images
    )
    rng = np.random.default_rng(2)
    variables = jax.tree.map(
        lambda x: x + 0.1 * rng.uniform(size=x.shape).astype(np.float32), variables
    )
    config = get_config("bccl")
    config.optimizer.learning_rate = LEARNING_RATE
    config.optimizer.schedule, config.optimizer.warmup_epochs = "constant", 0
    schedule = create_schedule(config, 1)
    optimizer = create_optimizer(config, schedule)
    method = METHOD.init(jax.random.key(1), context)
    state = TrainState(
        step=jnp.int32(0),
        key=jax.random.key(2),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        method=method.replace(centroids=jnp.asarray(centroids()), centroid_mask=jnp.asarray(MASK)),
    )
    return network, optimizer, schedule, state


@functools.cache
def views():
    rng = np.random.default_rng(3)
    return tuple(rng.normal(size=(BATCH, SIDE, SIDE, 3)).astype(np.float32) for _ in range(3))


def twin():
    state = project()[3]
    network = model.Network("resnet8", len(COUNTS), HIDDEN, DIM)
    network.load_state_dict(model.from_flax(state.params, state.batch_stats))
    method = step.BCCL(network, torch.from_numpy(COUNTS).float(), num_centroids=2, queue_size=3)
    method.centroids.copy_(torch.from_numpy(centroids()))
    method.mask.copy_(torch.from_numpy(MASK))
    return method.to(memory_format=torch.channels_last)


def twin_batch():
    images = tuple(torch.from_numpy(view).permute(0, 3, 1, 2) for view in views())
    return images, torch.from_numpy(LABELS)


@functools.cache
def project_pass():
    """One pass of the project: its outputs, loss, metrics and gradient."""
    network, _, _, state = project()

    def loss_of(params, images):
        outputs = []

        def apply(params, forward, *inputs):
            variables = {"params": params, "batch_stats": state.batch_stats}
            found, renewed = network.apply(
                variables, *inputs, method=forward, mutable=["batch_stats"]
            )
            outputs.append(found)
            return found, renewed["batch_stats"]

        batch = Batch(images, jnp.asarray(LABELS))
        loss, (metrics, _, _) = METHOD.loss(apply, params, batch, state.method, None, None)
        return loss, (metrics, outputs[0])

    compiled = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (loss, (metrics, outputs)), gradient = compiled(state.params, views())
    return loss, metrics, outputs, gradient


def test_the_converted_network_gives_the_same_logits_and_embeddings():
    images, labels = twin_batch()
    logits, embeddings = twin().network(torch.cat(images), len(labels))
    _, _, (expected_logits, expected_embeddings), _ = project_pass()
    close(logits, expected_logits, atol=1e-5)
    close(embeddings, expected_embeddings, atol=1e-5)


def test_the_whole_loss_its_terms_and_its_gradient_agree():
    method = twin()
    loss, terms = method(*twin_batch())
    loss.backward()
    expected, metrics, _, gradient = project_pass()
    close(loss, expected)
    names = ("contrastive_loss", "centroid_loss", "classification_loss")
    close(terms, [metrics[name] for name in names])
    expected_gradient = model.from_flax(gradient, {})
    found = dict(method.network.named_parameters())
    assert found.keys() == expected_gradient.keys()
    for name, parameter in found.items():
        size = float(expected_gradient[name].abs().max())
        assert size > 1e-3, name
        close(parameter.grad, expected_gradient[name], rtol=1e-4, atol=1e-4 * size)


def test_three_steps_of_sgd_leave_the_same_parameters_statistics_and_queues():
    network, optimizer, schedule, before = project()
    train_step = jax.jit(
        make_train_step(network, METHOD, optimizer, schedule, lambda views, key: views, 1)
    )
    state, method = before, twin()
    trainer = step.Trainer(method, LEARNING_RATE)
    for _ in range(STEPS):
        state, _ = train_step(state, {"image": views(), "label": jnp.asarray(LABELS)})
        trainer.step(*twin_batch())

    start = model.from_flax(before.params, before.batch_stats)
    expected = model.from_flax(state.params, state.batch_stats)
    found = method.network.state_dict()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        moved = expected[name] - start[name]
        # The twin gathers unbiased variances, the project biased ones: what the steps added
        # differs by n / (n - 1), of n values a channel in the batch.
        if name.endswith("running_var"):
            values = values_per_channel(name)
            kept = 0.9**STEPS * start[name]
            moved = kept + (expected[name] - kept) * values / (values - 1) - start[name]
        close(value - start[name], moved, rtol=1e-3, atol=1e-3 * float(moved.abs().max()))

    queue = state.method.queue
    close(method.queue.features, queue.features, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(method.queue.cursor, queue.cursor)
    np.testing.assert_array_equal(method.queue.count, queue.count)


def values_per_channel(name):
    """How many values of a channel a batch brings to one normalisation of ResNet-8."""
    if name.startswith("projector"):
        return 2 * BATCH
    stage = int(name.split(".")[2]) if "blocks" in name else 0
    return 3 * BATCH * (SIDE // 2**stage) ** 2


@pytest.mark.parametrize("preset", ["sec43", "eq9", "bcl"])
def test_each_preset_weighs_the_terms_alike(preset, rng):
    logits = rng.normal(size=(BATCH, 3)).astype(np.float32)
    embeddings = unit(rng.normal(size=(2 * BATCH, DIM)))
    state = project()[3].method

    @jax.jit
    def of(*outputs):
        batch = Batch(views(), jnp.asarray(LABELS))
        chosen = dataclasses.replace(METHOD, preset=preset)
        return chosen.loss(lambda *_: (outputs, None), None, batch, state, None, None)[0]

    expected = of(logits, embeddings)
    method = twin()
    method.weights = step.PRESETS[preset]
    found, _ = method.losses(*map(torch.from_numpy, (logits, embeddings, LABELS)))
    close(found, expected)


@functools.cache
def project_contrastive_losses():
    def compiled(function):
        def of(embeddings, labels, centroids, mask):
            tables = {"centroids": centroids, "centroid_mask": mask}
            return function(embeddings, labels, temperature=0.1, **tables)

        return jax.jit(jax.value_and_grad(of))

    return compiled(supervised_contrastive_loss), compiled(centroid_loss)


@pytest.mark.parametrize("valid", ["none", "some", "all"])
def test_the_contrastive_losses_and_their_gradients_agree(valid, rng):
    mask = {"none": np.zeros((4, 3), bool), "all": np.ones((4, 3), bool)}.get(valid)
    if mask is None:
        mask = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
    embeddings, labels = unit(rng.normal(size=(20, 6))), rng.integers(0, 4, 20)
    clusters = unit(rng.normal(size=(4, 3, 6)))

    leaf = torch.from_numpy(embeddings).requires_grad_()
    rest = labels, clusters, mask
    twins = losses.contrastive_losses(leaf, *map(torch.from_numpy, rest), 0.1)
    for found, of in zip(twins, project_contrastive_losses(), strict=True):
        expected, gradient = of(embeddings, *rest)
        close(found, expected)
        close(torch.autograd.grad(found, leaf, retain_graph=True)[0], gradient, atol=1e-5)


def test_a_class_without_images_drops_out_of_the_compensated_softmax(rng):
    logits, labels = rng.normal(size=(5, 3)).astype(np.float32), np.array([0, 2, 2, 0, 0])
    counts = np.array([7.0, 0.0, 3.0], np.float32)
    log_prior = torch.log(torch.from_numpy(counts) / 10)
    found = losses.logit_compensation_loss(
        torch.from_numpy(logits), torch.from_numpy(labels), log_prior
    )
    close(found, logit_compensation_loss(jnp.asarray(logits), jnp.asarray(labels), counts))


def test_the_queues_hold_the_same_after_many_pushes(rng):
    ours, theirs = twin_queue.Queue(4, 5, 2), project_queue.init_queue(4, 5, 2)
    for size in (1, 30, 0, 7):
        features = rng.normal(size=(size, 2)).astype(np.float32)
        # Class 0 overflows in the batch of 30, and class 3 stays empty.
        labels = np.minimum(rng.integers(0, 6, size), 5) % 3
        rows = ours.targets(torch.from_numpy(labels)).numpy()
        written = rows[rows < len(ours.rows) - 1]
        assert len(set(written)) == len(written) == np.minimum(np.bincount(labels), 5).sum()
        ours.push(torch.from_numpy(features), torch.from_numpy(labels))
        theirs = project_queue.push(theirs, jnp.asarray(features), jnp.asarray(labels))
        np.testing.assert_array_equal(ours.features, theirs.features)
        np.testing.assert_array_equal(ours.cursor, theirs.cursor)
        np.testing.assert_array_equal(ours.count, theirs.count)
    assert theirs.count.tolist() == [5, 5, 5, 0]


def test_bfloat16_leaves_the_losses_in_float32():
    method = twin()
    method.bfloat16 = True
    loss, terms = method(*twin_batch())
    loss.backward()
    assert loss.dtype == terms.dtype == torch.float32
    # Near the float32 loss, but not the same: bfloat16 was used.
    expected = float(project_pass()[0])
    assert 1e-5 < abs(loss.item() / expected - 1) < 0.05


@pytest.fixture
def images(rng):
    pytest.importorskip("torchvision")
    return rng.integers(1, 256, (24, 32, 32, 3), np.uint8), np.repeat([0, 1, 2], [12, 8, 4])


def test_the_loader_gives_three_different_normalised_views(images):
    data = pytest.importorskip("benchmarks.torch_twin.data")
    loader = data.make_loader(data.Views(*images), batch_size=6, batches=5, workers=0)
    batches = list(loader)
    assert len(batches) == 5
    for (strong, first, second), labels in batches:
        for view in (strong, first, second):
            assert view.shape == (6, 3, 32, 32)
            assert view.dtype == torch.float32
            assert view.min() >= -2.5
            assert view.max() <= 2.8
        assert labels.dtype == torch.int64
        assert labels.shape == (6,)
        assert not torch.equal(first, second)
        # Cutout reaches into what the padding of a crop cannot, by four pixels a side at least.
        black = strong[:, :, 4:-4, 4:-4] == data.NORMALIZE(torch.zeros(3, 1, 1))
        assert black.all(1).sum((1, 2)).min() >= 16


def test_cutout_blackens_a_square_that_the_borders_may_cut():
    data = pytest.importorskip("benchmarks.torch_twin.data")
    random.seed(0)
    areas = set()
    for _ in range(600):
        hidden = data.Cutout(4)(torch.ones(3, 8, 8)) == 0
        assert hidden.all(0).equal(hidden.any(0))
        rows, columns = hidden[0].any(1).sum(), hidden[0].any(0).sum()
        assert hidden[0].sum() == rows * columns
        areas.add((int(rows), int(columns)))
    assert areas == {(a, b) for a in (2, 3, 4) for b in (2, 3, 4)}


def test_the_twins_process_times_both_feedings(images, tmp_path):
    np.savez(tmp_path / "data.npz", images=images[0], labels=images[1])
    settings = {
        "data": str(tmp_path / "data.npz"),
        "backbone": "resnet8",
        "batch": 4,
        "steps": 1,
        "workers": 1,
        "dtype": "float32",
        "learning_rate": 0.01,
        "compile_mode": "no such mode",
    }
    with Side(sys.executable, "benchmarks.torch_twin.torch_side", settings) as side:
        assert side.description["torch"] == torch.__version__
        for part in ("twin-ready-eager", "twin-end-to-end-eager"):
            assert 0 < side.ask(part)["seconds"] < 60
        assert "no such mode" in side.ask("twin-ready-compiled")["unavailable"]
    assert side.process.returncode == 0
