"""A run's directory: config, records, checkpoints, and the rule that it is one run's."""

import contextlib
import fcntl
import json
import pathlib

import ml_collections

from bccl_jax.config import flatten
from bccl_jax.errors import WorkdirError

# What does not shape a run: where its data lies and how many threads read it.
FREE_KEYS = ("data.dir", "data.threads")
# What may differ too when a checkpoint is only evaluated.
EVALUATION_KEYS = ("eval.", "data.resident")


class Workdir:
    """Paths of a run's directory.

    Args:
      path: the directory; it need not exist yet.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path).expanduser().absolute()
        self.config = self.path / "config.json"
        self.records = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.report = self.path / "report.png"
        self.results = self.path / "results.json"

    def check(self, config: ml_collections.ConfigDict, evaluating: bool = False) -> bool:
        """Checks that the directory is free or belongs to this very config.

        Args:
          config: of the run that is to use it.
          evaluating: whether the run is only evaluated, so that keys that do not shape it may
            differ.

        Returns:
          Whether it holds a run already.

        Raises:
          WorkdirError: it holds another run, or something else than a run.
        """
        if not self.config.exists():
            if self.path.exists() and not self.path.is_dir():
                raise WorkdirError(f"--workdir={self.path} is a file; name a directory")
            if self.path.is_dir() and any(p.name != ".lock" for p in self.path.iterdir()):
                raise WorkdirError(
                    f"--workdir={self.path} holds files but no run (no config.json); "
                    "name an empty or a new directory"
                )
            return False
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise WorkdirError(
                f"{self.checkpoints} is a file; restore the directory of checkpoints that a run "
                "has there or name another --workdir"
            )
        saved = self._saved_config()
        free = FREE_KEYS + EVALUATION_KEYS if evaluating else FREE_KEYS
        asked = json.loads(json.dumps(flatten(config)))
        differing = [
            f"{key} is {saved.get(key)!r} there and {asked.get(key)!r} here"
            for key in sorted(saved.keys() | asked.keys())
            if saved.get(key) != asked.get(key) and not key.startswith(free)
        ]
        if differing:
            raise WorkdirError(
                f"--workdir={self.path} holds a run of another config: {'; '.join(differing)}; "
                "name another directory or the same values"
            )
        return True

    def _saved_config(self) -> dict:
        try:
            saved = json.loads(self.config.read_text())
        except ValueError:
            saved = None
        if not isinstance(saved, dict):
            raise WorkdirError(
                f"{self.config} is not the JSON object that a run writes; restore it or name "
                "another --workdir"
            )
        return saved

    @contextlib.contextmanager
    def claimed(self, config: ml_collections.ConfigDict):
        """Holds the directory for one training process, and writes the config into a new one.

        Raises:
          WorkdirError: another process is training there, or the directory cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise WorkdirError(
                f"--workdir={self.path} cannot be written ({error.strerror}); name another one"
            ) from error
        with lock:
            try:
                # The kernel drops the lock with the process, however that ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise WorkdirError(
                    f"another process is training in --workdir={self.path}; "
                    "wait for it or name another directory"
                ) from error
            if not self.config.exists():
                unfinished = self.config.with_suffix(".tmp")
                unfinished.write_text(json.dumps(flatten(config), indent=1) + "\n")
                unfinished.replace(self.config)
            yield self
