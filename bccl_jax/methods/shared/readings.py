"""The readings of BCCL: what each preset decides, the paper's by its text and its authors' by code.

Where they differ, and what each part is worth, is in `docs/paper_and_code.md`.
"""

from collections.abc import Mapping
from typing import Any

# By name; the first view is classified. Of two both are contrasted, of more all but the first.
VIEW_SETS = {
    "strong+sim+sim": ("strong", "sim", "sim"),
    "strong+sim": ("strong", "sim"),
    "sim+sim": ("sim", "sim"),
    "strong+sim+sim+sim+sim": ("strong", "sim", "sim", "sim", "sim"),
}

_PAPER = {
    "view_set": "strong+sim+sim",
    "class_complement": True,
    "class_average": False,
    "one_view_counts": False,
    "centroid_loss_form": "softmax",
    "classifier": "linear",
    "classifier_scale": 30.0,
    "classifier_start": "unit",
    "projector_start": "kaiming",
    "queue_size": 256,
    "kmeans_start": "plus_plus",
    "centroids_on_sphere": True,
    "warmup_epochs": 20,
    "refresh_epochs": 5,
    "refresh_twice": False,
}

WEIGHTS = ("weight_contrastive", "weight_centroid", "weight_classification")


def _weights(*values):
    return dict(zip(WEIGHTS, values, strict=True))


# What a preset decides where a setting is None. Of the paper's Eq. 9 there are three readings:
# section 4.3 and Figure 5, Eq. 9 as printed, and BCL's CIFAR balance.
PRESETS = {
    "sec43": _PAPER | _weights(1.0, 0.1, 1.0),
    "eq9": _PAPER | _weights(1.0, 1.0, 0.1),
    "bcl": _PAPER | _weights(0.6, 0.6, 2.0),
    "released": _weights(1.0, 0.1, 1.0)
    | {
        "view_set": "strong+sim",
        "class_complement": False,
        "class_average": True,
        "one_view_counts": True,
        "centroid_loss_form": "linear",
        "classifier": "cosine",
        "classifier_scale": 1 / 0.03,
        "classifier_start": "uniform",
        "projector_start": "pytorch",
        "queue_size": 100,
        "kmeans_start": "random",
        "centroids_on_sphere": False,
        "warmup_epochs": 10,
        "refresh_epochs": 10,
        "refresh_twice": True,
    },
}

# What tells the paper from its code in every recipe; the other settings recipes set of their own.
_TELLING = (
    "class_complement",
    "one_view_counts",
    "centroid_loss_form",
    "kmeans_start",
    "centroids_on_sphere",
    "refresh_twice",
    "classifier_start",
    "projector_start",
)


def misnamed(preset: str, settings: Mapping[str, Any]) -> str:
    """The preset that settings are of in all that tells presets apart, where that is another one.

    Args:
      preset: what the settings are called.
      settings: of a method, by name.

    Returns:
      "sec43" for any of the paper's, or "released"; "" where the name may stand, as it may for a
      mixture.
    """
    other = "sec43" if preset == "released" else "released"
    alike = all(settings[key] == PRESETS[other][key] for key in _TELLING)
    return other if alike else ""
