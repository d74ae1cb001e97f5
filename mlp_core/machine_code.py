"""Machine code of the functions in `compiled`, found by name: compiled once on this machine, kept on disk, linked here.

The compiler is a process of its own that ends when its work is done. So a run that uses compiled code has neither numba
nor LLVM in memory: these take three times as much as all the rest of it.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mlp_core import linker
from mlp_core.environment import available_cpus

PROCESSES = 4
"""Compilers at once, at most: each has to start, which takes as long as a few functions."""

FORM = 2
"""Of the files. To be raised when it changes."""

_FUNCTION = ctypes.CFUNCTYPE(
    ctypes.c_int32, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2
)  # as numba passes arguments: result, exception, then the function's own


class CannotCompile(Exception):
    """There is no compiler, or it failed; the message is its reason."""


class Function:
    """A compiled function: function(a, part, parts), `a` the address of its words. Python's lock is not held."""

    def __init__(self, address: int, keep: Any) -> None:
        self.address, self._keep = address, keep
        self._call, self._slots = _FUNCTION(address), (ctypes.c_void_p * 2)()
        self._slot = ctypes.addressof(self._slots)

    def __call__(self, a: int, part: int, parts: int) -> None:
        self._call(self._slot, self._slot, a, None, part, parts)


class MachineCode:
    """The compiled functions of this process."""

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
        return all(name in self._functions or (folder is not None and (folder / name).exists()) for name in names)

    def _obtain(self, names: list[str]) -> dict[str, Function]:
        found = {} if self.folder is None else _read(self.folder, names)
        missing = [name for name in names if name not in found]
        if missing and self.folder is not None:
            found |= self._made(self.folder, missing)
        elif missing:
            try:
                with tempfile.TemporaryDirectory(prefix="mlpbp-") as folder:
                    found |= self._made(Path(folder), missing)
            except OSError as error:
                raise CannotCompile(f"no room for compiled code: {error}") from None
        return found

    def _made(self, folder: Path, names: list[str]) -> dict[str, Function]:
        """Functions compiled into a folder."""
        begun = time.monotonic()
        _compile(folder, names)
        self.compiling += time.monotonic() - begun
        found = _read(folder, names)
        if len(found) < len(names):
            raise CannotCompile(f"compiled code was not found in {folder}")
        return found


@cache
def machine_code() -> MachineCode:
    """That of this process, kept in a folder of this user for this version, compiler and processor."""
    return MachineCode(_folder())


def prepare(names: Iterable[str]) -> float:
    """Have functions compiled and linked now, together, that will be needed; seconds that compiling took.

    Raises CannotCompile.
    """
    code = machine_code()
    before = code.compiling
    code.functions(names)
    return code.compiling - before


# --- files ---


def _read(folder: Path, names: Iterable[str]) -> dict[str, Function]:
    """Those of the functions that are kept in a folder, whole."""
    found = {}
    for name in names:
        try:
            head, _, body = (folder / name).read_bytes().partition(b"\n")
            facts = json.loads(head)
            if hashlib.sha256(body).hexdigest() == facts["sha256"]:
                found[name] = _linked(facts, body)
        except (OSError, ValueError, LookupError, TypeError):  # not there, or damaged: it will be compiled again
            continue
    return found


def _linked(facts: dict[str, Any], body: bytes) -> Function:
    """The function of a file: linked here, or by numba where we do not know how."""
    code, form = body[: facts["code"]], body[facts["code"] :]
    if linker.POSSIBLE:
        try:
            linked = linker.Code(code, facts["symbol"], _elsewhere)
            return Function(linked.address, linked)
        except linker.Unlinkable:
            pass
    return _linked_by_numba(facts, code, form)


def _linked_by_numba(facts: dict[str, Any], code: bytes, form: bytes) -> Function:
    """Raises CannotCompile."""
    try:
        from numba.core.registry import cpu_target

        generator = cpu_target.target_context.codegen()
        library = generator.unserialize_library((facts["library"], facts["kind"], (code, form)))
        return Function(int(library.get_pointer_to_function(facts["symbol"])), library)
    except Exception as error:
        raise CannotCompile(str(error)) from None


@cache
def _libraries() -> list[ctypes.CDLL]:
    """Where functions of the system are looked for: what this process has loaded, then the library of mathematics."""
    return [ctypes.CDLL(None), ctypes.CDLL("libm.so.6")]


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


# --- the place where they are kept ---


def _folder() -> Path | None:
    """A folder that only this user can write to, made if need be; None where there is none to be had."""
    try:
        given = os.environ.get("XDG_CACHE_HOME", "")
        usual = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
        folder = (Path(given) if Path(given).is_absolute() else usual) / "mlpbp" / _digest()
        folder.mkdir(0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):
        return None
    private = status.st_uid == os.geteuid() and not status.st_mode & 0o022  # what lies here will be executed
    return folder if private and os.access(folder, os.W_OK) else None


def _digest() -> str:
    """Of everything that machine code depends on: sources, compiler, processor."""
    digest = hashlib.sha256(f"{FORM} {_version('numba')} {_version('llvmlite')} {platform.python_version()}".encode())
    for room in sorted(Path(__file__).with_name("compiled").glob("*.py")):
        digest.update(room.read_bytes())
    digest.update(_processor().encode())
    digest.update(repr(sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))).encode())
    return digest.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """What tells processors apart that understand different instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    return "\n".join(line for line in lines if line.startswith(kept))


# --- the compiler ---


def _compile(folder: Path, names: Sequence[str]) -> None:
    """Compile functions into a folder, shared out among some processes. Raises CannotCompile."""
    if importlib.util.find_spec("numba") is None:
        raise CannotCompile("No module named 'numba'")
    count = min(PROCESSES, available_cpus(), len(names))
    environment = {**os.environ, "NUMBA_DISABLE_INTEL_SVML": "1", "NUMBA_DISABLE_JIT": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), *filter(None, sys.path)])
    command = [sys.executable, "-P", "-W", "ignore", "-m", "mlp_core.compiled.compiler", str(folder)]
    bounds = [len(names) * number // count for number in range(count + 1)]  # neighbours have inner functions in common
    compilers = [
        subprocess.Popen(
            [*command, *names[first:last]],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first, last in itertools.pairwise(bounds)
    ]
    try:
        ends = [one.communicate()[1] for one in compilers]
    finally:
        for one in compilers:
            one.kill()
            one.wait()
    for one, said in zip(compilers, ends, strict=True):
        if one.returncode:
            lines = said.strip().splitlines() or [f"the compiler ended with {one.returncode}"]
            raise CannotCompile(lines[-1])
