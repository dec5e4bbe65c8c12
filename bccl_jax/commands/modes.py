"""Which flags of the main command go with which --mode."""

from bccl_jax.errors import BcclError

MODES = ("train", "eval", "inspect", "views", "pack")


def check_flags(
    mode: str, *, checkpoint: str | None, verify: bool, output: str | None, overwrite: bool
) -> None:
    """Checks that no flag is given that the mode does not read.

    Args:
      mode: one of `MODES`.
      checkpoint: the value of the flag of that name, as all others.
      verify: the same.
      output: the same.
      overwrite: the same.

    Raises:
      BcclError: a flag is for another mode, or lacking.
    """
    if checkpoint is not None and mode != "eval":
        raise BcclError("--checkpoint goes with --mode=eval; training goes on from the last one")
    if verify and mode not in ("inspect", "pack"):
        raise BcclError("--verify goes with --mode=inspect or --mode=pack")
    if mode == "pack" and output is None:
        raise BcclError("--mode=pack and --output=DIR go together")
    if output is not None and mode not in ("pack", "views"):
        raise BcclError("--output goes with --mode=pack and with --mode=views")
    if overwrite and mode != "views":
        raise BcclError("--overwrite goes with --mode=views")
