"""A checkpoint in a format of others, in a file."""

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from bccl_jax.classifier.reading import Saved, read
from bccl_jax.devices.jax_settings import usual
from bccl_jax.errors import BcclError
from bccl_jax.system.names import shown
from bccl_jax.use.exporting import onnx_file, stablehlo, torch_file
from bccl_jax.use.exporting.needed import check_installed
from bccl_jax.use.exporting.predictor import predictor
from bccl_jax.use.output import write_whole
from bccl_jax.workdir.opened import config_of, opened

_MAKERS = {
    "stablehlo": stablehlo.exported,
    "onnx": onnx_file.exported,
    "safetensors": torch_file.exported,
}
# Told before anything is read.
_NEEDED = {"stablehlo": stablehlo.NEEDED, "onnx": onnx_file.NEEDED}


class Exported(NamedTuple):
    """A file that was written.

    Attributes:
      saved: what is in it.
      bytes: its size.
      sha256: of the whole file, as sha256sum prints it.
      difference: the largest one between its logits and the run's, on a few made-up images; of
        safetensors between those of the last layer.
    """

    saved: Saved
    bytes: int
    sha256: str
    difference: float


@usual()
def export(
    run: str | os.PathLike,
    output: pathlib.Path,
    kind: str,
    checkpoint: str | None = None,
    *,
    adjust: float | None = None,
    average: bool = False,
    imports: Sequence[str] | None = None,
) -> Exported:
    """Writes what a run trained in a format that needs nothing of this project.

    Args:
      run: the run's directory, or a shared file.
      output: the file.
      kind: "stablehlo", "onnx" or "safetensors".
      checkpoint: "last", "best" or a step; None for the last one, or the one of a shared file.
      adjust: of post-hoc logit adjustment, how much of the log prior is taken from the logits; None
        for what the run was evaluated with.
      average: the averaged weights in the place of the raw ones.
      imports: files of one's own, in place of those that the run remembers.

    Returns:
      What was written.

    Raises:
      BcclError: the run cannot be read, the format cannot hold it or needs what is not installed,
        or the file cannot be written.
    """
    if output.exists() and os.path.samefile(run, output):
        raise BcclError(f"--output={shown(output)} is what is to be exported; name another file")
    check_installed(kind, _NEEDED.get(kind, ()))
    if kind == "safetensors":
        torch_file.check_backbone(config_of(opened(run), imports).model.backbone)
    saved = read(run, checkpoint, average, imports=imports, to_predict=True)
    content, difference = _MAKERS[kind](predictor(saved, adjust))
    write_whole(output, content)
    return Exported(saved, len(content), hashlib.sha256(content).hexdigest(), difference)
