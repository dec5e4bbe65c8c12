"""The command line: flags, the environment that must be set before JAX starts, one dispatch.

python -m bccl_jax.main --config=digits_lt [--workdir=DIR] [--config.KEY=VALUE ...]
python -m bccl_jax.main --workdir=DIR [--mode=eval] [--checkpoint=last|best|STEP]
python -m bccl_jax.main --workdir=DIR --mode=eval --details [--test=DIR|LIST.csv] [--output=DIR]
python -m bccl_jax.main --config=imagenet_lt --mode=inspect [--verify]
python -m bccl_jax.main --config=imagenet_lt --mode=pack --output=DIR [--verify]
python -m bccl_jax.main --config=digits_lt --mode=views [--output=FILE.png]
python -m bccl_jax.main --config=digits_lt --mode=estimate [--output=FILE.json]
python -m bccl_jax.main --config=digits_lt --print_config
"""

import functools
import pathlib
import shutil
import signal
import subprocess
import sys
import warnings

from absl import app, flags, logging
from ml_collections import config_flags

from bccl_jax.commands import parsing as command_line
from bccl_jax.commands.guarding import guarded
from bccl_jax.commands.next_steps import next_steps
from bccl_jax.commands.together import MODES, check_together
from bccl_jax.config.files import is_of_run, no_run
from bccl_jax.config.shared import is_shared
from bccl_jax.errors import BcclError, WorkdirError
from bccl_jax.evaluation.details_folder import DetailsFolder, details_folder
from bccl_jax.system.ending import PATIENCE, end_within
from bccl_jax.system.environment import check_jax_variables
from bccl_jax.system.names import plain, printable
from bccl_jax.system.output import of_a_command

_CONFIG = command_line.define_config(
    "config",
    "A shipped config, such as digits_lt or digits_lt:METHOD, or the path of a config file.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Directory of the run: a new one, or that of a run of the same config, which then goes on and "
    "needs no --config. runs/NAME_OF_THE_CONFIG if not given.",
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    MODES,
    "train; eval: evaluate what was saved; inspect: say what the data is; estimate: how long it "
    "takes, and how much memory; views: draw what augmentation makes; pack: copy photographs into "
    "few large files.",
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "last, best or a step: the one to evaluate (if not given, last and best), or to go on from "
    "(later and damaged ones are moved to WORKDIR/set_aside).",
)
_VERIFY = flags.DEFINE_bool(
    "verify", False, "With --mode=inspect or --mode=pack: decode every picture and list the broken."
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "With --mode=pack: the directory, new or of the same packing. With --details and --mode=views: "
    "another place than --workdir. With --mode=estimate: a JSON file.",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "With --mode=views and --mode=estimate: let it take the place of a file.",
)
_DETAILS = flags.DEFINE_bool(
    "details",
    False,
    "With --mode=eval: write what was predicted of each image, the figures of each class, what is "
    "taken for what, and a picture of the most certain mistakes.",
)
_TEST = flags.DEFINE_string(
    "test",
    None,
    "With --mode=eval: a folder of class folders, or a CSV file of path,label, to evaluate on in "
    "place of the run's test images; classes are matched by name.",
)
_KNOWN_ONLY = flags.DEFINE_bool(
    "known_only", False, "With --test: leave out images of classes that the run does not know."
)
_PRINT = flags.DEFINE_bool(
    "print_config", False, "Print the config as a config file, with what each key means, and stop."
)


def main(argv: list[str]) -> int:
    """Runs what the flags say; returns the exit code."""
    if len(argv) > 1:
        raise BcclError(command_line.no_flag(argv[1]))
    if _PRINT.value:
        return _print_config(_CONFIG.value)
    if _WORKDIR.value == "":
        raise BcclError("--workdir is empty; name a directory")
    if _CONFIG.value is None:
        if _WORKDIR.value is None:
            raise BcclError("say what to run: --config=digits_lt, for example")
        error = no_run(_WORKDIR.value)
        if isinstance(error, WorkdirError):  # and no file, where nothing can be trained
            error = BcclError(f"{error}; to train there, add --config=digits_lt, for example")
        raise error
    check_together(flags.FLAGS)
    config, workdir = _checked(_CONFIG.value), _workdir()
    details = details_folder(workdir, _OUTPUT.value, _TEST.value) if _DETAILS.value else None
    if _MODE.value == "inspect":
        return _inspect(config)
    if _MODE.value == "pack":
        return _pack(config)
    _prepare_jax(config.deterministic)
    if _MODE.value == "views":
        return _views(config, workdir)
    if _MODE.value == "estimate":
        return _estimate(config, workdir)
    if _MODE.value == "eval":
        return _evaluate(config, workdir, details)
    return _train(config, workdir)


def _checked(config):
    # Here already: JAX takes seconds to start.
    from bccl_jax.config.validation import validate

    validate(config)
    return config


def _print_config(config) -> int:
    from bccl_jax import config as default
    from bccl_jax.config import key_docs

    print(key_docs.as_python(_checked(config or default.get_config())), end="")
    return 0


