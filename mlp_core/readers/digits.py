"""Lines of plain cells at the speed of memory: a parser compiled by numba, for large tables only.

Numbers come out as Python's `float` reads them, to the last bit: up to 19 digits by the algorithm of Lemire ("Number
parsing at a gigabyte per second", Software: Practice and Experience, 2021), what that cannot decide by `float` itself.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

LOWEST, HIGHEST = -64, 64  # powers of ten with which a decimal mantissa of 19 digits stays a normal number
_U = np.uint64


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


@numba.njit(cache=True, nogil=True)
def parse(data, delimiter, text, values, bits, spans, hard, powers):  # type: ignore[no-untyped-def]
    """Cells of lines `data` (bytes, the last one a line feed) into `values` [rows, columns]; `bits` is the same memory
    as integers.

    text: which columns hold words: their cells' places go to `spans` [rows, 2 columns]. hard: [n, 4], takes (row,
    column, start, end) of numbers left to Python. Returns rows, hard numbers; rows -1 for anything but plain cells.
    """
    rows, columns = values.shape
    at, row, found, size = 0, 0, 0, len(data)
    while at < size:
        if row == rows:
            return -1, 0
        for column in range(columns):
            while data[at] == 32 or (data[at] == 9 and delimiter != 9):
                at += 1
            start = at
            if text[column]:
                while data[at] != delimiter and data[at] != 10 and data[at] != 13:
                    at += 1
                end = at
                while end > start and (data[end - 1] == 32 or data[end - 1] == 9):
                    end -= 1
                spans[row, 2 * column], spans[row, 2 * column + 1] = start, end
            else:
                negative = data[at] == 45
                if negative or data[at] == 43:
                    at += 1
                w, digits, point, exponent = _U(0), 0, -1, 0
                first = at
                while True:
                    c = data[at]
                    if 48 <= c <= 57:
                        if digits < 19:
                            w = w * _U(10) + _U(c - 48)
                        if digits > 0 or c != 48:
                            digits += 1
                    elif c == 46 and point < 0:
                        point = at
                    else:
                        break
                    at += 1
                length = at - first - (1 if point >= 0 else 0)
                if point >= 0:
                    exponent = -(at - point - 1)
                if length > 0 and (data[at] == 101 or data[at] == 69):
                    at += 1
                    minus = data[at] == 45
                    if minus or data[at] == 43:
                        at += 1
                    e, any_digit = 0, False
                    while 48 <= data[at] <= 57:
                        if e < 10_000:
                            e = 10 * e + (data[at] - 48)
                        any_digit = True
                        at += 1
                    if not any_digit:
                        return -1, 0
                    exponent += -e if minus else e
                end = at
                while data[at] == 32 or (data[at] == 9 and delimiter != 9):
                    at += 1
                if length == 0:
                    if at != start or columns == 1:
                        return -1, 0
                    values[row, column] = np.nan
                elif w == 0 and digits == 0:
                    values[row, column] = -0.0 if negative else 0.0
                else:
                    value = _U(0)
                    if digits <= 19 and LOWEST <= exponent <= HIGHEST:
                        if w >> _U(53) == 0 and -22 <= exponent <= 22:  # both are exact, so one rounding is the nearest
                            exact = np.float64(w)
                            if exponent < 0:
                                exact /= 10.0**-exponent
                            else:
                                exact *= 10.0**exponent
                            values[row, column] = -exact if negative else exact
                            value = _U(1)
                        else:
                            value = _bits(w, exponent, powers)
                            if value != 0:
                                bits[row, column] = value | (_U(1) << _U(63) if negative else _U(0))
                    if value == 0:
                        if found == len(hard):
                            return -1, 0
                        hard[found, 0], hard[found, 1], hard[found, 2], hard[found, 3] = row, column, start, end
                        found += 1
            if column < columns - 1:
                if data[at] != delimiter:
                    return -1, 0
                at += 1
        if data[at] == 13:
            at += 1
            if data[at] != 10:
                return -1, 0
        if data[at] != 10:
            return -1, 0
        at += 1
        row += 1
    return row, found


class Block:
    """A chunk of lines parsed: `values` [rows, columns], and the bytes of the cells of the columns of words."""

    def __init__(self, data: bytes, values: npt.NDArray[np.float64], spans: Any) -> None:
        self.data, self.values, self.spans = data, values, spans

    def words(self, column: int) -> list[bytes]:
        """The cells of one column."""
        starts, ends = self.spans[:, 2 * column].tolist(), self.spans[:, 2 * column + 1].tolist()
        data = self.data
        return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def parse_lines(lines: list[str], delimiter: str, text: npt.NDArray[np.bool_]) -> Block | None:
    """Lines of ASCII text as a block; None when they are anything but plain cells of numbers and words.

    An empty cell of a column of numbers is NaN.
    """
    joined = "".join(lines)
    if not joined.endswith("\n"):
        joined += "\n"
    data = joined.encode("ascii")
    values = np.empty((len(lines), len(text)))
    spans = np.zeros((len(lines) if text.any() else 0, 2 * len(text)), np.int64)
    hard = np.empty((values.size, 4), np.int64)
    raw = np.frombuffer(data, np.uint8)
    rows, found = parse(raw, ord(delimiter), text, values, values.view(np.uint64), spans, hard, POWERS)
    if rows != len(lines):
        return None
    for row, column, start, end in hard[:found].tolist():
        values[row, column] = float(data[start:end])
    if np.isinf(values).any():
        return None
    return Block(data, values, spans)
