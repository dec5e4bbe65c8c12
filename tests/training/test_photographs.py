"""Pictures of any size from a folder, through decoding, training, a kill and evaluation."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from bccl_jax.classifier import image_classifier
from bccl_jax.config.dataset import load_data
from bccl_jax.data.packing import packing
from bccl_jax.devices.mesh import create_mesh
from bccl_jax.errors import ConfigError, DataError, WorkdirError
from bccl_jax.evaluation.over_split import compute_on
from bccl_jax.training import assemble, starting_point
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from bccl_jax.workdir.checkpoint import Checkpoints
from tests.killed import Killed, act_at, check_resumed, kill, without_times
from tests.tiny import differing, shipped_config, shrink

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")
COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def write_pictures(folder, counts, seed=0):
    rng = np.random.default_rng(seed)
    for (name, color), count in zip(COLORS.items(), counts, strict=True):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            height, width = rng.integers(10, 30, 2)
            noise = rng.integers(-30, 30, (height, width, 3))
            pixels = (np.array(color)[None, None] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:02}.jpg", quality=95)


def tiny_folder_config(photos, method="bccl"):
    config = shipped_config("folder", method)
    config.data.dir = str(photos)
    config.data.workers = 0
    config.dtype = "float32"
    config.model.backbone = "two_layers"
    config.augment.size = 8
    config.augment.eval_resize = 10
    # Operations that move colours would teach that red may be blue.
    config.augment.strong.policy = "none"
    config.augment.sim.jitter = (0.1, 0.1, 0.1, 0.0)
    config.augment.sim.grayscale_prob = 0.0
    config.batch_size = 8
    config.epochs = 4
    config.optimizer.learning_rate = 0.05
    config.eval.every_epochs = 2
    config.eval.batch_size = 16
    shrink(config.method)
    return config


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_pictures(folder, (20, 12, 8))
    return folder


@pytest.fixture(scope="module")
def whole(shared_assemblies, photos, tmp_path_factory):
    """A run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return train_and_evaluate(tiny_folder_config(photos), workdir)


