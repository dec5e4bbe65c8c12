import json
import math
import pathlib
import random

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from bccl_jax.methods.base import Batch, Progress
from bccl_jax.models import BACKBONES
from benchmarks import (
    augment,
    checkpoints,
    epoch,
    kmeans,
    memory,
    methods,
    pillow_views,
    pipeline,
    recipe,
    scaling,
    step,
    together,
    work,
)
from benchmarks.common import parser

TINY = (
    f"--config={pathlib.Path(__file__).with_name('tiny_config.py')}",
    "--side=8",
    "--classes=4",
    "--largest=40",
    "--batch=4",
    "--repeats=1",
)

# Each builds and times something of its own.
pytestmark = pytest.mark.slow


class OneConvolution(nn.Module):
    """A backbone that compiles in no time."""

    width: int = 4
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train):
        x = nn.Conv(self.width, (3, 3), use_bias=False, dtype=self.dtype)(images)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return x.mean(axis=(1, 2))


@pytest.fixture(autouse=True)
def _quick_backbone(monkeypatch):
    monkeypatch.setitem(BACKBONES, "resnet8", OneConvolution)


@pytest.fixture
def written(tmp_path):
    """Runs a benchmark and returns the rows of its JSON file, and all of it."""

    def run(module, *arguments):
        path = tmp_path / "made" / "figures.json"
        module.main([f"--json={path}", *arguments])
        content = json.loads(path.read_text())
        assert {"device", "jax", "cores", "commit"} <= content["machine"].keys()
        return content["rows"], content

    return run


def positive(value):
    return math.isfinite(value) and value > 0


def tiny_options(*arguments):
    flags = parser("", "tiny")
    recipe.add_flags(flags)
    return flags.parse_args([*TINY, *arguments])


def tiny_run(*arguments, width=0):
    config = recipe.config_of(tiny_options(*arguments))
    return recipe.assemble(config, classes=4, largest=40, side=8, width=width)


def test_step(written):
    rows, content = written(step, *TINY, "--product=32", "--method=cross_entropy")
    figures = {row["figure"]: row["value"] for row in rows}
    # A difference of two times may be anything on a busy machine.
    for difference in ("backward", "sum of parts"):
        assert math.isfinite(figures.pop(difference))
    assert all(map(positive, figures.values())), figures
    assert {"augmentation", "forward", "losses", "optimizer"} <= figures.keys()
    assert "queue push" not in figures
    assert figures["rate"] == pytest.approx(4 / figures["step"])
    assert content["settings"]["images"] == 61
    assert figures["model FLOP utilisation"] == pytest.approx(
        100 * figures["model FLOPs"] / figures["step"] / figures["peak"]
    )


def test_methods(written):
    rows, content = written(methods, *TINY, "--methods=lws", "--steps=1")
    figures = {row["method"]: row for row in rows}
    assert list(figures) == ["cross_entropy", "lws"]
    assert all(positive(row["seconds a step"]) for row in rows)
    assert figures["cross_entropy"]["to cross_entropy"] == 1
    assert figures["lws"]["stages"] == 2
    assert "method" not in content["settings"]


def test_cost_of_a_step_is_the_mean_over_stages_by_their_epochs():
    run = tiny_run("--method=lws")
    epochs = [stage.epochs for stage in run.stages]
    runs = {"cross_entropy": tiny_run("--method=cross_entropy"), "lws": run}
    found = {("cross_entropy", 0): 2.0, ("lws", 0): 4.0, ("lws", 1): 1.0}
    plain, lws = methods.costs(runs, found, steps=2)
    assert plain["seconds a step"] == 1
    assert lws["seconds a step"] == pytest.approx(
        (epochs[0] * 2 + epochs[1] * 0.5) / (epochs[0] + epochs[1])
    )
    assert lws["to cross_entropy"] == pytest.approx(lws["seconds a step"])


