"""What --mode=estimate says: what was measured, and what follows from it for the whole run."""

import json
import pathlib

import ml_collections

from bccl_jax.reporting.console import wrapped
from bccl_jax.system.progress import duration, rate
from bccl_jax.system.space import told
from bccl_jax.training.cost import Cost, StageCost
from bccl_jax.training.estimating import estimate
from bccl_jax.use.output import file_to_write, write_whole


def run(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, output: str | None, overwrite: bool
) -> int:
    """Estimates a run and says so.

    Args:
      config: of the run.
      workdir: where it would lie.
      output: a JSON file for all figures; None for none.
      overwrite: whether a file that is there may be lost.

    Returns:
      The exit code.

    Raises:
      BcclError: as of a training; or the file cannot be written.
    """
    path = None if output is None else file_to_write(output, (".json",), overwrite)
    cost = estimate(config, workdir)
    print(as_text(cost))
    if path is not None:
        write_whole(path, (json.dumps(cost.record(), indent=2) + "\n").encode())
        print(f"\nfigures      {path}")
    return 0


def as_text(cost: Cost) -> str:
    """An estimate for people."""
    on = f"{cost.devices} x {cost.device}" if cost.devices > 1 else cost.device
    head = (
        f"{cost.training_images:,} training images of {cost.classes:,} classes, {cost.epochs:,} "
        f"epochs of {cost.steps_per_epoch:,} steps, batch {cost.batch_size:,}; on {on}, "
        f"{cost.cores} cores"
    )
    parts = [wrapped(head), _table("time", _times(cost)), _table("memory", _memory(cost))]
    parts += [_table("disk", _disk(cost)), wrapped(_how(cost))]
    return "\n\n".join(parts)


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join([title, *(f"  {name:<{width}}{value}" for name, value in rows)])


def _times(cost: Cost) -> list[tuple[str, str]]:
    rows = [("before the first step", _brief(cost.start_seconds))]
    for number, stage in enumerate(cost.stages, 1):
        which = f", stage {number}" if len(cost.stages) > 1 else ""
        rows += [
            (f"a step{which}", _step(cost, stage)),
            (f"an epoch{which}", _brief(cost.step_seconds(stage) * cost.steps_per_epoch)),
        ]
        if which:
            epochs = _number(stage.epochs, "epoch", "epochs") + which
            rows.append((epochs, _brief(cost.stage_seconds(stage))))
    if cost.reading is not None:
        reading = cost.reading
        readers = _number(reading.readers, "process", "processes")
        how = readers if reading.readers else "threads"
        speed = rate(reading.images_per_second, "image")
        rows.append(("reading", f"{speed} by {how} (measured on {reading.measured:,} images)"))
    evaluation = cost.evaluation
    rows.append(
        (
            _number(evaluation.times, "evaluation", "evaluations"),
            f"{_brief(cost.evaluation_seconds)} each, {evaluation.images:,} images (measured on "
            f"{evaluation.measured:,})",
        )
    )
    if cost.refresh is not None:
        how = "measured"
        if cost.refresh.images:
            how = f"at least: {cost.refresh.images:,} images at the speed of an evaluation"
        refreshes = _number(cost.refresh.times, "refresh", "refreshes")
        rows.append((refreshes, f"{_brief(cost.refresh.seconds)} each ({how})"))
    return [*rows, ("the whole run", f"about {_brief(cost.seconds)}")]


def _step(cost: Cost, stage: StageCost) -> str:
    whole, computed = _brief(cost.step_seconds(stage)), _brief(stage.step_seconds)
    how = f"(median of {stage.measured})"
    if cost.reading is None:
        return f"{whole} {how}"
    parts = f"{computed} computed {how}", f"{_brief(cost.reading_seconds)} to read its images"
    if cost.shares_cores:
        return f"{whole}: {' + '.join(parts)}"
    return f"{whole}, the longer of {' and '.join(parts)}"


def _memory(cost: Cost) -> list[tuple[str, str]]:
    memory = max((stage.memory for stage in cost.stages), key=lambda m: m.temporaries)
    where = "of the machine" if cost.shares_cores else "of a device"
    there = f" of {told(cost.device_bytes)}" if cost.device_bytes else ""
    rows = [
        ("state", f"{told(memory.state)}: parameters, optimizer, the method's own"),
        ("temporaries of a step", f"{told(memory.temporaries)}, as the compiler counts them"),
    ]
    if memory.batch:
        rows.append(("a batch", told(memory.batch)))
    if cost.resident_bytes:
        rows.append(("images on the device", told(cost.resident_bytes)))
    rows.append(("together", f"{told(cost.memory_bytes)}{there} {where if there else ''}".strip()))
    if cost.device_peak_bytes is not None:
        rows.append(("peak here", f"{told(cost.device_peak_bytes)} on a device, measured"))
    rows.append(("this process", f"{told(cost.host_peak_bytes)} at most, measured"))
    if cost.reading is not None and cost.reading.shared_bytes:
        rows.append(("shared memory", f"{told(cost.reading.shared_bytes)} for the readers"))
    return rows


def _disk(cost: Cost) -> list[tuple[str, str]]:
    disk = cost.disk
    free = "" if disk.free is None else f"; {told(disk.free)} are free"
    most = f"{told(disk.checkpoint)} each, {disk.checkpoints} at most{free}"
    rows = [("checkpoints", most)]
    if disk.packed is not None:
        rows.append(("--mode=pack", f"about {told(disk.packed)}, by the mean of some pictures"))
    return rows


def _how(cost: Cost) -> str:
    words = (
        "Measured: medians, and what says so. Inferred: the rest, by multiplying. Not counted: "
        "starting Python, checkpoints, which are written beside the steps, and what else the "
        "machine does."
    )
    if cost.reading is not None and cost.shares_cores:
        words += " Readers and steps share the cores here, so that their times are added up."
    return words


def _number(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _brief(seconds: float) -> str:
    """Seconds to two digits or so, however few they are."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.00995 else f"{1000 * seconds:.0f} ms"
    return f"{seconds:.2g} s" if seconds < 9.95 else duration(seconds)
