"""Runs the command line in processes of its own that share the seconds of importing JAX."""

import atexit
import functools
import gc
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback

from tests.tiny import ROOT


def command(*arguments):
    return [sys.executable, "-m", "bccl_jax.main", *arguments]


def run(*arguments):
    """What `subprocess.run(command(*arguments), capture_output=True, text=True)` returns."""
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
        server.stdin.write(json.dumps([arguments, *map(str, files)]) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        told = [file.read_text() for file in files]
    return subprocess.CompletedProcess(command(*arguments), code, *told)


@functools.cache
def _server():
    """Ends with the tests' own process, whose end of the pipe closes then."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _serve():
    # All but the module of the flags, which each process runs anew as `python -m` does; no device
    # is touched before the fork.
    import bccl_jax.commands.parsing
    import bccl_jax.config.key_docs
    import bccl_jax.data.packing.packing
    import bccl_jax.inspecting.inspection
    import bccl_jax.training.loop  # noqa: F401
    from bccl_jax import methods

    for name in methods.names():
        methods.method_class(name)
    # The forks' own collections leave what is there alone, and its memory shared.
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        arguments, out, err = json.loads(line)
        if (child := os.fork()) == 0:
            for path, number in ((os.devnull, 0), (out, 1), (err, 2)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
            sys.argv = ["bccl_jax.main", *arguments]
            _end(_code_of_main())
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _code_of_main():
    try:
        runpy.run_module("bccl_jax.main", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code):
    """As the interpreter does, but for taking down the modules of all that was imported."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
