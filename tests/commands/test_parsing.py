"""Every mistake on the command line ends in one sentence that names the mend."""

import re

import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.commands.console import COMMANDS
from bccl_jax.commands.help import OTHERS
from bccl_jax.commands.parsing import TEN
from bccl_jax.settings.suggestions import SYNONYMS, key_like, nearest
from faults.forks import run

DIGITS = "--config=configs/digits_lt.py"
MISTAKES = [
    # Config files.
    (["--config=configs/digit_lt.py"], "did you mean --config=configs/digits_lt.py?"),
    (["--config=configs/digits_lt"], "did you mean --config=configs/digits_lt.py?"),
    (["--config=digits_lt.py"], "did you mean --config=digits_lt?"),
    (["--config=config/digits_lt.py"], "did you mean --config=digits_lt?"),
    (["--config=configs.digits_lt"], "did you mean --config=digits_lt?"),
    (["--config=cifar100"], "did you mean --config=cifar100_lt?"),
    (["--config=cifar100:bccl"], "did you mean --config=cifar100_lt?"),
    (["--config=digits_lt:bccll"], "digits_lt:bccll: no method is called"),
    (["digits_lt"], "did you mean --config=digits_lt?"),
    (["digits_lt:bcl"], "did you mean --config=digits_lt:bcl?"),
    (["--config=configs"], "is a folder; name one of its files: cifar100_lt.py"),
    (["--config=README.md"], "is no Python file"),
    (["--config=zzz"], "names no file; the package has cifar100_lt, cifar100_middle"),
    (["--config="], "--config is empty"),
    # A run's directory or a shared file, and no config.
    (["--workdir=none.safetensors"], "none.safetensors is not there; correct the path, which is"),
    (["--workdir=none", "--mode=eval"], "none is not there; correct the path, which is that of a"),
    (["--workdir=docs"], "docs holds no run (no config.json); name the directory of one, or a"),
    (["--workdir=README.md"], "README.md is no shared run, or a part of it is missing; name a"),
    ([DIGITS, "--config=configs/cifar10_lt.py"], "--config is given 2 times; a run has one"),
    ([DIGITS, "--config", "configs/cifar10_lt.py"], "--config is given 2 times; a run has one"),
    (["--config"], "Missing value for flag --config"),
    ([f"{DIGITS}:nosuchmethod"], "configs/digits_lt.py:nosuchmethod: no method is called"),
    ([f"{DIGITS}:bccll"], "did you mean bccl?"),
    (["--config=configs/imagenet_lt.py:resnext5"], "did you mean resnext50?"),
    # Keys.
    ([DIGITS, "--config.optimizer.lr=0.1"], "'optimizer.lr'; did you mean config.optimizer.learn"),
    ([DIGITS, "--config.lr=0.1"], "'lr'; did you mean config.optimizer.learning_rate?"),
    ([DIGITS, "--config.epoch", "3"], "'epoch'; did you mean config.epochs?"),
    ([DIGITS, "--config.optimizer.epochs=3"], "'optimizer.epochs'; did you mean config.epochs?"),
    ([DIGITS, "--noconfig.residnt"], "'residnt'; did you mean config.data.resident?"),
    ([DIGITS, "--config.zzz=1"], "no key 'zzz'; --print_config shows all"),
    ([DIGITS, "--config.model=resnet50"], "is a group of keys; change one of them; did you mean"),
    ([f"{DIGITS}:cross_entropy", "--config.method.temperature=.1"], "it is a setting of bccl"),
    ([DIGITS, "--config.method.temprature=.1"], "did you mean config.method.temperature?"),
    (
        [DIGITS, "--config.method=cross_entropy"],
        "argument, as in --config=configs/digits_lt.py:cro",
    ),
    (
        ["--config=configs/imagenet_lt.py:resnext50", "--config.method=cross_entrop"],
        "--config=configs/imagenet_lt.py:cross_entropy,resnext50\n",
    ),
    ([DIGITS, "--config.optimizer.name=adam"], "one of sgd, adamw; did you mean adamw?"),
    ([DIGITS, "--config.optimizer.type=adamw"], "did you mean config.optimizer.name?"),
    ([DIGITS, "--config.optimizer=cosine"], "did you mean --config.optimizer.schedule?"),
    ([DIGITS, "--config.optimizer=adam"], "did you mean --config.optimizer.name?"),
    ([DIGITS, "--config.data=folder"], "did you mean --config.data.name?"),
    ([DIGITS, "--config.data=/tmp/x"], "did you mean --config.data.dir?"),
    ([DIGITS, "--config.data.type=folder"], "did you mean config.data.name?"),
    ([DIGITS, "--config.augment=randaugment"], "did you mean --config.augment.strong.policy?"),
    ([DIGITS, "--config.eval=True"], "did you mean --mode=eval?"),
    ([DIGITS, "--config.output_dir=x"], "no key 'output_dir'; did you mean --workdir=x?"),
    ([DIGITS, "--config.workdir=x"], "no key 'workdir'; did you mean --workdir=x?"),
    ([DIGITS, "--config.mode=eval"], "no key 'mode'; did you mean --mode=eval?"),
    ([DIGITS, "--config.resume=True"], "same --workdir, which goes on by itself?"),
    ([DIGITS, "--config.loss=bccl"], "argument, as in --config=configs/digits_lt.py:bccl?"),
    ([DIGITS, "--config.method.loss=bccl"], "argument, as in --config=configs/digits_lt.py:bccl?"),
    # Values.
    ([DIGITS, "--config.epochs=1.5"], "config.epochs is '1.5'; it must be a whole number from 1"),
    ([DIGITS, "--config.epochs", "many"], "config.epochs is 'many'; it must be a whole number"),
    ([DIGITS, "--config.seed=-1"], "config.seed is -1; it must be a whole number from 0"),
    ([DIGITS, "--config.seed"], "Missing value for flag --config.seed"),
    ([DIGITS, "--config.optimizer.learning_rate=big"], "must be a number from 1e-30 to 1e+30"),
    ([DIGITS, "--config.optimizer.learning_rate=nan"], "must be a number from 1e-30 to 1e+30"),
    ([DIGITS, "--config.augment.mean=0.5"], "config.augment.mean is (0.5,); it must be 3 values"),
    ([DIGITS, "--config.augment.mean=abc"], "config.augment.mean is ('abc',); it must be 3"),
    ([DIGITS, "--config.augment.mean=(0.1,"], "config.augment.mean is '(0.1,'; it must be 3"),
    ([DIGITS, "--config.data.resident=maybe"], "config.data.resident is 'maybe'; it must be True"),
    ([DIGITS, "--config.method.queue_size=9e9"], "must be a whole number from 1 to 65,536"),
    (
        [DIGITS, "--config.data.subset_seed=1764210000000", "--mode=inspect"],
        "config.data.subset_seed is 1764210000000; it must be a whole number from 0 to",
    ),
    (
        [DIGITS, "--config.data.subset_seed=1764210000000", "--mode=pack", "--output=runs/x"],
        "config.data.subset_seed is 1764210000000",
    ),
    ([DIGITS, "--print_config", "--config.epochs=-1"], "config.epochs is -1"),
    # Flags.
    (["--lr=0.1"], "--lr is no flag; did you mean --config.optimizer.learning_rate=0.1?"),
    ([DIGITS, "--epochs=5"], "did you mean --config.epochs=5?"),
    ([DIGITS, "--epochs", "5"], "did you mean --config.epochs?"),
    ([DIGITS, "--seed=1"], "did you mean --config.seed=1?"),
    ([DIGITS, "--gpus=2"], "did you mean --config.devices=2?"),
    ([DIGITS, "--batch-size=2"], "did you mean --config.batch_size=2 or --config.eval"),
    ([DIGITS, "--model=resnet8"], "did you mean --config.model.backbone=resnet8?"),
    ([DIGITS, "--mod=eval"], "did you mean --mode=eval?"),
    ([DIGITS, "--mode=evaluate"], "did you mean --mode=eval?"),
    ([DIGITS, "--output_dir=x"], "did you mean --workdir=x?"),
    ([DIGITS, "--mode=eval", "--test"], "--test names no images; write --test=DIR"),
    ([DIGITS, "--mode=test"], "did you mean --mode=eval?"),
    ([DIGITS, "--config.data.test=new"], "no key 'data.test'; did you mean --test=new?"),
    ([DIGITS, "--mode=eval", "--detail"], "--detail is no flag; did you mean --details?"),
    ([DIGITS, "--details"], "--details goes with --mode=eval"),
    ([DIGITS, "--test=new"], "--test goes with --mode=eval"),
    ([DIGITS, "--mode=eval", "--test="], "--test is empty; name a folder"),
    ([DIGITS, "--mode=eval", "--known_only"], "--known_only goes with --test=DIR"),
    ([DIGITS, "--mode=eval", "--output=new"], "--output goes with --mode=pack, --mode=views"),
    ([DIGITS, "--mode=pack"], "--mode=pack and --output=DIR go together"),
    ([DIGITS, "--resume"], "the same command with the same --workdir"),
    ([DIGITS, "--method=bccl"], "--config=configs/digits_lt.py:bccl"),
    ([DIGITS, "--method=cross_entropy"], "--config=configs/digits_lt.py:cross_entropy?"),
    ([DIGITS, "--no-verify"], "--no-verify is no flag; did you mean --noverify?"),
    ([DIGITS, "--no_config.data.resident"], "did you mean --noconfig.data.resident?"),
    (["--version"], "--version is no flag; --help names all of them"),
    (["-h1"], "error: -h1 is no flag; --help"),
    ([DIGITS, "--zzz=3"], "--help names all of them"),
    (["--config.epochs=3"], "write --config=FILE before it"),
    (["--config.epochs=3", DIGITS], "stands before --config=FILE"),
    (["configs/digits_lt.py"], "did you mean --config=configs/digits_lt.py?"),
    ([DIGITS, "config.epochs=3"], "did you mean --config.epochs=3?"),
    ([DIGITS, "epochs=3"], "did you mean --config.epochs=3?"),
    ([DIGITS, "eval"], "did you mean --mode=eval?"),
]
GOOD = [["--help"], ["-h"], [DIGITS, "--print_config", "--config.seed=7"], ["--print_config"]]


