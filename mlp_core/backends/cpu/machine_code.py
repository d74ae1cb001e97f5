"""Machine code of the functions in `compiled`, found by name: compiled once on this machine, kept on disk, linked here.

The compiler is a process of its own that ends when its work is done. So a run that uses compiled code has neither numba
nor LLVM in memory: these take three times as much as all the rest of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from mlp_core.backends.cpu import code_files, linker
from mlp_core.backends.cpu.compilation import CannotCompile, CannotKeep, compile_into

__all__ = ["CannotCompile", "Function", "MachineCode", "machine_code", "prepare"]

_FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2
)  # as numba passes arguments: result, exception, then the function's own


class Function:
    """A compiled function: function(a, part, parts), `a` the address of its words. Python's lock is not held."""

    def __init__(self, address: int, keep: Any) -> None:
        self.address, self._keep = address, keep
        self._call, self._slots = _FUNCTION(address), (ctypes.c_void_p * 2)()
        self._slot = ctypes.addressof(self._slots)

    def __call__(self, a: int, part: int, parts: int) -> None:
        self._call(self._slot, self._slot, a, None, part, parts)


class MachineCode:
    """The compiled functions of this process. They must outlive everything that knows their addresses."""

    def __init__(self, folder: Path | None) -> None:
        """folder: where they are kept; None: nowhere, they are compiled for this process."""
        self.folder, self.compiling = folder, 0.0
        self._functions: dict[str, Function] = {}

    def functions(self, names: Iterable[str]) -> list[Function]:
        """The functions of these names; those that nobody has asked for yet are compiled together.

        Raises CannotCompile.
        """
        wanted = list(names)
        missing = [name for name in dict.fromkeys(wanted) if name not in self._functions]
        if missing:
            self._functions |= self._obtain(missing)
        return [self._functions[name] for name in wanted]

    def has(self, names: Iterable[str]) -> bool:
        """Whether functions of these names are there, so that nothing needs to be compiled."""
        folder = self.folder
        return all(name in self._functions or (folder is not None and (folder / name).is_file()) for name in names)

    def _obtain(self, names: list[str]) -> dict[str, Function]:
        begun, found = time.monotonic(), _read(self.folder, names)
        missing = [name for name in names if name not in found]
        if missing:
            try:
                found |= self._kept(missing) if self.folder is not None else self._spare(missing)
            finally:
                self.compiling += time.monotonic() - begun
        return found

    def _kept(self, names: list[str]) -> dict[str, Function]:
        """Functions compiled into the folder; if that takes no files, for this process alone."""
        assert self.folder is not None
        try:
            return _made(self.folder, names, spare=False)
        except CannotKeep:
            return self._spare(names)

    def _spare(self, names: list[str]) -> dict[str, Function]:
        """Functions compiled for this process alone."""
        try:
            with tempfile.TemporaryDirectory(prefix="mlpbp-") as folder:
                return _made(Path(folder), names, spare=True)
        except OSError as error:
            raise CannotCompile(f"no room for compiled code: {error}") from None


@cache
def machine_code() -> MachineCode:
    """That of this process, kept in a folder of this user for this version, compiler and processor."""
    return MachineCode(code_files.folder())


def prepare(names: Iterable[str]) -> str:
    """Have functions compiled and linked now, together, that will be needed; how long that took, in words, or nothing.

    Raises CannotCompile.
    """
    code = machine_code()
    before = code.compiling
    code.functions(names)
    spent = code.compiling - before
    if spent < 1:
        return ""
    how = "for this machine, once," if code.folder is not None else "for this run (there is no folder to keep them in)"
    return f"compiled {how} in {spent:.1f} s"


def _made(folder: Path, names: list[str], spare: bool) -> dict[str, Function]:
    """Functions compiled into a folder. Raises CannotCompile."""
    compile_into(folder, names, spare)
    found = _read(folder, names)
    if len(found) < len(names):
        missing = next(name for name in names if name not in found)
        raise CannotKeep(f"{missing} was compiled into {folder}, and cannot be read or linked")
    return found


def _read(folder: Path | None, names: Iterable[str]) -> dict[str, Function]:
    """Those of the functions that are kept in a folder, whole."""
    found: dict[str, Function] = {}
    if folder is None:
        return found
    for name in names:
        try:
            found[name] = _linked(*code_files.read(folder / name))
        except (OSError, ValueError, LookupError, TypeError, CannotCompile):  # it will be compiled again
            continue
    return found


def _linked(facts: dict[str, Any], code: bytes, form: bytes) -> Function:
    """The function of a file: linked here, or by numba where we do not know how."""
    if linker.POSSIBLE:
        try:
            linked = linker.link(code, facts["symbol"], _elsewhere)
            return Function(linked.address, linked)
        except linker.Unlinkable:
            pass
    return _linked_by_numba(facts, code, form)


def _linked_by_numba(facts: dict[str, Any], code: bytes, form: bytes) -> Function:
    """Raises CannotCompile."""
    try:
        from numba.core.registry import cpu_target
        from numba.core.runtime import rtsys

        rtsys.initialize(cpu_target.target_context)  # its functions are named by the code, if never called
        generator = cpu_target.target_context.codegen()
        library = generator.unserialize_library((facts["library"], facts["kind"], (code, form)))
        return Function(int(library.get_pointer_to_function(facts["symbol"])), library)
    except Exception as error:
        raise CannotCompile(str(error)) from None


@cache
def _libraries() -> list[ctypes.CDLL]:
    """Where functions of the system are looked for: what this process has loaded, then the library of mathematics."""
    found = [ctypes.CDLL(None)]
    with contextlib.suppress(OSError):  # a system that has it in the first
        found.append(ctypes.CDLL("libm.so.6"))
    return found


def _elsewhere(name: str) -> int:
    """The address of a function that compiled code calls and does not hold.

    numba's own ones manage memory and exceptions. Ours has neither, so what still names them is never reached.
    """
    own = name.startswith(("NRT_", "numba_", "Py"))
    for library in _libraries():
        try:
            function = getattr(library, "abort" if own else name)
        except AttributeError:
            continue
        return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
    raise linker.Unlinkable(f"no function {name}")
