import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccl_jax.errors import WorkdirError
from experiments.records import results
from tests.experiments.made_up import LEAST


def record(seed, config="c", code="a", **more):
    return LEAST | {"code_hash": code, "config_hash": config, "seed": seed, **more}


# What tables and figures would trip over.
CHANGES = (
    {"images": 2**50},
    {"images": 0, "correct": ""},
    {"last": {"per_class": [1e-320]}},
    {"images": 9},
    {"correct": "not base64"},
    {"class_counts": {"0": 1}},
    {"class_counts": [-1]},
    {"left_out": "12"},
    {"config": {}},
    {"last": []},
    {"best": {"per_class": {"a": 1}}},
    {"last": {"all": 10**400}},
    {"last": {"per_class": [-3.0]}},
    {"ema": {"last": {"few": "12"}}},
    {"seed": True},
    {"curve": [{"epoch": 1}]},
    {"curve": [{"epoch": 1, "train": {"loss": [1]}}]},
    {"feature_space": [None]},
)


def test_records_come_back_and_the_last_of_a_run_counts(tmp_path):
    path = tmp_path / "deep" / "results.jsonl"
    for each in (record(0, all=1.5), record(1), record(0, config="d"), record(0, all=2.5)):
        results.append(path, each)
    assert results.load(path) == [record(0, all=2.5), record(1), record(0, config="d")]
    assert results.load(tmp_path / "none.jsonl") == []


def test_half_a_line_of_a_killed_process_is_forgotten_and_harms_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    results.append(path, record(0))
    with path.open("a") as file:
        file.write(json.dumps(record(1))[:20])
    assert results.load(path) == [record(0)]
    results.append(path, record(2))
    assert results.load(path) == [record(0), record(2)]


def test_a_whole_record_without_a_line_end_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(f"{json.dumps(record(0))}\n\n{json.dumps(record(1))}")
    assert results.load(path) == [record(0), record(1)]
    results.append(path, record(2))
    assert results.load(path) == [record(0), record(1), record(2)]


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    broken = [record(1) | change for change in CHANGES]
    for line in ("no JSON", "[1]", "[" * 10**5, *map(json.dumps, [{"seed": 1}, *broken])):
        path.write_text(f"{json.dumps(record(0))}\n{line}\n{json.dumps(record(1))}\n")
        with pytest.raises(WorkdirError, match=r"line 2 of .*results.jsonl is not the record"):
            results.load(path)


def _append_many(path, code):
    for seed in range(50):
        results.append(path, record(seed, code=code, text="x" * 5000))


def test_writers_that_append_at_once_lose_nothing(tmp_path):
    # Each append opens the file anew, so that the lock parts threads as it parts processes.
    path = tmp_path / "results.jsonl"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda code: _append_many(path, code), "abc"))
    assert len(results.load(path)) == 150
    assert len(path.read_text().splitlines()) == 150


@given(st.lists(st.booleans(), max_size=70))
def test_what_was_right_comes_back_bit_by_bit(correct):
    text = results.pack(np.array(correct, bool))
    json.dumps(text)
    np.testing.assert_array_equal(results.unpack(text, len(correct)), np.array(correct, bool))
