"""The training loop."""

import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from bccl_jax.classifier.starting import start, tell
from bccl_jax.data.feeding.pipeline import read_batches
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.data.feeding.stream import TrainingStream
from bccl_jax.data.fingerprint import fingerprint, warnings
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.data.split import Split
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import is_lead, local_rows, replicated, speaks
from bccl_jax.devices.selftest import check_devices
from bccl_jax.errors import ConfigError, DataError
from bccl_jax.evaluation.embed import make_embed
from bccl_jax.evaluation.evaluate import Evaluation, readers_need
from bccl_jax.evaluation.metrics import sparse_counts
from bccl_jax.evaluation.saved import SavedEvaluation, evaluate_checkpoints
from bccl_jax.evaluation.told import evaluate_split
from bccl_jax.methods.base import Between
from bccl_jax.reporting import console
from bccl_jax.reporting.plots import save_report
from bccl_jax.reporting.records import Records, as_json
from bccl_jax.reporting.tensorboard import TensorBoard
from bccl_jax.system.interruption import Interrupted, StopSignal
from bccl_jax.system.progress import Task, under_way
from bccl_jax.training import engine
from bccl_jax.training.assemble import Run, assemble
from bccl_jax.training.averages import average_record, final_averages
from bccl_jax.training.ledger import Ledger
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.skipped import SkippedImages

__all__ = [
    "Observe",
    "Result",
    "SavedEvaluation",
    "evaluate_checkpoints",
    "train_and_evaluate",
]

# observe(run, state, epoch) -> what to add to that epoch's record, as JSON values.
Observe = Callable[[Run, TrainState, int], dict[str, Any]]

