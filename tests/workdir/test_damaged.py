"""Damage to a checkpoint is named, and never trained on or evaluated."""

import gc
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from bccl_jax.errors import DamagedCheckpointError, WorkdirError
from bccl_jax.system import digests
from bccl_jax.workdir import verifying
from bccl_jax.workdir.checkpoint import Checkpoints
from faults.disk import flip


@struct.dataclass
class State:
    step: jax.Array
    params: dict


def state_at(step):
    return State(jnp.int32(step), {"kernel": jnp.arange(300.0) + step, "bias": jnp.zeros(3)})


def score(accuracy, epoch):
    return {"accuracy": accuracy, "epoch": epoch, "lost_classes": 0}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two checkpoints: the best one, and a later one."""
    directory = tmp_path_factory.mktemp("written") / "run" / "checkpoints"
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(state_at(5), {}, score(0.9, 1))
        checkpoints.save(state_at(10), {"loss": [2.0]}, score(0.8, 2))
    return directory


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copytree(written.parent, tmp_path / "run") / "checkpoints"


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def many_at(step):
    """So many arrays that some are still being read when the first one fails."""
    return State(jnp.int32(step), {f"kernel{i}": jnp.full((200, 200), i) for i in range(40)})


def make_old(folder):
    """Of a time before digests were written."""
    (folder / "SHA256SUMS").unlink()
    path = folder / "_CHECKPOINT_METADATA"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"custom_metadata": {}}))


def read(directory, step, read_only=True):
    with Checkpoints(directory, read_only=read_only) as checkpoints:
        return checkpoints.restore(step, state_at(0))


def test_a_checkpoint_has_the_digest_of_each_of_its_files(written):
    for step in (5, 10):
        folder = written / str(step)
        listed = digests.listed(folder)
        assert listed == {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files(folder)
            if path.relative_to(folder).as_posix()
            not in ("SHA256SUMS", "_CHECKPOINT_METADATA", "commit_success.txt")
        }
    assert "metrics/metrics" in listed
    assert any("ocdbt" in name for name in listed)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_checks_the_same_list(copied):
    def check():
        command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
        return subprocess.run(command, cwd=copied / "10", capture_output=True, text=True)

    assert check().returncode == 0
    flip(copied / "10" / "unfinished" / "metadata", 3)
    assert check().stdout == "unfinished/metadata: FAILED\n"


def test_any_flipped_bit_of_any_file_is_the_same_bits_or_one_sentence(copied, rng):
    folder, told = copied / "10", []
    for path in files(folder):
        whole = path.read_bytes()
        for _ in range(3):
            flip(path, int(rng.integers(len(whole))), int(rng.integers(8)))
            try:
                state, unfinished = read(copied, 10)
                assert unfinished == {"loss": [2.0]}
                np.testing.assert_array_equal(state.params["kernel"], state_at(10).params["kernel"])
            except DamagedCheckpointError as error:
                told.append(str(error))
            path.write_bytes(whole)
    assert len(told) >= 3 * len(digests.listed(folder))
    for sentence in told:
        assert re.search(r"checkpoint .*/10 is damaged: .*--checkpoint=5$", sentence)
        assert "\n" not in sentence
        assert len(sentence) < 1000


def test_what_is_read_when_a_read_fails_says_nothing_afterwards(tmp_path, monkeypatch):
    """Of a checkpoint without digests, of which damage shows only as it is read."""
    directory = tmp_path / "run" / "checkpoints"
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(many_at(5), {})
    make_old(directory / "5")
    (directory / "5" / "state" / "array_metadatas" / "process_0").write_bytes(b"")
    wanted = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
        many_at(0).replace(step=None),
    )
    told = []
    # Collections pass over what is of this test alone.
    gc.freeze()
    for _ in range(6):
        monkeypatch.setattr("sys.unraisablehook", told.append)
        with (
            Checkpoints(directory, read_only=True) as checkpoints,
            pytest.raises(WorkdirError, match="5 is damaged: it cannot be read"),
        ):
            checkpoints.restore_part(5, wanted)
        time.sleep(0.1)
        # What nobody waits for ends as it is collected.
        gc.collect()
    assert [late.exc_value for late in told] == []
    sys.unraisablehook(types.SimpleNamespace(object=told, exc_value=RuntimeError("of others")))
    assert len(told) == 1


@pytest.mark.parametrize(
    "name", ["process_0/d/", "state/manifest", "unfinished/meta", "SHA256SUMS"]
)
@pytest.mark.parametrize("damage", ["truncated", "missing", "a folder", "empty"])
def test_a_file_that_is_not_what_it_was_is_named(copied, damage, name):
    path = next(p for p in files(copied / "10") if re.search(name, str(p)))
    if damage == "truncated":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    with pytest.raises(DamagedCheckpointError, match=path.relative_to(copied / "10").as_posix()):
        read(copied, 10)
    # An evaluation of the other one is none of its business.
    state, _ = read(copied, 5)
    assert int(state.step) == 5


def test_who_trains_is_given_the_command_that_goes_on_from_the_one_before(copied):
    flip(copied / "10" / "state" / "_METADATA", 40)
    with (
        Checkpoints(copied) as checkpoints,
        pytest.raises(DamagedCheckpointError, match="state/_METADATA is not what was written") as e,
    ):
        checkpoints.restore(10, state_at(0))
    assert f"--workdir={copied.parent} --checkpoint=5 (" in str(e.value)
    assert str(copied.parent / "set_aside") in str(e.value)


def test_only_a_whole_checkpoint_is_offered(copied):
    flip(copied / "5" / "state" / "_METADATA", 40)
    flip(copied / "10" / "state" / "_METADATA", 40)
    with pytest.raises(DamagedCheckpointError, match="no other one that is whole"):
        read(copied, 10)


def test_one_of_before_there_were_digests_is_read_and_a_line_says_so(copied, capsys):
    make_old(copied / "10")
    state, _ = read(copied, 10)
    assert int(state.step) == 10
    told = capsys.readouterr().err
    assert told.count("has no digests") == 1
    assert "\n" not in told.strip()


def test_one_of_before_that_cannot_be_read_is_one_sentence(copied):
    make_old(copied / "10")
    told = []
    for path in sorted((copied / "10" / "state").rglob("d/*")):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        try:
            read(copied, 10)
        except DamagedCheckpointError as error:
            told.append(str(error))
        path.write_bytes(whole)
    # What is superseded is not read.
    assert told
    assert all("10 is damaged: it cannot be read (" in sentence for sentence in told)
    assert all("\n" not in sentence and len(sentence) < 800 for sentence in told)


def lose_score(folder):
    (folder / "metrics" / "metrics").unlink()


def spoil_score(folder):
    (folder / "metrics" / "metrics").write_text('{"accuracy": 1e99}')


def nest_score(folder):
    make_old(folder)
    (folder / "metrics" / "metrics").write_text("[" * 100_000)


def enlarge_score(folder):
    make_old(folder)
    (folder / "metrics" / "metrics").write_text(f'{{"accuracy": 1{"0" * 400}, "epoch": 1}}')


def lose_score_without_digests(folder):
    make_old(folder)
    shutil.rmtree(folder / "metrics")


def spoil_digests(folder):
    (folder / "SHA256SUMS").write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    "damage",
    [lose_score, spoil_score, nest_score, enlarge_score, lose_score_without_digests, spoil_digests],
)
def test_a_best_checkpoint_whose_score_is_lost_is_told_and_no_other_one_is_chosen(copied, damage):
    damage(copied / "5")
    # Before anything is written or removed.
    with pytest.raises(DamagedCheckpointError, match=r"/5 is damaged: .*--checkpoint=10"):
        Checkpoints(copied)
    assert {path.name for path in copied.iterdir()} == {"5", "10"}
    with Checkpoints(copied, read_only=True) as checkpoints:
        assert checkpoints.resolve("last") == 10
        with pytest.raises(DamagedCheckpointError):
            checkpoints.named()


def test_what_orbax_says_of_a_checkpoint_does_not_decide_which_is_the_best(copied):
    (copied / "5" / "_CHECKPOINT_METADATA").write_text("{}")
    with Checkpoints(copied) as checkpoints:
        assert checkpoints.best() == 5
        for step in (15, 20):
            checkpoints.save(state_at(step), {}, score(0.5, step // 5))
        checkpoints.wait()
        assert checkpoints.steps() == [5, 15, 20]


def test_a_killed_save_is_cleared_away_by_the_next_run_and_by_no_reader(copied):
    dead = copied / "15.orbax-checkpoint-tmp"
    shutil.copytree(copied / "10", dead)
    read(copied, 10)
    assert dead.exists()
    with Checkpoints(copied):
        assert not dead.exists()
    assert {path.name for path in copied.iterdir()} == {"5", "10"}


def test_a_reader_takes_the_next_one_where_a_run_removes_what_it_reads(copied):
    with Checkpoints(copied, read_only=True) as reader, Checkpoints(copied) as run:

        def read_slowly(step):
            if step == 10:
                # In the midst of it the run saves anew, and removes this one.
                for later in (15, 20, 25):
                    run.save(state_at(later), {}, score(0.7, later // 5))
                run.wait()
            return reader.restore(step, state_at(0))[0]

        step, state = reader.taking("last", read_slowly)
    assert (step, int(state.step)) == (25, 25)


def test_what_vanishes_after_it_was_looked_at_is_not_taken_for_read(copied):
    """Arrays of files that are being removed may be read as if they were there."""
    with Checkpoints(copied, read_only=True) as reader:
        seen = []

        def read_and_lose(step):
            seen.append(step)
            if step == 10:
                shutil.rmtree(copied / "10")
            return step

        assert reader.taking("last", read_and_lose) == (5, 5)
    assert seen == [10, 5]


def test_a_reader_waits_for_a_run_that_removes_and_else_tells_of_damage_at_once(
    copied, monkeypatch
):
    monkeypatch.setattr(verifying, "_PATIENCE", 0.2)
    shutil.rmtree(copied / "10" / "state" / "d")
    asked = []

    def under_way(lock):
        asked.append(lock)
        if len(asked) == 2:
            shutil.rmtree(copied / "10")
        return True

    monkeypatch.setattr(verifying, "is_held", under_way)
    with Checkpoints(copied, read_only=True) as reader:
        step, _ = reader.taking("last", lambda step: reader.restore(step, state_at(0)))
    assert step == 5
    assert set(asked) == {copied.parent / ".lock"}
    monkeypatch.setattr(verifying, "is_held", lambda lock: False)
    flip(copied / "5" / "state" / "_METADATA", 40)
    with (
        Checkpoints(copied, read_only=True) as reader,
        pytest.raises(DamagedCheckpointError, match="/5 is damaged"),
    ):
        reader.taking("last", lambda step: reader.restore(step, state_at(0)))


def test_a_step_that_a_run_has_removed_is_named_with_those_there_are(copied):
    with (
        Checkpoints(copied, read_only=True) as reader,
        pytest.raises(WorkdirError, match="no checkpoint '10'.*: 5"),
    ):
        reader.taking("10", lambda step: shutil.rmtree(copied / "10"))


def test_scores_are_written_as_they_were_before(written):
    assert json.loads((written / "5" / "metrics" / "metrics").read_text()) == score(0.9, 1)
