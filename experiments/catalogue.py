"""Every experiment by name: the paper's tables and figures, then studies of the project's own.

The figures beside the rows are those that Kim & Ko 2025 print; no run reads them.
"""

from experiments.design import Experiment, Row, at_factors

_SCL = {"method.class_complement": False, "method.centroid_loss": False}


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


# As the code has it that the authors released (docs/paper_and_code.md); the paper has no such row.
_RELEASED = Row("BCCL, released code", "bccl,released")

_COSINE = {"method.classifier": "cosine"}

_WIDE = {"model.backbone": "resnet32x4"}

TABLE1 = Experiment(
    "Table 1: CIFAR-100-LT and CIFAR-10-LT",
    rows=(
        Row("BCCL", paper=_cifar((52.55, 56.89, 65.3), (85.22, 88.07, 91.92))),
        _RELEASED,
        Row("Cross-entropy", "cross_entropy"),
        Row(
            "Logit adjustment",
            "logit_adjustment",
            paper=_cifar((50.5, 54.9, 64.0), (84.3, 87.1, 90.9)),
        ),
        Row("KCL", None, paper=_cifar((42.8, 46.3, 57.6), (77.6, 81.7, 88.0))),
        Row("TSC", None, paper=_cifar((43.8, 47.4, 59.0), (79.7, 82.9, 88.7))),
        Row("BCL", None, paper=_cifar((51.93, 56.69, 64.87), (84.32, 87.24, 91.12))),
        Row("SBCL", None, paper=_cifar((44.9, 48.7, 57.9))),
        Row("CUDA", None, paper=_cifar((52.3, 56.2, 64.6))),
        Row("GLMC", None, paper=_cifar((43.55, 52.69, 62.27), (84.47, 86.53, 90.92))),
        Row("GLMC, 4x wide", None, paper=_cifar((55.88, 61.08, 70.74), (87.75, 90.18, 94.04))),
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
        _RELEASED,
        Row("Logit adjustment", "logit_adjustment", paper=_shots(67.2, 51.9, 29.5, 50.5)),
        Row("KCL", None, paper=_shots(63.4, 42.5, 19.2, 42.8)),
        Row("DRO-LT", None, paper=_shots(64.7, 50.0, 23.8, 47.3)),
        Row("BCL", None, paper=_shots(67.2, 53.1, 32.9, 51.93)),
        Row("SBCL", None, paper=_shots(64.4, 45.3, 22.2, 44.9)),
    ),
)

