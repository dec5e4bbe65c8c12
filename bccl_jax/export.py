"""Writes what a run trained in a format that needs nothing of this project.

python -m bccl_jax.export runs/folder_photos --format=onnx
python -m bccl_jax.export runs/digits_lt --format=safetensors --output=digits.safetensors
"""

import pathlib

from bccl_jax.commands.running import Parser, run
from bccl_jax.system.documentation import page

# What a file ends in, and what it is called where no name is given.
ENDINGS = {
    "stablehlo": (".zip", ".stablehlo.zip"),
    "onnx": (".onnx", ".onnx"),
    "safetensors": (".safetensors", ".torch.safetensors"),
}

_ABOUT = f"""Writes what a run trained in a format that needs nothing of this project.

  python -m bccl_jax.export runs/folder_photos --format=onnx
  python -m bccl_jax.export birds.safetensors --format=stablehlo --output=birds.zip

stablehlo    a function of images uint8 [batch, height, width, 3] to logits, for JAX alone, on
             CPUs, GPUs and TPUs; a zip archive of it and of about.json
onnx         the same function, for onnxruntime and others; needs pip install "bccl_jax[export]"
safetensors  the weights under PyTorch's names: torchvision's ResNet-50 and ResNeXt-50, and the
             field's ResNet-32 for CIFAR

Each holds the names of the classes and how a picture becomes what the network sees. The file is
checked before it is written. How each is read: {page("exporting.md")}"""


def parser() -> Parser:
    """The flags."""
    made = Parser(prog="python -m bccl_jax.export", description=_ABOUT)
    made.add_argument("workdir", metavar="WORKDIR", help="directory of a run, or a shared file")
    made.add_argument("--format", required=True, choices=ENDINGS, help="what is written")
    made.add_argument(
        "--output", metavar="FILE", help="the file to write (default: named like WORKDIR, here)"
    )
    made.add_argument("--overwrite", action="store_true", help="let it take the place of a file")
    made.add_argument(
        "--adjust",
        type=float,
        metavar="T",
        help="post-hoc logit adjustment within the file: the log prior of the classes, times 0 to "
        "1, is taken from the logits; refused where the loss has the prior (default: as the run "
        "was evaluated)",
    )
    made.add_flags_of_run()
    return made


def main() -> int:
    """Exports what the flags say; returns the exit code."""
    flags = parser().parse_args()
    # Here, for JAX takes seconds to start, and mistakes of the flags are told at once.
    from bccl_jax.system.names import printable
    from bccl_jax.system.progress import under_way
    from bccl_jax.use.output import file_to_write

    ending, usual_ending = ENDINGS[flags.format]
    run_path = pathlib.Path(flags.workdir).resolve()
    # Of a directory a dot is part of its name.
    stem = run_path.stem if run_path.is_file() else run_path.name
    output = file_to_write(flags.output or f"{stem}{usual_ending}", (ending,), flags.overwrite)

    from bccl_jax.use.exporting.export import export

    with under_way("exporting the run"):
        exported = export(
            flags.workdir,
            output,
            flags.format,
            flags.checkpoint,
            adjust=flags.adjust,
            average=flags.average,
            imports=flags.imports,
        )
    saved = exported.saved
    print(
        f"{printable(output)}: {saved.classifier.config.method.name}, "
        f"{len(saved.classifier.class_names)} classes, epoch {saved.epoch}, "
        f"{exported.bytes / 1e6:,.2f} MB\nsha256 {exported.sha256}\n"
        f"checked: logits differ from the run's by at most {exported.difference:.1g} on "
        "generated images"
    )
    return 0


if __name__ == "__main__":
    run(main)
