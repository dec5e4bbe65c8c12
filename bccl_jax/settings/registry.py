"""What users add to the package's things by name, and the file that each came from."""

import dataclasses
import os
import re
import sys
from collections.abc import Container
from typing import Any

from bccl_jax.errors import ConfigError
from bccl_jax.settings.bounds import shown


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where something was registered.

    Attributes:
      file: absolute path; "" of a notebook or of what was typed.
    """

    file: str

    @classmethod
    def of_caller(cls) -> "Origin":
        """That of the code that calls the function in which this stands."""
        # A notebook's cells have made-up file names, another one after each change of a cell.
        file = sys._getframe(2).f_globals.get("__file__") or ""
        return cls(os.path.abspath(file) if os.path.isfile(file) else "")

    def __str__(self):
        return self.file or "a notebook"


class Registry:
    """Things of one kind by name: the package's own, and those that users add.

    Args:
      kind: what a message calls one of them.
      table: where they are looked up by name; what is in it now is the package's.
      taken: more names of the package's.
    """

    def __init__(self, kind: str, table: dict[str, Any], taken: Container[str] = ()):
        self.kind, self.table, self.taken = kind, table, taken
        self.origins: dict[str, Origin] = {}

    def check(self, name: str, origin: Origin) -> None:
        """Checks that a name can be given.

        Raises:
          ConfigError: it is no name, or another thing has it.
        """
        # It stands in a config's argument, between commas, and in the name of a run's directory.
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise ConfigError(
                f"a {self.kind} cannot be called {shown(name)}; write a name of letters, digits, "
                "_, - and ."
            )
        before = self.origins.get(name)
        if before is None and (name in self.table or name in self.taken):
            raise ConfigError(
                f"{origin} registers a {self.kind} called {name!r}, which is a name of the "
                "package's own; choose another one"
            )
        if before is not None and not _same(before, origin):
            raise ConfigError(
                f"{origin} registers a {self.kind} called {name!r}, but there is one of that name "
                f"from {before}; choose another one"
            )

    def add(self, name: str, thing: Any, origin: Origin) -> None:
        """Adds a thing; where one of the same name came from the same file it takes its place.

        Raises:
          ConfigError: it is no name, or another thing has it.
        """
        self.check(name, origin)
        self.table[name] = thing
        self.origins[name] = origin


def _same(one: Origin, other: Origin) -> bool:
    return os.path.realpath(one.file) == os.path.realpath(other.file) if one.file else one == other
