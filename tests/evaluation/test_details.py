"""--mode=eval --details: what is written of a run, from its own images and from others."""

import csv
import json
import os
import pathlib
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import bccl_jax
from bccl_jax.commands.evaluating import evaluate
from bccl_jax.data.formats import digits
from bccl_jax.data.photographs.crops import evaluation_crop
from bccl_jax.data.split import Split
from bccl_jax.errors import BcclError, DataError
from bccl_jax.evaluation import metrics
from bccl_jax.evaluation.detailed import FILES, Details
from bccl_jax.evaluation.details_folder import MARK, details_folder, folder_of
from bccl_jax.evaluation.evaluate import Judged
from bccl_jax.evaluation.saved import Another, evaluate_checkpoints
from bccl_jax.use.sharing import share
from bccl_jax.workdir.opened import config_of, opened
from tests.use.conftest import CLASSES, digits_run, folder_run  # noqa: F401


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def detailed(workdir, which=None, test=None, output=None, known_only=False):
    """What the command does, and where the details are."""
    folder = details_folder(workdir, output, test)
    another = test and Another(str(test), known_only)
    assert evaluate(config_of(opened(workdir)), workdir, which, another, folder) == 0
    return folder.path


def by_pixels(sheet, tiles):
    """The one place of each tile on a sheet, (row, column)."""
    side = len(tiles[0])
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (side, side, 3))[:, :, 0]
    found = []
    for tile in tiles:
        # Of all places those where some pixels are the tile's.
        rows, columns = np.nonzero(
            np.all([(windows[:, :, i, i] == tile[i, i]).all(-1) for i in range(0, side, 9)], axis=0)
        )
        (place,) = (
            (row, column)
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if np.array_equal(windows[row, column], tile)
        )
        found.append(place)
    return found


def figures(workdir, **options):
    config = config_of(opened(workdir))
    config.data.workers = 0
    return evaluate_checkpoints(config, workdir, **options)


@pytest.fixture(scope="module")
def mixed(folder_run, tmp_path_factory):  # noqa: F811
    """Test images of which half of each class lie with another one, and the details on them."""
    root = tmp_path_factory.mktemp("mixed") / "mixed"
    for k, name in enumerate(CLASSES):
        for i, path in enumerate(sorted((folder_run.test / name).iterdir())):
            folder = root / CLASSES[(k + i % 2) % 3]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{name}{path.name}")
    output = str(root.parent / "out")
    return SimpleNamespace(root=root, path=detailed(folder_run.workdir, None, root, output))


def test_each_image_is_listed_as_load_predicts_it(mixed, folder_run):  # noqa: F811
    for which in ("last", "best"):
        rows = rows_of(mixed.path / which / "predictions.csv")
        paths = [row["image"] for row in rows]
        assert paths == sorted(map(str, mixed.root.rglob("*.jpg")))
        model = bccl_jax.load(folder_run.workdir, which)
        wanted = model.predict_proba(paths)
        for row, probabilities in zip(rows, wanted, strict=True):
            true = pathlib.Path(row["image"]).parent.name
            of_true = probabilities[CLASSES.index(true)]
            assert (row["true"], row["predicted"]) == (true, CLASSES[probabilities.argmax()])
            assert row["correct"] == str(int(row["true"] == row["predicted"]))
            assert int(row["true_rank"]) == 1 + (probabilities > of_true).sum()
            found = [float(row["probability"]), float(row["true_probability"])]
            np.testing.assert_allclose(found, [probabilities.max(), of_true], rtol=1e-4)