# Streams of the run's key beside the steps', which fold in the step itself.
_REFRESH_STREAM = 0x7EF12E54


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
      state: after the last step.
      last: the last epoch's evaluation, on the test split.
      best: the best epoch's evaluation; not a fair figure where it was chosen on the test set.
      best_epoch: that epoch.
      chosen_on: the split that the best epoch was chosen on, "test" or "validation".
      records: one for each epoch.
      class_counts: int [K], training images of each class.
      class_names: K names.
      correct: bool [n], whether the state predicts each decoded image of the test split right.
      decoded: bool [N], which images of the test split these are.
      workdir: where everything lies.
      ema: the figures of the averaged weights in the last epoch and in the best one of the raw
        weights, by "last" and "best"; empty without `config.optimizer.ema`.
    """

    state: TrainState
    last: dict[str, Any]
    best: dict[str, Any]
    best_epoch: int
    chosen_on: str
    records: list[dict[str, Any]]
    class_counts: np.ndarray
    class_names: tuple[str, ...]
    correct: np.ndarray
    decoded: np.ndarray
    workdir: pathlib.Path
    ema: dict[str, dict[str, Any]]


@usual()
def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    observe: Observe | None = None,
) -> Result:
    """Trains until `config.epochs` are complete, from the last checkpoint in `workdir` if any.

    Args:
      config: as `bccl_jax.config.get_config` documents it.
      workdir: a new directory, or that of a run of the very same config.
      observe: called after each evaluation, for measures of one's own.

    Returns:
      The final state and its figures.

    Raises:
      BcclError: bad config, data or directory, or a device that computes wrong, before any
        training; or a loss that is not finite.
      Interrupted: a signal asked it to stop, after a checkpoint.
    """
    with under_way("preparing the run", shown=speaks()) as task:
        return _run(config, Workdir(workdir), observe, task)


def _run(
    config: ml_collections.ConfigDict, directory: Workdir, observe: Observe | None, task: Task
) -> Result:
    start(config)
    directory.check(config)
    run = assemble(config)
    check_devices(run.mesh.local_devices)
    directory.check_classes(run.dataset)
    numbers = fingerprint(run.dataset)
    tell(directory.check_images(run.dataset, numbers), *warnings(run.dataset, numbers))
    with contextlib.ExitStack() as stack:
        stack.enter_context(directory.writing())
        stack.enter_context(jax.set_mesh(run.mesh))
        # Before the directory is made: the weights to start from may be missing.
        fresh = None if directory.has_checkpoint() else run.init_state()
        stack.enter_context(directory.claimed(config, run.config, run.dataset, numbers))
        # Around the checkpoints, whose last one may still be on its way to the disk at the end.
        stop = stack.enter_context(StopSignal())
        checkpoints = stack.enter_context(Checkpoints(directory.checkpoints))
        if (saved := checkpoints.latest()) is not None:
            state, unfinished = checkpoints.restore(saved, run.abstract_state)
        else:
            state, unfinished = fresh or run.init_state(), {}
        # Of what comes after the last step, or after an interruption.
        task.what = "finishing the run"
        return _train(run, directory, checkpoints, stop, state, unfinished, observe)


def _train(
    run: Run,
    directory: Workdir,
    checkpoints: Checkpoints,
    stop: StopSignal,
    state: TrainState,
    unfinished: dict[str, list[float]],
    observe: Observe | None,
) -> Result:
    config, steps = run.config, run.steps_per_epoch
    done = int(state.step)
    first_epoch, skip = divmod(done, steps)
    records = Records(directory.records, done, first_epoch, writes=is_lead())
    budget = console.Budget(config.epochs, steps, config.batch_size)
    if is_lead():
        saved = directory.checkpoints / str(done) if done else None
        print(console.announcement(config, run.dataset, steps))
        standing = console.standing(directory.path, budget, done, records.dropped, saved)
        print(standing, flush=True)
    board = TensorBoard(directory.tensorboard, first_epoch) if is_lead() else None
    skipped = None
    if run.dataset.train.encoded:
        skipped = SkippedImages(
            directory.skipped, run.dataset.train.images, config.data.max_broken, writes=is_lead()
        )
    every = config.checkpoint.every_steps
    evaluation = None

    features = _create_features(run)

    def evaluated_after(epoch):
        return epoch == config.epochs or epoch % config.eval.every_epochs == 0

    def refreshed_after(epoch):
        return run.method.refresh_due(epoch, config.epochs)

    # The order of an epoch's end is part of what makes a resumed run exact: refresh, evaluate,
    # log, and only then save, so that a checkpoint of a complete epoch leaves nothing to redo.
    with contextlib.ExitStack() as stack:
        if board is not None:
            stack.callback(board.close)
        progress = stack.enter_context(
            console.Progress(
                budget,
                done,
                ("starting the readers and " if run.dataset.train.encoded else "")
                + "compiling the step",
                {"refresh": refreshed_after, "evaluation": evaluated_after},
                shown=is_lead(),
            )
        )
        run_epoch = _create_engine(run, done, checkpoints, stack)
        for epoch in range(first_epoch, config.epochs):
            started = time.perf_counter()
            stage = run.stages[run.stage_of(epoch)]
            if epoch == stage.start and not skip and stage.begin is not None:
                state = stage.begin(state)
            ledger = Ledger(epoch, epoch * steps, unfinished, skipped)
            try:
                for renewed, metrics in run_epoch(state, epoch, skip):
                    state = renewed  # the old one's memory was donated
                    ledger.add(metrics)
                    progress.advance(ledger.newly_read, epoch + 1, ledger.last_loss)
                    stopped = stop.reached(epoch * steps + ledger.steps)
                    if ledger.steps < steps and (stopped or (every and ledger.steps % every == 0)):
                        checkpoints.save(state, ledger.read_all())
                        if stopped:
                            raise Interrupted(stopped, int(state.step))
            except DataError:
                # A reader may have been ended by whoever asked this run to stop.
                if not stop.received:
                    raise
                checkpoints.save(state, ledger.read_all())
                raise Interrupted(stop.received, int(state.step)) from None
            means = ledger.means()
            progress.advance(ledger.newly_read, epoch + 1, ledger.last_loss)
            unfinished, skip = {}, 0

            complete = epoch + 1
            where = f"epoch {complete}/{config.epochs}"
            record = {"epoch": complete, "step": complete * steps, "train": means}
            if len(run.stages) > 1:
                record["stage"] = run.stage_of(epoch) + 1
            if quarters := ledger.quarters(run.method.fine_metrics):
                record["quarters"] = quarters
            if refreshed_after(complete):
                key = jax.random.fold_in(jax.random.fold_in(state.key, _REFRESH_STREAM), complete)
                refreshing = under_way(f"{where}  refreshing the method's state", shown=is_lead())
                with progress.pause("refresh"), refreshing:
                    between = Between(complete, config.epochs, state.params, features(state))
                    method_state, record["refresh"] = run.method.refresh(state.method, key, between)
                state = state.replace(method=method_state)
            record["seconds"] = round(time.perf_counter() - started, 3)
            last = complete == config.epochs
            evaluated = evaluated_after(complete)
            if evaluated:
                with progress.pause("evaluation"):
                    evaluation = _evaluate(
                        run, directory, state, run.dataset.monitored, f"{where}  "
                    )
                    averages = average_record(run, state, run.dataset.monitored, f"{where}  ")
                record |= {"eval": evaluation.record(), **averages}
                if observe is not None:
                    observing = under_way(f"{where}  measuring", shown=is_lead())
                    with progress.pause("observation"), observing:
                        record |= observe(run, state, complete)
                if last:
                    record["confusion"] = sparse_counts(evaluation.confusion)
                progress.evaluated(record, config.epochs)
            records.append(record)
            if board is not None:
                board.write(record)
            if evaluated or stop.received or complete % config.checkpoint.every_epochs == 0:
                metrics = None
                if evaluated:
                    metrics = {"accuracy": record["eval"]["all"], "epoch": complete}
                    # An epoch whose pictures could not be read is not better for want of a class.
                    metrics["lost_classes"] = _lost_classes(run.dataset.monitored, evaluation)
                checkpoints.save(state, {}, metrics)
            if stop.received and not last:
                raise Interrupted(stop.received, int(state.step))
    return _finish(run, directory, checkpoints, state, records.rows, evaluation)


def _create_engine(
    run: Run, done: int, checkpoints: Checkpoints, stack: contextlib.ExitStack
) -> engine.RunEpoch:
    config, train = run.config, run.dataset.train
    where = (run.mesh, run.state_shardings)
    if config.data.resident and not train.encoded:
        resident = put_on_device(train, replicated(run.mesh))
        automatic = "loop" if jax.default_backend() == "cpu" else "scan"
        kinds = {"loop": engine.looped, "scan": engine.scanned}
        kind = kinds[automatic if config.engine == "auto" else config.engine]
        return engine.staged(
            run.stage_of,
            [
                functools.partial(kind, stage.train_step, resident, run.order, *where)
                for stage in run.stages
            ],
        )
    rows = local_rows(config.batch_size)
    stream = TrainingStream(
        train.images,
        run.order,
        config.epochs,
        rows,
        first_step=done,
        crops=run.crops,
        size=config.augment.size,
        background=config.data.background,
    )
    workers = config.data.workers if train.encoded else 0
    evaluation = readers_need(run.dataset.monitored, config, run.mesh)
    batches = read_batches(stream, len(rows), workers, config.data.threads, evaluation)
    stack.callback(batches.close)
    # Before that, for readers take a while to end and a scheduler may not wait for them.
    stack.callback(checkpoints.wait)
    return engine.staged(
        run.stage_of,
        [
            functools.partial(engine.fed, stage.train_step, batches, run.steps_per_epoch, *where)
            for stage in run.stages
        ],
    )


def _create_features(run: Run) -> Callable[[TrainState], Callable]:
    """What a method may compute of a split between epochs; see `Between.features`."""
    embed = make_embed(run.classifier)
    splits = run.dataset.by_role

    def features(state):
        def of(role):
            if role not in splits:
                raise ConfigError(f"{run.config.data.name} has no {role} split")
            return tuple(embed(state, splits[role]))

        return of

    return features


def _evaluate(
    run: Run, directory: Workdir, state: TrainState, split: Split, where: str = ""
) -> Evaluation:
    """Evaluates a split and keeps in mind which of its pictures cannot be decoded."""
    note = functools.partial(directory.note_broken, run.dataset, split)
    return evaluate_split(run.classifier, state, split, where, note)


def _lost_classes(split: Split, evaluation: Evaluation) -> int:
    """Classes of which no picture could be decoded."""
    return len(np.unique(split.labels)) - evaluation.classes_tested["all"]


def _finish(
    run: Run,
    directory: Workdir,
    checkpoints: Checkpoints,
    state: TrainState,
    records: list[dict],
    evaluation: Evaluation | None,
) -> Result:
    settings = run.config.eval
    best_step = checkpoints.best()
    best = next(record for record in records if record["step"] == best_step)
    if evaluation is None or run.dataset.validation is not None:
        # Of a run that was complete already; or one whose choice was made on the validation split,
        # so that the test split is looked at once, now.
        evaluation = _evaluate(run, directory, state, run.dataset.test)
    figures = {"last": evaluation.record(), "best": best["eval"]}
    if best_step == records[-1]["step"]:
        figures["best"] = figures["last"]
    elif run.dataset.validation is not None:
        chosen, _ = checkpoints.restore(best_step, run.abstract_state)
        chosen = evaluate_split(run.classifier, chosen, run.dataset.test, "best epoch  ")
        figures["best"] = chosen.record()
    result = Result(
        state=state,
        **figures,
        best_epoch=best["epoch"],
        chosen_on=run.dataset.chosen_on,
        records=records,
        class_counts=run.class_counts,
        class_names=run.dataset.train.class_names,
        correct=evaluation.correct,
        decoded=evaluation.decoded,
        workdir=directory.path,
        ema=final_averages(run, checkpoints, state, records, best),
    )
    if is_lead():
        groups = shot_groups(run.class_counts, settings.many_above, settings.few_below)
        title = f"{run.config.method.name} on {run.config.data.name}, seed {run.config.seed}"
        save_report(directory.report, records, run.class_counts, groups, title)
        results = {**figures, "best_epoch": result.best_epoch, "chosen_on": result.chosen_on}
        results |= {"ema": result.ema} if result.ema else {}
        directory.results.write_text(as_json(results) + "\n")
    return result
