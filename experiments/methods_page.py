"""Writes docs/methods.md from the methods' docstrings and from docs/records.

python -m experiments.methods_page
"""

import pathlib

from .reporting.methods_page import page

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Writes the page."""
    if not DOCS.is_dir():
        raise SystemExit(f"error: there is no folder {DOCS}; run it in a clone of the repository")
    path = DOCS / "methods.md"
    path.write_text(page(DOCS / "records"), encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
