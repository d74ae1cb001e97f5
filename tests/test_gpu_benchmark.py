"""The program that measures GPUs, tried out without one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu():
    spec = importlib.util.spec_from_file_location("benchmarks_gpu", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks_gpu"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["benchmarks_gpu"]


@pytest.mark.parametrize("name", ["ours", "ours, no kernels", "torch"])
def test_everybody_has_the_losses_of_the_cpu(gpu, name):
    if name == "torch":
        pytest.importorskip("torch")
    work = gpu.works(dry=True)[0]
    program = gpu.make(name, work)
    expected = gpu.reference(work)
    assert [program.epoch() for _ in range(gpu.EPOCHS)] == pytest.approx(expected, rel=gpu.CLOSE)
    assert expected[1] < expected[0]
    program.steps(3)


def test_the_bare_products_are_those_of_a_step(gpu):
    work = gpu.works(dry=True)[0]
    assert work.parameters == 20 * 16 + 16 + 16 * 12 + 12 + 12 * 10 + 10
    assert work.flops == 8 * (2 * 3 * (20 * 16 + 16 * 12 + 12 * 10) - 2 * 20 * 16)
    gpu.make("gemms", work).steps(2)


ANSWERS = {
    "agrees": ({"losses": [1.0, 0.5], "rate": 200.0}, "| 8 | ours | 200 | 1.1e-06 | 0.50 | 2.00 | yes |"),
    "does not agree": ({"losses": [1.0, 0.6], "rate": 200.0}, "| 8 | ours | 200 | 1.1e-06 | 0.50 | 2.00 | NO |"),
    "failed": ({"error": "no time was left"}, "| 8 | ours | no time was left | | | | |"),
}


@pytest.mark.parametrize(("answer", "line"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_line_says_whether_the_losses_agree(gpu, answer, line):
    work = gpu.works(dry=True)[0]
    rates = {"gemms": 400.0, "torch": 100.0, "ours": 200.0}
    shown = gpu.row(work, "ours", answer, [1.0, 0.5], rates)
    teraflops = f"{200 * work.flops / 1e12:.3g}"
    assert shown == line.replace("1.1e-06", teraflops)
