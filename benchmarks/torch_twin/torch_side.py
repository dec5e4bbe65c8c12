"""The twin's side of the comparison, a process without JAX."""

import functools
import time

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.torch_twin.data import Views, make_loader
from benchmarks.torch_twin.model import Network
from benchmarks.torch_twin.step import BCCL, Trainer
from benchmarks.torch_twin.turns import Unavailable, serve

# Batches that each worker prepares ahead, PyTorch's default.
PREFETCH = 2


def build(settings: dict):
    """See `turns.serve`."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    wait = torch.cuda.synchronize if cuda else lambda: None
    if cuda:
        # TF32 in products and convolutions, as XLA has it for float32 by default.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    bfloat16, batch, steps = settings["dtype"] == "bfloat16", settings["batch"], settings["steps"]
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    mode = settings["compile_mode"] or ("reduce-overhead" if cuda else "default")
    with np.load(settings["data"]) as data:
        images, labels = data["images"], data["labels"]

    def on_device(views):
        # In two steps, so that type and layout change on the device and not before the copy.
        copied = [view.to(device, non_blocking=True) for view in views]
        return tuple(view.to(dtype, memory_format=torch.channels_last) for view in copied)

    some = torch.from_numpy(np.random.default_rng(0).choice(labels, batch)).long().to(device)
    ready = on_device(torch.randn(3, batch, 3, 32, 32))

    @functools.cache
    def trainer(compiled):
        counts = torch.from_numpy(np.bincount(labels)).float()
        network = Network(settings["backbone"], len(counts))
        method = BCCL(network, counts, bfloat16=bfloat16)
        # As after the first refresh: the longer phase of a run.
        method.centroids.copy_(F.normalize(torch.randn(method.centroids.shape), dim=-1))
        method.mask.fill_(True)
        method.to(device, memory_format=torch.channels_last)
        try:
            made = Trainer(method, settings["learning_rate"], mode if compiled else None)
            for _ in range(3):
                made.step(ready, some)
            wait()
        except Exception as error:
            if not compiled:
                raise
            lines = str(error).strip().splitlines() or [""]
            raise Unavailable(f"torch.compile: {type(error).__name__}: {lines[0]}") from error
        return made

    def time_ready(compiled):
        step = trainer(compiled).step
        wait()
        started = time.perf_counter()
        for _ in range(steps):
            step(ready, some)
        wait()
        return (time.perf_counter() - started) / steps

    @functools.cache
    def loader():
        batches = 2 * PREFETCH * settings["workers"] + steps
        return make_loader(Views(images, labels), batch, batches, settings["workers"])

    def time_end_to_end(compiled):
        step, feed = trainer(compiled).step, iter(loader())

        def train(number):
            for _ in range(number):
                views, targets = next(feed)
                step(on_device(views), targets.to(device, non_blocking=True))
            wait()

        # The steady state alone is timed: not the start of an epoch, which waits for the workers,
        # nor the batches that they then have ready.
        train(PREFETCH * settings["workers"])
        started = time.perf_counter()
        train(steps)
        seconds = (time.perf_counter() - started) / steps
        # Up to here the workers were as busy as in the midst of an epoch; they must be idle now.
        for _ in feed:
            pass
        return seconds

    description = {
        "platform": "gpu" if cuda else "cpu",
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "torch_device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch_compile_mode": mode,
    }
    return description, {
        "twin-ready-eager": lambda: time_ready(False),
        "twin-ready-compiled": lambda: time_ready(True),
        "twin-end-to-end-eager": lambda: time_end_to_end(False),
        "twin-end-to-end-compiled": lambda: time_end_to_end(True),
    }


if __name__ == "__main__":
    serve(build)
