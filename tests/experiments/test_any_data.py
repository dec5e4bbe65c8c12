"""--methods and --dataset=FILE.py: from the command to the report."""

import functools

import pytest

from experiments import report, run
from experiments.designing.recipes import find
from experiments.records import results
from experiments.running.runner import Runner
from tests.experiments.running import fake_worker
from tests.extending.conftest import _forgotten  # noqa: F401

# Whole runs in processes of their own.
pytestmark = pytest.mark.slow

TINY = """
import flax.linen as nn

from bccl_jax import models
from configs import digits_lt


@models.register("dense")
class Dense(nn.Module):
    @nn.compact
    def __call__(self, images, train):
        return nn.Dense(8)(images.reshape(len(images), -1))


def get_config(method="bccl"):
    config = digits_lt.get_config(method)
    config.model.backbone = "dense"
    config.epochs = 2
    config.optimizer.warmup_epochs = 1
    config.eval.every_epochs = 1
    if config.method.name == "bccl":
        config.method.warmup_epochs = 1
        config.method.queue_size = 8
        config.method.projector_hidden = 16
        config.method.projector_dim = 8
    return config
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TINY)
    return str(path)


def test_three_methods_on_a_file_are_one_command(tmp_path, capsys, monkeypatch, mine):
    flags = [f"--dataset={mine}", "--methods=bccl,logit_adjustment,cross_entropy"]
    flags.append(f"--output={tmp_path}")
    monkeypatch.setattr(run, "Runner", functools.partial(Runner, serve=fake_worker.serve_alike))
    assert run.main([*flags, "--seeds=3", "--parallel=1"]) == 0
    label = find(mine).label
    printed = capsys.readouterr().out
    assert f"9 of 9: cross_entropy, {label} 20, seed 2" in printed
    assert run.main([*flags, "--seeds=3"]) == 0
    assert "nothing left to do" in capsys.readouterr().out

    assert report.main([*flags, "--seeds=3"]) == 0
    stem = tmp_path / "report" / f"methods-bccl-logit_adjustment-cross_entropy-{label}"
    markdown = stem.with_name(f"{stem.name}.md").read_text()
    assert markdown.startswith("# Methods: bccl, logit_adjustment, cross_entropy\n")
    assert f"## {label}, imbalance 20\n\n`{label}` is `{mine}`" in markdown
    assert "| **bccl** | 3 | 86.67 ± 3.33 |" in markdown
    assert "| logit_adjustment | 3 | −20.00 |" in markdown
    assert "paper" not in markdown
    assert stem.with_name(f"{stem.name}.png").is_file()

    # Another config of the same file has no records yet.
    (tmp_path / "mine.py").write_text(TINY.replace("= 16", "= 32"))
    assert run.main([*flags, "--seeds=3", "--plan"]) == 0
    assert "6 of 9 runs have a record" in capsys.readouterr().out


def test_a_file_of_ones_own_is_trained(tmp_path, mine, capsys):
    flags = ["--methods=logit_adjustment,cross_entropy", f"--dataset={mine}", "--seeds=1"]
    flags.append(f"--output={tmp_path}")
    assert run.main([*flags, "--parallel=1"]) == 0
    records = results.load(tmp_path / "results.jsonl")
    assert [record["row"] for record in records] == ["logit_adjustment", "cross_entropy"]
    assert {(record["last"]["epoch"], record["images"]) for record in records} == {(2, 797)}
    label = find(mine).label
    assert {record["dataset"] for record in records} == {label}
    below = (tmp_path / "runs" / records[0]["code_hash"]).iterdir()
    assert sum(path.is_dir() and path.name.startswith(f"{label}-") for path in below) == 2
    capsys.readouterr()
    assert report.main(flags) == 0
    assert "minus logit_adjustment" in capsys.readouterr().out


@pytest.mark.parametrize("command", [run.main, report.main])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "name an experiment, of figure1"),
        (["--methods=bccl"], "--methods needs a data set; add --dataset=NAME or --dataset=FILE.py"),
        (["table4", "--methods=bccl", "--dataset=digits"], "leave it out or leave out table4"),
        (["--methods=eq9", "--dataset=digits"], "eq9 is a preset, written bccl:eq9"),
        (["--methods=bccl", "--dataset=missing.py"], "--dataset=missing.py names no file"),
        (["--methods=bccl", "--dataset=digit"], "did you mean --dataset=digits?"),
        (
            ["table4", "--dataset=configs/folder.py:resnext50,cross_entropy"],
            "a comma separates data sets, and 'cross_entropy' is none",
        ),
        (["--method=bccl", "--dataset=digits"], "did you mean --methods?"),
    ],
)
def test_flags_that_mean_nothing_are_refused(capsys, command, flags, message):
    with pytest.raises(SystemExit) as ended:
        command(flags)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_pictures_that_are_not_there_are_named_by_their_flag(tmp_path, capsys):
    flags = ["--methods=bccl", "--dataset=configs/folder.py", f"--data-dir={tmp_path}/none"]
    assert run.main([*flags, f"--output={tmp_path}/runs"]) == 1
    told = capsys.readouterr().err
    assert f"error: --data-dir is {tmp_path}/none, which is not there" in told
    assert "or a CSV file, by --data-dir=DIR" in told
    assert not list(tmp_path.iterdir())
