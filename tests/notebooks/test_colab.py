"""The notebook runs from top to bottom, goes on, and can be stopped without a traceback."""

import json
import re

import pytest

from tests.tiny import ROOT

PATH = ROOT / "notebooks" / "bccl_colab.ipynb"
PARAMETERS = """
CONFIG = "digits_lt:cross_entropy"
CHANGES = {"epochs": 4, "optimizer.warmup_epochs": 1, "eval.every_epochs": 4}
WORKDIR = "runs/notebook"
"""
# The kernel's own process gets what the button of a notebook sends it.
STOPPED = """
import signal

class Button(bccl_jax.Callback):
    def epoch(self, record):
        if record["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

bccl_jax.train(CONFIG, "runs/stopped", CHANGES, callbacks=[Button()])
"""
AT_ONCE = """
class Button(bccl_jax.Callback):
    def begin(self, run):
        raise KeyboardInterrupt

bccl_jax.train(CONFIG, "runs/at_once", CHANGES, callbacks=[Button()])
"""
MISTAKE = 'bccl_jax.train("digits_lt", "runs/mistake", {"epoch": 3})'


def texts(cell):
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def test_the_notebook_is_kept_without_what_it_printed():
    cells = json.loads(PATH.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_no_cell_forks_a_process_that_has_the_threads_of_jax():
    cells = [cell for cell in json.loads(PATH.read_text())["cells"] if cell["cell_type"] == "code"]
    lines = [line.strip() for cell in cells for line in cell["source"]]
    started = lines.index("import jax")
    # A shell line of IPython is a fork; %%bash and functions are none.
    assert [line for line in lines[started:] if line.startswith(("!", "%system", "%sx"))] == []
    assert any(line.startswith("!") for line in lines[:started])


@pytest.mark.slow
def test_from_top_to_bottom(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # The package of these tests, wherever the kernel is started.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(PATH, as_version=4)
    (given,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    given.source = PARAMETERS
    train = next(c for c in notebook.cells if "bccl_jax.train(CONFIG" in c.source)
    again = nbformat.v4.new_code_cell(train.source)
    others = [nbformat.v4.new_code_cell(source) for source in (STOPPED, AT_ONCE, MISTAKE)]
    stopped = nbformat.v4.new_code_cell('bccl_jax.train(CONFIG, "runs/stopped", CHANGES)')
    stopped.source += "\nNone"
    notebook.cells += [again, *others, stopped]
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(
        notebook, resources=resources, timeout=240, allow_errors=True, kernel_name="python3"
    )
    client.execute()
    (tmp_path / "done.ipynb").write_text(nbformat.writes(notebook))

    failed = [c for c in notebook.cells for o in c.get("outputs", ()) if o.output_type == "error"]
    assert failed == others, [o for c in failed for o in c.outputs]
    assert "complete, step 20 of 20" in texts(again)
    by_text = {c.source.splitlines()[0]: c for c in notebook.cells if c.source}
    shown = [o.data for c in notebook.cells for o in c.get("outputs", ()) if "data" in o]
    assert sum("image/png" in data for data in shown) == 2  # the views and the report
    (looked,) = [c for name, c in by_text.items() if name.startswith("for name, figures")]
    code = [c for c in notebook.cells if c.cell_type == "code"]
    (evaluated,) = [c for c in code if "--mode=eval" in c.source]
    # JAX says so of every fork of a process that has its threads.
    told = [c.source for c in code if "os.fork" in texts(c)]
    assert told == []
    (few,) = re.findall(r"last .*'few': ([\d.]+)", texts(looked))
    assert re.search(rf"last \(epoch 4\).* {float(few):.2f} ", texts(evaluated))
    (predicted,) = [c for name, c in by_text.items() if name.startswith("import numpy")]
    assert len(re.findall(r"'\d'", texts(predicted))) == 8

    # One sentence each, and no line of any file.
    errors = [[o for o in c.outputs if o.output_type == "error"] for c in others]
    (saved,), (at_once,), (mistake,) = errors
    assert saved.traceback == [
        "stopped by SIGINT after step 10, which is saved; the same command goes on from there: "
        "run the cell again"
    ]
    assert at_once.traceback == [
        "stopped; a run goes on from its last checkpoint if it has one: run the cell again"
    ]
    assert mistake.traceback[0].startswith("error: the config has no key 'epoch'")
    assert "goes on after step 10 of 20" in texts(stopped)
