"""Runs that are killed somewhere, and what they must be once resumed."""

import json

import pytest

from bccl_jax.reporting import console
from bccl_jax.training.loop import train_and_evaluate
from tests.tiny import differing


class Killed(BaseException):
    """Ends a run where it stands, as SIGKILL would: nothing catches it, nothing is saved."""


def act_at(monkeypatch, call, action):
    """Runs `action` in the `call`-th advance of the progress bar, which is one a step and epoch."""
    calls = iter(range(1, 10_000))
    advance = console.Progress.advance

    def counted(self, *args):
        advance(self, *args)
        if next(calls) == call:
            action()

    monkeypatch.setattr(console.Progress, "advance", counted)


def kill():
    raise Killed


def without_times(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "observed")} for row in rows]


def check_resumed(whole, config, workdir, *calls):
    """Kills a run of a config in each of these advances, which are counted anew after each.

    Resumed, it must end with the state and the records of the `whole` one, which is a `Result`.
    """
    for call in calls:
        with pytest.MonkeyPatch.context() as patch:
            act_at(patch, call, kill)
            with pytest.raises(Killed):
                train_and_evaluate(config, workdir)
    resumed = train_and_evaluate(config, workdir)
    assert differing(whole.state, resumed.state) == []
    assert without_times(workdir / "metrics.jsonl") == without_times(
        whole.workdir / "metrics.jsonl"
    )
