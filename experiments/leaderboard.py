"""Writes docs/leaderboard.md and its head in README.md from docs/records.

python -m experiments.leaderboard
"""

from .methods_page import DOCS
from .reporting.leaderboard import page, with_head


def main() -> None:
    """Writes the page and the head."""
    if not DOCS.is_dir():
        raise SystemExit(f"error: there is no folder {DOCS}; run it in a clone of the repository")
    readme, path = DOCS.parent / "README.md", DOCS / "leaderboard.md"
    headed = with_head(readme.read_text(encoding="utf-8"), DOCS / "records")
    for target, text in {path: page(DOCS / "records"), readme: headed}.items():
        target.write_text(text, encoding="utf-8")
        print(f"written to {target}")


if __name__ == "__main__":
    main()
