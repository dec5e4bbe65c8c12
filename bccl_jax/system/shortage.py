"""What a process has too little of, told of an error that a library raised for the want of it."""

import errno
import resource

# By their names, so that no command imports JAX to end.
_OF_DEVICES = ("JaxRuntimeError", "XlaRuntimeError")
_NO_THREAD = "can't start new thread"


def shortage(error: BaseException) -> str | None:
    """A sentence for an error that means too few open files, too little memory or no more threads.

    Args:
      error: that, or one that was raised while it was handled.

    Returns:
      What to tell; None where neither it nor what it comes of means that.
    """
    met = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        if found := _told(error):
            return found
        error = error.__cause__ or error.__context__
    return None


def _told(error: BaseException) -> str | None:
    if type(error).__name__ in _OF_DEVICES and str(error).startswith("RESOURCE_EXHAUSTED"):
        return (
            f"a device has too little memory ({_said(error)}); lower config.batch_size, or keep it "
            "and add --config.accumulation=2 or more, --config.model.remat=True, or for "
            "photographs a smaller config.augment.size, and give the same command again"
        )
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return (
            f"this process may have {most:,} files open, which are too few ({_said(error)}); raise "
            "that by ulimit -n, and give the same command again"
        )
    if number == errno.ENFILE:
        return (
            f"all processes of this machine together have too many files open ({_said(error)}); "
            "end some, and give the same command again"
        )
    # A write that would wait has the number too, and says how far it came.
    waits = hasattr(error, "characters_written")
    if (
        number == errno.EAGAIN
        and not waits
        or isinstance(error, RuntimeError)
        and _NO_THREAD in str(error)
    ):
        return (
            f"no further thread or process can be started ({_said(error)}): there is too little "
            "memory, or ulimit -u, ulimit -v or the container allows no more; mend that, and give "
            "the same command again"
        )
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        return (
            f"there is too little memory ({_said(error)}); end other programs, raise ulimit -v or "
            "what the container allows, or lower config.batch_size or config.data.workers, and "
            "give the same command again"
        )
    return None


def _said(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
