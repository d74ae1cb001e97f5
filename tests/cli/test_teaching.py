"""`mlpbp explain` and `mlpbp trace` as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SMALL = """
data: {name: digits, limit: 60, split: {val: 0.2, test: 0.1}}
model: {hidden: [5, 4], dropout: 0.2}
schedule: {name: cosine, warmup: 0.1}
train: {epochs: 3, batch_size: 16}
threads: 1
"""


def mlpbp(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teaching")
    (folder / "small.yaml").write_text(SMALL)
    return folder


def test_explain_tells_this_model(folder: Path) -> None:
    result = mlpbp("explain", "small.yaml", "model.activation=tanh", cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "small: 64 -> 5 -> 4 -> 10, 399 parameters"
    for line in (
        "Z[1] = X @ W[1].T + b[1] [16, 5]",
        "f[1](z) = tanh(z) (tanh)",
        "D[1] = A[1] * M[1] / (1 - 0.2) [16, 5]",
        "loss = sum(rows) / 16",
        "Delta[3] = (P - Y) / 16 [16, 10]",
        "dA[2] = (Delta[3] @ W[3]) * M[2] / (1 - 0.2) [16, 4]",
        "f'[2](z) = 1 - f[2](z)^2",
        "dW[3] = Delta[3].T @ D[2] [10, 4]",
        "beta1 = 0.9",
        "theta = theta - lr * m_hat / (sqrt(v_hat) + eps) [399]",
    ):
        assert line in lines, line
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "beginning"),
    [
        (("--format", "markdown"), "# small: 64 -> 5"),
        (("--format", "latex"), "\\documentclass"),
        (("--format", "text"), "small: 64 -> 5"),
    ],
)
def test_explain_speaks_three_languages(folder: Path, arguments: tuple[str, ...], beginning: str) -> None:
    assert mlpbp("explain", "small.yaml", *arguments, cwd=folder).stdout.startswith(beginning)


@pytest.mark.parametrize(
    ("name", "beginning"), [("step.md", "# small"), ("step.tex", "\\documentclass"), ("step", "small: 64")]
)
def test_explain_writes_what_the_name_of_the_file_says(folder: Path, name: str, beginning: str) -> None:
    result = mlpbp("explain", "small.yaml", "-o", name, cwd=folder)
    assert (result.returncode, result.stdout) == (0, "")
    assert (folder / name).read_text(encoding="utf-8").startswith(beginning)


def test_explain_as_json(folder: Path) -> None:
    document = json.loads(mlpbp("explain", "small.yaml", "--json", cwd=folder).stdout)
    assert document["ok"]
    equations = [line for section in document["sections"] for line in section["equations"]]
    product = next(line for line in equations if line["equation"].startswith("Z[1] ="))
    assert product["shape"] == [16, 5]
    assert product["latex"] == r"Z^{[1]} = X \, {W^{[1]}}^{\top} + b^{[1]}"


def test_trace_shows_numbers_with_their_formulas(folder: Path) -> None:
    result = mlpbp("trace", "small.yaml", "--row", 3, "--row", 5, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    text = result.stdout
    order = (
        "training rows 3, 5",
        "Z[1] = X @ W[1].T + b[1]",
        "loss = sum(rows) / 2 = ",
        "dW[3] =",
        "dW[1] =",
        "old",
        "new - old",
    )
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert len(re.findall(r"^W\[\d\], parameter \d\.weight$", text, re.M)) == 3


def test_trace_of_one_layer_as_json(folder: Path) -> None:
    result = mlpbp("trace", "small.yaml", "--row", 3, "--layer", 2, "--steps", 2, "--json", cwd=folder)
    document = json.loads(result.stdout)
    assert [step["step"] for step in document["steps"]] == [1, 2]
    step = document["steps"][0]
    arrays = {name: np.array(values) for name, values in step["arrays"].items()}
    assert arrays["Z[2]"].shape == (1, 4)
    assert "Z[1]" not in arrays
    np.testing.assert_allclose(arrays["dW[2]"], arrays["Delta[2]"].T @ arrays["D[1]"], rtol=1e-6)
    assert set(step["update"]) == {"W[2]", "b[2]"}
    update = step["update"]["W[2]"]
    assert update["new"] == document["steps"][1]["update"]["W[2]"]["old"]
    assert set(update["state"]) == {"m", "v"}


def test_trace_of_a_deep_network_begins_with_its_first_layer(folder: Path) -> None:
    result = mlpbp("trace", "small.yaml", "model.hidden=[4,4,4,4,4]", cwd=folder)
    assert "layer 1 of 6; --layer shows another" in result.stderr
    assert "Layer 1, backward" in result.stdout
    assert "Layer 2" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("trace", "small.yaml", "--row", "9999"), 2, "--row: no row 9999; training rows are 0 to 41"),
        (("trace", "small.yaml", "--row", "-1"), 2, "--row: no row -1; training rows are 0 to 41"),
        (("trace", "small.yaml", "--layer", "4"), 2, "--layer: no layer 4; layers are 1 to 3"),
        (("trace", "small.yaml", "--layer", "0"), 2, "--layer: no layer 0; layers are 1 to 3"),
        (("explain", "missing.yaml"), 2, "missing.yaml: no such file.*"),
        (("explain", "small.yaml", "--format", "pdf"), 2, r"no such format \(got pdf\); choose from text, .*"),
        (("explain", "small.yaml", "-o", "nowhere/step.md"), 1, "nowhere/step.md: cannot be written: No such .*"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_bad_input_gets_one_line(folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = mlpbp(*arguments, cwd=folder)
    assert result.returncode == code
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("mlpbp: error: ")]
    assert len(errors) == 1
    assert re.fullmatch(f"mlpbp: error: {message}", errors[0]), errors[0]
    assert "Traceback" not in result.stderr
