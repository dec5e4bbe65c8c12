"""The losses of BCCL (Kim & Ko 2025, Eqs. 5, 6 and 8) in PyTorch, with the project's conventions.

The two contrastive losses share one matrix of similarities and one log-sum-exp.
"""

import torch
import torch.nn.functional as F


def contrastive_losses(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    centroids: torch.Tensor,
    centroid_mask: torch.Tensor,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Supervised contrastive loss with class complement (Eq. 6) and centroid loss (Eq. 5).

    Every embedding is an anchor; its candidates are the other embeddings and the valid centroids.
    Its positives are, in Eq. 6, the candidates of its class and, in Eq. 5, those of its subclass:
    the valid centroid of its class that it is nearest to. Both are averaged over the positives,
    then over the anchors that have any.

    Args:
      embeddings: float32 [N, D] of unit norm, N at least 2.
      labels: int64 [N].
      centroids: float32 [K, C, D] of unit norm; invalid ones may hold anything.
      centroid_mask: bool [K, C].
      temperature: positive.

    Returns:
      Two scalars, Eq. 6 and Eq. 5; each is 0 where no anchor has a positive.
    """
    (classes, per_class), count = centroid_mask.shape, len(labels)
    valid = centroid_mask.flatten()
    centroids = centroids.flatten(0, 1).masked_fill(~valid[:, None], 0.0)
    logits = embeddings @ torch.cat([embeddings, centroids]).T / temperature  # [N, N + K * C]
    candidate = torch.cat(
        [~torch.eye(count, dtype=torch.bool, device=labels.device), valid.expand(count, -1)], dim=1
    )
    log_sum = logits.masked_fill(~candidate, -torch.inf).logsumexp(1)

    centroid_ids = torch.arange(classes * per_class, device=labels.device)
    candidate_labels = torch.cat([labels, centroid_ids // per_class])
    same_class = candidate & (labels[:, None] == candidate_labels)

    own = logits.detach()[:, count:].unflatten(1, (classes, per_class))[
        torch.arange(count, device=labels.device), labels
    ]
    own_valid = centroid_mask[labels]
    nearest = own.masked_fill(~own_valid, -torch.inf).argmax(1)
    subclass = labels * per_class + nearest
    same_subclass = same_class & (subclass[:, None] == torch.cat([subclass, centroid_ids]))
    same_subclass &= own_valid.any(1, keepdim=True)
    return (
        _mean_over_positives(logits, log_sum, same_class),
        _mean_over_positives(logits, log_sum, same_subclass),
    )


def _mean_over_positives(logits, log_sum, positives):
    count = positives.sum(1)
    loss = log_sum - torch.where(positives, logits, 0.0).sum(1) / count.clamp(min=1)
    counted = count > 0
    return torch.where(counted, loss, 0.0).sum() / counted.sum().clamp(min=1)


def logit_compensation_loss(
    logits: torch.Tensor, labels: torch.Tensor, log_prior: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of logits [B, K] plus log prior [K], -inf for an empty class (Eq. 8)."""
    return F.cross_entropy(logits + log_prior, labels)
