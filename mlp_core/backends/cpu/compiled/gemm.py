"""Matrix products for compiled code: small tiles of the result are summed up in registers, straight from memory.

A general BLAS copies both factors into an order that suits it before it multiplies. In a training step the batch is
short, and this copying takes up to half of the time; here the factors are read where they lie, rows of the weights
along k as `X W^T` needs them, rows of the batch or of the weights along j for the two gradients. Blocks along k keep
what is read again in the caches. A sum goes through k in a fixed order, so the bits depend on the shapes, the number of
threads and the width of the processor's registers alone.

The tiles are written in LLVM's own vectors, because no loop in Python can say that a sum shall stay in a register.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending
from numba.core import cgutils, config, types

from mlp_core.backends.cpu.compiled.layout import BAND, BLOCK
from mlp_core.backends.cpu.compiled.loops import compiled
from mlp_core.backends.cpu.compiled.native import pointer

_FEATURES = config.CPU_FEATURES or llvm.get_host_cpu_features().flatten()  # of the processor that is compiled for
_WIDE = "+avx512f" in _FEATURES  # 32 registers of 64 bytes, else at least 16 of 32
_BYTES = 64 if _WIDE else 32
_TALL = 8 if _WIDE else 4  # rows of an outer tile; it is two registers wide
_DOT_ROWS, _DOT_COLUMNS = (4, 4) if _WIDE else (2, 4)

intrinsic: Any = extending.intrinsic
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_Value = Any


class _Tile:
    """What the tiles share: places in memory, and vectors of as many numbers as a register has lanes."""

    def __init__(self, context: Any, builder: Any, like: Any) -> None:
        self.builder, self.real, self.size = builder, context.get_data_type(like.dtype), like.dtype.bitwidth // 8
        self.lanes = _BYTES // self.size
        self.vector = ir.VectorType(self.real, self.lanes)
        self._name = f"v{self.lanes}f{8 * self.size}"

    def at(self, memory: _Value, number: _Value | int, times: int = 1) -> _Value:
        """The place `times * number` numbers on from a place, or from an address."""
        if memory.type == _I64:
            memory = self.builder.inttoptr(memory, self.real.as_pointer())
        if isinstance(number, int):
            number = _I64(number)
        return self.builder.gep(memory, [number if times == 1 else self.builder.mul(number, _I64(times))])

    def _call(self, name: str, result: Any, arguments: list[_Value]) -> _Value:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def first_lanes(self, count: _Value) -> _Value:
        """A mask that is true in the first `count` lanes."""
        numbers = ir.VectorType(_I64, self.lanes)
        lanes = ir.Constant(numbers, list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self._splat(count, numbers))

    def _splat(self, value: _Value, kind: Any) -> _Value:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def everywhere(self, place: _Value) -> _Value:
        """The number at a place, in every lane."""
        return self._splat(self.builder.load(place), self.vector)

    def load(self, place: _Value, mask: _Value | None = None) -> _Value:
        """A vector from memory; 0 in the lanes that a mask leaves out, whose memory is not touched."""
        pointer = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.size)
        zeros = ir.Constant(self.vector, None)
        return self._call(f"llvm.masked.load.{self._name}.p0", self.vector, [pointer, _I32(self.size), mask, zeros])

    def store(self, value: _Value, place: _Value, mask: _Value | None = None) -> None:
        pointer = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.size)
        else:
            arguments = [value, pointer, _I32(self.size), mask]
            self._call(f"llvm.masked.store.{self._name}.p0", ir.VoidType(), arguments)

    def sums(self, count: int) -> list[_Value]:
        """Registers that sums begin in, at 0. They are written as memory; the optimizer knows better."""
        zeros = ir.Constant(self.vector, None)
        return [cgutils.alloca_once_value(self.builder, zeros) for _ in range(count)]

    def add_product(self, total: _Value, a: _Value, b: _Value) -> None:
        """total += a b, rounded once where the processor can."""
        value = self._call(f"llvm.fmuladd.{self._name}", self.vector, [a, b, self.builder.load(total)])
        self.builder.store(value, total)

    def across(self, vectors: list[_Value]) -> list[_Value]:
        """The sum over the lanes of each vector: as vectors of these sums if there are enough of them, else one by one.

        In each round two vectors become one, whose lanes alternate between their sums of twice as many lanes.
        """
        every, step = len(vectors) % self.lanes == 0, 1
        while step < self.lanes:
            pairs = zip(vectors[::2], vectors[1::2], strict=True) if every else zip(vectors, vectors, strict=True)
            vectors = [self._fold(a, b, step) for a, b in pairs]
            step *= 2
        return vectors if every else [self.builder.extract_element(vector, _I32(0)) for vector in vectors]

    def _fold(self, a: _Value, b: _Value, step: int) -> _Value:
        lanes = range(self.lanes)
        left = [lane & ~step if not lane & step else self.lanes + (lane & ~step) for lane in lanes]
        right = [lane | step if not lane & step else self.lanes + (lane | step) for lane in lanes]
        masks = [ir.Constant(ir.VectorType(_I32, self.lanes), places) for places in (left, right)]
        return self.builder.fadd(*(self.builder.shuffle_vector(a, b, mask) for mask in masks))


def _outer_tile(rows: int, columns: int) -> Any:
    """C[i, j] (+)= sum over k of A(i, k) B[k, j], for `rows` rows and `columns` registers of j, or `left` numbers."""

    @intrinsic
    def tile(
        typingctx: Any, like: Any, A: Any, row: Any, step: Any, B: Any, ldb: Any, C: Any, ldc: Any, length: Any,
        first: Any, left: Any
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            t = _Tile(context, builder, like)
            A, row, step, B, ldb, C, ldc, length, first, left = args[1:]
            mask = t.first_lanes(left) if columns == 1 else None
            total = t.sums(rows * columns)
            places = [t.at(t.at(C, ldc, i), t.lanes * j) for i in range(rows) for j in range(columns)]
            with builder.if_then(builder.icmp_signed("==", first, _I64(0))):
                for place, register in zip(places, total, strict=True):
                    builder.store(t.load(place, mask), register)
            with cgutils.for_range(builder, length) as loop:
                panel, column = t.at(t.at(B, 0), builder.mul(loop.index, ldb)), builder.mul(loop.index, step)
                b = [t.load(t.at(panel, t.lanes * j), mask) for j in range(columns)]
                for i in range(rows):
                    a = t.everywhere(t.at(t.at(A, column), row, i))
                    for j in range(columns):
                        t.add_product(total[columns * i + j], a, b[j])
            for place, register in zip(places, total, strict=True):
                t.store(builder.load(register), place, mask)
            return context.get_dummy_value()

        return types.void(like, *[types.int64] * 10), generate

    return tile


def _dot_tile(rows: int, columns: int) -> Any:
    """C[i, j] (+)= sum over k of A[i, k] B[j, k], for `rows` rows i and `columns` rows j."""

    @intrinsic
    def tile(
        typingctx: Any, like: Any, A: Any, lda: Any, B: Any, ldb: Any, C: Any, ldc: Any, length: Any, first: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            t = _Tile(context, builder, like)
            A, lda, B, ldb, C, ldc, length, first = args[1:]
            total, whole = t.sums(rows * columns), builder.and_(length, _I64(-t.lanes))

            def add(k: _Value, mask: _Value | None) -> None:
                a = [t.load(t.at(t.at(A, k), lda, i), mask) for i in range(rows)]
                b = [t.load(t.at(t.at(B, k), ldb, j), mask) for j in range(columns)]
                for i in range(rows):
                    for j in range(columns):
                        t.add_product(total[columns * i + j], a[i], b[j])

            with cgutils.for_range_slice(builder, _I64(0), whole, _I64(t.lanes)) as (k, _):
                add(k, None)
            with builder.if_then(builder.icmp_signed("<", whole, length)):
                add(whole, t.first_lanes(builder.sub(length, whole)))
            values = t.across([builder.load(register) for register in total])
            again = builder.icmp_signed("==", first, _I64(0))
            for number in range(rows * columns):
                value = values[number // t.lanes] if len(values) < rows * columns else values[number]
                if value.type == t.vector:
                    value = builder.extract_element(value, _I32(number % t.lanes))
                place = t.at(t.at(C, ldc, number // columns), number % columns)
                before = builder.select(again, builder.load(place), ir.Constant(t.real, 0.0))
                builder.store(builder.fadd(before, value), place)
            return context.get_dummy_value()

        return types.void(like, *[types.int64] * 8), generate

    return tile


_tall_wide, _tall_last = _outer_tile(_TALL, 2), _outer_tile(_TALL, 1)
_row_wide, _row_last = _outer_tile(1, 2), _outer_tile(1, 1)
_square, _column, _line, _single = (
    _dot_tile(_DOT_ROWS, _DOT_COLUMNS),
    _dot_tile(_DOT_ROWS, 1),
    _dot_tile(1, _DOT_COLUMNS),
    _dot_tile(1, 1),
)


@compiled
def _far_apart(stride: int, size: int, rows: int) -> bool:
    """Whether rows that many numbers apart are best copied before they are read `rows` times: a multiple of 1 KiB makes
    them all compete for the same few places in a cache."""
    return rows >= 64 and stride * size % 1024 == 0


@compiled
def _copied(like: Any, size: int, source: int, stride: int, rows: int, columns: int, target: int, width: int) -> None:
    for i in range(rows):
        line, copy = pointer(source + size * stride * i, like), pointer(target + size * width * i, like)
        for j in range(columns):
            copy[j] = line[j]


@compiled
def outer_product(
    like: Any, size: int, A: int, row: int, step: int, B: int, ldb: int, C: int, ldc: int, m: int, n: int, k: int,
    scratch: int
) -> None:  # fmt: skip
    """C [m, n] = A [m, k] B [k, n]. A, B and C are addresses, `size` bytes to a number; `scratch` of SCRATCH bytes.

    A(i, k) is `row` i + `step` k numbers on from A; rows of B are ldb numbers apart, those of C ldc.
    """
    lanes = _BYTES // size
    for k0 in range(0, k, BLOCK):
        length, first = min(BLOCK, k - k0), 1 if k0 == 0 else 0
        for j in range(0, n, 2 * lanes):
            left = n - j
            panel, ldp = B + size * (ldb * k0 + j), ldb
            if _far_apart(ldb, size, m):
                _copied(like, size, panel, ldb, length, min(left, 2 * lanes), scratch, 2 * lanes)
                panel, ldp = scratch, 2 * lanes
            for i in range(0, m - m % _TALL, _TALL):
                a, b, c = A + size * (row * i + step * k0), panel, C + size * (ldc * i + j)
                if left >= 2 * lanes:
                    _tall_wide(like, a, row, step, b, ldp, c, ldc, length, first, lanes)
                else:
                    _tall_last(like, a, row, step, b, ldp, c, ldc, length, first, left)
                    if left > lanes:
                        b, c = b + size * lanes, c + size * lanes
                        _tall_last(like, a, row, step, b, ldp, c, ldc, length, first, left - lanes)
            for i in range(m - m % _TALL, m):
                a, b, c = A + size * (row * i + step * k0), panel, C + size * (ldc * i + j)
                if left >= 2 * lanes:
                    _row_wide(like, a, row, step, b, ldp, c, ldc, length, first, lanes)
                else:
                    _row_last(like, a, row, step, b, ldp, c, ldc, length, first, left)
                    if left > lanes:
                        b, c = b + size * lanes, c + size * lanes
                        _row_last(like, a, row, step, b, ldp, c, ldc, length, first, left - lanes)


@compiled
def dot_product(
    like: Any, size: int, A: int, lda: int, B: int, ldb: int, C: int, ldc: int, m: int, n: int, k: int, scratch: int
) -> None:
    """C [m, n] = A [m, k] B^T, B [n, k]: rows of A, B and C are lda, ldb and ldc numbers apart; else as above."""
    for k0 in range(0, k, 2 * BLOCK):
        length, first = min(2 * BLOCK, k - k0), 1 if k0 == 0 else 0
        for i0 in range(0, m, BAND):
            end = min(m, i0 + BAND)
            whole = end - (end - i0) % _DOT_ROWS
            block, ldx = A + size * (lda * i0 + k0), lda
            if _far_apart(lda, size, n):
                ldx = length + 16
                _copied(like, size, block, lda, end - i0, length, scratch, ldx)
                block = scratch
            for j in range(0, n - n % _DOT_COLUMNS, _DOT_COLUMNS):
                b = B + size * (ldb * j + k0)
                for i in range(i0, whole, _DOT_ROWS):
                    _square(
                        like, block + size * ldx * (i - i0), ldx, b, ldb, C + size * (ldc * i + j), ldc, length, first
                    )
                for i in range(whole, end):
                    _line(
                        like, block + size * ldx * (i - i0), ldx, b, ldb, C + size * (ldc * i + j), ldc, length, first
                    )
            for j in range(n - n % _DOT_COLUMNS, n):
                b = B + size * (ldb * j + k0)
                for i in range(i0, whole, _DOT_ROWS):
                    _column(
                        like, block + size * ldx * (i - i0), ldx, b, ldb, C + size * (ldc * i + j), ldc, length, first
                    )
                for i in range(whole, end):
                    _single(
                        like, block + size * ldx * (i - i0), ldx, b, ldb, C + size * (ldc * i + j), ldc, length, first
                    )
