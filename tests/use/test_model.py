"""`bccl_jax.load`: what it predicts is what the evaluation predicted, of images of every kind."""

import io
import json
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import bccl_jax
from bccl_jax.classifier.reading import read
from bccl_jax.config.dataset import load_data
from bccl_jax.config.files import of_run
from bccl_jax.errors import ConfigError, DataError, WorkdirError
from bccl_jax.evaluation.over_split import compute_on
from bccl_jax.evaluation.passes import make_pass
from bccl_jax.workdir import json_files
from tests.examples import check, examples
from tests.use.conftest import CLASSES

LEVELS = np.random.default_rng(0).integers(0, 256, (30, 21, 3), np.uint8)


@pytest.fixture(scope="module")
def model(folder_run):
    return bccl_jax.load(folder_run.workdir)


@pytest.fixture(scope="module")
def digits(digits_run):
    return bccl_jax.load(digits_run.workdir)


def png(levels, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def softmax(logits):
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_it_has_the_very_logits_and_classes_of_the_evaluation(folder_run):
    saved = read(folder_run.workdir)
    split = load_data(of_run(folder_run.workdir / "config.json")).test
    classifier = saved.classifier
    wanted, _ = make_pass(classifier, classifier.method.logits)(saved.variables, split)
    (classes, confidences, _), _ = compute_on(
        split,
        lambda images: classifier.predict(saved.variables, images, np.zeros(3), np.zeros((0, 3))),
        classifier.config,
        classifier.mesh,
    )
    paths = [split.images.name(i) for i in range(len(split))]
    # Of another size the last bits may differ.
    model = bccl_jax.load(folder_run.workdir, batch_size=classifier.config.eval.batch_size)
    assert len(split) == 24
    found = model.logits(paths)
    assert found.dtype == np.float32
    assert found[:16].tobytes() == wanted[:16].tobytes()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert model.predict(paths).tolist() == [CLASSES[k] for k in classes]
    np.testing.assert_allclose(model.predict_proba(paths).max(axis=1), confidences, rtol=1e-5)
    # A folder is its images in the order of their names, and so is a pattern.
    assert model.names(folder_run.test) == paths == model.names(f"{folder_run.test}/*/*.jpg")
    np.testing.assert_array_equal(model.logits(folder_run.test), found)


def test_it_says_what_the_run_was(model, folder_run):
    assert model.classes == CLASSES
    assert model.results == json.loads((folder_run.workdir / "results.json").read_text())
    assert model.config.method.name == "cross_entropy"
    assert model.epoch == 2
    top1 = model.results["last"]["top1"]
    assert repr(model) == (
        "<cross_entropy on folder, two_layers, 3 classes, last checkpoint "
        f"(epoch 2, top-1 {top1:.2f} %)>"
    )


def test_each_checkpoint_is_had_by_name_or_step(folder_run):
    best = bccl_jax.load(folder_run.workdir, "best")
    last = bccl_jax.load(folder_run.workdir, int(folder_run.result.state.step))
    assert best.epoch == folder_run.result.best_epoch
    assert repr(best).endswith(f"best checkpoint (epoch {best.epoch}, top-1 "
                               f"{folder_run.result.best['top1']:.2f} %)>")  # fmt: skip
    assert last.epoch == 2
    assert "step 6 (epoch 2)" in repr(last)
    with pytest.raises(WorkdirError, match="no checkpoint '7'"):
        bccl_jax.load(folder_run.workdir, 7)


@pytest.mark.parametrize(
    "given",
    [
        LEVELS,
        LEVELS[None],
        LEVELS / 255,
        (LEVELS / 255).astype(np.float32),
        (LEVELS / 255).astype(np.float16),
        np.dstack([LEVELS, np.full(LEVELS.shape[:2], 255, np.uint8)]),
        [LEVELS],
        (image for image in [LEVELS]),
        Image.fromarray(LEVELS),
        [Image.fromarray(LEVELS).convert("RGBA")],
        np.array([LEVELS, None], object)[:1],
        bytearray(png(LEVELS)),
    ],
    ids=lambda given: type(given).__name__,
)
def test_one_picture_is_the_same_however_it_is_given(model, given, tmp_path):
    (tmp_path / "a.png").write_bytes(png(LEVELS))
    wanted = model.logits(tmp_path / "a.png")
    np.testing.assert_array_equal(model.logits(given), wanted)


@pytest.mark.parametrize("grey", [LEVELS[..., 0], LEVELS[..., :1]])
def test_grey_is_as_a_grey_file(model, grey):
    wanted = model.logits(png(LEVELS[..., 0], "L"))
    np.testing.assert_array_equal(model.logits(grey), wanted)


def test_what_is_transparent_is_put_on_the_runs_ground(model):
    hidden = np.dstack([LEVELS, np.zeros(LEVELS.shape[:2], np.uint8)])
    white = model.logits(np.full_like(LEVELS, 255))
    np.testing.assert_array_equal(model.logits(hidden), white)
    np.testing.assert_array_equal(model.logits(Image.fromarray(hidden)), white)


def test_images_of_many_sizes_and_kinds_go_in_one_list(model, tmp_path):
    (tmp_path / "b.png").write_bytes(png(LEVELS[::-1]))
    several = [LEVELS, tmp_path / "b.png", Image.fromarray(LEVELS[:9]), png(LEVELS[:, :5])]
    found = model.logits(several)
    alone = [model.logits(each)[0] for each in (LEVELS, LEVELS[::-1], LEVELS[:9], LEVELS[:, :5])]
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)
    assert model.names(several) == ["image 0", str(tmp_path / "b.png"), "image 2", "image 3"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (LEVELS * 1.0, "from 0 to 255, of which nothing says what is white; give uint8 levels"),
        (LEVELS / 255 - 0.5, "float64 from -0.5 to 0.5"),
        (np.full((2, 2, 3), np.nan), "from nan to nan"),
        *(
            # Dark ones of 16 bits may have nothing above 255, so that values say nothing.
            (LEVELS.astype(dtype), f"array of {dtype.__name__}, .*x.astype.np.uint8. where 255 is")
            for dtype in (np.uint16, np.int16, np.int32, np.int64)
        ),
        (LEVELS.astype(int) * 257, "array of int64, .* or x / 65535 where that is"),
        (np.zeros((2, 2, 3), np.uint16), "array of uint16, which does not say what is white; give"),
        (LEVELS > 9, "an array of bool; give uint8"),
        (LEVELS[..., :2], r"\[30, 21, 2\], whose last axis is none of 1, 3 or 4 channels"),
        (np.moveaxis(LEVELS, -1, 0), r"np.moveaxis\(x, -3, -1\), or give grey ones"),
        (LEVELS[0, :, 0], r"is an array \[21\]; give one image as \[height"),
        (LEVELS[None, None], r"is an array \[1, 1, 30, 21, 3\]; give one"),
        (LEVELS[:0], "has no pixels"),
        (LEVELS[None][:0], "no image was given; give paths"),
        ([], "no image was given; give paths"),
        (None, "image 0 is None, which is no image; give paths"),
        ({"a": LEVELS}, "is no image; give paths"),
        ([LEVELS, 3], "image 1 is 3, which is no image"),
        ([[1, 2], [3, 4]], "image 0 is 1, which is no image"),
        (float("nan"), "image 0 is nan, which is no image"),
        ("nowhere.jpg", "there is no file nowhere.jpg; correct"),
        ("a/" * 2000 + "*.jpg", "no file is named like a/a/a/.*correct the pattern"),
        ("a\0b*.jpg", "there is no file 'a.x00b"),
        ("nowhere/*.jpg", "no file is named like 'nowhere/*.jpg'|nowhere/.*correct the pattern"),
        (b"not a picture", "1 of 1 images cannot be decoded, image 0 the first .*no image in its"),
    ],
)
def test_what_is_no_image_is_told_in_one_sentence(model, given, message):
    with pytest.raises(DataError, match=message):
        model.predict(given)


