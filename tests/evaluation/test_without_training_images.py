"""What a run trained is used where its training images, or all images, are gone."""

import json
import shutil

import jax
import numpy as np
import pytest

from bccl_jax.classifier.reading import read
from bccl_jax.config.files import of_run
from bccl_jax.data.split import Split
from bccl_jax.errors import DataError, WorkdirError
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.evaluation.evaluate import evaluate
from bccl_jax.evaluation.saved import evaluate_checkpoints
from bccl_jax.training.loop import train_and_evaluate
from tests.tiny import tiny_config
from tests.training.test_photographs import tiny_folder_config, write_pictures

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run over a folder of two splits, and that folder; the training pictures are gone."""
    root = tmp_path_factory.mktemp("run")
    for seed, part in enumerate(("train", "test")):
        write_pictures(root / "photos" / part, (12, 8, 4), seed)
    result = train_and_evaluate(tiny_folder_config(root / "photos"), root / "run")
    shutil.rmtree(root / "photos" / "train")
    return result, root / "photos"


def test_it_evaluates_to_the_figures_of_the_training(trained):
    result, photos = trained
    found = evaluate_checkpoints(tiny_folder_config(photos), result.workdir)
    assert found["last"].evaluation.record() == result.last
    assert found["last"].epoch == 4
    assert found["last"].chosen_on == result.chosen_on == "test"


def test_the_test_pictures_may_have_moved_alone(trained, tmp_path):
    result, photos = trained
    shutil.copytree(photos / "test", tmp_path / "elsewhere" / "test")
    found = evaluate_checkpoints(tiny_folder_config(tmp_path / "elsewhere"), result.workdir, "best")
    assert found["best"].evaluation.record() == result.best


@pytest.mark.parametrize("change", ["renamed", "of another class", "of other content"])
def test_other_test_pictures_are_refused(trained, tmp_path, change):
    result, photos = trained
    shutil.copytree(photos, tmp_path / "photos")
    first = tmp_path / "photos" / "test" / "red" / "00.jpg"
    if change == "renamed":
        first.rename(first.with_name("0.jpg"))
    elif change == "of another class":
        first.rename(tmp_path / "photos" / "test" / "blue" / "99.jpg")
    else:
        shutil.copy(first.with_name("01.jpg"), first)
    with pytest.raises(WorkdirError, match="test.* (names, order or labels|other content) "):
        evaluate_checkpoints(tiny_folder_config(tmp_path / "photos"), result.workdir)


def test_without_test_pictures_the_folder_is_named(trained, tmp_path):
    result, _ = trained
    with pytest.raises(DataError, match=r"config.data.dir is .*nowhere"):
        evaluate_checkpoints(tiny_folder_config(tmp_path / "nowhere"), result.workdir)


def test_its_directory_alone_embeds_and_predicts(trained, tmp_path, monkeypatch):
    result, _ = trained
    shutil.copytree(result.workdir, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    saved = read("copy")
    assert saved.epoch == 4
    assert saved.classifier.class_names == ("blue", "green", "red")
    assert list(saved.classifier.class_counts) == [4, 8, 12]
    assert saved.classifier.image_shape == (8, 8, 3)
    for name in ("params", "batch_stats", "method"):
        jax.tree.map(
            np.testing.assert_array_equal,
            getattr(saved.variables, name),
            getattr(result.state, name),
        )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 8, 8, 3), np.uint8)
    mine = Split(images, np.zeros(5, np.int32), saved.classifier.class_names)
    embeddings, labels = make_embed(saved.classifier, "projector")(saved.variables, mine)
    assert embeddings.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert list(labels) == [0] * 5
    assert 0 <= evaluate(saved.classifier, saved.variables, mine).shots["top1"] <= 100


def test_a_run_that_did_not_record_the_shape_of_its_images_is_read(trained, tmp_path):
    result, _ = trained
    shutil.copytree(result.workdir, tmp_path / "run")
    (tmp_path / "run" / "image_shape.json").unlink()
    assert read(tmp_path / "run", "best").classifier.image_shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("classes.json", "{}", "classes.json is not the JSON list"),
        ("classes.json", "[1]", "classes.json is not the table of classes"),
        ("classes.json", None, "classes.json is not the JSON list"),
        ("image_shape.json", "[8, 8]", "is not height, width and channels"),
        ("config.json", None, "holds no run"),
    ],
)
def test_a_damaged_directory_is_named(trained, tmp_path, file, content, message):
    result, _ = trained
    shutil.copytree(result.workdir, tmp_path / "run")
    if content is None:
        (tmp_path / "run" / file).unlink()
    else:
        (tmp_path / "run" / file).write_text(content)
    # As of a time before damage was noticed by digests.
    (tmp_path / "run" / "SHA256SUMS").unlink()
    with pytest.raises(WorkdirError, match=message):
        read(tmp_path / "run")


def test_a_checkpoint_that_is_not_there_is_answered_by_those_that_are(trained):
    result, _ = trained
    with pytest.raises(WorkdirError, match=r"no checkpoint '5' in .* \(last, best"):
        read(result.workdir, "5")


def test_images_in_memory_keep_their_shape(shared_assemblies, tmp_path):
    config = tiny_config("cross_entropy")
    config.model.backbone = "two_layers"
    result = train_and_evaluate(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "image_shape.json").read_text()) == [8, 8, 3]
    assert of_run(tmp_path / "run" / "config.json").to_dict() == config.to_dict()
    saved = read(tmp_path / "run")
    assert saved.classifier.image_shape == (8, 8, 3)
    assert saved.epoch == len(result.records)