def test_parts_of_a_step_make_up_its_gradient_and_its_queue():
    run = tiny_run("--queue-size=16")
    state = recipe.after_warmup(run.init_state(), jax.random.key(1))
    batch = recipe.first_batch(run)
    assert bool(state.method.centroid_mask.all())
    assert int(state.method.queue.count.min()) == 16
    parts = step.parts(run, state, batch)
    _, gradient_of_outputs = parts["losses"]()
    network = parts["forward and backward"]
    *arguments, _ = network.args
    gradient, batch_stats = network.func(*arguments, gradient_of_outputs)
    own, _ = parts["queue push"]()

    views, module = parts["augmentation"](), run.network

    @jax.jit
    def reference(params):
        def apply(params, forward, *inputs):
            variables = {"params": params, "batch_stats": state.batch_stats}
            outputs, renewed = module.apply(
                variables, *inputs, method=forward, mutable=["batch_stats"]
            )
            return outputs, renewed["batch_stats"]

        return run.method.loss(
            apply,
            params,
            Batch(views, batch["label"]),
            state.method,
            state.key,
            Progress(state.step, state.step),
        )

    def close(one, other):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), one, other
        )

    wanted, (_, wanted_own, wanted_stats) = jax.grad(reference, has_aux=True)(state.params)
    close(gradient, wanted)
    close(batch_stats, wanted_stats)
    close(own, wanted_own)
    assert not np.array_equal(own.queue.cursor, state.method.queue.cursor)


def test_run_of_another_width_leaves_the_registries_as_they_were():
    run = tiny_run("--method=cross_entropy", width=6)
    kernel = jax.eval_shape(run.init_state).params["backbone"]["Conv_0"]["kernel"]
    assert kernel.shape == (3, 3, 3, 6)
    assert run.dataset.num_classes == 4
    assert "benchmark" not in BACKBONES
    assert "benchmark" not in recipe.DATASETS


def test_cold_compiles_again(tmp_path):
    compilations = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compilations.append(duration)

    function = jax.jit(lambda x: x * 3 + 1)
    argument = jax.device_put(np.ones(3, np.float32))
    function(argument)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        function(argument)
        assert not compilations
        with recipe.cold():
            function(argument)
        assert len(compilations) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert jax.config.jax_enable_compilation_cache


def test_epoch(written):
    rows, content = written(epoch, *TINY, "--method=cross_entropy", "--steps=2")
    assert [row["epoch"] for row in rows] == ["scan", "loop", "step alone"]
    assert content["settings"]["steps"] == 2
    for row in rows:
        assert positive(row["seconds a step"])
        assert row["views/s"] == pytest.approx(4 / row["seconds a step"])
        assert math.isfinite(row["compilation s"])
    assert rows[2]["gap to the step alone, ms"] == 0


def test_augment(written):
    sizes = "--batch=4", "--calls=2", "--side=16", "--repeats=1"
    rows, _ = written(augment, *sizes, "--views", "sim")
    assert [row["by"].split(",")[0] for row in rows] == ["ours", "Pillow", "torchvision"]
    measured = [row for row in rows if row["views/s"] is not None]
    assert len(measured) >= 2
    assert all(positive(row["views/s"]) for row in measured)
    assert rows[1]["times faster by ours"] == pytest.approx(rows[0]["views/s"] / rows[1]["views/s"])


def test_kmeans(written):
    arguments = "--points=8", "--dim=4", "--clusters=2", "--sample=3", "--keys=1", "--repeats=1"
    (refresh, mean, worst), _ = written(kmeans, "--classes", "6", *arguments)
    assert refresh["how"] == "scikit-learn on 3 classes, scaled"
    assert positive(refresh["ours s"])
    assert positive(refresh["scikit-learn s"])
    assert 0.99 < mean["ours over scikit-learn"] <= worst["ours over scikit-learn"] < 1.05


def test_clustered_points_are_unit_vectors_around_their_directions():
    points = np.asarray(kmeans.clustered_points(jax.random.key(0), 2, 9, 3, 64))
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1, rtol=1e-5)
    cosine = points[0] @ points[0].T
    same = np.equal.outer(np.arange(9) % 3, np.arange(9) % 3) & ~np.eye(9, dtype=bool)
    others = np.not_equal.outer(np.arange(9) % 3, np.arange(9) % 3)
    assert cosine[same].mean() == pytest.approx(0.5, abs=0.1)
    assert cosine[others].mean() == pytest.approx(0.0, abs=0.1)


