"""What is done within a process before it becomes the command line: faults that only it can have.

Each function is called in a fork by its name (`forks.start(before=...)`); its arguments are JSON.
"""

import atexit
import ctypes
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import threading
import time

# What Python tells of before it touches a file, and where the paths are among its arguments.
_EVENTS = {
    "open": (0,),
    "os.rename": (0, 1),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.truncate": (0,),
    "os.link": (0, 1),
    "os.symlink": (0, 1),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
}
_CLONE_NEWNS = 0x00020000
_lock = threading.Lock()


def without_picture() -> None:
    """The run ends without its picture, which takes longer than all of the rest."""
    from bccl_jax.training import results

    results.save_report = lambda *args: None


def file_layer(
    below: str, at: int, action: str = "count", number: int = 0, lasting: bool = False
) -> None:
    """Lies between this process and its files, as far as Python opens them.

    Args:
      below: a folder; what is done to files elsewhere is left alone.
      at: the how manieth operation that may change a file is disturbed, from 1.
      action: "kill" ends the process in its place, as SIGKILL does; "fail" has it fail; "count"
        disturbs nothing and writes the number of operations to `below` + ".count" at the end.
      number: of the error that it fails with.
      lasting: whether all later ones fail as well.
    """
    met = 0
    parent = os.getpid()

    def hook(event, arguments):
        nonlocal met
        if event not in _EVENTS or not _concerns(event, arguments, below) or os.getpid() != parent:
            return
        with _lock:
            met += 1
            now = met
        if action == "kill" and now == at:
            os.kill(parent, signal.SIGKILL)
        if action == "fail" and (now == at or (lasting and now > at)):
            raise OSError(number, os.strerror(number), str(arguments[0]))

    sys.addaudithook(hook)
    if action == "count":
        atexit.register(lambda: pathlib.Path(f"{below}.count").write_text(str(met)))


def _concerns(event, arguments, below):
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes and not (isinstance(mode, str) and set(mode) & set("wax+")):
            return False
    for place in _EVENTS[event]:
        path = arguments[place]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        # Some of them are open files, by their numbers.
        if isinstance(path, str | os.PathLike):
            path = os.fspath(path)
            if path == below or path.startswith(f"{below}/"):
                return True
    return False


def killed_at_record(below: str, record: int) -> None:
    """SIGKILL as the so manieth record is about to be added to the metrics, from 1."""
    met = 0

    def hook(event, arguments):
        nonlocal met
        if (
            event == "open"
            and str(arguments[0]) == f"{below}/metrics.jsonl"
            and arguments[1] == "a"
        ):
            met += 1
            if met == record:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def limited(name: str, size: int) -> None:
    """Sets a limit of `resource`, as "NOFILE" or "AS"; "AS" and "DATA" beyond what is used now."""
    if name in ("AS", "DATA"):
        used = "VmSize" if name == "AS" else "VmData"
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(used):
                size += int(line.split()[1]) * 1024
    limit = getattr(resource, f"RLIMIT_{name}")
    resource.setrlimit(limit, (size, resource.getrlimit(limit)[1]))
    if name == "FSIZE":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def small_shared_memory(size: str) -> None:
    """This process and its children have /dev/shm of a size as `mount` takes it; needs root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm"], check=True)


def jumping_clock(seed: int, longest: float) -> None:
    """The wall clock jumps to and fro by up to so many seconds, each time that it is read."""
    rng = random.Random(seed)
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + rng.uniform(-longest, longest)
    time.time_ns = lambda: real_ns() + int(rng.uniform(-longest, longest) * 1e9)


def closed(number: int) -> None:
    """A stream of the process, 1 or 2, is closed before it begins, as by `>&-`."""
    os.close(number)
    setattr(sys, {1: "stdout", 2: "stderr"}[number], None)
