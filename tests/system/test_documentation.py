"""Where messages say that the documentation is."""

import email.message
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

from bccl_jax import datasets, methods
from bccl_jax.system import documentation
from tests.tiny import ROOT


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """As where the package is installed and its repository is not there."""
    # Somebody else's folder of this name may be.
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").touch()
    monkeypatch.setattr(documentation, "_ROOT", tmp_path)


def test_a_page_of_a_checkout_is_a_path_from_wherever_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert documentation.page("datasets.md") == "docs/datasets.md"
    (line,) = documentation.overview()
    assert line.startswith("Documentation: docs/index.md; make docs builds")
    monkeypatch.chdir(tmp_path)
    assert pathlib.Path(documentation.page("datasets.md")).samefile(ROOT / "docs" / "datasets.md")


def test_every_page_that_is_named_is_there():
    named = set()
    for path in (ROOT / "bccl_jax").rglob("*.py"):
        for line in path.read_text().splitlines():
            for quote in "'\"":
                if f"page({quote}" in line:
                    named.add(line.partition(f"page({quote}")[2].partition(quote)[0])
    assert {"datasets.md", "exporting.md", "extending.md"} <= named
    assert [name for name in named if not (ROOT / "docs" / name).is_file()] == []


def test_of_an_installed_package_no_path_is_named_that_is_not_there(installed, capsys):
    assert documentation.page("datasets.md") == "docs/datasets.md of the repository"
    assert methods.of_a_file().endswith("(docs/extending.md of the repository)")
    with pytest.raises(SystemExit):
        datasets.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert told.endswith("download them by hand: docs/datasets.md of the repository says where.")


def test_of_an_installed_package_its_addresses_and_its_readme_are_named(installed, monkeypatch):
    found = email.message.Message()
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: found)
    first, readme = documentation.overview()
    assert "docs/ of the project's repository" in first
    found["Project-URL"] = "Documentation, https://example.org/docs"
    found["Project-URL"] = "Source, https://example.org/source"
    assert documentation.overview() == [
        first,
        readme,
        "  https://example.org/docs",
        "  https://example.org/source",
    ]


def test_the_command_that_prints_the_readme_does(installed, tmp_path):
    metadata = tmp_path / "bccl_jax-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.4\nName: bccl_jax\nVersion: 0.1.0\n\n# bccl_jax\nhi\n")
    script = documentation.overview()[1].partition('-c "')[2].partition('"')[0]
    run = [sys.executable, "-c", script]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("# bccl_jax\nhi\n")
