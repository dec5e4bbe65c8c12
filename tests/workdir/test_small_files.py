"""Small files of a run's directory that say what cannot be: each is named in a sentence."""

import json

import pytest

from bccl_jax.errors import DamagedCheckpointError, WorkdirError
from bccl_jax.system import digests
from bccl_jax.workdir import checkpoint_folder, inputs, longer
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from faults.fuzzing.kinds import made_run

TABLES = (
    [],
    [3],
    [{"name": "a"}],
    [{"name": "a", "images": None}],
    [{"name": "a", "images": 10**400}],
    [{"name": "a", "images": 0}],
)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_classes_that_is_none_is_named_by_a_longer_run(run, table):
    (run / "classes.json").write_text(json.dumps(table))
    config = made_run.config()
    config.epochs += 1
    with pytest.raises(WorkdirError, match=r"classes\.json is not the table of classes"):
        Workdir(run).check(config)
    with pytest.raises(WorkdirError, match=r"classes\.json is not the table of classes"):
        inputs.read_classes(Workdir(run))


@pytest.mark.parametrize("epochs", ["3", None, [3], 2.5])
def test_a_run_that_does_not_say_how_many_epochs_it_had_has_none_to_go_on_from(run, epochs):
    for name in ("config.json", "sized.json"):
        flat = json.loads((run / name).read_text())
        (run / name).write_text(json.dumps(flat | {"epochs": epochs}))
    saved = json.loads((run / "config.json").read_text())
    found = longer.Longer(run, saved, made_run.config())
    assert (found.before, found.has_more) == (0, False)


@pytest.mark.parametrize("shape", [[8, 8, 8], [8, 8, 0], [8, 8, True], [8, 8]])
def test_images_have_three_channels(run, shape):
    (run / "image_shape.json").write_text(json.dumps(shape))
    with pytest.raises(WorkdirError, match=r"image_shape\.json is not height, width and channels"):
        inputs.read_image_shape(Workdir(run), made_run.config())


def test_what_ended_earlier_is_kept_whatever_it_says(run):
    (run / "earlier.json").write_text('["mine", {"epochs": 3}, {"epochs": 2}]')
    longer._keep_results(run, 3)
    kept = json.loads((run / "earlier.json").read_text())
    assert kept[:2] == ["mine", {"epochs": 2}]
    assert [each["epochs"] for each in kept[1:]] == [2, 3]


def test_a_checkpoint_that_lacks_an_array_is_damaged_and_not_made_up(run):

    step = made_run.EPOCHS * made_run.STEPS
    folder = run / "checkpoints" / str(step)
    path = folder / "state" / "_METADATA"
    path.write_text(path.read_text().replace("kernel", "kernal"))
    digests.write(folder, but=checkpoint_folder.NOT_IN_DIGESTS)
    with (
        Checkpoints(run / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(DamagedCheckpointError, match=f"/{step} is damaged: .*params/kernel"),
    ):
        checkpoints.restore_part(step, made_run.abstract_state())
