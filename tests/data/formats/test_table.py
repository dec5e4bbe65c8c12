"""CSV files of other columns: named by keys, or told in one sentence what columns there are."""

import pytest

from bccl_jax.data.sources import load_dataset
from bccl_jax.errors import DataError
from tests.data.formats.test_listed import write
from tests.data.test_broken_inputs import CSV_FILE, IMAGES, refused, rows_of


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write(tmp_path_factory.mktemp("csv"), dict.fromkeys(IMAGES, "an image"))


def data_of(root, **keys):
    return load_dataset(
        "folder", data_dir=str(root / "set.csv"), imbalance=0, test_fraction=0.5, **keys
    )


ROWS = CSV_FILE.split("\n", 1)[1]


def renamed(header, rows=ROWS):
    return f"{header}\n{rows}"


NAMED = {
    "other names": (
        renamed("file,species,part"),
        {"path_column": "file", "label_column": "species", "split_column": "part"},
    ),
    "capitals and blanks": (
        renamed(" File , SPECIES,Split"),
        {"path_column": "file", "label_column": "species"},
    ),
    "one of them": (renamed("path,species,split"), {"label_column": "species"}),
    "a mark at the start": ("\ufeff" + renamed("file,label,split"), {"path_column": "file"}),
    "quotations": (renamed('"the file","label","split"'), {"path_column": "the file"}),
}


@pytest.mark.parametrize(("content", "keys"), NAMED.values(), ids=NAMED)
def test_columns_of_other_names_are_named_by_keys(pictures, content, keys):
    write(pictures, {"set.csv": CSV_FILE})
    plain = data_of(pictures)
    write(pictures, {"set.csv": content})
    found = data_of(pictures, **keys)
    assert rows_of(found.train) == rows_of(plain.train)
    assert rows_of(found.test) == rows_of(plain.test)


def test_other_columns_are_left_out_and_told_once_some_are_named(pictures):
    rows = "".join(f"{i},{path},{path[0]},0.5\n" for i, path in enumerate(IMAGES))
    write(pictures, {"set.csv": renamed(",file,label,weight", rows)})
    dataset = data_of(pictures, path_column="file")
    assert len(dataset.train) + len(dataset.test) == len(IMAGES)
    assert any(
        note.endswith("that were not read: column 1 (no name), weight") for note in dataset.notes
    )


def test_a_column_of_splits_is_not_overlooked(pictures):
    """Its test images would be trained on."""
    write(pictures, {"set.csv": renamed("file,label,subset")})
    with pytest.raises(DataError, match=r"column subset .* by config\.data\.split_column"):
        data_of(pictures, path_column="file")
    dataset = data_of(pictures, path_column="file", split_column="subset")
    assert len(dataset.test) == 3


REFUSED = {
    "other names": ("file,class\n", {}, r"header is file,class; .*path_column and .*label_column"),
    "semicolons": (
        "path;label\n",
        {},
        r"path;label; write commas in place of semicolons .*path, l",
    ),
    "tabs": (
        "path\tlabel\n",
        {},
        r"write commas in place of tabs between its columns, path, label",
    ),
    "bars": ("path|label\n", {}, "in place of bars"),
    "semicolons and a key": (
        "file;label\n",
        {"path_column": "file"},
        "commas in place of semicolons between its columns, file, label",
    ),
    "no such column": (
        "file,class,x\n",
        {"path_column": "picture"},
        r"the path column picture is not there; .*config\.data\.path_column: file, class, x$",
    ),
    "no label": (
        "file,class\n",
        {"path_column": "file"},
        r"the label column label is not there; .*config\.data\.label_column: file, class$",
    ),
    "no such split": (
        "path,label\n",
        {"split_column": "part"},
        r"the split column part is not there; .*config\.data\.split_column: path, label$",
    ),
    "a column twice": ("file,File,label\n", {"path_column": "FILE"}, "column FILE is two columns"),
    "one column for two": (
        "file,label\n",
        {"path_column": "file", "label_column": "file"},
        "the label column file is the column of another key",
    ),
}


@pytest.mark.parametrize(("content", "keys", "message"), REFUSED.values(), ids=REFUSED)
def test_columns_that_are_not_there_are_refused_with_those_that_are(
    pictures, content, keys, message
):
    write(pictures, {"set.csv": content})
    refused(pictures, rf"set\.csv, line 1: .*{message}", "folder", pictures / "set.csv", **keys)


def test_a_path_without_its_ending_is_mended_by_what_lies_there(pictures):
    write(pictures, {"set.csv": "path,label\na/0,a\nb/0.jpg,b\n"})
    refused(pictures, r"lies as 0\.jpg, so write the ending", "folder", pictures / "set.csv")