def test_tables_are_scikit_learns(mixed):  # noqa: F811
    path = mixed.path
    rows = rows_of(path / "last" / "predictions.csv")
    true, predicted = ([row[column] for row in rows] for column in ("true", "predicted"))
    matrix = confusion_matrix(true, predicted, labels=CLASSES)
    found = rows_of(path / "last" / "confusion.csv")
    assert [row.pop("true") for row in found] == list(CLASSES)
    assert [[int(row[name]) for name in CLASSES] for row in found] == matrix.tolist()
    found = {row["class"]: row for row in rows_of(path / "last" / "classes.csv")}
    recalls = [float(row["recall"]) for row in found.values()]
    assert recalls == sorted(recalls)
    wanted = precision_recall_fscore_support(true, predicted, labels=CLASSES, zero_division=np.nan)
    for k, name in enumerate(CLASSES):
        columns = found[name]["precision"], found[name]["recall"], found[name]["f1"]
        here = [float(text or "nan") for text in (*columns, found[name]["test_images"])]
        np.testing.assert_allclose(here, [column[k] for column in wanted], rtol=1e-5)
        assert int(found[name]["label"]) == k
        assert int(found[name]["training_images"]) == (4, 8, 12)[k]
        assert found[name]["group"] == "few"


def test_the_pass_that_tells_of_each_image_gives_the_very_figures_of_the_run(folder_run, tmp_path):  # noqa: F811
    folder = details_folder(folder_run.workdir, str(tmp_path / "out"))
    judged = figures(folder_run.workdir, details=folder)
    for which, saved in figures(folder_run.workdir).items():
        record = saved.evaluation.record()
        assert judged[which].evaluation.record() == record == getattr(folder_run.result, which)
    assert not folder.path.exists()


