"""Processes that share the seconds of importing JAX: forks of one that has and touched no device.

`run` and `start` are the command line, `run_python` any other module or file, `on_devices` a
function where there are several devices.
What they compile is optimised as what the process that starts them compiles.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pathlib
import pickle
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import jax

ROOT = pathlib.Path(__file__).resolve().parents[1]
# `_ask` has one question at a time.
_asking = threading.Lock()


def command(*arguments):
    """The command line in a process that shares nothing."""
    return [sys.executable, "-m", "bccl_jax.main", *arguments]


def run(*arguments, cwd=ROOT, **variables):
    """What `subprocess.run(command(*arguments), capture_output=True, text=True)` returns."""
    process = start(*arguments, cwd=cwd, **variables)
    told = process.communicate()
    return subprocess.CompletedProcess(command(*arguments), process.returncode, *told)


def run_python(*arguments, cwd=ROOT, **variables):
    """The same of `python -m MODULE ARGUMENTS`, or of `python FILE.py ARGUMENTS`."""
    process = Process(list(arguments), cwd, None, variables)
    told = process.communicate()
    return subprocess.CompletedProcess(list(arguments), process.returncode, *told)


def start(*arguments, cwd=ROOT, devices=None, before=(), stdout=None, stderr=None, **variables):
    """What `subprocess.Popen(command(*arguments), stdout=PIPE, stderr=PIPE, text=True)` returns.

    `variables` are set in its environment; those that JAX reads when it is imported come too late.
    `before` are calls in the new process, each of (module, function, arguments as JSON has them),
    and `stdout` and `stderr` paths to write to.
    """
    return Process(["bccl_jax.main", *arguments], cwd, devices, variables, before, (stdout, stderr))


def on_devices(number, function, *arguments):
    """What a function of a module gives in a process that has so many devices of the CPU.

    It, its arguments and its value are pickled.
    """
    with tempfile.TemporaryDirectory() as folder:
        call = pathlib.Path(folder) / "call"
        call.write_bytes(pickle.dumps((function.__module__, function.__name__, arguments)))
        process = Process([str(call)], ROOT, number, {"JAX_PLATFORMS": "cpu"})
        _, told = process.communicate()
        assert process.returncode == 0, told
        return pickle.loads(call.read_bytes())


def free_port():
    """A port of this machine that nothing listens at."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


class Process:
    """As much of `subprocess.Popen` as the tests need."""

    def __init__(self, arguments, cwd, devices, variables, before=(), written=(None, None)):
        self.returncode = None
        self._folder = tempfile.TemporaryDirectory()
        self._files = [pathlib.Path(self._folder.name) / name for name in ("stdout", "stderr")]
        hardly = "jax_disable_most_optimizations"
        config = {hardly: jax.config.read(hardly)}
        if devices is not None:
            config["jax_num_cpu_devices"] = devices
        if "JAX_PLATFORMS" in variables:
            config["jax_platforms"] = variables["JAX_PLATFORMS"]
        self.pid = _ask(
            arguments=arguments,
            cwd=str(cwd),
            variables=variables,
            config=config,
            before=list(before),
            files=[str(o or p) for o, p in zip(written, self._files, strict=True)],
        )

    def poll(self):
        """Its exit code, None while it lives."""
        if self.returncode is None:
            self.returncode = _ask(ended=self.pid)
        return self.returncode

    def wait(self, timeout=240):
        """Its exit code, once it has ended."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, f"process {self.pid} has not ended"
            time.sleep(0.01)
        return self.returncode

    def communicate(self, timeout=240):
        """What it has written by its end."""
        self.wait(timeout)
        with self._folder:
            return tuple(
                path.read_text(errors="replace") if path.exists() else "" for path in self._files
            )

    def said(self):
        """What it has written to stderr so far."""
        return self._files[1].read_text(errors="replace") if self._files[1].exists() else ""

    def send_signal(self, number):
        """Sends it a signal, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _ask(**question):
    with _asking:
        server = _server()
        server.stdin.write(json.dumps(question) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())


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
    # What only some runs import takes them longer than all else.
    import sklearn.datasets  # noqa: F401

    import bccl_jax.commands.parsing
    import bccl_jax.config.key_docs
    import bccl_jax.data.packing.packing
    import bccl_jax.inspecting.inspection
    import bccl_jax.training.loop  # noqa: F401
    from bccl_jax import methods
    from bccl_jax.system.environment import check_xla_flags

    # Imported by configs of tests.
    with contextlib.suppress(ImportError):
        import pytest  # noqa: F401
    for name in methods.names():
        methods.method_class(name)
    # Remembered by the forks, each of which would start a process for it.
    check_xla_flags(os.environ["XLA_FLAGS"].strip())
    # The forks' own collections leave what is there alone, and its memory shared.
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        question = json.loads(line)
        if "ended" in question:
            pid, status = os.waitpid(question["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            _be(**question)
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


def _be(arguments, cwd, variables, config, before, files):
    """What a fork does, which ends in it."""
    for path, number in zip((os.devnull, *files), range(3), strict=True):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    os.chdir(cwd)
    # As `python -m` has it.
    sys.path[0] = cwd
    if cwd != str(ROOT):
        sys.path.append(str(ROOT))
    os.environ.update(variables)
    for key, value in config.items():
        jax.config.update(key, value)
    sys.argv = list(arguments)
    for module, name, given in before:
        getattr(importlib.import_module(module), name)(**given)
    _end(_code_of(_call if os.path.isabs(arguments[0]) else _main))


def _main():
    if sys.argv[0].endswith(".py"):
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _call():
    path = pathlib.Path(sys.argv[0])
    module, name, arguments = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(getattr(importlib.import_module(module), name)(*arguments)))


def _code_of(function):
    try:
        function()
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
