"""Our own matrix products: those of numpy for every shape, layout and share, with the same bits however shared out."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_kernels import every_library, needs_kernels

from mlp_core.backends.cpu import program as instructions
from mlp_core.backends.cpu.crew import Crew

pytestmark = needs_kernels
BLOCK, BAND = 256, 128  # as in products.c

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-15}  # relative to sqrt(k), the size of a sum of k products of 1
ROWS, INNER, COLUMNS = (1, 3, 7, 8, 15, 17, 33), (1, 5, 15, 16, 40), (1, 3, 4, 10, 31, 32, 33, 50)
BLOCKS = [(40, 2 * BLOCK + 88, 37), (BAND + 2, 1100, 65), (9, BLOCK + 1, 20), (200, 513, 8)]
BLOCKS += [(130, 512, 256), (70, 256, 1024), (65, 512, 67)]  # rows a power of two apart
BLOCKS += [(65, 300, 531), (300, 144, 261)]  # rows of the transposed factor that are packed, and some left over
SHAPES = [(b, n, m) for b in ROWS for n in INNER for m in COLUMNS] + BLOCKS


def factors(b: int, n: int, m: int, dtype: type) -> list[tuple[np.ndarray, np.ndarray]]:
    """The factors of X W^T, Delta^T X and Delta W."""
    rng = np.random.default_rng(b + 100 * n + 10_000 * m)
    X, W, Delta = (rng.standard_normal(shape).astype(dtype) for shape in ((b, n), (m, n), (b, m)))
    return [(X, W.T), (Delta.T, X), (Delta, W)]


def multiplied(crew: Crew, A: np.ndarray, B: np.ndarray, by_columns: bool = False) -> np.ndarray:
    """A @ B in the first rows of an array; the row behind them must stay as it is."""
    room = np.full((len(A) + 1, B.shape[1]), np.nan, A.dtype)
    program = [instructions.product(A, B, room[:-1], crew.scratch, by_columns)]
    crew.run(instructions.assemble(crew.library, program))
    assert np.isnan(room[-1]).all()
    return room[:-1]


@every_library
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_products_are_those_of_numpy_whoever_makes_them(dtype, library):
    crews = [Crew(threads, kernels=library) for threads in (1, 2, 3)]
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


@every_library
def test_nothing_beside_a_factor_is_read(library):
    """Rows that end with a page of memory: reading on would be a fault, and what stands there has no influence."""
    poison = np.full(4096, np.nan, np.float32)
    for rows in (3, 37):
        A, B = (poison[start : start + 13 * rows].reshape(rows, 13) for start in (100, 1000))
        A[:], B[:] = np.arange(13 * rows).reshape(rows, 13), 1
        np.testing.assert_array_equal(multiplied(Crew(1, kernels=library), A, B.T), A @ B.T)
        np.testing.assert_array_equal(multiplied(Crew(1, kernels=library), A.T, B), A.T @ B)
