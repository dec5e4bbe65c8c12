import shutil
import xml.etree.ElementTree

import jax
import numpy as np
import pytest
from PIL import Image

from bccl_jax.data.long_tail import shot_groups
from bccl_jax.evaluation.embed import Embeddings
from bccl_jax.evaluation.in_plane import tsne
from bccl_jax.training.assemble import assemble
from bccl_jax.workdir.checkpoint import Checkpoints
from bccl_jax.workdir.directory import Workdir
from experiments.embedding_picture import main
from experiments.embeddings import columns
from experiments.embeddings.columns import Embedded, default_titles
from experiments.embeddings.picture import draw
from experiments.running.restoring import restore
from tests.tiny import differing, tiny_config

COUNTS = np.array([90, 30, 4])


def two_dimensional():
    config = tiny_config()
    with config.unlocked():
        config.method.projector_dim = 2
    return config


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The directory of a run of one checkpoint, and the state that is in it: arrays of noise."""
    path = tmp_path_factory.mktemp("picture") / "run"
    config = two_dimensional()
    run, directory = assemble(config), Workdir(path)
    rng = np.random.default_rng(0)

    def noise(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(3)
        return jax.device_put(rng.uniform(1, 9, leaf.shape).astype(leaf.dtype), leaf.sharding)

    state = jax.tree.map(noise, run.abstract_state)
    with (
        directory.claimed(config, run.config, run.dataset),
        Checkpoints(directory.checkpoints) as checkpoints,
    ):
        checkpoints.save(state, {})
    return path, state


def column(angles, labels, title="title"):
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Embedded(title, features, labels, COUNTS, ("a", "b", "c"), shot_groups(COUNTS, 50, 20))


def test_a_run_is_read_back_from_its_directory_alone(saved):
    path, state = saved
    run, found = restore(path)
    assert run.config.to_dict() == assemble(two_dimensional()).config.to_dict()
    assert differing(state, found) == []


def test_the_command_writes_both_pictures_the_same_each_time(saved, tmp_path, monkeypatch, capsys):
    path, _ = saved
    asked = []

    def make_embed(run, head):
        asked.append(head)
        dim = 2 if head == "projector" else 5
        features = np.random.default_rng(0).normal(size=(40, dim)) * 7
        return lambda state, split: Embeddings(features.astype(np.float32), split.labels[:40])

    monkeypatch.setattr(columns, "make_embed", make_embed)
    for name in ("one.png", "two.svg"):
        main([str(path), f"--output={tmp_path / 'new' / name}"])
    main([str(path), "--head=backbone", f"--output={tmp_path / 'v1.5'}", "--samples=20"])
    assert asked == ["projector", "projector", None]
    files = {file.name: file.read_bytes() for file in tmp_path.rglob("*.*g")}
    assert set(files) == {"one.png", "one.svg", "two.png", "two.svg", "v1.5.png", "v1.5.svg"}
    assert files["one.svg"] == files["two.svg"]
    with Image.open(tmp_path / "v1.5.png") as image:
        assert image.size == (1200, 1020)
    xml.etree.ElementTree.fromstring(files["v1.5.svg"])
    assert "40 images in 5 dimensions" in capsys.readouterr().out


def test_points_lie_at_the_angles_of_their_embeddings_and_every_image_is_counted():
    angles = np.array([0.1, 0.2, 1.5, 1.6, -3.0, -2.0])
    labels = np.array([0, 0, 1, 1, 2, 2])
    axes = draw([column(angles, labels)], samples=6).axes[0]
    many, medium, few, *_ = axes.collections
    for points, expected in ((many, angles[:2]), (medium, angles[2:4]), (few, angles[4:])):
        offsets = np.ma.getdata(points.get_offsets())
        np.testing.assert_allclose(sorted(offsets[:, 0]), sorted(expected))
        assert ((offsets[:, 1] > 0.8) & (offsets[:, 1] <= 1)).all()
    # Each sector's bar has the height of its share; the fullest one has two of the six images.
    bars = {}
    for bar in axes.patches:
        if bar.get_height() > 0:
            sector = int((bar.get_x() + np.pi + 1e-6) / (2 * np.pi / 90))
            bars[sector] = bars.get(sector, 0) + bar.get_height()
    expected = {}
    for angle in angles:
        sector = int((angle + np.pi) / (2 * np.pi / 90))
        expected[sector] = expected.get(sector, 0) + 1
    fullest = max(expected.values())
    assert bars == pytest.approx({k: 0.56 * n / fullest for k, n in expected.items()})


def test_spokes_end_at_the_class_means():
    """Of a class at 0 and 90 degrees the mean lies at 45 degrees, cos 45 from the centre."""
    angles, labels = np.array([0, np.pi / 2, 2.0, -1.0]), np.array([0, 0, 1, 2])
    axes = draw([column(angles, labels)], samples=4).axes[0]
    spokes = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 2]
    np.testing.assert_allclose([spoke[0, 1] for spoke in spokes], 0)
    tips = [spoke[1] for spoke in spokes]
    np.testing.assert_allclose(tips, [(np.pi / 4, np.sqrt(0.5)), (2, 1), (-1, 1)])


def test_samples_are_drawn_alike_and_the_angle_is_of_all():
    labels = np.repeat([0, 1, 2], 20)
    angles = np.array([0.0, 1.0, 3.0])[labels]
    figure = draw([column(angles, labels), column(angles, labels)], samples=15)
    drawn = [[len(points.get_offsets()) for points in axes.collections] for axes in figure.axes[:2]]
    assert drawn[0] == drawn[1]
    assert sum(drawn[0]) == 15
    expected = "nearest class: many 57°, medium 57°, few 115°"
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == [expected] * 2


def test_tsne_keeps_groups_together_whatever_their_lengths(rng):
    labels = np.repeat([0, 1, 2], 15)
    features = 5 * np.eye(3, 8)[labels] + rng.normal(size=(45, 8)) * 0.3
    points = tsne(features * rng.uniform(0.1, 10, (45, 1)))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(labels[distances.argmin(axis=1)], labels)


def test_titles_name_the_method_and_what_differs():
    plain, other, changed = tiny_config("cross_entropy"), tiny_config(), tiny_config()
    with changed.unlocked():
        changed.method.centroid_loss = False
        changed.data.dir = "elsewhere"
    assert default_titles([other, changed]) == [
        "bccl\ncentroid_loss: True",
        "bccl\ncentroid_loss: False",
    ]
    assert default_titles([plain, changed]) == ["cross_entropy", "bccl"]


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (lambda run: shutil.rmtree(run), [], "run is not there; correct the path"),
        (lambda run: shutil.rmtree(run / "checkpoints"), [], "has no checkpoint"),
        (lambda run: (run / "config.json").write_text("{"), [], "not what was written"),
        (lambda run: (run / "config.json").write_text("[]"), [], "not what was written"),
        (lambda run: None, ["--titles=a;b"], "--titles has 2 titles for 1 runs"),
    ],
)
def test_what_cannot_be_drawn_ends_in_one_sentence(saved, tmp_path, damage, arguments, message):
    run = shutil.copytree(saved[0], tmp_path / "run")
    damage(run)
    with pytest.raises(SystemExit, match=message) as ended:
        main([str(run), f"--output={tmp_path / 'picture.png'}", *arguments])
    assert str(ended.value).startswith("error: ")
    assert "\n" not in str(ended.value)
    assert not (tmp_path / "picture.png").exists()
