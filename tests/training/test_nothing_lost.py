"""Faults that a run meets: each ends in the same bits, or in a sentence with nothing lost."""

import errno
import os
import re
import shutil
import signal
import threading
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from bccl_jax.classifier import reading
from bccl_jax.data import fingerprint
from bccl_jax.errors import BcclError, DamagedCheckpointError, WorkdirError
from bccl_jax.reporting.records import read
from bccl_jax.system import digests, space
from bccl_jax.training import loop
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from bccl_jax.workdir import room
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from faults import forks
from faults.disk import flip, largest, no_file_above, storm, within
from tests.killed import Killed, act_at, kill, without_times
from tests.tiny import differing
from tests.tiny import tiny_config as shipped
from tests.workdir.test_damaged import State, state_at

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")


def tiny_config(**changes):
    config = shipped("cross_entropy")
    config.model.backbone = "two_layers"
    for key, value in changes.items():
        config[key] = value
    return config


@pytest.fixture(scope="module")
def whole(shared_assemblies, tmp_path_factory):
    """A run that nothing disturbed, and its directory as it was after three epochs of four."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        # One call for each of five steps and one for the end of an epoch.
        act_at(patch, 19, kill)
        with pytest.raises(Killed):
            train_and_evaluate(tiny_config(), workdir)
    killed = shutil.copytree(workdir, workdir.with_name("killed"))
    return SimpleNamespace(result=train_and_evaluate(tiny_config(), workdir), killed=killed)


@pytest.fixture
def killed(whole, tmp_path):
    return shutil.copytree(whole.killed, tmp_path / "run")


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_if_asked_to(whole, killed, capsys):
    damaged = largest(killed / "checkpoints" / "15" / "state")
    flip(damaged, 1000)
    before = damaged.read_bytes()
    for call in (train_and_evaluate, evaluate_checkpoints):
        with pytest.raises(
            DamagedCheckpointError, match=r"checkpoints/15 is damaged: state/\S+ is"
        ):
            call(tiny_config(), killed)
    with pytest.raises(DamagedCheckpointError, match="15 is damaged"):
        train_and_evaluate(tiny_config(), killed, checkpoint="15")
    assert not (killed / "set_aside").exists()
    capsys.readouterr()

    resumed = train_and_evaluate(tiny_config(), killed, checkpoint="10")
    assert differing(whole.result.state, resumed.state) == []
    mine, theirs = (w / "metrics.jsonl" for w in (killed, whole.result.workdir))
    assert without_times(mine) == without_times(theirs)
    kept = killed / "set_aside" / "15" / damaged.relative_to(killed / "checkpoints" / "15")
    assert kept.read_bytes() == before
    assert f"goes on from the checkpoint of step 10; what is later or damaged: {killed}" in (
        capsys.readouterr().err
    )


def test_what_is_set_aside_twice_is_kept_twice(killed):
    for _ in range(2):
        flip(largest(killed / "checkpoints" / "15" / "state"), 7)
        with pytest.MonkeyPatch.context() as patch:
            # In the fourth epoch, so that there is one of step 15 again.
            act_at(patch, 8, kill)
            with pytest.raises(Killed):
                train_and_evaluate(tiny_config(), killed, checkpoint="10")
    assert {path.name for path in (killed / "set_aside").iterdir()} == {"15", "15_2"}


def test_a_checkpoint_to_go_on_from_must_be_there_before_anything_is_read(killed, tmp_path):
    with pytest.raises(WorkdirError, match=r"no checkpoint '7' .*these steps.*: 10, 15"):
        train_and_evaluate(tiny_config(), killed, checkpoint="7")
    with pytest.raises(WorkdirError, match="no checkpoint 'last'"):
        train_and_evaluate(tiny_config(), tmp_path / "new", checkpoint="last")
    assert not (tmp_path / "new").exists()


def test_a_run_that_another_process_began_meanwhile_is_not_gone_on_with(
    whole, tmp_path, monkeypatch
):
    """It looked at a directory that was not there; another run began in it, and died."""
    look = fingerprint.fingerprint

    def slowly(*arguments):
        shutil.copytree(whole.killed, tmp_path / "run")
        return look(*arguments)

    monkeypatch.setattr(loop, "fingerprint", slowly)
    with pytest.raises(WorkdirError, match="another process has begun a run in .* meanwhile"):
        train_and_evaluate(tiny_config(seed=3), tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == (
        whole.killed / "config.json"
    ).read_bytes()


@pytest.mark.parametrize("there", ["an empty directory", "a run"])
def test_a_directory_is_held_from_the_first_look_on(whole, tmp_path, monkeypatch, there):
    path = tmp_path / "run"
    if there == "a run":
        shutil.copytree(whole.killed, path)
    else:
        path.mkdir()
    looked = []

    def check(self, *_):
        with (
            pytest.raises(WorkdirError, match="another process is training"),
            Workdir(path).locked(),
        ):
            pytest.fail("two hold it")
        looked.append(self.path)
        raise Killed

    monkeypatch.setattr(Workdir, "check", check)
    with pytest.raises(Killed):
        train_and_evaluate(tiny_config(), path)
    assert looked == [path]


def test_a_directory_of_something_else_is_not_even_locked(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with Workdir(tmp_path).locked():
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_save_that_fails_in_the_background_ends_the_run_at_the_next_step(
    shared_assemblies, tmp_path, monkeypatch
):
    failed = threading.Event()

    def full(*_, **__):
        failed.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(digests, "write", full)
    steps = []
    advance = loop.Ledger.add

    def add(self, metrics):
        if self.steps == 0 and steps:
            failed.wait(20)
            time.sleep(0.2)
        steps.append(self.steps)
        advance(self, metrics)

    monkeypatch.setattr(loop.Ledger, "add", add)
    before = threading.enumerate()
    with within(60), pytest.raises(WorkdirError) as raised:
        train_and_evaluate(tiny_config(), tmp_path / "run")
    told = str(raised.value)
    assert re.fullmatch(
        r"checkpoints cannot be written to \S+/run/checkpoints \(No space left on device: one "
        r"takes [\d.,]+ kB, [\d.,]+ [GM]B are free\); mend that and give the same command again, "
        "which goes on from the last one that is whole",
        told,
    )
    # The first epoch was saved, and the first step of the second one was the last.
    assert len(steps) == 6
    assert [t.name for t in threading.enumerate() if t not in before and not t.daemon] == []


def test_a_checkpoint_folder_that_cannot_be_made_is_told_at_once(tmp_path):
    with (
        within(20),
        Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints,
    ):
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").write_text("in the way")
        with pytest.raises(WorkdirError, match="cannot be written .*Not a directory"):
            checkpoints.save(state_at(5), {})
    assert [t.name for t in threading.enumerate() if "save" in t.name] == []


def test_a_file_that_may_not_grow_is_one_sentence_without_a_specification(tmp_path, capfd):
    state = State(jnp.int32(5), {"kernel": jax.random.normal(jax.random.key(0), (100_000,))})
    with (
        within(30),
        no_file_above(50_000),
        pytest.raises(WorkdirError) as raised,
        Checkpoints(tmp_path / "checkpoints") as checkpoints,
    ):
        checkpoints.save(state, {})
    told = str(raised.value)
    assert "(File too large)" in told
    assert len(told) < 400
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("left", "message"),
    [
        ((1000, None), r"no room for a checkpoint: one takes [\d.]+ kB, and 1 kB are free"),
        ((10**9, 3), "takes up to 64 files, and 3 more can be made"),
    ],
)
def test_a_disk_without_room_for_a_checkpoint_is_told_before_the_first_epoch(
    shared_assemblies, tmp_path, monkeypatch, left, message
):
    monkeypatch.setattr(room, "free", lambda path: left)
    monkeypatch.setattr(loop, "_train", lambda *_: pytest.fail("it trains"))
    with pytest.raises(WorkdirError, match=message):
        train_and_evaluate(tiny_config(), tmp_path / "run")


def test_room_for_some_checkpoints_alone_is_a_line(tmp_path, monkeypatch, capsys):
    state = SimpleNamespace(a=jax.ShapeDtypeStruct((250,), "float32"))
    monkeypatch.setattr(room, "free", lambda path: (2500, None))
    room.check_room(tmp_path, vars(state))
    assert "grow by up to 4 kB, and 2.5 kB are free" in capsys.readouterr().err
    for step in (1, 2, 3):
        (tmp_path / str(step)).mkdir()
    room.check_room(tmp_path, vars(state))
    assert capsys.readouterr().err == ""


def test_free_room_is_that_of_the_folder_that_is_to_hold_a_path(tmp_path):
    size, files = space.free(tmp_path / "not" / "there")
    found = os.statvfs(tmp_path)
    assert abs(size - found.f_bavail * found.f_frsize) < 1e9
    assert files is None or files > 0


def test_a_storm_of_sigterm_ends_a_run_by_143_with_all_saved(tmp_path):
    workdir = tmp_path / "run"
    process = forks.start(
        "--config=tests/training/two_processes_config.py",
        "--config.epochs=2000",
        f"--workdir={workdir}",
        JAX_PLATFORMS="cpu",
    )
    records = workdir / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (records.exists() and records.read_text()) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert storm(process, signal.SIGTERM) > 1
    _, told = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, told
    [step] = re.findall(r"stopped by SIGTERM after step (\d+), which is saved", told)
    names = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert step in names
    assert not any("tmp" in name for name in names)


def test_every_file_of_a_run_that_cannot_be_used_is_named_in_a_sentence(whole, tmp_path, capsys):
    names = sorted(path.name for path in whole.killed.iterdir() if path.is_file())
    assert {"config.json", "splits.json", "metrics.jsonl", "images.npz"} < set(names)
    for name in names:
        run = shutil.copytree(whole.killed, tmp_path / "run")
        (run / name).unlink()
        (run / name).mkdir()
        told = []
        for call in (evaluate_checkpoints, train_and_evaluate):
            try:
                call(tiny_config(), run)
            except BcclError as error:
                told.append(str(error))
        # These are read by predictions, and where a run is made longer.
        assert told or name in ("inputs.json", "sized.json"), name
        assert all(name in sentence and "\n" not in sentence for sentence in told)
        shutil.rmtree(run)


def test_a_pipe_in_the_place_of_any_file_of_a_run_is_told_and_not_waited_for(whole, tmp_path):
    names = sorted(path.name for path in whole.killed.iterdir() if path.is_file())
    assert ".lock" in names
    for name in names:
        run = shutil.copytree(whole.killed, tmp_path / "run")
        (run / name).unlink()
        os.mkfifo(run / name)
        told = []
        for call in (evaluate_checkpoints, train_and_evaluate):
            try:
                with within(60):
                    call(tiny_config(), run)
            except BcclError as error:
                told.append(str(error))
        assert told or name in ("inputs.json", "sized.json"), name
        assert all(name in sentence and "\n" not in sentence for sentence in told)
        shutil.rmtree(run)


@pytest.mark.parametrize(
    ("name", "make"),
    [("results.json", os.mkdir), ("metrics.tmp", os.mkdir), ("metrics.tmp", os.mkfifo)],
)
def test_what_a_run_cannot_write_is_named_in_a_sentence(whole, killed, name, make):
    path = killed / name
    path.unlink(missing_ok=True)
    make(path)
    with within(60), pytest.raises(WorkdirError, match=re.escape(name)) as raised:
        train_and_evaluate(tiny_config(), killed)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("last", ['{"a": 1}', '["step"]', "null", '{"step": "15"}'])
def test_a_last_line_that_is_no_record_and_has_no_end_is_half_a_line(killed, last):
    records = killed / "metrics.jsonl"
    before = read(records)
    records.write_text(records.read_text() + last)
    assert read(records) == before
    records.write_text(records.read_text() + "\n")
    with pytest.raises(WorkdirError, match=r"line \d+ of .*metrics.jsonl is not a record"):
        read(records)


@pytest.mark.parametrize("step", ['"15"', "null", "1.5", "true", "[]"])
def test_a_step_of_a_record_that_is_no_number_is_named(killed, step):
    for copy in killed.glob("checkpoints/*/records.jsonl"):
        # As checkpoints were before they had one.
        copy.unlink()
        listed = copy.with_name("SHA256SUMS")
        lines = listed.read_text().splitlines(keepends=True)
        listed.write_text("".join(line for line in lines if copy.name not in line))
    records = killed / "metrics.jsonl"
    records.write_text(re.sub(r'"step": 10\b', f'"step": {step}', records.read_text()))
    with pytest.raises(WorkdirError, match=r"line 2 of .*metrics.jsonl is not a record"):
        train_and_evaluate(tiny_config(), killed)


@pytest.mark.parametrize("how", ["a digit", "no record", "gone", "cut", "half a line"])
def test_records_that_are_not_what_was_written_are_those_of_the_checkpoint(
    whole, killed, how, capsys
):
    records = killed / "metrics.jsonl"
    written = records.read_text()
    lines = written.splitlines(keepends=True)
    assert len(lines) == 3
    told = "metrics.jsonl is not what was written"
    if how == "gone":
        records.unlink()
        told = "metrics.jsonl is missing"
    elif how == "a digit":
        records.write_text(re.sub(r'("loss": \d\.\d)\d', r"\g<1>0", written, count=1))
        assert records.read_text() != written
    elif how == "no record":
        records.write_text(lines[0] + '{"step": "two"}\n' + lines[2])
        told = "line 2 of"
    else:
        records.write_text("".join(lines[:2]) + (lines[2][:9] if how == "half a line" else ""))
    there = records.read_text() if how != "gone" else None
    resumed = train_and_evaluate(tiny_config(), killed)
    assert differing(whole.result.state, resumed.state) == []
    theirs = whole.result.workdir / "metrics.jsonl"
    assert without_times(records) == without_times(theirs)
    said = capsys.readouterr().err
    assert told in said
    assert "up to epoch 3 are taken from the checkpoint of step 15" in said
    kept = killed / "metrics.jsonl.damaged"
    assert (kept.read_text() if kept.exists() else None) == there


@pytest.mark.parametrize(
    "name", ["config.json", "splits.json", "classes.json", "image_shape.json", "images.npz"]
)
def test_no_bit_of_what_a_run_says_of_itself_flips_without_a_word(whole, tmp_path, name):
    size = (whole.killed / name).stat().st_size
    for place in {0, size // 3, size // 2, size - 1}:
        run = shutil.copytree(whole.killed, tmp_path / str(place))
        flip(run / name, place, 1)
        # The shape of images is looked at where the pictures are not.
        call = reading.read if name == "image_shape.json" else train_and_evaluate
        with pytest.raises(BcclError, match=re.escape(name)):
            call(*((run,) if call is reading.read else (tiny_config(), run)))


def test_a_list_of_digests_that_is_damaged_is_named_and_can_be_done_without(whole, killed):
    listed = killed / "SHA256SUMS"
    flip(listed, 10, 0)
    with pytest.raises(BcclError, match="classes.json is not what .* SHA256SUMS beside it says"):
        train_and_evaluate(tiny_config(), killed)
    flip(listed, 65, 3)
    with pytest.raises(BcclError, match="SHA256SUMS is damaged .*delete it"):
        train_and_evaluate(tiny_config(), killed)
    listed.unlink()
    resumed = train_and_evaluate(tiny_config(), killed)
    assert differing(whole.result.state, resumed.state) == []
    assert "results.json" in listed.read_text()
