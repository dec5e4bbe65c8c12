"""python -m bccl_jax: the command `bccl_jax` that pip installs."""

from bccl_jax.commands.console import run

if __name__ == "__main__":
    run()
