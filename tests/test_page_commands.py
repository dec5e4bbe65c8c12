"""The programs take every command of README.md and docs/: flags, names, keys and values."""

import ast
import importlib
import re

import pytest

from tests.checked_commands import check, prepare
from tests.pages import Command, blocks, commands, commands_of, pages

PAGES = sorted({command.page for command in commands()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    prepare(folder)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_take_the_commands_of_a_page(page, folder):
    for command in dict.fromkeys(command for command in commands() if command.page == page):
        check(command, folder)


def test_no_command_needs_a_shell_that_splits_variables():
    """In zsh, the shell of macOS, $FLAGS is one word, whatever is in it."""
    found = []
    for page, text in pages().items():
        for block in blocks(text):
            for name in re.findall(r"^(\w+)=(?=[\"'][^\"'\n]* )", block.text, re.MULTILINE):
                if re.search(rf'(?<!")\${name}\b', text):
                    found.append(f"{page}: ${name}")
    assert not found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("python -m bccl_jax.main --config=digit_lt", "did you mean --config=digits_lt"),
        (
            "python -m bccl_jax.main --config=digits_lt --config.epoch=3",
            "did you mean config.epochs",
        ),
        ("python -m bccl_jax.main --config=digits_lt --config.epochs=none", "whole number"),
        ("python -m bccl_jax.main --config=digits_lt --verify", "--verify goes with"),
        ("python -m bccl_jax.main --workdir=runs/digits_lt --mode=evaluate", "--mode"),
        ("python -m bccl_jax.predict runs/digits_lt a.jpg --tops=3", "--tops"),
        ("python -m bccl_jax.export runs/digits_lt --format=onx", "onx"),
        ("python -m experiments.run table9", "did you mean"),
        ("bccl_jax experiments run table4 --dataset=digit", "digit"),
        ("python -m benchmarks.step --sides=3", "--sides"),
        ("python -m bccl_jax.predicts a", "no module"),
        ("pip install -r requirements-gpu.txt", "there is no requirements-gpu.txt"),
        ('pip install "bccl_jax[gpu]"', "no extra"),
        ("python -m bccl_jax.datasets cifar1000", "did you mean cifar100"),
        ("python -m bccl_jax.datasets cifar100 --dirs=data", "did you mean --dir"),
        ("make runs", "the Makefile has no"),
    ],
)
def test_a_command_that_is_wrong_fails(text, said, folder):
    (command,) = commands_of("page.md", f"\n\n    {text}\n")
    with pytest.raises(AssertionError, match=said):
        check(command, folder)


def test_a_script_that_is_wrong_fails(folder):
    (command,) = commands_of("page.md", "```bash\nfor x in a; do\n  echo $x\n```\n")
    with pytest.raises(AssertionError, match="syntax error"):
        check(command, folder)


def test_commands_are_found_however_they_stand_on_a_page():
    page = """Try it:

    SMALL="--config.epochs=2 --config.seed=1"
    python -m bccl_jax.main --config=digits_lt $SMALL \\
        --mode=eval      # a remark

Some output, and no command:

    last (epoch 2)   95.61

```
cd x && python -m bccl_jax.predict runs/a 'a b.jpg' > found.txt
```

```python
python = 1
```
"""
    assert commands_of("page.md", page) == [
        Command(
            "page.md",
            4,
            "python -m bccl_jax.main --config=digits_lt --config.epochs=2 --config.seed=1 "
            "--mode=eval",
            (
                *("python", "-m", "bccl_jax.main", "--config=digits_lt", "--config.epochs=2"),
                *("--config.seed=1", "--mode=eval"),
            ),
        ),
        Command("page.md", 12, "cd x", ("cd", "x")),
        Command(
            "page.md",
            12,
            "python -m bccl_jax.predict runs/a 'a b.jpg'",
            ("python", "-m", "bccl_jax.predict", "runs/a", "a b.jpg"),
            "found.txt",
        ),
    ]


def test_a_line_among_commands_that_is_none_is_told():
    with pytest.raises(ValueError, match=r"page.md:4: is no command: pyhton x.py"):
        commands_of("page.md", "\n\n    python x.py\n    pyhton x.py\n")


@pytest.mark.parametrize("page", sorted(pages()))
def test_python_of_a_page_can_be_read_and_names_what_is_there(page):
    for block in blocks(pages()[page]):
        if block.kind != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("bccl_jax"):
                for name in (alias.name for alias in node.names):
                    _check_there(node.module, name, f"{page}:{block.line}")


def _check_there(module, name, where):
    if not hasattr(importlib.import_module(module), name):
        try:
            importlib.import_module(f"{module}.{name}")
        except ImportError:
            pytest.fail(f"{where}: {module} has no {name}")
