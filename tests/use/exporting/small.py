"""Checkpoints of networks whose arrays are drawn, so that nothing is trained or compiled."""

import jax
import numpy as np

from bccl_jax.classifier.image_classifier import create_classifier
from bccl_jax.classifier.reading import Saved
from tests.tiny import tiny_config

COUNTS = np.array([40, 30, 20, 10])
NAMES = ("ant", "bee", "cat", "Döner")


def saved_run(method="cross_entropy", backbone="two_layers", side=8, photographs=False, **changes):
    """The last checkpoint of a run of four classes."""
    config = tiny_config(method)
    config.model.backbone = backbone
    config.update_from_flattened_dict(changes)
    classifier = create_classifier(config, NAMES, COUNTS, (side, side, 3))
    rng = np.random.default_rng(0)
    variables = jax.tree_util.tree_map_with_path(
        lambda path, leaf: drawn(jax.tree_util.keystr(path), leaf, rng),
        classifier.predicting_variables,
    )
    return Saved(classifier, variables, "last", False, photographs, {})


def drawn(name, leaf, rng):
    """Of sizes that leave features neither zero nor huge."""
    if not np.issubdtype(leaf.dtype, np.floating):
        return np.zeros(leaf.shape, leaf.dtype)
    if "kernel" in name:
        # Not around zero, so that classes differ in their norms.
        values = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) / 2)
    elif name.endswith(("['bias']", "['mean']")):
        values = rng.normal(size=leaf.shape) / 4
    else:
        values = rng.uniform(0.5, 1.5, leaf.shape)
    return values.astype(leaf.dtype)
