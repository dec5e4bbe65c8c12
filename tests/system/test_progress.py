"""How far a run is, where no terminal shows a bar: lines by a clock that the test turns."""

import io
import math
import os
import sys
import threading
import types

import numpy as np
import pytest
import tqdm
from PIL import Image

from bccl_jax import config as default
from bccl_jax.data.encoded import FileImages
from bccl_jax.data.packing import packing
from bccl_jax.data.split import Split, Splits
from bccl_jax.devices.mesh import create_mesh
from bccl_jax.evaluation.over_split import compute_on
from bccl_jax.inspecting.verification import verify_images
from bccl_jax.reporting import console
from bccl_jax.reporting.console import Budget, Progress, standing
from bccl_jax.reporting.records import Records
from bccl_jax.system import progress

MINUTE = 60.0


class Hand:
    """A heartbeat whose clock is turned and whose beats are given by hand."""

    def __init__(self, monkeypatch):
        self.now, self.lines = 0.0, []
        self.heartbeat = progress.Heartbeat(clock=lambda: self.now, interval=1e6)
        monkeypatch.setattr(progress, "say", lambda text, file=None: self.lines.append(text))

    def after(self, seconds):
        """Lets time pass without a beat."""
        self.now += seconds

    def beat(self):
        """The line of a beat, "" for none."""
        before = len(self.lines)
        self.heartbeat.beat()
        return "".join(self.lines[before:])


@pytest.fixture
def hand(monkeypatch):
    return Hand(monkeypatch)


@pytest.fixture
def begun(monkeypatch):
    """The first lines of all jobs at their end."""
    lines, end = [], progress.Heartbeat.end

    def told(self, job):
        lines.append(job.line(self.clock() + 1, self.clock()))
        end(self, job)

    monkeypatch.setattr(progress.Heartbeat, "end", told)
    return lines


