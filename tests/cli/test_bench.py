"""`mlpbp bench`: every phase of a step is there, in 80 columns or as JSON; short jobs never meet a compiler."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from compiled_kernels import skip_without_kernels

MODEL = ["configs/digits.yaml", "model.hidden=[8, 8]", "--seconds", "0.1"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-P", "-m", "mlpbp", *arguments], capture_output=True, text=True, check=False
    )


def test_it_reports_every_phase_within_80_columns():
    result = run("bench", *MODEL)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    names = ["gather", "product 0 forward", "product 6 weight gradient", "product 3 input gradient", "bias, activation"]
    for name in [*names, "activation gradient", "dropout", "loss", "optimizer", "everything else", "step", "floor"]:
        assert any(line.startswith(name) for line in lines), name
    assert not any(line.startswith("product 0 input gradient") for line in lines)
    assert "rows per second in steps of 64 rows" in result.stdout


@pytest.mark.parametrize("kernels", ["numpy", "native"])
def test_json_tells_kernels_threads_and_the_distance_to_the_floor(kernels):
    if kernels == "native":
        skip_without_kernels()
    result = run("bench", *MODEL, f"kernels={kernels}", "threads=2", "--json")
    document = json.loads(result.stdout)
    assert (document["ok"], document["kernels"], document["threads"]) == (True, kernels, 2)
    assert document["rows"] == 64
    assert document["rows_per_second"] == pytest.approx(64e6 / document["step"])
    assert document["floor"] == pytest.approx(document["products"] + document["update"])
    assert all(value >= 0 for name, value in document["phases"].items() if name != "everything else")


def test_without_a_config_it_says_what_to_type():
    result = run("bench")
    assert result.returncode == 2
    assert "mlpbp bench configs/digits.yaml" in result.stderr


LOADED = "import sys; sys.argv[1:] = {}\ntry: __import__('mlpbp.main').main.main()\nexcept SystemExit: pass\n"
SAY = "print(sorted({'numpy', 'torch', 'rich'} & set(sys.modules)), file=sys.stderr)"


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [(["--help"], set()), (["train", "configs/digits.yaml", "-e", "1", "-q", "--json"], {"numpy"})],
    ids=["help", "digits"],
)
def test_what_is_not_needed_is_not_imported(arguments, allowed, tmp_path):
    arguments = [*arguments, "-o", str(tmp_path / "run")] if "train" in arguments else arguments
    program = LOADED.format(arguments) + SAY
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(result.stderr.splitlines()[-1].replace("'", '"')))
    assert loaded <= allowed
