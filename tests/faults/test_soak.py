"""What grows is found, and what does not is let pass."""

import json
import mmap
import os
import subprocess
import tempfile
import threading
from multiprocessing import shared_memory

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from faults.soak import __main__ as soak
from faults.soak import flatness, picture
from faults.soak.sampling import Sampler, processes_below, read
from faults.soak.sampling import shared_memory as mapped

MEMORY = {"rss": 65536, "uss": 65536}
STEPS = 9


def samples_of(**figures):
    """Samples at steps 10, 20, ... of these figures, and of all others that stand still."""
    length = len(next(iter(figures.values())))
    still = dict.fromkeys([*flatness.COUNTS, *flatness.SIZES], 3)
    return [
        still | {"step": 10 * (i + 1)} | {name: values[i] for name, values in figures.items()}
        for i in range(length)
    ]


def growing(samples, **slopes):
    return {verdict.figure for verdict in flatness.judge(samples, slopes) if not verdict.flat}


def test_a_leak_is_found_in_noise_and_noise_is_none(rng):
    steps = np.arange(10, 2010, 10)
    noise = rng.normal(0, 5e6, len(steps))
    assert growing(samples_of(uss=5e8 + noise), uss=4096) == set()
    assert growing(samples_of(uss=5e8 + noise + 3000 * steps), uss=4096) == set()
    assert growing(samples_of(uss=5e8 + noise + 9000 * steps), uss=4096) == {"uss"}


def test_a_handle_lost_in_a_hundred_epochs_is_found(rng):
    steps = np.arange(10, 2010, 10)
    come_and_go = rng.integers(8, 18, len(steps))
    assert growing(samples_of(handles=come_and_go)) == set()
    assert growing(samples_of(handles=come_and_go + steps // 100)) == {"handles"}


def test_what_stands_out_once_what_shrinks_and_the_warm_up_are_no_leaks():
    once = np.full(60, 5)
    once[50:53] = 500
    assert growing(samples_of(threads=once, files=np.arange(60)[::-1])) == set()
    warm = np.minimum(np.arange(60), 19)
    assert growing(samples_of(compilations=warm)) == set()
    assert growing(samples_of(compilations=np.arange(60))) == {"compilations"}


def test_the_slope_is_that_of_the_line_in_units_a_step():
    (uss,) = [
        verdict
        for verdict in flatness.judge(samples_of(uss=7.0 * np.arange(10, 610, 10)), {"uss": 8})
        if verdict.figure == "uss"
    ]
    assert uss.slope == pytest.approx(7)
    assert uss.at_least == pytest.approx(7)
    assert (uss.first, uss.last) == (7 * 225, 7 * 585)


def test_a_few_samples_say_nothing():
    with pytest.raises(ValueError, match="5 samples"):
        flatness.judge(samples_of(uss=np.arange(5)), {})


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """What loses something of a kind each time, by kind; all of it is given back at the end."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "run").mkdir()
    kept, over, closers = [], threading.Event(), []

    def thread():
        made = threading.Thread(target=over.wait)
        made.start()
        closers.append(made.join)

    def process():
        made = subprocess.Popen(["sleep", "600"])
        closers.extend([made.wait, made.kill])

    def shared():
        made = shared_memory.SharedMemory(create=True, size=300_000)
        closers.extend([made.unlink, made.close])

    def log():
        with (tmp_path / "run" / "log").open("ab") as file:
            file.write(bytes(30_000))

    def memory():
        # Beside what a process of many tests takes and gives back meanwhile.
        made = mmap.mmap(-1, 2**23)
        made.write(bytes(2**23))
        kept.append(made)

    def handle():
        made = os.open(os.devnull, os.O_RDONLY)
        closers.append(lambda: os.close(made))

    yield {
        "uss": memory,
        "handles": handle,
        "threads": thread,
        "processes": process,
        "shared": shared,
        "arrays": lambda: kept.append(jnp.zeros(1)),
        "array bytes": lambda: kept.append(jnp.zeros(1000)),
        "compilations": lambda: jax.jit(lambda x: x + len(kept))(1.0),
        "files": lambda: kept.append((tmp_path / "run" / str(len(kept))).write_text("")),
        "file bytes": log,
        "temporary": lambda: kept.append(tempfile.mkdtemp(dir=tmp_path / "temporary")),
    }
    over.set()
    for close in reversed(closers):
        close()


def sampled(tmp_path, lose=lambda: None):
    sampler = Sampler(tmp_path / "samples.jsonl", tmp_path / "run", every=2)
    for step in range(1, 2 * STEPS + 1):
        if step % 2:
            lose()
        sampler.at(step)
    return read(tmp_path / "samples.jsonl")


@pytest.mark.slow
def test_each_planted_leak_is_found_by_its_name(planted, tmp_path):
    def lose():
        for leak in planted.values():
            leak()

    samples = sampled(tmp_path, lose)
    assert [sample["step"] for sample in samples] == list(range(2, 2 * STEPS + 1, 2))
    assert growing(samples, **MEMORY) == {*planted, "rss"}
    assert {*flatness.COUNTS, *flatness.SIZES, "uss"} == set(planted)


@pytest.mark.slow
def test_where_nothing_is_lost_nothing_is_found_and_all_of_it_is_written(planted, tmp_path):
    samples = sampled(tmp_path)
    rows = soak.as_rows({"epochs": flatness.judge(samples, MEMORY)})
    assert {row["verdict"] for row in rows} == {"flat"}
    soak.write_json(tmp_path / "soak.json", {"numbers": {"epochs": 24}}, {"epochs": samples})
    written = json.loads((tmp_path / "soak.json").read_text())
    assert written["samples"]["epochs"]["uss"] == [sample["uss"] for sample in samples]
    picture.save(tmp_path / "soak.png", {"epochs": samples, "resumes": samples})
    assert Image.open(tmp_path / "soak.png").width > 400


def test_the_records_of_a_run_grow_by_design_and_are_told_apart(planted, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "a").write_bytes(b"12345")
    (tmp_path / "run" / "checkpoints" / "records.jsonl").write_bytes(b"1")
    (tmp_path / "run" / "metrics.jsonl").write_bytes(b"12")
    Sampler(tmp_path / "samples.jsonl", tmp_path / "run").at(1)
    (sample,) = read(tmp_path / "samples.jsonl")
    assert (sample["files"], sample["file bytes"], sample["records"]) == (1, 5, 3)


def test_processes_below_one_and_the_memory_they_share_are_found(planted):
    planted["processes"]()
    planted["shared"]()
    (below,) = (pid for pid in processes_below(os.getpid()) if "sleep" in _name(pid))
    assert below not in processes_below(below)
    # In whole pages.
    assert sum(mapped([os.getpid()]).values()) >= 300_000


def _name(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read()


@pytest.mark.slow
def test_a_short_soak_leaves_verdicts_samples_and_a_picture(tmp_path, capsys):
    output = tmp_path / "soak"
    numbers = ["--epochs=9", "--evaluations=9", "--resumes=6", "--calls=6", "--photographs=9"]
    soak.main([*numbers, f"--output={output}"])
    assert "evaluations" in capsys.readouterr().out
    found = json.loads((output / "soak.json").read_text())
    assert {len(taken["step"]) for taken in found["samples"].values()} == {6, 9}
    assert {row["phase"] for row in found["verdicts"]} == set(found["samples"])
    evaluations = [row for row in found["verdicts"] if row["phase"] == "evaluations"]
    assert {row["verdict"] for row in evaluations} == {"flat"}
    assert (output / "soak.png").exists()
