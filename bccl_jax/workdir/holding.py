"""The lock of a run's directory: one training at a time, from its first look to its end."""

import contextlib
import pathlib
from collections.abc import Collection, Iterator

from bccl_jax.config.files import RUN_CONFIG
from bccl_jax.devices.mesh import is_lead, wait_for_all
from bccl_jax.errors import WorkdirError
from bccl_jax.system.locks import lock
from bccl_jax.system.names import shown
from bccl_jax.system.regular_files import at_once

LOCK = ".lock"


class Holding:
    """A directory that is held for one training, or is to be.

    Args:
      path: of the directory.
      named: what messages call it.
      remains: names of what a run that failed before its first step may have left.
    """

    def __init__(self, path: pathlib.Path, named: str, remains: Collection[str]):
        self._path, self._named, self._remains = path, named, remains
        self._held = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for one training from before the first look, where there is one.

        Of several processes that make one run the leading one holds it. A directory that is not
        there, or holds something else than a run, is left as it is.

        Raises:
          WorkdirError: another process is training there, or it cannot be written.
        """
        with contextlib.ExitStack() as stack:
            if is_lead() and self.may_be_of_run():
                self.hold(stack)
            wait_for_all("directory locked")
            yield

    def hold(self, stack: contextlib.ExitStack) -> None:
        """Holds the directory until the stack is left, unless it is held; makes it if need be.

        Raises:
          WorkdirError: as `locked`.
        """
        if self._held:
            return
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            # Nothing is lost of what a link of that name leads to.
            file = open(self._path / LOCK, "a", opener=at_once)  # noqa: SIM115 - the stack does
            stack.enter_context(file)
        except OSError as error:
            raise WorkdirError(
                f"{self._named} cannot be written ({error.strerror}: {shown(error.filename)}); "
                "name another one"
            ) from error
        if not lock(file.fileno(), self._path):
            raise WorkdirError(
                f"another process is training in {self._named}; wait for it or name another "
                "directory"
            )
        self._held = True
        stack.callback(setattr, self, "_held", False)

    def may_be_of_run(self) -> bool:
        """Whether the directory holds a run, what is left of one, or nothing."""
        try:
            names = [path.name for path in self._path.iterdir()]
        except OSError:  # which `Workdir.check` tells
            return False
        return RUN_CONFIG in names or all(name in self._remains for name in names)
