"""What README.md and docs/ name of the repository is there."""

import re

import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config import flatten, shipped
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
# What is called a mistake, and what a method of the page's own has.
NO_KEYS = {"README.md": {"lr"}, "extending.md": {"method.gamma"}}
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_configs_that_a_page_names_by_bare_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"--config=([a-z]\w+)(?![\w./])", text))
    assert named <= set(shipped.names())
    assert named or page != ROOT / "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_config_keys_that_a_page_names_are_there(page):
    keys = set().union(*(flatten(default.get_config(name)) for name in methods.names()))
    groups = {key.rpartition(".")[0] for key in keys} - {""}
    text = page.read_text(encoding="utf-8")
    given = set(re.findall(r"--config\.([a-z_][a-z_0-9.]*[a-z_0-9])", text))
    # In quotes they stand without config, as `data.dir` does.
    quoted = {
        name
        for name in re.findall(r"`([a-z_]+\.[a-z_0-9.]*[a-z_0-9])`", text)
        if name.partition(".")[0] in groups and not (ROOT / PACKAGE / name).exists()
    }
    unknown = (given | quoted) - keys - groups - NO_KEYS.get(page.name, set())
    assert not unknown, f"{page.name} names keys that no config has: {sorted(unknown)}"


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


def test_every_module_is_named_in_the_row_of_its_room():
    named: dict = {}
    for folder, contents in rows():
        named.setdefault(place_of(folder), set()).update(re.findall(r"`(\w+)`", contents))
    lacking = [
        str(path.relative_to(ROOT))
        for path in modules().values()
        if path.name != "__init__.py"
        and path.parent != ROOT / PACKAGE
        and path.stem not in named.get(path.parent, ())
    ]
    assert not lacking, f"no row of docs/architecture.md names {sorted(lacking)}"
