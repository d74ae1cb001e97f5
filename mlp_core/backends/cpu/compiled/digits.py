"""Lines of plain cells at the speed of memory: numbers, and words told apart by a hash table.

Numbers come out as Python's `float` reads them, to the last bit: up to 19 digits by the algorithm of Lemire ("Number
parsing at a gigabyte per second", Software: Practice and Experience, 2021), what that cannot decide by `float` itself.
`a` is the record that `parsing` describes. Both functions do the whole of it, whatever the part.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from mlp_core.backends.cpu.compiled.loops import compiled
from mlp_core.backends.cpu.compiled.native import float64s, high, int32s, uint8s, uint64s, words
from mlp_core.backends.cpu.compiled.parsing import (
    ARENA,
    BAD,
    COLUMNS,
    DELIMITER,
    ENDS,
    FOUND,
    HARD,
    HARD_ROOM,
    HASHES,
    LINES,
    MARKER_COUNT,
    MARKER_ENDS,
    MARKERS,
    MASK,
    MISSING,
    OWNERS,
    QUOTE,
    ROOM,
    ROWS,
    SIZE,
    SLOTS,
    TEXT,
    VALUES,
    WORDS,
)

LOWEST, HIGHEST = -64, 64  # powers of ten with which a decimal mantissa of 19 digits stays a normal number
NUMBER, UNSURE, NONE = 1, 2, 0
_U: Any = np.uint64
_I: Any = np.int64
_ZERO, _NINE = np.uint8(48), np.uint8(9)
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _inlined(function: _Function) -> _Function:
    return compiled(function, partial(numba.njit, forceinline=True))


def _powers() -> npt.NDArray[np.uint64]:
    """The first 128 bits of 10^q for every q, as [q, (high, low)], rounded down for q >= 0, else up."""
    table = []
    for q in range(LOWEST, HIGHEST + 1):
        if q >= 0:
            value = 5**q
            shift = value.bit_length() - 128
            value = value >> shift if shift > 0 else value << -shift
        else:
            power = 5**-q
            bits = power.bit_length() + 127
            value = (1 << bits) // power + 1
            value >>= value.bit_length() - 128
        table.append((value >> 64, value & (2**64 - 1)))
    return np.array(table, np.uint64)


POWERS = _powers()
TENS = np.array([10.0**q for q in range(23)])  # the exact ones


@_inlined
def _bits(w: Any, q: int) -> Any:
    """The bits of the double nearest to w 10^q (w > 0), or 0 where that takes more than 128 bits to decide."""
    lead = 0
    while w >> _U(63) == 0:
        w <<= _U(1)
        lead += 1
    power = _U(q - LOWEST)
    upper, lower = high(w, POWERS[power, 0]), w * POWERS[power, 0]
    if upper & _U(0x1FF) == _U(0x1FF):
        total = lower + high(w, POWERS[power, 1])
        if total < lower:
            upper += _U(1)
        lower = total
    if lower == _U(0xFFFFFFFFFFFFFFFF) and (q < -27 or q > 55):
        return _U(0)
    top = upper >> _U(63)
    shift = top + _U(9)
    mantissa = upper >> shift
    exponent = ((217706 * q) >> 16) + 63 + _I(top) - lead + 1023
    if lower <= _U(1) and -4 <= q <= 23 and mantissa & _U(3) == _U(1) and mantissa << shift == upper:
        mantissa &= ~_U(1)  # exactly between two doubles: to the even one
    mantissa += mantissa & _U(1)
    mantissa >>= _U(1)
    if mantissa >> _U(53):
        mantissa >>= _U(1)
        exponent += 1
    return (mantissa & ~(_U(1) << _U(52))) | (_U(exponent) << _U(52))


@_inlined
def _number(data: Any, at: int, values: Any, bits: Any, cell: int) -> tuple[int, int]:
    """Put the number that starts at `at` into values[cell], which is bits[cell]: its kind, and the place after it.

    Kind: NUMBER; UNSURE for one that `float` has to read; NONE where no number starts.
    """
    negative = data[at] == 45
    if negative or data[at] == 43:
        at += 1
    w, i, first = _U(0), at, at
    while data[i] == 48:
        i += 1
    leading = i
    while data[i] - _ZERO <= _NINE:
        w = w * _U(10) + _U(data[i] - _ZERO)
        i += 1
    digits, length, exponent = i - leading, i - first, 0
    if data[i] == 46:
        i += 1
        point = i
        if digits == 0:
            while data[i] == 48:
                i += 1
        leading = i
        while data[i] - _ZERO <= _NINE:
            w = w * _U(10) + _U(data[i] - _ZERO)
            i += 1
        digits += i - leading
        exponent = point - i
        length -= exponent
    if length == 0:
        return NONE, i
    if data[i] == 101 or data[i] == 69:
        i += 1
        minus = data[i] == 45
        if minus or data[i] == 43:
            i += 1
        if data[i] - _ZERO > _NINE:
            return NONE, i
        e = 0
        while data[i] - _ZERO <= _NINE:
            if e < 10_000:
                e = 10 * e + _I(data[i] - _ZERO)
            i += 1
        exponent += -e if minus else e
    if digits == 0:
        values[cell] = -0.0 if negative else 0.0
        return NUMBER, i
    if digits > 19 or exponent < LOWEST or exponent > HIGHEST:
        return UNSURE, i
    if w >> _U(53) == 0 and -22 <= exponent <= 22:  # both are exact, so one rounding is the nearest
        exact = np.float64(w)
        exact = exact / TENS[_U(-exponent)] if exponent < 0 else exact * TENS[_U(exponent)]
        values[cell] = -exact if negative else exact
        return NUMBER, i
    value = _bits(w, exponent)
    if value == 0:
        return UNSURE, i
    bits[cell] = value | (_U(1) << _U(63) if negative else _U(0))
    return NUMBER, i


@_inlined
def _word(data: Any, start: int, end: int, owner: int, table: Any, mask: int, count: int) -> tuple[int, int]:
    """The number of a word of the column `owner`, and the count of words, one more where it is new."""
    slots, hashes, owners, ends, arena = table
    length, h = end - start, _U(owner + 1) * _U(0x9E3779B97F4A7C15)
    for at in range(start, end):
        h = (h ^ _U(data[at])) * _U(0x100000001B3)
    h ^= h >> _U(32)
    place = _I(h & _U(mask))
    while slots[place] >= 0:
        known = slots[place]
        offset = ends[known]
        if hashes[known] == h and owners[known] == owner and ends[known + 1] - offset == length:
            same = True
            for at in range(length):
                if arena[offset + at] != data[start + at]:
                    same = False
                    break
            if same:
                return _I(known), count
        place = (place + 1) & mask
    slots[place], hashes[count], owners[count] = count, h, owner
    offset = ends[count]
    for at in range(length):
        arena[offset + at] = data[start + at]
    ends[count + 1] = offset + length
    return count, count + 1


@_inlined
def _is_marker(data: Any, start: int, end: int, markers: Any, ends: Any, count: int) -> bool:
    """Whether a cell is one of the markers of missing values."""
    first = 0
    for marker in range(count):
        last = ends[marker]
        if last - first == end - start:
            same = True
            for at in range(end - start):
                if markers[first + at] != data[start + at]:
                    same = False
                    break
            if same:
                return True
        first = last
    return False


@_inlined
def _cell_end(data: Any, at: int, delimiter: int, quote: int, quoted: bool) -> int:
    """The end of the cell that goes on at `at`; -1 for one that is not plain."""
    if quoted:
        while data[at] != quote and data[at] != 10 and data[at] != 13:
            at += 1
        return at if data[at] == quote else -1
    while data[at] != delimiter and data[at] != 10 and data[at] != 13:
        if data[at] == quote:
            return -1
        at += 1
    return at


@_inlined
def _blank(c: int, delimiter: int) -> bool:
    return c == 32 or (c == 9 and delimiter != 9)


@_inlined
def _opened(data: Any, at: int, delimiter: int, quote: int) -> tuple[bool, int]:
    """Whether a cell is in quotes, and where its contents start; -1 for one that is not plain."""
    cell = at
    while _blank(data[at], delimiter):
        at += 1
    if data[at] != quote:
        return False, at
    for before in range(cell, at):
        if data[before] == 9:
            return True, -1
    at += 1
    while data[at] == 32 or data[at] == 9:
        at += 1
    return True, at


def parse(a: Any, like: Any, part: int, parts: int) -> None:
    """Cells of lines into values: numbers, NaN for missing ones, the numbers of words."""
    a[ROWS] = BAD
    data, size, delimiter, quote = uint8s(a[LINES]), a[SIZE], a[DELIMITER], a[QUOTE]
    columns, room, text, missing = a[COLUMNS], a[ROOM], uint8s(a[TEXT]), words(a[MISSING])
    values, bits, hard, hard_room = float64s(a[VALUES]), uint64s(a[VALUES]), words(a[HARD]), a[HARD_ROOM]
    markers, marker_ends, marker_count = uint8s(a[MARKERS]), words(a[MARKER_ENDS]), a[MARKER_COUNT]
    table = int32s(a[SLOTS]), uint64s(a[HASHES]), int32s(a[OWNERS]), words(a[ENDS]), uint8s(a[ARENA])
    mask, count = a[MASK], a[WORDS]
    at, row, found = 0, 0, 0
    while at < size:
        if row == room:
            return
        for column in range(columns):
            cell = columns * row + column
            quoted, at = _opened(data, at, delimiter, quote)
            if at < 0:
                return
            start, end, kind = at, at, NONE
            if text[column] == 0:
                kind, at = _number(data, at, values, bits, cell)
                end = at
                while _blank(data[at], delimiter):
                    at += 1
                c = data[at]
                if not (c == quote if quoted else c == delimiter or c == 10 or c == 13):
                    kind = NONE
            if kind == UNSURE:
                if found == hard_room:
                    return
                hard[4 * found], hard[4 * found + 1] = row, column
                hard[4 * found + 2], hard[4 * found + 3] = start, end
                found += 1
            elif kind == NONE:
                at = _cell_end(data, start, delimiter, quote, quoted)
                if at < 0 or (columns == 1 and at == start and not quoted):
                    return
                end = at
                while end > start and (data[end - 1] == 32 or data[end - 1] == 9):
                    end -= 1
                if text[column] != 0:
                    word, count = _word(data, start, end, column, table, mask, count)
                    values[cell] = word
                elif _is_marker(data, start, end, markers, marker_ends, marker_count):
                    values[cell] = np.nan
                    missing[column] += 1
                else:
                    return
            if quoted:
                at += 1
            if column < columns - 1:
                if data[at] != delimiter:
                    return
                at += 1
        if data[at] == 13:
            at += 1
        if data[at] != 10:
            return
        at += 1
        row += 1
    a[ROWS], a[FOUND], a[WORDS] = row, found, count


def fill(a: Any, like: Any, part: int, parts: int) -> None:
    """Put the words that there are into an empty hash table."""
    slots, hashes, mask = int32s(a[SLOTS]), uint64s(a[HASHES]), a[MASK]
    for word in range(a[WORDS]):
        place = _I(hashes[word] & _U(mask))
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = word
