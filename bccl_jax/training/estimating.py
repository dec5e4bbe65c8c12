"""`--mode=estimate`: measures some steps of a run, so as to tell what all of it takes.

The run is the one that training would make, over its own images; nothing is written.
"""

import contextlib
import pathlib
import resource
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bccl_jax.classifier.starting import start
from bccl_jax.data.feeding.pipeline import processes, read_batches, shared_bytes
from bccl_jax.data.feeding.resident import ResidentSplit, put_on_device
from bccl_jax.data.split import Split
from bccl_jax.devices.computed_on import computed_on
from bccl_jax.devices.jax_settings import usual
from bccl_jax.devices.mesh import local_rows, put, replicated, split_over
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.evaluate import evaluate
from bccl_jax.evaluation.over_split import AS_EVALUATED, Reading, batch_of
from bccl_jax.system.progress import under_way
from bccl_jax.system.space import free
from bccl_jax.training.assemble import Run, RunStage, assemble
from bccl_jax.training.between import Passes
from bccl_jax.training.cost import (
    Cost,
    Disk,
    EvaluationCost,
    ReadingCost,
    RefreshCost,
    StageCost,
    StepMemory,
)
from bccl_jax.training.engine import compile_step, put_rows, scan_of
from bccl_jax.training.epoch_end import evaluation_due
from bccl_jax.training.feeding import engine_kind, reader_processes, training_stream
from bccl_jax.training.first_stage import check_first_stage
from bccl_jax.training.memory import bytes_on_device, device_memory
from bccl_jax.training.starting_point import check_start
from bccl_jax.training.state import TrainState
from bccl_jax.workdir.room import AT_MOST, size_of

# Seconds in which steps are measured, and images read; and how many steps there are at most.
PATIENCE, MOST = 3.0, 20
# Steps of one program where an epoch is one.
_SCANNED = 10
# Pictures whose sizes stand for those of all.
_SAMPLED = 100


@usual()
def estimate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Cost:
    """Measures what a run takes.

    Args:
      config: of the run, as for a training.
      workdir: where it would lie; nothing is written there.

    Returns:
      What was measured.

    Raises:
      BcclError: as of a training.
    """
    begun = time.perf_counter()
    start(config)
    if jax.process_count() > 1:
        raise ConfigError("--mode=estimate is for one process; start it without the others")
    check_start(config)
    check_first_stage(config)
    run = assemble(config)
    with jax.set_mesh(run.mesh), under_way("measuring"):
        state = run.init_state()
        prepared = time.perf_counter() - begun
        reading, batch = _reading(run) if engine_kind(run) == "fed" else (None, None)
        resident = None
        if reading is None:
            resident = put_on_device(run.dataset.train, replicated(run.mesh))
        stages = []
        for stage in run.stages:
            if stage.begin is not None:
                state = stage.begin(state)
            cost, state = _stage(run, stage, state, resident, batch)
            stages.append(cost)
        evaluation = _evaluation(run, state)
        refresh = _refresh(run, state, evaluation)
    on, held = computed_on(), [device.memory_stats() for device in run.mesh.local_devices]
    peaks = [stats["peak_bytes_in_use"] for stats in held if stats and "peak_bytes_in_use" in stats]
    return Cost(
        device=on.device,
        devices=run.mesh.size,
        cores=on.cores,
        shares_cores=jax.default_backend() == "cpu",
        classes=len(run.class_counts),
        training_images=len(run.order.trained),
        batch_size=run.config.batch_size,
        steps_per_epoch=run.steps_per_epoch,
        preparing_seconds=prepared,
        stages=tuple(stages),
        reading=reading,
        evaluation=evaluation,
        refresh=refresh,
        resident_bytes=sum(leaf.nbytes for leaf in jax.tree.leaves(resident)),
        device_bytes=device_memory(),
        device_peak_bytes=max(peaks, default=None),
        host_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        disk=_disk(run, workdir),
    )


