"""Who follows a run is told each epoch once, and changes nothing of it."""

import inspect
import json
import sys
import threading
import time

import numpy as np
import pytest
from tensorboardX import RecordWriter

import bccl_jax
from bccl_jax.config import flatten
from bccl_jax.errors import ConfigError
from bccl_jax.tracking import TRACKERS, creating, tensorboard
from bccl_jax.training import loop, telling
from bccl_jax.workdir.directory import Workdir
from experiments.designing.hashing import hash_of
from tests.killed import without_times
from tests.tiny import differing
from tests.tiny import tiny_config as shipped
from tests.tracking.events import events
from tests.tracking.fakes import Mlflow, Wandb

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers", "shared_assemblies")
ALL = ",".join(TRACKERS)


def tiny_config(trackers=""):
    config = shipped("cross_entropy")
    config.model.backbone = "two_layers"
    config.checkpoint.every_epochs = 2
    config.trackers = trackers
    return config


@pytest.fixture(scope="module")
def whole(shared_assemblies, tmp_path_factory):
    """A run that nobody follows."""
    return bccl_jax.train(tiny_config(), tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def services(monkeypatch):
    """Weights & Biases and MLflow, as if they were installed."""
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_RUN_ID", "WANDB_DIR", "WANDB_CONSOLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    made = Wandb(), Mlflow()
    for service in made:
        monkeypatch.setitem(sys.modules, service.module.__name__, service.module)
    drawn = np.full((4, 5, 3), 7, np.uint8)
    monkeypatch.setattr(loop, "view_sheet", lambda run, state: drawn)
    return made


class Noted(bccl_jax.Callback):
    """Notes what it is told, and ends the run after an epoch as a kill would."""

    def __init__(self, stop=None):
        self.told, self.stop = [], stop

    def begin(self, run):
        self.told.append(("begin", len(run.records)))
        run.config["seed"] = 5
        run.class_counts[:] = 0

    def epoch(self, record):
        self.told.append(("epoch", record["epoch"]))
        assert record["train"].pop("loss") > 0
        if record["epoch"] == self.stop:
            raise InterruptedError("stopped here")

    def picture(self, name, image, epoch):
        self.told.append((name, epoch))
        image[:] = 0

    def end(self, result):
        self.told.append(("end", result and result.best_epoch))


@pytest.fixture
def killed(services, tmp_path):
    """The directory of a run that was killed after epoch 3, of which 2 were saved."""
    own = Noted(stop=3)
    with pytest.raises(InterruptedError, match="stopped here"):
        bccl_jax.train(tiny_config(ALL), tmp_path / "run", callbacks=[own])
    assert own.told == [("begin", 0), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("end", None)]
    return tmp_path / "run"


def test_a_killed_run_goes_on_as_the_same_run_of_each_tracker(whole, services, killed):
    wandb, mlflow = services
    ((name, there),) = wandb.runs.items()
    assert (there.project, there.name, there.code) == ("bccl_jax", "run", 1)
    assert [run.status for run in mlflow.runs.values()] == ["KILLED"]
    own = Noted()
    result = bccl_jax.train(tiny_config(ALL), killed, callbacks=[own])
    assert own.told == [("begin", 2), ("epoch", 3), ("epoch", 4), ("end", result.best_epoch)]

    assert [*wandb.runs] == [name]
    assert (there.opened, there.code) == (2, 0)
    assert [step for step, _ in there.history] == [1, 2, 3, 4]
    (kept,) = mlflow.runs.values()
    assert (kept.status, kept.name) == ("FINISHED", "run")
    for (step, numbers), record in zip(there.history, whole.records, strict=True):
        told = {key: value for key, value, at in kept.metrics if at == step}
        for found in (numbers, told):
            assert found["train/loss"] == record["train"]["loss"]
            assert found.get("eval/few") == record.get("eval", {}).get("few")
            assert found["machine/images_per_second"] > 0
        assert sum(key == "train/loss" and at == step for key, _, at in kept.metrics) == 1
    for found in (there.summary, {key: value for key, value, _ in kept.metrics}):
        assert found["last/all"] == whole.last["all"]
        assert found["best/epoch"] == whole.best_epoch
    flat = flatten(tiny_config(ALL))
    for key in ("epochs", "optimizer.learning_rate", "augment.strong.policy"):
        assert there.config[key] == flat[key]
        assert kept.params[key] == str(flat[key])
    assert there.config["seed"] == 0
    assert (there.images["views"] == 7).all()
    assert (kept.images["views.png"] == 7).all()

    # And nothing of the run is another for it.
    assert differing(result.state, whole.state) == []
    mine, theirs = (w / "metrics.jsonl" for w in (killed, whole.workdir))
    assert without_times(mine) == without_times(theirs)


def test_a_complete_run_is_left_in_peace_and_can_be_sent_later(whole, services, killed):
    wandb, mlflow = services
    bccl_jax.train(tiny_config("wandb"), killed)
    bccl_jax.train(tiny_config("wandb"), killed)
    ((_, there),) = wandb.runs.items()
    assert there.opened == 2
    (kept,) = mlflow.runs.values()
    assert kept.status == "KILLED"
    bccl_jax.train(tiny_config("mlflow"), killed)
    assert kept.status == "FINISHED"
    losses = [(at, value) for key, value, at in kept.metrics if key == "train/loss"]
    assert losses == [(row["epoch"], row["train"]["loss"]) for row in whole.records]


def test_a_tracker_that_cannot_begin_is_told_once(whole, services, tmp_path, capsys):
    wandb, _ = services
    wandb.fails = "begin"
    result = bccl_jax.train(tiny_config("wandb"), tmp_path / "run")
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert f"warning: wandb fails (no key{'!' * 144}...), and" in told
    assert differing(result.state, whole.state) == []


def test_a_tracker_that_fails_is_told_once_and_sent_later_what_it_lacks(
    whole, services, tmp_path, capsys
):
    wandb, _ = services
    wandb.fails = 2
    result = bccl_jax.train(tiny_config("wandb"), tmp_path / "run")
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert "warning: wandb fails (the network is gone), and the run goes on without it" in told
    assert differing(result.state, whole.state) == []
    ((_, there),) = wandb.runs.items()
    assert [step for step, _ in there.history] == [1]
    wandb.fails = None
    bccl_jax.train(tiny_config("wandb"), tmp_path / "run")
    assert [step for step, _ in there.history] == [1, 2, 3, 4]
    assert there.code == 0


def test_tensorboard_has_each_epoch_the_config_and_pictures(whole, services, killed):
    config = tiny_config(ALL)
    config.track_views = True
    bccl_jax.train(config, killed)
    found = events(killed / "tensorboard")
    # What follows a start hides what came at its step and later before it.
    seen = {}
    for event in found:
        if event.session_log.status == event.session_log.START:
            seen = {step: value for step, value in seen.items() if step < event.step}
        for value in event.summary.value:
            if value.tag == "train/loss":
                assert event.step not in seen
                seen[event.step] = value.simple_value
    np.testing.assert_allclose([*seen.values()], [r["train"]["loss"] for r in whole.records])
    tags = [value.tag for event in found for value in event.summary.value]
    assert sum(tag.startswith("config") for tag in tags) == 1
    assert "machine/images_per_second" in tags
    assert "views" not in tags  # it was asked for when the run went on


def test_tensorboard_has_the_views_where_they_are_asked_for(services, tmp_path):
    config = tiny_config("tensorboard")
    config.track_views = True
    with pytest.raises(InterruptedError):
        bccl_jax.train(config, tmp_path / "run", callbacks=[Noted(stop=1)])
    images = [v for e in events(tmp_path / "run" / "tensorboard") for v in e.summary.value]
    (views,) = [value for value in images if value.tag == "views"]
    assert (views.image.height, views.image.width) == (4, 5)


def test_a_disk_without_room_for_events_ends_no_run(whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tensorboard, "_create", lambda *_: RecordWriter("/dev/full"))
    result = bccl_jax.train(tiny_config("tensorboard"), tmp_path / "run")
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert "warning: tensorboard fails ([Errno 28] No space left on device), and" in told
    assert differing(result.state, whole.state) == []


def test_nothing_waits_for_another_thread_of_tensorboards(tmp_path, monkeypatch):
    threads = threading.active_count()
    begun = telling.Begun(tmp_path, {}, ("a",), np.ones(1), (), {}, lambda kept: None)
    writer = tensorboard.TensorBoard()
    writer.begin(begun)
    assert threading.active_count() == threads
    # As a clock does that is set back by a month.
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3e6)
    for epoch in range(1, 30):
        writer.epoch({"epoch": epoch, "train": {"loss": 1.0}})
    writer.end(None)
    steps = [event.step for event in events(tmp_path / "tensorboard") if event.HasField("summary")]
    assert steps == [0, *range(1, 30)]


