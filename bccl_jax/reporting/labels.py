"""How a checkpoint is called beside its figures."""

import ml_collections


def label(
    config: ml_collections.ConfigDict,
    which: str,
    epoch: int,
    chosen_on: str,
    average: bool = False,
) -> str:
    """How a table calls the figures of a checkpoint.

    Args:
      config: of the run.
      which: "last", "best" or a step.
      epoch: complete epochs.
      chosen_on: the split that the best epoch was chosen on.
      average: whether the figures are of averaged weights.
    """
    notes = [f"epoch {epoch}"]
    if which == "best":
        notes.append(f"chosen on the {chosen_on} set")
    if config.eval.logit_adjustment:
        notes.append(f"logits adjusted by {config.eval.logit_adjustment:g}")
    name = which if which in ("last", "best") else "saved"
    return f"{name}{' averaged' if average else ''} ({', '.join(notes)})"