@pytest.fixture(scope="module")
def outcomes():
    """{arguments: (exit code, output, errors)} of every command line here."""
    lines = [*(arguments for arguments, _ in MISTAKES), *GOOD]
    done = {tuple(arguments): run(*arguments) for arguments in lines}
    return {line: (each.returncode, each.stdout, each.stderr) for line, each in done.items()}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_sentence_with_the_mend(outcomes, arguments, message):
    code, out, errors = outcomes[tuple(arguments)]
    assert code == 1
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1, errors
    assert message in errors
    assert not out


def test_help_is_short_and_names_the_ten_settings_and_where_all_are(outcomes):
    code, out, errors = outcomes["--help",]
    assert (code, errors) == (0, "")
    assert len(out.splitlines()) < 70
    assert max(map(len, out.splitlines())) <= 100
    assert len(TEN) == 10
    for key in TEN:
        assert f"--config.{key}=" in out
    for place in ("docs/index.md", "docs/config_keys.md", "--print_config"):
        assert place in out
    assert OTHERS.keys() == COMMANDS.keys()
    told = out.partition("Other commands")[2].partition("\n\n")[0].splitlines()[1:]
    for line, module in zip(told, COMMANDS.values(), strict=True):
        # One line each. Of a checkout the experiments are no part of the package.
        assert re.fullmatch(r"  python -m (bccl_jax\.)?\w+(\.\w+)? +[A-Z].*\.", line)
        assert module.endswith(line.split()[2])
    assert outcomes["-h",] == (code, out, errors)


