"""The flags that there are, and the keys of --config.KEY that a command line changes."""

import re

from absl import flags

# The flags of `bccl_jax/main.py`, in the order of the help.
OWN = (
    "config",
    "workdir",
    "mode",
    "checkpoint",
    "details",
    "test",
    "known_only",
    "output",
    "overwrite",
    "verify",
    "print_config",
)


def overrides(argv: list[str]) -> dict[str, str]:
    """The keys that a command line changes, and the text given for each ("" for a switch)."""
    argv = flags.FLAGS.read_flags_from_files(argv[1:], force_gnu=False)
    given = {}
    for position, argument in enumerate(argv):
        if argument == "--":
            break
        if found := re.match(r"--?(?:no)?config\.([^=]+)(=?)(.*)", argument, re.DOTALL):
            following = argv[position + 1] if position + 1 < len(argv) else ""
            given[found[1]] = found[3] if found[2] or following[:1] == "-" else following
    return given
