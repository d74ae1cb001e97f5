"""The compiler: a process that makes machine code of the functions it is asked for, one file each.

python -m mlp_core.compiled.compiler FOLDER NAME... ; a name is that of an instruction and the character of a dtype, as
in adam.f, or one of PLAIN, as in lead. A file is a line of JSON, the object file, and numba's own form of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numba

from mlp_core.compiled import digits, instructions, loops, threads
from mlp_core.compiled.native import WORDS, types

TYPES = {"f": types.float32, "d": types.float64, "l": types.int64}
PLAIN = {each.__name__: each for each in (threads.lead, threads.follow, threads.dismiss, digits.parse, digits.fill)}
"""The functions that are there once, whatever a network computes in, by their names."""


def compile_function(name: str) -> tuple[str, tuple[Any, ...]]:
    """The symbol of a function, and its library as numba hands it on: a name, a kind, the object file and more."""
    function, _, kind = name.partition(".")
    python: Any = getattr(instructions, function) if kind else PLAIN[name]
    signature = types.void(WORDS, types.CPointer(TYPES[kind or "d"]), types.int64, types.int64)
    made = loops.compiled(python, lambda **settings: numba.njit(signature, **settings), {"contract"})
    result = made.overloads[signature.args]
    return result.fndesc.mangled_name, result.library.serialize_using_object_code()


def write(folder: Path, name: str) -> None:
    """Compile a function into a file of its name, there whole or not at all."""
    symbol, (library, kind, (code, form)) = compile_function(name)
    body = code + form
    head = {"symbol": symbol, "library": library, "kind": kind, "code": len(code)}
    head["sha256"] = hashlib.sha256(body).hexdigest()
    draft = folder / f"{name}.{os.getpid()}"
    draft.write_bytes(json.dumps(head).encode() + b"\n" + body)
    draft.replace(folder / name)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        write(Path(sys.argv[1]), each)
