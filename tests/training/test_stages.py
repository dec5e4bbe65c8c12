"""Stages of a run: what trains in each, what starts anew, and a resumed run to the bit."""

import json

import jax
import numpy as np
import pytest

from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.training import epoch_end
from bccl_jax.training.loop import train_and_evaluate
from bccl_jax.training.parts import joined, parted
from tests.killed import check_resumed
from tests.tiny import bits, differing, tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


def staged_config(method):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.epochs = 4
    config.eval.every_epochs = 1
    config.method.refit_epochs = 2
    return config


def traced(config, workdir, monkeypatch):
    """A run, and its state after each epoch."""
    states = []
    evaluate = epoch_end.evaluate_and_note

    def kept(run, directory, state, *rest):
        states.append(bits({"params": state.params, "batch_stats": state.batch_stats}))
        return evaluate(run, directory, state, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(epoch_end, "evaluate_and_note", kept)
        return train_and_evaluate(config, workdir), states


def changed(one, other):
    return {path for path in one if one[path].tobytes() != other[path].tobytes()}


@pytest.fixture(scope="module")
def crt(_two_layers, shared_assemblies, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return traced(staged_config("crt"), tmp_path_factory.mktemp("crt") / "run", patch)


def test_the_second_stage_trains_the_classifier_alone(crt):
    _, (_, first, second, third) = crt
    assert all("heads_classifier" in path for path in changed(first, second))
    assert all("heads_classifier" in path for path in changed(second, third))
    assert len(changed(second, third)) == 2  # kernel and bias


def test_its_classifier_starts_anew(crt, shared_assemblies):
    result, (_, first, second, _) = crt
    run = shared_assemblies(staged_config("crt"))
    begun = run.stages[1].begin(result.state)
    kernel = begun.params["heads_classifier"]["Dense_0"]["kernel"]
    start = run.init_state().params["heads_classifier"]["Dense_0"]["kernel"]
    assert kernel.shape == start.shape
    # New random numbers, of the same spread.
    assert not np.array_equal(kernel, start)
    np.testing.assert_allclose(np.std(kernel), np.std(start), rtol=0.2)
    np.testing.assert_array_equal(begun.params["heads_classifier"]["Dense_0"]["bias"], 0)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(begun.opt_state))
    assert len(changed(first, second)) == 2


def test_records_and_schedule_tell_the_stages(crt, shared_assemblies):
    result, _ = crt
    assert [record["stage"] for record in result.records] == [1, 1, 2, 2]
    rates = [record["train"]["learning_rate"] for record in result.records]
    # Each stage's cosine falls over its own epochs; the second one starts at the peak, 0.1.
    assert rates[2] > rates[1]
    spe = shared_assemblies(staged_config("crt")).steps_per_epoch
    # Of its last step.
    expected = 0.1 * (1 + np.cos(np.pi * (spe - 1) / (2 * spe))) / 2
    np.testing.assert_allclose(rates[2], expected, rtol=1e-5)


# Steps 5 to 9 are the second epoch's, of which the stage ends; 10 is the first of the next one.
# Every epoch has a call of its own behind those of its steps.
@pytest.mark.parametrize("call", [8, 12, 13, 15])
def test_a_run_killed_around_the_change_ends_where_the_whole_one_ends(crt, tmp_path, call):
    result, _ = crt
    config = staged_config("crt")
    config.checkpoint.every_steps = 1
    check_resumed(result, config, tmp_path / "run", call)


@pytest.mark.parametrize("change", [{"data.resident": False}, {"engine": "scan"}])
def test_a_staged_run_is_fed_in_every_way(crt, tmp_path, change):
    result, _ = crt
    config = staged_config("crt")
    config.update_from_flattened_dict(change)
    other = train_and_evaluate(config, tmp_path / "run")
    np.testing.assert_allclose(
        [record["train"]["loss"] for record in other.records],
        [record["train"]["loss"] for record in result.records],
        rtol=1e-3,
    )
    if "data.resident" in change:
        assert differing(result.state, other.state) == []


def test_lws_learns_scales_and_nothing_else(shared_assemblies, tmp_path, monkeypatch):
    _, (_, first, second, third) = traced(staged_config("lws"), tmp_path / "run", monkeypatch)
    (path,) = changed(first, second)
    assert path.endswith("['heads_classifier']['scale']")
    np.testing.assert_array_equal(first[path], 1)
    assert changed(second, third) == {path}


def test_a_sampler_is_an_option_of_every_method(shared_assemblies, tmp_path):
    config = tiny_config("cross_entropy")
    config.model.backbone = "two_layers"
    config.data.sampler = "class_balanced"
    run = shared_assemblies(config)
    labels = run.dataset.train.labels
    times = np.bincount(labels[run.order(0).ravel()])
    assert np.ptp(times) <= 1
    result = train_and_evaluate(config, tmp_path / "run")
    assert result.records[-1]["train"]["loss"] < result.records[0]["train"]["loss"]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data.sampler"] == (
        "class_balanced"
    )


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("crt", {"method.refit_epochs": 5}, "refit_epochs is 5 in a run of 4 epochs"),
        (
            "crt",
            {"method.refit_epochs": 4},
            "stage 1 of 2 of crt has no epochs.*method.start_from",
        ),
        (
            "crt",
            {"optimizer.warmup_epochs": 3},
            "warmup_epochs is 3 in stage 1 of 2, of 2 epochs",
        ),
        (
            "lws",
            {"optimizer.schedule": "step", "optimizer.step_epochs": (3.0,), "epochs": 5},
            r"step_epochs is \(3.0,\) in stage 1 of 2, of 3 epochs",
        ),
    ],
)
def test_what_does_not_fit_the_stages_is_refused(method, changes, message):
    config = staged_config(method)
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=message):
        validate(config)


def test_parameters_are_parted_by_their_paths():
    params = {"a": {"x": 1, "y": {"z": 2}}, "ab": {"x": 3}}
    chosen, rest = parted(params, ("a/y",))
    assert chosen == {"a": {"y": {"z": 2}}}
    assert rest == {"a": {"x": 1}, "ab": {"x": 3}}
    assert joined(rest, chosen) == joined(chosen, rest) == params
    assert parted(params, ("a",)) == ({"a": params["a"]}, {"ab": params["ab"]})
    assert parted(params, ()) == (params, {})
    with pytest.raises(ConfigError, match="'b', but there are only a, ab"):
        parted(params, ("b",))
