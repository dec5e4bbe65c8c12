"""Of a method's own state a prediction is given what it reads, and nothing else."""

import jax
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.classifier.image_classifier import create_classifier
from tests.tiny import tiny_config

# Queues, centroids, a momentum copy and the like serve training alone. A curriculum hands its
# method's part of the state on.
READ = {"gcl", "tau_norm", *(name for name in methods.shipped() if name.startswith("cuda"))}


@pytest.mark.usefixtures("_two_layers")
@pytest.mark.parametrize("method", methods.shipped())
def test_predictions_read_the_state_of_few_methods(method):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    counts = np.array([40, 30, 20, 9])
    classifier = create_classifier(config, tuple("abcd"), counts, (8, 8, 3))
    whole, read = classifier.abstract_variables, classifier.predicting_variables
    assert read.params is whole.params
    assert read.method == (whole.method if method in READ else {})
    # As it is called where it predicts.
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), np.uint8)
    offsets = np.zeros(4, np.float32), np.zeros((3, 4), np.float32)
    classes, _, others = jax.eval_shape(classifier.predict, read, images, *offsets)
    assert (classes.shape, others.shape) == ((2,), (2, 3))
