"""The training loop."""

import contextlib
import pathlib
import time
from collections.abc import Iterator, Sequence

import jax
import ml_collections

from bccl_jax.classifier.starting import start, tell
from bccl_jax.data.fingerprint import fingerprint, warnings
from bccl_jax.data.photographs.decoding import Decoding
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import is_lead, speaks
from bccl_jax.devices.selftest import check_devices
from bccl_jax.errors import BrokenPicturesError, DataError
from bccl_jax.evaluation.beforehand import check_decodable
from bccl_jax.evaluation.saved import SavedEvaluation, evaluate_checkpoints
from bccl_jax.reporting import console
from bccl_jax.reporting.records import Records
from bccl_jax.system.interruption import Interrupted, StopSignal
from bccl_jax.system.progress import Task, under_way
from bccl_jax.tracking.callback import Callback
from bccl_jax.training.assemble import Run, assemble
from bccl_jax.training.epoch_end import EpochEnd, Observe
from bccl_jax.training.feeding import create_engine
from bccl_jax.training.first_stage import check_first_stage, check_images, check_noted, note
from bccl_jax.training.ledger import Ledger, position
from bccl_jax.training.results import Result, finish
from bccl_jax.training.starting_point import check_start
from bccl_jax.training.state import TrainState
from bccl_jax.training.telling import Machine, Telling
from bccl_jax.training.view_sheet import view_sheet
from bccl_jax.workdir import computed
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.going_back import check_going_back, go_back
from bccl_jax.workdir.room import check_room
from bccl_jax.workdir.skipped import SkippedImages

__all__ = [
    "Observe",
    "Result",
    "SavedEvaluation",
    "evaluate_checkpoints",
    "train_and_evaluate",
]


@usual()
def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    observe: Observe | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | None = None,
) -> Result:
    """Trains until `config.epochs` are complete, from the last checkpoint in `workdir` if any.

    Args:
      config: as `bccl_jax.config.get_config` documents it.
      workdir: a new directory, or that of a run of the very same config.
      observe: called after each evaluation, for measures of one's own.
      callbacks: told of the run beside `config.trackers`; what one raises ends the run.
      checkpoint: "last", "best" or a step to go on from; those after it, and damaged ones, are
        moved to the folder `set_aside` of the directory.

    Returns:
      The final state and its figures.

    Raises:
      BcclError: bad config, data or directory, or a device that computes wrong, before any
        training; or a loss that is not finite.
      Interrupted: a signal asked it to stop, after a checkpoint.
    """
    with under_way("preparing the run", shown=speaks()) as task:
        start(config)
        directory = Workdir(workdir)
        with directory.writing(), directory.locked():
            return _run(config, directory, observe, callbacks, checkpoint, task)


def _run(
    config: ml_collections.ConfigDict,
    directory: Workdir,
    observe: Observe | None,
    callbacks: Sequence[Callback],
    checkpoint: str | None,
    task: Task,
) -> Result:
    telling = Telling(config.trackers, callbacks)
    directory.check(config)
    check_going_back(directory, checkpoint)
    if not directory.has_checkpoint():
        check_start(config)
        check_first_stage(config)
    run = assemble(config)
    check_devices(run.mesh.local_devices)
    directory.check_classes(run.dataset)
    numbers = fingerprint(run.dataset)
    tell(directory.check_images(run.dataset, numbers), *warnings(run.dataset, numbers))
    if directory.has_checkpoint():
        check_noted(directory, run.classifier)
    else:
        check_images(run.config, run.dataset, numbers)
    evaluated = {part: split for part, split in run.dataset.splits.items() if part != "train"}
    decoding = Decoding.of(run.config)
    check_decodable(evaluated, numbers, run.config.data.max_broken, decoding)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(run.mesh))
        # Before the directory is made: the weights to start from may be missing.
        fresh = None if directory.has_checkpoint() else run.init_state()
        stack.enter_context(directory.claimed(config, run.config, run.dataset, numbers))
        if fresh is not None:
            note(directory, run.classifier)
        go_back(directory, checkpoint)
        check_room(directory.checkpoints, run.abstract_state)
        # Around the checkpoints, whose last one may still be on its way to the disk at the end.
        stop = stack.enter_context(StopSignal())
        checkpoints = stack.enter_context(Checkpoints(directory.checkpoints))
        if (saved := checkpoints.latest()) is not None:
            state, unfinished = checkpoints.restore(saved, run.abstract_state)
        else:
            state, unfinished = fresh or run.init_state(), {}
        # Of what comes after the last step, or after an interruption.
        task.what = "finishing the run"
        stack.enter_context(telling)
        # Before anyone is told of the end, for a network may be slow and a scheduler not wait.
        stack.callback(checkpoints.wait)
        result = _train(run, directory, checkpoints, stop, state, unfinished, observe, telling)
        telling.complete(result, directory.report)
        return result


