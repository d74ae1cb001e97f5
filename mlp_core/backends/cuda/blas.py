"""Matrix products by cuBLAS, called directly, because cupy refuses to have its own calls captured in a CUDA graph.

cuBLAS itself can be captured. The library is the one that cupy has loaded: `cuda.pathfinder`, which cupy depends on,
finds it, and the dynamic loader gives the same library again. Five of its functions are all that is needed, so they are
declared here; a package of bindings would be a dependency for them.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlp_core.backends.cuda.launches import Launch, Launches
from mlp_core.errors import Failed, Problem
from mlp_core.nn.backend import Array

WORKSPACE = 32 << 20
"""Bytes lent to cuBLAS for its own use: what NVIDIA recommends for Hopper. Its own would be taken during a capture."""

PRECISIONS = ("highest", "high", "medium")
NORMAL, TRANSPOSED = 0, 1  # cublasOperation_t
FLOAT, DOUBLE, BFLOAT16 = 0, 1, 14  # cudaDataType_t
COMPUTE_FLOAT, COMPUTE_TF32, COMPUTE_DOUBLE = 68, 77, 70  # cublasComputeType_t
DEFAULT_ALGORITHM = -1  # cublasGemmAlgo_t
STATUS = {
    1: "not initialized",
    3: "out of memory",
    7: "invalid value",
    8: "architecture mismatch",
    11: "mapping error",
    13: "execution failed",
    14: "internal error",
    15: "not supported",
    16: "license error",
}
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Gemm:
    """A product as cuBLAS takes it, in its column-major terms: C [m, n] = op(A) [m, k] @ op(B) [k, n].

    `op` transposes where the flag says so; `lda`, `ldb`, `ldc` are the distances between columns as stored, in entries.
    """

    transa: int
    transb: int
    m: int
    n: int
    k: int
    A: Array
    lda: int
    B: Array
    ldb: int
    C: Array
    ldc: int


def stored(array: Array) -> tuple[bool, int] | None:
    """How a matrix lies in memory: whether its columns lie whole, as those of `X.T` do, and the entries from one row
    (or column) to the next. None if neither rows nor columns lie whole, forwards and apart.

    A row-major matrix is the transpose of a column-major one with the same memory and the same distance.
    """
    (rows, columns), itemsize = array.shape, array.dtype.itemsize
    down, along = (stride // itemsize for stride in array.strides)
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        return False, down if rows > 1 else columns
    if (down == 1 or rows == 1) and (along >= rows or columns == 1):
        return True, along if columns > 1 else rows
    return None


def arrange(A: Array, B: Array, out: Array) -> Gemm | None:
    """`out = A @ B` for cuBLAS, A [i, k], B [k, j], out [i, j]; None where rows or columns of one of them do not lie
    whole.

    To cuBLAS a row-major `out` is its transpose, and out^T = B^T A^T: so the operands change places, and one that is
    row-major is transposed already. A column-major `out` is the same product, transposed.
    """
    place = stored(out)
    if place is not None and place[0]:
        A, B, out = B.T, A.T, out.T
    left, right, place = stored(A), stored(B), stored(out)
    if left is None or right is None or place is None or place[0]:
        return None
    (rows, inner), columns = A.shape, B.shape[1]
    if max(rows, inner, columns, left[1], right[1], place[1]) > _LARGEST:
        return None
    flags = (TRANSPOSED if right[0] else NORMAL, TRANSPOSED if left[0] else NORMAL)
    return Gemm(*flags, columns, rows, inner, B, max(1, right[1]), A, max(1, left[1]), out, max(1, place[1]))


def load_cublas() -> Any:
    """The cuBLAS that cupy uses."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    return ctypes.CDLL(load_nvidia_dynamic_lib("cublas").abs_path)


def declare(library: Any) -> Any:
    """Tell ctypes what the five functions take: without that it would cut pointers to 32 bits."""
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    library.cublasCreate_v2.argtypes = [ctypes.POINTER(pointer)]
    library.cublasDestroy_v2.argtypes = [pointer]
    library.cublasSetStream_v2.argtypes = [pointer, pointer]
    library.cublasSetWorkspace_v2.argtypes = [pointer, pointer, ctypes.c_size_t]
    library.cublasGemmEx.argtypes = [
        *(pointer, integer, integer, integer, integer, integer, pointer),
        *(pointer, integer, integer, pointer, integer, integer, pointer),
        *(pointer, integer, integer, integer, integer),
    ]
    return library


