"""No encoding, lost terminal or closed pipe ends what prints."""

import errno
import io
import os
import pty
import subprocess
import sys

import pytest
from tqdm import tqdm

from bccl_jax.system import output
from bccl_jax.system.output import Output, lasting, of_a_command
from tests.tiny import ROOT


class Raising(io.StringIO):
    """A stream that a system refuses to write to."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))

    def flush(self):
        raise OSError(self.number, os.strerror(self.number))


def printed(encoding, text, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding))
    with lasting():
        print(text, flush=True)
        tqdm.write(text, file=sys.stdout)
        with tqdm(total=2, file=sys.stdout, desc=text) as bar:
            bar.update()
        sys.stdout.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"\xf1 \u4e2d \U0001f600"),
        ("latin-1", "ñ \\u4e2d \\U0001f600"),
        ("cp1252", "ñ \\u4e2d \\U0001f600"),
        ("utf-8", "ñ 中 😀"),
    ],
)
def test_letters_that_an_encoding_lacks_are_escaped(encoding, shown, monkeypatch):
    text = printed(encoding, "a class ñ 中 😀", monkeypatch)
    assert text.startswith(f"a class {shown}\na class {shown}\n")
    assert text.count(shown) >= 3


def test_bytes_of_another_encoding_in_a_name_are_escaped(monkeypatch):
    assert printed("utf-8", "caf\udce9", monkeypatch).startswith("caf\\udce9\n")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EBADF])
def test_a_terminal_that_is_gone_or_a_full_disk_is_written_to_no_more(number, monkeypatch):
    monkeypatch.setattr("sys.stdout", Raising(number))
    with lasting():
        print("lost", flush=True)
        assert sys.stdout.write("lost") == 4


def test_a_closed_pipe_is_told_once_and_swallows_the_rest():
    read, write = os.pipe()
    os.close(read)
    told = []
    with open(write, "w") as pipe:
        stream = Output(pipe, lambda: told.append(True))
        for _ in range(3):
            print("x" * 100_000, file=stream, flush=True)
    assert told == [True]


def test_a_command_whose_reader_is_gone_ends_as_by_sigpipe(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        with pytest.raises(SystemExit) as end, of_a_command():
            print("never read")
    assert end.value.code == output.PIPE_CLOSED == 141


def end_with(code):
    print("a table")
    raise SystemExit(code)


def test_what_a_full_disk_did_not_take_is_told_and_is_no_success(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as end, of_a_command():
            end_with(0)
        # Nothing is left that the interpreter's end would try to write.
        full.flush()
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: what was to be printed is lost")
    assert "No space left on device" in told
    assert told.count("\n") == 1


def test_a_full_disk_does_not_hide_how_a_command_failed(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as end, of_a_command():
            end_with(143)
    assert end.value.code == 143


def test_without_any_output_a_command_does_its_work(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    with lasting():
        print("nowhere")


SCRIPT = """
import os, sys
from bccl_jax.system.output import of_a_command
with of_a_command():
    print("to nowhere")
    with open(sys.argv[1], "w") as file:
        assert file.fileno() > 2
        print("an error", file=sys.stderr)
    assert os.read(0, 1) == b""
"""


def test_closed_descriptors_are_not_taken_by_the_files_of_a_run(tmp_path):
    path = tmp_path / "results.json"
    # The shell closes all three.
    line = '"$0" -c "$1" "$2" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", line, sys.executable, SCRIPT, path], cwd=ROOT)
    assert done.returncode == 0
    assert path.read_text() == ""


def test_a_terminal_that_hangs_up_ends_nothing(monkeypatch):
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with lasting(), tqdm(total=3, file=sys.stderr, mininterval=0) as bar:
            bar.update()
            os.close(ours)
            bar.update()
            print("still here", file=sys.stderr, flush=True)
            bar.update()
