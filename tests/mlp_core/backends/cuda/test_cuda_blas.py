"""Products by cuBLAS: how they are put to it, against a column-major product that reads bare addresses."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cuda_shim import COMPILER
from fake_cuda import FakeCublas, backend, equip
from strict_xp import StrictDevice

from mlp_core.backends.cuda import Unusable, cuda_backend, find_device
from mlp_core.backends.cuda.blas import PRECISIONS, Blas, arrange, declare, stored
from mlp_core.backends.cuda.launches import Launch, Launches, overlap, span, without_repeats
from mlp_core.errors import Failed
from mlp_core.nn.layers import product

SIZES = (1, 2, 5)
# a matrix [rows, columns] as a view of a larger one, from a function that makes arrays
WAYS: dict[str, Callable[[Callable[..., Any], int, int], Any]] = {
    "as it is": lambda make, r, c: make(r, c),
    "transposed": lambda make, r, c: make(c, r).T,
    "rows of more": lambda make, r, c: make(r + 3, c)[2 : r + 2],
    "columns of more": lambda make, r, c: make(r, c + 3)[:, 1 : c + 1],
    "both of more, transposed": lambda make, r, c: make(c + 2, r + 3)[1 : c + 1, 2 : r + 2].T,
    "every other row": lambda make, r, c: make(2 * r, c)[::2],
    "every other column, transposed": lambda make, r, c: make(2 * c, r)[::2].T,
}
WITHOUT: dict[str, Callable[[Any], Any]] = {
    "backwards": lambda X: X[::-1],
    "every other column": lambda X: X[:, ::2],
    "columns backwards": lambda X: X[:, ::-1],
    "one row again and again": lambda X: np.broadcast_to(X[0], X.shape),
}


class Rig:
    """A device with products, and numbers for it."""

    def __init__(self, precision: str = "highest") -> None:
        self.device = equip(StrictDevice())
        self.launches, self.library = Launches(), FakeCublas(self.device)
        self.blas = Blas(self.device.xp, self.library, 4096, self.launches, precision)
        self.rng = np.random.default_rng(0)

    def make(self, dtype: str) -> Callable[..., Any]:
        return lambda r, c: self.device.wrap(self.rng.integers(-8, 9, (r, c)).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("a", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("b", WAYS.values(), ids=WAYS.keys())
def test_every_product_of_every_view_is_put_rightly(a, b, dtype):
    rig = Rig()
    make, checked = rig.make(dtype), 0
    for i, k, j in itertools.product(SIZES, repeat=3):
        for out in WAYS.values():
            A, B, C = a(make, i, k), b(make, k, j), out(make, i, j)
            whole = C._array.base if C._array.base is not None else C._array
            before = whole.copy()
            C._array[...] = np.nan
            expected = A.get().astype(int) @ B.get().astype(int)  # whole numbers: exact in any order
            assert rig.blas.product(A, B, C) is C
            np.testing.assert_array_equal(C.get(), expected)
            C._array[...] = 0  # and around it nothing was touched
            inside = C._array.copy()
            C._array[...] = np.inf
            outside = whole != np.inf
            np.testing.assert_array_equal(whole[outside], before[outside])
            C._array[...] = inside
            checked += 1
    assert rig.library.calls == checked == len(SIZES) ** 3 * len(WAYS)


def test_the_three_products_of_a_layer_need_no_copy():
    make = Rig().make("float32")
    X, W, Delta, Z = make(6, 5), make(4, 5), make(6, 4), make(6, 4)
    forward = arrange(X, W.T, Z)
    assert (forward.transa, forward.transb, forward.m, forward.n, forward.k) == (1, 0, 4, 6, 5)
    assert (forward.lda, forward.ldb, forward.ldc) == (5, 5, 4)
    weights = arrange(Delta.T, X, make(4, 5))
    assert (weights.transa, weights.transb, weights.m, weights.n, weights.k) == (0, 1, 5, 4, 6)
    inputs = arrange(Delta, W, make(6, 5))
    assert (inputs.transa, inputs.transb, inputs.m, inputs.n, inputs.k) == (0, 0, 5, 6, 4)


@pytest.mark.parametrize("change", WITHOUT.values(), ids=WITHOUT.keys())
def test_what_has_gaps_both_ways_or_runs_backwards_is_left_to_the_array_module(change):
    rig = Rig()
    make = rig.make("float64")
    odd = rig.device.wrap(change(make(4, 4)._array))
    assert stored(odd) is None
    B, C = make(odd.shape[1], 3), make(odd.shape[0], 3)
    rig.blas.product(odd, B, C)
    np.testing.assert_array_equal(C.get(), odd.get() @ B.get())
    assert rig.library.calls == 0
    with pytest.raises(ValueError, match="no product"), rig.launches.writing_down():
        rig.blas.product(odd, B, C)


@pytest.mark.parametrize("dtypes", [("complex128",) * 3, ("float32", "float64", "float64")], ids=str)
def test_other_numbers_are_left_to_the_array_module(dtypes):
    rig = Rig()
    A, B, C = (rig.make(dtype)(3, 3) for dtype in dtypes)
    rig.blas.product(A, B, C)
    np.testing.assert_array_equal(C.get(), A.get() @ B.get())
    assert rig.library.calls == 0


def test_the_library_is_told_its_stream_before_its_workspace():
    rig = Rig()
    assert rig.library.state == ["created", "stream", "workspace"]
    with pytest.raises(AssertionError, match="default stream"):
        Blas(rig.device.xp, FakeCublas(rig.device), 0, rig.launches)


@pytest.mark.parametrize(("status", "word"), [(13, "execution failed"), (99, "status 99")])
def test_a_failure_of_the_library_is_told(status, word):
    rig = Rig()
    rig.library.cublasGemmEx._call = lambda *arguments: status
    make = rig.make("float32")
    with pytest.raises(Failed, match=word):
        rig.blas.product(make(2, 2), make(2, 2), make(2, 2))


def test_a_product_that_is_written_down_is_carried_out_when_it_is_run():
    rig = Rig()
    make = rig.make("float32")
    A, B, C = make(2, 3), make(3, 4), make(2, 4)
    with rig.launches.writing_down() as written:
        rig.blas.product(A, B, C)
    assert rig.library.calls == 0
    assert [(launch.name, launch.reads, launch.writes) for launch in written] == [("gemm", (B, A), (C,))]
    A._array[...] = 1
    written[0].run()
    np.testing.assert_array_equal(C.get(), np.ones((2, 3)) @ B.get())


# --- precision ---

GPU = pytest.param("gpu", marks=pytest.mark.gpu)
# of a factor: half a unit in its last place, 2^-24, 2^-11 and 2^-8 of its size
FACTOR = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}


def machine(name: str, precision: str) -> Any:
    if name == "gpu":
        found = find_device()
        if isinstance(found, Unusable):
            pytest.skip(found.reason)
        return cuda_backend(0, precision=precision)
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return backend(equip(StrictDevice()), precision)


@pytest.mark.parametrize("where", ["stand-in", GPU])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precisions_keep_their_error_bounds(where, precision, dtype):
    used = machine(where, precision)
    rng, multiply = np.random.default_rng(1), used.primitive(product)
    A, B = rng.standard_normal((2, 96, 96)).astype(dtype)
    exact = A.astype(np.float64) @ B.astype(np.float64)
    sizes = abs(A).astype(np.float64) @ abs(B).astype(np.float64)
    for a, b in ((A, B), (A.T.copy(), B), (A, B.T.copy())):
        there = [used.asarray(a), used.asarray(b)]
        there = [there[0] if a is A else there[0].T, there[1] if b is B else there[1].T]
        got = used.to_host(multiply(*there, used.empty((96, 96), dtype)))
        error = (abs(got - exact) / sizes).max()
        sums = 96 * np.finfo(dtype).eps
        factor = 2.0**-53 if dtype == "float64" else FACTOR[precision]
        assert error <= 2.01 * factor + factor**2 + sums
        if dtype == "float32" and precision != "highest" and where != "gpu":
            assert error > 2 * FACTOR["highest"]  # it is not the same as highest


@pytest.mark.parametrize("where", ["stand-in", GPU])
def test_factors_that_bfloat16_holds_lose_nothing(where):
    used = machine(where, "medium")
    A, B = np.random.default_rng(2).integers(-128, 129, (2, 7, 7)).astype(np.float32)
    got = used.primitive(product)(used.asarray(A), used.asarray(B), used.empty((7, 7), np.float32))
    np.testing.assert_array_equal(used.to_host(got), A @ B)


ROUNDED = [  # by hand: sign, exponent and 7 bits stay
    (1.0, 0x3F80),
    (-2.5, 0xC020),
    (1 + 2**-8, 0x3F80),  # as near to both: the even one
    (1 + 3 * 2**-8, 0x3F82),
    (1 + 2**-8 + 2**-20, 0x3F81),
    (3.3895313892515355e38, 0x7F7F),  # the largest bfloat16
    (3.4e38, 0x7F80),  # nearer to infinity
    (float("inf"), 0x7F80),
    (float("-inf"), 0xFF80),
    (1e-40, 0x0001),
    (0.0, 0x0000),
    (-0.0, 0x8000),
]


@pytest.mark.parametrize("where", ["stand-in", GPU])
def test_numbers_are_rounded_to_the_nearest_bfloat16(where):
    used = machine(where, "medium")
    narrow = used.recorder.kernels.narrow
    row = used.asarray(np.array([[*(number for number, _ in ROUNDED), np.nan]], np.float32))
    bits = used.to_host(narrow(row, "left"))[0]
    assert bits[:-1].tolist() == [bits for _, bits in ROUNDED]
    assert np.isnan(np.array([int(bits[-1]) << 16], np.uint32).view(np.float32)).all()
    torch = pytest.importorskip("torch")
    numbers = np.random.default_rng(3).integers(0, 2**32, (50, 40), dtype=np.uint32).view(np.float32)
    numbers = np.where(np.isnan(numbers), 0, numbers)
    part = used.to_host(narrow(used.asarray(numbers)[3:30, 5:25], "left"))
    expected = torch.from_numpy(numbers[3:30, 5:25].copy()).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(part, expected)


# --- launches ---


def launch(name: str, reads: list[Any], writes: list[Any]) -> Launch:
    return Launch(name, lambda: None, (), tuple(reads), tuple(writes))


def test_a_copy_is_not_made_twice_unless_something_was_written_in_between():
    make = Rig().make("float32")
    X, Y, copy, other = make(4, 4), make(4, 4), make(4, 4), make(4, 4)
    copied = launch("narrow", [X], [copy])
    part = launch("narrow", [X[:2]], [copy])
    cases = [
        ([copied, copied], 1),
        ([copied, launch("gemm", [copy, X], [Y]), copied], 2),
        ([copied, launch("k", [Y], [X]), copied], 3),
        ([copied, launch("k", [Y], [X[3:]]), copied], 3),
        ([copied, launch("k", [Y], [copy]), copied], 3),
        ([copied, launch("narrow", [Y], [copy]), copied], 3),
        ([copied, part], 2),
        ([copied, launch("narrow", [X], [other]), copied], 2),
        ([launch("k", [X], [Y]), launch("k", [X], [Y])], 2),
    ]
    for launches, left in cases:
        assert len(without_repeats(launches, "narrow")) == left


def test_spans_of_views():
    whole = Rig().make("float64")(4, 5)
    begin = span(whole)[0]
    assert span(whole) == (begin, begin + 160)
    assert span(whole.T) == span(whole)
    assert span(whole[1:3, 2:4]) == (begin + 8 * 7, begin + 8 * 14)
    assert span(whole[::-1]) == span(whole)
    assert overlap(whole[:2], whole[1:])
    assert not overlap(whole[:2], whole[2:])


def test_the_real_library_has_what_is_called():
    """Without a GPU it can be loaded, and refuses to begin."""
    pytest.importorskip("cuda.pathfinder", reason="cupy is not installed (it can be, without a GPU)")
    from mlp_core.backends.cuda.blas import load_cublas

    library, version = declare(load_cublas()), ctypes.c_int()
    assert library.cublasGetVersion_v2(None, ctypes.byref(version)) == 0
    assert version.value >= 120000
    handle = ctypes.c_void_p()
    assert library.cublasCreate_v2(ctypes.byref(handle)) in (0, 1)
