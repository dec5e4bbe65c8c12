"""The harness of faults: what it draws, what it finds, and what it does not let pass."""

import dataclasses
import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest

from faults import __main__ as command
from faults import campaign, disk
from faults.kinds import KINDS
from faults.kinds.damage import _check_named, _offered
from faults.outcome import differing, whole_checkpoints
from faults.subjects import SUBJECTS
from faults.trial import Ended, FailedTrial, Reference, Trial
from tests.tiny import ROOT

NONE = Reference({}, 0.0, 0, {}, pathlib.Path(), pathlib.Path())


def trial_of(folder, name="digits"):
    return Trial(SUBJECTS[name], NONE, folder, folder / "pictures", random.Random(0))


def test_the_same_seed_and_number_are_the_same_trial_and_all_kinds_come():
    kinds = list(KINDS.values())
    drawn = [campaign.draw(3, number, kinds) for number in range(400)]
    assert drawn == [campaign.draw(3, number, kinds) for number in range(400)]
    assert {each.kind.name for each in drawn} == set(KINDS)
    assert {each.subject for each in drawn} == set(SUBJECTS)
    assert all(each.subject in each.kind.subjects for each in drawn)


def test_minutes_are_those_of_trials_and_not_of_what_comes_before(monkeypatch):
    now, preparing = [0.0], [0.0]
    monkeypatch.setattr(campaign.time, "monotonic", lambda: now[0])
    drawn = campaign.drawn_until(0, [KINDS["kill"]], 5, None, 1.0, lambda: preparing[0])
    found = []
    for each in drawn:
        found.append(each.number)
        now[0] += 25.0
        if len(found) == 1:
            now[0] += 500.0
            preparing[0] += 500.0
    assert found == [5, 6, 7]
    limited = campaign.drawn_until(0, [KINDS["kill"]], 5, 2, None)
    assert [each.number for each in limited] == [5, 6]


def test_every_kind_names_runs_that_there_are_and_what_it_does():
    for name, kind in KINDS.items():
        assert kind.name == name
        assert set(kind.subjects) <= set(SUBJECTS)
        assert kind.about
        assert kind.share > 0


@pytest.mark.parametrize(
    ("code", "stderr", "why"),
    [
        (1, "", "0 sentences"),
        (1, "error: a\nerror: b\n", "2 sentences"),
        (1, "error: a\nTraceback (most recent call last):\n", "a traceback"),
        (1, f"error: {'a' * 2000}\n", "a sentence of 2000 letters"),
        (0, "x" * 7000, "7000 letters"),
        (-11, "", "exit code -11"),
        (134, "", "exit code 134"),
        (2, "error: usage", "exit code 2"),
    ],
)
def test_what_a_command_may_not_end_by(tmp_path, code, stderr, why):
    with pytest.raises(FailedTrial, match=why):
        trial_of(tmp_path)._judge(Ended(code, "", stderr), killed=False, silent=False)


@pytest.mark.parametrize(
    ("code", "stderr"), [(0, "a line\n"), (1, "error: the disk is full\n"), (143, "stopped")]
)
def test_what_a_command_may_end_by(tmp_path, code, stderr):
    trial = trial_of(tmp_path)
    trial._judge(Ended(code, "", stderr), killed=False, silent=False)
    assert trial.told == (["the disk is full"] if code == 1 else [])


def test_a_lost_process_is_a_way_to_end_of_several(tmp_path):
    trial_of(tmp_path, "processes")._judge(Ended(134, "", "error: lost\n"), False, False)


def checkpoint(folder, step, content="weights"):
    place = folder / str(step)
    (place / "state").mkdir(parents=True)
    (place / "state" / "array").write_text(content)
    listed = subprocess.run(
        ["sha256sum", "state/array"], cwd=place, capture_output=True, text=True, check=True
    )
    (place / "SHA256SUMS").write_text(listed.stdout)
    return place


def test_whole_checkpoints_are_those_that_sha256sum_finds_whole(tmp_path):
    checkpoint(tmp_path, 5)
    disk.flip(checkpoint(tmp_path, 10) / "state" / "array", 3)
    shutil.rmtree(checkpoint(tmp_path, 15) / "state")
    checkpoint(tmp_path, 20).rename(tmp_path / "20.orbax-checkpoint-tmp")
    assert whole_checkpoints(tmp_path).keys() == {5}


def test_a_checkpoint_that_is_gone_is_lost_unless_two_newer_ones_are_there(tmp_path):
    trial = trial_of(tmp_path)
    folder = trial.workdir / "checkpoints"
    first = checkpoint(folder, 5)
    before = trial.whole()
    shutil.rmtree(first)
    checkpoint(folder, 10)
    with pytest.raises(FailedTrial, match="step 5 is gone"):
        trial.nothing_lost(before)
    checkpoint(folder, 15)
    trial.nothing_lost(before)
    # Set aside is not lost.
    (trial.workdir / "set_aside").mkdir()
    before = trial.whole()
    (folder / "15").rename(trial.workdir / "set_aside" / "15")
    trial.nothing_lost(before)


