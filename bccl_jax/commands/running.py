"""What commands with a few flags of their own have in common: mistakes, interruption, output."""

import argparse
import re
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from bccl_jax.errors import BcclError, on_one_line
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.environment import check_jax_variables
from bccl_jax.system.output import of_a_command
from bccl_jax.system.shortage import shortage


class Parser(argparse.ArgumentParser):
    """Parses flags; each mistake ends in one sentence.

    Args:
      **options: of `argparse.ArgumentParser`.
    """

    def __init__(self, **options):
        # A flag that is cut short would be another one in a later version.
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options
        )

    def add_flags_of_run(self) -> None:
        """Adds the flags that say what of a run is read: `use.model.load` has them too."""
        self.add_argument(
            "--checkpoint",
            metavar="last|best|STEP",
            help="which is taken (default last, whose figures are those to report)",
        )
        self.add_argument(
            "--average", action="store_true", help="the averaged weights (config.optimizer.ema)"
        )
        self.add_argument(
            "--imports",
            action="append",
            metavar="FILE.py",
            help="file of your own that registers what the run was made with, in place of those "
            "that it remembers",
        )

    def error(self, message: str) -> NoReturn:
        """Ends with a sentence on a mistake, and the flag that may be meant."""
        hint = "; --help names all flags"
        if found := re.match(r"unrecognized arguments: (-[^\s=]*)", message):
            known = [name for action in self._actions for name in action.option_strings]
            hint = did_you_mean(nearest(found[1], known)) or hint
        raise SystemExit(f"error: {message}{hint}")


def run(main: Callable[[], int]) -> NoReturn:
    """Runs a command and ends the process with its exit code.

    Args:
      main: returns the code; a BcclError ends in one sentence and 1, Ctrl-C in 130.

    Raises:
      SystemExit: always.
    """
    # What libraries will change one day is no error, whatever PYTHONWARNINGS says.
    warnings.simplefilter("ignore", DeprecationWarning)
    with of_a_command():
        try:
            check_jax_variables()
            code = main()
        except BcclError as error:
            raise SystemExit(f"error: {error}") from None
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            code = 128 + signal.SIGINT
        except Exception as error:
            lacking = shortage(error)
            if lacking is None:
                raise
            raise SystemExit(f"error: {on_one_line(lacking)}") from None
        raise SystemExit(code)
