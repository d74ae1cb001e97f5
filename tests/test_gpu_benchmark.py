"""The program that measures GPUs, tried out without one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from shutil import which

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NEEDS = {"torch": "torch", "torch compiled": "torch", "torch graph": "torch", "jax": "jax"}
OURS = ("ours, graphs", "ours, launches", "ours, layer by layer")


@pytest.fixture(scope="module")
def gpu():
    path = list(sys.path)
    spec = importlib.util.spec_from_file_location("benchmarks_gpu", FOLDER / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks_gpu"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["benchmarks_gpu"]
    sys.path[:] = path


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("name", [*OURS, "torch", "torch graph", "jax"])
def test_everybody_has_the_losses_of_the_cpu(gpu, name, precision):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    elif which("g++") is None:
        pytest.skip("g++ is not installed")
    work = gpu.works(dry=True)[0]
    program = gpu.PROGRAMS[name](work, precision)
    expected = gpu.make_reference(work, precision).losses(gpu.CHECKED)
    assert program.losses(gpu.CHECKED) == pytest.approx(expected, rel=gpu.CLOSE[precision])
    assert expected[-1] < expected[0]
    assert program.steps(3) >= 3


def test_graphs_give_what_their_launches_give(gpu):
    if which("g++") is None:
        pytest.skip("g++ is not installed")
    work = gpu.works(dry=True)[0]
    one, other, layers = (gpu.PROGRAMS[name](work, "highest").losses(24) for name in OURS)
    assert one == other == layers


def test_the_arithmetic_of_a_step(gpu):
    work = gpu.works(dry=True)[0]
    assert work.parameters == 20 * 16 + 16 + 16 * 12 + 12 + 12 * 10 + 10
    assert work.flops == 8 * (2 * 3 * (20 * 16 + 16 * 12 + 12 * 10) - 2 * 20 * 16)
    assert work.bytes == 28 * work.parameters + 8 * 8 * 20
    assert [work.rows % work.batch for work in gpu.works(dry=False)] == [0, 0, 0]


def test_the_limits_are_measured(gpu):
    if which("g++") is None:
        pytest.skip("g++ is not installed")
    flops, moved = gpu.limits(gpu.works(dry=True)[0], "high")
    assert flops > 0
    assert moved > 0


REST = {"reference": {"losses": [1.0, 0.5]}, "limits": {"flops": 1e9, "bytes": 1e12}, "torch": {"rate": 100.0}}
ANSWERS = {
    "agrees": ({"losses": [1.0, 0.5], "rate": 200.0}, "| 8 | ours | 200 | {tera} | {share} | 2.00 | yes |"),
    "does not agree": ({"losses": [1.0, 0.6], "rate": 200.0}, "| 8 | ours | 200 | {tera} | {share} | 2.00 | NO |"),
    "failed": ({"error": "no time was left"}, "| 8 | ours | no time was left | | | | |"),
}


@pytest.mark.parametrize(("answer", "line"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_line_says_whether_the_losses_agree(gpu, answer, line):
    work = gpu.works(dry=True)[0]
    shown = gpu.row(work, "ours", {**REST, "ours": answer}, "highest")
    share = 200 * (work.flops / 1e9 + work.bytes / 1e12)
    assert shown == line.format(tera=f"{200 * work.flops / 1e12:.3g}", share=f"{share:.2f}")


def test_a_worker_that_fails_is_told_and_the_others_go_on(gpu):
    answers = gpu.measure("no such worker", "highest", True, 600.0)
    assert set(answers) == {8, 32}
    assert all("invalid choice" in answer["error"] for answer in answers.values())
    assert all(answer == {"error": "no time was left"} for answer in gpu.measure("torch", "high", True, 0.0).values())
