"""Accuracy where the classes come otherwise than in the test split.

Test-agnostic recognition (LADE, Hong et al. 2021; SADE, Zhang et al. 2022) asks for the accuracy on
test images that are long-tailed as the training images are ("forward"), balanced ("uniform") or
long-tailed the other way round ("backward"). They draw such test sets from the split. Here each
class's accuracy is weighed by its share instead, which is what such draws give on average.

Who knows the distribution of the test images can correct the logits for it: take the prior off
that the logits carry and add that of the test images, which Hong et al. call post-compensated
softmax.
"""

import numpy as np

from bccl_jax.losses.classification import post_hoc_offset

# Largest class over smallest, as LADE and SADE have them.
_RATIOS = (50, 25, 10, 5, 2)
TEST_PRIORS = {
    **{f"forward_{ratio}": float(ratio) for ratio in _RATIOS},
    "uniform": 1.0,
    **{f"backward_{ratio}": 1 / ratio for ratio in reversed(_RATIOS)},
}


def shifted_prior(class_counts: np.ndarray, ratio: float) -> np.ndarray:
    """Shares of the classes that fall exponentially from the largest class to the smallest.

    Args:
      class_counts: int [K], training images, by which classes are ordered; of equal ones the first
        comes first.
      ratio: share of the first class over that of the last; below 1 shares rise.

    Returns:
      float64 [K], sum 1.

    Examples:
      >>> shifted_prior([100, 30, 9], ratio=4).round(3)
      array([0.571, 0.286, 0.143])
      >>> shifted_prior([100, 30, 9], ratio=1 / 4).round(3)
      array([0.143, 0.286, 0.571])
    """
    rank = np.empty(len(class_counts))
    rank[np.argsort(-np.asarray(class_counts), kind="stable")] = np.arange(len(class_counts))
    shares = float(ratio) ** (-rank / max(len(class_counts) - 1, 1))
    return shares / shares.sum()


def corrections(class_counts: np.ndarray, carried: np.ndarray) -> np.ndarray:
    """What is taken from the logits for each of `TEST_PRIORS`.

    Args:
      class_counts: int [K], training images.
      carried: [K], the prior that the logits carry.

    Returns:
      float32 [T, K]; inf for a class whose prior is 0, which is then never predicted.
    """
    off = np.asarray(post_hoc_offset(carried, 1.0))
    added = [np.log(shifted_prior(class_counts, ratio)) for ratio in TEST_PRIORS.values()]
    return np.float32(off[None, :] - np.stack(added))


def under_test_priors(
    corrected: np.ndarray, predictions: np.ndarray, labels: np.ndarray, class_counts: np.ndarray
) -> dict[str, dict[str, float | None]]:
    """Accuracy under each of `TEST_PRIORS`, with the logits as they are and corrected for it.

    Args:
      corrected: int [N, T], predictions with each of `corrections`.
      predictions: int [N], those without.
      labels: int [N].
      class_counts: int [K], training images.

    Returns:
      {name: {"as_is", "corrected"}} in percent. Classes without test images are left out, their
      share is the others'; None where there is no image.
    """
    num_classes = len(class_counts)
    tested = np.bincount(labels, minlength=num_classes)

    def weighed(right: np.ndarray, prior: np.ndarray) -> float | None:
        if not len(labels):
            return None
        correct = np.bincount(labels[right], minlength=num_classes)
        shares = np.where(tested > 0, prior, 0.0)
        return float(100 * np.sum(shares * correct / np.maximum(tested, 1)) / shares.sum())

    found = {}
    for (name, ratio), under in zip(TEST_PRIORS.items(), corrected.T, strict=True):
        prior = shifted_prior(class_counts, ratio)
        found[name] = {
            "as_is": weighed(predictions == labels, prior),
            "corrected": weighed(under == labels, prior),
        }
    return found
