"""What is registered, what is refused, and each refusal one sentence."""

import argparse
import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import config as default
from bccl_jax import methods, models
from bccl_jax.augment import views
from bccl_jax.augment.views import SimView, StrongView, make_views
from bccl_jax.classifier import reading
from bccl_jax.config import files as config_files
from bccl_jax.config.allowed import bounds
from bccl_jax.config.key_docs import as_python, meanings
from bccl_jax.config.validation import validate
from bccl_jax.data import sources
from bccl_jax.data.split import Split, Splits
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.methods.base import Method, Stage
from bccl_jax.training.contract import BrokenContractError, check
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate
from experiments.designing import design, selection
from experiments.designing.hashing import hash_of
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers

pytestmark = pytest.mark.usefixtures("_no_picture")

METHOD = """
import dataclasses
from bccl_jax import methods
from bccl_jax.methods.cross_entropy import CrossEntropy

@methods.register({name!r})
@dataclasses.dataclass(frozen=True)
class Mine(CrossEntropy):
    '''Mine.

    Attributes:
        alpha: how much.
    '''

    alpha: float = {alpha}
"""
CONFIG = (
    METHOD
    + """
from bccl_jax import config as default

def get_config(method={name!r}):
    return default.get_config(method)
"""
)


def frozen(base=Method, **namespace):
    namespace.setdefault("loss", lambda *_: None)
    return dataclasses.dataclass(frozen=True)(type("Mine", (base,), namespace))


def written(path, text, name="mine", alpha=0.5):
    path.write_text(text.format(name=name, alpha=alpha))
    return str(path)


# Names.


@pytest.mark.parametrize(
    ("register", "taken"),
    [
        (methods.register, "bccl"),
        (models.register, "resnet32"),
        (sources.register, "digits"),
        (views.register, "strong"),
    ],
)
def test_a_name_of_the_packages_own_is_refused(register, taken):
    things = {methods.register: frozen(), models.register: TwoLayers}
    thing = things.get(register, lambda *_: None)
    with pytest.raises(ConfigError, match=f"called '{taken}', which is a name of the package's"):
        register(taken)(thing)
    for wrong in ("", "a,b", "a:b", 3, None):
        with pytest.raises(ConfigError, match="cannot be called .*; write a name of letters"):
            register(wrong)(thing)


def test_a_name_of_another_file_is_refused(tmp_path):
    one = written(tmp_path / "one.py", METHOD)
    other = written(tmp_path / "other.py", METHOD)
    default.get_config("mine", imports=(one,))
    message = f"other.py: .*other.py registers a method called 'mine', but .* from {one}; choose"
    with pytest.raises(ConfigError, match=message):
        default.get_config("mine", imports=(other,))


def test_the_same_file_again_takes_the_place_of_before(tmp_path):
    path = written(tmp_path / "mine.py", CONFIG, alpha=0.5)
    assert config_files.load(path).method.alpha == 0.5
    assert "method.alpha" in bounds("mine")
    written(tmp_path / "mine.py", CONFIG.replace("alpha: float", "beta: int"), alpha=3)
    config = config_files.load(path)
    assert config.method.beta == 3
    validate(config)
    assert "method.alpha" not in bounds("mine")


def test_a_cell_of_a_notebook_may_run_again():
    cell = METHOD.format(name="mine", alpha=0.5)
    for alpha in (0.5, 0.7):
        exec(cell.replace("0.5", str(alpha)), {"__name__": "__main__"})
        assert methods.settings("mine").alpha == alpha


# What is registered.


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, "is 3; it must be a subclass of bccl_jax.methods.base.Method"),
        (TwoLayers, "must be a subclass of"),
        (type("Mine", (Method,), {"loss": len}), "no frozen dataclass; write @dataclasses"),
        (dataclasses.dataclass(frozen=True)(type("Mine", (Method,), {})), "which has no loss"),
        (frozen(__annotations__={"name": str}, name="x"), "a setting called 'name', which"),
        (frozen(__annotations__={"rates": list}, rates=None), "'rates' has no default that a"),
        (
            frozen(__annotations__={"d": dict}, d=dataclasses.field(default_factory=dict)),
            "'d' has no default that a config can hold",
        ),
        (frozen(__annotations__={"x": "NoSuch"}, x=1), "whose annotations cannot be read: name"),
    ],
)
def test_what_is_no_method_is_told(found, message):
    with pytest.raises(ConfigError, match=message):
        methods.register("mine")(found)
    assert "mine" not in methods.names()