def test_the_picture_of_the_end_is_told(tmp_path):
    path = tmp_path / "report.png"
    from PIL import Image

    Image.new("RGB", (3, 2), (1, 2, 3)).save(path)
    own = Noted()
    whom = telling.Telling("", [own])
    result = type("Result", (), {"records": [1, 2], "best_epoch": 2})()
    with whom:
        whom.complete(result, path)
    assert own.told == [("report", 2), ("end", 2)]


def test_one_process_of_several_tells(monkeypatch):
    monkeypatch.setattr(telling, "is_lead", lambda: False)
    own = Noted()
    with telling.Telling("tensorboard", [own]) as whom:
        whom.epoch({"epoch": 1}, {})
    assert own.told == []


def test_memory_is_that_of_the_fullest_device(monkeypatch):
    class Device:
        def __init__(self, number):
            self.number = number

        def memory_stats(self):
            use = {"bytes_in_use": self.number * 2**30, "peak_bytes_in_use": self.number * 2**31}
            return use if self.number else None

    monkeypatch.setattr(telling.jax, "local_devices", lambda: [Device(n) for n in (0, 1, 3)])
    times = iter([10.0, 20.0, 21.0, 100.0, 104.0])
    machine = telling.Machine(64, lambda: next(times))
    machine.begin_epoch()
    machine.advance(0)  # at 10, when the step is compiled
    machine.advance(20)  # at 20
    found = machine.figures()
    assert found == {
        "images_per_second": 128.0,
        "device_memory_gib": 3.0,
        "device_memory_peak_gib": 6.0,
    }
    machine.advance(4)  # at 21
    machine.begin_epoch()  # at 100, after what comes between epochs
    machine.advance(4)  # at 104
    assert machine.figures()["images_per_second"] == 64 * 8 / 5


