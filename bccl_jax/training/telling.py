"""Who follows a run is told of it, by the leading process, and can change nothing of it.

What a tracker of `config.trackers` fails in, such as a network that is gone, is said once, and the
run goes on without it; the epochs that it lacks are sent when the run next goes on. What a callback
of the user's own raises is the user's to see.
"""

import contextlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from bccl_jax.config.flattening import flatten
from bccl_jax.devices.mesh import is_lead
from bccl_jax.errors import ConfigError
from bccl_jax.reporting.records import as_json
from bccl_jax.settings.bounds import shown
from bccl_jax.system.names import printable
from bccl_jax.system.progress import Pace, say, under_way
from bccl_jax.tracking.callback import Begun, Callback
from bccl_jax.tracking.creating import create
from bccl_jax.tracking.service import Service
from bccl_jax.training.assemble import Run
from bccl_jax.workdir import json_files
from bccl_jax.workdir.directory import Workdir

# Letters of what another package says of its failure.
_LONGEST = 150


class Telling:
    """Tells callbacks of one run.

    Args:
      names: of trackers, as `config.trackers` has them.
      callbacks: the user's own.

    Raises:
      ConfigError: the package of a tracker is not installed, or what is to be told is no callback.
    """

    def __init__(self, names: str, callbacks: Sequence[Callback]):
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ConfigError(
                    f"callbacks has {shown(callback)}; each must be an object of a class that "
                    "derives from bccl_jax.Callback"
                )
        trackers = create(names)
        own = [(type(callback).__name__, callback) for callback in callbacks]
        self._followers = [*trackers.items(), *own] if is_lead() else []
        self._trackers = [*trackers.values()]
        self._result = None

    def begin(
        self, run: Run, directory: Workdir, records: Sequence[dict], views: Callable[[], np.ndarray]
    ) -> None:
        """Tells that the run begins or goes on.

        Args:
          run: the run.
          directory: its own.
          records: of the epochs that are complete.
          views: makes the picture "views", where anyone wants it who does not know the run yet.
        """
        kept = {}
        if self._followers and directory.trackers.exists():
            kept = json_files.read(directory.trackers, dict)
        picture = None
        for name, callback in self._followers:
            begun = Begun(
                workdir=directory.path,
                config=_told(flatten(run.config)),
                class_names=run.dataset.train.class_names,
                class_counts=run.class_counts.copy(),
                records=tuple(_told([*records])),
                kept=dict(kept.get(name, {})),
                keep=_keeper(directory, kept, name),
            )
            if not self._call(name, callback, "begin", begun):
                continue
            wanted = callback.wants_views or run.config.track_views
            if not wanted or begun.kept or records or jax.process_count() > 1:
                continue
            picture = views() if picture is None else picture
            self._call(name, callback, "picture", "views", picture.copy(), 0)

    def epoch(self, record: dict[str, Any], machine: dict[str, float]) -> None:
        """Tells of an epoch: its record, and the figures of the machine beside it."""
        for name, callback in self._followers:
            self._call(name, callback, "epoch", _told(record) | {"machine": dict(machine)})

    def complete(self, result: Any, report: pathlib.Path) -> None:
        """Tells of the picture of a run that has reached its end, which the context tells of.

        Args:
          result: `Result`.
          report: the picture; it may be missing.
        """
        self._result = result
        if not self._followers or not report.exists():
            return
        with Image.open(report) as file:
            picture = np.array(file.convert("RGB"))
        for name, callback in self._followers:
            epochs = len(result.records)
            self._call(name, callback, "picture", "report", picture.copy(), epochs)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for name, callback in self._followers:
            if kind is None:
                self._call(name, callback, "end", self._result)
                continue
            # What ended the run is what its user is to see.
            with contextlib.suppress(Exception):
                callback.end(None)

    def _call(self, name: str, callback: Callback, what: str, *given) -> bool:
        """Whether it was told: a tracker that fails is told of nothing more."""
        try:
            # A network may be slow.
            with under_way(f"telling {name}", shown=isinstance(callback, Service)):
                getattr(callback, what)(*given)
        except Exception as error:
            if not any(callback is tracker for tracker in self._trackers):
                raise
            self._followers = [each for each in self._followers if each[1] is not callback]
            why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            why = printable(why if len(why) <= _LONGEST else f"{why[:_LONGEST]}...")
            say(
                f"warning: {name} fails ({why}), and the run goes on without it: what it lacks "
                "is sent when the same command goes on"
            )
            return False
        return True


def _told(value: Any) -> Any:
    """A copy of a JSON value, as a file would have it."""
    return json.loads(as_json(value))


def _keeper(directory: Workdir, kept: dict, name: str) -> Callable[[dict], None]:
    def keep(values):
        kept[name] = dict(values)
        json_files.write(directory.trackers, kept)

    return keep


class Machine:
    """How fast steps are and what memory they take."""

    def __init__(self, batch_size: int, clock: Callable[[], float]):
        self._batch_size, self._clock = batch_size, clock
        self._pace, self._compiled = Pace(), False

    def begin_epoch(self) -> None:
        """Counts time from here on; in the first epoch from the first step on, which compiles."""
        if self._compiled:
            self._pace.start(self._clock())

    def advance(self, steps: int) -> None:
        """Counts steps whose metrics were read."""
        self._pace.advance(self._clock(), steps)
        self._compiled = True

    def figures(self) -> dict[str, float]:
        """See `Callback.epoch`."""
        found, speed = {}, self._pace.newest()
        if speed is not None:
            found["images_per_second"] = speed * self._batch_size
        stats = [device.memory_stats() or {} for device in jax.local_devices()]
        for name, key in (("", "bytes_in_use"), ("_peak", "peak_bytes_in_use")):
            taken = [one[key] for one in stats if key in one]
            if taken:
                found[f"device_memory{name}_gib"] = max(taken) / 2**30
        return found