def test_settings_without_bounds_keep_to_their_kind():
    kinds = {"a": float, "b": int, "c": bool, "d": str, "e": tuple, "f": float | None}
    values = {"a": 1.0, "b": 2, "c": True, "d": "x", "e": (1.0, 2.0), "f": None}
    methods.register("mine")(frozen(__annotations__=kinds, **values))
    config = default.get_config("mine")
    validate(config)
    config.method.update(a=-5.0, b=7, c=False, d="y", e=(3.0,), f=0.5)
    validate(config)
    wrong = {"a": "x", "b": True, "c": 1, "d": 3, "e": ("x",), "f": "x"}
    for key, value in {**wrong, "a": float("nan")}.items():
        config = default.get_config("mine")
        with config.method.ignore_type():
            config.method[key] = value
        with pytest.raises(ConfigError, match=f"config.method.{key} is "):
            validate(config)


def test_what_no_method_may_ask_for_is_told():
    methods.register("far")(frozen(views=("strong", "dimm")))
    views.register("dim")(lambda images, key: images)
    with pytest.raises(ConfigError, match="asks for the view 'dimm'.*; did you mean dim?"):
        validate(default.get_config("far"))
    methods.register("short")(frozen(stages=lambda self, epochs: (Stage(2), Stage(3))))
    with pytest.raises(ConfigError, match=r"stages of 2 \+ 3 epochs are not a run of 200"):
        validate(default.get_config("short"))


class Unlike(nn.Module):
    """Not quite a backbone."""

    kind: str = ""

    @nn.compact
    def __call__(self, images, train):
        if self.kind == "dropout":
            images = nn.Dropout(0.5, deterministic=not train)(images)
        if self.kind == "counter":
            self.variable("counters", "calls", jnp.zeros, ())
        x = images.mean((1, 2)) if self.kind != "map" else images
        return x.astype(jnp.bfloat16) if self.kind == "half" else x


class NoDefault(nn.Module):
    width: int

    def __call__(self, images, train):
        return images


class NoTrain(nn.Module):
    def __call__(self, images):
        return images


class NoCall(nn.Module):
    pass


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, "it must be a class below flax.linen.Module, or a functools.partial"),
        (Unlike(), "it must be a class below"),
        (NoDefault, "whose field 'width' has no default"),
        (NoTrain, r"cannot be called with \(images, train\); write `def __call__"),
        (NoCall, "cannot be called with"),
    ],
)
def test_what_is_no_backbone_is_told(found, message):
    with pytest.raises(ConfigError, match=message):
        models.register("mine")(found)
    assert "mine" not in models.BACKBONES


def test_a_backbone_with_its_settings_is_one():
    models.register("mine")(functools.partial(NoDefault, width=3))
    assert models.create_backbone("mine", dtype=jnp.dtype("float32"), remat=False).width == 3
    with pytest.raises(ConfigError, match="config.dtype asks for .* a field dtype; leave it"):
        models.create_backbone("mine", dtype=jnp.dtype("bfloat16"))
    with pytest.raises(ConfigError, match="config.model.batch_norm asks for"):
        models.create_backbone("mine", norm_groups=2)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("dropout", "'mine', which draws random numbers, as nn.Dropout does"),
        ("counter", r"has variables \['counters'\]; a run keeps params and batch_stats alone"),
        ("map", r"makes float32 \[2, 8, 8, 3\] of 2 images; it must return float32 \[B, d\]"),
        ("half", r"makes bfloat16 \[2, 3\] of 2 images"),
    ],
)
def test_what_a_backbone_may_not_do_is_told_before_training(tmp_path, kind, message):
    models.register("mine")(functools.partial(Unlike, kind=kind))
    config = tiny_config("cross_entropy")
    config.model.backbone = "mine"
    with pytest.raises(ConfigError, match=message):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


