"""Why something failed, in a few words of what libraries raise."""

import errno
import os
import re

# Notes that TensorStore adds, such as a whole spec of 2 kB, and where in its source it was.
_NOTE = re.compile(r"\s*\[[\w ]+=(?:'[^']*'|[^\]]*)\]")
_SYSTEM = re.compile(r"\[os_error_code='(\d+)'|OS error:? (\d+)")
_LONGEST = 200


def reason(error: BaseException) -> str:
    """What an error says, as one line that is not long.

    Args:
      error: of whatever library; that of the system which lies under it is taken, if any.
    """
    if (code := number(error)) is not None:
        return os.strerror(code)
    told = [_NOTE.sub("", line).strip() for line in str(error).splitlines()]
    first = next(filter(None, told), type(error).__name__)
    return first if len(first) <= _LONGEST else f"{first[:_LONGEST]}..."


def number(error: BaseException) -> int | None:
    """The system's number of an error, as `errno` names it; None where there is none in it."""
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return error.errno
    found = _SYSTEM.search(str(error))
    code = int(found[1] or found[2]) if found else None
    return code if code in errno.errorcode else None