def test_the_sheet_shows_what_the_network_saw_the_most_certain_mistake_first(mixed):  # noqa: F811
    rows = rows_of(mixed.path / "last" / "predictions.csv")
    wrong = [row for row in rows if row["correct"] == "0"]
    wrong.sort(key=lambda row: (-float(row["probability"]), float(row["true_probability"])))
    assert wrong
    sheet = np.asarray(Image.open(mixed.path / "last" / "most_certain_mistakes.png").convert("RGB"))
    crops = [evaluation_crop(pathlib.Path(row["image"]).read_bytes(), 10, 8) for row in wrong[:24]]
    places = by_pixels(sheet, [crop.repeat(20, 0).repeat(20, 1) for crop in crops])
    # Row by row, six in each, and as many as there are.
    assert places == sorted(places)
    tops = sorted({top for top, _ in places})
    assert [tops.index(top) for top, _ in places] == [i // 6 for i in range(len(places))]


def test_the_console_names_the_worst(mixed, folder_run, tmp_path, capsys):  # noqa: F811
    path = detailed(folder_run.workdir, "last", mixed.root, str(tmp_path / "out"))
    lines = capsys.readouterr().out.splitlines()
    rows = rows_of(path / "last" / "classes.csv")
    start = lines.index("last: the classes of the lowest recall")
    assert max(map(len, lines[start:-2])) <= 100
    for line, row in zip(lines[start + 1 :], rows, strict=False):
        right = f"{row['correct_images']} of {row['test_images']}"
        assert line.startswith(f"  {row['class']}: {right} ({100 * float(row['recall']):.1f} %)")
    pairs = rows_of(path / "last" / "confused_pairs.csv")
    start = lines.index("last: the most confused pairs")
    for line, row in zip(lines[start + 1 :], pairs, strict=False):
        assert line.startswith(f"  {row['class']} as {row['other_class']}: {row['class_as_other']}")
    assert lines[-1] == f"details  {path / 'last'}"


def test_details_replace_older_ones_and_nothing_else(tmp_path, monkeypatch):
    run, out = tmp_path / "run", str(tmp_path / "out")
    run.mkdir()

    def write(text, run=run, output=out, test=None):
        files = {name: lambda path: path.write_text(text) for name in FILES}
        return details_folder(run, output, test).write("last", files, {})

    last = write("one")
    (last / "notes.txt").write_text("mine")
    assert write("two") == last == tmp_path / "out" / "last"
    texts = {path.name: path.read_text() for path in last.iterdir() if path.name != MARK}
    assert texts == {**dict.fromkeys(FILES, "two"), "notes.txt": "mine"}
    # Of another run, or on other images.
    with pytest.raises(BcclError, match="last holds details of the run .*run on its own test im"):
        write("three", run=tmp_path / "other")
    with pytest.raises(BcclError, match="own test images; name another folder by --output=DIR"):
        write("three", test="photos")
    # A run may move with its details, of whatever images they are.
    assert write("one", output=None) == run / "details" / "last"
    assert write("one", output=None, test="new/photos") == run / "details" / "photos" / "last"
    assert write("one", output=None, test="new.v2/list.csv") == run / "details" / "list" / "last"
    with pytest.raises(BcclError, match="details of this run on .*new/photos; name another"):
        write("two", output=None, test="photos")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write("two", run=pathlib.Path("~/run"), output=None) == run / "details" / "last"
    assert write("two", output="~/out") == last
    moved = run.rename(tmp_path / "moved")
    assert write("two", run=moved, output=None) == moved / "details" / "last"
    (last / MARK).write_text("[]")
    with pytest.raises(BcclError, match=r"details.json is there and no details of an evaluation"):
        write("three")
    (last / MARK).unlink()
    with pytest.raises(BcclError, match=r"predictions.csv is there and no details of an eval"):
        write("three")
    assert (last / "predictions.csv").read_text() == "two"


def test_what_cannot_be_written_is_told_before_anything_is_evaluated(
    folder_run,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    share(folder_run.workdir, tmp_path / "run.safetensors")
    with pytest.raises(BcclError, match=r"is a file, where details have no place; name a folder"):
        details_folder(tmp_path / "run.safetensors")
    path = detailed(
        tmp_path / "run.safetensors", test=folder_run.test, output=str(tmp_path / "of_file")
    )
    assert json.loads((path / "last" / MARK).read_text())["images"] == 24
    (tmp_path / "file").touch()
    folder = details_folder(folder_run.workdir, str(tmp_path / "file" / "below"))
    with pytest.raises(BcclError, match="file is a file and no folder"):
        figures(folder_run.workdir, details=folder)
    folder = details_folder(folder_run.workdir, str(tmp_path / "new"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BcclError, match="cannot be written; name another folder by --output=DIR"):
        figures(folder_run.workdir, details=folder)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_older_details(tmp_path):
    folder = details_folder(tmp_path / "run", str(tmp_path / "out"))
    folder.write("last", {"a.csv": lambda path: path.write_text("old")}, {})

    def full(path):
        path.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(BcclError, match=r"cannot be written \(No space left on device\)"):
        folder.write("last", {"a.csv": lambda path: path.write_text("new"), "b.png": full}, {})
    last = tmp_path / "out" / "last"
    assert {file.name for file in last.iterdir()} == {MARK, "a.csv"}
    assert (last / "a.csv").read_text() == "old"


@pytest.fixture(scope="module")
def new(folder_run, tmp_path_factory):  # noqa: F811
    """A folder of two of the three classes, a broken picture and one of an unknown class."""
    root = tmp_path_factory.mktemp("new") / "new photos"
    for name in ("red", "blue"):
        shutil.copytree(folder_run.test / name, root / name)
    (root / "red" / "caf\udce9.jpg").write_bytes((root / "red" / "00.jpg").read_bytes())
    (root / "blue" / "bad.jpg").write_text("no picture")
    (root / "zebra").mkdir()
    shutil.copy(root / "red" / "00.jpg", root / "zebra")
    return root


def test_another_folder_is_evaluated_by_the_names_of_its_classes(
    folder_run,  # noqa: F811
    new,
    tmp_path,
    capsys,
):
    workdir = shutil.copytree(folder_run.workdir, tmp_path / "run")
    with pytest.raises(DataError, match="photos has a class that the run does not know, zebra; co"):
        figures(workdir, another=Another(str(new)))
    path = detailed(workdir, test=new, known_only=True)
    told = capsys.readouterr()
    assert "left out: 1 image of a class that the run does not know, zebra" in told.err
    assert "no image was evaluated of 1 of 3 classes: green" in told.out
    assert "chosen on the run's test set" in told.out
    assert path == workdir / "details" / "new photos"
    rows = rows_of(path / "last" / "predictions.csv")
    mark = json.loads((path / "last" / MARK).read_text())
    assert mark["undecoded"] == [str(new / "blue" / "bad.jpg")]
    assert mark["images"] == len(rows) == 12 + 4 + 1
    assert rows[-1]["image"] == repr(str(new / "red" / "caf\udce9.jpg"))
    whole = {
        tuple(row["image"].split("/")[-2:]): row["probability"]
        for row in rows_of(detailed(workdir, "last") / "last" / "predictions.csv")
    }
    for row in rows[:-1]:
        assert row["probability"] == whole[tuple(row["image"].split("/")[-2:])]
    last = rows_of(path / "last" / "classes.csv")[-1]
    assert (last["class"], last["test_images"], last["recall"], last["f1"]) == (
        "green",
        "0",
        "",
        "",
    )


def test_a_list_and_a_whole_data_set_are_taken_too(folder_run, new, tmp_path, capsys):  # noqa: F811
    workdir, photos = folder_run.workdir, folder_run.test.parent
    wanted = figures(workdir, which="last")["last"].evaluation.record()
    capsys.readouterr()
    assert (
        figures(workdir, which="last", another=Another(str(photos)))["last"].evaluation.record()
        == wanted
    )
    assert "training images too" not in capsys.readouterr().err
    listed = [
        (path.relative_to(photos), path.parent.name, path.parts[-3])
        for path in sorted(photos.rglob("*.jpg"))
    ]
    for name, columns in (("two", slice(2)), ("three", slice(3))):
        header = ["path", "label", "split"][columns]
        with (photos / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *(row[columns] for row in listed)])
    found = figures(workdir, which="last", another=Another(str(photos / "three.csv")))["last"]
    assert found.evaluation.record() == wanted
    assert found.chosen_on == "run's test"
    everything = figures(workdir, which="last", another=Another(str(photos / "two.csv")))["last"]
    assert len(everything.evaluation.decoded) == len(listed) == 48
    assert "24 of 48 test images are training images too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("nowhere", "nowhere is not there; name the folder .*, or a CSV file$"),
        ("new photos/red", "red holds 13 images but no folder of a class; .* bccl_jax.predict"),
        ("new photos/zebra/00.jpg", "00.jpg does not end in .csv"),
        (".", "has a class that the run does not know, new photos; name --test=.*new photos$"),
        ("zebras.csv", "does not know, okapi, zebra; correct the names, or leave these out"),
        ("none.csv", "has no image of a class of the run"),
        ("lost.csv", "lost.csv"),
    ],
)
def test_what_is_no_labelled_folder_or_list_is_told(
    folder_run,  # noqa: F811
    new,
    tmp_path,
    test,
    message,
):
    lists = {
        "zebras.csv": "path,label\nred/00.jpg,zebra\nred/01.jpg,okapi\n",
        "none.csv": "path,label,split\nred/00.jpg,red,train\nred/01.jpg,red,val\n",
        "lost.csv": "path,label\nlost.jpg,red\n",
    }
    root = new.parent
    if test in lists:
        root = tmp_path
        (tmp_path / test).write_text(lists[test])
    with pytest.raises(DataError, match=message):
        figures(folder_run.workdir, another=Another(str(root / test)))


