import dataclasses
import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bccl_jax.data import checks
from bccl_jax.data.formats import listed, lists
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import DataError
from bccl_jax.system.names import shown

MINI = listed.ListedDataset(
    name="mini",
    num_classes=3,
    train="train.txt",
    train_total=5,
    test="test.txt",
    test_total=3,
    validation="val.txt",
    validation_total=1,
)
LISTS = {
    "train.txt": "photos/a/1.jpg 0\nphotos/b/1.jpg 1\nphotos/a/2.jpg 0\nphotos/c/1.jpg 2\n"
    "x.jpg 0\n",
    "test.txt": "tested/a 1.jpg 0\ntested/b.jpg 1\ntested/c.jpg 2\n",
    "val.txt": "photos/a/3.jpg 0\n",
}


def write(root, files):
    """Writes {path: text or bytes} under a folder and returns the folder."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.fixture
def mini(tmp_path):
    """The lists and their images; an image's bytes are its path."""
    paths = [line.rsplit(" ", 1)[0] for text in LISTS.values() for line in text.splitlines()]
    return write(tmp_path, LISTS | {path: path for path in paths})


def load(folder, dataset=MINI, **options):
    return listed.load(dataset, str(folder), **options)


@pytest.mark.parametrize(
    ("dataset", "num_classes", "totals"),
    [
        (listed.IMAGENET_LT, 1000, (115_846, 50_000, 20_000)),
        (listed.INATURALIST2018, 8142, (437_513, 24_426, 0)),
        (listed.PLACES_LT, 365, (62_500, 36_500, 7_300)),
        (listed.TINY_IMAGENET_LT, 200, (7_457, 2_000, 0)),
    ],
)
def test_the_published_data_sets_have_the_sizes_of_the_literature(dataset, num_classes, totals):
    assert dataset.num_classes == num_classes
    assert (dataset.train_total, dataset.test_total, dataset.validation_total) == totals
    assert bool(dataset.validation) == bool(dataset.validation_total)


def test_splits_are_the_lists_in_their_order(mini):
    splits = load(mini)
    for split, (file, text) in zip(splits[:3], LISTS.items(), strict=True):
        rows = [line.rsplit(" ", 1) for line in text.splitlines()]
        assert [split.images[i].decode() for i in range(len(split))] == [row[0] for row in rows]
        assert split.labels.tolist() == [int(row[1]) for row in rows], file
        assert split.labels.dtype == np.int32
        assert split.class_names == ("0", "1", "2")
    assert splits.test.images.name(0) == str(mini / "tested" / "a 1.jpg")


def test_a_data_set_without_a_validation_list_has_no_validation_split(mini):
    without = dataclasses.replace(MINI, validation="", validation_total=0)
    (mini / "val.txt").unlink()
    assert load(mini, without).validation is None


def test_lists_may_lie_in_a_folder_of_their_own(mini, tmp_path_factory):
    lists = tmp_path_factory.mktemp("lists")
    for file in LISTS:
        (mini / file).rename(lists / file)
    assert len(load(mini, lists=str(lists)).train) == 5
    with pytest.raises(DataError, match=r"no list .*train\.txt.*config\.data\.lists"):
        load(mini)


def test_folders_may_start_from_the_home_folder(mini, monkeypatch):
    monkeypatch.setenv("HOME", str(mini.parent))
    found = load(f"~/{mini.name}", lists=f"~/{mini.name}/")
    assert found.train.images[4] == b"x.jpg"


@pytest.mark.parametrize(
    "text",
    ["0\ta\n1\tb c\n2\td\n", "0\tn01\ta\t7\n\n2\tn03\td\t9\r\n1\tn02\tb c\t8\n"],
)
def test_class_names_come_from_the_optional_file(mini, text):
    write(mini, {"classes.txt": text})
    assert load(mini).train.class_names == ("a", "b c", "d")


def test_a_list_of_another_length_is_not_the_public_one(mini):
    with (mini / "test.txt").open("a") as file:
        file.write("tested/b.jpg 1\n")
    with pytest.raises(DataError, match=r"test\.txt has 4 images .*public list, which has 3; .*"):
        load(mini)
    assert len(load(mini, check_totals=False).test) == 4


def test_a_list_that_was_cut_down_has_the_classes_that_it_trains(mini):
    write(mini, {"train.txt": "photos/a/1.jpg 0\nphotos/b/1.jpg 1\n"})
    write(mini, {"test.txt": "tested/b.jpg 1\n", "classes.txt": "0\ta\n1\tb\n2\tc\n"})
    splits = load(mini, check_totals=False)
    assert splits.train.class_names == splits.test.class_names == ("a", "b")
    write(mini, {"test.txt": "tested/b.jpg 1\ntested/c.jpg 2\n"})
    with pytest.raises(DataError, match=r"test\.txt, line 2: the label 2 is outside 0 to 1"):
        load(mini, check_totals=False)


def test_splits_of_another_source_must_have_the_public_sizes():
    def splits(train, test, validation, classes=3):
        names = tuple("abc"[:classes])
        sized = (np.zeros((n, 1, 1, 3), np.uint8) for n in (train, test, validation))
        return Splits(*(Split(images, np.zeros(len(images), np.int32), names) for images in sized))

    listed.check_splits(MINI, splits(5, 3, 1), "packed")
    listed.check_splits(MINI, splits(5, 3, 1)._replace(validation=None), "packed")
    for wrong, message in [
        (splits(4, 3, 1), "the training split in packed has 4 images .* has 5;"),
        (splits(5, 2, 1), "the test split in packed has 2 images .* has 3;"),
        (splits(5, 3, 9), "the validation split in packed has 9 images .* has 1;"),
        (splits(5, 3, 1, classes=2), "packed has 2 classes where mini has 3;"),
    ]:
        with pytest.raises(DataError, match=message):
            listed.check_splits(MINI, wrong, "packed")