def test_what_is_missing_or_no_callback_is_told_before_anything_starts(tmp_path, monkeypatch):
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
        message = rf"config.trackers is .*{name}.* not installed; pip install {name}"
        with pytest.raises(ConfigError, match=message):
            bccl_jax.train(tiny_config(f"tensorboard,{name}"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"callbacks has 3; each must be an object of a class"):
        bccl_jax.train(tiny_config(), tmp_path / "run", callbacks=[3])
    with pytest.raises(ConfigError, match=r"some of tensorboard, wandb, mlflow, joined by commas"):
        bccl_jax.train(tiny_config("tensorbord"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_who_follows_a_run_is_no_part_of_what_it_is(whole):
    config = tiny_config(ALL)
    config.track_views = True
    assert Workdir(whole.workdir).check(config)
    assert hash_of(flatten(config)) == hash_of(flatten(tiny_config()))


def test_what_is_kept_of_a_run_that_never_ended_an_epoch_goes_with_it(services, tmp_path):
    class Early(bccl_jax.Callback):
        def begin(self, run):
            raise InterruptedError

    config = tiny_config("wandb")
    with pytest.raises(InterruptedError):
        bccl_jax.train(config, tmp_path / "run", callbacks=[Early()])
    (first,) = json.loads((tmp_path / "run" / "trackers.json").read_text()).values()
    config.seed = 3
    bccl_jax.train(config, tmp_path / "run")
    (second,) = json.loads((tmp_path / "run" / "trackers.json").read_text()).values()
    assert first["id"] != second["id"]


def test_signatures():
    wandb = pytest.importorskip("wandb")
    fake = Wandb()
    inspect.signature(wandb.init).bind(**dict.fromkeys(inspect.signature(fake.init).parameters))
    inspect.signature(wandb.Run.log).bind(None, {}, step=1)
    inspect.signature(wandb.Run.finish).bind(None, exit_code=1)
    client = pytest.importorskip("mlflow").MlflowClient
    for name, given in vars(Mlflow).items():
        if hasattr(client, name) and not name.startswith("__"):
            names = inspect.signature(given).parameters
            inspect.signature(getattr(client, name)).bind(**dict.fromkeys(names))


def test_each_tracker_has_a_place():
    assert creating._PLACES.keys() == {*TRACKERS}
    assert [*creating.create("tensorboard")] == ["tensorboard"]
    assert creating.create("") == {}