def test_a_run_on_arrays_sees_pictures_at_its_size(digits_run, tmp_path):  # noqa: F811
    _, split = digits.load()
    pictures = tmp_path / "pictures"
    for position, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        if position < 60:
            folder = pictures / split.class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{position:03}.png")
    # What does not have the size is scaled as `load` scales it.
    Image.effect_noise((30, 50), 80).save(pictures / "0" / "zoom.png")
    (pictures / "0" / "bad.png").write_text("no picture")
    folder = details_folder(digits_run.workdir, str(tmp_path / "out"))
    whole = figures(digits_run.workdir, which="last", details=folder)["last averaged"]
    assert whole.details.image_name(3) == "3"
    another = Another(str(pictures))
    found = figures(digits_run.workdir, which="last", details=folder, another=another)
    details = found["last averaged"].details
    judged, names = details.evaluation.judged, details.split.images.paths
    assert details.evaluation.undecoded == (str(pictures / "0" / "bad.png"),)
    names.remove("0/bad.png")
    (zoom,) = [i for i, name in enumerate(names) if name == "0/zoom.png"]
    rest = [i for i in range(61) if i != zoom]
    same = [int(pathlib.Path(names[i]).stem) for i in rest]
    for here, there in zip(judged, whole.evaluation.judged, strict=True):
        np.testing.assert_allclose(here[rest], there[same], rtol=1e-5)
    model = bccl_jax.load(digits_run.workdir, average=True)
    wanted = model.predict_proba(pictures / "0" / "zoom.png").max()
    np.testing.assert_allclose(judged.confidences[zoom], wanted, rtol=1e-5)


