"""The three views by torchvision's transforms in a DataLoader, as the field's PyTorch code does it.

AutoAugment is torchvision's, which differs in fine print from the project's; the work is the same.
"""

import random
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

NORMALIZE = T.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


class Cutout:
    """Blackens a square around a random point, cut off at the borders (DeVries & Taylor 2017)."""

    def __init__(self, side: int):
        self.half = side // 2

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Changes [C, H, W] in place and returns it."""
        y, x = (random.randrange(size) for size in image.shape[1:])
        image[:, max(y - self.half, 0) : y + self.half, max(x - self.half, 0) : x + self.half] = 0
        return image


STRONG = T.Compose(
    [
        T.RandomCrop(32, padding=4),
        T.RandomHorizontalFlip(),
        T.AutoAugment(T.AutoAugmentPolicy.CIFAR10),
        T.ToTensor(),
        Cutout(16),
        NORMALIZE,
    ]
)
SIM = T.Compose(
    [
        T.RandomResizedCrop(32, scale=(0.08, 1.0)),
        T.RandomHorizontalFlip(),
        T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        T.RandomGrayscale(0.2),
        T.ToTensor(),
        NORMALIZE,
    ]
)


class Views(Dataset):
    """Images uint8 [N, 32, 32, 3] with labels [N]; an item is (strong, sim, sim), label."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        image = Image.fromarray(self.images[index])
        return (STRONG(image), SIM(image), SIM(image)), int(self.labels[index])


class RandomBatches:
    """A batch sampler of a set number of batches, whatever the size of the data set."""

    def __init__(self, num_examples: int, batch_size: int, batches: int):
        self.num_examples, self.batch_size, self.batches = num_examples, batch_size, batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.batches):
            yield torch.randperm(self.num_examples)[: self.batch_size].tolist()


def make_loader(dataset: Views, batch_size: int, batches: int, workers: int) -> DataLoader:
    """A loader of `batches` batches: float32 views [B, 3, 32, 32] and int64 labels [B]."""
    return DataLoader(
        dataset,
        batch_sampler=RandomBatches(len(dataset), batch_size, batches),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
