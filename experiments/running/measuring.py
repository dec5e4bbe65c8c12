"""The feature space of a run, measured while it is trained."""

import numpy as np

from bccl_jax.data.long_tail import shot_groups
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.evaluation.feature_space import measure

# Images of a class whose embeddings are measured, and about how often in a run.
MEASURED_PER_CLASS = 50
MEASURED_TIMES = 4


class EmbeddingMeasures:
    """Measures the feature space of the evaluation split a few times in a run, images in memory."""

    def __init__(self):
        self._embeds = None

    def __call__(self, run, state, epoch: int) -> dict:
        """What to add to the epoch's record; nothing where none is due."""
        config, split = run.config, run.dataset.monitored
        every = config.eval.every_epochs
        interval = max(1, round(config.epochs / MEASURED_TIMES / every)) * every
        if split.encoded or (epoch != config.epochs and epoch % interval):
            return {}
        if self._embeds is None:
            spaces = {"backbone": None} | {h: h for h in run.network.heads if h == "projector"}
            self._embeds = {name: make_embed(run.classifier, head) for name, head in spaces.items()}
        split = split.take(_first_of_each_class(split.labels, MEASURED_PER_CLASS))
        groups = shot_groups(run.class_counts, config.eval.many_above, config.eval.few_below)
        found = {}
        for name, embed in self._embeds.items():
            measured = measure(*embed(state, split), len(run.class_counts))
            found[name] = measured.record(groups)
        return {"feature_space": found}


def _first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first `count` images of each class, in file order."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    return np.sort(order[np.arange(len(labels)) - starts < count])
