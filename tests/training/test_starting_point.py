"""A run that starts from another run's weights."""

import pathlib

import jax
import numpy as np
import pytest

import bccl_jax
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import train_and_evaluate
from bccl_jax.use.sharing import share
from tests.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


def small_config(method, start=""):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.model.pretrained = str(start)
    return config


@pytest.fixture(scope="module")
def trained(_two_layers, shared_assemblies, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained") / "run"
    return train_and_evaluate(small_config("cross_entropy"), workdir)


def same(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def test_backbone_and_classifier_are_the_other_runs(trained):
    fresh = assemble(small_config("logit_adjustment")).init_state()
    state = assemble(small_config("logit_adjustment", trained.workdir)).init_state()
    assert same(state.params, trained.state.params)
    assert same(state.batch_stats, trained.state.batch_stats)
    assert not same(state.params, fresh.params)
    assert int(state.step) == 0
    assert same(state.opt_state, fresh.opt_state)


def test_heads_that_the_other_run_lacks_are_new(trained):
    fresh = assemble(small_config("bccl")).init_state()
    state = assemble(small_config("bccl", trained.workdir / "config.json")).init_state()
    for name in ("backbone", "heads_classifier"):
        assert same(state.params[name], trained.state.params[name])
    assert same(state.params["heads_projector"], fresh.params["heads_projector"])
    assert same(state.batch_stats["heads_projector"], fresh.batch_stats["heads_projector"])


def test_a_momentum_copy_starts_as_the_other_runs_weights(trained):
    state = assemble(small_config("paco", trained.workdir)).init_state()
    copy = state.method["copy"]
    assert same(copy["backbone"], trained.state.params["backbone"])
    assert same(copy["heads_projector"], state.params["heads_projector"])
    # A step donates the state: one memory cannot be donated twice.
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((state.params, copy))]
    assert len(set(places)) == len(places)


def test_of_a_classifier_of_more_classes_those_of_this_run_are_kept(trained, capsys):
    config = small_config("cross_entropy", trained.workdir)
    config.data.classes = 5
    config.batch_size = 80
    run = assemble(config)
    state = run.init_state()
    assert same(state.params["backbone"], trained.state.params["backbone"])
    kept = [trained.class_names.index(name) for name in run.classifier.class_names]
    for name, array in trained.state.params["heads_classifier"]["Dense_0"].items():
        found = state.params["heads_classifier"]["Dense_0"][name]
        np.testing.assert_array_equal(found, array[..., kept])
    assert "classifier kept, 5 of its 10 classes" in capsys.readouterr().err


def test_the_second_stage_alone_goes_on_from_it(trained, tmp_path):
    config = small_config("crt", trained.workdir)
    config.method.refit_epochs = config.epochs
    result = train_and_evaluate(config, tmp_path / "run")
    assert [record["stage"] for record in result.records] == [2] * 4
    assert same(result.state.params["backbone"], trained.state.params["backbone"])
    assert same(result.state.batch_stats, trained.state.batch_stats)
    assert not same(
        result.state.params["heads_classifier"], trained.state.params["heads_classifier"]
    )
    # It goes on from its own checkpoint and not from the beginning.
    again = train_and_evaluate(config, tmp_path / "run")
    assert same(again.state.params, result.state.params)


def refused(start, message, error=ConfigError, method="cross_entropy", **changes):
    """Told in one sentence before any data is read, and before the directory is made."""
    config = small_config(method, start)
    config.update_from_flattened_dict({"data.source": "packed", "data.dir": "nowhere", **changes})
    with pytest.raises(error, match=message) as told:
        train_and_evaluate(config, "run")
    assert "\n" not in str(told.value)
    assert not pathlib.Path("run").exists()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_no_run_is_named(trained, elsewhere):
    (elsewhere / "there").mkdir()
    refused("there", "=there is a folder that holds no run; name a run's --workdir or a file")
    refused(
        "nowhere",
        "names nowhere, which is not there; name a run's --workdir",
        DataError,
    )
    refused(trained.workdir / "checkpoints", rf"holds no run; did you mean .*={trained.workdir}\?$")
    refused(trained.workdir.parent, rf"holds no run; did you mean .*={trained.workdir}\?$")
    (elsewhere / "there" / "model.safetensors").write_bytes(b"anything")
    refused("there", r"did you mean config\.model\.pretrained=there/model\.safetensors\?$")
    refused(trained.workdir / "metrics.jsonl", "is no run and no shared file, but torchvision has")


def test_a_damaged_file_is_named(trained, elsewhere):
    share(trained.workdir, pathlib.Path("shared.safetensors"))
    whole = pathlib.Path("shared.safetensors").read_bytes()
    for content, message in (
        (whole[:-1], "a part of one is missing; copy or download it again$"),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "is damaged: its checksum"),
        (b"", "it is no safetensors file"),
    ):
        pathlib.Path("damaged.safetensors").write_bytes(content)
        refused("damaged.safetensors", rf"damaged\.safetensors.*{message}", DataError)


def test_another_backbone_is_named(trained, elsewhere):
    message = "is a run of config.model.backbone='two_layers', and this one's is 'resnet8'"
    refused(trained.workdir, message, **{"model.backbone": "resnet8"})


def test_a_backbone_of_other_shapes_is_named(trained):
    config = small_config("cross_entropy", trained.workdir)
    config.data.pixels = 4
    config.augment.strong.update(crop_padding=1, cutout=0)
    message = r"does not fit: .* Dense_0/kernel is \[192, 8\] there and \[48, 8\] here$"
    with pytest.raises(ConfigError, match=message):
        assemble(config).init_state()


def test_a_run_without_checkpoints_is_named(trained, elsewhere):
    (elsewhere / "start").mkdir()
    for name in ("config.json", "classes.json", "image_shape.json"):
        (elsewhere / "start" / name).write_text((trained.workdir / name).read_text())
    refused("start", "is a run without a checkpoint so far")


@pytest.mark.parametrize("shared", [False, True])
def test_one_line_says_what_is_kept(trained, elsewhere, capsys, shared):
    start = trained.workdir
    if shared:
        start = elsewhere / "shared.safetensors"
        share(trained.workdir, start)
    assemble(small_config("bccl", start)).init_state()
    assert capsys.readouterr().err == (
        f"starts from {start} (epoch 4, backbone two_layers): classifier kept, 10 classes of the "
        "same names, projector new\n"
    )


def test_images_that_are_normalised_otherwise_are_told(trained, capsys):
    config = small_config("cross_entropy", trained.workdir)
    config.augment.mean = (0.5, 0.5, 0.5)
    assemble(config).init_state()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "config.augment.mean=(0.305, 0.305, 0.305)" in told[1]


def test_called_from_python_a_path_names_it(trained, tmp_path):
    config = small_config("cross_entropy")
    changes = {"model.pretrained": trained.workdir, "epochs": 2}
    config.optimizer.learning_rate = 1e-30
    result = bccl_jax.train(config, tmp_path / "run", changes)
    assert same(result.state.params, trained.state.params)
