"""Two processes, asked in turn: each side in its own, warm between the turns, idle outside them.

In one process the thread pools of JAX and PyTorch would get in each other's way, and both would
have to live in one environment. Requests and answers are lines of JSON. Standard library only.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Unavailable(Exception):
    """A part that this machine cannot run; the message says why."""


class Side:
    """A process that serves the timings of one side.

    Args:
      python: its interpreter.
      module: what it runs; it calls `serve`.
      settings: its first request.

    Raises:
      SystemExit: the process cannot be started, or ended before it answered.
    """

    def __init__(self, python: str, module: str, settings: dict):
        # JAX would take most of the GPU's memory for itself, and the twin lives there too.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
        self.python, self.module = python, module
        try:
            self.process = subprocess.Popen(
                [python, "-m", module],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # Ctrl-C is for the parent, which then ends its children.
                start_new_session=True,
            )
        except OSError as error:
            raise SystemExit(f"error: {python} cannot be run ({error.strerror})") from error
        self.description = self.ask(settings)

    def ask(self, request: dict | str) -> dict:
        """Sends a request and waits for the answer."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"error: `{self.python} -m {self.module}` ended, see above")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.terminate()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


def serve(build: Callable[[dict], tuple[dict, dict[str, Callable[[], float]]]]) -> None:
    """Answers requests until there are no more.

    Args:
      build: settings -> (what to say of this side, what times each part: seconds of a step).
    """
    # Whatever else prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content):
        print(json.dumps(content), file=answers, flush=True)

    description, parts = build(json.loads(sys.stdin.readline()))
    answer(description)
    for line in sys.stdin:
        try:
            answer({"seconds": parts[json.loads(line)]()})
        except Unavailable as reason:
            answer({"unavailable": str(reason)})
