"""A data set from a server: whole, resumed, or one sentence, and nothing is ever overwritten."""

import hashlib
import io
import pathlib
import random
import socket
import tarfile
import threading

import pytest

from bccl_jax import datasets
from bccl_jax.data.downloading import archives, fetching, transfer, unpacking
from bccl_jax.data.downloading.archives import ARCHIVES, Archive
from bccl_jax.data.formats import cifar
from bccl_jax.errors import DataError
from bccl_jax.system.locks import lock
from tests.data.downloading.server import serving

FILES = {
    "train": random.Random(0).randbytes(100_000),
    "test": random.Random(1).randbytes(10_000),
    "meta": b"names",
}


def packed(members, folder="tiny-py"):
    """A gzipped tar file of {name: bytes, or TarInfo without any}."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name if name.startswith(("/", ".")) else f"{folder}/{name}"
            data = content if isinstance(content, bytes) else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def described(content, files=FILES, addresses=()):
    return Archive(
        name="tiny",
        file="tiny.tar.gz",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        folder="tiny-py",
        members={name: hashlib.md5(data).hexdigest() for name, data in files.items()},
        addresses=addresses,
    )


CONTENT = packed(FILES | {"readme.html": b"not needed"})
TINY = described(CONTENT)


def fetch(directory, *addresses, archive=TINY):
    """What is told."""
    lines = []
    folder = fetching.fetch(archive, directory, addresses, lines.append)
    assert folder == directory / archive.folder
    return "\n".join(lines)


def unpacked(directory):
    folder = directory / "tiny-py"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def left(directory):
    return sorted(path.name for path in directory.iterdir())


def test_it_is_downloaded_checked_and_unpacked_into_a_new_folder(tmp_path):
    directory = tmp_path / "new" / "data"
    with serving(CONTENT) as server:
        told = fetch(directory, server.address())
        assert server.asked == [None]
    assert unpacked(directory) == FILES
    assert left(directory) == ["tiny-py", "tiny.tar.gz"]
    assert (directory / "tiny.tar.gz").read_bytes() == CONTENT
    assert f"unpacked into {directory}/tiny-py" in told
    # As of any new folder, whatever rights its making needed.
    assert (directory / "tiny-py").stat().st_mode == directory.stat().st_mode


def test_what_an_interrupted_download_left_is_gone_on_from(tmp_path):
    (tmp_path / "tiny.tar.gz.part").write_bytes(CONTENT[:1000])
    with serving(CONTENT) as server:
        fetch(tmp_path, server.address())
        assert server.asked == ["bytes=1000-"]
    assert unpacked(tmp_path) == FILES
    assert left(tmp_path) == ["tiny-py", "tiny.tar.gz"]


def test_what_is_there_whole_is_not_asked_for(tmp_path):
    (tmp_path / "tiny.tar.gz.part").write_bytes(CONTENT)
    fetch(tmp_path, "http://127.0.0.1:9/")
    assert unpacked(tmp_path) == FILES


def test_a_connection_that_breaks_again_and_again_is_taken_up_again(tmp_path):
    with serving(CONTENT, most=40_000) as server:
        fetch(tmp_path, server.address())
        assert server.asked == [None, "bytes=40000-", "bytes=80000-"]
    assert unpacked(tmp_path) == FILES


def test_a_server_that_gives_no_parts_is_asked_for_all(tmp_path):
    (tmp_path / "tiny.tar.gz.part").write_bytes(b"x" * 1000)
    with serving(CONTENT, ranges=False) as server:
        fetch(tmp_path, server.address())
        assert server.asked == ["bytes=1000-"]
    assert unpacked(tmp_path) == FILES


def test_a_server_without_parts_that_breaks_ends_in_a_sentence(tmp_path):
    with serving(CONTENT, ranges=False, most=700) as server:
        with pytest.raises(DataError, match=r"goes on from the 700 of [\d,]+ bytes that came"):
            fetch(tmp_path, server.address())
        assert len(server.asked) == 2
    assert (tmp_path / "tiny.tar.gz.part").read_bytes() == CONTENT[:700]


@pytest.mark.parametrize("beginning", [b"x" * 1000, b"x" * (len(CONTENT) + 5)])
def test_a_beginning_of_something_else_is_thrown_away(tmp_path, beginning):
    (tmp_path / "tiny.tar.gz.part").write_bytes(beginning)
    with serving(CONTENT) as server:
        fetch(tmp_path, server.address())
        assert server.asked[-1] is None
    assert unpacked(tmp_path) == FILES


def test_another_file_of_that_size_is_refused_and_deleted(tmp_path):
    with serving(CONTENT[:-1] + b"x") as server, pytest.raises(DataError) as error:
        fetch(tmp_path, server.address())
    assert "is not the published file (its SHA-256 is another one) and was deleted" in str(
        error.value
    )
    assert left(tmp_path) == []


@pytest.mark.parametrize("most", [0, None])
@pytest.mark.parametrize("there", [0, 1000])
def test_a_page_in_its_place_is_not_taken_for_it(tmp_path, most, there):
    """As servers give it, with 200, of a file that has moved."""
    if there:
        (tmp_path / "tiny.tar.gz.part").write_bytes(CONTENT[:there])
    page = serving(b"<html>moved</html>", ranges=False, most=most)
    with page as server, pytest.raises(DataError, match="it gives 18 bytes, and the archive has"):
        fetch(tmp_path, server.address())
    assert left(tmp_path) == (["tiny.tar.gz.part"] if there else [])
    assert not there or (tmp_path / "tiny.tar.gz.part").read_bytes() == CONTENT[:there]


def test_the_next_address_is_asked_where_one_has_it_not(tmp_path):
    with serving(CONTENT) as server:
        fetch(tmp_path, server.address("missing"), server.address())
        assert server.asked == [None, None]
    assert unpacked(tmp_path) == FILES


def test_an_address_without_it_is_one_sentence(tmp_path):
    with serving(CONTENT) as server, pytest.raises(DataError) as error:
        fetch(tmp_path, server.address("missing"))
    assert f"({server.address('missing')}: it answers 404 Not Found); give" in str(error.value)
    assert ", or put tiny.tar.gz from elsewhere into" in str(error.value)
    assert left(tmp_path) == []
    assert "\n" not in str(error.value)


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DataError, match="Connection refused.*; give the command again later, name"):
        fetch(tmp_path, f"http://127.0.0.1:{port}/")

    def unknown(*_):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataError, match="first/x: Temporary failure in name resolution; http://se"):
        fetch(tmp_path, "http://first/x", "http://second/x")


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DataError, match="no answer within"):
            fetch(tmp_path, f"http://127.0.0.1:{port}/")


def test_what_is_no_http_at_all_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)

        def answer():
            with other.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DataError, match="cannot be downloaded .*SSH-2.0"):
            fetch(tmp_path, f"http://127.0.0.1:{other.getsockname()[1]}/")
        thread.join()


def test_a_full_disk_is_one_sentence(tmp_path):
    (tmp_path / "tiny.tar.gz.part").symlink_to("/dev/full")
    with serving(CONTENT) as server, pytest.raises(DataError, match="No space left on device"):
        fetch(tmp_path, server.address())


def test_a_disk_that_is_full_when_it_unpacks_leaves_no_half_folder(tmp_path, monkeypatch):
    def full(packed, member, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "tiny.tar.gz").write_bytes(CONTENT)
    monkeypatch.setattr(unpacking, "_copy", full)
    with pytest.raises(DataError, match="cannot be unpacked to .*tiny-py .No space left on device"):
        fetch(tmp_path)
    assert left(tmp_path) == ["tiny.tar.gz"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be made .Not a directory.; name another folder by"):
        fetch(tmp_path / "file" / "data")
    (tmp_path / "tiny.tar.gz.part").mkdir()
    with pytest.raises(DataError, match="cannot be written .Is a directory."):
        fetch(tmp_path)


def test_two_processes_do_not_write_one_file(tmp_path):
    with (tmp_path / "tiny.tar.gz.part").open("wb") as other:
        assert lock(other.fileno(), other.name)
        with pytest.raises(DataError, match="another process downloads tiny into"):
            fetch(tmp_path)


def test_an_archive_that_is_there_is_checked_and_unpacked(tmp_path):
    (tmp_path / "tiny.tar.gz").write_bytes(CONTENT)
    assert "is there already, as it was published" in fetch(tmp_path)
    assert unpacked(tmp_path) == FILES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[:-1] + b"x", "is not the published file .*; move it away"),
        (CONTENT[:900], "has 900 bytes, and tiny.tar.gz [0-9,]+; .* call it tiny.tar.gz.part"),
    ],
)
def test_an_archive_that_is_another_is_left_alone(tmp_path, content, message):
    (tmp_path / "tiny.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        fetch(tmp_path)
    assert (tmp_path / "tiny.tar.gz").read_bytes() == content
    assert left(tmp_path) == ["tiny.tar.gz"]


def test_a_folder_that_is_there_is_checked_and_left_alone(tmp_path):
    (tmp_path / "tiny.tar.gz").write_bytes(CONTENT)
    fetch(tmp_path)
    (tmp_path / "tiny.tar.gz").unlink()
    assert "tiny is there already, as it was published" in fetch(tmp_path)
    (tmp_path / "tiny-py" / "meta").write_bytes(b"mine")
    (tmp_path / "tiny-py" / "test").unlink()
    with pytest.raises(DataError, match="test is missing, meta is not the published file; nothing"):
        fetch(tmp_path)
    assert (tmp_path / "tiny-py" / "meta").read_bytes() == b"mine"


def link(to):
    info = tarfile.TarInfo()
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def test_nothing_of_an_archive_lands_elsewhere(tmp_path):
    """Also if its checksum were right."""
    evil = {"../evil": b"1", "/evil": b"2", "sub/../../../evil": b"3", "more": b"4"}
    content = packed(evil | {"linked": link(str(tmp_path))} | FILES)
    directory = tmp_path / "a" / "data"
    directory.mkdir(parents=True)
    (directory / "tiny.tar.gz").write_bytes(content)
    fetch(directory, archive=described(content))
    assert unpacked(directory) == FILES
    assert not pathlib.Path("/evil").exists()
    assert left(tmp_path) == ["a"]
    assert left(tmp_path / "a") == ["data"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (FILES | {"meta": link("/etc/passwd")}, "meta in .* is no file"),
        ({"train": FILES["train"], "test": FILES["test"]}, "lacks meta"),
        (FILES | {"meta": b"other"}, "meta in .* is not the published file"),
    ],
)
def test_an_archive_without_the_files_unpacks_to_nothing(tmp_path, members, message):
    content = packed(members)
    (tmp_path / "tiny.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        fetch(tmp_path, archive=described(content))
    assert left(tmp_path) == ["tiny.tar.gz"]


@pytest.mark.parametrize("content", [b"no archive", CONTENT[:2000], b""])
def test_what_is_no_archive_is_one_sentence(tmp_path, content):
    (tmp_path / "tiny.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match="is broken|lacks"):
        fetch(tmp_path, archive=described(content))
    assert left(tmp_path) == ["tiny.tar.gz"]


def test_an_interruption_keeps_what_came(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ARCHIVES, "cifar100", TINY)
    write = transfer._write

    def interrupted(block, file, part, needed):
        write(block[:500], file, part, needed)
        raise KeyboardInterrupt

    with serving(CONTENT) as server:
        arguments = ["cifar100", f"--dir={tmp_path}", f"--url={server.address()}"]
        with monkeypatch.context() as patch:
            patch.setattr(transfer, "_write", interrupted)
            assert datasets.main(arguments) == 130
        assert "stopped; the same command goes on from there" in capsys.readouterr().err
        assert left(tmp_path) == ["tiny.tar.gz.part"]
        assert datasets.main(arguments) == 0
        assert server.asked == [None, "bytes=500-"]
    assert unpacked(tmp_path) == FILES


def test_an_error_of_the_command_is_one_sentence(tmp_path, capsys):
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert datasets.main(["cifar10", f"--dir={tmp_path}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/cifar-10-batches-py is there already, but batches")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar1000"], "no data set is called 'cifar1000'; there are cifar10, cifar100; did you"),
        (["digits"], "digits come with scikit-learn"),
        (["imagenet_lt"], "downloaded by hand; docs/datasets.md says where"),
        (["cifar10", "cifar100", "--url=http://x/y"], "the address of one archive"),
        (["cifar10", "--url=/tmp/x"], "is no http:// or https:// address; a file that you have is"),
        (["cifar10", "--url=http://[x"], "is no http:// or https:// address"),
        (["cifar10", "--url=http://x:y/"], "is no http:// or https:// address"),
        (["cifar10", "--dri=x"], "'--dri=x' is no flag; did you mean --dir?"),
        ([], "NAME"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        datasets.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_data_set_is_told_with_the_command(tmp_path):
    command = f"python -m bccl_jax.datasets cifar100 --dir={tmp_path}"
    with pytest.raises(DataError, match=rf"no folder .*; {command} downloads it \(169 MB\), or"):
        cifar.load_cifar100(str(tmp_path))
    (tmp_path / "cifar-100-python.tar.gz").touch()
    for named in (tmp_path, tmp_path / "cifar-100-python.tar.gz"):
        with pytest.raises(DataError, match=f"still packed; {command} checks and unpacks it"):
            cifar.load_cifar100_test(str(named))
    # Unpacked beside it, it is found, whichever of them is named.
    (tmp_path / "cifar-100-python").mkdir()
    for named in (tmp_path, tmp_path / "cifar-100-python.tar.gz"):
        with pytest.raises(DataError, match="no file .*cifar-100-python/meta; "):
            cifar.load_cifar100_test(str(named))


def test_the_published_archives_are_described_as_they_are_read():
    for archive, labels in ((archives.CIFAR10, 10), (archives.CIFAR100, 100)):
        assert archive.name == f"cifar{labels}"
        assert len(archive.sha256) == 64
        assert {len(md5) for md5 in archive.members.values()} == {32}
        for address in archive.addresses:
            assert address.startswith("https://")
            assert address.endswith(f"/{archive.file}")
    assert set(archives.CIFAR100.members) == {"train", "test", "meta"}
    assert len(archives.CIFAR10.members) == 7
