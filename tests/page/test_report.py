"""python -m bccl_jax.report on trained runs: what it finds, writes, and leaves as it is."""

import contextlib
import io
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import bccl_jax
import bccl_jax.page.document as pages
from bccl_jax import report
from bccl_jax.clustering.queue import QueueState, StampedQueueState
from bccl_jax.errors import BcclError
from bccl_jax.page import library, looking
from bccl_jax.page.document import document
from bccl_jax.page.gathering import Asked, gather
from bccl_jax.page.looking import queues_of
from bccl_jax.page.written import MARK, page_file
from bccl_jax.use.sharing import share
from bccl_jax.workdir.directory import Workdir
from bccl_jax.workdir.opened import config_of, opened
from tests.page.reading import Page
from tests.page.test_document import PLOTLY
from tests.tiny import tiny_config
from tests.use.conftest import CLASSES, _two_layers, digits_run, folder_run, trained  # noqa: F401

# Real runs, each of which is looked at once more.
pytestmark = [pytest.mark.usefixtures("_two_layers"), pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _small():
    """No script of Plotly's, which need not be installed, and no t-SNE, which takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "plotly_script", lambda: PLOTLY)
        patch.setattr(looking, "tsne", lambda features: features[:, :2])
        yield


def reported(*arguments):
    """Runs the command; returns what it printed, and the runs that it told of."""
    told, printed = [], io.StringIO()

    def kept(runs, plotly):
        told.extend(runs)
        return document(runs, plotly)

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["report", *map(str, arguments)])
        patch.setattr(pages, "document", kept)
        assert report.main() == 0
    return printed.getvalue(), told


@pytest.fixture(scope="module")
def folder_page(folder_run, tmp_path_factory):  # noqa: F811
    output = tmp_path_factory.mktemp("page") / "page.html"
    printed, (run,) = reported(folder_run.workdir, f"--output={output}")
    return SimpleNamespace(path=output, printed=printed, run=run)


@pytest.fixture(scope="module")
def raw_and_averaged(digits_run, tmp_path_factory):  # noqa: F811
    """The raw weights of a run, and a shared file of its averaged ones."""
    folder = tmp_path_factory.mktemp("shared")
    shared, output = folder / "digits.safetensors", folder / "page.html"
    share(digits_run.workdir, shared, average=True)
    _, runs = reported(digits_run.workdir, shared, f"--output={output}")
    return SimpleNamespace(path=output, runs=runs)


def test_a_run_of_photographs_is_told_with_its_pictures(folder_page, folder_run):  # noqa: F811
    size = len(folder_page.path.read_bytes()) / 1e6
    assert folder_page.printed.endswith(f"report  {folder_page.path} ({size:.1f} MB)\n")
    found = Page(folder_page.path.read_text())
    assert found.wrong == []
    for name in CLASSES:
        assert name in found.text
    pictures = [a["alt"] for tag, a in found.tags if tag == "img"]
    assert any(alt.startswith("A test picture of ") for alt in pictures)
    assert any(alt.startswith("A training picture of ") for alt in pictures)
    last = folder_run.result.last
    assert f"top-1 {last['top1']:.1f}, all {last['all']:.1f}" in found.text


def test_pictures_and_neighbours_are_those_that_the_network_says(folder_page, folder_run):  # noqa: F811
    run = folder_page.run
    model, looked = bccl_jax.load(folder_run.workdir), run.looked
    assert run.figures.record == folder_run.result.last
    assert looked.compared_with == (24, 24)
    tests = sorted(folder_run.test.rglob("*.jpg"))
    train = sorted((folder_run.test.parent / "train").rglob("*.jpg"))
    features, others = (model.embed([str(path) for path in paths]) for paths in (tests, train))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    seen = [model._sight.see(str(path)) for path in tests]
    for shown in (*looked.mistakes, *looked.tail):
        (i,) = [i for i, image in enumerate(seen) if np.array_equal(image, shown.image)]
        assert CLASSES[shown.label] == tests[i].parent.name
        cosines = others @ features[i]
        order = np.argsort(-cosines)[:3]
        assert [n.label for n in shown.neighbours] == [
            CLASSES.index(train[c].parent.name) for c in order
        ]
        np.testing.assert_allclose([n.cosine for n in shown.neighbours], cosines[order], atol=1e-4)
    assert all(shown.label != shown.predicted for shown in looked.mistakes)
    assert [shown.label for shown in looked.tail] == [0, 1, 2][: len(looked.tail)]


def test_a_run_and_a_shared_file_of_its_averaged_weights_are_compared(raw_and_averaged, digits_run):  # noqa: F811
    raw, averaged = raw_and_averaged.runs
    assert raw.figures.record == digits_run.result.last
    assert averaged.figures.record == digits_run.result.ema["last"]
    assert len(raw.looked.embedded.points) == 797
    found = Page(raw_and_averaged.path.read_text())
    assert found.wrong == []
    difference = averaged.figures.record["top1"] - raw.figures.record["top1"]
    assert f"{difference:+.2f}[" in found.text
    assert "a shared file has no record of them" in found.text


def test_queues_have_their_fill_and_age():
    counts, stamps = np.array([3, 1, 0, 0]), np.array([[5, 1, 2], [4, 0, 0], [0] * 3, [0] * 3])
    queue = StampedQueueState(np.zeros((4, 3, 2)), np.zeros(4, int), counts, stamps)
    # The fourth class is there so that devices have as many each.
    queues = queues_of({"levels": 0, "base": SimpleNamespace(queue=queue)}, 3)
    assert queues.filled.tolist() == [3, 1, 0]
    assert queues.size == 3
    # Epochs before the newest one.
    np.testing.assert_allclose(queues.age, [np.mean([0, 4, 3]), 1, np.nan])
    plain = QueueState(queue.features, queue.cursor, queue.count)
    assert queues_of(SimpleNamespace(queue=plain), 3).age is None
    assert queues_of(SimpleNamespace(queue=plain), 5) is None
    assert queues_of(None, 3) is None


@pytest.mark.slow
def test_a_run_with_queues_has_those_of_its_checkpoint(tmp_path):
    changes = {"model.backbone": "two_layers", "epochs": 3, "method.queue_max_age": 2}
    run = trained(tiny_config(), tmp_path / "run", **changes)
    (told,) = gather([run.workdir], Asked())
    queue, found = run.result.state.method.queue, told.looked.queues
    np.testing.assert_array_equal(found.filled, queue.count)
    assert found.size == queue.features.shape[1]
    assert 0 <= found.age.min() <= found.age.max() <= 2
    assert Page(document([told], PLOTLY)).wrong == []


def test_records_alone_take_no_network(digits_run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("bccl_jax.page.gathering.look", None)
    output = tmp_path / "page.html"
    reported(digits_run.workdir, "--records_only", f"--output={output}")
    text = Page(output.read_text()).text
    assert "Pictures: only what the run recorded was asked for (--records_only)." in text
    assert "The most confused pairs" in text


def test_pictures_that_are_away_leave_what_was_recorded(folder_run, tmp_path, capsys):  # noqa: F811
    away = shutil.copytree(folder_run.workdir, tmp_path / "away")
    (run,) = gather([away], Asked(data_dir=str(tmp_path / "nowhere")))
    assert run.looked is None
    assert "could not be evaluated" in run.unseen
    told = capsys.readouterr().err
    assert f"--data_dir is {tmp_path / 'nowhere'}, which is not there; name" in told
    assert "by --data_dir=DIR" in told
    assert run.figures.record == folder_run.result.last


def test_without_training_pictures_no_neighbour_is_shown(folder_run, tmp_path):  # noqa: F811
    root = shutil.copytree(folder_run.test.parent, tmp_path / "photos")
    shutil.rmtree(root / "train")
    (run,) = gather([folder_run.workdir], Asked(data_dir=str(root)))
    assert run.looked.compared_with is None
    assert run.looked.without_training
    assert all(not shown.neighbours for shown in run.looked.tail)


def test_a_run_under_way_is_told(digits_run, tmp_path):  # noqa: F811
    started = shutil.copytree(digits_run.workdir, tmp_path / "run")
    (started / "results.json").unlink()
    shutil.rmtree(started / "checkpoints")
    lines = (started / "metrics.jsonl").read_text().splitlines()
    (started / "metrics.jsonl").write_text(f'{lines[0]}\n{{"epoch": 2, "st')
    (run,) = gather([started], Asked())
    assert (run.epoch, run.finished, run.figures, run.looked) == (1, False, None, None)
    assert "no checkpoint" in run.unseen


def test_only_reports_are_replaced(digits_run, tmp_path):  # noqa: F811
    run = shutil.copytree(digits_run.workdir, tmp_path / "run")
    page = run / "report.html"
    reported(run, "--records_only")
    first = page.read_bytes()
    assert MARK.encode() in first
    page.write_bytes(first + b"<!-- older -->")
    reported(run, "--records_only")
    assert b"older" not in page.read_bytes()
    # A run has one and is a run.
    assert Workdir(run).check(config_of(opened(run)))
    page.write_text("<html>mine</html>")
    with pytest.raises(BcclError, match="no report of this command; name another file"):
        reported(run)
    assert page.read_text() == "<html>mine</html>"


@pytest.mark.parametrize(
    ("runs", "output", "message"),
    [
        (["a", "b"], None, "of several runs needs a file of its own: --output=FILE.html"),
        (["nowhere"], None, "nowhere is not there, and no directory"),
        (["a.safetensors"], None, "a.safetensors is a file, and no directory"),
        (["."], "page.png", "does not end in .html"),
        (["."], "nowhere/page.html", "lies in no folder"),
    ],
)
def test_where_no_report_can_be_is_one_sentence(runs, output, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(BcclError, match=message):
        page_file(runs, output)


def test_a_folder_without_a_run_is_named(tmp_path):
    for path, told in (
        (tmp_path, "holds no run"),
        (tmp_path / "none", "none is not there; correct"),
    ):
        with pytest.raises(BcclError, match=told):
            gather([path], Asked())


def test_records_of_other_classes_are_refused(digits_run, tmp_path):  # noqa: F811
    run = shutil.copytree(digits_run.workdir, tmp_path / "run")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(lines[-1])
    record["eval"]["per_class"].pop()
    (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(BcclError, match="has no figures of the run's 10 classes"):
        gather([run], Asked(records_only=True))


PLOTLY_SCRIPT = library.plotly_script


def test_a_missing_library_is_named_with_its_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(BcclError, match=r'needs plotly, .* pip install "bccl_jax\[report\]"'):
        PLOTLY_SCRIPT()
