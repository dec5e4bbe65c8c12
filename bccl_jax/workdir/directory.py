"""A run's directory: config, records, checkpoints, and the rule that it is one run's."""

import contextlib
import pathlib
from collections.abc import Iterable
from typing import Any

import ml_collections
import numpy as np

from bccl_jax.config.files import RUN_CONFIG
from bccl_jax.config.flattening import flatten
from bccl_jax.config.places import PLACES, places
from bccl_jax.data.fingerprint import fingerprint
from bccl_jax.data.split import Dataset, Split
from bccl_jax.devices.mesh import is_lead, wait_for_all
from bccl_jax.errors import WorkdirError
from bccl_jax.system.directories import directory_to_write
from bccl_jax.system.names import shown
from bccl_jax.system.numbers import whole_number
from bccl_jax.system.progress import say
from bccl_jax.workdir import broken_list, content, holding, identity, json_files, write_errors
from bccl_jax.workdir.agreement import differences
from bccl_jax.workdir.first_records import first_records
from bccl_jax.workdir.longer import Longer, note
from bccl_jax.workdir.remains import REMAINS, VIEWS

# What a name below the directory may grow to.
_LONGEST_NAME = 100


class Workdir:
    """Paths of a run's directory.

    Args:
      path: the directory; it need not exist yet.

    Raises:
      WorkdirError: it is no path of a directory.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = directory_to_write(path, "--workdir").absolute()
        self._named = f"--workdir={shown(self.path)}"
        self.config = self.path / RUN_CONFIG
        self.places = self.path / PLACES
        self.records = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.trackers = self.path / "trackers.json"
        self.report = self.path / "report.png"
        self.views = self.path / VIEWS
        self.results = self.path / "results.json"
        self.classes = self.path / "classes.json"
        self.splits = self.path / "splits.json"
        self.images = self.path / "images.npz"
        self.sized = self.path / "sized.json"
        self.image_shape = self.path / "image_shape.json"
        self.inputs = self.path / "inputs.json"
        self.skipped = self.path / "broken.txt"
        self._holding = holding.Holding(self.path, self._named, REMAINS)
        # Whether there was no run when it was looked at.
        self._found_blank = False

    def check(self, config: ml_collections.ConfigDict, evaluating: bool = False) -> bool:
        """Checks that the directory is free or belongs to this very config.

        Args:
          config: of the run that is to use it.
          evaluating: whether the run is only evaluated, so that keys that do not shape it may
            differ.

        Returns:
          Whether it holds a run already.

        Raises:
          WorkdirError: it holds another run, or one that cannot go on for more epochs, or something
            else than a run, or cannot be read.
        """
        found = self._check(config, evaluating)
        self._found_blank = not found
        return found

    def _check(self, config: ml_collections.ConfigDict, evaluating: bool) -> bool:
        self._check_access()
        if not self.config.exists():
            if self.path.exists() and not self.path.is_dir():
                raise WorkdirError(
                    f"{self._named} is a file; name a directory (from a shared file a run starts "
                    "by --config.model.pretrained)"
                )
            if self.path.is_dir() and any(p.name not in REMAINS for p in self.path.iterdir()):
                raise WorkdirError(
                    f"{self._named} holds files but no run (no {RUN_CONFIG}); "
                    "name an empty or a new directory"
                )
            return False
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise WorkdirError(
                f"{shown(self.checkpoints)} is a file; restore the directory of checkpoints that a "
                "run has there or name another --workdir"
            )
        if self._blank():
            return False
        saved, recorded = json_files.read(self.config, dict), self._places()
        differing = differences(config, saved, evaluating, recorded)
        longer = Longer(self.path, saved, config)
        if differing.keys() == {"epochs"} and not evaluating and longer.has_more:
            longer.check(recorded)
        elif differing:
            raise WorkdirError(
                f"{self._named} holds a run of another config: {'; '.join(differing.values())}; "
                "name another directory or the same values"
            )
        return True

    def _check_access(self) -> None:
        try:
            # TensorBoard's names are the longest, for they have that of the machine in them.
            (self.tensorboard / ("-" * _LONGEST_NAME)).lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise WorkdirError(
                f"{self._named} cannot be used ({error.strerror}); mend that or name another one"
            ) from error

    def record(self, name: str, kind: type) -> Any:
        """The JSON value of a kind, dict or list, that the run recorded under a name.

        Raises:
          WorkdirError: the record is missing or broken.
        """
        return json_files.read(self.path / f"{name}.json", kind)

    def has(self, name: str) -> bool:
        """Whether there is such a record."""
        return (self.path / f"{name}.json").exists()

    def place(self, name: str) -> str:
        """Where that record is, for a message."""
        return shown(self.path / f"{name}.json")

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """See `write_errors.told`."""
        return write_errors.told(self._named, self.path)

    def has_checkpoint(self) -> bool:
        """Whether a run would go on, and not begin."""
        there = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        return any(whole_number(path.name) is not None for path in there)

    def _blank(self) -> bool:
        """Whether nothing was trained here: no run, or one that stopped within its first epoch."""
        trained = self.records.exists() and self.records.stat().st_size > 0
        return not self.config.exists() or not (trained or self.has_checkpoint())

    def check_classes(self, dataset: Dataset) -> None:
        """Checks that the run that the directory holds, if any, was of the same images.

        Raises:
          WorkdirError: it had other classes, other numbers of images of them, or images of other
            names or in other splits.
        """
        if self._blank() or not self.classes.exists():
            return
        identity.check_classes(json_files.read(self.classes, list), dataset, self._named)
        identity.check_splits(json_files.read(self.splits, dict), dataset, self._named)

    def check_test_split(self, split: Split) -> None:
        """Checks that a test split, read without the training split, is the run's.

        Raises:
          WorkdirError: it has images of other names or labels, or in another order.
        """
        identity.check_split(json_files.read(self.splits, dict), "test", split, self._named)

    def _places(self) -> dict[str, str]:
        """Where paths of the run led; {} of one of a time before that was kept."""
        return json_files.read(self.places, dict) if self.places.exists() else {}

    def parts(self) -> set[str]:
        """The splits that the run has, such as "train" and "test"."""
        return set(json_files.read(self.splits, dict))

    def check_images(self, dataset: Dataset, numbers: dict[str, np.ndarray]) -> str | None:
        """Checks that the run that the directory holds, if any, was of images of the same content.

        Args:
          dataset: one that `check_classes` lets pass.
          numbers: `data.fingerprint.fingerprint` of it, or of the splits that matter.

        Returns:
          A sentence if that cannot be told, for a run of a time when content was not recorded.

        Raises:
          WorkdirError: images of a split are other ones.
        """
        if self._blank():
            return None
        if not self.images.exists():
            return (
                f"the run in {self._named} has no record of what its images "
                "contained when it was started, so that it cannot be told whether they are still "
                "the same; a run that goes on records it"
            )
        self._compared(dataset, numbers)
        return None

    def _compared(self, dataset: Dataset, numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        broken = {
            part: broken_list.listed(self._broken(part), split.images)
            for part, split in dataset.splits.items()
            if split.encoded
        }
        return content.compare(content.read(self.images), numbers, dataset, broken, self.path)

    def _broken(self, part: str) -> pathlib.Path:
        return self.skipped if part == "train" else self.path / f"broken_{part}.txt"

    def note_broken(self, dataset: Dataset, split: Split, indices: Iterable[int]) -> None:
        """Keeps in mind which pictures of a split to evaluate on cannot be decoded.

        When they are mended the run goes on with them, though their content is another one.
        """
        part = next(part for part, found in dataset.splits.items() if found is split)
        path = self._broken(part)
        if new := broken_list.add(path, split.images, indices):
            say(
                f"{new} of {len(split)} {part} pictures cannot be decoded and are left out of the "
                f"figures: {shown(path)} names them"
            )

    def recorded(self, parts: Iterable[str]) -> dict[str, np.ndarray]:
        """The numbers of images that the run recorded of some splits, as far as it did."""
        found = content.read(self.images)
        return {part: found[part] for part in parts if part in found}

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """See `holding.Holding.locked`."""
        return self._holding.locked()

    @contextlib.contextmanager
    def claimed(
        self,
        config: ml_collections.ConfigDict,
        sized: ml_collections.ConfigDict,
        dataset: Dataset,
        numbers: dict[str, np.ndarray] | None = None,
    ):
        """Holds the directory for one training, and says in a new one what it is of.

        Where several processes make one run, the leading one holds it.

        Args:
          config: what was asked for, which a run that goes on is compared with.
          sized: the same with what follows the size of the data filled in.
          dataset: of the run.
          numbers: `data.fingerprint.fingerprint` of the dataset; None to look at it now.

        Raises:
          WorkdirError: another process is training there, or the directory cannot be written.
        """
        if not is_lead():
            wait_for_all("directory claimed")
            yield self
            return
        with contextlib.ExitStack() as stack:
            self._holding.hold(stack)
            # Only a directory that was not there could not be held from the first look on.
            if self._found_blank and not (self._blank() and self._holding.may_be_of_run()):
                raise WorkdirError(
                    f"another process has begun a run in {self._named} meanwhile; give the same "
                    "command again, which goes on with it if it is the same run"
                )
            numbers = fingerprint(dataset) if numbers is None else numbers
            if self._blank():
                for part in dataset.splits:
                    self._broken(part).unlink(missing_ok=True)
                self.trackers.unlink(missing_ok=True)
                content.write(self.images, numbers)
                for name, value in first_records(config, sized, dataset).items():
                    json_files.write(self.path / f"{name}.json", value)
            else:
                note(self.path, config, sized.epochs)
                # Mended pictures from now on, and all of them of a run that has no record yet.
                kept, recorded = self._compared(dataset, numbers), content.read(self.images)
                if not content.equal(kept, recorded):
                    content.write(self.images, kept)
                # Its data may have moved.
                json_files.write(self.places, self._places() | places(flatten(config)))
            wait_for_all("directory claimed")
            yield self
