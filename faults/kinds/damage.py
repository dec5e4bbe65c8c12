"""Files of a run that are not what was written: flipped, cut, gone, filled with something else."""

import pathlib
import re
import shutil

from faults import disk
from faults.kinds.kind import Kind
from faults.trial import Ended, FailedTrial, Trial, figures

# No promise is made of pictures of a run, and none of the lock, which is empty.
_SPARED = {".lock", "report.png"}


def flipped(trial: Trial) -> None:
    """A bit of one of the run's files, wherever."""

    def do(path):
        position, bit = trial.rng.randrange(max(path.stat().st_size, 1)), trial.rng.randrange(8)
        disk.flip(path, position, bit)
        return f"bit {bit} of byte {position} flipped"

    _damaged(trial, do)


def cut(trial: Trial) -> None:
    """The end of a file is missing, as after a power failure."""

    def do(path):
        size = trial.rng.choice([0, trial.rng.randrange(max(path.stat().st_size, 1))])
        with path.open("r+b") as file:
            file.truncate(size)
        return f"cut after {size} bytes"

    _damaged(trial, do)


def replaced(trial: Trial) -> None:
    """A file is gone, or in its place is a folder, zeros, something else, or a link to nothing."""

    def do(path):
        what = trial.rng.choice(["gone", "a folder", "zeros", "JSON", "letters", "a dead link"])
        size = path.stat().st_size
        path.unlink()
        if what == "a folder":
            path.mkdir()
        elif what == "a dead link":
            path.symlink_to(path.with_name("nowhere"))
        elif what != "gone":
            content = {"zeros": bytes(size), "JSON": b"[{}]\n", "letters": b"\xffa line\n" * 9}
            path.write_bytes(content[what])
        return f"{what} in its place" if what != "gone" else "gone"

    _damaged(trial, do)


def checkpoint_gone(trial: Trial) -> None:
    """A folder within the checkpoints is gone, or all of them are."""

    def do(path):
        shutil.rmtree(path)
        return "gone"

    trial.given(trial.rng.choice(["begun", "complete"]))
    folders = sorted(p for p in (trial.workdir / "checkpoints").rglob("*") if p.is_dir())
    _done_to(trial, trial.rng.choice([trial.workdir / "checkpoints", *folders]), do)


def _damaged(trial, do):
    trial.given(trial.rng.choice(["begun", "begun", "complete"]))
    files = sorted(p for p in trial.workdir.rglob("*") if p.is_file() and p.name not in _SPARED)
    # Most files are of checkpoints: as often one of the others.
    if trial.rng.random() < 0.5:
        files = [path for path in files if path.parent == trial.workdir]
    _done_to(trial, trial.rng.choice(files), do)


def _done_to(trial: Trial, path: pathlib.Path, do) -> None:
    kept = trial.folder / "kept"
    shutil.copytree(trial.workdir, kept, symlinks=True)
    name = path.relative_to(trial.workdir)
    trial.note(f"{name}: {do(path)}")

    evaluated = trial.evaluate()
    same = figures(evaluated) == trial.reference.evaluated[trial.state]
    if evaluated.code == 0 and not same and not _takes_one_before(trial, evaluated, name):
        raise FailedTrial(f"evaluates as something else: {evaluated.stdout[-1500:]}")
    before = trial.whole()
    ended = trial.train()
    trial.nothing_lost(before)
    if all(each.code == 0 for each in ended):
        trial.compare()
        return
    told = next(each for each in ended if each.code).refused or ""
    _check_named(told, name)
    if (offered := _offered(told)) and trial.rng.random() < 0.5:
        trial.note(f"as it says: --checkpoint={offered}")
        trial.resume(f"--checkpoint={offered}")
        return
    trial.note("restored from a copy")
    shutil.rmtree(trial.workdir)
    kept.rename(trial.workdir)
    trial.resume()


def _takes_one_before(trial: Trial, evaluated: Ended, name: pathlib.Path) -> bool:
    """Whether an evaluation says that it is of an earlier step than that of a folder that is gone.

    Of a run that has not ended nothing tells that there was a newer one.
    """
    found = re.search(r"^evaluating .*: step (\d+) ", evaluated.stdout, re.MULTILINE)
    gone = re.fullmatch(r"checkpoints/(\d+)", name.as_posix())
    return bool(trial.state == "begun" and found and gone and int(found[1]) < int(gone[1]))


def _check_named(told: str, name: pathlib.Path) -> None:
    """The sentence names what is damaged: the file, or the checkpoint or the folder it is in."""
    # Names of folders such as "d" would be in any sentence.
    if name.as_posix() not in told and "/".join(name.parts[:2]) not in told:
        raise FailedTrial(f"{name} is damaged, and this does not name it: {told}")


def _offered(told: str) -> str | None:
    found = re.search(r"--checkpoint=(\d+)", told)
    return found[1] if found else None


KINDS = (
    Kind("flip", "a bit of any file of a run flipped", flipped, ("digits", "stages"), share=4),
    Kind("cut", "the end of any file missing", cut, ("digits", "stages"), share=2),
    Kind("replace", "any file gone, or something else in its place", replaced, share=2),
    Kind("checkpoint_gone", "folders of checkpoints gone", checkpoint_gone, ("digits", "stages")),
)
