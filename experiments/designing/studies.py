"""Studies that choose settings, on a validation part of the training split."""

from .design import Experiment, Row
from .rows import COSINE, sweep

# Studies that choose settings: on a validation part of the training split.
WEIGHTS = sweep(
    "The readings of Eq. 9",
    "method.preset",
    ("sec43", "eq9", "bcl"),
    default="sec43",
    axis="preset",
    on_validation=True,
)
QUEUE_SIZE = sweep(
    "Size of a class's queue",
    "method.queue_size",
    (16, 64, 256, 1024),
    default=256,
    axis="queue size",
    on_validation=True,
)
CLASS_AVERAGE = sweep(
    "Denominators averaged within each class",
    "method.class_average",
    (False, True),
    default=False,
    axis="class average",
    on_validation=True,
)
REFRESH_INTERVAL = sweep(
    "Epochs between two clusterings",
    "method.refresh_epochs",
    (1, 2, 5, 10),
    default=5,
    axis="refresh epochs",
    on_validation=True,
)
TEMPERATURE = sweep(
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
        Row("cosine, scale 30", changes=COSINE),
        Row("logit adjustment", "logit_adjustment"),
        Row("logit adjustment, cosine, scale 30", "logit_adjustment", changes=COSINE),
        Row("released", "bccl,released"),
        Row("released, linear", "bccl,released", changes={"method.classifier": "linear"}),
        Row(
            "cosine, scale 33.3, uniform start",
            changes=COSINE
            | {"method.classifier_scale": 1 / 0.03, "method.classifier_start": "uniform"},
        ),
        Row("cosine, scale 20", changes=COSINE | {"method.classifier_scale": 20.0}),
        Row("cosine, scale 10", changes=COSINE | {"method.classifier_scale": 10.0}),
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
        Row("cosine classifier", changes=COSINE),
    ),
    on_validation=True,
)
QUEUE_AGE = sweep(
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
