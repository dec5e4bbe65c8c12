"""Whether a config is that of a run: which keys may differ, and which do."""

import json

import ml_collections

from bccl_jax.config import flatten, get_config
from bccl_jax.config.places import same

# What does not shape a run: where its data lies, who reads it, how it is shared and kept.
FREE_KEYS = (
    "data.dir",
    "data.lists",
    "data.train_folder",
    "data.test_folder",
    "data.validation_folder",
    "data.path_column",
    "data.label_column",
    "data.split_column",
    "data.threads",
    "data.workers",
    "data.max_broken",
    "data.max_pixels",
    "devices",
    "checkpoint.",
    "imports",
    "trackers",
    "track_views",
)
# What may differ too when a checkpoint is only evaluated.
EVALUATION_KEYS = (
    "eval.",
    "data.resident",
    "augment.eval_resize",
    "model.pretrained",
    "method.start_from",
)
# A run that may have moved: its weights say whether it is the same one.
_MOVABLE = "method.start_from"


def differences(
    config: ml_collections.ConfigDict, saved: dict, evaluating: bool, recorded: dict
) -> dict[str, str]:
    """The keys in which a config is not that of a run.

    Args:
      config: what is asked for.
      saved: the flattened config of the run; a key that is younger than the run has its default.
      evaluating: whether the run is only evaluated, so that more keys may differ.
      recorded: the places that paths of the run led to.

    Returns:
      A clause, by key, for each that may not differ and does.
    """
    saved = flatten(get_config(config.method.name)) | saved
    free = FREE_KEYS + EVALUATION_KEYS if evaluating else FREE_KEYS
    if config.model.batch_norm == "device" and not evaluating:
        free = tuple(key for key in free if key != "devices")
    asked = json.loads(json.dumps(flatten(config)))
    if saved.get(_MOVABLE) and asked.get(_MOVABLE):
        free = (*free, _MOVABLE)
    return {
        key: f"{key} is {saved.get(key)!r} there and {asked.get(key)!r} here"
        for key in sorted(saved.keys() | asked.keys())
        if saved.get(key) != asked.get(key)
        and not key.startswith(free)
        and not same(key, asked.get(key), recorded)
    }
