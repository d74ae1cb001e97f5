"""The page about Python and its notebook do what they say: every example is run."""

from __future__ import annotations

import doctest
import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

import mlp_core.api.estimators
import mlp_core.api.trained
import mlp_core.api.training

ROOT = Path(__file__).parents[1]
PAGE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "docs" / "notebook.ipynb"
MODULES = [mlp_core.api.estimators, mlp_core.api.trained, mlp_core.api.training]
OPTIONS = doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS


def runnable(test: doctest.DocTest) -> doctest.DocTest:
    """The examples without those that need a package that is missing."""
    test.examples = [
        example
        for example in test.examples
        if "# needs: " not in example.source or find_spec(example.source.rpartition("# needs: ")[2].strip())
    ]
    return test


def run(test: doctest.DocTest) -> None:
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(runnable(test), out=told.append)
    assert result.failed == 0, "".join(told)
    assert result.attempted


def test_every_example_of_the_page_is_true(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 30
    run(test)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_example_of_a_docstring_is_true(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import mlpbp

    names = {name: getattr(mlpbp, name) for name in mlpbp.__all__}
    found = [test for test in doctest.DocTestFinder().find(module, extraglobs=names) if test.examples]
    assert found
    for test in found:
        run(test)


def test_the_notebook_is_kept_without_its_results():
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs"), cell["id"]
        assert cell.get("execution_count") is None, cell["id"]


def test_the_notebook_runs_to_its_end_and_shows_what_it_should(tmp_path):
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat")
    notebook = nbformat.read(NOTEBOOK, 4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})
    shown = [output["data"] for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    assert any("<svg" in data.get("text/html", "") for data in shown), "no curve was drawn"
    assert any("text/markdown" in data for data in shown), "no formulas were shown"
    assert any("passed: True" in data.get("text/plain", "") for data in shown), "no proof was shown"
