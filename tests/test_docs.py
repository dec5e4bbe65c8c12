"""What README.md and docs/ name of the repository is there."""

import re

import pytest

from tests.architecture import DOCUMENT, PACKAGE, ROOT, modules

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A path from the root or, as in docs/architecture.md, from bccl_jax/.
FILE = re.compile(r"(?<![\w./-])(?:[\w-]+/)+[\w-]+\.py\b")
COMMAND = re.compile(r"python3? -m ([\w.]+)")
# The code that Kim & Ko 2025 released, and what is called otherwise with each user.
ELSEWHERE = {
    "paper_and_code.md": {
        "dataset/transform.py",
        "loss/contrastive.py",
        "model/models.py",
        "model/resnet.py",
    },
}
PLACEHOLDER = "NAME"
OTHERS_MODULES = {"pip", "pytest", "venv"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    named = {path for path in FILE.findall(text) if PLACEHOLDER not in path}
    missing = {
        path
        for path in named - ELSEWHERE.get(page.name, set())
        if not (ROOT / path).is_file() and not (ROOT / PACKAGE / path).is_file()
    }
    assert not missing, f"{page.name} names what is not there: {sorted(missing)}"
    for module in {name for name in COMMAND.findall(text) if PLACEHOLDER not in name}:
        if module.partition(".")[0] in OTHERS_MODULES:
            continue
        place = ROOT / module.replace(".", "/")
        there = place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()
        assert there, f"{page.name} names python -m {module}, which is not there"


def rows():
    """(room, what is in it); a row without a room goes on with that of the row before."""
    found, name = [], None
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if row := re.fullmatch(r"\| (?:`([\w/.]+)`)? ?\| (.*) \|", line):
            name = row[1] or name
            found.append((name, row[2]))
    return found


def place_of(name):
    """Where what a row is of lies: below bccl_jax/ if it is there, else below the root."""
    return next(place for place in (ROOT / PACKAGE / name, ROOT / name) if place.exists())


def test_every_room_has_a_row():
    there = {place_of(name) for name, _ in rows()}
    # A package, or a module beside the rooms; the root is what the page is about.
    rooms = {
        path.parent if path.name == "__init__.py" else path
        for path in modules().values()
        if path.name == "__init__.py" or path.parent == ROOT / PACKAGE
    }
    lacking = sorted(str(path.relative_to(ROOT)) for path in rooms - there - {ROOT / PACKAGE})
    assert not lacking, f"no table of docs/architecture.md has a row for {lacking}"


def test_the_modules_that_a_row_names_are_there():
    """In a row of DIR/ each word in quotes is a module or a part of DIR."""
    for folder, contents in rows():
        for name in re.findall(r"`(\w+)`", contents):
            place = place_of(folder) / name
            there = place.is_dir() or place.with_suffix(".py").is_file()
            assert there, f"docs/architecture.md has {name} in {folder}, where it is not"
