"""Lines of plain cells at the speed of memory, compiled by numba: numbers, and words told apart by a hash table.

Numbers come out as Python's `float` reads them, to the last bit: up to 19 digits by the algorithm of Lemire ("Number
parsing at a gigabyte per second", Software: Practice and Experience, 2021), what that cannot decide by `float` itself.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

LOWEST, HIGHEST = -64, 64  # powers of ten with which a decimal mantissa of 19 digits stays a normal number
NUMBER, HARD, NONE = 1, 2, 0
BAD = -1
# nothing here allocates, and counting references to arrays would take longer than reading a cell
OUTER: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
_U = np.uint64
_ZERO, _NINE = np.uint8(48), np.uint8(9)


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


@numba.njit(inline="always")
def _product(a, b):  # type: ignore[no-untyped-def]
    """The 128 bits of a b, as (high, low)."""
    low = _U(0xFFFFFFFF)
    half = _U(32)
    p = (a & low) * (b & low)
    q = (a >> half) * (b & low)
    r = (a & low) * (b >> half)
    middle = (p >> half) + (q & low) + (r & low)
    high = (a >> half) * (b >> half) + (q >> half) + (r >> half) + (middle >> half)
    return high, (middle << half) | (p & low)


@numba.njit(inline="always")
def _bits(w, q, powers):  # type: ignore[no-untyped-def]
    """The bits of the double nearest to w 10^q (w > 0), or 0 where that takes more than 128 bits to decide."""
    lead = 0
    while w >> _U(63) == 0:
        w <<= _U(1)
        lead += 1
    high, low = _product(w, powers[q - LOWEST, 0])
    if high & _U(0x1FF) == _U(0x1FF):
        more, _ = _product(w, powers[q - LOWEST, 1])
        total = low + more
        if total < low:
            high += _U(1)
        low = total
    if low == _U(0xFFFFFFFFFFFFFFFF) and (q < -27 or q > 55):
        return _U(0)
    upper = high >> _U(63)
    shift = upper + _U(9)
    mantissa = high >> shift
    power = ((217706 * q) >> 16) + 63 + np.int64(upper) - lead + 1023
    if low <= _U(1) and -4 <= q <= 23 and mantissa & _U(3) == _U(1) and mantissa << shift == high:
        mantissa &= ~_U(1)  # exactly between two doubles: to the even one
    mantissa += mantissa & _U(1)
    mantissa >>= _U(1)
    if mantissa >> _U(53):
        mantissa >>= _U(1)
        power += 1
    return (mantissa & ~(_U(1) << _U(52))) | (_U(power) << _U(52))


@numba.njit(inline="always")
def _number(data, at, powers, tens, values, bits, row, column):  # type: ignore[no-untyped-def]
    """Put the number that starts at `at` into values[row, column]: its kind, and the place after it.

    Kind: NUMBER; HARD for one that `float` has to read; NONE where no number starts.
    """
    negative = data[at] == 45
    if negative or data[at] == 43:
        at += 1
    w, i, one = _U(0), _U(at), _U(1)  # unsigned, which is spared the check for negative places
    first = i
    while data[i] == 48:
        i += one
    leading = i
    while data[i] - _ZERO <= _NINE:
        w = w * _U(10) + _U(data[i] - _ZERO)
        i += one
    digits, length, exponent = np.int64(i - leading), np.int64(i - first), np.int64(0)
    if data[i] == 46:
        i += one
        point = i
        if digits == 0:
            while data[i] == 48:
                i += one
        leading = i
        while data[i] - _ZERO <= _NINE:
            w = w * _U(10) + _U(data[i] - _ZERO)
            i += one
        digits += np.int64(i - leading)
        exponent = -np.int64(i - point)
        length -= exponent
    at = np.int64(i)
    if length == 0:
        return NONE, at
    if data[at] == 101 or data[at] == 69:
        at += 1
        minus = data[at] == 45
        if minus or data[at] == 43:
            at += 1
        if not 48 <= data[at] <= 57:
            return NONE, at
        e = 0
        while 48 <= data[at] <= 57:
            if e < 10_000:
                e = 10 * e + (data[at] - 48)
            at += 1
        exponent += -e if minus else e
    if digits == 0:
        values[row, column] = -0.0 if negative else 0.0
        return NUMBER, at
    if digits > 19 or exponent < LOWEST or exponent > HIGHEST:
        return HARD, at
    if w >> _U(53) == 0 and -22 <= exponent <= 22:  # both are exact, so one rounding is the nearest
        exact = np.float64(w)
        exact = exact / tens[-exponent] if exponent < 0 else exact * tens[exponent]
        values[row, column] = -exact if negative else exact
        return NUMBER, at
    value = _bits(w, exponent, powers)
    if value == 0:
        return HARD, at
    bits[row, column] = value | (_U(1) << _U(63) if negative else _U(0))
    return NUMBER, at


@numba.njit(inline="always")
def _word(data, start, end, owner, slots, hashes, owners, ends, arena, count):  # type: ignore[no-untyped-def]
    """The number of a word of the column `owner`, and the count of words, one more where it is new."""
    h = _U(owner + 1) * _U(0x9E3779B97F4A7C15)
    for at in range(start, end):
        h = (h ^ _U(data[at])) * _U(0x100000001B3)
    h ^= h >> _U(32)
    mask = len(slots) - 1
    place = np.int64(h & _U(mask))
    while slots[place] >= 0:
        known = slots[place]
        if hashes[known] == h and owners[known] == owner and ends[known + 1] - ends[known] == end - start:
            offset = ends[known]
            same = True
            for at in range(end - start):
                if arena[offset + at] != data[start + at]:
                    same = False
                    break
            if same:
                return known, count
        place = (place + 1) & mask
    slots[place], hashes[count], owners[count] = count, h, owner
    offset = ends[count]
    for at in range(end - start):
        arena[offset + at] = data[start + at]
    ends[count + 1] = offset + end - start
    return count, count + 1


@numba.njit(inline="always")
def _is_marker(data, start, end, markers, marker_ends):  # type: ignore[no-untyped-def]
    """Whether a cell is one of the markers of missing values."""
    first = 0
    for last in marker_ends:
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


@numba.njit(inline="always")
def _cell_end(data, at, delimiter, quote, quoted):  # type: ignore[no-untyped-def]
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


@numba.njit(inline="always")
def _blank(c, delimiter):  # type: ignore[no-untyped-def]
    return c == 32 or (c == 9 and delimiter != 9)


@numba.njit(**OUTER)
def parse(  # type: ignore[no-untyped-def]
    data, delimiter, quote, text, markers, marker_ends, values, bits, missing, hard, powers, tens, *table
):
    """Cells of the lines `data` (bytes, the last one a line feed) into `values` [rows, columns]; `bits` is the same
    memory as integers.

    text: which columns hold words; these get the numbers of their words. missing: counts the cells of every other
    column that are a marker. hard: [n, 4], takes (row, column, start, end) of the numbers left to Python. table: see
    `blocks.Parser`. Returns the counts of rows, of hard numbers, of words; rows BAD for anything but plain cells.
    """
    slots, hashes, owners, ends, arena, words = table
    rows, columns = values.shape
    at, row, found, size = 0, 0, 0, len(data)
    while at < size:
        if row == rows:
            return BAD, 0, 0
        for column in range(columns):
            cell = at
            while _blank(data[at], delimiter):
                at += 1
            quoted = data[at] == quote
            if quoted:
                for before in range(cell, at):
                    if data[before] == 9:
                        return BAD, 0, 0
                at += 1
                while data[at] == 32 or data[at] == 9:
                    at += 1
            start = at
            kind = NONE
            if not text[column]:
                kind, at = _number(data, at, powers, tens, values, bits, row, column)
                end = at
                while _blank(data[at], delimiter):
                    at += 1
                c = data[at]
                if not (c == quote if quoted else c == delimiter or c == 10 or c == 13):
                    kind = NONE
            if kind == HARD:
                if found == len(hard):
                    return BAD, 0, 0
                hard[found, 0], hard[found, 1], hard[found, 2], hard[found, 3] = row, column, start, end
                found += 1
            elif kind == NONE:
                at = _cell_end(data, start, delimiter, quote, quoted)
                if at < 0 or (columns == 1 and at == start and not quoted):
                    return BAD, 0, 0
                end = at
                while end > start and (data[end - 1] == 32 or data[end - 1] == 9):
                    end -= 1
                if text[column]:
                    word, words = _word(data, start, end, column, slots, hashes, owners, ends, arena, words)
                    values[row, column] = word
                elif _is_marker(data, start, end, markers, marker_ends):
                    values[row, column] = np.nan
                    missing[column] += 1
                else:
                    return BAD, 0, 0
            if quoted:
                at += 1
            if column < columns - 1:
                if data[at] != delimiter:
                    return BAD, 0, 0
                at += 1
        if data[at] == 13:
            at += 1
        if data[at] != 10:
            return BAD, 0, 0
        at += 1
        row += 1
    return row, found, words


@numba.njit(**OUTER)
def fill(slots, hashes, count):  # type: ignore[no-untyped-def]
    """Put the first `count` words into an empty hash table."""
    mask = len(slots) - 1
    for word in range(count):
        place = np.int64(hashes[word] & _U(mask))
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = word