def made_up(classes, images, rng, names=None):
    """Details of predictions of so many classes."""
    labels, predictions = rng.integers(0, classes, (2, images))
    probabilities = rng.uniform(size=images).astype(np.float32)
    judged = Judged(labels, predictions, probabilities, probabilities / 2, labels % 7 + 1)
    counts = rng.integers(1, 200, classes)
    evaluation = SimpleNamespace(
        judged=judged,
        decoded=np.ones(images, bool),
        class_names=names or tuple(f"species {k}" for k in range(classes)),
        confusion=metrics.confusion_pairs(predictions, labels, classes),
    )
    split = Split(np.zeros((images, 2, 2, 3), np.uint8), labels, evaluation.class_names)
    groups = {"many": counts > 100, "few": counts <= 100}
    return Details("made up", evaluation, split, counts, groups, lambda at: split.images[at])


def test_thousands_of_classes_are_written_without_a_matrix_of_them(tmp_path, rng, monkeypatch):
    monkeypatch.delattr(Details, "_matrix")
    details = made_up(8142, 24426, rng)
    files = details.files()
    for name in FILES[:-1]:
        files[name](tmp_path / name)
    rows = rows_of(tmp_path / "confusion.csv")
    assert sum(int(row["images"]) for row in rows) == 24426
    assert len(rows) == len(details.evaluation.confusion)
    assert max(Image.open(tmp_path / "confusion.png").size) < 2000


def test_names_of_any_letters_are_written_and_drawn(tmp_path, rng):
    names = ("two\nlines", "r\udcf6t", 'a "b", c', "$x$", "中" * 300, "=1+1", "")
    details = made_up(7, 40, rng, names)
    for name, write in details.files().items():
        write(tmp_path / name)
    shown = [name if name.isprintable() else repr(name) for name in names]
    assert {row["class"] for row in rows_of(tmp_path / "classes.csv")} == set(shown)
    assert list(rows_of(tmp_path / "confusion.csv")[0]) == ["true", *shown]


@pytest.mark.parametrize(
    ("which", "folder"),
    [("best", "best"), ("120", "step_120"), ("last averaged", "last_averaged")],
)
def test_each_checkpoint_has_a_folder_of_its_name(which, folder):
    assert folder_of(which) == folder


def test_without_a_mistake_the_files_say_so(tmp_path, rng):
    details = made_up(3, 9, rng)
    labels = details.evaluation.judged.labels
    details.evaluation.judged = details.evaluation.judged._replace(predictions=labels)
    details.evaluation.confusion = metrics.confusion_pairs(labels, labels, 3)
    for name, write in details.files().items():
        write(tmp_path / name)
    assert rows_of(tmp_path / "confused_pairs.csv") == []
    sheet = np.asarray(Image.open(tmp_path / "most_certain_mistakes.png").convert("L"))
    assert (sheet < 255).any()
