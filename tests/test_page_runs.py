"""The commands of the pages that need digits or small pictures alone are run, page by page."""

import glob
import re
import shutil
import subprocess

import pytest

from faults import forks
from tests.page_runs import EXCUSED, FIRST, excused, shortened, to_run, write_data
from tests.pages import commands, files, pages
from tests.tiny import ROOT

OTHERS = [page for page in to_run() if page not in FIRST]


def run(command, folder):
    """Runs a command in a folder, as a shell would; it must end well."""
    module, arguments = command.module
    words = shortened(module, arguments) if module else command.program
    words = [part for word in words for part in _globbed(word, folder)]
    if module:
        done = forks.run_python(module, *words, cwd=folder)
    elif words[0] == "python":
        done = forks.run_python(*words[1:], cwd=folder)
    else:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    if command.output:
        (folder / command.output).write_text(done.stdout)


def _globbed(word, folder):
    """The files of a pattern, as the shell hands them over."""
    found = sorted(glob.glob(word, root_dir=folder)) if "*" in word else []
    return found or [word]


def run_page(page, folder):
    for name, code in files(pages()[page]).items():
        (folder / name).write_text(code)
    for command in to_run()[page]:
        run(command, folder)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder in which the first pages were followed to their ends."""
    folder = tmp_path_factory.mktemp("begun")
    write_data(folder)
    for page in FIRST:
        run_page(page, folder)
    return folder


@pytest.fixture
def folder(begun, tmp_path):
    """The same with the data and the runs alone, and a shared file for who speaks of one."""
    for name in ("photos", "other", "new_photos", "new", "runs"):
        shutil.copytree(begun / name, tmp_path / name)
    for path in (tmp_path / "runs").glob("*/views.png"):
        path.unlink()
    shutil.copy(begun / "list.txt", tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    shutil.copytree(tmp_path / "runs" / "digits_lt", tmp_path / "runs" / "mine")
    shutil.copy(begun / "photos.safetensors", tmp_path / "birds.safetensors")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_a_page_run_one_after_the_other(page, folder):
    written = {
        word.partition("=")[2] for c in to_run()[page] for word in c.words if "output=" in word
    }
    for name in written:
        (folder / name).unlink(missing_ok=True)
    run_page(page, folder)


@pytest.mark.slow
def test_the_first_pages_leave_what_they_speak_of(begun):
    for text in map(pages().get, FIRST):
        for name in re.findall(r"`(runs/[\w/]+\.\w+|\w+\.html)`", text):
            assert (begun / name).is_file(), name


def test_every_excuse_is_for_a_command_of_today():
    told = [f"{command.page}: {command.text}" for command in commands()]
    idle = [pattern for pattern, _ in EXCUSED if not any(re.search(pattern, t) for t in told)]
    assert not idle, f"no page has a command that fits {idle}"


def test_most_commands_that_a_newcomer_meets_are_run():
    """An excuse that is too wide would leave the first pages without a test."""
    for page in FIRST:
        left_out = [c for c in commands() if c.page == page and excused(c)]
        assert len(to_run()[page]) >= 5
        assert all(
            re.match(r"(pip|source|python3 -m venv|python read_onnx)", c.text) for c in left_out
        )