def steps(hand, training, count, seconds, epoch=1, loss=2.5):
    for _ in range(count):
        hand.after(seconds)
        training.advance(1, epoch, loss)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (99.6, "2 min"),
        (725, "12 min"),
        (5999, "1 h 40 min"),
        (7980, "2 h 13 min"),
        (172799, "2 d 0 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds, text):
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(
    ("speed", "text"),
    [(1234.5, "1,234 images/s"), (9.96, "10 images/s"), (0.034, "0.034 images/s")],
)
def test_rates_keep_two_digits(speed, text):
    assert progress.rate(speed, "image") == text


def test_a_line_a_minute_says_epoch_step_loss_speed_and_time_left(hand):
    with Progress(Budget(200, 100, 128), 0, heartbeat=hand.heartbeat) as training:
        assert hand.lines == ["compiling the step; a line comes every minute"]
        hand.after(2 * MINUTE)
        assert hand.beat() == "compiling the step  for 2 min"
        training.advance(0, 1, math.nan)
        steps(hand, training, 30, 2.0)
        assert (
            hand.beat() == "epoch 1/200  step 30/20,000  loss 2.500  64 images/s  11 h 6 min left"
        )
        # Faster than in the minute before: the newest minute counts.
        steps(hand, training, 60, 1.0, loss=2.25)
        assert (
            hand.beat() == "epoch 1/200  step 90/20,000  loss 2.250  128 images/s  5 h 32 min left"
        )
    assert hand.beat() == ""


def test_a_resumed_run_tells_its_own_speed_alone(hand):
    budget = Budget(200, 100, 128)
    with Progress(budget, 19_000, heartbeat=hand.heartbeat) as training:
        hand.after(10 * MINUTE)
        training.advance(0, 191, math.nan)
        steps(hand, training, 10, 6.0, epoch=191)
        assert hand.beat() == (
            "epoch 191/200  step 19,010/20,000  loss 2.500  21 images/s  99 min left"
        )


def test_an_epoch_that_is_one_program_has_its_line_too(hand):
    with Progress(Budget(10, 390, 128), 0, heartbeat=hand.heartbeat) as training:
        training.advance(0, 1, math.nan)
        hand.after(MINUTE)
        assert hand.beat() == "epoch 1/10  step 0/3,900  (under way for 60 s)"
        hand.after(4 * MINUTE)
        training.advance(390, 1, 3.0)
        assert hand.beat() == "epoch 1/10  step 390/3,900  loss 3.000  166 images/s  45 min left"
        training.advance(0, 2, 3.0)
        hand.after(2 * MINUTE)
        assert hand.beat() == (
            "epoch 2/10  step 390/3,900  loss 3.000  166 images/s  45 min left  "
            "(390 steps at a time: under way for 2 min, the last took 5 min)"
        )


def test_time_left_has_the_evaluations_that_are_left_and_the_speed_has_none(hand):
    pauses = {"evaluation": lambda epoch: epoch % 5 == 0, "refresh": lambda epoch: False}
    with Progress(Budget(20, 10, 1), 40, pauses=pauses, heartbeat=hand.heartbeat) as training:
        training.advance(0, 5, math.nan)
        steps(hand, training, 10, 1.0, epoch=5)
        with (
            training.pause("evaluation"),
            progress.under_way("epoch 5/20  evaluating", 1000, heartbeat=hand.heartbeat) as task,
        ):
            hand.after(MINUTE)
            assert hand.beat() == "epoch 5/20  evaluating  0/1,000 images  for 60 s"
            task.advance(200)
            assert hand.beat() == (
                "epoch 5/20  evaluating  200/1,000 images  3.3 images/s  4 min left"
            )
            hand.after(9 * MINUTE)
        steps(hand, training, 10, 1.0, epoch=6)
        # 140 steps of a second, and three evaluations of ten minutes.
        assert hand.beat() == "epoch 6/20  step 60/200  loss 2.500  1 images/s  32 min left"


def test_what_takes_long_between_epochs_is_told_and_then_the_run_again(hand):
    with Progress(Budget(2, 10, 1), 0, heartbeat=hand.heartbeat) as training:
        steps(hand, training, 10, 1.0)
        with training.pause("refresh"), progress.under_way("refreshing", heartbeat=hand.heartbeat):
            hand.after(3 * MINUTE)
            assert hand.beat() == "refreshing  for 3 min"
        assert hand.beat().startswith("epoch 1/2  step 10/20")
        hand.after(MINUTE)
        assert "under way for 60 s" in hand.beat()


def test_a_complete_run_compiles_nothing_and_says_nothing_of_it(hand):
    with Progress(Budget(2, 10, 1), 20, heartbeat=hand.heartbeat):
        hand.after(MINUTE)
        assert hand.beat() == ""
    assert hand.lines == []


def test_a_process_that_does_not_lead_says_nothing(hand):
    with Progress(Budget(2, 10, 1), 0, shown=False, heartbeat=hand.heartbeat) as training:
        steps(hand, training, 5, 1.0)
        with progress.under_way("evaluating", 10, shown=False, heartbeat=hand.heartbeat):
            hand.after(MINUTE)
            assert hand.beat() == ""
        training.evaluated({}, 2)
    assert hand.lines == []


def test_the_thread_beats_by_itself_and_ends_with_the_last_job(monkeypatch):
    beats = threading.Semaphore(0)
    monkeypatch.setattr(progress, "say", lambda text, file=None: beats.release())
    heartbeat = progress.Heartbeat(interval=0.0)
    with progress.under_way("outer", heartbeat=heartbeat):
        with progress.under_way("inner", heartbeat=heartbeat):
            pass
        assert beats.acquire(timeout=30)
        assert beats.acquire(timeout=30)
        [thread] = [t for t in threading.enumerate() if t.name == "progress"]
    thread.join(timeout=30)
    assert not thread.is_alive()


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def fileno(self):
        return 2


@pytest.mark.parametrize(("columns", "shown"), [(80, True), (0, False)])
def test_a_terminal_has_a_bar_unless_it_has_no_width(monkeypatch, columns, shown):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    with Progress(Budget(2, 10, 1), 0) as training:
        training.advance(5, 1, 2.5)
        assert (training.line(MINUTE, 0.0) is None) == shown
    assert ("it/s" in terminal.getvalue() or "step/s" in terminal.getvalue()) == shown


def test_without_stderr_nothing_is_said(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(Budget(2, 10, 1), 0) as training:
        training.advance(5, 1, 2.5)


def in_a_notebook(monkeypatch):
    class ZMQInteractiveShell:
        pass

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("zmqshell"))


def test_a_notebook_without_widgets_gets_lines_and_no_warning(monkeypatch, capsys):
    in_a_notebook(monkeypatch)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for name in ("notebook", "autonotebook"):
        monkeypatch.delitem(sys.modules, f"tqdm.{name}", raising=False)
        monkeypatch.delattr(tqdm, name, raising=False)
    with Progress(Budget(2, 10, 1), 0):
        pass
    told = capsys.readouterr()
    # Notebooks show stderr in red.
    assert told.out == "compiling the step; a line comes every minute\n"
    assert told.err == ""


@pytest.mark.parametrize("broken", [False, True])
def test_a_notebook_with_widgets_gets_a_bar_and_lines_if_that_breaks(monkeypatch, capsys, broken):
    class Widget(tqdm.tqdm):
        def __init__(self, *args, **options):
            if broken:
                raise TypeError("no display")
            super().__init__(*args, file=sys.stdout, **options)

    in_a_notebook(monkeypatch)
    monkeypatch.setattr(progress, "_notebook_bar", lambda: Widget)
    with Progress(Budget(2, 10, 1), 0) as training:
        training.advance(5, 1, 2.5)
    told = capsys.readouterr().out
    assert ("a line comes every minute" in told) == broken
    assert ("5/20" in told) == (not broken)


class Gone(io.StringIO):
    def write(self, text):
        raise OSError(5, "Input/output error")


def test_a_console_that_is_gone_ends_no_run(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", Gone())
    evaluation = dict.fromkeys(console.ACCURACIES, 1.0) | {"per_class": [1.0]}
    with Progress(Budget(2, 10, 1), 0) as training:
        training.evaluated({"epoch": 1, "train": {"loss": 1.0}, "eval": evaluation}, 2)
    closed = io.StringIO()
    closed.close()
    progress.say("x", closed)


@pytest.mark.parametrize(
    ("done", "again", "text"),
    [
        (0, 0, "begins in /r"),
        (0, 7, "begins in /r anew: its 7 recorded steps were not saved in a checkpoint"),
        (20, 0, "goes on after step 20 of 40 (2 of 4 epochs done) from /r/c/20"),
        (
            20,
            10,
            "goes on after step 20 of 40 (2 of 4 epochs done) from /r/c/20; the 10 steps recorded "
            "after it are made anew",
        ),
        (
            23,
            0,
            "goes on after step 23 of 40 (2 of 4 epochs and 3 of the next one's 10 steps, "
            "192 images, done) from /r/c/23",
        ),
        (
            40,
            0,
            "the run in /r is complete, step 40 of 40 (4 of 4 epochs done); nothing is left to "
            "train: --mode=eval evaluates it, and more epochs or other data start from it by "
            "config.model.pretrained",
        ),
    ],
)
def test_a_run_says_where_it_begins_or_goes_on(done, again, text):
    saved = f"/r/c/{done}" if done else None
    assert standing("/r", Budget(4, 10, 64), done, again, saved) == text


def test_records_count_the_steps_that_were_lost(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {10 * n}, "epoch": {n}}}\n' for n in (1, 2, 3)))
    assert Records(path, step=10, epochs=1).dropped == 20
    assert Records(path, step=10, epochs=1).dropped == 0


@pytest.fixture
def pictures(tmp_path):
    for index in range(5):
        color = (40 * index, 0, 0)
        Image.new("RGB", (4, 4), color).save(tmp_path / f"{index}.png")
    images = FileImages(tmp_path, [f"{index}.png" for index in range(5)])
    return Split(images, np.zeros(5, np.int32), ("a",))


def test_verifying_and_packing_say_how_far_they_are(pictures, tmp_path, begun, capsys):
    verify_images({"train": pictures}, workers=0)
    # Packing was stopped after a whole shard of the training images, and again after its end.
    splits, packed = Splits(pictures, pictures.take(np.arange(2))), tmp_path / "packed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "write", _fail_at_the_manifest(packing.write))
        with pytest.raises(KeyboardInterrupt):
            packing.pack("p", splits, packed, shard_images=2)
    capsys.readouterr()
    packing.pack("p", splits, packed, shard_images=2)
    assert capsys.readouterr().err.startswith("goes on after 7 of 7 images, which lie in whole")
    packing.pack("p", splits, packed, shard_images=2)
    assert "is packed completely already; nothing is left to do" in capsys.readouterr().err
    assert begun[0].startswith("verifying  5/5 images  ")
    assert begun[1].startswith("packing  7/7 images  ")


def _fail_at_the_manifest(write):
    def failing(path, content):
        if path.name == packing.MANIFEST:
            raise KeyboardInterrupt
        write(path, content)

    return failing


def test_an_evaluation_counts_each_image_once_when_it_is_done():
    config = default.get_config()
    config.eval.batch_size, config.batch_size = 8, 8
    split = Split(np.zeros((20, 2, 2, 3), np.uint8), np.zeros(20, np.int32), ("a",))
    counts = []
    compute_on(split, lambda _: (np.zeros(8),), config, create_mesh(config), counts.append)
    assert counts == [8, 8, 4]
