"""What compiled loops need beside arithmetic: memory and functions by their address, numbers that threads share, sleep.

Everything here is for code compiled by numba. An address is an int64; what it points to must outlive its use.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils
from numba.core import types as numba_types

intrinsic: Any = extending.intrinsic
types: Any = numba_types
_I8, _I64 = ir.IntType(8), ir.IntType(64)
WORDS = types.CPointer(types.int64)

read: Any = types.ExternalFunction("read", types.intp(types.int32, types.intp, types.intp))
"""read(2): waits, asleep, until there are bytes in a pipe."""

write: Any = types.ExternalFunction("write", types.intp(types.int32, types.intp, types.intp))
"""write(2)."""


@intrinsic
def pointer(typingctx: Any, address: Any, like: Any) -> Any:
    """The address as a pointer of the type of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(like))

    return like(types.int64, like), generate


def _pointer_to(kind: Any, name: str) -> Any:
    """An intrinsic: the address as a pointer to numbers of a kind."""

    def pointer_to(typingctx: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate

    pointer_to.__name__ = name
    return intrinsic(pointer_to)


words, float64s = _pointer_to(types.int64, "words"), _pointer_to(types.float64, "float64s")
float32s, uint8s = _pointer_to(types.float32, "float32s"), _pointer_to(types.uint8, "uint8s")
int32s, uint64s = _pointer_to(types.int32, "int32s"), _pointer_to(types.uint64, "uint64s")


@intrinsic
def address(typingctx: Any, place: Any) -> Any:
    """The address that a pointer holds."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], _I64)

    return types.int64(place), generate


@intrinsic
def call(typingctx: Any, function: Any, record: Any, part: Any, parts: Any) -> Any:
    """Call a function by its address: function(record, null, part, parts). It cannot raise."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        slot = _I8.as_pointer().as_pointer()  # for a result and an exception, as numba passes them
        arguments = [slot, slot, _I64.as_pointer(), _I8.as_pointer(), _I64, _I64]
        kind = ir.FunctionType(ir.IntType(32), arguments)
        slots = [cgutils.alloca_once(builder, _I8.as_pointer()) for _ in range(2)]
        null = ir.Constant(_I8.as_pointer(), None)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [*slots, args[1], null, *args[2:]])
        return context.get_dummy_value()

    return types.void(types.int64, WORDS, types.int64, types.int64), generate


@intrinsic
def load(typingctx: Any, address: Any) -> Any:
    """The int64 at an address, as the last thread that stored it left it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(args[0], _I64.as_pointer()), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def add(typingctx: Any, address: Any, value: Any) -> Any:
    """The int64 that was at an address before `value` was added to it, in one piece."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def swap(typingctx: Any, address: Any, value: Any) -> Any:
    """The int64 that was at an address before it became `value`, in one piece."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def fetch(typingctx: Any, address: Any) -> Any:
    """Begin to bring the line of memory at an address into the first-level cache."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, word = builder.inttoptr(args[0], _I8.as_pointer()), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def high(typingctx: Any, a: Any, b: Any) -> Any:
    """The upper 64 of the 128 bits of a b, both uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        whole = builder.mul(*(builder.zext(value, wide) for value in args))
        return builder.trunc(builder.lshr(whole, wide(64)), _I64)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def power_of_two(typingctx: Any, k: Any) -> Any:
    """2^k for a whole number k, float32 or float64, by writing down its bits; k such that it is a normal number."""
    digits, bias, bits = (23, 127, ir.IntType(32)) if k == types.float32 else (52, 1023, _I64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        exponent = builder.add(builder.fptosi(args[0], bits), bits(bias))
        return builder.bitcast(builder.shl(exponent, bits(digits)), context.get_value_type(k))

    return k(k), generate