def test_a_folder_of_pictures_trains_and_evaluates(whole, photos):
    # A fifth of each class is set aside: 4 + 2 + 1 of 40.
    classes = json.loads((whole.workdir / "classes.json").read_text())
    assert {row["name"]: row["images"] for row in classes} == {"red": 16, "green": 10, "blue": 7}
    assert whole.records[-1]["step"] == 4 * (33 // 8)
    assert np.isfinite(whole.records[-1]["train"]["loss"])
    found = evaluate_checkpoints(tiny_folder_config(photos), whole.workdir)
    assert found["last"].evaluation.record() == whole.last
    assert not (whole.workdir / "broken.txt").exists()


def test_a_run_killed_in_mid_epoch_ends_bit_for_bit_where_the_whole_one_ends(
    whole, photos, tmp_path
):
    config = tiny_folder_config(photos)
    config.checkpoint.every_steps = 1
    check_resumed(whole, config, tmp_path / "run", 3, 8)


def test_packed_pictures_give_the_very_same_run(whole, photos, tmp_path):
    config = tiny_folder_config(photos)
    packing.pack_dataset(load_data(config), tmp_path / "packed")
    config.data.source = "packed"
    config.data.dir = str(tmp_path / "packed")
    config.data.imbalance = 0.0
    result = train_and_evaluate(config, tmp_path / "run")
    assert differing(whole.state, result.state) == []
    assert result.last == whole.last


def test_broken_pictures_are_skipped_named_once_and_counted(photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    config = tiny_folder_config(folder, "cross_entropy")
    train = load_data(config).train
    names = [train.images.name(i) for i in range(len(train))]
    broken, another = [name for name in names if "green" in name][:2]
    with open(broken, "r+b") as file:
        file.truncate(200)

    config.data.max_broken = 0.5
    result = train_and_evaluate(config, tmp_path / "run")
    assert result.records[-1]["epoch"] == 4
    assert (tmp_path / "run" / "broken.txt").read_text() == f"{broken}\n"
    told = capsys.readouterr().err
    assert told.startswith(
        "starting the readers and compiling the step; a line comes every minute\n"
    )
    assert told.count("skipped") == 1
    assert f"skipped {broken}, which cannot be decoded (" in told
    assert "): 1 of 33 training pictures" in told

    with open(another, "wb") as file:
        file.write(b"not a picture")
    config.data.max_broken = 0.02  # of 33: one
    with pytest.raises(DataError, match=r"2 of 33 training pictures .*config\.data\.max_broken"):
        train_and_evaluate(config, tmp_path / "stopped")
    # Once it is mended the run goes on after the step that met it.
    with Checkpoints(tmp_path / "stopped" / "checkpoints", read_only=True) as checkpoints:
        saved = checkpoints.latest()
    assert 0 < saved <= 2 * 4
    shutil.copy(photos / pathlib.Path(another).relative_to(folder), another)
    capsys.readouterr()
    result = train_and_evaluate(config, tmp_path / "stopped")
    assert f"goes on after step {saved} " in capsys.readouterr().out
    assert [record["step"] for record in result.records] == [4, 8, 12, 16]


def break_tested(folder):
    """Breaks the test pictures; returns what mends them."""
    images = load_data(tiny_folder_config(folder)).test.images
    paths = [pathlib.Path(images.name(index)) for index in range(len(images))]
    contents = [path.read_bytes() for path in paths]
    for path in paths[:3]:
        path.write_bytes(b"not a picture")
    return lambda: [path.write_bytes(bytes_) for path, bytes_ in zip(paths, contents, strict=True)]


def test_broken_test_pictures_are_told_before_anything_is_trained(photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    break_tested(folder)
    with pytest.raises(DataError, match="3 of 7 test pictures at least cannot be decoded, .*mend"):
        train_and_evaluate(tiny_folder_config(folder), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("epoch", [2, 4])
def test_an_epoch_whose_evaluation_fails_is_kept_and_ends_bit_for_bit_where_the_whole_run_does(
    whole, photos, tmp_path, monkeypatch, capsys, epoch
):
    folder, workdir = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, folder)
    config = tiny_folder_config(folder)
    # Only evaluated epochs have checkpoints, and there is none before the first.
    config.checkpoint.every_epochs = 100
    mend = []
    with monkeypatch.context() as patch:
        # Within the epoch, when they have been looked at. An epoch has four steps.
        act_at(patch, 5 * epoch - 3, lambda: mend.append(break_tested(folder)))
        with pytest.raises(DataError, match="3 of 7 pictures to evaluate on cannot be decoded"):
            train_and_evaluate(config, workdir)
    assert len(without_times(workdir / "metrics.jsonl")) == epoch - 1
    with pytest.raises(DataError, match="3 of 7 test pictures at least cannot be decoded"):
        train_and_evaluate(config, workdir)
    mend[0]()
    capsys.readouterr()
    resumed = train_and_evaluate(config, workdir)
    assert f"{epoch} of 4 epochs done" in capsys.readouterr().out
    assert differing(whole.state, resumed.state) == []
    assert without_times(workdir / "metrics.jsonl") == without_times(
        whole.workdir / "metrics.jsonl"
    )
    assert (resumed.last, resumed.best) == (whole.last, whole.best)
    # What was evaluated then is what is read back.
    found = evaluate_checkpoints(config, workdir)
    assert found["best"].evaluation.record() == whole.best


def test_pictures_that_cannot_be_decoded_are_left_out_of_the_figures(whole, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    config = tiny_folder_config(folder)
    test = load_data(config).test
    [blue] = np.flatnonzero(test.labels == test.class_names.index("blue"))
    with open(test.images.name(blue), "wb") as file:
        file.write(b"not a picture")
    evaluation = evaluate_checkpoints(config, whole.workdir, "last")["last"].evaluation
    assert evaluation.undecoded == (test.images.name(blue),)
    assert evaluation.record()["undecoded"] == 1
    assert evaluation.confusion[:, 2].sum() == len(test) - 1
    assert np.isnan(evaluation.per_class[test.class_names.index("blue")])
    # The class that vanishes is told, and in how many classes the means are.
    record = evaluation.record()
    assert record["untested"] == ["blue"]
    assert (record["classes"]["all"], record["classes_tested"]["all"]) == (3, 2)
    assert evaluation.decoded.tolist() == [i != blue for i in range(len(test))]
    assert record["top1"] == pytest.approx(100 * evaluation.correct.mean())


def test_pictures_that_cannot_be_decoded_are_noted_before_they_end_a_run(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    config = tiny_folder_config(tmp_path / "photos")
    test = load_data(config).test
    for index in range(len(test)):
        pathlib.Path(test.images.name(index)).write_bytes(b"not a picture")
    noted = []
    config.batch_size = 2
    mesh = create_mesh(config)
    with pytest.raises(DataError, match="cannot be decoded"):
        compute_on(test, lambda images: (images,), config, mesh, note_broken=noted.extend)
    assert noted == list(range(len(test)))


def test_the_best_epoch_is_chosen_on_the_validation_split_and_both_are_tested(photos, tmp_path):
    folder = tmp_path / "photos"
    for seed, part in enumerate(("train", "val", "test")):
        write_pictures(folder / part, (14, 10, 9), seed)
    config = tiny_folder_config(folder, "cross_entropy")
    config.eval.every_epochs = 1
    result = train_and_evaluate(config, tmp_path / "run")
    assert result.chosen_on == "validation"
    monitored = [row["eval"]["all"] for row in result.records]
    assert result.best_epoch == 1 + int(np.argmax(monitored))
    found = evaluate_checkpoints(config, tmp_path / "run")
    assert found["last"].evaluation.record() == result.last
    assert (found["best"].epoch, found["best"].evaluation.record()) == (
        result.best_epoch,
        result.best,
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["chosen_on"], results["last"]) == ("validation", result.last)


def test_the_recipe_is_sized_to_the_data(photos, monkeypatch):
    config = shipped_config("folder")
    config.data.dir = str(photos)
    monkeypatch.setattr(image_classifier, "create_mesh", stop)
    with pytest.raises(Reached) as reached:
        assemble.assemble(config)
    [sized] = reached.value.args
    assert (sized.batch_size, sized.epochs, sized.augment.eval_resize) == (8, 200, 256)
    assert (sized.optimizer.warmup_epochs, sized.method.warmup_epochs) == (5, 20)
    assert sized.optimizer.learning_rate == 0.1 * 8 / 128


class Reached(Exception):
    pass


def stop(config):
    raise Reached(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("augment.size", 0, r"config\.augment\.size is 0"),
        ("augment.strong.crop", "padded", r"config\.augment\.strong\.crop is 'padded'"),
        ("augment.eval_resize", 7, r"config\.augment\.eval_resize is 7"),
        ("batch_size", 64, r"config\.batch_size is 64 but folder has only 33"),
        ("model.pretrained", "nowhere.pth", r"config\.model\.pretrained"),
    ],
)
def test_settings_for_other_images_are_refused_before_training(
    photos, tmp_path, key, value, message
):
    config = tiny_folder_config(photos)
    config.update_from_flattened_dict({key: value})
    with pytest.raises((ConfigError, DataError), match=message) as error:
        train_and_evaluate(config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_other_pictures_than_those_of_the_run_are_refused(whole, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    for name in ("50.jpg", "51.jpg", "52.jpg"):
        shutil.copy(folder / "blue" / "00.jpg", folder / "blue" / name)
    with pytest.raises(WorkdirError, match="the training images are not those"):
        train_and_evaluate(tiny_folder_config(folder), whole.workdir)


def test_renamed_pictures_of_a_run_are_refused(whole, photos, tmp_path):
    """The test split is drawn by names: a picture trained on could be tested with."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "red" / "00.jpg").rename(folder / "red" / "99.jpg")
    for call in (train_and_evaluate, evaluate_checkpoints):
        with pytest.raises(WorkdirError, match=r"the (train|test) images have other names"):
            call(tiny_folder_config(folder), whole.workdir)


def test_a_run_that_saved_nothing_yet_may_be_begun_anew(photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        act_at(patch, 1, kill)
        with pytest.raises(Killed):
            train_and_evaluate(tiny_folder_config(photos), tmp_path / "run")
    config = tiny_folder_config(photos)
    config.seed = 11
    assert train_and_evaluate(config, tmp_path / "run").records[-1]["step"] == 16
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["seed"] == 11


def test_a_run_without_its_checkpoints_is_not_taken_over_by_another(whole, photos, tmp_path):
    """Its records are results that someone may want to keep."""
    shutil.copytree(whole.workdir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    config = tiny_folder_config(photos)
    config.batch_size = 11
    with pytest.raises(WorkdirError, match="a run of another config: batch_size"):
        train_and_evaluate(config, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


def test_a_run_starts_from_the_weights_that_are_named(photos, tmp_path, monkeypatch):
    config = tiny_folder_config(photos, "cross_entropy")
    config.model.pretrained = "~/weights.safetensors"
    plain = assemble.assemble(tiny_folder_config(photos, "cross_entropy")).init_state()

    def weights(path, backbone):
        assert (path, backbone) == (pathlib.Path.home() / "weights.safetensors", "two_layers")
        kept = {"params": plain.params, "batch_stats": plain.batch_stats}
        return {which: jax.tree.map(np.ones_like, kept[which]["backbone"]) for which in kept}

    monkeypatch.setattr(starting_point, "load_pretrained", weights)
    monkeypatch.setattr(starting_point, "check_file", lambda *named: None)
    state = assemble.assemble(config).init_state()
    for which in ("params", "batch_stats"):
        for leaf in jax.tree.leaves(getattr(state, which)["backbone"]):
            np.testing.assert_array_equal(leaf, 1)
    heads = [key for key in plain.params if key != "backbone"]
    assert heads
    for key in heads:
        for mine, theirs in zip(
            *map(jax.tree.leaves, (state.params[key], plain.params[key])), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
