"""The archives that are downloaded: where they lie, and what tells that they are whole.

The checksums of the archives by MD5 stand on their page; those by SHA-256 are the ones that Keras
and torchvision hold against them, and those of the files within are torchvision's.
"""

import dataclasses
import hashlib
import pathlib
import shlex
from collections.abc import Mapping
from typing import BinaryIO

_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Archive:
    """A packed data set.

    Attributes:
      name: of the data set, as `config.data.name` has it.
      file: the archive's name.
      size: its bytes.
      sha256: its checksum, hexadecimal.
      folder: that it holds.
      members: the files of that folder that the data set is read from, each with its MD5.
      addresses: where it lies; one is as good as the other.
    """

    name: str
    file: str
    size: int
    sha256: str
    folder: str
    members: Mapping[str, str]
    addresses: tuple[str, ...]

    @property
    def megabytes(self) -> str:
        """Its size as a message tells it."""
        return f"{round(self.size / 1e6):,} MB"

    def command(self, directory: pathlib.Path) -> str:
        """The command that downloads it into a directory, or unpacks what lies there."""
        return f"python -m bccl_jax.datasets {self.name} --dir={shlex.quote(str(directory))}"


def _toronto(file: str) -> tuple[str, ...]:
    # The first leads to the second at present.
    return (
        f"https://www.cs.toronto.edu/~kriz/{file}",
        f"https://cave.cs.toronto.edu/kriz/{file}",
    )


CIFAR10 = Archive(
    name="cifar10",
    file="cifar-10-python.tar.gz",
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    folder="cifar-10-batches-py",
    members={
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    addresses=_toronto("cifar-10-python.tar.gz"),
)
CIFAR100 = Archive(
    name="cifar100",
    file="cifar-100-python.tar.gz",
    size=169_001_437,
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    folder="cifar-100-python",
    members={
        "meta": "7973b15100ade9c7d40fb424638fde48",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "train": "16019d7e3df5f24257cddd939b257f8d",
    },
    addresses=_toronto("cifar-100-python.tar.gz"),
)
ARCHIVES = {archive.name: archive for archive in (CIFAR10, CIFAR100)}


def digest(file: BinaryIO, kind: str) -> str:
    """The checksum of an open file from where it stands to its end.

    Args:
      file: binary.
      kind: "md5" or "sha256".

    Returns:
      Hexadecimal digits.

    Raises:
      OSError: it cannot be read.
    """
    found = hashlib.new(kind, usedforsecurity=False)
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()
