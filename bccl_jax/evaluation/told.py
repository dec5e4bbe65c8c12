"""An evaluation that says how far it is."""

from collections.abc import Callable

from bccl_jax.classifier.image_classifier import ImageClassifier
from bccl_jax.classifier.variables import Variables
from bccl_jax.data.split import Split
from bccl_jax.devices.mesh import is_lead
from bccl_jax.evaluation.evaluate import Evaluation, evaluate
from bccl_jax.evaluation.over_split import AS_EVALUATED, Reading
from bccl_jax.system.progress import PATIENCE, under_way


def evaluate_split(
    classifier: ImageClassifier,
    variables: Variables,
    split: Split,
    where: str = "",
    note_broken: Callable[[list[int]], None] | None = None,
    *,
    judging: bool = False,
    reading: Reading = AS_EVALUATED,
) -> Evaluation:
    """Evaluates and says how far that is, if it takes long.

    Args:
      classifier: whose predictions they are.
      variables: its arrays, or the state of a run.
      split: to be predicted.
      where: what stands before "evaluating".
      note_broken: called, where this process writes, with the positions of the pictures that
        cannot be decoded.
      judging: see `bccl_jax.evaluation.evaluate.evaluate`.
      reading: see there.

    Returns:
      The figures.

    Raises:
      BcclError: as `bccl_jax.evaluation.evaluate.evaluate`.
    """
    note = note_broken if is_lead() else None
    # The bar of a short evaluation would only flicker.
    with under_way(f"{where}evaluating", len(split), delay=PATIENCE, shown=is_lead()) as task:
        return evaluate(
            classifier, variables, split, task.advance, note, judging=judging, reading=reading
        )
