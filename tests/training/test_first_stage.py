"""One representation, several classifiers: another run in the place of the first stage."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from bccl_jax.classifier.reading import read
from bccl_jax.config import flatten
from bccl_jax.config.sizing import sized
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError, WorkdirError
from bccl_jax.methods.tau_norm import TauNorm
from bccl_jax.training.called import changed
from bccl_jax.training.loop import train_and_evaluate
from bccl_jax.training.parts import parted
from bccl_jax.use.sharing import share
from bccl_jax.workdir import content, json_files
from experiments.designing.hashing import hash_of
from tests.killed import check_resumed
from tests.tiny import bits, tiny_config

pytestmark = pytest.mark.usefixtures("_no_picture", "_two_layers")

STAGED = ("crt", "lws", "tau_norm", "disalign", "gcl", "mislas")


def small_config(method, start="", **changes):
    config = tiny_config(method)
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.eval.every_epochs = 4
    if start:
        config.method.start_from = str(start)
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def first(_two_layers, shared_assemblies, tmp_path_factory):
    """Runs of cross-entropy and of a cosine classifier, as `gcl` wants one."""
    folder = tmp_path_factory.mktemp("first")
    found = {
        kind: train_and_evaluate(
            small_config("cross_entropy", **{"method.classifier": kind}), folder / kind
        )
        for kind in ("linear", "cosine")
    }
    return found | {name: found["cosine" if name == "gcl" else "linear"] for name in STAGED}


@pytest.fixture(scope="module")
def second(first, shared_assemblies, tmp_path_factory):
    """(method, config, whole run) of each staged method over them; each is trained once."""
    made = {}

    def run(method):
        config = small_config(method, first[method].workdir)
        config.checkpoint.every_steps = 1
        if method not in made:
            made[method] = train_and_evaluate(config, tmp_path_factory.mktemp(method) / "run")
        return config, made[method]

    return run


def same(one, other):
    return all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


# What each moves of the network that is there.
MOVED = {
    "lws": {"['heads_classifier']['scale']"},
    "tau_norm": set(),
    "disalign": {
        "['heads_classifier']['confidence']['bias']",
        "['heads_classifier']['confidence']['kernel']",
        "['heads_classifier']['magnitude']",
        "['heads_classifier']['margin']",
    },
    "gcl": {"['heads_classifier']['kernel']"},
    "mislas": {
        "['heads_classifier']['scale']",
        "['heads_classifier']['classifier']['Dense_0']['bias']",
        "['heads_classifier']['classifier']['Dense_0']['kernel']",
        "['backbone']['BatchNorm_0']['mean']",
        "['backbone']['BatchNorm_0']['var']",
    },
    "crt": {
        "['heads_classifier']['Dense_0']['bias']",
        "['heads_classifier']['Dense_0']['kernel']",
    },
}


@pytest.mark.parametrize("method", STAGED)
def test_the_second_stage_alone_is_trained(first, second, method, shared_assemblies):
    config, result = second(method)
    length = 1 if method == "tau_norm" else 2
    assert [record["stage"] for record in result.records] == [2] * length
    begun = shared_assemblies(config).init_state()
    moved = set()
    for kind in ("params", "batch_stats"):
        before, after = (bits(getattr(x, kind)) for x in (begun, result.state))
        moved |= {path for path in before if not np.array_equal(before[path], after[path])}
    assert moved == MOVED[method]
    # Read back by its directory alone.
    assert read(result.workdir).epoch == length
    assert same(begun.params["backbone"], first[method].state.params["backbone"])
    assert same(begun.batch_stats, first[method].state.batch_stats)


def test_the_line_and_the_records_say_where_it_came_from(first, second, shared_assemblies, capsys):
    for method, told in (("lws", "classifier kept"), ("crt", "crt begins with a new classifier")):
        config, result = second(method)
        start = first[method].workdir
        shared_assemblies(config).init_state()
        line = f"first stage: {start} (cross_entropy, epoch 4 of 4, backbone two_layers), on the"
        err = capsys.readouterr().err
        assert line in err
        assert told in err
        noted = json.loads((result.workdir / "first_stage.json").read_text())
        assert noted | {"weights": ""} == {
            "run": start.name,
            "method": "cross_entropy",
            "epoch": 4,
            "epochs": 4,
            "weights": "",
        }
        assert json.loads((result.workdir / "results.json").read_text())["first_stage"] == noted


@pytest.mark.parametrize("method", ["lws", "disalign", "mislas", "tau_norm", "gcl"])
def test_at_its_start_it_is_the_first_stage(first, method, shared_assemblies):
    """Bit for bit where a classifier is scaled by 1 or aligned by 0, or tau is 0."""
    changes = {"method.tau": 0.0} if method == "tau_norm" else {}
    run = shared_assemblies(small_config(method, first[method].workdir, **changes))
    state, start = run.init_state(), first[method]
    other = shared_assemblies(
        small_config(
            "cross_entropy", **{"method.classifier": "cosine" if method == "gcl" else "linear"}
        )
    )
    images = run.dataset.test.images[:50]

    def logits(run, state):
        def apply(params, forward, *inputs):
            variables = {"params": params, "batch_stats": state.batch_stats}
            return run.network.apply(variables, *inputs, method=forward), None

        return run.method.logits(
            apply, state.params, run.classifier.normalize(images), state.method
        )

    expected = logits(other, start.state)
    if method == "tau_norm":
        # It has no bias.
        expected = expected - start.state.params["heads_classifier"]["Dense_0"]["bias"][None]
        np.testing.assert_allclose(logits(run, state), expected, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(logits(run, state), expected)


def test_killed_anywhere_it_ends_where_the_whole_one_ends(second, tmp_path):
    config, whole = second("mislas")
    check_resumed(whole, config, tmp_path / "run", 1, 3)


@pytest.mark.parametrize("method", STAGED)
def test_only_the_last_stage_counts_as_epochs(method):
    config = tiny_config(method)
    assert sized(config, 100).epochs == 4
    config.method.start_from = "runs/first"
    validate(config)
    expected = 1 if method == "tau_norm" else 2
    assert sized(config, 100).epochs == expected
    assert sized(sized(config, 100), 100).epochs == expected
    if method != "tau_norm":
        config.method.refit_epochs = 5
        with pytest.raises(ConfigError, match="refit_epochs is 5 in a run of 4 epochs"):
            validate(config)


def test_tau_is_chosen_at_the_end_of_an_epoch_that_trains_nothing():
    method = TauNorm(start_from="run")
    first, second = method.stages(method.trained_epochs(200))
    assert (first.epochs, second.epochs) == (0, 1)
    chosen, rest = parted({"heads_classifier": {"kernel": 1}}, second.trains)
    assert (chosen, rest) == ({}, {"heads_classifier": {"kernel": 1}})
    assert method.refresh_due(1, 1)
    with pytest.raises(ConfigError, match="chosen on a validation split"):
        method.validate_splits({"train", "test"})


def refused(config, message, error=ConfigError):
    """In one sentence, before the directory is made."""
    with pytest.raises(error, match=message) as told:
        train_and_evaluate(config, "run")
    assert "\n" not in str(told.value)
    assert not pathlib.Path("run").exists()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_cannot_be_the_first_stage_is_named_before_training(first, elsewhere):
    start = first["crt"].workdir
    named = rf"config\.method\.start_from={start}"
    nowhere = {"data.source": "packed", "data.dir": "nowhere"}
    refused(small_config("crt", "none", **nowhere), "start_from=none is not there; name a run's")
    pathlib.Path("empty").mkdir()
    refused(small_config("crt", "empty", **nowhere), "start_from=empty is a folder that holds no")
    refused(
        small_config("crt", start / "checkpoints", **nowhere),
        rf"holds no run; did you mean {named}\?$",
    )
    pathlib.Path("weights.pth").write_bytes(b"")
    refused(small_config("crt", "weights.pth", **nowhere), "start_from=weights.pth is no run; name")
    other = small_config("crt", start, **nowhere, **{"model.backbone": "resnet8"})
    refused(other, rf"{named} is a run of config.model.backbone='two_layers', and this one's is")
    for key, value in (("data.imbalance", 10.0), ("data.classes", 5), ("data.subset_seed", 3)):
        config = small_config("crt", start, **nowhere, **{key: value})
        refused(config, rf"{named} is a run of config.{key}=.*must be of the same images")
    both = small_config("crt", start, **{"model.pretrained": str(start)})
    refused(both, "start_from is .* and config.model.pretrained .* one start; leave one")


def test_other_images_of_the_same_config_are_named(first, elsewhere):
    """As of a folder that was filled anew."""
    shutil.copytree(first["crt"].workdir, "first")
    config = small_config("crt", "first")
    with np.load("first/images.npz") as arrays:
        numbers = dict(arrays)
    changed = numbers | {"train": numbers["train"] + np.uint64(1)}
    content.write(pathlib.Path("first/images.npz"), changed)
    refused(config, "training images|train images", WorkdirError)
    content.write(pathlib.Path("first/images.npz"), numbers)
    table = json.loads(pathlib.Path("first/classes.json").read_text())
    table[0]["images"] -= 1
    json_files.write(pathlib.Path("first/classes.json"), table)
    refused(config, "not those that config.method.start_from=first was started with", WorkdirError)


def test_a_classifier_of_another_kind_is_refused_where_it_is_needed(
    first, shared_assemblies, elsewhere
):
    start = first["gcl"].workdir
    for method in ("lws", "disalign", "mislas", "tau_norm"):
        refused(
            small_config(method, start),
            f"cannot be the first stage of {method}, which goes on with its classifier .* is "
            "'linear' too, or choose crt",
        )
    # A new one fits any.
    train_and_evaluate(small_config("crt", start), "crt")


def test_another_source_is_another_run(first, second, elsewhere):
    _, result = second("lws")
    start = first["lws"].workdir
    shutil.copytree(result.workdir, "run")
    shutil.copytree(start, "moved")
    # The same weights elsewhere are the same; so are those that are gone.
    for place in ("moved", "gone"):
        assert train_and_evaluate(small_config("lws", place), "run").last == result.last
    shutil.copytree(first["gcl"].workdir, "other")
    with pytest.raises(WorkdirError, match="=other has other weights than the first stage that"):
        train_and_evaluate(small_config("lws", "other"), "run")
    with pytest.raises(WorkdirError, match="method.start_from is"):
        train_and_evaluate(small_config("lws"), "run")


def test_a_shared_file_is_as_good(first, second, shared_assemblies, elsewhere):
    config, result = second("disalign")
    start = first["disalign"].workdir
    share(start, pathlib.Path("first.safetensors"))
    shared = train_and_evaluate(small_config("disalign", "first.safetensors"), "run")
    assert same(shared.state.params, result.state.params)
    noted = [json.loads((x.workdir / "first_stage.json").read_text()) for x in (shared, result)]
    assert noted[0]["weights"] == noted[1]["weights"]
    # What is shared of it names no folder of its maker's.
    share(result.workdir, pathlib.Path("second.safetensors"))
    whole = pathlib.Path("second.safetensors").read_bytes()
    assert str(start.parent).encode() not in whole
    assert changed(config, {"method.start_from": start}).method.start_from == str(start)


def test_runs_of_before_it_keep_their_hash():
    flat = flatten(tiny_config("crt"))
    older = {key: value for key, value in flat.items() if key != "method.start_from"}
    assert hash_of(flat) == hash_of(older)
    assert hash_of(flat | {"method.start_from": "runs/first"}) != hash_of(flat)
