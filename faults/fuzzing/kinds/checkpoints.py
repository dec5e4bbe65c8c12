"""Checkpoints: digests, scores, names of folders; what Orbax wrote, with digests that fit."""

import pathlib
import random
import shutil

import jax
import numpy as np

from bccl_jax.system import digests
from bccl_jax.workdir import checkpoint_folder
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.verifying import Verifier
from faults.fuzzing import odd
from faults.fuzzing.kinds import made_run
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent

_FIRST, _LAST = 2 * made_run.STEPS, made_run.EPOCHS * made_run.STEPS


def _metadata(root: pathlib.Path) -> Surface:
    directory = root / "run" / "checkpoints"
    made_run.write_checkpoints(directory)
    folder = directory / str(_FIRST)
    listed = Whole((folder / digests.LIST).read_bytes(), "lines", 2)
    # Both states: with digests, and as of a version before them.
    names = ("_CHECKPOINT_METADATA", "metrics/metrics")
    whole = {name: Whole((folder / name).read_bytes(), "json") for name in names}
    files = Files(folder, {digests.LIST: listed, **whole})

    def read(entry: Input) -> None:
        files.put(entry)
        if entry.target == "metrics/metrics" and len(entry.content) % 2:
            digests.write(folder, but=checkpoint_folder.NOT_IN_DIGESTS)
        verifier = Verifier(directory, read_only=True)
        try:
            score = checkpoint_folder.score(folder)
            if score is not None:
                checkpoint_folder.best({_FIRST: score, _LAST: {"accuracy": 0.5, "epoch": 3}})
        finally:
            if entry.target == "metrics/metrics":
                (folder / digests.LIST).write_bytes(listed.content)
        verifier.check(_FIRST)

    return Surface(
        files.make, read, (str(directory), digests.LIST, "metrics/metrics"), files.unchanged()
    )


def _names(root: pathlib.Path) -> Surface:
    """Folders of odd names beside the checkpoints, and what a user asks for."""
    directory = root / "run" / "checkpoints"
    made_run.write_checkpoints(directory)

    def make(rng: random.Random) -> Input:
        text = odd.text(rng).replace("/", "_").replace("\0", "")[:80]
        name = rng.choice((text, f"{text}.orbax-checkpoint-tmp", f"{_LAST}{text}"))
        return Input(rng.choice(("folder", "file", "asked")), name.encode("utf-8", "surrogatepass"))

    def read(entry: Input) -> None:
        name = entry.content.decode(errors="surrogateescape")
        path = directory / name
        made = entry.target != "asked" and name not in ("", ".", "..") and not path.exists()
        try:
            if made and entry.target == "folder":
                path.mkdir()
            elif made:
                path.write_bytes(b"")
            found = checkpoint_folder.steps(directory)
            consistent(_FIRST in found and _LAST in found, "steps", found)
            with Checkpoints(directory, read_only=True) as checkpoints:
                consistent(checkpoints.best() == _FIRST, "the best one", checkpoints.best())
                if entry.target == "asked":
                    step = checkpoints.resolve(name)
                    consistent(step in found, "a step", step)
                    consistent(name in ("last", "best") or int(name) == step, "a step", name)
        finally:
            if made and path.is_dir():
                path.rmdir()
            elif made:
                path.unlink()

    return Surface(make, read, (str(directory), "checkpoint"), [Input("asked", b"last")])


def _whole(root: pathlib.Path) -> Surface:
    """Whoever makes a checkpoint to harm its reader makes its digests too."""
    directory = root / "run" / "checkpoints"
    made_run.write_checkpoints(directory)
    folder = directory / str(_LAST)
    kept = root / "kept"
    shutil.copytree(folder, kept)
    whole = {}
    for name in digests.files(folder):
        if name not in (digests.LIST, *checkpoint_folder.NOT_IN_DIGESTS):
            raw = (folder / name).read_bytes()
            is_json = raw[:1] in b"{["
            whole[name] = Whole(raw, "json" if is_json else "bytes", 3 if is_json else 1)
    files = Files(folder, whole)
    wanted = made_run.abstract_state()
    written = made_run.state_at(_LAST)

    def read(entry: Input) -> None:
        files.put(entry)
        digests.write(folder, but=checkpoint_folder.NOT_IN_DIGESTS)
        with Checkpoints(directory, read_only=True) as checkpoints:
            if len(entry.content) % 2:
                found = checkpoints.restore_part(_LAST, wanted)
            else:
                found, unfinished = checkpoints.restore(_LAST, wanted)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(written), strict=True):
            same = isinstance(one, jax.Array)
            same = same and one.shape == other.shape and one.dtype == other.dtype
            consistent(same, "an array", np.asarray(one))

    return Surface(files.make, read, (str(directory),), files.unchanged())


KINDS = [
    Kind("checkpoint_metadata", 1.5, _metadata),
    Kind("checkpoint_names", 0.1, _names),
    Kind("checkpoint_content", 0.05, _whole),
]
