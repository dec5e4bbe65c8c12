"""Every benchmark of this machine, one after the other: python -m benchmarks.everything.

Each runs in a process of its own; one that fails is named at the end and stops none of the others.
On a GPU it begins with what docs/performance.md sets targets for. Tables go to the screen, tables
and JSON to --out.

    python -m benchmarks.everything --data-dir=data --torch-python=PYTHON_WITH_TORCH
"""

import argparse
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.common import ROOT


def commands(options: argparse.Namespace, accelerated: bool) -> Iterator[tuple[str, list[str]]]:
    """Yields each benchmark's name and arguments after `python -m benchmarks.`."""
    twin = ["torch_twin", "--torch-python", options.torch_python]
    twin += ["--steps", "100" if accelerated else "3", "--repeats", "3"]
    photographs = ["step", "--config", "configs/imagenet_lt.py", "--side", "224", "--batch", "128"]
    photographs += ["--classes", "1000", "--largest", "2", "--imbalance", "2"]
    if options.data_dir:
        cifar = ["run", "--config", "configs/cifar100_lt.py"]
        flags = ["--", f"--config.data.dir={options.data_dir}"]
        if accelerated:
            yield "run_bfloat16", [*cifar, "--epochs", "200", *flags, "--config.dtype=bfloat16"]
            yield "run_float32", [*cifar, "--epochs", "200", *flags]
    precisions = ("bfloat16", "float32") if accelerated else ("float32",)
    for dtype in precisions:
        yield f"step_{dtype}", ["step", "--dtype", dtype]
        yield f"torch_twin_{dtype}", [*twin, "--dtype", dtype]
    if accelerated:
        yield "step_wide", ["step", "--dtype", "bfloat16", "--backbone", "resnet32x4"]
        for backbone in ("resnet50", "resnext50"):
            yield f"step_{backbone}", [*photographs, "--backbone", backbone]
    yield "run_digits", ["run"]
    others = (
        "methods epoch together augment kmeans scaling decode pipeline flops memory checkpoints"
    )
    for name in others.split():
        yield name, [name]


def has_accelerator() -> bool:
    """Whether JAX finds one; asked in another process, for a process that asks takes its memory."""
    ask = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    answer = subprocess.run(ask, stdout=subprocess.PIPE, text=True, check=True).stdout
    return answer.split()[-1] != "cpu"


def main() -> int:
    """Runs them all; returns how many failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / "benchmarks")
    parser.add_argument("--data-dir", help="where cifar-100-python lies, for the whole runs")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter with PyTorch")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name, arguments in commands(options, has_accelerator()):
        print(f"\n## {name}\n", flush=True)
        at = arguments.index("--") if "--" in arguments else len(arguments)
        arguments[at:at] = ["--json", str(options.out / f"{name}.json")]
        command = [sys.executable, "-m", f"benchmarks.{arguments[0]}", *arguments[1:]]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        print(done.stdout, flush=True)
        (options.out / f"{name}.md").write_text(done.stdout)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
