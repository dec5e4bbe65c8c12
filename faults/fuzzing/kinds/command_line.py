"""The command line: keys of the config and their values."""

import contextlib
import os
import pathlib
import random
import sys

from absl import flags

from bccl_jax import main  # noqa: F401  its flags are there
from bccl_jax.commands import parsing
from bccl_jax.commands.together import check_together
from bccl_jax.config import flatten
from bccl_jax.config.allowed import BOUNDS
from bccl_jax.config.validation import validate
from bccl_jax.errors import BcclError
from faults.fuzzing import odd
from faults.fuzzing.surface import Input, Kind, Surface, consistent

_CONFIGS = ("digits_lt", "digits_lt:cross_entropy", "cifar100_lt:bcl", "folder")
_VALUES = ("0", "1", "-1", "3", "0.5", "1e3", "True", "false", "(0.1, 0.2)", "(1,)", "adamw", "a,b")
_FLAGS = ("--checkpoint=", "--mode=", "--workdir=", "--test=", "--output=", "--verify=", "--lr=")


def _command_line(root: pathlib.Path) -> Surface:
    from bccl_jax.config import get_config

    keys = sorted({*BOUNDS, *(f for m in ("bccl", "bcl") for f in flatten(get_config(m)))})

    def make(rng: random.Random) -> Input:
        argv = [f"--config={rng.choice(_CONFIGS)}"]
        if rng.random() < 0.1:
            argv[0] += rng.choice((":", ",", "")) + odd.text(rng)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            key = rng.choice(keys)
            if rng.random() < 0.1:
                key = rng.choice((odd.text(rng), key + odd.text(rng), key.partition(".")[0]))
            value = odd.text(rng) if rng.random() < 0.6 else rng.choice(_VALUES)
            if rng.random() < 0.3:
                value = str(rng.choice(odd.NUMBERS))
            form = rng.choice(("--config.{}={}",) * 6 + ("--config.{}", "--noconfig.{}", "{}{}"))
            argv.append(form.format(key, value))
        if rng.random() < 0.1:
            argv.append(rng.choice(_FLAGS) + odd.text(rng))
        return Input(
            "argv", "\0".join(a.replace("\0", "") for a in argv).encode("utf-8", "surrogatepass")
        )

    def read(entry: Input) -> None:
        os.chdir(root)
        argv = ["bccl_jax", *entry.content.decode(errors="surrogateescape").split("\0")]
        with _parsed(argv):
            try:
                rest = parsing.parse(argv)
            except SystemExit as end:
                if end.code == 0:
                    return
                consistent(str(end.code).startswith("error: "), "an end", end.code)
                raise BcclError(str(end.code)) from end
            if len(rest) > 1:
                raise BcclError(parsing.no_flag(rest[1]))
            check_together(flags.FLAGS)
            config = flags.FLAGS.config
            validate(config)
            consistent(flatten(config) == flatten(config.copy_and_resolve_references()), "config")

    whole = Input("argv", b"--config=digits_lt\0--config.epochs=60")
    return Surface(make, read, ("",), [whole])


@contextlib.contextmanager
def _parsed(argv: list[str]):
    """The flags are those of a process that was just started."""
    before, sys.argv = sys.argv, argv
    known = set(flags.FLAGS)
    try:
        yield
    finally:
        sys.argv = before
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
        for name in known:
            flags.FLAGS[name].unparse()


KINDS = [Kind("command_line", 2, _command_line)]
