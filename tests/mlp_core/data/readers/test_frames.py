"""Rows in memory: lists are read as Arrow reads them, and load nothing that they do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.data.readers.arrow import fill, fill_plainly
from mlp_core.data.readers.csv_options import CsvOptions
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.frames import InMemory

NAN = float("nan")
COLUMNS: dict[str, list[Any]] = {
    "whole": [3, None, -7, 3, 10**15],
    "numbers": [1.5, NAN, None, 2, -0.0],
    "whole numbers": [1.0, 2, 2.0, None, NAN],
    "words": ["red", " red", None, "NA", "blue"],
    "truths": [True, False, None, True, True],
    "nothing": [None, None, None, None, None],
}


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_list_is_read_as_arrow_reads_it(name: str, as_text: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    found = []
    for plainly in (True, False):
        values, words = np.zeros((5, 1)), dict[int, dict[str, int]]()
        if plainly:
            assert fill_plainly(COLUMNS[name], 0, values, words, as_text, CsvOptions())
        else:
            array = pyarrow.array(COLUMNS[name], from_pandas=True)
            fill(Path("rows"), array, name, 0, values, words, as_text, CsvOptions())
        found.append((values[:, 0].tolist(), words))
    assert repr(found[0]) == repr(found[1])


@pytest.mark.parametrize("cells", [["a", 1], [True, 1], [2**60], [[1], [2]], [np.float64(1)]])
def test_what_is_not_plain_is_left_to_arrow(cells: list[Any]) -> None:
    assert not fill_plainly(cells, 0, np.zeros((len(cells), 1)), {}, False, CsvOptions())


def test_an_answer_to_objects_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    from mlpbp import train

    rows = [{"a": k % 7, "word": "xy"[k % 2], "y": "no" if k % 3 else "yes"} for k in range(40)]
    keys = {"data": {"target": "y"}, "model": {"hidden": [4]}, "train": {"epochs": 1}, "kernels": "numpy"}
    assert InMemory.of(rows).read(ReadOptions(), lambda name: name == "a").words[0] == [str(k) for k in range(7)]
    for _ in train(keys, rows, output=tmp_path / "run"):
        pass
    code = (
        "import sys; from mlpbp import load; model = load(sys.argv[1]); model.predict([{'a': 3, 'word': 'x'}]);"
        "needless = {'pandas', 'pyarrow', 'sklearn', 'typer', 'rich', 'mlp_core.proof', 'mlp_core.explain'};"
        "print(sorted(needless & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path / "run")], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
