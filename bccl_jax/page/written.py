"""The file of a report: which one it is, and that it replaces reports alone."""

import pathlib
from collections.abc import Sequence

from bccl_jax.errors import BcclError
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import shown
from bccl_jax.use.output import file_to_write, write_whole

NAME = "report.html"
# In the head of each report, and of nothing else.
MARK = '<meta name="generator" content="bccl_jax.report">'


def page_file(runs: Sequence[str], output: str | None) -> pathlib.Path:
    """Where a report is written, checked before anything is computed.

    Args:
      runs: directories of runs, or shared files.
      output: as the user names it; None for `NAME` in the directory of the one run.

    Raises:
      BcclError: there is no such place, it cannot be written, or holds a file that is no report.
    """
    if output is None:
        if len(runs) > 1:
            raise BcclError("a report of several runs needs a file of its own: --output=FILE.html")
        directory = expanded(runs[0])
        if not directory.is_dir():
            what = "is a file" if directory.exists() else "is not there"
            raise BcclError(
                f"{shown(runs[0])} {what}, and no directory to write {NAME} into; name the "
                "directory of a run, or a file by --output=FILE.html"
            )
        output = str(directory / NAME)
    path = file_to_write(output, (".html",), overwrite=True)
    if path.exists() and not is_report(path):
        raise BcclError(
            f"--output={shown(output)} is there and no report of this command; name another file"
        )
    return path


def is_report(path: pathlib.Path) -> bool:
    """Whether a file was written by `bccl_jax.report`."""
    with path.open("rb") as file:
        return MARK.encode() in file.read(1000)


def write_page(path: pathlib.Path, text: str) -> int:
    """Writes a report, whole or not at all; returns its bytes.

    Raises:
      BcclError: it cannot be written.
    """
    content = text.encode()
    write_whole(path, content)
    return len(content)