def test_a_folder_without_pictures_is_told(model, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds no image, which must end in \.jpg"):
        model.predict(tmp_path)


def test_little_is_compiled_whatever_the_number_of_images(model):
    for number in (1, 2, 5, 9, 64, 65, 70):
        assert len(model.logits(np.broadcast_to(LEVELS, (number, *LEVELS.shape)))) == number
    assert model._logits.func._cache_size() == 3


def test_arrays_of_a_run_on_arrays_stay_as_they_are(digits):
    images = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), np.uint8)
    saved = digits._saved
    wanted = saved.classifier.normalize(images)
    seen = saved.classifier.normalize(np.stack([digits._sight.see(i) for i in images]))
    np.testing.assert_array_equal(seen, wanted)
    np.testing.assert_array_equal(
        digits.logits(images), digits.logits([png(image) for image in images])
    )


def test_pictures_of_other_sizes_are_scaled_to_those_of_the_run(digits):
    # The central square, by Pillow.
    square = Image.fromarray(LEVELS[4:25]).resize((8, 8), Image.Resampling.BILINEAR)
    for given in (LEVELS, png(LEVELS)):
        np.testing.assert_array_equal(digits.logits(given), digits.logits(np.asarray(square)))


def test_probabilities_are_adjusted_by_the_prior(model):
    images = np.random.default_rng(2).integers(0, 256, (4, 12, 12, 3), np.uint8)
    logits, prior = model.logits(images), np.array([4, 8, 12]) / 24
    for factor in (None, 0, 0.5, 1):
        wanted = softmax(logits - (factor or 0) * np.log(prior))
        found = model.predict_proba(images, adjust=factor)
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
        names = [CLASSES[k] for k in wanted.argmax(axis=1)]
        assert model.predict(images, adjust=factor).tolist() == names


