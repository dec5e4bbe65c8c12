"""What systems leave in folders is neither a class nor an image, and is told in one line."""

import os

import pytest

from bccl_jax.data.formats import folder
from tests.data.formats.test_folder import CLASSES, below
from tests.data.formats.test_listed import write
from tests.data.test_broken_inputs import deny

BESIDE_CLASSES = [
    "$RECYCLE.BIN/S-1-5-21/$R1.jpg",
    "RECYCLER/1.jpg",
    "System Volume Information/1.jpg",
    "FOUND.001/1.jpg",
    "lost+found/#12.jpg",
    "#recycle/cat/1.jpg",
    "#snapshot/daily/cat/0.jpg",
    "@Recycle/1.jpg",
    "@Recently-Snapshot/1.jpg",
    "@eaDir/cat@SynoEAStream",
    "@tmp/1.jpg",
    "__pycache__/load.cpython-312.pyc",
    "thumbnails/1.jpg",
    "Network Trash Folder/1.jpg",
    "Temporary Items/1.jpg",
    "$WinREAgent/1.jpg",
    "$Windows.~BT/1.jpg",
    "@SynoEAStream/1.jpg",
    "Desktop Folder/1.jpg",
    "TheVolumeSettingsFolder/1.jpg",
    "WindowsImageBackup/1.jpg",
    "Recycle Bin/1.jpg",
    "LOST.DIR/1.jpg",
    "_gsdata_/1.jpg",
    "_vti_cnf/1.jpg",
    "lightroom.lrdata/1.jpg",
    "aquota.user",
    "aquota.group/1.jpg",
]
WITHIN_CLASSES = [
    "cat/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg",
    "cat/thumbnails/0.jpg",
    "cat/Thumbs/0.jpg",
    "cat/_thumbs/0.jpg",
    "cat/lost+found/0.jpg",
    "cat/~$0.jpg",
    "cat/$RA1B2C3.jpg",
    "cat/_vti_cnf/0.jpg",
    "cat/My Previews.lrdata/0.jpg",
]
UNSEEN = [
    ".Trashes/501/1.jpg",
    ".Trash-1000/files/1.jpg",
    ".Spotlight-V100/1.jpg",
    ".fseventsd/1.jpg",
    ".ipynb_checkpoints/1.jpg",
    ".@__thumb/1.jpg",
    "__MACOSX/cat/._0.jpg",
    "._cat",
    "cat/._0.jpg",
    "cat/.DS_Store",
    "cat/Thumbs.db",
    "cat/ehthumbs.db",
    "cat/desktop.ini",
    "cat/.thumbnails/0.jpg",
    "cat/.ipynb_checkpoints/0-checkpoint.jpg",
    "cat/Icon\r",
]
TOLD = "left out, as systems leave them behind: "


def images_of(root):
    splits = folder.load(str(root))
    assert splits.train.class_names == ("cat", "dog", "owl")
    return sorted(splits.train.images.paths + splits.test.images.paths), splits.notes


@pytest.mark.parametrize("path", BESIDE_CLASSES + WITHIN_CLASSES)
def test_what_is_left_behind_is_told(tmp_path, path):
    write(tmp_path, CLASSES | {path: "no picture of a class"})
    found, notes = images_of(tmp_path)
    assert found == sorted(CLASSES)
    (told,) = (note for note in notes if TOLD in note)
    assert told.startswith(f"1 folders or files of {tmp_path}")
    assert told.split(TOLD)[1] in path.split("/")
    assert len(notes) == 2  # and the draw of a test split


@pytest.mark.parametrize("path", UNSEEN)
def test_what_never_holds_pictures_is_left_out_without_a_word(tmp_path, path):
    write(tmp_path, CLASSES | {path: "no picture"})
    found, notes = images_of(tmp_path)
    assert found == sorted(CLASSES)
    assert len(notes) == 1


def test_all_that_is_left_behind_is_one_line(tmp_path):
    write(tmp_path, CLASSES | dict.fromkeys(BESIDE_CLASSES + WITHIN_CLASSES + UNSEEN, ""))
    found, notes = images_of(tmp_path)
    assert found == sorted(CLASSES)
    assert len(notes) == 2
    for name in ("$RECYCLE.BIN", "#recycle", "lost+found", "System Volume Information", "@eaDir"):
        assert name in notes[0]


def test_it_may_lie_beside_and_within_splits(tmp_path):
    write(tmp_path, below("train", CLASSES) | below("test", CLASSES))
    write(tmp_path, dict.fromkeys(["lost+found/1.jpg", "test/#recycle/1.jpg"], ""))
    splits = folder.load(str(tmp_path))
    assert len(splits.train) == len(splits.test) == 15
    assert splits.notes[0].endswith(f"{TOLD}#recycle, lost+found")


@pytest.mark.parametrize("name", ["lost+found", "System Volume Information", "$RECYCLE.BIN"])
def test_it_need_not_be_readable(tmp_path, monkeypatch, name):
    write(tmp_path, CLASSES | {f"{name}/1.jpg": ""})
    deny(monkeypatch, "os.scandir", str(tmp_path / name))
    os.chmod(tmp_path / name, 0)
    try:
        assert images_of(tmp_path)[0] == sorted(CLASSES)
    finally:
        os.chmod(tmp_path / name, 0o700)


def test_a_class_that_is_called_alike_stays_one(tmp_path):
    names = (
        "thumb",
        "found",
        "recycle",
        "tmp",
        "snapshot",
        "#1",
        "@home",
        "trash",
        "Trash",
        "$5",
        "$100 bill",
    )
    names += ("Originals", "recycle bin", "recycle_bin", "~", "#hash", "@", "vti", "quota")
    write(tmp_path, {f"{name}/{i}.jpg": "" for name in names for i in range(2)})
    assert folder.load(str(tmp_path), 0.5).train.class_names == tuple(sorted(names))


def test_an_image_with_a_sign_in_its_name_stays_one(tmp_path):
    images = CLASSES | {f"cat/{n}.jpg": n for n in ("$a", "$money", "#1", "@tmp", "~a", "a$b")}
    assert images_of(write(tmp_path, images))[0] == sorted(images)