def test_print_config_prints_a_config_file_with_the_changes(outcomes):
    code, out, errors = outcomes[DIGITS, "--print_config", "--config.seed=7"]
    assert (code, errors) == (0, "")
    space = {}
    exec(out, space)
    config = space["get_config"]()
    assert (config.seed, config.data.name, config.epochs) == (7, "digits", 100)
    code, out, errors = outcomes["--print_config",]
    assert (code, errors) == (0, "")
    assert "config.epochs = 200" in out


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("optimizer.lr", ("optimizer.learning_rate",)),
        ("learningRate", ("optimizer.learning_rate",)),
        ("optimizer.leraning_rate", ("optimizer.learning_rate",)),
        ("wd", ("optimizer.weight_decay",)),
        ("bs", ("batch_size",)),
        ("batchsize", ("batch_size",)),
        ("num_epochs", ("epochs",)),
        ("num-epoch", ("epochs",)),
        ("gamma", ("method.weight_centroid", "optimizer.step_factor")),
        ("method.gamma", ("method.weight_centroid",)),
        ("optimizer.gamma", ("optimizer.step_factor",)),
        ("temp", ("method.temperature",)),
        ("method.tau", ("method.temperature",)),
        ("eval.tau", ("eval.logit_adjustment",)),
        ("momentum", ("optimizer.momentum",)),
        ("arch", ("model.backbone",)),
        ("model.name", ("model.backbone",)),
        ("dataset", ("data.name",)),
        ("data_dir", ("data.dir",)),
        ("num_workers", ("data.workers",)),
        ("imb_factor", ("data.imbalance",)),
        ("warmup_epochs", ("method.warmup_epochs", "optimizer.warmup_epochs")),
        ("strong.cutout", ("augment.strong.cutout",)),
        ("mixup", ()),
        ("optimizer.type", ("optimizer.name",)),
        ("optim", ("optimizer.name",)),
        ("betas", ("optimizer.beta1", "optimizer.beta2")),
        ("max_grad_norm", ("optimizer.clip_norm",)),
        ("scheduler.name", ("optimizer.schedule",)),
        ("dataset.name", ("data.name",)),
        ("model.type", ("model.backbone",)),
    ],
)
def test_a_key_is_found_by_meaning(asked, meant):
    keys = default.flatten(default.get_config())
    assert sorted(key_like(asked, keys)) == sorted(meant)


def test_every_synonym_stands_for_a_key_and_is_none_itself():
    keys = set()
    for name in methods.names():
        keys |= default.flatten(default.get_config(name)).keys()
    for word, meant in SYNONYMS.items():
        assert set(meant) <= keys, word
        assert word not in keys
        assert re.fullmatch(r"[a-z0-9_.]+", word), word


def test_what_is_like_nothing_is_like_nothing():
    assert nearest("x" * 10_000, ["epochs"]) == ""
    assert nearest(None, ["epochs"]) == ""
    assert key_like("", ["epochs"]) == ()
