"""A run that is given more epochs than it had: whether it can go on, and what it was before."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from bccl_jax.config.files import RUN_CONFIG, of_run
from bccl_jax.config.flattening import flatten
from bccl_jax.config.lengthening import following
from bccl_jax.config.places import absolute, places, same
from bccl_jax.errors import WorkdirError
from bccl_jax.system.commands import shown_command
from bccl_jax.system.names import shown
from bccl_jax.system.progress import say
from bccl_jax.workdir import identity, json_files


@dataclasses.dataclass(frozen=True)
class Longer:
    """The same run with more epochs.

    Args:
      path: of its directory, absolute.
      saved: its flattened config, as the directory has it.
      config: what is asked for, which differs from it in the epochs alone, or in what is free.
    """

    path: pathlib.Path
    saved: Mapping[str, Any]
    config: ml_collections.ConfigDict

    @property
    def before(self) -> int:
        """Epochs that the run had; 0 where they followed its data and no record says how many."""
        sized = self.path / "sized.json"
        epochs = self.saved.get("epochs", 0)
        if not epochs and sized.is_file():
            epochs = json_files.read(sized, dict).get("epochs", 0)
        return epochs if type(epochs) is int else 0

    @property
    def has_more(self) -> bool:
        """Whether these are more epochs than the run had."""
        return 0 < self.before < self.config.epochs

    def check(self, recorded: Mapping[str, str]) -> None:
        """Checks that what was trained would have been the same with more epochs.

        Args:
          recorded: the places that paths of the run led to.

        Raises:
          WorkdirError: it would not; the message ends with the command of a new run from its model.
        """
        path = self.path / "classes.json"
        _, counts = identity.read_table(json_files.read(path, list), shown(path))
        then = ml_collections.ConfigDict(self.config).copy_and_resolve_references()
        then.epochs = self.before
        found = following(then, self.config, counts)
        if not found:
            return
        more = self.config.epochs
        raise WorkdirError(
            f"the run in --workdir={shown(self.path)} is one of {self.before} epochs and cannot go "
            f"on to {more}, for their number decides {' and '.join(found)}; a new run of {more} "
            f"epochs starts from its model by: {self._command(recorded)}"
        )

    def _command(self, recorded: Mapping[str, str]) -> str:
        """Starts a new run of the same config from the model of this one, from any folder."""
        base, changed = flatten(of_run(self.path / RUN_CONFIG)), {}
        given = flatten(self.config)
        led = places(given)
        for key in sorted(given):
            if given[key] != base[key] and not same(key, given[key], recorded):
                changed[key] = absolute(given[key]) if key in led else given[key]
        changed |= {"epochs": self.config.epochs, "model.pretrained": str(self.path)}
        return shown_command(
            "bccl_jax.main",
            f"--config={self.path / RUN_CONFIG}",
            f"--workdir={self._free()}",
            *(f"--config.{key}={_as_flag(value)}" for key, value in changed.items()),
        )

    def _free(self) -> pathlib.Path:
        """A directory beside it that is not there."""
        number, free = 2, self.path.with_name(f"{self.path.name}_2")
        while free.exists():
            number += 1
            free = self.path.with_name(f"{self.path.name}_{number}")
        return free


def note(path: pathlib.Path, config: ml_collections.ConfigDict, epochs: int) -> None:
    """Has a run's directory say how many epochs the run has from now on, and how it ended before.

    Args:
      path: of the directory, which the caller holds.
      config: of the run, one that `Longer.check` accepts.
      epochs: of it, once it is sized to the data.
    """
    saved = json_files.read(path / RUN_CONFIG, dict)
    if saved.get("epochs") != config.epochs:
        longer = Longer(path, saved, config)
        _keep_results(path, longer.before)
        say(f"the run in {shown(path)} had {longer.before} epochs and has {epochs} from now on")
        json_files.write(path / RUN_CONFIG, saved | {"epochs": config.epochs})
    sized = path / "sized.json"
    # Looked at by itself: a process may end between the two.
    if sized.is_file() and (found := json_files.read(sized, dict)).get("epochs") != epochs:
        json_files.write(sized, found | {"epochs": epochs})


def _keep_results(path: pathlib.Path, epochs: int) -> None:
    """Moves what the run ended with to what it ended with earlier."""
    results, earlier = path / "results.json", path / "earlier.json"
    if not results.is_file():
        return
    found = json_files.read(earlier, list) if earlier.is_file() else []
    # Whatever else stands there is kept.
    found = [each for each in found if not isinstance(each, dict) or each.get("epochs") != epochs]
    json_files.write(earlier, [*found, {"epochs": epochs, **json_files.read(results, dict)}])
    results.unlink()


def _as_flag(value: Any) -> str:
    """A value as the flag of its key takes it."""
    return str(tuple(value)) if isinstance(value, list) else str(value)
