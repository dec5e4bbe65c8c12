"""What comes from a stranger runs nothing: docs/reliability.md, "What runs code".

Each test plants what would run, or lead elsewhere, and looks whether it did. Further ones stand
beside what they are about, which the page names.
"""

import io
import json
import os
import pickle
import re
import socket
import struct
import sys
import threading
import tracemalloc
import types
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from bccl_jax.config.files import of_run
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.formats import cifar, packed, prepared
from bccl_jax.data.packing import packing
from bccl_jax.data.packing.packed_from import check_unchanged
from bccl_jax.data.photographs.decode import BrokenImageError, decode
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import BcclError, ConfigError, DamagedCheckpointError, DataError, WorkdirError
from bccl_jax.models.pretrained import read_state_dict
from bccl_jax.reporting.remarks import named
from bccl_jax.system import digests
from bccl_jax.use.listing import Listing
from bccl_jax.use.model import Top
from bccl_jax.workdir import broken_list, checkpoint_folder, content
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from faults.disk import within
from faults.fuzzing.kinds import made_run
from tests.registered import registered

EVIL = "import pathlib\npathlib.Path(__file__).with_name('was_run').touch()\n"


class Runs:
    """Makes a folder as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("way", ["itself", "from here", "by a link"])
def test_a_directory_of_a_run_brings_no_code(run, tmp_path, monkeypatch, way):
    (run / "evil.py").write_text(EVIL)
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    file = {"itself": str(run / "evil.py"), "from here": "run/evil.py", "by a link": "link/evil.py"}
    change(run / "config.json", imports=[file[way]])
    with registered():
        with pytest.raises(
            ConfigError, match="names .*evil.py, which lies in the directory of the"
        ):
            of_run(run / "config.json")
        assert not (run / "was_run").exists()
        # Whoever has looked at it names it.
        of_run(run / "config.json", imports=[str(run / "evil.py")])
        assert (run / "was_run").exists()


def test_a_method_that_nobody_registered_is_a_sentence(run, tmp_path, monkeypatch):
    """A name of a module is no way to have it imported."""
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evil", "evil:Evil", "os.system", "../evil"):
        change(run / "config.json", **{"method.name": name})
        with pytest.raises(ConfigError, match="no method is called"):
            of_run(run / "config.json")
    assert "evil" not in sys.modules


def object_array(path):
    return np.array([Runs(path), None], dtype=object)


def packed_folder(root):
    (root / "source").mkdir(parents=True)
    for number in range(2):
        (root / "source" / f"{number}.jpg").write_bytes(b"picture")
    images = FileImages(root / "source", ["0.jpg", "1.jpg"])
    split = Split(images, np.array([0, 1], np.int32), ("a", "b"))
    packing.pack("folder", Splits(split, split), root / "packed")
    return split, root / "packed"


def test_arrays_of_objects_are_refused(tmp_path, run):
    ran, npy, npz = tmp_path / "was_run", io.BytesIO(), io.BytesIO()
    np.save(npy, object_array(ran), allow_pickle=True)
    np.savez(npz, train=object_array(ran))
    split, folder = packed_folder(tmp_path)
    (folder / "train.labels.npy").write_bytes(npy.getvalue())
    with pytest.raises(DataError, match="train.labels.npy cannot be read .it holds objects"):
        packed.load(folder)
    (folder / "train.numbers.npy").write_bytes(npy.getvalue())
    with pytest.raises(ConfigError, match="train.numbers.npy is damaged"):
        check_unchanged(folder, {"train": split}, {"train": np.zeros(2, np.uint64)}, {"train": 2})
    (run / "images.npz").write_bytes(npz.getvalue())
    with pytest.raises(WorkdirError, match="images.npz is not the record of images"):
        content.read(run / "images.npz")
    np.savez(npz, labels=object_array(ran), names=object_array(ran))
    (tmp_path / "cache.npz").write_bytes(npz.getvalue())
    assert prepared._read_cache(tmp_path / "cache.npz", 2) is None
    assert not ran.exists()


def bomb(**how):
    """An .npz of few bytes whose array is 32 MB of zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **how) as archive:
        array = io.BytesIO()
        np.save(array, np.zeros(2**22, np.uint64))
        archive.writestr("train.npy", array.getvalue())
    return file.getvalue()


