"""A run says on what its bits depend, and when that is another thing."""

import json
import os

import pytest

from bccl_jax.errors import WorkdirError
from bccl_jax.workdir import computed
from experiments.running import cores


def recorded(path):
    return json.loads((path / "computed_on.json").read_text())


def test_a_run_that_goes_on_elsewhere_says_so_in_a_line_and_in_its_record(
    tmp_path, monkeypatch, capsys
):
    computed.note(tmp_path, 0)
    computed.note(tmp_path, 10)
    [part] = recorded(tmp_path)
    assert part["step"] == 0
    assert part["on"]["cores"] == len(os.sched_getaffinity(0))
    assert part["on"]["jax"] == computed.jax.__version__
    assert capsys.readouterr().err == ""

    here = computed.now()
    monkeypatch.setattr(computed, "now", lambda: here | {"cores": 77, "jax": "0.1"})
    computed.note(tmp_path, 10)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"cores {here['cores']} before and 77 now; jax {here['jax']} before and 0.1 now" in told
    assert [part["step"] for part in recorded(tmp_path)] == [0, 10]
    computed.note(tmp_path, 20)
    assert capsys.readouterr().err == ""
    # From step 5 on all is made anew, so that what came later is nothing of the run.
    monkeypatch.undo()
    computed.note(tmp_path, 5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["{}", '[{"step": "0"}]', "[1]", "[" * 100_000])
def test_a_broken_record_is_named(tmp_path, content):
    (tmp_path / "computed_on.json").write_text(content)
    with pytest.raises(WorkdirError, match=r"computed_on\.json is not"):
        computed.note(tmp_path, 5)


def test_a_cell_that_goes_on_keeps_the_number_of_its_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "_cores", lambda: [0, 1, 2, 3])
    assert cores.kept(tmp_path, []) == []
    assert cores.kept(tmp_path, [2, 3]) == [2, 3]
    for number, share, expected in [
        (1, [], [0]),
        (1, [2, 3], [2]),
        (2, [2, 3], [2, 3]),
        (4, [], []),
        (3, [2, 3], [2, 3, 0]),
        (9, [2, 3], [2, 3]),
        (None, [2, 3], [2, 3]),
    ]:
        part = {"step": 0, "on": {"cores": number}}
        (tmp_path / "computed_on.json").write_text(json.dumps([part]))
        assert cores.kept(tmp_path, share) == expected
    (tmp_path / "computed_on.json").write_text("[]")
    assert cores.kept(tmp_path, [1]) == [1]
