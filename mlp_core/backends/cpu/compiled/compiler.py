"""The compiler: a process that makes machine code of the functions it is asked for, one file each.

A name is that of an instruction and the character of a dtype, as in adam.f, or one of PLAIN, as in lead. A file is a
line of JSON, the object file, and numba's own form of it. The process ends when nobody holds its input any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numba

from mlp_core.backends.cpu.compiled import instructions, loops, threads
from mlp_core.backends.cpu.compiled.layout import CANNOT_KEEP
from mlp_core.backends.cpu.compiled.native import WORDS, types

TYPES = {"f": types.float32, "d": types.float64, "l": types.int64}
PLAIN = {each.__name__: each for each in (threads.lead, threads.follow, threads.dismiss)}
"""The functions that are there once, whatever a network computes in, by their names."""


def compile_function(name: str) -> tuple[str, tuple[Any, ...]]:
    """The symbol of a function, and its library as numba hands it on: a name, a kind, the object file and more."""
    function, _, kind = name.partition(".")
    python: Any = getattr(instructions, function) if kind else PLAIN[name]
    signature = types.void(WORDS, types.CPointer(TYPES[kind or "d"]), types.int64, types.int64)
    made = loops.compiled(python, lambda **settings: numba.njit(signature, **settings), {"contract"})
    result = made.overloads[signature.args]
    return result.fndesc.mangled_name, result.library.serialize_using_object_code()


def as_file(name: str) -> bytes:
    """A function, compiled, as the contents of a file."""
    symbol, (library, kind, (code, form)) = compile_function(name)
    body: bytes = code + form
    head = {"symbol": symbol, "library": library, "kind": kind, "code": len(code)}
    head["sha256"] = hashlib.sha256(body).hexdigest()
    return json.dumps(head).encode() + b"\n" + body


def write(path: Path, contents: bytes) -> None:
    """A file, there whole or not at all. Raises OSError."""
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".draft", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(contents)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def end_with_parent(folder: Path, spare: bool) -> None:
    """End this process as soon as the one that began it is gone, however it ended; nobody else removes a spare
    folder then."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    if spare:
        for file in folder.iterdir():
            file.unlink(missing_ok=True)
        folder.rmdir()
    os._exit(1)


def main(where: str, spare: str, *names: str) -> None:
    """Compile functions into a folder: a spare one, which is removed afterwards, or the one they are kept in."""
    folder = Path(where)
    threading.Thread(target=end_with_parent, args=(folder, spare == "spare"), daemon=True).start()
    for name in names:
        contents = as_file(name)
        try:
            write(folder / name, contents)
        except OSError as error:
            print(f"cannot keep compiled code in {folder}: {error.strerror}", file=sys.stderr)
            sys.exit(CANNOT_KEEP)
