"""Names of files and classes that are not UTF-8: told, written, read again, and found."""

import io
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bccl_jax.config import get_config
from bccl_jax.data.formats import packed
from bccl_jax.data.formats.folder import load
from bccl_jax.data.packing import packing
from bccl_jax.data.split import Dataset
from bccl_jax.errors import DataError
from bccl_jax.inspecting import inspection
from bccl_jax.system.names import from_printable, plain, printable
from bccl_jax.workdir.directory import Workdir

# Of an archive in Latin-1: "café" and "é", each of a byte that is not UTF-8.
CLASSES = (b"caf\xe9", b"plain")
FILES = (b"\xe9.png", b"a.png", b"b\xe9.png")


def png(color):
    file = io.BytesIO()
    Image.new("RGB", (6, 5), color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def dataset(tmp_path):
    root = os.fsencode(tmp_path / "data")
    for number, name in enumerate(CLASSES):
        os.makedirs(os.path.join(root, name))
        for index, file in enumerate(FILES):
            with open(os.path.join(root, name, file), "wb") as written:
                written.write(png((50 * number, 60 * index, 200)))
    splits = load(str(tmp_path / "data"), 0.4)
    return Dataset("folder", *splits)


def test_files_are_found_by_their_bytes(dataset):
    names = [os.fsencode(dataset.train.images.name(i)) for i in range(len(dataset.train))]
    assert {name.split(b"/")[-2] for name in names} == set(CLASSES)
    assert all(dataset.train.images[i].startswith(b"\x89PNG") for i in range(len(dataset.train)))


def test_inspection_tells_lists_and_draws_them(dataset, tmp_path, capsysbinary):
    config = get_config()
    config.data.workers = 0
    for split in (dataset.train, dataset.test):
        with open(split.images.name(0), "wb") as file:
            file.write(b"broken")
    assert inspection.run(dataset, config, tmp_path / "out", verify=True) == 1
    told = capsysbinary.readouterr().out.decode()
    assert r"'caf\udce9'" in told
    lines = (tmp_path / "out" / "broken_images.txt").read_text(encoding="utf-8").splitlines()
    named = [from_printable(line.rsplit(": Pillow", 1)[0]) for line in lines]
    assert named == [dataset.train.images.name(0), dataset.test.images.name(0)]
    assert (tmp_path / "out" / "class_counts.png").exists()


def test_packed_they_have_the_same_names(dataset, tmp_path, capsysbinary):
    packing.pack_dataset(dataset, tmp_path / b"packed \xe9".decode(errors="surrogateescape"))
    assert b"packed" in capsysbinary.readouterr().out
    (folder,) = (entry for entry in os.scandir(tmp_path) if entry.name.startswith("packed"))
    found = packed.load(folder.path, "folder")
    assert found.train.class_names == dataset.train.class_names
    for index in range(len(dataset.train)):
        assert dataset.train.images.name(index).endswith(found.train.images.name(index))
        assert found.train.images[index] == dataset.train.images[index]


def test_a_run_writes_them_and_knows_them_again(dataset, tmp_path):
    config = get_config()
    directory = Workdir(tmp_path / "run")
    with directory.claimed(config, config, dataset):
        pass
    directory.records.write_text('{"step": 1}\n')
    directory.check_classes(dataset)
    names = [row["name"] for row in json.loads(directory.classes.read_text())]
    assert [os.fsencode(name) for name in names] == list(CLASSES)


def test_a_new_name_after_an_old_one_is_utf8():
    assert plain("photos\udce9 caf\u00e9") == "photos_ caf\u00e9"


@given(st.text(st.characters(exclude_characters="\0")))
def test_a_name_is_one_line_of_text(name):
    told = printable(name)
    assert told.isprintable()
    told.encode()
    if not name.isprintable():
        assert from_printable(told) == name


@given(st.binary())
def test_any_bytes_of_a_name_are_known_again(content):
    name = content.decode(errors="surrogateescape")
    told = printable(name)
    if told != name:
        assert os.fsencode(from_printable(told)) == content


@pytest.mark.parametrize("text", ["plain", "'", "'it's'", '"1 + 1"', "'\\", "'a' 'b'", "it's"])
def test_what_is_no_quoted_name_is_left_or_unquoted(text):
    assert isinstance(from_printable(text), str)


def test_class_names_of_any_kind_are_drawn(tmp_path):
    from bccl_jax.inspecting.class_counts import save_class_counts

    counts = np.array([3, 2, 1])
    groups = {"many": counts > 2, "medium": counts == 2, "few": counts < 2}
    names = ("caf\udce9", "a\nb", "$x^2$")
    save_class_counts(tmp_path / "counts.png", counts, groups, names, "title")


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "mac-roman"])
@pytest.mark.parametrize("where", ["folder", "file"])
def test_a_list_that_names_a_file_of_other_bytes_says_what_to_do(tmp_path, encoding, where):
    names = {"folder": ("caf\u00e9", "1.jpg"), "file": ("plain", "\u00e9.jpg")}[where]
    folder, file = (os.fsdecode(name.encode(encoding)) for name in names)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / file).write_bytes(b"")
    (tmp_path / "set.csv").write_text(f"path,label\n{'/'.join(names)},a\nb,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"lies as '.*', whose bytes .*convmv") as caught:
        load(str(tmp_path / "set.csv"))
    assert str(caught.value).isprintable()
