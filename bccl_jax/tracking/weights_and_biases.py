"""Weights & Biases.

Its own variables decide the rest: WANDB_PROJECT, WANDB_ENTITY, WANDB_NAME, WANDB_MODE, WANDB_DIR.
"""

import os
import secrets

from bccl_jax.tracking.service import Service

PROJECT = "bccl_jax"


class WeightsAndBiases(Service):
    """A step there is an epoch here."""

    def open(self, run, known):
        """See `Service`."""
        import wandb

        self._wandb, given = wandb, os.environ
        name = known or given.get("WANDB_RUN_ID") or secrets.token_hex(4)
        self._run = wandb.init(
            project=given.get("WANDB_PROJECT", PROJECT),
            name=given.get("WANDB_NAME", run.workdir.name),
            id=name,
            resume="allow",
            dir=given.get("WANDB_DIR", str(run.workdir)),
            config=dict(run.config),
            allow_val_change=True,
            # Beside a run that a notebook may have of its own.
            reinit="create_new",
            # What is printed stays with its reader: a closed pipe is to be noticed.
            settings=wandb.Settings(console=given.get("WANDB_CONSOLE", "off")),
        )
        return name

    def log(self, numbers, epoch):
        """See `Service`."""
        self._run.log(numbers | {"epoch": epoch}, step=epoch)

    def show(self, name, image, epoch):
        """See `Service`."""
        self._run.log({name: self._wandb.Image(image)}, step=epoch)

    def close(self, numbers, epoch):
        """See `Service`."""
        del epoch
        self._run.summary.update(numbers or {})
        self._run.finish(exit_code=int(numbers is None))
