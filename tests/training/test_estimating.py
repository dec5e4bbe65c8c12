"""--mode=estimate: what is measured is the run that training would make, and nothing is written."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from bccl_jax.commands import estimating as told
from bccl_jax.config.validation import validate
from bccl_jax.errors import BcclError
from bccl_jax.methods.base import Between
from bccl_jax.system.progress import duration
from bccl_jax.training import estimating
from bccl_jax.training.assemble import assemble
from bccl_jax.training.cost import (
    Cost,
    Disk,
    EvaluationCost,
    ReadingCost,
    RefreshCost,
    StageCost,
    StepMemory,
)
from tests.tiny import tiny_config
from tests.training.test_photographs import photos, tiny_folder_config  # noqa: F401

MADE = Cost(
    device="a chip",
    devices=1,
    cores=2,
    shares_cores=True,
    classes=3,
    training_images=100,
    batch_size=10,
    steps_per_epoch=10,
    preparing_seconds=5.0,
    stages=(
        StageCost(4, 0.5, 20, 7.0, StepMemory(100, 1000, 30, 1)),
        StageCost(2, 0.25, 20, 3.0, StepMemory(100, 500, 30, 1)),
    ),
    reading=ReadingCost(25.0, 200, 2.0, 1, 99),
    evaluation=EvaluationCost(3.0, 1.5, 50, 40, 6),
    refresh=RefreshCost(0.5, 0.25, 0, 3),
    resident_bytes=20,
    device_bytes=2_000_000,
    device_peak_bytes=None,
    host_peak_bytes=12345,
    disk=Disk(10, 4, None, None),
)


def test_a_whole_run_is_the_sum_of_its_parts():
    before = 5 + 2 + 7 + 3
    evaluations = 1.5 + 6 * (2 + 3 + 50 / 25)
    refreshes = 0.25 + 3 * 0.5
    steps = 4 * 10 * (0.5 + 0.4) + 2 * 10 * (0.25 + 0.4)
    assert MADE.seconds == pytest.approx(before + evaluations + refreshes + steps)
    # Beside an accelerator the readers have cores of their own.
    beside = dataclasses.replace(MADE, shares_cores=False)
    steps = 4 * 10 * 0.5 + 2 * 10 * 0.4
    evaluations = 1.5 + 6 * (2 + 3)
    assert beside.seconds == pytest.approx(before + evaluations + refreshes + steps)
    resident = dataclasses.replace(MADE, reading=None, refresh=None)
    steps = 4 * 10 * 0.5 + 2 * 10 * 0.25
    assert resident.seconds == pytest.approx(5 + 7 + 3 + 1.5 + 6 * 3 + steps)
    assert MADE.memory_bytes == 20 + 100 + 1000 + 30 + 1


def test_what_is_said_is_short_and_says_what_was_measured():
    text = told.as_text(MADE)
    assert max(map(len, text.splitlines())) <= 100
    lines = {line[:24].strip(): line for line in text.splitlines()}
    assert "0.9 s: 0.5 s computed (median of 20) + 0.4 s to read" in text
    assert "an epoch, stage 2" in text
    assert "6 evaluations" in text
    assert "3 refreshes" in text
    assert f"about {duration(MADE.seconds)}" in text
    assert any("1.15 kB of 2 MB" in line for line in lines.values())
    beside = told.as_text(dataclasses.replace(MADE, shares_cores=False))
    assert "0.5 s, the longer of 0.5 s computed (median of 20) and 0.4 s" in beside


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(estimating, "MOST", 3)
    monkeypatch.setattr(estimating, "PATIENCE", 0.05)


def measured(config, tmp_path, monkeypatch):
    validate(config)
    monkeypatch.chdir(tmp_path)
    cost = estimating.estimate(config, tmp_path / "runs" / "run")
    assert list(tmp_path.iterdir()) == []
    assert cost.seconds > 0
    assert all(s.memory.temporaries > 0 < s.step_seconds < 60 for s in cost.stages)
    assert json.loads(json.dumps(cost.record()))["inferred"]["seconds"] == cost.seconds
    assert max(map(len, told.as_text(cost).splitlines())) <= 100
    return cost


@pytest.mark.usefixtures("_two_layers")
@pytest.mark.parametrize("engine", ["auto", "scan"])
def test_images_in_memory(tmp_path, monkeypatch, engine):
    config = tiny_config("cross_entropy")
    config.model.backbone = "two_layers"
    config.engine = engine
    cost = measured(config, tmp_path, monkeypatch)
    run = assemble(config)
    train, test = run.dataset.train, run.dataset.test
    assert (cost.training_images, cost.classes, cost.epochs) == (len(train), 10, 4)
    assert cost.steps_per_epoch == len(train) // 64
    (stage,) = cost.stages
    assert stage.measured == (3 if engine == "auto" else 3 * run.steps_per_epoch)
    arrays = jax.tree.leaves(jax.eval_shape(run.init_state))
    arrays = [x for x in arrays if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)]
    expected = sum(np.prod(x.shape) * x.dtype.itemsize for x in arrays)
    assert stage.memory.state == pytest.approx(expected, abs=16)  # and the key
    assert cost.resident_bytes == train.images.nbytes + train.labels.nbytes
    assert cost.reading is None
    # After epochs 2 and 4.
    assert (cost.evaluation.times, cost.evaluation.images) == (2, len(test))
    assert cost.refresh is None
    assert cost.disk.checkpoint == pytest.approx(expected, abs=16)
    assert cost.disk.packed is None
    assert cost.device_bytes > cost.memory_bytes


@pytest.mark.usefixtures("_two_layers")
def test_photographs_are_read_and_counted(photos, tmp_path, monkeypatch):  # noqa: F811
    config = tiny_folder_config(photos, "crt")
    cost = measured(config, tmp_path, monkeypatch)
    assert cost.reading.images_per_second > 0
    assert cost.reading.readers == 0
    files = [path.stat().st_size for path in photos.rglob("*.jpg")]
    assert cost.disk.packed == sum(files)
    # Each stage is a program of its own.
    stages = assemble(config).stages
    assert [stage.epochs for stage in cost.stages] == [stage.epochs for stage in stages] == [2, 2]
    assert all(stage.memory.batch >= 8 * 8 * 8 * 3 for stage in cost.stages)
    assert cost.resident_bytes == 0


class Refreshed:
    """A method that renews its state every other epoch, and may look at images first."""

    def __init__(self, ask):
        self.ask, self.calls = ask, 0

    def refresh_due(self, epoch, epochs):
        return epoch % 2 == 0

    def refresh(self, state, key, between):
        assert (between.epoch, between.epochs) == (2, 9)
        if self.ask is not None:
            self.ask(between)
        self.calls += 1
        return state, {}


@pytest.mark.parametrize(
    ("ask", "images"),
    [
        (None, 0),
        (lambda between: between.features("train"), 70),
        (lambda between: between.compute(None, view="sim", key=0), 70),
        (lambda between: between.compute(None, "test", indices=np.arange(7)), 7),
    ],
)
def test_a_refresh_is_measured_unless_it_begins_with_a_pass_over_images(monkeypatch, ask, images):
    between = Between(2, 9, {}, None, None, lambda role: np.zeros({"train": 70, "test": 30}[role]))
    passes = SimpleNamespace(between=lambda state, epoch: between)
    monkeypatch.setattr(estimating, "Passes", lambda run: passes)
    method = Refreshed(ask)
    run = SimpleNamespace(method=method, config=SimpleNamespace(epochs=9))
    evaluation = EvaluationCost(3.0, 0.0, 60, 60, 1)
    state = SimpleNamespace(method={"queue": np.ones(3)})
    cost = estimating._refresh(run, state, evaluation)
    assert (cost.times, cost.images, method.calls) == (4, images, 0 if images else 2)
    if images:
        assert cost.seconds == pytest.approx(images * 3.0 / 60)
        assert f"at least: {images} images" in told.as_text(dataclasses.replace(MADE, refresh=cost))


def test_figures_go_into_a_file_that_is_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(told, "estimate", lambda config, workdir: MADE)
    path = tmp_path / "cost.json"
    assert told.run(None, tmp_path, str(path), False) == 0
    assert json.loads(path.read_text()) == json.loads(json.dumps(MADE.record()))
    assert str(path) in capsys.readouterr().out
    with pytest.raises(BcclError, match="is there already"):
        told.run(None, tmp_path, str(path), False)
    with pytest.raises(BcclError, match="does not end in .json"):
        told.run(None, tmp_path, str(tmp_path / "cost.txt"), False)
