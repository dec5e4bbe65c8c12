"""The averaged network of a run, evaluated beside the raw one."""

from typing import Any

from bccl_jax.data.split import Split
from bccl_jax.evaluation.told import evaluate_split
from bccl_jax.training.assemble import Run
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.checkpoint import Checkpoints


def average_record(
    run: Run, state: TrainState, split: Split, where: str = ""
) -> dict[str, dict[str, Any]]:
    """What an epoch's record has of the averaged network.

    The method's own state is the raw network's.

    Args:
      run: whose state it is.
      state: after an epoch.
      split: to be predicted.
      where: what stands before "evaluating" while that is under way.

    Returns:
      {"eval_ema": the figures that "eval" has}, and nothing for a run without an average.
    """
    if not run.config.optimizer.ema:
        return {}
    evaluation = evaluate_split(run.classifier, state.averaged, split, f"{where}averaged weights  ")
    return {"eval_ema": evaluation.record()}


def final_averages(
    run: Run, checkpoints: Checkpoints, state: TrainState, records: list[dict], best: dict
) -> dict[str, dict[str, Any]]:
    """The figures of the averaged network at the end of a run, on the test split.

    Args:
      run: that is complete.
      checkpoints: of it.
      state: after the last step.
      records: of all epochs.
      best: the record of the best epoch, which is the raw network's.

    Returns:
      {"last": figures, "best": figures}; nothing for a run without an average.
    """
    if not run.config.optimizer.ema:
        return {}
    if run.dataset.validation is None:
        # What the run was watched on.
        return {"last": records[-1]["eval_ema"], "best": best["eval_ema"]}
    found = {"last": average_record(run, state, run.dataset.test)["eval_ema"]}
    if best is not records[-1]:
        state, _ = checkpoints.restore(best["step"], run.abstract_state)
        return found | {"best": average_record(run, state, run.dataset.test)["eval_ema"]}
    return found | {"best": found["last"]}
