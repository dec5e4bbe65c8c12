import pytest

from experiments import run
from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import Scale, cells
from experiments.records import results
from experiments.running import provenance
from tests.experiments.made_up import LEAST


def command(*arguments):
    return run.main(arguments)


def test_a_second_command_finds_nothing_left(tmp_path, capsys):
    flags = ["table4", "--dataset=digits", "--seeds=1", f"--output={tmp_path}"]
    for cell in cells(EXPERIMENTS["table4"], Scale(seeds=1, datasets=("digits",))):
        record = LEAST | {"config_hash": cell.config_hash, "seed": 0}
        record["code_hash"] = provenance.code_hash()
        results.append(tmp_path / "results.jsonl", record)
    assert command(*flags) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert command(*flags, "--epochs=30", "--plan") == 0
    assert capsys.readouterr().out.count("seed 0") == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["table5"], "no experiment is called 'table5'"),
        (["tabel4"], "did you mean table4?"),
        (["table4", "--dataset=mnist"], "no data set is called 'mnist'"),
        (["table4", "--dataset=cifar10O"], "did you mean --dataset=cifar10?"),
        (["table4", "--dataset="], "it names no data set"),
        (["table4", "--seed=1"], "did you mean --seeds (N runs seeds 0 to N-1)?"),
        (["table4", "--config.epochs=1"], "did you mean --epochs?"),
        (["table4", "--workdir=x"], "did you mean --output?"),
        (["table4", "--seeds=99999999999"], "not a whole number"),
        (["table4", "--imbalance=0.5"], "no list of factors"),
        (["table4", "--seeds=0"], "not a whole number"),
        (["table4", "--budget=0.1"], "more than the 20 s"),
        (["table4", "--budget=inf"], "more than the 20 s"),
        (["table4", "--parallel=0"], "less than 1"),
        (["table4", "--backbone=vgg"], "no backbone is called 'vgg'"),
    ],
)
def test_wrong_flags_are_refused(capsys, flags, message):
    with pytest.raises(SystemExit):
        command(*flags)
    assert message in capsys.readouterr().err


def test_missing_data_is_named_before_anything_runs(capsys, tmp_path):
    flags = ["table4", f"--data-dir={tmp_path}", f"--output={tmp_path}/runs"]
    assert command(*flags) == 1
    assert f"error: there is no folder {tmp_path}/cifar-100-python" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_named_before_anything_runs(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert command("table4", "--dataset=digits", f"--output={tmp_path}/file/x") == 1
    assert f"error: --output={tmp_path}/file/x cannot be written" in capsys.readouterr().err
