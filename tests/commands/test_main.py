"""The command line in processes, the first of which shares nothing, as a user has it."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from bccl_jax.training.assemble import assemble
from bccl_jax.workdir.checkpoint import Checkpoints
from faults.forks import command, run, start
from tests.tiny import ROOT, differing, tiny_config
from tests.training.test_photographs import write_pictures

OPTIMIZED = True
SHORT = [
    "--config.epochs=4",
    "--config.optimizer.warmup_epochs=1",
    "--config.eval.every_epochs=2",
    "--config.checkpoint.every_epochs=1",
]
SMALL = [
    "--config.method.warmup_epochs=1",
    "--config.method.refresh_epochs=2",
    "--config.method.num_centroids=2",
    "--config.method.queue_size=8",
    "--config.method.projector_hidden=16",
    "--config.method.projector_dim=8",
]


# A step of BCCL takes three times as long to compile.
@pytest.fixture(
    scope="module", params=["cross_entropy", pytest.param("bccl", marks=pytest.mark.slow)]
)
def method(request):
    return request.param


def tiny(method):
    return [f"--config=configs/digits_lt.py:{method}", *SHORT, *(SMALL if method == "bccl" else ())]


@pytest.fixture(scope="module")
def whole(method, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("main") / "run"
    done = subprocess.run(
        command(*tiny(method), f"--workdir={workdir}"), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def restored(method, workdir):
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        last = checkpoints.resolve("last")
        state, _ = checkpoints.restore(last, assemble(tiny_config(method)).abstract_state)
    return state


def table(text):
    return re.findall(r"^(?:accuracy|(?:last|best|saved) \().*$", text, re.MULTILINE)


def test_training_ends_with_the_table_and_what_to_do_next(whole):
    workdir, stdout = whole
    header, last, best = table(stdout)
    columns = ["top-1", "all", "many", "medium", "few", "ECE", "classes"]
    assert header.split()[2:] == columns
    assert last.endswith("10 of 10")
    assert "all: mean of classes' accuracies" in stdout
    assert re.search(r"^last.*: worst class .*, macro F1 \d", stdout, re.MULTILINE)
    assert last.startswith("last (epoch 4)")
    assert "chosen on the test set" in best
    for line in ("look closer ", "evaluate ", "resume ", "predict ", "TensorBoard "):
        assert re.search(f"^{line}.*{workdir}", stdout, re.MULTILINE), line
    assert (workdir / "report.png").exists()


def test_eval_prints_the_very_table_that_training_ended_with(whole):
    workdir, stdout = whole
    # The directory knows its config.
    done = run(f"--workdir={workdir}", "--mode=eval")
    assert done.returncode == 0, done.stderr
    assert table(done.stdout) == table(stdout)


def test_settings_beside_a_runs_directory_must_be_its_own(whole):
    done = run("--workdir", str(whole[0]), "--mode=eval", "--config.epochs=5")
    assert done.returncode == 1
    assert "epochs is 4 there and 5 here" in done.stderr


def test_a_run_that_sigkill_ends_goes_on_to_the_same_bits(method, whole, tmp_path):
    arguments = [*tiny(method), f"--workdir={tmp_path / 'run'}"]
    process = start(*arguments)
    records = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if records.exists() and records.read_text().count("\n") >= 2:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 0)
    assert run(f"--workdir={tmp_path / 'run'}").returncode == 0
    one, other = (restored(method, workdir) for workdir in (tmp_path / "run", whole[0]))
    assert differing(one, other) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/digits_lt.py", "--config.epoch=3"], "epoch"),
        (["--config=configs/digits_lt.py", "--config.epochs=many"], "epochs"),
        (["--config=configs/digits_lt.py", "--config.epochs=-1"], "config.epochs is -1"),
        (["--config=configs/digit_lt.py"], "configs/digit_lt.py"),
        (["--config=configs/digits_lt.py:bcll"], "bcll"),
        (["--config=configs/digits_lt.py", "--mod=eval"], "mod"),
        ([], "--config=digits_lt"),
        (["--mode=eval"], "run is not there; correct the path"),
        (["--config=configs/digits_lt.py", "--verify"], "--verify goes with --mode=inspect"),
        (["--config=configs/digits_lt.py", "--overwrite"], "--overwrite goes with --mode=views"),
        (
            ["--config=configs/digits_lt.py", "--output=a.png"],
            "--output goes with --mode=pack, --mode=views",
        ),
        (
            ["--config=configs/digits_lt.py", "--config.trackers=tensorboard,mlfow"],
            "config.trackers is 'tensorboard,mlfow'; it must be some of tensorboard, wandb, mlflow",
        ),
        (["--config=configs/digits_lt.py", "--mode=pack"], "--mode=pack and --output=DIR go"),
        (["--config=configs/folder.py", "--config.data.dir=/nowhere"], "/nowhere"),
        (["--config=configs/imagenet_lt.py:resnet51"], "resnet51"),
        (["--config=configs/digits_lt.py", "config.epochs=3"], "'config.epochs=3' is no flag"),
        (["--config=configs/cifar100_lt.py", "--config.data.dir=/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_no_zero_exit(tmp_path, arguments, message):
    done = run(*arguments, f"--workdir={tmp_path / 'run'}")
    assert done.returncode not in (0, None)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert message in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_eval_without_a_run_says_so(tmp_path):
    done = run(*tiny("bccl"), f"--workdir={tmp_path / 'run'}", "--mode=eval")
    assert done.returncode == 1
    assert "run is not there; correct the path, or train there first" in done.stderr
    assert not os.path.exists(tmp_path / "run")


def test_a_gpu_that_is_there_but_unused_is_said(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    variables = {"JAX_PLATFORMS": "cpu", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    arguments = ["--config=configs/cifar100_lt.py", "--config.data.dir=/nowhere"]
    done = run(*arguments, **variables)
    assert "a GPU is there but unused" in done.stderr


def test_results_are_plain_json(whole):
    results = json.loads((whole[0] / "results.json").read_text())
    assert set(results) == {"last", "best", "best_epoch", "chosen_on", "step"}


def test_pictures_are_inspected_packed_and_read_back(tmp_path):
    photos, packed = tmp_path / "photos", tmp_path / "packed"
    write_pictures(photos, (4, 3, 2))
    (photos / "red" / "00.jpg").write_text("not a picture")
    folder = ["--config=configs/folder.py", f"--config.data.dir={photos}"]
    output = f"--workdir={tmp_path / 'inspected'}"
    done = run(*folder, "--mode=inspect", output)
    assert done.returncode == 0, done.stderr
    assert "red" in done.stdout
    assert (tmp_path / "inspected" / "class_counts.png").exists()
    done = run(*folder, "--mode=inspect", "--verify", output)
    assert done.returncode == 1
    assert f"{photos}/red/00.jpg" in done.stdout + done.stderr
    done = run(*folder, "--mode=pack", f"--output={packed}")
    assert done.returncode == 0, done.stderr
    again = ["--config=configs/folder.py", "--config.data.source=packed"]
    done = run(*again, f"--config.data.dir={packed}", "--mode=inspect", output)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in photos.iterdir()) == ["blue", "green", "red"]


def test_ctrl_c_while_libraries_load_leaves_no_trace(tmp_path):
    library = tmp_path / "ml_collections" / "__init__.py"
    library.parent.mkdir()
    library.write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        command("--config=digits_lt"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
    )
    # For a shell that is 130.
    assert done.returncode == -signal.SIGINT
    assert (done.stdout, done.stderr) == ("", "")


def test_ctrl_c_while_a_config_is_read_is_a_word(tmp_path):
    config = tmp_path / "mine.py"
    config.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = run(f"--config={config}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "stopped\n"
