"""What tells configs apart: a hash of all that shapes a run."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from bccl_jax.system.environment import expanded
from bccl_jax.workdir.agreement import FREE_KEYS

# Keys that came after published results, and their values then: they leave the hashes as they were.
_YOUNGER = {
    "label_smoothing": 0.0,
    "data.background": [255, 255, 255],
    "data.sampler": "instance_balanced",
    "augment.mixup_alpha": 0.0,
    "augment.cutmix_alpha": 0.0,
    "augment.mix_probability": 1.0,
    "optimizer.name": "sgd",
    "optimizer.beta1": 0.9,
    "optimizer.beta2": 0.999,
    "optimizer.epsilon": 1e-8,
    "optimizer.clip_norm": 0.0,
    "optimizer.ema": 0.0,
    "optimizer.sam_rho": 0.0,
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
    "method.start_from": "",
}


# What says which pictures a folder of one's own has, beside the folder itself.
_WITHIN = (
    "data.lists",
    "data.train_folder",
    "data.test_folder",
    "data.validation_folder",
    "data.path_column",
    "data.label_column",
    "data.split_column",
)


def place(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Where images lie that nothing else tells from others: pictures of one's own.

    Args:
      flat: a flattened config.

    Returns:
      The keys that say it, the folder by its whole path; {} for a published data set, which is the
      same one wherever it lies.

    Raises:
      ConfigError: nothing says which folder the ~ of `data.dir` is.
    """
    if flat["data.name"] != "folder" and flat["data.check_totals"]:
        return {}
    found = {key: flat[key] for key in _WITHIN}
    return found | {"data.dir": os.path.abspath(expanded(flat["data.dir"]))}


def hash_of(flat: Mapping[str, Any]) -> str:
    """The hash of a flattened config, but for its seed and `FREE_KEYS`.

    Raises:
      ConfigError: nothing says which folder the ~ of `data.dir` is.
    """
    shaping = {k: v for k, v in flat.items() if k != "seed" and not k.startswith(FREE_KEYS)}
    shaping |= place(flat)
    for key, value in _YOUNGER.items():
        if key in shaping and shaping[key] == value:
            del shaping[key]
    content = json.dumps(shaping, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
