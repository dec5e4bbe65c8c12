"""What a step of each method costs beside cross-entropy's: python -m benchmarks.methods.

Each method trains over the same random images by the harness's recipe, in one process; rounds of a
few steps of each follow each other, so that a machine that is shared slows all of them alike. A
method of several stages is timed in each, and its cost is the mean over its epochs. What a method
does between epochs, as the k-means of BCCL, is not part of a step, and CUDA has all classes at
level 0. The page docs/methods.md shows what these files have:

    python -m benchmarks.methods --json=docs/records/step_cost_full.json
    python -m benchmarks.methods --config=configs/cifar100_small.py --classes=20 --side=16 \
        --steps=20 --json=docs/records/step_cost_small.json
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any

import jax

from bccl_jax import methods
from bccl_jax.data.feeding.resident import put_on_device
from bccl_jax.devices.mesh import replicated
from bccl_jax.training import engine
from bccl_jax.training.assemble import Run
from benchmarks import recipe
from benchmarks.common import in_turn, parser, report
from benchmarks.epoch import Epoch

REFERENCE = "cross_entropy"


def stages(run: Run, steps: int) -> dict[int, Callable[[], Any]]:
    """The stages of a run, each a function that trains so many steps at the stage's end.

    Args:
      run: whose stages they are.
      steps: of each call.

    Returns:
      Functions without arguments, by the stage's number.
    """
    data = put_on_device(run.dataset.train, replicated(run.mesh))
    state = recipe.after_warmup(run.init_state(), jax.random.key(1))
    found = {}
    for number, stage in enumerate(run.stages):
        if stage.begin is not None:
            state = stage.begin(state)
        # A loss that changes within its stage does so before its last epoch.
        last = stage.start + stage.epochs - 1
        at = state.replace(step=state.step * 0 + last * run.steps_per_epoch)

        def order(epoch, last=last):
            del epoch
            return run.order(last)[:steps]

        steps_of = engine.looped(stage.train_step, data, order, run.mesh, run.state_shardings)
        found[number] = Epoch(steps_of, recipe.copied(at))
    return found


def costs(
    runs: dict[str, Run], found: dict[tuple[str, int], float], steps: int
) -> list[dict[str, Any]]:
    """Rows of the figures: seconds a step and their ratio to the reference's.

    Args:
      runs: by method.
      found: seconds of so many steps, by method and stage.
      steps: of each.

    Returns:
      A row for each method.
    """
    seconds = {
        name: sum(
            stage.epochs * found[name, number] / steps for number, stage in enumerate(run.stages)
        )
        / sum(stage.epochs for stage in run.stages)
        for name, run in runs.items()
    }
    return [
        {
            "method": name,
            "seconds a step": value,
            "to cross_entropy": value / seconds[REFERENCE],
            "stages": len(runs[name].stages),
            "streams": 1 + len(runs[name].method.streams),
            "views": len(runs[name].method.views),
        }
        for name, value in seconds.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one method a row."""
    flags = parser(__doc__, "methods")
    recipe.add_flags(flags)
    flags.add_argument("--steps", type=int, default=2, help="of each method in a round (2)")
    flags.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=methods.names(),
        help="separated by commas; cross_entropy is always one (all)",
    )
    flags.set_defaults(repeats=5)
    options = flags.parse_args(argv)
    runs, timed = {}, {}
    for name in dict.fromkeys([REFERENCE, *options.methods]):
        options.method = name
        run = recipe.assemble(
            recipe.config_of(options),
            classes=options.classes,
            largest=options.largest,
            side=options.side,
        )
        runs[name] = run
        for number, function in stages(run, options.steps).items():
            timed[name, number] = function
    gc.collect()
    found = in_turn(timed, options.repeats)
    settings = {**recipe.settings(runs[REFERENCE]), "steps": options.steps}
    for of_one in ("method", "views"):
        settings.pop(of_one)
    report(costs(runs, found, options.steps), settings, options.json)


if __name__ == "__main__":
    main()
