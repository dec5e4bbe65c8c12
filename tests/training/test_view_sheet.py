"""The picture of the views has the very pixels that the training step hands to the network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from bccl_jax import methods
from bccl_jax.config import get_config
from bccl_jax.config.validation import validate
from bccl_jax.data.feeding.stream import TrainingStream
from bccl_jax.devices.jax_settings import usual
from bccl_jax.errors import BcclError
from bccl_jax.methods.base import Batch
from bccl_jax.models.network import Network
from bccl_jax.training import view_sheet, views_file
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import train_and_evaluate
from tests.tiny import tiny_config as shipped
from tests.training.test_photographs import tiny_folder_config, write_pictures
from tests.training.test_view_inputs import _registered  # noqa: F401

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


# What takes long to compile.
PLAIN = {"augment.strong.policy": "none", "augment.sim.jitter": (0.0, 0.0, 0.0, 0.0)}


def tiny_config(method, **changes):
    config = shipped(method)
    config.model.backbone = "two_layers"
    config.update_from_flattened_dict(PLAIN)
    config.update_from_flattened_dict(changes)
    validate(config)
    return config


class Seen(Exception):
    """What a step hands to the network, which is as far as it goes."""


def handed_over(run, state, batch):
    """The images that the real step, taken after `state`, has the network see, [B, V, H, W, 3]."""
    views, parts = len(run.method.views), run.config.accumulation
    seen, apply = [], Network.apply

    def noted(self, variables, images, **options):
        if parts == 1:
            raise Seen(images)
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), images, ordered=True)
        return apply(self, variables, images, **options)

    @jax.jit
    def step(state, batch):
        try:
            return run.train_step(state, batch)
        except Seen as found:
            return found.args[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "apply", noted)
        images = jax.block_until_ready(step(state, batch))
    jax.effects_barrier()
    if parts > 1:
        # The first pass of each part; every A-th row of the batch is in one.
        firsts = np.array(seen[:: len(seen) // parts])
        images = firsts.swapaxes(0, 1).reshape(-1, *firsts.shape[2:])
    # Image by image.
    return np.asarray(images).reshape(-1, views, *images.shape[1:])


def blank(run):
    """A state before the first step, of a network and a method of zeros."""
    key, shapes = jax.random.key(7), run.abstract_state
    zeros = {
        name: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), getattr(shapes, name))
        for name in ("step", "params", "batch_stats", "opt_state", "method")
    }
    return shapes.replace(key=key, **zeros)


def batch_of(run, step):
    """The batch of a step, read as the pipeline does."""
    stream = TrainingStream(
        run.dataset.train.images,
        run.order,
        run.config.epochs,
        range(run.order.rows),
        first_step=step,
        crops=run.crops,
        size=run.config.augment.size,
    )
    rows = [stream[row] for row in range(run.order.rows)]
    return {name: np.stack([row[name] for row in rows]) for name in ("image", "label")}


def cells(run, state):
    """The pictures of the sheet, [R][C] uint8, each of its own pixels."""
    image, corners, zoom = view_sheet.drawn(run, state)
    side = run.classifier.image_shape[0] * zoom
    return [[image[y : y + side : zoom, x : x + side : zoom] for y, x in row] for row in corners]


def compare(run, state):
    """Checks the sheet's first step against the real one."""
    step = int(state.step)
    chosen = view_sheet.choose(run, step)
    # What is not in the batch is not in the step.
    real = chosen.batch == run.order(step // run.steps_per_epoch)[step % run.steps_per_epoch]
    shown, seen = cells(run, state), handed_over(run, state, batch_of(run, step))
    mean, std = np.array(run.config.augment.mean), np.array(run.config.augment.std)
    compared = 0
    for row, pictures in zip(chosen.rows, shown, strict=True):
        if not real[row * (1 + len(run.method.streams))]:
            continue
        for view in range(len(run.method.views)):
            levels = ((seen[row, view] * std + mean) * 255).clip(0, 255)
            picture = pictures[1 + view * view_sheet.REPEATS]
            np.testing.assert_allclose(picture, levels, atol=0.51)
            compared += 1
    assert compared >= 3 * len(run.method.views)
    return shown, chosen


@pytest.fixture(scope="module", autouse=True)
def _as_in_a_run():
    with usual():
        yield


def test_the_pixels_are_those_of_the_step():
    mixed = {"augment.mixup_alpha": 1.0, "augment.cutmix_alpha": 1.0}
    run = assemble(tiny_config("cross_entropy", **mixed))
    shown, chosen = compare(run, blank(run))
    assert chosen.groups == ("many", "many", "medium", "medium", "few", "few")
    originals = run.dataset.train.images[chosen.batch[chosen.rows]]
    np.testing.assert_array_equal([row[0] for row in shown], originals)
    # Each step draws anew.
    assert len({row[column].tobytes() for row in shown[:1] for column in (1, 2, 3)}) == 3


@pytest.mark.usefixtures("_registered")
def test_views_by_state_are_those_of_the_levels_that_a_run_has_reached():
    # With a second stream, and a batch in two parts.
    run = assemble(tiny_config("on_photographs", accumulation=2))
    state = blank(run)
    levels = jnp.arange(10, 100, 9)
    shown, _ = compare(run, state.replace(method={"levels": levels}))
    # Images are halved, and brighter by the level.
    np.testing.assert_allclose([row[1].min() for row in shown], levels[np.r_[0, 2:6, 8]], atol=1)


@pytest.mark.parametrize("name", ["glmc", "concutmix"])
def test_a_method_that_mixes_images_itself_shows_them_mixed(name, rng):
    config = get_config(name)
    if name == "concutmix":
        config.method.cutmix_probability = 1.0
    method, labels = methods.create(config.method), jnp.zeros(4, int)
    first, other = (
        tuple(jnp.asarray(rng.normal(size=(4, 8, 8, 3)), jnp.float32) for _ in method.views)
        for _ in range(2)
    )
    batch = Batch(first, labels, others=(Batch(other, labels),))

    def apply(params, forward, images):
        raise Seen(np.asarray(images).reshape(4, len(method.views), 8, 8, 3))

    key = jax.random.key(3)
    with pytest.raises(Seen) as found:
        method.loss(apply, {}, batch, {}, key, None)
    views = method.network_views(batch, key)
    np.testing.assert_array_equal(np.stack(views, axis=1), found.value.args[0])
    assert (views[0] != first[0]).any()


def test_of_photographs_too(tmp_path):
    write_pictures(tmp_path / "photos", (30, 12, 4))
    config = tiny_folder_config(tmp_path / "photos", "cross_entropy")
    config.eval.many_above, config.eval.few_below = 20, 5
    run = assemble(config)
    shown, chosen = compare(run, blank(run))
    train = run.dataset.train
    for row, pictures in zip(chosen.rows, shown, strict=True):
        with Image.open(train.images.name(chosen.batch[row])) as picture:
            whole = ImageOps.pad(picture, (8, 8), Image.Resampling.BILINEAR, color="white")
        np.testing.assert_array_equal(pictures[0], np.asarray(whole))


def test_a_class_that_the_batch_lacks_takes_the_place_of_a_last_image():
    run = assemble(tiny_config("cross_entropy"))
    counts = run.class_counts
    labels = run.dataset.train.labels
    without = dataclasses.replace(
        run, order=lambda epoch: np.stack([np.flatnonzero(labels == 0)[:64]] * 5)
    )
    without.order.held_out = np.zeros(0, int)
    without.order.trained = np.arange(len(labels))
    chosen = view_sheet.choose(without, 0)
    found = labels[chosen.batch[chosen.rows]]
    assert found[0] == 0
    assert (np.diff(counts[found]) < 0).all()
    assert chosen.groups == ("many", "many", "medium", "medium", "few", "few")
    assert {*chosen.rows[1:]} == {63, 62, 61, 60, 59}
    assert len({*chosen.rows}) == 6


def test_a_file_before_the_run_is_in_nobodys_way(tmp_path, monkeypatch):
    drawn = [np.full((3, 4, 3), n, np.uint8) for n in (7, 7, 8, 8, 9)]
    steps = []

    def draw(run, state):
        steps.append(int(state.step))
        return drawn.pop(0)

    monkeypatch.setattr(views_file, "view_sheet", draw)
    config = tiny_config("cross_entropy", epochs=2)
    path = views_file.write_views(config, tmp_path / "run")
    assert path == tmp_path / "run" / "views.png"
    assert (np.asarray(Image.open(path)) == 7).all()
    assert [p.name for p in path.parent.iterdir()] == ["views.png"]
    # The same pixels once more are no loss, others would be.
    assert views_file.write_views(config, tmp_path / "run") == path
    with pytest.raises(BcclError, match=r"views.png is there already; .* say --overwrite"):
        views_file.write_views(config, tmp_path / "run")
    assert (np.asarray(Image.open(path)) == 7).all()
    train_and_evaluate(config, tmp_path / "run")
    views_file.write_views(config, tmp_path / "run", overwrite=True)
    assert (np.asarray(Image.open(path)) == 8).all()
    assert steps == [0, 0, 0, 10]
    # Of another config than the run's, if elsewhere.
    config.augment.cutmix_alpha = 1.0
    with pytest.raises(BcclError, match="holds a run of another config"):
        views_file.write_views(config, tmp_path / "run")
    there = views_file.write_views(config, tmp_path / "run", str(tmp_path / "other.png"))
    assert (np.asarray(Image.open(there)) == 9).all()
    assert steps[-1] == 0
    with pytest.raises(BcclError, match=r"does not end in \.png"):
        views_file.write_views(config, tmp_path / "run", str(tmp_path / "other.jpg"))
