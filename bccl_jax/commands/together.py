"""Which flags of the command line go with which mode."""

from absl import flags

from bccl_jax.errors import BcclError

MODES = ("train", "eval", "inspect", "estimate", "views", "pack")

# Those whose --output names what they write.
_WRITING = ("pack", "views", "estimate")


def check_together(given: flags.FlagValues) -> None:
    """Checks that each flag goes with the mode and with the others.

    Args:
      given: the flags of `bccl_jax/main.py`, parsed.

    Raises:
      BcclError: one does not.
    """
    mode = given.mode
    if given.checkpoint is not None and mode not in ("train", "eval"):
        raise BcclError("--checkpoint goes with --mode=eval, or with training to go on from it")
    if given.verify and mode not in ("inspect", "pack"):
        raise BcclError("--verify goes with --mode=inspect or --mode=pack")
    for name in ("output", "test"):
        if given[name].value == "":
            raise BcclError(f"--{name} is empty; name a folder, or leave it out")
    for name in ("details", "test"):
        if given[name].value and mode != "eval":
            raise BcclError(f"--{name} goes with --mode=eval")
    if given.known_only and given.test is None:
        raise BcclError("--known_only goes with --test=DIR or --test=LIST.csv")
    if mode == "pack" and given.output is None:
        raise BcclError("--mode=pack and --output=DIR go together")
    if given.output is not None and mode not in _WRITING and not given.details:
        raise BcclError(
            "--output goes with --mode=pack, --mode=views, --mode=estimate or --mode=eval --details"
        )
    if given.overwrite and mode not in ("views", "estimate"):
        raise BcclError("--overwrite goes with --mode=views or --mode=estimate")
