"""Embeddings of many dimensions as points of a plane, by t-SNE: neighbours stay, nothing else does.

How large groups are and how far apart says nothing.
"""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits


def tsne(features: np.ndarray) -> np.ndarray:
    """Places features in the plane, the same ones each time.

    Args:
      features: float [N, D], of which the directions count; N of 2 or more.

    Returns:
      float32 [N, 2].
    """
    perplexity = min(30.0, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, metric="cosine", init="pca", random_state=0)
    # Its threads wait for each other at every step, minutes long where other work has the cores.
    with threadpool_limits(1, user_api="openmp"):
        return made.fit_transform(features)
