"""Our own matrix products: those of numpy for every shape, layout and share, with the same bits however shared out."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

from mlp_core.backends.cpu import program as instructions
from mlp_core.backends.cpu.compiled.layout import BAND, BLOCK
from mlp_core.backends.cpu.crew import Crew

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-15}  # relative to sqrt(k), the size of a sum of k products of 1
ROWS, INNER, COLUMNS = (1, 2, 3, 7, 8, 15, 16, 17, 33), (1, 2, 5, 15, 16, 17, 40), (1, 3, 4, 5, 10, 16, 31, 32, 33, 50)
BLOCKS = [(40, 2 * BLOCK + 88, 37), (BAND + 2, 1100, 65), (9, BLOCK + 1, 20), (200, 513, 8)]
BLOCKS += [(130, 512, 256), (70, 256, 1024), (65, 512, 67)]  # rows a power of two apart
SHAPES = [(b, n, m) for b in ROWS for n in INNER for m in COLUMNS] + BLOCKS


def factors(b: int, n: int, m: int, dtype: type) -> list[tuple[np.ndarray, np.ndarray]]:
    """The factors of X W^T, Delta^T X and Delta W."""
    rng = np.random.default_rng(b + 100 * n + 10_000 * m)
    X, W, Delta = (rng.standard_normal(shape).astype(dtype) for shape in ((b, n), (m, n), (b, m)))
    return [(X, W.T), (Delta.T, X), (Delta, W)]


def multiplied(crew: Crew, A: np.ndarray, B: np.ndarray, by_columns: bool = False) -> np.ndarray:
    """A @ B in the first rows of an array; the row behind them must stay as it is."""
    room = np.full((len(A) + 1, B.shape[1]), np.nan, A.dtype)
    crew.run(instructions.assemble([instructions.product(A, B, room[:-1], crew.scratch, by_columns)]))
    assert np.isnan(room[-1]).all()
    return room[:-1]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_products_are_those_of_numpy_whoever_makes_them(dtype):
    crews = [Crew(threads) for threads in (1, 2, 3)]
    for shape in SHAPES:
        for A, B in factors(*shape, dtype):
            results = [multiplied(crew, A, B) for crew in crews]
            exact = A.astype(np.float64) @ B.astype(np.float64)
            limit = 4 * TOLERANCE[dtype] * np.sqrt(A.shape[1])
            np.testing.assert_allclose(results[0], exact, rtol=limit, atol=limit, err_msg=str(shape))
            for other in results[1:]:
                np.testing.assert_array_equal(other, results[0], err_msg=str(shape))


@pytest.mark.parametrize("shape", [(32, 784, 128), (3, 20, 64), (5, 7, 9)], ids=str)
def test_columns_can_be_shared_out_as_well(shape):
    for A, B in factors(*shape, np.float32):
        whole = multiplied(Crew(1), A, B)
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(multiplied(Crew(threads), A, B, by_columns=True), whole)


def test_numbers_that_are_none_come_through():
    A, B = factors(9, 33, 20, np.float64)[2]
    A[3, 5], B[7, 32] = np.nan, np.inf
    result, expected = multiplied(Crew(2), A, B), A @ B
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(result), np.isinf(expected))


def test_nothing_beside_a_factor_is_read():
    """Rows that end with a page of memory: reading on would be a fault, and what stands there has no influence."""
    poison = np.full(4096, np.nan, np.float32)
    A, B = (poison[start : start + 39].reshape(3, 13) for start in (100, 1000))
    A[:], B[:] = np.arange(39).reshape(3, 13), 1
    np.testing.assert_array_equal(multiplied(Crew(1), A, B.T), A @ B.T)
    np.testing.assert_array_equal(multiplied(Crew(1), A.T, B), A.T @ B)


NARROW = """
import sys
sys.path.insert(0, sys.argv[1])
import test_gemm
test_gemm.SHAPES[:] = [shape for shape in test_gemm.SHAPES if sum(shape) % 5 == 0]
for dtype in test_gemm.TOLERANCE:
    test_gemm.test_products_are_those_of_numpy_whoever_makes_them(dtype)
print("all equal")
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names a processor of another family")
def test_narrower_registers_give_the_same_products(tmp_path):
    """A processor without 64-byte registers has smaller tiles."""
    processor = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"}
    if sys.platform == "linux" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor cannot run code for one with AVX2")
    command = [sys.executable, "-c", NARROW, str(Path(__file__).parents[2])]
    environment = {**os.environ, **processor, "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert result.stdout == "all equal\n", result.stderr