def test_pipeline(written):
    arguments = "--images=20", "--batch=4", "--batches=3", "--side=8", "--photographs=2"
    arguments += "--photograph-batches=2", "--size=16", "--smallest=20", "--largest=24"
    rows, _ = written(pipeline, *arguments, "--threads", "1", "--workers", "1", "--repeats=1")
    assert [row["readers"] for row in rows] == ["1 threads", "1 processes"]
    assert rows[1]["what"] == "photographs, 3 crops of 16 px"
    for row in rows:
        assert positive(row["images/s"])
        assert row["images/s"] == row["images/s a core"] == pytest.approx(4 * row["batches/s"])


def test_memory_counts_the_state_and_asks_the_compiler(written):
    config = pathlib.Path(__file__).parent / "tiny_photographs.py"
    arguments = "--config", str(config), "--classes=50", "--dtypes", "float32", "--remat", "0"
    ((row,), content) = written(memory, *arguments)
    assert content["settings"]["classes"] == 50
    queue, centroids, counts = 50 * (64 * 8 * 4 + 2 * 4), 50 * 5 * (8 * 4 + 1), 50 * 4
    assert row["method's state GiB"] * memory.GIB == queue + centroids + counts
    assert row["batch GiB"] * memory.GIB == 4 * 3 * 8 * 8 * 3
    assert row["state GiB"] > row["method's state GiB"]
    assert positive(row["temporaries GiB"])
    assert row["all GiB"] == pytest.approx(
        row["state GiB"] + row["temporaries GiB"] + row["batch GiB"]
    )


def test_exponent_is_recovered_from_the_upper_half():
    sizes = [2**i for i in range(8)]
    exponent, error = scaling.fitted_exponent(sizes, [7.0] * 4 + [s**1.5 for s in sizes[4:]])
    assert exponent == pytest.approx(1.5)
    assert error == pytest.approx(0, abs=1e-9)


def test_error_of_the_exponent_is_that_of_a_regression(rng):
    sizes = np.geomspace(1, 100, 9)
    values = sizes**0.7 * np.exp(rng.normal(0, 0.1, 9))
    exponent, error = scaling.fitted_exponent(sizes, values)
    line = stats.linregress(np.log(sizes[-5:]), np.log(values[-5:]))
    assert exponent == pytest.approx(line.slope)
    assert error == pytest.approx(line.stderr)


def test_scaling(written):
    sizes = "--largest-classes=16", "--largest-queue=8", "--largest-batch=8"
    rows, content = written(scaling, *sizes, "--points=3", "--repeats=1", "--parts", "queue push")
    assert [row["grows"] for row in rows] == ["classes", "queue size", "batch"]
    for row in rows:
        points = content["points"][f"queue push over {row['grows']}"]
        assert [point["size"] for point in points] == [row["to"] // 4, row["to"] // 2, row["to"]]
        assert all(positive(point["seconds"]) for point in points)
        assert row["seconds at the largest"] == points[-1]["seconds"]
        assert math.isfinite(row["exponent of seconds"])
        assert row["±"] >= 0


def test_pushes_in_a_row_fill_a_queue_in_turn():
    point = scaling.queue_push(classes=3, queue_size=5, batch=2)
    cursors = [np.asarray(point.call()[0].cursor) for _ in range(2)]
    # Two views of two images, in the same classes each time.
    assert cursors[0].sum() == 4
    np.testing.assert_array_equal(cursors[1], 2 * cursors[0] % 5)


def test_losses_of_a_point_are_finite_and_counted():
    point = scaling.losses(classes=5, centroids=2, batch=4)
    loss, gradient = point.call()
    assert positive(float(loss))
    assert gradient.shape == (8, scaling.DIM)
    # Each of the two losses forms its own similarities before XLA merges them.
    assert point.flops > 2 * work.loss_work(8, 5, 2, scaling.DIM).macs


def test_refresh_of_a_point_finds_every_centroid():
    centroids, valid = scaling.refresh(classes=2, queue_size=8, centroids=3).call()
    assert centroids.shape == (2, 3, scaling.DIM)
    assert bool(valid.all())


def test_step_costs_more_with_its_width():
    options = tiny_options("--method=cross_entropy")
    narrow, wide = (scaling.step(options, batch=2, width=width) for width in (32, 64))
    # Of one convolution, from three colours.
    assert wide.flops / narrow.flops == pytest.approx(2, rel=0.05)
    state, metrics = wide.call()
    assert int(state.step) == 1
    assert math.isfinite(metrics["loss"])
    assert int(wide.call()[0].step) == 2


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--points=2", "take 3 points"), ("--largest-queue=4", "4 cannot be halved to")],
)
def test_too_few_points_for_an_exponent(capsys, flag, message):
    with pytest.raises(SystemExit):
        scaling.main([flag])
    assert message in capsys.readouterr().err


