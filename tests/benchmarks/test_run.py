import argparse
import pathlib

import pytest

from benchmarks import everything
from benchmarks.run import account

FOLDER = pathlib.Path(everything.__file__).parent
# Modules that the benchmarks share, and the one that runs them all.
SHARED = {"__init__", "common", "everything", "layers", "pillow_views", "recipe", "work"}


def test_a_runs_time_is_split_into_start_steps_clustering_and_the_rest():
    """Ten seconds of start, six epochs of two seconds, two clusterings of half a second, a rest."""
    rows = [{"seconds": 2.0 + 3.0}]  # of the ten, three of compilation lie in the first epoch
    for epoch in range(2, 7):
        rows.append({"seconds": 2.5, "refresh": {}} if epoch in (3, 5) else {"seconds": 2.0})
    found = account(rows, first_record=12.0, whole=10.0 + 12.0 + 1.0 + 3.0)
    assert found["start to first step s"] == pytest.approx(10)
    assert found["epoch s"] == pytest.approx(2)
    assert found["steps s"] == pytest.approx(12)
    assert found["clustering s"] == pytest.approx(1)
    assert found["around the steps %"] == pytest.approx(100 * 4 / 16)


@pytest.mark.parametrize("accelerated", [True, False])
def test_everything_runs_every_benchmark_there_is(accelerated):
    options = argparse.Namespace(torch_python="python", data_dir="data")
    named = {arguments[0] for _, arguments in everything.commands(options, accelerated)}
    there_are = {path.stem for path in FOLDER.glob("*.py")} | {"torch_twin"}
    assert named == there_are - SHARED


def test_everything_names_what_failed_and_keeps_what_succeeded(tmp_path, monkeypatch, capfd):
    chosen = [("broken", ["flops", "--config", "missing.py"]), ("run", ["run", "--help", "--"])]
    monkeypatch.setattr(everything, "commands", lambda *_: chosen)
    monkeypatch.setattr("sys.argv", ["everything", "--out", str(tmp_path)])
    assert everything.main() == 1
    out, err = capfd.readouterr()
    assert "failed: broken" in err
    assert "--cold-epochs" in out
    assert "--cold-epochs" in (tmp_path / "run.md").read_text()
