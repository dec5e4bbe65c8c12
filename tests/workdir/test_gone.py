"""Checkpoints that are gone: no other one takes the place of the last or of the best."""

import shutil

import pytest

from bccl_jax.errors import DamagedCheckpointError
from bccl_jax.workdir import gone, json_files
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.going_back import go_back
from tests.workdir.test_damaged import score, state_at


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three checkpoints, of which the first is the best one."""
    directory = tmp_path_factory.mktemp("written") / "run" / "checkpoints"
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(state_at(5), {}, score(0.9, 1))
        checkpoints.save(state_at(10), {}, score(0.7, 2))
        checkpoints.save(state_at(15), {}, score(0.8, 3))
    return directory


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copytree(written.parent, tmp_path / "run") / "checkpoints"


@pytest.mark.parametrize("read_only", [True, False])
def test_the_next_best_takes_no_place(copied, read_only):
    shutil.rmtree(copied / "5")
    with (
        pytest.raises(DamagedCheckpointError, match=r"checkpoints/5, is gone, .*last, .*=15$"),
        Checkpoints(copied, read_only=read_only) as checkpoints,
    ):
        checkpoints.best()
    assert {path.name for path in copied.iterdir()} == {"10", "15"}


def test_a_better_one_may_be_gone_with_the_newest(copied):
    shutil.rmtree(copied / "5")
    (copied.parent / "metrics.jsonl").write_text('{"step": 15}\n{"step": 20}\n')
    with Checkpoints(copied) as checkpoints:
        assert checkpoints.best() == 15
    (copied.parent / "metrics.jsonl").write_text('{"step": 10}\n{"step": 15}\n')
    with pytest.raises(DamagedCheckpointError, match=r"checkpoints/5, is gone"):
        Checkpoints(copied)


def test_who_goes_on_without_it_is_not_told_again(copied):
    shutil.rmtree(copied / "5")
    go_back(Workdir(copied.parent), "15")
    with Checkpoints(copied) as checkpoints:
        assert checkpoints.best() == 15
        checkpoints.save(state_at(20), {}, score(0.75, 4))
        assert checkpoints.best() == 15


def test_who_goes_on_without_a_damaged_best_is_told(copied, capsys):
    (copied / "10" / "metrics" / "metrics").write_text("{}")
    go_back(Workdir(copied.parent), "15")
    told = capsys.readouterr()
    assert "the best" not in told.out + told.err
    (copied / "5" / "metrics" / "metrics").write_text("{}")
    go_back(Workdir(copied.parent), "15")
    told = capsys.readouterr()
    assert "step 5 was the best; the best of those that are left is taken" in told.out + told.err
    with Checkpoints(copied) as checkpoints:
        assert (checkpoints.steps(), checkpoints.best()) == ([15], 15)


def test_what_is_not_the_best_may_go(copied):
    shutil.rmtree(copied / "10")
    with Checkpoints(copied) as checkpoints:
        assert checkpoints.best() == 5


def test_one_that_went_for_a_better_one_is_not_missed(copied):
    with Checkpoints(copied) as checkpoints:
        checkpoints.save(state_at(20), {}, score(0.95, 4))
        checkpoints.save(state_at(25), {}, score(0.1, 5))
        checkpoints.wait()
        assert checkpoints.steps() == [20, 25]
        assert checkpoints.best() == 20
    # A better one is set aside, and the one before it was not kept.
    go_back(Workdir(copied.parent), "25")
    (copied / "20").rename(copied.parent / "elsewhere")
    with pytest.raises(DamagedCheckpointError, match=r"checkpoints/20, is gone"):
        Checkpoints(copied)


def test_checkpoints_of_before_it_was_noted_say_nothing(copied):
    for folder in copied.iterdir():
        lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.endswith("  best.json\n")]
        assert len(kept) == len(lines) - 1
        (folder / "SHA256SUMS").write_text("".join(kept))
        (folder / "best.json").unlink()
    shutil.rmtree(copied / "5")
    with Checkpoints(copied, read_only=True) as checkpoints:
        assert checkpoints.best() == 15


def test_a_damaged_note_is_damage_of_its_checkpoint(copied):
    (copied / "15" / "best.json").write_text("10")
    with pytest.raises(DamagedCheckpointError, match=r"/15 is damaged: best.json .*=10"):
        Checkpoints(copied)
    go_back(Workdir(copied.parent), "10")
    with Checkpoints(copied) as checkpoints:
        assert (checkpoints.steps(), checkpoints.best()) == ([5, 10], 5)


def test_an_earlier_one_is_not_what_a_run_ended_with(copied):
    json_files.write(copied.parent / "results.json", {gone.STEP: 15})
    with Checkpoints(copied, read_only=True) as checkpoints:
        assert checkpoints.resolve("last") == 15
        shutil.rmtree(copied / "15")
        with pytest.raises(DamagedCheckpointError, match=r"points/15, which is gone.*point=10$"):
            checkpoints.resolve("last")
        assert checkpoints.resolve("10") == 10
        # As earlier versions wrote it, and of a run that has more epochs since.
        for results in ({}, {gone.STEP: 10}):
            json_files.write(copied.parent / "results.json", results)
            assert checkpoints.resolve("last") == 10
