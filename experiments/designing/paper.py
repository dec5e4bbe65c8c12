"""The tables and figures of Kim & Ko 2025, with the figures that it prints; no run reads them."""

from .design import Experiment, Row
from .rows import COSINE, RELEASED, at_factors, sweep

_SCL = {"method.class_complement": False, "method.centroid_loss": False}
_WIDE = {"model.backbone": "resnet32x4"}


def _cifar(hundred=(), ten=()):
    """Printed figures on CIFAR-100-LT and CIFAR-10-LT at 100, 50 and 10."""
    found = at_factors("cifar100", hundred) if hundred else {}
    return found | (at_factors("cifar10", ten) if ten else {})


def _shots(many, medium, few, every):
    return {("cifar100", 100.0): {"all": every, "many": many, "medium": medium, "few": few}}


def _photographs(imagenet, inaturalist):
    return {
        ("imagenet_lt", 0.0): {"all": imagenet},
        ("inaturalist2018", 0.0): {"all": inaturalist},
    }


TABLE1 = Experiment(
    "Table 1: CIFAR-100-LT and CIFAR-10-LT",
    rows=(
        Row("BCCL", paper=_cifar((52.55, 56.89, 65.3), (85.22, 88.07, 91.92))),
        RELEASED,
        Row("Cross-entropy", "cross_entropy"),
        Row(
            "Logit adjustment",
            "logit_adjustment",
            paper=_cifar((50.5, 54.9, 64.0), (84.3, 87.1, 90.9)),
        ),
        Row("KCL", "kcl", paper=_cifar((42.8, 46.3, 57.6), (77.6, 81.7, 88.0))),
        Row("TSC", "tsc", paper=_cifar((43.8, 47.4, 59.0), (79.7, 82.9, 88.7))),
        Row("BCL", "bcl", paper=_cifar((51.93, 56.69, 64.87), (84.32, 87.24, 91.12))),
        Row("SBCL", "sbcl", paper=_cifar((44.9, 48.7, 57.9))),
        Row("CUDA", "cuda_bcl", paper=_cifar((52.3, 56.2, 64.6))),
        Row("GLMC", "glmc", paper=_cifar((43.55, 52.69, 62.27), (84.47, 86.53, 90.92))),
        Row(
            "GLMC, 4x wide",
            "glmc",
            changes=_WIDE,
            paper=_cifar((55.88, 61.08, 70.74), (87.75, 90.18, 94.04)),
        ),
        Row(
            "BCCL, 4x wide",
            changes=_WIDE,
            paper=_cifar((57.36, 62.66, 73.01), (87.84, 90.48, 94.94)),
        ),
    ),
    datasets=("cifar100", "cifar10"),
    imbalances=(100.0, 50.0, 10.0),
)
TABLE2 = Experiment(
    "Table 2: shot groups on CIFAR-100-LT",
    rows=(
        Row("BCCL", paper=_shots(68.1, 53.9, 34.5, 52.55)),
        RELEASED,
        Row("Logit adjustment", "logit_adjustment", paper=_shots(67.2, 51.9, 29.5, 50.5)),
        Row("KCL", "kcl", paper=_shots(63.4, 42.5, 19.2, 42.8)),
        Row("DRO-LT", "dro_lt", paper=_shots(64.7, 50.0, 23.8, 47.3)),
        Row("BCL", "bcl", paper=_shots(67.2, 53.1, 32.9, 51.93)),
        Row("SBCL", "sbcl", paper=_shots(64.4, 45.3, 22.2, 44.9)),
    ),
)
TABLE3 = Experiment(
    "Table 3: ImageNet-LT and iNaturalist 2018, ResNet-50",
    rows=(
        Row("BCCL", paper=_photographs(57.1, 72.3)),
        RELEASED,
        Row("SCL", "scl", paper=_photographs(49.8, 66.4)),
        Row("MetaSAug", "meta_saug", paper=_photographs(47.4, 65.6)),
        Row("LWS", "lws", paper=_photographs(49.9, 65.9)),
        Row("KCL", "kcl", paper=_photographs(51.5, 68.6)),
        Row("DisAlign", "disalign", paper=_photographs(52.9, 69.5)),
        Row("SBCL", "sbcl", paper=_photographs(53.4, 70.8)),
        Row("GCL", "gcl", paper=_photographs(54.9, 72.0)),
        Row("GCL, first stage", "gcl", changes={"method.refit_epochs": 0}),
        Row("BCL", "bcl", paper=_photographs(56.0, 71.8)),
    ),
    datasets=("imagenet_lt", "inaturalist2018"),
    imbalances=(),
)
_NO_LOGIT_COMPENSATION = Row(
    "L_SCL + L_CL",
    changes={"method.logit_compensation": False},
    paper=_cifar((50.57, 54.83, 64.46)),
)
_NO_CENTROID_LOSS = Row(
    "L_SCL + L_LC",
    changes={"method.centroid_loss": False},
    paper=_cifar((50.44, 55.31, 63.87)),
)
TABLE4 = Experiment(
    "Table 4: which loss terms matter",
    rows=(
        Row("BCCL", paper=_cifar((52.55, 56.89, 65.3))),
        RELEASED,
        Row(
            "L_SCL",
            changes={"method.centroid_loss": False, "method.logit_compensation": False},
            paper=_cifar((48.37, 52.18, 59.21)),
        ),
        _NO_LOGIT_COMPENSATION,
        _NO_CENTROID_LOSS,
    ),
    imbalances=(100.0, 50.0, 10.0),
)
FIGURE3 = sweep(
    "Figure 3: number of centroids",
    "method.num_centroids",
    (1, 3, 5, 7, 9),
    default=5,
    axis="centroids of a class",
    paper={5: 52.55},
)
FIGURE4 = sweep(
    "Figure 4: clustering method",
    "method.clustering",
    ("kmeans", "mean_shift", "affinity_propagation"),
    default="kmeans",
    axis="clustering",
    paper={"kmeans": 52.55, "mean_shift": 52.0, "affinity_propagation": 52.2},
)
FIGURE5 = sweep(
    "Figure 5: weight of the centroid loss",
    "method.weight_centroid",
    (0.1, 0.3, 0.5, 1.0),
    default=0.1,
    axis="gamma",
    paper={0.1: 52.55},
)
_PLAIN_SCL = _SCL | {"method.logit_compensation": False}
_TWO = {"method.projector_dim": 2}
FIGURE1 = Experiment(
    "Figure 1: the feature space, and an embedding of two dimensions to look at",
    rows=(
        Row("BCCL"),
        Row("SCL", changes=_PLAIN_SCL),
        Row("BCCL, 2-D", changes=_TWO),
        Row("SCL, 2-D", changes=_PLAIN_SCL | _TWO),
    ),
)
FULL_SIZE = Experiment(
    "Rows at full size, the most informative first",
    rows=(
        Row("BCCL", paper=_cifar((52.55, 56.89, 65.3))),
        RELEASED,
        Row("BCCL, cosine classifier", changes=COSINE),
        _NO_CENTROID_LOSS,
        Row("Logit adjustment", "logit_adjustment", paper=_cifar((50.5, 54.9, 64.0))),
        Row("Logit adjustment, cosine classifier", "logit_adjustment", changes=COSINE),
        Row("BCCL, bfloat16", changes={"dtype": "bfloat16"}),
        _NO_LOGIT_COMPENSATION,
    ),
    imbalances=(100.0, 50.0, 10.0),
)

# What papers print of their own methods with 200 epochs, by backbone and row of `all_methods`, as
# `Row.paper` has what Kim & Ko 2025 do. GLMC's is its authors' correction of 55.88 / 61.08 / 70.74.
OWN_PAPERS = {
    "resnet32": {
        "proco": _cifar((52.8, 57.1, 65.5), (85.9, 88.2, 91.9)),
        "concutmix": _cifar((53.16, 57.40, 64.53), (86.07, 88.00, 91.42)),
        "mislas": _cifar((47.0, 52.3, 63.2), (82.5, 85.7, 90.0)),
    },
    "resnet32x4": {"glmc": _cifar((57.97, 63.78, 73.40))},
}
