"""The small files of a run's directory, by what an evaluation and a longer run read of them."""

import json
import pathlib

import numpy as np

from bccl_jax.config.validation import validate
from bccl_jax.data.fingerprint import fingerprint
from bccl_jax.evaluation.details_folder import details_folder
from bccl_jax.reporting import records
from bccl_jax.workdir import broken_list, computed, content, inputs, json_files
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.longer import Longer
from bccl_jax.workdir.opened import config_of, opened
from faults.fuzzing.kinds import made_run
from faults.fuzzing.surface import Files, Input, Kind, Surface, Whole, consistent

_SMALL = (
    "classes.json",
    "splits.json",
    "image_shape.json",
    "inputs.json",
    "results.json",
    "computed_on.json",
    "trackers.json",
)


def _files(root: pathlib.Path, names: tuple[str, ...], form: str = "json") -> Files:
    run = made_run.write(root / "run", made_run.dataset()).path
    return Files(run, {name: Whole((run / name).read_bytes(), form) for name in names})


def _config(root: pathlib.Path) -> Surface:
    """Names of methods, paths and files of one's own in it are of this machine."""
    files = _files(root, ("config.json", "places.json"))
    asked = made_run.config()

    def read(entry: Input) -> None:
        files.put(entry)
        run = opened(files.root)
        validate(config_of(run))
        run.check(asked, evaluating=True)

    return Surface(files.make, read, (str(files.root), "config."), files.unchanged())


def _goes_on(root: pathlib.Path) -> Surface:
    """What a run of more epochs reads."""
    files = _files(root, ("config.json", "sized.json", "classes.json", "places.json"))
    asked = made_run.config()
    asked.epochs = made_run.EPOCHS + 1

    def read(entry: Input) -> None:
        files.put(entry)
        Workdir(files.root).check(asked)
        saved = json_files.read(files.root / "config.json", dict)
        longer = Longer(files.root, saved, asked)
        consistent(type(longer.before) is int, "epochs before", longer.before)

    return Surface(files.make, read, (str(files.root), "config."), files.unchanged())


def _records(root: pathlib.Path) -> Surface:
    files = _files(root, _SMALL)
    images = made_run.dataset()
    asked, numbers = made_run.config(), fingerprint(images)

    def read(entry: Input) -> None:
        files.put(entry)
        run = opened(files.root)
        names, counts = inputs.read_classes(run)
        consistent(len(names) == len(counts) and counts.sum() > 0, "classes", names, counts)
        shape = inputs.read_image_shape(run, asked)
        consistent(len(shape) == 3 and shape[2] == 3, "the shape of images", shape)
        consistent(type(inputs.read_photographs(run, asked)) is bool, "photographs")
        consistent(isinstance(inputs.read_results(run), dict), "results")
        run.check(asked)
        consistent(all(isinstance(part, str) for part in run.parts()), "parts", run.parts())
        run.check_classes(images)
        run.check_images(images, numbers)
        run.check_test_split(images.test)
        computed.note(files.root, made_run.STEPS)
        json_files.read(run.trackers, dict)

    return Surface(files.make, read, (str(files.root),), files.unchanged())


def _images(root: pathlib.Path) -> Surface:
    files = _files(root, ("images.npz",), "bytes")
    images = made_run.dataset()
    numbers = fingerprint(images)

    def read(entry: Input) -> None:
        path = files.put(entry)
        for found in content.read(path).values():
            consistent(found.dtype == np.uint64, "numbers of images", found.dtype)
        opened(files.root).check_images(images, numbers)

    return Surface(files.make, read, (str(files.root),), files.unchanged())


class _Named:
    """Pictures that have names alone."""

    def __init__(self, names):
        self._names = names

    def __len__(self):
        return len(self._names)

    def name(self, index):
        return self._names[index]


def _broken(root: pathlib.Path) -> Surface:
    names = [f"/data/{name}" for name in ("a/1.png", "a/b 2.png", "\udcff.png", "ü/'q'.png")]
    images = _Named(names)
    broken_list.add(root / "broken.txt", images, range(len(names)))
    whole = Whole((root / "broken.txt").read_bytes(), "lines", separators=b"/")
    files = Files(root, {"broken.txt": whole})

    def read(entry: Input) -> None:
        found = broken_list.listed(files.put(entry), images)
        consistent(set(found) <= set(range(len(names))), "positions", found)

    return Surface(files.make, read, ("broken.txt",), files.unchanged())


def _metrics(root: pathlib.Path) -> Surface:
    lines = "".join(f"{records.as_json(each)}\n" for each in made_run.epoch_records())
    files = Files(root, {"metrics.jsonl": Whole(lines.encode(), "json lines")})
    step = made_run.EPOCHS * made_run.STEPS

    def read(entry: Input) -> None:
        path = files.put(entry)
        found = records.Records(path, step, made_run.EPOCHS, writes=False)
        consistent(len(found.rows) == made_run.EPOCHS, "records", len(found.rows))
        when, values = records.course(found.rows, "contrastive_loss")
        consistent(when.shape == values.shape, "a course", when, values)
        for row in found.rows:
            consistent(type(row["step"]) is int and type(row["epoch"]) is int, "a record", row)

    return Surface(files.make, read, ("metrics.jsonl",), files.unchanged())


def _details(root: pathlib.Path) -> Surface:
    mark = json.dumps({"of": {"test": None}, "epoch": 3}, indent=1)
    folder = root / "details"
    files = Files(folder, {"details.json": Whole(mark.encode(), "json")})

    def read(entry: Input) -> None:
        files.put(entry)
        details_folder(root, str(folder))

    return Surface(files.make, read, (str(root),), files.unchanged())


KINDS = [
    Kind("run_config", 2, _config),
    Kind("longer_run", 1, _goes_on),
    Kind("run_records", 2, _records),
    Kind("images_npz", 1, _images),
    Kind("broken_list", 3, _broken),
    Kind("metrics", 10, _metrics),
    Kind("details", 1, _details),
]