def _reading(run: Run) -> tuple[ReadingCost, dict[str, jax.Array]]:
    """What the readers bring, and a batch of theirs on the devices."""
    stream, rows = training_stream(run, 0), len(local_rows(run.order.rows))
    workers = reader_processes(run)
    begun = time.perf_counter()
    batches = read_batches(stream, rows, workers, run.config.data.threads)
    with contextlib.closing(batches):
        batch = next(batches)
        first, number = time.perf_counter(), 0
        # What lies ready behind the first batch is soon read.
        for _ in batches:
            number += 1
            if time.perf_counter() - first >= PATIENCE:
                break
        seconds = time.perf_counter() - first
    if not number:  # the only batch
        number, seconds = 1, first - begun
    cost = ReadingCost(
        images_per_second=number * rows / seconds,
        measured=number * rows,
        start_seconds=first - begun,
        readers=processes(workers, len(stream) // rows),
        shared_bytes=shared_bytes(stream, rows, workers),
    )
    seen = {name: batch[name] for name in ("image", "label", "index")}
    return cost, put(seen, split_over(run.mesh))


def _stage(
    run: Run,
    stage: RunStage,
    state: TrainState,
    resident: ResidentSplit | None,
    batch: dict[str, jax.Array] | None,
) -> tuple[StageCost, TrainState]:
    """Compiles the program of a stage, and measures some steps after the first one."""
    kind, mesh, shardings = engine_kind(run), run.mesh, run.state_shardings
    order = run.order(stage.start)[: _SCANNED if kind == "scan" else MOST + 1]
    per_call = len(order) if kind == "scan" else 1
    program = scan_of(stage.train_step) if kind == "scan" else stage.train_step
    gather = jax.jit(ResidentSplit.batch)

    def arguments(number: int) -> tuple:
        if kind == "fed":
            return (batch,)
        if kind == "scan":
            return resident, put_rows(order, mesh, axis=1)
        return (gather(resident, put_rows(order[number % len(order)], mesh)),)

    begun = time.perf_counter()
    lowered = compile_step(program, mesh, shardings).lower(state, *arguments(0))
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - begun
    seconds, state = _times(compiled, state, arguments)
    needs = compiled.memory_analysis()
    memory = StepMemory(
        state=bytes_on_device(run.abstract_state, shardings),
        temporaries=needs.temp_size_in_bytes,
        batch=0 if batch is None else sum(x.nbytes for x in batch.values()) // mesh.size,
        program=needs.generated_code_size_in_bytes,
    )
    measured = len(seconds) * per_call
    step_seconds = statistics.median(seconds) / per_call
    return StageCost(stage.epochs, step_seconds, measured, compile_seconds, memory), state


def _times(
    compiled: Callable, state: TrainState, arguments: Callable
) -> tuple[list[float], TrainState]:
    """Seconds of calls after the first one, three at least."""
    seconds, began = [], time.perf_counter()
    for number in range(MOST + 1):
        begun = time.perf_counter()
        state, metrics = compiled(state, *arguments(number))
        jax.block_until_ready((state, metrics))
        if number:
            seconds.append(time.perf_counter() - begun)
        if len(seconds) >= 3 and time.perf_counter() - began > PATIENCE:
            break
    return seconds, state


def _evaluation(run: Run, state: TrainState) -> EvaluationCost:
    """Some images of the split that the run is watched on, or as many that are as large."""
    split, config = run.dataset.monitored, run.config
    size, _ = batch_of(split, config, run.mesh, AS_EVALUATED)
    number = min(len(split), 2 * size)
    chosen = np.linspace(0, len(split) - 1, number).astype(int)
    if split.encoded:
        images = np.zeros((number, *run.classifier.image_shape), np.uint8)
        some = Split(images, split.labels[chosen], split.class_names)
    else:
        some = split.take(chosen)
    first, seconds = _twice(
        lambda: evaluate(run.classifier, state, some, reading=Reading(of=len(split)))
    )
    times = sum(evaluation_due(config, epoch + 1) for epoch in range(config.epochs))
    # Of a run that is watched on a validation split, the test split is looked at in the end.
    times += 0 if run.dataset.validation is None else 2
    times *= 2 if config.optimizer.ema else 1
    return EvaluationCost(seconds * len(split) / number, first, len(split), number, times)


def _twice(compute: Callable) -> tuple[float, float]:
    """Seconds that something takes longer the first time, when it compiles, and the second time."""
    found = []
    for _ in range(2):
        begun = time.perf_counter()
        jax.block_until_ready(compute())
        found.append(time.perf_counter() - begun)
    return max(found[0] - found[1], 0.0), found[1]


class _Computes(Exception):
    """What a method would compute between epochs."""

    def __init__(self, images: int):
        super().__init__(images)
        self.images = images


def _refresh(run: Run, state: TrainState, evaluation: EvaluationCost) -> RefreshCost | None:
    """One refresh, unless it begins with a pass over images."""
    method, epochs = run.method, run.config.epochs
    due = [epoch for epoch in range(1, epochs + 1) if method.refresh_due(epoch, epochs)]
    if not due:
        return None
    between = Passes(run).between(state, due[0])

    def compute(forward, role="train", *, indices=None, **options):
        del forward, options
        raise _Computes(len(between.labels(role)) if indices is None else len(indices))

    asked = between._replace(
        features=lambda role: compute(None, role),
        compute=compute,
    )

    def refresh():
        return method.refresh(jax.tree.map(jnp.copy, state.method), jax.random.key(0), asked)[0]

    try:
        first, seconds = _twice(refresh)
    except _Computes as found:
        rate = evaluation.seconds / evaluation.images
        return RefreshCost(found.images * rate, 0.0, found.images, len(due))
    return RefreshCost(seconds, first, 0, len(due))


def _disk(run: Run, workdir: pathlib.Path) -> Disk:
    try:
        there, _ = free(workdir.absolute())
    except OSError:
        there = None
    packed = None
    if run.dataset.train.encoded and run.config.data.source != "packed":
        with contextlib.suppress(OSError):
            packed = sum(_bytes_of(split) for split in run.dataset.splits.values())
    return Disk(size_of(run.abstract_state), AT_MOST, there, packed)


def _bytes_of(split: Split) -> int:
    """Of the files of photographs, by the mean of some."""
    chosen = np.unique(np.linspace(0, len(split) - 1, _SAMPLED).astype(int))
    return round(len(split) * np.mean([len(split.images[int(i)]) for i in chosen]))