class Blas:
    """cuBLAS on one stream of one device, with a handle and a workspace of its own.

    `precision` is that of products of float32 numbers, in PyTorch's words:

    - highest: float32, every product and sum
    - high: factors rounded to TF32 (10 bits after the point), sums in float32
    - medium: factors rounded to bfloat16 (7 bits) by a kernel, into copies; sums, results and the weights themselves
      stay float32

    Products of float64 are always products of float64. Everything else that has no place here (complex numbers, mixed
    dtypes, gaps in both directions) is left to `xp`.
    """

    def __init__(
        self, xp: Any, library: Any, stream: int, launches: Launches, precision: str = "highest", narrow: Any = None
    ) -> None:
        assert precision in PRECISIONS
        self.xp, self.precision = xp, precision
        self._library, self._launches, self._narrow = declare(library), launches, narrow
        self._handle = ctypes.c_void_p()
        _check(self._library.cublasCreate_v2(ctypes.byref(self._handle)))
        _check(self._library.cublasSetStream_v2(self._handle, stream))
        self._workspace = xp.empty((WORKSPACE,), dtype="uint8")
        # after the stream: to set a stream takes the workspace away again
        _check(self._library.cublasSetWorkspace_v2(self._handle, int(self._workspace.data.ptr), WORKSPACE))

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.cublasDestroy_v2(self._handle)

    @cached_property
    def _numbers(self) -> dict[str, tuple[Any, Any]]:
        """One and zero in each type that cuBLAS sums in, as it takes them: by address, and read when it is called."""
        return {kind: (c(1), c(0)) for kind, c in (("f", ctypes.c_float), ("d", ctypes.c_double))}

    def product(self, A: Array, B: Array, out: Array) -> Array:
        """out = A @ B. A [i, k], B [k, j], out [i, j]."""
        return self._product(A, B, out, self.precision)

    def exact(self, A: Array, B: Array, out: Array) -> Array:
        """The same in highest precision."""
        return self._product(A, B, out, "highest")

    def _product(self, A: Array, B: Array, out: Array, precision: str) -> Array:
        kind = out.dtype.char
        known = kind in "fd" and A.dtype == B.dtype == out.dtype and A.ndim == B.ndim == 2
        gemm = arrange(A, B, out) if known else None
        if gemm is None or math.prod(out.shape) == 0:
            if self._launches.listed is not None:
                raise ValueError(f"cuBLAS has no product of {A.dtype}{A.shape} {A.strides} and {B.dtype}{B.shape}")
            return self.xp.matmul(A, B, out=out)
        operand = result = FLOAT if kind == "f" else DOUBLE
        compute = COMPUTE_DOUBLE if kind == "d" else COMPUTE_TF32 if precision == "high" else COMPUTE_FLOAT
        if kind == "f" and precision == "medium":
            gemm, operand = self._narrowed(gemm), BFLOAT16
        arguments = (gemm, operand, result, compute, *self._numbers[kind])
        self._launches.give(Launch("gemm", self._multiply, arguments, (gemm.A, gemm.B), (gemm.C,)))
        return out

    def _narrowed(self, gemm: Gemm) -> Gemm:
        """The same product of factors that are copied as bfloat16, without gaps."""
        A = self._narrow(gemm.A.T if gemm.transa else gemm.A, "left")
        B = self._narrow(gemm.B.T if gemm.transb else gemm.B, "right")
        sizes = gemm.transa, gemm.transb, gemm.m, gemm.n, gemm.k
        return Gemm(*sizes, A, A.shape[1], B, B.shape[1], gemm.C, gemm.ldc)

    def _multiply(self, gemm: Gemm, operand: int, result: int, compute: int, one: Any, zero: Any) -> None:
        """Hand a product over to cuBLAS."""
        _check(
            self._library.cublasGemmEx(
                *(self._handle, gemm.transa, gemm.transb, gemm.m, gemm.n, gemm.k, ctypes.byref(one)),
                *(int(gemm.A.data.ptr), operand, gemm.lda, int(gemm.B.data.ptr), operand, gemm.ldb),
                *(ctypes.byref(zero), int(gemm.C.data.ptr), result, gemm.ldc, compute, DEFAULT_ALGORITHM),
            )
        )


def _check(status: int) -> None:
    if status:
        message = f"cuBLAS failed: {STATUS.get(status, f'status {status}')}"
        raise Failed(Problem("cublas", message, "check nvidia-smi; the GPU's memory may be full"))
