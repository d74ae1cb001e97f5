"""Linking: an object file for Linux on x86-64 becomes functions that can be called, in memory of its own.

What compilers of the same family put into one object file is little: code, constants, and places in the code that hold
the distance to, or the address of, something else. All of it is described in the System V ABI (generic chapter 4, AMD64
supplement chapter 4). Anything beyond is refused, and someone else has to link it.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

POSSIBLE = sys.platform == "linux" and platform.machine() == "x86_64" and sys.maxsize > 2**32

_SECTION = np.dtype("u4,u4,u8,u8,u8,u8,u4,u4,u8,u8")
_SECTION.names = ("name", "type", "flags", "address", "offset", "size", "link", "info", "align", "entry")
_SYMBOL = np.dtype("u4,u1,u1,u2,u8,u8")
_SYMBOL.names = ("name", "info", "other", "section", "value", "size")
_RELOCATION = np.dtype("u8,u4,u4,i8")
_RELOCATION.names = ("offset", "type", "symbol", "addend")
_SYMBOLS, _RELOCATIONS, _ZEROS = 2, 4, 8  # types of sections
_WRITABLE, _LOADED, _EXECUTABLE = 1, 2, 4  # flags of a section
_MOST = 1 << 24  # bytes of a section: ours are a thousandth of it
_ABSOLUTE_64, _RELATIVE_32, _CALL_32, _RELATIVE_64 = 1, 2, 4, 24  # relocations: S + A, S + A - P, the same, the same
_UNDEFINED, _COMMON, _SPECIAL = 0, 0xFFF2, 0xFF00  # in place of a symbol's section


class Unlinkable(Exception):
    """An object file that this linker does not know how to link."""


def link(file: bytes, function: str, elsewhere: Callable[[str], int]) -> Code:
    """The code of an object file, ready to be called. `elsewhere` gives the address of a function that is not in it.

    Raises Unlinkable for a file that is damaged, or holds anything that this linker does not know.
    """
    try:
        return Code(file, function, elsewhere)
    except (ValueError, LookupError, OverflowError, TypeError, struct.error) as error:
        raise Unlinkable(f"damaged: {error}") from None


class Code:
    """The code of an object file in memory, for as long as this lives; `address` is where a function of it begins."""

    def __init__(self, file: bytes, function: str, elsewhere: Callable[[str], int]) -> None:
        """As `link` says."""
        self._file, self._elsewhere = file, elsewhere
        relocatable = file[:6] == b"\x7fELF\x02\x01" and struct.unpack_from("<HH", file, 16) == (1, 62)
        if not relocatable or struct.unpack_from("<H", file, 58) != (_SECTION.itemsize,):
            raise Unlinkable("no object file for x86-64")
        start, count = struct.unpack_from("<Q", file, 40)[0], struct.unpack_from("<H", file, 60)[0]
        self._sections = np.frombuffer(file, _SECTION, count, start)
        table = next((one for one in self._sections if one["type"] == _SYMBOLS), None)
        if table is None:
            raise Unlinkable("no symbols")
        self._symbols, self._names = self._entries(table, _SYMBOL), int(self._sections[table["link"]]["offset"])
        offsets, protected, size = self._layout()
        own, rights = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
        self._memory = mmap.mmap(-1, size, own, rights)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._at = {number: self._base + offset for number, offset in offsets.items()}
        for number, offset in offsets.items():
            section = self._sections[number] if number < count else None
            if section is not None and section["type"] != _ZEROS:
                first, length = int(section["offset"]), int(section["size"])
                self._memory[offset : offset + length] = file[first : first + length]
        for section in self._sections:
            if section["type"] == _RELOCATIONS and int(section["info"]) in offsets:
                end = int(self._sections[int(section["info"])]["size"])
                for relocation in self._entries(section, _RELOCATION):
                    width = 4 if relocation["type"] in (_RELATIVE_32, _CALL_32) else 8
                    if int(relocation["offset"]) > end - width:
                        raise Unlinkable("a relocation beyond its section")
                    self._relocate(offsets[int(section["info"])] + int(relocation["offset"]), relocation)
        _protect(self._base, protected)
        self.address = self._find(function)

    def _entries(self, section: Any, kind: np.dtype[Any]) -> Any:
        """The table that a section is."""
        return np.frombuffer(self._file, kind, int(section["size"]) // kind.itemsize, int(section["offset"]))

    def _name(self, offset: int) -> str:
        start = self._names + offset
        return self._file[start : self._file.index(b"\0", start)].decode()

    def _layout(self) -> tuple[dict[int, int], int, int]:
        """Where each section and, numbered after them, each common symbol lies; how much of it will be read-only."""
        names = int(self._sections[struct.unpack_from("<H", self._file, 62)[0]]["offset"])
        fixed, changing = list[tuple[int, int, int]](), list[tuple[int, int, int]]()
        for number, section in enumerate(self._sections):
            unwinding = self._file[names + int(section["name"]) :].startswith(b".eh_frame\0")
            if int(section["flags"]) & _LOADED and not unwinding:
                stored = 0 if section["type"] == _ZEROS else int(section["offset"]) + int(section["size"])
                if stored > len(self._file) or int(section["size"]) > _MOST:
                    raise Unlinkable("a section beyond the file")
                place = (number, int(section["size"]), int(section["align"]))
                (changing if int(section["flags"]) & _WRITABLE else fixed).append(place)
        for number, symbol in enumerate(self._symbols):
            if symbol["section"] == _COMMON:  # its value is the alignment
                changing.append((len(self._sections) + number, int(symbol["size"]), int(symbol["value"])))
        end, offsets, protected = 0, dict[int, int](), 0
        for places in (fixed, changing):
            for number, length, align in places:
                if align & (align - 1) or align > mmap.PAGESIZE or not 0 <= length <= _MOST:
                    raise Unlinkable(f"alignment {align}")
                offsets[number] = end = -(-end // max(1, align)) * max(1, align)
                end += length
            end = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
            protected = protected or end
        return offsets, protected, max(end, mmap.PAGESIZE)

    def _relocate(self, offset: int, relocation: Any) -> None:
        """Write into the code what it refers to."""
        kind, place = int(relocation["type"]), self._base + offset
        target = self._symbol(int(relocation["symbol"])) + int(relocation["addend"])
        if kind == _ABSOLUTE_64:
            struct.pack_into("<Q", self._memory, offset, target % 2**64)
        elif kind == _RELATIVE_64:
            struct.pack_into("<q", self._memory, offset, target - place)
        elif kind in (_RELATIVE_32, _CALL_32) and -(2**31) <= target - place < 2**31:
            struct.pack_into("<i", self._memory, offset, target - place)
        else:
            raise Unlinkable(f"relocation {kind}")

    def _symbol(self, number: int) -> int:
        symbol = self._symbols[number]
        section = int(symbol["section"])
        if section == _UNDEFINED:
            return self._elsewhere(self._name(int(symbol["name"])))
        if section == _COMMON:
            return self._at[len(self._sections) + number]
        if section >= _SPECIAL or section not in self._at:
            raise Unlinkable(f"a symbol in section {section}")
        if int(symbol["value"]) > int(self._sections[section]["size"]):
            raise Unlinkable("a symbol beyond its section")
        return self._at[section] + int(symbol["value"])

    def _find(self, function: str) -> int:
        for number, symbol in enumerate(self._symbols):
            section = int(symbol["section"])
            if section and self._name(int(symbol["name"])) == function:
                if section >= len(self._sections) or not int(self._sections[section]["flags"]) & _EXECUTABLE:
                    raise Unlinkable(f"{function} is no function")
                return self._symbol(number)
        raise Unlinkable(f"no function {function}")


def _protect(address: int, size: int) -> None:
    """Make memory executable, and no longer writable. Raises Unlinkable where the system forbids it."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC
    if size and libc.mprotect(*arguments):
        raise Unlinkable(f"the system does not let this memory be executed (error {ctypes.get_errno()})")
