"""The search for a method above BCCL: what is tried, one part at a time (`docs/bccl_plus.md`)."""

from .design import Experiment, Row
from .rows import COSINE

# In the order of promise; each row changes BCCL in one thing.
_PARTS = (
    ("class-balanced CutMix", {"method.cutmix_probability": 0.5}),
    ("all views classified", {"method.all_classified": True}),
    ("learned prototypes", {"method.prototypes": True}),
    (
        "classification by centroids",
        {"method.centroid_loss_form": "class", "method.weight_centroid": 1.0},
    ),
    ("four contrasted views", {"method.view_set": "strong+sim+sim+sim+sim"}),
    # A quarter of the run, as in the study of the plateau.
    ("19 epochs of learning-rate warm-up", {"optimizer.warmup_epochs": 19}),
    ("prior factor 0.9", {"method.prior_factor": 0.9}),
    ("RegMixup", {"method.regmixup_weight": 1.0}),
    ("sigmoids", {"method.classification": "sigmoid"}),
    ("cosine classifier, scale 20", COSINE | {"method.classifier_scale": 20.0}),
    (
        "a centroid for 50 images, 10 at most",
        {"method.num_centroids": 10, "method.images_per_centroid": 50},
    ),
    ("SAM, rho 0.05", {"optimizer.sam_rho": 0.05}),
    ("averaged weights, 0.998", {"optimizer.ema": 0.998}),
)
BCCL_PLUS_PARTS = Experiment(
    "Parts of bccl_plus, one at a time",
    rows=(Row("BCCL"), *(Row(name, "bccl_plus", changes) for name, changes in _PARTS)),
    on_validation=True,
)