def claiming(shape):
    """An .npy whose header alone is there."""
    file = io.BytesIO()
    header = {"descr": "<i4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(8)


def test_arrays_take_no_more_memory_than_their_files(tmp_path):
    _, folder = packed_folder(tmp_path)
    path = tmp_path / "images.npz"
    path.write_bytes(bomb(compression=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    try:
        with pytest.raises(WorkdirError, match="is not the record of images"):
            content.read(path)
        for shape in ((2**23,), (2**40, 2**20), (-1,)):
            (folder / "train.labels.npy").write_bytes(claiming(shape))
            with pytest.raises(DataError, match="train.labels.npy cannot be read"):
                packed.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


# A few bytes by which Python's reader makes room for 32 MB and more.
MEMORY = {
    "a number to keep it under": b"\x80\x02}r" + struct.pack("<I", 2**22) + b".",
    "the same in digits": b"}p4194304\n.",
    "an array of bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**25) + b".",
    "a string": b"\x80\x02T" + struct.pack("<I", 2**25) + b"a.",
}


@pytest.mark.parametrize("raw", MEMORY.values(), ids=MEMORY)
def test_a_pickle_takes_no_more_memory_than_its_file(tmp_path, raw):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(b"")
    (folder / "batches.meta").write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="batches.meta is truncated or not an original CIFAR"):
            cifar.load_cifar10_test(str(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_pytorch_is_asked_for_tensors_alone(tmp_path, monkeypatch):
    asked = []
    torch = types.SimpleNamespace(load=lambda path, **how: asked.append(how) or {})
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(DataError, match="no state dict"):
        read_state_dict(tmp_path / "weights.pth")
    assert asked == [{"map_location": "cpu", "weights_only": True}]


def test_weights_of_pytorch_run_nothing(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"fc.weight": Runs(tmp_path / "was_run")}))
    with pytest.raises(DataError, match="it is broken or holds more than tensors"):
        read_state_dict(path)
    assert not (tmp_path / "was_run").exists()


@pytest.fixture
def server():
    """The port of a server that counts who asks it."""
    with socket.create_server(("localhost", 0)) as listening:
        asked = []

        def listen():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                asked.append(connection)
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield listening.getsockname()[1], asked
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def renamed(value, text):
    """A value of JSON with another text in the place of each, and of each number beside one."""
    if isinstance(value, dict):
        return {key: renamed(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, text) for inner in value]
    return text if isinstance(value, str) else value


def test_a_checkpoint_leads_to_no_server_no_module_and_no_other_file(
    run, tmp_path, monkeypatch, server
):
    """Whoever makes its files makes their digests too."""
    port, asked = server
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    directory = run / "checkpoints"
    step = checkpoint_folder.steps(directory)[-1]
    folder, read = directory / str(step), 0
    names = ["_CHECKPOINT_METADATA", *digests.files(folder)]
    files = {name: (folder / name).read_bytes() for name in names}
    texts = {name: raw for name, raw in files.items() if raw.startswith((b"{", b"["))}
    assert {"state/_METADATA", "_CHECKPOINT_METADATA"} < set(texts)
    for text in (f"http://localhost:{port}/x", "file:///etc/passwd", "evil.Evil", "evil:Evil"):
        for name, raw in texts.items():
            (folder / name).write_text(json.dumps(renamed(json.loads(raw), text)))
            digests.write(folder, but=checkpoint_folder.NOT_IN_DIGESTS)
            try:
                with Checkpoints(directory, read_only=True) as checkpoints, within(20):
                    found = checkpoints.restore_part(step, made_run.abstract_state())
                # Arrays are found by what is asked for.
                np.testing.assert_array_equal(
                    found.params["kernel"], made_run.state_at(step).params["kernel"]
                )
                read += 1
            except DamagedCheckpointError:
                pass
            (folder / name).write_bytes(raw)
    assert read > 0
    assert asked == []
    assert "evil" not in sys.modules


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../../../x", "state/../../../x", "state/zero", "a//b"]
)
def test_a_list_of_digests_leads_nowhere_else(run, tmp_path, name):
    directory = run / "checkpoints"
    step = checkpoint_folder.steps(directory)[-1]
    (directory / str(step) / "state" / "zero").symlink_to("/dev/zero")
    (tmp_path / "x").write_text("of nobody's business")
    with (directory / str(step) / digests.LIST).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with (
        within(10),
        Checkpoints(directory, read_only=True) as checkpoints,
        pytest.raises(
            DamagedCheckpointError, match="which is no file of the folder|zero cannot be"
        ),
    ):
        checkpoints.restore_part(step, made_run.abstract_state())


def test_a_pipe_or_a_device_in_the_place_of_a_record_is_not_waited_for(run):
    for name in ("config.json", "places.json"):
        whole = (run / name).read_bytes()
        for make in (lambda path: path.symlink_to("/dev/zero"), os.mkfifo):
            (run / name).unlink()
            make(run / name)
            # One that is no file is no record.
            if (run / name).is_file() or name == "config.json":
                with within(10), pytest.raises(BcclError, match=rf"{name}.*no regular file"):
                    of_run(run / name)
        (run / name).unlink()
        (run / name).write_bytes(whole)
    _, folder = packed_folder(run.parent)
    (folder / "train.names.json").unlink()
    os.mkfifo(folder / "train.names.json")
    with within(10), pytest.raises(DataError, match="train.names.json cannot be read"):
        packed.load(folder)


def test_no_link_of_a_directory_has_a_file_of_the_users_written_to(run, tmp_path):
    """Names of broken pictures are a stranger's as well: such a line could be a command."""
    mine = tmp_path / "profile"
    mine.write_text("mine\n")
    (run / "broken_test.txt").symlink_to(mine)
    images = FileImages(tmp_path, ["x; touch was_run #.png"])
    with pytest.raises(WorkdirError, match=r"broken_test.txt, .*cannot be written .it is a link"):
        broken_list.add(run / "broken_test.txt", images, [0])
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(mine)
    with Workdir(run).locked():
        pass
    assert mine.read_text() == "mine\n"


def test_names_are_shown_by_a_terminal_and_not_obeyed(tmp_path):
    name = "\x1b]0;title\x07\x1b[2Jcat\u202e"
    _, folder = packed_folder(tmp_path)
    change(folder / "manifest.json", notes=[name], class_names=[name, "b"])
    splits = packed.load(folder)
    told = [*splits.notes, named(splits.train.class_names)]
    top = Top(np.array([[0]]), np.array([[0.5]]), {})
    item = types.SimpleNamespace(name=name)
    told += Listing(types.SimpleNamespace(classes=(name, "b")), [item], top).lines()
    told.append(str(DataError(f"the class {name} is unknown\nand so on")))
    assert all(line.isprintable() and "cat" in line for line in told)


def test_a_message_is_bounded_and_keeps_its_beginning_and_its_mend():
    told = str(ConfigError(f"config.seed is {'9' * 10**6}; it must be a whole number"))
    assert len(told) < 2000
    assert told.startswith("config.seed is 999")
    assert told.endswith("; it must be a whole number")


def sized(form, side):
    """A picture file whose header says that it is a square of such a side."""
    file = io.BytesIO()
    Image.new("RGBA", (23, 17)).save(file, form)
    sides, large = struct.pack(">2I", 23, 17), struct.pack(">2I", side, side)
    if form == "JPEG2000":
        sides, large = sides[4:] + sides[:4], large  # of its header box, height first
    raw = file.getvalue()
    at = raw.index(sides)
    raw = raw[:at] + large + raw[at + 8 :]
    if form == "PNG":  # its checksum: of the name of the chunk, the sides, and five bytes
        checksum = zlib.crc32(raw[at - 4 : at + 13])
        raw = raw[: at + 13] + struct.pack(">I", checksum) + raw[at + 17 :]
    return raw


@pytest.mark.parametrize(
    ("form", "side", "message"),
    [
        ("PNG", 30_000, "exceeds limit"),
        ("PNG", 13_000, "13000 x 13000 pixels take more than 2,048 MB to decode in PNG"),
        ("JPEG2000", 10_000, "pixels take more than 2,048 MB to decode in JPEG2000"),
    ],
)
def test_a_picture_that_unpacks_to_more_than_memory_is_broken(form, side, message):
    with pytest.raises(BrokenImageError, match=re.escape(message)):
        decode(sized(form, side))
