"""A run in one file: what it is good for, and what it cannot do to who reads it."""

import contextlib
import copy
import hashlib
import os
import pathlib
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bccl_jax
from bccl_jax import share as command
from bccl_jax.classifier.reading import read
from bccl_jax.commands import running
from bccl_jax.config import shared
from bccl_jax.errors import BcclError, ConfigError, DataError, WorkdirError
from bccl_jax.evaluation.saved import evaluate_checkpoints
from bccl_jax.system import tensor_files
from bccl_jax.system.tensor_files import TensorFile
from bccl_jax.training.assemble import assemble
from bccl_jax.use.sharing import share
from tests.registered import registered
from tests.tiny import differing, tiny_config

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 20, 14, 3), np.uint8)


@pytest.fixture(scope="module")
def file(folder_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "run.safetensors"
    share(folder_run.workdir, path)
    return path


@pytest.fixture(scope="module")
def digits_file(digits_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "digits.safetensors"
    share(digits_run.workdir, path)
    return path


def rewritten(file, path, change, arrays=None):
    """A copy of a shared file whose document was changed, with the checksum that it then has."""
    whole = TensorFile(file)
    document = copy.deepcopy(whole.document)
    change(document)
    found = {name: whole.array(name) for name in whole.shapes} | (arrays or {})
    tensor_files.write(path, found, document)
    return path


def test_the_file_is_as_good_as_the_directory(file, folder_run):
    one, other = read(folder_run.workdir, to_predict=True), read(file, None, to_predict=True)
    assert differing(one.variables, other.variables) == []
    one, other = bccl_jax.load(folder_run.workdir), bccl_jax.load(file)
    assert repr(one) == repr(other)
    assert one.results == other.results
    assert one.classes == other.classes
    np.testing.assert_array_equal(one.logits(IMAGES), other.logits(IMAGES))
    np.testing.assert_array_equal(
        one.predict_proba(IMAGES, adjust=1), other.predict_proba(IMAGES, adjust=1)
    )


def test_the_command_says_what_it_packed_and_packs_the_same_again(
    file, folder_run, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "again.safetensors"

    def ended(*arguments):
        given = ["share", str(folder_run.workdir), f"--output={output}", *arguments]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as end:
            running.run(command.main)
        return end.value.code

    assert ended() == 0
    assert output.read_bytes() == file.read_bytes()
    first, second = capsys.readouterr().out.splitlines()
    size = output.stat().st_size / 1e6
    assert first == f"{output}: cross_entropy, 3 classes, epoch 2, {size:.2f} MB"
    assert second == f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert "is there already; name another file or say --overwrite" in ended()
    assert ended("--overwrite") == 0
    assert "no checkpoint '7'" in ended("--overwrite", "--checkpoint=7")
    output = tmp_path / "run.zip"
    assert "does not end in .safetensors" in ended()
    assert list(tmp_path.iterdir()) == [tmp_path / "again.safetensors"]


def test_a_checkpoint_is_packed_by_name_or_step(folder_run, tmp_path):
    best = share(folder_run.workdir, tmp_path / "best.safetensors", "best").saved
    assert best.epoch == folder_run.result.best_epoch
    found = bccl_jax.load(tmp_path / "best.safetensors", "best")
    whole = bccl_jax.load(folder_run.workdir, "best")
    np.testing.assert_array_equal(found.logits(IMAGES), whole.logits(IMAGES))
    share(folder_run.workdir, tmp_path / "step.safetensors", "6")
    assert TensorFile(tmp_path / "step.safetensors").document["checkpoint"]["step"] == 6
    for which in ("last", "6", None):
        assert bccl_jax.load(tmp_path / "step.safetensors", which).epoch == 2
    with pytest.raises(WorkdirError, match=r"no checkpoint '3' .*holds one alone: .*last"):
        bccl_jax.load(tmp_path / "step.safetensors", 3)


def test_raw_and_averaged_weights_are_shared_apart(digits_run, digits_file, tmp_path):
    averaged = tmp_path / "averaged.safetensors"
    share(digits_run.workdir, averaged, average=True)
    wanted = bccl_jax.load(digits_run.workdir, average=True).logits(IMAGES)
    raw = bccl_jax.load(digits_run.workdir).logits(IMAGES)
    assert not np.array_equal(wanted, raw)
    np.testing.assert_array_equal(bccl_jax.load(averaged).logits(IMAGES), wanted)
    np.testing.assert_array_equal(bccl_jax.load(averaged, average=True).logits(IMAGES), wanted)
    np.testing.assert_array_equal(bccl_jax.load(digits_file).logits(IMAGES), raw)
    assert "averaged" in repr(bccl_jax.load(averaged))
    with pytest.raises(WorkdirError, match="holds raw weights alone"):
        bccl_jax.load(digits_file, average=True)
    results = digits_run.result
    for path, name, figures in (
        (digits_file, "last", results.last),
        (averaged, "last averaged", results.ema["last"]),
    ):
        found = evaluate_checkpoints(shared.of_shared(path), path)
        assert {key: each.evaluation.record() for key, each in found.items()} == {name: figures}


def test_it_is_evaluated_where_the_test_pictures_are(file, folder_run, tmp_path):
    config = shared.of_shared(file)
    config.data.dir = str(folder_run.test.parent)
    found = evaluate_checkpoints(config, file)
    assert found["last"].evaluation.record() == folder_run.result.last
    # The test split alone, elsewhere.
    shutil.copytree(folder_run.test, tmp_path / "photos" / "test")
    config.data.dir = str(tmp_path / "photos")
    assert evaluate_checkpoints(config, file)["last"].evaluation.record() == folder_run.result.last
    first = tmp_path / "photos" / "test" / "red" / "00.jpg"
    shutil.copy(first.with_name("01.jpg"), first)
    with pytest.raises(WorkdirError, match="test .* other content"):
        evaluate_checkpoints(config, file)
    first.rename(first.with_name("0.jpg"))
    with pytest.raises(WorkdirError, match="test images have other names, order or labels"):
        evaluate_checkpoints(config, file)
    config.epochs = 3
    with pytest.raises(WorkdirError, match="run of another config: epochs is 2 there and 3 here"):
        evaluate_checkpoints(config, file)


def test_another_run_starts_from_it(digits_file, digits_run):
    config = tiny_config("cross_entropy")
    config.model.backbone = "two_layers"
    config.model.pretrained = str(digits_file)
    found = assemble(config).init_state()
    assert differing(found.params, digits_run.result.state.params) == []
    assert differing(found.batch_stats, digits_run.result.state.batch_stats) == []


def test_nothing_of_the_machine_that_wrote_it_is_in_it(file, folder_run, tmp_path):
    content = file.read_bytes()
    assert os.fsencode(folder_run.workdir.parent) not in content
    assert b"00.jpg" not in content
    document = TensorFile(file).document
    assert document["config"]["data.dir"] == "photos"
    assert document["made_by"]["bccl_jax"] == bccl_jax.__version__
    flat = {"data.dir": "~/a/b/", "data.lists": "lists", "model.pretrained": "", "seed": 3}
    flat["imports"] = ["/home/me/mine.py"]
    found, files = shared.to_share(flat)
    assert found == flat | {"data.dir": "b", "imports": []}
    assert files == ["mine.py"]
    with pytest.raises(WorkdirError, match="is a shared file already; copy it"):
        share(file, tmp_path / "again.safetensors")


EVIL = """
import dataclasses
import pathlib
from bccl_jax import methods
from bccl_jax.methods.cross_entropy import CrossEntropy

pathlib.Path(__file__).with_name("was_run").touch()

@methods.register("evil")
@dataclasses.dataclass(frozen=True)
class Evil(CrossEntropy):
    pass
"""


def test_no_code_is_run_but_of_files_that_the_reader_names(file, tmp_path):
    (tmp_path / "evil.py").write_text(EVIL)

    def change(document):
        document["config"]["method.name"] = "evil"
        document["config"]["imports"] = [str(tmp_path / "evil.py")]
        document["imports"] = ["evil.py"]

    found = rewritten(file, tmp_path / "evil.safetensors", change)
    with registered():
        with pytest.raises(ConfigError, match=r"its method evil is of its maker's own \(evil.py\)"):
            bccl_jax.load(found)
        with pytest.raises(ConfigError, match=r"no code comes with a shared file"):
            evaluate_checkpoints(shared.of_shared(found), found)
        assert not (tmp_path / "was_run").exists()
        # A method that is known, or none: what the file says of imports is never followed.
        change_back = {"method.name": "cross_entropy"}
        known = rewritten(
            found, tmp_path / "known.safetensors", lambda d: d["config"].update(change_back)
        )
        wanted = bccl_jax.load(known).logits(IMAGES)
        assert not (tmp_path / "was_run").exists()
        model = bccl_jax.load(found, imports=[str(tmp_path / "evil.py")])
        assert (tmp_path / "was_run").exists()
        np.testing.assert_array_equal(model.logits(IMAGES), wanted)


def update(**changes):
    return lambda document: document["config"].update(changes)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (update(**{"model.backbone": "resnet8"}), DataError, "they are not of one run"),
        (update(**{"model.backbone": "os.system"}), ConfigError, "its backbone os.system is of"),
        (update(**{"data.name": "mine"}), ConfigError, "its data set mine is of its maker's own"),
        (update(**{"method.name": 3}), ConfigError, "its config.method.name is 3"),
        (update(**{"method.gamma": 3}), ConfigError, "no key 'method.gamma'"),
        (update(epochs="many"), ConfigError, "config.epochs is 'many'"),
        (update(batch_size=25), WorkdirError, "24 training images, fewer than config.batch_size"),
        (update(epochs=-1), ConfigError, "config.epochs is -1"),
        (lambda d: d.update(format=2), DataError, "is of format 2, and this version .* reads 1"),
        (lambda d: d.pop("config"), ConfigError, "it has no config"),
        (lambda d: d.pop("classes"), DataError, "the record 'classes' of .* is missing"),
        (lambda d: d["classes"].pop(), DataError, "they are not of one run"),
        (lambda d: d["classes"][0].update(images=2**70), WorkdirError, "not the table of classes"),
        (lambda d: d["classes"].clear(), WorkdirError, "is not the table of classes"),
        (lambda d: d.update(image_shape=[10**9] * 3), WorkdirError, "not height, width"),
        (lambda d: d["checkpoint"].update(step="../6"), DataError, "does not say what checkpoint"),
        (lambda d: d["checkpoint"].update(names=[]), DataError, "does not say what checkpoint"),
        (lambda d: d.update(inputs={}), WorkdirError, "does not say whether images are photogr"),
        (lambda d: d.update(results=[]), DataError, "the record 'results' of .* is missing"),
    ],
)
def test_what_does_not_fit_is_told(file, tmp_path, change, error, message):
    changed = rewritten(file, tmp_path / "changed.safetensors", change)
    with pytest.raises(error, match=message):
        bccl_jax.load(changed)


@pytest.mark.parametrize("array", [np.zeros((192, 9), np.float32), np.zeros((192, 8), np.float16)])
def test_an_array_of_another_shape_or_kind_is_named(file, tmp_path, array):
    name = "state/params/backbone/Dense_0/kernel"
    changed = rewritten(file, tmp_path / "a.safetensors", lambda d: None, {name: array})
    with pytest.raises(DataError, match=rf"the array {name} of .* is {array.dtype} \[192, [89]\]"):
        bccl_jax.load(changed)


def places(value, path=()):
    """Where all values of a JSON value are."""
    yield path
    inner = ()
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        yield from places(each, (*path, key))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_a_file_says_ends_in_a_model_or_one_sentence(digits_file, tmp_path, data):
    whole = TensorFile(digits_file).document
    # Of the results nothing is looked into.
    there = [path for path in places(whole) if path and path[0] != "results"]
    path, value = data.draw(st.sampled_from(there)), data.draw(ANY)

    def change(document):
        *above, last = path
        for key in above:
            document = document[key]
        document[last] = value

    changed = rewritten(digits_file, tmp_path / "changed.safetensors", change)
    with contextlib.suppress(BcclError):
        read(changed, None, to_predict=True)


def test_a_value_that_is_set_anew_to_predict_is_checked_first(digits_file, tmp_path):
    def change(document):
        document["config"]["devices"] = False

    changed = rewritten(digits_file, tmp_path / "changed.safetensors", change)
    with pytest.raises(BcclError, match="config.devices"):
        read(changed, None, to_predict=True)


def test_a_pickle_or_an_archive_is_no_shared_file(tmp_path):
    class Runs:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "was_run",))

    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Runs()))
    with zipfile.ZipFile(tmp_path / "b.safetensors", "w") as archive:
        archive.writestr("../../c", b"0" * 10**6)
    for name in ("a.safetensors", "b.safetensors"):
        with pytest.raises(DataError, match="is no shared run, or a part of it is missing"):
            bccl_jax.load(tmp_path / name)
    assert not (tmp_path / "was_run").exists()


def test_a_damaged_file_is_told_by_its_checksum(file, tmp_path):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="is damaged: its checksum is not that of its content"):
        bccl_jax.load(tmp_path / "a.safetensors")


def test_a_directory_of_before_these_records_is_packed(copied, file, tmp_path):
    for name in ("inputs.json", "image_shape.json", "images.npz", "results.json"):
        (copied / name).unlink()
    share(copied, tmp_path / "a.safetensors")
    found, whole = bccl_jax.load(tmp_path / "a.safetensors"), bccl_jax.load(file)
    np.testing.assert_array_equal(found.logits(IMAGES), whole.logits(IMAGES))
    assert found.results == {}
