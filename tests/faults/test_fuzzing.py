"""The fuzzing finds planted faults, and none in the readers of the package."""

import json
import os
import re
import signal
import time

import pytest

from bccl_jax.errors import DataError
from faults.fuzzing import __main__ as command
from faults.fuzzing import judging, odd
from faults.fuzzing.kinds import KINDS
from faults.fuzzing.looping import entry_of, trials, well_formed
from faults.fuzzing.running import Counts, Runner
from faults.fuzzing.surface import Files, Kind, Surface, Whole, consistent

# Real runs and many inputs, which take longer than all the suite has for them.
pytestmark = pytest.mark.slow

# Inputs of a kind: those that are read fast have the larger shares.
LEAST, PER_SHARE = 8, 20

WHOLE = {"name": "cat", "count": 3, "inner": {"a": [1, 2]}}


def planted(fault):
    """A kind whose reader is right but for one fault."""

    def prepare(root):
        files = Files(root, {"a.json": Whole(json.dumps(WHOLE).encode(), "json")})

        def read(entry):
            path = files.put(entry)
            try:
                found = json.loads(path.read_text())
                count = found["count"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DataError(f"{path} is broken") from error
            if type(count) is not int:
                fault(path)

        return Surface(files.make, read, ("a.json",), files.unchanged(), megabytes=50)

    return Kind("planted", 1, prepare)


def quote(path):
    raise DataError(f"{path} is broken: {object()}")


def forget(path):
    del path
    raise DataError("it is broken")


FAULTS = {
    "another error": (lambda path: {}["count"], "KeyError"),
    "a read of what cannot be": (lambda path: consistent(False, "a count"), "Inconsistent"),
    "a hang that computes": (lambda path: [0 for _ in iter(int, 1)], "hangs"),
    "a hang that waits": (lambda path: time.sleep(100), "waits without end"),
    "memory": (lambda path: bytearray(200 * 2**20), "takes too much memory"),
    "more than all memory": (lambda path: bytearray(2**50), "MemoryError"),
    "a message without a name": (forget, "the message does not name the thing"),
    "a message of Python's": (quote, "the message has the inside of Python in it"),
    "an end of the process": (lambda path: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
}


@pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_found_again(tmp_path, monkeypatch, capsys, name):
    fault, why = FAULTS[name]
    monkeypatch.setattr(judging, "SECONDS", 0.2)
    patience = 4 if "waits" in name else 60
    runner, kind = Runner(5, tmp_path / "kept", patience), planted(fault)
    # The first of them that the fault is for is the last one.
    numbers = range(11)
    counts = runner.run(kind, numbers)
    assert counts.inputs == len(numbers)
    (found,) = counts.fails
    assert why in found
    assert counts.refused > 0
    # As it was told, by its number alone.
    number = int(re.search(r"--kind=planted --seed=5 --only=(\d+)", capsys.readouterr().err)[1])
    again = runner.run(kind, range(number, number + 1))
    assert (number, again.fails) == (10, {found: 1})
    kept = (tmp_path / "kept" / f"planted-5-{number}").read_bytes()
    assert kept == entry_of(kind.prepare(tmp_path), "planted", 5, number).content
    assert json.loads(kept)["count"] != 3


def test_a_reader_that_refuses_what_is_well_formed_is_a_failure(tmp_path):
    surface = planted(None).prepare(tmp_path)

    def refuse(entry):
        raise DataError("a.json is broken")

    (trial,) = well_formed(surface._replace(read=refuse))
    assert trial.outcome.why == "a well-formed input is refused"
    (trial,) = well_formed(surface)
    assert trial.outcome.what == "read"


@pytest.mark.parametrize("name", KINDS)
def test_what_comes_from_outside_is_read_or_refused_in_one_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind = KINDS[name]
    surface = kind.prepare(tmp_path)
    numbers = range(max(LEAST, round(PER_SHARE * kind.share)))
    found = [*well_formed(surface), *trials(surface, name, 0, numbers)]
    assert [trial for trial in found if trial.outcome.what == "fail"] == []
    assert any(trial.outcome.what == "read" for trial in found) or name == "packed_plan"


def test_inputs_are_those_of_their_numbers(tmp_path):
    surface = KINDS["table"].prepare(tmp_path)
    entries = [entry_of(surface, "table", 1, number) for number in range(30)]
    assert entry_of(surface, "table", 1, 17) == entries[17]
    assert entry_of(surface, "table", 2, 17) != entries[17]
    assert len(set(entries)) > 25


def test_odd_values_are_json_to_lenient_readers():
    for mark in odd._RAW:
        text = odd.as_json([mark])
        assert mark.encode() not in text
        if "deep" not in mark and "digits" not in mark:
            json.loads(text)


def test_the_table_counts_what_became_of_the_inputs(monkeypatch, capsys):
    counts = [Counts("a", 1000, 234, 2.0, 50, {"x": 2}), Counts("b", 1, 0, 1.0, 70)]
    ran, found = [], iter(counts)
    monkeypatch.setattr(Runner, "run", lambda self, *given: ran.append(given) or next(found))
    assert command.main(["--kind=table,test_list", "--inputs=2200"]) == 1
    assert [(kind.name, numbers) for kind, numbers, _ in ran] == [
        ("table", range(1200)),
        ("test_list", range(1000)),
    ]
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| table | 1,236 | 1,000 | 234 | 2 | 618 | 50 |",
        "| test_list | 1 | 1 | 0 | 0 | 1 | 70 |",
        "| all, in 0.1 minutes | 1,237 | 1,001 | 234 | 2 | 412 | 70 |",
    ]
    found = iter([Counts("b", 1)])
    assert command.main(["--kind=table", "--only=7"]) == 0
    assert ran[-1][1] == range(7, 8)
    assert command.main(["--kind=nothing"]) == 2
    assert "no kind is called nothing; there are listed, table" in capsys.readouterr().err