@pytest.mark.parametrize("factor", ["1", True, 101, float("nan"), [1]])
def test_an_adjustment_that_cannot_be_is_told(model, factor):
    with pytest.raises(ConfigError, match=r"adjust is .*; it must be a number from -100 to 100"):
        model.predict(LEVELS, adjust=factor)


def test_a_loss_that_has_the_prior_is_not_adjusted(digits):
    with pytest.raises(ConfigError, match=r"eval.logit_adjustment is 1, .*corrected twice"):
        digits.predict(LEVELS, adjust=1)
    assert digits.predict(LEVELS, adjust=0).tolist() == digits.predict(LEVELS).tolist()


def test_features_are_the_backbones_or_a_heads(digits):
    images = [LEVELS, LEVELS[:9]]
    dense = digits._saved.variables.params["heads_classifier"]["Dense_0"]
    features = digits.embed(images)
    assert features.shape == (2, 8)
    wanted = features @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    np.testing.assert_allclose(digits.logits(images), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(digits.embed(images, head="classifier"), digits.logits(images))
    with pytest.raises(ConfigError, match="no head 'neck'; there are classifier, or the backbone"):
        digits.embed(LEVELS, head="neck")


def test_threads_share_a_model(digits):
    images = np.random.default_rng(3).integers(0, 256, (40, 9, 9, 3), np.uint8)
    wanted, found = digits.logits(images), []
    threads = [
        threading.Thread(target=lambda: found.append(digits.logits(images))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(each, wanted) for each in found)


def test_a_directory_is_only_read_and_little_of_it_is_needed(folder_run, copied, model):
    needed = {"config.json", "classes.json", "image_shape.json", "inputs.json", "checkpoints"}
    for entry in copied.iterdir():
        if entry.name not in needed:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def entries():
        return sorted((path, path.stat().st_mtime_ns) for path in copied.rglob("*"))

    before = entries()
    found = bccl_jax.load(copied)
    np.testing.assert_array_equal(found.logits(LEVELS), model.logits(LEVELS))
    assert found.results == {}
    assert entries() == before


def test_a_run_of_more_devices_and_of_their_statistics_is_read_on_one(copied, model):
    config = json.loads((copied / "config.json").read_text())
    config |= {"devices": 4, "model.batch_norm": "device"}
    json_files.write(copied / "config.json", config)
    np.testing.assert_array_equal(bccl_jax.load(copied).logits(LEVELS), model.logits(LEVELS))


def test_a_directory_of_before_it_said_whether_pictures_are_photographs(copied, model):
    (copied / "inputs.json").unlink()
    np.testing.assert_array_equal(bccl_jax.load(copied).logits(LEVELS), model.logits(LEVELS))
    json_files.write(copied / "inputs.json", {})
    with pytest.raises(WorkdirError, match="does not say whether images are photographs"):
        bccl_jax.load(copied)


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", True])
def test_a_batch_size_that_cannot_be_is_told(folder_run, size):
    with pytest.raises(ConfigError, match="batch_size is .*; it must be a whole number from 1"):
        bccl_jax.load(folder_run.workdir, batch_size=size)


def test_an_average_that_there_is_not_is_told(folder_run):
    with pytest.raises(WorkdirError, match="keeps no average of its weights"):
        bccl_jax.load(folder_run.workdir, average=True)


def test_the_example_of_load_prints_what_it_says(digits_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits_lt").symlink_to(digits_run.workdir)
    (tmp_path / "new").mkdir()
    for name in ("a", "b"):
        (tmp_path / "new" / f"{name}.png").write_bytes(png(LEVELS))
    check(examples("bccl_jax.use.model")["load"])
