import pytest

from bccl_jax import config as default
from bccl_jax.config.sizing import sized
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from experiments.designing.catalogue import EXPERIMENTS
from experiments.designing.design import Scale, cells, settings
from experiments.designing.hashing import hash_of
from experiments.designing.lengths import shrink
from experiments.designing.recipes import find
from tests.tiny import ROOT

START = "from bccl_jax import config as default\ndef get_config(method='bccl'):\n"


def write(path, body="    return default.get_config(method)\n", start=START):
    path.parent.mkdir(exist_ok=True)
    path.write_text(start + body)
    return str(path)


def test_a_shipped_file_is_the_data_set_that_has_a_name():
    for named in ("digits", "digits_lt", "configs/digits_lt.py", f"{ROOT}/configs/digits_lt.py"):
        assert find(named) == find("digits")
    both = Scale(datasets=("digits", "configs/digits_lt.py"))
    assert len(settings(EXPERIMENTS["table4"], both)) == 1
    assert find("configs/places_lt.py").label == "places_lt"
    for named in ("imagenet_lt:resnext50", "configs/imagenet_lt.py:resnext50"):
        recipe = find(named)
        assert recipe.label == "imagenet_lt_resnext50"
        config = recipe.config("bccl,released")
        assert (config.model.backbone, config.method.preset) == ("resnext50", "released")


def test_bare_names_are_known_in_every_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("digits").config("bcl").method.name == "bcl"
    recipe = find("folder", "photos")
    assert recipe.label.startswith("folder_photos-")
    assert recipe.config("cross_entropy").data.name == "folder"
    assert recipe.told.endswith("is `folder`, its data in `photos`.")
    # What lies there by chance is not taken for it.
    (tmp_path / "places_lt").mkdir()
    assert find("places_lt").label == "places_lt"
    write(tmp_path / "digits_lt.py")
    with pytest.raises(ConfigError, match="--dataset=digits_lt.py for that"):
        find("digits_lt")


def test_a_file_of_ones_own_has_a_label_of_its_own(tmp_path):
    first, second = write(tmp_path / "a" / "mine.py"), write(tmp_path / "b" / "mine.py")
    labels = [find(named).label for named in (first, second)]
    assert all(label.startswith("mine-") and len(label) == len("mine-123456") for label in labels)
    assert labels[0] != labels[1]
    assert find(first) == find(first)
    assert find(first).told == f"`{labels[0]}` is `{first}`."
    assert find(first, "there").told.endswith(f"is `{first}`, its data in `there`.")
    assert find("digits").told == ""


def test_pictures_of_ones_own_are_known_by_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = {}
    for folder in ("a/photos", "b/photos"):
        recipe = find("configs/folder.py", str(tmp_path / folder))
        assert recipe.label.startswith("folder_photos-")
        found[recipe.label] = hash_of(default.flatten(recipe.config("bccl")))
    assert len(found) == len(set(found.values())) == 2
    # However the folder is written.
    config = find("configs/folder.py", "photos/../photos/").config("bccl")
    assert config.data.dir == "photos/../photos/"
    same = find("configs/folder.py", f"{ROOT}/photos").config("bccl")
    assert hash_of(default.flatten(config)) == hash_of(default.flatten(same))
    same.data.train_folder = "training"
    assert hash_of(default.flatten(config)) != hash_of(default.flatten(same))


def test_a_published_data_set_may_lie_anywhere():
    first, second = (find("configs/places_lt.py", folder) for folder in ("a", "b"))
    assert first.label == second.label
    hashes = {hash_of(default.flatten(recipe.config("bccl"))) for recipe in (first, second)}
    assert len(hashes) == 1


def test_every_experiment_runs_on_a_file(tmp_path):
    mine = write(tmp_path / "mine.py")
    found = cells(EXPERIMENTS["table1"], Scale(seeds=1, datasets=(mine,), data_dir="there"))
    assert len(found) == sum(row.method is not None for row in EXPERIMENTS["table1"].rows) > 9
    assert {cell.dataset for cell in found} == {find(mine, "there").label}
    assert {cell.config.data.dir for cell in found} == {"there"}
    assert not any(cell.full_size for cell in found)


@pytest.mark.parametrize("method", ["bccl", "bccl,released", "cross_entropy"])
def test_a_length_that_follows_the_data_can_be_set(method):
    config = find("configs/folder.py", "photos").config(method)
    shrink(config, 20)
    validate(config)
    config = sized(config, 500)
    assert config.epochs == 20
    # A tenth of the run for the centroids, as of one that is sized; of `released` its own share.
    expected = {"bccl": (5, 2), "bccl,released": (2, 2), "cross_entropy": (5, None)}
    assert expected[method] == (
        config.optimizer.warmup_epochs,
        config.method.get("warmup_epochs"),
    )


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("cifar10O", "no data set is called 'cifar10O'; .*did you mean --dataset=cifar10?"),
        ("foldre", "did you mean --dataset=folder?"),
        ("cifar100:mine", "a name takes no argument; write --dataset=cifar100_lt:mine"),
        ("configs/fodler.py", "names no file; did you mean --dataset=configs/folder.py?"),
        ("docs", "for pictures of your own write --dataset=folder --data-dir=docs"),
        ("README.md", "is no Python file; a config file ends in .py"),
        ("\0.py", "names no file"),
        ("configs/folder.py:cross_entropy", "write --dataset=configs/folder.py and --methods=cros"),
        ("configs/folder.py:released", "--methods=bccl:released"),
        ("configs/folder.py:resnet5", "did you mean resnet50"),
    ],
)
def test_what_is_no_data_set_is_one_sentence_with_the_mend(monkeypatch, named, message):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=message) as error:
        find(named)
    assert str(error.value).startswith("--dataset")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("start", "body", "message"),
    [
        ("", "x = 3\n", "it has no function get_config"),
        ("", "import nothing_here\n", "line 1: ModuleNotFoundError"),
        ("", "def get_config(): pass\n", "takes no argument, but every method needs a config"),
        (START, "    return 3\n", "which is no config"),
        (START, "    return default.get_config()\n", r"get_config\('cross_entropy'\) gives a con"),
        (
            START,
            "    c = default.get_config(method)\n    c.method.num_centroids = 3\n    return c\n",
            "'method.num_centroids' .* a setting of bccl, bccl_plus and cuda_bccl; set it where co",
        ),
    ],
)
def test_a_file_that_gives_no_configs_is_named(tmp_path, start, body, message):
    mine = write(tmp_path / "mine.py", body, start)
    with pytest.raises(ConfigError, match=message) as error:
        find(mine).config("cross_entropy")
    assert str(error.value).startswith(f"--dataset={mine}: ")
    assert str(error.value).count("mine.py:") <= 2
