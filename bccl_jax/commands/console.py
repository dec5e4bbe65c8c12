"""The command `bccl_jax` that pip installs: `python -m` of the package's commands, by short names.

bccl_jax --config=digits_lt             python -m bccl_jax.main --config=digits_lt
bccl_jax predict runs/digits_lt PHOTOS  python -m bccl_jax.predict runs/digits_lt PHOTOS
bccl_jax experiments run table4         python -m bccl_jax.experiments.run table4
"""

import importlib.util
import runpy
import sys

from bccl_jax.settings.suggestions import did_you_mean, nearest

# The words of a command, and the module that is run; without any it is `main`. What lies in
# experiments/ of the repository is installed within the package.
COMMANDS = {
    "predict": "bccl_jax.predict",
    "share": "bccl_jax.share",
    "export": "bccl_jax.export",
    "report": "bccl_jax.report",
    "datasets": "bccl_jax.datasets",
    "experiments run": "bccl_jax.experiments.run",
    "experiments report": "bccl_jax.experiments.report",
    "experiments embedding_picture": "bccl_jax.experiments.embedding_picture",
}


def module_of(words: str) -> str:
    """The module of a command as `python -m` finds it here.

    Args:
      words: of the command, a key of `COMMANDS`.
    """
    module = COMMANDS[words]
    within = importlib.util.find_spec("bccl_jax.experiments") is not None
    return module if within else module.replace("bccl_jax.experiments", "experiments")


def run() -> None:
    """Runs what the command line says, as `python -m` does.

    Raises:
      SystemExit: of the command; or there is none of that name.
    """
    module, arguments = chosen(sys.argv[1:])
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def chosen(arguments: list[str]) -> tuple[str, list[str]]:
    """The module that a command line means, and the arguments that are left for it.

    Args:
      arguments: without the program.

    Raises:
      SystemExit: its words are nearly those of a command.
    """
    for number in (1, 2):
        words = " ".join(arguments[:number])
        if words in COMMANDS:
            return COMMANDS[words], arguments[number:]
    first, second = [*arguments, "", ""][:2]
    group = {c.partition(" ")[2]: c for c in COMMANDS if c.partition(" ")[0] == first}
    if group:
        meant = group.get(nearest(second, group))
        mend = did_you_mean(f"bccl_jax {meant}") if meant else f"; there are {', '.join(group)}"
        raise SystemExit(f"error: bccl_jax {first} {second or 'alone'} is no command{mend}")
    firsts = [command.partition(" ")[0] for command in COMMANDS]
    if meant := nearest(first, firsts, 0.75):
        raise SystemExit(
            f"error: bccl_jax {first} is no command{did_you_mean(f'bccl_jax {meant}')}"
        )
    # What is no command at all is told there.
    return "bccl_jax.main", arguments