def test_missing_images_are_counted_and_the_first_three_named(mini):
    for name in ("photos/a/1.jpg", "photos/b/1.jpg", "photos/a/2.jpg", "x.jpg"):
        (mini / name).unlink()
    with pytest.raises(DataError) as error:
        load(mini)
    message = str(error.value)
    assert f"{mini / 'train.txt'}, line 1, 2, 3: 4 of 5 images are not in {mini}" in message
    assert "photos/a/1.jpg, photos/b/1.jpg, photos/a/2.jpg, ...;" in message
    assert "config.data.dir" in message


def move(root, old, new):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (lambda f: move(f, "photos/a/1.jpg", "photos/1.jpg"), r"lies as .*/photos/1\.jpg, so sort"),
        (
            lambda f: move(f, "tested/b.jpg", "tested/b/b.jpg"),
            r"lies as .*/tested/b/b\.jpg, so move",
        ),
        (lambda f: move(f, "x.jpg", "deep/x.jpg"), r"lies as .*/deep/x\.jpg, so move"),
        (lambda f: move(f, "tested/b.jpg", "tested/b.JPG"), r"lies as b\.JPG, which capitals"),
        (lambda f: move(f, "photos", "images/photos"), "there is no photos at all, and paths"),
        (lambda f: (f / "tested/b.jpg").unlink(), "complete the images, whose paths start from"),
    ],
)
def test_a_layout_that_the_list_does_not_have_is_recognised(mini, layout, message):
    layout(mini)
    with pytest.raises(DataError, match=message):
        load(mini)


def test_accents_may_be_written_in_two_ways(mini):
    composed = unicodedata.normalize("NFC", "caf\u00e9.jpg")
    write(mini, {"val.txt": f"{composed} 0\n", unicodedata.normalize("NFD", composed): b""})
    with pytest.raises(DataError, match="capitals or accents"):
        load(mini)


def test_each_folder_is_read_once_and_no_file_is_asked_for(mini, monkeypatch):
    read = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: read.append(os.fspath(path)) or scandir(path))
    stated = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **kw: stated.append(path) or stat(path, **kw))
    load(mini)
    folders = ("", "/photos/a", "/photos/b", "/photos/c", "/tested")
    assert sorted(read) == sorted(f"{mini}{folder}" for folder in folders)
    assert not [path for path in stated if str(path).endswith(".jpg")]


def test_a_folder_that_cannot_be_read_is_named(mini, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"/photos/b cannot be read \(Permission denied\)"):
        load(mini)


def test_present_files_may_be_links(mini):
    (mini / "x.jpg").unlink()
    (mini / "x.jpg").symlink_to(mini / "photos/a/1.jpg")
    (mini / "photos").rename(mini / "elsewhere")
    (mini / "photos").symlink_to(mini / "elsewhere")
    (mini / "x.jpg").unlink()
    (mini / "x.jpg").symlink_to(mini / "photos/a/1.jpg")
    assert load(mini).train.images[4] == b"photos/a/1.jpg"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("lists")


# What a file may be called and a list may name: anything but line ends, blanks at either end, the
# zero byte, and what changes in normalising.
names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters="/.\\:~")
    | st.sampled_from(" .,#'\"%"),
    min_size=1,
    max_size=12,
).filter(lambda name: name == name.strip() and name.strip("."))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(names, names, st.integers(0, 8)), min_size=1, max_size=6),
    blank=st.sampled_from([" ", "\t", "   ", " \t "]),
    end=st.sampled_from(["\n", "\r\n", "\r", " \n", "\n\n", "\n \t\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_any_name_is_read_as_it_was_written(scratch, rows, blank, end, mark):
    labels = {f"{folder}/{name}": label for folder, name, label in rows}
    path = scratch / "list.txt"
    path.write_bytes((mark + "".join(f"{p}{blank}{k}{end}" for p, k in labels.items())).encode())
    entries = lists.read_list(str(path), 9)
    assert entries.paths == list(labels)
    assert entries.labels.tolist() == list(labels.values())
    step = 2 if end.count("\n") == 2 else 1
    assert entries.lines == [1 + step * i for i in range(len(labels))]


def test_a_path_may_come_twice_with_one_label(mini):
    write(mini, {"train.txt": "x.jpg 1\n./x.jpg 1\nphotos//a/../a/1.jpg 0\n"})
    entries = lists.read_list(str(mini / "train.txt"), 3)
    assert entries.paths == ["x.jpg", "x.jpg", "photos/a/1.jpg"]


def test_disjoint_and_shared_splits():
    checks.check_disjoint(["a", "b"], ["c"], "one", "other")
    with pytest.raises(DataError, match="2 of 3 images of other are in one too, the first b;"):
        checks.check_disjoint(["a", "b"], ["c", "b", "a"], "one", "other")


def test_classes_without_a_training_image_are_counted_and_named():
    checks.check_classes(np.array([0, 2, 1]), "abc", "mini")
    with pytest.raises(
        DataError, match=r"4 of 6 .* mini have .* 0 \(a\), 2 \(c\), 4 \(e\), \.\.\."
    ):
        checks.check_classes(np.array([1, 3, 3]), "abcdef", "mini")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b.jpg", "a b.jpg"),
        ("gr\u00fcn.jpg", "gr\u00fcn.jpg"),
        ("a\nb", r"'a\nb'"),
        ("bad\udcff", r"'bad\udcff'"),
        ("x" * 1000, "x" * 150 + "..." + "x" * 150),
    ],
)
def test_what_a_message_shows_is_one_line_that_any_terminal_prints(name, expected):
    assert shown(name) == expected
    shown(name).encode()
