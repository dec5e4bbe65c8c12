"""An average of the weights beside a run: what it is of, where it goes, and a resumed run."""

import json

import jax
import numpy as np
import pytest

from bccl_jax.classifier.reading import read
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.errors import WorkdirError
from bccl_jax.evaluation.evaluate import evaluate
from bccl_jax.reporting import console
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from bccl_jax.training.state import TrainState
from tests.killed import check_resumed
from tests.tiny import bits, differing, tiny_config

OPTIMIZED = True
pytestmark = [pytest.mark.usefixtures("_no_picture", "_two_layers"), pytest.mark.slow]

DECAY = 0.8


def small_config(method, **changes):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.optimizer.ema = DECAY
    config.update_from_flattened_dict(changes)
    return config


def traced(config):
    """A run's states after each of its eight steps."""
    run = assemble(config)
    state, states = run.init_state(), []
    with jax.set_mesh(run.mesh):
        data = put_on_device(run.dataset.train, replicated(run.mesh))
        for epoch in range(config.epochs):
            stage = run.stages[run.stage_of(epoch)]
            if epoch == stage.start and stage.begin is not None:
                state = stage.begin(state)
            step = jax.jit(stage.train_step)
            for row in run.order(epoch):
                state, _ = step(state, data.batch(row))
                states.append(state)
    return states


def weighted_mean(values):
    weights = DECAY ** np.arange(len(values) - 1, -1.0, -1.0)
    return np.tensordot(weights, np.float64(values), 1) / weights.sum()


def means_of(states):
    found = [bits({"params": s.params, "batch_stats": s.batch_stats}) for s in states]
    return {path: weighted_mean([values[path] for values in found]) for path in found[0]}


def check(state, expected, *parts):
    for path, value in bits(state.average).items():
        if not parts or any(part in path for part in parts):
            np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-6, err_msg=path)


def test_it_is_of_weights_and_statistics_after_each_step():
    states = traced(small_config("cross_entropy"))
    for count in (1, 2, 8):
        check(states[count - 1], means_of(states[:count]))
    assert differing(states[0].average["params"], states[0].params) == []


def test_a_stage_goes_on_and_what_starts_anew_has_a_new_average():
    states = traced(small_config("crt"))
    check(states[-1], means_of(states), "backbone")
    check(states[-1], means_of(states[4:]), "heads_classifier")
    first = states[4]
    classifier = (x["params"]["heads_classifier"] for x in (first.average, vars(first)))
    assert differing(*classifier) == []


@pytest.fixture(scope="module", params=["bccl", "crt"])
def whole(request, _two_layers, shared_assemblies, tmp_path_factory):
    workdir = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, train_and_evaluate(small_config(request.param), workdir)


def test_the_raw_run_is_that_without_it_and_leaves_no_trace(whole, tmp_path):
    method, result = whole
    off = train_and_evaluate(small_config(method, **{"optimizer.ema": 0.0}), tmp_path / "run")
    assert type(off.state) is TrainState
    raw = TrainState(**{name: getattr(result.state, name) for name in vars(off.state)})
    assert differing(off.state, raw) == []
    assert off.ema == {}
    assert off.last == result.last
    assert "ema" not in json.loads((tmp_path / "run" / "results.json").read_text())
    assert all("eval_ema" not in record for record in off.records)
    with pytest.raises(WorkdirError, match=r"keeps no average .* config.optimizer.ema is 0"):
        read(tmp_path / "run", average=True)


@pytest.mark.parametrize("call", [5, 8])
def test_a_killed_run_ends_where_the_whole_one_ends(whole, tmp_path, call):
    method, result = whole
    config = small_config(method, **{"checkpoint.every_steps": 1})
    check_resumed(result, config, tmp_path / "run", call)


def test_it_is_evaluated_recorded_and_read(whole, shared_assemblies):
    method, result = whole
    last = result.records[-1]
    assert last["eval_ema"].keys() == last["eval"].keys()
    assert result.ema["last"] == last["eval_ema"]
    assert json.loads((result.workdir / "results.json").read_text())["ema"] == result.ema
    saved = read(result.workdir, average=True)
    for name in ("params", "batch_stats"):
        assert differing(getattr(saved.variables, name), result.state.average[name]) == []
    assert differing(saved.variables.method, result.state.method) == []
    run = shared_assemblies(small_config(method))
    found = evaluate(saved.classifier, saved.variables, run.dataset.test)
    assert found.record() == result.ema["last"]
    evaluations = evaluate_checkpoints(small_config(method), result.workdir)
    for which, figures in result.ema.items():
        assert evaluations[f"{which} averaged"].evaluation.record() == figures


def test_the_line_of_an_evaluation_tells_of_it(whole, capsys):
    _, result = whole
    progress = console.Progress(console.Budget(4, 2, 160), 8)
    record = dict(result.records[-1])
    progress.evaluated(record, 4)
    del record["eval_ema"]
    progress.evaluated(record, 4)
    told, without = capsys.readouterr().out.splitlines()
    assert "averaged" not in without
    assert f"(averaged weights: all {result.ema['last']['all']:.2f})" in told


def test_with_a_validation_split_it_is_tested_at_the_end(shared_assemblies, tmp_path):
    config = small_config("cross_entropy", **{"data.validation_fraction": 0.2})
    result = train_and_evaluate(config, tmp_path / "run")
    found = evaluate_checkpoints(config, tmp_path / "run")
    for which, figures in result.ema.items():
        assert found[f"{which} averaged"].evaluation.record() == figures
