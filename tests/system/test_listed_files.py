"""Small files with a list of their digests: whole, damaged, killed between two writes."""

import hashlib
import shutil
import subprocess

import pytest

from bccl_jax.system import listed_files
from bccl_jax.system.listed_files import DamagedFileError, read, write


class Killed(BaseException):
    """In the place of SIGKILL."""


def test_what_is_written_is_read_and_sha256sum_agrees(tmp_path):
    for content in (b"{}", b"", b"[1]"):
        write(tmp_path / "a.json", content)
        write(tmp_path / "b.json", content[::-1])
        assert read(tmp_path / "a.json") == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SHA256SUMS", "a.json", "b.json"]
    wanted = [
        f"{hashlib.sha256(c).hexdigest()}  {n}" for n, c in (("a.json", b"[1]"), ("b.json", b"]1["))
    ]
    assert (tmp_path / "SHA256SUMS").read_text().splitlines() == wanted
    if shutil.which("sha256sum"):
        checked = ["sha256sum", "--check", "SHA256SUMS"]
        assert subprocess.run(checked, cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.parametrize("place", range(8))
def test_each_flipped_bit_is_named_with_the_list(tmp_path, place, monkeypatch):
    monkeypatch.setattr(listed_files, "_WAIT", 0.0)
    write(tmp_path / "a.json", b"x")
    (tmp_path / "a.json").write_bytes(bytes([ord("x") ^ 1 << place]))
    with pytest.raises(DamagedFileError, match=r"a\.json is not what was written, as SHA256SUMS"):
        read(tmp_path / "a.json")
    (tmp_path / "SHA256SUMS").unlink()
    read(tmp_path / "a.json")


@pytest.mark.parametrize("writes", range(6))
def test_a_kill_at_any_write_leaves_the_old_or_the_new_and_nothing_damaged(
    tmp_path, writes, monkeypatch
):
    path = tmp_path / "a.json"
    write(path, b"old")
    replace, done = listed_files._replace, []

    def killed(*arguments):
        if len(done) == writes:
            raise Killed
        done.append(replace(*arguments))

    with monkeypatch.context() as patch:
        patch.setattr(listed_files, "_replace", killed)
        try:
            write(path, b"new")
            write(path, b"newer")
        except Killed:
            pass
    assert read(path) == (b"old", b"old", b"new", b"new", b"new", b"newer")[writes]
    write(path, b"last")
    assert read(path) == b"last"
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 1


def test_a_reader_that_meets_a_writer_looks_once_more(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write(path, b"old")
    monkeypatch.setattr(listed_files, "_WAIT", 0.0)
    read_regular, met = listed_files.read_regular, []

    def meanwhile(given):
        if not met:
            met.append(given)
            write(path, b"new")
        return read_regular(given)

    monkeypatch.setattr(listed_files, "read_regular", meanwhile)
    assert read(path) == b"new"


def test_a_file_that_is_not_listed_is_read_as_it_is_and_a_broken_list_is_named(tmp_path):
    write(tmp_path / "a.json", b"a")
    (tmp_path / "older.json").write_bytes(b"older")
    assert read(tmp_path / "older.json") == b"older"
    (tmp_path / "SHA256SUMS").write_text("no digest\n")
    for call in (lambda: read(tmp_path / "a.json"), lambda: write(tmp_path / "a.json", b"b")):
        with pytest.raises(DamagedFileError, match="SHA256SUMS is damaged .*delete it"):
            call()
    assert (tmp_path / "a.json").read_bytes() == b"a"
