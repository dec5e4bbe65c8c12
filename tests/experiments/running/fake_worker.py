"""Worker processes that train nothing: what a cell does is said by its seed."""

import functools
import os
import signal
import time

import numpy as np

from experiments.records import results
from experiments.running import worker
from tests.experiments.made_up import LEAST, a_record

FAILS, DIES, WAITS, STOPS_ALONE = 13, 99, 1000, 2000


def train(cell, paths, code):
    """A record at once, a failure, a death, or a run that only SIGTERM ends."""
    if cell.seed == FAILS:
        raise worker.BcclError("an unlucky number")
    if cell.seed == DIES:
        os._exit(9)
    if cell.seed in (WAITS, STOPS_ALONE):
        received = []
        signal.signal(signal.SIGTERM, lambda *_: received.append(True))
        paths.root.joinpath("begun").touch()
        if cell.seed == STOPS_ALONE:
            os.kill(os.getpid(), signal.SIGTERM)
        while not received:
            time.sleep(0.01)
        raise worker.Interrupted(signal.SIGTERM, 7)
    print("from within")
    return LEAST | {
        "config_hash": cell.config_hash,
        "code_hash": code.hash,
        "seed": cell.seed,
        "last": {"all": 50.0},
        "seconds": 1.0,
        "images": 3,
        "correct": results.pack(np.ones(3, bool)),
    }


def train_alike(cell, paths, code):
    """A record as of a run: the later in the alphabet its method, the worse."""
    methods = ("bccl", "cross_entropy", "logit_adjustment")
    right = 9 - methods.index(cell.config.method.name)
    return a_record(cell, (right, right, right - cell.seed), code.hash)


serve = functools.partial(worker.serve, train=train)
serve_alike = functools.partial(worker.serve, train=train_alike)
