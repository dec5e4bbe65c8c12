"""Whatever a directory is called, what is saved in it can be read back."""

import errno
import os
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from bccl_jax.config import get_config
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.fingerprint import fingerprint
from bccl_jax.data.packing import packing
from bccl_jax.data.split import Dataset, Split, Splits
from bccl_jax.errors import BcclError, LostProcessError, WorkdirError
from bccl_jax.inspecting import inspection
from bccl_jax.reporting.records import Records
from bccl_jax.tracking.callback import Begun
from bccl_jax.tracking.tensorboard import TensorBoard
from bccl_jax.training.state import TrainState
from bccl_jax.workdir import plain_path
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir

CONFIG = get_config()
INSPECTION = ml_collections.ConfigDict(
    {"eval": {"many_above": 5, "few_below": 3}, "data": {"workers": 0}}
)
SPLIT = Split(np.zeros((2, 4, 4, 3), np.uint8), np.arange(2, dtype=np.int32), ("a", "b"))
DATASET = Dataset("mini", SPLIT, SPLIT)
PHOTOGRAPHS = Splits(*[Split(FileImages("/nowhere", ["1"]), np.zeros(1, np.int32), ("a",))] * 2)

ODD = (
    "lr[0.1]", "a\\b", "a*?", "**", "{x,y}", "%41 #1", "~\n", "gs:/bucket", "a\udce9b", "ü'$|\"",
    "y" * 255, "/".join(["long" * 50] * 18),
)  # fmt: skip


def state_at(step):
    return TrainState(
        step=jnp.int32(step),
        key=jax.random.key(0),
        params={"weight": jnp.arange(3.0) + step},
        batch_stats={},
        opt_state=(),
        method={},
    )


def abstract():
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state_at(0)
    )


def save(path, *steps):
    with Checkpoints(path) as checkpoints:
        for step in steps:
            metrics = {"accuracy": -float(step), "epoch": step}
            checkpoints.save(state_at(step), {"loss": [1.0]}, metrics)


def restored(path, which="last"):
    with Checkpoints(path, read_only=True) as checkpoints:
        return checkpoints.restore(checkpoints.resolve(which), abstract())


@pytest.mark.parametrize("name", ODD)
def test_a_checkpoint_is_read_back_from_a_directory_of_any_name(tmp_path, name):
    path = tmp_path / name / "checkpoints"
    save(path, 1)
    state, unfinished = restored(path)
    np.testing.assert_array_equal(state.params["weight"], [1.0, 2.0, 3.0])
    assert unfinished == {"loss": [1.0]}
    # And nowhere else than there.
    assert [p.name for p in path.iterdir()] == ["1"]
    assert [p.name for p in tmp_path.iterdir()] == [name.partition("/")[0]]


def test_the_newest_and_the_best_are_kept_below_an_odd_path_too(tmp_path):
    path = tmp_path / "lr[0.1]" / "checkpoints"
    save(path, 1, 2)
    save(path, 3, 4)
    assert restored(path, "best")[0].step == 1
    assert restored(path)[0].step == 4
    assert sorted(p.name for p in path.iterdir()) == ["1", "3", "4"]


def test_what_has_no_checkpoint_says_so_below_an_odd_path(tmp_path):
    with (
        Checkpoints(tmp_path / "lr[0.1]" / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(WorkdirError, match=r"no checkpoint 'last' in .*lr\[0\.1\]/checkpoints"),
    ):
        checkpoints.resolve("last")
    assert not (tmp_path / "lr[0.1]").exists()


@pytest.mark.parametrize("root", ["/gs/run", "/s3/run", "/az/run", "/hf/run", "/a/gs:/b", "/a[1]"])
def test_names_that_libraries_take_for_something_else_are_known(root):
    assert not plain_path.is_plain(pathlib.Path(root))
    assert plain_path.is_plain(pathlib.Path("/home/Jo Doe/runs/ü-1_b.2,lr=0.1+x@y/gs"))


def test_a_system_without_such_paths_is_told_before_anything_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_path, "_OPEN_FILES", tmp_path / "none")
    with pytest.raises(WorkdirError, match=r"cannot be kept in .*lr\[0\.1\].*another --workdir"):
        Checkpoints(tmp_path / "lr[0.1]")


