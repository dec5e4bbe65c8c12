"""What pip installs: requirements, extras and the command; .ci/run installs a wheel and trains."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib

import pytest

from bccl_jax.commands.console import COMMANDS, chosen
from tests.tiny import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DYNAMIC = PROJECT["tool"]["setuptools"]["dynamic"]
EXTRAS = DYNAMIC["optional-dependencies"]
# Of users who have them; the message that wants one says so.
OPTIONAL = {"mlflow", "torch", "wandb"}


def required(entry):
    """The distributions that the files of an entry of pyproject.toml name."""
    lines = [line for file in entry["file"] for line in (ROOT / file).read_text().splitlines()]
    assert not any(line.startswith("-") for line in lines), "setuptools reads no options"
    return {re.match(r"[\w-]+", line)[0] for line in lines if line and not line.startswith("#")}


def imported():
    """{module of others: the files that import it} of all that is installed."""
    found = {}
    for folder in ("bccl_jax", "configs", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module]
                for name in names:
                    found.setdefault(name.partition(".")[0], set()).add(path.name)
    ours = {"bccl_jax", *sys.stdlib_module_names}
    return {name: files for name, files in found.items() if name not in ours | OPTIONAL}


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_required_and_nothing_else():
    distributions = importlib.metadata.packages_distributions()
    # A distribution is called like its module where it is not installed here.
    used = {plain(d) for module in imported() for d in distributions.get(module, [module])}
    core = {plain(name) for name in required(DYNAMIC["dependencies"])}
    tfds = {plain(name) for name in required(EXTRAS["tfds"])}
    export = {plain(name) for name in required(EXTRAS["export"])}
    report = {plain(name) for name in required(EXTRAS["report"])}
    # What jax2onnx brings into orbax's namespace, and what others import without naming it.
    unnamed = {"importlib-resources", "flatbuffers"}
    assert used - core - {"orbax-export"} == (tfds | export | report) - core - unnamed
    assert core <= used
    # A lean installation can do without.
    assert imported()["tensorflow_datasets"] == {"prepared.py"}
    assert imported()["jax2onnx"] == imported()["onnxruntime"] == {"onnx_file.py"}
    assert imported()["plotly"] == {"library.py"}


def test_every_file_of_requirements_is_an_extra_or_made_of_them():
    assert set(EXTRAS) == {"cuda", "tfds", "export", "report", "docs"}
    assert {file for entry in EXTRAS.values() for file in entry["file"]} == {
        f"requirements/{path.name}" for path in (ROOT / "requirements").iterdir()
    }
    lines = (ROOT / "requirements.txt").read_text().split("\n")
    parts = ("-cpu", "/cuda", "/tfds")
    assert lines == [*(f"-r requirements{part}.txt" for part in parts), ""]
    assert required(EXTRAS["cuda"]) == {"jax"}


@pytest.mark.parametrize(
    ("arguments", "module", "left"),
    [
        (["--config=digits_lt"], "bccl_jax.main", ["--config=digits_lt"]),
        (["--workdir", "runs"], "bccl_jax.main", ["--workdir", "runs"]),
        ([], "bccl_jax.main", []),
        (["eval"], "bccl_jax.main", ["eval"]),
        (["predict", "runs/a", "b.jpg"], "bccl_jax.predict", ["runs/a", "b.jpg"]),
        (["digits_lt", "--mode=eval"], "bccl_jax.main", ["digits_lt", "--mode=eval"]),
        (["experiments", "run", "table4"], "bccl_jax.experiments.run", ["table4"]),
        (["experiments", "report", "-h"], "bccl_jax.experiments.report", ["-h"]),
    ],
)
def test_the_command_is_a_module_by_its_short_name(arguments, module, left):
    assert chosen(arguments) == (module, left)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiments"], "experiments alone is no command; there are run, report, embedding_p"),
        (["experiments", "--seeds=3"], "experiments --seeds=3 is no command; there are run"),
        (["experiments", "table4"], "experiments table4 is no command; there are run, report"),
        (["experiments", "rum"], "no command; did you mean bccl_jax experiments run?"),
        (["experiment", "report"], "experiment is no command; did you mean bccl_jax experiments?"),
    ],
)
def test_a_wrong_command_is_one_sentence(arguments, message):
    with pytest.raises(SystemExit) as end:
        chosen(arguments)
    assert message in str(end.value)
    assert str(end.value).startswith("error: bccl_jax experiment")


def commands_in(folder, package):
    """The modules of a folder that `python -m` runs."""
    paths = [
        path for path in folder.glob("*.py") if 'if __name__ == "__main__":' in path.read_text()
    ]
    return {f"{package}.{path.stem}" for path in paths}


def test_every_command_of_the_package_has_a_short_name():
    there = commands_in(ROOT / "bccl_jax", "bccl_jax")
    there |= commands_in(ROOT / "experiments", "bccl_jax.experiments")
    # These write pages of the repository.
    pages = {
        f"bccl_jax.experiments.{n}"
        for n in ("methods_page", "leaderboard", "keys_page", "concept_figures")
    }
    assert there - {"bccl_jax.main", "bccl_jax.__main__"} - pages == set(COMMANDS.values())
    for words, module in COMMANDS.items():
        assert chosen([*words.split(), "x"]) == (module, ["x"])


@pytest.mark.parametrize("arguments", [["predict", "--help"], ["datasets", "--help"]])
def test_the_package_itself_is_run_as_the_command_is(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "bccl_jax", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m bccl_jax.{arguments[0]} ")