def _train(
    run: Run,
    directory: Workdir,
    checkpoints: Checkpoints,
    stop: StopSignal,
    state: TrainState,
    unfinished: dict[str, list[float]],
    observe: Observe | None,
    telling: Telling,
) -> Result:
    config, steps = run.config, run.steps_per_epoch
    done = int(state.step)
    first_epoch, skip, unfinished = position(done, steps, unfinished)
    kept = checkpoints.records(done) if done else None
    records = Records(directory.records, done, first_epoch, writes=is_lead(), kept=kept)
    if records.mended:
        tell(
            f"{records.mended}: the records up to epoch {first_epoch} are taken from the "
            f"checkpoint of step {done}, and what was in their place is kept beside them"
        )
    budget = console.Budget(config.epochs, steps, config.batch_size)
    if is_lead():
        saved = directory.checkpoints / str(done) if done else None
        held_out = len(run.order.held_out)
        print(console.announcement(config, run.dataset, steps, held_out))
        standing = console.standing(directory.path, budget, done, records.dropped, saved)
        print(standing, flush=True)
        if done < config.epochs * steps:
            computed.note(directory.path, done)
    telling.begin(run, directory, records.rows, lambda: view_sheet(run, state))
    machine = Machine(config.batch_size, time.perf_counter)
    skipped = None
    if run.dataset.train.encoded:
        skipped = SkippedImages(
            directory.skipped,
            run.dataset.train.images,
            config.data.max_broken,
            writes=is_lead(),
            decoding=Decoding.of(config),
        )
    every = config.checkpoint.every_steps
    ends, evaluation = EpochEnd(run, directory, observe), None

    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(
            console.Progress(
                budget,
                done,
                ("starting the readers and " if run.dataset.train.encoded else "")
                + "compiling the step",
                {"refresh": ends.refreshed_after, "evaluation": ends.evaluated_after},
                shown=is_lead(),
            )
        )
        run_epoch = create_engine(run, done, checkpoints, stack)
        for epoch in range(first_epoch, config.epochs):
            started = time.perf_counter()
            machine.begin_epoch()
            stage = run.stages[run.stage_of(epoch)]
            if epoch == stage.start and not skip and stage.begin is not None:
                state = stage.begin(state)
            ledger = Ledger(epoch, epoch * steps, unfinished, skipped)
            try:
                for renewed, metrics in run_epoch(state, epoch, skip) if skip < steps else ():
                    state = renewed  # the old one's memory was donated
                    ledger.add(metrics)
                    progress.advance(ledger.newly_read, epoch + 1, ledger.last_loss)
                    machine.advance(ledger.newly_read)
                    checkpoints.check()
                    if skipped is not None:
                        skipped.check()
                    stopped = stop.reached(epoch * steps + ledger.steps)
                    if ledger.steps < steps and (stopped or (every and ledger.steps % every == 0)):
                        checkpoints.save(state, ledger.read_all(), records=records.text)
                        if stopped:
                            raise Interrupted(stopped, int(state.step))
                means = ledger.means()
                if skipped is not None:
                    skipped.check()
            except DataError as error:
                if stop.received or (_met_by_all(error) and int(state.step)):
                    checkpoints.save(state, ledger.read_all(), records=records.text)
                # A reader may have been ended by whoever asked this run to stop.
                if stop.received:
                    raise Interrupted(stop.received, int(state.step)) from None
                raise
            progress.advance(ledger.newly_read, epoch + 1, ledger.last_loss)
            machine.advance(ledger.newly_read)
            figures = machine.figures()
            unfinished, skip = {}, 0

            complete = epoch + 1
            record = {"epoch": complete, "step": complete * steps, "train": means}
            if len(run.stages) > 1:
                record["stage"] = run.stage_of(epoch) + 1
            if quarters := ledger.quarters(run.method.fine_metrics):
                record["quarters"] = quarters
            with _saved_if_it_fails(checkpoints, state, ledger, records):
                state, refreshed = ends.refresh(state, complete, progress.pause)
                record |= refreshed | {"seconds": round(time.perf_counter() - started, 3)}
                evaluation, evaluated = ends.evaluate(state, complete, progress.pause)
            if evaluated:
                record |= evaluated
                progress.evaluated(record, config.epochs)
            records.append(record)
            telling.epoch(record, figures)
            if evaluated or stop.received or complete % config.checkpoint.every_epochs == 0:
                score = ends.score(evaluation, complete)
                checkpoints.save(state, {}, score, records.text)
            if stop.received and complete < config.epochs:
                raise Interrupted(stop.received, int(state.step))
    return finish(run, directory, checkpoints, state, records.rows, evaluation)


@contextlib.contextmanager
def _saved_if_it_fails(
    checkpoints: Checkpoints, state: TrainState, ledger: Ledger, records: Records
) -> Iterator[None]:
    """Keeps an epoch whose end fails on pictures: once they are mended its end is made anew."""
    try:
        yield
    except DataError as error:
        if _met_by_all(error):
            checkpoints.save(state, ledger.read_all(), records=records.text)
        raise


def _met_by_all(error: DataError) -> bool:
    """Whether every process of the run meets an error, so that all of them save a checkpoint."""
    return isinstance(error, BrokenPicturesError) or jax.process_count() == 1
