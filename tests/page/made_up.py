"""Runs that nobody trained, of any number of classes, for what a report makes of them."""

import numpy as np

from bccl_jax.config import flatten
from bccl_jax.data.long_tail import class_counts, shot_groups
from bccl_jax.data.split import Split
from bccl_jax.evaluation import metrics
from bccl_jax.evaluation.detailed import Details
from bccl_jax.evaluation.evaluate import Evaluation, Judged
from bccl_jax.page.looking import Embedded, Looked, Neighbour, Queues, Shown
from bccl_jax.page.recipe import Changes
from bccl_jax.page.told import Told
from tests.tiny import tiny_config

# What a browser, a chart or a table might take for more than a name.
HOSTILE = (
    "<script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "\"quotes\" & 'apostrophes' </figure>",
    "خروف",
    "emoji 🦊",
    "<b>bold</b> %{x} $x$ &amp;",
    "a\nline\u2028end\udcff",
    "</script><!--",
)


def evaluation(labels, predictions, confidences, names, counts):
    """The figures of made-up predictions."""
    bounds = {"many_above": 100, "few_below": 20}
    totals = metrics.class_totals(predictions, labels, len(names))
    per_class = metrics.per_class_accuracy(totals)
    reliability = metrics.reliability(confidences, predictions == labels)
    right = predictions == labels
    of_true = np.where(right, confidences, (1 - confidences) / 2)
    return Evaluation(
        shots=metrics.shot_accuracy(predictions, labels, counts, **bounds),
        macro_f1=metrics.macro_f1(totals),
        calibration_error=reliability.calibration_error,
        per_class=per_class,
        class_names=names,
        classes=metrics.count_classes(np.ones(len(names), bool), counts, **bounds),
        classes_tested=metrics.count_classes(~np.isnan(per_class), counts, **bounds),
        confusion=metrics.confusion_pairs(predictions, labels, len(names)),
        correct=right,
        decoded=np.ones(len(labels), bool),
        test_priors={
            name: {"as_is": 50.0, "corrected": 55.0}
            for name in ("forward_50", "uniform", "backward_50")
        },
        reliability=reliability,
        judged=Judged(labels, predictions, confidences, of_true, np.where(right, 1, 2)),
    )


def made_up(names, name="run", seed=0, images=3, pictures=4, epochs=6, looked=True):
    """A run of BCCL: its classes fall from 500 training images to 5."""
    rng, classes = np.random.default_rng(seed), len(names)
    counts = class_counts(classes, 500, 100)
    groups = shot_groups(counts)
    labels = np.repeat(np.arange(classes), images).astype(np.int32)
    # The same labels whatever the seed, as two runs on one test split have them.
    wrong = rng.random(len(labels)) < 0.4
    predictions = np.where(wrong, rng.integers(classes, size=len(labels)), labels).astype(np.int32)
    confidences = rng.uniform(0.3, 1, len(labels)).astype(np.float32)
    found = evaluation(labels, predictions, confidences, names, counts)
    record = found.record()
    records = [
        {
            "epoch": epoch,
            "step": 7 * epoch,
            "train": {
                "loss": 3 / epoch,
                "contrastive_loss": 2 / epoch,
                "accuracy": 90.0,
                "learning_rate": 0.1 / epoch,
            },
            "quarters": {
                "cosine_within": [0.1, 0.2, 0.3, 0.4],
                "cosine_between": [0.0, None, 0.1, 0.1],
                "contrastive_gradient": [0.5, 0.4, 0.0, 0.3],
                "classification_gradient": [0.1, 0.1, 0.1, 0.2],
            },
            "seconds": 2.5,
        }
        | ({"refresh": {"centroids": 5.0, "centroid_shift": 9.0}} if epoch % 2 else {})
        | ({"eval": record} if epoch % 3 == 0 else {})
        for epoch in range(1, epochs + 1)
    ]
    records[-1]["confusion"] = found.confusion.tolist()
    image = rng.integers(256, size=(64, 80, 3)).astype(np.uint8)
    near = (Neighbour(image, 0, 0.9), Neighbour(image, classes - 1, 0.8))
    shown = tuple(Shown(image, classes - 1, k % classes, 0.9, 0.05, near) for k in range(pictures))
    split = Split(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, names)
    queues = Queues(np.minimum(counts, 64), 64, rng.uniform(0, 5, classes))
    points = rng.normal(size=(min(len(labels), 1000), 2))
    chosen = rng.permutation(len(labels))[: len(points)]
    embedded = Embedded(points, labels[chosen], predictions[chosen], len(labels))
    details = Details("title", found, split, counts, groups, lambda positions: None)
    seen = Looked(details, "last", epochs, embedded, shown, shown[:2], (10, 20), "", queues)
    return Told(
        name=name,
        config=flatten(tiny_config()) | {"epochs": epochs, "data.name": "made <up>", "seed": seed},
        changes=Changes("digits_lt:bccl", {"epochs": (100, epochs)}),
        class_names=names,
        class_counts=counts,
        groups=groups,
        records=records,
        results={"last": record, "best": record, "best_epoch": 3, "chosen_on": "test"},
        computed_on=[{"step": 0, "on": {"device": "CPU", "devices": 1, "cores": 2, "jax": "1"}}],
        stages=(),
        parts={"train": "a", "test": "b"},
        looked=seen if looked else None,
        unseen="" if looked else "its pictures are not at hand",
    )
