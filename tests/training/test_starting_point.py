"""A run that starts from another run's weights."""

import jax
import numpy as np
import pytest

from bccl_jax.errors import ConfigError, WorkdirError
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import train_and_evaluate
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


def test_a_classifier_of_other_classes_is_new(trained):
    config = small_config("cross_entropy", trained.workdir)
    config.data.classes = 5
    config.batch_size = 80
    state = assemble(config).init_state()
    assert same(state.params["backbone"], trained.state.params["backbone"])
    assert state.params["heads_classifier"]["Dense_0"]["kernel"].shape == (8, 5)


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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: path.mkdir(), ConfigError, "a folder that holds no run"),
        (lambda path: None, ConfigError, "torchvision has no weights for"),
    ],
)
def test_what_is_no_run_is_named(tmp_path, make, error, message):
    make(tmp_path / "there")
    with pytest.raises(error, match=message):
        assemble(small_config("cross_entropy", tmp_path / "there")).init_state()


def test_another_backbone_is_named(trained):
    config = small_config("cross_entropy", trained.workdir)
    config.model.backbone = "resnet8"
    with pytest.raises(ConfigError, match="is a run of config.model.backbone='two_layers'"):
        assemble(config).init_state()


def test_a_run_without_checkpoints_is_named(trained, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("config.json", "classes.json", "image_shape.json"):
        (tmp_path / "run" / name).write_text((trained.workdir / name).read_text())
    with pytest.raises(WorkdirError, match="no checkpoint 'last'"):
        assemble(small_config("cross_entropy", tmp_path / "run")).init_state()