def test_strong_view_of_pillow_cuts_a_square_out():
    white, rng = Image.new("RGB", (32, 32), "white"), random.Random(0)
    for _ in range(60):
        view = np.asarray(pillow_views.strong(white, rng, padding=0))
        assert view.shape == (32, 32, 3)
        assert view.dtype == np.uint8
        # A quarter of the square is inside, wherever its centre is.
        assert (view == 0).all(axis=-1).sum() >= 64
    assert np.asarray(white).min() == 255


def test_contrastive_view_of_pillow_keeps_a_flat_image_flat():
    flat, rng = Image.new("RGB", (16, 16), (200, 80, 120)), random.Random(0)
    views = [np.asarray(pillow_views.sim(flat, rng, blurred=0.5)) for _ in range(40)]
    colors = {tuple(view[0, 0].tolist()) for view in views}
    for view in views:
        assert view.shape == (16, 16, 3)
        assert np.ptp(view.reshape(-1, 3), axis=0).max() <= 1
    assert len(colors) > 20
    assert any(red == green == blue for red, green, blue in colors)


def test_box_lies_within_the_image_and_has_an_allowed_area():
    rng = random.Random(0)
    for _ in range(200):
        left, top, right, bottom = pillow_views.resized_crop_box(rng, 50, 30, scale=(0.2, 0.5))
        assert 0 <= left < right <= 50
        assert 0 <= top < bottom <= 30
        area = (right - left) * (bottom - top) / 1500
        assert 0.18 < area < 0.53
    assert pillow_views.resized_crop_box(rng, 90, 2, scale=(1.0, 1.0)) == (0, 0, 90, 2)


def test_unknown_operation_is_named():
    with pytest.raises(ValueError, match="'swirl'"):
        pillow_views._operate(Image.new("RGB", (4, 4)), "swirl", 3, 1)


def test_runs_together_are_timed_in_every_way(written, monkeypatch):
    seconds = {"one after the other": 3.0, "vmapped": 8.0}
    monkeypatch.setattr(together, "_scanned", lambda options: (None, 7))
    monkeypatch.setattr(together, "vmapped", lambda run, data, runs: None)
    monkeypatch.setattr(together, "in_turn", lambda ways, repeats: {w: seconds[w] for w in ways})
    monkeypatch.setattr(together, "in_processes", lambda options: 2.0 * options.runs)
    rows, saved = written(together, *TINY, "--runs=4")
    assert [row["runs"] for row in rows] == ["one after the other", "vmapped", "a process each"]
    assert [row["seconds an epoch of a run"] for row in rows] == [3.0, 2.0, 2.0]
    assert [row["of one after the other"] for row in rows] == [1.0, 2 / 3, 2 / 3]
    assert (saved["settings"]["runs"], saved["settings"]["steps"]) == (4, 7)


def test_vmapped_runs_take_the_steps_of_the_runs_alone():
    config = recipe.load_config(pathlib.Path(__file__).with_name("tiny_config.py"), "cross_entropy")
    config.batch_size = 4
    run = recipe.assemble(config, classes=4, largest=40, side=8)
    data = together.put_on_device(run.dataset.train, together.replicated(run.mesh))
    losses = together.vmapped(run, data, 2)()["loss"]
    assert losses.shape == (run.steps_per_epoch, 2)
    step = jax.jit(run.train_step)
    for number in range(2):
        state = run.init_state()
        state = state.replace(key=jax.random.split(state.key, 2)[number])
        _, metrics = step(state, data.batch(jnp.asarray(run.order(number)[0])))
        np.testing.assert_allclose(losses[0, number], metrics["loss"], rtol=1e-4)


def test_checkpoints(written):
    rows, content = written(checkpoints, "--megabytes=1", "--repeats=1")
    assert content["settings"] == {"megabytes": 1, "repeats": 1}
    assert [row["part"] for row in rows][2:4] == ["digests of it", "comparing with digests"]
    assert all(positive(row["seconds"]) for row in rows)
