"""Packs what a run trained into one file, for other machines and other people.

python -m bccl_jax.share runs/folder_photos --output=birds.safetensors
python -m bccl_jax.predict birds.safetensors new/*.jpg
"""

from bccl_jax.commands.running import Parser, run

_ABOUT = """Packs one checkpoint of a run, its config, classes and results into one file.

  python -m bccl_jax.share runs/folder_photos --output=birds.safetensors
  python -m bccl_jax.predict birds.safetensors new/*.jpg

The file stands where a run's directory does: in bccl_jax.predict, bccl_jax.load,
bccl_jax.main --mode=eval --workdir=FILE and --config.model.pretrained=FILE. It holds no
picture, no absolute path and no code, and reading one runs none."""


def parser() -> Parser:
    """The flags."""
    made = Parser(prog="python -m bccl_jax.share", description=_ABOUT)
    made.add_argument("workdir", metavar="WORKDIR", help="directory of a run")
    made.add_argument(
        "--output", required=True, metavar="FILE", help="the file to write, .safetensors"
    )
    made.add_argument("--overwrite", action="store_true", help="let it take the place of a file")
    made.add_flags_of_run()
    return made


def main() -> int:
    """Packs what the flags say; returns the exit code."""
    flags = parser().parse_args()
    # Here, for JAX takes seconds to start, and mistakes of the flags are told at once.
    from bccl_jax.system.names import printable
    from bccl_jax.system.progress import under_way
    from bccl_jax.use.output import file_to_write
    from bccl_jax.use.sharing import KINDS, share

    output = file_to_write(flags.output, KINDS, flags.overwrite)
    with under_way("packing the run"):
        shared = share(flags.workdir, output, flags.checkpoint, flags.average, flags.imports)
    saved = shared.saved
    print(
        f"{printable(output)}: {saved.classifier.config.method.name}, "
        f"{len(saved.classifier.class_names)} classes, epoch {saved.epoch}, "
        f"{shared.bytes / 1e6:,.2f} MB\nsha256 {shared.sha256}"
    )
    if shared.files:
        print(
            f"it needs {', '.join(map(printable, shared.files))}, which it does not hold: give "
            "that along"
        )
    return 0


if __name__ == "__main__":
    run(main)