def test_outcomes_differ_by_any_part():
    one = {"step": 5, "arrays": {"a": "1", "b": "2"}, "records": [{"loss": 1.0}], "results": {}}
    assert differing(one, json.loads(json.dumps(one))) == []
    assert differing(one, one | {"step": 6}) == ["step"]
    assert differing(one, one | {"records": [{"loss": 1.5}]}) == ["records"]
    assert "2 arrays" in differing(one, one | {"arrays": {"a": "1", "b": "3", "c": "4"}})[0]


def test_a_sentence_must_name_what_is_damaged():
    name = pathlib.Path("checkpoints/15/state/d/abc")
    _check_named("the checkpoint checkpoints/15 is damaged: state/d/abc is missing", name)
    for told in ("the learning rate is too high", "the checkpoint checkpoints/10 is damaged"):
        with pytest.raises(FailedTrial, match="does not name it"):
            _check_named(told, name)
    _check_named("/runs/a/config.json is not what was written", pathlib.Path("config.json"))
    assert _offered("or give --checkpoint=10, which is whole") == "10"
    assert _offered("restore it") is None


def in_a_process(code, *arguments):
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stdout, run.stderr


WRITES = """
import pathlib, sys
from faults.injection import file_layer
below, at, action, number, lasting = sys.argv[1:]
file_layer(below, int(at), action, int(number), lasting == "True")
here = pathlib.Path(below)
pathlib.Path(f"{below}_beside").write_text("not counted")
for name in "abc":
    try:
        (here / name).write_text(name)
    except OSError as error:
        print(name, error.strerror)
(here / "a").read_text() if (here / "a").exists() else None
(here / "c").rename(here / "d") if (here / "c").exists() else None
"""


def test_the_file_layer_counts_fails_and_kills(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    code, _, told = in_a_process(WRITES, run, 0, "count", 0, False)
    assert code == 0, told
    # Three files and a renaming; reading is none.
    assert pathlib.Path(f"{run}.count").read_text() == "4"
    full = errno.ENOSPC
    assert in_a_process(WRITES, run, 2, "fail", full, False)[1] == f"b {os.strerror(full)}\n"
    both = f"b {os.strerror(full)}\nc {os.strerror(full)}\n"
    (run / "d").unlink()
    assert in_a_process(WRITES, run, 2, "fail", full, True)[1].startswith(both)
    (run / "b").unlink()
    assert in_a_process(WRITES, run, 2, "kill", 0, False)[0] == -9
    assert not (run / "b").exists()


def test_the_table_counts_each_kind_and_all():
    kinds = [KINDS["flip"], KINDS["kill"]]
    drawn = campaign.Drawn(0, 0, kinds[0], "digits")
    verdicts = [
        campaign.Verdict(drawn, ("told",), (), None),
        campaign.Verdict(drawn, (), (), None),
        campaign.Verdict(dataclasses.replace(drawn, kind=kinds[1]), (), (), "other bits"),
    ]
    rows = campaign.table(verdicts).splitlines()
    assert rows[2].endswith("| 1 | 0 | 0 | 1 |")
    assert rows[3].startswith("| `flip` |")
    assert rows[3].endswith("| 2 | 1 | 1 | 0 |")
    assert rows[4] == "| all |  | 3 | 1 | 1 | 1 |"


def test_a_kind_that_there_is_not_is_named_with_those_that_there_are(capsys):
    assert command.main(["--kind=flips"]) == 2
    assert "no kind 'flips'" in capsys.readouterr().out


def forgets_a_record():
    """A fault of the package's own, for the harness to find: the fourth record is another one."""
    from bccl_jax.reporting.records import Records

    append = Records.append

    def wrong(self, record):
        append(self, record | ({"stage": 7} if len(self.rows) == 3 else {}))

    Records.append = wrong


@pytest.mark.slow
def test_trials_pass_and_a_planted_fault_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    found = campaign.Campaign(tmp_path)
    reference = found.reference("digits")
    assert reference.operations > 100
    for name in ("flip", "kill_at_file"):
        verdict = found.run(campaign.Drawn(0, 0, KINDS[name], "digits"))
        assert verdict.failure is None
    assert not list(tmp_path.glob("trial_*"))

    def planted(trial):
        trial.train(before=[("tests.faults.test_campaign", "forgets_a_record", {})])
        trial.compare()

    kind = dataclasses.replace(KINDS["kill"], do=planted)
    verdict = found.run(campaign.Drawn(0, 1, kind, "digits"))
    assert "other bits: records" in verdict.failure
    # What failed can be looked at.
    assert (tmp_path / "trial_0_1" / "run" / "metrics.jsonl").exists()