TABLE3 = Experiment(
    "Table 3: ImageNet-LT and iNaturalist 2018, ResNet-50",
    rows=(
        Row("BCCL", paper=_photographs(57.1, 72.3)),
        _RELEASED,
        Row(
            "SCL",
            changes=_SCL | {"method.logit_compensation": False},
            paper=_photographs(49.8, 66.4),
        ),
        Row("MetaSAug", None, paper=_photographs(47.4, 65.6)),
        Row("LWS", None, paper=_photographs(49.9, 65.9)),
        Row("KCL", None, paper=_photographs(51.5, 68.6)),
        Row("DisAlign", None, paper=_photographs(52.9, 69.5)),
        Row("SBCL", None, paper=_photographs(53.4, 70.8)),
        Row("GCL", None, paper=_photographs(54.9, 72.0)),
        Row("BCL", None, paper=_photographs(56.0, 71.8)),
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
        _RELEASED,
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


def _sweep(title, key, values, default, axis, paper=None, **options):
    """An experiment that varies one setting; the row of its default, BCCL, comes first."""
    others = [value for value in values if value != default]
    rows = [Row("BCCL", value=default, paper=_cifar_at_100((paper or {}).get(default)))]
    for value in others:
        printed = _cifar_at_100((paper or {}).get(value))
        rows.append(Row(f"{axis} {value}", changes={key: value}, value=value, paper=printed))
    return Experiment(title, tuple(rows), axis=axis, **options)


def _cifar_at_100(figure):
    return {} if figure is None else at_factors("cifar100", (figure,), (100.0,))


FIGURE3 = _sweep(
    "Figure 3: number of centroids",
    "method.num_centroids",
    (1, 3, 5, 7, 9),
    default=5,
    axis="centroids of a class",
    paper={5: 52.55},
)
FIGURE4 = _sweep(
    "Figure 4: clustering method",
    "method.clustering",
    ("kmeans", "mean_shift", "affinity_propagation"),
    default="kmeans",
    axis="clustering",
    paper={"kmeans": 52.55, "mean_shift": 52.0, "affinity_propagation": 52.2},
)
FIGURE5 = _sweep(
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
        _RELEASED,
        Row("BCCL, cosine classifier", changes=_COSINE),
        _NO_CENTROID_LOSS,
        Row("Logit adjustment", "logit_adjustment", paper=_cifar((50.5, 54.9, 64.0))),
        Row("Logit adjustment, cosine classifier", "logit_adjustment", changes=_COSINE),
        Row("BCCL, bfloat16", changes={"dtype": "bfloat16"}),
        _NO_LOGIT_COMPENSATION,
    ),
    imbalances=(100.0, 50.0, 10.0),
)

# Studies that choose settings: on a validation part of the training split.
WEIGHTS = _sweep(
    "The readings of Eq. 9",
    "method.preset",
    ("sec43", "eq9", "bcl"),
    default="sec43",
    axis="preset",
    on_validation=True,
)
QUEUE_SIZE = _sweep(
    "Size of a class's queue",
    "method.queue_size",
    (16, 64, 256, 1024),
    default=256,
    axis="queue size",
    on_validation=True,
)
CLASS_AVERAGE = _sweep(
    "Denominators averaged within each class",
    "method.class_average",
    (False, True),
    default=False,
    axis="class average",
    on_validation=True,
)
REFRESH_INTERVAL = _sweep(
    "Epochs between two clusterings",
    "method.refresh_epochs",
    (1, 2, 5, 10),
    default=5,
    axis="refresh epochs",
    on_validation=True,
)
TEMPERATURE = _sweep(
    "Temperature",
    "method.temperature",
    (0.05, 0.07, 0.1, 0.2),
    default=0.1,
    axis="temperature",
    on_validation=True,
)
VIEWS = Experiment(
    "Views of the contrastive branch",
    rows=(
        Row("BCCL"),
        Row("crops of at least 0.2", changes={"augment.sim.scale": (0.2, 1.0)}),
        Row("crops of at least 0.5", changes={"augment.sim.scale": (0.5, 1.0)}),
        Row("with blur", changes={"augment.sim.blur_prob": 0.5}),
        Row("no colour jitter", changes={"augment.sim.jitter_prob": 0.0}),
    ),
    on_validation=True,
)

# From the paper's reading to its authors' code on CIFAR: every row has what the rows above it have.
_STEPS = (
    (
        "cosine classifier",
        {
            "method.classifier": "cosine",
            "method.classifier_scale": 1 / 0.03,
            "method.classifier_start": "uniform",
        },
    ),
    ("two views", {"method.view_set": "strong+sim"}),
    ("no class complement", {"method.class_complement": False}),
    ("class average", {"method.class_average": True}),
    ("counts of one view", {"method.one_view_counts": True}),
    ("linear centroid loss", {"method.centroid_loss_form": "linear"}),
    (
        "their queue and k-means",
        {
            "method.queue_size": 100,
            "method.kmeans_start": "random",
            "method.centroids_on_sphere": False,
            "method.refresh_epochs": 10,
            "method.refresh_twice": True,
        },
    ),
    (
        "their projector's start",
        {"method.projector_start": "pytorch", "method.preset": "released"},
    ),
)


def _path():
    changes, rows = {}, []
    for name, step in _STEPS:
        changes = changes | step
        rows.append(Row(f"+ {name}", changes=changes))
    return rows


READINGS = Experiment(
    "The paper's readings, its authors' code, and the way from one to the other",
    rows=(
        Row("BCCL"),
        Row("released", "bccl,released"),
        Row("eq9", changes={"method.preset": "eq9"}),
        Row("bcl", changes={"method.preset": "bcl"}),
        # After the last of these only the warm-ups and the schedule of `released` are left.
        *_path(),
        Row("released, no centroid loss", "bccl,released", changes={"method.centroid_loss": False}),
    ),
    on_validation=True,
)
# By what is known of these a reduced size is judged: does it keep their order?
ORDERS = Experiment(
    "Known orders",
    rows=(
        Row("BCCL"),
        Row("cross-entropy", "cross_entropy"),
        Row("logit adjustment", "logit_adjustment"),
        Row("released", "bccl,released"),
    ),
    on_validation=True,
)
CLASSIFIER = Experiment(
    "The classifier: linear or cosine, and its scale",
    rows=(
        Row("BCCL"),
        Row("cosine, scale 30", changes=_COSINE),
        Row("logit adjustment", "logit_adjustment"),
        Row("logit adjustment, cosine, scale 30", "logit_adjustment", changes=_COSINE),
        Row("released", "bccl,released"),
        Row("released, linear", "bccl,released", changes={"method.classifier": "linear"}),
        Row(
            "cosine, scale 33.3, uniform start",
            changes=_COSINE
            | {"method.classifier_scale": 1 / 0.03, "method.classifier_start": "uniform"},
        ),
        Row("cosine, scale 20", changes=_COSINE | {"method.classifier_scale": 20.0}),
        Row("cosine, scale 10", changes=_COSINE | {"method.classifier_scale": 10.0}),
    ),
    on_validation=True,
)
PLATEAU = Experiment(
    "What shortens the plateau at the start of the contrastive loss",
    rows=(
        Row("BCCL"),
        # More of an anchor's candidates are its positives.
        Row("four contrasted views", changes={"method.view_set": "strong+sim+sim+sim+sim"}),
        Row("10 epochs of learning-rate warm-up", changes={"optimizer.warmup_epochs": 10}),
        Row(
            "temperature from 0.2",
            changes={"method.temperature_start": 0.2, "method.temperature_epochs": 10},
        ),
        Row(
            "temperature from 0.5",
            changes={"method.temperature_start": 0.5, "method.temperature_epochs": 10},
        ),
        Row("contrastive weight over 5 epochs", changes={"method.contrastive_ramp_epochs": 5}),
        Row("projector's end x 0.1", changes={"method.projector_start_scale": 0.1}),
        Row("projector's end x 10", changes={"method.projector_start_scale": 10.0}),
        Row("class average", changes={"method.class_average": True}),
        Row("cosine classifier", changes=_COSINE),
    ),
    on_validation=True,
)
QUEUE_AGE = _sweep(
    "How many of the last epochs' embeddings are clustered (0: all in the queue)",
    "method.queue_max_age",
    (0, 1, 5),
    default=0,
    axis="last epochs clustered",
    on_validation=True,
)

# What might be better than the paper's own; one that is becomes a preset of its own.
VARIANTS = Experiment(
    "Variants in search of a better one",
    rows=(
        Row("BCCL"),
        Row("class average", changes={"method.class_average": True}),
        Row(
            "class average, bcl weights",
            changes={"method.class_average": True, "method.preset": "bcl"},
        ),
        Row("contrastive 0.5", changes={"method.weight_contrastive": 0.5}),
        Row("contrastive 2", changes={"method.weight_contrastive": 2.0}),
        Row("cosine classifier", changes={"method.classifier": "cosine"}),
        Row("centroids every epoch", changes={"method.refresh_epochs": 1}),
    ),
    on_validation=True,
)

EXPERIMENTS = {
    "figure1": FIGURE1,
    "table1": TABLE1,
    "table2": TABLE2,
    "table3": TABLE3,
    "table4": TABLE4,
    "full_size": FULL_SIZE,
    "figure3": FIGURE3,
    "figure4": FIGURE4,
    "figure5": FIGURE5,
    "weights": WEIGHTS,
    "queue_size": QUEUE_SIZE,
    "class_average": CLASS_AVERAGE,
    "refresh_interval": REFRESH_INTERVAL,
    "temperature": TEMPERATURE,
    "views": VIEWS,
    "variants": VARIANTS,
    "orders": ORDERS,
    "readings": READINGS,
    "classifier": CLASSIFIER,
    "plateau": PLATEAU,
    "queue_age": QUEUE_AGE,
}