IMAGES = np.zeros((4, 8, 8, 3), np.uint8)
LABELS = np.array([0, 0, 1, 1])
GOOD = Split(IMAGES, LABELS, ["a", "b"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "gives None; its function must return bccl_jax.data.split.Splits"),
        ((GOOD,), "its function must return"),
        ((GOOD, (IMAGES, LABELS)), "its function must return"),
        ((Split(IMAGES / 255, LABELS, "ab"), GOOD), r"are float64 \[4, 8, 8, 3\]; they must be"),
        ((Split(IMAGES[..., 0], LABELS, "ab"), GOOD), r"are uint8 \[4, 8, 8\]"),
        ((Split(IMAGES[..., :1], LABELS, "ab"), GOOD), r"as np.repeat\(images, 3, axis=3\)"),
        ((Split(IMAGES, LABELS[:3], "ab"), GOOD), r"4 images and labels that are int64 \[3\]"),
        ((Split(IMAGES, LABELS * 1.0, "ab"), GOOD), "a whole number for each image"),
        ((Split(IMAGES, LABELS + 1, "ab"), GOOD), "labels from 1 to 2 and 2 class names"),
        ((GOOD, Split(IMAGES, LABELS, "ac")), "the test split of .* has other classes than"),
        ((GOOD, Split(IMAGES[:, :4, :4], LABELS, "ab")), "images of 4x4 pixels, and the training"),
        (Splits(GOOD, GOOD, Split(IMAGES, LABELS, "ac")), "the validation split of .* has other"),
    ],
)
def test_what_is_no_data_set_is_told(given, message):
    sources.register("mine")(lambda request: given)
    with pytest.raises(DataError, match=message) as error:
        sources.load_dataset("mine", imbalance=0)
    assert "config.data.name=mine" in str(error.value)


def test_a_missing_file_of_a_data_set_is_one_sentence(tmp_path):
    sources.register("mine")(lambda request: np.load(f"{request.data_dir}/x.npy"))
    with pytest.raises(DataError, match="config.data.name=mine cannot be read: .*x.npy"):
        sources.load_dataset("mine", data_dir=str(tmp_path))
    with pytest.raises(ConfigError, match="it must be a function"):
        sources.register("mine")(3)


def test_a_data_set_is_read_like_any_other():
    labels = np.repeat([0, 1, 2, 3], 20)
    train = Split(np.zeros((80, 8, 8, 3), np.uint8), labels.astype(np.uint8), list("abcd"))
    sources.register("mine")(lambda request: (train, train))
    found = sources.load_dataset("mine", imbalance=10, classes=2, pixels=4)
    assert np.bincount(found.train.labels).tolist() == [20, 2]
    assert (found.train.class_names, found.test.images.shape) == (("a", "c"), (40, 4, 4, 3))


# Views.


def views_of(images, names, **settings):
    key, moments = jax.random.key(0), ((0.0,) * 3, (1.0,) * 3)
    return make_views(images, key, names, StrongView(**settings), SimView(), *moments)


