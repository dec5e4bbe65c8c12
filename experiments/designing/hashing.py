"""What tells configs apart: a hash of all that shapes a run."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bccl_jax.workdir.directory import FREE_KEYS

# Keys that came after published results, and their values then: they leave the hashes as they were.
_YOUNGER = {
    "data.background": [255, 255, 255],
    "method.view_set": "strong+sim+sim",
    "method.one_view_counts": False,
    "method.centroid_loss_form": "softmax",
    "method.temperature_start": None,
    "method.temperature_epochs": 0,
    "method.contrastive_ramp_epochs": 0,
    "method.classifier_start": "unit",
    "method.refresh_twice": False,
    "method.queue_max_age": 0,
    "method.kmeans_start": "plus_plus",
    "method.centroids_on_sphere": True,
    "method.projector_start": "kaiming",
    "method.projector_start_scale": 1.0,
}


def hash_of(flat: Mapping[str, Any]) -> str:
    """The hash of a flattened config, but for its seed and `FREE_KEYS`."""
    shaping = {k: v for k, v in flat.items() if k != "seed" and not k.startswith(FREE_KEYS)}
    for key, value in _YOUNGER.items():
        if key in shaping and shaping[key] == value:
            del shaping[key]
    content = json.dumps(shaping, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
