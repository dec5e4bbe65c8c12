"""Where the documentation is: beside the package in a checkout, else in the repository."""

import importlib.metadata
import os
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# The package's description is its README.
_README = "import importlib.metadata as m; print(m.metadata('bccl_jax')['Description'])"


def page(name: str) -> str:
    """How a message names a page of the documentation.

    Args:
      name: of its file, such as "datasets.md".

    Returns:
      Its path where the repository is; elsewhere it says that the page is there.
    """
    folder = _folder()
    return f"docs/{name} of the repository" if folder is None else os.path.join(folder, name)


def overview() -> list[str]:
    """Lines on where to begin to read."""
    folder = _folder()
    if folder is not None:
        return [
            f"Documentation: {os.path.join(folder, 'index.md')}; make docs builds it as a site."
        ]
    return [
        "Documentation: docs/ of the project's repository. Here is the README:",
        f'  python -c "{_README}"',
        *(f"  {address}" for address in _addresses()),
    ]


def _folder() -> str | None:
    """The folder of the pages, from the working directory if that is the repository."""
    if not (_ROOT / "mkdocs.yml").is_file() or not (_ROOT / "docs").is_dir():
        return None
    try:
        here = os.path.samefile(os.getcwd(), _ROOT)
    except OSError:  # a working directory that is gone
        here = False
    return "docs" if here else str(_ROOT / "docs")


def _addresses() -> list[str]:
    """The addresses that the installed package names, such as "Documentation: https://..."."""
    try:
        named = importlib.metadata.metadata("bccl_jax").get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [text.partition(",")[2].strip() for text in named]
