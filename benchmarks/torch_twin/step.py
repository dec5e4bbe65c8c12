"""One training step of the twin, eager or compiled."""

import torch
from torch import nn

from benchmarks.torch_twin.losses import contrastive_losses, logit_compensation_loss
from benchmarks.torch_twin.model import Network
from benchmarks.torch_twin.queue import Queue

# Weights of (contrastive, centroid, classification) loss, the readings of Eq. 9.
PRESETS = {"sec43": (1.0, 0.1, 1.0), "eq9": (1.0, 1.0, 0.1), "bcl": (0.6, 0.6, 2.0)}


class BCCL(nn.Module):
    """The network, the queues, the centroids, and the loss over them.

    Args:
      network: gives logits and embeddings.
      class_counts: [K] training images of each class.
      num_centroids: C.
      queue_size: M.
      preset: a key of `PRESETS`.
      temperature: of the contrastive losses.
      bfloat16: whether the network computes in it, by autocast; the losses are float32.
    """

    def __init__(
        self,
        network: Network,
        class_counts: torch.Tensor,
        *,
        num_centroids: int = 5,
        queue_size: int = 256,
        preset: str = "sec43",
        temperature: float = 0.1,
        bfloat16: bool = False,
    ):
        super().__init__()
        classes, dim = len(class_counts), network.projector.dense_1.out_features
        self.network, self.queue = network, Queue(classes, queue_size, dim)
        self.weights, self.temperature, self.bfloat16 = PRESETS[preset], temperature, bfloat16
        self.register_buffer("log_prior", torch.log(class_counts / class_counts.sum()))
        self.register_buffer("centroids", torch.zeros(classes, num_centroids, dim))
        self.register_buffer("mask", torch.zeros(classes, num_centroids, dtype=torch.bool))

    def forward(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor):
        """The losses of a batch, whose embeddings then enter the queues.

        Args:
          views: strong, sim and sim, each [B, 3, H, W].
          labels: int64 [B].

        Returns:
          The weighted loss, and its terms [3] without gradient: contrastive, centroid,
          classification.
        """
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits, embeddings = self.network(torch.cat(views), len(labels))
        loss, terms = self.losses(logits, embeddings, labels)
        self.queue.push(embeddings, torch.cat([labels, labels]))
        return loss, terms

    def losses(self, logits: torch.Tensor, embeddings: torch.Tensor, labels: torch.Tensor):
        """What `forward` returns, of logits [B, K] and embeddings [2 * B, D]."""
        doubled = torch.cat([labels, labels])
        contrastive, centroid = contrastive_losses(
            embeddings, doubled, self.centroids, self.mask, self.temperature
        )
        terms = contrastive, centroid, logit_compensation_loss(logits, labels, self.log_prior)
        loss = sum(weight * term for weight, term in zip(self.weights, terms, strict=True))
        return loss, torch.stack(terms).detach()


class Trainer:
    """Forward, backward and SGD.

    Args:
      method: where its parameters are, the step runs.
      learning_rate: constant.
      compile_mode: None for eager, or a mode of torch.compile.
    """

    def __init__(self, method: BCCL, learning_rate: float, compile_mode: str | None = None):
        self.loss = method
        if compile_mode:
            self.loss = torch.compile(method, mode=compile_mode, fullgraph=True, dynamic=False)
        self.optimizer = torch.optim.SGD(
            method.network.parameters(), learning_rate, momentum=0.9, weight_decay=5e-4, fused=True
        )

    def step(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
        """Trains on one batch and returns the terms of its loss, without waiting for them."""
        loss, terms = self.loss(views, labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return terms
