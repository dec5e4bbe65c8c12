"""A picture of the views: images of some classes beside what the next steps make of them.

The images lie in one batch, that of the next step as the run has it; of a shot group that this
batch lacks, images take the place of its last ones. The next steps' keys draw the views of that
batch, by the functions that the training step is made of.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image, ImageOps

from bccl_jax.data.feeding.pipeline import read_batches
from bccl_jax.data.feeding.stream import TrainingStream
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.data.order import Order
from bccl_jax.data.photographs.decode import BrokenImageError, decode
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.reporting.lettering import label
from bccl_jax.reporting.picture_grid import Grid, picture_grid
from bccl_jax.system.progress import under_way
from bccl_jax.training.assemble import Run
from bccl_jax.training.drawing import make_draw, make_network_views
from bccl_jax.training.softening import make_soften
from bccl_jax.training.state import TrainState

# Images, as many of each shot group that there is, and views of each kind.
IMAGES, REPEATS = 6, 3
_GREY = 128


class Chosen(NamedTuple):
    """Images to be shown.

    Attributes:
      batch: int32 [B (1 + S)], the images of the batch that they lie in.
      rows: int [n], their places among the B of its first stream, by falling size of class.
      groups: the shot group of each.
    """

    batch: np.ndarray
    rows: np.ndarray
    groups: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _OneBatch(Order):
    """An order that has the same batch at every step."""

    batch: np.ndarray | None = None

    def __call__(self, epoch: int) -> np.ndarray:
        return np.broadcast_to(self.batch, (self.steps, len(self.batch)))


def choose(run: Run, step: int) -> Chosen:
    """Chooses images of classes of each shot group, its largest and its smallest where it can.

    Args:
      run: the run.
      step: steps done.

    Returns:
      The images, of many-shot classes first.
    """
    epoch, within = divmod(step, run.steps_per_epoch)
    batch = run.order(epoch)[within].copy()
    first = batch[:: 1 + len(run.method.streams)]  # a view, so that what is put in is in `batch`
    labels, settings = run.dataset.train.labels, run.config.eval
    counts = run.class_counts
    trained = np.asarray(run.order.trained)
    rows, groups = [], []
    there = np.unique(labels[trained])
    by_group = {
        name: there[group[there]]
        for name, group in shot_groups(counts, settings.many_above, settings.few_below).items()
    }
    most = IMAGES // sum(len(classes) > 0 for classes in by_group.values())
    for name, classes in by_group.items():
        in_batch = classes[np.isin(classes, labels[first])]
        wanted = [*_ends(in_batch, counts), *_ends(np.setdiff1d(classes, in_batch), counts)]
        wanted = sorted(wanted[: min(most, len(first) - len(rows))], key=lambda k: -counts[k])
        for k in wanted:
            found = np.flatnonzero(labels[first] == k)
            if len(found):
                row = int(found[0])
            else:
                row = max(set(range(len(first))) - set(rows))
                first[row] = trained[labels[trained] == k][0]
            rows.append(row)
            groups.append(name)
    return Chosen(batch, np.array(rows, int), tuple(groups))


def _ends(classes: np.ndarray, counts: np.ndarray) -> list[int]:
    """The largest and the smallest of some classes, then the others."""
    by_size = sorted(classes.tolist(), key=lambda k: (-counts[k], k))
    return [*by_size[:1], *by_size[:0:-1]]


def views_of_steps(
    run: Run, state: TrainState, chosen: Chosen, steps: range
) -> list[list[np.ndarray]]:
    """What steps make of the chosen images.

    Args:
      run: the run.
      state: of it.
      chosen: the images.
      steps: done before each.

    Returns:
      For each step V views of the n images, uint8 [n, S, S, 3], as they are before they are
      normalised.
    """
    config, train = run.config, run.dataset.train
    order = _OneBatch(
        **{field.name: getattr(run.order, field.name) for field in dataclasses.fields(Order)},
        batch=chosen.batch,
    )
    stream = TrainingStream(
        train.images,
        order,
        # A complete run has steps after its last one.
        epochs=config.epochs + len(steps),
        rows=range(len(chosen.batch)),
        first_step=steps.start,
        crops=run.crops,
        size=config.augment.size,
        decoding=Decoding.of(config),
    )
    soften = make_soften(config, run.dataset.num_classes)
    draw = make_draw(run.method, run.augment, soften)
    compute = jax.jit(make_network_views(run.method, draw, config.accumulation))
    batches = read_batches(stream, len(chosen.batch), 0, config.data.threads)
    found = []
    try:
        with under_way("drawing views", len(steps), unit="step", delay=5.0) as task:
            for step in steps:
                read = next(batches)
                batch = {name: read[name] for name in ("image", "label", "index")}
                views = compute(state, np.int32(step), batch)
                found.append([_levels(np.asarray(view)[chosen.rows], config) for view in views])
                task.advance()
    finally:
        batches.close()
    return found


def _levels(views: np.ndarray, config) -> np.ndarray:
    """Normalised views as uint8."""
    mean, std = np.float32(config.augment.mean), np.float32(config.augment.std)
    return np.clip(np.rint((views.astype(np.float32) * std + mean) * 255), 0, 255).astype(np.uint8)


def view_sheet(run: Run, state: TrainState) -> np.ndarray:
    """Draws the picture.

    Args:
      run: the run.
      state: of it, which knows the next step.

    Returns:
      uint8 [H, W, 3]: a row for each image, its class's name, shot group and number of training
      images beside it; the image as it is, and of each view what the next steps make of it.
    """
    return drawn(run, state).drawing


def drawn(run: Run, state: TrainState) -> Grid:
    """The picture, and where in it views lie."""
    done, train = int(state.step), run.dataset.train
    chosen = choose(run, done)
    steps = range(done, done + REPEATS)
    views = views_of_steps(run, state, chosen, steps)
    indices = chosen.batch[:: 1 + len(run.method.streams)][chosen.rows]
    labels = train.labels[indices]
    kinds = range(len(run.method.views))
    titles = ["original"]
    titles += [f"{name}\nstep {step + 1:,}" for name in _told(run.method.views) for step in steps]
    names = [
        (label(train.class_names[k]), f"{group}-shot class", f"{run.class_counts[k]:,} images")
        for k, group in zip(labels, chosen.groups, strict=True)
    ]
    rows = [
        [_original(run, index), *(one[v][n] for v in kinds for one in views)]
        for n, index in enumerate(indices)
    ]
    title = f"{run.config.method.name} on {run.config.data.name}: images of {len(rows)} classes, "
    title += f"and their views in the next {REPEATS} steps"
    return picture_grid(rows, title, titles, names)


def _told(views: Sequence[str]) -> list[str]:
    """Names of views, numbered where several have one."""
    return [
        f"{name} {views[: i + 1].count(name)}" if views.count(name) > 1 else name
        for i, name in enumerate(views)
    ]


def _original(run: Run, index: int) -> np.ndarray:
    """An image in memory as it is; the whole of a photograph on a square; grey of a broken one."""
    train, size = run.dataset.train, run.config.augment.size
    if not train.encoded:
        return train.images[index]
    try:
        image = decode(train.images[index], Decoding.of(run.config))
    except (BrokenImageError, OSError):
        return np.full((size, size, 3), _GREY, np.uint8)
    return np.array(ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR, color="white"))
