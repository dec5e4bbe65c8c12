"""Ring buffers of the newest M embeddings of every class (Eq. 3), pushed without a host sync."""

import torch
from torch import nn


class Queue(nn.Module):
    """The queues of K classes.

    Attributes:
      rows: [K * M + 1, D], class after class; the last row takes what is not to be stored.
      cursor: int64 [K], the slot that the class's next embedding goes to.
      count: int64 [K], how many slots are written.
    """

    def __init__(self, num_classes: int, size: int, dim: int):
        super().__init__()
        self.size = size
        self.register_buffer("rows", torch.zeros(num_classes * size + 1, dim))
        self.register_buffer("cursor", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def push(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Appends embeddings [N, D] to the queues of their labels [N], in batch order."""
        self.rows.index_copy_(0, self.targets(labels), embeddings.detach())
        arrivals = torch.zeros_like(self.count).index_add_(0, labels, torch.ones_like(labels))
        self.cursor.add_(arrivals).remainder_(self.size)
        self.count.add_(arrivals).clamp_(max=self.size)

    def targets(self, labels: torch.Tensor) -> torch.Tensor:
        """The row of each label [N]; the last one for what the same batch would overwrite.

        No other row comes twice, so that the order in which a GPU writes them cannot matter.
        """
        same = labels[:, None] == labels
        rank = same.tril(-1).sum(1)  # earlier ones of the same class
        kept = rank >= same.sum(1) - self.size
        slot = labels * self.size + (self.cursor[labels] + rank) % self.size
        return torch.where(kept, slot, len(self.rows) - 1)

    @property
    def features(self) -> torch.Tensor:
        """The slots, [K, M, D]."""
        return self.rows[:-1].unflatten(0, (len(self.count), self.size))
