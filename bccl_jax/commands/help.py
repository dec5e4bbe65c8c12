"""What --help prints."""

import textwrap

from absl import flags

from bccl_jax.commands.console import module_of
from bccl_jax.commands.flags_and_keys import OWN
from bccl_jax.system.documentation import overview, page

_WIDTH = 100
# The settings that matter: those that a first run of one's own is likely to need.
TEN = (
    "data.dir",
    "data.imbalance",
    "data.validation_fraction",
    "model.backbone",
    "model.pretrained",
    "epochs",
    "batch_size",
    "optimizer.learning_rate",
    "dtype",
    "seed",
)
# The words of each command after `bccl_jax` (`console.COMMANDS`), and what it does.
OTHERS = {
    "predict": "Predicts the classes of pictures.",
    "share": "Packs a run into one file.",
    "export": "Writes a run for JAX, ONNX or PyTorch.",
    "report": "Writes a page of HTML about runs.",
    "datasets": "Downloads CIFAR-10 and CIFAR-100.",
    "experiments run": "Trains methods with several seeds.",
    "experiments report": "Writes a table of them.",
    "experiments embedding_picture": "Draws the embeddings of runs.",
}


def help_text() -> str:
    """What --help prints."""
    from bccl_jax import config as default
    from bccl_jax import methods
    from bccl_jax.config import key_docs

    program = "  python -m bccl_jax.main --config=digits_lt"
    lines = [
        "Trains an image classifier on long-tailed data, or evaluates one.",
        "",
        f"{program} [--workdir=DIR] [--config.KEY=VALUE ...]",
        "  python -m bccl_jax.main --workdir=DIR --mode=eval [--details] [--checkpoint=best]",
        f"{program.replace('digits_lt', 'folder')} --config.data.dir=DIR --mode=inspect [--verify]",
        "",
        "Other commands; each has a --help:",
    ]
    commands = {f"python -m {module_of(words)}": does for words, does in OTHERS.items()}
    for command, does in commands.items():
        lines += _beside(command, max(map(len, commands)) + 3, does)
    lines += [
        "",
        "Flags:",
    ]
    for name in OWN:
        lines += _beside(f"--{name}", 16, flags.FLAGS[name].help)
    config = default.get_config()
    flat, meanings = default.flatten(config), key_docs.meanings(config.method.name)
    lines += ["", "The keys that matter most, with their defaults; a config file has its own:"]
    for key in TEN:
        meaning = key_docs.first_sentence(meanings[key])
        lines += _beside(f"--config.{key}={flat[key]}", 39, meaning)
    lines += ["", "Methods, of which --config=FILE:METHOD chooses one:"]
    lines += textwrap.wrap(
        ", ".join(methods.names()), _WIDTH, initial_indent="  ", subsequent_indent="  "
    )
    lines += [
        "",
        f"All keys: --print_config, or {page('config_keys.md')}. A change: --config.epochs=5.",
    ]
    lines += overview()
    return "\n".join(lines)


def _beside(name: str, width: int, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {name}".ljust(width + 1),
        subsequent_indent=" " * (width + 1),
        break_on_hyphens=False,
    )
