"""Broken lists, folders and CSV files end in one sentence, and nothing in them is changed."""

import itertools
import os
import pathlib
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bccl_jax.data.sources import load_dataset
from bccl_jax.errors import BcclError, ConfigError, DataError
from tests.data.formats.test_listed import write

LISTS = {
    "train_lt.txt": [f"train/{c}/{i}.jpg {k}" for k, c in enumerate("abc") for i in range(3)],
    "val.txt": [f"val/{c} {i}.jpg {k}" for k, c in enumerate("abc") for i in range(2)],
}
LISTED = [line.rsplit(" ", 1)[0] for lines in LISTS.values() for line in lines]
LIST_FILES = {file: "\n".join(lines) + "\n" for file, lines in LISTS.items()}
ROWS = [f"{c}/{i}.jpg,{c},{('train', 'test')[i > 2]}" for c in "abc" for i in range(4)]
CSV_FILE = "path,label,split\n" + "\n".join(ROWS) + "\n"
IMAGES = [f"{c}/{i}.jpg" for c in "abc" for i in range(4)]


def listing(root):
    """All that can be seen of a folder without opening a file."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [".", *folders, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            link = os.readlink(path) if os.path.islink(path) else ""
            found[path] = status.st_mtime_ns, status.st_size, status.st_mode, status.st_ino, link
    return found


def refused(root, message, name="tiny_imagenet_lt", data_dir=None, error=DataError, **options):
    """Loads a data set, which must fail by one sentence that begins or goes on as `message`."""
    options = {"imbalance": 0, "check_totals": False, **options}
    before = listing(root)
    with pytest.raises(BcclError, match=message) as caught:
        load_dataset(name, data_dir=str(data_dir or root), **options)
    assert type(caught.value) is error
    assert str(caught.value).isprintable()
    # What is wrong, and after it the mend.
    assert len(str(caught.value).rsplit(";", 1)[1]) > 10
    assert listing(root) == before


def loaded(root, name="tiny_imagenet_lt", data_dir=None):
    before = listing(root)
    dataset = load_dataset(
        name, data_dir=str(data_dir or root), imbalance=0, check_totals=False, test_fraction=0.5
    )
    assert listing(root) == before
    return dataset


def rows_of(split):
    return list(zip(split.images.paths, split.labels.tolist(), strict=True))


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "data").mkdir()
    return write(tmp_path / "data", LIST_FILES | dict.fromkeys(LISTED, "an image"))


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "data").mkdir()
    return write(tmp_path / "data", dict.fromkeys(IMAGES, "an image"))


# Of the many tests that break a line each: they write all files that they read anew.
@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    root = tmp_path_factory.mktemp("shared") / "data"
    root.mkdir()
    write(root, dict.fromkeys([*LISTED, *IMAGES], "an image"))
    os.symlink("nothing", root / "train/a/broken.jpg")
    os.symlink("loop.jpg", root / "train/a/loop.jpg")
    os.symlink("looped", root / "train/a/looped")
    os.mkfifo(root / "train/a/pipe.jpg")
    return root


# {what stands in the place of "PATH LABEL": what is said of it}; {p} is the path, {k} the label.
BROKEN_LINES = {
    "{p}.nolabel": r"the label \d\.jpg\.nolabel is not an integer|is not a path and a label",
    "{k}": "is not a path and a label",
    "{p},{k}": "the label .* is not an integer|is not a path and a label",
    "{p} {k},": "the label .*, is not an integer",
    "{p} cat": "the label cat is not an integer",
    "{p} {k}.0": r"the label \d\.0 is not an integer",
    "{p} 1e0": "the label 1e0 is not an integer",
    "{p} +{k}": r"the label \+\d is not an integer",
    "{p} 1_0": "the label 1_0 is not an integer",
    "{p} 0x1": "the label 0x1 is not an integer",
    "{p} \u0661": "the label \u0661 is not an integer",
    "{p} \u00b2": "the label \u00b2 is not an integer",
    "{p} nan": "the label nan is not an integer",
    "{p} {k}\0": r"the label '.*\\x00' is not an integer",
    "{p} \u200b{k}": r"the label '\\u200b\d' is not an integer",
    "{p} 99999999999999999999999999": "the label 9+ is not an integer",
    "{p} -1": "the label -1 is outside 0 to",
    "{p} 200": "the label 200 is outside 0 to",
    "{p} 123456789": "the label 123456789 is outside 0 to",
    "/{p} {k}": "the path /.* is absolute",
    "~/{p} {k}": "the path ~/.* is absolute",
    "C:\\{p} {k}": r"the path C:\\.* is absolute",
    "d:/{p} {k}": "the path d:/.* is absolute",
    "\\\\host\\{p} {k}": r"the path \\\\host.* is absolute",
    "../data/{p} {k}": r"the path \.\./.* leaves the image root",
    "train/../../{p} {k}": "the path train/.* leaves the image root",
    ".. {k}": r"the path \.\. leaves the image root",
    ". {k}": r"the path \. names no file",
    "train/a/.. {k}": "the first is a folder",
    "train/.. {k}": "names no file",
    "a\0b.jpg {k}": r"'a\\x00b.jpg' has a zero byte",
    "train {k}": "the first is a folder",
    "train/a {k}": "the first is a folder",
    "train/a/none.jpg {k}": "complete the images",
    "nowhere/a.jpg {k}": "there is no nowhere at all",
    "train/a/0.JPG {k}": r"lies as 0\.jpg, which capitals",
    "Train/a/0.jpg {k}": "there is no Train at all",
    "train/0.jpg {k}": r"lies as .*train/a/0\.jpg, so move",
    "train/a/deep/0.jpg {k}": r"lies as .*train/a/0\.jpg, so sort",
    "train/a/0.jpg/x.jpg {k}": "complete the images",
    "train\\a\\0.jpg {k}": "write paths with / in place of",
    "train/a/broken.jpg {k}": "a link that leads to no file",
    "train/a/loop.jpg {k}": "a link that leads to no file",
    "train/a/looped/0.jpg {k}": r"lies as .*train/a/0\.jpg, so sort",
    "train/a/pipe.jpg {k}": "no ordinary file",
    "LONG.jpg {k}": "complete the images",
    "LONG/a.jpg {k}": "there is no x+",
    "train/a/0\u00a0.jpg {k}": "complete the images",
}


def positions(lines):
    return {"first": 0, "middle": len(lines) // 2, "last": len(lines) - 1}


LINE_CASES = [
    pytest.param(file, position, line, message, id=f"{file}-{where}-{line!r}")
    for (file, lines), (line, message) in itertools.product(LISTS.items(), BROKEN_LINES.items())
    for where, position in positions(lines).items()
]


@pytest.mark.parametrize(("file", "position", "line", "message"), LINE_CASES)
def test_a_broken_line_of_a_list_is_named(shared, file, position, line, message):
    lines = list(LISTS[file])
    path, label = lines[position].rsplit(" ", 1)
    lines[position] = line.replace("LONG", "x" * 280).format(p=path, k=label)
    write(shared, LIST_FILES | {file: "\n".join(lines)})
    refused(shared, rf"{file}, line {position + 1}: .*({message})")


ODD_LISTS = {
    "Windows line ends": lambda lines: "\r\n".join(lines) + "\r\n",
    "old Macintosh line ends": lambda lines: "\r".join(lines),
    "a byte order mark": lambda lines: "\ufeff" + "\n".join(lines),
    "a mark and Windows": lambda lines: "\ufeff" + "\r\n".join(lines) + "\r\n\r\n",
    "no last line end": "\n".join,
    "blank lines": lambda lines: "\n\n" + "\n\n \n".join(lines) + "\n\t\n",
    "trailing blanks": lambda lines: "".join(f"{line} \t \n" for line in lines),
    "leading blanks": lambda lines: "".join(f"  {line}\n" for line in lines),
    "tabs": lambda lines: "".join("\t".join(line.rsplit(" ", 1)) + "\n" for line in lines),
    "wide": lambda lines: "".join("     ".join(line.rsplit(" ", 1)) + "\n" for line in lines),
    "dots": lambda lines: "".join(f"./{line}\n" for line in lines),
    "doubled slashes": lambda lines: "".join(line.replace("/", "//", 1) + "\n" for line in lines),
    "detours": lambda lines: "".join(f"nowhere/../{line}\n" for line in lines),
    "zeros": lambda lines: "".join(" 00".join(line.rsplit(" ", 1)) + "\n" for line in lines),
}


@pytest.mark.parametrize("form", ODD_LISTS.values(), ids=ODD_LISTS)
def test_an_odd_list_loads_as_the_plain_one(listed, form):
    expected = loaded(listed)
    write(listed, {file: form(lines) for file, lines in LISTS.items()})
    found = loaded(listed)
    for split, plain in ((found.train, expected.train), (found.test, expected.test)):
        assert rows_of(split) == rows_of(plain)
    assert [f"{p} {k}" for p, k in rows_of(found.train)] == LISTS["train_lt.txt"]
    assert [f"{p} {k}" for p, k in rows_of(found.test)] == LISTS["val.txt"]


def replaced(file, content):
    return lambda root: write(root, {file: content})


def removed(path):
    def remove(root):
        (shutil.rmtree if (root / path).is_dir() else os.remove)(root / path)

    return remove


def made_folder(path):
    def make(root):
        if (root / path).exists():
            os.remove(root / path)
        (root / path).mkdir(parents=True)

    return make


def linked(path, target):
    def link(root):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)

    return link


TRAIN, VAL = LIST_FILES["train_lt.txt"], LIST_FILES["val.txt"]
NAMED = "0\tx\n1\ty\n2\tz\n"
LIST_CASES = {
    "no training list": (removed("train_lt.txt"), r"no list .*train_lt\.txt; put the lists of"),
    "no test list": (removed("val.txt"), r"no list .*val\.txt; put the lists of"),
    "a list that is a folder": (made_folder("val.txt"), r"val\.txt cannot be read \(Is a dir"),
    "a list that is a broken link": (
        lambda root: (removed("val.txt")(root), linked("val.txt", "nothing")(root)),
        r"val\.txt cannot be read \(No such file",
    ),
    "an empty list": (replaced("train_lt.txt", ""), r"train_lt\.txt names no image"),
    "an empty test list": (replaced("val.txt", ""), r"val\.txt names no image"),
    "a blank list": (replaced("val.txt", "\ufeff\r\n \r\n"), r"val\.txt names no image"),
    "UTF-16": (
        replaced("val.txt", VAL.encode("utf-16")),
        r"val\.txt, line 1: byte 0xff is not UTF-8; save the file as UTF-8",
    ),
    "UTF-16 without a mark": (
        replaced("val.txt", VAL.encode("utf-16-le")),
        r"val\.txt, line 1: the label '\\x000\\x00' is not an integer",
    ),
    "Latin-1": (
        replaced("val.txt", VAL.encode() + "val/\u00e9.jpg 0\n".encode("latin-1")),
        r"val\.txt, line 7: byte 0xe9 is not UTF-8",
    ),
    "Latin-1 by Macintosh": (
        replaced("val.txt", VAL.replace("\n", "\r").encode() + b"\xe9 0\r"),
        r"val\.txt, line 7: byte 0xe9 is not UTF-8",
    ),
    "a picture": (replaced("val.txt", b"\x89PNG\r\n\x1a\n\0"), r"val\.txt, line 1: byte 0x89"),
    "a page of a failed download": (
        replaced("train_lt.txt", "<!DOCTYPE html>\n<html><body>404</body></html>\n"),
        r"train_lt\.txt, line 1: the label html> is not an integer",
    ),
    "the lists exchanged": (
        lambda root: (replaced("val.txt", TRAIN)(root), replaced("train_lt.txt", TRAIN)(root)),
        "9 of 9 images of the test split of tiny_imagenet_lt are in the training split too",
    ),
    "a shared image": (
        replaced("val.txt", VAL + "train/./b/1.jpg 1\n"),
        "1 of 7 images of the test split .* the first .*train/b/1.jpg; take them out of one",
    ),
    "a path of two labels": (
        replaced("train_lt.txt", TRAIN + "train//a/1.jpg 2\n"),
        r"train_lt\.txt, line 10: train/a/1\.jpg has the label 2 here and 0 in line 2; keep one",
    ),
    "a class without images": (
        replaced("train_lt.txt", TRAIN.replace(" 1\n", " 0\n")),
        r"1 of 3 classes of tiny_imagenet_lt have no training image, 1 \(1\); complete",
    ),
    "many classes without images": (
        replaced("train_lt.txt", TRAIN.replace(" 2\n", " 9\n")),
        r"7 of 10 classes .* 2 \(2\), 3 \(3\), 4 \(4\), \.\.\.; complete",
    ),
    "a tested class without training": (
        replaced("val.txt", VAL + "val/a 0.jpg 3\n"),
        r"val\.txt, line 7: the label 3 is outside 0 to 2",
    ),
    "no training folder": (removed("train"), "9 of 9 images .* there is no train at all"),
    "an empty class folder": (
        lambda root: (removed("train/b")(root), made_folder("train/b")(root)),
        r"line 4, 5, 6: 3 of 9 images are not in .*, train/b/0\.jpg, train/b/1\.jpg, .*; complete",
    ),
    "an image that is a folder": (
        made_folder("train/b/1.jpg"),
        r"line 5: 1 of 9 images .*, train/b/1\.jpg; the first is a folder",
    ),
    "an image that is a broken link": (
        lambda root: (removed("train/b/1.jpg")(root), linked("train/b/1.jpg", "x")(root)),
        r"line 5: 1 of 9 images .*; the first is a link that leads to no file",
    ),
    "names without a tab": (replaced("classes.txt", "0 x\n"), r"classes\.txt, line 1: 0 x is not"),
    "names of three columns": (
        replaced("classes.txt", "0\tn0\tx\n"),
        r"classes\.txt, line 1: .* is not label, id, name and count with tabs",
    ),
    "names with a header": (
        replaced("classes.txt", "label\tname\n" + NAMED),
        r"classes\.txt, line 1: the label label is not an integer",
    ),
    "an empty name": (replaced("classes.txt", "0\tx\n1\t \n"), r"classes\.txt, line 2: .* is not"),
    "a name twice": (
        replaced("classes.txt", NAMED + "1\tw\n"),
        r"classes\.txt, line 4: class 1 is named twice; keep one",
    ),
    "a name too few": (
        replaced("classes.txt", "0\tx\n\n2\tz\n"),
        r"classes\.txt leaves 1 of 3 classes without a name, the first 1; complete",
    ),
    "no names": (replaced("classes.txt", ""), r"classes\.txt leaves 3 of 3 classes without"),
    "names beyond the classes": (
        replaced("classes.txt", NAMED + "200\tw\n"),
        r"classes\.txt, line 4: the label 200 is outside 0 to 199",
    ),
    "names in Latin-1": (
        replaced("classes.txt", NAMED.encode() + b"3\t\xe9\n"),
        r"classes\.txt, line 4: byte 0xe9 is not UTF-8",
    ),
    "names that are a folder": (made_folder("classes.txt"), r"classes\.txt cannot be read"),
}


@pytest.mark.parametrize(("break_it", "message"), LIST_CASES.values(), ids=LIST_CASES)
def test_a_broken_list_is_refused(listed, break_it, message):
    break_it(listed)
    refused(listed, message)


def test_lists_that_are_not_the_public_ones_are_refused_by_default(listed):
    refused(
        listed,
        r"train_lt\.txt has 9 images and is not the public list, which has 7457; .*"
        r"config\.data\.check_totals=False",
        check_totals=True,
    )


@pytest.mark.parametrize("key", ["data_dir", "lists"])
@pytest.mark.parametrize("path", ["nowhere", "val.txt", "nul\0byte"])
def test_a_folder_that_is_none_is_named_by_its_key(listed, key, path):
    key_of = {"data_dir": "dir", "lists": "lists"}
    options = {"data_dir": listed, key: os.path.join(listed, path)}
    what = "no folder" if path == "val.txt" else "not there"
    message = rf"config\.data\.(KEY) is .*, which is {what}; name .* by --config\.data\.(KEY)=DIR$"
    refused(listed, message.replace("(KEY)", key_of[key]), **options)


@pytest.mark.parametrize(
    "file", ["train_lt.txt", "val.txt", "classes.txt"], ids=["train", "test", "names"]
)
def test_a_list_that_must_not_be_read_is_named(listed, monkeypatch, file):
    write(listed, {"classes.txt": NAMED})
    deny(monkeypatch, "builtins.open", str(listed / file))
    refused(listed, rf"{file} cannot be read \(Permission denied\); put a readable")


def deny(monkeypatch, function, denied):
    """Makes the system refuse one path, as it would to whoever is not its administrator."""
    module, name = {"builtins.open": ("builtins", "open"), "os.scandir": ("os", "scandir")}[
        function
    ]
    original = getattr(__import__(module), name)

    def refusing(path, *args, **kwargs):
        if str(path) == denied:
            raise PermissionError(13, "Permission denied", denied)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(function, refusing)


@pytest.mark.parametrize("folder", ["train/a", "train/b", "train/c", "val"])
def test_a_folder_of_listed_images_that_must_not_be_read_is_named(listed, monkeypatch, folder):
    before = listing(listed)
    deny(monkeypatch, "os.scandir", str(listed / folder))
    with pytest.raises(DataError, match=rf"{folder} cannot be read \(Permission denied\); mend"):
        load_dataset("tiny_imagenet_lt", data_dir=str(listed), imbalance=0, check_totals=False)
    monkeypatch.undo()
    assert listing(listed) == before


def moved_below(*folders):
    """Puts what the folder of classes holds into each of these folders."""

    def move(root):
        for name in folders:
            write(root, {f"{name}/{path}": "an image" for path in IMAGES})
        for name in "abc":
            shutil.rmtree(root / name)

    return move


def both(*changes):
    def change(root):
        for one in changes:
            one(root)

    return change


def emptied(path):
    return both(removed(path), made_folder(path))


def only(files):
    def change(root):
        for name in "abc":
            shutil.rmtree(root / name)
        write(root, dict.fromkeys(files, ""))

    return change


FOLDER_CASES = {
    "an empty folder": (only([]), "holds no folder of a class; put the images"),
    "images without classes": (
        only(["1.jpg", "2.PNG", "x.txt"]),
        "holds 2 images but no folder of a class; put the images",
    ),
    "an archive alone": (only(["data.zip"]), "holds no folder of a class"),
    "hidden folders alone": (only([".a/1.jpg", ".b/1.jpg"]), "holds no folder of a class"),
    "one class": (only(["a/1.jpg", "a/2.jpg"]), "has one class alone, a; name the folder"),
    "the folder above": (only(["set/a/1.jpg", "set/b/1.jpg"]), "has one class alone, set;"),
    "an empty class": (emptied("b"), "/b has no image of class b, which must end in .jpg"),
    "a class of other kinds": (
        both(emptied("b"), replaced("b/1.heic", "")),
        "/b has no image of class b",
    ),
    "a class of hidden files": (
        both(emptied("b"), replaced("b/._1.jpg", "")),
        "/b has no image of class b",
    ),
    "a class of empty folders": (
        both(emptied("b"), made_folder("b/x/y")),
        "/b has no image of class b",
    ),
    "an unprintable class": (made_folder("n\new"), r"n\\new' has no image of class 'n\\new'"),
    "an undecodable class": (made_folder("n\udcffw"), r"n\\udcffw' has no image of class"),
    "a folder named as an image": (
        replaced("b/x.jpg/1.jpg", ""),
        r"/b/x\.jpg is a folder and no image; put the image in its place",
    ),
    "a class named as an image": (replaced("x.PNG/1.jpg", ""), r"/x\.PNG is a folder and no image"),
    "an image that leads nowhere": (
        linked("b/x.jpg", "nothing"),
        r"/b/x\.jpg is a broken link and no image",
    ),
    "an image that leads to itself": (
        linked("b/x.jpg", "x.jpg"),
        r"/b/x\.jpg is a broken link and no image",
    ),
    "a class that leads nowhere": (linked("x", "nothing"), "/x is a broken link and no image"),
    "an image that is a pipe": (
        lambda root: os.mkfifo(root / "b/x.jpg"),
        r"/b/x\.jpg is a device and no image",
    ),
    "an image that is a link to a folder": (
        linked("b/x.jpg", "../a"),
        r"/b/x\.jpg is a folder and no image",
    ),
    "a loop of one step": (linked("b/again", "."), "/b/again is a link to .*/b, whose images"),
    "a loop to the root": (linked("b/again", "../.."), "/b/again/data is a link to .*, whose"),
    "a loop to the class": (linked("b/x/again", "../../b"), "/b/x/again is a link to .*/b, whose"),
    "a loop of classes": (linked("loop", "."), "/loop is a link to"),
    "a class twice": (linked("d", "b"), "/d is a link to .*/b, whose images it would repeat"),
    "train without classes": (only(["train/1.jpg", "test/1.jpg"]), "/train holds 1 images but no"),
    "train without images": (
        only(["train/a/x", "train/b/x", "test/a/1.jpg"]),
        "no image of class a",
    ),
    "train of one class": (
        only(["train/a/1.jpg", "test/a/1.jpg"]),
        "/train has one class alone, a",
    ),
    "test without classes": (
        both(moved_below("train"), replaced("test/1.jpg", "")),
        "/test holds 1 images but no folder",
    ),
    "test without images": (
        both(moved_below("train"), made_folder("test/a")),
        "/test/a has no image of class a",
    ),
    "an empty test": (both(moved_below("train"), made_folder("test")), "/test holds no folder of"),
    "an empty val": (both(moved_below("train"), made_folder("val")), "/val holds no folder of"),
    "a tested class without training": (
        both(moved_below("train", "test"), removed("train/b")),
        "/test has classes that train lacks, b; name them as there",
    ),
    "capitals of a tested class": (
        both(moved_below("train"), replaced("test/A/1.jpg", "")),
        "/test has classes that train lacks, A; name",
    ),
    "a validated class without training": (
        both(moved_below("train", "valid"), removed("train/b")),
        "/valid has classes that train lacks, b;",
    ),
    "test alone": (moved_below("test"), "holds test but no train; put the training images"),
    "test and val alone": (moved_below("test", "val"), "holds test, val but no train;"),
    "two training splits": (
        moved_below("train", "Train"),
        "holds Train, train, two of which are one split; keep one",
    ),
    "two validation splits": (
        moved_below("train", "val", "validation"),
        "holds train, val, validation, two of which are one split",
    ),
    "train beside classes": (replaced("train/a/1.jpg", ""), "holds train and also a, b, c; let it"),
    "test beside classes": (replaced("test/1.jpg", ""), "holds test and also a, b, c; let it"),
    "train and test beside others": (
        both(moved_below("train", "test"), replaced("labels/1.txt", "")),
        "holds test, train and also labels; let it",
    ),
}


@pytest.mark.parametrize(("break_it", "message"), FOLDER_CASES.values(), ids=FOLDER_CASES)
def test_a_broken_folder_is_refused(pictures, break_it, message):
    break_it(pictures)
    refused(pictures, message, "folder")


@pytest.mark.parametrize("folder", [".", "a", "b", "b/deep"])
def test_a_folder_that_must_not_be_read_is_named(pictures, monkeypatch, folder):
    write(pictures, {"b/deep/1.jpg": ""})
    before = listing(pictures)
    deny(monkeypatch, "os.scandir", str(pictures / folder))
    named = str(pictures / folder)
    with pytest.raises(DataError, match=rf"{named} cannot be read \(Permission denied\); mend"):
        load_dataset("folder", data_dir=str(pictures), imbalance=0)
    monkeypatch.undo()
    assert listing(pictures) == before


ODD_FOLDERS = {
    "hidden files": replaced(".hidden.jpg", ""),
    "a hidden link to nothing": linked("a/.x.jpg", "nothing"),
    "what Windows leaves": both(replaced("a/Thumbs.db", ""), replaced("desktop.ini", "")),
    "what Macintosh leaves": both(replaced("__MACOSX/a/1.jpg", ""), replaced(".DS_Store", "")),
    "files of other kinds": both(
        replaced("a/1.txt", ""), replaced("README", ""), replaced("s", "")
    ),
    "an image beside the classes": replaced("stray.jpg", ""),
    "a pipe of another kind": lambda root: os.mkfifo(root / "a/pipe"),
    "empty nested folders": made_folder("a/b/c"),
    "a train that is a class": both(removed("c"), replaced("train/1.jpg", "")),
}


@pytest.mark.parametrize("change", ODD_FOLDERS.values(), ids=ODD_FOLDERS)
def test_an_odd_folder_loads_its_images_alone(pictures, change):
    change(pictures)
    dataset = loaded(pictures, "folder")
    found = sorted(rows_of(dataset.train) + rows_of(dataset.test))
    expected = [(path, "abc".index(path[0])) for path in IMAGES]
    if (pictures / "train").exists():
        expected = [*expected[:8], ("train/1.jpg", 2)]
    assert found == expected


# Of a row `PATH,CLASS,SPLIT` of the CSV file.
BROKEN_ROWS = {
    "{p}": "there is 1 field under a header of 3; complete the line or",
    "{p},{c}": "2 fields under a header of 3; complete the line or",
    "{p},{c},{s},": "4 fields under a header of 3; put a value that has a comma",
    "x,{p},{c},{s}": "4 fields under a header of 3",
    "{p};{c};{s}": "1 field under a header of 3",
    ",{c},{s}": "the path is empty; write one",
    "{p},,{s}": "the label is empty; write one",
    "{p},{c},": "the split is empty; write one",
    "{p},  ,{s}": "the label is empty",
    "{p},{c},dev": "the split is dev; write train, test or validation",
    "{p},{c},1": "the split is 1; write train",
    "/{p},{c},{s}": "the path /.* is absolute",
    "~/{p},{c},{s}": "the path ~/.* is absolute",
    "C:\\{p},{c},{s}": r"the path C:\\.* is absolute",
    "../data/{p},{c},{s}": "leaves the image root",
    "a/../../{p},{c},{s}": "leaves the image root",
    ".,{c},{s}": "names no file",
    "a\0.jpg,{c},{s}": r"'a\\x00\.jpg' has a zero byte|not CSV",
    "a,{c},{s}": "1 of 12 images are not in .*, a; the first is a folder",
    "a/none.jpg,{c},{s}": "complete the images, whose paths start from the folder of the CSV file",
    "z/0.jpg,{c},{s}": "there is no z at all, and paths start from the folder of the CSV file",
    "a\\0.jpg,{c},{s}": "write paths with /",
    "a/0.JPG,{c},{s}": r"lies as 0\.jpg, which capitals",
    "0.jpg,{c},{s}": r"lies as .*/a/0\.jpg, so move",
    '"{p},{c},{s}': "this is not CSV .*; mend the quotation marks|fields under",
    '"{p}"x,{c},{s}': "this is not CSV",
    "{p},new,test": "the class new has no training image; write a class that has",
    "{p},A,test": "the class A has no training image",
    "c/2.jpg,{c},{s}\nc/2.jpg,{c},{s}": r"c/2\.jpg is in line \d+ already; delete one",
}


CSV_ROW_CASES = [
    pytest.param(position, row, message, id=f"{where}-{row!r}")
    for row, message in BROKEN_ROWS.items()
    for where, position in positions(ROWS).items()
]


@pytest.mark.parametrize(("position", "row", "message"), CSV_ROW_CASES)
def test_a_broken_row_of_a_csv_file_is_named(shared, position, row, message):
    rows = list(ROWS)
    path, name, split = rows[position].split(",")
    rows[position] = row.format(p=path, c=name, s=split)
    write(shared, {"set.csv": "path,label,split\n" + "\n".join(rows) + "\n"})
    # A file that is named twice is told of in the second of the two lines.
    lines = rf"({position + 2}|{position + 3}|12)" if "\n" in row else position + 2
    refused(shared, rf"set\.csv, line {lines}: .*({message})", "folder", shared / "set.csv")


CSV_CASES = {
    "empty": ("", "is empty; write the header"),
    "blank": ("\n \n,,\n", "is empty; write the header"),
    "a header alone": ("path,label\n", "names no training image; add lines"),
    "no header": ("a/0.jpg,a\nb/0.jpg,b\n", r"line 1: the header is a/0\.jpg,a; write path,label"),
    "another header": ("file,class\na/0.jpg,a\n", "line 1: the header is file,class; write"),
    "semicolons": ("path;label\na/0.jpg;a\n", "line 1: the header is path;label; write"),
    "tabs": ("path\tlabel\na/0.jpg\ta\n", r"line 1: the header is 'path\\tlabel'; write"),
    "a header after a blank": ("\n\nfile,label\n", "line 3: the header is file,label"),
    "a column too many": ("path,label,split,box\n", "line 1: the header is path,label,split,box"),
    "a misspelt column": ("path,label,subset\n", "line 1: the header is path,label,subset"),
    "a column twice": ("path,path,label\n", "line 1: the header is path,path,label"),
    "no label": ("path,split\na/0.jpg,train\n", "line 1: the header is path,split"),
    "one class": ("path,label\na/0.jpg,a\na/1.jpg,a\n", "one class alone to train on, a; add"),
    "one number": ("path,label\na/0.jpg,1\na/1.jpg,01\n", "one class alone to train on, 1; add"),
    "one trained class": (
        "path,label,split\na/0.jpg,a,train\nb/0.jpg,b,test\n",
        "one class alone to train on, a; add",
    ),
    "test rows alone": (
        "path,label,split\na/0.jpg,a,test\nb/0.jpg,b,test\n",
        "names no training image; add lines of the split train",
    ),
    "one image a class": ("path,label\na/0.jpg,a\nb/0.jpg,b\n", "has no class of two images"),
    "a test image that is trained on": (
        CSV_FILE + "./c/1.jpg,c,test\n",
        r"line 14: c/1\.jpg is in line 11 already; delete one",
    ),
    "an image of two classes": (CSV_FILE + "c/1.jpg,a,train\n", r"line 14: c/1\.jpg is in line 11"),
    "an open quotation": ('path,label\n"a/0.jpg,a\n\nb/0.jpg,b\n', "line 2: this is not CSV"),
    "a huge field": ("path,label\n" + "x" * 200_000 + ",a\n", "line 2: this is not CSV"),
    "Latin-1": ("path,label\na/0.jpg,caf\u00e9\n".encode("latin-1"), "line 2: byte 0xe9 is not"),
    "UTF-16": (CSV_FILE.encode("utf-16"), "line 1: byte 0xff is not UTF-8; save"),
    "a picture": (b"\xff\xd8\xff\xe0\0\x10JFIF", "line 1: byte 0xff is not UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), CSV_CASES.values(), ids=CSV_CASES)
def test_a_broken_csv_file_is_refused(shared, content, message):
    write(shared, {"set.csv": content})
    refused(shared, rf"set\.csv.*{message}", "folder", shared / "set.csv")


ODD_CSVS = {
    "Windows line ends": CSV_FILE.replace("\n", "\r\n"),
    "old Macintosh line ends": CSV_FILE.replace("\n", "\r"),
    "a byte order mark": "\ufeff" + CSV_FILE,
    "blank lines": "\n\n" + CSV_FILE.replace("\n", "\n\n,,\n"),
    "blanks": CSV_FILE.replace(",", " , ").replace("\n", "  \n"),
    "quotations": "".join(
        ",".join(f'"{value}"' for value in row.split(",")) + "\n" for row in CSV_FILE.splitlines()
    ),
    "capitals": CSV_FILE.replace("path,label,split", "PATH,Label,SPLIT").replace("test", "Test"),
    "other order": "".join(
        ",".join(reversed(row.split(","))) + "\n" for row in CSV_FILE.splitlines()
    ),
    "detours": CSV_FILE.replace("\na/", "\nx/../a//").replace("\nb/", "\n./b/"),
    "no last line end": CSV_FILE.rstrip(),
    "other names of the splits": CSV_FILE.replace(",train", ",training"),
}


@pytest.mark.parametrize("content", ODD_CSVS.values(), ids=ODD_CSVS)
def test_an_odd_csv_file_loads_as_the_plain_one(pictures, content):
    write(pictures, {"set.csv": content})
    dataset = loaded(pictures, "folder", pictures / "set.csv")
    assert rows_of(dataset.train) == [
        (f"{c}/{i}.jpg", k) for k, c in enumerate("abc") for i in range(3)
    ]
    assert rows_of(dataset.test) == [(f"{c}/3.jpg", k) for k, c in enumerate("abc")]


@pytest.mark.parametrize("path", ["nowhere", "a/0.jpg/x", "nul\0byte"])
def test_a_folder_that_is_not_there(pictures, path):
    message = "which is not there; name the folder .* or a CSV file, by --config.data.dir=DIR$"
    refused(pictures, message, "folder", os.path.join(pictures, path))


def test_neither_a_folder_nor_a_csv_file(pictures):
    os.mkfifo(pictures / "pipe")
    message = "which is neither a folder nor a CSV file; name .* by --config.data.dir=DIR$"
    refused(pictures, message, "folder", pictures / "pipe")


@pytest.mark.parametrize("name", ["set.zip", "set.tar.gz", "set.TGZ"])
def test_an_archive_is_to_be_unpacked(pictures, name):
    write(pictures, {name: "PK"})
    refused(pictures, f"{name}, which is still packed; unpack it", "folder", pictures / name)


@pytest.mark.parametrize("imbalance", [0.5, -1.0, float("nan")])
def test_an_impossible_imbalance_is_refused_before_anything_is_read(pictures, imbalance):
    message = r"config\.data\.imbalance is .*at least 1, .* or 0, which"
    with pytest.raises(ConfigError, match=message):
        load_dataset("folder", data_dir=str(pictures / "nowhere"), imbalance=imbalance)


def in_one_sentence(file, content, **options):
    """Loads a broken file, of which it must say so in one sentence or make a data set."""
    pathlib.Path(file).write_bytes(content)
    try:
        dataset = load_dataset(imbalance=0, check_totals=False, **options)
    except BcclError as error:
        said = str(error)
    else:
        said = "nothing"
        for path in dataset.train.images.paths + dataset.test.images.paths:
            assert os.path.isfile(dataset.train.images.root / path)
    assert said.isprintable()


relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Bytes that have a meaning to lists and CSV files, so that random ones get somewhere.
bits = st.lists(
    st.one_of(
        st.sampled_from(LISTED + IMAGES + ["train", "test", "a", "..", "path", "label"]),
        st.sampled_from(
            [" ", "\n", "\r\n", "\t", ",", '"', "0", "1", "2", "-1", "/", "\\", "\ufeff"]
        ),
        st.text(max_size=3),
    ).map(lambda text: text.encode(errors="ignore"))
    | st.binary(max_size=2),
    max_size=15,
).map(b"".join)


@relaxed
@given(start=st.sampled_from(["", TRAIN]), content=bits)
def test_any_bytes_as_a_list(shared, start, content):
    content = start.encode() + content
    write(shared, {"val.txt": VAL})
    in_one_sentence(shared / "train_lt.txt", content, name="tiny_imagenet_lt", data_dir=str(shared))


@relaxed
@given(start=st.sampled_from(["", "path,label\n", CSV_FILE]), content=bits)
def test_any_bytes_as_a_csv_file(shared, start, content):
    file = shared / "set.csv"
    in_one_sentence(file, start.encode() + content, name="folder", data_dir=str(file))
