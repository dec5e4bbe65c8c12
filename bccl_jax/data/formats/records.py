"""Photographs as records of ArrayRecord shards: few large files, read at random.

No module that a reader process imports may import JAX: it would start a runtime in each of them.
"""

import collections
import copy
import dataclasses
import os
import pathlib
import threading
from collections.abc import Sequence

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.system.names import plain

# Shards of a split that a process keeps open. It may often open 1,024 files in all, and
# tensorflow-datasets makes 1,024 shards of iNaturalist 2018.
MAX_OPEN = 256
# One record is read at a time, wherever it lies: reading ahead would be in vain.
READER_OPTIONS = "readahead_buffer_size:0"
READER_BUFFER = 1 << 15


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
      path: of the file.
      images: records in it.
    """

    path: pathlib.Path
    images: int


class RecordImages(EncodedImages):
    """Images that are records of shards.

    Args:
      shards: the files, in order.
      names: of the chosen images, N of them.
      indices: int [N], positions of the chosen records, counted through all shards; every record
        in order if not given.
    """

    def __init__(
        self, shards: Sequence[Shard], names: Sequence[str], indices: np.ndarray | None = None
    ):
        self.shards = list(shards)
        self.names = list(names)
        self.ends = np.cumsum([shard.images for shard in self.shards], dtype=np.int64)
        self.indices = np.arange(len(self.names)) if indices is None else np.asarray(indices)
        self._forget_readers()

    def _forget_readers(self) -> None:
        self._readers = collections.OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("_readers", "_lock")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget_readers()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> bytes:
        record = int(self.indices[index])
        position = int(np.searchsorted(self.ends, record, side="right"))
        shard = self.shards[position]
        first = int(self.ends[position]) - shard.images
        try:
            return self._reader(position).read([record - first])[0]
        except RuntimeError as error:  # what the library raises, whatever went wrong
            reason = " ".join(str(error).split())
            raise OSError(f"a record of {shard.path} cannot be read: {reason}") from error

    def _reader(self, position: int) -> ArrayRecordReader:
        with self._lock:
            if position not in self._readers:
                shard = self.shards[position]
                reader = open_shard(shard.path)
                if reader.num_records() != shard.images:
                    raise OSError(
                        f"{shard.path} holds {reader.num_records()} records instead of "
                        f"{shard.images}"
                    )
                # Never closed by hand: another thread may be reading from it.
                if len(self._readers) == MAX_OPEN:
                    self._readers.popitem(last=False)
                self._readers[position] = reader
            self._readers.move_to_end(position)
            return self._readers[position]

    def name(self, index: int) -> str:
        """See `EncodedImages.name`."""
        return self.names[index]

    def take(self, indices: np.ndarray) -> "RecordImages":
        """See `EncodedImages.take`."""
        taken = copy.copy(self)
        taken.names = [self.names[i] for i in indices]
        taken.indices = self.indices[np.asarray(indices, np.int64)]
        return taken


def library_path(path: pathlib.Path) -> str | bytes:
    """A path as the library takes it: no text where its bytes are not UTF-8."""
    text = os.fspath(path)
    return text if plain(text) == text else os.fsencode(text)


def open_shard(path: pathlib.Path) -> ArrayRecordReader:
    """Opens a file of records; `num_records()` of what it returns counts them.

    Raises:
      OSError: there is no such file, or it is not a whole ArrayRecord file.
    """
    # The library opens even what is not there, and reports it too late.
    with open(path, "rb"):
        reader = ArrayRecordReader(
            library_path(path), options=READER_OPTIONS, file_reader_buffer_size=READER_BUFFER
        )
    if not reader.ok():
        raise OSError(f"{path} is truncated or no ArrayRecord file")
    return reader