def test_a_checkpoint_that_lost_its_arrays_is_told_and_not_taken_for_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(state_at(1), {})
    checkpoints._manager.wait_until_finished()
    (tmp_path / "checkpoints" / "1" / "state" / "manifest.ocdbt").unlink()
    with pytest.raises(WorkdirError, match="checkpoints/1 was written and cannot be read"):
        checkpoints.save(state_at(2), {})
    checkpoints.__exit__()


def test_a_process_lost_while_it_is_read_back_is_told_as_such(tmp_path, monkeypatch):
    def lost(step, item):
        raise RuntimeError("UNKNOWN: Gloo AllGather failed: Read error: Connection reset by peer")

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(state_at(1), {})
    monkeypatch.setattr(checkpoints, "_read_part", lost)
    with monkeypatch.context() as of_several:
        of_several.setattr(jax.distributed, "is_initialized", lambda: True)
        of_several.setattr(jax, "process_count", lambda: 2)
        with pytest.raises(LostProcessError, match="another process of this run was lost"):
            checkpoints._read_back()
    checkpoints.save(state_at(2), {})
    with pytest.raises(WorkdirError, match="checkpoints/2 was written and cannot be read") as told:
        checkpoints.wait()
    assert told.value.__cause__ is not None
    checkpoints.__exit__()


def test_a_full_disk_is_told_in_one_sentence(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with (
        checkpoints,
        pytest.raises(WorkdirError, match="cannot be written to .*No space left") as raised,
    ):
        checkpoints.save(state_at(1), {})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["lr[0.1]", "a\udce9b", "new\nline", "%41"])
def test_a_directory_of_any_name_holds_a_whole_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    directory = Workdir(f"./{name}")
    assert directory.path == tmp_path / name
    # Where it lies was settled at the start.
    monkeypatch.chdir("/")
    assert not directory.check(CONFIG)
    with directory.claimed(CONFIG, CONFIG, DATASET):
        board = TensorBoard()
        board.begin(Begun(directory.path, {}, (), np.zeros(0, int), (), {}, dict))
        board.epoch({"epoch": 1, "train": {"loss": 1.0}})
        board.end(None)
        Records(directory.records, 0, 0).append({"step": 1})
        save(directory.checkpoints, 1)
    again = Workdir(tmp_path / name)
    assert again.check(CONFIG)
    assert again.has_checkpoint()
    assert again.check_images(DATASET, fingerprint(DATASET)) is None


@pytest.mark.parametrize("use", ["workdir", "inspect", "pack"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gs://bucket/run", "=gs://bucket/run is an address and no directory"),
        ("s3:/bucket", "is an address and no directory"),
        (
            "~nobody-of-this-name/run",
            "=~nobody-of-this-name/run: no home folder is known for ~nobody",
        ),
        ("a\0b", "zero byte"),
        ("x" * 300, "File name too long"),
        ("/".join(["x" * 200] * 25), "File name too long"),
    ],
)
def test_what_can_be_no_directory_is_refused_in_one_sentence(
    tmp_path, monkeypatch, path, message, use
):
    monkeypatch.chdir(tmp_path)

    def name_it():
        if use == "inspect":
            return inspection.run(DATASET, INSPECTION, path)
        if use == "pack":
            return packing.pack("mini", PHOTOGRAPHS, path)
        directory = Workdir(path)
        directory.check(CONFIG)
        with directory.claimed(CONFIG, CONFIG, DATASET):
            return None

    with pytest.raises(BcclError, match=message) as error:
        name_it()
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [] or "x" * 200 in path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_run_that_can_write_no_more_says_why(tmp_path, number):
    with (
        pytest.raises(WorkdirError, match=rf"run cannot be written \({os.strerror(number)}"),
        Workdir(tmp_path / "run").writing(),
    ):
        raise OSError(number, os.strerror(number))
    with pytest.raises(FileNotFoundError), Workdir(tmp_path / "run").writing():
        raise FileNotFoundError(errno.ENOENT, "a fault of ours")
