"""Commands of pages, checked by the programs themselves up to where their work would begin."""

import argparse
import contextlib
import functools
import importlib
import importlib.util
import json
import re
import runpy
import subprocess
import sys
import tomllib
import warnings
from unittest import mock

from absl.testing import flagsaver

from bccl_jax import main
from bccl_jax.commands import parsing
from bccl_jax.config import flatten, shipped
from bccl_jax.errors import BcclError
from bccl_jax.system import tensor_files
from experiments.designing import selection
from faults import forks
from tests.pages import commands, files, pages
from tests.tiny import ROOT

# What a page has in the place of something of the reader's own.
_PLACES = {
    **{
        "DIR": "data",
        "LISTS": "data",
        "PHOTOS": "photos",
        "PATH": "python",
        "RUN": "runs/digits_lt",
    },
    **{"METHOD": "bccl", "SEED": "0", "SEEDS": "3", "EXPERIMENT": "table4"},
}
# Modules that read no flags by argparse; to run one of ours would write its page.
_NOT_READ = {
    *("venv", "http.server", "pytest", "tests.architecture"),
    *(
        "experiments.methods_page",
        "experiments.leaderboard",
        "experiments.keys_page",
        "experiments.concept_figures",
    ),
}
# Packages that pages name for the reader to install and that no requirements file has.
_OTHERS = {"tensorboard", "wandb", "mlflow"}
# What a module reads its flags with.
_ALL_READING = (
    (argparse.ArgumentParser, "parse_args"),
    (argparse.ArgumentParser, "parse_intermixed_args"),
    (selection, "parse"),
)
_READING = {"bccl_jax.datasets": [(argparse.ArgumentParser, "parse_known_args")]}


class _Reached(BaseException):
    """The flags are right: what follows is the work."""


def check(command, folder):
    """Checks a command of a page; a mistake is an AssertionError with what the program says.

    Args:
      command: of `tests.pages`.
      folder: the working directory, as `prepare` made it.
    """
    module, arguments = command.module
    arguments = [word for word in map(_filled, arguments) if word]
    with contextlib.chdir(folder):
        if module == "bccl_jax.main":
            said = _of_main(arguments, folder)
        elif module:
            said = _of_module(module, arguments)
        elif command.words:
            said = _of_others(command.program)
        else:
            said = _of_script(command.text)
    assert not said, f"{command}\n{said}"


def prepare(folder):
    """Makes what the commands expect to lie in a folder: pages' files, runs' configs."""
    for name in ("configs", "docs"):
        (folder / name).symlink_to(ROOT / name)
    for text in pages().values():
        for name, code in files(text).items():
            (folder / name).write_text(code)
    for command in commands():
        if command.output.endswith(".py"):
            (folder / command.output).write_text(_PRINTED)
        for word in command.words:
            for run in re.findall(r"(?<![\w/.])(?:runs/\w+|\w+\.safetensors)(?![\w/])", word):
                _make_run(folder / run)


def _filled(word):
    word = re.sub(r"\b[A-Z]+\b", lambda found: _PLACES.get(found[0], found[0]), word)
    # Brackets are around what may be left out, dots in the place of the command above.
    return "--config=digits_lt" if word == "..." else word.strip("[]")


_PRINTED = '''"""A config file."""
from bccl_jax import config as default
def get_config():
    return default.get_config("bccl")
'''


def _make_run(path):
    """A run's directory, or a shared file, as far as the command line looks at it."""
    flat = flatten(_config_of(path.stem))
    if path.suffix:
        tensor_files.write(path, {}, {"config": flat})
    else:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(flat))


@functools.cache
def _config_of(run):
    """The config of a run that is called as runs are if nobody names them, else of digits."""
    for name in sorted(shipped.names(), key=len, reverse=True):
        if run == name or run.startswith(f"{name}_"):
            method = run.removeprefix(name).lstrip("_")
            return shipped.get_config(name, method if method in _METHODS else "bccl")
    return shipped.get_config("digits_lt", "bccl")


_METHODS = ("cross_entropy", "balanced_softmax", "logit_adjustment")


def _of_main(arguments, folder):
    own = any(re.search(r"imports=|--config=my_", word) for word in arguments)
    if own or "--help" in arguments:
        # What they register would stay.
        only = [] if "--help" in arguments else ["--print_config"]
        done = forks.run(*arguments, *only, cwd=folder)
        return done.stderr if done.returncode else ""
    program = ["python -m bccl_jax.main", *arguments]
    work = {name: mock.Mock(side_effect=_Reached) for name in ("_inspect", "_pack", "_prepare_jax")}
    with flagsaver.flagsaver(), mock.patch.object(sys, "argv", program):
        try:
            rest = parsing.parse(program)
            with mock.patch.multiple(main, **work), contextlib.redirect_stdout(None):
                main.main(rest)
        except _Reached:
            return ""
        except (SystemExit, BcclError) as error:
            return str(error)
    return "" if "--print_config" in arguments else "it came to no work"


def _of_module(module, arguments):
    if module in _NOT_READ:
        return "" if importlib.util.find_spec(module) else f"there is no module {module}"
    place = ROOT / module.replace(".", "/")
    if not place.with_suffix(".py").is_file() and not (place / "__main__.py").is_file():
        return f"there is no module {module}"
    with contextlib.ExitStack() as stack:
        for owner, name in _READING.get(module, _ALL_READING):
            stack.enter_context(mock.patch.object(owner, name, _then_reached(getattr(owner, name))))
        stack.enter_context(mock.patch.object(sys, "argv", [module, *arguments]))
        said = stack.enter_context(contextlib.redirect_stderr(_Text()))
        stack.enter_context(warnings.catch_warnings())
        # It is imported already.
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except _Reached:
            return ""
        except SystemExit as end:
            return f"{said.text}{end}"
    return "it reads no flags"


class _Text:
    """What is written to it, as a text."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def _then_reached(function):
    @functools.wraps(function)
    def called(*arguments, **options):
        found = function(*arguments, **options)
        # Of `parse_known_args`: what it does not know.
        if isinstance(found, tuple) and found[1]:
            return found
        raise _Reached

    return called


def _of_script(text):
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True)
    return done.stderr


def _of_others(words):
    program, arguments = words[0], words[1:]
    if program == "make":
        targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        unknown = {word for word in arguments if "=" not in word} - set(" ".join(targets).split())
        return unknown and f"the Makefile has no {unknown}"
    if program == "pip":
        return _of_pip(arguments)
    return ""


def _of_pip(arguments):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["tool"]["setuptools"]["dynamic"]["optional-dependencies"]
    named = [path.read_text() for path in ROOT.rglob("requirements*/*.txt")]
    named += [path.read_text() for path in ROOT.glob("requirements*.txt")]
    known = set(re.findall(r"^[\w-]+", "\n".join(named), re.MULTILINE)) | _OTHERS
    before = ""
    for word in arguments[1:]:
        if before == "-r":
            if not (ROOT / word).is_file():
                return f"there is no {word}"
        elif found := re.match(r"bccl_jax\[([\w,]+)\]", word):
            if unknown := set(found[1].split(",")) - extras.keys():
                return f"there is no extra {unknown}"
        elif not word.startswith(("-", ".")) and re.match(r"[\w-]+", word)[0] not in known:
            return f"no requirements file has {word}"
        before = word
    return ""
