"""The embeddings of a run: one column of the picture."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from bccl_jax.config import flatten
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.training.assemble import Run
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.agreement import FREE_KEYS


class Embedded(NamedTuple):
    """One column of the picture.

    Attributes:
      title: above it.
      features: float64 [N, D], unit vectors.
      labels: int [N].
      class_counts: int [K], training images of each class.
      class_names: K names.
      groups: bool [K] of "many", "medium" and "few".
    """

    title: str
    features: np.ndarray
    labels: np.ndarray
    class_counts: np.ndarray
    class_names: tuple[str, ...]
    groups: dict[str, np.ndarray]

    @property
    def on_circle(self) -> bool:
        """Whether the embeddings have two dimensions."""
        return self.features.shape[1] == 2

    @property
    def means(self) -> np.ndarray:
        """Of the classes, float64 [K, D]; the shorter, the wider a class is spread."""
        sums = np.zeros((len(self.class_counts), self.features.shape[1]))
        np.add.at(sums, self.labels, self.features)
        return sums / np.bincount(self.labels, minlength=len(sums)).clip(1)[:, None]


def embedded(run: Run, state: TrainState, title: str, head: str | None) -> Embedded:
    """Embeds the evaluation split of a run.

    Args:
      run: the run.
      state: of its network.
      title: of its column.
      head: as `make_embed` takes it.

    Returns:
      Its column.

    Raises:
      BcclError: as `make_embed`.
    """
    with jax.set_mesh(run.mesh):
        features, labels = make_embed(run.classifier, head)(state, run.dataset.test)
    features = features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    settings = run.config.eval
    return Embedded(
        title,
        features / np.where(lengths > 0, lengths, 1.0),
        labels,
        run.class_counts,
        run.dataset.train.class_names,
        shot_groups(run.class_counts, settings.many_above, settings.few_below),
    )


def default_titles(configs: Sequence[ml_collections.ConfigDict]) -> list[str]:
    """Names runs by their methods and, line by line, by what else is not the same in all of them.

    A setting that only some of the methods have tells nothing that the method's name does not.
    """
    flats = [flatten(config) for config in configs]
    common = set.intersection(*(set(flat) for flat in flats))
    alike = ("method.name", "eval.", *FREE_KEYS)
    differing = [
        key
        for key in sorted(common)
        if not key.startswith(alike) and any(flat[key] != flats[0][key] for flat in flats)
    ]
    lines = [[f"{key.split('.')[-1]}: {flat[key]}" for key in differing] for flat in flats]
    return ["\n".join([flat["method.name"], *own]) for flat, own in zip(flats, lines, strict=True)]