def _config_file() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"])


def _workdir() -> pathlib.Path:
    if _WORKDIR.value is not None:
        return pathlib.Path(_WORKDIR.value)
    if is_of_run(_config_file()):
        return pathlib.Path(_config_file()).parent
    if is_shared(_config_file()) and _MODE.value != "inspect":
        return pathlib.Path(_config_file())
    name, _, argument = _config_file().partition(":")
    stem = pathlib.Path(name).stem
    # Folders of one's own are told apart by their names.
    settings = _CONFIG.value.data
    data = plain(pathlib.Path(settings.dir).stem) if settings.name == "folder" else ""
    parts = [part.strip() for part in argument.split(",")]
    run = "_".join(filter(None, [stem, data, *parts]))
    return pathlib.Path("runs") / (f"inspect_{run}" if _MODE.value == "inspect" else run)


def _prepare_jax(deterministic: bool) -> None:
    """Sets what JAX reads once, and says where it will run."""
    import jax

    from bccl_jax.devices.mesh import configure, devices, initialize_processes, is_lead

    configure(deterministic)
    initialize_processes()
    device = devices()[0]
    if not is_lead():
        return
    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    print(
        f"jax {jax.__version__} on {jax.device_count()} {device.platform} ({device.device_kind})"
        f"{processes}"
    )
    if device.platform == "cpu" and _answers("nvidia-smi"):
        print(
            "a GPU is there but unused: install jax with CUDA by pip install 'jax[cuda13]'",
            file=sys.stderr,
        )


def _answers(program: str) -> bool:
    found = shutil.which(program)
    return bool(found) and subprocess.run([found], capture_output=True).returncode == 0


def _train(config, workdir: pathlib.Path) -> int:
    from bccl_jax.devices.mesh import is_lead
    from bccl_jax.reporting import console, remarks
    from bccl_jax.reporting.labels import label
    from bccl_jax.system.interruption import Interrupted, StopSignal
    from bccl_jax.training.loop import train_and_evaluate

    StopSignal.ends_process = True
    try:
        result = train_and_evaluate(config, workdir, checkpoint=_CHECKPOINT.value)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.signum
    if not is_lead():
        return 0
    epochs = {"last": result.records[-1]["epoch"], "best": result.best_epoch}
    rows = {}
    for which, figures in (("last", result.last), ("best", result.best)):
        told = config, which, epochs[which], result.chosen_on
        rows[label(*told)] = figures
        if result.ema:
            rows[label(*told, average=True)] = result.ema[which]
    told = remarks.explain(rows, result.class_names)
    told += "\n" + remarks.worst(result.last, result.class_names, result.class_counts)
    print(f"\n{console.table(rows)}\n\n{console.wrapped(told)}\n")
    print(next_steps(workdir, config.trackers))
    return 0


def _evaluate(config, workdir: pathlib.Path, details: DetailsFolder | None) -> int:
    from bccl_jax.commands.evaluating import evaluate
    from bccl_jax.evaluation.saved import Another

    another = Another(_TEST.value, _KNOWN_ONLY.value) if _TEST.value is not None else None
    return evaluate(config, workdir, _CHECKPOINT.value, another, details)


def _views(config, workdir: pathlib.Path) -> int:
    from bccl_jax.training.views_file import write_views

    path = write_views(config, workdir, _OUTPUT.value, _OVERWRITE.value)
    print(f"picture      {printable(path)}")
    return 0


def _estimate(config, workdir: pathlib.Path) -> int:
    from bccl_jax.commands import estimating

    return estimating.run(config, workdir, _OUTPUT.value, _OVERWRITE.value)


def _inspect(config) -> int:
    from bccl_jax.config.dataset import load_data
    from bccl_jax.inspecting import inspection

    return inspection.run(load_data(config), config, _workdir(), verify=_VERIFY.value)


def _pack(config) -> int:
    from bccl_jax.config.dataset import load_data
    from bccl_jax.data.packing import packing
    from bccl_jax.data.photographs.decoding import Decoding

    verify = Decoding.of(config) if _VERIFY.value else None
    return packing.pack_dataset(load_data(config), pathlib.Path(_OUTPUT.value), verify)


def run() -> None:
    """Parses the flags and runs; every mistake of the user's ends in one sentence."""
    logging.set_verbosity(logging.ERROR)
    # What libraries will change one day is no error, whatever PYTHONWARNINGS says.
    warnings.simplefilter("ignore", DeprecationWarning)
    with of_a_command():
        try:
            check_jax_variables()
        except BcclError as error:
            raise SystemExit(f"error: {error}") from None
        try:
            app.run(functools.partial(guarded, main), flags_parser=command_line.parse)
        except KeyboardInterrupt:  # as a config is read
            print("stopped", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        except SystemExit as end:
            if end.code not in (None, 0):
                end_within(PATIENCE, end.code if isinstance(end.code, int) else 1)
            raise


if __name__ == "__main__":
    run()