def test_a_view_stands_beside_the_packages_own(rng):
    images = rng.integers(0, 256, (5, 8, 8, 3), np.uint8)
    (before,) = views_of(images, ("strong",))
    views.register("dark")(lambda images, key: images // 2)
    strong, dark = views_of(images, ("strong", "dark"))
    np.testing.assert_array_equal(strong, before)
    np.testing.assert_allclose(dark * 255, images // 2, atol=1e-4)
    # A newer one is compiled, and not what was of that name.
    views.register("dark")(lambda images, key: images // 4)
    (darker,) = views_of(images, ("dark",))
    np.testing.assert_allclose(darker * 255, images // 4, atol=1e-4)
    views.register("drawn")(lambda images, key: jax.random.bits(key, images.shape, jnp.uint8))
    one, other = views_of(images, ("drawn", "drawn"))
    assert not np.array_equal(one, other)


def test_a_view_sees_the_crop_that_a_photograph_has():
    views.register("same")(lambda images, key: images)
    (view,) = views_of(np.zeros((2, 8, 8, 3), np.uint8), ("same",), crop="resized")
    assert view.shape == (2, 8, 8, 3)
    ramp = np.tile(np.arange(8, dtype=np.uint8)[None, :, None, None] * 30, (2, 1, 8, 3))
    (cropped,) = views_of(ramp, ("same",), crop="resized")
    (whole,) = views_of(ramp, ("same",))
    np.testing.assert_allclose(whole * 255, ramp, atol=1e-4)
    assert not np.array_equal(cropped, whole)


@pytest.mark.parametrize(
    "function", [lambda x, key: x / 2, lambda x, key: x[:, :4], lambda x, key: None]
)
def test_what_is_no_view_is_told(function):
    views.register("wrong")(function)
    with pytest.raises(ConfigError, match=r"'wrong' makes .* of uint8 \[2, 8, 8, 3\]; it must"):
        views_of(np.zeros((2, 8, 8, 3), np.uint8), ("wrong",))


# Files.


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nraise ValueError('a\\nb')\n", "mine.py cannot be used: line 2: ValueError: a b"),
        ("x = (\n", "mine.py cannot be used: line 1: SyntaxError"),
        ("import no_such_package\n", "line 1: ModuleNotFoundError: No module named 'no_such"),
        ("raise SystemExit(0)\n", "line 1: SystemExit: 0"),
        (METHOD.format(name="bccl", alpha=1), "config.imports=.*mine.py: .*called 'bccl', which"),
    ],
)  # fmt: skip
def test_a_file_that_fails_is_one_sentence_with_its_line(tmp_path, code, message):
    path = tmp_path / "mine.py"
    path.write_text(code)
    for _ in range(2):
        with pytest.raises(ConfigError, match=message) as error:
            default.get_config(imports=(str(path),))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("files", [3, "mine.py", (3,), ("a\0b",), None])
def test_imports_are_paths(files):
    config = default.get_config()
    with config.ignore_type():
        config.imports = files
    with pytest.raises(ConfigError, match="config.imports is .*; it must be several values like"):
        validate(config)


def test_a_method_that_nobody_registered_is_told_with_what_may_be_meant(tmp_path):
    path = written(tmp_path / "mine.py", METHOD, name="focal_loss")
    default.get_config("focal_loss", imports=(path,))
    with pytest.raises(ConfigError, match="'focal_los' .* did you mean focal_loss?"):
        default.get_config("focal_los")
    with pytest.raises(ConfigError, match="one of your own is known by its file, --config.imp"):
        default.get_config("zzz")
    config = default.get_config()
    config.model.backbone = "zzz"
    with pytest.raises(ConfigError, match="backbone is 'zzz'; .* --config.imports=FILE.py"):
        validate(config)


def test_a_setting_of_ones_own_is_documented_and_printed(tmp_path):
    path = written(tmp_path / "mine.py", CONFIG)
    config = config_files.load(path)
    assert config.imports == (path,)
    assert meanings("mine")["method.alpha"] == "how much."
    printed = tmp_path / "printed.py"
    printed.write_text(as_python(config))
    assert f"get_config('mine', imports=({path!r},))" in printed.read_text()
    assert config_files.load(str(printed)) == config


def test_files_of_one_name_and_parts_of_a_package_are_told_apart(tmp_path):
    files = []
    for folder, name in (("one", "first"), ("two", "second"), ("package", "third")):
        (tmp_path / folder).mkdir()
        files.append(written(tmp_path / folder / "mine.py", METHOD, name=name))
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "alpha.py").write_text("ALPHA = 0.25\n")
    text = (tmp_path / "package" / "mine.py").read_text()
    (tmp_path / "package" / "mine.py").write_text(
        text.replace("import dataclasses", "import dataclasses\nfrom .alpha import ALPHA").replace(
            "= 0.5", "= ALPHA"
        )
    )
    config = default.get_config(imports=files)
    assert {"first", "second", "third"} <= set(methods.names())
    assert default.get_config("third").method.alpha == 0.25
    validate(config)


def test_where_a_file_is_does_not_name_the_run(tmp_path):
    path = written(tmp_path / "mine.py", METHOD)
    flat = default.flatten(default.get_config("bccl"))
    assert hash_of(flat) == hash_of(flat | {"imports": [path]})
    assert hash_of(flat) == hash_of({k: v for k, v in flat.items() if k != "imports"})


def test_an_experiment_has_rows_of_what_its_data_sets_file_registers(tmp_path):
    path = written(tmp_path / "mine.py", CONFIG)
    parser = argparse.ArgumentParser()
    selection.add_arguments(parser)
    found = selection.parse(parser, [f"--dataset={path}", "--methods=mine,cross_entropy"])
    (experiment,) = found.chosen.values()
    cells = design.cells(experiment, selection.scale(found))
    # A worker process is handed the config alone.
    assert [cell.config.imports for cell in cells if cell.row == "mine"] == [(path,)] * 3


BACKBONE = """
import flax.linen as nn
from bccl_jax import models

@models.register("small")
class Small(nn.Module):
    @nn.compact
    def __call__(self, images, train):
        return nn.Dense(8)(images.reshape(len(images), -1))
"""


@pytest.mark.parametrize("by", ["import", "key"])
def test_an_experiment_takes_a_backbone_that_its_data_sets_file_registers_or_imports(tmp_path, by):
    backbone = tmp_path / "backbone.py"
    backbone.write_text(BACKBONE)
    text = "from configs import digits_lt\n\ndef get_config(method='bccl'):\n"
    text += "    config = digits_lt.get_config(method)\n"
    if by == "key":
        text += f"    config.imports = ({str(backbone)!r},)\n"
    else:
        text = f"import backbone\n{text}"
    file = tmp_path / "my_digits.py"
    file.write_text(f"{text}    return config\n")
    parser = argparse.ArgumentParser()
    selection.add_arguments(parser)
    flags = ["table4", f"--dataset={file}", "--seeds=1", "--backbone=small"]
    found = selection.parse(parser, flags)
    cells = design.cells(found.chosen["table4"], selection.scale(found))
    assert {cell.config.model.backbone for cell in cells} == {"small"}
    # A worker process is handed the config alone.
    assert {cell.config.imports for cell in cells} == {(str(backbone),)}


def test_an_experiments_unknown_backbone_is_told_those_that_there_are(tmp_path, capsys):
    file = written(tmp_path / "mine.py", CONFIG + BACKBONE.replace("{", "{{").replace("}", "}}"))
    parser = argparse.ArgumentParser()
    selection.add_arguments(parser)
    for name, hint in (("smal", "did you mean --backbone=small?"), ("vgg", "imports its file")):
        with pytest.raises(SystemExit):
            selection.parse(parser, ["table4", f"--dataset={file}", f"--backbone={name}"])
        told = capsys.readouterr().err
        assert f"--backbone: no backbone is called '{name}'; there are resnet8" in told
        assert ", small; " in told
        assert hint in told


# Runs.


def tiny(method):
    config = tiny_config(method)
    config.epochs = 2
    config.model.backbone = "two"
    return config


def test_a_runs_directory_remembers_files_and_says_which_is_missing(tmp_path, capsys):
    models.register("two")(TwoLayers)
    path = written(tmp_path / "mine.py", METHOD)
    default.get_config("mine", imports=(path,))
    workdir = tmp_path / "run"
    result = train_and_evaluate(tiny("mine"), workdir)
    assert "registered in a notebook" not in capsys.readouterr().err
    for name in ("config.json", "sized.json"):
        # The backbone is of this file.
        assert json.loads((workdir / name).read_text())["imports"] == [path, __file__]
    found = evaluate_checkpoints(config_files.of_run(workdir / "config.json"), workdir)
    assert found["last"].evaluation.record() == result.last
    saved = reading.read(workdir)
    assert saved.classifier.config.method.alpha == 0.5

    # What is registered already needs no file, and what is not does.
    moved = tmp_path / "moved.py"
    (tmp_path / "mine.py").rename(moved)
    assert config_files.of_run(workdir / "config.json").method.name == "mine"
    del methods.OWN.table["mine"], methods.OWN.origins["mine"]
    for read in (reading.read, lambda run: config_files.load(str(run / "config.json"))):
        with pytest.raises(ConfigError, match=f"config.imports names {path}, which is no file"):
            read(workdir)
    config = config_files.load(str(workdir / "config.json"), imports=(str(moved),))
    assert config.imports == (str(moved),)
    assert train_and_evaluate(config, workdir).last == result.last


def test_what_no_file_has_is_said(tmp_path, capsys):
    exec(METHOD.format(name="mine", alpha=1.0), {"__name__": "__main__"})
    models.register("two")(TwoLayers)
    train_and_evaluate(tiny("mine"), tmp_path / "run")
    assert "the method 'mine' was registered in a notebook: an" in capsys.readouterr().err


def test_a_broken_contract_is_told(tmp_path):
    from bccl_jax.methods.cross_entropy import CrossEntropy

    models.register("two")(TwoLayers)
    calls = []

    def loss(self, apply, params, batch, state, key, progress):
        calls.append(1)
        loss, rest = CrossEntropy.loss(self, apply, params, batch, state, key, progress)
        return loss * len(calls), rest

    methods.register("mine")(frozen(CrossEntropy, loss=loss))
    with pytest.raises(BrokenContractError, match="a run that was resumed ends with another"):
        check(tiny("mine"), tmp_path)
